"""What the guard cannot know halts it until a person has looked; what it can find out does not."""

from decimal import Decimal

import pytest
from tests.core.builders import Guard, a_guard_start

from backstop.core.catastrophe import BLIND_NS
from backstop.core.engine import next_deadline_ns
from backstop.core.policy import MILLISECOND_NS
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, RaiseAlert, Severity
from backstop.domain.events import (
    Answer,
    Hub,
    HubConnected,
    HubLost,
    JournalRecovered,
    ResumeRequested,
)
from backstop.domain.order import OrderState, OrderType

BLIND_MS = BLIND_NS // MILLISECOND_NS


def lose(guard: Guard, *hubs: Hub) -> None:
    for hub in hubs or tuple(Hub):
        guard.feed(HubLost(utc_us=guard.utc_us, hub=hub, generation=1, reason="reset"))


def regain(guard: Guard, *hubs: Hub) -> None:
    for hub in hubs or tuple(Hub):
        guard.feed(HubConnected(utc_us=guard.utc_us, hub=hub, generation=2))


def in_doubt(guard: Guard) -> Guard:
    """Send an order of which no answer comes."""
    guard.submit()
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    assert guard.state() is OrderState.UNKNOWN
    return guard


def wait(guard: Guard, ms: int) -> None:
    """Let time pass as it does: with the core woken whenever it asked for that."""
    ends_ns = guard.now_ns + ms * MILLISECOND_NS
    while (due_ns := next_deadline_ns(guard.book)) and due_ns <= ends_ns:
        guard.now_ns = max(guard.now_ns, due_ns)
        guard.timer()
    guard.now_ns = max(guard.now_ns, ends_ns)


def emergencies(guard: Guard) -> list[str]:
    return [it.cause for it in guard.book.latches if it.kind is LatchKind.EMERGENCY]


def told(guard: Guard) -> list[RaiseAlert]:
    return [it for it in guard.commands_of(RaiseAlert) if it.code == "EMERGENCY"]


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.now_ns)


def test_both_hubs_gone_with_an_order_in_doubt_halts_and_calls_a_person() -> None:
    guard = in_doubt(Guard().start())
    lose(guard)
    wait(guard, BLIND_MS)

    assert state(guard) is TradingState.HALTED
    (reason,) = (it for it in guard.book.state_reasons(guard.now_ns) if "emergency: " in it)
    assert "both hubs are lost" in reason
    (alert,) = told(guard)
    assert alert.severity is Severity.CRITICAL
    assert "c1" in alert.message


def test_it_is_told_once_however_long_it_lasts() -> None:
    guard = in_doubt(Guard().start())
    lose(guard)
    wait(guard, 10 * BLIND_MS)

    assert len(told(guard)) == len(emergencies(guard)) == 1


def test_a_drop_that_both_make_up_for_at_once_is_none() -> None:
    guard = in_doubt(Guard().start())
    lose(guard)
    wait(guard, BLIND_MS - 100)
    regain(guard)
    wait(guard, 2 * BLIND_MS)

    assert emergencies(guard) == []


@pytest.mark.parametrize("hub", Hub)
def test_one_hub_that_speaks_is_enough(hub: Hub) -> None:
    guard = in_doubt(Guard().start())
    lose(guard, hub)
    wait(guard, 3 * BLIND_MS)

    assert emergencies(guard) == []


def test_with_every_order_accounted_for_lost_hubs_are_a_condition_and_lift() -> None:
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    lose(guard)
    wait(guard, 3 * BLIND_MS)

    assert emergencies(guard) == []
    assert state(guard) is TradingState.REDUCING


def test_an_order_that_is_found_in_time_is_no_reason() -> None:
    guard = in_doubt(Guard().start())
    lose(guard)
    guard.row(custom_tag=guard.order().custom_tag)
    wait(guard, 3 * BLIND_MS)

    assert guard.state() is OrderState.WORKING
    assert emergencies(guard) == []


def test_an_order_that_falls_into_doubt_while_both_are_gone_counts_from_there_on() -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    lose(guard)
    wait(guard, 2 * BLIND_MS)
    assert emergencies(guard) == []

    guard.answer(Answer.UNKNOWN)
    guard.timer()

    assert len(emergencies(guard)) == 1


def test_a_new_process_has_lost_nothing_before_it_heard_anything() -> None:
    guard = in_doubt(Guard().start())
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    lose(guard)
    wait(guard, 5 * BLIND_MS)

    assert emergencies(guard) == []


def test_it_stays_over_a_restart_and_until_a_person_resumes() -> None:
    guard = in_doubt(Guard().start())
    lose(guard)
    wait(guard, BLIND_MS)
    guard.connect()
    guard.row(custom_tag=guard.order().custom_tag, status=BrokerStatus.CANCELLED)
    guard.audit()
    assert state(guard) is TradingState.HALTED

    guard.feed(ResumeRequested(utc_us=guard.utc_us, reason="looked", operator="ann"))
    guard.audit()

    assert emergencies(guard) == []
    assert state(guard) is TradingState.ACTIVE


def test_resting_entries_are_cancelled_as_by_any_halt() -> None:
    guard = Guard().start()
    guard.working(100, client_order_id="rests", type=OrderType.LIMIT, limit_price=Decimal(4990))
    guard.row(broker_order_id=100, type=OrderType.LIMIT, custom_tag=guard.order("rests").custom_tag)
    in_doubt(guard)
    lose(guard)
    wait(guard, BLIND_MS)

    assert [it.broker_order_id for it in guard.commands_of(CancelOrder)][:1] == [100]


@pytest.mark.parametrize("lost", [0, 3])
def test_decisions_that_no_record_has_halt_and_late_ones_do_not(lost: int) -> None:
    """A halt that a person asked for may be among them: a machine must not go on without it."""
    guard = Guard().start()
    guard.feed(
        JournalRecovered(
            utc_us=guard.utc_us,
            began_utc_us=guard.utc_us - 1_000_000,
            reason="No space left on device.",
            decisions=7,
            first_seq=41,
            last_seq=52,
            lost=lost,
        )
    )

    assert len(emergencies(guard)) == bool(lost)
    assert (state(guard) is TradingState.HALTED) is bool(lost)
    assert all("3 decisions" in alert.message for alert in told(guard))


def test_an_order_row_of_somebody_else_is_no_order_in_doubt() -> None:
    guard = Guard().start()
    guard.row(broker_order_id=900, custom_tag="other-1")
    lose(guard)
    wait(guard, 3 * BLIND_MS)

    assert emergencies(guard) == []
