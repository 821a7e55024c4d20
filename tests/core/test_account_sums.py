"""What decisions keep up to date of an account, beside what is made of it from scratch."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.account_world import DAY, DOLLAR, a_guard, limits
from tests.core.builders import (
    MES,
    NQ,
    START_US,
    Guard,
    a_position,
    a_quote,
    a_request,
    an_instrument,
)
from tests.core.histories import Act, feed, histories

from backstop.core.account_rules import standing_sums
from backstop.core.account_rules.standing_sums import sums_now
from backstop.core.account_rules.sums import AccountSums
from backstop.core.contract_standing import contract_facts, facts_of
from backstop.core.policy import SECOND_NS
from backstop.core.pre_trade import judge
from backstop.core.state_checkpoint import captured, restored
from backstop.domain.broker import BrokerStatus
from backstop.domain.events import (
    Answer,
    CloseRequested,
    InstrumentsLoaded,
    LimitsChangeRequested,
    OrderRequested,
    PositionReported,
    ProtectionRequested,
    SessionsScheduled,
    Source,
)
from backstop.domain.order import OrderType, Side
from backstop.domain.quote import Mark
from backstop.domain.session import MarketGroup, Session

RULES = limits(
    daily_loss_micros=30_000 * DOLLAR,
    trailing_loss_micros=30_000 * DOLLAR,
    high_close_micros=50_000 * DOLLAR,
    max_position_tenths=60,
    fees_micros=740_000,
)
BUSY_FOR_US = 300_000_000


prices = st.tuples(
    st.just("price"),
    st.sampled_from([MES, NQ]),
    st.sampled_from([None, Decimal(4990), Decimal("5000.1"), Decimal(5200)]),
    st.sampled_from([0, 3_000, 60_000]),
)
others = st.one_of(
    prices,
    st.tuples(st.just("NQ"), st.integers(-2, 2)),
    st.tuples(st.just("instrument"), st.sampled_from([MES, NQ]), st.sampled_from([5, 7])),
    st.tuples(st.just("limit"), st.integers(1, 5)),
    st.tuples(st.just("stop"), st.integers(-3, 3)),
    st.tuples(st.just("close"), st.sampled_from([None, 1])),
    st.tuples(st.just("schedule")),
    st.tuples(st.just("unlisted reads"), st.integers(1, 5)),
)
stories = st.lists(st.one_of(histories().map(tuple), others), max_size=25)


class Account:
    """A guard whose sums are asked for again and again, and the prices that it is asked at."""

    def __init__(self) -> None:
        # A price is old sooner while its market is busy.
        self.guard = a_guard(
            RULES, protects=True, prevents_self_trades=True, busy_quote_ns=2 * SECOND_NS
        )
        self.marks: tuple[Mark, ...] = (Mark(contract_id=MES, price=Decimal(5000)),)

    def feed(self, act: Act) -> None:
        """Let ``act`` happen; a tuple of acts is a history."""
        guard = self.guard
        match act:
            case ("price", contract_id, price, age_ms):
                others = tuple(it for it in self.marks if it.contract_id != contract_id)
                marks = () if price is None else (Mark(contract_id=contract_id, price=price),)
                self.marks = (*others, *(replace(it, age_ms=age_ms) for it in marks))
            case ("NQ", quantity):
                row = a_position(quantity, contract_id=NQ, position_id=10)
                guard.feed(PositionReported(utc_us=guard.utc_us, position=row, source=Source.HUB))
            case ("instrument", contract_id, tick_value):
                symbol = "MES" if contract_id == MES else "NQ"
                row = an_instrument(
                    contract_id=contract_id, symbol=symbol, tick_value_micros=tick_value * DOLLAR
                )
                guard.feed(InstrumentsLoaded(utc_us=guard.utc_us, instruments=(row,)))
            case ("limit", times):
                change = LimitsChangeRequested(
                    utc_us=guard.utc_us,
                    daily_loss_micros=times * 10_000 * DOLLAR,
                    operator="ann",
                    reason="so",
                )
                guard.feed(change)
            case ("stop", ticks):
                wish = ProtectionRequested(
                    utc_us=guard.utc_us, contract_id=MES, stop_ticks=19_600 + ticks
                )
                guard.feed(wish)
            case ("close", quantity):
                wish = CloseRequested(
                    utc_us=guard.utc_us,
                    contract_id=MES,
                    reason="so",
                    operator="ann",
                    quantity=quantity,
                )
                guard.feed(wish)
            case ("schedule",):
                guard.feed(_schedule(guard))
            case ("unlisted reads", times):
                for _ in range(times):
                    rows = tuple(self._position_rows())
                    guard.audit(after_ms=60_000, positions=rows)
            case (tuple(), *_):
                for each in act:
                    self._feed_history(each)
            case _:
                raise AssertionError(act)

    def _feed_history(self, act: Act) -> None:
        match act:
            case ("submit", number, kind):
                # Also with something held, for which a price is wanted.
                limit = Decimal(4990) if kind is OrderType.LIMIT else None
                name = f"c{number}"
                self.guard.feed(self.wish(client_order_id=name, type=kind, limit_price=limit))
                self.guard.dispatch(name)
            case _:
                feed(self.guard, act)

    def wish(self, **changes: Any) -> OrderRequested:
        """Return the wish for an order at the prices of now."""
        return OrderRequested(
            utc_us=self.guard.utc_us,
            request=a_request(**({"stop_loss_price": Decimal(4900)} | changes)),
            reference=a_quote(),
            marks=self.marks,
        )

    def _position_rows(self) -> list[Any]:
        views = self.guard.book.positions.values()
        return [
            a_position(it.quantity, contract_id=it.contract_id, position_id=number)
            for number, it in enumerate(views)
            if it.quantity
        ]


def _schedule(guard: Guard) -> SessionsScheduled:
    session = Session(
        group=MarketGroup.EQUITY,
        trade_date=DAY,
        opens_utc_us=START_US,
        closes_utc_us=guard.utc_us + 4 * BUSY_FOR_US,
        busy_from_utc_us=guard.utc_us + BUSY_FOR_US,
        busy_until_utc_us=guard.utc_us + 2 * BUSY_FOR_US,
    )
    return SessionsScheduled(utc_us=guard.utc_us, sessions=(session,))


def _told(sums: AccountSums) -> dict[str, Any]:
    """Return what decisions see of the sums."""
    return {
        "tenths": sums.tenths,
        "open": sums.open_micros,
        "unpriced": set(sums.unpriced),
        "pending": sums.pending_micros,
        "unbounded": set(sums.unbounded),
        "prices": sums.prices,
        "parts": sums.parts,
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories)
def test_the_sums_are_those_from_scratch_whatever_happened_before(story: list[Act]) -> None:
    account = Account()
    for act in story:
        account.feed(act)
        book, marks, utc_us = account.guard.book, account.marks, account.guard.utc_us
        rules = book.account_limits
        assert rules is not None

        kept = _told(sums_now(book, rules, marks, utc_us))

        anew = restored(captured(book))
        assert kept == _told(sums_now(anew, rules, marks, utc_us))
        for contract_id in (MES, NQ):
            assert facts_of(book, contract_id) == contract_facts(anew, contract_id)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories, st.sampled_from(Side), st.integers(1, 8), st.sampled_from([None, Decimal(4900)]))
def test_an_order_gets_the_answer_of_a_book_that_nobody_asked_before(
    story: list[Act], side: Side, quantity: int, stop: Decimal | None
) -> None:
    account = Account()
    for act in story:
        account.feed(act)
        guard = account.guard
        wish = account.wish(
            client_order_id="asked", side=side, quantity=quantity, stop_loss_price=stop
        )

        found = judge(guard.book, wish, now_ns=guard.now_ns)

        assert found == judge(restored(captured(guard.book)), wish, now_ns=guard.now_ns)


def test_a_fill_that_only_a_row_tells_of_counts_also_in_sums_from_scratch() -> None:
    """Nothing else is known of its contract: no position, and no order that could still fill."""
    account = Account()
    for act in (("start",), ("restart",), ("row", 1, BrokerStatus.FILLED)):
        account.feed((act,))
    book, utc_us = account.guard.book, account.guard.utc_us
    assert book.account_limits is not None
    assert MES not in book.positions

    for at_us in (utc_us, utc_us + 2 * BUSY_FOR_US):
        anew = restored(captured(book))
        assert sums_now(anew, book.account_limits, account.marks, at_us).part(MES).high == 1


def test_what_an_order_could_lose_counts_until_it_ends() -> None:
    account = Account()
    guard = account.guard
    for number in (2, 3):
        wish = account.wish(
            client_order_id=f"c{number}",
            quantity=number,
            type=OrderType.LIMIT,
            limit_price=Decimal(4990),
        )
        guard.feed(wish)
        guard.dispatch(f"c{number}")
        feed(guard, ("answer", number, Answer.YES))

    def pending() -> int:
        return sums_now(guard.book, RULES, account.marks, guard.utc_us).pending_micros

    # 360 ticks from 4990 to 4900 and 2 of slippage, at 1.25 dollars each, and 0.74 of fees.
    each = 362 * 1_250_000 + 740_000
    assert pending() == 5 * each

    feed(guard, ("row", 3, BrokerStatus.CANCELLED))

    assert pending() == 2 * each


def test_a_close_that_was_asked_for_is_an_exit_from_then_on() -> None:
    account = Account()
    guard = account.guard
    guard.position_row(2)
    guard.audit(positions=(a_position(2),))
    assert facts_of(guard.book, MES).exits == 0

    account.feed(("close", 1))

    assert facts_of(guard.book, MES).exits == 1


def test_sums_whose_making_was_interrupted_are_made_from_scratch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account()
    guard = account.guard

    def tenths() -> int:
        return sums_now(guard.book, RULES, account.marks, guard.utc_us).tenths

    guard.position_row(2)
    assert tenths() == 2
    guard.position_row(3)
    with monkeypatch.context() as broken:
        broken.setattr(standing_sums, "contract_part", None)
        with pytest.raises(TypeError):
            tenths()

    assert tenths() == 3
