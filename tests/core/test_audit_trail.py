"""Orders and trades as rows of the two audit tables."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import START_US, a_row, a_trade, an_instrument, an_intent, an_order

from backstop.core.audit_trail import fill_row, order_row, traded_order_row, venue_row
from backstop.core.book import VenueOrder
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.order import OrderState, OrderType


def test_an_order_goes_by_its_own_name_until_the_brokers_is_known() -> None:
    before = order_row(an_order(), an_instrument())
    after = order_row(an_order(OrderState.WORKING, broker_order_id=100), an_instrument())

    assert (before.order_id, before.replaces_order_id) == ("c1", None)
    assert (after.order_id, after.replaces_order_id) == ("100", "c1")
    assert (after.client_order_id, after.symbol, after.side) == ("c1", "MES", "BUY")
    assert (after.quantity, after.status, after.submitted_utc_us) == (2, "WORKING", START_US)


@pytest.mark.parametrize(
    ("intent", "fills", "price"),
    [
        ({"type": OrderType.LIMIT, "limit_ticks": 20_001}, (), "5000.25"),
        ({"type": OrderType.STOP, "stop_ticks": 20_000}, (), "5000"),
        ({}, (), None),
        ({}, (a_trade(price=Decimal("5000.25")), a_trade(trade_id=8)), "5000.125"),
    ],
)
def test_the_price_is_the_asked_level_or_the_average_fill(
    intent: dict[str, Any], fills: tuple[Any, ...], price: str | None
) -> None:
    assert order_row(an_order(intent=an_intent(**intent), fills=fills), an_instrument()).price == (
        price
    )


def test_a_proof_can_stand_in_the_row() -> None:
    row = order_row(an_order(), an_instrument(), execution_proof="{}")

    assert row.execution_proof == "{}"


@pytest.mark.parametrize(
    ("status", "filled", "word"),
    [
        (BrokerStatus.OPEN, 0, "WORKING"),
        (BrokerStatus.SUSPENDED, 0, "WORKING"),
        (BrokerStatus.OPEN, 1, "PARTIALLY_FILLED"),
        (BrokerStatus.FILLED, 2, "FILLED"),
        (BrokerStatus.FILLED, 1, "PARTIALLY_FILLED"),
        (BrokerStatus.FILLED, 0, "WORKING"),
        (BrokerStatus.CANCELLED, 1, "CANCELLED"),
        (BrokerStatus.EXPIRED, 0, "EXPIRED"),
        (BrokerStatus.REJECTED, 0, "REJECTED"),
    ],
)
def test_an_order_of_others_has_no_client_id_and_is_filled_only_by_trades(
    status: BrokerStatus, filled: int, word: str
) -> None:
    trades = (a_trade(quantity=filled), a_trade(trade_id=8, quantity=5, voided=True))
    row = venue_row(VenueOrder(row=a_row(status=status)), "MES", trades=trades)

    assert (row.order_id, row.client_order_id, row.status) == ("100", None, word)


@pytest.mark.parametrize(
    ("prices", "price"),
    [
        ({"limit_price": Decimal("5000.50")}, "5000.5"),
        ({"stop_price": Decimal("4990.00")}, "4990"),
        ({}, None),
    ],
)
def test_the_price_of_an_order_of_others_is_its_level(
    prices: dict[str, Any], price: str | None
) -> None:
    row = venue_row(VenueOrder(row=a_row(**prices)), "MES")

    assert row.price == price


FILLS = (
    a_trade(price=Decimal("5000.25")),
    a_trade(trade_id=8, quantity=3),
    a_trade(trade_id=9, price=Decimal(4000), voided=True),
)
"""One at 5000.25 and three at 5000; what was taken back does not count."""


@pytest.mark.parametrize(
    ("row", "price"),
    [
        (a_row(status=BrokerStatus.FILLED, quantity=4), "5000.0625"),
        (a_row(status=BrokerStatus.FILLED, quantity=4, type=None), "5000.0625"),
        (a_row(quantity=4, type=OrderType.LIMIT, limit_price=Decimal(5001)), "5001"),
    ],
)
def test_a_market_order_of_others_shows_its_average_fill_as_ours_do(
    row: BrokerOrder, price: str
) -> None:
    assert venue_row(VenueOrder(row=row), "MES", trades=FILLS).price == price


def test_an_order_of_which_only_trades_are_known_has_a_row_for_them() -> None:
    row = traded_order_row(FILLS[0], "MES", trades=FILLS)

    assert (row.order_id, row.quantity, row.status) == ("100", 4, "PARTIALLY_FILLED")
    assert row.price == "5000.0625"


def test_without_a_fill_that_counts_there_is_no_price() -> None:
    row = traded_order_row(FILLS[2], "MES", trades=FILLS[2:])

    assert (row.quantity, row.price) == (1, None)


def test_a_fill_keeps_its_exact_numbers() -> None:
    row = fill_row(
        a_trade(
            price=Decimal("5000.250000000"),
            fees_micros=370_000,
            commissions_micros=250_000,
            voided=True,
        )
    )

    assert (row.fill_id, row.order_id, row.fill_utc_us) == ("7", "100", START_US)
    assert (row.price, row.quantity, row.commission, row.voided) == ("5000.25", 1, "0.62", True)


def test_a_changed_order_is_recorded_as_the_venue_has_it_now() -> None:
    order = an_order(
        OrderState.WORKING,
        intent=an_intent(type=OrderType.LIMIT, limit_ticks=20_000, quantity=3),
        broker_order_id=100,
        venue=a_row(type=OrderType.LIMIT, quantity=2, limit_price=Decimal("5001.25")),
    )
    row = order_row(order, an_instrument())

    assert (row.quantity, row.price) == (2, "5001.25")
