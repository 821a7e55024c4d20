"""An order of ours must not trade with another one of ours: the exchange forbids it.

Every limit order that rests on the other side counts: entries, targets of positions, and what
somebody else placed on the account. A stop that enters is not looked at: what rests between the
market and its level has traded before it is triggered.
"""

from collections.abc import Iterator
from decimal import Decimal

from backstop.core.book import Book
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import plain
from backstop.domain.order import OrderType, Side

_IMMEDIATE = frozenset({OrderType.MARKET, OrderType.LIMIT})


def self_trade_denials(
    book: Book, *, type_: OrderType, side: Side, level_ticks: int | None, instrument: Instrument
) -> tuple[Denial, ...]:
    """Return why an entry could trade with an order of the same account.

    Args:
        book: what rests at the venue, or may.
        type_: of the entry.
        side: of the entry.
        level_ticks: the worst price at which it may trade: its limit, or for a market order the
            touch; None when that is not known, which another rule refuses.
        instrument: the contract.
    """
    if type_ not in _IMMEDIATE or level_ticks is None or not book.policy.prevents_self_trades:
        return ()
    for name, price in _resting_limits(book, instrument, side.opposite):
        level = instrument.price(level_ticks)
        if (level - price) * side.sign >= 0:
            return (
                Denial(
                    code=DenialCode.SELF_TRADE,
                    message=f"{side} at {plain(level)} would trade with {name}, our own order at "
                    f"{plain(price)}; cancel that first, or close the position",
                    value=str(plain(level)),
                    limit=str(plain(price)),
                ),
            )
    return ()


def _resting_limits(
    book: Book, instrument: Instrument, side: Side
) -> Iterator[tuple[str, Decimal]]:
    """Yield name and price of each limit order on ``side`` that rests, or may rest."""
    for order in book.live_orders(instrument.contract_id):
        intent, row = order.intent, order.venue
        if intent.side is not side or intent.type is not OrderType.LIMIT:
            continue
        if intent.limit_ticks is None:
            continue
        asked = instrument.price(intent.limit_ticks)
        # After a change of price the venue's row says where it rests.
        price = asked if row is None or row.limit_price is None else row.limit_price
        yield order.client_order_id, price
    for row in (leg.row for leg in book.live_legs(instrument.contract_id)):
        # A leg that waits for its entry does not rest yet.
        rests = row.type is OrderType.LIMIT and row.status is not BrokerStatus.SUSPENDED
        if rests and row.side is side and row.limit_price is not None:
            yield f"order {row.broker_order_id}", row.limit_price
