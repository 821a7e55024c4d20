"""What evidence of every kind leads to: a step of an order, a look-up, a read, a contradiction.

Order rows, trades and positions are booked in ``order_evidence``, ``trade_evidence`` and
``position_evidence``, whichever way they came.
"""

from backstop.core import positions
from backstop.core.book import AUDIT_INTERVAL_NS, Book, VenueOrder
from backstop.core.clock_readings import search_from_us
from backstop.core.execution_verification import Ask, OrderStep, along, misregistered, on_time
from backstop.core.reference_levels import LevelHistory, with_row
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder, newer_row
from backstop.core.unowned_fills import number_that_may_be
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import LookUpOrder, Severity
from backstop.domain.order import LegRole, OrderType, leg_of

LOOKS_FIRST = 2
"""Looks at one order in its present state, after which the next ones are repeats: by then reads of
the account have been made as well, and show the order if it is there."""


def apply_order_step(work: Workbench, step: OrderStep) -> None:
    """Put the order of ``step`` into the book and ask what it asks."""
    order = step.order
    before = work.book.orders.get(order.client_order_id)
    work.keep(order)
    if order.broker_order_id is not None and (
        before is None or before.broker_order_id != order.broker_order_id
    ):
        _claim_legs(work, order.broker_order_id)
    match step.ask:
        case Ask.LOOK_UP:
            work.commands.append(
                LookUpOrder(
                    client_order_id=order.client_order_id,
                    custom_tag=order.custom_tag,
                    account_id=order.intent.account_id,
                    since_utc_us=search_from_us(work, order),
                    broker_order_id=_number_to_ask_for(work.book, order),
                    # A position may be naked for as long as nobody knows whether its stop works.
                    urgent=bool(work.book.liquidating) or order.role is not None,
                    repeats=order.attempts > LOOKS_FIRST,
                )
            )
        case Ask.AUDIT:
            ask_for_audit(work)
        case Ask.NOTHING:
            pass


def look_up_due(work: Workbench) -> None:
    """Ask about the orders whose time has come, and then about those that are soon due as well.

    One search shows all of them. What is asked for by its number takes a call of its own, and is
    not asked for any sooner.
    """
    book, timeout_ns = work.book, work.book.policy.execution_timeout_ns
    asked_before = len(work.commands)
    for order in list(book.live_orders()):
        step = on_time(order, utc_us=work.utc_us, now_ns=work.now_ns, timeout_ns=timeout_ns)
        apply_order_step(work, step)
    if not any(isinstance(command, LookUpOrder) for command in work.commands[asked_before:]):
        return
    for order in list(book.live_orders()):
        step = along(order, utc_us=work.utc_us, now_ns=work.now_ns, timeout_ns=timeout_ns)
        if step.ask is Ask.LOOK_UP and _number_to_ask_for(book, step.order) is None:
            apply_order_step(work, step)


def _number_to_ask_for(book: Book, order: TrackedOrder) -> int | None:
    if order.registered and order.broker_order_id is not None:
        return order.broker_order_id  # it may have been sent long before it was registered
    return number_that_may_be(book, order)


def ask_for_audit(work: Workbench, *, from_ns: int = 0) -> None:
    """Have the account read as soon as a read can say something new: not before ``from_ns``.

    Reads that settle nothing are repeated ever more slowly, for the venue counts our calls.
    """
    clock = work.book.audit
    due_ns = work.now_ns + min(positions.SETTLE_NS << clock.hurries, AUDIT_INTERVAL_NS)
    due_ns = max(due_ns, from_ns)
    clock.due_ns = min(clock.due_ns or due_ns, due_ns)
    clock.asked = True


def is_anothers(work: Workbench, order: TrackedOrder, broker_order_id: int, what: str) -> bool:
    """Say whether what the venue calls ``broker_order_id`` is not the order that was registered.

    A person is told once. What the venue first showed as the registered order stays that.
    """
    if broker_order_id in order.refused_twins:
        return True
    if order.is_shown and broker_order_id == order.broker_order_id:
        contradiction(work, f"order {order.client_order_id} ({broker_order_id}) is told as {what}")
        return False
    told = f"order {broker_order_id} at the venue is {what}"
    apply_order_step(
        work,
        misregistered(order, other_id=broker_order_id, told=told, utc_us=work.utc_us),
    )
    work.book.counters.contradictions += 1
    registered = f"{order.intent.side} {order.intent.quantity} {order.intent.contract_id}"
    work.alert(
        Severity.CRITICAL,
        AlertCode.ORDER_MISREGISTERED,
        f"Order {order.client_order_id} was registered as {registered}, and {told}: that one "
        "counts as an order of somebody else.",
    )
    return True


def _claim_legs(work: Workbench, parent_order_id: int) -> None:
    """Give an order the legs that were heard of before its broker id was."""
    for venue_order in list(work.book.live_venue_orders()):
        if venue_order.owner is None and venue_order.row.parent_order_id == parent_order_id:
            book_venue_order(work, venue_order.row)


def book_venue_order(work: Workbench, row: BrokerOrder) -> None:
    """Book the row of a leg that the venue made, or of an order of somebody else."""
    book = work.book
    held = book.venue_orders.get(row.broker_order_id)
    believed = newer_row(held.row if held is not None else None, row)
    owner, role = _leg_of(work, believed)
    seen = LevelHistory() if held is None else held.levels_seen
    venue_order = VenueOrder(
        row=believed,
        owner=owner,
        role=role,
        levels_seen=with_row(seen, row, believed.type, believed.side),
        cancel=None if held is None else held.cancel,
    )
    if held == venue_order:
        return
    book.venue_orders[row.broker_order_id] = venue_order
    if believed.status.is_live:
        book.live_venue[row.broker_order_id] = believed.contract_id
    else:
        for by_id in (
            book.live_venue,
            book.unlisted,
            book.cancel_asked_ns,
            book.cancel_unheld_ns,
            book.aligned,
            book.unclear,
        ):
            by_id.pop(row.broker_order_id, None)
    work.touched_venue_orders[row.broker_order_id] = None
    book.changed.note(row.contract_id)
    if held is None or held.row.status is not believed.status:
        _suspect_position(work, believed)
        work.note(
            Tag.ORDER,
            "leg_state" if owner is not None else "foreign_order",
            broker_order_id=row.broker_order_id,
            status=str(believed.status),
            owner=owner or "",
            custom_tag=believed.custom_tag or "",
        )


def _suspect_position(work: Workbench, row: BrokerOrder) -> None:
    """A leg opens when its entry fills: that contract may be flat no longer."""
    view = work.book.positions.get(row.contract_id)
    if view is not None and row.status is BrokerStatus.OPEN:
        work.book.positions[row.contract_id] = positions.in_motion(view, now_ns=work.now_ns)


def _leg_of(work: Workbench, row: BrokerOrder) -> tuple[str | None, LegRole | None]:
    """Return the entry a row is a leg of, by its parent's id or by its tag, and its role."""
    book = work.book
    entry_tag, role = leg_of(row.custom_tag) or ("", None)
    # The tag first: it is our own name for the entry, while an id is the venue's.
    owner = book.client_of_tag.get(entry_tag)
    if owner is None and row.parent_order_id is not None:
        owner = book.client_of_broker_id.get(row.parent_order_id)
    if owner is not None and role is None:
        stop = row.type in {OrderType.STOP, OrderType.TRAILING_STOP}
        role = LegRole.STOP_LOSS if stop else LegRole.TAKE_PROFIT
    return owner, role


def is_foreign_account(work: Workbench, account_id: int) -> bool:
    """Say, and count, whether a row is of an account that is not ours to guard."""
    if account_id == work.book.policy.account_id:
        return False
    work.book.counters.foreign_accounts += 1
    return True


def contradiction(work: Workbench, what: str) -> None:
    """Count and report a fact that cannot be true together with what is known."""
    work.book.counters.contradictions += 1
    work.alert(Severity.WARNING, AlertCode.CONTRADICTION, what)
