"""The market hub: quotes and last prices of the contracts, and a watch over their age.

A market hub can be open, answer pings and send nothing. So a contract that falls silent while
others speak is subscribed anew, and a hub on which everything falls silent is rebuilt; both with
growing pauses, because a quiet night looks the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from msgspec import Raw, Struct

from backstop.adapters.projectx.hub_reports import HubReports
from backstop.adapters.projectx.market_relay import METHODS, MarketRelay, Stream
from backstop.adapters.projectx.quote_book import QuoteBook
from backstop.adapters.projectx.signalr import Call
from backstop.adapters.projectx.user_hub import LOGOUT, logout_message, rows_of
from backstop.adapters.projectx.wire import UNREADABLE
from backstop.domain.events import Hub, HubConnected, HubLost, SessionEvicted
from backstop.errors import GatewayAnswerError
from backstop.ports import Clock, FactSink, QuoteSink

_NS_PER_S = 1_000_000_000
_OWN_TARGETS = ("GatewayQuote", "GatewayTrade")
_STREAMS = tuple(METHODS[target] for target in _OWN_TARGETS)
_ARGUMENTS = 2
_BACK_OFF_MAX = 64  # times the first pause


class SilenceLimits(Struct, frozen=True, kw_only=True):
    """How long data may be missing, in seconds, before something is done about it."""

    resubscribe_s: float = 5.0  # one contract, while others speak
    rebuild_s: float = 20.0  # every contract
    check_s: float = 1.0


class _Patience(Struct):
    """When one silence is acted on next, and how much later after that."""

    since_ns: int
    factor: int = 1

    def is_over(self, now_ns: int, limit_s: float) -> bool:
        return now_ns - self.since_ns > limit_s * self.factor * _NS_PER_S

    def renew(self, now_ns: int) -> None:
        self.since_ns = now_ns
        self.factor = min(self.factor * 2, _BACK_OFF_MAX)

    def reset(self, now_ns: int) -> None:
        self.since_ns = now_ns
        self.factor = 1


class MarketHub:
    """Translates the market hub for a set of contracts; listens to a ``HubLink``."""

    def __init__(
        self,
        *,
        clock: Clock,
        sink: FactSink,
        quotes: QuoteSink,
        reports: HubReports,
        expects_data: Callable[[str], bool],
        is_wanted: Callable[[str], bool],
        limits: SilenceLimits,
        on_evicted: Callable[[str], None],
        on_ready: Callable[[], None],
    ) -> None:
        self.limits = limits
        self.relay = MarketRelay(clock=clock, owned=self._owns)
        self._clock = clock
        self._sink = sink
        self._quotes = quotes
        self._reports = reports
        self._expects_data = expects_data
        self._is_wanted = is_wanted
        self._on_evicted = on_evicted
        self._on_ready = on_ready
        self._book = QuoteBook()
        self._contract_patience: dict[str, _Patience] = {}
        self._hub_patience = _Patience(clock.monotonic_ns())
        self._generation = 0
        self._joined: set[str] = set()  # contracts subscribed on the open connection
        self._left: set[str] = set()  # contracts let go of on it, of which some may be on its way
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        """Every subscription of the open connection was acknowledged."""
        return self._is_ready

    def add(self, contract_id: str) -> bool:
        """Keep quotes of ``contract_id`` too; tell whether that is new.

        Raises:
            GatewayError: there is no room for it.
        """
        is_new = not self._book.has(contract_id)
        self._book.add(contract_id)
        self._left.discard(contract_id)
        self._contract_patience.setdefault(contract_id, _Patience(self._clock.monotonic_ns()))
        return is_new

    def in_the_way_of(self, contract_id: str, *, besides: Collection[str]) -> str | None:
        """Return the contract to let go of before ``contract_id`` is added.

        It is the one that was silent for longest among those that nobody wants and that are not
        ``besides`` it. None: there is room, or nothing that could make some.
        """
        if not self._book.lacks_room_for(contract_id):
            return None
        spare = (it for it in self._book.contract_ids if it not in besides)
        return self._book.silent_longest(it for it in spare if not self._is_wanted(it))

    def remove(self, contract_id: str) -> None:
        """Keep nothing of ``contract_id`` any more, once it is unsubscribed."""
        self._book.remove(contract_id)
        self._contract_patience.pop(contract_id, None)
        self._joined.discard(contract_id)
        self._left.add(contract_id)

    def data_age_ms(self, contract_id: str) -> int | None:
        """Return how long ago the hub said something of the contract; None: never."""
        return self._book.data_age_ms(contract_id, self._clock.monotonic_ns())

    # -- the link's listener ---------------------------------------------------------------------

    def subscriptions(self) -> Sequence[Call]:
        """Subscribe quotes and trades of every contract, also of those added meanwhile."""
        missing = [
            contract_id
            for contract_id in self._book.contract_ids
            if contract_id not in self._joined
        ]
        self._joined.update(missing)
        return [
            Call(f"Subscribe{stream}", (contract_id,))
            for contract_id in missing
            for stream in _STREAMS
        ]

    def on_begin(self, generation: int) -> None:
        """Forget prices of the connection before: the hub sends only what changes."""
        self._generation = generation
        self._joined.clear()
        self._left.clear()
        self.relay.begin()
        self._book.forget()
        self._reports.begin()

    def on_connected(self, generation: int) -> None:
        """Tell the core, and begin to watch for silence."""
        self._is_ready = True
        now_ns = self._clock.monotonic_ns()
        self._hub_patience.since_ns = now_ns
        for patience in self._contract_patience.values():
            patience.reset(now_ns)
        utc_us = self._clock.utc_us()
        self._sink(HubConnected(utc_us=utc_us, hub=Hub.MARKET, generation=generation))
        self._on_ready()

    def on_lost(self, generation: int, reason: str) -> None:
        """Tell the core that prices grow old from now on."""
        self._is_ready = False
        self.relay.begin()
        utc_us = self._clock.utc_us()
        self._sink(HubLost(utc_us=utc_us, hub=Hub.MARKET, generation=generation, reason=reason))

    def on_event(self, target: str, arguments: list[Raw]) -> None:
        """Merge one event into the quotes, and pass it on where others want it."""
        match target:
            case "GatewayQuote" | "GatewayTrade" | "GatewayDepth":
                self._on_data(target, arguments)
            case _ if target == LOGOUT:
                self._evicted(arguments)
            case _:
                self._reports.unknown_target(target, _payload(arguments))

    def on_rejected(self, target: str, fault: str, payload: bytes) -> None:
        """Report a record that makes no sense."""
        self._reports.rejected(target, fault, payload)

    # -- silence ---------------------------------------------------------------------------------

    def is_hub_silent(self) -> bool:
        """Tell whether every contract has been silent for too long; asks for patience anew."""
        now_ns = self._clock.monotonic_ns()
        expected = [
            contract_id
            for contract_id in self._book.contract_ids
            if self._expects_data(contract_id)
        ]
        if not self._is_ready or not expected:
            self._hub_patience.reset(now_ns)
            return False
        if not self._hub_patience.is_over(now_ns, self.limits.rebuild_s):
            return False
        self._hub_patience.renew(now_ns)
        return True

    def silent_contracts(self) -> tuple[str, ...]:
        """Return the contracts to subscribe anew, because they are silent and others are not."""
        now_ns = self._clock.monotonic_ns()
        limit_ns = self.limits.resubscribe_s * _NS_PER_S
        if not self._is_ready or now_ns - self._hub_patience.since_ns > limit_ns:
            return ()  # the others are silent as well
        silent = []
        for contract_id, patience in self._contract_patience.items():
            if not self._expects_data(contract_id):
                patience.reset(now_ns)
            elif patience.is_over(now_ns, self.limits.resubscribe_s):
                patience.renew(now_ns)
                silent.append(contract_id)
        return tuple(silent)

    async def join(self, contract_id: str, invoke: Callable[..., Awaitable[None]]) -> None:
        """Subscribe both streams of one contract."""
        await asyncio.gather(*(invoke(f"Subscribe{stream}", contract_id) for stream in _STREAMS))

    async def leave(self, contract_id: str, invoke: Callable[..., Awaitable[None]]) -> None:
        """Unsubscribe both streams of one contract: what is joined twice comes twice."""
        await asyncio.gather(*(invoke(f"Unsubscribe{stream}", contract_id) for stream in _STREAMS))

    # -- events ----------------------------------------------------------------------------------

    def _owns(self, stream: Stream) -> bool:
        target, contract_id = stream
        return target in _OWN_TARGETS and self._book.has(contract_id)

    def _on_data(self, target: str, arguments: list[Raw]) -> None:
        contract_id = _contract_of(arguments)
        data = arguments[-1] if len(arguments) == _ARGUMENTS else None
        is_own = self._owns((target, contract_id))
        is_known = self.relay.knows(contract_id) or contract_id in self._left
        if is_own or (target in _OWN_TARGETS and not is_known):
            self._on_prices(target, contract_id, arguments)
        if data is not None:
            self.relay.pass_on(target, contract_id, data)

    def _on_prices(self, target: str, contract_id: str, arguments: list[Raw]) -> None:
        try:
            data = self._data(contract_id, arguments)
            now_ns = self._clock.monotonic_ns()
            if target == "GatewayTrade":
                merged = self._book.merge_trades(contract_id, data)
                quotes = [] if merged is None else [merged]
            else:
                quotes = [self._book.merge_quote(contract_id, row) for row in rows_of(data)]
        except (GatewayAnswerError, *UNREADABLE) as error:
            self._reports.rejected(target, str(error), _payload(arguments))
            return
        self._book.note_data(contract_id, now_ns)
        self._hub_patience.reset(now_ns)
        self._contract_patience[contract_id].reset(now_ns)
        for quote in quotes:
            self._quotes(quote, now_ns)

    def _evicted(self, arguments: list[Raw]) -> None:
        message = logout_message(arguments)
        self._sink(
            SessionEvicted(
                utc_us=self._clock.utc_us(),
                hub=Hub.MARKET,
                generation=self._generation,
                message=message,
            )
        )
        self._on_evicted(message)

    def _data(self, contract_id: str, arguments: list[Raw]) -> Raw:
        if len(arguments) != _ARGUMENTS:
            raise GatewayAnswerError(f"{len(arguments)} arguments instead of contract and data")
        if not self._book.has(contract_id):
            raise GatewayAnswerError(f"contract {contract_id[:60]} was not subscribed")
        return arguments[1]


def _contract_of(arguments: list[Raw]) -> str:
    """Return the contract that an event names first; empty when it has no arguments."""
    if not arguments:
        return ""
    return bytes(arguments[0]).decode("utf-8", errors="replace").strip().strip('"')


def _payload(arguments: list[Raw]) -> bytes:
    return b",".join(bytes(argument) for argument in arguments)
