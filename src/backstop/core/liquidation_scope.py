"""What a liquidation is about, and what of it is left: reads the book, changes nothing."""

from collections.abc import Iterator

from backstop.core.book import STOP_TYPES, Book
from backstop.core.fills_to_come import contracts_to_come, quantity_to_come
from backstop.core.liquidation import Liquidation, Remaining, RemainingKind
from backstop.core.positions import PositionView
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerOrder
from backstop.domain.commands import CancelOrder, ClosePosition
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.order import OrderState


def unfinished(book: Book) -> tuple[Liquidation, ...]:
    """Return the runs that still have something to do, oldest first."""
    return tuple(book.liquidations[name] for name in book.liquidating)


def remaining(book: Book, run: Liquidation) -> tuple[Remaining, ...]:
    """Return everything that ``run`` has still to get rid of: positions, orders, open intents."""
    if run.is_finished:
        return ()
    positions = (
        Remaining(
            kind=RemainingKind.POSITION,
            contract_id=view.contract_id,
            quantity=open_quantity(book, view),
            status=str(view.knowledge),
        )
        for view in views(book, run)
        if not _is_flat(book, view)
    )
    return (*positions, *_orders_left(book, run))


def would_send(book: Book, run: Liquidation) -> tuple[CancelOrder | ClosePosition, ...]:
    """Return what ``run`` would send if the gate were open, in its order."""
    account_id = book.policy.account_id
    closes = tuple(
        ClosePosition(
            account_id=account_id,
            contract_id=view.contract_id,
            quantity=run.quantity,
            reason=run.causes[0].text,
        )
        for view in views(book, run)
        if open_quantity(book, view)
    )
    if run.is_partial:
        return closes
    entries: list[CancelOrder] = []
    others: list[CancelOrder] = []
    for row in rows(book, run):
        cancel = CancelOrder(
            account_id=account_id,
            broker_order_id=row.broker_order_id,
            reason=run.causes[0].text,
        )
        held = open_quantity(book, book.position(row.contract_id))
        (others if held * row.side.sign < 0 else entries).append(cancel)
    return (*entries, *closes, *others)


def views(book: Book, run: Liquidation) -> Iterator[PositionView]:
    """Yield what is believed of each contract of ``run`` of which anything was ever said."""
    for contract_id, view in book.positions.items():
        if run.covers(contract_id):
            yield view


def rows(book: Book, run: Liquidation) -> Iterator[BrokerOrder]:
    """Yield the venue's row of every order that can still fill and that ``run`` has to cancel."""
    for row in book.working_rows(run.contract_id):
        if is_in_scope(book, run, row) and not book.is_unlisted(row.broker_order_id):
            yield row


def is_in_scope(book: Book, run: Liquidation, row: BrokerOrder) -> bool:
    """Say whether ``run`` has to cancel an order: a liquidation all, a close only our own."""
    if not run.covers(row.contract_id):
        return False
    if run.is_partial:
        return is_of_close(book, row)
    if run.latches or row.broker_order_id in book.client_of_broker_id:
        return True
    held = book.venue_orders.get(row.broker_order_id)
    return (held is not None and held.owner is not None) or is_of_close(book, row)


def is_of_close(book: Book, row: BrokerOrder) -> bool:
    """Say whether an order is what the venue made of our newest close request, as far as it shows.

    A close names no order: it is one without tag and parent, on the side that closes and no larger
    than what was asked for, whose number was given after the request left. What does not fill at
    once may rest as a limit order.
    """
    attempt = book.closes.get(row.contract_id)
    return (
        attempt is not None
        and row.broker_order_id > attempt.newest_order_id
        and row.side.sign * attempt.quantity < 0
        and row.quantity <= attempt.wanted
        and row.custom_tag is None
        and row.parent_order_id is None
        and row.type not in STOP_TYPES
    )


def open_quantity(book: Book, view: PositionView) -> int:
    """Return the signed contracts that any witness speaks of: to close too often harms nobody."""
    return view.quantity or view.differing or view.in_question or quantity_to_come(book, view)


def is_proven_flat(book: Book, contract_id: str) -> bool:
    """Say whether nothing of a contract is held: stops of it protect nothing any more.

    A contract that no trade, no row and no read ever named has never been held.
    """
    view = book.positions.get(contract_id)
    if view is None:
        return contract_id not in contracts_to_come(book)
    return _is_flat(book, view) and view.is_proven


def contract_for(book: Book, symbol: str) -> str | None:
    """Return the contract that ``symbol`` (a root, or a contract id) stands for when closing.

    The month that is held comes before the month that new orders go to, and a contract that is
    held is known by its id even where the gateway no longer lists it.
    """
    active = book.contract_of.get(symbol, symbol)
    held = [view.contract_id for view in book.positions.values() if open_quantity(book, view)]
    if active in held:
        return active
    for contract_id in held:
        instrument = book.instruments.get(contract_id)
        if instrument is not None and instrument.symbol == symbol:
            return contract_id
    return active if active in book.instruments or active in book.positions else None


def closing_denials(book: Book, contract_id: str) -> tuple[Denial, ...]:
    """Return why no entry may go into a contract while all of its position is being closed."""
    if not book.liquidating:
        return ()
    run = next(
        (it for it in unfinished(book) if it.covers(contract_id) and not it.is_partial), None
    )
    if run is None:
        return ()
    return (
        Denial(
            code=DenialCode.POSITION_CLOSING,
            message=f"{run.liquidation_id} is closing {contract_id}; an entry would be closed too",
            value=run.liquidation_id,
        ),
    )


def _is_flat(book: Book, view: PositionView) -> bool:
    nothing_held = not view.quantity and not view.ledger and view.is_settled
    return nothing_held and not quantity_to_come(book, view)


def _orders_left(book: Book, run: Liquidation) -> Iterator[Remaining]:
    if not run.is_partial:
        for order in book.live_orders():
            if _holds_up(run, order) and not _is_shown(book, order):
                yield Remaining(
                    kind=RemainingKind.INTENT,
                    contract_id=order.intent.contract_id,
                    quantity=order.open_quantity,
                    status=str(order.state),
                    side=order.intent.side,
                    broker_order_id=order.broker_order_id,
                    client_order_id=order.client_order_id,
                )
    for row in rows(book, run):
        yield Remaining(
            kind=RemainingKind.ORDER,
            contract_id=row.contract_id,
            quantity=row.quantity - row.filled_quantity,
            status=str(row.status),
            side=row.side,
            broker_order_id=row.broker_order_id,
            client_order_id=book.client_of_broker_id.get(row.broker_order_id),
        )


def _holds_up(run: Liquidation, order: TrackedOrder) -> bool:
    """Say whether ``run`` is not over before the fate of ``order`` is known.

    A liquidation waits for every intent. A close does not wait for a stop or target of ours of
    unknown fate: what it was to protect is gone, it cannot hold up what is flat, and if it comes to
    light it leaves like every leftover. Until then no entry is let into its contract.
    """
    if not run.covers(order.intent.contract_id):
        return False
    return run.latches or order.role is None or order.state is not OrderState.UNKNOWN


def _is_shown(book: Book, order: TrackedOrder) -> bool:
    """Say whether a row of the venue says where an order stands, or will never say it.

    Without one it may be anywhere; one that ended still lacks trades that have to come.
    """
    if order.broker_order_id is not None and book.is_unlisted(order.broker_order_id):
        return True
    return order.venue is not None and order.venue.status.is_live
