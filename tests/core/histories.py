"""Histories of an account for the core: anything a venue, a bot or time can do, in any order."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.builders import MES, Guard, a_guard_start, a_position, a_row, a_trade

from backstop.core.policy import SECOND_NS
from backstop.domain.broker import BrokerStatus
from backstop.domain.events import (
    Answer,
    CancelRequested,
    Fact,
    HaltRequested,
    Hub,
    HubConnected,
    HubLost,
    ResumeRequested,
    StrategySaved,
)
from backstop.domain.order import OrderType, Side

Act = tuple[Any, ...]
"""A word for what happens, and its details; ``feed`` makes facts of it."""

ORDERS = st.integers(1, 6)
STATUSES = st.sampled_from(
    [
        BrokerStatus.OPEN,
        BrokerStatus.FILLED,
        BrokerStatus.CANCELLED,
        BrokerStatus.REJECTED,
        BrokerStatus.SUSPENDED,
    ]
)


def histories() -> st.SearchStrategy[list[Act]]:
    """Return lists of acts; each begins with a start of the guard."""
    act = st.one_of(
        st.tuples(st.just("round"), st.integers(10, 400), st.sampled_from(["BUY", "SELL"])),
        st.tuples(st.just("submit"), ORDERS, st.sampled_from([OrderType.MARKET, OrderType.LIMIT])),
        st.tuples(st.just("answer"), ORDERS, st.sampled_from(list(Answer))),
        st.tuples(st.just("row"), ORDERS, STATUSES),
        st.tuples(st.just("leg"), ORDERS, STATUSES),
        st.tuples(st.just("trade"), ORDERS, st.integers(1, 3), st.booleans()),
        st.tuples(st.just("position"), st.integers(-3, 3)),
        st.tuples(st.just("audit"), st.integers(-3, 3)),
        st.tuples(st.just("look up"), ORDERS),
        st.tuples(st.just("cancel"), ORDERS),
        st.tuples(st.just("timer"), st.sampled_from([1, 300, 12_000, 600_000])),
        st.tuples(st.just("hub"), st.sampled_from(list(Hub)), st.booleans()),
        st.tuples(st.just("halt")),
        st.tuples(st.just("resume")),
        st.tuples(st.just("save"), st.integers(0, 3)),
        st.tuples(st.just("restart")),
    )
    return st.lists(act, max_size=60).map(lambda acts: [("start",), *acts])


def a_day() -> Guard:
    """Return a guard with a bit of everything: positions, legs, latches, an unanswered order."""
    guard = Guard(policy=replace(Guard().policy, archives=True))
    for act in (
        ("start",),
        ("submit", 1, OrderType.MARKET),
        ("answer", 1, Answer.YES),
        ("leg", 1, BrokerStatus.OPEN),
        ("trade", 1, 1, False),
        ("submit", 2, OrderType.LIMIT),
        ("answer", 2, Answer.YES),
        ("row", 2, BrokerStatus.OPEN),
        ("submit", 3, OrderType.LIMIT),
        ("answer", 3, Answer.UNKNOWN),
        ("trade", 5, 2, True),
        ("audit", 1),
        ("save", 2),
        ("round", 20, "BUY"),
        ("cancel", 2),
        ("halt",),
        ("timer", 300),
    ):
        feed(guard, act)
    return guard


def feed(guard: Guard, act: Act) -> None:
    """Let ``act`` happen to ``guard``."""
    match act:
        case ("start",):
            guard.start()
        case ("restart",):
            guard.feed(a_guard_start(utc_us=guard.utc_us))
            _hub(guard, Hub.MARKET, up=True)
            _hub(guard, Hub.USER, up=True)
        case ("round", number, side):
            _round_trip(guard, number, Side(side))
        case ("submit", number, kind):
            limit = Decimal(4990) if kind is OrderType.LIMIT else None
            guard.submit(
                client_order_id=f"c{number}",
                type=kind,
                quantity=number,
                limit_price=limit,
                stop_loss_price=Decimal(4900),
            )
            guard.dispatch(f"c{number}")
        case ("answer", number, answer):
            broker_order_id = 100 + number if answer in {Answer.YES, Answer.NO} else None
            guard.answer(answer, broker_order_id, client_order_id=f"c{number}")
        case ("row", number, status):
            filled = number if status is BrokerStatus.FILLED else 0
            guard.row(
                broker_order_id=100 + number,
                status=status,
                quantity=number,
                filled_quantity=filled,
                **_times(guard),
            )
        case ("leg", number, status):
            guard.row(
                broker_order_id=200 + number,
                parent_order_id=100 + number,
                status=status,
                side=Side.SELL,
                type=OrderType.STOP,
                stop_price=Decimal(4900),
                **_times(guard),
            )
        case ("trade", number, trade, voided):
            guard.trade(
                trade_id=10 * number + trade,
                broker_order_id=100 + number,
                voided=voided,
                created_utc_us=guard.utc_us,
            )
        case ("position", quantity):
            guard.position_row(quantity)
        case ("audit", quantity):
            guard.audit(positions=(a_position(quantity),) if quantity else ())
        case ("look up", number):
            guard.look_up(f"c{number}")
        case ("timer", after_ms):
            guard.timer(after_ms=after_ms)
        case ("hub", hub, up):
            _hub(guard, hub, up=up)
        case _:
            guard.feed(_wish(guard, act))


def _wish(guard: Guard, act: Act) -> Fact:
    match act:
        case ("cancel", number):
            return CancelRequested(
                utc_us=guard.utc_us, client_order_id=f"c{number}", reason="no longer wanted"
            )
        case ("halt",):
            return HaltRequested(utc_us=guard.utc_us, reason="news", operator="ann")
        case ("resume",):
            return ResumeRequested(utc_us=guard.utc_us, reason="over", operator="ann")
        case ("save", number):
            return StrategySaved(
                utc_us=guard.utc_us, strategy_id="momentum", state={"bars": number, "side": None}
            )
        case _:
            raise AssertionError(act)


def _times(guard: Guard) -> dict[str, int]:
    return {"created_utc_us": guard.utc_us, "updated_utc_us": guard.utc_us}


def _hub(guard: Guard, hub: Hub, *, up: bool) -> None:
    if up:
        guard.feed(HubConnected(utc_us=guard.utc_us, hub=hub, generation=1))
    else:
        guard.feed(HubLost(utc_us=guard.utc_us, hub=hub, generation=1, reason="gone"))


def _round_trip(guard: Guard, number: int, side: Side) -> None:
    """Fill a market order at once, its legs cancelled, ten seconds after what came before."""
    guard.now_ns += 10 * SECOND_NS
    name, broker_order_id = f"r{number}", 1000 + 10 * number
    decision = guard.submit(client_order_id=name, quantity=1, side=side)
    if decision.order is None:
        return
    guard.dispatch(name)
    guard.answer(Answer.YES, broker_order_id, client_order_id=name)
    times = _times(guard)
    rows = (
        a_row(
            broker_order_id=broker_order_id,
            side=side,
            quantity=1,
            filled_quantity=1,
            status=BrokerStatus.FILLED,
            **times,
        ),
        a_row(
            broker_order_id=broker_order_id + 1,
            parent_order_id=broker_order_id,
            side=side.opposite,
            type=OrderType.STOP,
            status=BrokerStatus.CANCELLED,
            **times,
        ),
    )
    trade = a_trade(
        trade_id=1000 + 10 * number,
        broker_order_id=broker_order_id,
        side=side,
        created_utc_us=guard.utc_us,
    )
    held = guard.position(MES) + side.sign
    guard.audit(orders=rows, trades=(trade,), positions=(a_position(held),) if held else ())
