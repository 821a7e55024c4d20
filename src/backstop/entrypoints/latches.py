"""The verbs of a person at the switch: ``halt`` stops new exposure, ``resume`` lets it through.

Both ask the running guard and print last what is true then.
"""

from http import HTTPStatus
from typing import Annotated, Any

import typer

from backstop.adapters.login_name import login_name
from backstop.entrypoints.api_client import Reply
from backstop.entrypoints.place import guard_client
from backstop.entrypoints.reading import AsJson, checked
from backstop.entrypoints.terminal import say, say_json

NOT_RESUMED = 1
"""Exit code of a resume that the guard refuses."""

ACTIVE = "ACTIVE"


def halt(
    *,
    reason: Annotated[str, typer.Option(help="Why; it goes into the record.")],
    operator: Annotated[
        str | None, typer.Option(help="Who asks; your login name if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Refuse entries and cancel resting ones; exits, stops and liquidation go on.

    Ends with 0 when the guard is halted, 2 when no guard could be asked.
    """
    name = operator or login_name()
    reply = guard_client().call("POST", "/v1/halt", {"reason": reason, "operator": name})
    body = checked(reply.status, reply.body)
    if as_json:
        say_json(body)
        return
    _say_state(body)
    say("Entries are refused and resting ones are being cancelled.")
    say("Exits, stops and liquidation go on.")
    say("To trade again: backstop resume --reason R --operator O")


def resume(
    *,
    reason: Annotated[str, typer.Option(help="Why; it goes into the record.")],
    operator: Annotated[str, typer.Option(help="Who answers for it.")],
    as_json: AsJson = False,
) -> None:
    """Lift halts, freezes and every other latch.

    Ends with 0 when they are lifted, 1 when the guard refuses, 2 when no guard could be asked.
    """
    client = guard_client()
    reply = client.call("POST", "/v1/resume", {"reason": reason, "operator": operator})
    if reply.status == HTTPStatus.CONFLICT:
        _say_refused(reply, client.call("GET", "/v1/status"), as_json=as_json)
        raise typer.Exit(NOT_RESUMED)
    body = checked(reply.status, reply.body)
    if as_json:
        say_json(body)
        return
    say("Resumed: no latch is left.")
    _say_state(body)
    if body["trading_state"] != ACTIVE:
        say("What is named above lifts by itself once it is well again.")


def _say_refused(refusal: Reply, status: Reply, *, as_json: bool) -> None:
    if as_json:
        say_json(refusal.body)
        return
    say(f"NOT RESUMED: {refusal.body['error']['message'].removeprefix('not resumed: ')}")
    _say_state(checked(status.status, status.body))


def _say_state(body: dict[str, Any]) -> None:
    say(f"trading state  {body['trading_state']}")
    for reason in body["reasons"]:
        say(f"               {reason}")
