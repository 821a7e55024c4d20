"""The pre-trade pipeline over the book: one judgement for validate, submit and what-if.

The rules stand in files of their own and look at values; here is what they look at, and their
order: state, list, calendar, numbers, bracket, stop, size, pace (``guardrails``), our own orders,
the account's rules, freshness, then correlation and concentration.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.account_rules.denials import account_denials
from backstop.core.book import STOP_TYPES, Book, Entry
from backstop.core.bot_entries import bot_denials
from backstop.core.bot_limits import bot_limit_denials
from backstop.core.call_budget import call_reserve
from backstop.core.clock_readings import clock_denials
from backstop.core.contract_standing import facts_of
from backstop.core.exits_in_question import held_at_most, held_for_sure
from backstop.core.guardrails import (
    Assessment,
    Circumstances,
    Exposure,
    assess,
    freshness_denials,
)
from backstop.core.largest_quantity import with_largest
from backstop.core.liquidation_scope import closing_denials
from backstop.core.market_hours import market_now
from backstop.core.order_month import instrument_of_order
from backstop.core.order_numbers import countable
from backstop.core.own_orders import self_trade_denials
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.portfolio import exposure_denials
from backstop.core.repeated_executions import repetition_denials
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import ACTIVE, state_reasons, trading_state
from backstop.domain.denial import Denial
from backstop.domain.events import OrderRequested
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderRequest


def judge(
    book: Book, wish: OrderRequested, *, now_ns: int, instead_of: TrackedOrder | None = None
) -> Assessment | None:
    """Return the pipeline's judgement of ``wish``; None: no contract goes by the symbol.

    Args:
        book: what is known; nothing of it is changed.
        wish: the order, with the market that the decision is based on.
        now_ns: monotonic time.
        instead_of: an entry of the same name, side and contract that this one is to replace: it
            is judged as if that one were not there.
    """
    request = wish.request
    instrument = instrument_of_order(book, request)
    if instrument is None:
        return None
    around = _circumstances(book, wish, instrument, now_ns=now_ns, instead_of=instead_of)
    assessment = assess(request, around, book.policy)
    if assessment.reducing:
        return assessment
    counted = replace(wish, request=countable(request))
    found = _entry_denials(book, counted, around, assessment, now_ns=now_ns, instead_of=instead_of)
    denials = assessment.denials + found
    if not denials:
        return assessment
    closable = around.exposure.closable(request.side)
    return replace(assessment, denials=with_largest(denials, closable))


def _circumstances(
    book: Book,
    wish: OrderRequested,
    instrument: Instrument,
    *,
    now_ns: int,
    instead_of: TrackedOrder | None,
) -> Circumstances:
    """Return what the rules that know no book look at."""
    contract_id, ready = instrument.contract_id, book.readiness(now_ns)
    state = trading_state(ready, contract_id)
    stale_ns, spare_calls = book.account_stale_ns(now_ns), wish.spare_calls
    hours, busy = market_now(book.hours, instrument, book.policy, wish.utc_us)
    return Circumstances(
        trading_state=state,
        state_reasons=() if state is ACTIVE else state_reasons(ready, contract_id),
        instrument=instrument,
        reference=wish.reference,
        exposure=_exposure(book, contract_id, now_ns=now_ns, instead_of=instead_of),
        look_alike=_look_alike(book, wish.request, now_ns),
        recent_entries=_recent_entries(book, wish.request, now_ns),
        spare_calls=spare_calls,
        call_reserve=0 if spare_calls is None else call_reserve(book),
        account_stale_ms=None if stale_ns is None else stale_ns // MILLISECOND_NS,
        hours=hours,
        busy=busy,
    )


def _exposure(
    book: Book, contract_id: str, *, now_ns: int, instead_of: TrackedOrder | None
) -> Exposure:
    view, facts = book.position(contract_id), facts_of(book, contract_id)
    held, unseen = held_for_sure(view), view.closed_unseen(now_ns)
    return Exposure(
        position=held,
        exits=facts.exits + unseen - _own_exit(instead_of, view.quantity),
        closes_to_come=max(0, facts.closes_to_come - unseen),
        in_question=held_at_most(view) - held,
    )


def _entry_denials(
    book: Book,
    wish: OrderRequested,
    around: Circumstances,
    assessment: Assessment,
    *,
    now_ns: int,
    instead_of: TrackedOrder | None,
) -> tuple[Denial, ...]:
    """Return why an order that does not reduce is refused by what only the book knows."""
    request, instrument = wish.request, around.instrument
    contract_id = instrument.contract_id
    return (
        *bot_limit_denials(book, wish, instrument, now_ns=now_ns, instead_of=instead_of),
        *bot_denials(book, request.strategy_id),
        *self_trade_denials(
            book,
            type_=request.type,
            side=request.side,
            level_ticks=assessment.entry_ticks,
            instrument=instrument,
        ),
        *repetition_denials(
            book,
            strategy_id=request.strategy_id,
            contract_id=contract_id,
            side=request.side,
            now_ns=now_ns,
        ),
        *account_denials(
            book,
            assessment.intent,
            assessment.entry_ticks,
            wish.marks,
            now_ns=now_ns,
            utc_us=wish.utc_us,
            prices_known=assessment.prices_known,
            instead_of=instead_of,
        ),
        *clock_denials(book),
        *freshness_denials(request.side, around, book.policy),
        *closing_denials(book, contract_id),
        *facts_of(book, contract_id).leftovers,
        *exposure_denials(
            book,
            assessment.intent,
            wish.marks,
            wish.utc_us,
            counted=0 if instead_of is None else instead_of.open_quantity,
        ),
    )


def _own_exit(order: TrackedOrder | None, position: int) -> int:
    """Return the contracts of ``order`` that the book counts among the exits of a position."""
    if order is None or position * order.intent.side.sign >= 0:
        return 0
    counts = order.role is None and order.intent.type not in STOP_TYPES
    return order.open_quantity if counts else 0


def _recent_entries(book: Book, request: OrderRequest, now_ns: int) -> int:
    """Return how many other entries, and moves of any, were accepted within the last second."""
    if not _is_recent(book, SECOND_NS, now_ns):
        return 0
    return sum(
        entry.moved or entry.request.client_order_id != request.client_order_id
        for entry in _entries_within(book, SECOND_NS, now_ns)
    )


def _look_alike(book: Book, request: OrderRequest, now_ns: int) -> str | None:
    found, window_ns = None, book.policy.duplicate_window_ns
    if not _is_recent(book, window_ns, now_ns):
        return None
    for entry in _entries_within(book, window_ns, now_ns):
        other = entry.request
        if entry.moved or other.client_order_id == request.client_order_id:
            continue
        if _shape(book, other) == _shape(book, request):
            found = other.client_order_id
    return found  # the oldest


def _is_recent(book: Book, window_ns: int, now_ns: int) -> bool:
    """Say whether the newest entry was accepted within ``window_ns``: of most orders it was not."""
    return bool(book.entries) and now_ns - book.entries[-1].accepted_ns < window_ns


def _entries_within(book: Book, window_ns: int, now_ns: int) -> Iterator[Entry]:
    """Yield the entries accepted within ``window_ns``, newest first, and walk no others."""
    for entry in reversed(book.entries):
        if now_ns - entry.accepted_ns >= window_ns:
            return
        yield entry


def _shape(book: Book, request: OrderRequest) -> tuple[object, ...]:
    return (
        # The root and the contract id name the same contract.
        book.contract_of.get(request.symbol, request.symbol),
        request.side,
        request.quantity,
        request.type,
        request.limit_price,
        request.stop_price,
        request.stop_loss_price,
        request.take_profit_price,
        request.strategy_id,
        request.stop_loss_offset_ticks,
        request.take_profit_offset_ticks,
        request.stop_loss_trails,
    )


def remember_entry(book: Book, request: OrderRequest, now_ns: int, *, moved: bool = False) -> None:
    """Keep an entry for the rate and look-alike rules, and forget those that are too old."""
    keep_ns = max(SECOND_NS, book.policy.duplicate_window_ns)
    book.entries.append(Entry(accepted_ns=now_ns, request=request, moved=moved))
    while book.entries and now_ns - book.entries[0].accepted_ns >= keep_ns:
        book.entries.popleft()
