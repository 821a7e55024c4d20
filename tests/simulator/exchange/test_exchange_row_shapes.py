"""The members of the rows: as the interface documents them, and as recordings show them.

The recordings are used where they are found; the documented shapes are always compared.
"""

import json
import os
from collections.abc import Set as AbstractSet
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.simulator.exchange.conftest import (
    ACCOUNT,
    BUY,
    LIMIT,
    MARKET,
    MNQ,
    SELL,
    STOP,
    World,
)

from backstop.adapters.projectx.wire import ModifyBody, OrderRow

Row = dict[str, Any]
FILLED, CANCELLED, REJECTED = 2, 3, 5

ALWAYS = {
    "id", "accountId", "contractId", "symbolId", "creationTimestamp", "updateTimestamp", "status",
    "type", "side", "size", "fillVolume",
}  # fmt: skip
REST_ORDER = ALWAYS | {"limitPrice", "stopPrice", "filledPrice", "customTag"}
LEG = {"parentOrderId", "linkedOrderId"}
HUB_OFFSET = {"trailDistance", "trailPrice"}
REST_TRADE = {
    "id", "accountId", "contractId", "creationTimestamp", "price", "profitAndLoss", "fees", "side",
    "size", "voided", "orderId",
}  # fmt: skip
POSITION = {
    "id", "accountId", "contractId", "contractDisplayName", "creationTimestamp", "type", "size",
    "averagePrice",
}  # fmt: skip
ACCOUNT_MEMBERS = {"id", "name", "balance", "canTrade", "isVisible", "simulated"}


def a_row(members: set[str], *, nulls: AbstractSet[str] = frozenset(), **known: int) -> Row:
    """Return a row with these members; only which are null, and what is known, matters."""
    return {name: None if name in nulls else 1 for name in sorted(members)} | known


DOCUMENTED_ORDERS = [
    a_row(REST_ORDER, nulls={"limitPrice", "stopPrice"}, status=FILLED, type=MARKET),
    a_row(REST_ORDER, nulls={"limitPrice", "stopPrice", "customTag"}, status=FILLED, type=MARKET),
    a_row(
        REST_ORDER, nulls={"limitPrice", "stopPrice", "filledPrice"}, status=REJECTED, type=MARKET
    ),
    a_row(REST_ORDER | LEG, nulls={"stopPrice", "filledPrice"}, status=CANCELLED, type=LIMIT),
    a_row(REST_ORDER | {"parentOrderId"}, nulls={"limitPrice"}, status=FILLED, type=STOP),
]
DOCUMENTED_TRADES = [a_row(REST_TRADE, nulls={"profitAndLoss"}), a_row(REST_TRADE)]
DOCUMENTED_EVENTS = [
    ("account", a_row(ACCOUNT_MEMBERS)),
    ("order", a_row(ALWAYS | {"customTag"})),
    ("order", a_row(ALWAYS | LEG | HUB_OFFSET | {"customTag", "limitPrice"})),
    ("position", a_row(POSITION)),
    ("trade", a_row((REST_TRADE | {"commissions"}) - {"profitAndLoss"})),
    ("trade", a_row(REST_TRADE | {"commissions"})),
]
HUB_TARGETS = {
    "account": "GatewayUserAccount",
    "order": "GatewayUserOrder",
    "position": "GatewayUserPosition",
    "trade": "GatewayUserTrade",
}


def captures(name: str) -> dict[str, Any]:
    """Return the payloads of the recordings called ``name``, by the day of their capture."""
    default = Path(__file__).parents[4] / "shared" / "data"
    root = Path(os.environ.get("BACKSTOP_TEST_DATA", default)) / "gateway" / "projectx"
    return {
        file.parent.name: json.loads(file.read_text())["payload"]
        for file in sorted(root.glob(f"capture-*/{name}.json"))
    }


def recorded_events() -> dict[str, list[tuple[str, Row]]]:
    """Return (kind of event, data) of each recorded user event, by the day of the capture."""
    return {
        day: [
            (sample["event_type"], sample["raw_payload"]["data"])
            for sample in payload["samples"]
            if sample["event_type"] in HUB_TARGETS and sample["raw_payload"] is not None
        ]
        for day, payload in captures("stream_event_samples").items()
    }


ORDERS: dict[str, list[Row]] = {"documented": DOCUMENTED_ORDERS} | captures("historical_orders")
TRADES: dict[str, list[Row]] = {"documented": DOCUMENTED_TRADES} | captures("historical_trades")
EVENTS = {"documented": DOCUMENTED_EVENTS} | recorded_events()


def rest(row: object) -> Row:
    """Return a row as REST writes it: nulls stay, unset members are left out."""
    decoded: Row = msgspec.json.decode(msgspec.json.Encoder().encode(row))
    return decoded


def hub(row: object) -> Row:
    """Return a row as the hub writes it: nulls are left out."""
    return {name: value for name, value in rest(row).items() if value is not None}


def shape(row: Row) -> frozenset[tuple[str, bool]]:
    """Return the member names with whether each is null."""
    return frozenset((name, value is None) for name, value in row.items())


def kind(row: Row) -> tuple[int, int, frozenset[tuple[str, bool]]]:
    return row["status"], row["type"], shape(row)


@pytest.fixture
def lived(world: World) -> World:
    """Return a world with every kind of row: both legs filled, cancels, rejections, a close."""
    for price in ("21040", "21000"):
        world.quote("21010")
        world.accepted(MARKET, BUY, tag=f"to-{price}", sl=-40, tp=80)
        world.settle()
        world.quote(price)
        world.settle()
    world.quote("21010")
    world.place(MARKET, SELL, tag="rejected", sl=-40)
    for type_, limit, stop in ((LIMIT, "21000", None), (STOP, None, "21020")):
        order_id = world.accepted(type_, BUY, tag=f"cancelled-{type_}", limit=limit, stop=stop)
        world.settle()
        world.exchange.cancel(ACCOUNT, order_id)
    stop_id = world.accepted(STOP, BUY, stop="21030", tag="moved")
    world.settle()
    world.exchange.modify(
        ModifyBody(account_id=ACCOUNT, order_id=stop_id, stop_price=Decimal(21025))
    )
    world.accepted(MARKET, SELL, tag="opened")
    world.settle()
    world.exchange.close_position(ACCOUNT, MNQ)
    world.settle()
    return world


@pytest.mark.parametrize("source", ORDERS)
def test_every_known_kind_of_order_row_is_produced_with_the_same_members(
    lived: World, source: str
) -> None:
    produced = {kind(rest(row)) for row in lived.exchange.orders(ACCOUNT, 0, None)}

    assert {kind(row) for row in ORDERS[source]} <= produced


@pytest.mark.parametrize("source", TRADES)
def test_trade_rows_have_the_known_members_and_nulls_and_no_others(
    lived: World, source: str
) -> None:
    produced = {shape(rest(row)) for row in lived.exchange.trades(ACCOUNT, None, None)}

    assert {shape(row) for row in TRADES[source]} == produced


@pytest.mark.parametrize("source", EVENTS)
def test_every_known_user_event_is_produced_with_the_same_members(
    lived: World, source: str
) -> None:
    assert {name for name, _ in EVENTS[source]} == set(HUB_TARGETS)
    for name, data in EVENTS[source]:
        produced = [set(hub(row)) for row in lived.hub_rows(HUB_TARGETS[name])]
        assert set(data) in produced, (name, data)


def test_no_order_row_of_rest_lacks_a_documented_member(lived: World) -> None:
    for row in lived.exchange.orders(ACCOUNT, 0, None):
        assert set(rest(row)) - LEG == REST_ORDER


def test_position_rows_of_rest_have_the_documented_members(lived: World) -> None:
    lived.accepted(MARKET, BUY)
    lived.settle()

    assert set(rest(lived.exchange.positions(ACCOUNT)[0])) == POSITION


def test_a_row_written_and_read_again_is_the_same(lived: World) -> None:
    encoder = msgspec.json.Encoder(decimal_format="number")
    for row in lived.exchange.orders(ACCOUNT, 0, None):
        assert msgspec.json.decode(encoder.encode(row), type=OrderRow) == row
