"""When entries are taken and positions are held: what the schedule says of one contract.

The calendar is worked out outside and comes in as a fact, so that the core compares moments and a
replay decides as was decided then. Without a schedule a market counts as closed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from backstop.core.instrument_table import CONTRACTS, ES_FAMILY, NQ_FAMILY, contract_profile
from backstop.core.policy import Policy
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import SessionsScheduled
from backstop.domain.instrument import Instrument
from backstop.domain.session import GROUP_OF_FAMILY, ContractEnd, MarketGroup, Session
from backstop.domain.utc import utc_text

NEVER_US = 2**62
"""Later than every moment."""

BUSY_FAMILIES = frozenset({ES_FAMILY, NQ_FAMILY})
"""Their quotes never rest for seconds while the stock market is open."""

_BUSY_SYMBOLS = frozenset(it.symbol for it in CONTRACTS.values() if it.family in BUSY_FAMILIES)
_GROUP_OF_SYMBOL = {
    it.symbol: GROUP_OF_FAMILY[it.family]
    for it in CONTRACTS.values()
    if it.family in GROUP_OF_FAMILY
}


@dataclass(slots=True)
class Hours:
    """The schedule, and what follows from it until ``changes_utc_us``."""

    plan: SessionsScheduled | None = None
    sessions: dict[MarketGroup, tuple[Session, ...]] = field(default_factory=dict)  # of the plan
    ends: dict[str, ContractEnd] = field(default_factory=dict)  # of the plan, by contract
    changes_utc_us: int = 0  # the next moment at which the rest has to be looked at anew
    no_entries: dict[str, str] = field(default_factory=dict)  # contract -> why none may rest
    no_position: dict[str, str] = field(default_factory=dict)  # contract -> why none may be held
    held_over: dict[str, bool] = field(
        default_factory=dict
    )  # closed contracts that may not be held over the close -> a person was told that one is


def take(hours: Hours, plan: SessionsScheduled) -> None:
    """Go by ``plan`` from now on."""
    hours.plan = plan
    hours.sessions = {
        group: tuple(it for it in plan.sessions if it.group is group) for group in MarketGroup
    }
    hours.ends = {it.contract_id: it for it in plan.contract_ends}
    hours.changes_utc_us = 0


def session_of(hours: Hours, symbol: str, utc_us: int) -> Session | None:
    """Return the session of ``symbol`` that is open at ``utc_us`` or comes next; None: unknown."""
    group = _GROUP_OF_SYMBOL.get(symbol)
    if group is None:
        return None
    for session in hours.sessions.get(group, ()):
        if session.closes_utc_us > utc_us:
            return session
    return None


def hours_denials(
    hours: Hours, instrument: Instrument, policy: Policy, utc_us: int
) -> tuple[Denial, ...]:
    """Return why the calendar lets no entry in ``instrument`` through at ``utc_us``."""
    if not policy.keeps_hours:
        return ()
    session = session_of(hours, instrument.symbol, utc_us)
    return _session_denials(hours, session, instrument, utc_us)


def market_now(
    hours: Hours, instrument: Instrument, policy: Policy, utc_us: int
) -> tuple[tuple[Denial, ...], bool]:
    """Return ``hours_denials`` and, where it matters, ``is_busy``: every decision asks for both."""
    if not policy.keeps_hours and policy.busy_quote_ns is None:
        return (), False
    session = session_of(hours, instrument.symbol, utc_us)
    denials = _session_denials(hours, session, instrument, utc_us) if policy.keeps_hours else ()
    busy = policy.busy_quote_ns is not None and _is_busy_in(session, instrument.symbol, utc_us)
    return denials, busy


def _session_denials(
    hours: Hours, session: Session | None, instrument: Instrument, utc_us: int
) -> tuple[Denial, ...]:
    if session is None:
        return (_unknown(hours, instrument),)
    if utc_us < session.opens_utc_us:
        return (
            Denial(
                code=DenialCode.SESSION_CLOSED,
                message=f"{instrument.symbol} is closed; the session of {session.trade_date} "
                f"opens at {utc_text(session.opens_utc_us)}",
                value=utc_text(utc_us),
                limit=utc_text(session.opens_utc_us),
            ),
        )
    until_us = session.entries_until_utc_us
    denials: list[Denial] = []
    if until_us is not None and utc_us >= until_us:
        denials.append(
            Denial(
                code=DenialCode.SESSION_FLAT_BY,
                message=f"positions are closed before this session ends: no entries in "
                f"{instrument.symbol} from {utc_text(until_us)} to the next session",
                value=utc_text(utc_us),
                limit=utc_text(until_us),
            )
        )
    end = end_of(hours, instrument.contract_id)
    if end is not None and utc_us >= end.entries_until_utc_us:
        denials.append(
            Denial(
                code=DenialCode.EXPIRY_NEAR,
                message=f"{instrument.contract_id} may be held until {end.last_date}: no entries "
                f"from {utc_text(end.entries_until_utc_us)}; trade the next month",
                value=utc_text(utc_us),
                limit=utc_text(end.entries_until_utc_us),
            )
        )
    return tuple(denials)


def is_busy(hours: Hours, symbol: str, utc_us: int) -> bool:
    """Say whether the market of ``symbol`` is one whose quotes must be fresh to the second now."""
    return _is_busy_in(session_of(hours, symbol, utc_us), symbol, utc_us)


def _is_busy_in(session: Session | None, symbol: str, utc_us: int) -> bool:
    if symbol not in _BUSY_SYMBOLS:
        return False
    return session is not None and session.busy_from_utc_us <= utc_us < session.busy_until_utc_us


def same_busyness(hours: Hours, utc_us: int) -> tuple[int, int]:
    """Return the span of time around ``utc_us`` in which every market stays busy, or calm.

    From the first moment up to, but not including, the second.
    """
    sessions = () if hours.plan is None else hours.plan.sessions
    changes = [
        moment
        for it in sessions
        for moment in (it.busy_from_utc_us, it.busy_until_utc_us, it.closes_utc_us)
    ]
    return (
        max((it for it in changes if it <= utc_us), default=-NEVER_US),
        min((it for it in changes if it > utc_us), default=NEVER_US),
    )


def look_again(hours: Hours, instruments: Iterable[Instrument], utc_us: int) -> None:
    """Work out what must be left at ``utc_us``, and when that changes."""
    hours.no_entries.clear()
    hours.no_position.clear()
    hours.held_over.clear()
    hours.changes_utc_us = min((it for it in _changes(hours) if it > utc_us), default=NEVER_US)
    for instrument in instruments:
        session = session_of(hours, instrument.symbol, utc_us)
        if session is None:
            continue
        if utc_us < session.opens_utc_us:
            # Nothing can be closed before it opens, and nothing fills.
            if session.flat_by_utc_us is not None:
                hours.held_over[instrument.contract_id] = False
            continue
        end = end_of(hours, instrument.contract_id)
        deadlines = [(session.entries_until_utc_us, session.flat_by_utc_us, _BEFORE_THE_CLOSE)]
        if end is not None:
            deadlines.append((end.entries_until_utc_us, end.flat_by_utc_us, _BEFORE_THE_END))
        for entries_us, flat_us, why in deadlines:
            if entries_us is not None and utc_us >= entries_us:
                hours.no_entries[instrument.contract_id] = why
            if flat_us is not None and utc_us >= flat_us:
                hours.no_position[instrument.contract_id] = why


_BEFORE_THE_CLOSE = "flat before the session ends"
_BEFORE_THE_END = "flat before the contract month ends"


def _changes(hours: Hours) -> Iterator[int]:
    if hours.plan is None:
        return
    for session in hours.plan.sessions:
        yield session.opens_utc_us
        yield session.closes_utc_us
        yield session.entries_until_utc_us or 0
        yield session.flat_by_utc_us or 0
    for end in hours.plan.contract_ends:
        yield end.entries_until_utc_us
        yield end.flat_by_utc_us


def end_of(hours: Hours, contract_id: str) -> ContractEnd | None:
    """Return when a contract month has to be left; None where nobody knows."""
    return hours.ends.get(contract_id)


def _unknown(hours: Hours, instrument: Instrument) -> Denial:
    known = () if hours.plan is None else {it.group: None for it in hours.plan.sessions}
    family = contract_profile(instrument.symbol).family
    if hours.plan is None:
        why = "the calendar has not been read yet"
    elif family not in GROUP_OF_FAMILY:
        why = f"the calendar has no hours for {family}; it has them for {', '.join(MarketGroup)}"
    else:
        why = "the calendar of this version does not reach this day: install a newer one"
    return Denial(
        code=DenialCode.SESSION_UNKNOWN,
        message=f"nobody knows when {instrument.symbol} trades, so it counts as closed: {why}",
        value=instrument.symbol,
        limit=",".join(known),
    )
