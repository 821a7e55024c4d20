"""The account is read at once while that is possible, and always soon again."""

from itertools import pairwise

import pytest
from tests.core.builders import MES, Guard, a_policy, a_position
from tests.core.liquidation_world import Fate, World

from backstop.core.book import AUDIT_INTERVAL_NS, Book
from backstop.core.engine import next_deadline_ns
from backstop.core.liquidation import pause_ns
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.read_pace import (
    READ_EVERY_NS,
    READS_AT_ONCE,
    READS_AT_ONCE_LIQUIDATING,
    note_read,
    read_due_ns,
)
from backstop.domain.commands import AuditAccount
from backstop.domain.events import (
    AccountAudited,
    Answer,
    LiquidationRequested,
    PositionReported,
    Source,
)

WINDOW_NS = 60 * SECOND_NS
CALLS_A_READ = 4
CALLS = 200


def reads_of_a_bad_minute(guard: Guard, *, until_ns: int) -> list[int]:
    """Let the venue's row of a position contradict its trades ten times a second.

    Each read is answered within 20 ms and settles nothing; returns when they were asked for.
    """
    asked: list[int] = []
    answered = len(guard.commands_of(AuditAccount))
    row_ns, quantity = guard.now_ns, 1
    while guard.now_ns < until_ns:
        due_ns = next_deadline_ns(guard.book) or row_ns
        if due_ns < row_ns:
            guard.now_ns = max(guard.now_ns, due_ns)
            guard.timer(after_ms=0)
        else:
            guard.now_ns = max(guard.now_ns, row_ns)
            guard.position_row(quantity)
            quantity, row_ns = 1 - quantity, row_ns + 100 * MILLISECOND_NS
        if len(guard.commands_of(AuditAccount)) > answered:
            answered = len(guard.commands_of(AuditAccount))
            asked.append(guard.now_ns)
            guard.feed(
                AccountAudited(
                    utc_us=guard.utc_us,
                    reason="test",
                    orders=(),
                    live_orders=(),
                    trades=(),
                    positions=(),
                    sent_ns=guard.now_ns,
                ),
                after_ms=20,
            )
    return asked


def test_reads_that_settle_nothing_leave_calls_in_every_minute() -> None:
    guard = Guard().start()
    guard.feed(LiquidationRequested(utc_us=guard.utc_us, reason="out of here", operator="ann"))
    asked = reads_of_a_bad_minute(guard, until_ns=guard.now_ns + 3 * WINDOW_NS)

    most = max(sum(it <= other < it + WINDOW_NS for other in asked) for it in asked)
    assert len(asked) > READS_AT_ONCE
    assert most * CALLS_A_READ <= CALLS
    assert max(after - before for before, after in pairwise(asked)) <= AUDIT_INTERVAL_NS


def test_the_first_reads_follow_each_other_at_once_and_the_next_ones_by_the_pace() -> None:
    book, now_ns = Book(policy=a_policy()), 10**15
    for _ in range(READS_AT_ONCE):
        book.audit.due_ns = now_ns
        assert read_due_ns(book) == now_ns
        note_read(book.audit, now_ns=now_ns)
    for number in range(1, 4):
        assert read_due_ns(book) == now_ns + number * READ_EVERY_NS
        note_read(book.audit, now_ns=read_due_ns(book))


def test_a_pause_gives_the_reads_at_once_back() -> None:
    book, now_ns = Book(policy=a_policy()), 10**15
    for _ in range(READS_AT_ONCE):
        note_read(book.audit, now_ns=now_ns)
    later_ns = now_ns + READS_AT_ONCE * READ_EVERY_NS
    for _ in range(READS_AT_ONCE):
        book.audit.due_ns = later_ns
        assert read_due_ns(book) == later_ns
        note_read(book.audit, now_ns=later_ns)


def test_what_a_liquidation_read_at_once_is_followed_by_no_silence() -> None:
    book, now_ns = Book(policy=a_policy()), 10**15
    for _ in range(READS_AT_ONCE_LIQUIDATING):
        note_read(book.audit, now_ns=now_ns)
    for number in range(1, 4):
        book.audit.due_ns = now_ns
        assert read_due_ns(book) == now_ns + number * AUDIT_INTERVAL_NS
        note_read(book.audit, now_ns=read_due_ns(book))


def test_what_nobody_asks_for_is_not_due() -> None:
    book = Book(policy=a_policy())
    note_read(book.audit, now_ns=10**15)
    assert read_due_ns(book) == 0


@pytest.mark.parametrize("lost", [3, 8, 12])
def test_a_liquidation_whose_closes_get_lost_is_not_held_up_by_its_own_reads(lost: int) -> None:
    """Rows contradict all the time; a close whose answer is lost takes two reads."""
    world = World(fates=[Fate(answer=Answer.UNKNOWN, arrives=False)] * lost).hold(2).start()

    def contradict(quantity: int) -> None:
        if world.positions[MES]:
            row = a_position(quantity)
            utc_us = world.guard.utc_us
            world.feed(PositionReported(utc_us=utc_us, position=row, source=Source.HUB))
            world.later(100, lambda: contradict(3 - quantity))

    name = world.liquidate()
    contradict(1)
    began_ns = world.guard.now_ns
    world.run(lambda: not world.positions[MES])

    pauses_ns = sum(pause_ns(number) for number in range(lost))
    assert world.guard.now_ns - began_ns <= pauses_ns + (lost + 1) * SECOND_NS
    world.run(lambda: world.flat(name), limit_s=10)
