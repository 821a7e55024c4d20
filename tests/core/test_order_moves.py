"""A resting order counts at the worst price that it may be at, until one is proven."""

from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.account_world import DOLLAR, a_guard, codes, limits, wish
from tests.core.builders import MES, Guard, a_guard_start, a_quote, a_row

from backstop.core.account_rules.risk import contract_pending_micros
from backstop.core.account_rules.standing_sums import sums_now
from backstop.core.order_moves import LATE_NS
from backstop.core.policy import MILLISECOND_NS
from backstop.core.step import Decision, DecisionKind
from backstop.domain.broker import BrokerOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import (
    Answer,
    ModifyAnswered,
    ModifyRequested,
    OrderReported,
    Source,
)
from backstop.domain.order import OrderType, Side
from backstop.domain.quote import Mark

STOP = Decimal(4985)
CONTRACTS = 4
LATE_MS = LATE_NS // MILLISECOND_NS
DAILY = limits(daily_loss_micros=1_000 * DOLLAR)
MARKS = (Mark(contract_id=MES, price=Decimal(5000)),)


def a_resting_entry() -> Guard:
    """Return a guard with four MES to be bought at 4990 and stopped out at 4985."""
    guard = a_guard(DAILY, prevents_self_trades=True)
    accepted = wish(
        guard,
        quantity=CONTRACTS,
        type=OrderType.LIMIT,
        limit_price=Decimal(4990),
        stop_loss_price=STOP,
    )
    assert accepted.kind is DecisionKind.ACCEPTED
    guard.dispatch()
    guard.answer(Answer.YES, 101)
    guard.row(**_row(Decimal(4990)))
    return guard


def _row(price: Decimal) -> dict[str, object]:
    return {
        "broker_order_id": 101,
        "quantity": CONTRACTS,
        "type": OrderType.LIMIT,
        "limit_price": price,
    }


def move(guard: Guard, price: int) -> Decision:
    decision = guard.feed(
        ModifyRequested(
            utc_us=guard.utc_us,
            client_order_id="c1",
            limit_ticks=price * 4,
            reference=a_quote(),
            marks=MARKS,
        )
    ).decision
    assert decision is not None
    return decision


def answer(guard: Guard, given: Answer) -> None:
    guard.feed(ModifyAnswered(utc_us=guard.utc_us, broker_order_id=101, answer=given))


def pending(guard: Guard) -> int:
    """Return dollars that could still be lost: by the sums that decisions use, and from scratch."""
    rules = guard.book.account_limits
    assert rules is not None
    price = MARKS[0].price
    kept = sums_now(guard.book, rules, MARKS, guard.utc_us).pending_micros
    assert kept == contract_pending_micros(guard.book, MES, rules, price)
    return kept // DOLLAR


def at(price: int) -> int:
    """Return the dollars of four contracts stopped out from ``price``, two ticks later."""
    return CONTRACTS * (int((price - STOP) * 5) * 100 + 250) // 100


def read(guard: Guard, price: int) -> None:
    """Let a complete read, sent just now, show where the order stands."""
    guard.audit(live_orders=(a_row(updated_utc_us=guard.utc_us, **_row(Decimal(price))),))


def test_between_request_and_proof_an_order_counts_where_it_could_lose_most() -> None:
    guard = a_resting_entry()
    assert pending(guard) == at(4990)

    assert move(guard, 4998).kind is DecisionKind.ACCEPTED
    assert pending(guard) == at(4998)
    answer(guard, Answer.YES)
    assert pending(guard) == at(4998)
    guard.row(updated_utc_us=guard.utc_us, **_row(Decimal(4998)))
    assert pending(guard) == at(4998)

    assert move(guard, 4988).kind is DecisionKind.ACCEPTED
    answer(guard, Answer.YES)
    assert pending(guard) == at(4998), "it may still be at its old price"
    guard.row(updated_utc_us=guard.utc_us, **_row(Decimal(4988)))
    assert pending(guard) == at(4988)


@pytest.mark.parametrize("refused", [Answer.NO, Answer.NOT_SENT])
def test_a_refused_move_gives_its_room_back(refused: Answer) -> None:
    guard = a_resting_entry()
    move(guard, 4998)

    answer(guard, refused)

    assert pending(guard) == at(4990)


def test_a_refusal_among_several_answers_gives_nothing_back_before_a_read() -> None:
    guard = a_resting_entry()
    move(guard, 4998)
    move(guard, 4994)

    answer(guard, Answer.NO)
    answer(guard, Answer.YES)

    assert pending(guard) == at(4998)
    read(guard, 4994)
    assert pending(guard) == at(4994)


def test_silence_keeps_the_room_for_as_long_as_the_request_may_be_carried_out() -> None:
    guard = a_resting_entry()
    move(guard, 4998)
    answer(guard, Answer.UNKNOWN)

    read(guard, 4990)
    assert pending(guard) == at(4998)
    guard.timer(after_ms=LATE_MS)
    read(guard, 4990)
    assert pending(guard) == at(4990)


def test_what_a_dead_process_asked_for_keeps_its_room_in_the_next_one() -> None:
    guard = a_resting_entry()
    move(guard, 4998)

    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert pending(guard) == at(4998)
    guard.timer(after_ms=LATE_MS)
    read(guard, 4990)
    assert pending(guard) == at(4990)


def test_a_new_entry_has_no_room_where_a_move_has_taken_it() -> None:
    """77.50 a contract is left out of 1000: the move to 4998 makes 270 of the 110 that were."""
    guard = a_resting_entry()
    ten = {"client_order_id": "c2", "quantity": 10, "stop_loss_price": Decimal(4985)}
    assert wish(guard, **ten).kind is DecisionKind.ACCEPTED
    guard.answer(Answer.NO, client_order_id="c2")
    guard.timer(after_ms=1_500)  # an equal order is no double any more
    move(guard, 4998)

    refused = wish(guard, **(ten | {"client_order_id": "c3"}))

    assert codes(refused) == [DenialCode.DAILY_LOSS_BUFFER]


def test_an_order_on_its_way_to_another_price_is_traded_with_at_neither() -> None:
    guard = a_resting_entry()
    move(guard, 4998)

    for price in (4990, 4996):
        sold = wish(
            guard,
            client_order_id="c2",
            side=Side.SELL,
            quantity=1,
            type=OrderType.LIMIT,
            limit_price=Decimal(price),
            stop_loss_price=Decimal(5020),
        )
        assert DenialCode.SELF_TRADE in codes(sold)


# -- whatever comes, in whatever order ------------------------------------------------------------


@dataclass
class Market:
    """The venue's truth about one order, the requests on their way, and what nobody heard yet."""

    guard: Guard = field(default_factory=a_resting_entry)
    stands: int = 4990
    under_way: list[int] = field(default_factory=list)  # may still be carried out
    answers: list[Answer] = field(default_factory=list)  # of what the venue has decided
    rows: list[BrokerOrder] = field(default_factory=list)
    late: list[tuple[int, int]] = field(default_factory=list)  # answered UNKNOWN: price, until

    def ask(self, price: int) -> None:
        if move(self.guard, price).kind is DecisionKind.ACCEPTED:
            self.under_way.append(price)

    def carry_out(self, pick: int, answer_: Answer) -> None:
        """One request reaches the venue, not always the oldest; a no leaves the order alone."""
        if not self.under_way:
            return
        price = self.under_way.pop(pick % len(self.under_way))
        if answer_ is Answer.YES:
            self._stand(price)
        elif answer_ is Answer.UNKNOWN:
            self.late.append((price, self.guard.now_ns + LATE_NS))
        self.answers.append(answer_)

    def arrive_late(self, pick: int) -> None:
        """A request that nobody answered is carried out after all, if it is not too late."""
        self.late = [it for it in self.late if self.guard.now_ns < it[1]]
        if self.late:
            price, _ = self.late.pop(pick % len(self.late))
            self._stand(price)

    def _stand(self, price: int) -> None:
        self.stands = price
        self.rows.append(a_row(updated_utc_us=self.guard.utc_us, **_row(Decimal(price))))

    def hear_answer(self, pick: int) -> None:
        if self.answers:
            answer(self.guard, self.answers.pop(pick % len(self.answers)))

    def hear_row(self, pick: int) -> None:
        if self.rows:
            row = self.rows.pop(pick % len(self.rows))
            self.guard.feed(OrderReported(utc_us=self.guard.utc_us, order=row, source=Source.HUB))

    def read(self) -> None:
        read(self.guard, self.stands)

    def restart(self) -> None:
        """The process dies with its answers; what left it may still arrive."""
        until = self.guard.now_ns + LATE_NS
        self.late += [(price, until) for price in self.under_way]
        self.under_way.clear()
        self.answers.clear()
        self.guard.feed(a_guard_start(utc_us=self.guard.utc_us))
        self.guard.connect()
        self.read()

    def worst(self) -> int:
        """Return the most that it could lose wherever it may still come to stand."""
        open_ = [price for price, until in self.late if self.guard.now_ns < until]
        return max(map(at, (self.stands, *self.under_way, *open_)))


prices = st.integers(4987, 4999)
picks = st.integers(0, 3)
acts = st.one_of(
    st.tuples(st.just("ask"), prices),
    st.tuples(st.just("carry_out"), picks, st.sampled_from([Answer.YES, Answer.NO])),
    st.tuples(st.just("carry_out"), picks, st.just(Answer.UNKNOWN)),
    st.tuples(st.just("arrive_late"), picks),
    st.tuples(st.just("hear_answer"), picks),
    st.tuples(st.just("hear_row"), picks),
    st.tuples(st.just("read")),
    st.tuples(st.just("restart")),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(acts, max_size=25))
def test_no_interleaving_lets_a_moved_order_lose_more_than_is_counted(
    script: list[tuple[str, ...]],
) -> None:
    market = Market()
    for name, *arguments in script:
        getattr(market, name)(*arguments)
        assert pending(market.guard) >= market.worst()
    while market.under_way:
        market.carry_out(0, Answer.YES)
    while market.answers:
        market.hear_answer(0)
    market.guard.timer(after_ms=LATE_MS + 1)
    market.read()

    assert pending(market.guard) == at(market.stands), "in the end it counts where it stands"
