"""Section A: orders that are sent, and what the silence after them means."""

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.acceptance.scenarios.stage import (
    EXPOSURE_LIMIT,
    ORDER_LISTS,
    alerts,
    cut_off,
    later,
    net,
    quoted_now,
    recorded,
    restored,
    room,
    searched,
    searched_in_vain,
    silence,
    slow_disk,
    states_of,
    stop_legs,
    struck,
    trades,
    worst_case,
)
from tests.app.desk import COLLAR_TICKS, Desk, Guard, JumpingClock, a_desk, a_venue, audited, until

from backstop.core.execution_verdict import Verdict
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState, OrderType, Rejection, Side
from backstop.entrypoints.http.status import status_view
from backstop.simulator.exchange_config import PartialFill
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILLED, UNKNOWN = OrderState.FILLED, OrderState.UNKNOWN


# -- A1 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("A1")
async def test_an_order_without_an_answer_is_found_once_the_venue_can_be_read(
    tmp_path: Path,
) -> None:
    async with a_venue(speed=1, market_fill_us=(200_000, 200_000)) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard(ES_NQ_MAX_COMBINED_EXPOSURE=EXPOSURE_LIMIT) as guard:
            free = room(guard)
            arrivals = intents_at_arrival(desk)
            desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
            silence(desk)
            with slow_disk(desk, held_s=0.2):
                asking = asyncio.create_task(guard.send(guard.request(quantity=2)))
                await until(lambda: any(guard.book.live_orders()), "the decision")
                cut_off(desk)
                order = await asking

            assert order.state is UNKNOWN
            assert arrivals == [1]  # when the exchange saw the order, its intent was on disk
            assert room(guard) == free - 2
            await until(lambda: net(desk) == 2, "the late fill")
            await until(lambda: struck(desk, FaultKind.RESET_BEFORE, *ORDER_LISTS) > 0, "a search")
            assert guard.book.orders[order.client_order_id].state is UNKNOWN

            restored(desk)
            order = await guard.reaches(order.client_order_id, FILLED)
            await until(lambda: stop_legs(desk) == 2, desk.truth)
            await guard.agrees()
            await guard.ready()

        assert order.filled_quantity == 2
        assert len(desk.orders()) == len(recorded(desk, "PlaceOrder")) == 1
        assert guard_trades(desk) == [row["id"] for row in trades(desk)]


def intents_at_arrival(desk: Desk) -> list[int]:
    """Return a list that gets, for each new order at the exchange, the intents on disk by then."""
    seen: list[int] = []
    known: set[int] = set()

    def look(event: Any) -> None:
        if event.target != "GatewayUserOrder" or event.data.custom_tag[-3:] in {"-SL", "-TP"}:
            return
        if event.data.id not in known:
            known.add(event.data.id)
            seen.append(len(recorded(desk, "PlaceOrder")))

    desk.venue.exchange.subscribe(look)
    return seen


def guard_trades(desk: Desk) -> list[int]:
    rows = audited(desk.folder / "state", "SELECT FillId FROM FillAudit ORDER BY FillId")
    return [int(fill) for (fill,) in rows]


# -- A2 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("A2")
async def test_orders_stay_of_unknown_fate_while_nothing_can_be_read(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock, ES_NQ_MAX_COMBINED_EXPOSURE=EXPOSURE_LIMIT) as guard:
        free = room(guard, Side.SELL)
        requests = [guard.request(Side.SELL, 1) for _ in range(6)]
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE, count=6)
        silence(desk)
        asking = [asyncio.create_task(guard.send(request)) for request in requests]
        await until(lambda: len(guard.book.live) == len(requests), "the decisions")
        cut_off(desk)
        orders = await asyncio.gather(*asking)
        await searched_in_vain(guard, clock, times=4)

        assert {guard.book.orders[it.client_order_id].state for it in orders} == {UNKNOWN}
        assert worst_case(guard, Side.SELL) == -6
        assert room(guard, Side.SELL) == free - 6
        shown = status_view(guard.manager).unknown_orders
        assert {it.client_order_id for it in shown} == {it.client_order_id for it in requests}
        refused = await guard.manager.submit_order(guard.request(Side.SELL, 1))
        assert DenialCode.STATE_HALTED in {denial.code for denial in refused.denials}
        assert any("emergency: " in latch.cause for latch in guard.book.latches)

        restored(desk)
        restored(desk, "silence")
        for order in orders:
            await guard.reaches(order.client_order_id, FILLED)
        await guard.agrees()

        assert net(desk) == -6
        assert len(desk.orders()) == len(recorded(desk, "PlaceOrder")) == 6
        assert [it for it in guard.book.venue_orders.values() if it.owner is None] == []
        again = await guard.manager.resume(reason="all six are there", operator="ann")
        assert again.kind is DecisionKind.ACCEPTED
        await guard.ready("MES")
    strangers = audited(
        desk.folder / "state",
        "SELECT count(*) FROM OrderAudit WHERE ClientOrderId IS NULL AND OrderId IN"
        " (SELECT OrderId FROM FillAudit)",
    )
    assert strangers == [(0,)]


# -- A3 ------------------------------------------------------------------------------------------

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}
ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "5000",
}


@pytest.mark.scenario("A3")
@pytest.mark.asyncio(loop_scope="function")
@pytest.mark.parametrize(("act", "arrived"), [("delay_response", 1), ("reset_before", 0)])
async def test_a_guard_killed_in_the_middle_of_an_order_searches_it_and_sends_nothing(
    bench: Any, act: str, arrived: int
) -> None:
    faults = [
        {"on": "Order/place", "act": act, "delay_ms": 60_000},
        *(
            {"on": event, "act": "drop_event", "count": None}
            for event in ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition")
        ),
    ]
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await guard.active()
            await on_venue(venue, "POST", "faults", faults)
            asking = asyncio.create_task(guard.ask("POST", "/v1/orders", ENTRY))
            async with asyncio.timeout(30):
                while not await struck_place(venue):  # noqa: ASYNC110 - another process decides
                    await asyncio.sleep(0.005)
            await guard.kill()
            await asyncio.wait({asking})
            asking.exception()

        async with bench.guard(**SENDING) as guard:
            wanted = "FILLED" if arrived else "UNKNOWN"
            record = await guard.until("/v1/orders/entry-1", lambda said: said["state"] == wanted)
            await until_searched(bench.folder / "state")
            if arrived:
                await guard.until(
                    "/v1/positions",
                    lambda said: [it["quantity"] for it in said["positions"]] == [2],
                )
            status, repeated = await guard.ask("POST", "/v1/orders", ENTRY)
            truth = await venue.truth()

    orders = [row for row in truth["orders"] if row["leg"] is None]
    assert [row["customTag"] for row in orders] == [record["custom_tag"]] * arrived
    assert (status, repeated["broker_order_id"]) == (200, record["broker_order_id"])
    assert [fill["fill_id"] for fill in record["fills"]] == [row["id"] for row in truth["trades"]]
    rows = audited(bench.folder / "state", "SELECT FillId FROM FillAudit ORDER BY FillId")
    assert rows == [(str(row["id"]),) for row in truth["trades"]]


async def on_venue(venue: Any, method: str, path: str, body: Any = None) -> Any:
    address = f"{venue.url}/_simulator/{path}"
    async with venue.session.request(method, address, json=body) as said:
        assert said.status == 200, await said.text()
        return await said.json()


async def struck_place(venue: Any) -> bool:
    said = await on_venue(venue, "GET", "faults")
    return "Order/place" in {it["on"] for it in said["applied"]}


async def until_searched(state_folder: Path) -> None:
    """Wait until the new process has read everything that could show the order, completely."""
    statement = (
        "SELECT count(*) FROM Journal WHERE kind = 'event' AND"
        " json_extract(CAST(payload AS TEXT), '$.kind') IN ('OrderLookedUp', 'AccountAudited')"
        " AND seq > (SELECT max(seq) FROM Journal WHERE"
        " json_extract(CAST(payload AS TEXT), '$.kind') = 'GuardStarted')"
    )
    await until(lambda: audited(state_folder, statement) > [(1,)], "reads of the new process")


# -- A4 ------------------------------------------------------------------------------------------

AFTER_ACCEPTANCE: list[tuple[FaultKind, dict[str, Any]]] = [
    (FaultKind.LOSE_RESPONSE, {}),
    (FaultKind.RESET_MID_BODY, {}),
    (FaultKind.HTTP_ERROR, {"http_status": 500, "accepted": True}),
    (FaultKind.HTTP_ERROR, {"http_status": 503, "accepted": True}),
    (FaultKind.HTML_BODY, {"http_status": 200, "accepted": True}),
    (FaultKind.HTML_BODY, {"http_status": 502, "accepted": True}),
    (FaultKind.CUT_JSON, {}),
    (FaultKind.MISSING_ORDER_ID, {}),
    (FaultKind.PENDING, {"delay_ms": 100}),
]


@pytest.mark.scenario("A4")
@pytest.mark.parametrize(("act", "details"), AFTER_ACCEPTANCE)
async def test_an_order_without_a_good_answer_is_found_and_never_sent_again(
    desk: Desk, act: FaultKind, details: dict[str, Any]
) -> None:
    async with desk.guard() as guard:
        # The hub stays silent about it: only reading the account can find it.
        silence(desk)
        desk.mischief("Order/place", act, **details)
        order = await guard.enter()
        await guard.agrees()

        assert desk.strikes(act) == 1
        assert states_of(order)[:3] == [OrderState.INTENDED, OrderState.SENT, UNKNOWN]
        assert OrderState.REJECTED not in states_of(order)
        assert order.filled_quantity == 1
        assert len(desk.orders()) == 1
        assert guard.position() == 1
    # One request, and no answer that names an order.
    assert [it["broker_order_id"] for it in recorded(desk, "PlaceAnswered")] == [None]


# -- A5 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("A5")
async def test_a_token_that_died_under_an_order_repeats_nothing(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        clock.jump(60)  # a token that dies at once after its login is not cured by another
        await quoted_now(guard)
        desk.mischief("Auth/loginKey", FaultKind.DELAY_REQUEST, count=None)  # only to count them
        # Neither the order nor a renewal passes with the old token, whoever uses it first.
        for call in ("Order/place", "Auth/validate"):
            desk.mischief(call, FaultKind.HTTP_ERROR, http_status=401)
        order = await guard.send(guard.request())
        name = order.client_order_id

        assert order.state is UNKNOWN
        assert "401" in order.venue_message
        await searched(guard, name, clock, times=2)
        assert guard.book.orders[name].state is UNKNOWN
        assert struck(desk, FaultKind.DELAY_REQUEST, "Auth/loginKey") == 1
        assert desk.orders() == []

        later(guard, clock, 60)
        await searched(guard, name, clock, times=2)
        order = await guard.reaches(name, OrderState.NOT_SUBMITTED)
        assert "absent" in order.transitions[-1].cause
        assert len(recorded(desk, "PlaceOrder")) == 1

        await quoted_now(guard)
        again = await guard.enter()
        await guard.agrees()

        assert [row["customTag"] for row in desk.orders()] == [again.custom_tag]
        assert len(recorded(desk, "PlaceOrder")) == 2


# -- A6 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("A6")
async def test_a_tag_in_use_is_evidence_for_the_first_request(desk: Desk, tmp_path: Path) -> None:
    """The record is lost, so a new guard sends the same intent once more."""
    async with desk.guard() as guard:
        request = guard.request(kind=OrderType.LIMIT, ticks=-300)
        await guard.send(request)
        await guard.reaches(request.client_order_id, OrderState.WORKING)

    async with desk.guard(BACKSTOP_STATE_DIR=tmp_path / "empty") as guard:
        await guard.send(request)
        order = await guard.reaches(request.client_order_id, OrderState.WORKING)
        alive = [row for row in desk.orders() if row["status"] == "OPEN"]

        assert UNKNOWN in states_of(order)
        assert "tag in use" in {step.cause for step in order.transitions}
        assert [row["id"] for row in alive] == [order.broker_order_id]
        assert {row["customTag"] for row in desk.orders()} == {order.custom_tag, None}
        assert len(desk.orders()) == 2  # the order, and the refused twin without a tag
        guard.move_market(-330)
        await guard.reaches(request.client_order_id, FILLED)
        await until(lambda: guard.position() == 1, guard.position)
        assert net(desk) == 1


# -- A7 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("A7")
async def test_a_fill_among_the_trades_outweighs_lists_that_deny_the_order(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        silence(desk)
        for endpoint in ORDER_LISTS:
            desk.mischief(endpoint, FaultKind.EMPTY_LIST, count=None)
        desk.mischief("Trade/search", FaultKind.EMPTY_LIST, count=None, name="trades")
        order = await guard.send(guard.request())
        await searched(guard, order.client_order_id, clock, times=5)
        await until(lambda: struck(desk, FaultKind.EMPTY_LIST, "Order/v2/query") >= 5, "searches")

        assert net(desk) == 1
        assert guard.book.orders[order.client_order_id].state is OrderState.WORKING

        restored(desk, "trades")
        order = await guard.reaches(order.client_order_id, FILLED)
        assert [fill.trade_id for fill in order.fills] == [row["id"] for row in trades(desk)]
        assert states_of(order)[-2:] == [OrderState.WORKING, FILLED]
        await until(lambda: guard.position() == 1, guard.position)


# -- A8 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("A8")
@pytest.mark.parametrize("act", [FaultKind.RESET_BEFORE, FaultKind.DELAY_REQUEST])
async def test_a_fill_that_overtakes_the_cancel_counts(desk: Desk, act: FaultKind) -> None:
    async with desk.guard() as guard:
        order = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-20))
        await until(lambda: desk.orders()[0]["status"] == "OPEN", desk.orders)
        desk.mischief("Order/cancel", act, delay_ms=300)
        await guard.manager.cancel_order(order.client_order_id, reason="changed my mind")
        await until(lambda: desk.strikes(act) == 1, "the cancel on its way")
        guard.move_market(-40)
        order = await guard.reaches(order.client_order_id, FILLED)
        told = await guard.manager.verify_execution(order.client_order_id)
        await until(lambda: stop_legs(desk) == 1, desk.truth)
        await until(lambda: len(recorded(desk, "CancelAnswered")) == 1, "the end of the cancel")
        await guard.agrees()

        assert told is not None
        assert told.filled_quantity == 1
        assert OrderState.CANCELLED not in states_of(guard.book.orders[order.client_order_id])
        assert guard.position() == net(desk) == 1
    # No answer, or one by which the order may just as well be gone: neither is believed.
    assert [it["answer"] for it in recorded(desk, "CancelAnswered")] == ["UNKNOWN"]


# -- A9 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("A9")
async def test_a_change_that_crosses_partial_fills_fills_no_more_than_was_asked(
    tmp_path: Path,
) -> None:
    async with a_venue(partial_fill=PartialFill.BY_LIQUIDITY) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            order = await guard.send(guard.request(Side.BUY, 3, OrderType.LIMIT, ticks=-40))
            name = order.client_order_id
            await until(lambda: desk.orders()[0]["status"] == "OPEN", desk.orders)
            limit = Decimal(desk.orders()[0]["limitPrice"])
            offer(guard, limit, quantity=1)
            await guard.reaches(name, OrderState.PARTIALLY_FILLED)

            desk.mischief("Order/modify", FaultKind.DELAY_REQUEST, delay_ms=300)
            touch = guard.request(Side.BUY, 3, OrderType.LIMIT, ticks=8).limit_price
            asking = asyncio.create_task(
                guard.manager.modify_order(name, quantity=3, limit_price=touch, stop_price=None)
            )
            await until(lambda: desk.strikes(FaultKind.DELAY_REQUEST) == 1, "the change on its way")
            offer(guard, limit, quantity=1)
            await until(lambda: desk.orders()[0]["fillVolume"] == 2, desk.orders)
            changed = await asking
            assert changed.kind is DecisionKind.ACCEPTED, changed
            order = await guard.reaches(name, FILLED)
            await guard.agrees()

        (row,) = desk.orders()
        assert (row["size"], row["fillVolume"], net(desk)) == (3, 3, 3)
        assert sum(it["quantity"] for it in trades(desk)) == order.filled_quantity == 3


def offer(guard: Guard, price: Decimal, *, quantity: int) -> None:
    """Offer ``quantity`` MES at ``price`` for a moment; nothing else is for sale."""
    instrument = guard.instrument("MES")
    bid = price - instrument.tick_size
    guard.venue.exchange.on_quote(instrument.contract_id, bid, price, 500, quantity)


# -- A10 -----------------------------------------------------------------------------------------


@pytest.mark.scenario("A10")
async def test_the_same_wish_twice_is_one_order_and_its_double_is_refused(desk: Desk) -> None:
    async with desk.guard() as guard:
        request = guard.request(quantity=2)
        double = replace(request, client_order_id="double")
        answers = await asyncio.gather(
            *(guard.manager.submit_order(it) for it in (request, request, double))
        )
        await guard.reaches(request.client_order_id, FILLED)
        await guard.agrees()

        kinds = [answer.kind for answer in answers]
        assert kinds == [DecisionKind.ACCEPTED, DecisionKind.REPEATED, DecisionKind.REFUSED]
        assert [it.code for it in answers[2].denials] == [DenialCode.DUPLICATE_ORDER]
        logged = [it.fields for it in guard.notes if it.name == "order_refused"]
        assert [(it["client_order_id"], it["codes"]) for it in logged] == [
            ("double", "DUPLICATE_ORDER")
        ]
        assert len(desk.orders()) == len(recorded(desk, "PlaceOrder")) == 1
        assert net(desk) == 2


# -- A11 -----------------------------------------------------------------------------------------

FIRST_ID = 3_501_000_000


@pytest.mark.scenario("A11")
async def test_an_id_that_the_venue_uses_again_belongs_to_the_order_of_the_tag(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as venues:
        venue = await venues.enter_async_context(a_venue(first_order_id=FIRST_ID))
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            await in_and_out(desk, guard, "first")
            await venue_breaks_off(
                venues,
                desk,
                guard,
                first_order_id=FIRST_ID - 1_000_000,
                first_trade_id=4_000_000_000,
            )
            await in_and_out(desk, guard, "lower")
            first, lower = guard.book.orders["first"], guard.book.orders["lower"]
            assert (lower.broker_order_id or 0) < (first.broker_order_id or 0)
            assert lower.filled_quantity == 1

            await venue_breaks_off(
                venues, desk, guard, first_order_id=FIRST_ID, first_trade_id=5_000_000_000
            )
            await guard.send(guard.request(client_order_id="again"))
            await until(lambda: guard.position() == net(desk) == 1, guard.position)
            await until(lambda: stop_legs(desk) == 1, desk.truth)
            await until(lambda: "ORDER_ID_REUSED" in alerts(guard), lambda: alerts(guard))

            again = await guard.reaches("again", FILLED)

            assert again.broker_order_id == desk.orders()[0]["id"] == first.broker_order_id
            assert guard.book.orders["first"] == first
            assert [fill.trade_id for fill in again.fills] == [it["id"] for it in trades(desk)]
            assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.REDUCING
            assert len(desk.orders()) == 1


async def in_and_out(desk: Desk, guard: Guard, name: str) -> None:
    """Enter and leave a position, until nothing of it is left at the exchange."""
    await guard.enter(client_order_id=name)
    await guard.enter(Side.SELL, protected=False)
    await until(
        lambda: not any(row["status"] == "OPEN" for row in desk.truth()["orders"]), desk.truth
    )
    await until(lambda: guard.position() == net(desk) == 0, guard.position)


async def venue_breaks_off(
    venues: AsyncExitStack, desk: Desk, guard: Guard, **exchange: Any
) -> None:
    """Have the venue end and come back at its address, without a memory of its own."""
    port = int(desk.venue.url.rpartition(":")[2])
    await venues.aclose()
    broke_ns = guard.manager.now_ns()
    venue = await venues.enter_async_context(a_venue(port=port, **exchange))
    desk.venue = guard.venue = venue
    await until(lambda: guard.book.links.user_since_ns > broke_ns, "the hub is back")
    await guard.ready("MES")


# -- A12 -----------------------------------------------------------------------------------------


@pytest.mark.scenario("A12")
async def test_a_rejection_is_classed_by_its_reason_and_never_sent_again(desk: Desk) -> None:
    async with desk.guard() as guard:
        contract_id = guard.instrument("MES").contract_id
        silent = guard.request(kind=OrderType.LIMIT, ticks=-COLLAR_TICKS - 200)
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        await guard.send(silent)
        order = await guard.reaches(silent.client_order_id, OrderState.REJECTED)
        assert UNKNOWN in states_of(order)
        assert (order.rejection, order.venue_message) == (Rejection.UNSTATED, order.venue_message)

        lasting = guard.request(kind=OrderType.LIMIT, ticks=-COLLAR_TICKS - 300)
        await guard.send(lasting)
        order = await guard.reaches(lasting.client_order_id, OrderState.REJECTED)
        assert order.rejection is Rejection.PERMANENT
        assert "outside allowed range" in order.venue_message

        desk.venue.exchange.set_market_open(contract_id, False)
        passing = guard.request()
        await guard.send(passing)
        desk.venue.exchange.set_market_open(contract_id, True)
        order = await guard.reaches(passing.client_order_id, OrderState.REJECTED)
        assert order.rejection is Rejection.TRANSIENT
        told = await guard.manager.verify_execution(passing.client_order_id)
        assert told is not None
        assert (told.verdict, order.venue_message in told.reason) == (Verdict.REFUTED, True)

        again = await guard.enter()  # the bot's own decision, under a new name
        await guard.agrees()

    sent = [it["client_order_id"] for it in recorded(desk, "PlaceOrder")]
    wanted = [it.client_order_id for it in (silent, lasting, passing, again)]
    assert sent == wanted
    assert [row["status"] for row in desk.orders()] == [*["REJECTED"] * 3, "FILLED"]
