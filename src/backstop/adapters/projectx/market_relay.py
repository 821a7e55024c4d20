"""Market data for others, over the connection of the guard: one upstream subscription for each.

Whoever passes market data on says which streams it wants. They are kept subscribed beside the
guard's own ones, and can do those no harm: a call that the server refuses, or does not answer, is
counted and tried again later, and never costs the connection on which the guard hears its prices.
What the guard subscribes for itself is not subscribed a second time: it would come twice.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Raw, Struct

from backstop.adapters.projectx.signalr import Call
from backstop.ports import Clock

RETRY_NS: Final = 30_000_000_000
"""Pause after a call that failed; the gateway may count our calls."""

CALLS_AT_ONCE: Final = 16
"""Calls in one round; a hundred contracts at once would look like an attack."""

STREAMS_MAX: Final = 384
"""Streams wanted at once: three for each of 128 contracts, far more than a hub should carry."""

METHODS: Final = {
    "GatewayQuote": "ContractQuotes",
    "GatewayTrade": "ContractTrades",
    "GatewayDepth": "ContractMarketDepth",
}
"""How each event of the market hub is subscribed."""

MarketTap = Callable[[str, str, bytes], None]
"""Takes an event's name, its contract, and its data as JSON text; called as it arrives."""

Stream = tuple[str, str]
"""An event's name, and the contract that it is about."""


class _Standing(StrEnum):
    """How a stream stands on the open connection; what is not there was never subscribed."""

    JOINED = "joined"
    DOUBTFUL = "doubtful"  # it may be: left before it is joined, for twice would double it


class RelayCounts(Struct, frozen=True, kw_only=True):
    """What a relay has done since the start."""

    streams: int  # subscribed now
    passed_on: int
    unreadable: int
    calls_failed: int


def _deaf(_target: str, _contract_id: str, _data: bytes) -> None:
    """Nobody is there to pass it on to."""


class MarketRelay:
    """Streams that others want; changes are asked of it and made by whoever owns the link."""

    def __init__(self, *, clock: Clock, owned: Callable[[Stream], bool]) -> None:
        """Want nothing yet.

        Args:
            clock: for the pause after a failed call.
            owned: whether the guard subscribes a stream for itself.
        """
        self.on_change: Callable[[], None] = lambda: None
        self._clock = clock
        self._owned = owned
        self._tap: MarketTap = _deaf
        self._wanted: dict[Stream, None] = {}
        self._standing: dict[Stream, _Standing] = {}
        self._retry_ns: dict[Stream, int] = {}
        self._heard_of: set[str] = set()  # contracts subscribed here since the connection began
        self._passed_on = 0
        self._unreadable = 0
        self._calls_failed = 0

    # -- for whoever passes the data on ----------------------------------------------------------

    def bind(self, tap: MarketTap) -> None:
        """Say where the data goes."""
        self._tap = tap

    def want(self, target: str, contract_id: str) -> bool:
        """Hear ``target`` of a contract from now on; False when too many streams are wanted."""
        stream = (target, contract_id)
        if stream not in self._wanted and len(self._wanted) >= STREAMS_MAX:
            return False
        self._wanted[stream] = None
        self.on_change()
        return True

    def drop(self, target: str, contract_id: str) -> None:
        """Hear it no more."""
        if (target, contract_id) in self._wanted:
            del self._wanted[target, contract_id]
            self._retry_ns.pop((target, contract_id), None)
            self.on_change()

    def renew(self, target: str, contract_id: str) -> None:
        """Subscribe a stream anew, so that the server says again what it says at the beginning."""
        stream = (target, contract_id)
        if self._standing.get(stream) is _Standing.JOINED:
            self._standing[stream] = _Standing.DOUBTFUL
            self.on_change()

    def counts(self) -> RelayCounts:
        """Return what came of it so far."""
        return RelayCounts(
            streams=sum(it is _Standing.JOINED for it in self._standing.values()),
            passed_on=self._passed_on,
            unreadable=self._unreadable,
            calls_failed=self._calls_failed,
        )

    # -- for the market hub ----------------------------------------------------------------------

    def begin(self) -> None:
        """Begin anew: a connection has no subscriptions but those made on it."""
        self._standing.clear()
        self._retry_ns.clear()
        self._heard_of.clear()

    def knows(self, contract_id: str) -> bool:
        """Tell whether data of a contract may come here, also some that was on its way."""
        return contract_id in self._heard_of

    def pass_on(self, target: str, contract_id: str, data: Raw) -> None:
        """Hand an event on, if anybody wants it; it stays the JSON text that came."""
        if (target, contract_id) not in self._wanted:
            return
        text = bytes(data)
        if not text.isascii() and not _is_utf8(text):
            # A text frame with it would cost each of those who hear it their connection.
            self._unreadable += 1
            return
        self._passed_on += 1
        self._tap(target, contract_id, text)

    # -- for the link ----------------------------------------------------------------------------

    def calls_due(self) -> dict[Stream, Call]:
        """Return the next calls that bring the connection closer to what is wanted; each once."""
        now_ns = self._clock.monotonic_ns()
        due: dict[Stream, Call] = {}
        for stream in (*self._standing, *self._wanted):
            if len(due) >= CALLS_AT_ONCE:
                break
            if stream in due or self._retry_ns.get(stream, 0) > now_ns:
                continue
            verb = self._verb(stream)
            if verb:
                target, contract_id = stream
                due[stream] = Call(f"{verb}{METHODS[target]}", (contract_id,))
                self._heard_of.add(contract_id)
        return due

    def _verb(self, stream: Stream) -> str:
        if self._owned(stream):
            return ""
        standing = self._standing.get(stream)
        if standing is _Standing.DOUBTFUL:
            return "Unsubscribe"
        is_wanted = stream in self._wanted
        if is_wanted == (standing is _Standing.JOINED):
            return ""
        return "Subscribe" if is_wanted else "Unsubscribe"

    def succeeded(self, stream: Stream, call: Call) -> None:
        """Note that the server did what ``call`` asked for."""
        if call.target.startswith("Subscribe"):
            self._standing[stream] = _Standing.JOINED
        else:
            self._standing.pop(stream, None)

    def failed(self, stream: Stream) -> None:
        """Note that the server refused a call, or did not answer it: nobody knows what it did."""
        self._calls_failed += 1
        self._standing[stream] = _Standing.DOUBTFUL
        self._retry_ns[stream] = self._clock.monotonic_ns() + RETRY_NS

    def hand_over(self, contract_id: str) -> bool:
        """Leave a contract to the guard; tell whether any stream of it may be subscribed."""
        streams = [stream for stream in self._standing if stream[1] == contract_id]
        handed = [stream for stream in streams if self._owned(stream)]
        for stream in handed:
            del self._standing[stream]
        return bool(handed)

    def retry_in_s(self) -> float | None:
        """Return when a failed call may be tried again; None: nothing waits for that."""
        if not self._retry_ns:
            return None
        wait_ns = min(self._retry_ns.values()) - self._clock.monotonic_ns()
        return max(0.0, wait_ns / 1_000_000_000)

    def clear_retries(self) -> None:
        """Forget the pauses that are over."""
        now_ns = self._clock.monotonic_ns()
        over = [stream for stream, due_ns in self._retry_ns.items() if due_ns <= now_ns]
        for stream in over:
            del self._retry_ns[stream]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
