"""Section D: protective orders. Lines that other stories play in full are marked there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from tests.acceptance.scenarios.stage import (
    STOP_TYPES,
    alerts,
    cover,
    cut_off,
    flat,
    levels,
    net,
    protected,
    quote_at,
    restored,
    struck,
    trades,
    working,
)
from tests.app.desk import Desk, Guard, a_desk, a_venue, audited, until

from backstop.adapters.projectx.wire import WireOrderType, WireSide
from backstop.core.protection_situation import Protection, is_in_place, protection_of
from backstop.core.step import DecisionKind
from backstop.domain.order import OrderType
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEVER_US = 300_000_000
"""A minute for the test at the speed of the venue: longer than anything here waits."""

REFUSALS = 4


def contract(guard: Guard) -> str:
    return guard.instrument("MES").contract_id


def ours(desk: Desk) -> list[tuple[str, int, str]]:
    """Return what the guard placed by itself: it is audited like every order."""
    rows = audited(
        desk.folder / "state",
        "SELECT Side, Quantity, Status FROM OrderAudit WHERE ClientOrderId LIKE 'protect:%'",
    )
    return [(side, quantity, status) for side, quantity, status in rows]


def last_price(guard: Guard) -> Decimal:
    quote = guard.manager.quotes.reference(contract(guard))
    assert quote is not None
    assert quote.last is not None
    return quote.last


async def unlinked(guard: Guard, desk: Desk, quantity: int) -> None:
    """Enter contract by contract, and have the guard place one stop and one target for all.

    At the venue those two know nothing of each other.
    """
    for number in range(quantity):
        await guard.enter(kind=OrderType.LIMIT, ticks=8 + number, protected=False)
    await until(lambda: guard.position() == quantity, guard.position)
    middle = last_price(guard)
    decision = await guard.manager.protect_position(
        "MES", stop_price=middle - 100, take_profit_price=middle + 100
    )
    assert decision.kind is DecisionKind.ACCEPTED
    await protected(desk, quantity)
    await until(lambda: targets(desk) == [quantity], lambda: working(desk))


def targets(desk: Desk) -> list[int]:
    return [row["size"] - row["fillVolume"] for row in working(desk) if row["type"] == "LIMIT"]


def is_never_short(desk: Desk) -> bool:
    held = 0
    for trade in trades(desk):
        held += trade["quantity"]
        if held < 0:
            return False
    return True


@asynccontextmanager
async def always(desk: Desk, holds: Callable[[], bool]) -> AsyncIterator[None]:
    """Look all the time whether something holds at the exchange; fail when it once did not."""
    broken: list[str] = []

    async def look() -> None:
        while True:
            if not holds():
                broken.append(f"{net(desk)} held, {working(desk)}")
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
    assert broken == []


# -- D2 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("D2")
async def test_a_stop_that_does_not_begin_to_work_protects_nothing(tmp_path: Path) -> None:
    async with a_venue(bracket_activation_us=(NEVER_US, NEVER_US)) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            await guard.enter(quantity=2)
            await until(
                lambda: protection_of(guard.book, contract(guard)) is not Protection.PROTECTED,
                "naked",
            )
            await protected(desk, 2)
            await until(lambda: ours(desk) == [("SELL", 2, "WORKING")], lambda: ours(desk))

            legs = [row for row in desk.truth()["orders"] if row["leg"] is not None]
            assert {row["status"] for row in legs} <= {"SUSPENDED", "PENDING", "CANCELLED"}
            assert guard.book.protection.record(contract(guard)).naked_max_ns > 0


# -- D4 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("D4")
@pytest.mark.parametrize("fires", [False, True], ids=["the stop waits", "the stop fired too"])
async def test_a_stop_that_outlived_its_target_is_cancelled_or_undone(
    desk: Desk, *, fires: bool
) -> None:
    async with desk.guard(STOP_REQUIRED=False, DUPLICATE_WINDOW_MS=0) as guard:
        await unlinked(guard, desk, 2)
        middle = last_price(guard)
        cut_off(desk)
        await until(lambda: not guard.book.links.user_up, "the hub is gone")
        quote_at(desk, contract(guard), middle + 110)
        await until(lambda: net(desk) == 0, lambda: working(desk))
        if fires:
            quote_at(desk, contract(guard), middle - 110)
            await until(lambda: net(desk) == -2, lambda: working(desk))
        restored(desk)
        await flat(desk)
        await until(lambda: guard.book.links.user_up, "the hub is back")
        await guard.agrees()

        assert ("STOP_OPENED_POSITION" in alerts(guard)) is fires
        assert is_never_short(desk) is not fires


# -- D5 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("D5")
async def test_a_stop_that_is_trailed_under_refused_calls_leaves_no_gap(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await until(lambda: is_in_place(guard.book, contract(guard)), "in place")
        (level,) = levels(desk)
        # The move is made in place, so the old level holds for as long as it is refused.
        refusal = {"http_status": 429, "count": None, "name": "refused"}
        desk.mischief("Order/modify", FaultKind.HTTP_ERROR, **refusal)
        async with always(desk, lambda: cover(desk) == abs(net(desk)) == 2):
            asking = asyncio.create_task(
                guard.manager.protect_position("MES", stop_price=level + 10)
            )
            await until(
                lambda: struck(desk, FaultKind.HTTP_ERROR, "Order/modify") >= REFUSALS,
                "the move is asked for again and again",
            )
            assert levels(desk) == [level]
            restored(desk, "refused")
            await until(lambda: levels(desk) == [level + 10], lambda: levels(desk))
            assert (await asking).kind is DecisionKind.ACCEPTED
        await guard.agrees()

        assert ours(desk) == []
        assert "POSITION_NAKED" not in alerts(guard)
        assert len(desk.orders()) == 1, "nothing was closed"


# -- D6 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("D6")
async def test_an_added_contract_without_a_stop_of_its_own_is_closed_and_the_rest_stays(
    tmp_path: Path,
) -> None:
    async with a_venue(bracket_activation_us=(NEVER_US, NEVER_US)) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            await guard.enter(quantity=2)
            await protected(desk, 2)
            await until(lambda: is_in_place(guard.book, contract(guard)), "in place")
            before = levels(desk)
            # The entry arrives; no stop after it does.
            desk.mischief("Order/place", FaultKind.RESET_BEFORE, nth=2, count=None)
            added = await guard.enter()
            await protected(desk, 2)
            await until(lambda: guard.position() == 2, guard.position)

            assert struck(desk, FaultKind.RESET_BEFORE, "Order/place") >= 1
            assert levels(desk) == before
            assert added.filled_quantity == 1
            naked = [
                it.message
                for it in guard.book.alerts.alerts.values()
                if it.code != "GUARD_STOOD_STILL"  # as on a machine with very much to do
            ]
            assert [it[:8] for it in naked] == ["1 of +3 "]
            assert "no stop could be proven" in naked[0]
            assert guard.book.latches == ()


# -- D7 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("D7")
async def test_a_stop_that_filled_in_part_goes_on_and_the_target_follows(tmp_path: Path) -> None:
    async with a_venue(fill_slices=3, slice_gap_us=NEVER_US) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard(STOP_REQUIRED=False, DUPLICATE_WINDOW_MS=0) as guard:
            await unlinked(guard, desk, 3)
            (level,) = levels(desk)
            quote_at(desk, contract(guard), level)
            await protected(desk, 2)
            await until(lambda: targets(desk) == [2], lambda: working(desk))
            await guard.agrees()

            (stop,) = [row for row in working(desk) if row["type"] in STOP_TYPES]
            assert (stop["size"] - stop["fillVolume"], stop["fillVolume"]) == (2, 1)
            assert guard.position() == 2


# -- D10 -----------------------------------------------------------------------------------------


@pytest.mark.scenario("D10")
async def test_a_stop_in_another_contract_or_account_covers_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    elsewhere = a_desk(desk.venue, tmp_path / "elsewhere")
    async with desk.guard("ES") as guard:
        here = contract(guard)
        mini = guard.instrument("ES").contract_id
        await guard.enter(quantity=2)
        await protected(desk, 2)
        (level,) = levels(desk)
        stop = {
            "type": int(WireOrderType.STOP),
            "side": int(WireSide.ASK),
            "size": 2,
            "stop_price": level + 10,
        }
        exchange = desk.venue.exchange
        strangers = [
            exchange.place_manual(desk.account, mini, **stop).order_id,
            exchange.place_manual(elsewhere.account, here, **stop).order_id,
        ]
        await until(
            lambda: strangers[0] in {row["id"] for row in working(desk)}, lambda: working(desk)
        )
        await until(
            lambda: [row["id"] for row in working(elsewhere)] == strangers[1:],
            lambda: working(elsewhere),
        )
        (old,) = [it for it in working(desk) if it["leg"] and it["type"] in STOP_TYPES]
        exchange.cancel(desk.account, old["id"])
        await until(lambda: ours(desk) == [("SELL", 2, "WORKING")], lambda: ours(desk))
        await until(
            lambda: guard.book.stop_cover(here, 2) == 2, lambda: guard.book.working_stops(here, 2)
        )

        own = [
            row for row in working(desk) if row["type"] in STOP_TYPES and row["contractId"] == here
        ]
        assert [row["size"] for row in own] == [2]
        assert net(desk) == 2
