"""The verbs on bots: who is registered and when each was heard, and who may use the gateway."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from backstop.adapters.bot_credentials import (
    ALLOWED_NAMES,
    BotCredential,
    BotCredentials,
)
from backstop.domain.bot import BotLimits
from backstop.domain.utc import utc_text
from backstop.domain.wish_terms import QUANTITY_MAX
from backstop.entrypoints.place import guard_client, state_folder
from backstop.entrypoints.reading import ago, checked
from backstop.entrypoints.terminal import columns, say, say_json
from backstop.errors import SetupError

ORDERS_MAX = 1000
ENTRIES_PER_SECOND_MAX = 100
"""Bounds on limits: above them the settings of the guard decide anyway."""

_DEFAULTS = BotLimits()

bots = typer.Typer(
    help="List the bots that the running guard looks after, and say who may use its gateway.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help=f"The name of the bot: {ALLOWED_NAMES}.")]


@bots.callback()
def registered(
    context: typer.Context,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as the API gives it.")
    ] = False,
) -> None:
    """List the running guard's bots with the age of their heartbeats."""
    if context.invoked_subcommand is not None:
        return
    reply = guard_client().call("GET", "/v1/bots")
    body = checked(reply.status, reply.body)
    if as_json:
        say_json(body)
    elif body["bots"]:
        heads = ("BOT", "STATE", "HEARTBEAT", "TIMEOUT", "POLICY", "FLATTEN AFTER")
        say(columns(heads, map(_row, body["bots"])))
    else:
        say("no bots are registered")


@bots.command("list")
def list_credentials(*, as_json: AsJson = False) -> None:
    """List who may use the gateway of this state folder, with the limits of each; no key."""
    held = BotCredentials(state_folder()).read()
    if as_json:
        say_json({"bots": [_shown(bot) for bot in held]})
    elif held:
        heads = ("BOT", "MADE", "CONTRACTS", "ORDERS", "ENTRIES A SECOND", "INSTRUMENTS")
        say(columns(heads, map(_limits_row, held)))
    else:
        say("no bot may use the gateway: backstop bots add NAME")


@bots.command()
def add(
    name: Name,
    *,
    max_quantity: Annotated[
        int, typer.Option(min=1, max=QUANTITY_MAX, help="Contracts of one entry.")
    ] = _DEFAULTS.quantity_max,
    max_orders: Annotated[
        int, typer.Option(min=1, max=ORDERS_MAX, help="Unfinished orders at one time.")
    ] = _DEFAULTS.orders_max,
    max_per_second: Annotated[
        int, typer.Option(min=1, max=ENTRIES_PER_SECOND_MAX, help="Entries within a second.")
    ] = _DEFAULTS.entries_per_second_max,
    instruments: Annotated[
        str,
        typer.Option(help="Roots that it may enter, such as MES,MNQ; all of the guard's if unset."),
    ] = "",
    key_file: Annotated[
        Path | None,
        typer.Option(help="Write the key into this new file, for you alone, and print none."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a bot use the gateway; prints its key, once. A running guard knows it at once."""
    limits = BotLimits(
        quantity_max=max_quantity,
        orders_max=max_orders,
        entries_per_second_max=max_per_second,
        symbols=_symbols(instruments),
    )
    credentials, utc_s = BotCredentials(state_folder()), int(time.time())
    if key_file is not None:
        with _new_file(key_file) as file:
            file.write(credentials.add(name, limits, utc_s=utc_s) + "\n")
        say(f"{name} may use the gateway; its key is in {key_file}, and nowhere else.")
        return
    key = credentials.add(name, limits, utc_s=utc_s)
    if as_json:
        say_json({"name": name, "key": key})
        return
    say(f"userName  {name}")
    say(f"apiKey    {key}")
    say("The key is shown this once: only a hash of it is kept.")


@bots.command()
def remove(name: Name) -> None:
    """Revoke a bot's key and tokens; a running guard knows it at once. Orders stay as they are."""
    if not BotCredentials(state_folder()).remove(name):
        raise SetupError(f"There is no bot {name}; 'backstop bots list' shows them.")
    say(f"{name} is removed: its key and its tokens are no good any more.")


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """Give a file that only this user can read; it is taken away again when nothing comes of it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SetupError(
            f"--key-file {path} cannot be made: {error.strerror or error}. No bot was added."
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _symbols(text: str) -> tuple[str, ...]:
    symbols = tuple(word.strip().upper() for word in text.split(",") if word.strip())
    if any(not symbol.isalnum() for symbol in symbols):
        raise SetupError(f"--instruments {text}: write roots such as MES,MNQ.")
    return symbols


def _shown(bot: BotCredential) -> dict[str, Any]:
    return {
        "name": bot.name,
        "made": utc_text(bot.made_utc_s * 1_000_000),
        "max_quantity": bot.limits.quantity_max,
        "max_orders": bot.limits.orders_max,
        "max_per_second": bot.limits.entries_per_second_max,
        "instruments": list(bot.limits.symbols),
    }


def _limits_row(bot: BotCredential) -> tuple[object, ...]:
    limits = bot.limits
    return (
        bot.name,
        utc_text(bot.made_utc_s * 1_000_000)[:19] + "Z",
        limits.quantity_max,
        limits.orders_max,
        limits.entries_per_second_max,
        ",".join(limits.symbols) or "all",
    )


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
