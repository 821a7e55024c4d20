"""The day's money, carried on from trade to trade, is what all of its trades add up to."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from tests.core.account_world import DOLLAR, NEXT_DAY, a_guard, day, limits
from tests.core.builders import an_instrument

from backstop.core.account_rules.bookkeeping import worth
from backstop.core.realised import realised
from backstop.domain.order import Side

_tellings = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=6),  # the trade's number
        st.booleans(),  # voided
        st.integers(min_value=0, max_value=3),  # commissions, in dollars
        st.booleans(),  # the trading day ends before it is told
    ),
    max_size=40,
)


@given(_tellings)
def test_the_day_is_the_sum_of_its_trades_however_often_they_are_told(
    tellings: list[tuple[int, bool, int, bool]],
) -> None:
    """Doubled, voided before or after, and with costs that come later: each counts once."""
    guard = a_guard(limits())
    for trade_id, voided, commissions, day_ends in tellings:
        if day_ends:
            day(guard, NEXT_DAY)
        guard.trade(
            trade_id=trade_id,
            broker_order_id=5000 + trade_id,
            side=Side.BUY if trade_id % 2 else Side.SELL,
            price=Decimal(6000),
            created_utc_us=guard.utc_us,
            fees_micros=trade_id * DOLLAR,
            commissions_micros=commissions * DOLLAR,
            profit_and_loss_micros=trade_id * 100 * DOLLAR if trade_id > 2 else None,
            voided=voided,
        )
        record, trades = guard.book.account_rules, guard.book.trades.values()
        since_us = record.day_from_utc_us

        assert record.day == realised(it for it in trades if it.created_utc_us >= since_us)


@given(
    st.decimals(min_value=-40, max_value=20_000, places=7),
    st.sampled_from(["0.25", "0.015625", "0.0000005", "5"]),
    st.integers(min_value=-50, max_value=50),
)
def test_what_contracts_are_worth_is_exact(price: Decimal, tick_size: str, quantity: int) -> None:
    instrument = an_instrument(tick_size=Decimal(tick_size), tick_value_micros=15_625_000)

    ticks = Fraction(price) / Fraction(instrument.tick_size)
    assert worth(instrument, price, quantity) == ticks * 15_625_000 * quantity
