"""Executions outside the tolerance are told one by one, counted by session, and then reduce."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import Guard, a_policy, a_position, a_row, replayed

from backstop.core.book import ORDERS_KEPT
from backstop.core.slippage_breaches import BREACHES_KEPT
from backstop.core.step import DecisionKind
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.events import ResumeRequested, TradingDayBegan
from backstop.domain.order import OrderState, OrderType, Side

MONDAY, TUESDAY = "2026-10-05", "2026-10-06"


def day(guard: Guard, trade_date: str) -> None:
    guard.feed(TradingDayBegan(utc_us=guard.utc_us, trade_date=trade_date))


def a_guard(**policy: Any) -> Guard:
    guard = Guard(policy=a_policy(duplicate_window_ns=0, **policy)).start()
    day(guard, MONDAY)
    return guard


def execute(guard: Guard, number: int, price: str = "5001", **changes: Any) -> None:
    """Buy 1 MES at the market, 5000 offered, and pay ``price`` for it."""
    guard.working(1000 + number, client_order_id=f"c{number}", quantity=1, **changes)
    guard.trade(trade_id=number, broker_order_id=1000 + number, price=Decimal(price))
    assert guard.state(f"c{number}") is OrderState.FILLED


def resume(guard: Guard) -> None:
    event = ResumeRequested(utc_us=guard.utc_us, reason="seen", operator="ann")
    decision = guard.feed(event).decision
    assert decision is not None
    assert decision.kind is DecisionKind.ACCEPTED


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.now_ns)


def kinds(guard: Guard) -> list[LatchKind]:
    return [latch.kind for latch in guard.book.latches]


# -- one execution ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "price", "breach"),
    [
        (Side.BUY, "5000.50", False),  # 2 ticks: the limit itself
        (Side.BUY, "5000.75", True),
        (Side.BUY, "4990", False),  # better than asked
        (Side.SELL, "4999.25", False),  # the bid was 4999.75
        (Side.SELL, "4999", True),
        (Side.SELL, "5010", False),
    ],
)
def test_more_adverse_ticks_than_allowed_are_a_breach(
    side: Side, price: str, *, breach: bool
) -> None:
    guard = a_guard()
    guard.working(side=side, quantity=1)
    guard.trade(side=side, price=Decimal(price))

    assert guard.state() is OrderState.FILLED
    assert (guard.alerts() == ["SLIPPAGE_BREACH"]) is breach
    assert state(guard) is TradingState.ACTIVE


def test_the_average_of_all_fills_is_judged_exactly() -> None:
    """Ticks of 2, 2 and 3: seven thirds are above 2 although two of three fills are not."""
    guard = a_guard()
    guard.working(quantity=3)
    for number, price in enumerate(("5000.50", "5000.50", "5000.75")):
        assert guard.alerts() == []
        guard.trade(trade_id=number, price=Decimal(price))

    assert guard.alerts() == ["SLIPPAGE_BREACH"]


def test_the_alert_names_the_order_its_price_and_what_comes_next() -> None:
    guard = a_guard()
    execute(guard, 1)
    (alert,) = guard.commands_of(RaiseAlert)

    assert alert.severity is Severity.WARNING
    for word in ("c1", "BUY 1 MES", "4 adverse ticks", "2 allowed", "5000", "1 of this", "at 3"):
        assert word in alert.message


def test_an_order_is_judged_when_it_is_complete_not_before() -> None:
    guard = a_guard()
    guard.working(quantity=2)
    guard.trade(price=Decimal(5010))
    assert guard.alerts() == []

    guard.row(status=BrokerStatus.CANCELLED, filled_quantity=1)

    assert guard.state() is OrderState.CANCELLED
    assert guard.alerts() == ["SLIPPAGE_BREACH"]


def test_a_breach_waits_for_trades_that_the_venue_counted() -> None:
    guard = a_guard()
    guard.working(quantity=2)
    guard.row(status=BrokerStatus.CANCELLED, filled_quantity=2)
    guard.trade(price=Decimal(5010))
    assert guard.alerts() == []

    guard.trade(trade_id=8, price=Decimal(5010))

    assert guard.alerts() == ["SLIPPAGE_BREACH"]


def test_without_a_reference_nothing_is_judged() -> None:
    guard = a_guard()
    guard.submit(side=Side.BUY, type=OrderType.TRAILING_STOP, stop_price=Decimal(5010), quantity=1)
    guard.trade(broker_order_id=100, price=Decimal(6000))
    guard.row(status=BrokerStatus.FILLED, custom_tag=guard.order().custom_tag, quantity=1)

    assert guard.state() is OrderState.FILLED
    assert guard.alerts() == []


def test_an_order_counts_once_however_often_its_evidence_changes() -> None:
    guard = a_guard(slippage_breaches_to_reduce=2)
    execute(guard, 1)
    for status in (BrokerStatus.OPEN, BrokerStatus.FILLED):
        guard.row(broker_order_id=1001, status=status, quantity=1, updated_utc_us=guard.utc_us)
    guard.audit(orders=(a_row(broker_order_id=1001, quantity=1, status=BrokerStatus.FILLED),))

    assert guard.alerts() == ["SLIPPAGE_BREACH"]
    assert kinds(guard) == []


# -- the count -------------------------------------------------------------------------------------


def test_three_breaches_in_a_session_let_only_exits_pass_until_a_person_resumes() -> None:
    guard = a_guard()
    for number in (1, 2):
        execute(guard, number)
    assert state(guard) is TradingState.ACTIVE

    execute(guard, 3)

    assert kinds(guard) == [LatchKind.SLIPPAGE]
    assert state(guard) is TradingState.REDUCING
    assert guard.alerts() == [*["SLIPPAGE_BREACH"] * 3, "SLIPPAGE_REDUCING"]
    assert guard.commands_of(RaiseAlert)[-1].severity is Severity.CRITICAL
    guard.position_row(3)
    refused = guard.submit(client_order_id="entry")
    assert [denial.code for denial in refused.denials] == ["STATE_REDUCING"]
    exit_ = guard.submit(client_order_id="exit", side=Side.SELL, quantity=3)
    assert exit_.kind is DecisionKind.ACCEPTED
    resume(guard)
    assert state(guard) is TradingState.ACTIVE


def test_the_setting_says_how_many() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    execute(guard, 1)

    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_breach_while_reduced_is_told_and_latches_nothing_more() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    guard.submit(client_order_id="c9", quantity=1)
    execute(guard, 1)
    guard.dispatch("c9")
    guard.row(broker_order_id=1009, custom_tag=guard.order("c9").custom_tag, quantity=1)
    guard.trade(trade_id=9, broker_order_id=1009, price=Decimal(5001))

    assert guard.alerts().count("SLIPPAGE_BREACH") == 2
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_new_trading_day_counts_anew_and_lifts_nothing() -> None:
    guard = a_guard()
    for number in (1, 2):
        execute(guard, number)
    day(guard, TUESDAY)
    for number in (3, 4):
        execute(guard, number)
    assert kinds(guard) == []

    execute(guard, 5)
    assert kinds(guard) == [LatchKind.SLIPPAGE]
    day(guard, MONDAY)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_the_same_trading_day_told_again_does_not_forget_the_count() -> None:
    """Every start of a guard tells it."""
    guard = a_guard()
    for number in (1, 2):
        execute(guard, number)
    guard.connect()
    day(guard, MONDAY)
    guard.audit(positions=(a_position(2),))
    execute(guard, 3)

    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_what_a_person_resumed_after_does_not_count_again() -> None:
    guard = a_guard(slippage_breaches_to_reduce=2)
    for number in (1, 2):
        execute(guard, number)
    resume(guard)
    execute(guard, 3)
    assert kinds(guard) == []

    execute(guard, 4)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_the_latch_of_a_count_survives_a_replay() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    execute(guard, 1)
    book, _ = replayed(guard.policy, guard.history)

    assert book.latches == guard.book.latches != ()
    assert book.breaches == guard.book.breaches


# -- what the venue takes back ---------------------------------------------------------------------


def test_a_voided_trade_takes_its_breach_back() -> None:
    guard = a_guard()
    for number in (1, 2):
        execute(guard, number)
    guard.trade(trade_id=2, broker_order_id=1002, price=Decimal(5001), voided=True)
    execute(guard, 3)
    assert kinds(guard) == []

    execute(guard, 4)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_void_that_leaves_a_good_average_takes_the_breach_back() -> None:
    guard = a_guard()
    guard.working(quantity=2)
    guard.trade(trade_id=7, price=Decimal(5000))
    guard.trade(trade_id=8, price=Decimal(5005))
    assert list(guard.book.breaches) == ["c1"]

    guard.trade(trade_id=8, price=Decimal(5005), voided=True)
    assert list(guard.book.breaches) == []
    assert "slippage_breach_taken_back" in [note.name for note in guard.steps[-1].notes]


def test_a_breach_that_is_taken_back_leaves_the_latch_to_a_person() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    execute(guard, 1)
    guard.trade(trade_id=1, broker_order_id=1001, price=Decimal(5001), voided=True)

    assert list(guard.book.breaches) == []
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_void_of_yesterdays_trade_does_not_touch_todays_count() -> None:
    guard = a_guard()
    execute(guard, 1)
    day(guard, TUESDAY)
    for number in (2, 3):
        execute(guard, number)
    guard.trade(trade_id=1, broker_order_id=1001, price=Decimal(5001), voided=True)
    execute(guard, 4)

    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_breach_counts_although_its_order_has_left_the_book() -> None:
    guard = a_guard(slippage_breaches_to_reduce=2)
    execute(guard, 1)
    order = guard.order("c1")
    for number in range(ORDERS_KEPT):
        guard.book.orders[f"filler-{number}"] = order
    guard.timer()
    assert "c1" not in guard.book.orders

    execute(guard, 2)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_only_so_many_breaches_are_remembered() -> None:
    guard = a_guard()
    guard.book.breaches = {f"old-{number}": MONDAY for number in range(BREACHES_KEPT)}
    execute(guard, 1)

    assert len(guard.book.breaches) == BREACHES_KEPT
    assert list(guard.book.breaches)[-1] == "c1"
    assert "old-0" not in guard.book.breaches
