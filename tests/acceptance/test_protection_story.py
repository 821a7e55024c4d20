"""How positions stay protected, told on real sockets against the exchange's own truth.

Each story follows a situation in which somebody was left without a stop, or with one too many. In
the end the working stops at the exchange equal the position there, or nothing is left.
"""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.app.desk import Desk, Guard, a_desk, a_venue, audited, until

from backstop.adapters.projectx.wire import ModifyBody, WireOrderType, WireSide
from backstop.core.protection_situation import Protection, is_in_place, protection_of
from backstop.core.step import DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState, Side
from backstop.simulator.exchange_config import BracketMode, LegPastMarket, LegsOnPartialExit
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

STOPS = {"STOP", "TRAILING_STOP"}


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue(speed=1.0) as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


@pytest_asyncio.fixture(loop_scope="module")
async def switched(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """Return a desk at a venue of its own, with other switches."""
    plain = a_venue(speed=1.0).config
    exchange = replace(plain.exchange, **request.param)
    async with Simulator(replace(plain, exchange=exchange)) as venue:
        yield a_desk(venue, tmp_path)


def held(desk: Desk) -> int:
    """Return the true position in MES."""
    rows = [row for row in desk.truth()["positions"] if row["accountId"] == desk.account]
    return sum(row["quantity"] for row in rows if ".MES." in row["contractId"])


def working(desk: Desk) -> list[Any]:
    rows = desk.truth()["orders"]
    return [row for row in rows if row["accountId"] == desk.account and row["status"] == "OPEN"]


def cover(desk: Desk) -> int:
    """Return the contracts that working stops at the exchange would close."""
    side = "ASK" if held(desk) > 0 else "BID"
    return sum(
        row["size"] - row["fillVolume"]
        for row in working(desk)
        if row["type"] in STOPS and row["side"] == side
    )


def levels(desk: Desk) -> list[Decimal]:
    rows = desk.venue.exchange.open_orders(desk.account)
    return sorted(row.stop_price for row in rows if row.stop_price is not None)


async def protected(desk: Desk, position: int) -> None:
    """Wait until the exchange holds ``position`` and stops for exactly that."""
    await until(
        lambda: (held(desk), cover(desk)) == (position, abs(position)),
        lambda: f"{position} covered: {desk.truth()['positions']}, {working(desk)}",
    )


async def settled(guard: Guard) -> None:
    """Wait until the guard has heard of it, and legs stand at the levels that were asked for."""
    await until(lambda: is_in_place(guard.book, contract(guard)), "the guard knows")


async def flat(desk: Desk) -> None:
    await until(lambda: held(desk) == 0 and not working(desk), lambda: f"flat: {working(desk)}")


def contract(guard: Guard) -> str:
    return guard.instrument("MES").contract_id


def ours(desk: Desk) -> list[Any]:
    """Return what the guard placed by itself: it is audited like every order."""
    return audited(
        desk.folder / "state",
        "SELECT Side, Quantity, Status FROM OrderAudit WHERE ClientOrderId LIKE 'protect:%'",
    )


def alerts(guard: Guard) -> list[str]:
    return [alert.code for alert in guard.book.alerts.alerts.values()]


async def take_the_stop_away(desk: Desk) -> None:
    """Cancel the working stops on the firm's web page."""
    stops = [row for row in working(desk) if row["type"] in STOPS]
    assert stops
    for row in stops:
        desk.venue.exchange.cancel(desk.account, row["id"])
    gone = {row["id"] for row in stops}
    await until(lambda: not gone & {row["id"] for row in working(desk)}, "the stops are gone")


# -- what the venue does by itself -----------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
async def test_an_entry_is_covered_by_its_bracket_and_by_nothing_else(
    desk: Desk, side: Side
) -> None:
    async with desk.guard() as guard:
        await guard.enter(side, 3)
        await protected(desk, 3 * side.sign)
        await guard.agrees()

        await until(
            lambda: protection_of(guard.book, contract(guard)) is Protection.PROTECTED,
            "the guard knows",
        )
        assert ours(desk) == []
        assert len(desk.orders()) == 1


async def test_scaling_in_ends_with_stops_for_all_of_it(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        await guard.enter(quantity=1)
        await protected(desk, 3)
        await settled(guard)

        assert len(levels(desk)) == 2
        assert ours(desk) == []


# -- what the guard does ---------------------------------------------------------------------------


async def test_a_stop_that_somebody_took_away_is_put_back_and_audited(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        (level,) = levels(desk)
        await take_the_stop_away(desk)
        await protected(desk, 2)
        await guard.agrees()

        assert levels(desk) == [level]
        await until(lambda: ours(desk) == [("SELL", 2, "WORKING")], lambda: ours(desk))
        await until(lambda: guard.book.position(contract(guard)).naked_since_ns == 0, "cover")
        assert guard.book.protection.record(contract(guard)).naked_max_ns > 0


async def test_stop_and_target_shrink_with_a_partial_exit(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=3)
        await protected(desk, 3)
        await settled(guard)
        await guard.enter(Side.SELL, 1, protected=False)
        await protected(desk, 2)
        await until(
            lambda: [row["size"] for row in working(desk) if row["type"] == "LIMIT"] == [2],
            lambda: working(desk),
        )


@pytest.mark.parametrize(
    "switched", [{"legs_on_partial_exit": LegsOnPartialExit.CANCEL}], indirect=True
)
async def test_a_bracket_that_a_partial_exit_dropped_is_put_back(switched: Desk) -> None:
    desk = switched
    async with desk.guard() as guard:
        await guard.enter(quantity=3)
        await protected(desk, 3)
        await settled(guard)
        level = levels(desk)
        await guard.enter(Side.SELL, 1, protected=False)
        await until(lambda: len(ours(desk)) == 2, lambda: working(desk))
        await protected(desk, 2)

        assert levels(desk) == level
        await until(
            lambda: sorted(row["type"] for row in working(desk)) == ["LIMIT", "STOP"],
            lambda: working(desk),
        )


@pytest.mark.parametrize("switched", [{"resize_leg": False}], indirect=True)
async def test_a_leg_that_cannot_shrink_is_replaced_without_a_gap(switched: Desk) -> None:
    desk = switched
    async with desk.guard() as guard:
        await guard.enter(quantity=3)
        await protected(desk, 3)
        await settled(guard)
        watching = asyncio.create_task(_least_cover(desk))
        await guard.enter(Side.SELL, 1, protected=False)
        await protected(desk, 2)
        watching.cancel()
        least = await asyncio.gather(watching, return_exceptions=True)

        assert least[0] is not None
        assert [row[1] for row in ours(desk) if row[2] == "WORKING"].count(2) >= 1


async def _least_cover(desk: Desk) -> None:
    """Look at the exchange all the time; a gap ends the test."""
    while True:
        assert cover(desk) >= abs(held(desk))
        await asyncio.sleep(0)


# -- closed instead --------------------------------------------------------------------------------


@pytest.mark.scenario("D1")
@pytest.mark.parametrize(
    "switched",
    [{"leg_past_market": LegPastMarket.REJECT, "bracket_activation_us": (400_000, 400_000)}],
    indirect=True,
)
async def test_a_refused_stop_closes_the_position_at_once(switched: Desk) -> None:
    desk = switched
    async with desk.guard() as guard:
        fallen = guard.manager.quotes.reference(contract(guard))
        assert fallen is not None
        assert fallen.last is not None
        await guard.enter(quantity=2)
        falling = asyncio.create_task(_stay_at(desk, contract(guard), fallen.last - 150))
        await flat(desk)
        falling.cancel()
        await guard.agrees()

        assert "STOP_REJECTED" in alerts(guard)
        assert guard.book.protection.naked_max_ns > 0
        assert guard.book.latches == ()


async def _stay_at(desk: Desk, contract_id: str, price: Decimal) -> None:
    """Let the market trade at ``price`` all the time, whatever the feed says in between."""
    while True:
        desk.venue.exchange.on_quote(contract_id, price, price, 500, 500, price, 500, 0)
        await asyncio.sleep(0)


async def test_what_cannot_be_proven_protected_within_a_second_is_closed(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        desk.mischief("Order/place", FaultKind.RESET_BEFORE, count=None)
        await take_the_stop_away(desk)
        await flat(desk)

        assert "POSITION_NAKED" in alerts(guard)
        (alert,) = [it for it in guard.book.alerts.alerts.values() if it.code == "POSITION_NAKED"]
        assert " ms" in alert.message


# -- restarts --------------------------------------------------------------------------------------


@pytest.mark.scenario("D3")
async def test_a_restart_adopts_the_stop_that_works(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
    before = [row["id"] for row in working(desk)]

    async with desk.guard() as guard:
        await guard.agrees()
        await until(lambda: is_in_place(guard.book, contract(guard)), "in place")

        assert [row["id"] for row in working(desk)] == before
        assert ours(desk) == []


async def test_a_stop_that_went_while_nobody_watched_is_put_back_first(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        level = levels(desk)
    await take_the_stop_away(desk)

    async with desk.guard(ready=False):
        await protected(desk, 2)

        assert levels(desk) == level
        await until(lambda: ours(desk) == [("SELL", 2, "WORKING")], lambda: ours(desk))


async def test_a_target_that_filled_while_nobody_watched_takes_its_stop_along(desk: Desk) -> None:
    """Both are the guard's own and not linked: the first act is to cancel the stop."""
    async with desk.guard(STOP_REQUIRED=False) as guard:
        await guard.enter(quantity=2, protected=False)
        await until(lambda: held(desk) == 2, "the fill")
        last = guard.manager.quotes.reference(contract(guard))
        assert last is not None
        assert last.last is not None
        decision = await guard.manager.protect_position(
            "MES", stop_price=last.last - 100, take_profit_price=last.last + 100
        )
        assert decision.kind is DecisionKind.ACCEPTED
        await protected(desk, 2)
        instrument = guard.instrument("MES")
    top = last.last + 101
    desk.venue.exchange.on_quote(instrument.contract_id, top, top, 500, 500, top, 500, 0)
    await until(lambda: held(desk) == 0, "the target filled")
    assert [row["type"] for row in working(desk)] == ["STOP"]

    async with desk.guard(ready=False) as guard:
        await flat(desk)
        await guard.agrees()


# -- what others do --------------------------------------------------------------------------------


async def test_contracts_from_the_web_page_get_the_default_stop(desk: Desk) -> None:
    async with desk.guard(DEFAULT_STOP_TICKS=200) as guard:
        desk.venue.exchange.place_manual(
            desk.account,
            contract(guard),
            type=int(WireOrderType.MARKET),
            side=int(WireSide.ASK),
            size=2,
        )
        await protected(desk, -2)
        await guard.agrees()

        assert [row[:2] for row in ours(desk)] == [("BUY", 2)]


async def test_a_move_on_the_web_page_is_what_is_put_back_later(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        (stop,) = [row for row in working(desk) if row["type"] == "STOP"]
        wanted = levels(desk)[0] + 10
        body = ModifyBody(account_id=desk.account, order_id=stop["id"], stop_price=wanted)
        assert desk.venue.exchange.modify(body).code == 0
        record = guard.book.protection
        await until(
            lambda: (
                [lot.stop_ticks for lot in record.record(contract(guard)).lots] == [int(wanted * 4)]
            ),
            "the move is on record",
        )
        await take_the_stop_away(desk)
        await protected(desk, 2)

        assert levels(desk) == [wanted]


# -- wishes ----------------------------------------------------------------------------------------


async def test_levels_that_are_asked_for_stand_when_the_answer_comes(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        nearer = levels(desk)[0] + 20
        decision = await guard.manager.protect_position("MES", stop_price=nearer + Decimal("0.1"))

        assert decision.kind is DecisionKind.ACCEPTED
        assert levels(desk) == [nearer + Decimal("0.25")]
        assert cover(desk) == 2


@pytest.mark.scenario("D13")
async def test_a_stop_on_the_wrong_side_is_refused_before_it_is_sent(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        level = levels(desk)
        decision = await guard.manager.protect_position("MES", stop_price=Decimal(9000))

        assert decision.kind is DecisionKind.REFUSED
        assert [it.code for it in decision.denials] == [DenialCode.BRACKET_STOP_SIDE]
        assert levels(desk) == level


@pytest.mark.scenario("D9")
async def test_a_flat_contract_takes_no_stop(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=1)
        await protected(desk, 1)
        await settled(guard)
        guard.move_market(-500)
        await flat(desk)
        await until(lambda: guard.position() == 0, guard.position)
        decision = await guard.manager.protect_position("MES", stop_price=Decimal(5000))

        assert decision.kind is DecisionKind.NOT_POSSIBLE
        assert "flat" in decision.message


@pytest.mark.scenario("D12")
async def test_an_entry_right_after_an_exit_waits_for_the_old_stops_to_go(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await settled(guard)
        await guard.enter(Side.SELL, 2, protected=False)
        assert len(working(desk)) == 2, "legs outlive a position that an order closed"
        entry = await guard.enter(quantity=1)
        await protected(desk, 1)
        await guard.agrees()

        assert entry.state is OrderState.FILLED
        assert len([row for row in working(desk) if row["type"] == "STOP"]) == 1


# -- the other bracket mode ------------------------------------------------------------------------


@pytest.mark.scenario("D11")
async def test_an_account_with_position_brackets_is_named_and_nothing_is_retried(
    desk: Desk,
) -> None:
    assert desk.venue.exchange.set_bracket_mode(desk.account, BracketMode.POSITION)
    async with desk.guard() as guard:
        request = guard.request(quantity=2)
        order = await guard.send(request)
        await guard.reaches(request.client_order_id, OrderState.REJECTED)

        assert "Auto OCO" in guard.book.orders[order.client_order_id].venue_message
        assert "BRACKETS_REFUSED" in alerts(guard)
        assert len(desk.orders()) == 1
        assert held(desk) == 0
