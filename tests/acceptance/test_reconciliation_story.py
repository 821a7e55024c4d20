"""The record against the exchange: reads that fail, lag or lie by omission, told on real sockets.

Nothing is concluded from what a read does not show; what the exchange really has is found, counted
once, and protected.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.acceptance.scenarios.stage import (
    ORDER_LISTS,
    cover,
    cut_off,
    later,
    levels,
    net,
    protected,
    restored,
    silence,
    struck,
    trades,
    unexplained,
    working,
)
from tests.app.desk import Desk, Guard, JumpingClock, a_desk, a_venue, audited, until

from backstop.core.positions import Knowledge, PositionView
from backstop.domain.order import OrderState, OrderType, Side
from backstop.errors import SetupError, StateFolderError
from backstop.simulator.exchange_config import PartialFill
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

POSITIONS = "Position/searchOpen"
UNLISTED = 6_999_999
AUDIT_S = 6
"""Longer than the pause between two reads of the account."""


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue() as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


def view_of(guard: Guard) -> PositionView:
    return guard.book.position(guard.instrument("MES").contract_id)


async def read_again(guard: Guard, clock: JumpingClock) -> None:
    """Let time pass until the account was read once more, completely."""
    since_ns = guard.manager.now_ns()
    later(guard, clock, AUDIT_S)
    await until(lambda: guard.book.audit.complete_sent_ns > since_ns, lambda: guard.book.audit)


async def settled(guard: Guard) -> None:
    """Wait until guard and exchange agree, and nothing is in doubt."""
    await guard.agrees()
    await until(lambda: not unexplained(guard), lambda: unexplained(guard))


def numbers(desk: Desk) -> list[int]:
    """Return the numbers of the working stops."""
    return [row["id"] for row in working(desk) if row["type"] == "STOP"]


def stops(desk: Desk) -> list[tuple[str, int]]:
    """Return side and contracts left of every working stop."""
    rows = (row for row in working(desk) if row["type"] == "STOP")
    return [(row["side"], row["size"] - row["fillVolume"]) for row in rows]


# -- positions -------------------------------------------------------------------------------------


@pytest.mark.scenario("C2")
async def test_positions_that_cannot_be_read_or_are_missing_once_are_not_flat(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        cut_off(desk)
        await until(lambda: view_of(guard).knowledge is Knowledge.STALE, lambda: view_of(guard))
        later(guard, clock, AUDIT_S)
        await until(lambda: desk.strikes(FaultKind.RESET_BEFORE) > 3, "reads that fail")
        assert (guard.position(), guard.book.counters.adjustments) == (2, 0)

        restored(desk)
        desk.mischief(POSITIONS, FaultKind.EMPTY_LIST)
        await until(lambda: struck(desk, FaultKind.EMPTY_LIST, POSITIONS) == 1, "an empty list")
        await guard.ready()
        await settled(guard)

        assert guard.position() == net(desk) == 2
        assert guard.book.counters.adjustments == 0
        assert (cover(desk), len(desk.orders()), len(trades(desk))) == (2, 1, 2)


@pytest.mark.parametrize("is_long", [False, True])
async def test_lists_that_lose_a_held_position_cost_no_stop_but_for_a_moment(
    desk: Desk, *, is_long: bool
) -> None:
    """Two lists in a row take nothing away; where a later one is wrong as well the stop returns."""
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        contract_id = view_of(guard).contract_id
        await until(lambda: guard.book.stop_cover(contract_id, 2) == 2, "the guard knows its stop")
        await until(lambda: not guard.book.protection.changes, "its legs are where they belong")
        level, stop = levels(desk), numbers(desk)
        desk.mischief(POSITIONS, FaultKind.EMPTY_LIST, count=None, name="no positions")

        def is_over(is_it: Callable[[], bool]) -> bool:
            later(guard, clock, 1)
            return is_it()

        await until(lambda: is_over(lambda: guard.position() == 0), lambda: view_of(guard))
        assert numbers(desk) == stop
        if is_long:
            await until(lambda: is_over(lambda: not working(desk)), lambda: view_of(guard))
        restored(desk, "no positions")
        # One jump to the next read: from the first sign of the position on, its second counts.
        later(guard, clock, AUDIT_S)
        await until(lambda: guard.position() == 2, lambda: view_of(guard))
        await protected(desk, 2)

        assert levels(desk) == level
        assert (numbers(desk) == stop) is not is_long


@pytest.mark.scenario("C3")
async def test_a_snapshot_from_before_the_last_fill_makes_no_difference(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        desk.mischief(POSITIONS, FaultKind.DELAY_RESPONSE, delay_ms=1_500)
        since_ns = guard.manager.now_ns()
        later(guard, clock, AUDIT_S)
        await until(lambda: struck(desk, FaultKind.DELAY_RESPONSE, POSITIONS) == 1, "a late answer")
        await guard.ready("MES")
        await guard.enter(quantity=2)
        await until(lambda: guard.book.audit.complete_sent_ns > since_ns, "the snapshot has come")

        assert (guard.position(), view_of(guard).differing) == (2, None)
        await settled(guard)
        assert guard.book.counters.adjustments == 0
        assert cover(desk) == 2


@pytest.mark.scenario("C6")
async def test_the_real_fill_takes_the_place_of_what_was_counted_for_it(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        silence(desk)
        desk.mischief("Trade/search", FaultKind.EMPTY_LIST, count=None, name="no trades")
        order = await guard.send(guard.request(quantity=2))

        def is_counted() -> bool:
            later(guard, clock, AUDIT_S)
            return guard.position() == 2

        await until(is_counted, lambda: view_of(guard))
        assert view_of(guard).adjustment == 2
        assert guard.book.orders[order.client_order_id].filled_quantity == 0
        restored(desk, "no trades")
        filled = await guard.reaches(order.client_order_id, OrderState.FILLED)
        await guard.agrees()

        assert (view_of(guard).adjustment, guard.position(), net(desk)) == (0, 2, 2)
        assert [fill.trade_id for fill in filled.fills] == [row["id"] for row in trades(desk)]
    rows = audited(desk.folder / "state", "SELECT FillQuantity FROM FillAudit")
    assert rows == [(1,), (1,)]


@pytest.mark.scenario("C8")
@pytest.mark.parametrize("told", ["a row of size zero", "no row"])
async def test_neither_a_row_of_size_zero_nor_a_missing_row_proves_flat(
    desk: Desk, told: str
) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        silence(desk)
        if told == "a row of size zero":
            restored(desk, "silence")
            for event in ("GatewayUserOrder", "GatewayUserTrade"):
                desk.mischief(event, FaultKind.DROP_EVENT, count=None, name="silence")
        desk.mischief("Trade/search", FaultKind.EMPTY_LIST, count=None, name="no trades")
        contract_id = guard.instrument("MES").contract_id
        assert desk.venue.exchange.close_position(desk.account, contract_id).code == 0
        await until(lambda: net(desk) == 0, "flat at the exchange")

        def in_doubt() -> bool:
            later(guard, clock, 1)
            return not view_of(guard).is_settled

        await until(in_doubt, lambda: view_of(guard))
        assert not view_of(guard).is_proven
        assert view_of(guard).ledger == 2
        restored(desk, "no trades")
        restored(desk, "silence")
        await guard.agrees()

        def is_proven() -> bool:
            later(guard, clock, 1)
            return view_of(guard).is_proven

        await until(is_proven, lambda: view_of(guard))
        assert (guard.position(), view_of(guard).adjustment) == (0, 0)
        await until(lambda: working(desk) == [], lambda: working(desk))


@pytest.mark.scenario("C7")
async def test_a_turn_that_went_on_without_a_guard_is_covered_on_its_new_side(
    tmp_path: Path,
) -> None:
    async with a_venue(partial_fill=PartialFill.BY_LIQUIDITY) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard(ALLOW_FLIP=True) as guard:
            await guard.enter(quantity=2)
            await protected(desk, 2)
            turn = await guard.send(guard.request(Side.SELL, 4, OrderType.LIMIT, ticks=-60))
            await guard.reaches(turn.client_order_id, OrderState.WORKING)
            level = turn.request.limit_price
            contract_id = guard.instrument("MES").contract_id
        assert level is not None
        desk.venue.exchange.on_quote(contract_id, level, level + 1, 3, 500)
        await until(lambda: net(desk) == -1, lambda: (net(desk), working(desk)))

        async with desk.guard(ready=False, ALLOW_FLIP=True) as guard:
            await protected(desk, -1)
            await settled(guard)
            order = guard.book.orders[turn.client_order_id]
            assert (order.state, order.filled_quantity) == (OrderState.PARTIALLY_FILLED, 3)
            await until(lambda: stops(desk) == [("BID", 1)], lambda: working(desk))
            assert turn.broker_order_id in {row["id"] for row in working(desk)}


# -- orders ----------------------------------------------------------------------------------------


@pytest.mark.scenario("C10")
async def test_an_order_that_one_list_lacks_goes_on_and_one_that_is_gone_is_found_out(
    desk: Desk,
) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        order = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-200))
        name = order.client_order_id
        await guard.reaches(name, OrderState.WORKING)
        await settled(guard)
        for listing in ORDER_LISTS:
            desk.mischief(listing, FaultKind.EMPTY_LIST, count=None, name="page")
        await read_again(guard, clock)
        assert name in guard.book.missing
        assert guard.book.orders[name].state is OrderState.WORKING
        restored(desk, "page")
        await read_again(guard, clock)
        assert name not in guard.book.missing
        assert guard.book.orders[name].state is OrderState.WORKING

        silence(desk)
        desk.venue.exchange.cancel(desk.account, order.broker_order_id or 0)
        await until(lambda: working(desk) == [], lambda: working(desk))
        await read_again(guard, clock)
        await guard.reaches(name, OrderState.CANCELLED)
        assert len(desk.orders()) == 1


# -- whose account ---------------------------------------------------------------------------------


@pytest.mark.scenario("C11")
async def test_for_another_account_than_the_record_s_or_the_venue_s_nothing_is_sent(
    desk: Desk, tmp_path: Path
) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
    before = desk.truth()["orders"]
    with pytest.raises(StateFolderError, match=f"the record of account {desk.account}, not of"):
        async with desk.guard(ready=False, TOPSTEPX_ACCOUNT_ID=desk.account + 1):
            pass
    elsewhere = {"TOPSTEPX_ACCOUNT_ID": UNLISTED, "BACKSTOP_STATE_DIR": tmp_path / "elsewhere"}
    with pytest.raises(SetupError, match=f"no active account '{UNLISTED}'.*nothing will be sent"):
        async with desk.guard(ready=False, **elsewhere):
            pass

    assert desk.truth()["orders"] == before
    assert (net(desk), cover(desk)) == (2, 2)
