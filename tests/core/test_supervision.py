"""What a guard does without its watchdog, and what it says that the account could hold."""

from decimal import Decimal

from tests.core.builders import Guard, a_guard_start

from backstop.core.supervision import holdings
from backstop.core.trading_state import Condition, TradingState
from backstop.domain.events import Hub, HubLost, WatchdogLost, WatchdogReturned
from backstop.domain.heartbeat import Holdings
from backstop.domain.order import OrderType


def lose_watchdog(guard: Guard) -> None:
    guard.feed(WatchdogLost(utc_us=guard.utc_us, reason="its process died"))


def test_without_its_watchdog_a_guard_refuses_entries_and_says_so_once() -> None:
    guard = Guard().start()
    lose_watchdog(guard)
    lose_watchdog(guard)

    assert guard.book.trading_state(guard.now_ns) is TradingState.REDUCING
    assert guard.book.state_reasons(guard.now_ns) == (str(Condition.WATCHDOG_LOST),)
    assert guard.alerts().count("WATCHDOG_LOST") == 1


def test_entries_are_possible_again_once_a_watchdog_is_back() -> None:
    guard = Guard().start()
    lose_watchdog(guard)
    guard.feed(WatchdogReturned(utc_us=guard.utc_us, process_id=7))

    assert guard.book.trading_state(guard.now_ns) is TradingState.ACTIVE


def test_the_next_process_does_not_inherit_a_lost_watchdog() -> None:
    guard = Guard().start()
    lose_watchdog(guard)
    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert Condition.WATCHDOG_LOST not in guard.book.readiness(guard.now_ns).conditions


def test_an_account_without_anything_holds_nothing() -> None:
    assert holdings(Guard().start().book) is Holdings.NONE


def test_before_the_account_was_read_nobody_knows_what_it_holds() -> None:
    assert holdings(Guard().book) is Holdings.UNKNOWN


def test_a_position_is_open_also_when_the_hub_is_lost() -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.feed(HubLost(utc_us=guard.utc_us, hub=Hub.USER, generation=1, reason="test"))

    assert holdings(guard.book) is Holdings.OPEN


def test_a_flat_account_is_in_doubt_while_the_hub_is_lost() -> None:
    guard = Guard().start()
    guard.position_row(0)
    guard.feed(HubLost(utc_us=guard.utc_us, hub=Hub.USER, generation=1, reason="test"))

    assert holdings(guard.book) is Holdings.UNKNOWN


def test_a_resting_entry_may_fill_while_nobody_looks() -> None:
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))

    assert holdings(guard.book) is Holdings.OPEN
