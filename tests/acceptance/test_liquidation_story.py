"""Each way a flatten can go wrong, told against the exchange's own truth.

Every story ends in the same demand: the exchange holds nothing of the account any more, nothing was
sold or bought twice on the way, and the guard says FLAT then and not before.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.acceptance.scenarios.stage import later
from tests.app.desk import Desk, Guard, JumpingClock, a_desk, a_venue, full_disk, until

from backstop.adapters.projectx_server.config import ServerConfig
from backstop.core.liquidation import Liquidation, LiquidationState
from backstop.core.liquidation_scope import remaining
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.order import OrderState, OrderType, Side
from backstop.errors import DomainError
from backstop.simulator.exchange_config import PartialFill
from backstop.simulator.fault_rules import FaultKind, HubName
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLAT = LiquidationState.FLAT
LIVE = {"OPEN", "PENDING", "PENDING_CANCELLATION", "SUSPENDED"}
GOLD = "CON.F.US.GCE"


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


def a_venue_that(**switches: Any) -> Simulator:
    """Return a venue whose exchange has other switches than those of the other stories."""
    config = a_venue().config
    return Simulator(replace(config, exchange=replace(config.exchange, **switches)))


async def begun(guard: Guard, **changes: Any) -> str:
    decision = await guard.manager.liquidate(**({"reason": "enough", "operator": "ann"} | changes))
    assert decision.kind is DecisionKind.ACCEPTED
    assert decision.liquidation_id is not None
    return decision.liquidation_id


def run_of(guard: Guard, name: str) -> Liquidation:
    run = guard.manager.liquidation(name)
    assert run is not None
    return run


async def flat(desk: Desk, guard: Guard, name: str) -> None:
    """Wait until the guard says FLAT; nothing may be left at the exchange at that moment."""
    await until(
        lambda: run_of(guard, name).is_finished,
        lambda: (run_of(guard, name), remaining(guard.book, run_of(guard, name)), held(desk)),
    )
    assert run_of(guard, name).state is FLAT
    assert held(desk) == []
    await guard.agrees()


def held(desk: Desk) -> list[str]:
    """Return what the account has at the exchange: positions, and orders that can still fill."""
    truth = desk.truth()
    return [
        *(
            f"{row['quantity']:+d} {row['contractId']}"
            for row in truth["positions"]
            if row["accountId"] == desk.account
        ),
        *(
            f"{row['id']} {row['status']}"
            for row in truth["orders"]
            if row["accountId"] == desk.account and row["status"] in LIVE
        ),
    ]


def position(desk: Desk, contract_id: str) -> int:
    for row in desk.truth()["positions"]:
        if (row["accountId"], row["contractId"]) == (desk.account, contract_id):
            return int(row["quantity"])
    return 0


def traded(desk: Desk, side: Side) -> int:
    return sum(
        abs(row["quantity"])
        for row in desk.truth()["trades"]
        if row["accountId"] == desk.account and row["quantity"] * side.sign > 0
    )


def stops(desk: Desk) -> list[Mapping[str, Any]]:
    return [
        row
        for row in desk.truth()["orders"]
        if row["accountId"] == desk.account and row["type"] == "STOP" and row["status"] in LIVE
    ]


def told(guard: Guard, code: str) -> int:
    return sum(it.code == code for it in guard.book.alerts.alerts.values())


def knows_its_stop(guard: Guard, position: int) -> bool:
    """Say whether the guard has heard of a stop for all of its position, and moves it no more."""
    covers = guard.book.stop_cover(guard.instrument("MES").contract_id, position)
    return covers == abs(position) and not guard.book.protection.changes


async def bought(guard: Guard, desk: Desk, contract_id: str, size: int) -> None:
    """Have somebody else buy, and the guard hear of it."""
    desk.venue.exchange.place_manual(desk.account, contract_id, type=2, side=0, size=size)
    await until(lambda: guard.book.position(contract_id).quantity == size, "the position")


# -- the plain way ---------------------------------------------------------------------------------


async def test_positions_orders_and_legs_are_gone_and_the_latch_stays(desk: Desk) -> None:
    async with desk.guard("MNQ") as guard:
        await guard.enter(Side.BUY, 2)
        await guard.enter(Side.SELL, 1, symbol="MNQ")
        resting = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-60))
        await guard.reaches(resting.client_order_id, OrderState.WORKING)
        name = await begun(guard)
        await flat(desk, guard, name)

        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.HALTED
        assert told(guard, "LIQUIDATION_FLAT") == 1
        again = await guard.manager.submit_order(guard.request(Side.BUY, 1))
        assert again.kind is DecisionKind.REFUSED
        resumed = await guard.manager.resume(reason="over", operator="ann")
        assert resumed.kind is DecisionKind.ACCEPTED


@pytest.mark.scenario("E7")
async def test_a_position_in_a_symbol_absent_from_the_settings_is_closed_too(desk: Desk) -> None:
    async with desk.guard() as guard:
        gold = next(it for it in guard.book.instruments if it.startswith(GOLD))
        desk.venue.exchange.on_quote(
            gold, Decimal(2000), Decimal("2000.1"), 50, 50, Decimal(2000), 1, 0
        )
        await bought(guard, desk, gold, 2)
        await flat(desk, guard, await begun(guard))


async def test_orders_of_others_are_cancelled_in_a_liquidation_and_stay_in_a_close(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 1)
        contract_id = guard.instrument("MES").contract_id
        request = guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-80)
        desk.venue.exchange.place_manual(
            desk.account, contract_id, type=1, side=0, size=1, limit_price=request.limit_price
        )
        decision = await guard.manager.close_position("MES")
        name = decision.liquidation_id
        assert name is not None
        await until(lambda: run_of(guard, name).is_finished, lambda: run_of(guard, name))
        assert [it.rpartition(" ")[2] for it in held(desk)] == ["OPEN"]

        await flat(desk, guard, await begun(guard))


async def test_a_part_of_a_position_is_closed_and_no_more(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 3)
        contract_id = guard.instrument("MES").contract_id
        refused = await guard.manager.close_position("MES", quantity=4)
        assert refused.kind is DecisionKind.REFUSED
        decision = await guard.manager.close_position("MES", quantity=2)
        name = decision.liquidation_id
        assert name is not None
        await until(lambda: run_of(guard, name).is_finished, lambda: run_of(guard, name))

        assert position(desk, contract_id) == 1
        assert traded(desk, Side.SELL) == 2
        assert guard.book.latches == ()


# -- answers that never came -----------------------------------------------------------------------

CLOSES: list[tuple[FaultKind, dict[str, Any]]] = [
    (FaultKind.LOSE_RESPONSE, {}),
    (FaultKind.RESET_MID_BODY, {}),
    (FaultKind.RESET_BEFORE, {"count": 2}),
    (FaultKind.HTTP_ERROR, {"http_status": 500, "accepted": True}),
    (FaultKind.HTTP_ERROR, {"http_status": 503, "accepted": False}),
    (FaultKind.HTML_BODY, {"http_status": 502, "accepted": True}),
    (FaultKind.CUT_JSON, {}),
    (FaultKind.PENDING, {"delay_ms": 200}),
    (FaultKind.DELAY_RESPONSE, {"delay_ms": 1_500}),
    (FaultKind.DELAY_REQUEST, {"delay_ms": 700}),
]


@pytest.mark.parametrize(("act", "details"), CLOSES)
async def test_a_close_without_a_good_answer_sells_what_is_held_and_no_more(
    desk: Desk, act: FaultKind, details: dict[str, Any]
) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 2)
        # The hub stays silent about it: only reading the account can say what became of it.
        desk.mischief("now", FaultKind.HUB_MUTE, hub=HubName.USER, for_ms=1_000)
        desk.mischief("Position/closeContract", act, **details)
        await flat(desk, guard, await begun(guard))

        assert desk.strikes(act) >= 1
        assert traded(desk, Side.SELL) == 2


async def test_refused_for_too_many_calls_it_goes_on_knocking(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 2)
        for call in ("Position/closeContract", "Order/cancel", "Position/searchOpen"):
            desk.mischief(call, FaultKind.HTTP_ERROR, http_status=429, count=2)
        await flat(desk, guard, await begun(guard))

        assert desk.strikes(FaultKind.HTTP_ERROR) == 6
        assert traded(desk, Side.SELL) == 2


async def test_lost_cancels_are_asked_for_again(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 1)
        desk.mischief("Order/cancel", FaultKind.RESET_BEFORE, count=2)
        await flat(desk, guard, await begun(guard))

        assert desk.strikes(FaultKind.RESET_BEFORE) == 2


async def test_without_a_network_the_latch_is_durable_and_the_flatten_comes_first_afterwards(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 2)
        desk.mischief("any_call", FaultKind.RESET_BEFORE, count=None)
        desk.mischief("now", FaultKind.HUB_FREEZE)
        name = await begun(guard)
        await until(lambda: desk.strikes(FaultKind.RESET_BEFORE) > 3, "calls that fail")
        assert not run_of(guard, name).is_finished
        assert held(desk) != []
    # The process ends with the network still away; the next one finds the latch in its record.
    async with desk.guard(ready=False) as guard:
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.HALTED
        assert not run_of(guard, name).is_finished
        desk.venue.faults.heal()
        desk.venue.faults.add(desk.venue.config.faults)
        await flat(desk, guard, name)


# -- the market does as it pleases -----------------------------------------------------------------


@pytest.mark.scenario("E3")
async def test_a_halted_market_is_waited_for_with_the_stop_in_place(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 2)
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: len(stops(desk)) == 1, lambda: stops(desk))
        desk.venue.exchange.set_market_open(contract_id, False)
        try:
            name = await begun(guard)
            await until(
                lambda: told(guard, "MARKET_CLOSED_WHILE_LIQUIDATING") == 1,
                lambda: run_of(guard, name),
            )
            await until(lambda: guard.book.closes[contract_id].times >= 3, "retries")
            assert run_of(guard, name).state is LiquidationState.CLOSING
            assert remaining(guard.book, run_of(guard, name))[0].quantity == 2
            assert len(stops(desk)) == 1
        finally:
            desk.venue.exchange.set_market_open(contract_id, True)
        await flat(desk, guard, name)

        assert told(guard, "MARKET_CLOSED_WHILE_LIQUIDATING") == 1
        assert told(guard, "LIQUIDATION_ESCALATED") == 0


async def test_a_close_that_is_rejected_while_the_market_trades_calls_a_person(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(Side.BUY, 2)
        await until(lambda: knows_its_stop(guard, 2), lambda: stops(desk))
        words = {"code": 5, "message": "risk check failed", "count": None}
        desk.mischief("Position/closeContract", FaultKind.ERROR_CODE, **words)
        name = await begun(guard)

        def is_escalated() -> bool:
            later(guard, clock, 5)
            return run_of(guard, name).state is LiquidationState.ESCALATED

        await until(is_escalated, lambda: run_of(guard, name))
        (call,) = (
            it for it in guard.book.alerts.alerts.values() if it.code == "LIQUIDATION_ESCALATED"
        )
        assert "risk check failed" in call.message
        assert "Stops work for all that is held" in call.message
        assert told(guard, "MARKET_CLOSED_WHILE_LIQUIDATING") == 0
        desk.venue.faults.heal()
        await flat(desk, guard, name)


async def test_flat_by_lists_that_lie_is_not_the_end_while_the_latch_stands(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(Side.BUY, 2)
        await until(lambda: knows_its_stop(guard, 2), lambda: stops(desk))
        desk.mischief("Position/closeContract", FaultKind.ERROR_CODE, code=1, count=None)
        desk.mischief("Position/searchOpen", FaultKind.EMPTY_LIST, count=None)
        name = await begun(guard)

        def is_over() -> bool:
            later(guard, clock, 1)
            return run_of(guard, name).is_finished

        contract_id = guard.instrument("MES").contract_id
        await until(lambda: guard.position() == 0 or is_over(), lambda: run_of(guard, name))
        assert len(stops(desk)) == 1, "reads of one moment cost no stop"
        await until(is_over, lambda: run_of(guard, name))
        assert position(desk, contract_id) == 2
        desk.venue.faults.heal()
        desk.venue.faults.add(desk.venue.config.faults)

        def is_closed() -> bool:
            later(guard, clock, 1)
            return held(desk) == []

        await until(is_closed, lambda: held(desk))
        again = next(reversed(guard.book.liquidations))
        assert again != name
        await flat(desk, guard, again)
        assert (traded(desk, Side.BUY), traded(desk, Side.SELL)) == (2, 2)


async def test_a_stop_that_fires_at_the_same_moment_leaves_nothing_on_the_other_side(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 2)
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: guard.book.stop_cover(contract_id, 2) == 2, "a stop for both")
        guard.move_market(-450)
        await flat(desk, guard, await begun(guard))

        assert traded(desk, Side.SELL) == traded(desk, Side.BUY)


@pytest.mark.scenario("E1")
@pytest.mark.parametrize("side", Side)
async def test_a_close_that_rests_half_filled_is_cancelled_and_the_rest_closed(
    tmp_path: Path, side: Side
) -> None:
    """The exchange stops after the first half; the rest would wait for a minute."""
    venue = a_venue_that(partial_fill=PartialFill.SLICES, fill_slices=2, slice_gap_us=300_000_000)
    async with venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            for _ in range(2):
                await guard.enter(side, 1)
            name = await begun(guard)
            await flat(desk, guard, name)

            assert traded(desk, side.opposite) == 2
            exit_side = "ASK" if side is Side.BUY else "BID"
            closing = [row for row in desk.orders() if row["side"] == exit_side]
            assert [(row["status"], row["fillVolume"]) for row in closing] == [
                ("CANCELLED", 1),
                ("FILLED", 1),
            ]


# -- crashes, and calls ----------------------------------------------------------------------------


@pytest.mark.scenario("E8")
async def test_a_liquidation_goes_on_in_the_next_process_and_stays_latched(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 2)
        contract_id = guard.instrument("MES").contract_id
        desk.venue.exchange.set_market_open(contract_id, False)
        name = await begun(guard)
        await until(lambda: contract_id in guard.book.closes, "a first close")
    desk.venue.exchange.set_market_open(contract_id, True)
    async with desk.guard(ready=False) as guard:
        await flat(desk, guard, name)
        refused = await guard.manager.submit_order(guard.request(Side.BUY, 1))
        assert refused.kind is DecisionKind.REFUSED
        with pytest.raises(DomainError, match="operator"):
            await guard.manager.resume(reason="", operator="")
        assert traded(desk, Side.SELL) == 2


async def test_a_full_disk_holds_no_position_open(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 2)
        resting = await guard.send(
            guard.request(Side.SELL, 2, OrderType.LIMIT, ticks=-300, protected=False)
        )
        await guard.reaches(resting.client_order_id, OrderState.WORKING)
        with full_disk(guard):
            name = await begun(guard)
            await flat_at_the_exchange(desk)
        await flat(desk, guard, name)
    async with desk.guard(ready=False) as guard:
        assert run_of(guard, name).state is FLAT
        assert guard.book.latches


async def flat_at_the_exchange(desk: Desk) -> None:
    await until(lambda: held(desk) == [], lambda: held(desk))


async def test_twenty_positions_are_flat_within_the_calls_of_a_minute(tmp_path: Path) -> None:
    config = a_venue().config
    async with Simulator(replace(config, server=ServerConfig())) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            active = [it for it in guard.book.instruments.values() if it.active]
            for instrument in active[:20]:
                venue.exchange.place_manual(
                    desk.account, instrument.contract_id, type=2, side=0, size=1
                )
            await until(
                lambda: sum(bool(view.quantity) for view in guard.book.positions.values()) == 20,
                lambda: [view for view in guard.book.positions.values() if view.quantity],
            )
            await flat(desk, guard, await begun(guard))

            assert told(guard, "LIQUIDATION_ESCALATED") == 0


async def test_nothing_is_sent_in_dry_run(desk: Desk) -> None:
    async with desk.guard(DRY_RUN=True) as guard:
        contract_id = guard.instrument("MES").contract_id
        await bought(guard, desk, contract_id, 2)
        name = await begun(guard)
        await asyncio.wait_for(guard.agrees(), timeout=30)

        assert run_of(guard, name).state is LiquidationState.LATCHED
        assert position(desk, contract_id) == 2
        assert told(guard, "LIQUIDATION_NOT_SENT") == 1
