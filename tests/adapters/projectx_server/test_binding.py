import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.adapters.projectx.wire import PlaceBody, QueryBody
from backstop.adapters.projectx_server.binding import bind, to_utc_us
from backstop.adapters.projectx_server.bodies import (
    AccountBody,
    ContractSearchBody,
    LoginKeyBody,
    OrderIdBody,
    OrderSearchBody,
)
from backstop.adapters.projectx_server.json_problems import UnbindableError

PLACE = {
    "accountId": 31004502,
    "contractId": "CON.F.US.MNQ.Z26",
    "type": 2,
    "side": 0,
    "size": 1,
    "limitPrice": None,
    "stopPrice": 21000.25,
    "customTag": "g1-000042",
    "stopLossBracket": {"ticks": -40, "type": 4},
    "takeProfitBracket": None,
}


def account_of(text: str) -> int:
    return bind(text.encode(), AccountBody, request_type="SearchOpenOrderRequest").account_id


def errors_of(text: str, body: type = AccountBody, request: str = "X") -> dict[str, list[str]]:
    with pytest.raises(UnbindableError) as raised:
        bind(text.encode(), body, request_type=request)
    return dict(raised.value.errors)


def test_a_place_body_binds_with_exact_prices_and_its_brackets() -> None:
    body = bind(json.dumps(PLACE).encode(), PlaceBody, request_type="PlaceOrderRequest")

    assert body.stop_price == Decimal("21000.25")
    assert body.limit_price is None
    assert body.stop_loss_bracket is not None
    assert (body.stop_loss_bracket.ticks, body.stop_loss_bracket.type) == (-40, 4)
    assert body.take_profit_bracket is None


def test_names_bind_without_regard_to_case_and_the_last_of_two_wins() -> None:
    assert account_of('{"ACCOUNTID": 1, "accountId": 2, "AccountId": 3}') == 3


def test_unknown_members_are_ignored_whatever_they_hold() -> None:
    assert account_of('{"x": [{"accountId": 9}], "accountId": 7, "y": "}"}') == 7


def test_a_string_where_an_int_is_wanted_is_refused_with_its_place() -> None:
    errors = errors_of('{ "accountId": "31" }')

    (text,) = errors["$.accountId"]
    assert text.startswith("The JSON value could not be converted to System.Int32. ")
    assert text.endswith("Path: $.accountId | LineNumber: 0 | BytePositionInLine: 19.")
    assert errors["request"] == ["The request field is required."]


def test_the_place_counts_lines_and_bytes_not_characters() -> None:
    errors = errors_of('{\n "é": 1, "accountId": true}')

    assert "LineNumber: 1 | BytePositionInLine: 27." in errors["$.accountId"][0]


@pytest.mark.parametrize("value", ["1.0", "1.5", "true", '"1"', "2147483648", "[]", "{}", "null"])
def test_only_a_whole_number_of_32_bits_is_an_account_id(value: str) -> None:
    with pytest.raises(UnbindableError):
        account_of(f'{{"accountId": {value}}}')


def test_order_ids_are_64_bits_wide() -> None:
    text = b'{"accountId": 1, "orderId": 3501000101}'

    assert bind(text, OrderIdBody, request_type="CancelOrderRequest").order_id == 3501000101


def test_missing_members_are_listed_with_the_name_of_the_request() -> None:
    errors = errors_of('{"accountId": 1}', QueryBody, "SearchOrdersQueryRequest")

    assert (
        "'SearchOrdersQueryRequest' was missing required properties including: 'filter'."
        in (errors["$"][0])
    )


def test_a_query_binds_its_nested_filter_and_names_the_path_inside_it() -> None:
    good = bind(
        b'{"filter":{"accountId":1,"statuses":[1,6],"contractId":null},"pageSize":null}',
        QueryBody,
        request_type="SearchOrdersQueryRequest",
    )

    assert good.filter.statuses == [1, 6]
    assert good.page_size == 100
    assert "$.filter.accountId" in errors_of('{"filter":{"accountId":"1"}}', QueryBody)
    assert "$.filter.statuses" in errors_of(
        '{"filter":{"accountId":1,"statuses":["1"]}}', QueryBody
    )


@pytest.mark.parametrize("body", ['{"userName": "a"}', '{"userName": "a", "apiKey": null}'])
def test_a_login_without_key_is_found_by_validation(body: str) -> None:
    assert errors_of(body, LoginKeyBody, "LoginApiKeyRequest") == {
        "ApiKey": ["The ApiKey field is required."]
    }


def test_a_null_search_text_is_taken_but_a_missing_one_is_not() -> None:
    nullable = bind(b'{"searchText":null,"live":false}', ContractSearchBody, request_type="X")

    assert nullable.search_text is None
    assert "'searchText'" in errors_of('{"live":false}', ContractSearchBody)["$"][0]


@pytest.mark.parametrize(
    "text",
    ["x", "{", '{"accountId"', '{"accountId":', '{"accountId":1', '{"accountId":1,}', "{'a':1}",
     '{"accountId":01}', '{"accountId":NaN}', '{"accountId":1}{', "[1]", "7", "null",
     '{"a":' + "[" * 100_000, '{"a":' + "9" * 5_000 + "}"],
)  # fmt: skip
def test_what_is_no_json_object_is_refused_and_never_crashes(text: str) -> None:
    assert errors_of(text)


def test_an_empty_body_is_named_as_such() -> None:
    assert errors_of("  ")[""] == ["A non-empty request body is required."]


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(UnbindableError):
        bind(b'{"accountId":\xff}', AccountBody, request_type="X")


@pytest.mark.parametrize(
    "time", ["yesterday", "2026-13-01T00:00:00Z", "", "14:31", "2026-10-02T25:00Z"]
)
def test_a_time_that_is_none_is_refused(time: str) -> None:
    text = json.dumps({"accountId": 1, "startTimestamp": time})

    assert "System.DateTimeOffset" in errors_of(text, OrderSearchBody)["$.startTimestamp"][0]


def test_times_are_cut_to_microseconds_and_read_as_utc_without_offset() -> None:
    assert to_utc_us("2026-10-02T14:31:07.6008369+00:00") == 1790951467600836
    assert to_utc_us("2026-10-02T14:31:07.600836") == 1790951467600836
    assert to_utc_us("2026-10-02T16:31:07.600836+02:00") == 1790951467600836


@pytest.mark.parametrize(
    "price",
    [
        "1e400",
        "1e-400",
        "1e1000000",
        "-1e1000000",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "79228162514264337593543950336",
    ],
)
def test_a_price_that_dot_net_cannot_hold_is_refused(price: str) -> None:
    text = json.dumps(PLACE | {"limitPrice": 0}).replace(
        '"limitPrice": 0', f'"limitPrice": {price}'
    )

    assert "$.limitPrice" in errors_of(text, PlaceBody)
    unknown = text.replace("limitPrice", "somethingElse")
    assert bind(unknown.encode(), PlaceBody, request_type="PlaceOrderRequest").limit_price is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=JSON, member=st.sampled_from(sorted(PLACE)))
def test_any_json_in_any_member_binds_or_is_refused(value: object, member: str) -> None:
    text = json.dumps(PLACE | {member: value}).encode()
    with suppress(UnbindableError):
        body = bind(text, PlaceBody, request_type="PlaceOrderRequest")

        assert -(2**31) <= body.account_id < 2**31
        assert body.limit_price is None or isinstance(body.limit_price, Decimal)


@given(value=JSON, member=st.sampled_from((*PLACE, "ACCOUNTID", "strange")))
def test_a_body_binds_alike_whether_it_is_read_whole_or_walked_through(
    value: object, member: str
) -> None:
    text = json.dumps(PLACE | {member: value})
    twice = text.removesuffix("}") + ', "more": 1, "more": 1}'  # a reason to walk through it

    def found(body: str) -> PlaceBody | None:
        try:
            return bind(body.encode(), PlaceBody, request_type="PlaceOrderRequest")
        except UnbindableError:
            return None

    assert found(text) == found(twice)


@given(st.binary(max_size=200))
def test_any_bytes_are_bound_or_refused(text: bytes) -> None:
    with suppress(UnbindableError):
        body = bind(text, AccountBody, request_type="X")

        assert b"accountid" in text.lower()
        assert isinstance(body.account_id, int)
