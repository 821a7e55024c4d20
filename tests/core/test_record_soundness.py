"""What a guard does once its audit record is known to be unsound, and when that ends."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.builders import Guard, a_guard_start

from backstop.core.book import Book
from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.core.step import Decision, DecisionKind
from backstop.core.trading_state import Condition, TradingState
from backstop.domain.commands import PlaceOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import (
    HaltRequested,
    RecordFoundSound,
    RecordFoundUnsound,
    ResumeRequested,
)
from backstop.domain.order import OrderType, Side

FINDING = "record 3: its leaf hash is not that of its content."


@pytest.fixture
def guard() -> Guard:
    return Guard().start()


def find(guard: Guard, finding: str = FINDING) -> None:
    guard.feed(RecordFoundUnsound(utc_us=guard.utc_us, finding=finding))


def resume(guard: Guard) -> Decision:
    result = guard.feed(ResumeRequested(utc_us=guard.utc_us, reason="looked at it", operator="Ann"))
    assert result.decision is not None
    return result.decision


def test_entries_are_refused_and_a_person_is_told_once(guard: Guard) -> None:
    find(guard)
    find(guard)

    assert guard.book.trading_state(guard.now_ns) is TradingState.REDUCING
    denials = guard.submit().denials
    assert [it.code for it in denials] == [DenialCode.STATE_REDUCING]
    assert str(Condition.RECORD_UNSOUND) in denials[0].message
    assert guard.alerts().count("RECORD_UNSOUND") == 1


def test_exits_leave_all_the_same(guard: Guard) -> None:
    guard.position_row(2)
    find(guard)

    assert guard.submit(side=Side.SELL).kind is DecisionKind.ACCEPTED
    assert guard.commands_of(PlaceOrder)[-1].reduces_risk


def test_nothing_can_be_resumed_while_the_finding_stands(guard: Guard) -> None:
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="a look", operator="Ann"))
    find(guard)

    refused = resume(guard)

    assert refused.kind is DecisionKind.NOT_POSSIBLE
    for words in (FINDING, "backstop audit verify", "backup", "move audit.db*"):
        assert words in refused.message
    assert "\n" not in refused.message
    assert guard.book.trading_state(guard.now_ns) is TradingState.HALTED


def test_only_a_whole_check_that_finds_nothing_ends_it(guard: Guard) -> None:
    find(guard)
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    assert guard.book.record_finding == FINDING

    guard.feed(RecordFoundSound(utc_us=guard.utc_us))

    assert Condition.RECORD_UNSOUND not in guard.book.readiness(guard.now_ns).conditions
    assert resume(guard).kind is DecisionKind.ACCEPTED


def test_another_finding_is_told_too(guard: Guard) -> None:
    find(guard)
    find(guard, "audit.db cannot be read from its disk: disk I/O error.")

    assert guard.alerts().count("RECORD_UNSOUND") == 2
    assert "disk I/O error" in resume(guard).message


def test_the_finding_is_part_of_the_state_that_is_kept(guard: Guard) -> None:
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    find(guard)

    kept: Book = restored(decoded(encoded(captured(guard.book))))

    assert kept.record_finding == FINDING


def test_entries_wait_until_a_large_record_was_looked_through(guard: Guard) -> None:
    guard.feed(replace(a_guard_start(utc_us=guard.utc_us), record_unread=True))
    assert Condition.RECORD_UNREAD in guard.book.readiness(guard.now_ns).conditions

    guard.feed(RecordFoundSound(utc_us=guard.utc_us, whole=False))

    assert Condition.RECORD_UNREAD not in guard.book.readiness(guard.now_ns).conditions


def test_a_sound_structure_ends_no_finding(guard: Guard) -> None:
    find(guard)

    guard.feed(RecordFoundSound(utc_us=guard.utc_us, whole=False))

    assert guard.book.record_finding == FINDING


def test_a_finding_takes_the_place_of_the_wait(guard: Guard) -> None:
    guard.feed(replace(a_guard_start(utc_us=guard.utc_us), record_unread=True))
    find(guard)

    conditions = guard.book.readiness(guard.now_ns).conditions
    assert Condition.RECORD_UNSOUND in conditions
    assert Condition.RECORD_UNREAD not in conditions
