"""Prints that nothing else confirms, and markets that run away from their touch."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.core.believed_price import FAR, Believed, believed
from backstop.domain.quote import Quote

MES = "CON.F.US.MES.Z26"


def a_quote(bid: object = 6000, ask: object = "6000.25", last: object = 6000) -> Quote:
    def price(value: object) -> Decimal | None:
        return None if value is None else Decimal(str(value))

    return Quote(contract_id=MES, bid=price(bid), ask=price(ask), last=price(last))


def after(*quotes: Quote) -> Believed:
    held = None
    for quote in quotes:
        held = believed(held, quote)
    assert held is not None
    return held


@pytest.mark.parametrize("bad", ["0", "1", "-5", "5900", "6100", "10000000"])
def test_a_print_far_from_the_touch_is_not_believed_however_often_it_is_told(bad: str) -> None:
    wrong = a_quote(last=bad)

    held = after(a_quote(), wrong, wrong, a_quote(6001, "6001.25", bad))

    assert held.price in {Decimal(6001), Decimal("6001.25")}
    assert after(a_quote(), wrong, a_quote(last="6000.25")).price == Decimal("6000.25")


def test_a_touch_far_from_the_trades_is_not_believed_either() -> None:
    held = after(a_quote(), a_quote(1, "1.25"), a_quote(1, "1.25", "5999.75"))

    assert held.price == Decimal("5999.75")


def test_a_market_that_leaves_a_touch_behind_is_believed_with_its_second_print() -> None:
    first = after(a_quote(), a_quote(last=5900))
    second = believed(first, a_quote(last=5890))
    third = believed(second, a_quote(last=5880))

    assert [it.price for it in (first, second, third)] == [6000, 5890, 5880]


def test_the_first_quote_of_all_is_held_against_its_touch() -> None:
    assert after(a_quote(last=0)).price == 6000
    assert after(a_quote(last="6000.25")).price == Decimal("6000.25")


def test_a_market_that_moves_with_its_touch_is_believed_at_once() -> None:
    assert after(a_quote(), a_quote(5000, "5000.25", 5000)).price == 5000


@pytest.mark.parametrize(("last", "price"), [(5971, 5971), (5969, 6000)])
def test_within_half_a_percent_the_last_trade_holds(last: int, price: int) -> None:
    assert Decimal(6000) / FAR == 30
    assert after(a_quote(), a_quote(last=last)).price == price


@pytest.mark.parametrize(
    "touch", [(None, 6000), (6000, None), (0, "6000.25"), (6000, 0), (6001, 6000), (None, None)]
)
def test_what_is_no_touch_contradicts_nothing(touch: tuple[object, object]) -> None:
    assert after(a_quote(), a_quote(*touch, 5000)).price == 5000


def test_without_a_trade_it_is_the_middle_of_the_touch_and_of_half_a_touch_nothing() -> None:
    assert after(a_quote(6000, "6000.50", None)).price == Decimal("6000.25")
    assert after(a_quote(6000, None, None)).price is None
    assert after(a_quote(6000, None, None), a_quote(last=1)).price == 6000


@given(
    st.lists(
        st.tuples(*[st.sampled_from([None, "-37", "0", "1", "5900", "6000", "6000.25"])] * 3),
        min_size=1,
        max_size=12,
    )
)
def test_what_is_believed_is_always_a_price_that_the_newest_quote_states(
    told: list[tuple[str | None, str | None, str | None]],
) -> None:
    quotes = [a_quote(*it) for it in told]
    newest = quotes[-1]
    price = after(*quotes).price

    if newest.last is not None:
        assert price in {newest.last, newest.bid, newest.ask}
