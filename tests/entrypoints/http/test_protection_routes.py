"""The call that gives a position its stop and its target."""

from decimal import Decimal
from typing import Any

import pytest

from backstop.domain.broker import BrokerOrder, BrokerPosition, BrokerStatus, BrokerTrade
from backstop.domain.commands import ModifyOrder
from backstop.domain.events import Fact, OrderReported, PositionReported, Source, TradeReported
from backstop.domain.order import OrderType, Side

ACCOUNT = 4711
PATH = "/v1/positions/ES/protection"


def a_stop(desk: Any, level: str = "4995.25") -> Fact:
    return OrderReported(
        utc_us=desk.UTC_US,
        source=Source.HUB,
        order=BrokerOrder(
            broker_order_id=9101,
            account_id=ACCOUNT,
            contract_id=desk.ES.contract_id,
            status=BrokerStatus.OPEN,
            type=OrderType.STOP,
            side=Side.SELL,
            quantity=2,
            stop_price=Decimal(level),
            parent_order_id=9001,
        ),
    )


def a_position(desk: Any) -> list[Fact]:
    return [
        TradeReported(
            utc_us=desk.UTC_US,
            source=Source.HUB,
            trade=BrokerTrade(
                trade_id=501,
                broker_order_id=9001,
                account_id=ACCOUNT,
                contract_id=desk.ES.contract_id,
                side=Side.BUY,
                quantity=2,
                price=Decimal("5000.25"),
                fees_micros=0,
            ),
        ),
        PositionReported(
            utc_us=desk.UTC_US,
            source=Source.HUB,
            position=BrokerPosition(
                position_id=1,
                account_id=ACCOUNT,
                contract_id=desk.ES.contract_id,
                quantity=2,
                average_price=Decimal("5000.25"),
            ),
        ),
    ]


async def test_a_position_gets_its_levels_and_is_shown_as_it_stands(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body())
        for fact in (*a_position(desk), a_stop(desk)):
            guard.feed(fact)
        status, row = await caller.ask("PUT", PATH, json={"stop_price": "4996.10"})
        guard.feed(a_stop(desk, "4996.25"))
        _, after = await caller.ask("GET", "/v1/positions")

    assert status == 200
    assert (row["symbol"], row["quantity"], row["protection"]) == ("ES", 2, "PROTECTED")
    assert row["stop"]["price"] == "4995.25", "until the venue shows the new level"
    assert after["positions"][0]["stop"]["price"] == "4996.25", "rounded towards the market"
    assert (after["positions"][0]["naked_ms"], after["positions"][0]["naked_ms_max"]) == (0, 0)


async def test_the_venue_is_asked_to_move_what_works(desk: Any) -> None:
    guard = desk.guard()
    asked: list[Any] = []
    feed = guard.feed

    def listening(fact: Fact) -> Any:
        result = feed(fact)
        asked.extend(it for it in result.commands if isinstance(it, ModifyOrder))
        return result

    guard.feed = listening
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body())
        for fact in (*a_position(desk), a_stop(desk)):
            guard.feed(fact)
        await caller.ask("PUT", PATH, json={"stop_price": "4996.10"})

    assert [(it.broker_order_id, it.stop_price) for it in asked] == [(9101, Decimal("4996.25"))]


async def test_a_flat_contract_takes_no_protection(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, said = await caller.ask("PUT", PATH, json={"stop_price": "4990"})

    assert status == 409
    assert said["error"]["code"] == "NOT_POSSIBLE"
    assert "flat" in said["error"]["message"]


async def test_a_closed_gate_refuses_with_its_code(desk: Any) -> None:
    guard = desk.guard(dry_run=True)
    async with desk.calling(guard) as caller:
        for fact in a_position(desk):
            guard.feed(fact)
        status, said = await caller.ask("PUT", PATH, json={"stop_price": "4990"})

    assert status == 422
    assert [denial["code"] for denial in said["denials"]] == ["GATE_DRY_RUN"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "MISSING_MEMBER", None),
        ({"stop_price": "up"}, "INVALID_VALUE", "stop_price"),
        ({"stop": "4990"}, "UNKNOWN_MEMBER", "stop"),
        ({"take_profit_price": "NaN"}, "INVALID_VALUE", "take_profit_price"),
    ],
)
async def test_malformed_levels_are_refused_by_name(
    desk: Any, body: dict[str, str], code: str, field: str | None
) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, said = await caller.ask("PUT", PATH, json=body)

    assert status == 422
    assert (said["error"]["code"], said["error"]["field"]) == (code, field)


async def test_a_symbol_that_nobody_knows_is_refused(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, said = await caller.ask(
            "PUT", "/v1/positions/ZZZ/protection", json={"stop_price": "1"}
        )

    assert (status, said["error"]["code"]) == (422, "UNKNOWN_SYMBOL")


async def test_the_status_says_how_long_anything_ever_was_naked(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body())
        for fact in a_position(desk):
            guard.feed(fact)
        guard.clock_ns += 700_000_000
        _, naked = await caller.ask("GET", "/v1/status")
        guard.feed(a_stop(desk))
        guard.clock_ns += 700_000_000
        _, covered = await caller.ask("GET", "/v1/status")

    (row,) = naked["protection"]["naked"]
    assert row == {"symbol": "ES", "naked_ms": 700, "protection": "NAKED"}
    assert covered["protection"]["naked"] == []
    assert covered["protection"]["naked_ms_max"] == 700
    assert covered["positions"][0]["naked_ms_max"] == 700
