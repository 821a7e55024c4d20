"""The broker's lists lag behind its stream: what the guard has proof of is shown all the same."""

from decimal import Decimal

from backstop.adapters.projectx.wire import TradeRow
from backstop.entrypoints.gateway.held_rows import completed


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
