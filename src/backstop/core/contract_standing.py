"""Works out what a decision needs of its own contract, and no more often than that changes.

The orders of a contract are walked when one of them, its position or its protection became another,
and not for each order that somebody asks about.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from backstop.core.book import Book
from backstop.core.contract_facts import ContractFacts, RestingLimit
from backstop.core.fills_to_come import closes_to_come
from backstop.core.leftovers import leftover_denials
from backstop.core.tracked_order import possible_ticks
from backstop.domain.broker import BrokerStatus
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.order import OrderType, Side


def facts_of(book: Book, contract_id: str) -> ContractFacts:
    """Return what holds of one contract now."""
    kept, log = book.contract_facts, book.changed
    if log.version != kept.seen or kept.policy is not book.policy:
        changed = None if kept.policy is not book.policy else log.since(kept.seen)
        if changed is None:
            kept.by_contract.clear()
        else:
            for name in changed:
                kept.by_contract.pop(name, None)
        kept.seen, kept.policy = log.version, book.policy
    facts = kept.by_contract.get(contract_id)
    if facts is None:
        facts = kept.by_contract[contract_id] = contract_facts(book, contract_id)
    return facts


def contract_facts(book: Book, contract_id: str) -> ContractFacts:
    """Work out what holds of one contract."""
    best, view = _best_limits(book, contract_id), book.position(contract_id)
    return ContractFacts(
        exits=book.open_exits(contract_id, view.quantity),
        closes_to_come=closes_to_come(book, view),
        best_bid=best.get(Side.BUY),
        best_offer=best.get(Side.SELL),
        leftovers=leftover_denials(book, contract_id),
    )


class _Level(NamedTuple):
    """A limit order at one level; ``price`` None: exactly that of ``ticks``."""

    side: Side
    ticks: int
    name: str
    price: Decimal | None = None


def _best_limits(book: Book, contract_id: str) -> dict[Side, RestingLimit]:
    """Return for each side the limit order that rests, or may rest, nearest to the market."""
    instrument = book.instruments.get(contract_id)
    if instrument is None:
        return {}
    best: dict[Side, _Level] = {}
    for level in _resting_limits(book, instrument):
        held = best.get(level.side)
        if held is None or (level.ticks - held.ticks) * level.side.sign > 0:
            best[level.side] = level
    return {
        side: RestingLimit(
            name=it.name,
            price=instrument.price(it.ticks) if it.price is None else it.price,
            ticks=it.ticks,
        )
        for side, it in best.items()
    }


def _resting_limits(book: Book, instrument: Instrument) -> Iterator[_Level]:
    """Yield each limit order that rests, or may rest, whoever placed it."""
    for order in book.live_orders(instrument.contract_id):
        intent = order.intent
        if intent.type is not OrderType.LIMIT:
            continue
        # After a change of price it may be at the old one as well as at the new one.
        for ticks in possible_ticks(order, instrument):
            yield _Level(intent.side, ticks, order.client_order_id)
    for row in (leg.row for leg in book.live_legs(instrument.contract_id)):
        # A leg that waits for its entry does not rest yet.
        rests = row.type is OrderType.LIMIT and row.status is not BrokerStatus.SUSPENDED
        if rests and row.limit_price is not None:
            meets = Rounding.DOWN if row.side is Side.BUY else Rounding.UP
            ticks = instrument.rounded_ticks(row.limit_price, meets)
            yield _Level(row.side, ticks, f"order {row.broker_order_id}", row.limit_price)
