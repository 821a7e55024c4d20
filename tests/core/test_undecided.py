"""Old trades and rows while the archive cannot be asked: held, told, and judged when it can be."""

from typing import Any

import pytest
from tests.core.builders import Guard, a_guard_start, a_row, a_trade
from tests.core.test_forgetting import ArchivingGuard, after_rounds

from backstop.core import forgetting, undecided
from backstop.core.book import AUDIT_INTERVAL_NS
from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.core.step import Step
from backstop.core.trading_state import Condition
from backstop.core.undecided import settling
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import DenialCode
from backstop.domain.events import OrderReported, PastUnreadable, Source, TradeReported
from backstop.domain.order import OrderType, Side

COUNTED, NEVER_COUNTED = 1010, 1015
"""A trade of the first round, and one that was never told although later ones were."""


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> ArchivingGuard:
    """A guard that has let go of three orders, and whose archive cannot be asked any more."""
    monkeypatch.setattr(forgetting, "FINISHED_KEPT", 1)
    monkeypatch.setattr(forgetting, "STILL_READ_US", 0)
    guard = after_rounds(1, 2, 3, 4)
    assert COUNTED not in guard.book.trades
    guard.feed(PastUnreadable(utc_us=guard.utc_us, reason="past_orders.db cannot be read."))
    return guard


def tell_trade(guard: Guard, trade_id: int, **changes: Any) -> Step:
    """Tell an old trade as a loop does that gets no answer from the archive."""
    trade = a_trade(trade_id=trade_id, broker_order_id=1010, **changes)
    return Guard.feed(guard, TradeReported(utc_us=guard.utc_us, trade=trade, source=Source.HUB))


def tell_row(guard: Guard, **changes: Any) -> Step:
    row = a_row(**({"broker_order_id": 1005} | changes))
    return Guard.feed(guard, OrderReported(utc_us=guard.utc_us, order=row, source=Source.HUB))


def settle(guard: ArchivingGuard) -> None:
    for fact in settling(guard.book, utc_us=guard.utc_us):
        guard.feed(fact)


def test_entries_are_refused_and_exits_are_not(guard: ArchivingGuard) -> None:
    denials = guard.submit(client_order_id="new").denials

    assert [it.code for it in denials] == [DenialCode.STATE_REDUCING]
    assert str(Condition.PAST_UNREADABLE) in denials[0].message
    assert guard.submit(client_order_id="out", side=Side.SELL, quantity=1).order is not None
    assert guard.alerts().count("PAST_UNREADABLE") == 1


@pytest.mark.parametrize("trade_id", [COUNTED, NEVER_COUNTED])
def test_an_old_trade_is_neither_counted_nor_taken_for_a_second_telling(
    guard: ArchivingGuard, trade_id: int
) -> None:
    before = guard.book.counters.duplicate_trades

    told = tell_trade(guard, trade_id)
    tell_trade(guard, trade_id)

    assert guard.book.counters.duplicate_trades == before
    assert list(guard.book.doubt.trades) == [trade_id]
    assert not told.fill_rows
    assert guard.position() == 4
    assert guard.alerts().count("TRADE_UNDECIDED") == 1


def test_the_position_is_read_from_the_venue_meanwhile(guard: ArchivingGuard) -> None:
    guard.book.audit.asked = False

    tell_trade(guard, NEVER_COUNTED)

    assert guard.book.audit.asked
    assert guard.book.audit.due_ns <= guard.now_ns + AUDIT_INTERVAL_NS


def test_one_that_was_counted_is_a_second_telling_once_the_archive_answers(
    guard: ArchivingGuard,
) -> None:
    before = guard.book.counters.duplicate_trades
    tell_trade(guard, COUNTED)

    settle(guard)

    assert guard.position() == 4
    assert guard.book.counters.duplicate_trades == before + 1
    assert not guard.book.doubt.trades
    assert not guard.book.doubt.fault


def test_one_that_was_never_counted_counts_once_the_archive_answers(
    guard: ArchivingGuard,
) -> None:
    tell_trade(guard, NEVER_COUNTED)

    settle(guard)
    settle(guard)
    tell_trade(guard, NEVER_COUNTED)

    assert guard.position() == 5
    assert NEVER_COUNTED in guard.book.trades
    assert not guard.book.doubt.trades


def test_one_that_was_taken_back_meanwhile_is_taken_back(guard: ArchivingGuard) -> None:
    tell_trade(guard, COUNTED)
    tell_trade(guard, COUNTED, voided=True)

    settle(guard)

    assert guard.book.trades[COUNTED].voided
    assert guard.position() == 3


def test_a_finished_order_is_held_and_one_that_works_counts(guard: ArchivingGuard) -> None:
    tell_row(guard, status=BrokerStatus.CANCELLED)
    tell_row(guard, broker_order_id=1006, type=OrderType.LIMIT)

    assert list(guard.book.doubt.rows) == [1005]
    assert list(guard.book.live_venue) == [1006]
    settle(guard)
    assert not guard.book.doubt.rows
    assert 1005 in guard.book.venue_orders or "o1005" in guard.archive


def test_what_is_held_outlives_the_process(guard: ArchivingGuard) -> None:
    tell_trade(guard, NEVER_COUNTED)

    guard.book = restored(decoded(encoded(captured(guard.book))))
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    settle(guard)

    assert NEVER_COUNTED in guard.book.trades


def test_what_there_is_no_room_for_is_read_again(
    guard: ArchivingGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undecided, "UNDECIDED_MAX", 1)
    tell_trade(guard, NEVER_COUNTED)
    tell_trade(guard, NEVER_COUNTED + 1, created_utc_us=77)
    tell_trade(guard, NEVER_COUNTED + 2, created_utc_us=99)

    settle(guard)

    assert guard.book.audit.reach_back_utc_us == 77
