"""The guard as a process of its own, with its HTTP interface beside it: the child of the watchdog.

The order is the point: settings are judged and the port is taken before the gateway hears of us,
the guard decides before the web framework is even loaded, and at the end the interface closes
before the guard does. A gateway that is slow to answer holds up neither: the interface answers, and
people are heard, while it is waited for.
"""

import asyncio
import errno
import os
import select
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from backstop import __version__
from backstop.adapters.child_process import start_child
from backstop.adapters.clock import SystemClock, awake_ns
from backstop.adapters.log import configure_logging
from backstop.adapters.loopback import is_loopback_host
from backstop.adapters.process_line import ProcessLine
from backstop.adapters.process_title import rename_word
from backstop.adapters.signing import get_ready
from backstop.adapters.stack_dump import StackDump
from backstop.adapters.state_layout import AUDIT_DATABASE, CRASH_FOLDER
from backstop.adapters.stop_signals import call_at_stop_signals, kept_back
from backstop.app.crash_reports import CrashReports, state_summary
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.heap import HeapKeeper
from backstop.app.policy import liquidate_after_ns
from backstop.app.stall_meter import StallMeter
from backstop.app.watch_link import WatchLink
from backstop.config.secret import Secret
from backstop.config.settings import CALLS_PEOPLE, Settings
from backstop.config.settings_doubts import API_TOKEN_LENGTH_MIN, is_guessable, length_text
from backstop.core.supervision import holdings
from backstop.core.watch_facts import Moment
from backstop.domain.heartbeat import Armed, Begin, CleanStop, Hello, Holdings
from backstop.entrypoints.api_token import TOKEN_FILE, stored_or_made_token
from backstop.entrypoints.gates import gates
from backstop.entrypoints.gateway_door import (
    GatewayDoor,
    check_gateway_exposure,
    gateway_address,
)
from backstop.entrypoints.lean_start import all_is_loaded
from backstop.entrypoints.page_address import page_line
from backstop.entrypoints.process_words import GUARD, SPARE, WATCHDOG, Words, read_words, words
from backstop.entrypoints.run_options import run_overrides
from backstop.entrypoints.terminal import say_plainly as say
from backstop.errors import BackstopError, InvariantError, SetupError

INTERFACE_LIMIT_S = 1.2
GUARD_LIMIT_S = 3.6
"""How long the interface, and then the guard, may take to close: together under 5 s, and each is
longer than all that is waited for inside."""

LISTEN_BACKLOG = 128

HTTP_SERVER = "backstop.entrypoints.http.server"
HELD_WORDS = "backstop.entrypoints.held_words"
"""Loaded when they are needed: the one after the guard is armed, the other when it ends."""


def run(arguments: Sequence[str]) -> int:
    """Guard the account until told to stop; ``arguments`` begin with the verb.

    Raises:
        SetupError: settings, port, state folder, or another guard on the account.
        LoginRefusedError: the gateway refuses the credentials.
    """
    given = read_words(arguments[1:])
    line = ProcessLine.inherited(int(given.option("--line")))
    if arguments[0] == SPARE:
        import_module(HTTP_SERVER)
        get_ready()
    begin = _told_to_begin(line)
    if begin is None:
        return 0
    rename_word(SPARE, GUARD)
    settings = Settings.load(
        overrides=run_overrides(given.run), does_without=CALLS_PEOPLE if begin.port else ()
    )
    stalls = StallMeter()
    with asyncio.Runner(loop_factory=stalls.new_loop) as runner:
        runner.run(_Daemon(settings, line, begin, given, stalls).run())
    return 0


def _may_have_a_record(settings: Settings) -> bool:
    """Say whether a record is there, or cannot be looked for: the start says what is wrong then."""
    try:
        return (settings.state_folder / AUDIT_DATABASE).exists()
    except OSError:
        return True


def _told_to_begin(line: ProcessLine) -> Begin | None:
    """Wait for the word of the watchdog; None when it ends without one: nobody needs us."""
    while not line.ended:
        select.select([line], [], [])
        for message in line.receive():
            if isinstance(message, Begin):
                return message
    return None


class _Daemon:
    """One life of the guard."""

    def __init__(
        self, settings: Settings, line: ProcessLine, begin: Begin, given: Words, stalls: StallMeter
    ) -> None:
        self._settings = settings
        self._line = line
        self._begin = begin
        self._given = given
        self._stalls = stalls
        self._clock = SystemClock()
        self._manager = CriticalSystemManager.from_settings(settings)
        self._manager.latches_before = begin.latches
        self._manager.alerts_before = begin.alerts
        self._manager.comes_back = bool(begin.port)
        self._armed = False
        self._gateway: socket.socket | None = None  # where bots come in by the broker's own API

    async def run(self) -> None:
        stop = asyncio.Event()
        call_at_stop_signals(asyncio.get_running_loop(), stop.set)
        settings, manager = self._settings, self._manager
        _check_exposure(settings)
        check_gateway_exposure(settings)
        with (
            _listener(settings.listen.host, settings.listen.port, self._begin.port) as listener,
            ExitStack() as closing,
        ):
            if settings.gateway_listen is not None:
                host, port = settings.gateway_listen.host, settings.gateway_listen.port
                taken = _listener(host, port, 0, setting="BACKSTOP_GATEWAY")
                self._gateway = closing.enter_context(taken)
            token = settings.api_token or Secret(stored_or_made_token(settings.state_folder))
            redactor = manager.redactor
            redactor.register(token)
            configure_logging(session_id=manager.session_id, redactor=redactor)
            reports = CrashReports(
                settings.state_folder,
                redact=redactor.redact,
                state=partial(state_summary, manager),
            )
            reports.install()
            stacks = StackDump(settings.state_folder / CRASH_FOLDER)
            closing.callback(stacks.close)
            hello = self._hello()
            self._line.send(hello)
            try:
                starting = await self._begun(stop)
                if starting is None:
                    self._line.send(CleanStop())
                    return
                port = listener.getsockname()[1]
                link = self._watch_link(hello, port, stacks, stop)
                arming = partial(self._arm, starting, link, port, token)
                await self._guard(listener, token, link, stop, arming)
            except Exception as error:
                if self._armed or not isinstance(error, BackstopError):
                    reports.failed(error, where="the guard")
                raise
            finally:
                with suppress(TimeoutError):
                    # What is not written by then is not lost: the next start reads the broker.
                    async with asyncio.timeout(GUARD_LIMIT_S):
                        await manager.close(by_person=stop.is_set())
                if self._armed and stop.is_set():
                    left = import_module(HELD_WORDS)
                    left.say_held(manager.book, now_ns=self._clock.monotonic_ns())

    async def _begun(self, stop: asyncio.Event) -> asyncio.Task[None] | None:
        """Return the start once the guard decides; None when the signal to stop came first.

        The start goes on while the gateway says nothing.
        """
        begun = asyncio.Event()
        self._manager.on_begun = begun.set
        starting = asyncio.create_task(self._manager.initialize(), name="start")
        starting.add_done_callback(lambda _: begun.set())
        if not await _ends_before(stop, begun.wait()):
            starting.cancel()
            await asyncio.wait({starting}, timeout=GUARD_LIMIT_S)
            return None
        if starting.done():
            await starting
        return starting

    async def _arm(
        self, starting: asyncio.Task[None], link: WatchLink, port: int, token: Secret
    ) -> None:
        """Say that we look after the account when the start is over; what ends the guard raises."""
        await starting
        self._armed = True
        link.say_armed()  # before anybody can rely on the address that is told next
        _announce(self._manager, port, token, self._gateway)
        await self._manager.failed()

    async def _guard(
        self,
        listener: socket.socket,
        token: Secret,
        link: WatchLink,
        stop: asyncio.Event,
        arming: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        settings, manager = self._settings, self._manager
        manager.watch_link = link
        failing = asyncio.create_task(arming(), name="guard")
        watched = asyncio.create_task(link.run(), name="watch link")
        heap: asyncio.Task[None] | None = None
        door = None if self._gateway is None else GatewayDoor(manager, self._gateway)
        try:
            # The web framework takes a while to load: not on the event loop's time.
            http_server = await asyncio.to_thread(import_module, HTTP_SERVER)
            server = await asyncio.to_thread(
                http_server.api_server,
                manager,
                listener,
                token=token.reveal(),
                loopback_only=is_loopback_host(settings.listen.host),
                tls_certificate=settings.tls_cert,
                tls_key=settings.tls_key,
                strike=manager.redactor.redact_bytes,
            )
            if door is not None:
                await door.open()
            all_is_loaded()
            heap = asyncio.create_task(_heap_keeper(manager).run(), name="heap")
            await _serve(server, door, stop, failing, watched)
        finally:
            if heap is not None:
                heap.cancel()
            if door is not None:
                await door.close()
            failing.cancel()
            if stop.is_set():
                link.say_stopping()
            watched.cancel()
            await asyncio.wait({failing}, timeout=GUARD_LIMIT_S)  # it may be closing a start

    def _hello(self) -> Hello:
        settings = self._settings
        before = _may_have_a_record(settings)
        return Hello(
            process_id=os.getpid(),
            account_id=settings.account_id,
            gateway_host=urlsplit(settings.api_url).netloc,
            state_folder=str(settings.state_folder),
            liquidate_after_ns=liquidate_after_ns(settings),
            # A record there means that an earlier guard may have left something open.
            holdings=Holdings.UNKNOWN if before else Holdings.NONE,
            alerts=bool(settings.alert_urls),
        )

    def _watch_link(
        self, hello: Hello, port: int, stacks: StackDump, stop: asyncio.Event
    ) -> WatchLink:
        def start_watchdog(end: socket.socket) -> Any:
            own = {"--guard": str(os.getpid()), "--line": "{line}"}
            options = {**self._begin.options, **own}
            with kept_back():  # a stop that comes while it is loaded must not just end it
                return start_child(words(WATCHDOG, options, self._given.run), line=end)

        return WatchLink(
            self._line,
            hello=hello,
            armed=Armed(host=self._settings.listen.host, port=port),
            loop=self._manager.decisions,
            clock=self._clock,
            moment=self._moment,
            start_watchdog=start_watchdog,
            on_pulse=stacks.on_time,
            on_stop=stop.set,
            stalls=self._stalls,
        )

    def _moment(self) -> Moment:
        return Moment(elapsed_ns=self._clock.monotonic_ns(), awake_ns=awake_ns())


def _heap_keeper(manager: CriticalSystemManager) -> HeapKeeper:
    return HeapKeeper(
        steps=lambda: manager.steps,
        nothing_open=lambda: holdings(manager.book) is Holdings.NONE,
    )


async def _serve(
    server: Any,
    door: GatewayDoor | None,
    stop: asyncio.Event,
    failing: asyncio.Task[None],
    watched: asyncio.Task[None],
) -> None:
    """Answer calls until the signal to stop, or until a part of the guard fails."""
    serving = asyncio.create_task(server.serve(), name="http")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait(
            {serving, failing, watched, stopping}, return_when=asyncio.FIRST_COMPLETED
        )
        for ended in (failing, watched, serving):
            if ended.done():
                await ended
        if not stop.is_set():
            raise InvariantError("The HTTP interface ended although nobody told it to.")
    finally:
        server.stop()
        stopping.cancel()
        ending = {serving}
        if door is not None:  # at the same time: bots and people have the same moment to end
            ending.add(asyncio.create_task(door.close(), name="closing the gateway"))
        await asyncio.wait(ending, timeout=INTERFACE_LIMIT_S)
        serving.cancel()


async def _ends_before(stop: asyncio.Event, work: Any) -> bool:
    """Wait for ``work``; False when the signal to stop came first, and then it is cancelled."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working}, timeout=INTERFACE_LIMIT_S)
        return False
    await working
    return True


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
    if settings.api_token is not None and is_guessable(settings.api_token):
        raise SetupError(
            f"BACKSTOP_LISTEN: {settings.listen.host} can be reached from other machines, and "
            f"BACKSTOP_API_TOKEN has {length_text(settings.api_token)}: it can be guessed. "
            f"{API_TOKEN_LENGTH_MIN} or more, at random, are allowed there."
        )
    if settings.api_token is None or certificate is None:
        raise SetupError(
            f"BACKSTOP_LISTEN: {settings.listen.host} can be reached from other machines. Allowed "
            "there only with BACKSTOP_API_TOKEN and with BACKSTOP_TLS_CERT and BACKSTOP_TLS_KEY; "
            "without them listen on 127.0.0.1."
        )


def _listener(
    host: str, port: int, port_before: int, *, setting: str = "BACKSTOP_LISTEN"
) -> socket.socket:
    """Take the port at once: a second guard, or a wrong address, shows before anything starts.

    Where any port will do, the one of the guard before us is tried first: callers know it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    take = partial(socket.create_server, family=family, backlog=LISTEN_BACKLOG)
    if not port and port_before:
        with suppress(OSError):
            return take((host, port_before))
    try:
        return take((host, port))
    except OSError as error:
        why = (
            f"port {port} on {host} is in use, by another guard or another program"
            if error.errno == errno.EADDRINUSE
            else f"{host}:{port} cannot be listened on: {error.strerror or error}"
        )
        raise SetupError(f"{setting}: {why}. Set it to a free host:port.") from error


def _framed(text: str) -> str:
    """Return ``text`` so that nobody overlooks it among other lines."""
    bar = "=" * len(text)
    return f"{bar}\n{text}\n{bar}"


def _announce(
    manager: CriticalSystemManager, port: int, token: Secret, gateway: socket.socket | None
) -> None:
    """Say what a person who starts this for the first time needs to know."""
    settings = manager.settings
    host = f"[{settings.listen.host}]" if ":" in settings.listen.host else settings.listen.host
    scheme = "http" if settings.tls_cert is None else "https"
    address, made = f"{scheme}://{host}:{port}", settings.api_token is None
    kept = str(settings.state_folder / TOKEN_FILE) if made else "BACKSTOP_API_TOKEN"
    say(f"Backstop {__version__} guards account {settings.account_id} at {settings.api_url}")
    state = gates(manager.book.policy, gateway=settings.gateway_host)
    if state.sends and state.real:
        say(_framed(state.banner))
    else:
        opens = "" if state.sends else " (DRY_RUN=0 together with EXECUTE=1 sends)"
        say(state.banner + opens)
    for warning in manager.settings_warnings:
        say(f"WARNING {warning}")
    say(page_line(address, token, made=made, out=sys.stdout))
    say(f"API    {address}   token: {kept}")
    if gateway is not None:
        say(f"Bots   {gateway_address(settings, gateway)}   credentials: backstop bots add NAME")
    say(f"Record {settings.state_folder}")
    say("Stop with Ctrl-C or SIGTERM; protective orders stay at the venue.")
