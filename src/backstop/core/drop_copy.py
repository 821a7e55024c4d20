"""A bot trades by itself, and the guard looks on: each of its orders is judged after the fact.

Its orders are the normal case and freeze nothing. Each is judged by the limits that would have held
for it here, as soon as its bracket can be known; a market that has to be read first is waited for.
What a limit would have refused is told with the code of the refusal, and the policy says what is
done: what works of it is cancelled (``foreign_entries``), what it has filled is closed.
"""

from msgspec.structs import replace

from backstop.core.book import Book, Wake
from backstop.core.drop_copy_record import JudgedOrder, SeenOrder
from backstop.core.emergency_liquidation import begin
from backstop.core.expected_closes import counted_trades
from backstop.core.foreign_orders import tag_words
from backstop.core.judged_afterwards import findings, name_of
from backstop.core.lifecycle import MACHINE
from backstop.core.liquidation import Cause
from backstop.core.liquidation_register import put_on_record, running
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.repeated_executions import count_execution
from backstop.core.slippage_breaches import count_execution_of_bot
from backstop.core.step import Tag, Workbench
from backstop.core.trading_state import LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import Severity
from backstop.domain.denial import Denial
from backstop.domain.events import (
    AccountAudited,
    Fact,
    MarketNoted,
    OrderLookedUp,
    OrderReported,
    TradeReported,
)
from backstop.domain.external import BreachPolicy
from backstop.domain.numbers import plain
from backstop.domain.quote import Quote

LEGS_NS = 150 * MILLISECOND_NS
"""The venue tells of the legs of a bracket within some 40 ms of their entry."""

MARKET_LIMIT_NS = SECOND_NS
"""A market that was noted longer ago than this is not the one that an order came to."""

LOOK_AGAIN_NS = SECOND_NS
"""Pause between looks at orders that cannot be judged yet."""

WAITING_KEPT = 512
JUDGED_KEPT = 512
"""Orders in memory; an older one that changes or trades is judged anew."""

_TAKEN_FLAT = frozenset({LatchKind.LIQUIDATION, LatchKind.DRAWDOWN})


def strange_contracts(book: Book, fact: Fact) -> tuple[str, ...]:
    """Return the contracts of orders in ``fact`` that nobody here has heard of before.

    Empty where nobody trades by himself: then no order is judged after the fact.
    """
    if not book.policy.is_drop_copy:
        return ()
    match fact:
        case OrderReported():
            named = [(fact.order.broker_order_id, fact.order.contract_id)]
        case TradeReported():
            named = [(fact.trade.broker_order_id, fact.trade.contract_id)]
        case AccountAudited():
            rows = (*(fact.orders or ()), *(fact.live_orders or ()))
            named = [(it.broker_order_id, it.contract_id) for it in rows]
            named += [(it.broker_order_id, it.contract_id) for it in fact.trades or ()]
        case _:
            return ()
    return tuple(
        dict.fromkeys(
            contract_id
            for number, contract_id in named
            if number not in book.client_of_broker_id
            and number not in book.venue_orders
            and number not in book.external.foreign
        )
    )


def market_noted(work: Workbench, event: MarketNoted) -> None:
    """Know the market that the orders of the next fact came to."""
    record = work.book.drop_copy
    record.market, record.market_ns = event, work.now_ns


def watch_bot(work: Workbench, fact: Fact) -> None:
    """See what the bot has done, judge what is due, and act on what was found."""
    book = work.book
    if not book.policy.is_drop_copy:
        return
    _see(work, is_late=isinstance(fact, AccountAudited | OrderLookedUp))
    if book.drop_copy.waiting:
        _judge_what_is_due(work)
    _follow_fills(work)
    _keep_flat(work)


# -- what came -----------------------------------------------------------------------------------


def _see(work: Workbench, *, is_late: bool) -> None:
    """Have the orders of the bot judged that came or were changed in this step."""
    book, record = work.book, work.book.drop_copy
    traded = (trade.broker_order_id for trade in work.new_trades.values())
    for number in dict.fromkeys((*work.touched_venue_orders, *traded)):
        held = book.venue_orders.get(number)
        if held is None or held.owner is not None or number not in book.external.foreign:
            continue
        judged = record.judged.get(number)
        if number in record.waiting or held.row.is_leg:
            continue
        if judged is not None and not _is_changed(held.row, judged):
            continue
        if judged is None and _is_of_the_past(book, held.row):
            continue
        record.waiting[number] = SeenOrder(
            contract_id=held.row.contract_id,
            seen_ns=work.now_ns,
            seen_utc_us=work.utc_us,
            reference=None if is_late else _market_of(work, held.row.contract_id),
            is_changed=judged is not None,
        )
        book.wake(Wake.DROP_COPY, work.now_ns + LEGS_NS)


def _market_of(work: Workbench, contract_id: str) -> Quote | None:
    record = work.book.drop_copy
    if record.market is None or work.now_ns - record.market_ns > MARKET_LIMIT_NS:
        return None
    return next((it for it in record.market.references if it.contract_id == contract_id), None)


def _is_changed(row: BrokerOrder, judged: JudgedOrder) -> bool:
    """Say whether a working order is another one than was judged: larger, or at another price."""
    moved = (row.limit_price, row.stop_price) != (judged.limit_price, judged.stop_price)
    return row.status.is_live and (moved or row.quantity > judged.quantity)


def _is_of_the_past(book: Book, row: BrokerOrder) -> bool:
    """Say whether an order was over before anybody guarded the account."""
    since_us = book.external.guarding_since_utc_us
    return not row.status.is_live and (not since_us or row.created_utc_us < since_us)


# -- what it is worth ----------------------------------------------------------------------------


def _judge_what_is_due(work: Workbench) -> None:
    """Judge, in the order in which the venue numbered them, what has waited for its bracket."""
    book, record = work.book, work.book.drop_copy
    book.woken(Wake.DROP_COPY, work.now_ns)
    ready = book.recovered and (book.estimate is not None or book.policy.exposure_limits is None)
    surplus = len(record.waiting) - WAITING_KEPT
    for place, (number, seen) in enumerate(sorted(record.waiting.items())):
        if work.now_ns >= seen.seen_ns + LEGS_NS and (ready or place < surplus):
            _judge(work, number, seen)
            del record.waiting[number]
    if record.waiting:
        soonest_ns = min(it.seen_ns for it in record.waiting.values()) + LEGS_NS
        again_ns = work.now_ns + (MILLISECOND_NS if ready else LOOK_AGAIN_NS)
        book.wake(Wake.DROP_COPY, max(soonest_ns, again_ns))
    else:
        # Nobody would take the wake any more: the guard would be woken for it for ever.
        book.wakes.pop(Wake.DROP_COPY, None)
    while len(record.judged) > JUDGED_KEPT:
        oldest = next((it for it in record.judged if it not in book.live_venue), None)
        del record.judged[next(iter(record.judged)) if oldest is None else oldest]


def _judge(work: Workbench, number: int, seen: SeenOrder) -> None:
    book, record = work.book, work.book.drop_copy
    held = book.venue_orders.get(number)
    if held is None or held.owner is not None:
        return  # it turned out to be one of ours
    row, before = held.row, record.judged.get(number)
    denials: tuple[Denial, ...] = ()
    if row.status is not BrokerStatus.REJECTED:
        unjudged = tuple(it for it in record.waiting if it >= number)
        denials = findings(book, row, seen, unjudged=unjudged)
    touch = None if seen.reference is None else seen.reference.touch(row.side)
    record.judged[number] = JudgedOrder(
        contract_id=row.contract_id,
        quantity=row.quantity,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
        codes=tuple(it.code for it in denials),
        words="; ".join(f"{it.code}: {it.message.rstrip('.')}" for it in denials),
        touch=touch if before is None else before.touch,
        closed_quantity=0 if before is None else before.closed_quantity,
    )
    work.note(
        Tag.ORDER,
        "order_judged",
        broker_order_id=number,
        symbol=book.symbol_of(row.contract_id),
        side=str(row.side),
        quantity=row.quantity,
        codes=",".join(it.code for it in denials),
    )
    count_execution_of_bot(work, number)
    if any(counted_trades(book, number)) and before is None:
        count_execution(work, row.contract_id, row.side)
    if denials:
        _tell(work, row, record.judged[number])
        _close_what_it_filled(work, number)


def _tell(work: Workbench, row: BrokerOrder, judged: JudgedOrder) -> None:
    book, number = work.book, row.broker_order_id
    filled = sum(trade.quantity for trade in counted_trades(book, number))
    level = row.limit_price if row.limit_price is not None else row.stop_price
    at = "" if level is None else f" at {plain(level):f}"
    done = f"It has filled {filled}" if filled else "It has filled nothing"
    position = book.position(row.contract_id).quantity
    # What stands is graver than what only works and leaves.
    stands = bool(filled) and book.policy.breach_policy is not BreachPolicy.FLATTEN
    work.alert(
        Severity.CRITICAL if stands or not _acts(book) else Severity.WARNING,
        AlertCode.ORDER_OUTSIDE_LIMITS,
        f"Order {number} ({tag_words(book, row.custom_tag)}), {row.side} {row.quantity} "
        f"{book.symbol_of(row.contract_id)} {row.type or 'of an unknown type'}{at}, would have "
        f"been refused: {judged.words}. {done}; the position is {position:+d} now. "
        f"{_act_words(book, row, filled=filled)}",
    )


def _acts(book: Book) -> bool:
    return book.policy.sends and book.policy.breach_policy is not BreachPolicy.ALERT


def _act_words(book: Book, row: BrokerOrder, *, filled: int) -> str:
    """Return what the policy has done about an order."""
    policy = book.policy
    named = f"DROP_COPY_BREACH_POLICY={policy.breach_policy}"
    acts: list[str] = []
    if policy.breach_policy is not BreachPolicy.ALERT and row.status.is_live:
        acts.append("what works of it is cancelled")
    if policy.breach_policy is BreachPolicy.FLATTEN and filled:
        acts.append("what it has filled is closed")
    words = f"{named}: {' and '.join(acts) or 'nothing of it is touched'}."
    return words if policy.sends else f"{words} But nothing is sent: the gate is closed."


# -- what follows --------------------------------------------------------------------------------


def _follow_fills(work: Workbench) -> None:
    """Go on with orders that were judged and fill now."""
    book, record = work.book, work.book.drop_copy
    traded = dict.fromkeys(trade.broker_order_id for trade in work.new_trades.values())
    for number in traded:
        judged = record.judged.get(number)
        if judged is None:
            continue
        held = book.venue_orders.get(number)
        new = sum(it.broker_order_id == number for it in work.new_trades.values())
        if held is not None and len(book.trades_of.get(number, ())) == new:
            count_execution(work, judged.contract_id, held.row.side)
        _close_what_it_filled(work, number)


def _close_what_it_filled(work: Workbench, number: int) -> None:
    """Close the contracts that an order outside the limits has put into the position."""
    book = work.book
    judged, policy = book.drop_copy.judged[number], book.policy
    wanted = policy.sends and policy.breach_policy is BreachPolicy.FLATTEN and judged.codes
    trades = tuple(counted_trades(book, number))
    if not wanted or not trades:
        return
    sign, contract_id = trades[0].side.sign, judged.contract_id
    filled = sum(trade.quantity for trade in trades)
    held = book.position(contract_id).quantity * sign
    quantity = min(filled - judged.closed_quantity, held)
    if quantity <= 0:
        return
    book.drop_copy.judged[number] = replace(judged, closed_quantity=filled)
    text = f"{name_of(number)} is outside the limits: {judged.words}"
    run = running(book, contract_id)
    if quantity == held or run is not None:
        # A close that runs already is one for the whole contract then: less would be a guess.
        begin(work, cause=text, operator=MACHINE, contract_id=contract_id, latches=False)
        return
    cause = Cause(text=text, operator=MACHINE, utc_us=work.utc_us)
    put_on_record(work, cause, contract_id, latches=False, quantity=quantity, keep=held - quantity)


def _keep_flat(work: Workbench) -> None:
    """Take flat what is opened while an account that was taken flat waits for a person."""
    book = work.book
    if not book.policy.sends or not book.recovered or not book.latches:
        return
    for contract_id in tuple(work.touched_contracts):
        latch = next(
            (it for it in book.latches if it.kind in _TAKEN_FLAT and it.binds(contract_id)), None
        )
        if latch is None or not book.position(contract_id).quantity:
            continue
        if running(book, contract_id) is None:
            begin(
                work,
                cause=f"opened while nobody has resumed after: {latch.cause}",
                operator=MACHINE,
                contract_id=contract_id,
            )
