"""A hosted strategy that fails: its entries go, what closes and what protects stays."""

from decimal import Decimal
from typing import Any

from tests.core.builders import Guard, replayed

from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.core.step import Step
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ClosePosition, RaiseAlert, Severity
from backstop.domain.events import Answer, StrategyFailed
from backstop.domain.order import OrderType

RESTING: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(4990)}


def fail(guard: Guard, name: str = "alpha") -> Step:
    return guard.feed(StrategyFailed(utc_us=guard.utc_us, strategy_id=name, reason="SystemExit: 3"))


def told(guard: Guard) -> list[RaiseAlert]:
    return [it for it in guard.commands_of(RaiseAlert) if it.code == "STRATEGY_FAILED"]


def cancelled(guard: Guard) -> list[int]:
    return [it.broker_order_id for it in guard.commands_of(CancelOrder)]


def holding(guard: Guard) -> None:
    """Have ``alpha`` buy two MES."""
    guard.working(100, client_order_id="in", strategy_id="alpha")
    guard.row(broker_order_id=100, quantity=2, status=BrokerStatus.FILLED)
    guard.trade(trade_id=100, broker_order_id=100, quantity=2)
    guard.position_row(2)


def test_entries_of_a_failed_strategy_are_cancelled_and_those_of_others_stay() -> None:
    guard = Guard().start()
    guard.working(100, strategy_id="alpha", **RESTING)
    guard.working(101, client_order_id="c2", strategy_id="beta", quantity=1, **RESTING)

    fail(guard)

    assert cancelled(guard) == [100]
    assert guard.book.latches == ()


def test_a_person_is_told_what_a_failed_strategy_left() -> None:
    guard = Guard().start()
    holding(guard)
    guard.working(101, client_order_id="c2", strategy_id="alpha", quantity=1, **RESTING)

    fail(guard)

    (alert,) = told(guard)
    assert alert.severity is Severity.CRITICAL
    assert "alpha has failed: SystemExit: 3. It left +2 MES and 1 live order." in alert.message
    assert "does not start it again" in alert.message


def test_a_failed_strategy_that_left_nothing_is_a_warning() -> None:
    guard = Guard().start()

    fail(guard)

    (alert,) = told(guard)
    assert alert.severity is Severity.WARNING
    assert "no position and 0 live orders" in alert.message


def test_an_exit_of_a_failed_strategy_stays_and_nothing_is_closed() -> None:
    guard = Guard().start()
    holding(guard)
    guard.target()

    fail(guard)

    assert cancelled(guard) == []
    assert guard.commands_of(ClosePosition) == []


def test_an_entry_on_its_way_goes_as_soon_as_the_venue_has_named_it() -> None:
    guard = Guard().start()
    guard.submit(strategy_id="alpha", **RESTING)
    guard.dispatch()
    fail(guard)
    assert cancelled(guard) == []

    guard.answer(Answer.YES, 100)

    assert cancelled(guard) == [100]


def test_entries_of_the_strategy_that_is_started_again_stay() -> None:
    guard = Guard().start()
    fail(guard)

    guard.working(100, strategy_id="alpha", **RESTING)
    guard.timer()

    assert cancelled(guard) == []


def test_what_a_failed_strategy_left_is_known_after_a_replay_and_in_the_kept_state() -> None:
    guard = Guard().start()
    guard.submit(strategy_id="alpha", **RESTING)
    guard.dispatch()
    fail(guard)

    assert guard.book.abandoned_by == {"c1": "alpha"}
    book, _ = replayed(guard.policy, guard.history)
    assert book == guard.book
    assert restored(decoded(encoded(captured(guard.book)))) == guard.book
