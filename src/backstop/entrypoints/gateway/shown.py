"""What bots see of orders: the broker's rows, under the tags that their senders gave.

At the broker every order of the guard goes by a tag of the guard's own. A bot knows its order by
the tag that it sent, which is the order's client order id here. So a tag is shown as the broker has
it, unless it is one of ours for an order that somebody asked for; legs are named after their entry.
"""

from backstop.adapters.projectx.wire import OrderRow
from backstop.adapters.projectx.wire_rows import order_row
from backstop.core.book import Book
from backstop.core.protective_orders import NAME_PREFIX
from backstop.domain.broker import BrokerOrder
from backstop.domain.order import LEG_SUFFIXES, leg_of

UNTAGGED_PREFIX = "untagged:"
"""Begins the client order id of an order that a bot placed without a tag."""

OUR_NAMES = (UNTAGGED_PREFIX, NAME_PREFIX)
"""Beginnings of client order ids that are no bot's tag, and that none may use."""

_SUFFIX_OF = {role: suffix for suffix, role in LEG_SUFFIXES.items()}


def shown_tag(book: Book, broker_tag: str | None) -> str | None:
    """Return the tag that bots see for an order that the broker shows under ``broker_tag``."""
    if broker_tag is None:
        return None
    name = book.client_of_tag.get(broker_tag)
    if name is not None:
        return _tag_of(book, name, broker_tag)
    leg = leg_of(broker_tag)
    owner = None if leg is None else book.client_of_tag.get(leg[0])
    if leg is None or owner is None:
        return broker_tag
    tag = _tag_of(book, owner, leg[0])
    return None if tag is None else tag + _SUFFIX_OF[leg[1]]


def shown_order(book: Book, order: BrokerOrder) -> OrderRow:
    """Return the row of ``order`` as bots see it."""
    row = order_row(order)
    row.custom_tag = shown_tag(book, order.custom_tag)
    return row


def past_tag(name: str, broker_tag: str, *, own: bool) -> str | None:
    """Return the tag of an order with the client order id ``name``.

    ``own``: the guard placed it for itself, so it is nobody's, or its sender sent it to the broker
    under a tag of the sender's: both stay under the tag that the broker has.
    """
    if name.startswith(UNTAGGED_PREFIX):
        return None
    return broker_tag if own else name


def _tag_of(book: Book, name: str, broker_tag: str) -> str | None:
    """Return the tag of an order that goes by the client order id ``name``."""
    order = book.orders.get(name)
    own = order is not None and (order.role is not None or order.registered)
    return past_tag(name, broker_tag, own=own)
