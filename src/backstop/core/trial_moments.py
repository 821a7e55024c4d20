"""Trials of the limits on the moment at which an order comes, and on what came before it."""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from backstop.core.book import AUDIT_STALE_NS, Book, Entry
from backstop.core.call_budget import call_reserve
from backstop.core.market_hours import take
from backstop.core.policy import MILLISECOND_NS, Policy
from backstop.core.repeated_executions import execution_key
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import Latch
from backstop.core.trial_book import (
    CONTRACT,
    DAY,
    NOW_NS,
    PRICE,
    UTC_US,
    Trial,
    an_order,
    as_it_is,
    trial_symbol,
)
from backstop.domain.clock import ClockReading
from backstop.domain.denial import DenialCode
from backstop.domain.events import OrderRequested, SessionsScheduled
from backstop.domain.order import OrderIntent, OrderState, OrderType, Side
from backstop.domain.session import GROUP_OF_FAMILY, ContractEnd, Session

HOUR_US = 3_600_000_000


def moment_trials(policy: Policy) -> Iterator[Trial]:
    """Yield an order for each limit that looks at when it comes."""
    for limit, code, wish, prepare in (
        *_states(),
        *_hours(policy),
        *_paces(policy),
        *_ages(policy),
    ):
        yield Trial(limit=limit, code=code, policy=policy, wish=wish, prepare=prepare)
    for limit, code, closed in (
        ("DRY_RUN", DenialCode.GATE_DRY_RUN, replace(policy, dry_run=True)),
        ("EXECUTE", DenialCode.GATE_EXECUTE, replace(policy, execute=False)),
        (
            "ALLOW_UNPROTECTED",
            DenialCode.STATE_UNPROTECTED,
            replace(policy, unprotected=("a component",), allow_unprotected=False),
        ),
    ):
        yield Trial(limit=limit, code=code, policy=closed, wish=an_order(), prepare=as_it_is)


_Case = tuple[str, DenialCode, OrderRequested, Callable[[Book], None]]


def _states() -> Iterator[_Case]:
    yield "HALT", DenialCode.STATE_HALTED, an_order(), _halted


def _hours(policy: Policy) -> Iterator[_Case]:
    if not policy.keeps_hours:
        return
    name = "BACKSTOP_CALENDAR"
    yield name, DenialCode.SESSION_UNKNOWN, an_order(), as_it_is
    group = GROUP_OF_FAMILY.get(trial_symbol(policy))
    if group is None:
        return
    later = Session(
        group=group,
        trade_date=DAY,
        opens_utc_us=UTC_US + 1,
        closes_utc_us=UTC_US + HOUR_US,
    )
    open_ = replace(later, opens_utc_us=UTC_US - HOUR_US)
    last = ContractEnd(
        contract_id=CONTRACT,
        last_date=DAY,
        entries_until_utc_us=UTC_US,
        flat_by_utc_us=UTC_US + HOUR_US,
    )
    yield name, DenialCode.SESSION_CLOSED, an_order(), _scheduled(later)
    ended = _scheduled(replace(open_, entries_until_utc_us=UTC_US))
    yield "ENTRIES_UNTIL", DenialCode.SESSION_FLAT_BY, an_order(), ended
    yield name, DenialCode.EXPIRY_NEAR, an_order(), _scheduled(open_, last)


def _paces(policy: Policy) -> Iterator[_Case]:
    if policy.duplicate_window_ns:
        age_ns = policy.duplicate_window_ns - 1
        yield (
            "DUPLICATE_WINDOW_MS",
            DenialCode.DUPLICATE_ORDER,
            an_order(),
            _entered(1, age_ns=age_ns),
        )
    most = policy.max_orders_per_second
    yield "MAX_ORDERS_PER_SECOND", DenialCode.RATE_TOO_HIGH, an_order(), _entered(most, age_ns=0)
    kept = call_reserve(Book(policy=policy))
    scarce = replace(an_order(), spare_calls=kept)
    yield "CALLS KEPT FOR EXITS", DenialCode.RATE_BUDGET_LOW, scarce, as_it_is
    if policy.prevents_self_trades:
        yield "SELF TRADE", DenialCode.SELF_TRADE, an_order(), _with_an_offer_of_ours
    if policy.max_repeated_executions is not None:
        executed = _executed(policy.max_repeated_executions)
        code = DenialCode.REPEATED_EXECUTION
        yield "MAX_REPEATED_EXECUTIONS", code, an_order(), executed


def _ages(policy: Policy) -> Iterator[_Case]:
    limit_ms = policy.stale_quote_ns // MILLISECOND_NS
    wish = an_order()
    quote = wish.reference
    old = None if quote is None else replace(quote, age_ms=limit_ms + 1)
    for reference in (None, old):
        aged = replace(wish, reference=reference)
        yield "STALE_QUOTE_MS", DenialCode.STALE_REFERENCE, aged, as_it_is
    yield "ACCOUNT AGE", DenialCode.STALE_ACCOUNT, wish, _not_read
    if policy.clock_offset_max_us:
        yield "CLOCK_OFFSET_MAX_SECONDS", DenialCode.CLOCK_OFFSET, wish, _off_the_clock


# -- what the book is like -------------------------------------------------------------------------


def _halted(book: Book) -> None:
    book.latches = (Latch(cause="trial", operator="trial", utc_us=UTC_US),)


def _scheduled(session: Session, *ends: ContractEnd) -> Callable[[Book], None]:
    def prepare(book: Book) -> None:
        plan = SessionsScheduled(utc_us=UTC_US, sessions=(session,), contract_ends=ends)
        take(book.hours, plan)

    return prepare


def _entered(entries: int, *, age_ns: int) -> Callable[[Book], None]:
    def prepare(book: Book) -> None:
        request = an_order(client_order_id="earlier").request
        entry = Entry(accepted_ns=NOW_NS - age_ns, request=request)
        book.entries.extend([entry] * entries)

    return prepare


def _executed(times: int) -> Callable[[Book], None]:
    def prepare(book: Book) -> None:
        key = execution_key(None, CONTRACT, Side.BUY)
        book.executions[key] = (NOW_NS,) * times

    return prepare


def _with_an_offer_of_ours(book: Book) -> None:
    request = an_order(client_order_id="offer", side=Side.SELL).request
    instrument = book.instruments[CONTRACT]
    intent = OrderIntent(
        client_order_id="offer",
        account_id=book.policy.account_id,
        contract_id=CONTRACT,
        symbol=instrument.symbol,
        side=Side.SELL,
        quantity=1,
        type=OrderType.LIMIT,
        limit_ticks=int(PRICE / instrument.tick_size),
    )
    order = TrackedOrder(
        request=request, intent=intent, custom_tag="offer", state=OrderState.WORKING
    )
    book.orders["offer"] = order
    book.live["offer"] = CONTRACT


def _not_read(book: Book) -> None:
    book.audit.complete_ns = NOW_NS - AUDIT_STALE_NS - 1


def _off_the_clock(book: Book) -> None:
    venue_us = UTC_US + book.policy.clock_offset_max_us + 1
    reading = ClockReading(
        read_ns=NOW_NS,
        ours_utc_us=UTC_US,
        earliest_utc_us=venue_us,
        latest_utc_us=venue_us,
    )
    book.venue_clock.readings, book.venue_clock.is_off = (reading,), True
