"""The verb ``liquidate``: asks the running guard to take the account flat and watches it do so.

Ends with 0 only when the guard has proven that nothing is left. What is printed last is always what
is true then, and what to do next.
"""

import getpass
import sys
import time
from typing import Annotated, Any

import typer

from backstop.entrypoints.api_client import CALL_LIMIT_S, GuardClient
from backstop.entrypoints.place import guard_client
from backstop.entrypoints.reading import checked
from backstop.entrypoints.terminal import columns, say
from backstop.errors import SetupError

LIMIT_S = 75
"""The command ends within this time, flat or not; the guard goes on."""

FOLLOWED_S = LIMIT_S - CALL_LIMIT_S - 1
"""How long it watches: a last look may take as long as a call may."""

LOOK_S = 0.25
"""Pause between two looks at how far it has come."""

NOT_FLAT = 1
"""Exit code while anything is left, or nothing was sent."""

DEFAULT_REASON = "backstop liquidate"

_ACCEPTED = 202


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
) -> None:
    """Take the account flat: cancel, close, prove it.

    Ends with 0 when nothing is left, 1 when something is or nothing was sent, within 75 s.
    """
    ends_s = time.monotonic() + FOLLOWED_S
    client = guard_client()
    if not yes:
        _confirm(client, symbol)
        ends_s = time.monotonic() + FOLLOWED_S  # a person may think as long as he likes
    body = {"reason": reason, "operator": operator or getpass.getuser()}
    if symbol is not None:
        body["symbol"] = symbol.upper() if "." not in symbol else symbol
    begun = _begun(client, body)
    if not begun["sends"]:
        _say_nothing_was_sent(begun)
        raise typer.Exit(NOT_FLAT)
    if not _followed(client, begun, ends_s=ends_s):
        raise typer.Exit(NOT_FLAT)


def _confirm(client: GuardClient, symbol: str | None) -> None:
    """Show what would be closed and ask; nobody to ask is no yes."""
    if not sys.stdin.isatty():
        raise SetupError("Nobody can be asked here whether this is meant: add --yes.")
    reply = client.call("GET", "/v1/status")
    status = checked(reply.status, reply.body)
    say(status["gates"]["banner"])
    positions = [f"{row['quantity']:+d} {row['symbol']}" for row in status["positions"]]
    say(f"positions: {', '.join(positions) or 'none known'}")
    say(f"working orders: {len(status['working_orders'])}")
    what = symbol or f"account {status['account_id']}"
    if not typer.confirm(f"Take {what} flat, and stop entries until somebody resumes?"):
        say("Nothing was done.")
        raise typer.Exit(NOT_FLAT)


def _begun(client: GuardClient, body: dict[str, str]) -> dict[str, Any]:
    reply = client.call("POST", "/v1/liquidate", body)
    if reply.status != _ACCEPTED:
        checked(reply.status, reply.body)
    begun: dict[str, Any] = reply.body
    return begun


def _say_nothing_was_sent(begun: dict[str, Any]) -> None:
    gate = begun["gate"] or {"code": "", "message": "the gate was closed when it was asked for"}
    dry_run = gate["code"] == "GATE_DRY_RUN"
    say("DRY RUN: NOTHING WAS SENT." if dry_run else f"NOTHING WAS SENT: {gate['message']}.")
    _say_left(begun["remaining"], nothing="nothing is open that the guard knows of")
    for command in begun["would_send"]:
        what = (
            f"close {command['contract_id']}"
            if command["kind"] == "ClosePosition"
            else f"cancel order {command['broker_order_id']}"
        )
        say(f"would have sent: {what}")
    say("To send it, restart the guard with DRY_RUN=0 EXECUTE=1, and then:")
    say("  DRY_RUN=0 EXECUTE=1 backstop liquidate --yes")


def _followed(client: GuardClient, begun: dict[str, Any], *, ends_s: float) -> bool:
    """Print how far it has come whenever that changes; True once it is proven flat."""
    shown: tuple[object, ...] = ()
    run = begun
    say(f"{run['id']}: begun")
    while True:
        now = (run["state"], len(run["remaining"]))
        if now != shown:
            shown = now
            say(f"{run['state']:<10} {len(run['remaining'])} left")
        if run["state"] == "FLAT":
            say(f"FLAT: {run['message']}.")
            say("Entries stay refused until: backstop resume --reason R --operator O")
            return True
        if time.monotonic() + LOOK_S > ends_s:
            break
        time.sleep(LOOK_S)
        run = _looked(client, run)
    say(f"NOT FLAT after {FOLLOWED_S} s ({run['state']}). The guard goes on. Left:")
    _say_left(run["remaining"], nothing="nothing is known to be left, but no reads have proven it")
    say(f"Look again: GET /v1/liquidations/{run['id']}, and look at the account itself.")
    return False


def _looked(client: GuardClient, run: dict[str, Any]) -> dict[str, Any]:
    """Return the run as it stands; a guard that does not answer now may be starting again."""
    try:
        reply = client.call("GET", f"/v1/liquidations/{run['id']}")
        looked: dict[str, Any] = checked(reply.status, reply.body)
    except SetupError:
        return run
    return looked


def _say_left(left: list[dict[str, Any]], *, nothing: str) -> None:
    if not left:
        say(nothing)
        return
    heads = ("STILL OPEN", "SYMBOL", "QTY", "SIDE", "STATUS", "ORDER")
    say(columns(heads, map(_row, left)))


def _row(it: dict[str, Any]) -> tuple[object, ...]:
    quantity = f"{it['quantity']:+d}" if it["kind"] == "POSITION" else it["quantity"]
    order = it["broker_order_id"] or it["client_order_id"]
    return (it["kind"].lower(), it["symbol"], quantity, it["side"], it["status"], order)
