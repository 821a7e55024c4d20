"""What an order waits for: things under way in its contract that end within moments by themselves.

A bot that turns round sends the next order as soon as the one before is answered. Its fill may be
known some milliseconds later, and what protected the old position is then still on its way out. To
judge the order before that would refuse an exit, or take it for an entry. So it is held until what
is under way has ended. What may take long, such as a limit order that rests or a request of unknown
fate, is not waited for: the order is judged as things are.
"""

from backstop.core.book import Book
from backstop.core.fills_to_come import closes_to_come
from backstop.core.leftovers import leftovers
from backstop.core.liquidation_scope import unfinished
from backstop.core.order_month import instrument_of_order
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side

_IN_FLIGHT = frozenset(
    {OrderState.INTENDED, OrderState.SENT, OrderState.WORKING, OrderState.PARTIALLY_FILLED}
)


def has_to_wait(book: Book, request: OrderRequest, *, now_ns: int) -> bool:
    """Say whether an order is better judged in a moment; an exit of what is held never waits."""
    instrument = instrument_of_order(book, request)
    if instrument is None or not book.policy.sends:
        return False
    contract_id, side = instrument.contract_id, request.side
    view = book.position(contract_id)
    # Compared, not asked: what a bot sent is checked for its types when it is decided about.
    closes = (view.quantity > 0 and side == Side.SELL) or (view.quantity < 0 and side == Side.BUY)
    unseen = max(view.closed_unseen(now_ns), closes_to_come(book, view))
    if closes:
        exits = book.open_exits(contract_id, view.quantity) + unseen
        if request.quantity <= abs(view.quantity) - exits:
            return False
    return (
        unseen > 0
        or _is_closing(book, contract_id)
        or is_trading(book, contract_id, against=None if closes else side)
        or (book.policy.protects and next(leftovers(book, contract_id), None) is not None)
    )


def is_trading(book: Book, contract_id: str, *, against: Side | None = None) -> bool:
    """Say whether an order of ours in the contract trades just now: at the market, not done yet.

    ``against``: only one of the other side counts.
    """
    return any(
        order.intent.type is OrderType.MARKET
        and order.state in _IN_FLIGHT
        and (against is None or order.intent.side != against)
        for order in book.live_orders(contract_id)
    )


def _is_closing(book: Book, contract_id: str) -> bool:
    """Say whether the whole position is being closed for a bot: its end is proven within moments.

    A liquidation is not waited for: after it no entry passes before a person resumes.
    """
    return any(
        run.covers(contract_id) and not run.is_partial and not run.latches
        for run in unfinished(book)
    )
