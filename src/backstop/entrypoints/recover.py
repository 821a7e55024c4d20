"""The verb ``recover``: what a start of the guard would find, and what it would do. Sends nothing.

A guard that lives is asked, because a second login could take its session away. Otherwise the
state folder is read and the broker is asked here, with calls that only read.
"""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer

from backstop.adapters.clock import SystemClock
from backstop.adapters.lock import AccountLock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.app.policy import liquidate_after_ms, policy_from_settings
from backstop.app.recovery_review import downtime_of
from backstop.app.state_reading import StateRead, read_state
from backstop.config.settings import Settings
from backstop.core.book import FIRST_LOOK_BACK_US, Book
from backstop.core.disaster_recovery import RecoveryPlan, recovery_plan
from backstop.core.recovery_rehearsal import AccountPicture
from backstop.core.venue_clock import LOOK_BACK_US
from backstop.domain.broker import BrokerAccount
from backstop.domain.commands import AuditAccount
from backstop.domain.events import StopKind
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import count_text
from backstop.entrypoints.api_client import GuardClient
from backstop.entrypoints.gates import gates
from backstop.entrypoints.http.recovery_views import PlanView, plan_view
from backstop.entrypoints.place import guard_client
from backstop.entrypoints.reading import checked
from backstop.entrypoints.terminal import columns, progress, say, say_json
from backstop.errors import (
    AlreadyRunningError,
    GatewayAnswerError,
    GatewayError,
    SetupError,
)

READ_LIMIT_S = 30.0
"""For all that is asked of the broker; a gateway that answers takes a second."""

BAR_WINDOW_US = 15 * 60 * 1_000_000
"""How old the last price may be: in a market that is open there is one every minute."""

MINUTE_BARS = 2
"""The gateway's number for bars of a minute."""


def recover(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan; nothing is sent or written.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a start would find different, and what it would do about each contract.

    Every start of the guard is a recovery, so there is nothing to recover by hand: without
    --dry-run this ends with 2. A living guard is asked for its own plan.
    """
    if not dry_run:
        raise SetupError(
            "Every start recovers by itself: 'backstop run'. With --dry-run this shows what it "
            "would do, and sends nothing."
        )
    client = _living_guard()
    if client is not None:
        _show_living(client, as_json=as_json)
        return
    settings = Settings.load()
    _refuse_beside_a_guard(settings)
    with progress() as show:
        show("reading the state folder and the account")
        book, read, plan = asyncio.run(_planned(settings))
    view = plan_view(plan)
    if as_json:
        say_json(
            {
                "guard": "NOT_RUNNING",
                "sends": book.policy.sends,
                "state": msgspec.to_builtins(read, enc_hook=str),
                "plan": msgspec.to_builtins(view),
            }
        )
        return
    say(f"recovery plan for account {plan.account_id} at {urlsplit(settings.api_url).netloc}")
    banner = gates(book.policy, gateway=settings.gateway_host).banner
    say(banner + "; here nothing is sent or written in any case")
    _say_state(read)
    _say_plan(view)


# -- a guard that lives --------------------------------------------------------------------------


def _living_guard() -> GuardClient | None:
    """Return a client for the guard that answers; None when none does."""
    try:
        client = guard_client()
        client.call("GET", "/v1/health")
    except SetupError:
        return None
    return client


def _show_living(client: GuardClient, *, as_json: bool) -> None:
    reply = client.call("GET", "/v1/recovery")
    body: dict[str, Any] = checked(reply.status, reply.body)
    if as_json:
        say_json({"guard": "RUNNING", **body})
        return
    last = body["last"]
    say("A guard is running and was asked: the broker sees one session.")
    if last is None:
        say("It has not read the account yet.")
    else:
        say(f"last recovery  {last['at']}, from {last['source']}")
        _say_plan(msgspec.convert(last["plan"], PlanView))
    say("")
    say("A start now would do this:")
    _say_plan(msgspec.convert(body["now"], PlanView))


# -- no guard ------------------------------------------------------------------------------------


def _refuse_beside_a_guard(settings: Settings) -> None:
    """Refuse where a guard holds the account but does not answer; the lock is not kept."""
    host = urlsplit(settings.api_url).netloc
    lock = AccountLock(gateway_host=host, account=str(settings.account_id))
    try:
        lock.acquire()
    except AlreadyRunningError as error:
        raise SetupError(
            f"{error} It does not answer at BACKSTOP_LISTEN, so it cannot be asked, and a second "
            "login could take its session away. Nothing was contacted."
        ) from error
    finally:
        lock.release()


async def _planned(settings: Settings) -> tuple[Book, StateRead, RecoveryPlan]:
    clock = SystemClock()
    policy = policy_from_settings(settings)
    book, read = read_state(settings.state_folder, policy, clock=clock)
    gateway = ProjectXGateway(
        api_url=settings.api_url,
        user_name=settings.user_name,
        api_key=settings.api_key,
        token=settings.token,
        clock=clock,
    )
    try:
        async with gateway, asyncio.timeout(READ_LIMIT_S):
            picture = await _picture(gateway, book)
    except GatewayAnswerError as error:
        raise SetupError(str(error)) from error
    except (GatewayError, TimeoutError) as error:
        why = str(error) or f"no answer within {READ_LIMIT_S:g} s"
        raise SetupError(
            f"The broker cannot be read, and without it there is no plan: {why}"
        ) from error
    plan = recovery_plan(
        book,
        picture,
        downtime=downtime_of(read.before),
        liquidate_after_ms=liquidate_after_ms(settings),
        now_ns=clock.monotonic_ns(),
    )
    return book, read, plan


async def _picture(gateway: ProjectXGateway, book: Book) -> AccountPicture:
    """Read the account, its contracts, and the last prices of what is held."""
    account: BrokerAccount = await gateway.account(book.policy.account_id)
    instruments: tuple[Instrument, ...] = await gateway.instruments()
    utc_us = gateway.venue_utc_us()
    since_us = (book.audit.cursor_utc_us or utc_us - FIRST_LOOK_BACK_US) - LOOK_BACK_US
    read = await gateway.audit_account(
        AuditAccount(
            reason="recover --dry-run", account_id=book.policy.account_id, since_utc_us=since_us
        )
    )
    held = [row.contract_id for row in read.positions or () if row.quantity]
    return AccountPicture(
        utc_us=utc_us,
        account=account,
        positions=read.positions,
        live_orders=read.live_orders,
        orders=read.orders,
        trades=read.trades,
        instruments=instruments,
        prices=await _prices(gateway, held, utc_us=utc_us),
    )


async def _prices(
    gateway: ProjectXGateway, contracts: Iterable[str], *, utc_us: int
) -> dict[str, Decimal]:
    """Return last prices, as far as there are any: without one no stop counts as passed."""
    prices: dict[str, Decimal] = {}
    for contract_id in contracts:
        try:
            bars = await gateway.bars(
                contract_id,
                start_utc_us=utc_us - BAR_WINDOW_US,
                end_utc_us=utc_us,
                unit=MINUTE_BARS,
                number=1,
                limit=1,
            )
        except GatewayError:
            continue
        if bars:
            prices[contract_id] = bars[-1].close
    return prices


# -- words ---------------------------------------------------------------------------------------


def _say_state(read: StateRead) -> None:
    after = f", then {count_text(read.replayed, 'record')} after it" if read.replayed else ""
    say(f"state          {read.source}{after}; {count_text(read.records, 'record')} in all")
    for fault in read.faults:
        say(f"unusable       {fault}")


def _say_plan(plan: PlanView) -> None:
    say(f"stopped        {_stop_text(plan)}")
    for part in plan.unread:
        say(f"NOT READ       {part}: nothing is concluded about it")
    if plan.symbols:
        heads = ("SYMBOL", "BEFORE", "NOW", "ACT", "QTY", "PRICE", "ORDER", "WHY")
        say(columns(heads, _rows(plan)))
    else:
        say("nothing is held, nothing works: nothing to do")
    for finding in plan.findings:
        say(f"{finding.difference}  {finding.symbol}  {finding.evidence}")
        say(f"    -> {finding.act}")


def _stop_text(plan: PlanView) -> str:
    if plan.stop is StopKind.FIRST:
        return "no guard of this state folder has read the account yet"
    how = "by a person" if plan.stop is StopKind.CLEAN else "by a crash"
    if plan.downtime_ms is None:
        return f"{how}; since when is not known"
    clock = ", by the time of day" if plan.wall_clock else ""
    ends = "; longer than EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES" if plan.liquidates else ""
    return f"{how}, unguarded for {plan.downtime_ms / 1000:.1f} s{clock}{ends}"


def _rows(plan: PlanView) -> Iterable[tuple[object, ...]]:
    for symbol in plan.symbols:
        now = "?" if symbol.quantity is None else f"{symbol.quantity:+d}"
        for act in symbol.acts:
            yield (
                symbol.symbol,
                f"{symbol.before:+d}",
                now,
                str(act.act),
                act.quantity,
                act.price,
                act.broker_order_id,
                act.reason,
            )
