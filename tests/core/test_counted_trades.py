"""The sum beside the trades is the sum of the trades, whatever is done with them."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.builders import Guard, a_trade

from backstop.core.counted_trades import CountedTrades
from backstop.core.realised import RealisedResult, realised
from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.domain.broker import BrokerTrade


@st.composite
def some_trades(draw: st.DrawFn) -> BrokerTrade:
    """Return a trade of a few numbers, so that one is often told anew."""
    return a_trade(
        trade_id=draw(st.integers(1, 6)),
        profit_and_loss_micros=draw(st.none() | st.integers(-(10**9), 10**9)),
        fees_micros=draw(st.integers(0, 10**6)),
        commissions_micros=draw(st.integers(0, 10**6)),
        voided=draw(st.booleans()),
    )


WAYS = ("set", "delete", "pop", "default", "popitem", "oldest", "update", "merge", "end", "clear")


@given(st.lists(st.tuples(st.sampled_from(WAYS), some_trades()), max_size=40))
def test_the_kept_result_is_that_of_the_trades_whatever_is_done(
    acts: list[tuple[str, BrokerTrade]],
) -> None:
    held, expected = CountedTrades(), dict[int, BrokerTrade]()
    for way, trade in acts:
        number = trade.trade_id
        match way:
            case "set":
                held[number] = expected[number] = trade
            case "delete" if number in held:
                del held[number], expected[number]
            case "pop":
                assert held.pop(number, None) == expected.pop(number, None)
            case "default":
                assert held.setdefault(number, trade) == expected.setdefault(number, trade)
            case "popitem" | "oldest" if held:
                number, _ = held.popitem(last=way == "popitem")
                del expected[number]
            case "update":
                held.update({number: trade})
                expected[number] = trade
            case "merge":
                held |= {number: trade}
                expected[number] = trade
            case "end" if number in held:
                held.move_to_end(number)
            case "clear":
                held.clear()
                expected.clear()
        assert dict(held) == expected
        assert held.result == realised(expected.values())
    assert CountedTrades(held).result == CountedTrades(held.items()).result == held.result
    assert held.copy().result == held.result


def pickled(held: CountedTrades) -> Any:
    return pickle.loads(pickle.dumps(held))  # noqa: S301 - written by itself a moment ago


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_has_the_same_result(copied: Callable[[CountedTrades], CountedTrades]) -> None:
    held = CountedTrades({7: a_trade(fees_micros=1_000_000), 8: a_trade(trade_id=8)})

    other = copied(held)

    assert (other, other.result) == (held, held.result)
    del other[7]
    assert held.result != other.result == realised((held[8],))


def test_what_is_not_held_cannot_be_taken_away() -> None:
    held = CountedTrades({7: a_trade()})

    with pytest.raises(KeyError):
        held.pop(8)
    with pytest.raises(KeyError):
        del held[8]
    held.clear()
    with pytest.raises(KeyError):
        held.popitem()

    assert held.result == RealisedResult()


@given(st.lists(some_trades(), max_size=12))
def test_a_guard_keeps_it_through_voids_and_a_checkpoint(trades: list[BrokerTrade]) -> None:
    guard = Guard().start()
    for trade in trades:
        members = {name: getattr(trade, name) for name in trade.__struct_fields__}
        guard.trade(**members)
    book = guard.book

    back = restored(decoded(encoded(captured(book))))

    assert book.trades.result == realised(book.trades.values())
    assert back.trades == book.trades
    assert back.trades.result == book.trades.result
