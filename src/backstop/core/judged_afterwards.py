"""An order that was sent without asking is judged as if it had asked, and found out of limits.

The book knows it already, and perhaps its fills: it is judged as it would have been without them.
What could not be known of it then, or is a fault of ours, is no finding: the gate, what is stale
here, the shape of an order that the venue has taken.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from backstop.core.awaited_fills import evident_quantity
from backstop.core.book import Book
from backstop.core.drop_copy_record import SeenOrder
from backstop.core.expected_closes import counted_trades
from backstop.core.pre_trade import judge, remember_entry
from backstop.domain.broker import BrokerOrder
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import OrderRequested
from backstop.domain.order import LegRole, OrderRequest, OrderType, leg_of
from backstop.domain.quote import Mark, Quote

NO_FINDINGS = frozenset(
    {
        DenialCode.STATE_STARTING,
        DenialCode.STATE_RECOVERING,
        DenialCode.STATE_UNPROTECTED,
        DenialCode.MODE_DROP_COPY,
        DenialCode.QUANTITY_INVALID,
        DenialCode.PRICE_MISSING,
        DenialCode.PRICE_UNEXPECTED,
        DenialCode.PRICE_INVALID,
        DenialCode.BRACKET_STOP_SIDE,
        DenialCode.BRACKET_TARGET_SIDE,
        DenialCode.BRACKET_TOO_CLOSE,
        DenialCode.STOP_REQUIRED,  # a position that has none in time is a finding of its own
        DenialCode.PROTECTION_LEFTOVER,
        DenialCode.POSITION_IN_QUESTION,
        DenialCode.SESSION_UNKNOWN,
        DenialCode.STALE_REFERENCE,
        DenialCode.STALE_ACCOUNT,
        DenialCode.STALE_VALUATION,
        DenialCode.CLOCK_OFFSET,
        DenialCode.RATE_BUDGET_LOW,
    }
)
"""What says nothing against an order that the venue has taken."""

OF_ITS_LOSS = frozenset({DenialCode.DAILY_LOSS_BUFFER, DenialCode.MAX_LOSS_BUFFER})
"""What depends on the stop: a bot may send its stop as an order of its own, a moment later."""

OF_ITS_COMING = frozenset(
    {DenialCode.DUPLICATE_ORDER, DenialCode.RATE_TOO_HIGH, DenialCode.REPEATED_EXECUTION}
)
"""What is said of an order when it comes, and not when it is changed."""


NEVER = 1 << 63
"""Above every number of a trade."""


def name_of(number: int) -> str:
    """Return what an order of somebody else is called among the names of orders."""
    return f"venue:{number}"


def findings(
    book: Book, row: BrokerOrder, seen: SeenOrder, *, unjudged: Iterable[int]
) -> tuple[Denial, ...]:
    """Return what would have refused an order, had it asked; an exit is refused by nothing.

    Args:
        book: what is known by now; it is the same again afterwards.
        row: the order as the venue shows it.
        seen: when it came, and its market then.
        unjudged: orders that came with it or later, itself included: none of them was there then.
    """
    with _without(book, unjudged):
        if _was_exit(book, row):
            return ()
        request = _as_request(book, row)
        wish = OrderRequested(
            utc_us=min(seen.seen_utc_us, row.created_utc_us or seen.seen_utc_us)
            if seen.reference is None
            else seen.seen_utc_us,
            request=request,
            reference=seen.reference or _market_of_its_fills(book, row, request),
            marks=_marks(book, row, request),
        )
        assessment = judge(book, wish, now_ns=seen.seen_ns)
        if assessment is None:
            return (_unlisted(row),)
        dropped = NO_FINDINGS | (OF_ITS_COMING if seen.is_changed else frozenset())
        if assessment.intent.stop_loss_ticks is None:
            dropped |= OF_ITS_LOSS
        if not _is_latched(book, row.contract_id):
            dropped |= {DenialCode.STATE_REDUCING}
        if seen.reference is None:
            dropped |= {DenialCode.PRICE_COLLAR}
    if not seen.is_changed:
        remember_entry(book, request, seen.seen_ns)
    return tuple(it for it in assessment.denials if it.code not in dropped)


def _was_exit(book: Book, row: BrokerOrder) -> bool:
    """Say whether it could only close what was held, whatever else would have closed it too."""
    view = book.position(row.contract_id)
    held = (*view.possible, evident_quantity(book, view))
    return row.quantity <= max(-it * row.side.sign for it in held)


def _is_latched(book: Book, contract_id: str) -> bool:
    """Say whether a person has to look first: a condition is a trouble of ours, not the bot's."""
    return any(it.binds(contract_id) for it in book.latches)


def _unlisted(row: BrokerOrder) -> Denial:
    return Denial(
        code=DenialCode.INSTRUMENT_NOT_ALLOWED,
        message=f"the gateway lists no contract {row.contract_id}",
        value=row.contract_id,
    )


# -- as it was without it ------------------------------------------------------------------------


@contextmanager
def _without(book: Book, numbers: Iterable[int]) -> Iterator[None]:
    """Let the book be for a moment as if some orders of others, and their fills, were not there."""
    rows = {number: book.venue_orders[number] for number in numbers if number in book.venue_orders}
    rows |= {
        leg.row.broker_order_id: leg
        for entry in tuple(rows.values())
        for leg in book.live_legs(entry.row.contract_id)
        if leg_role(leg.row, entry.row) is not None
    }
    views = {it.row.contract_id: book.position(it.row.contract_id) for it in rows.values()}
    moved = dict.fromkeys(views, 0)
    awaited = book.protection.awaited
    to_come = {number: awaited.pop(number) for number in rows if number in awaited}
    first: dict[str, int] = {}  # contract -> the oldest trade of those orders
    for number, held in rows.items():
        # All that was ordered counts as filled: so nothing of it could fill any more.
        done = replace(held, row=replace(held.row, filled_quantity=held.row.quantity))
        book.venue_orders[number] = done
        fills = (trade.trade_id for trade in counted_trades(book, number))
        contract_id = held.row.contract_id
        first[contract_id] = min((*fills, first.get(contract_id, NEVER)))
    for trade in book.trades.values():
        # What was traded after it, to close it again for one, was not there then either.
        if not trade.voided and trade.trade_id >= first.get(trade.contract_id, NEVER):
            moved[trade.contract_id] += trade.side.sign * trade.quantity
    for contract_id, signed in moved.items():
        view = views[contract_id]
        if signed:
            book.positions[contract_id] = replace(
                view, quantity=view.quantity - signed, traded=view.traded - signed
            )
        book.changed.note(contract_id)
    try:
        yield
    finally:
        for number, held in rows.items():
            book.venue_orders[number] = held
        awaited.update(to_come)
        for contract_id, signed in moved.items():
            if signed:
                book.positions[contract_id] = views[contract_id]
            book.changed.note(contract_id)


# -- the wish that it never was ------------------------------------------------------------------


def _as_request(book: Book, row: BrokerOrder) -> OrderRequest:
    """Return an order of the venue as a wish, with the stop and the target of its bracket."""
    legs = {
        role: held.row
        for held in book.live_legs(row.contract_id)
        if (role := leg_role(held.row, row)) is not None
    }
    stop, target = legs.get(LegRole.STOP_LOSS), legs.get(LegRole.TAKE_PROFIT)
    kind = OrderType.MARKET
    if row.limit_price is not None and row.type not in {OrderType.STOP, OrderType.TRAILING_STOP}:
        kind = OrderType.LIMIT
    elif row.stop_price is not None:
        kind = OrderType.STOP
    return OrderRequest(
        client_order_id=name_of(row.broker_order_id),
        symbol=row.contract_id,
        side=row.side,
        quantity=row.quantity,
        type=kind,
        limit_price=row.limit_price if kind is OrderType.LIMIT else None,
        stop_price=row.stop_price if kind is OrderType.STOP else None,
        stop_loss_price=None if stop is None else stop.stop_price,
        take_profit_price=None if target is None else target.limit_price,
    )


def leg_role(leg: BrokerOrder, entry: BrokerOrder) -> LegRole | None:
    """Return what ``leg`` is to ``entry``; None: it belongs to another one."""
    named = leg_of(leg.custom_tag)
    of_tag = named is not None and bool(entry.custom_tag) and named[0] == entry.custom_tag
    if not of_tag and leg.parent_order_id != entry.broker_order_id:
        return None
    if named is not None:
        return named[1]
    return LegRole.TAKE_PROFIT if leg.type is OrderType.LIMIT else LegRole.STOP_LOSS


def _market_of_its_fills(book: Book, row: BrokerOrder, request: OrderRequest) -> Quote | None:
    """Return the market that a market order met, by what it was filled at."""
    fills = tuple(counted_trades(book, row.broker_order_id))
    if request.type is not OrderType.MARKET or not fills:
        return None
    price = fills[0].price
    return Quote(contract_id=row.contract_id, bid=price, ask=price, last=price)


def _marks(book: Book, row: BrokerOrder, request: OrderRequest) -> tuple[Mark, ...]:
    """Return the prices that it is judged by; its own where nobody quoted its contract."""
    noted = () if book.drop_copy.market is None else book.drop_copy.market.marks
    if any(it.contract_id == row.contract_id for it in noted):
        return noted
    own = request.limit_price or request.stop_price
    if own is None:
        fill = next(counted_trades(book, row.broker_order_id), None)
        own = None if fill is None else fill.price
    return noted if own is None else (*noted, Mark(contract_id=row.contract_id, price=own))
