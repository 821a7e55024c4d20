"""Both hubs of the gateway, kept connected and subscribed for ever."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from msgspec import Struct

from backstop.adapters.projectx.hub_connect import Negotiate
from backstop.adapters.projectx.hub_link import HubLink, LinkHealth, LinkListener, TokenSource
from backstop.adapters.projectx.hub_reports import HubCounts, HubReports
from backstop.adapters.projectx.market_hub import MarketHub, SilenceLimits
from backstop.adapters.projectx.market_relay import MarketRelay, Stream
from backstop.adapters.projectx.signalr import Call, HubEndedError, HubTimings
from backstop.adapters.projectx.transport import checked_url
from backstop.adapters.projectx.user_hub import LOGOUT, UserHub
from backstop.domain.events import Hub
from backstop.errors import GatewayError
from backstop.ports import Clock, FactSink, QuoteSink


class HubHealth(Struct, frozen=True, kw_only=True):
    """How one hub is doing, and how often it was not understood."""

    link: LinkHealth
    counts: HubCounts


class ProjectXHubs:
    """The user hub of one account and the market hub of its contracts."""

    def __init__(
        self,
        *,
        user_hub_url: str,
        market_hub_url: str,
        tokens: TokenSource,
        clock: Clock,
        account_id: int,
        contract_ids: Iterable[str],
        sink: FactSink,
        quotes: QuoteSink,
        expects_data: Callable[[str], bool] = lambda _contract_id: True,
        is_wanted: Callable[[str], bool] = lambda _contract_id: True,
        silence: SilenceLimits | None = None,
        timings: HubTimings | None = None,
        negotiate: Negotiate = Negotiate.ASK,
        tls: ssl.SSLContext | None = None,
        strike: Callable[[bytes], bytes] = bytes,
    ) -> None:
        """Prepare; nothing connects before ``run``.

        Args:
            user_hub_url: ``https://…/hubs/user``.
            market_hub_url: ``https://…/hubs/market``.
            tokens: the session that REST uses too.
            clock: monotonic time for ages and deadlines, UTC for the records.
            account_id: whose orders, positions and trades are heard.
            contract_ids: whose quotes and trades are heard; more with ``add_contracts``.
            sink: takes every fact, on the event loop, in order of arrival.
            quotes: takes every merged quote and the monotonic ns of its arrival.
            expects_data: whether a contract trades now, so that silence means a fault.
            is_wanted: whether a contract has to be heard on, also when there are too many.
            silence: how long data may be missing.
            timings: deadlines and rhythms of the connections.
            negotiate: how connections begin.
            tls: trust in other authorities than the system's.
            strike: takes secrets out of what the hubs say before anything else sees it.

        Raises:
            SettingError: an address cannot be used.
        """
        self._user_ready = asyncio.Event()
        self._relay_wake = asyncio.Event()
        self._reports = {hub: HubReports(hub, clock=clock, sink=sink) for hub in Hub}
        self._user = UserHub(
            account_id=account_id,
            clock=clock,
            sink=sink,
            reports=self._reports[Hub.USER],
            on_evicted=lambda words: self._evicted(Hub.USER, words),
            on_ready=self._user_ready.set,
        )
        self._market = MarketHub(
            clock=clock,
            sink=sink,
            quotes=quotes,
            reports=self._reports[Hub.MARKET],
            expects_data=expects_data,
            is_wanted=is_wanted,
            limits=silence or SilenceLimits(),
            on_evicted=lambda words: self._evicted(Hub.MARKET, words),
            on_ready=self._relay_wake.set,
        )
        self.relay.on_change = self._relay_wake.set
        for contract_id in contract_ids:
            self._market.add(contract_id)
        addresses = {
            Hub.USER: checked_url(user_hub_url, setting="TOPSTEPX_USER_HUB_URL"),
            Hub.MARKET: checked_url(market_hub_url, setting="TOPSTEPX_MARKET_HUB_URL"),
        }
        listeners: dict[Hub, LinkListener] = {Hub.USER: self._user, Hub.MARKET: self._market}
        self._links = {
            hub: HubLink(
                addresses[hub],
                tokens=tokens,
                listener=listeners[hub],
                clock=clock,
                timings=timings,
                negotiate=negotiate,
                tls=tls,
                strike=strike,
            )
            for hub in Hub
        }

    @property
    def relay(self) -> MarketRelay:
        """Where others say which market data they want passed on to them."""
        return self._market.relay

    async def run(self, on_user_connected: Callable[[], Awaitable[None]] | None = None) -> None:
        """Stay connected and subscribed until cancelled.

        ``on_user_connected`` is awaited after each connection of the user hub, never twice at
        once, and goes on when that connection drops meanwhile. What it raises ends ``run``.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._links[Hub.USER].run())
            tasks.create_task(self._links[Hub.MARKET].run())
            tasks.create_task(self._watch_silence())
            tasks.create_task(self._serve_relay())
            if on_user_connected is not None:
                tasks.create_task(self._announce(on_user_connected))

    async def add_contracts(self, contract_ids: Iterable[str]) -> None:
        """Hear more contracts; on an open connection they are subscribed at once.

        Where there are too many, those make room that nobody wants any more: months of the past.

        Raises:
            GatewayError: there is no room for one, for all that are heard are wanted; those
                before it are heard.
        """
        added = dict.fromkeys(contract_ids)
        for contract_id in added:
            spare = self._market.in_the_way_of(contract_id, besides=added)
            if spare is not None:
                await self._let_go(spare)
            if self._market.add(contract_id) and self._market.is_ready:
                await self._subscribe_anew(contract_id, is_joined=self.relay.hand_over(contract_id))

    def data_age_ms(self, contract_id: str) -> int | None:
        """Return how long ago the market hub said something of the contract; None: never."""
        return self._market.data_age_ms(contract_id)

    def health(self, hub: Hub) -> HubHealth:
        """Return how ``hub`` is doing."""
        return HubHealth(link=self._links[hub].health(), counts=self._reports[hub].counts())

    def rebuild(self, hub: Hub, reason: str) -> None:
        """Give the connection of ``hub`` up and make a new one."""
        self._links[hub].rebuild(reason)

    async def _announce(self, on_user_connected: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._user_ready.wait()
            self._user_ready.clear()
            await on_user_connected()

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(self._market.limits.check_s)
            if self._market.is_hub_silent():
                self._links[Hub.MARKET].rebuild("connected, but no market data")
                continue
            for contract_id in self._market.silent_contracts():
                await self._subscribe_anew(contract_id, is_joined=True)

    async def _subscribe_anew(self, contract_id: str, *, is_joined: bool) -> None:
        invoke = self._links[Hub.MARKET].invoke
        try:
            if is_joined:
                await self._market.leave(contract_id, invoke)
            await self._market.join(contract_id, invoke)
        except GatewayError as error:
            self._links[Hub.MARKET].rebuild(f"subscribing {contract_id} failed: {error}")

    async def _let_go(self, contract_id: str) -> None:
        """Hear a contract no more, but for others who want that."""
        if self._market.is_ready:
            try:
                await self._market.leave(contract_id, self._links[Hub.MARKET].invoke)
            except GatewayError as error:
                # The next connection begins without it; nobody knows how it stands on this one.
                self._links[Hub.MARKET].rebuild(f"leaving {contract_id} failed: {error}")
        self._market.remove(contract_id)
        self._relay_wake.set()

    async def _serve_relay(self) -> None:
        """Bring the market hub closer to what others want to hear, round by round."""
        while True:
            self._relay_wake.clear()
            while self._market.is_ready and (due := self.relay.calls_due()):
                await asyncio.gather(*(self._relay_call(*it) for it in due.items()))
            with suppress(TimeoutError):
                async with asyncio.timeout(self.relay.retry_in_s()):
                    await self._relay_wake.wait()
            self.relay.clear_retries()

    async def _relay_call(self, stream: Stream, call: Call) -> None:
        try:
            await self._links[Hub.MARKET].invoke(call.target, *call.arguments)
        except HubEndedError:
            pass  # the next connection begins with nothing
        except GatewayError:
            self.relay.failed(stream)
        else:
            self.relay.succeeded(stream, call)

    def _evicted(self, hub: Hub, words: str) -> None:
        self._links[hub].rebuild(f"{LOGOUT}: {words}".rstrip(": "), evicted=True)
