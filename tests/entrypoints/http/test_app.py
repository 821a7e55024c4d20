"""The routes through a real server: statuses, shapes, and what they say when they refuse."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from backstop.app.recovery_review import RecoveryReport
from backstop.core.disaster_recovery import Downtime, RecoveryPlan
from backstop.domain.broker import BrokerOrder, BrokerPosition, BrokerStatus, BrokerTrade
from backstop.domain.events import (
    Answer,
    HaltRequested,
    Hub,
    HubLost,
    OrderReported,
    PositionReported,
    Source,
    StopKind,
    TradeReported,
)
from backstop.domain.order import OrderType, Side
from backstop.errors import JournalError


def a_row(desk: Any, broker_order_id: int, **changes: Any) -> OrderReported:
    members: dict[str, Any] = {
        "broker_order_id": broker_order_id,
        "account_id": 4711,
        "contract_id": desk.ES.contract_id,
        "status": BrokerStatus.OPEN,
        "type": OrderType.LIMIT,
        "side": Side.BUY,
        "quantity": 2,
    }
    row = BrokerOrder(**{**members, **changes})
    return OrderReported(utc_us=desk.UTC_US, order=row, source=Source.HUB)


def a_trade(desk: Any, trade_id: int, quantity: int, price: str) -> TradeReported:
    return TradeReported(
        utc_us=desk.UTC_US,
        source=Source.HUB,
        trade=BrokerTrade(
            trade_id=trade_id,
            broker_order_id=9001,
            account_id=4711,
            contract_id=desk.ES.contract_id,
            side=Side.BUY,
            quantity=quantity,
            price=Decimal(price),
            fees_micros=1_400_000,
            created_utc_us=desk.UTC_US,
        ),
    )


def a_position(desk: Any, quantity: int) -> PositionReported:
    return PositionReported(
        utc_us=desk.UTC_US,
        source=Source.HUB,
        position=BrokerPosition(
            position_id=1,
            account_id=4711,
            contract_id=desk.ES.contract_id,
            quantity=quantity,
            average_price=Decimal("5000.25"),
        ),
    )


# -- the guard itself ----------------------------------------------------------------------------


async def test_health_is_good_only_while_active_and_sound(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        status, body = await caller.ask("GET", "/v1/health")
        assert (status, body["status"], body["reasons"]) == (200, "OK", [])

        guard.components["journal"] = "the disk is full"
        status, body = await caller.ask("GET", "/v1/health")
        assert (status, body["status"]) == (503, "NOT_READY")
        assert body["reasons"] == ["journal: the disk is full"]

        guard.components.clear()
        guard.feed(HaltRequested(utc_us=desk.UTC_US, reason="news", operator="Ann"))
        status, body = await caller.ask("GET", "/v1/health")
        assert (status, body["trading_state"]) == (503, "HALTED")
        assert body["reasons"] == ["halted by Ann: news"]


async def test_health_of_a_guard_that_knows_nothing_yet_is_bad(desk: Any) -> None:
    async with desk.calling(desk.guard(active=False)) as caller:
        status, body = await caller.ask("GET", "/v1/health")

    assert (status, body["trading_state"]) == (503, "STARTING")
    assert body["reasons"]


async def test_status_shows_gates_limits_and_every_order_that_can_fill(desk: Any) -> None:
    guard = desk.guard(dry_run=True, execute=False, max_order_quantity=7)
    guard.feed(a_row(desk, 77, custom_tag="somebody-else"))

    async with desk.calling(guard) as caller:
        status, body = await caller.ask("GET", "/v1/status")

    assert (status, body["trading_state"], body["account_id"]) == (200, "ACTIVE", 4711)
    assert body["gates"]["sends"] is False
    assert body["gates"]["banner"] == "DRY RUN: NOTHING IS SENT"
    assert body["limits"]["max_order_quantity"] == 7
    assert body["limits"]["max_order_notional"] is None
    assert body["limits"]["stale_quote_ms"] == 30_000
    assert body["limits"]["stale_quote_busy_ms"] is None, "one time for all"
    assert body["hours"]["enforced"] is False
    assert body["unknown_orders"] == []
    (foreign,) = body["working_orders"]
    assert (foreign["broker_order_id"], foreign["tag"]) == (77, "somebody-else")
    assert (foreign["role"], foreign["client_order_id"]) == ("FOREIGN", None)
    assert body["heartbeats"]["user_hub_connected"] is True
    assert body["realised"]["net"] == "0"


async def test_status_lists_orders_of_unknown_fate(desk: Any) -> None:
    guard = desk.guard()
    guard.answer = Answer.UNKNOWN
    async with desk.calling(guard) as caller:
        status, record = await caller.ask("POST", "/v1/orders", json=desk.body())
        assert (status, record["state"]) == (201, "UNKNOWN")

        _, body = await caller.ask("GET", "/v1/status")

    assert [order["client_order_id"] for order in body["unknown_orders"]] == ["entry-1"]


# -- judging -------------------------------------------------------------------------------------


async def test_a_what_if_is_answered_with_rounded_prices_and_books_nothing(desk: Any) -> None:
    guard = desk.guard(dry_run=True)
    async with desk.calling(guard) as caller:
        status, body = await caller.ask(
            "POST", "/v1/orders/validate", json=desk.body(limit_price="5000.30")
        )

    assert (status, body["decision"], body["denials"]) == (200, "APPROVED", [])
    assert body["rounded"] == {
        "limit_price": "5000.25",
        "stop_price": None,
        "stop_loss_price": "4995.25",
        "take_profit_price": "5010.25",
    }
    assert body["r_multiple"] == "2.0"
    assert body["gate"]["code"] == "GATE_DRY_RUN"
    assert guard.book.orders == {}


async def test_a_denied_what_if_names_rule_limit_value_and_largest_quantity(desk: Any) -> None:
    async with desk.calling(desk.guard(max_order_quantity=3)) as caller:
        status, body = await caller.ask(
            "POST", "/v1/orders/validate", json=desk.body(quantity=4, client_order_id=None)
        )

    assert (status, body["decision"]) == (200, "DENIED")
    (denial,) = body["denials"]
    assert denial["code"] == "SIZE_TOO_LARGE"
    assert (denial["limit"], denial["value"], denial["max_quantity"]) == ("3", "4", 3)


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/orders/validate"])
async def test_an_unknown_symbol_is_refused_with_the_allowed_ones(desk: Any, path: str) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, body = await caller.ask("POST", path, json=desk.body(symbol="ZZ"))

    assert status == 422
    assert (body["error"]["code"], body["error"]["field"]) == ("UNKNOWN_SYMBOL", "symbol")
    assert body["error"]["message"].endswith("Allowed: ES")  # the gateway has no other


async def test_before_the_contracts_are_known_an_allowed_symbol_is_not_called_unknown(
    desk: Any,
) -> None:
    async with desk.calling(desk.guard(active=False)) as caller:
        status, refused = await caller.ask("POST", "/v1/orders", json=desk.body())
        assert (status, refused["denials"][0]["code"]) == (422, "STATE_STARTING")

        status, judged = await caller.ask("POST", "/v1/orders/validate", json=desk.body())
        assert (status, judged["decision"]) == (200, "DENIED")


# -- orders --------------------------------------------------------------------------------------


async def test_an_accepted_order_is_answered_with_its_record(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, record = await caller.ask("POST", "/v1/orders", json=desk.body())

        assert status == 201
        assert (record["client_order_id"], record["broker_order_id"]) == ("entry-1", 9001)
        assert (record["symbol"], record["side"], record["type"]) == ("ES", "BUY", "LIMIT")
        assert (record["state"], record["filled_quantity"]) == ("WORKING", 0)
        assert (record["limit_price"], record["average_price"]) == ("5000.25", None)
        steps = [(step["from"], step["to"]) for step in record["transitions"]]
        assert steps == [("INTENDED", "SENT"), ("SENT", "WORKING")]
        assert await caller.ask("GET", "/v1/orders/entry-1") == (200, record)
        assert await caller.ask("GET", "/v1/orders") == (200, {"orders": [record], "total": 1})


async def test_fills_are_shown_with_the_exact_average(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body(quantity=3))
        guard.feed(a_trade(desk, 501, 1, "5000.25"))
        guard.feed(a_trade(desk, 502, 2, "5000"))

        _, record = await caller.ask("GET", "/v1/orders/entry-1")

    assert (record["state"], record["filled_quantity"]) == ("FILLED", 3)
    assert record["average_price"] == "5000.083333333"
    assert [(fill["fill_id"], fill["price"], fill["quantity"]) for fill in record["fills"]] == [
        (501, "5000.25", 1),
        (502, "5000", 2),
    ]


async def test_an_order_that_the_venue_rejected_is_created_and_says_so(desk: Any) -> None:
    guard = desk.guard()
    guard.answer = Answer.NO
    async with desk.calling(guard) as caller:
        status, record = await caller.ask("POST", "/v1/orders", json=desk.body())

    assert (status, record["state"]) == (201, "REJECTED")
    assert record["venue_message"] == "the venue said so"
    assert record["rejection"] == "UNSTATED"


async def test_an_equal_repeat_returns_the_same_order_and_another_body_conflicts(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        _, first = await caller.ask("POST", "/v1/orders", json=desk.body())
        assert await caller.ask("POST", "/v1/orders", json=desk.body()) == (200, first)

        status, body = await caller.ask("POST", "/v1/orders", json=desk.body(quantity=1))

    assert (status, body["error"]["code"]) == (409, "CONFLICT")
    asked = desk.body()["quantity"]
    assert f"quantity is {asked} there, and 1 here" in body["error"]["message"]


async def test_dry_run_refuses_and_shows_exactly_what_would_be_sent(desk: Any) -> None:
    async with desk.calling(desk.guard(dry_run=True)) as caller:
        status, body = await caller.ask("POST", "/v1/orders", json=desk.body())

    assert (status, [denial["code"] for denial in body["denials"]]) == (422, ["GATE_DRY_RUN"])
    would_send = body["would_send"]
    assert would_send["contract_id"] == desk.ES.contract_id
    assert (would_send["limit_price"], would_send["quantity"]) == ("5000.25", 2)
    assert would_send["stop_loss_offset_ticks"] == -20
    assert would_send["take_profit_offset_ticks"] == 40
    assert would_send["custom_tag"].startswith("bs-")


async def test_an_order_that_a_rule_refuses_is_not_shown_as_sendable(desk: Any) -> None:
    async with desk.calling(desk.guard(dry_run=True, max_order_quantity=1)) as caller:
        status, body = await caller.ask("POST", "/v1/orders", json=desk.body())

    codes = [denial["code"] for denial in body["denials"]]
    assert (status, codes) == (422, ["GATE_DRY_RUN", "SIZE_TOO_LARGE"])
    assert body["would_send"] is None


async def test_a_wish_that_cannot_be_recorded_is_not_carried_out(desk: Any) -> None:
    guard = desk.guard()
    guard.failure = JournalError("The disk is full.")
    async with desk.calling(guard) as caller:
        status, body = await caller.ask("POST", "/v1/orders", json=desk.body())

    assert (status, body["error"]["code"]) == (503, "RECORD_UNAVAILABLE")
    assert body["error"]["message"] == "The disk is full. Nothing was sent."


async def test_a_working_order_is_changed_and_cancelled_by_its_name(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body("a/b?c"))
        path = "/v1/orders/a%2Fb%3Fc"

        status, record = await caller.ask("PATCH", path, json={"limit_price": "5000.00"})
        assert (status, record["client_order_id"]) == (200, "a/b?c")
        status, body = await caller.ask("PATCH", path, json={"quantity": 3})
        assert (status, body["error"]["code"]) == (409, "NOT_POSSIBLE")
        assert (await caller.ask("DELETE", path))[0] == 200

        guard.feed(a_row(desk, 9001, status=BrokerStatus.CANCELLED))
        assert (await caller.ask("GET", path))[1]["state"] == "CANCELLED"
        status, body = await caller.ask("DELETE", path)

    assert (status, body["error"]["code"]) == (409, "NOT_POSSIBLE")
    assert "CANCELLED" in body["error"]["message"]


async def test_the_stop_that_a_position_needs_is_not_cancelled(desk: Any) -> None:
    guard = desk.guard()
    guard.feed(a_position(desk, 2))
    stop = {"side": "SELL", "type": "STOP", "limit_price": None, "stop_price": "4990.00"}
    bare = {"stop_loss_price": None, "take_profit_price": None}
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body("stop", **stop, **bare))
        guard.feed(a_row(desk, 9001, side=Side.SELL, type=OrderType.STOP))
        for method, body in (("DELETE", None), ("PATCH", {"quantity": 1})):
            status, refused = await caller.ask(method, "/v1/orders/stop", json=body)

            assert status == 422
            (denial,) = refused["denials"]
            assert (denial["code"], denial["limit"]) == ("PROTECTION_REQUIRED", "2")
        guard.feed(a_row(desk, 77, side=Side.SELL, type=OrderType.STOP))
        assert (await caller.ask("DELETE", "/v1/orders/stop"))[0] == 200


async def test_a_changed_order_is_shown_as_it_stands_at_the_venue_now(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body())
        guard.feed(a_row(desk, 9001, quantity=1, limit_price=Decimal("4999.50")))
        guard.feed(a_trade(desk, 1, 1, "4999.50"))
        _, record = await caller.ask("GET", "/v1/orders/entry-1")

    assert (record["quantity"], record["limit_price"]) == (1, "4999.5")
    assert (record["state"], record["filled_quantity"]) == ("FILLED", 1)


async def test_a_changed_stop_order_is_shown_at_its_new_level(desk: Any) -> None:
    guard = desk.guard()
    stop = {"type": "STOP", "limit_price": None, "stop_price": "5010.00"}
    bracket = {"stop_loss_price": "5000.00", "take_profit_price": "5020.00"}
    async with desk.calling(guard) as caller:
        _, sent = await caller.ask("POST", "/v1/orders", json=desk.body(**stop, **bracket))
        guard.feed(a_row(desk, 9001, type=OrderType.STOP, stop_price=Decimal("5011.25")))
        _, record = await caller.ask("GET", "/v1/orders/entry-1")

    assert (sent["stop_price"], record["stop_price"]) == ("5010", "5011.25")
    assert record["limit_price"] is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/orders/nobody", None),
        ("PATCH", "/v1/orders/nobody", {"quantity": 1}),
        ("DELETE", "/v1/orders/nobody", None),
        ("POST", "/v1/orders/nobody/verify", {}),
        ("GET", "/v1/orders/nobody/proof", None),
    ],
)
async def test_a_name_that_no_order_has_is_not_found(
    desk: Any, method: str, path: str, body: Any
) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, answer = await caller.ask(method, path, json=body)

    assert (status, answer["error"]["code"]) == (404, "UNKNOWN_ORDER")
    assert answer["error"]["field"] == "client_order_id"
    assert "nobody" in answer["error"]["message"]


async def test_orders_are_listed_newest_first_within_a_bound(desk: Any) -> None:
    guard = desk.guard(duplicate_window_ns=0)
    async with desk.calling(guard) as caller:
        for number in range(3):
            await caller.ask("POST", "/v1/orders", json=desk.body(f"order-{number}"))

        _, two = await caller.ask("GET", "/v1/orders", params={"limit": 2})
        _, none = await caller.ask("GET", "/v1/orders", params={"state": "FILLED"})
        status, refused = await caller.ask("GET", "/v1/orders", params={"limit": 0})

    assert [order["client_order_id"] for order in two["orders"]] == ["order-2", "order-1"]
    assert two["total"] == 3
    assert none == {"orders": [], "total": 0}
    assert (status, refused["error"]["field"]) == (422, "limit")


async def test_orders_that_left_the_book_are_shown_as_before(desk: Any) -> None:
    guard = desk.guard(duplicate_window_ns=0)
    async with desk.calling(guard) as caller:
        for number in range(4):
            await caller.ask("POST", "/v1/orders", json=desk.body(f"order-{number}"))
        _, before = await caller.ask("GET", "/v1/orders/order-1")
        _, listed = await caller.ask("GET", "/v1/orders")
        for number in range(3):
            guard.let_go_of(f"order-{number}")
        guard.book.orders["order-2"] = guard.past[0].order  # one that was called back

        assert await caller.ask("GET", "/v1/orders/order-1") == (200, before)
        _, all_of_them = await caller.ask("GET", "/v1/orders")
        _, two = await caller.ask("GET", "/v1/orders", params={"limit": 2})
        _, none = await caller.ask("GET", "/v1/orders", params={"state": "FILLED"})
        status, unproven = await caller.ask("GET", "/v1/orders/order-1/proof")

    names = [order["client_order_id"] for order in all_of_them["orders"]]
    assert sorted(names) == [f"order-{number}" for number in range(4)]
    assert all_of_them["total"] == listed["total"] == two["total"] == 4
    assert len(two["orders"]) == 2
    assert none == {"orders": [], "total": 0}
    assert (status, unproven["error"]["code"]) == (409, "NOT_POSSIBLE")


async def test_the_last_recovery_and_the_next_are_shown(desk: Any) -> None:
    guard = desk.guard()
    plan = RecoveryPlan(
        account_id=4711,
        downtime=Downtime(stop=StopKind.CRASH, ms=1500),
        liquidates=False,
        findings=(),
        symbols=(),
        unread=("trades",),
    )
    async with desk.calling(guard) as caller:
        _, before = await caller.ask("GET", "/v1/recovery")
        guard.recovery = RecoveryReport(at_utc_us=0, source="trading_state.json", plan=plan)
        _, after = await caller.ask("GET", "/v1/recovery")
        _, status = await caller.ask("GET", "/v1/status")

    assert before["last"] is None
    assert before["now"]["findings"] == []
    assert after["last"] == status["recovery"]
    assert after["last"]["source"] == "trading_state.json"
    assert after["last"]["at"] == "1970-01-01T00:00:00.000000Z"
    assert after["last"]["plan"]["downtime_ms"] == 1500
    assert after["last"]["plan"]["unread"] == ["trades"]


# -- evidence ------------------------------------------------------------------------------------


async def test_a_verdict_comes_with_its_reason_and_exact_slippage(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body())
        status, open_verdict = await caller.ask("POST", "/v1/orders/entry-1/verify")
        assert (status, open_verdict["verdict"]) == (200, "UNKNOWN")

        guard.feed(a_trade(desk, 501, 2, "5001"))
        _, breach = await caller.ask(
            "POST", "/v1/orders/entry-1/verify", json={"max_slippage_ticks": "2.5"}
        )

    assert breach["verdict"] == "BREACH"
    assert (breach["slippage_ticks"], breach["max_slippage_ticks"]) == ("3", "2.5")
    assert breach["reason"]


async def test_a_proof_is_given_as_recorded_once_there_is_one(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body())
        status, body = await caller.ask("GET", "/v1/orders/entry-1/proof")
        assert (status, body["error"]["code"]) == (409, "NOT_POSSIBLE")

        guard.proofs["entry-1"] = b'{"average_price":"5000.10"}'
        async with caller.session.get(f"{caller.url}/v1/orders/entry-1/proof") as answer:
            assert await answer.read() == b'{"average_price":"5000.10"}'


# -- positions -----------------------------------------------------------------------------------


async def test_a_position_is_shown_with_its_stop_target_and_knowledge(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body())
        guard.feed(a_trade(desk, 501, 2, "5000.25"))
        guard.feed(a_position(desk, 2))
        guard.clock_ns += 1_500_000_000
        _, naked = await caller.ask("GET", "/v1/positions")
        assert naked["positions"][0]["stop"] is None
        assert naked["positions"][0]["naked_ms"] == 1500

        guard.feed(
            a_row(
                desk,
                9101,
                parent_order_id=9001,
                side=Side.SELL,
                type=OrderType.STOP,
                stop_price=Decimal("4995.25"),
                custom_tag=f"{guard.book.orders['entry-1'].custom_tag}-SL",
            )
        )
        guard.feed(
            a_row(
                desk,
                9102,
                parent_order_id=9001,
                side=Side.SELL,
                limit_price=Decimal("5010.25"),
                custom_tag=f"{guard.book.orders['entry-1'].custom_tag}-TP",
            )
        )
        _, covered = await caller.ask("GET", "/v1/positions")
        _, record = await caller.ask("GET", "/v1/orders/entry-1")
        guard.feed(HubLost(utc_us=desk.UTC_US, hub=Hub.USER, generation=1, reason="gone"))
        _, stale = await caller.ask("GET", "/v1/positions")

    (row,) = covered["positions"]
    assert (row["symbol"], row["contract_id"]) == ("ES", desk.ES.contract_id)
    assert (row["quantity"], row["average_price"], row["knowledge"]) == (2, "5000.25", "KNOWN")
    assert (row["stop"]["price"], row["stop"]["quantity"]) == ("4995.25", 2)
    assert (row["target"]["price"], row["target"]["quantity"]) == ("5010.25", 2)
    assert row["naked_ms"] == 0
    assert {leg["role"] for leg in record["legs"]} == {"STOP_LOSS", "TAKE_PROFIT"}
    assert stale["positions"][0]["knowledge"] == "STALE"


async def test_a_position_known_to_be_flat_is_not_listed(desk: Any) -> None:
    guard = desk.guard()
    guard.feed(a_position(desk, 0))
    async with desk.calling(guard) as caller:
        assert await caller.ask("GET", "/v1/positions") == (200, {"positions": []})


# -- around the routes ---------------------------------------------------------------------------


async def test_malformed_input_is_refused_in_one_shape(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, body = await caller.ask("POST", "/v1/orders", json=desk.body(quantity="2"))

    assert status == 422
    assert body == {
        "error": {
            "code": "INVALID_VALUE",
            "field": "quantity",
            "message": (
                'quantity must be a whole JSON number of contracts, 1 to 2147483647; got "2"'
            ),
        }
    }


async def test_a_body_beyond_the_bound_is_refused(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, body = await caller.ask("POST", "/v1/orders", data=b" " * (64 * 1024 + 1))

    assert (status, body["error"]["code"]) == (413, "BODY_TOO_LARGE")


async def test_unknown_paths_and_methods_are_refused_in_the_same_shape(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, nowhere = await caller.ask("GET", "/v1/nowhere")
        assert (status, nowhere["error"]["code"]) == (404, "NOT_FOUND")

        status, method = await caller.ask("PUT", "/v1/orders")
        assert (status, method["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")


async def test_the_description_names_every_call_and_resolves_every_reference(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, document = await caller.ask("GET", "/v1/openapi.json")

    assert status == 200
    assert set(document["paths"]) == {
        "/v1/health",
        "/v1/status",
        "/v1/positions",
        "/v1/exposure",
        "/v1/correlations",
        "/v1/account",
        "/v1/account/limits",
        "/v1/events",
        "/v1/bots",
        "/v1/bots/{bot_id}",
        "/v1/bots/{bot_id}/heartbeat",
        "/v1/orders",
        "/v1/orders/validate",
        "/v1/orders/{client_order_id}",
        "/v1/orders/{client_order_id}/verify",
        "/v1/orders/{client_order_id}/proof",
        "/v1/recovery",
        "/v1/checks",
        "/v1/audit/checkpoint",
        "/v1/audit/records",
        "/v1/audit/proof/{seq}",
        "/v1/alerts",
        "/v1/alerts/{alert_id}/ack",
        "/v1/halt",
        "/v1/resume",
        "/v1/liquidate",
        "/v1/liquidations",
        "/v1/liquidations/{liquidation_id}",
        "/v1/positions/{symbol}/close",
        "/v1/positions/{symbol}/protection",
        "/metrics",
    }
    schemas = document["components"]["schemas"]
    named = json.dumps(document).split('"#/components/schemas/')[1:]
    assert {reference.partition('"')[0] for reference in named} <= set(schemas)
    assert schemas["OrderBody"]["properties"]["quantity"]["type"] == "integer"


async def test_calls_under_way_are_answered_side_by_side(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        answers = await asyncio.gather(*(caller.ask("GET", "/v1/status") for _ in range(20)))

    assert {status for status, _ in answers} == {200}
