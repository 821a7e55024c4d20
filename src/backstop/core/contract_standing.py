"""Works out what a decision needs of its own contract, and no more often than that changes.

The orders of a contract are walked when one of them, its position or its protection became another,
and not for each order that somebody asks about.
"""

from collections.abc import Iterator

from backstop.core.book import Book
from backstop.core.contract_facts import ContractFacts, RestingLimit
from backstop.core.leftovers import leftover_denials
from backstop.core.tracked_order import possible_ticks
from backstop.domain.broker import BrokerStatus
from backstop.domain.instrument import Rounding
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
    bids = _resting_limits(book, contract_id, Side.BUY)
    offers = _resting_limits(book, contract_id, Side.SELL)
    return ContractFacts(
        exits=book.open_exits(contract_id, book.position(contract_id).quantity),
        best_bid=max(bids, key=lambda it: it.ticks, default=None),
        best_offer=min(offers, key=lambda it: it.ticks, default=None),
        leftovers=leftover_denials(book, contract_id),
    )


def _resting_limits(book: Book, contract_id: str, side: Side) -> Iterator[RestingLimit]:
    """Yield each limit order on ``side`` that rests, or may rest, whoever placed it."""
    instrument = book.instruments.get(contract_id)
    if instrument is None:
        return
    meets = Rounding.DOWN if side is Side.BUY else Rounding.UP
    for order in book.live_orders(contract_id):
        intent = order.intent
        if intent.side is not side or intent.type is not OrderType.LIMIT:
            continue
        # After a change of price it may be at the old one as well as at the new one.
        for ticks in possible_ticks(order, instrument):
            price = instrument.price(ticks)
            yield RestingLimit(name=order.client_order_id, price=price, ticks=ticks)
    for row in (leg.row for leg in book.live_legs(contract_id)):
        # A leg that waits for its entry does not rest yet.
        rests = row.type is OrderType.LIMIT and row.status is not BrokerStatus.SUSPENDED
        if rests and row.side is side and row.limit_price is not None:
            yield RestingLimit(
                name=f"order {row.broker_order_id}",
                price=row.limit_price,
                ticks=instrument.rounded_ticks(row.limit_price, meets),
            )
