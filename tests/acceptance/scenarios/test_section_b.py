"""Section B: fills, however they are told."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.scenarios.stage import (
    alerts,
    flat,
    levels,
    net,
    protected,
    recorded,
    restored,
    silence,
    stop_legs,
    struck,
    trades,
    unexplained,
)
from tests.app.desk import Desk, a_desk, a_venue, audited, until

from backstop.adapters.projectx.wire import WireOrderType, WireSide
from backstop.core.protection_situation import is_in_place
from backstop.core.realised import realised
from backstop.core.trading_state import LatchKind
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.fault_rules import FaultKind, HubName

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILLED = OrderState.FILLED
TRADE = "GatewayUserTrade"


def fill_rows(desk: Desk) -> list[tuple[int, int]]:
    """Return (trade id, contracts) of every row of FillAudit that was not voided."""
    rows = audited(
        desk.folder / "state",
        "SELECT FillId, FillQuantity FROM FillAudit WHERE NOT Voided ORDER BY FillId",
    )
    return [(int(fill), quantity) for fill, quantity in rows]


def result_micros(desk: Desk) -> int:
    """Return what the exchange says the account's closed contracts brought, before costs."""
    return sum(row["pnlMicros"] or 0 for row in trades(desk) if not row["voided"])


# -- B1 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("B1")
async def test_a_trade_told_three_times_counts_once(desk: Desk) -> None:
    async with desk.guard() as guard:
        entry = await guard.enter()
        desk.mischief(TRADE, FaultKind.DUPLICATE_EVENT, copies=1)
        exit_ = await guard.enter(Side.SELL, protected=False)
        (trade,) = exit_.fills
        await until(lambda: len(told(desk, trade.trade_id)) == 2, "both deliveries")
        await until(lambda: known_when_read(desk) > 0, "a read that shows it again")
        await guard.agrees()
        await until(lambda: not unexplained(guard), lambda: unexplained(guard))

        assert guard.book.counters.duplicate_trades == 1
        assert guard.position() == net(desk) == 0
        assert realised(guard.book.trades.values()).gross_micros == result_micros(desk)
        assert (entry.filled_quantity, exit_.filled_quantity) == (1, 1)
    assert fill_rows(desk) == [(row["id"], 1) for row in trades(desk)]


def known_when_read(desk: Desk) -> int:
    """Return how many trades the account's reads showed that were counted before, as recorded."""
    return sum(it.get("known_trades", 0) for it in recorded(desk, "AccountAudited"))


def told(desk: Desk, trade_id: int) -> list[Any]:
    """Return the deliveries of one trade by the stream, as recorded."""
    return [it for it in recorded(desk, "TradeReported") if it["trade"]["trade_id"] == trade_id]


# -- B2 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("B2")
async def test_a_turned_position_told_again_after_a_reconnect_stays(desk: Desk) -> None:
    async with desk.guard(ALLOW_FLIP=True) as guard:
        await guard.enter(quantity=2)
        # Every trade comes twice, the second time on the next connection.
        desk.mischief(TRADE, FaultKind.DUPLICATE_EVENT, count=None, copies=1, delay_ms=1_500)
        turn = await guard.enter(Side.SELL, 4)
        assert len(turn.fills) == 2
        generation = hub_generation(desk)
        desk.mischief("now", FaultKind.HUB_RESET, hub=HubName.USER)
        await until(lambda: hub_generation(desk) > generation, "the next connection")
        for fill in turn.fills:
            await until(lambda it=fill: len(told(desk, it.trade_id)) == 2, "the second delivery")  # type: ignore[misc]
        await guard.ready()
        await guard.agrees()
        await until(lambda: not unexplained(guard), lambda: unexplained(guard))

        assert guard.book.counters.duplicate_trades == 2
        assert guard.position() == net(desk) == -2
        assert len(desk.orders()) == 2


def hub_generation(desk: Desk) -> int:
    connected = [it for it in recorded(desk, "HubConnected") if it["hub"] == "USER"]
    return int(connected[-1]["generation"]) if connected else 0


# -- B3 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("B3")
async def test_a_fill_of_an_order_that_nobody_knows_counts_and_finds_its_owner(desk: Desk) -> None:
    # The answer with the order's id never came, and the process that waited for it is gone.
    async with desk.guard() as guard:
        silence(desk)
        desk.mischief("Order/place", FaultKind.DELAY_RESPONSE, delay_ms=5_000)
        for read in ("Order/search", "Order/v2/query"):
            desk.mischief(read, FaultKind.HTTP_ERROR, http_status=500, count=None, name="unread")
        contract_id = guard.instrument("MES").contract_id
        request = guard.request(kind=OrderType.LIMIT, ticks=-20)
        asking = asyncio.create_task(guard.manager.submit_order(request))
        await until(lambda: len(desk.orders()) == 1, "the order at the exchange")
    await asyncio.wait({asking})
    asking.exception()
    restored(desk, "silence")

    async with desk.guard(ready=False, DEFAULT_STOP_TICKS=100) as guard:
        desk.mischief("GatewayUserOrder", FaultKind.DROP_EVENT, count=None)
        await until(lambda: guard.book.links.user_up, "the hub")
        await until(lambda: guard.manager.quotes.reference(contract_id) is not None, "a quote")
        guard.move_market(-40)
        await until(lambda: guard.position() == 1, guard.position)
        assert guard.book.orders[request.client_order_id].state is OrderState.UNKNOWN

        restored(desk, "unread")
        order = await guard.reaches(request.client_order_id, FILLED)
        await guard.agrees()
        await guard.ready("MES")
        assert order.broker_order_id == desk.orders()[0]["id"]
        assert LatchKind.EXTERNAL not in {latch.kind for latch in guard.book.latches}

        # And one that is really somebody else's.
        placed = desk.venue.exchange.place_manual(
            desk.account,
            contract_id,
            type=int(WireOrderType.MARKET),
            side=int(WireSide.BID),
            size=2,
        )
        await until(lambda: guard.position() == 3, guard.position)
        # REDUCING comes at once: the lots have no stop. That they are nobody's is known only when
        # every list has been asked for an order of ours.
        await until(
            lambda: LatchKind.EXTERNAL in {latch.kind for latch in guard.book.latches},
            lambda: guard.book.latches,
        )
        await until(lambda: stop_legs(desk) == 3, desk.truth)
        refused = await guard.manager.submit_order(guard.request())
        await guard.agrees()

        assert DenialCode.STATE_REDUCING in {denial.code for denial in refused.denials}
        assert LatchKind.EXTERNAL in {latch.kind for latch in guard.book.latches}
    (row,) = audited(
        desk.folder / "state",
        "SELECT ClientOrderId, Quantity, Status FROM OrderAudit WHERE OrderId = ?",
        str(placed.order_id),
    )
    assert row == (None, 2, "FILLED")


# -- B4 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("B4")
async def test_more_contracts_than_were_asked_for_are_believed_and_protected(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.enter(quantity=3)
        await until(lambda: stop_legs(desk) == 3, desk.truth)
        desk.venue.exchange.overfill(order.broker_order_id or 0, 1)
        await until(lambda: guard.position() == 4, guard.position)
        await until(lambda: stop_legs(desk) == 4, desk.truth)
        await until(lambda: "OVERFILL" in alerts(guard), lambda: alerts(guard))
        refused = await guard.manager.submit_order(guard.request())
        told = await guard.manager.verify_execution(order.client_order_id)
        await guard.agrees()

        assert net(desk) == 4
        assert DenialCode.STATE_REDUCING in {denial.code for denial in refused.denials}
        assert LatchKind.CONTRADICTION in {latch.kind for latch in guard.book.latches}
        assert told is not None
        assert told.filled_quantity == 4
    assert sum(quantity for _, quantity in fill_rows(desk)) == 4


# -- B5 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("B5")
async def test_a_void_that_comes_first_leaves_nothing_to_count(desk: Desk) -> None:
    async with desk.guard() as guard:
        desk.mischief(TRADE, FaultKind.DELAY_EVENT, delay_ms=700)
        order = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=8))
        await until(lambda: len(trades(desk)) == 1, "the trade")
        (trade,) = trades(desk)
        desk.venue.exchange.bust_trade(trade["id"])
        await until(lambda: len(told(desk, trade["id"])) == 2, "the trade after its void")
        await guard.agrees()
        await until(lambda: not unexplained(guard), lambda: unexplained(guard))

        assert [it["trade"].get("voided", False) for it in told(desk, trade["id"])] == [True, False]
        assert guard.position() == net(desk) == 0
        assert guard.book.orders[order.client_order_id].filled_quantity == 0
        assert realised(guard.book.trades.values()).trades == 0
    assert fill_rows(desk) == []


async def test_a_position_that_a_void_of_its_exit_opens_again_has_its_stop_again(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: is_in_place(guard.book, contract_id), "its stop is where it is wanted")
        before = levels(desk)
        await guard.manager.close_position("MES")
        await flat(desk)
        await until(lambda: not guard.book.liquidating, "closed for good")
        for trade in [it for it in trades(desk) if it["quantity"] < 0]:
            desk.venue.exchange.bust_trade(trade["id"])
        await until(lambda: net(desk) == 2, lambda: trades(desk))
        await protected(desk, 2)
        await guard.agrees()

        assert levels(desk) == before
        assert guard.book.latches == ()
        assert alerts(guard) == []


# -- B6 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("B6")
async def test_a_half_turn_without_a_result_is_no_result_of_zero(desk: Desk) -> None:
    async with desk.guard() as guard:
        entry = await guard.enter(quantity=2)
        assert {fill.profit_and_loss_micros for fill in entry.fills} == {None}
        result = realised(guard.book.trades.values())
        assert (result.trades, result.closing_trades, result.gross_micros) == (2, 0, 0)

        await guard.enter(Side.SELL, 1, protected=False)
        await guard.agrees()
        result = realised(guard.book.trades.values())
        assert (result.trades, result.closing_trades) == (3, 1)
        assert result.gross_micros == result_micros(desk)
    stated = [it["trade"].get("profit_and_loss_micros") for it in recorded(desk, "TradeReported")]
    assert stated == [None, None, result.gross_micros]


# -- B7 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("B7")
async def test_two_fills_of_one_instant_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    async with a_venue(slice_gap_us=0) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            # The stream tells the first; the second is for the next read, which begins there.
            desk.mischief(TRADE, FaultKind.DROP_EVENT, nth=2, count=None)
            desk.mischief("Trade/search", FaultKind.EMPTY_LIST, count=None, name="boundary")
            order = await guard.send(guard.request(quantity=2))
            await guard.reaches(order.client_order_id, OrderState.PARTIALLY_FILLED)
            since_ns = guard.manager.now_ns()
            await until(lambda: guard.book.audit.complete_sent_ns > since_ns, "a complete read")
            restored(desk, "boundary")
            await guard.reaches(order.client_order_id, FILLED)
            await guard.agrees()
            await until(lambda: not unexplained(guard), lambda: unexplained(guard))

            assert len({row["createdUs"] for row in trades(desk)}) == 1
            assert len(trades(desk)) == 2
            assert guard.position() == net(desk) == 2
        async with desk.guard() as guard:
            await guard.agrees()
            assert guard.position() == 2
            assert guard.book.orders[order.client_order_id].filled_quantity == 2
    assert fill_rows(desk) == [(row["id"], 1) for row in trades(desk)]


# -- B8 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("B8")
async def test_fills_that_a_well_looking_stream_swallows_are_found_by_reading(desk: Desk) -> None:
    async with desk.guard(MAX_ORDERS_PER_SECOND=50) as guard:
        desk.mischief(TRADE, FaultKind.DROP_EVENT, nth=5, count=None)
        for event in ("GatewayUserOrder", "GatewayUserPosition"):
            desk.mischief(event, FaultKind.DROP_EVENT, count=None)
        # Nobody asks for a resting order by its number: only the reads of the account can tell.
        requests = [guard.request(kind=OrderType.LIMIT, ticks=8) for _ in range(18)]
        orders = await asyncio.gather(*map(guard.send, requests))
        for order in orders:
            await guard.reaches(order.client_order_id, FILLED)
        await guard.agrees()
        await until(lambda: not unexplained(guard), lambda: unexplained(guard))

        # A limit order may fill in parts: each is a trade of its own.
        assert struck(desk, FaultKind.DROP_EVENT, TRADE) == len(trades(desk)) - 4 >= 14
        assert guard.position() == net(desk) == 18
        assert len(desk.orders()) == 18
    assert len(recorded(desk, "TradeReported")) == 4
    assert len(fill_rows(desk)) == len(trades(desk))
    assert (hub_generation(desk), recorded(desk, "HubLost")) == (1, [])


# -- B9 ------------------------------------------------------------------------------------------

GAP_TICKS = 2_400


@pytest.mark.scenario("B9")
async def test_a_loss_through_a_gap_is_the_loss_of_the_fill(desk: Desk) -> None:
    async with desk.guard() as guard:
        entry = await guard.enter()
        await until(lambda: stop_legs(desk) == 1, desk.truth)
        level = entry.request.stop_loss_price
        assert level is not None
        guard.move_market(-GAP_TICKS)
        await until(lambda: guard.position() == 0, guard.position)
        await guard.agrees()

        fill = Decimal(trades(desk)[-1]["price"])
        points = fill - entry.fills[0].price
        asked = level - entry.fills[0].price
        point_value_micros = guard.instrument("MES").point_value_micros
        result = realised(guard.book.trades.values())
        assert fill < level
        assert result.gross_micros == int(points * point_value_micros) == result_micros(desk)
        assert result.gross_micros < int(asked * point_value_micros)
        assert result.net_micros < result.gross_micros
    (price,) = audited(
        desk.folder / "state", "SELECT FillPrice FROM FillAudit ORDER BY FillId DESC LIMIT 1"
    )[0]
    assert Decimal(str(price)) == fill
