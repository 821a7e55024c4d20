"""What the interface tells about the watch over the guard."""

from typing import Any

from backstop.app.watch_link import WatchReport
from backstop.core.trading_state import TradingState
from backstop.domain.events import WatchdogLost
from backstop.entrypoints.http.status import WatchdogView, health_view, status_view


def test_a_guard_that_nobody_was_to_watch_has_no_pulse_to_show(desk: Any) -> None:
    guard = desk.guard()
    heartbeats = status_view(guard).heartbeats

    assert (heartbeats.guard_pulse_age_ms, heartbeats.watchdog) == (None, None)
    assert health_view(guard).status == "OK"


def test_the_status_shows_pulse_and_watchdog(desk: Any) -> None:
    guard = desk.guard()
    guard.watch = WatchReport(
        pulse_age_ms=120,
        stall_ms_max=7,
        watchdog_process_id=4711,
        watchdog_age_ms=80,
        guard_restarts=2,
        lost="",
    )
    heartbeats = status_view(guard).heartbeats

    assert heartbeats.guard_pulse_age_ms == 120
    assert heartbeats.event_loop_stall_ms_max == 7
    assert heartbeats.watchdog == WatchdogView(
        process_id=4711, age_ms=80, guard_restarts=2, lost=""
    )


def test_a_guard_without_its_watchdog_is_not_healthy_and_says_why(desk: Any) -> None:
    guard = desk.guard()
    guard.feed(WatchdogLost(utc_us=desk.UTC_US, reason="its process died"))
    health = health_view(guard)

    assert health.trading_state is TradingState.REDUCING
    assert health.reasons == ("WATCHDOG_LOST",)
    assert status_view(guard).trading_state is TradingState.REDUCING
