"""``backstop run``: the guard as a process of its own, with its HTTP interface beside it.

The order is the point: settings are judged and the port is taken before the gateway hears of us,
the guard is armed before the web framework is even loaded, and at the end the interface closes
before the guard does.
"""

import argparse
import asyncio
import errno
import signal
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from backstop import __version__
from backstop.adapters.log import Redactor, configure_logging
from backstop.adapters.loopback import is_loopback_host
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.secret import Secret
from backstop.config.settings import Settings
from backstop.config.settings_reader import NAMES
from backstop.config.settings_table import SETTINGS
from backstop.core.policy import Policy
from backstop.entrypoints.api_token import TOKEN_FILE, stored_or_made_token
from backstop.entrypoints.http.status import gates
from backstop.entrypoints.lean_start import all_is_loaded
from backstop.entrypoints.terminal import say
from backstop.errors import SettingError, SetupError

STOP_LIMIT_S = 2.0
"""How long the interface, and then the guard, may take to close: together well under 5 s."""

LISTEN_BACKLOG = 128


def run(arguments: Sequence[str]) -> int:
    """Guard the account until SIGTERM, SIGINT or Ctrl-C; ``arguments`` begin with ``run``.

    Raises:
        SetupError: settings, port, state folder, or another guard on the account.
        LoginRefusedError: the gateway refuses the credentials.
    """
    parser = argparse.ArgumentParser(
        prog="backstop run",
        description="Guard the account: connect, protect, serve the API. Settings come from the "
        "environment and from .env.local in the current folder.",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting for this run, such as DRY_RUN=1; beats the environment",
    )
    options = parser.parse_args(arguments[1:])
    settings = Settings.load(overrides=_overrides(options.set))
    asyncio.run(_guard(settings))
    return 0


def run_verb() -> None:
    """Guard the account: connect, protect, serve the API."""
    run(["run"])


def _overrides(assignments: Sequence[str]) -> dict[str, str]:
    """Return the settings of the command line; secrets are no part of it, everybody can read it."""
    secret = {setting.name for setting in SETTINGS if setting.kind.secret}
    overrides: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SetupError(f"--set {name}: write --set NAME=VALUE.")
        if name not in NAMES:
            raise SettingError(name, "is no setting", "a name of the settings reference")
        if name in secret:
            raise SettingError(
                name, "a secret on the command line can be read by others", "the environment"
            )
        overrides[name] = value
    return overrides


async def _guard(settings: Settings) -> None:
    stop = _stop_at_signals()
    _check_exposure(settings)
    with _listener(settings.listen.host, settings.listen.port) as listener:
        token = settings.api_token or Secret(stored_or_made_token(settings.state_folder))
        manager = CriticalSystemManager.from_settings(settings)
        _log_without_secrets(manager.session_id, (*settings.secrets, token))
        try:
            if not await _ends_before(stop, manager.initialize()):
                return
            _announce(settings, manager.book.policy, listener.getsockname()[1])
            # Armed. The web framework takes a while to load: not on the event loop's time.
            http_server = await asyncio.to_thread(import_module, "backstop.entrypoints.http.server")
            all_is_loaded()
            server = http_server.api_server(
                manager,
                listener,
                token=token.reveal(),
                loopback_only=is_loopback_host(settings.listen.host),
                tls_certificate=settings.tls_cert,
                tls_key=settings.tls_key,
            )
            await _serve(server, manager, stop)
        finally:
            with suppress(TimeoutError):
                # What is not written by then is not lost: the next start reads the broker.
                async with asyncio.timeout(STOP_LIMIT_S):
                    await manager.close()


async def _serve(server: Any, manager: CriticalSystemManager, stop: asyncio.Event) -> None:
    """Answer calls until the signal to stop, or until a part of the guard fails."""
    serving = asyncio.create_task(server.serve(), name="http")
    failing = asyncio.create_task(manager.failed(), name="guard")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({serving, failing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for ended in (failing, serving):
            if ended.done():
                await ended
    finally:
        server.stop()
        failing.cancel()
        stopping.cancel()
        await asyncio.wait({serving}, timeout=STOP_LIMIT_S)
        serving.cancel()


async def _ends_before(stop: asyncio.Event, work: Any) -> bool:
    """Wait for ``work``; False when the signal to stop came first, and then it is cancelled."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working}, timeout=STOP_LIMIT_S)
        return False
    await working
    return True


def _log_without_secrets(session_id: str, secrets: tuple[Secret, ...]) -> None:
    redactor = Redactor()
    for secret in secrets:
        redactor.register(secret)
    configure_logging(session_id=session_id, redactor=redactor)


def _stop_at_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows has no signals on the event loop
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop


def _check_exposure(settings: Settings) -> None:
    """Refuse to listen where others could reach us without a token of the operator's and TLS."""
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise SetupError(
                f"BACKSTOP_TLS_CERT and BACKSTOP_TLS_KEY cannot be used: {error}."
            ) from error
    if is_loopback_host(settings.listen.host):
        return
    if settings.api_token is None or certificate is None:
        raise SetupError(
            f"BACKSTOP_LISTEN: {settings.listen.host} can be reached from other machines. Allowed "
            "there only with BACKSTOP_API_TOKEN and with BACKSTOP_TLS_CERT and BACKSTOP_TLS_KEY; "
            "without them listen on 127.0.0.1."
        )


def _listener(host: str, port: int) -> socket.socket:
    """Take the port at once: a second guard, or a wrong address, shows before anything starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
    except OSError as error:
        why = (
            f"port {port} on {host} is in use, by another guard or another program"
            if error.errno == errno.EADDRINUSE
            else f"{host}:{port} cannot be listened on: {error.strerror or error}"
        )
        raise SetupError(f"BACKSTOP_LISTEN: {why}. Set it to a free host:port.") from error


def _announce(settings: Settings, policy: Policy, port: int) -> None:
    """Say what a person who starts this for the first time needs to know."""
    host = f"[{settings.listen.host}]" if ":" in settings.listen.host else settings.listen.host
    scheme = "http" if settings.tls_cert is None else "https"
    kept = settings.state_folder / TOKEN_FILE
    token = "BACKSTOP_API_TOKEN" if settings.api_token else str(kept)
    say(f"Backstop {__version__} guards account {settings.account_id} at {settings.api_url}")
    opens = "" if policy.sends else " (DRY_RUN=0 together with EXECUTE=1 sends)"
    say(gates(policy).banner + opens)
    say(f"API    {scheme}://{host}:{port}   token: {token}")
    say(f"Record {settings.state_folder}")
    for warning in settings.warnings:
        say(f"WARNING {warning}")
    say("Stop with Ctrl-C or SIGTERM; protective orders stay at the venue.")
