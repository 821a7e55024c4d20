"""A hub that stays connected for ever: tokens, attempts with growing pauses, generations.

Nothing is replayed after a drop and the new connection has no subscriptions, so every connection
is a generation of its own and the listener learns where one ends. The official clients give up
after a while, or at an orderly close; this one never does.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, Protocol

from msgspec import Raw, Struct

from backstop.adapters.machine import machine
from backstop.adapters.projectx.hub_connect import Negotiate, TokenRefusedError, connected
from backstop.adapters.projectx.session import BearerToken
from backstop.adapters.projectx.signalr import Call, HubConnection, HubEndedError, HubTimings
from backstop.domain.hub_contest import is_contested, lately
from backstop.errors import GatewayError
from backstop.ports import Clock

EVICTED_ATTEMPT = 4
"""Where in the row of delays a link goes on after ``GatewayLogout``: two sessions that take the
connection from each other at full speed help nobody."""

_NS_PER_S = 1_000_000_000


class TokenSource(Protocol):
    """Where a link gets its tokens; ``Session`` is one."""

    async def token(self) -> BearerToken:
        """Return a token that is good for now, or raise GatewayError."""

    def refuse(self, token: BearerToken) -> None:
        """Note that ``token`` was answered with 401."""


class LinkListener(Protocol):
    """Who hears the hub; every method is called on the event loop and must not block."""

    def subscriptions(self) -> Sequence[Call]:
        """Return the calls that this connection still lacks; asked until there are none."""

    def on_begin(self, generation: int) -> None:
        """A connection shook hands: events of ``generation`` may come, also before it is ready."""

    def on_connected(self, generation: int) -> None:
        """Every subscription was acknowledged."""

    def on_lost(self, generation: int, reason: str) -> None:
        """A connection that was reported as connected has ended."""

    def on_event(self, target: str, arguments: list[Raw]) -> None:
        """One event, in order of arrival."""

    def on_rejected(self, target: str, fault: str, payload: bytes) -> None:
        """A record that makes no sense, or that this version does not know."""


class LinkHealth(Struct, frozen=True, kw_only=True):
    """How a hub is doing; ``last_fault`` is why the last connection or attempt ended."""

    is_connected: bool
    generation: int
    attempts: int
    drops: int
    last_fault: str


class HubLink:
    """Keeps one hub connected."""

    def __init__(
        self,
        url: str,
        *,
        tokens: TokenSource,
        listener: LinkListener,
        clock: Clock,
        timings: HubTimings | None = None,
        negotiate: Negotiate = Negotiate.ASK,
        tls: ssl.SSLContext | None = None,
        strike: Callable[[bytes], bytes] = bytes,
        jitter: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._url = url
        self._tokens = tokens
        self._listener = listener
        self._clock = clock
        self._timings = timings or HubTimings()
        self._negotiate = negotiate
        self._tls = tls
        self._strike = strike
        self._dice = machine().dice
        self._jitter = jitter or self._dice.random
        self._sleep = sleep
        self._connection: HubConnection | None = None
        self._token: BearerToken | None = None  # that the open connection was opened with
        self._is_ready = False
        self._ready_ns = 0
        self._generation = 0
        self._attempts = 0
        self._drops = 0
        self._failures = 0  # in a row: where in the delays we are
        self._evictions_ns: tuple[int, ...] = ()
        self._rests = False  # before the next attempt: somebody else takes it from us each time
        self._last_fault = ""
        self._is_over = False

    @property
    def generation(self) -> int:
        """The number of the connection that is open or was open last; 0 before the first."""
        return self._generation

    def health(self) -> LinkHealth:
        """Return how the link is doing."""
        return LinkHealth(
            is_connected=self._is_ready,
            generation=self._generation,
            attempts=self._attempts,
            drops=self._drops,
            last_fault=self._last_fault,
        )

    async def run(self) -> None:
        """Stay connected until cancelled."""
        works = (
            asyncio.create_task(self._stay_connected()),
            asyncio.create_task(self._follow_the_token()),
        )
        try:
            ended, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in ended:
                work.result()
        finally:
            # Said as well: in the moment in which a connection ends, its group of tasks tells of
            # the end alone, and a cancellation that comes then is lost.
            self._is_over = True
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _stay_connected(self) -> None:
        while not self._is_over:
            await self._sleep(self._next_delay_s())
            self._attempts += 1
            try:
                await self._connect_once()
            except GatewayError as error:
                self._last_fault = str(error)
            if self._is_ready:
                self._is_ready = False
                self._drops += 1
                if self._clock.monotonic_ns() - self._ready_ns >= self._proven_ns():
                    self._failures = 0
                self._listener.on_lost(self._generation, self._last_fault)

    async def invoke(self, target: str, *arguments: object) -> None:
        """Call ``target`` on the open connection; raises what ``HubConnection.invoke`` raises."""
        if self._connection is None:
            raise HubEndedError("the hub is not connected")
        await self._connection.invoke(target, *arguments)

    def rebuild(self, reason: str, *, evicted: bool = False) -> None:
        """Give the open connection up and make a new one."""
        if self._connection is None:
            return
        self._connection.end(reason)
        if evicted:
            # Not proven, however long it lived: what evicted us is still there.
            self._ready_ns = now_ns = self._clock.monotonic_ns()
            self._failures = max(self._failures, EVICTED_ATTEMPT)
            self._evictions_ns = lately(self._evictions_ns, now_ns)
            self._rests = bool(self._timings.contest_rest_s) and is_contested(self._evictions_ns)

    async def _follow_the_token(self) -> NoReturn:
        """Leave a connection whose token was renewed, long before the old token ends.

        What becomes of a connection whose token ends is not known; it may just fall silent.
        """
        while True:
            # Never in step with the other hub's link: one of the two should always be heard.
            await asyncio.sleep(self._timings.token_check_s * self._dice.uniform(0.5, 1.5))
            opened_with = self._token
            if self._connection is None or opened_with is None:
                continue
            try:
                fresh = await self._tokens.token()
            except GatewayError:
                continue  # no renewal now; there is time for many more
            if opened_with is self._token and fresh.reveal() != opened_with.reveal():
                self.rebuild("its token was renewed")

    async def _connect_once(self) -> None:
        """Connect, serve, and raise the GatewayError that ended it."""
        self._token = token = await self._tokens.token()
        try:
            async with connected(
                self._url,
                token,
                listener=self._listener,
                clock=self._clock,
                timings=self._timings,
                negotiate=self._negotiate,
                tls=self._tls,
                strike=self._strike,
            ) as connection:
                self._connection = connection
                self._generation += 1
                self._listener.on_begin(self._generation)
                await connection.serve(self._listener.subscriptions, self._note_ready)
        except TokenRefusedError:
            self._tokens.refuse(token)
            raise
        finally:
            self._connection = None

    def _note_ready(self) -> None:
        self._is_ready = True
        self._ready_ns = self._clock.monotonic_ns()
        self._last_fault = ""
        self._listener.on_connected(self._generation)

    def _next_delay_s(self) -> float:
        if self._rests:
            self._rests = False
            return self._timings.contest_rest_s
        delays_s = self._timings.delays_s
        delay_s = delays_s[min(self._failures, len(delays_s) - 1)]
        self._failures += 1
        # Between half and one and a half: guards that lost one server must not return as one.
        return delay_s * (0.5 + self._jitter())

    def _proven_ns(self) -> int:
        return int(self._timings.proven_s * _NS_PER_S)
