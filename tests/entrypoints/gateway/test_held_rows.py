"""The broker's lists lag behind its stream: what the guard has proof of is shown all the same."""

from decimal import Decimal

from tests.core.builders import START_US, Guard

from backstop.adapters.projectx.wire import TradeRow
from backstop.entrypoints.gateway.held_rows import (
    completed,
    orders_held,
    orders_proven,
    trades_held,
    trades_proven,
)


def a_trade(number: int, price: int = 5) -> TradeRow:
    return TradeRow(
        id=number,
        account_id=1,
        contract_id="MES",
        creation_timestamp="2026-03-11T14:00:00+00:00",
        price=Decimal(price),
        side=0,
        size=1,
        order_id=9,
    )


def test_a_list_that_lacks_nothing_stays_what_the_broker_answered() -> None:
    rows = [a_trade(3), a_trade(2)]
    assert completed(rows, {2: a_trade(2), 3: a_trade(3)}, newest_first=True) is rows


def test_what_is_held_and_not_listed_yet_takes_its_place() -> None:
    held = {it: a_trade(it) for it in (2, 4)}
    numbers = [row.id for row in completed([a_trade(3), a_trade(1)], held, newest_first=True)]
    assert numbers == [4, 3, 2, 1]
    assert [row.id for row in completed([], held, newest_first=False)] == [2, 4]


def test_what_the_broker_shows_stays_as_it_shows_it() -> None:
    (_, listed) = completed(
        [a_trade(1, price=7)], {1: a_trade(1), 2: a_trade(2)}, newest_first=True
    )
    assert listed.price == 7


def test_only_what_the_broker_does_not_show_becomes_a_row() -> None:
    """A bot that polls gets thousands of rows on a long day, and holds the guard up with each."""
    guard = Guard().start()
    for number in (1, 2):
        guard.row(broker_order_id=number, custom_tag=None)
        guard.trade(trade_id=10 + number, broker_order_id=number, created_utc_us=START_US)
    book = guard.book

    assert {number for number, _ in orders_proven(book, None, None)} == {1, 2}
    assert {number for number, _ in trades_proven(book, None, None)} == {11, 12}
    assert set(orders_held(book, None, None, shown={1})) == {2}
    assert set(trades_held(book, None, None, shown={11})) == {12}
    assert list(trades_proven(book, START_US + 1, None)) == []
