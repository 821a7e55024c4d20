"""An order of ours must not trade with another one of ours: the exchange forbids it.

Every limit order that rests on the other side counts: entries, targets of positions, and what
somebody else placed on the account. A stop that enters is not looked at: what rests between the
market and its level has traded before it is triggered.
"""

from backstop.core.book import Book
from backstop.core.contract_standing import facts_of
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import plain
from backstop.domain.order import OrderType, Side

_IMMEDIATE = (OrderType.MARKET, OrderType.LIMIT)


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
    facts = facts_of(book, instrument.contract_id)
    resting = facts.best_offer if side.sign > 0 else facts.best_bid
    if resting is None or (level_ticks - resting.ticks) * side.sign < 0:
        return ()
    level = instrument.price(level_ticks)
    return (
        Denial(
            code=DenialCode.SELF_TRADE,
            message=f"{side} at {plain(level)} would trade with {resting.name}, our own order at "
            f"{plain(resting.price)}; cancel that first, or close the position",
            value=str(plain(level)),
            limit=str(plain(resting.price)),
        ),
    )
