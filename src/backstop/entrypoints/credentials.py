"""The verbs on credentials: where each one is, whether it works, and how it gets there.

No value is ever an argument or an answer: arguments stand in the process listing and in the
shell's history, answers in scroll-back and logs.
"""

import asyncio
import getpass
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from msgspec import Struct

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.projectx.login import token_expiry_s
from backstop.adapters.vaults.os_keyring import OsKeyring
from backstop.config.credential_manager import (
    EMERGENCY_API_KEY,
    JWT,
    CredentialManager,
    Inquiry,
    credential_fault,
)
from backstop.config.env_file import ENV_FILE
from backstop.config.env_file_writing import write_value
from backstop.config.secret import Secret
from backstop.config.settings import Settings
from backstop.config.settings_table import CREDENTIALS
from backstop.emergency.right_to_send import is_free, lock_of_account
from backstop.entrypoints.terminal import columns, say, say_json
from backstop.errors import (
    CredentialError,
    CredentialSourceError,
    GatewayError,
    GatewayUnreachableError,
    SettingError,
    SetupError,
    SetupFaults,
)

LOGIN_LIMIT_S = 15.0
"""How long one login and one look at the account may take."""

NAMES = tuple(setting.name for setting in CREDENTIALS)

credentials = typer.Typer(
    help="Show where each credential comes from, try it, store it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


class Store(StrEnum):
    """Where ``set`` puts a value."""

    FILE = "file"
    KEYRING = "keyring"


class LoginResult(Struct, frozen=True, kw_only=True):
    """What the gateway said to one credential."""

    credential: str
    accepted: bool
    words: str
    reached: bool = True


@credentials.command(short_help="Show which source has each credential; never a value.")
def check(
    *,
    login: Annotated[
        bool, typer.Option("--login", help="Log in with each key, and look for the account.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which source has each credential, since when and until when; never a value.

    Ends with 0 when all that is needed is there, 2 when something is missing, unusable or expired,
    1 when the gateway refuses a login or does not answer. A login is not tried while a guard holds
    the account: it could end the guard's own session.
    """
    manager = CredentialManager.from_env()
    inquiries = [manager.inquire(name) for name in NAMES]
    faults: tuple[SetupError, ...] = ()
    try:
        manager.validate_required_credentials()
    except SetupFaults as error:
        faults = error.faults
    expired = _expired(inquiries)
    logins = asyncio.run(_logins(_settings_without_a_guard())) if login and not faults else []
    faults += expired
    if as_json:
        say_json(
            {
                "complete": not faults,
                "credentials": [_as_json(it) for it in inquiries],
                "faults": [str(fault) for fault in faults],
                "logins": [
                    {"credential": it.credential, "accepted": it.accepted, "words": it.words}
                    for it in logins
                ],
            }
        )
    else:
        heads = ("CREDENTIAL", "FROM", "AGE", "EXPIRES", "ASKED")
        say(columns(heads, map(_row, inquiries)))
        for it in logins:
            refused = "REFUSED" if it.reached else "NOT TRIED"
            say(f"{it.credential}: {'accepted' if it.accepted else refused}: {it.words}")
    if faults:
        raise SetupFaults(faults)
    if not all(it.accepted for it in logins):
        raise typer.Exit(1)


@credentials.command("set", short_help="Store a credential, typed or from standard input.")
def store(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(NAMES)}.")],
    *,
    to: Annotated[
        Store | None,
        typer.Option(help="The keyring when BACKSTOP_KEYRING_SERVICE is set, else .env.local."),
    ] = None,
) -> None:
    """Store a credential: typed at a prompt, or from standard input; never an argument.

    A running guard takes a changed credential up by itself.
    """
    setting = next((it for it in CREDENTIALS if it.name == name), None)
    if setting is None:
        raise SetupError(f"{name} is no credential. Allowed: {', '.join(NAMES)}.")
    keyring = next(
        (it for it in CredentialManager.from_env().sources if isinstance(it, OsKeyring)), None
    )
    value = _entered(name)
    fault = credential_fault(value)
    if fault is not None:
        raise CredentialError(name, f"the value {fault}", "Nothing was stored.")
    try:
        setting.kind.parse(value)
    except ValueError as error:
        raise SettingError(name, str(error), setting.kind.allowed) from None
    if to is Store.KEYRING or (to is None and keyring is not None):
        if keyring is None:
            raise SettingError("BACKSTOP_KEYRING_SERVICE", "is not set", "a name, for the keyring")
        try:
            keyring.write(name, value)
        except CredentialSourceError as error:
            raise SetupError(f"OS keyring: {error}. Nothing was stored.") from error
        place, source = "the keyring", OsKeyring.name
    else:
        write_value(Path(ENV_FILE), name, value)
        place, source = f"{Path(ENV_FILE).absolute()}, mode 0600", ENV_FILE
    say(f"{name} is in {place}.")
    inquiry = CredentialManager.from_env().inquire(name)
    if inquiry.answered_by not in {source, None}:
        say(f"{inquiry.answered_by} has {name} too and is asked first: it is what counts.")


def _entered(name: str) -> str:
    """Return what a person typed unseen, or what came through a pipe, without its line's end."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{name} (it is not shown): ")
    return sys.stdin.readline().removesuffix("\n").removesuffix("\r")


# -- words -----------------------------------------------------------------------------------------


def _row(inquiry: Inquiry) -> tuple[object, ...]:
    facts = inquiry.facts
    expires = _expiry(inquiry)
    asked = "; ".join(f"{it.source}: {it.words}" for it in inquiry.answers)
    return (
        inquiry.credential,
        None if inquiry.answered_by is None else inquiry.place,
        None if facts.changed is None else _age(facts.changed),
        None if expires is None else _until(expires),
        asked,
    )


def _as_json(inquiry: Inquiry) -> dict[str, Any]:
    changed, expires = inquiry.facts.changed, _expiry(inquiry)
    age_s = None if changed is None else int((datetime.now(UTC) - changed).total_seconds())
    return {
        "name": inquiry.credential,
        "found": inquiry.value is not None,
        "source": inquiry.answered_by,
        "place": inquiry.place or None,
        "fault": inquiry.fault,
        "changed": None if changed is None else changed.isoformat(),
        "age_s": age_s,
        "expires": None if expires is None else expires.isoformat(),
        "asked": [{"source": it.source, "answer": it.words} for it in inquiry.answers],
    }


def _expiry(inquiry: Inquiry) -> datetime | None:
    """Return when a value ends: as its vault says, or as a token says of itself."""
    if inquiry.credential == JWT and inquiry.value is not None:
        ends_s = token_expiry_s(inquiry.value.reveal())
        if ends_s is not None:
            return datetime.fromtimestamp(ends_s, UTC)
    return inquiry.facts.expires


def _expired(inquiries: list[Inquiry]) -> tuple[SetupError, ...]:
    """Return a fault for each value whose time is over; it may still open a door, for how long?"""
    ends = ((it, _expiry(it)) for it in inquiries if it.value is not None)
    return tuple(
        CredentialError(
            it.credential,
            f"the value from {it.place} has {_until(end)}".replace("EXPIRED", "expired"),
            "Store a new one there.",
        )
        for it, end in ends
        if end is not None and end <= datetime.now(UTC)
    )


def _age(changed: datetime) -> str:
    return _span((datetime.now(UTC) - changed).total_seconds())


def _until(expires: datetime) -> str:
    left_s = (expires - datetime.now(UTC)).total_seconds()
    return f"in {_span(left_s)}" if left_s > 0 else f"EXPIRED {_span(-left_s)} ago"


def _span(seconds: float) -> str:
    for size_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size_s:
            return f"{int(seconds // size_s)} {unit}"
    return f"{max(0, int(seconds))} s"


# -- logins ----------------------------------------------------------------------------------------


def _settings_without_a_guard() -> Settings:
    """Return the settings; refuse beside a guard, whose session another login may end."""
    settings = Settings.load()
    if not is_free(lock_of_account(urlsplit(settings.api_url).netloc, settings.account_id)):
        raise SetupError(
            f"A guard holds account {settings.account_id}; another login may end its session, so "
            "none was tried. 'backstop status' shows whether it is logged in."
        )
    return settings


def _ways_in(settings: Settings) -> Iterator[tuple[str, Secret | None, Secret | None]]:
    """Yield name, key and token of every way to log in; the spare one has to work too."""
    if settings.api_key is not None:
        yield "TOPSTEPX_API_KEY", settings.api_key, None
    if settings.token is not None:
        yield JWT, None, settings.token
    if settings.emergency_api_key is not None:
        yield EMERGENCY_API_KEY, settings.emergency_api_key, None


async def _logins(settings: Settings) -> list[LoginResult]:
    return [
        await _login(settings, name, key=key, token=token)
        for name, key, token in _ways_in(settings)
    ]


async def _login(
    settings: Settings, name: str, *, key: Secret | None, token: Secret | None
) -> LoginResult:
    async with ProjectXGateway(
        api_url=settings.api_url,
        user_name=settings.user_name,
        clock=SystemClock(),
        api_key=key,
        token=token,
    ) as gateway:
        try:
            async with asyncio.timeout(LOGIN_LIMIT_S):
                account = await gateway.account(settings.account_id)
        except GatewayUnreachableError as error:
            return LoginResult(credential=name, accepted=False, reached=False, words=str(error))
        except GatewayError as error:
            return LoginResult(credential=name, accepted=False, words=str(error))
        except TimeoutError:
            words = f"no answer within {LOGIN_LIMIT_S:g} s"
            return LoginResult(credential=name, accepted=False, reached=False, words=words)
    can = "may trade" if account.can_trade else "may NOT trade"
    words = f"account {account.account_id} ({account.name}) {can}"
    return LoginResult(credential=name, accepted=True, words=words)
