"""What bots hear of an account: everything once, orders before trades before positions.

First the book alone, fed with what a broker may say in any way; then a whole guard in front of the
simulated venue, and bots on real sockets.
"""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace
from tests.app.desk import PATIENCE_S, Desk, until
from tests.app.desk import Guard as DeskGuard
from tests.core.builders import (
    Guard,
    a_position,
    a_row,
    a_trade,
)
from tests.entrypoints.gateway.bots import BUY, LIMIT, SELL, Bot, Front, in_front
from tests.entrypoints.gateway.hearing import Listener, breaches, listening

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.hubs import ProjectXHubs
from backstop.adapters.projectx.session import BearerToken
from backstop.adapters.projectx.wire import OrderRow, TradeRow, WireOrderStatus
from backstop.adapters.projectx.wire_rows import rest_time
from backstop.adapters.projectx_server.json_rows import encode, hub_row
from backstop.adapters.projectx_server.venue import MarketEvent, UserEvent
from backstop.adapters.sqlite.past_archive import PAST_DATABASE
from backstop.core import forgetting
from backstop.domain.broker import BrokerOrder, BrokerPosition, BrokerStatus, BrokerTrade
from backstop.domain.events import (
    AccountReported,
    Answer,
    Fact,
    HubConnected,
    OrderReported,
    PayloadRejected,
    PositionReported,
    Source,
    TradeReported,
)
from backstop.domain.order import OrderType, Side
from backstop.domain.quote import Quote
from backstop.entrypoints.gateway.user_events import UserEvents
from backstop.entrypoints.gateway.user_events_reads import LEARNT_MAX
from backstop.simulator.fault_rules import FaultKind, HubName

over_sockets = pytest.mark.asyncio(loop_scope="module")


class Told(Guard):
    """A core guard with its events."""

    def start(self, *instruments: Any) -> "Told":
        super().start(*instruments)
        self.begin()
        return self

    def begin(self) -> None:
        self.events: list[UserEvent | MarketEvent] = []
        self.number = 0
        self.source = UserEvents(self.book)
        self.source.subscribe(self.events.append)

    def feed(self, event: Fact, *, after_ms: int = 1) -> Any:
        result = super().feed(event, after_ms=after_ms)
        if hasattr(self, "source"):
            self.number += 1
            self.source.stepped(self.history[-1][0], self.number)
            self.source.released(self.number)
        return result

    @property
    def told(self) -> list[tuple[str, int, dict[str, Any]]]:
        """Return the events as a bot reads them."""
        return [
            (
                it.target,
                it.action,
                json.decode(encode(hub_row(it.data))),
            )
            for it in self.events
            if isinstance(it, UserEvent)
        ]

    def words(self) -> list[str]:
        """Return the kinds of the events, in order."""
        return [it.target.removeprefix("GatewayUser") for it in self.events]


def a_told_guard() -> Told:
    return Told().start()


# -- one order -----------------------------------------------------------------------------------


def test_a_fill_is_told_as_order_then_trade_then_position() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.PENDING)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.trade(quantity=2)
    guard.position_row(2)

    assert guard.words() == ["Order", "Order", "Trade", "Position"]
    assert [action for _, action, _ in guard.told] == [1, 1, 0, 1]
    assert breaches(guard.told) == []


def test_a_trade_that_comes_first_brings_the_order_that_it_proves() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.PENDING)
    guard.trade(quantity=2)

    assert guard.words() == ["Order", "Order", "Trade"]
    order = guard.told[1][2]
    assert (order["status"], order["fillVolume"], order["filledPrice"]) == (2, 2, 5000)

    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    assert guard.words() == ["Order", "Order", "Trade"], "its row says nothing new"


def test_a_trade_of_a_part_leaves_its_order_open() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.OPEN, type=OrderType.LIMIT)
    guard.trade(quantity=1)

    assert (guard.told[1][2]["status"], guard.told[1][2]["fillVolume"]) == (1, 1)


def test_a_position_waits_for_the_trades_that_lead_to_it() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.position_row(2)
    assert guard.words() == ["Order"]

    guard.trade(quantity=2)
    assert guard.words() == ["Order", "Trade", "Position"]
    assert guard.told[2][2]["size"] == 2


def test_a_trade_waits_for_an_order_that_nobody_has_heard_of() -> None:
    guard = a_told_guard()
    guard.trade(quantity=2)
    guard.position_row(2)
    assert guard.words() == []

    guard.audit(
        orders=(a_row(status=BrokerStatus.FILLED, filled_quantity=2),),
        trades=(a_trade(quantity=2),),
        positions=(a_position(2),),
    )
    assert guard.words() == ["Order", "Trade", "Position"]


def test_a_trade_whose_order_no_read_shows_is_told_all_the_same() -> None:
    guard = a_told_guard()
    guard.trade(quantity=2)
    guard.audit(trades=(a_trade(quantity=2),), positions=(a_position(2),))

    assert guard.words() == ["Trade", "Position"]


def test_an_order_of_ours_whose_row_was_lost_is_told_from_what_was_sent() -> None:
    guard = a_told_guard()
    guard.submit(quantity=2, client_order_id="my-own-tag")
    guard.dispatch("my-own-tag")
    guard.answer(Answer.YES, 100, client_order_id="my-own-tag")
    guard.trade(quantity=2)

    assert guard.words() == ["Order", "Trade"]
    order = guard.told[0][2]
    assert (order["id"], order["status"], order["size"]) == (100, 2, 2)
    assert order["customTag"] == "my-own-tag"
    assert breaches(guard.told) == []


def test_the_tag_of_a_bot_is_shown_instead_of_ours() -> None:
    guard = a_told_guard()
    tag = guard.working(client_order_id="my-own-tag").custom_tag
    guard.row(custom_tag=tag)
    guard.row(
        broker_order_id=101,
        custom_tag=f"{tag}-SL",
        parent_order_id=100,
        side=Side.SELL,
        type=OrderType.STOP,
        status=BrokerStatus.SUSPENDED,
    )
    guard.row(broker_order_id=200, custom_tag="of-somebody-else")

    assert [row["customTag"] for _, _, row in guard.told] == [
        "my-own-tag", "my-own-tag-SL", "of-somebody-else",
    ]  # fmt: skip


# -- doubles, and what reads bring ----------------------------------------------------------------


def test_what_comes_twice_is_told_once() -> None:
    guard = a_told_guard()
    for _ in range(3):
        guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
        guard.trade(quantity=2)
        guard.position_row(2)
        guard.audit(
            orders=(a_row(status=BrokerStatus.FILLED, filled_quantity=2),),
            trades=(a_trade(quantity=2),),
            positions=(a_position(2),),
        )

    assert guard.words() == ["Order", "Trade", "Position"]


def test_costs_that_are_learnt_later_make_no_second_trade() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.audit(trades=(a_trade(quantity=2),))
    guard.trade(quantity=2, commissions_micros=250_000)

    assert guard.words() == ["Order", "Trade"]


def test_a_void_is_told_as_a_change_of_its_trade() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.trade(quantity=2)
    guard.trade(quantity=2, voided=True)

    (_, first, before), (_, then, after) = [it for it in guard.told if it[0].endswith("Trade")]
    assert (first, before["voided"], then, after["voided"]) == (0, False, 1, True)


def test_a_position_that_closed_while_nobody_listened_is_told_by_a_read() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.trade(quantity=2)
    guard.position_row(2)
    closing = a_row(
        broker_order_id=101, side=Side.SELL, status=BrokerStatus.FILLED, filled_quantity=2
    )
    guard.audit(
        orders=(closing,),
        trades=(a_trade(trade_id=8, broker_order_id=101, side=Side.SELL, quantity=2),),
    )

    assert guard.words()[3:] == ["Order", "Trade", "Position"]
    _, action, row = guard.told[-1]
    assert (action, row["type"], row["size"], row["id"]) == (2, 0, 0, 9)
    guard.position_row(0)
    assert len(guard.told) == 6, "the row that comes late says nothing new"


def test_a_reversal_ends_one_position_and_begins_another() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.trade(quantity=2)
    guard.position_row(2)
    guard.row(
        broker_order_id=101,
        side=Side.SELL,
        quantity=3,
        status=BrokerStatus.FILLED,
        filled_quantity=3,
    )
    guard.trade(trade_id=8, broker_order_id=101, side=Side.SELL, quantity=3)
    guard.position_row(0)
    guard.position_row(-1, position_id=10)

    ended, begun = guard.told[-2:]
    assert (ended[1], ended[2]["id"], ended[2]["size"]) == (2, 9, 0)
    assert (begun[1], begun[2]["id"], begun[2]["type"], begun[2]["size"]) == (1, 10, 2, 1)


def test_an_average_that_moves_alone_is_told() -> None:
    guard = a_told_guard()
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.trade(quantity=2)
    guard.position_row(2)
    guard.position_row(2, average_price=a_position(2).average_price + 1)

    assert guard.told[-1][2]["averagePrice"] == 5001


def test_the_account_is_told_when_it_changes() -> None:
    guard = a_told_guard()
    guard.account(can_trade=True)
    guard.account(can_trade=False)
    guard.account(can_trade=False)

    (event,) = guard.told
    assert event[0] == "GatewayUserAccount"
    assert (event[2]["canTrade"], event[2]["balance"]) == (False, 50_000)


def test_rows_of_another_account_are_nobodys_news() -> None:
    guard = a_told_guard()
    guard.row(account_id=43)
    guard.trade(account_id=43)
    guard.position_row(2, account_id=43)
    guard.account(can_trade=False, account_id=43)

    assert guard.told == []


# -- beginnings ----------------------------------------------------------------------------------


def test_the_past_of_an_account_that_is_read_for_the_first_time_is_no_news() -> None:
    guard = Told()
    guard.connect()
    guard.begin()
    guard.audit(
        orders=(a_row(status=BrokerStatus.FILLED, filled_quantity=2),),
        trades=(a_trade(quantity=2),),
        positions=(a_position(2),),
    )
    assert guard.told == []

    guard.row(broker_order_id=101)
    assert guard.words() == ["Order"]


def test_what_the_process_before_knew_is_not_told_again_and_what_it_missed_is_told_once() -> None:
    before = Guard().start()
    before.row(status=BrokerStatus.FILLED, filled_quantity=2)
    before.trade(quantity=2)
    before.position_row(2)
    after = Told()
    after.book, after.now_ns = before.book, before.now_ns
    after.begin()
    missed = {
        "orders": (
            a_row(status=BrokerStatus.FILLED, filled_quantity=2),
            a_row(broker_order_id=101, status=BrokerStatus.FILLED, filled_quantity=2),
        ),
        "trades": (a_trade(quantity=2), a_trade(trade_id=8, broker_order_id=101, quantity=2)),
        "positions": (a_position(4),),
    }
    for _ in range(3):
        after.audit(after_ms=1_500, **missed)

    assert after.words() == ["Order", "Trade", "Position"]
    assert [row["id"] for _, _, row in after.told] == [101, 8, 9]
    assert [row.size for row in after.source.position_rows()] == [4]


def test_a_position_of_the_process_before_is_known_by_the_first_read_and_no_news() -> None:
    before = Guard().start()
    before.row(status=BrokerStatus.FILLED, filled_quantity=2)
    before.trade(quantity=2)
    before.position_row(2)
    after = Told()
    after.book, after.now_ns = before.book, before.now_ns
    after.begin()
    assert after.source.position_rows() == []
    after.audit(after_ms=1_500, positions=(a_position(2),))

    assert after.told == []
    assert [row.size for row in after.source.position_rows()] == [2]


def test_nothing_leaves_before_its_step_is_on_disk() -> None:
    guard = a_told_guard()
    guard.source.stepped(
        OrderReported(utc_us=guard.utc_us, order=a_row(), source=Source.HUB), number=7
    )
    Guard.feed(guard, OrderReported(utc_us=guard.utc_us, order=a_row(), source=Source.HUB))
    guard.source.stepped(guard.history[-1][0], number=8)
    guard.source.released(7)
    assert guard.events == []

    guard.source.released(8)
    assert guard.words() == ["Order"]


def test_a_sink_that_fails_takes_nothing_from_the_others_and_is_a_gap() -> None:
    guard = Told().start()
    gaps: list[str] = []
    guard.source = UserEvents(guard.book)
    guard.source.on_gap = partial(gaps.append, "read anew")
    guard.source.subscribe(broken)
    guard.source.subscribe(guard.events.append)
    Guard.feed(guard, OrderReported(utc_us=guard.utc_us, order=a_row(), source=Source.HUB))
    guard.source.stepped(guard.history[-1][0], number=1)
    Guard.feed(guard, TradeReported(utc_us=guard.utc_us, trade=a_trade(), source=Source.HUB))
    guard.source.stepped(guard.history[-1][0], number=2)

    with pytest.raises(ExceptionGroup, match="everybody") as raised:
        guard.source.released(2)

    assert guard.words()[:1] == ["Order"]
    assert guard.words()[-1:] == ["Trade"], "of a later step, and it was told as well"
    assert gaps == ["read anew"]
    assert [str(it) for it in raised.value.exceptions] == ["broken connection"] * len(guard.events)


def broken(_event: UserEvent | MarketEvent) -> None:
    raise ConnectionError("broken connection")


# -- any stream ----------------------------------------------------------------------------------


class Truth:
    """A venue's own truth of one contract, and the messages that tell of it in the right order."""

    def __init__(self) -> None:
        self.orders: dict[int, BrokerOrder] = {}
        self.trades: list[BrokerTrade] = []
        self.net = 0
        self.position_id = 900
        self.messages: list[Fact] = []

    def order(self, quantity: int, fills: list[int], *, is_buy: bool, ends: bool) -> None:
        """Let an order live: fills in parts, then the rest is cancelled or it is filled."""
        number = 100 + len(self.orders)
        side = Side.BUY if is_buy else Side.SELL
        row = a_row(broker_order_id=number, quantity=quantity, side=side, type=OrderType.LIMIT)
        self._tell(row)
        filled = 0
        for wanted in fills:
            part = min(wanted, quantity - filled)
            if not part:
                break
            filled += part
            done = filled == quantity
            row = replace(
                row,
                filled_quantity=filled,
                filled_price=a_trade().price,
                status=BrokerStatus.FILLED if done else BrokerStatus.OPEN,
            )
            self._tell(row)
            trade = a_trade(
                trade_id=1 + len(self.trades), broker_order_id=number, side=side, quantity=part
            )
            self.trades.append(trade)
            self.messages.append(TradeReported(utc_us=0, trade=trade, source=Source.HUB))
            self._move(side.sign * part)
        if ends and filled < quantity:
            self._tell(replace(row, status=BrokerStatus.CANCELLED))

    def _tell(self, row: BrokerOrder) -> None:
        self.orders[row.broker_order_id] = row
        self.messages.append(OrderReported(utc_us=0, order=row, source=Source.HUB))

    def _move(self, contracts: int) -> None:
        before, self.net = self.net, self.net + contracts
        if before * self.net < 0:
            self.messages.append(self._row(0))
        if before * self.net <= 0 and self.net:
            self.position_id += 1
        self.messages.append(self._row(self.net))

    def _row(self, quantity: int) -> Fact:
        position = a_position(quantity, position_id=self.position_id)
        return PositionReported(utc_us=0, position=position, source=Source.HUB)

    def read(self) -> dict[str, Any]:
        """Return what a complete read of the account shows now."""
        orders = tuple(self.orders.values())
        positions: tuple[BrokerPosition, ...] = ()
        if self.net:
            positions = (a_position(self.net, position_id=self.position_id),)
        return {
            "orders": orders,
            "live_orders": tuple(row for row in orders if row.status.is_live),
            "trades": tuple(reversed(self.trades)),
            "positions": positions,
        }


an_order = st.tuples(
    st.integers(1, 3), st.lists(st.integers(1, 2), max_size=3), st.booleans(), st.booleans()
)
any_bool = st.booleans()
a_fate = st.sampled_from(["comes", "comes", "comes", "lost", "twice", "late"])


@settings(max_examples=100, deadline=None)
@given(st.lists(an_order, min_size=1, max_size=5), st.data())
def test_whatever_the_stream_does_a_bot_hears_all_of_it_once_and_in_order(
    orders: list[tuple[int, list[int], bool, bool]], data: st.DataObject
) -> None:
    """Messages are lost, doubled and late, and reads come in between: the rules hold throughout."""
    guard, truth = a_told_guard(), Truth()
    late: list[Fact] = []
    for quantity, fills, is_buy, ends in orders:
        begin = len(truth.messages)
        truth.order(quantity, fills, is_buy=is_buy, ends=ends)
        for message in truth.messages[begin:]:
            fate = data.draw(a_fate)
            if fate == "late":
                late.append(message)
            elif fate != "lost":
                for _ in range(2 if fate == "twice" else 1):
                    guard.feed(replace(message, utc_us=guard.utc_us))
            if data.draw(any_bool) and late:
                guard.feed(replace(late.pop(0), utc_us=guard.utc_us))
        if data.draw(any_bool):
            guard.audit(after_ms=1_500, **truth.read())
    for _ in range(4):
        guard.audit(after_ms=1_500, **truth.read())

    assert breaches(guard.told) == []
    newest = {row["id"]: row for target, _, row in guard.told if target.endswith("Order")}
    assert {number: row["fillVolume"] for number, row in newest.items()} == {
        number: row.filled_quantity for number, row in truth.orders.items()
    }
    ended = {BrokerStatus.FILLED: 2, BrokerStatus.CANCELLED: 3, BrokerStatus.OPEN: 1}
    assert {number: row["status"] for number, row in newest.items()} == {
        number: ended[row.status] for number, row in truth.orders.items()
    }
    told = [row["id"] for target, _, row in guard.told if target.endswith("Trade")]
    assert sorted(told) == [trade.trade_id for trade in truth.trades]
    assert guard.position() == truth.net
    assert sum(row.size for row in guard.source.position_rows()) == abs(truth.net)
    rows = [row for target, _, row in guard.told if target.endswith("Position")]
    said = rows[-1]["size"] * {0: 0, 1: 1, 2: -1}[rows[-1]["type"]] if rows else 0
    assert said == truth.net


# -- over sockets --------------------------------------------------------------------------------


def true_trades(desk: Desk) -> list[int]:
    """Return the trades of the account as the exchange has them."""
    rows = desk.truth()["trades"]
    return sorted(row["id"] for row in rows if row["accountId"] == desk.account)


def true_fills(desk: Desk) -> dict[int, int]:
    """Return how much of each order the exchange has filled."""
    rows = desk.truth()["orders"]
    return {row["id"]: row["fillVolume"] for row in rows if row["accountId"] == desk.account}


async def complete(front: Front, listener: Listener) -> None:
    """Wait until a bot knows what is true, and hold what it heard against the rules."""

    def missing() -> list[str]:
        told = listener.newest_orders()
        fills = {number: row["fillVolume"] for number, row in told.items()}
        trades = sorted(row["id"] for row in listener.rows("Trade"))
        found = []
        if trades != true_trades(front.desk):
            found.append(f"trades {trades} of {true_trades(front.desk)}")
        if fills != true_fills(front.desk):
            found.append(f"fills {fills} of {true_fills(front.desk)}")
        if listener.net() != front.true_position():
            found.append(f"position {listener.net()} of {front.true_position()}")
        return found

    await until(lambda: not missing(), missing)
    assert breaches(listener.events) == []


async def filled(front: Front, bot: Bot, side: int = BUY, size: int = 1, **members: Any) -> int:
    """Place an order and wait until the exchange has filled it."""
    answer = await bot.place(side, size, **members)
    assert answer["success"], answer
    return await is_filled(front, answer)


async def closed_in_the_end(front: Front, bot: Bot, size: int) -> int:
    """Sell ``size``, as often as it takes: a late copy of an older row shows less for a moment."""
    async with asyncio.timeout(PATIENCE_S):
        while not (answer := await bot.place(SELL, size, stop=None))["success"]:
            assert "POSITION_FLIP" in answer["errorMessage"], answer
    return await is_filled(front, answer)


async def is_filled(front: Front, answer: dict[str, Any]) -> int:
    number = int(answer["orderId"])
    await until(
        lambda: front.truth_of(number)["status"] == "FILLED", lambda: front.truth_of(number)
    )
    return number


@over_sockets
async def test_a_round_trip_is_heard_completely_and_in_order(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()
        async with listening(bot) as listener:
            entry = await filled(front, bot, BUY, 2, customTag="in-1")
            await complete(front, listener)
            exit_ = await filled(front, bot, SELL, 2, customTag="out-1", stop=None)
            await complete(front, listener)

            orders = listener.newest_orders()
            assert (orders[entry]["customTag"], orders[exit_]["customTag"]) == ("in-1", "out-1")
            assert {row["customTag"] for row in orders.values() if row.get("parentOrderId")} <= {
                "in-1-SL", "in-1-TP",
            }  # fmt: skip
            assert listener.rows("Position")[-1]["size"] == 0
            assert listener.rows("Account")[-1]["balance"] != 150_000


@over_sockets
@pytest.mark.parametrize(
    ("on", "act"),
    [
        ("GatewayUserTrade", FaultKind.DROP_EVENT),
        ("GatewayUserOrder", FaultKind.DROP_EVENT),
        ("GatewayUserPosition", FaultKind.DROP_EVENT),
        ("any_event", FaultKind.DUPLICATE_EVENT),
        ("any_event", FaultKind.REORDER_EVENT),
    ],
)
async def test_a_stream_that_fails_upstream_is_whole_and_in_order_for_bots(
    desk: Desk, on: str, act: FaultKind
) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()
        async with listening(bot) as listener:
            desk.mischief(
                on, act, count=None, account_id=desk.account, delay_ms=30, copies=2, name="stream"
            )
            await filled(front, bot, BUY, 2)
            await complete(front, listener)
            assert desk.strikes(act)
            desk.venue.faults.heal()
            await closed_in_the_end(front, bot, 2)
            await complete(front, listener)


@over_sockets
async def test_while_the_upstream_hub_is_down_bots_stay_connected_and_miss_nothing(
    desk: Desk,
) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()
        async with listening(bot) as listener:
            await filled(front, bot, BUY, 1)
            await complete(front, listener)
            desk.mischief("hubs/user", FaultKind.HTTP_ERROR, count=None, name="down")
            desk.mischief("hubs/user/negotiate", FaultKind.HTTP_ERROR, count=None, name="down")
            desk.mischief("now", FaultKind.HUB_RESET, hub=HubName.USER)
            await until(lambda: not front.guard.book.links.user_up, "the hub is lost")
            await filled(front, bot, SELL, 1, stop=None)
            await complete(front, listener)  # by what the guard reads meanwhile
            desk.venue.faults.heal()
            await until(lambda: front.guard.book.links.user_up, "the hub is back")

            await complete(front, listener)
            assert listener.closed is None
            assert not listener.hub.socket.closed


@over_sockets
async def test_what_happened_while_no_guard_ran_is_heard_after_its_start_once(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()
        async with listening(bot) as listener:
            resting = await bot.place(BUY, 1, LIMIT, limitPrice=await away(front), customTag="rest")
            assert resting["success"], resting
            await until(lambda: resting["orderId"] in listener.newest_orders(), "it rests")
            before = {number: row["status"] for number, row in listener.newest_orders().items()}
        level = front.truth_of(resting["orderId"])["limitPrice"]
        contract = front.guard.instrument("MES").contract_id
    at = as_decimal(level)
    tick = as_decimal("0.25")
    desk.venue.exchange.on_quote(contract, at - tick, at - tick, 500, 500, at - tick, 500, 0)
    await until(lambda: len(true_trades(desk)) > 0, "a fill while nobody looks")

    async with in_front(desk, ready=False) as front:
        bot = await front.bot("beta")
        async with listening(bot) as listener:
            await until(
                lambda: sorted(row["id"] for row in listener.rows("Trade")) == true_trades(desk),
                lambda: listener.events,
            )
            await until(lambda: listener.net() == front.true_position(), lambda: listener.events)
            assert before[resting["orderId"]] == 1
            assert listener.newest_orders()[resting["orderId"]]["status"] == 2
            assert listener.newest_orders()[resting["orderId"]]["customTag"] == "rest"
            await front.guard.agrees()
            assert breaches(listener.events) == []


async def away(front: Front) -> Any:
    """Return a price twenty ticks below the market."""
    instrument = front.guard.instrument("MES")
    quote = front.guard.manager.quotes.reference(instrument.contract_id)
    assert quote is not None
    assert quote.bid is not None
    return quote.bid - 20 * instrument.tick_size


def as_decimal(value: object) -> Decimal:
    return Decimal(str(value))


def holds(guard: DeskGuard, quantity: int) -> bool:
    return guard.position() == quantity


@over_sockets
@pytest.mark.parametrize("read", ["Order/search", "Order/searchOpen", "Order/v2/query"])
async def test_a_bot_that_comes_back_and_reads_hears_nothing_older_than_it_read(
    desk: Desk, read: str
) -> None:
    """It reads in the middle of a fill, from the broker or from the guard."""
    body: dict[str, Any] = {"startTimestamp": "2020-01-01T00:00:00Z"}
    if read == "Order/v2/query":
        body = {"filter": {"accountId": desk.account}, "pageSize": 100}
    desk.mischief("any_event", FaultKind.DELAY_EVENT, count=None, delay_ms=20, name="late")
    async with in_front(desk) as front:
        bot = await front.bot()
        for side, size, held in ((BUY, 2, 2), (SELL, 2, 0), (BUY, 3, 3)):
            placing = asyncio.create_task(bot.place(side, size, stop=40 if side == BUY else None))
            async with listening(bot) as listener:
                answer = await bot.ask(read, **body)
                known = {row["id"]: row for row in answer["orders"]}
                await listener.caught_up()
                begin = len(listener.events)
                placed = await placing
                assert placed["success"], placed
                await until(partial(holds, front.guard, held), f"{held} contracts")
                await front.guard.agrees()
                await listener.caught_up()
                later = [
                    row
                    for target, _, row in listener.events[begin:]
                    if target == "GatewayUserOrder" and row["id"] in known
                ]
                for row in later:
                    assert row["fillVolume"] >= known[row["id"]]["fillVolume"]
                    assert known[row["id"]]["status"] not in {2, 3}, "it had ended"


@over_sockets
async def test_positions_and_trades_that_a_bot_reads_were_told_before(desk: Desk) -> None:
    desk.mischief("any_event", FaultKind.DELAY_EVENT, count=None, delay_ms=60, name="late")
    async with in_front(desk) as front:
        bot = await front.bot()
        async with listening(bot) as listener:
            for side in (BUY, SELL):
                assert (await bot.place(side, 1, stop=40 if side == BUY else None))["success"]
                trades = await bot.ask("Trade/search", startTimestamp="2020-01-01T00:00:00Z")
                await listener.caught_up()
                told = {row["id"] for row in listener.rows("Trade")}
                assert {row["id"] for row in trades["trades"]} <= told

                rows = (await bot.ask("Position/searchOpen"))["positions"]
                await listener.caught_up()
                assert sum(row["size"] for row in rows) == listener.net()
            await complete(front, listener)


@over_sockets
async def test_history_that_a_bot_reads_is_no_news(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()
        await filled(front, bot, BUY, 1)
        await front.guard.agrees()
        learning, book = front.gateway._reads._learning, front.guard.book
        old = OrderRow(
            id=3_400_000_001,
            account_id=desk.account,
            contract_id=bot.contract,
            creation_timestamp="2020-01-01T00:00:00Z",
            status=2,
            type=2,
            side=0,
            size=1,
            fill_volume=1,
        )
        async with listening(bot) as listener:
            await learning.orders([old])
            await listener.caught_up()
            assert old.id not in book.venue_orders
            assert old.id not in listener.newest_orders()

            await learning.orders([replace(old, status=1, fill_volume=0)])
            await listener.caught_up()
            assert old.id in listener.newest_orders(), "one that lives is news at any age"


@over_sockets
async def test_a_trade_that_waits_for_its_order_is_not_read_before_it_is_told(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()
        learning = front.gateway._reads._learning
        rows = [
            TradeRow(
                id=3_990_000_000 + side,
                account_id=desk.account,
                contract_id=bot.contract,
                creation_timestamp=rest_time(SystemClock().utc_us()),
                price=Decimal(5000),
                side=side,
                size=1,
                voided=False,
                order_id=3_990_000_010 + side,
            )
            for side in (BUY, SELL)
        ]
        async with listening(bot) as listener:
            read = {row.id for row in await learning.trades(rows)}
            await listener.caught_up()
            assert read <= {row["id"] for row in listener.rows("Trade")}
            await until(lambda: len(listener.rows("Trade")) == 2, "told without their orders")
            assert await learning.trades(rows) == rows
            await listener.caught_up()
            assert len(listener.rows("Trade")) == 2


@over_sockets
async def test_a_void_that_a_bot_reads_has_been_told_before(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()
        learning = front.gateway._reads._learning
        trade = TradeRow(
            id=3_990_000_020,
            account_id=desk.account,
            contract_id=bot.contract,
            creation_timestamp=rest_time(SystemClock().utc_us()),
            price=Decimal(5000),
            side=BUY,
            size=1,
            voided=False,
            order_id=3_990_000_021,
        )
        async with listening(bot) as listener:
            await learning.trades([trade])
            await until(lambda: listener.rows("Trade"), "told without its order")
            assert await learning.trades([replace(trade, voided=True)])
            await listener.caught_up()
            assert [row["voided"] for row in listener.rows("Trade")] == [False, True]


def an_order_of_others(front: Front, bot: Bot, number: int, **members: Any) -> OrderRow:
    """Return a row of an order that was made just now and that the guard has not heard of."""
    now = rest_time(SystemClock().utc_us())
    shown: dict[str, Any] = {
        "id": number,
        "account_id": front.desk.account,
        "contract_id": bot.contract,
        "creation_timestamp": now,
        "update_timestamp": now,
        "status": int(WireOrderStatus.CANCELLED),
        "type": LIMIT,
        "side": BUY,
        "size": 1,
        "limit_price": Decimal(1000),
        "fill_volume": 0,
    }
    return OrderRow(**(shown | members))


@over_sockets
async def test_what_a_bot_reads_of_many_orders_is_learnt_together(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot, book = await front.bot(), front.guard.book
        learning = front.gateway._reads._learning
        rows = [an_order_of_others(front, bot, 3_990_000_100 + it) for it in range(LEARNT_MAX)]
        before = front.guard.manager.commit_waits.cumulative()[-1]

        await learning.orders(rows)

        assert all(row.id in book.venue_orders for row in rows)
        commits = front.guard.manager.commit_waits.cumulative()[-1] - before
        assert commits < LEARNT_MAX // 4, "not one for each row: each waits for the disk"


@over_sockets
async def test_what_a_bot_reads_while_the_archive_is_unreadable_is_not_dropped(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "FINISHED_KEPT", 1)
    monkeypatch.setattr(forgetting, "STILL_READ_US", -(10**16))
    async with in_front(desk) as front:
        bot, book = await front.bot(), front.guard.book
        learning = front.gateway._reads._learning
        path, past = desk.folder / "state" / PAST_DATABASE, front.guard.manager.order_records._past
        await learning.orders([an_order_of_others(front, bot, 3_990_000_400 + it) for it in (1, 2)])
        await until(lambda: book.forgotten_order_id is not None, "one to leave the book")
        await until(lambda: path.exists() and not past.waiting, "it in the archive")
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("ALTER TABLE PastKey RENAME TO Gone")

        row = an_order_of_others(front, bot, 3_990_000_410, custom_tag="nobody-knows-it")
        assert await learning.orders([row])

        assert book.doubt.fault, "the archive was asked"
        assert book.venue_orders[row.id].row.custom_tag == row.custom_tag


@dataclass
class OneToken:
    """The token of a bot, for our own client."""

    bot: Bot

    async def token(self) -> BearerToken:
        return BearerToken(self.bot.token, ends_ns=2**62, life_ns=2**62)

    def refuse(self, token: BearerToken) -> None:
        raise AssertionError(token)


@over_sockets
async def test_our_own_client_reads_the_gateway_like_the_broker_itself(desk: Desk) -> None:
    """What it makes of the gateway's events is what the guard made of the broker's."""
    async with in_front(desk) as front:
        bot = await front.bot()
        facts: list[Fact] = []
        quotes: list[Quote] = []
        hubs = ProjectXHubs(
            user_hub_url=f"{front.url}/hubs/user",
            market_hub_url=f"{front.url}/hubs/market",
            tokens=OneToken(bot),
            clock=SystemClock(),
            account_id=desk.account,
            contract_ids=(bot.contract,),
            sink=facts.append,
            quotes=lambda quote, _: quotes.append(quote),
        )
        running = asyncio.create_task(hubs.run())
        try:
            await until(lambda: len(of(facts, HubConnected)) == 2, "both hubs are connected")
            await filled(front, bot, BUY, 2, customTag="own-client")
            await front.guard.agrees()
            await until(
                lambda: (
                    {it.trade.trade_id for it in of(facts, TradeReported)} == set(true_trades(desk))
                ),
                lambda: facts,
            )
            await until(
                lambda: 2 in {it.position.quantity for it in of(facts, PositionReported)},
                lambda: facts,
            )
            await until(
                lambda: (
                    front.guard.book.account in [it.account for it in of(facts, AccountReported)]
                ),
                lambda: facts,
            )
            await until(lambda: bool(quotes), "quotes")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        assert of(facts, PayloadRejected) == []
        assert "own-client" in {it.order.custom_tag for it in of(facts, OrderReported)}
        guards = {it.trade_id: it.price for it in front.guard.book.trades.values()}
        assert {it.trade.trade_id: it.trade.price for it in of(facts, TradeReported)} == guards


def of(facts: list[Fact], kind: type) -> list[Any]:
    return [fact for fact in facts if isinstance(fact, kind)]
