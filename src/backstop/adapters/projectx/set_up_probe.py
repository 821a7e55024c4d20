"""One session at the gateway that only looks: log in, find the account, hear both hubs.

Nothing is ordered, changed or cancelled here. A login is a login all the same: it may evict another
session of the same user, so whoever calls this has made sure that no guard holds the account.
"""

import asyncio
from collections.abc import Iterable

from msgspec.structs import replace

from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.projectx.hubs import ProjectXHubs
from backstop.adapters.projectx.session import RevealsSecret
from backstop.domain.events import Fact, Hub, HubConnected, SessionEvicted
from backstop.domain.instrument import Instrument
from backstop.domain.set_up import AccountLook, GatewayLook, HubLook, LoginLook
from backstop.errors import GatewayAnswerError, GatewayError, GatewayUnreachableError
from backstop.ports import Clock

CALL_LIMIT_S = 10.0
"""For each of the calls; a gateway that answers takes a fraction of a second."""

HUBS_LIMIT_S = 10.0
"""Until both hubs are connected and subscribed; longer than two of their own attempts."""

LISTEN_S = 5.0
"""For a first quote of each symbol, after that: an open market has several in a second."""

LOOK_S = 0.02

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


class GatewayProbe:
    """Looks once at one gateway, as one user."""

    def __init__(
        self,
        *,
        api_url: str,
        user_hub_url: str,
        market_hub_url: str,
        user_name: str,
        api_key: RevealsSecret | None,
        token: RevealsSecret | None,
        clock: Clock,
    ) -> None:
        """Prepare; nothing is contacted yet.

        Raises:
            SettingError: an address cannot be used.
            LoginRefusedError: neither key nor token.
        """
        self._clock = clock
        self._hub_urls = {Hub.USER: user_hub_url, Hub.MARKET: market_hub_url}
        self._gateway = ProjectXGateway(
            api_url=api_url, user_name=user_name, api_key=api_key, token=token, clock=clock
        )

    async def look(self, account_id: int, symbols: Iterable[str]) -> GatewayLook:
        """Return what a session shows; failures are part of it, nothing is raised for them."""
        async with self._gateway:
            return await self._look(account_id, tuple(symbols))

    async def _look(self, account_id: int, symbols: tuple[str, ...]) -> GatewayLook:
        gateway, began_ns = self._gateway, self._clock.monotonic_ns()
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                await gateway.session.token()
        except (GatewayError, TimeoutError) as error:
            return GatewayLook(
                clock_readings=gateway.clock_readings,
                login=_failed(error),
                not_looked="there is no login",
            )
        login = LoginLook(took_ms=self._since_ms(began_ns))
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                held = await gateway.account(account_id)
                instruments = await gateway.instruments()
        except GatewayAnswerError as error:
            return GatewayLook(
                clock_readings=gateway.clock_readings,
                login=login,
                account=AccountLook(account_id=account_id, fault=_words(error)),
                not_looked="there is no account to subscribe to",
            )
        except (GatewayError, TimeoutError) as error:
            # A ready token shows only here that it is not good any more.
            return GatewayLook(
                clock_readings=gateway.clock_readings,
                login=_failed(error),
                not_looked="there is no login",
            )
        looked = await self._hubs(account_id, symbols, instruments)
        return replace(
            looked,
            clock_readings=gateway.clock_readings,
            login=login,
            account=AccountLook(
                account_id=held.account_id,
                name=held.name,
                balance_micros=held.balance_micros,
                can_trade=held.can_trade,
            ),
        )

    async def _hubs(
        self, account_id: int, symbols: tuple[str, ...], instruments: tuple[Instrument, ...]
    ) -> GatewayLook:
        contracts = {it.symbol: it.contract_id for it in instruments if it.active}
        wanted = {symbol: contracts[symbol] for symbol in symbols if symbol in contracts}
        heard = _Heard(self._clock, wanted=set(wanted.values()))
        hubs = ProjectXHubs(
            user_hub_url=self._hub_urls[Hub.USER],
            market_hub_url=self._hub_urls[Hub.MARKET],
            account_id=account_id,
            contract_ids=wanted.values(),
            tokens=self._gateway.session,
            clock=self._clock,
            sink=heard.fact,
            quotes=lambda quote, _arrived_ns: heard.quoted.add(quote.contract_id),
        )
        began_ns = self._clock.monotonic_ns()
        running = asyncio.create_task(hubs.run(), name="hubs")
        try:
            while not heard.is_enough(began_ns):
                await asyncio.wait({running}, timeout=LOOK_S)
                if running.done():
                    running.result()
            return GatewayLook(
                hubs=tuple(_hub_look(hub, hubs, heard, began_ns) for hub in Hub),
                ages_ms={symbol: hubs.data_age_ms(it) for symbol, it in wanted.items()}
                if Hub.MARKET in heard.connected_ns
                else {},
                listened_ms=heard.listened_ms(),
                unknown_symbols=tuple(it for it in symbols if it not in wanted),
                not_looked="the market hub is not connected",
            )
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _since_ms(self, began_ns: int) -> int:
        return (self._clock.monotonic_ns() - began_ns) // _NS_PER_MS


class _Heard:
    """What the hubs have said so far."""

    def __init__(self, clock: Clock, *, wanted: set[str]) -> None:
        self.connected_ns: dict[Hub, int] = {}
        self.quoted: set[str] = set()
        self.evicted: dict[Hub, str] = {}
        self._clock = clock
        self._wanted = wanted

    def fact(self, fact: Fact) -> None:
        if isinstance(fact, HubConnected):
            self.connected_ns.setdefault(fact.hub, self._clock.monotonic_ns())
        elif isinstance(fact, SessionEvicted):
            said = fact.message or "no reason given"
            self.evicted[fact.hub] = f"another session of this user took it ({said})"

    def listened_ms(self) -> int:
        since_ns = self.connected_ns.get(Hub.MARKET)
        return 0 if since_ns is None else (self._clock.monotonic_ns() - since_ns) // _NS_PER_MS

    def is_enough(self, began_ns: int) -> bool:
        if self.evicted:
            return True  # two sessions that take the hub from each other help nobody
        if len(self.connected_ns) < len(Hub):
            return self._clock.monotonic_ns() - began_ns > HUBS_LIMIT_S * _NS_PER_S
        return self._wanted <= self.quoted or self.listened_ms() > LISTEN_S * 1000


def _hub_look(hub: Hub, hubs: ProjectXHubs, heard: _Heard, began_ns: int) -> HubLook:
    link, connected_ns = hubs.health(hub).link, heard.connected_ns.get(hub)
    if hub in heard.evicted:
        return HubLook(hub=hub, fault=heard.evicted[hub])
    if connected_ns is None or not link.is_connected:
        fault = link.last_fault or f"no connection within {HUBS_LIMIT_S:g} s"
        return HubLook(hub=hub, fault=fault)
    return HubLook(hub=hub, connected=True, took_ms=(connected_ns - began_ns) // _NS_PER_MS)


def _failed(error: Exception) -> LoginLook:
    unreached = isinstance(error, GatewayUnreachableError | TimeoutError)
    return LoginLook(fault=_words(error), reached=not unreached)


def _words(error: Exception) -> str:
    return str(error) or f"no answer within {CALL_LIMIT_S:g} s"
