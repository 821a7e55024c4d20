import json
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from msgspec import structs
from tests.adapters.projectx_server.conftest import (
    ACCOUNT,
    API_KEY,
    CONTRACT,
    START_US,
    USER,
    Gateway,
    contract_row,
    order_row,
    running,
)

from backstop.adapters.projectx.wire import BarRow, PositionRow, TradeRow
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.rate_limit import RateLimit
from backstop.adapters.projectx_server.venue import Outcome

OLD_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("Account/search", {"onlyActiveAccounts": True}),
    ("Contract/search", {"searchText": "MNQ", "live": False}),
    ("Contract/searchById", {"contractId": CONTRACT}),
    ("Contract/available", {"live": False}),
    ("History/retrieveBars", {
        "contractId": CONTRACT, "live": False, "startTime": "2026-10-02T14:00:00Z",
        "endTime": "2026-10-02T15:00:00Z", "unit": 2, "unitNumber": 1, "limit": 10,
        "includePartialBar": False}),
    ("Order/place", {
        "accountId": ACCOUNT, "contractId": CONTRACT, "type": 2, "side": 0, "size": 1}),
    ("Order/modify", {"accountId": ACCOUNT, "orderId": 1}),
    ("Order/cancel", {"accountId": ACCOUNT, "orderId": 1}),
    ("Order/search", {"accountId": ACCOUNT, "startTimestamp": "2026-10-02T14:00:00Z"}),
    ("Order/searchOpen", {"accountId": ACCOUNT}),
    ("Order/searchById", {"accountId": ACCOUNT, "orderId": 1}),
    ("Order/v2/query", {"filter": {"accountId": ACCOUNT}}),
    ("Position/searchOpen", {"accountId": ACCOUNT}),
    ("Position/closeContract", {"accountId": ACCOUNT, "contractId": CONTRACT}),
    ("Position/partialCloseContract", {"accountId": ACCOUNT, "contractId": CONTRACT, "size": 1}),
    ("Trade/search", {"accountId": ACCOUNT, "startTimestamp": "2026-10-02T14:00:00Z"}),
]  # fmt: skip
ALL_CALLS: list[tuple[str, dict[str, Any]]] = [
    *OLD_CALLS,
    ("Auth/validate", {}),
    ("Auth/logout", {}),
]
ACCOUNT_CALLS = [
    (path, body) for path, body in OLD_CALLS if "accountId" in body or "filter" in body
]


def on_account(body: dict[str, Any], account_id: int) -> dict[str, Any]:
    if "filter" in body:
        return {"filter": {"accountId": account_id}}
    return body | {"accountId": account_id}


# -- the envelope and the codes ---------------------------------------------------------------


@pytest.mark.parametrize(("path", "body"), ALL_CALLS)
async def test_every_call_answers_200_with_the_envelope(
    gateway: Gateway, path: str, body: dict[str, Any]
) -> None:
    answer = await gateway.post(path, body)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    envelope = await answer.json()
    assert list(envelope)[-3:] == ["success", "errorCode", "errorMessage"]
    assert envelope["success"] is (envelope["errorCode"] == 0)


@pytest.mark.parametrize(("path", "body"), ALL_CALLS)
@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
async def test_every_call_wants_a_good_token(
    gateway: Gateway, path: str, body: dict[str, Any], token: str
) -> None:
    answer = await gateway.http.post(
        f"{gateway.url}/api/{path}",
        json=body,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )

    assert answer.status == 401
    assert await answer.read() == b""
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("path", "body"), ALL_CALLS)
async def test_every_call_is_post_only(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    del body
    answer = await gateway.http.get(f"{gateway.url}/api/{path}")

    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert await answer.read() == b""


@pytest.mark.parametrize(("path", "body"), ACCOUNT_CALLS)
async def test_an_account_of_somebody_else_is_code_1(
    gateway: Gateway, path: str, body: dict[str, Any]
) -> None:
    envelope = await gateway.call(path, on_account(body, 999))

    assert (envelope["success"], envelope["errorCode"]) == (False, 1)
    assert all(
        value is None for name, value in envelope.items() if name not in {"success", "errorCode"}
    )
    assert gateway.venue.placed == []


@pytest.mark.parametrize(("path", "body"), ACCOUNT_CALLS)
async def test_an_account_id_as_text_is_a_problem_object_without_envelope(
    gateway: Gateway, path: str, body: dict[str, Any]
) -> None:
    wrong: dict[str, Any] = {**body, "accountId": "31"}
    where = "$.accountId"
    if "filter" in body:
        wrong, where = {"filter": {"accountId": "31"}}, "$.filter.accountId"

    answer = await gateway.post(path, wrong)

    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    problem = await answer.json()
    assert list(problem) == ["type", "title", "status", "errors", "traceId"]
    assert problem["title"] == "One or more validation errors occurred."
    assert problem["status"] == 400
    assert problem["errors"][where][0].startswith(
        "The JSON value could not be converted to System.Int32."
    )
    assert problem["traceId"].startswith("00-")
    assert gateway.venue.placed == []


@pytest.mark.parametrize("path", ["nothing", "Order", "Order/place/x", ""])
async def test_unknown_paths_are_404_with_nothing(gateway: Gateway, path: str) -> None:
    answer = await gateway.post(path, {})

    assert answer.status == 404
    assert await answer.read() == b""


async def test_paths_match_without_regard_to_case(gateway: Gateway) -> None:
    assert (await gateway.call("order/SEARCHOPEN", {"accountId": ACCOUNT}))["success"]


async def test_ping_answers_without_a_token(gateway: Gateway) -> None:
    plain = await gateway.http.get(f"{gateway.url}/api/Status/ping")
    as_json = await gateway.http.get(
        f"{gateway.url}/api/Status/ping", headers={"Accept": "application/json"}
    )

    assert (plain.status, await plain.text()) == (200, "pong")
    assert await as_json.json() == "pong"
    assert (await gateway.post("Status/ping", {})).status == 405


async def test_the_date_header_is_the_time_of_the_venue(gateway: Gateway) -> None:
    answer = await gateway.post("Order/searchOpen", {"accountId": ACCOUNT})

    shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert shown == START_US // 1_000_000


# -- logins -----------------------------------------------------------------------------------


async def test_the_user_name_is_found_without_regard_to_case(gateway: Gateway) -> None:
    answer = await gateway.call("Auth/loginKey", {"userName": "tRADER77", "apiKey": API_KEY})

    assert answer["success"]
    gateway.token = answer["token"]
    assert (await gateway.call("Account/search", {"onlyActiveAccounts": False}))["accounts"]


@pytest.mark.parametrize(
    ("user", "key"), [("Nobody", API_KEY), (USER, "wrong"), (USER, "schlüssel")]
)
async def test_a_wrong_login_is_200_with_code_3_and_no_token(
    gateway: Gateway, user: str, key: str
) -> None:
    answer = await gateway.call("Auth/loginKey", {"userName": user, "apiKey": key})

    assert answer == {"token": None, "success": False, "errorCode": 3, "errorMessage": None}


async def test_a_login_without_key_is_a_validation_problem(gateway: Gateway) -> None:
    answer = await gateway.post("Auth/loginKey", {"userName": USER})

    assert answer.status == 400
    assert (await answer.json())["errors"] == {"ApiKey": ["The ApiKey field is required."]}


async def test_login_app_knows_users_passwords_apps_and_verify_keys() -> None:
    config = ServerConfig(users={USER: API_KEY}, apps={"app": "verify"})
    good = {"userName": USER, "password": API_KEY, "deviceId": "d", "appId": "app",
            "verifyKey": "verify"}  # fmt: skip
    async with running(config) as gateway:
        assert (await gateway.call("Auth/loginApp", good))["success"]
        for wrong, code in (
            ({"userName": "x"}, 1),
            ({"password": "x"}, 2),
            ({"appId": "x"}, 4),
            ({"verifyKey": "x"}, 5),
        ):
            answer = await gateway.call("Auth/loginApp", good | wrong)
            assert (answer["token"], answer["errorCode"]) == (None, code)


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"not json"])
async def test_validate_needs_no_body_and_both_tokens_work_after_it(
    gateway: Gateway, raw: bytes
) -> None:
    answer = await gateway.http.post(
        f"{gateway.url}/api/Auth/validate",
        data=raw,
        headers={"Authorization": f"Bearer {gateway.token}"},
    )
    new_token = (await answer.json())["newToken"]

    for token in (gateway.token, new_token):
        assert (await gateway.post("Account/search", {"onlyActiveAccounts": True}, token=token)).ok


async def test_logout_ends_this_token_and_no_other(gateway: Gateway) -> None:
    other = await gateway.login()
    body = {"onlyActiveAccounts": True}

    assert await gateway.call("Auth/logout") == {
        "success": True, "errorCode": 0, "errorMessage": None}  # fmt: skip

    assert (await gateway.post("Account/search", body)).status == 401
    assert (await gateway.post("Account/search", body, token=other)).status == 200


async def test_an_expired_token_is_401_also_for_validate(gateway: Gateway) -> None:
    gateway.now[0] += 86_400 * 1_000_000

    assert (await gateway.post("Auth/validate")).status == 401
    gateway.token = await gateway.login()
    assert (await gateway.post("Auth/validate")).status == 200


# -- rows -------------------------------------------------------------------------------------


async def test_accounts_can_be_asked_for_active_ones_only(gateway: Gateway) -> None:
    gateway.venue.account_rows.append(
        structs.replace(gateway.venue.account_rows[0], id=2, can_trade=False)
    )

    both = await gateway.call("Account/search", {"onlyActiveAccounts": False})
    active = await gateway.call("Account/search", {"onlyActiveAccounts": True})

    assert [row["id"] for row in both["accounts"]] == [ACCOUNT, 2]
    assert [row["id"] for row in active["accounts"]] == [ACCOUNT]


async def test_contract_search_shows_twenty_active_rows_and_by_id_the_expired_too(
    gateway: Gateway,
) -> None:
    gateway.venue.contract_rows += [contract_row(f"CON.{n}", f"MNQ{n}") for n in range(30)]

    found = await gateway.call("Contract/search", {"searchText": "mnq", "live": False})
    none = await gateway.call("Contract/search", {"searchText": "zzz", "live": False})
    listed = await gateway.call("Contract/available", {"live": False})
    expired = await gateway.call("Contract/searchById", {"contractId": "CON.F.US.MNQ.U26"})
    unknown = await gateway.call("Contract/searchById", {"contractId": "CON.X"})

    assert len(found["contracts"]) == 20
    assert none["contracts"] == []
    assert len(listed["contracts"]) == 31
    assert expired["contract"]["activeContract"] is False
    assert (unknown["contract"], unknown["errorCode"]) == (None, 1)


async def test_live_contracts_are_an_empty_list_without_live_data(gateway: Gateway) -> None:
    answer = await gateway.call("Contract/available", {"live": True})

    assert (answer["contracts"], answer["success"]) == ([], True)


async def test_bars_come_with_short_names_and_null_on_failure(gateway: Gateway) -> None:
    gateway.venue.bar_rows = [
        BarRow(t="2026-10-02T14:31:00+00:00", o=Decimal("21010.25"), h=Decimal("21014.00"),
               l=Decimal("21008.50"), c=Decimal("21012.75"), v=412)
    ]  # fmt: skip
    body = dict(OLD_CALLS)["History/retrieveBars"]

    answer = await gateway.post("History/retrieveBars", body)
    refused = await gateway.call("History/retrieveBars", body | {"contractId": "CON.X"})

    assert b'{"t":"2026-10-02T14:31:00+00:00","o":21010.25,"h":21014,"l":21008.5,' in (
        await answer.read()
    )
    assert refused == {"bars": None, "success": False, "errorCode": 1, "errorMessage": None}


async def test_rest_writes_old_nulls_and_leaves_new_columns_out(gateway: Gateway) -> None:
    gateway.venue.order_rows.append(order_row(3_501_000_100))

    (row,) = (await gateway.call("Order/searchOpen", {"accountId": ACCOUNT}))["orders"]

    assert row["stopPrice"] is None
    assert row["customTag"] is None
    assert not {"parentOrderId", "linkedOrderId", "trailDistance", "trailPrice"} & set(row)


async def test_new_columns_are_written_when_they_say_something(gateway: Gateway) -> None:
    gateway.venue.order_rows.append(
        structs.replace(order_row(3), parent_order_id=1, linked_order_id=2, trail_distance=-40,
                        trail_price=Decimal("-10.0"))
    )  # fmt: skip

    answer = await gateway.call("Order/searchById", {"accountId": ACCOUNT, "orderId": 3})

    order = answer["order"]
    assert (order["parentOrderId"], order["linkedOrderId"]) == (1, 2)
    assert (order["trailDistance"], order["trailPrice"]) == (-40, -10)


async def test_a_query_tells_the_total_without_being_asked(gateway: Gateway) -> None:
    gateway.venue.order_rows += [order_row(number) for number in range(5)]

    answer = await gateway.call(
        "Order/v2/query",
        {"filter": {"accountId": ACCOUNT}, "pageOffset": 1, "pageSize": 2,
         "includeTotalCount": False},
    )  # fmt: skip

    assert [row["id"] for row in answer["orders"]] == [1, 2]
    assert answer["totalCount"] == 5


async def test_positions_and_trades_are_rows_with_the_prices_of_the_venue(
    gateway: Gateway,
) -> None:
    gateway.venue.position_rows.append(
        PositionRow(id=1, account_id=ACCOUNT, contract_id=CONTRACT, creation_timestamp="t",
                    contract_display_name="MNQZ26", type=1, size=2,
                    average_price=Decimal("21010.375"))
    )  # fmt: skip
    gateway.venue.trade_rows.append(
        TradeRow(id=3_090_000_021, account_id=ACCOUNT, contract_id=CONTRACT, side=0, size=1,
                 creation_timestamp="t", price=Decimal("21010.25"), fees=Decimal("0.36"),
                 order_id=3_501_000_101)
    )  # fmt: skip

    positions = await gateway.call("Position/searchOpen", {"accountId": ACCOUNT})
    trades = await gateway.call("Trade/search", {"accountId": ACCOUNT})

    assert positions["positions"][0]["averagePrice"] == Decimal("21010.375")
    assert positions["positions"][0]["contractDisplayName"] == "MNQZ26"
    assert trades["trades"][0]["profitAndLoss"] is None
    assert "commissions" not in trades["trades"][0]


# -- changes ----------------------------------------------------------------------------------


async def test_place_passes_the_order_on_and_answers_its_id(gateway: Gateway) -> None:
    answer = await gateway.call(
        "Order/place",
        {"accountId": ACCOUNT, "contractId": CONTRACT, "type": 2, "side": 0, "size": 1,
         "customTag": "g1", "linkedOrderId": None, "madeUp": {"x": 1},
         "stopLossBracket": {"ticks": -40, "type": 4}},
    )  # fmt: skip

    assert answer["orderId"] == 3_501_000_101
    (body,) = gateway.venue.placed
    assert (body.custom_tag, body.stop_loss_bracket and body.stop_loss_bracket.ticks) == ("g1", -40)


async def test_a_rejected_order_has_its_id_and_the_reason(gateway: Gateway) -> None:
    gateway.venue.outcome = Outcome(code=2, message="Invalid limit price.")

    answer = await gateway.call("Order/place", dict(OLD_CALLS)["Order/place"])

    assert answer == {"orderId": 3_501_000_101, "success": False, "errorCode": 2,
                      "errorMessage": "Invalid limit price."}  # fmt: skip


async def test_modify_cancel_and_closes_answer_with_the_bare_envelope(gateway: Gateway) -> None:
    gateway.venue.order_rows.append(order_row(1))
    gateway.venue.position_rows.append(
        PositionRow(id=1, account_id=ACCOUNT, contract_id=CONTRACT, creation_timestamp="t",
                    type=1, size=3, average_price=Decimal(1))
    )  # fmt: skip
    good = {"success": True, "errorCode": 0, "errorMessage": None}
    calls = dict(OLD_CALLS)

    assert await gateway.call("Order/modify", calls["Order/modify"] | {"stopPrice": 5.25}) == good
    assert gateway.venue.modified[0].stop_price == Decimal("5.25")
    assert await gateway.call("Order/cancel", calls["Order/cancel"]) == good
    partial = calls["Position/partialCloseContract"]
    assert await gateway.call("Position/partialCloseContract", partial) == good
    wrong_size = await gateway.call("Position/partialCloseContract", partial | {"size": 9})
    assert wrong_size["errorCode"] == 5
    close = calls["Position/closeContract"]
    assert await gateway.call("Position/closeContract", close) == good
    assert (await gateway.call("Position/closeContract", close))["errorCode"] == 2


async def test_a_query_without_filter_is_a_problem_that_names_it(gateway: Gateway) -> None:
    answer = await gateway.post("Order/v2/query", {"accountId": ACCOUNT, "statuses": [1]})

    assert answer.status == 400
    problem = json.loads(await answer.read())
    assert (
        "SearchOrdersQueryRequest' was missing required properties including: 'filter'"
        in (problem["errors"]["$"][0])
    )


# -- rate -------------------------------------------------------------------------------------


async def test_the_201st_call_in_a_minute_is_429_logins_included(gateway: Gateway) -> None:
    body = {"accountId": ACCOUNT}
    for _ in range(199):  # the fixture has logged in once
        assert (await gateway.post("Order/searchOpen", body)).status == 200

    refused = await gateway.post("Order/searchOpen", body)
    login = await gateway.post("Auth/loginKey", {"userName": USER.upper(), "apiKey": API_KEY})

    assert refused.status == 429
    assert "Retry-After" not in refused.headers
    assert login.status == 429
    bars = dict(OLD_CALLS)["History/retrieveBars"]
    assert (await gateway.post("History/retrieveBars", bars)).status == 200
    gateway.now[0] += 60 * 1_000_000
    assert (await gateway.post("Order/searchOpen", body)).status == 200


async def test_bars_have_a_window_of_their_own_of_50_in_30_seconds(gateway: Gateway) -> None:
    body = dict(OLD_CALLS)["History/retrieveBars"]
    statuses = [(await gateway.post("History/retrieveBars", body)).status for _ in range(51)]

    assert statuses == [200] * 50 + [429]
    assert (await gateway.post("Order/searchOpen", {"accountId": ACCOUNT})).status == 200


async def test_retry_after_is_a_whole_number_of_seconds_behind_a_switch() -> None:
    config = ServerConfig(
        users={USER: API_KEY}, retry_after=True, general_limit=RateLimit(calls=1, window_s=60)
    )
    async with running(config) as gateway:
        gateway.now[0] += 20 * 1_000_000
        refused = await gateway.post("Order/searchOpen", {"accountId": ACCOUNT})

        assert refused.status == 429
        assert refused.headers["Retry-After"] == "40"
        assert await refused.read() == b""
