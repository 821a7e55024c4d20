"""Follows the moves of resting orders: asked for, answered, shown, read. Rules: ``order_moves``."""

from collections.abc import Set as AbstractSet
from decimal import Decimal

from msgspec.structs import replace

from backstop.core import order_moves
from backstop.core.order_moves import OrderMoves
from backstop.core.reference_levels import level_shown
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.events import ModifyAnswered


def move_asked(work: Workbench, order: TrackedOrder, price: Decimal) -> None:
    """Count ``order`` at ``price`` as well, from now on."""
    _keep(work, order, order_moves.asked(order.moves, price))


def move_answered(work: Workbench, event: ModifyAnswered) -> None:
    """Take what came back for one move."""
    order = work.book.orders.get(work.book.client_of_broker_id.get(event.broker_order_id, ""))
    if order is not None:
        moves = order_moves.answered(order.moves, event.answer, now_ns=work.now_ns)
        _keep(work, order, moves)
        row_shown(work, order.client_order_id)


def row_shown(work: Workbench, client_order_id: str) -> None:
    """Hold the venue's row against the moves that are open."""
    order = work.book.orders[client_order_id]
    if order.moves.low is not None and order.venue is not None:
        price = level_shown(order.venue, order.intent.type)
        _keep(work, order, order_moves.shown(order.moves, price))


def orders_read(work: Workbench, listed: AbstractSet[int], *, sent_ns: int) -> None:
    """Believe a complete list of live orders, sent at ``sent_ns``, about where they stand."""
    for order in list(work.book.live_orders()):
        if order.moves.low is not None and order.broker_order_id in listed:
            _keep(work, order, order_moves.read(order.moves, sent_ns=sent_ns))


def moves_restarted(work: Workbench) -> None:
    """Wait anew for the proof of what an earlier process asked for."""
    for order in list(work.book.live_orders()):
        _keep(work, order, order_moves.restarted(order.moves, now_ns=work.now_ns))


def _keep(work: Workbench, order: TrackedOrder, moves: OrderMoves) -> None:
    if moves is not order.moves:
        work.keep(replace(order, moves=moves))
