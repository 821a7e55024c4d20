"""What leaves the book comes back when a fact names it: nothing counts twice, nothing is lost."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.builders import MES, Guard, a_policy, a_trade
from tests.core.histories import Act, feed, histories

from backstop.core import forgetting
from backstop.core.past import PastOrder, client_key, recollected, unheard
from backstop.core.realised import realised
from backstop.core.step import DecisionKind, Step
from backstop.domain.broker import BrokerStatus
from backstop.domain.events import (
    AccountAudited,
    Answer,
    CancelRequested,
    Fact,
    OrderLookedUp,
    PastRecalled,
)
from backstop.domain.order import OrderState, OrderType, Side

MANY = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@dataclass
class ArchivingGuard(Guard):
    """A guard whose book is small, with an archive behind it."""

    policy: Any = field(default_factory=lambda: a_policy(archives=True))
    archive: dict[str, PastOrder] = field(default_factory=dict)

    def feed(self, event: Fact, *, after_ms: int = 1) -> Step:
        asked = unheard(self.book, event)
        found = {key: self.archive[key] for key in asked if key in self.archive}
        event, recalled = recollected(self.book, event, asked=asked, found=found)
        if recalled is not None:
            self._keep(super().feed(recalled, after_ms=0))
        return self._keep(super().feed(event, after_ms=after_ms))

    def _keep(self, result: Step) -> Step:
        for past in result.let_go:
            self.archive.update(dict.fromkeys(past.keys, past))
        return result


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let orders go as soon as a read of the account has passed them."""
    monkeypatch.setattr(forgetting, "FINISHED_KEPT", 1)
    monkeypatch.setattr(forgetting, "STILL_READ_US", 0)


def after_rounds(*numbers: int) -> ArchivingGuard:
    guard = ArchivingGuard()
    feed(guard, ("start",))
    for number in numbers:
        feed(guard, ("round", number, "BUY"))
    return guard


def recalls(guard: Guard) -> list[PastRecalled]:
    return [event for event, _, _ in guard.history if isinstance(event, PastRecalled)]


# -- what leaves ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_finished_orders_leave_with_their_legs_and_trades() -> None:
    guard = after_rounds(1, 2, 3, 4)

    assert list(guard.book.orders) == ["r4"]
    assert list(guard.book.venue_orders) == [1041]
    assert list(guard.book.trades) == [1040]
    past = guard.archive[client_key("r1")]
    assert past.order is not None
    assert [leg.row.broker_order_id for leg in past.venue_orders] == [1011]
    assert [trade.trade_id for trade in past.trades] == [1010]
    assert guard.archive["o1011"] is guard.archive["x1010"] is past
    assert guard.position() == 4


def test_the_newest_finished_orders_stay_whatever_their_age() -> None:
    guard = after_rounds(*range(1, 101))

    kept = forgetting.FINISHED_KEPT
    assert list(guard.book.orders) == [f"r{number}" for number in range(100 - kept + 1, 101)]


def test_what_reads_of_the_account_may_still_show_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "FINISHED_KEPT", 1)
    guard = after_rounds(*range(1, 51))
    still_read_s = forgetting.STILL_READ_US // 1_000_000

    # One every ten seconds and a bit.
    assert still_read_s // 12 <= len(guard.book.orders) <= still_read_s // 10 + 1


@pytest.mark.usefixtures("eager")
def test_the_entry_of_a_working_stop_stays_however_old_it_is() -> None:
    guard = ArchivingGuard()
    feed(guard, ("start",))
    guard.working(stop_loss_price=Decimal(4900))
    guard.row(
        broker_order_id=201,
        parent_order_id=100,
        side=Side.SELL,
        type=OrderType.STOP,
        stop_price=Decimal(4900),
    )
    guard.trade(quantity=2)
    for number in range(1, 6):
        feed(guard, ("round", number, "BUY"))

    assert list(guard.book.orders) == ["c1", "r5"]
    guard.row(broker_order_id=201, status=BrokerStatus.CANCELLED, side=Side.SELL)
    for number in range(6, 9):
        feed(guard, ("round", number, "BUY"))
    assert list(guard.book.orders) == ["r8"]
    assert guard.archive["o201"].name == client_key("c1")


@pytest.mark.usefixtures("eager")
def test_an_order_stays_for_the_step_that_finishes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "FINISHED_KEPT", 0)
    monkeypatch.setattr(forgetting, "STILL_READ_US", -(10**16))
    guard = ArchivingGuard()
    feed(guard, ("start",))
    guard.working()
    result = guard.trade(quantity=2)

    assert result.proofs_due == ("c1",)
    assert "c1" in guard.book.orders
    guard.timer()
    assert "c1" not in guard.book.orders


@pytest.mark.usefixtures("eager")
def test_an_order_that_lacks_trades_is_waited_for() -> None:
    guard = ArchivingGuard()
    feed(guard, ("start",))
    guard.working()
    guard.row(status=BrokerStatus.CANCELLED, filled_quantity=1)
    for number in range(1, 6):
        feed(guard, ("round", number, "BUY"))

    assert "c1" in guard.book.orders


@pytest.mark.usefixtures("eager")
def test_orders_of_others_leave_too() -> None:
    guard = after_rounds(1)
    for number in (501, 502, 503):
        guard.row(broker_order_id=number, status=BrokerStatus.FILLED, filled_quantity=2)
        guard.trade(trade_id=number, broker_order_id=number)
    for number in (2, 3):
        feed(guard, ("round", number, "BUY"))

    assert 501 not in guard.book.venue_orders
    assert guard.archive["o501"] is guard.archive["x501"]
    assert guard.archive["o501"].order is None


@pytest.mark.usefixtures("eager")
def test_trades_of_orders_that_nobody_shows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "TRADES_KEPT", 3)
    guard = after_rounds(1)
    for number in range(501, 507):
        guard.trade(trade_id=number, broker_order_id=400 + number % 2)

    assert len(guard.book.trades) <= 4
    assert guard.position() == 7
    assert guard.archive["x501"].trades[0].trade_id == 501
    guard.trade(trade_id=501, broker_order_id=401)
    assert guard.position() == 7


@pytest.mark.usefixtures("eager")
def test_memory_has_a_limit_when_reads_no_longer_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "STILL_READ_US", 10**15)
    monkeypatch.setattr(forgetting, "ORDERS_KEPT", 3)
    guard = after_rounds(1, 2, 3, 4, 5)

    assert list(guard.book.orders) == ["r3", "r4", "r5"]


@pytest.mark.usefixtures("eager")
def test_a_book_that_had_no_archive_lines_up_what_it_holds() -> None:
    guard = ArchivingGuard(policy=a_policy())
    feed(guard, ("start",))
    for number in (1, 2, 3):
        feed(guard, ("round", number, "BUY"))
    assert len(guard.book.orders) == 3
    guard.book.policy = a_policy(archives=True)
    feed(guard, ("round", 4, "BUY"))

    assert list(guard.book.orders) == ["r4"]
    assert client_key("r1") in guard.archive


# -- what comes back -----------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_an_equal_request_finds_its_order_of_the_past() -> None:
    guard = after_rounds(1, 2, 3)

    repeated = guard.submit(client_order_id="r1", quantity=1)
    other = guard.submit(client_order_id="r1", quantity=2)

    assert repeated.kind is DecisionKind.REPEATED
    assert repeated.order is not None
    assert repeated.order.filled_quantity == 1
    assert other.kind is DecisionKind.CONFLICT


@pytest.mark.usefixtures("eager")
def test_a_new_name_is_no_order_of_the_past() -> None:
    guard = after_rounds(1, 2, 3)

    assert guard.submit(client_order_id="n1").kind is DecisionKind.ACCEPTED
    assert not recalls(guard)


@pytest.mark.usefixtures("eager")
def test_an_order_of_the_past_cannot_be_cancelled_and_says_why() -> None:
    guard = after_rounds(1, 2, 3)
    wish = CancelRequested(utc_us=guard.utc_us, client_order_id="r1", reason="late")

    decision = guard.feed(wish).decision

    assert decision is not None
    assert decision.kind is DecisionKind.NOT_POSSIBLE
    assert decision.order is not None
    assert decision.order.state is OrderState.FILLED


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("voided", [False, True])
def test_an_old_trade_that_is_told_again_changes_only_what_its_void_takes_back(
    *, voided: bool
) -> None:
    guard = after_rounds(1, 2, 3)
    for _ in range(2):
        guard.trade(trade_id=1010, broker_order_id=1010, voided=voided)

    assert guard.position() == (2 if voided else 3)
    assert guard.book.counters.duplicate_trades == (1 if voided else 2)


@pytest.mark.usefixtures("eager")
def test_a_void_of_an_old_trade_takes_it_from_its_order_and_makes_a_new_proof() -> None:
    guard = after_rounds(1, 2, 3)

    result = guard.trade(trade_id=1010, broker_order_id=1010, voided=True)

    assert guard.order("r1").filled_quantity == 0
    assert guard.order("r1").voided_quantity == 1
    assert [row.client_order_id for row in result.order_rows] == ["r1"]
    assert [(row.fill_id, row.voided) for row in result.fill_rows] == [("1010", True)]


@pytest.mark.usefixtures("eager")
def test_a_trade_that_was_never_counted_counts_although_newer_ones_were_let_go_of() -> None:
    guard = after_rounds(1, 3, 4)
    guard.trade(trade_id=1015, broker_order_id=900)
    guard.trade(trade_id=1015, broker_order_id=900)

    assert guard.position() == 4
    assert guard.book.new_trades == {}


@pytest.mark.usefixtures("eager")
def test_a_late_trade_of_an_old_order_is_its_fill() -> None:
    guard = after_rounds(1, 2, 3)

    guard.trade(trade_id=5000, broker_order_id=1010)

    assert guard.order("r1").filled_quantity == 2
    assert guard.position() == 4


@pytest.mark.usefixtures("eager")
def test_a_row_of_an_old_order_is_not_taken_for_somebody_elses() -> None:
    guard = after_rounds(1, 2, 3)

    guard.row(broker_order_id=1010, status=BrokerStatus.OPEN, quantity=1)
    guard.row(broker_order_id=1011, status=BrokerStatus.CANCELLED, side=Side.SELL)

    assert not guard.book.live_venue
    assert guard.order("r1").state is OrderState.FILLED
    assert {leg.owner for leg in guard.book.venue_orders.values()} == {"r1", "r3"}


@pytest.mark.usefixtures("eager")
def test_a_tag_of_the_past_that_shows_up_at_the_venue_reopens_its_order() -> None:
    guard = ArchivingGuard()
    feed(guard, ("start",))
    order = guard.submit(client_order_id="c1").order
    guard.answer(Answer.NOT_SENT)
    assert order is not None
    assert guard.state() is OrderState.NOT_SUBMITTED
    for number in (1, 2, 3):
        feed(guard, ("round", number, "BUY"))
    assert "c1" not in guard.book.orders

    guard.row(broker_order_id=9000, custom_tag=order.custom_tag, created_utc_us=guard.utc_us)

    assert guard.state("c1") is OrderState.WORKING


@pytest.mark.usefixtures("eager")
def test_a_leg_that_shows_up_late_belongs_to_its_entry() -> None:
    guard = after_rounds(1, 2, 3)

    guard.row(broker_order_id=9000, parent_order_id=1010, side=Side.SELL, type=OrderType.LIMIT)

    assert guard.book.venue_orders[9000].owner == "r1"


@pytest.mark.usefixtures("eager")
def test_a_read_that_reaches_far_back_brings_back_only_what_it_has_news_of() -> None:
    guard = after_rounds(1, 2, 3, 4)
    orders = [guard.archive[client_key(name)].order for name in ("r1", "r2")]
    rows = tuple(order.venue for order in orders if order is not None and order.venue is not None)
    trades = (
        a_trade(trade_id=1010, broker_order_id=1010),
        a_trade(trade_id=1020, broker_order_id=1020, voided=True),
    )
    guard.audit(orders=rows, trades=trades)

    (recalled,) = recalls(guard)
    assert len(recalled.entries) == 1
    assert '"r2"' in recalled.entries[0]
    assert guard.position() == 3
    last = guard.history[-1][0]
    assert isinstance(last, AccountAudited)
    assert [trade.trade_id for trade in last.trades or ()] == [1020]


@pytest.mark.usefixtures("eager")
def test_a_search_that_finds_an_old_trade_counts_it_once() -> None:
    guard = after_rounds(1, 2, 3)
    guard.submit(client_order_id="c9")
    guard.dispatch("c9")
    guard.feed(
        OrderLookedUp(
            utc_us=guard.utc_us,
            client_order_id="c9",
            sent_ns=guard.now_ns,
            complete=True,
            trades=(a_trade(trade_id=1010, broker_order_id=1010),),
        )
    )

    assert guard.position() == 3


def test_before_anything_was_let_go_of_nobody_is_asked() -> None:
    guard = Guard().start()
    guard.working()

    assert unheard(guard.book, guard.history[-1][0]) == ()
    for event, _, _ in guard.history:
        assert unheard(guard.book, event) == ()


@pytest.mark.usefixtures("eager")
def test_what_trades_brought_does_not_leave_with_them() -> None:
    guard = ArchivingGuard()
    feed(guard, ("start",))
    for number in (1, 2, 3):
        feed(guard, ("round", number, "BUY" if number % 2 else "SELL"))
    guard.trade(trade_id=1010, broker_order_id=1010)  # called back, and gone again
    feed(guard, ("round", 4, "SELL"))
    total = realised(guard.book.trades.values()) + guard.book.past_result

    assert len(guard.book.trades) < 4
    assert (total.trades, total.costs_micros) == (4, 4 * 370_000)
    assert total.net_micros == -4 * 370_000


# -- every history -------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@MANY
@given(history=histories(), again=st.lists(st.integers(0, 400), max_size=20))
def test_a_small_book_with_an_archive_knows_what_a_large_one_knows(
    history: list[Act], again: list[int]
) -> None:
    """Positions, orders and trades are those of a book that never forgets, whatever comes again."""
    small, large = ArchivingGuard(), Guard(policy=a_policy())
    for act in history:
        feed(small, act)
        feed(large, act)
    for number in again:
        for guard in (small, large):
            told = large.book.trades.get(1000 + 10 * number, large.book.trades.get(number))
            if told is not None:
                guard.trade(
                    trade_id=told.trade_id,
                    broker_order_id=told.broker_order_id,
                    side=told.side,
                    quantity=told.quantity,
                    voided=number % 2 == 0,
                    created_utc_us=told.created_utc_us,
                )

    assert small.book.positions == large.book.positions
    assert small.position(MES) == large.position(MES)
    known = {name: past.order for name, past in small.archive.items() if past.order is not None}
    for name, order in large.book.orders.items():
        assert small.book.orders.get(name, known.get(client_key(name))) == order
    held = {it.trade_id: it for past in small.archive.values() for it in past.trades}
    assert held | dict(small.book.trades) == dict(large.book.trades)
    assert [list(step.fill_rows) for step in small.steps if step.fill_rows] == [
        list(step.fill_rows) for step in large.steps if step.fill_rows
    ]
