"""The verb ``doctor``: is this set-up fit to trade on? One line for each thing that matters.

It never sends an order, and never disturbs a guard: one that runs is asked over its interface, for
another login could end its session.
"""

import asyncio
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer

from backstop.adapters.clock import SystemClock
from backstop.app.set_up import looked_at
from backstop.config.settings import Settings
from backstop.core.check import Check, CheckStatus, worst
from backstop.core.set_up_checks import checks
from backstop.domain.set_up import Holder, LockLook, SetUp
from backstop.emergency.right_to_send import is_free, lock_of_account
from backstop.entrypoints.answering_guard import answering_guard
from backstop.entrypoints.api_client import GuardClient
from backstop.entrypoints.reading import AsJson, checked
from backstop.entrypoints.terminal import progress, say, say_json
from backstop.errors import StateFolderError

FAILED = 1
"""Exit code when a check failed."""

NAME_WIDTH, VALUE_WIDTH = 10, 14
"""Columns of the report."""

NO_LOGIN = "--no-login was given"


class Asked(StrEnum):
    """Who told what the report says."""

    RUNNING = "RUNNING"  # the guard itself
    SILENT = "SILENT"  # nobody: a process holds the account and does not answer
    NOT_RUNNING = "NOT_RUNNING"  # this process, which looked itself


def doctor(
    *,
    no_login: Annotated[
        bool, typer.Option("--no-login", help="Check only what takes no login at the gateway.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check clock, disk, lock, login, account, hubs, data age and gates; sends nothing.

    A running guard is asked. Without one this logs in, which may end another session of the same
    user, one on another computer for instance. Ends with 0 when nothing failed, 1 when a check
    failed, 2 when the settings cannot be used.
    """
    offline = Settings.load(require_credentials=False)
    client = answering_guard(offline)
    asked, found = (
        (Asked.RUNNING, _told(client)) if client is not None else _looked(no_login=no_login)
    )
    if as_json:
        say_json({"guard": asked, "status": worst(found), "checks": msgspec.to_builtins(found)})
    else:
        _say(asked, found)
    if worst(found) is CheckStatus.FAIL:
        raise typer.Exit(FAILED)


def _told(client: GuardClient) -> tuple[Check, ...]:
    """Return what the running guard says of its set-up."""
    reply = client.call("GET", "/v1/checks")
    body: dict[str, Any] = checked(reply.status, reply.body)
    return msgspec.convert(body["checks"], tuple[Check, ...])


def _looked(*, no_login: bool) -> tuple[Asked, tuple[Check, ...]]:
    """Return what this process finds where no guard answers."""
    settings = Settings.load(require_credentials=not no_login)
    lock = _lock(settings)
    why = NO_LOGIN if no_login else ""
    if lock.holder is Holder.SILENT:
        why = "another login could end the session of the process that holds the account"
    with progress() as show:
        show("measuring the disk" if why else "looking at the disk, the gateway and both hubs")
        found: SetUp = asyncio.run(
            looked_at(settings, clock=SystemClock(), lock=lock, not_looked=why)
        )
    return Asked.SILENT if lock.holder is Holder.SILENT else Asked.NOT_RUNNING, checks(found)


def _lock(settings: Settings) -> LockLook:
    """Say who holds the account; the lock is given back at once, for a guard may want it."""
    account_id = settings.account_id
    if not account_id:
        return LockLook(account_id=0)
    lock = lock_of_account(urlsplit(settings.api_url).netloc, account_id)
    try:
        if is_free(lock):
            return LockLook(account_id=account_id)
    except StateFolderError as error:
        return LockLook(account_id=account_id, fault=str(error).rstrip("."))
    return LockLook(
        account_id=account_id, holder=Holder.SILENT, process_id=lock.holder_process_id()
    )


# -- words -----------------------------------------------------------------------------------------


def _say(asked: Asked, found: tuple[Check, ...]) -> None:
    if asked is Asked.RUNNING:
        say("A guard is running and was asked: nothing was measured anew.")
    for it in found:
        measured = "-" if it.value is None else f"{it.value} {it.unit}".rstrip()
        say(f"{it.status:<4}  {it.check:<{NAME_WIDTH}}  {measured:<{VALUE_WIDTH}}  {it.finding}")
        if it.advice:
            say(f"      -> {it.advice}")
    counts = {status: sum(it.status is status for it in found) for status in CheckStatus}
    say(", ".join(f"{count} {status}" for status, count in counts.items() if count))
