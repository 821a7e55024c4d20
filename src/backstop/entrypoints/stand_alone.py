"""``liquidate`` with no guard at work: this process takes the account flat itself, and says so.

It logs in with its own session, and only once no guard holds the account: a second login may evict
the first. In dry run it stops nobody and sends nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import typer

from backstop.adapters.clock import SystemClock
from backstop.adapters.log import Redactor
from backstop.config.settings import CALLS_PEOPLE, Settings, refuse_split_gateway
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import ClosePosition, RaiseAlert, Severity
from backstop.emergency.alerting import AlertPost
from backstop.emergency.right_to_send import (
    lock_of_account,
    lock_of_liquidation,
    taken_over,
    turn_taken,
)
from backstop.emergency.runner import EmergencyLiquidation, Ended, Wanted, policy_of
from backstop.entrypoints.gates import COMMAND_THAT_SENDS, SWITCH_THAT_SENDS, gates
from backstop.entrypoints.left_words import say_left
from backstop.entrypoints.terminal import complain, say, say_json
from backstop.errors import AlreadyRunningError, SetupError, SetupFaults

ALERTS_LIMIT_S = 10.0
ALERTS_LAST_S = 2.0
"""How long alerts may take after the end: within the time that the command has, and a bit."""

NAMED_MAX = 6
"""Things that an alert names; all of them stand on the terminal."""

STILL_TRUE = (
    "Nothing was sent: what is open stays open, and stops that work at the venue stay. Set what is "
    "missing and repeat the command, or close the positions on the trading platform itself."
)


def settings_that_log_in() -> Settings:
    """Return the settings with credentials.

    Raises:
        SetupError: some are missing or unusable; says what is true now and what to do.
    """
    try:
        settings = Settings.load(does_without=CALLS_PEOPLE)
    except SetupFaults as error:
        raise SetupError(
            f"{error}\nNo guard answers, so this takes credentials. {STILL_TRUE}"
        ) from (error)
    refuse_split_gateway(settings)
    for warning in settings.warnings:
        if warning.startswith(tuple(CALLS_PEOPLE)):
            complain(f"WARNING {warning}")
    return settings


def would_be_sent(settings: Settings) -> bool:
    """Say whether the gate is open: otherwise there is nothing that a person could regret."""
    return policy_of(settings).sends


def can_act() -> bool:
    """Say whether this process could take the account flat itself, with these settings."""
    try:
        return would_be_sent(settings_that_log_in())
    except SetupError:
        return False


def confirmed(settings: Settings, symbol: str | None) -> bool:
    """Ask the person at the terminal."""
    banner = gates(policy_of(settings), gateway=settings.gateway_host).banner
    say(f"No guard answers. {banner}")
    what = symbol or f"account {settings.account_id}"
    where = settings.gateway_host
    return typer.confirm(f"Take {what} at {where} flat, and stop entries until somebody resumes?")


def liquidate_alone(settings: Settings, wanted: Wanted, *, ends_ns: int, as_json: bool) -> bool:
    """Take the account flat without a guard; True once that is proven.

    Raises:
        AlreadyRunningError: a guard took the account meanwhile: it can be asked.
        SetupError: something that was given cannot be used; nothing was sent.
    """
    speak = complain if as_json else say
    if would_be_sent(settings):
        speak("No guard answers: this process takes it flat itself.")

    def tell(ended: Ended) -> None:
        if as_json:
            say_json(_as_json(ended))
        else:
            _say_end(ended, observes=not settings.critical_system_enable)

    ended = asyncio.run(_told(settings, wanted, ends_ns=ends_ns, speak=speak, tell=tell))
    return ended.flat


async def _told(
    settings: Settings,
    wanted: Wanted,
    *,
    ends_ns: int,
    speak: Callable[[str], None],
    tell: Callable[[Ended], None],
) -> Ended:
    """Take it flat, tell at once how it ended, and then let the alerts about it be delivered."""
    urls = settings.alert_urls if policy_of(settings).sends else ()
    redactor = Redactor()
    for secret in settings.secrets:
        redactor.register(secret)
    post = AlertPost(urls, account_id=settings.account_id, say=speak, redact=redactor.redact)
    post.start()
    try:
        ended = await _run(settings, wanted, ends_ns=ends_ns, speak=speak, alert=post.put)
        if ended.sends and not ended.flat:
            post.put(_given_up(ended))
        tell(ended)
        return ended
    finally:
        left_s = max(0.0, (ends_ns - SystemClock().monotonic_ns()) / 1e9)
        await post.end(limit_s=min(left_s, ALERTS_LIMIT_S) + ALERTS_LAST_S)


def _given_up(ended: Ended) -> RaiseAlert:
    left = ", ".join(
        f"{ended.symbols.get(it.contract_id, it.contract_id)} {it.kind} {it.quantity:+d}"
        for it in ended.remaining[:NAMED_MAX]
    )
    return RaiseAlert(
        severity=Severity.CRITICAL,
        code=AlertCode.LIQUIDATION_NOT_FLAT,
        message=f"No guard runs, and the liquidation ended without proof of flat: {ended.why}. "
        f"Left: {left or 'nothing that is known'}. Nobody goes on by itself: close on the trading "
        "platform what is open, or repeat 'backstop liquidate --yes'.",
    )


async def _run(
    settings: Settings,
    wanted: Wanted,
    *,
    ends_ns: int,
    speak: Callable[[str], None],
    alert: Callable[[RaiseAlert], None],
) -> Ended:
    clock = SystemClock()
    host, account_id = urlsplit(settings.api_url).netloc, settings.account_id
    sends = policy_of(settings).sends
    lock, turn = lock_of_account(host, account_id), lock_of_liquidation(host, account_id)
    if not sends:
        speak = complain  # what is said first is that nothing was sent
    run = EmergencyLiquidation(
        settings, wanted, lock=lock, clock=clock, ends_ns=ends_ns, say=speak, alert=alert
    )
    try:
        try:
            async with asyncio.timeout(max(0.0, (ends_ns - clock.monotonic_ns()) / 1e9)):
                await turn_taken(turn, speak)
        except TimeoutError:
            return _waited_in_vain(sends=sends)
        if sends:
            await taken_over(lock, speak)
        else:
            try:
                lock.acquire()
            except AlreadyRunningError as error:
                return run.from_record(f"{error} It does not answer, and was left alone")
        return await run.run()
    finally:
        lock.release()
        turn.release()


def _waited_in_vain(*, sends: bool) -> Ended:
    why = "another liquidation of this account was at work all the time"
    return Ended(flat=False, sends=sends, known=False, symbols={}, why=why)


# -- words -----------------------------------------------------------------------------------------


def _say_end(ended: Ended, *, observes: bool) -> None:
    if not ended.sends:
        _say_nothing_was_sent(ended, observes=observes)
    elif ended.flat:
        say("FLAT: two fresh reads show nothing left.")
        say("The next guard refuses entries until: backstop resume --reason R --operator O")
    else:
        say(f"NOT FLAT: {ended.why.rstrip('.')}. Left:")
        _say_left(ended)
        say("Nobody goes on by itself, and stops that work at the venue stay. Repeat:")
        say("  backstop liquidate --yes")
        say("It goes on where this one stopped. Look at the account itself as well.")


def _say_nothing_was_sent(ended: Ended, *, observes: bool) -> None:
    say("DRY RUN: NOTHING WAS SENT.")
    if observes:
        say("CRITICAL_SYSTEM_ENABLE=0: it observes only.")
    if ended.why:
        say(f"{ended.why.rstrip('.')}.")
    _say_left(ended)
    for command in ended.would_send:
        what = (
            f"close {command.contract_id}"
            if isinstance(command, ClosePosition)
            else f"cancel order {command.broker_order_id}"
        )
        say(f"would have sent: {what}")
    say("To send it:")
    say(f"  {SWITCH_THAT_SENDS} {COMMAND_THAT_SENDS}" if observes else f"  {COMMAND_THAT_SENDS}")


def _say_left(ended: Ended) -> None:
    if not ended.known:
        say("The account could not be read: what the record tells may have changed since.")
    known = "nothing is known to be left, but no two reads have proven it"
    nothing = known if ended.sends or not ended.known else "nothing is open"
    say_left(_left_as_json(ended), nothing=nothing)


def _as_json(ended: Ended) -> dict[str, Any]:
    return {
        "flat": ended.flat,
        "stand_alone": True,
        "sends": ended.sends,
        "account_read": ended.known,
        "id": ended.liquidation_id or None,
        "state": ended.state or None,
        "remaining": _left_as_json(ended),
        "would_send": [
            {"kind": "ClosePosition", "contract_id": it.contract_id}
            if isinstance(it, ClosePosition)
            else {"kind": "CancelOrder", "broker_order_id": it.broker_order_id}
            for it in ended.would_send
        ],
        "message": ended.why,
        "notes": list(ended.notes),
    }


def _left_as_json(ended: Ended) -> list[dict[str, Any]]:
    return [
        {
            "kind": str(it.kind),
            "symbol": ended.symbols.get(it.contract_id, it.contract_id),
            "contract_id": it.contract_id,
            "quantity": it.quantity,
            "side": None if it.side is None else str(it.side),
            "status": it.status,
            "broker_order_id": it.broker_order_id,
            "client_order_id": it.client_order_id,
        }
        for it in ended.remaining
    ]
