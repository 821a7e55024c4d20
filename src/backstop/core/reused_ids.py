"""An order id that the venue gives to a second order.

Its counters grow, so this should never be; a restored venue might do it all the same. The tag is
our own name for an order, and stands for one order for ever: where tag and id disagree, the tag
says whose a row is. Trades carry the id alone: the first order keeps as many contracts as the venue
said it got, in the order in which their trades came, and the rest is of the second.
"""

from collections.abc import Iterable, Iterator

from backstop.core.execution_verification import with_trades
from backstop.core.order_trades import trade_ids_of, trades_of_order
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder, final_quantity, told_quantity
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.domain.commands import Severity

REUSED_IDS_KEPT = 64
"""Ids of which a person was told; one alone is already reason to stop and look."""


def other_by_tag(work: Workbench, row: BrokerOrder, holder: TrackedOrder) -> TrackedOrder | None:
    """Return the order whose tag ``row`` carries, when its id is that of ``holder``, another one.

    Only orders of our own sending: the tag and the number of a registered one are what was said.
    """
    if not row.custom_tag or row.custom_tag == holder.custom_tag or holder.registered:
        return None
    name = work.book.client_of_tag.get(row.custom_tag)
    other = None if name is None else work.book.orders.get(name)
    return None if other is None or other.registered else other


def handed_over(
    work: Workbench, row: BrokerOrder, *, holder: TrackedOrder, other: TrackedOrder
) -> bool:
    """Take the id of ``row`` from ``holder``, telling a person once; False while that one is live.

    Of two live orders under one id nothing can be told apart: then nothing is booked. A late row
    of an order that gave its id away already says nothing of the id.
    """
    book = work.book
    if other.broker_order_id == row.broker_order_id:
        return True
    book.counters.contradictions += 1
    if row.broker_order_id not in book.reused_ids:
        book.reused_ids[row.broker_order_id] = None
        if len(book.reused_ids) > REUSED_IDS_KEPT:
            del book.reused_ids[next(iter(book.reused_ids))]
        work.alert(
            Severity.CRITICAL,
            AlertCode.ORDER_ID_REUSED,
            f"The venue shows {other.client_order_id} under the id {row.broker_order_id}, which "
            f"was that of {holder.client_order_id}. Compare orders and trades with the venue's "
            "own list.",
        )
    if not holder.is_terminal:
        return False
    kept = tuple(_kept(holder, trades_of_order(book, holder)))
    work.keep(with_trades(holder, kept))
    told = trade_ids_of(book, holder)
    book.kept_trades |= {trade.trade_id: holder.client_order_id for trade in kept}
    rest = tuple(trade_id for trade_id in told if trade_id not in book.kept_trades)
    book.trades_of[row.broker_order_id] = rest
    del book.client_of_broker_id[row.broker_order_id]
    return True


def _kept(holder: TrackedOrder, trades: Iterable[BrokerTrade]) -> Iterator[BrokerTrade]:
    """Yield the trades that are of ``holder``: no clock of a venue that was restored can say it."""
    # Trades alone can have filled it: then no row has said yet how much it got.
    ended = holder.venue is not None and not holder.venue.status.is_live
    left = told_quantity(holder) if ended else final_quantity(holder)
    for trade in trades:
        if trade.voided:
            yield trade
        elif trade.quantity <= left:
            left -= trade.quantity
            yield trade
