"""Whose a position is, as far as trades tell: the venue nets everybody's into one per contract."""

from backstop.core.book import Book
from backstop.domain.broker import BrokerTrade

NOBODY = ""
"""Stands for trades of no strategy: the guard's own stops and closes, and what others traded."""


def strategy_of(book: Book, trade: BrokerTrade) -> str:
    """Return the ``strategy_id`` of the order that traded; a bracket leg is its entry's."""
    number = trade.broker_order_id
    owner = book.client_of_broker_id.get(number)
    if owner is None:
        leg = book.venue_orders.get(number)
        owner = None if leg is None else leg.owner
    order = book.orders.get(owner or "")
    return NOBODY if order is None else order.request.strategy_id or NOBODY


def share_of(book: Book, bot_id: str, contract_id: str) -> int:
    """Return the contracts of a position, signed like it, that ``bot_id`` has to answer for.

    Counted from the last moment at which the position was flat. Never more than the position and
    never its opposite: what a bot holds against others cannot be closed without enlarging theirs.
    What nobody's trade took off counts as having been the others' first: nobody looks after the
    share of a bot that is gone, and to close more of it only reduces.
    """
    position = book.position(contract_id).quantity
    if not position:
        return 0
    held = _held(book, contract_id).get(bot_id, 0)
    if held * position <= 0:
        return 0
    return held if abs(held) < abs(position) else position


def shares_of(book: Book, bot_id: str) -> tuple[tuple[str, int], ...]:
    """Return the contracts of which ``bot_id`` has a share, with the share."""
    found = ((name, share_of(book, bot_id, name)) for name in book.positions)
    return tuple((name, share) for name, share in found if share)


def shares_text(book: Book, bot_id: str) -> str:
    """Return what ``bot_id`` has to answer for, for people; empty: nothing."""
    shares = shares_of(book, bot_id)
    return ", ".join(f"{share:+d} {book.symbol_of(name)}" for name, share in shares)


def _held(book: Book, contract_id: str) -> dict[str, int]:
    """Return the signed contracts of each strategy since the position was last flat."""
    held: dict[str, int] = {}
    net = 0
    trades = [it for it in book.trades.values() if it.contract_id == contract_id and not it.voided]
    for trade in sorted(trades, key=_number):  # the venue numbers them as they happen
        signed = trade.side.sign * trade.quantity
        net += signed
        strategy = strategy_of(book, trade)
        held[strategy] = held.get(strategy, 0) + signed
        if net == 0:
            held.clear()
    return held


def _number(trade: BrokerTrade) -> int:
    return trade.trade_id
