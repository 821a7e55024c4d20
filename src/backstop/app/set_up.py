"""Looks at a set-up: from outside while no guard runs, and from inside one that does.

The two give the same figures, so that the same judgement holds for both. Nothing is sent.
"""

import os
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING

from backstop.adapters.disk_probe import look_at_disk
from backstop.adapters.projectx.set_up_probe import GatewayProbe
from backstop.adapters.sqlite.record_owner import check_owner
from backstop.adapters.state_folder import openings
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.commit_waits import BOUNDS_S, CommitWaits
from backstop.app.market_sessions import schedule
from backstop.app.policy import policy_from_settings
from backstop.config.settings import Settings, refuse_split_gateway
from backstop.core.book import Book
from backstop.core.freshness import stale_after_ns
from backstop.core.market_hours import Hours, is_busy, session_of, take
from backstop.core.policy import MILLISECOND_NS, Policy
from backstop.core.venue_clock import offset_of
from backstop.domain.clock import ClockReading
from backstop.domain.events import Hub
from backstop.domain.set_up import (
    AccountLook,
    ClockLook,
    DataLook,
    DiskLook,
    GatesLook,
    GatewayLook,
    Holder,
    HubLook,
    LockLook,
    LoginLook,
    SetUp,
)
from backstop.errors import SetupError, StateFolderError
from backstop.ports import Clock

if TYPE_CHECKING:
    from backstop.app.critical_system_manager import CriticalSystemManager


async def looked_at(
    settings: Settings, *, clock: Clock, lock: LockLook, not_looked: str = ""
) -> SetUp:
    """Look at everything, without a guard.

    Args:
        settings: with credentials, unless ``not_looked`` says why there is no login.
        clock: for the durations and the time of day.
        lock: who holds the account.
        not_looked: why the gateway is not contacted; empty: it is.

    Raises:
        SettingError: an address of the gateway cannot be used.
    """
    policy = policy_from_settings(settings)
    disk, gates = look_at_disk(settings.state_folder, clock=clock), _gates(settings, policy)
    if not_looked:
        return SetUp(disk=disk, lock=lock, gates=gates, not_looked=not_looked)
    probe = GatewayProbe(
        api_url=settings.api_url,
        user_hub_url=settings.user_hub_url,
        market_hub_url=settings.market_hub_url,
        user_name=settings.user_name,
        api_key=settings.api_key,
        token=settings.token,
        clock=clock,
    )
    found = await probe.look(settings.account_id, settings.symbols)
    hours = Hours()
    take(
        hours,
        schedule(
            clock.utc_us(), (), entries_until=settings.entries_until, flat_by=settings.flat_by
        ),
    )
    return SetUp(
        disk=disk,
        lock=lock,
        gates=gates,
        clock=_clock(found, policy),
        login=found.login,
        account=found.account,
        hubs=found.hubs,
        data=_data(found, policy, hours, utc_us=clock.utc_us()),
        not_looked=found.not_looked,
    )


def _clock(found: GatewayLook, policy: Policy) -> ClockLook | None:
    if not found.clock_readings and (found.login is None or found.login.fault):
        return None  # nobody answered, so nothing was said of the time
    return _clock_by(found.clock_readings, policy)


def _clock_by(readings: tuple[ClockReading, ...], policy: Policy) -> ClockLook:
    limit_ms = policy.clock_offset_max_us // 1000
    if not readings:
        return ClockLook(offset_ms=None, limit_ms=limit_ms)
    offset_us, uncertainty_us = offset_of(readings)
    return ClockLook(
        offset_ms=offset_us // 1000, limit_ms=limit_ms, uncertainty_ms=uncertainty_us // 1000
    )


def _data(found: GatewayLook, policy: Policy, hours: Hours, *, utc_us: int) -> tuple[DataLook, ...]:
    if not (found.ages_ms or found.unknown_symbols):
        return ()
    unknown = tuple(_unknown_symbol(symbol) for symbol in found.unknown_symbols)
    heard = tuple(
        _symbol_look(symbol, age_ms, policy, hours, utc_us=utc_us, listened_ms=found.listened_ms)
        for symbol, age_ms in found.ages_ms.items()
    )
    return (*heard, *unknown)


def _unknown_symbol(symbol: str) -> DataLook:
    return DataLook(
        symbol=symbol,
        age_ms=None,
        limit_ms=0,
        listened_ms=0,
        is_open=True,
        fault="no active contract goes by it",
    )


def _symbol_look(
    symbol: str,
    age_ms: int | None,
    policy: Policy,
    hours: Hours,
    *,
    utc_us: int,
    listened_ms: int | None,
) -> DataLook:
    session = session_of(hours, symbol, utc_us)
    open_now = session is not None and session.opens_utc_us <= utc_us
    limit_ns = stale_after_ns(policy, busy=is_busy(hours, symbol, utc_us))
    return DataLook(
        symbol=symbol,
        age_ms=age_ms,
        limit_ms=limit_ns // MILLISECOND_NS,
        listened_ms=listened_ms,
        is_open=open_now or not policy.keeps_hours,
    )


def _gates(settings: Settings, policy: Policy) -> GatesLook:
    refused = ""
    try:
        refuse_split_gateway(settings)
        if settings.account_id:  # 0: no credentials, and so nobody's
            check_owner(settings.state_folder / AUDIT_DATABASE, account=str(settings.account_id))
    except (SetupError, StateFolderError) as error:
        refused = str(error)
    return GatesLook(
        dry_run=policy.dry_run,
        execute=policy.execute,
        observe_only=policy.observe_only,
        switched_off=policy.unprotected,
        allow_unprotected=policy.allow_unprotected,
        kill_file=settings.kill_file.exists(),
        doubts=(*settings.warnings, *(it.told for it in openings(settings.state_folder))),
        refused=refused,
    )


NEARLY_ALL_PERCENT = 95
"""Of a guard's waits: one slow write in days, at its start for instance, is no slow disk."""


# -- inside a guard --------------------------------------------------------------------------------


def of_guard(guard: "CriticalSystemManager") -> SetUp:
    """Return the same of a running guard, from what it knows: nothing is measured anew."""
    book, now_ns = guard.book, guard.now_ns()
    policy = book.policy
    return SetUp(
        disk=_disk_of(guard.commit_waits, guard.settings.state_folder),
        lock=LockLook(account_id=policy.account_id, holder=Holder.GUARD, process_id=os.getpid()),
        gates=GatesLook(
            dry_run=policy.dry_run,
            execute=policy.execute,
            observe_only=policy.observe_only,
            switched_off=policy.unprotected,
            allow_unprotected=policy.allow_unprotected,
            doubts=guard.settings_warnings,
            trading_state=str(book.trading_state(now_ns)),
            reasons=book.state_reasons(now_ns),
        ),
        clock=_clock_of(book),
        login=_login_of(book, guard.components),
        account=_account_of(book),
        hubs=_hubs_of(book, now_ns),
        data=_data_of(guard),
        not_looked="the guard has not read the account yet",
    )


def _disk_of(waits: CommitWaits, folder: Path) -> DiskLook:
    """Return the guard's own waits, by the upper bounds of their classes."""
    counts = waits.cumulative()
    total = counts[-1]
    if not total:
        return DiskLook(folder=str(folder))

    def bound_us(rank: int) -> int:
        place = bisect_left(counts, rank)
        if place == len(BOUNDS_S):
            return int(BOUNDS_S[-1] * 1_000_000) + 1  # longer than the longest that is counted
        return int(BOUNDS_S[place] * 1_000_000)

    return DiskLook(
        folder=str(folder),
        writes=total,
        typical_us=bound_us((total + 1) // 2),
        slowest_us=bound_us(-(-total * NEARLY_ALL_PERCENT // 100)),
        bounds=True,
    )


def _clock_of(book: Book) -> ClockLook:
    return _clock_by(book.venue_clock.readings, book.policy)


def _login_of(book: Book, faults: dict[str, str]) -> LoginLook | None:
    if book.links.login_refused:
        return LoginLook(fault=faults.get("credentials") or "the gateway refuses the credentials")
    if book.account is None:
        return LoginLook(fault=faults["gateway"], reached=False) if "gateway" in faults else None
    return LoginLook()


def _account_of(book: Book) -> AccountLook | None:
    held = book.account
    if held is None:
        return None
    return AccountLook(
        account_id=held.account_id,
        name=held.name,
        balance_micros=held.balance_micros,
        can_trade=held.can_trade,
    )


def _hubs_of(book: Book, now_ns: int) -> tuple[HubLook, ...]:
    links = book.links
    user_for_ms = (now_ns - links.user_since_ns) // MILLISECOND_NS if links.user_since_ns else None
    return (
        HubLook(hub=Hub.USER, connected=links.user_up, up_for_ms=user_for_ms),
        HubLook(hub=Hub.MARKET, connected=links.market_up),
    )


def _data_of(guard: "CriticalSystemManager") -> tuple[DataLook, ...]:
    book, utc_us = guard.book, guard.clock.utc_us()
    looks = []
    for symbol in book.policy.symbols:
        contract_id = book.contract_of.get(symbol)
        if contract_id is None:
            looks.append(_unknown_symbol(symbol))
            continue
        quote = guard.quotes.reference(contract_id)
        looks.append(
            _symbol_look(
                symbol,
                None if quote is None else quote.age_ms,
                book.policy,
                book.hours,
                utc_us=utc_us,
                listened_ms=None,
            )
        )
    return tuple(looks) if book.contract_of else ()
