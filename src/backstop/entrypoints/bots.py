"""The verb on bots: who is registered, and when each was last heard."""

from typing import Annotated, Any

import typer

from backstop.entrypoints.place import guard_client
from backstop.entrypoints.reading import ago, checked
from backstop.entrypoints.terminal import columns, say, say_json


def bots(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as the API gives it.")
    ] = False,
) -> None:
    """List the running guard's bots with the age of their heartbeats."""
    reply = guard_client().call("GET", "/v1/bots")
    body = checked(reply.status, reply.body)
    if as_json:
        say_json(body)
    elif body["bots"]:
        heads = ("BOT", "STATE", "HEARTBEAT", "TIMEOUT", "POLICY", "FLATTEN AFTER")
        say(columns(heads, map(_row, body["bots"])))
    else:
        say("no bots are registered")


def _row(bot: dict[str, Any]) -> tuple[object, ...]:
    flatten_ms = bot["flatten_after_ms"]
    return (
        bot["bot_id"],
        bot["state"],
        ago(bot["heartbeat_age_ms"]),
        f"{bot['heartbeat_timeout_ms'] / 1000:g} s",
        bot["policy"],
        None if flatten_ms is None else f"{flatten_ms / 1000:g} s",
    )
