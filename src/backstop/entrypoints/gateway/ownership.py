"""Whose an order is that a bot names by the broker's id: its own, another's, or nobody's."""

from typing import Protocol

from msgspec import Struct

from backstop.app.order_records import OrderRecords
from backstop.core.book import Book, VenueOrder
from backstop.core.tracked_order import TrackedOrder, final_quantity
from backstop.domain.order import OrderType
from backstop.errors import JournalError


class Records(Protocol):
    """What is known of orders."""

    @property
    def book(self) -> Book:
        """Everything the guard knows."""

    @property
    def order_records(self) -> OrderRecords:
        """Orders by their names, also finished ones that the book has let go of."""


class Addressed(Struct, frozen=True, kw_only=True):
    """An order that a broker id names.

    Attributes:
        owner: the bot that asked for it, or for the entry that it is a leg of; None: no bot.
        whose: the same for people.
        client_order_id: what the guard calls it; None for a leg, which has only the broker's id.
        type: how it meets the market; None: in a way that the guard never uses.
        quantity: contracts of the whole order.
        is_live: it can still fill.
    """

    owner: str | None
    whose: str
    client_order_id: str | None
    type: OrderType | None
    quantity: int
    is_live: bool


async def addressed(records: Records, broker_order_id: int) -> Addressed | None:
    """Return the order with the number ``broker_order_id``; None: nobody ever heard of it."""
    book = records.book
    leg = book.venue_orders.get(broker_order_id)
    if leg is not None:
        return await _leg(records, leg)
    try:
        order = await records.order_records.named(str(broker_order_id))
    except JournalError:
        return None
    if order is None or order.broker_order_id != broker_order_id:
        return None  # a number may be somebody's name for an order, too
    owner = None if order.role is not None else order.request.strategy_id
    return Addressed(
        owner=owner,
        whose=_whose(
            owner, "a protective order of the guard" if order.role else "a person's order"
        ),
        client_order_id=order.client_order_id,
        type=order.intent.type,
        quantity=final_quantity(order),
        is_live=not order.is_terminal,
    )


async def _leg(records: Records, leg: VenueOrder) -> Addressed:
    entry = None if leg.owner is None else await _entry(records, leg.owner)
    owner = None if entry is None else entry.request.strategy_id
    return Addressed(
        owner=owner,
        whose=_whose(owner, "placed by somebody else"),
        client_order_id=None,
        type=leg.row.type,
        quantity=leg.row.quantity,
        is_live=leg.row.status.is_live,
    )


async def _entry(records: Records, name: str) -> TrackedOrder | None:
    held = records.book.orders.get(name)
    if held is not None:
        return held
    try:
        return await records.order_records.named(name)
    except JournalError:
        return None


def _whose(owner: str | None, otherwise: str) -> str:
    return otherwise if owner is None else f"an order of {owner}"
