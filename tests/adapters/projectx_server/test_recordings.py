"""What the server writes, field by field against recordings of the real gateway, where present."""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from tests.adapters.projectx_server.conftest import ACCOUNT, Gateway

from backstop.adapters.projectx.wire import (
    AccountRow,
    ContractRow,
    OrderRow,
    PositionRow,
    TradeRow,
)
from backstop.adapters.projectx_server.json_rows import encode, hub_row, minimal_number, rest_row
from backstop.adapters.projectx_server.venue import UserEvent

REPO = Path(__file__).parents[3]
RECORDED = REPO / os.environ.get("BACKSTOP_TEST_DATA", "../shared/data") / "gateway" / "projectx"
REST_FILES: dict[str, type[Struct]] = {
    "accounts_search": AccountRow,
    "contracts_available": ContractRow,
    "historical_orders": OrderRow,
    "historical_trades": TradeRow,
}
USER_TARGETS: dict[str, tuple[str, type[Struct]]] = {
    "account": ("GatewayUserAccount", AccountRow),
    "order": ("GatewayUserOrder", OrderRow),
    "position": ("GatewayUserPosition", PositionRow),
    "trade": ("GatewayUserTrade", TradeRow),
}


def payload_of(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"), parse_float=Decimal)["payload"]


def recorded_rest_rows() -> list[Any]:
    return [
        pytest.param(row_type, row, id=f"{path.parent.name}-{path.stem}-{row['id']}")
        for stem, row_type in REST_FILES.items()
        for path in sorted(RECORDED.glob(f"capture-*/{stem}.json"))
        for row in payload_of(path)
    ]


def recorded_user_events() -> list[Any]:
    events = [
        (sample["event_type"], sample["raw_payload"])
        for path in sorted(RECORDED.glob("capture-*/stream_event_samples.json"))
        for sample in payload_of(path)["samples"]
        if sample["event_type"] in USER_TARGETS and sample["raw_payload"]
    ]
    return [
        pytest.param(*USER_TARGETS[kind], raw, id=f"{kind}-{raw['data']['id']}")
        for kind, raw in events
    ]


def same_text(written: bytes, recorded: Any) -> bool:
    """Tell whether the same members stand in the same order with the same numbers."""
    return list(pairs(json.loads(written, parse_float=Decimal))) == list(pairs(recorded))


def pairs(value: Any, path: str = "$") -> Any:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from pairs(member, f"{path}.{name}")
    else:
        yield path, value


@pytest.mark.parametrize(("row_type", "recorded"), recorded_rest_rows())
def test_rest_rows_are_written_as_recorded(row_type: type[Struct], recorded: Any) -> None:
    row = msgspec.convert(recorded, row_type)

    assert same_text(encode(rest_row(row)), recorded)


@pytest.mark.parametrize(("target", "row_type", "recorded"), recorded_user_events())
async def test_user_events_are_pushed_as_recorded(
    gateway: Gateway, target: str, row_type: type[Struct], recorded: Any
) -> None:
    row = msgspec.convert(recorded["data"] | {"accountId": ACCOUNT}, row_type)
    if isinstance(row, AccountRow):
        row.id = ACCOUNT
    assert isinstance(row, OrderRow | TradeRow | PositionRow | AccountRow)
    async with gateway.hub("user") as hub:
        noun = target.removeprefix("GatewayUser")
        await hub.invoke(f"Subscribe{noun}s", *([] if noun == "Account" else [ACCOUNT]))
        gateway.venue.emit(
            UserEvent(target=target, account_id=ACCOUNT, action=recorded["action"], data=row)
        )

        (pushed,) = (await hub.next_event(target))["arguments"]
        anonymous = {"id" if noun == "Account" else "accountId": ACCOUNT}
        expected = {"action": recorded["action"], "data": recorded["data"] | anonymous}
        assert list(pushed["data"]) == list(recorded["data"])
        assert pushed == json.loads(json.dumps(expected, default=float))


def test_an_order_row_has_the_recorded_columns_in_the_recorded_order() -> None:
    """Holds where no recordings are at hand; the columns are those of 2026."""
    row = OrderRow(id=3408995735, account_id=1, contract_id="C", creation_timestamp="t", status=2,
                   type=2, side=0, size=1, filled_price=Decimal("30199.25"))  # fmt: skip

    assert list(rest_row(row)) == [
        "id", "accountId", "contractId", "symbolId", "creationTimestamp", "updateTimestamp",
        "status", "type", "side", "size", "limitPrice", "stopPrice", "fillVolume", "filledPrice",
        "customTag",
    ]  # fmt: skip
    assert not {"limitPrice", "stopPrice", "customTag", "updateTimestamp"} & set(hub_row(row))


def test_a_new_column_that_is_null_is_left_out_by_rest_too() -> None:
    row = OrderRow(id=1, account_id=1, contract_id="C", creation_timestamp="t", status=1, type=1,
                   side=0, size=1, trail_price=None, parent_order_id=None)  # fmt: skip

    assert not {"trailPrice", "parentOrderId"} & set(rest_row(row))


@pytest.mark.parametrize(
    ("number", "text"),
    [("29547.00", b"29547"), ("29547.50", b"29547.5"), ("100", b"100"), ("1E+3", b"1000"),
     ("-0.00", b"0"), ("0", b"0"), ("-10.0", b"-10"), ("0.00005", b"0.00005"),
     ("0.0000005", b"5E-7"), ("149848.64", b"149848.64")],
)  # fmt: skip
def test_prices_are_numbers_in_minimal_form(number: str, text: bytes) -> None:
    assert encode(minimal_number(Decimal(number))) == text


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=9, min_value=-(10**9), max_value=10**9
    )
)
def test_the_minimal_form_is_the_same_number(number: Decimal) -> None:
    written = encode(minimal_number(number)).decode()

    assert Decimal(written) == number
    assert "." not in written or not written.endswith("0")
