"""What callers may send, and how a faulty body is refused."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.domain.order import OrderType, Side
from backstop.entrypoints.http.app import make_api
from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.models import (
    Body,
    ModifyBody,
    OrderBody,
    VerifyBody,
    WhatIfBody,
    _description,
    decode,
)

ORDER: dict[str, Any] = {
    "client_order_id": "entry-1",
    "symbol": "ES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
}


def an_order(**changes: Any) -> bytes:
    return json.dumps({**ORDER, **changes}).encode()


def refusal(raw: bytes, body_type: Any = OrderBody) -> ApiError:
    with pytest.raises(ApiError) as caught:
        decode(raw, body_type)
    assert caught.value.status == 422
    return caught.value


def test_a_full_body_becomes_an_order_request() -> None:
    raw = an_order(
        type="LIMIT",
        limit_price="5000.25",
        stop_loss_price="4995",
        take_profit_price=5010.5,
        strategy_id="trend 7",
    )

    request = decode(raw, OrderBody).request()

    assert (request.client_order_id, request.symbol, request.quantity) == ("entry-1", "ES", 2)
    assert (request.side, request.type) == (Side.BUY, OrderType.LIMIT)
    assert request.limit_price == Decimal("5000.25")
    assert request.stop_loss_price == Decimal(4995)
    assert request.take_profit_price == Decimal("5010.5")
    assert request.stop_price is None
    assert request.strategy_id == "trend 7"


@pytest.mark.parametrize(
    ("word", "side"),
    [("BUY", Side.BUY), ("LONG", Side.BUY), ("SELL", Side.SELL), ("SHORT", Side.SELL)],
)
def test_both_vocabularies_of_direction_are_understood(word: str, side: Side) -> None:
    assert decode(an_order(side=word), OrderBody).request().side is side


@given(st.decimals(min_value="-99999", max_value="99999", places=20))
def test_a_price_keeps_every_digit_as_number_and_as_text(price: Decimal) -> None:
    text = f"{price:f}"
    number = json.dumps(ORDER)[:-1] + f', "limit_price": {text}}}'

    assert decode(number.encode(), OrderBody).limit_price == price
    assert decode(an_order(limit_price=text), OrderBody).limit_price == price


@pytest.mark.parametrize(
    "quantity", [0, -1, 1.0, 1.5, True, "1", None, [1], {"n": 1}, 2**31, float("nan")]
)
def test_a_quantity_is_a_whole_number_from_one_up_and_nothing_else(quantity: Any) -> None:
    error = refusal(an_order(quantity=quantity))

    assert (error.code, error.field) == (ErrorCode.INVALID_VALUE, "quantity")
    assert "a whole JSON number of contracts, 1 to 2147483647" in str(error)


@pytest.mark.parametrize(
    "price",
    [
        "",
        "abc",
        "NaN",
        "Infinity",
        "50_00",
        " 5000",
        "5000 ",
        "\u0665",
        "0x10",
        "5,000",
        True,
        [],
        "1e999",
        "1e-999",
        float("inf"),
    ],
)
def test_a_price_is_a_plain_number_of_sane_size(price: Any) -> None:
    error = refusal(an_order(limit_price=price))

    assert (error.code, error.field) == (ErrorCode.INVALID_VALUE, "limit_price")


@pytest.mark.parametrize("exponent", ["e999999999", "e99999999999999999999"])
def test_an_exponent_that_no_machine_can_hold_is_refused(exponent: str) -> None:
    raw = json.dumps(ORDER)[:-1] + f', "limit_price": 1{exponent}}}'

    assert refusal(raw.encode()).code in {ErrorCode.INVALID_VALUE, ErrorCode.MALFORMED_JSON}


@pytest.mark.parametrize(
    "client_order_id", ["", "two words", "a" * 65, "line\n", "tab\t", "\x00", "\ud800", 7]
)
def test_a_client_order_id_is_short_printable_and_without_spaces(client_order_id: Any) -> None:
    error = refusal(an_order(client_order_id=client_order_id))

    assert (error.code, error.field) == (ErrorCode.INVALID_VALUE, "client_order_id")


@pytest.mark.parametrize("client_order_id", ["a", "a" * 64, "a/b?c#d%", "ordre-é", "注文"])
def test_every_other_printable_client_order_id_is_taken(client_order_id: str) -> None:
    body = decode(an_order(client_order_id=client_order_id), OrderBody)

    assert body.client_order_id == client_order_id


def test_an_unknown_member_is_refused_by_name() -> None:
    error = refusal(an_order(limitPrice="5000"))

    assert (error.code, error.field) == (ErrorCode.UNKNOWN_MEMBER, "limitPrice")
    assert "limit_price" in str(error)


@pytest.mark.parametrize("member", sorted(ORDER))
def test_a_missing_member_is_refused_by_name(member: str) -> None:
    rest = {name: value for name, value in ORDER.items() if name != member}

    error = refusal(json.dumps(rest).encode())

    assert (error.code, error.field) == (ErrorCode.MISSING_MEMBER, member)


def test_a_member_given_twice_is_refused() -> None:
    error = refusal(b'{"quantity": 1, "quantity": 100}')

    assert (error.code, error.field) == (ErrorCode.MALFORMED_JSON, "quantity")


@pytest.mark.parametrize("raw", [b"{", b"[]", b"1", b'"x"', b"null", b"\xff", b"[" * 60_000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    assert refusal(raw).code is ErrorCode.MALFORMED_JSON


@given(st.binary(max_size=200))
def test_bytes_that_are_no_order_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    assert refusal(raw).answer().error.message


def test_a_refusal_can_always_be_written_as_utf8() -> None:
    error = refusal(b'{"\\ud800": 1}')

    assert error.answer().error.message.encode("utf-8")


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(str(refusal(an_order(symbol="X" * 10_000)))) < 300


def all_bodies(body_type: type[Body] = Body) -> list[type[Body]]:
    below = [it for kind in body_type.__subclasses__() for it in all_bodies(kind)]
    return [*below, *(() if body_type is Body else (body_type,))]


def test_every_member_of_every_body_is_described_for_its_refusal() -> None:
    make_api(None)  # type: ignore[arg-type] - so that every module with a body is loaded
    members = [
        (body_type, field.name)
        for body_type in all_bodies()
        for field in msgspec.structs.fields(body_type)
    ]

    assert len(members) > 30
    assert all(_description(body_type, name) for body_type, name in members)


def test_a_what_if_needs_no_name() -> None:
    rest = {name: value for name, value in ORDER.items() if name != "client_order_id"}

    assert decode(json.dumps(rest).encode(), WhatIfBody).request().client_order_id == "what-if"


def test_a_change_must_change_something() -> None:
    assert refusal(b"{}", ModifyBody).code is ErrorCode.MISSING_MEMBER
    assert refusal(b'{"quantity": null}', ModifyBody).code is ErrorCode.MISSING_MEMBER
    assert decode(b'{"stop_price": "1"}', ModifyBody).stop_price == 1


def test_an_empty_body_asks_for_a_verdict_by_the_settings() -> None:
    assert decode(b"", VerifyBody) == VerifyBody()


@pytest.mark.parametrize("timeout_s", [0, -1, 61, "NaN", "soon"])
def test_a_wait_has_a_bound(timeout_s: Any) -> None:
    assert refusal(json.dumps({"timeout_s": timeout_s}).encode(), VerifyBody).field == "timeout_s"


def test_negative_slippage_cannot_be_demanded() -> None:
    assert refusal(b'{"max_slippage_ticks": -1}', VerifyBody).field == "max_slippage_ticks"
