"""Is a set-up fit to trade on? One verdict for each thing that was measured, with what to do.

FAIL is what would keep a guard from its work, WARN what a person should know before he relies on
it, or what could not be looked at: nothing is concluded from that.
"""

from collections.abc import Iterator

from backstop.core.check import Check, CheckName, CheckStatus
from backstop.domain.clock import DATE_RESOLUTION_US
from backstop.domain.events import Hub
from backstop.domain.numbers import money
from backstop.domain.set_up import (
    AccountLook,
    ClockLook,
    DataLook,
    DiskLook,
    GatesLook,
    Holder,
    HubLook,
    LockLook,
    LoginLook,
    SetUp,
)

CLOCK_NEAR_LIMIT = 2
"""A clock that is off by more than the limit divided by this is told before entries stop."""

CLOCK_UNLIMITED_WARN_MS = 5_000
"""Where any offset is allowed, one beyond this is told all the same: records bear our time."""

DISK_SLOW_US = 100_000
"""The state is written ten times a second (STATE_PERSISTENCE_INTERVAL_MS): slower falls behind."""

DISK_UNUSABLE_US = 1_000_000
"""A stop is due within 1 s of its fill, and no request leaves before it is on disk."""

FREE_FEW_BYTES = 1024 * 1024 * 1024
FREE_TOO_FEW_BYTES = 64 * 1024 * 1024
"""A busy day writes tens of megabytes; without room for the record nothing but exits may leave."""

MILLISECONDS = 1_000
"""In a second."""

LOGIN_SLOW_MS = 3_000
HUB_SLOW_MS = 5_000
"""Most answers come within half a second; slower, a restart leaves the account alone for longer."""


def checks(found: SetUp) -> tuple[Check, ...]:
    """Return the verdict on everything that was measured, in the order of ``CheckName``."""
    return tuple(_checks(found))


def _checks(found: SetUp) -> Iterator[Check]:
    why = found.not_looked
    yield _unlooked(CheckName.CLOCK, why) if found.clock is None else _clock(found.clock)
    yield _disk(found.disk)
    yield _lock(found.lock)
    yield _unlooked(CheckName.LOGIN, why) if found.login is None else _login(found.login)
    yield _unlooked(CheckName.ACCOUNT, why) if found.account is None else _account(found.account)
    for hub, name in ((Hub.USER, CheckName.USER_HUB), (Hub.MARKET, CheckName.MARKET_HUB)):
        look = next((it for it in found.hubs if it.hub is hub), None)
        yield _unlooked(name, why) if look is None else _hub(name, look)
    yield _data(found.data) if found.data else _unlooked(CheckName.DATA, why)
    yield _gates(found.gates)


def _unlooked(name: CheckName, why: str) -> Check:
    return Check(check=name, status=CheckStatus.WARN, finding=f"not checked: {why}")


def _clock(look: ClockLook) -> Check:
    offset_ms, limit_ms = look.offset_ms, look.limit_ms
    if offset_ms is None:
        return Check(
            check=CheckName.CLOCK,
            status=CheckStatus.WARN,
            finding="the gateway's answers do not say what time it is there",
            advice="An order that is looked for and not found stays UNKNOWN until they do.",
        )
    # Judged as entries are: what the answers took on their way is not held against a clock.
    off_ms = abs(offset_ms) - max(0, look.uncertainty_ms - DATE_RESOLUTION_US // 2000)
    allowed = f"{limit_ms} ms are allowed" if limit_ms else "any offset is allowed"
    near_ms = limit_ms // CLOCK_NEAR_LIMIT if limit_ms else CLOCK_UNLIMITED_WARN_MS
    status, advice = CheckStatus.OK, ""
    if off_ms > near_ms:
        status, advice = CheckStatus.WARN, "Set this computer's clock (NTP)."
    if limit_ms and off_ms > limit_ms:
        status = CheckStatus.FAIL
        advice = "Entries are refused (CLOCK_OFFSET). Set this computer's clock (NTP)."
    return Check(
        check=CheckName.CLOCK,
        status=status,
        value=f"{offset_ms:+d}",
        unit="ms",
        finding=f"the gateway's clock minus this computer's, true to {look.uncertainty_ms} ms; "
        f"{allowed}",
        advice=advice,
    )


def _disk(look: DiskLook) -> Check:
    if look.fault:
        return Check(
            check=CheckName.DISK,
            status=CheckStatus.FAIL,
            finding=look.fault.rstrip("."),
            advice="Without a record a guard does not start, and one that runs sends nothing but "
            "exits. BACKSTOP_STATE_DIR may be set to another folder.",
        )
    if not look.writes:
        return Check(
            check=CheckName.DISK,
            status=CheckStatus.OK,
            finding="the guard has written no record yet since its start",
        )
    free = look.free_bytes
    room = "" if free is None else f", {free / 1e9:.1f} GB free"
    status, advice = CheckStatus.OK, ""
    slow = "Each order waits for it. Put BACKSTOP_STATE_DIR on a local disk that is not busy."
    if look.typical_us > DISK_UNUSABLE_US:
        status, advice = CheckStatus.FAIL, slow
    elif free is not None and free < FREE_TOO_FEW_BYTES:
        status, advice = CheckStatus.FAIL, "Make room on the disk: a full one stops entries."
    elif max(look.typical_us, look.slowest_us // 2) > DISK_SLOW_US:
        status, advice = CheckStatus.WARN, slow
    elif free is not None and free < FREE_FEW_BYTES:
        status, advice = CheckStatus.WARN, "Make room on the disk: a full one stops entries."
    return Check(
        check=CheckName.DISK,
        status=status,
        value=f"{look.typical_us / 1000:.1f}",
        unit="ms",
        finding=f"{_writes(look)}{room}",
        advice=advice,
    )


def _writes(look: DiskLook) -> str:
    slowest = f"{look.slowest_us / 1000:.1f} ms"
    if look.bounds:
        return f"within it half of {look.writes} records were on disk, 19 of 20 within {slowest}"
    return f"until a write is on disk, the middle of {look.writes}; slowest {slowest}"


def _lock(look: LockLook) -> Check:
    account = f"account {look.account_id}"
    if not look.account_id:
        return _unlooked(CheckName.LOCK, "TOPSTEPX_ACCOUNT_ID is not set")
    if look.fault:
        return Check(
            check=CheckName.LOCK,
            status=CheckStatus.FAIL,
            finding=f"the lock of {account} cannot be looked at: {look.fault}",
            advice="A guard could not take the right to send. See to it that this user owns the "
            "runtime folder.",
        )
    process = "" if look.process_id is None else f" (process {look.process_id})"
    match look.holder:
        case Holder.NOBODY:
            return Check(
                check=CheckName.LOCK,
                status=CheckStatus.OK,
                value="free",
                finding=f"no guard holds {account} on this machine",
            )
        case Holder.GUARD:
            return Check(
                check=CheckName.LOCK,
                status=CheckStatus.OK,
                value="held",
                finding=f"the running guard{process} holds {account}, and no other may send",
            )
        case Holder.SILENT:
            return Check(
                check=CheckName.LOCK,
                status=CheckStatus.FAIL,
                value="held",
                finding=f"another process{process} holds {account} and does not answer",
                advice="Set BACKSTOP_LISTEN and BACKSTOP_STATE_DIR as that guard has them, or end "
                "it. 'backstop liquidate' stops it where positions have to be closed now.",
            )


def _login(look: LoginLook) -> Check:
    if look.fault:
        return Check(
            check=CheckName.LOGIN,
            status=CheckStatus.FAIL,
            finding=look.fault.rstrip("."),
            advice="'backstop credentials check' shows where each credential comes from."
            if look.reached
            else "Check the network and TOPSTEPX_API_URL; of the credentials nothing is known.",
        )
    if look.took_ms is None:
        return Check(
            check=CheckName.LOGIN,
            status=CheckStatus.OK,
            value="accepted",
            finding="the guard's session; no second login was made",
        )
    slow = look.took_ms > LOGIN_SLOW_MS
    return Check(
        check=CheckName.LOGIN,
        status=CheckStatus.WARN if slow else CheckStatus.OK,
        value=str(look.took_ms),
        unit="ms",
        finding="the gateway accepted the login",
        advice="It is slow: look at the network, and at the gateway's status page." if slow else "",
    )


def _account(look: AccountLook) -> Check:
    if look.fault:
        return Check(
            check=CheckName.ACCOUNT, status=CheckStatus.FAIL, finding=look.fault.rstrip(".")
        )
    balance = "" if look.balance_micros is None else f", balance {money(look.balance_micros):,.2f}"
    can = "may trade" if look.can_trade else "may NOT trade"
    return Check(
        check=CheckName.ACCOUNT,
        status=CheckStatus.OK if look.can_trade else CheckStatus.FAIL,
        value=str(look.account_id),
        finding=f"{look.name or 'the account'} {can}{balance}",
        advice=""
        if look.can_trade
        else "The firm lets this account send no orders: ask it, or set TOPSTEPX_ACCOUNT_ID.",
    )


def _hub(name: CheckName, look: HubLook) -> Check:
    if not look.connected:
        address = "TOPSTEPX_USER_HUB_URL" if look.hub is Hub.USER else "TOPSTEPX_MARKET_HUB_URL"
        return Check(
            check=name,
            status=CheckStatus.FAIL,
            finding=f"not connected: {look.fault or 'no reason is known'}".rstrip("."),
            advice=f"Entries are refused without it. Check {address} and the network.",
        )
    if look.took_ms is None:
        up_s = None if look.up_for_ms is None else look.up_for_ms // MILLISECONDS
        return Check(
            check=name,
            status=CheckStatus.OK,
            value="connected",
            finding="the guard is subscribed" + ("" if up_s is None else f", for {up_s} s"),
        )
    slow = look.took_ms > HUB_SLOW_MS
    return Check(
        check=name,
        status=CheckStatus.WARN if slow else CheckStatus.OK,
        value=str(look.took_ms),
        unit="ms",
        finding="until it was connected and subscribed",
        advice="It is slow: look at the network." if slow else "",
    )


def _data(looks: tuple[DataLook, ...]) -> Check:
    """Judge the symbol that is worst off; the finding names all of them."""
    named = ", ".join(f"{it.symbol}{_age(it)}" for it in looks)
    statuses = {_data_status(it) for it in looks}
    ages = [it.age_ms for it in looks if it.age_ms is not None]
    silent = any(it.age_ms is None for it in looks)
    status = CheckStatus.OK
    advice = ""
    if CheckStatus.FAIL in statuses:
        status = CheckStatus.FAIL
        advice = _data_advice(tuple(it for it in looks if _data_status(it) is CheckStatus.FAIL))
    elif CheckStatus.WARN in statuses:
        status = CheckStatus.WARN
        closed = all(not it.is_open for it in looks if _data_status(it) is CheckStatus.WARN)
        advice = (
            "Its market is closed: look again when it trades."
            if closed
            else "It may be a quiet market: look again in a minute."
        )
    return Check(
        check=CheckName.DATA,
        status=status,
        value=None if silent or not ages else str(max(ages)),
        unit="" if silent or not ages else "ms",
        finding=f"the newest quote: {named}",
        advice=advice,
    )


def _data_advice(failed: tuple[DataLook, ...]) -> str:
    advice = []
    if any(not it.fault for it in failed):
        advice.append("Entries into it are refused (STALE_REFERENCE). Check the data subscription.")
    if nameless := [it.symbol for it in failed if it.fault]:
        named = ", ".join(nameless)
        advice.append(f"Orders for {named} are refused: correct BACKSTOP_INSTRUMENTS.")
    return " ".join(advice)


def _data_status(look: DataLook) -> CheckStatus:
    if look.fault:
        return CheckStatus.FAIL
    if look.age_ms is not None and look.age_ms <= look.limit_ms:
        return CheckStatus.OK
    silent_ms = look.listened_ms if look.age_ms is None else look.age_ms
    too_long = silent_ms is None or silent_ms > look.limit_ms
    return CheckStatus.FAIL if look.is_open and too_long else CheckStatus.WARN


def _age(look: DataLook) -> str:
    if look.fault:
        return f": {look.fault}"
    closed = "" if look.is_open else " (closed)"
    if look.age_ms is None:
        within = "yet" if look.listened_ms is None else f"within {look.listened_ms / 1000:.1f} s"
        return f" none {within}{closed}"
    return f" {look.age_ms} ms ago{closed}"


def _gates(look: GatesLook) -> Check:
    value = "SENDING" if _sends(look) else _closed_gate(look)
    if look.refused:
        return Check(
            check=CheckName.GATES,
            status=CheckStatus.FAIL,
            value=value,
            finding=look.refused.rstrip("."),
        )
    stops, advice = _stops(look)
    state = f"trading state {look.trading_state}" if look.trading_state else ""
    finding = "; ".join(it for it in (state, *stops) if it)
    return Check(
        check=CheckName.GATES,
        status=CheckStatus.WARN if stops else CheckStatus.OK,
        value=value,
        finding=finding or ("orders go to the gateway" if _sends(look) else "nothing is sent"),
        advice=" ".join(advice),
    )


def _stops(look: GatesLook) -> tuple[list[str], list[str]]:
    """Return what a person should know beside a dry run, which is meant, and what to do."""
    stops, advice = list(look.reasons), []
    if look.reasons:
        advice.append("'backstop status' shows what holds them; a latch takes a person to lift.")
    if look.observe_only:
        stops.append("CRITICAL_SYSTEM_ENABLE=0: it observes only")
    elif look.dry_run is look.execute:
        stops.append("only one of the two keys is turned")
        advice.append("DRY_RUN=0 together with EXECUTE=1 sends.")
    if look.switched_off:
        stops.append(f"switched off: {', '.join(look.switched_off)}")
        advice.append(
            "Entries pass unprotected (ALLOW_UNPROTECTED=1)."
            if look.allow_unprotected
            else "Entries are refused until they are on, or ALLOW_UNPROTECTED=1."
        )
    stops.extend(it.rstrip(".") for it in look.doubts)
    if look.kill_file:
        stops.append("the kill file is there")
        advice.append("A guard is HALTED by it: remove it, and resume.")
    return stops, advice


def _sends(look: GatesLook) -> bool:
    return look.execute and not look.dry_run and not look.observe_only


def _closed_gate(look: GatesLook) -> str:
    if look.observe_only:
        return "OBSERVE ONLY"
    return "DRY RUN" if look.dry_run else "EXECUTE OFF"
