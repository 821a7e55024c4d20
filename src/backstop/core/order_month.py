"""Which month an order is about that names a root, while more than one month of it is there.

A root means the month that the gateway lists. But after a roll a bot may still hold the month
before, and its exit names the root as its entry did: in the listed month it would open a position.
"""

from backstop.core.book import Book
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderRequest, Side


def instrument_of_order(book: Book, request: OrderRequest) -> Instrument | None:
    """Return the contract that ``request`` is about; None: none goes by its symbol.

    That is the listed month of a root, and where nothing of that one is held, the month that is
    held and that the order would make smaller. Whoever names a contract id means just that.
    """
    listed = book.instrument_for(request.symbol)
    if listed is None or listed.contract_id == request.symbol:
        return listed
    if book.position(listed.contract_id).quantity:
        return listed
    # Compared, not asked: what a bot sent is checked for its types when it is decided about.
    held_sign = -1 if request.side == Side.BUY else 1
    for view in book.positions.values():
        if view.quantity * held_sign > 0:
            instrument = book.instruments.get(view.contract_id)
            if instrument is not None and instrument.symbol == listed.symbol:
                return instrument
    return listed
