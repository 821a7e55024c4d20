"""Times of the venue are held against the venue's time: neither wrong clock hides or doubles."""

from dataclasses import dataclass
from typing import Any

import pytest
from tests.core.builders import (
    START_NS,
    START_US,
    Guard,
    a_guard_start,
    a_policy,
    a_position,
    a_row,
    a_trade,
    replayed,
)

from backstop.core.book import FIRST_LOOK_BACK_US
from backstop.core.clock_readings import is_clock_news
from backstop.core.execution_verification import (
    ABSENCE_MIN_AGE_NS,
    ABSENCE_MIN_GAP_NS,
    REPLY_LIMIT_NS,
)
from backstop.core.external_trading import ATTRIBUTION_NS
from backstop.core.policy import MILLISECOND_NS, SECOND_NS, Policy
from backstop.core.positions import Knowledge
from backstop.core.step import DecisionKind, Step
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.core.venue_clock import DAY_US, LOOK_BACK_US, READS
from backstop.domain.broker import BrokerStatus
from backstop.domain.clock import DATE_RESOLUTION_US, ClockReading
from backstop.domain.commands import AuditAccount, LookUpOrder, RaiseAlert, Severity
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, CloseRequested, VenueClockRead
from backstop.domain.order import OrderState, Side

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
SKEW_US = 20 * MINUTE_US
EITHER_WAY = pytest.mark.parametrize("ours_us", [SKEW_US, -SKEW_US], ids=["ahead", "behind"])


def a_clocked_policy(**changes: Any) -> Policy:
    members = {"measures_clock": True, "clock_offset_max_us": 0}
    return a_policy(**(members | changes))


@dataclass
class Clocked(Guard):
    """A guard whose wall clock is ``ours_us`` ahead, and a venue that was set ``venue_ahead_us``.

    Without either both show START_US at the monotonic time START_NS.
    """

    ours_us: int = 0
    venue_ahead_us: int = 0
    looks: tuple[ClockReading, ...] = ()

    @property
    def utc_us(self) -> int:
        return START_US + (self.now_ns - START_NS) // 1000 + self.ours_us

    @property
    def venue_us(self) -> int:
        return START_US + (self.now_ns - START_NS) // 1000 + self.venue_ahead_us

    def reading(self) -> ClockReading:
        second_us = self.venue_us - self.venue_us % SECOND_US
        return ClockReading(
            read_ns=self.now_ns,
            ours_utc_us=self.utc_us,
            earliest_utc_us=second_us,
            latest_utc_us=second_us + DATE_RESOLUTION_US + 5_000,
        )

    def reads_clock(self, *, times: int = 3, news_only: bool = False) -> None:
        """Have so many answers say what time it is; ``news_only`` drops those that say nothing."""
        for _ in range(times):
            self.now_ns += 200 * MILLISECOND_NS
            self.looks = (*self.looks, self.reading())[-3:]
            event = VenueClockRead(utc_us=self.utc_us, readings=self.looks)
            if not news_only or is_clock_news(self.book, event):
                self.feed(event)

    def hears_no_time(self) -> Step:
        return self.feed(VenueClockRead(utc_us=self.utc_us))

    def begin(self, *, known: bool = True) -> "Clocked":
        """Start, hear the venue's time unless it is not ``known``, and read a flat account."""
        self.looks = ()
        self.connect()
        if known:
            self.reads_clock()
        self.audit()
        return self


def a_guard(*, known: bool = True, ours_us: int = 0, **policy: Any) -> Clocked:
    return Clocked(policy=a_clocked_policy(**policy), ours_us=ours_us).begin(known=known)


def kinds(guard: Guard) -> list[LatchKind]:
    return [latch.kind for latch in guard.book.latches]


def notes(guard: Guard, name: str) -> list[Any]:
    return [note for result in guard.steps for note in result.notes if note.name == name]


def round_trip(guard: Clocked, *, made_us: int) -> None:
    """Somebody bought and sold by hand at the venue's time ``made_us``; a read shows it."""
    rows, trades = [], []
    for number, side in ((900, Side.BUY), (901, Side.SELL)):
        made: dict[str, Any] = {"broker_order_id": number, "side": side, "created_utc_us": made_us}
        done = {"status": BrokerStatus.FILLED, "quantity": 1, "filled_quantity": 1}
        rows.append(a_row(**made, **done, updated_utc_us=made_us))
        trades.append(a_trade(**made, trade_id=number))
    guard.audit(orders=tuple(rows), trades=tuple(trades))
    guard.audit(after_ms=ATTRIBUTION_NS // MILLISECOND_NS + 100)


# -- who traded? ---------------------------------------------------------------------------------


@EITHER_WAY
def test_a_foreign_round_trip_is_not_hidden_by_a_wrong_clock(ours_us: int) -> None:
    guard = a_guard(ours_us=ours_us)

    round_trip(guard, made_us=guard.venue_us)

    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_trading_from_before_the_guard_began_is_nobodys_fault() -> None:
    guard = a_guard(ours_us=SKEW_US)

    round_trip(guard, made_us=START_US - MINUTE_US)

    assert kinds(guard) == []


def test_while_nobody_knows_the_venues_time_nothing_counts_as_long_past() -> None:
    guard = a_guard(known=False)

    round_trip(guard, made_us=START_US - DAY_US)

    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_the_venues_time_is_learned_for_a_guard_that_began_before_it_was_known() -> None:
    guard = a_guard(known=False, ours_us=SKEW_US)
    guard.reads_clock()

    assert START_US - 3 * SECOND_US <= guard.book.external.guarding_since_utc_us <= START_US


def test_a_guard_that_died_before_it_knew_is_remembered_with_a_days_room() -> None:
    guard = a_guard(known=False, ours_us=SKEW_US)
    guard.now_ns += 3600 * SECOND_NS
    guard.begin()

    assert START_US - 2 * DAY_US <= guard.book.external.guarding_since_utc_us < START_US


def test_a_foreign_round_trip_is_not_hidden_by_a_venue_whose_clock_went_back() -> None:
    guard = a_guard()
    guard.venue_ahead_us = -SKEW_US
    guard.reads_clock()

    round_trip(guard, made_us=guard.venue_us)

    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_a_step_of_our_clock_makes_no_close_of_ours_foreign() -> None:
    guard = a_guard()
    guard.working(side=Side.BUY, quantity=1)
    bought: dict[str, Any] = {"quantity": 1, "filled_quantity": 1, "status": BrokerStatus.FILLED}
    guard.row(**bought)
    guard.trade(created_utc_us=guard.venue_us)
    guard.audit(positions=(a_position(1),))
    guard.feed(
        CloseRequested(
            utc_us=guard.utc_us, contract_id=a_row().contract_id, reason="", operator="a"
        )
    )
    guard.ours_us = -SKEW_US
    made = {"broker_order_id": 800, "side": Side.SELL, "created_utc_us": guard.venue_us}
    guard.row(**(bought | made))
    guard.trade(trade_id=800, **made)
    guard.audit(after_ms=ATTRIBUTION_NS // MILLISECOND_NS + 100)

    assert guard.position() == 0
    assert kinds(guard) == []


# -- was it sent? --------------------------------------------------------------------------------


def unanswered(guard: Clocked) -> int:
    """Send an order that is never answered; returns the venue's time at which it left."""
    guard.submit()
    guard.dispatch()
    sent_us = guard.venue_us
    guard.answer(Answer.UNKNOWN)
    guard.now_ns += REPLY_LIMIT_NS + ABSENCE_MIN_AGE_NS
    return sent_us


def searched_twice(guard: Clocked, since_us: int) -> OrderState:
    """Have two complete searches from ``since_us`` on find nothing."""
    for _ in range(2):
        guard.look_up(since_utc_us=since_us)
        guard.now_ns += ABSENCE_MIN_GAP_NS
    return guard.state()


@EITHER_WAY
def test_a_search_begins_before_the_order_by_the_venues_clock(ours_us: int) -> None:
    guard = a_guard(ours_us=ours_us)
    sent_us = unanswered(guard)

    (asked, *_) = guard.commands_of(LookUpOrder)

    assert asked.since_utc_us <= sent_us - LOOK_BACK_US
    assert searched_twice(guard, asked.since_utc_us) is OrderState.NOT_SUBMITTED


def test_a_search_that_began_after_the_order_proves_nothing() -> None:
    guard = a_guard()
    sent_us = unanswered(guard)

    assert searched_twice(guard, sent_us + 1) is OrderState.UNKNOWN


def test_without_the_venues_time_an_order_is_never_proven_absent() -> None:
    guard = a_guard(known=False)
    sent_us = unanswered(guard)

    assert searched_twice(guard, sent_us - DAY_US - MINUTE_US) is OrderState.UNKNOWN
    guard.until_due()
    assert guard.commands_of(LookUpOrder)[-1].since_utc_us <= sent_us - DAY_US


def test_an_order_from_before_the_time_was_known_is_searched_with_a_days_room() -> None:
    guard = a_guard(known=False, ours_us=SKEW_US)
    sent_us = unanswered(guard)
    guard.reads_clock()
    guard.until_due()

    asked = guard.commands_of(LookUpOrder)[-1]

    assert asked.since_utc_us <= sent_us - DAY_US
    assert searched_twice(guard, asked.since_utc_us) is OrderState.NOT_SUBMITTED


def test_a_venue_that_stops_telling_its_time_takes_the_proof_away() -> None:
    guard = a_guard()
    sent_us = unanswered(guard)
    guard.hears_no_time()

    assert searched_twice(guard, sent_us - DAY_US) is OrderState.UNKNOWN
    assert guard.alerts().count("CLOCK_UNKNOWN") == 1


def test_a_venue_whose_clock_goes_back_is_searched_from_earlier_on() -> None:
    guard = a_guard()
    before_us = unanswered(guard) - 2 * LOOK_BACK_US
    guard.venue_ahead_us = -SKEW_US
    guard.reads_clock()

    assert searched_twice(guard, before_us) is OrderState.UNKNOWN
    guard.until_due()
    asked = guard.commands_of(LookUpOrder)[-1]
    assert asked.since_utc_us <= before_us - SKEW_US + 2 * LOOK_BACK_US
    assert searched_twice(guard, asked.since_utc_us) is OrderState.NOT_SUBMITTED


def test_a_step_of_our_clock_moves_no_search_and_is_logged() -> None:
    guard = a_guard()
    unanswered(guard)
    first = guard.commands_of(LookUpOrder)[-1].since_utc_us
    guard.ours_us = 8 * SECOND_US
    guard.reads_clock(news_only=True)
    guard.until_due()

    assert guard.commands_of(LookUpOrder)[-1].since_utc_us == first
    assert [note.fields["by_ms"] for note in notes(guard, "clock_stepped")] == [8000]


def test_stamps_of_a_third_clock_widen_the_search() -> None:
    """The server that answers may be right while what stamps orders is not."""
    guard = a_guard()
    guard.row(broker_order_id=7, created_utc_us=START_US - SKEW_US, updated_utc_us=0)
    unanswered(guard)

    assert guard.commands_of(LookUpOrder)[-1].since_utc_us <= START_US - SKEW_US


def test_a_record_that_did_not_measure_is_judged_as_it_was() -> None:
    guard = Clocked(policy=a_policy()).begin(known=False)
    unanswered(guard)

    assert searched_twice(guard, guard.venue_us) is OrderState.NOT_SUBMITTED


# -- what is read --------------------------------------------------------------------------------


def next_audit(guard: Clocked) -> AuditAccount:
    guard.until_due()
    asked = guard.commands_of(AuditAccount)[-1]
    assert isinstance(asked, AuditAccount)
    return asked


@EITHER_WAY
def test_a_first_read_looks_back_a_day_of_the_venues_time(ours_us: int) -> None:
    guard = Clocked(policy=a_clocked_policy(), ours_us=50 * ours_us)
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    guard.reads_clock()
    guard.connect()
    guard.reads_clock()

    asked = next_audit(guard)

    expected_us = guard.venue_us - FIRST_LOOK_BACK_US - LOOK_BACK_US
    assert abs(asked.since_utc_us - expected_us) < 5 * SECOND_US


def test_an_absurd_stamp_does_not_push_the_cursor_beyond_the_venues_present() -> None:
    guard = a_guard(ours_us=SKEW_US)
    absurd_us = guard.venue_us + 10 * DAY_US
    guard.audit(orders=(a_row(status=BrokerStatus.CANCELLED, updated_utc_us=absurd_us),))

    assert next_audit(guard).since_utc_us <= guard.venue_us


def test_while_the_time_is_not_known_the_cursor_stays_a_day_behind_ours() -> None:
    guard = a_guard(known=False)
    guard.audit(orders=(a_row(status=BrokerStatus.CANCELLED, updated_utc_us=guard.venue_us),))

    assert next_audit(guard).since_utc_us <= guard.utc_us - FIRST_LOOK_BACK_US


def test_the_cursor_goes_back_with_the_venues_clock() -> None:
    guard = a_guard()
    guard.audit(orders=(a_row(status=BrokerStatus.CANCELLED, updated_utc_us=guard.venue_us),))
    guard.venue_ahead_us = -SKEW_US
    guard.reads_clock()

    assert next_audit(guard).since_utc_us <= guard.venue_us - LOOK_BACK_US


def test_a_cursor_from_a_venues_future_is_not_believed_after_a_restart() -> None:
    guard = a_guard()
    guard.audit(orders=(a_row(status=BrokerStatus.CANCELLED, updated_utc_us=guard.venue_us),))
    guard.venue_ahead_us = -3 * SKEW_US
    guard.begin()

    assert next_audit(guard).since_utc_us <= guard.venue_us - FIRST_LOOK_BACK_US


# -- was it counted already? ---------------------------------------------------------------------


def adjusted(guard: Clocked) -> int:
    """Have two reads show a contract more than trades explain; returns the venue's time then."""
    for _ in range(2):
        guard.audit(after_ms=1500, positions=(a_position(1),))
    assert (guard.position(), guard.book.position(a_row().contract_id).adjustment) == (1, 1)
    return guard.venue_us


@EITHER_WAY
def test_a_new_trade_is_not_taken_for_one_that_reads_have_counted(ours_us: int) -> None:
    guard = a_guard(ours_us=ours_us)
    seen_us = adjusted(guard)
    guard.now_ns += 10 * SECOND_NS
    guard.trade(created_utc_us=seen_us + 10 * SECOND_US)

    assert guard.position() == 2


@EITHER_WAY
def test_a_late_trade_that_reads_have_counted_is_not_counted_twice(ours_us: int) -> None:
    guard = a_guard(ours_us=ours_us)
    seen_us = adjusted(guard)
    guard.now_ns += 10 * SECOND_NS
    guard.trade(created_utc_us=seen_us - MINUTE_US)

    view = guard.book.position(a_row().contract_id)
    assert (view.quantity, view.adjustment, view.knowledge) == (1, 0, Knowledge.KNOWN)


@pytest.mark.parametrize("known", [True, False])
def test_what_no_time_can_decide_is_read(known: bool) -> None:  # noqa: FBT001 - a parameter of the test
    guard = a_guard(known=known)
    seen_us = adjusted(guard)
    moment_us = seen_us - 100_000 if known else seen_us + SKEW_US
    guard.trade(created_utc_us=moment_us)

    view = guard.book.position(a_row().contract_id)
    assert (view.quantity, view.knowledge) == (1, Knowledge.STALE)
    assert guard.book.audit.asked
    for _ in range(2):
        guard.audit(after_ms=1500, positions=(a_position(2),))
    assert (guard.position(), guard.book.position(view.contract_id).knowledge) == (
        2,
        Knowledge.KNOWN,
    )


def test_after_the_venues_clock_went_back_no_stamp_decides_an_adjustment() -> None:
    guard = a_guard()
    adjusted(guard)
    guard.venue_ahead_us = -SKEW_US
    guard.reads_clock()
    guard.trade(created_utc_us=guard.venue_us)

    assert guard.book.position(a_row().contract_id).knowledge is Knowledge.STALE


@EITHER_WAY
def test_a_trade_from_before_the_venues_clock_was_set_is_in_what_reads_have_counted(
    ours_us: int,
) -> None:
    """Here ``ours_us`` is how far the venue's clock is set: its old stamps stay what they are."""
    guard = a_guard()
    made_us = guard.venue_us
    guard.venue_ahead_us = ours_us
    guard.reads_clock()
    adjusted(guard)
    guard.trade(created_utc_us=made_us)

    view = guard.book.position(a_row().contract_id)
    assert (view.quantity, view.adjustment) == (1, 0)
    for _ in range(2):
        guard.audit(after_ms=1500, positions=(a_position(1),))
    assert guard.book.position(view.contract_id).knowledge is Knowledge.KNOWN


@EITHER_WAY
def test_what_stamps_trades_need_not_have_been_set_with_what_answers(ours_us: int) -> None:
    guard = a_guard()
    guard.venue_ahead_us = ours_us
    guard.reads_clock()
    guard.now_ns += 2 * 60 * SECOND_NS
    adjusted(guard)
    guard.venue_ahead_us = 0
    guard.trade(created_utc_us=guard.venue_us - SECOND_US)

    view = guard.book.position(a_row().contract_id)
    assert (view.quantity, view.adjustment, view.knowledge) == (1, 0, Knowledge.STALE)


def own_fills(guard: Clocked, number: int = READS, *, stamps_ahead_us: int | None = None) -> None:
    """Buy and sell one in turn; what stamps trades goes by the venue's clock, or by its own."""
    ahead_us = guard.venue_ahead_us if stamps_ahead_us is None else stamps_ahead_us
    for _ in range(number):
        guard.audit()
        count = len(guard.book.orders)
        for step, side in ((0, Side.BUY), (1, Side.SELL)):
            broker_id = 500 + 2 * count + step
            name = f"own-{broker_id}"
            guard.now_ns += 2 * SECOND_NS
            guard.working(
                broker_id, client_order_id=name, side=side, stop_loss_price=None, quantity=1
            )
            guard.now_ns += 50 * MILLISECOND_NS
            guard.trade(
                broker_order_id=broker_id,
                trade_id=broker_id,
                side=side,
                quantity=1,
                created_utc_us=guard.venue_us - guard.venue_ahead_us + ahead_us,
            )
            guard.position_row(1 if side is Side.BUY else 0)


def is_decided(guard: Clocked, *, after_s: int) -> bool:
    """Say whether the stamp of a trade decides if an adjustment has it, without another read."""
    seen_us = adjusted(guard)
    guard.now_ns += 10 * SECOND_NS
    guard.trade(trade_id=900, broker_order_id=900, created_utc_us=seen_us + after_s * SECOND_US)
    view = guard.book.position(a_row().contract_id)
    assert view.quantity == 1 + (view.knowledge is Knowledge.KNOWN and after_s > 0)
    return view.knowledge is Knowledge.KNOWN


def a_guard_whose_venue_stepped(by_us: int) -> Clocked:
    guard = a_guard()
    guard.venue_ahead_us = by_us
    guard.reads_clock()
    return guard


@pytest.mark.parametrize(("ahead_us", "after_s"), [(SKEW_US, -60), (-SKEW_US, 10)])
def test_stamps_decide_again_once_our_own_trades_show_by_which_clock_they_are(
    ahead_us: int, after_s: int
) -> None:
    """And when no stamp from before the step can look younger than what is stamped now."""
    wide, narrow = (a_guard_whose_venue_stepped(ahead_us) for _ in range(2))
    for guard in (wide, narrow):
        guard.now_ns += 30 * 60 * SECOND_NS
        guard.reads_clock()
    own_fills(narrow)

    assert is_decided(narrow, after_s=after_s)
    assert not is_decided(wide, after_s=after_s)


def test_stamps_from_before_the_step_that_may_look_younger_keep_the_bounds_wide() -> None:
    guard = a_guard_whose_venue_stepped(-SKEW_US)
    own_fills(guard)
    assert guard.book.venue_clock.stamps != guard.book.venue_clock.zero

    guard.now_ns += 30 * 60 * SECOND_NS
    guard.reads_clock()
    own_fills(guard, 1)
    assert guard.book.venue_clock.stamps == guard.book.venue_clock.zero


@pytest.mark.parametrize("fitting", [0, READS - 1])
def test_stamps_of_a_clock_that_was_not_set_keep_the_bounds_wide(fitting: int) -> None:
    guard = a_guard_whose_venue_stepped(SKEW_US)
    guard.now_ns += 30 * 60 * SECOND_NS
    guard.reads_clock()
    own_fills(guard, fitting // 2)
    own_fills(guard, stamps_ahead_us=0)
    own_fills(guard, fitting // 2)

    assert guard.book.venue_clock.stamps != guard.book.venue_clock.zero


# -- too far apart -------------------------------------------------------------------------------


def conditions(guard: Guard) -> tuple[Condition, ...]:
    return guard.book.readiness(guard.now_ns).conditions


@pytest.mark.parametrize("ours_us", [-6 * SECOND_US, 6 * SECOND_US, SKEW_US, -2 * DAY_US])
def test_more_than_the_limit_in_three_answers_blocks_entries_and_no_exit(ours_us: int) -> None:
    guard = a_guard(clock_offset_max_us=5 * SECOND_US)
    guard.working(quantity=1)
    guard.row(quantity=1, filled_quantity=1, status=BrokerStatus.FILLED)
    guard.trade(created_utc_us=guard.venue_us)
    guard.audit(positions=(a_position(1),))
    guard.ours_us = ours_us
    guard.reads_clock(times=2, news_only=True)
    assert conditions(guard) == ()
    guard.reads_clock(times=1, news_only=True)

    refused = guard.submit(client_order_id="c2", quantity=3, side=Side.BUY)
    exit_order = guard.submit(client_order_id="c3", quantity=1, side=Side.SELL)

    assert conditions(guard) == (Condition.CLOCK_OFFSET,)
    assert guard.book.trading_state(guard.now_ns) is TradingState.REDUCING
    assert [denial.code for denial in refused.denials] == [
        DenialCode.STATE_REDUCING,
        DenialCode.CLOCK_OFFSET,
    ]
    assert exit_order.kind is DecisionKind.ACCEPTED
    (alert,) = (it for it in guard.commands_of(RaiseAlert) if it.code == "CLOCK_OFFSET")
    assert alert.severity is Severity.CRITICAL
    assert ("ahead of this" if ours_us < 0 else "behind this") in alert.message


def test_the_block_lifts_by_itself_once_three_answers_agree() -> None:
    guard = a_guard(clock_offset_max_us=5 * SECOND_US)
    guard.ours_us = SKEW_US
    guard.reads_clock()
    assert conditions(guard) == (Condition.CLOCK_OFFSET,)
    guard.ours_us = 0
    guard.reads_clock(news_only=True)

    assert conditions(guard) == ()
    assert guard.submit().kind is DecisionKind.ACCEPTED


def test_a_limit_of_one_second_sees_an_offset_of_one_and_a_half_and_a_step_of_eight() -> None:
    guard = a_guard(clock_offset_max_us=SECOND_US)
    guard.ours_us = -2_200_000
    guard.reads_clock(news_only=True)
    assert conditions(guard) == (Condition.CLOCK_OFFSET,)
    due_ns = dict(guard.book.wakes)
    guard.ours_us -= 8 * SECOND_US
    guard.reads_clock(news_only=True)

    assert guard.book.wakes == due_ns
    assert [note.fields["by_ms"] for note in notes(guard, "clock_stepped")] == [-2200, -8000]


def test_nothing_but_news_is_on_record_and_a_replay_leads_to_the_same() -> None:
    guard = a_guard()
    before = len(guard.history)
    guard.reads_clock(times=50, news_only=True)
    assert len(guard.history) - before <= 1

    guard.venue_ahead_us = -SKEW_US
    guard.reads_clock(news_only=True)
    round_trip(guard, made_us=guard.venue_us)
    book, _ = replayed(guard.policy, guard.history)

    assert book == guard.book


def test_three_orders_of_a_program_within_the_venues_hour_are_counted_by_its_clock() -> None:
    guard = a_guard(ours_us=SKEW_US)
    guard.now_ns += 3600 * SECOND_NS
    for number in range(3):
        made_us = guard.venue_us - 50 * MINUTE_US
        guard.row(broker_order_id=500 + number, custom_tag=f"bot-{number}", created_utc_us=made_us)
    guard.audit(after_ms=ATTRIBUTION_NS // MILLISECOND_NS + 100)

    assert any("second trader" in latch.cause for latch in guard.book.latches)
