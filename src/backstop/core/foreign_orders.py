"""Orders of others that work at the venue, and the programs that they come from.

Each is told to a person once and counts in the exposure. It stays, unless it could turn a position
around. Programs mark their orders with tags of their own: several in a short time are a second
trader on the account, with whom nothing was agreed.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.book import CANCEL_AGAIN_NS, STOP_TYPES, Book, VenueOrder, Wake
from backstop.core.clock_readings import now_us
from backstop.core.external_record import TaggedOrder, WorkingForeign
from backstop.core.lifecycle import MACHINE, latched
from backstop.core.protection_evidence import is_target_of_bot
from backstop.core.step import Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import CancelOrder, Severity
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.numbers import count_text, plain
from backstop.domain.order import TAG_PREFIX

CANCEL_DOUBLINGS_MAX = 5
"""Pauses between the cancels of one order double up to a minute: the venue counts our calls."""

CANCELS_UNTIL_TOLD = 4
"""Cancels without effect after which a person is told."""

SECOND_TRADER_ORDERS = 3
SECOND_TRADER_WINDOW_US = 3600 * 1_000_000
"""So many orders of one program within an hour are no accident."""

TAGGED_KEPT = 64
"""Orders of other programs that are remembered for the count; the newest ones."""

PREFIX_SEPARATORS = "-:_"
PREFIX_LENGTH = 8
"""What a tag begins with names its program: up to a separator, else this many characters."""

PREFIX_SHOWN = 32
"""Characters of a prefix that are shown and compared; tags can be long."""


def row_found(work: Workbench, number: int) -> None:
    """Take note of the row of an order that was found to be of somebody else."""
    record, held = work.book.external, work.book.venue_orders.get(number)
    if held is None or number in record.working:
        return
    watched = work.book.policy.is_drop_copy  # then others are the normal case
    if not watched:
        _count_program(work, held.row)
    if held.row.status.is_live:
        record.working[number] = WorkingForeign(due_ns=work.now_ns, seen_ns=work.now_ns)
        if not watched:
            _tell_working(work, held.row)


def tag_words(book: Book, tag: str | None) -> str:
    """Return a tag for people, with what it says about where an order came from."""
    if not tag:
        return "without a tag: by hand, or by the platform"
    if tag in book.client_of_tag:
        return f"tag {tag}: that of order {book.client_of_tag[tag]}, which is another order"
    if tag.startswith(TAG_PREFIX):
        return (
            f"tag {tag}: a tag of Backstop's that this record does not know; was the state folder "
            "lost, or does another guard trade this account?"
        )
    return f"tag {tag}"


def prefix_of(tag: str) -> str:
    """Return what names the program in a tag: all up to the first separator."""
    places = [place for place in (tag.find(it) for it in PREFIX_SEPARATORS) if place > 0]
    return tag[: min(places, default=PREFIX_LENGTH)][:PREFIX_SHOWN]


# -- a second trader -----------------------------------------------------------------------------


def _count_program(work: Workbench, row: BrokerOrder) -> None:
    record, tag = work.book.external, row.custom_tag
    if not tag or row.is_leg:
        return
    created_us = row.created_utc_us or now_us(work)
    begins_us = max(now_us(work) - SECOND_TRADER_WINDOW_US, record.guarding_since_utc_us)
    number, prefix = row.broker_order_id, prefix_of(tag)
    if created_us < begins_us or any(it.broker_order_id == number for it in record.tagged):
        return
    recent = (it for it in record.tagged if it.created_utc_us >= begins_us)
    newest = TaggedOrder(broker_order_id=number, prefix=prefix, created_utc_us=created_us)
    record.tagged = (*recent, newest)[-TAGGED_KEPT:]
    count = sum(it.prefix == prefix for it in record.tagged)
    if count < SECOND_TRADER_ORDERS:
        return
    latch = Latch(
        kind=LatchKind.EXTERNAL,
        cause=f"second trader suspected: orders tagged {prefix}",
        operator=MACHINE,
        utc_us=work.utc_us,
    )
    if latched(work, latch):
        work.alert(
            Severity.CRITICAL,
            AlertCode.SECOND_TRADER,
            f"{count} orders within an hour carry tags that begin with {prefix} "
            f"(the newest: {tag_words(work.book, tag)}): another program trades this account. "
            "Entries are frozen until a person resumes with a name and a reason.",
        )


# -- working orders ------------------------------------------------------------------------------


def _tell_working(work: Workbench, row: BrokerOrder) -> None:
    level = row.limit_price if row.limit_price is not None else row.stop_price
    at = "" if level is None else f" at {plain(level):f}"
    work.alert(
        Severity.WARNING,
        AlertCode.EXTERNAL_ORDER,
        f"{row.side} {row.quantity} {work.book.symbol_of(row.contract_id)} "
        f"{row.type or 'of an unknown type'}{at} works at the venue as order "
        f"{row.broker_order_id} ({tag_words(work.book, row.custom_tag)}) and is not Backstop's. "
        "It counts in the exposure and stays, unless it could turn the position around.",
    )


def watch_foreign_orders(work: Workbench) -> None:
    """Cancel what could turn a position around; it is asked for again while it has no effect."""
    book, working = work.book, work.book.external.working
    if not working:
        return
    for number in list(working):
        held = book.venue_orders.get(number)
        if number not in book.live_venue or held is None or held.owner is not None:
            del working[number]
    policy = book.policy
    if not policy.sends or policy.external_position_policy is ExternalPositionPolicy.ALERT:
        return
    for held in _while_it_lasts(work, tuple(_that_could_flip(book))):
        position = book.position(held.row.contract_id).quantity
        cancel_foreign(
            work,
            held.row,
            reason="it is not Backstop's and could turn the position around",
            why=f"could turn the position of {position:+d} around",
        )
        book.wake(Wake.EXTERNAL, working[held.row.broker_order_id].due_ns)


def _while_it_lasts(work: Workbench, found: tuple[VenueOrder, ...]) -> Iterator[VenueOrder]:
    """Yield what could turn a position around; of a bot's own orders, when it has lasted.

    Who trades by itself puts one exit in the place of another, and for a moment both are there.
    """
    book, overlaps = work.book, work.book.drop_copy.overlaps
    if not book.policy.is_drop_copy:
        yield from found
        return
    contracts = dict.fromkeys(it.row.contract_id for it in found)
    for contract_id in tuple(overlaps):
        if contract_id not in contracts:
            del overlaps[contract_id]
    for held in found:
        since_ns = overlaps.setdefault(held.row.contract_id, work.now_ns)
        due_ns = since_ns + book.policy.bot_grace_ns
        if work.now_ns >= due_ns:
            yield held
        else:
            book.wake(Wake.EXTERNAL, due_ns)


def _that_could_flip(book: Book) -> Iterator[VenueOrder]:
    """Yield orders, the newest first, until the exits that are left cannot exceed the position."""
    exits: dict[str, int] = {}  # contracts of each position that all exits together would close
    for number in sorted(book.external.working, reverse=True):
        held = book.venue_orders[number]
        row = held.row
        contract_id, position = row.contract_id, book.position(row.contract_id).quantity
        if position * row.side.sign >= 0 or row.status is BrokerStatus.SUSPENDED:
            continue  # a suspended leg begins to work only when its own entry has filled
        if is_target_of_bot(book, row, 1 if position > 0 else -1):
            continue  # it is cut to the position
        open_quantity = row.quantity - row.filled_quantity
        if row.type in STOP_TYPES:
            if open_quantity > abs(position) and not _is_needed(book, row, position):
                yield held
            continue
        if contract_id not in exits:
            exits[contract_id] = book.open_exits(contract_id, position)
        if exits[contract_id] > abs(position):
            exits[contract_id] -= open_quantity
            yield held


def _is_needed(book: Book, row: BrokerOrder, position: int) -> bool:
    """Say whether the position would be naked without this stop: too much cover is the less bad."""
    others = sum(
        stop.quantity - book.filled_of(stop)
        for stop in book.working_stops(row.contract_id, position)
        # What the newest list lacks may be gone already.
        if stop.broker_order_id != row.broker_order_id and not book.is_missing(stop.broker_order_id)
    )
    return others < abs(position)


def cancel_foreign(work: Workbench, row: BrokerOrder, *, reason: str, why: str) -> None:
    """Cancel an order of somebody else, again when its time has come; ``why`` is for people.

    ``reason`` goes on record with the request.
    """
    book, number = work.book, row.broker_order_id
    if work.now_ns < book.external.working[number].due_ns:
        return
    cancels = book.external.working[number].cancels
    pause_ns = CANCEL_AGAIN_NS << min(cancels, CANCEL_DOUBLINGS_MAX)
    book.external.working[number] = replace(
        book.external.working[number], cancels=cancels + 1, due_ns=work.now_ns + pause_ns
    )
    book.cancel_asked_ns[number] = work.now_ns
    work.commands.append(
        CancelOrder(account_id=row.account_id, broker_order_id=number, reason=reason)
    )
    if cancels not in {0, CANCELS_UNTIL_TOLD}:
        return
    stays = f"still works after {cancels} cancels" if cancels else "is being cancelled"
    work.alert(
        Severity.CRITICAL if cancels else Severity.WARNING,
        AlertCode.EXTERNAL_ORDER_STAYS if cancels else AlertCode.EXTERNAL_ORDER_CANCELLED,
        f"{_order_words(book, row)}, {why}; it {stays}.",
    )


def cut_foreign(work: Workbench, broker_order_id: int, *, to_quantity: int) -> bool:
    """Tell that a stop of somebody else is one too many; cancel it where it is known as theirs.

    Returns:
        False: the caller has still to ask for its cut.
    """
    book, held = work.book, work.book.venue_orders.get(broker_order_id)
    if held is None:
        return False
    position = book.position(held.row.contract_id).quantity
    why = (
        f"is more than the position of {position:+d} needs beside the stops that it has, and could "
        "turn it around"
    )
    if broker_order_id in book.external.working and not to_quantity:
        cancel_foreign(work, held.row, reason="the position has its stops", why=why)
        book.wake(Wake.PROTECTION, book.external.working[broker_order_id].due_ns)
        return True
    if broker_order_id not in book.cancel_asked_ns:
        act = f"cut to {count_text(to_quantity, 'contract')}" if to_quantity else "cancelled"
        work.alert(
            Severity.WARNING,
            AlertCode.EXTERNAL_ORDER_CANCELLED,
            f"{_order_words(book, held.row)}, {why}; it is being {act}.",
        )
    return False


def _order_words(book: Book, row: BrokerOrder) -> str:
    return (
        f"Order {row.broker_order_id} ({tag_words(book, row.custom_tag)}), {row.side} "
        f"{row.quantity} {book.symbol_of(row.contract_id)}"
    )
