import asyncio
import json
import logging
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace
from tests.adapters.projectx.conftest import (
    OK,
    Key,
    ScriptedApi,
    SystemClock,
    abort,
    make_jwt,
    until,
)

from backstop.adapters.projectx import translate
from backstop.adapters.projectx.broken_lists import REPORTS_MAX
from backstop.adapters.projectx.gateway import (
    AUDIT_CALLS,
    LOOK_UP_MARGIN_US,
    ProjectXGateway,
)
from backstop.adapters.projectx.rate_budget import CALLS_MAX
from backstop.adapters.projectx.rest import RestTimings
from backstop.adapters.projectx.shared_search import SHARED_WITHIN_US
from backstop.domain.broker import BrokerStatus
from backstop.domain.call_purpose import CallPurpose
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
)
from backstop.domain.events import (
    Answer,
    Fact,
    OrderReported,
    PayloadRejected,
    TradeReported,
)
from backstop.domain.order import OrderType, Side
from backstop.errors import GatewayAnswerError, GatewayUnreachableError, SettingError

PLACE = "/api/Order/place"
CANCEL = "/api/Order/cancel"
MODIFY = "/api/Order/modify"
SEARCH = "/api/Order/search"
BY_ID = "/api/Order/searchById"
QUERY = "/api/Order/v2/query"
TRADES = "/api/Trade/search"
POSITIONS = "/api/Position/searchOpen"
ACCOUNTS = "/api/Account/search"
CONTRACTS = "/api/Contract/available"
BARS = "/api/History/retrieveBars"
KEY = "the-key-that-must-not-leak"
ACCOUNT = 31004502
QUICK = RestTimings(change_s=2.0, read_s=3.0, attempt_s=0.5)
"""Where nothing comes, so that it is waited for to the end. What does come has the product's own
limits: on a busy machine it may be late."""

MINUTE_US = 60_000_000
SINCE_US = 1_790_951_467_000_000


def a_gateway(
    url: str, clock: SystemClock, facts: list[Fact] | None = None, **options: Any
) -> ProjectXGateway:
    return ProjectXGateway(
        api_url=url,
        user_name="trader77",
        api_key=Key(KEY),
        clock=clock,
        sink=None if facts is None else facts.append,
        timings=options.pop("timings", RestTimings()),
        **options,
    )


@pytest.fixture
async def gateway(api: ScriptedApi, clock: SystemClock) -> AsyncIterator[ProjectXGateway]:
    async with a_gateway(api.url, clock) as opened:
        yield opened


def an_order(**changes: Any) -> PlaceOrder:
    members: dict[str, Any] = {
        "client_order_id": "bot-1",
        "custom_tag": "bs-abc",
        "account_id": ACCOUNT,
        "contract_id": "CON.F.US.MES.Z26",
        "type": OrderType.LIMIT,
        "side": Side.BUY,
        "quantity": 2,
        "limit_price": Decimal("6000.25"),
        "stop_loss_offset_ticks": -40,
    }
    return PlaceOrder(**{**members, **changes})


def a_row(order_id: int, *, tag: str | None = None, status: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": order_id,
        "accountId": ACCOUNT,
        "contractId": "CON.F.US.MES.Z26",
        "creationTimestamp": "2026-10-02T14:31:07.6+00:00",
        "status": status,
        "type": 1,
        "side": 0,
        "size": 1,
        "customTag": tag,
        **more,
    }


def a_trade(trade_id: int, order_id: int) -> dict[str, Any]:
    return {
        "id": trade_id,
        "accountId": ACCOUNT,
        "contractId": "CON.F.US.MES.Z26",
        "creationTimestamp": "2026-10-02T14:31:08+00:00",
        "price": 6000.25,
        "profitAndLoss": None,
        "fees": 0.37,
        "side": 0,
        "size": 1,
        "voided": False,
        "orderId": order_id,
    }


# -- changes ---------------------------------------------------------------------------------------


async def test_an_order_leaves_as_the_wire_wants_it_and_comes_back_accepted(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    api.answer(PLACE, {**OK, "orderId": 3501000101})

    answered = await gateway.place_order(an_order())

    assert answered.answer is Answer.YES
    assert answered.broker_order_id == 3501000101
    assert answered.client_order_id == "bot-1"
    (body,) = api.bodies(PLACE)
    assert body["limitPrice"] == 6000.25  # a number: the gateway refuses text
    assert body["stopLossBracket"] == {"ticks": -40, "type": 4}
    assert body["customTag"] == "bs-abc"
    assert body["accountId"] == ACCOUNT


async def test_prices_are_sent_exactly(api: ScriptedApi, gateway: ProjectXGateway) -> None:
    texts = []

    async def remember(request: web.Request, _body: Any) -> web.StreamResponse:
        texts.append(await request.text())
        return web.json_response({**OK, "orderId": 1})

    api.answer(PLACE, remember)
    await gateway.place_order(an_order(limit_price=Decimal("0.0064815")))

    assert '"limitPrice":0.0064815,' in texts[0]


async def reset_before_answering(request: web.Request, _body: Any) -> web.StreamResponse:
    abort(request)
    return web.Response()


async def answer_half(request: web.Request, _body: Any) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "500"})
    await response.prepare(request)
    await response.write(b'{"orderId":1,"success":true,')
    abort(request)
    return response


async def never_answer(_request: web.Request, _body: Any) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def dribble_for_ever(request: web.Request, _body: Any) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


WITHOUT_END = (never_answer, dribble_for_ever)
"""Answers that only a deadline ends."""


async def flood(request: web.Request, _body: Any) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 1_000_000)


@pytest.mark.parametrize(
    "trouble",
    [
        reset_before_answering,
        answer_half,
        never_answer,
        dribble_for_ever,
        flood,
        (500, "oops"),
        (502, "<html>Bad Gateway</html>"),
        (200, "<html>login</html>"),
        (401, ""),
        (403, "blocked"),
        (429, ""),
        (429, "", {"Retry-After": "9" * 400}),
        (200, '{"x":' + "[" * 200_000),
        (400, '{"status":400,"x":' + "[" * 200_000),
        (302, "", {"Location": "/api/Order/place"}),
        OK,
    ],
)
@pytest.mark.parametrize("path", [PLACE, CANCEL, MODIFY])
async def test_whatever_goes_wrong_after_sending_is_unknown_and_never_repeated(
    api: ScriptedApi, clock: SystemClock, path: str, trouble: Any
) -> None:
    """The order may be live: only a look-up may tell, and a repeat would make it two."""
    api.answer(path, trouble)
    timings = QUICK if trouble in WITHOUT_END else RestTimings()
    async with a_gateway(api.url, clock, timings=timings) as gateway:
        if path == PLACE:
            answer = (await gateway.place_order(an_order())).answer
        elif path == CANCEL:
            cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=7, reason="test")
            answer = (await gateway.cancel_order(cancel)).answer
        else:
            modify = ModifyOrder(account_id=ACCOUNT, broker_order_id=7, quantity=1)
            answer = (await gateway.modify_order(modify)).answer

    # A cancel or a modify is accepted without an order id; a place is not.
    expected = Answer.YES if trouble is OK and path != PLACE else Answer.UNKNOWN
    assert answer is expected
    assert api.count(path) == 1


async def test_a_refused_connection_is_proof_that_nothing_was_sent(
    clock: SystemClock, unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with a_gateway(url, clock, token=Key(make_jwt(lives_s=9_000))) as gateway:
        spare = gateway.budget.spare()
        answered = await gateway.place_order(an_order())

        assert answered.answer is Answer.NOT_SENT
        assert "no connection" in answered.message
        assert gateway.budget.spare() == spare  # a call that never left costs nothing


async def test_a_failed_tls_handshake_is_proof_that_nothing_was_sent(
    clock: SystemClock,
) -> None:
    heard = bytearray()

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(4_096))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(no_tls, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"https://127.0.0.1:{port}"
        async with a_gateway(url, clock, token=Key(make_jwt(lives_s=9_000))) as gateway:
            answered = await gateway.place_order(an_order())

    assert answered.answer is Answer.NOT_SENT
    assert b"bs-abc" not in heard


async def test_a_read_that_ends_while_it_is_being_connected_costs_no_call(
    clock: SystemClock,
) -> None:
    """A line that is down takes the first packets of a connection and answers nothing."""
    over = asyncio.Event()

    async def says_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"https://127.0.0.1:{port}"
        token = Key(make_jwt(lives_s=9_000))
        async with a_gateway(url, clock, token=token, timings=QUICK) as gateway:
            spare = gateway.budget.spare()
            with pytest.raises(GatewayUnreachableError):
                await gateway.instruments()
            assert gateway.budget.spare() == spare
        over.set()


async def test_a_call_that_left_and_was_given_up_costs_one(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    arrived = asyncio.Event()

    async def hear(request: web.Request, body: Any) -> web.StreamResponse:
        arrived.set()
        return await never_answer(request, body)

    api.answer(CONTRACTS, hear)
    spare = gateway.budget.spare()
    asked = asyncio.ensure_future(gateway.instruments())
    await arrived.wait()
    asked.cancel()
    await asyncio.wait([asked])

    assert gateway.budget.spare() == spare - api.count(CONTRACTS) - api.logins


async def test_a_login_that_fails_means_that_nothing_was_sent(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    api.answer("/api/Auth/loginKey", {**OK, "success": False, "errorCode": 3, "token": None})

    answered = await gateway.place_order(an_order())

    assert answered.answer is Answer.NOT_SENT
    assert "InvalidCredentials" in answered.message
    assert api.count(PLACE) == 0


async def test_reads_that_are_not_let_in_leave_the_calls_for_what_comes_after(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    """A key that is refused is asked about often: then the calls of the exit must be there."""
    api.answer("/api/Auth/loginKey", {**OK, "success": False, "errorCode": 3, "token": None})
    for _ in range(CALLS_MAX):
        audited = await gateway.audit_account(
            AuditAccount(reason="test", account_id=ACCOUNT, since_utc_us=SINCE_US)
        )
        assert audited.fault

    assert gateway.budget.left() >= CALLS_MAX - api.count("/api/Auth/loginKey") > CALLS_MAX // 2


async def test_a_login_that_hangs_does_not_hold_an_order_beyond_its_deadline(
    api: ScriptedApi, clock: SystemClock
) -> None:
    api.answer("/api/Auth/loginKey", never_answer)

    async with a_gateway(api.url, clock, timings=QUICK) as gateway:
        answered = await gateway.place_order(an_order())

    assert answered.answer is Answer.NOT_SENT
    assert api.count(PLACE) == 0


async def test_a_spent_budget_means_that_nothing_was_sent(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    api.answer(PLACE, {**OK, "orderId": 9})
    await gateway.session.token()
    gateway.budget.kept = lambda it: 0 if it.is_urgent else CALLS_MAX

    refused = await gateway.place_order(an_order())
    urgent = await gateway.place_order(an_order(), urgent=True)

    assert (refused.answer, urgent.answer) == (Answer.NOT_SENT, Answer.YES)
    assert api.count(PLACE) == 1


async def test_a_rejected_order_comes_back_with_id_code_and_words(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    words = "Specified custom tag is already in use: custom tag should be unique per account"
    api.answer(PLACE, {"orderId": 5, "success": False, "errorCode": 2, "errorMessage": words})

    answered = await gateway.place_order(an_order())

    assert (answered.answer, answered.code, answered.broker_order_id) == (Answer.NO, 2, 5)
    assert answered.tag_in_use
    assert answered.message == words


async def test_a_refused_token_is_renewed_for_the_next_call_and_not_for_a_repeat(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    renewed = make_jwt(lives_s=86_400, name="renewed")
    api.answer("/api/Auth/validate", {**OK, "newToken": renewed})
    api.answer(PLACE, (401, ""), {**OK, "orderId": 6})

    first = await gateway.place_order(an_order())
    assert (first.answer, api.count(PLACE)) == (Answer.UNKNOWN, 1)

    second = await gateway.place_order(an_order(client_order_id="bot-2"))
    assert second.answer is Answer.YES
    assert [token for path, _, token in api.calls if path == PLACE][1] == f"Bearer {renewed}"


async def test_a_modify_leaves_what_it_does_not_name(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    api.answer(MODIFY, OK)
    command = ModifyOrder(account_id=ACCOUNT, broker_order_id=7, stop_price=Decimal("5990.5"))

    assert (await gateway.modify_order(command)).answer is Answer.YES

    (body,) = api.bodies(MODIFY)
    assert body["stopPrice"] == 5990.5
    assert body["size"] is None
    assert body["limitPrice"] is None


# -- reads -----------------------------------------------------------------------------------------


async def test_a_read_is_repeated_until_it_makes_sense(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    good: dict[str, Any] = {**OK, "accounts": []}
    api.answer(ACCOUNTS, (503, ""), reset_before_answering, (200, '{"accounts":[],"succ'), good)

    with pytest.raises(GatewayAnswerError, match="no active account"):
        await gateway.account(ACCOUNT)

    assert api.count(ACCOUNTS) == 4


async def test_a_read_gives_up_within_its_deadline(api: ScriptedApi, clock: SystemClock) -> None:
    api.answer(CONTRACTS, never_answer)

    async with a_gateway(api.url, clock, timings=QUICK) as gateway:
        with pytest.raises(GatewayUnreachableError):
            await gateway.instruments()

    assert 2 <= api.count(CONTRACTS) <= 5  # one dead attempt leaves time for others


@pytest.mark.parametrize(
    "refusal",
    [
        (400, '{"title":"bad","status":400,"errors":{}}'),
        (404, "nothing here"),
        {**OK, "success": False, "errorCode": 1, "positions": None},
        {**OK, "positions": None},
        OK,
    ],
)
async def test_a_lasting_refusal_of_a_read_is_not_repeated(
    api: ScriptedApi, gateway: ProjectXGateway, refusal: Any
) -> None:
    for path in (SEARCH, QUERY, TRADES):
        api.answer(path, {**OK, "orders": [], "trades": [], "totalCount": 0})
    api.answer(POSITIONS, refusal)

    audited = await gateway.audit_account(
        AuditAccount(reason="test", account_id=ACCOUNT, since_utc_us=SINCE_US)
    )

    assert audited.positions is None
    assert audited.fault.startswith("positions: ")
    assert audited.orders == ()
    assert audited.live_orders == ()
    assert audited.trades == ()
    assert api.count(POSITIONS) == 1


async def test_an_audit_reads_four_pictures_and_asks_for_every_live_status(
    api: ScriptedApi, gateway: ProjectXGateway, clock: SystemClock
) -> None:
    api.answer(SEARCH, {**OK, "orders": [a_row(1, status=2), a_row(2)]})
    api.answer(QUERY, {**OK, "orders": [a_row(2), a_row(3, status=8)], "totalCount": 2})
    api.answer(TRADES, {**OK, "trades": [a_trade(11, 1)]})
    api.answer(
        POSITIONS,
        {
            **OK,
            "positions": [
                {
                    "id": 4,
                    "accountId": ACCOUNT,
                    "contractId": "CON.F.US.MES.Z26",
                    "creationTimestamp": "2026-10-02T14:31:07+00:00",
                    "type": 2,
                    "size": 3,
                    "averagePrice": 6000.125,
                }
            ],
        },
    )
    began_ns = clock.monotonic_ns()

    audited = await gateway.audit_account(
        AuditAccount(reason="test", account_id=ACCOUNT, since_utc_us=SINCE_US)
    )

    assert audited.fault == ""
    assert audited.orders is not None
    assert [order.broker_order_id for order in audited.orders] == [1, 2]
    assert audited.live_orders is not None
    assert audited.live_orders[1].status is BrokerStatus.SUSPENDED
    assert audited.trades is not None
    assert audited.trades[0].trade_id == 11
    assert audited.positions is not None
    assert audited.positions[0].quantity == -3
    assert began_ns <= audited.sent_ns <= clock.monotonic_ns()
    (query,) = api.bodies(QUERY)
    assert query["filter"]["statuses"] == [1, 6, 7, 8]
    assert api.bodies(SEARCH)[0]["startTimestamp"] == "2026-10-02T14:31:07.000000+00:00"


async def test_one_row_that_makes_no_sense_takes_its_picture_away(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    """A list without the row that could not be read would look like a whole one."""
    api.answer(SEARCH, {**OK, "orders": [a_row(1), {**a_row(2), "side": 9}]})
    api.answer(QUERY, {**OK, "orders": [], "totalCount": 0})
    api.answer(TRADES, {**OK, "trades": []})
    api.answer(POSITIONS, {**OK, "positions": []})

    audited = await gateway.audit_account(
        AuditAccount(reason="test", account_id=ACCOUNT, since_utc_us=SINCE_US)
    )

    assert audited.orders is None
    assert "side 9" in audited.fault
    assert audited.positions == ()


async def test_a_row_that_makes_no_sense_is_kept_raw_and_hides_no_other(
    api: ScriptedApi, clock: SystemClock
) -> None:
    """A fill that only a read shows must not be lost because its neighbour cannot be read."""
    facts: list[Fact] = []
    api.answer(SEARCH, {**OK, "orders": [{**a_row(1), "side": 9}, a_row(2, tag="bs-abc")]})
    api.answer(QUERY, {**OK, "orders": [], "totalCount": 0})
    api.answer(TRADES, {**OK, "trades": [{**a_trade(10, 1), "size": 0}, a_trade(11, 2)]})
    api.answer(POSITIONS, {**OK, "positions": []})

    async with a_gateway(api.url, clock, facts) as gateway:
        for _ in range(3):
            audited = await gateway.audit_account(
                AuditAccount(reason="test", account_id=ACCOUNT, since_utc_us=SINCE_US)
            )
        looked_up = await gateway.look_up_order(
            LookUpOrder(
                client_order_id="bot-1",
                custom_tag="bs-abc",
                account_id=ACCOUNT,
                since_utc_us=SINCE_US,
            )
        )

    assert (audited.orders, audited.trades, looked_up.complete) == (None, None, False)
    orders = [fact.order.broker_order_id for fact in facts if isinstance(fact, OrderReported)]
    trades = [fact.trade.trade_id for fact in facts if isinstance(fact, TradeReported)]
    rejected = {fact.target: fact.raw for fact in facts if isinstance(fact, PayloadRejected)}
    assert (orders, trades) == ([2], [11])
    assert json.loads(rejected["Order/search"])["id"] == 1
    assert json.loads(rejected["Trade/search"])["id"] == 10
    assert len([fact for fact in facts if isinstance(fact, PayloadRejected)]) == 2


async def test_only_so_many_rows_without_sense_go_on_record(
    api: ScriptedApi, clock: SystemClock
) -> None:
    facts: list[Fact] = []
    broken = [{**a_row(number), "side": 9} for number in range(1, 3 * REPORTS_MAX)]
    api.answer(SEARCH, {**OK, "orders": broken})
    api.answer(QUERY, {**OK, "orders": [], "totalCount": 0})
    api.answer(TRADES, {**OK, "trades": []})
    api.answer(POSITIONS, {**OK, "positions": []})

    async with a_gateway(api.url, clock, facts) as gateway:
        audited = await gateway.audit_account(
            AuditAccount(reason="test", account_id=ACCOUNT, since_utc_us=SINCE_US)
        )

    assert audited.orders is None
    assert len([fact for fact in facts if isinstance(fact, PayloadRejected)]) == REPORTS_MAX


class PagedOrders:
    """``v2/query`` over rows that may change between two pages."""

    def __init__(self, count: int) -> None:
        self.rows = [a_row(order_id) for order_id in range(1, count + 1)]
        self.pages = 0
        self.before_page: dict[int, Any] = {}

    async def __call__(self, _request: web.Request, body: Any) -> web.StreamResponse:
        self.pages += 1
        if change := self.before_page.pop(self.pages, None):
            change(self.rows)
        offset = body["pageOffset"]
        page = self.rows[offset : offset + min(body["pageSize"], 100)]
        return web.json_response({**OK, "orders": page, "totalCount": len(self.rows)})


async def live_orders(gateway: ProjectXGateway) -> tuple[list[int] | None, str]:
    audited = await gateway.audit_account(
        AuditAccount(reason="test", account_id=ACCOUNT, since_utc_us=SINCE_US)
    )
    found = audited.live_orders
    return (None if found is None else [order.broker_order_id for order in found]), audited.fault


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 199, 200, 350])
async def test_every_page_of_live_orders_is_read(
    api: ScriptedApi, gateway: ProjectXGateway, count: int
) -> None:
    api.answer(QUERY, PagedOrders(count))

    found, _ = await live_orders(gateway)

    assert found == list(range(1, count + 1))


async def test_an_order_that_leaves_between_two_pages_hides_no_other(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    """One order leaves an early page and one comes at the end: the total stays the same."""
    orders = PagedOrders(150)

    def swap(rows: list[Any]) -> None:
        del rows[3]
        rows.append(a_row(151))

    orders.before_page[2] = swap
    api.answer(QUERY, orders)

    found, _ = await live_orders(gateway)

    assert found == [*range(1, 4), *range(5, 152)]


async def test_an_order_that_comes_between_two_pages_is_read_with_the_last(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    orders = PagedOrders(150)
    orders.before_page[2] = lambda rows: rows.append(a_row(151))
    api.answer(QUERY, orders)

    found, _ = await live_orders(gateway)

    assert found == list(range(1, 152))
    assert orders.pages == 2


@pytest.mark.parametrize(
    "answer",
    [
        {**OK, "orders": [a_row(1)]},
        {**OK, "orders": [a_row(1)], "totalCount": 2},
        {**OK, "orders": [a_row(1), a_row(2)], "totalCount": 1},
        {**OK, "orders": [a_row(1), a_row(1)], "totalCount": 2},
        {**OK, "orders": [], "totalCount": 3},
    ],
)
async def test_a_picture_of_live_orders_that_does_not_add_up_is_no_picture(
    api: ScriptedApi, gateway: ProjectXGateway, answer: Any
) -> None:
    api.answer(QUERY, answer)

    found, fault = await live_orders(gateway)

    assert found is None
    assert "v2/query" in fault


async def test_a_look_up_finds_the_order_its_legs_and_their_trades(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    rows = [a_row(1, tag="bs-abc", status=2), a_row(2, tag="bs-abc-SL"), a_row(3, tag="bs-abcd")]
    api.answer(SEARCH, {**OK, "orders": rows})
    api.answer(QUERY, {**OK, "orders": rows[:1], "totalCount": 1})
    api.answer(TRADES, {**OK, "trades": [a_trade(11, 1), a_trade(12, 3)]})

    found = await gateway.look_up_order(a_look_up())

    assert found.complete
    assert [order.broker_order_id for order in found.orders] == [1, 2, 1]
    assert [trade.trade_id for trade in found.trades] == [11]
    assert api.bodies(QUERY)[0]["filter"]["statuses"] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert api.bodies(SEARCH)[0]["startTimestamp"] < "2026-10-02T14:30"  # with a margin


@pytest.mark.parametrize("missing", [SEARCH, QUERY, TRADES])
async def test_a_look_up_with_a_failed_part_is_not_complete(
    api: ScriptedApi, gateway: ProjectXGateway, missing: str
) -> None:
    """An absent order proves nothing while one of three places could not be seen."""
    api.answer(SEARCH, {**OK, "orders": []})
    api.answer(QUERY, {**OK, "orders": [], "totalCount": 0})
    api.answer(TRADES, {**OK, "trades": []})
    api.answer(missing, (403, ""))

    found = await gateway.look_up_order(a_look_up())

    assert not found.complete
    assert "403" in found.fault


async def test_a_revoked_key_shows_at_the_first_403(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    api.answer(SEARCH, (403, ""))
    api.answer("/api/Auth/validate", (403, ""))

    found = await gateway.look_up_order(a_look_up())

    assert "refuses a token that it has just given" in found.fault
    assert api.count("/api/Auth/validate") == 1


async def test_a_picture_of_the_account_for_which_the_calls_are_lacking_is_not_begun(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    """Two of its four lists prove nothing, and their calls are those that the next one needs."""
    for path, rows in ((SEARCH, "orders"), (QUERY, "orders"), (TRADES, "trades")):
        api.answer(path, {**OK, rows: [], "totalCount": 0})
    api.answer(POSITIONS, {**OK, "positions": []})
    command = AuditAccount(reason="test", account_id=ACCOUNT, since_utc_us=SINCE_US)
    await gateway.audit_account(command)  # logs in
    left = gateway.budget.left()

    gateway.budget.kept = lambda _: left - AUDIT_CALLS + 1
    lacking = await gateway.audit_account(command)
    gateway.budget.kept = lambda _: left - AUDIT_CALLS
    whole = await gateway.audit_account(command)

    assert (lacking.orders, lacking.positions) == (None, None)
    assert "budget is spent" in lacking.fault
    assert (whole.orders, whole.positions, whole.fault) == ((), (), "")
    assert api.count(SEARCH) == 2


async def test_an_urgent_look_up_may_use_the_calls_that_are_kept(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    api.answer(SEARCH, {**OK, "orders": []})
    api.answer(QUERY, {**OK, "orders": [], "totalCount": 0})
    api.answer(TRADES, {**OK, "trades": []})
    gateway.budget.kept = lambda it: 0 if it.is_urgent else CALLS_MAX

    ordinary = await gateway.look_up_order(a_look_up())
    urgent = await gateway.look_up_order(a_look_up(urgent=True))
    again = await gateway.look_up_order(a_look_up(urgent=True, repeats=True))
    gateway.budget.kept = lambda it: 0 if it is CallPurpose.ORDINARY else CALLS_MAX
    usual = await gateway.look_up_order(a_look_up(repeats=True))

    assert not ordinary.complete
    assert "budget is spent" in ordinary.fault
    assert urgent.complete
    assert not again.complete, "the reads of the account come before what is searched again"
    assert usual.complete, "a poll that nothing hangs on is as usual as the one before it"


async def test_a_change_that_is_asked_again_leaves_the_calls_that_reads_need(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    api.answer(CANCEL, OK)
    api.answer(MODIFY, OK)
    await gateway.session.token()
    gateway.budget.kept = lambda it: CALLS_MAX if it is CallPurpose.REPEAT else 0
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=7, reason="test")
    modify = ModifyOrder(account_id=ACCOUNT, broker_order_id=7, quantity=1)

    answers = [
        (await gateway.cancel_order(cancel)).answer,
        (await gateway.cancel_order(replace(cancel, repeats=True))).answer,
        (await gateway.modify_order(modify)).answer,
        (await gateway.modify_order(replace(modify, repeats=True))).answer,
    ]

    assert answers == [Answer.YES, Answer.NOT_SENT, Answer.YES, Answer.NOT_SENT]
    assert (api.count(CANCEL), api.count(MODIFY)) == (1, 1)


def a_look_up(
    tag: str = "bs-abc",
    number: int | None = None,
    *,
    urgent: bool = False,
    repeats: bool = False,
) -> LookUpOrder:
    return LookUpOrder(
        urgent=urgent,
        repeats=repeats,
        client_order_id="bot-1",
        custom_tag=tag,
        account_id=ACCOUNT,
        since_utc_us=SINCE_US,
        broker_order_id=number,
    )


def lists_answer(api: ScriptedApi, *orders: dict[str, Any]) -> None:
    api.answer(SEARCH, {**OK, "orders": list(orders)})
    api.answer(QUERY, {**OK, "orders": list(orders), "totalCount": len(orders)})
    api.answer(TRADES, {**OK, "trades": [a_trade(10 + row["id"], row["id"]) for row in orders]})


def searches(api: ScriptedApi) -> tuple[int, int, int]:
    return api.count(SEARCH), api.count(QUERY), api.count(TRADES)


async def test_look_ups_that_are_asked_for_together_share_one_search(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    """The lists are the same, whichever order is sought in them; it begins with the earliest."""
    lists_answer(api, a_row(1, tag="bs-a"), a_row(2, tag="bs-b"))
    earlier = replace(a_look_up("bs-b"), since_utc_us=SINCE_US - 60_000_000)

    found = await asyncio.gather(
        *(gateway.look_up_order(it) for it in (a_look_up("bs-a"), earlier, a_look_up("bs-c")))
    )

    assert searches(api) == (1, 1, 1)
    assert [it.complete for it in found] == [True, True, True]
    assert [{row.broker_order_id for row in it.orders} for it in found] == [{1}, {2}, set()]
    assert [[trade.trade_id for trade in it.trades] for it in found] == [[11], [12], []]
    began_us = earlier.since_utc_us - LOOK_UP_MARGIN_US
    assert {it.since_utc_us for it in found} == {began_us}
    (body,) = api.bodies(TRADES)
    assert translate.utc_us(body["startTimestamp"]) == began_us


async def test_a_search_that_has_begun_shows_nothing_to_a_look_up_after_it(
    api: ScriptedApi, gateway: ProjectXGateway, clock: SystemClock
) -> None:
    """It may be a picture from before that order was sent: it would prove that it is absent."""
    lists_answer(api)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request, _body: Any) -> web.Response:
        arrived.set()
        await go_on.wait()
        return web.json_response({**OK, "trades": []})

    api.answer(TRADES, slow)
    first = asyncio.create_task(gateway.look_up_order(a_look_up("bs-a")))
    await arrived.wait()
    asked_ns = clock.monotonic_ns()
    second = asyncio.create_task(gateway.look_up_order(a_look_up("bs-b")))
    await until(lambda: api.count(TRADES) == 2)
    go_on.set()

    assert (await first).sent_ns < asked_ns <= (await second).sent_ns
    assert searches(api) == (2, 2, 2)


async def test_a_part_that_failed_is_lacking_to_all_who_share_the_search(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    lists_answer(api, a_row(1, tag="bs-a"))
    api.answer(TRADES, (403, ""))

    found = await asyncio.gather(
        *(gateway.look_up_order(a_look_up(tag)) for tag in ("bs-a", "bs-b"))
    )

    assert [it.complete for it in found] == [False, False]
    assert all("trades: " in it.fault for it in found)
    assert [bool(it.orders) for it in found] == [True, False]


async def test_a_shared_search_is_as_urgent_as_the_most_urgent_look_up(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    lists_answer(api)
    purposes: list[CallPurpose] = []

    def kept(purpose: CallPurpose) -> int:
        purposes.append(purpose)
        return 0

    await gateway.session.token()
    gateway.budget.kept = kept
    usual, urgent = a_look_up("bs-a"), a_look_up("bs-b", urgent=True)
    again = a_look_up("bs-c", urgent=True, repeats=True)

    for asked in ((usual, again, urgent, usual), (again, usual), (usual, again)):
        await asyncio.gather(*(gateway.look_up_order(it) for it in asked))

    assert purposes == [CallPurpose.PROVE] * 3 + [CallPurpose.REPEAT] * 6


async def test_each_order_is_asked_for_by_its_own_number_and_the_search_is_shared(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    lists_answer(api, a_row(1, tag=""), a_row(2, tag=""))
    api.answer(BY_ID, {**OK, "order": a_row(3, tag="")})

    found = await asyncio.gather(
        gateway.look_up_order(a_look_up(tag="", number=3)),
        gateway.look_up_order(a_look_up("bs-a")),
        gateway.look_up_order(a_look_up("bs-b")),
    )

    assert api.count(BY_ID) == 1
    assert searches(api) == (2, 2, 2), "one for the two, one after the number was answered"
    assert [{row.broker_order_id for row in it.orders} for it in found] == [{3}, set(), set()]


async def test_neither_another_account_nor_one_that_reaches_far_back_shares_a_search(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    """Days of orders are many pages: who wants the last minutes must not fail with them."""
    lists_answer(api)
    usual = a_look_up("bs-a")
    as_far = replace(usual, since_utc_us=SINCE_US - SHARED_WITHIN_US)
    too_far = replace(usual, since_utc_us=SINCE_US - SHARED_WITHIN_US - 1)
    another = replace(usual, account_id=ACCOUNT + 1)

    await asyncio.gather(
        *(gateway.look_up_order(it) for it in (usual, as_far, too_far, another, usual))
    )

    assert searches(api) == (3, 3, 3)
    assert [body["accountId"] for body in api.bodies(TRADES)].count(ACCOUNT) == 2


async def test_a_look_up_that_is_given_up_leaves_the_search_to_the_others(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    lists_answer(api, a_row(2, tag="bs-b"))
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request, _body: Any) -> web.Response:
        arrived.set()
        await go_on.wait()
        return web.json_response({**OK, "trades": []})

    api.answer(TRADES, slow)
    first = asyncio.create_task(gateway.look_up_order(a_look_up("bs-a")))
    second = asyncio.create_task(gateway.look_up_order(a_look_up("bs-b")))
    await arrived.wait()
    first.cancel()
    await asyncio.wait([first])
    go_on.set()

    assert first.cancelled()
    assert (await second).complete
    assert searches(api) == (1, 1, 1)


async def test_no_search_outlives_its_gateway(api: ScriptedApi, clock: SystemClock) -> None:
    lists_answer(api)
    arrived = asyncio.Event()

    async def silent(_request: web.Request, _body: Any) -> web.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    api.answer(TRADES, silent)
    async with a_gateway(api.url, clock) as gateway:
        asked = asyncio.create_task(gateway.look_up_order(a_look_up()))
        await arrived.wait()
        asked.cancel()
        await asyncio.wait([asked])

    assert [it.get_name() for it in asyncio.all_tasks()].count("shared search") == 0


async def test_an_order_without_a_tag_is_found_by_its_number_however_old_it_is(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    old = a_row(1, tag="") | {"creationTimestamp": "2026-09-01T10:00:00+00:00"}
    api.answer(BY_ID, {**OK, "order": old})
    api.answer(SEARCH, {**OK, "orders": [a_row(2, tag=""), a_row(3) | {"parentOrderId": 1}]})
    api.answer(QUERY, {**OK, "orders": [], "totalCount": 0})
    api.answer(TRADES, {**OK, "trades": [a_trade(11, 1), a_trade(12, 2)]})

    found = await gateway.look_up_order(a_look_up(tag="", number=1))

    assert found.complete
    assert [order.broker_order_id for order in found.orders] == [1, 3]
    assert [trade.trade_id for trade in found.trades] == [11]
    assert api.bodies(BY_ID) == [{"accountId": ACCOUNT, "orderId": 1}]
    assert api.bodies(TRADES)[0]["startTimestamp"] < "2026-09-01T10:00"


async def test_a_number_that_the_gateway_does_not_know_is_no_failure(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    """The gateway says itself that there is none; any other refusal says nothing."""
    api.answer(SEARCH, {**OK, "orders": []})
    api.answer(QUERY, {**OK, "orders": [], "totalCount": 0})
    api.answer(TRADES, {**OK, "trades": [a_trade(11, 1)]})
    api.answer(BY_ID, {"success": False, "errorCode": 1, "errorMessage": None, "order": None})
    none = await gateway.look_up_order(a_look_up(number=1))
    api.answer(BY_ID, {"success": False, "errorCode": 2, "errorMessage": "later"})
    refused = await gateway.look_up_order(a_look_up(number=1))

    assert (none.complete, none.orders) == (True, ())
    assert [trade.trade_id for trade in none.trades] == [11]
    assert not refused.complete
    assert "code 2. later" in refused.fault


@pytest.mark.parametrize("answer", [{**OK}, {**OK, "order": None}, {**OK, "order": {"id": 1}}])
async def test_a_number_whose_answer_names_no_order_is_a_failure(
    api: ScriptedApi, gateway: ProjectXGateway, answer: dict[str, Any]
) -> None:
    api.answer(SEARCH, {**OK, "orders": []})
    api.answer(QUERY, {**OK, "orders": [], "totalCount": 0})
    api.answer(TRADES, {**OK, "trades": []})
    api.answer(BY_ID, answer)

    found = await gateway.look_up_order(a_look_up(number=1))

    assert not found.complete


async def test_an_odd_contract_is_reported_and_takes_no_other_away(
    api: ScriptedApi, clock: SystemClock
) -> None:
    good = {
        "id": "CON.F.US.EP.Z26",
        "name": "ESZ6",
        "description": "",
        "tickSize": 0.25,
        "tickValue": 12.5,
        "activeContract": True,
        "symbolId": "F.US.EP",
    }
    api.answer(CONTRACTS, {**OK, "contracts": [{**good, "tickSize": 0}, good]})
    facts: list[Fact] = []
    async with a_gateway(api.url, clock, facts) as gateway:
        (instrument,) = await gateway.instruments()

    assert (instrument.symbol, instrument.tick_value_micros) == ("ES", 12_500_000)
    (rejected,) = (fact for fact in facts if isinstance(fact, PayloadRejected))
    assert "tickSize 0" in rejected.fault
    assert api.bodies(CONTRACTS) == [{"live": False}]


ACCOUNT_ROWS = [
    {"id": 31004501, "name": "50KTC-1", "balance": 50120.66, "canTrade": True, "isVisible": True},
    {"id": ACCOUNT, "name": "PRAC-2", "balance": 149812.3, "canTrade": False, "isVisible": True},
]


@pytest.mark.parametrize("wanted", [ACCOUNT, str(ACCOUNT), "PRAC-2"])
async def test_the_account_is_found_by_id_or_name(
    api: ScriptedApi, gateway: ProjectXGateway, wanted: int | str
) -> None:
    api.answer(ACCOUNTS, {**OK, "accounts": ACCOUNT_ROWS})

    account = await gateway.account(wanted)

    assert (account.account_id, account.balance_micros) == (ACCOUNT, 149_812_300_000)
    assert not account.can_trade


async def test_a_wrong_account_is_refused_with_the_ones_that_exist(
    api: ScriptedApi, gateway: ProjectXGateway
) -> None:
    api.answer(ACCOUNTS, {**OK, "accounts": ACCOUNT_ROWS})

    with pytest.raises(GatewayAnswerError, match=r"31004501 \(50KTC-1\), 31004502 \(PRAC-2\)"):
        await gateway.account(999)


async def test_bars_come_oldest_first_and_once(api: ScriptedApi, gateway: ProjectXGateway) -> None:
    def bar(minute: int, close: float) -> dict[str, Any]:
        time = f"2026-10-02T14:{minute}:00+00:00"
        return {"t": time, "o": 1, "h": 2, "l": 0.5, "c": close, "v": 10}

    api.answer(BARS, {**OK, "bars": [bar(32, 1.5), bar(30, 1.25), bar(31, 1), bar(31, 1)]})

    bars = await gateway.bars(
        "C",
        start_utc_us=SINCE_US,
        end_utc_us=SINCE_US + 3 * MINUTE_US,
        unit=2,
        number=1,
        limit=100,
    )

    assert [bar.close for bar in bars] == [Decimal("1.25"), Decimal(1), Decimal("1.5")]
    assert [later.utc_us - bars[0].utc_us for later in bars] == [0, MINUTE_US, 2 * MINUTE_US]
    (body,) = api.bodies(BARS)
    assert (body["unit"], body["unitNumber"], body["live"]) == (2, 1, False)


async def test_a_long_history_may_take_longer_than_any_other_read(
    api: ScriptedApi, clock: SystemClock
) -> None:
    """A slow line takes seconds for two megabytes; given up after each attempt, it never comes."""
    arrives = asyncio.Event()

    async def slow(_request: web.Request, _body: Any) -> web.StreamResponse:
        await arrives.wait()
        row = {"t": "2026-10-02T14:30:00+00:00", "o": 1, "h": 2, "l": 0.5, "c": 1, "v": 10}
        return web.json_response({**OK, "bars": [row]})

    api.answer(BARS, slow)
    api.answer(CONTRACTS, never_answer)
    window = {"start_utc_us": SINCE_US, "end_utc_us": SINCE_US + 3 * MINUTE_US}
    timings = RestTimings(read_s=0.1, attempt_s=0.1)
    async with a_gateway(api.url, clock, timings=timings) as gateway:
        reading = asyncio.create_task(gateway.bars("C", **window, unit=2, number=1, limit=100))
        await until(lambda: api.count(BARS))
        with pytest.raises(GatewayUnreachableError):
            await gateway.instruments()
        arrives.set()

        assert len(await reading) == 1
    assert api.count(BARS) == 1


async def test_the_gateways_clock_is_read_from_its_answers(
    api: ScriptedApi, clock: SystemClock
) -> None:
    api.answer(ACCOUNTS, {**OK, "accounts": ACCOUNT_ROWS})
    clock.skew_us = 60_000_000
    async with a_gateway(api.url, clock) as gateway:
        before_any_answer = gateway.venue_clock_offset_ms
        for _ in range(3):
            await gateway.account(ACCOUNT)

        assert len(gateway.clock_readings) == 3
        offset_ms = gateway.venue_clock_offset_ms
    assert before_any_answer is None
    assert offset_ms is not None
    assert -61_500 < offset_ms < -58_500


async def test_connections_from_before_a_sleep_of_the_computer_are_not_used_again(
    api: ScriptedApi,
) -> None:
    """An order that is written into a dead connection is lost without a trace."""

    class Suspended(SystemClock):
        jump_ns = 0

        def monotonic_ns(self) -> int:
            return super().monotonic_ns() + self.jump_ns

    async def note_connection(request: web.Request, _body: Any) -> web.StreamResponse:
        assert request.transport is not None
        connections.append(request.transport.get_extra_info("peername"))
        return web.json_response({**OK, "accounts": ACCOUNT_ROWS})

    connections: list[Any] = []
    api.answer(ACCOUNTS, note_connection)
    clock = Suspended()
    async with a_gateway(api.url, clock) as gateway:
        await gateway.account(ACCOUNT)
        await gateway.account(ACCOUNT)
        clock.jump_ns = 60_000_000_000
        await gateway.account(ACCOUNT)

    assert connections[0] == connections[1] != connections[2]


@pytest.mark.parametrize(
    "url", ["http://api.topstepx.com", "ftp://127.0.0.1", "https://u:p@host", "api.topstepx.com"]
)
async def test_an_address_that_would_leak_or_cannot_work_is_refused(
    clock: SystemClock, url: str
) -> None:
    with pytest.raises(SettingError, match="TOPSTEPX_API_URL"):
        a_gateway(url, clock)


async def test_neither_key_nor_token_shows_in_addresses_facts_or_logs(
    api: ScriptedApi, clock: SystemClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.answer(PLACE, reset_before_answering)
    async with a_gateway(api.url, clock) as gateway:
        answered = await gateway.place_order(an_order())
        token = await gateway.session.token()

        shown = f"{answered!r} {token!r} {vars(gateway.session)!r} {caplog.text}"
    assert KEY not in shown
    assert token.reveal() not in shown
    assert all(KEY not in path and "?" not in path for path, _, _ in api.calls)
    assert json.dumps(api.bodies(PLACE)).count(KEY) == 0
    await until(lambda: api.count(PLACE) == 1)
