"""The verb ``liquidate``: a running guard is asked, and without one this process does it itself.

Ends with 0 only when it is proven that nothing is left. What is printed last is always what is true
then, and what to do next.
"""

import sys
import time
from typing import Annotated, Any

import typer

from backstop.adapters.clock import SystemClock
from backstop.adapters.login_name import login_name
from backstop.config.settings import CALLS_PEOPLE, Settings
from backstop.emergency.runner import Wanted
from backstop.entrypoints.answering_guard import SILENT_S, answering_guard
from backstop.entrypoints.api_client import CALL_LIMIT_S, GuardClient
from backstop.entrypoints.gates import COMMAND_THAT_SENDS
from backstop.entrypoints.left_words import say_left
from backstop.entrypoints.reading import checked
from backstop.entrypoints.stand_alone import (
    can_act,
    confirmed,
    liquidate_alone,
    settings_that_log_in,
    would_be_sent,
)
from backstop.entrypoints.terminal import complain, say, say_json
from backstop.errors import AlreadyRunningError, SetupError

LIMIT_S = 75
"""The command ends within this time, flat or not; a guard goes on."""

FOLLOWED_S = LIMIT_S - CALL_LIMIT_S - 1
"""How long it watches: a last look may take as long as a call may."""

LOOK_S = 0.25
"""Pause between two looks at how far it has come."""

NOT_FLAT = 1
"""Exit code while anything is left, or nothing was sent."""

DEFAULT_REASON = "backstop liquidate"

SILENCES_MAX = 2
"""A guard that answers questions, and so often does not answer this request, cannot act."""

_ACCEPTED, _UNAVAILABLE = 202, 503


def liquidate(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether you are sure.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it goes into the record.")] = DEFAULT_REASON,
    symbol: Annotated[
        str | None, typer.Option(help="Only this contract, such as ES; the account if left out.")
    ] = None,
    operator: Annotated[
        str | None, typer.Option(help="Who asks; your login name if left out.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print how it ended as JSON; the rest goes to stderr.")
    ] = False,
) -> None:
    """Take the account flat: cancel, close, prove it; with a guard or without one.

    Ends with 0 when nothing is left, 1 when something is or nothing was sent, within 75 s.
    """
    ends_s = time.monotonic() + FOLLOWED_S
    wanted = Wanted(
        reason=reason,
        operator=operator or login_name(),
        symbol=symbol.upper() if symbol is not None and "." not in symbol else symbol,
    )
    silences = 0
    while True:
        offline = Settings.load(require_credentials=False, does_without=CALLS_PEOPLE)
        client = answering_guard(offline) if silences < SILENCES_MAX else None
        if client is not None:
            if not yes:
                _confirm(client, wanted.symbol)
                # A person may think as long as he likes.
                yes, ends_s = True, time.monotonic() + FOLLOWED_S
            by_guard = _by_guard(client, wanted, as_json=as_json, ends_s=ends_s)
            if by_guard is None:
                silences += 1
                complain("The guard stopped answering.")
                continue
            flat = by_guard
            break
        settings = settings_that_log_in()
        if not yes and would_be_sent(settings):
            _somebody_can_be_asked()
            if not confirmed(settings, wanted.symbol):
                say("Nothing was done.")
                raise typer.Exit(NOT_FLAT)
            ends_s = time.monotonic() + FOLLOWED_S
        yes = True
        left_s = ends_s - time.monotonic()
        ends_ns = SystemClock().monotonic_ns() + int(left_s * 1e9)
        try:
            flat = liquidate_alone(settings, wanted, ends_ns=ends_ns, as_json=as_json)
        except AlreadyRunningError as error:
            # A guard that was started meanwhile: it answers, or is stopped in its turn.
            if time.monotonic() >= ends_s:
                say(f"NOT FLAT: {error}")
                raise typer.Exit(NOT_FLAT) from error
            time.sleep(LOOK_S)
            continue
        break
    if not flat:
        raise typer.Exit(NOT_FLAT)


def _by_guard(client: GuardClient, wanted: Wanted, *, as_json: bool, ends_s: float) -> bool | None:
    """Have the guard do it; True once it is proven flat.

    None when it does not answer any more, and this process can do it in its place.
    """
    body = {"reason": wanted.reason, "operator": wanted.operator}
    if wanted.symbol is not None:
        body["symbol"] = wanted.symbol
    begun = _begun(client, body)
    if begun is None:
        return None
    if as_json:
        run: dict[str, Any] | None = begun
        if begun["sends"]:
            run = _watched(client, begun, ends_s=ends_s)
        if run is None:
            return None
        flat: bool = run["state"] == "FLAT"
        say_json({"flat": flat, "stand_alone": False, **run})
        return flat
    if not begun["sends"]:
        _say_nothing_was_sent(begun)
        return False
    return _followed(client, begun, ends_s=ends_s)


def _somebody_can_be_asked() -> None:
    if not sys.stdin.isatty():
        raise SetupError("Nobody can be asked here whether this is meant: add --yes.")


def _confirm(client: GuardClient, symbol: str | None) -> None:
    """Show what would be closed and ask."""
    reply = client.call("GET", "/v1/status")
    status = checked(reply.status, reply.body)
    if not status["gates"]["sends"]:
        return  # nothing is going to be sent
    _somebody_can_be_asked()
    say(status["gates"]["banner"])
    positions = [f"{row['quantity']:+d} {row['symbol']}" for row in status["positions"]]
    say(f"positions: {', '.join(positions) or 'none known'}")
    say(f"working orders: {len(status['working_orders'])}")
    what = symbol or f"account {status['account_id']}"
    if not typer.confirm(f"Take {what} flat, and stop entries until somebody resumes?"):
        say("Nothing was done.")
        raise typer.Exit(NOT_FLAT)


def _begun(client: GuardClient, body: dict[str, str]) -> dict[str, Any] | None:
    """Ask for it; None from a guard that cannot decide, where this process can act in its place.

    Raises:
        SetupError: the guard does not answer, and nobody else could do it.
    """
    try:
        reply = client.call("POST", "/v1/liquidate", body)
    except SetupError:
        if can_act():
            return None
        raise
    if reply.status == _UNAVAILABLE and can_act():
        return None
    if reply.status != _ACCEPTED:
        checked(reply.status, reply.body)
    begun: dict[str, Any] = reply.body
    return begun


def _say_nothing_was_sent(begun: dict[str, Any]) -> None:
    gate = begun["gate"] or {"code": "", "message": "the gate was closed when it was asked for"}
    dry_run = gate["code"] == "GATE_DRY_RUN"
    say("DRY RUN: NOTHING WAS SENT." if dry_run else f"NOTHING WAS SENT: {gate['message']}.")
    say_left(begun["remaining"], nothing="nothing is open that the guard knows of")
    for command in begun["would_send"]:
        what = (
            f"close {command['contract_id']}"
            if command["kind"] == "ClosePosition"
            else f"cancel order {command['broker_order_id']}"
        )
        say(f"would have sent: {what}")
    say("To send it, restart the guard with DRY_RUN=0 EXECUTE=1, and then:")
    say("  DRY_RUN=0 EXECUTE=1 backstop liquidate --yes")


def _followed(client: GuardClient, begun: dict[str, Any], *, ends_s: float) -> bool | None:
    """Print how far it has come whenever that changes; True once it is proven flat.

    None when the guard has not answered for ``SILENT_S``, and this process can act in its place.
    """
    shown = ""
    run, heard_s, told_silent = begun, time.monotonic(), False
    say(f"{run['id']}: begun")
    while True:
        now = f"{run['state']:<10} {len(run['remaining'])} left: {run['message']}"
        if now != shown and run["state"] != "FLAT":
            shown = now
            say(now)
        if run["state"] == "FLAT":
            say(f"FLAT: {run['message']}.")
            say("Entries stay refused until: backstop resume --reason R --operator O")
            return True
        if time.monotonic() + LOOK_S > ends_s:
            break
        time.sleep(LOOK_S)
        looked = _looked(client, run)
        if looked is not None:
            run, heard_s, told_silent = looked, time.monotonic(), False
        elif time.monotonic() >= heard_s + SILENT_S and not told_silent:
            if can_act():
                return None
            told_silent = True  # only the guard can do it: it may come back
            complain(_silent())
    if told_silent:
        silent_s = time.monotonic() - heard_s
        say(f"NOT FLAT: the guard has not answered for {silent_s:.0f} s. Left, by its last words:")
    else:
        say(f"NOT FLAT after {FOLLOWED_S} s ({run['state']}). The guard goes on. Left:")
    say_left(run["remaining"], nothing="nothing is known to be left, but no reads have proven it")
    say(f"Look again: GET /v1/liquidations/{run['id']}, and look at the account itself.")
    return False


def _watched(client: GuardClient, run: dict[str, Any], *, ends_s: float) -> dict[str, Any] | None:
    """Look until it is flat or the time is over; returns how it stands then.

    None when the guard has not answered for ``SILENT_S``, and this process can act in its place.
    """
    heard_s, told_silent = time.monotonic(), False
    while run["state"] != "FLAT" and time.monotonic() + LOOK_S <= ends_s:
        time.sleep(LOOK_S)
        looked = _looked(client, run)
        if looked is not None:
            run, heard_s, told_silent = looked, time.monotonic(), False
        elif time.monotonic() >= heard_s + SILENT_S and not told_silent:
            if can_act():
                return None
            told_silent = True  # only the guard can do it: it may come back
            complain(_silent())
    return run


def _silent() -> str:
    """Return what a person should know at once when only a guard that is silent could do it."""
    return (
        "The guard has stopped answering. With the settings of this terminal this command cannot "
        f"act in its place; with these it does: {COMMAND_THAT_SENDS}"
    )


def _looked(client: GuardClient, run: dict[str, Any]) -> dict[str, Any] | None:
    """Return the run as it stands; None from a guard that does not answer just now."""
    try:
        reply = client.call("GET", f"/v1/liquidations/{run['id']}")
        looked: dict[str, Any] = checked(reply.status, reply.body)
    except SetupError:
        return None  # it may be starting again
    return looked
