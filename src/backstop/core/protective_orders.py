"""The working stops and targets of a position as covers, and the requests that change them.

What is asked for here is journaled and audited like every order. A request is remembered until the
venue shows its effect, so that nothing is asked for twice at once.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.book import STOP_TYPES, Book
from backstop.core.clock_readings import earliest_us
from backstop.core.protection_evidence import is_adoptable, is_target_of_bot
from backstop.core.protection_levels import level_ticks
from backstop.core.protection_plan import Cover, Cut, Origin
from backstop.core.protection_record import Change, ProtectionRecord, adopted_owner
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import CancelOrder, ModifyOrder, PlaceOrder
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import count_text
from backstop.domain.order import (
    LegRole,
    OrderIntent,
    OrderRequest,
    OrderType,
    Side,
    custom_tag,
)

NAME_PREFIX = "protect:"
"""Begins the client order ids of the orders that protect; behind it contract and number."""

MICROSECONDS_PER_SECOND = 1_000_000


# -- what works ----------------------------------------------------------------------------------


def working_stops(book: Book, record: ProtectionRecord) -> tuple[Cover, ...]:
    """Return the stops that close the position of ``record``: right side, right contract, open.

    Pending ones do not count, nor suspended legs, nor what no list of the venue shows any more.
    """
    return tuple(
        cover
        for cover, row in _covers(book, record, LegRole.STOP_LOSS)
        if row.status is BrokerStatus.OPEN and row.side.sign == -record.sign
    )


def working_targets(book: Book, record: ProtectionRecord) -> tuple[Cover, ...]:
    """Return the open targets that close the position: legs of brackets, and our own."""
    return tuple(
        cover
        for cover, row in _covers(book, record, LegRole.TAKE_PROFIT)
        if row.status is BrokerStatus.OPEN and row.side.sign == -record.sign
    )


def coming(book: Book, record: ProtectionRecord, role: LegRole) -> tuple[Cover, ...]:
    """Return our own protective orders that are on their way: sent, unknown or pending."""
    instrument = book.instruments.get(record.contract_id)
    found: list[Cover] = []
    for order in _own_orders(book, record.contract_id, role):
        row = order.venue
        works = row is not None and row.status is BrokerStatus.OPEN
        if works or order.intent.side.sign != -record.sign:
            continue
        intent = order.intent
        stop = role is LegRole.STOP_LOSS
        ticks = intent.stop_ticks if stop else intent.limit_ticks
        if row is not None:
            shown = level_ticks(row.stop_price if stop else row.limit_price, instrument)
            ticks = ticks if shown is None else shown
        found.append(
            Cover(
                broker_order_id=order.broker_order_id or 0,
                quantity=order.open_quantity,
                ticks=ticks,
                origin=Origin.OWN,
            )
        )
    return tuple(found)


def _own_orders(book: Book, contract_id: str, role: LegRole) -> Iterator[TrackedOrder]:
    return (order for order in book.live_orders(contract_id) if order.role is role)


def _covers(
    book: Book, record: ProtectionRecord, role: LegRole
) -> Iterator[tuple[Cover, BrokerOrder]]:
    stop = role is LegRole.STOP_LOSS
    for row, origin, owner, row_role in _protective_rows(book, record):
        if row_role is not role or book.is_unlisted(row.broker_order_id):
            continue
        instrument = book.instruments.get(row.contract_id)
        ticks = level_ticks(row.stop_price if stop else row.limit_price, instrument)
        filled_quantity = book.filled_of(row)
        if filled_quantity >= row.quantity:
            continue
        cover = Cover(
            broker_order_id=row.broker_order_id,
            quantity=row.quantity - filled_quantity,
            filled_quantity=filled_quantity,
            ticks=ticks,
            origin=origin,
            owner=owner,
            leaving=_leaves(book, record, row.broker_order_id),
            trails=row.type is OrderType.TRAILING_STOP,
            made_up=stop and origin is Origin.OWN and not record.asks_for_stop(ticks),
        )
        yield cover, row


def _leaves(book: Book, record: ProtectionRecord, number: int) -> bool:
    """Say whether an order is to go, or was asked to: it may be gone, whatever is still shown."""
    change = book.protection.changes.get(number)
    return number in record.replacing or (change is not None and change.quantity == 0)


def _protective_rows(
    book: Book, record: ProtectionRecord
) -> Iterator[tuple[BrokerOrder, Origin, str, LegRole | None]]:
    """Yield the live rows of a contract that protect, or could, with whose and what they are."""
    for order in book.live_orders(record.contract_id):
        row = order.venue
        if row is None or not row.status.is_live:
            continue
        if order.role is not None:
            yield row, Origin.OWN, "", order.role
        elif is_adoptable(book, row, record.sign):
            yield row, Origin.BOT, adopted_owner(row.broker_order_id), LegRole.STOP_LOSS
    for held in book.live_legs(record.contract_id):
        row = held.row
        if held.owner is not None:
            role = LegRole.STOP_LOSS if row.type in STOP_TYPES else held.role
            yield row, Origin.LEG, held.owner, role
        elif is_adoptable(book, row, record.sign):
            origin = Origin.BOT if book.policy.is_drop_copy else Origin.FOREIGN
            yield row, origin, adopted_owner(row.broker_order_id), LegRole.STOP_LOSS
        elif is_target_of_bot(book, row, record.sign):
            owner = adopted_owner(row.broker_order_id)
            yield row, Origin.BOT, owner, LegRole.TAKE_PROFIT


# -- what is asked for ---------------------------------------------------------------------------


def place_protective(
    work: Workbench,
    instrument: Instrument,
    *,
    role: LegRole,
    sign: int,
    quantity: int,
    ticks: int,
) -> TrackedOrder:
    """Place a stop or a target of our own for ``quantity`` contracts of a position of ``sign``.

    Returns:
        The order, INTENDED; its name and so its tag follow from the record and the fact that is
        being decided about, so a replay makes the same.
    """
    book = work.book
    intent = _protective_intent(
        work, instrument, role=role, sign=sign, quantity=quantity, ticks=ticks
    )
    order = TrackedOrder(
        request=_as_asked(intent, instrument),
        intent=intent,
        custom_tag=custom_tag(intent),
        role=role,
        reference_price=instrument.price(ticks),
        requested_utc_us=work.utc_us,
        venue_from_us=earliest_us(work),
    )
    book.client_of_tag[order.custom_tag] = order.client_order_id
    work.keep(order)
    work.commands.append(_place_command(order))
    return order


def _protective_intent(
    work: Workbench,
    instrument: Instrument,
    *,
    role: LegRole,
    sign: int,
    quantity: int,
    ticks: int,
) -> OrderIntent:
    stop = role is LegRole.STOP_LOSS
    return OrderIntent(
        client_order_id=_next_name(work, instrument.contract_id),
        account_id=work.book.policy.account_id,
        contract_id=instrument.contract_id,
        symbol=instrument.symbol,
        side=Side.SELL if sign > 0 else Side.BUY,
        quantity=quantity,
        type=OrderType.STOP if stop else OrderType.LIMIT,
        limit_ticks=None if stop else ticks,
        stop_ticks=ticks if stop else None,
    )


def _as_asked(intent: OrderIntent, instrument: Instrument) -> OrderRequest:
    """Return the wish that nobody had, so that the order looks like every other one."""
    limit, stop = intent.limit_ticks, intent.stop_ticks
    return OrderRequest(
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=intent.side,
        quantity=intent.quantity,
        type=intent.type,
        limit_price=None if limit is None else instrument.price(limit),
        stop_price=None if stop is None else instrument.price(stop),
    )


def _place_command(order: TrackedOrder) -> PlaceOrder:
    intent = order.intent
    return PlaceOrder(
        client_order_id=intent.client_order_id,
        custom_tag=order.custom_tag,
        account_id=intent.account_id,
        contract_id=intent.contract_id,
        type=intent.type,
        side=intent.side,
        quantity=intent.quantity,
        limit_price=order.request.limit_price,
        stop_price=order.request.stop_price,
        reduces_risk=True,
    )


def _next_name(work: Workbench, contract_id: str) -> str:
    """Return a name that was never used, also by a record that was lost: the venue keeps tags.

    The number is the UTC second, or one more than the last.
    """
    book = work.book
    while True:
        number = max(book.protection.last_number + 1, work.utc_us // MICROSECONDS_PER_SECOND)
        book.protection.last_number = number
        name = f"{NAME_PREFIX}{contract_id}:{number}"
        if name not in book.orders:
            return name


def size_after(cut: Cut) -> int:
    """Return the size that an order is to have, filled contracts included; 0: it is to end."""
    return cut.cover.filled_quantity + cut.to_quantity if cut.to_quantity else 0


def cut_order(work: Workbench, record: ProtectionRecord, cut: Cut) -> None:
    """Ask the venue to let an order close fewer contracts, or to end it."""
    book, cover = work.book, cut.cover
    size = size_after(cut)
    held = book.protection.changes.get(cover.broker_order_id)
    change = Change(contract_id=record.contract_id, quantity=size, asked_ns=work.now_ns)
    if held is not None:
        change = replace(held, quantity=size, asked_ns=work.now_ns, answer=None)
    book.protection.changes[cover.broker_order_id] = change
    reason = f"it covers {count_text(cover.quantity, 'contract')}, and needed is {cut.to_quantity}"
    work.note(
        Tag.ORDER,
        "protection_cut",
        broker_order_id=cover.broker_order_id,
        from_quantity=cover.quantity,
        to_quantity=cut.to_quantity,
    )
    account_id = book.policy.account_id
    if not cut.to_quantity:
        work.commands.append(
            CancelOrder(account_id=account_id, broker_order_id=cover.broker_order_id, reason=reason)
        )
        return
    work.commands.append(
        ModifyOrder(
            account_id=account_id,
            broker_order_id=cover.broker_order_id,
            quantity=size,
            reason=reason,
        )
    )


def move_order(
    work: Workbench,
    broker_order_id: int,
    instrument: Instrument,
    *,
    role: LegRole,
    ticks: int,
    reason: str,
) -> None:
    """Ask the venue to move the level of a working order; it goes on working meanwhile."""
    book = work.book
    stop = role is LegRole.STOP_LOSS
    held = book.protection.changes.get(broker_order_id)
    fresh = Change(contract_id=instrument.contract_id, asked_ns=work.now_ns)
    change = fresh if held is None else held
    book.protection.changes[broker_order_id] = replace(
        change,
        stop_ticks=ticks if stop else change.stop_ticks,
        target_ticks=change.target_ticks if stop else ticks,
        asked_ns=work.now_ns,
        answer=None,
    )
    price = instrument.price(ticks)
    work.commands.append(
        ModifyOrder(
            account_id=book.policy.account_id,
            broker_order_id=broker_order_id,
            stop_price=price if stop else None,
            limit_price=None if stop else price,
            reason=reason,
        )
    )
