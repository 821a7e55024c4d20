"""The way to the broker: log in, check the account, load the contracts, keep both hubs up."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.projectx.hubs import ProjectXHubs
from backstop.adapters.projectx.market_relay import MarketRelay
from backstop.domain.events import AccountReported, InstrumentsLoaded, Source
from backstop.domain.instrument import Instrument
from backstop.errors import GatewayError
from backstop.ports import Clock, FactSink

FIRST_CONTACT_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Growing pauses while the gateway cannot be reached at start; the last one repeats."""


class BrokerLink:
    """Owns the connection of one account; facts go to the sink from the first moment."""

    def __init__(
        self,
        *,
        gateway: ProjectXGateway,
        hubs: ProjectXHubs,
        clock: Clock,
        account: int,
        symbols: tuple[str, ...],
        sink: FactSink,
        on_fault: Callable[[str], None],
    ) -> None:
        self.instruments: tuple[Instrument, ...] = ()
        self._gateway = gateway
        self._hubs = hubs
        self._clock = clock
        self._account = account
        self._symbols = symbols
        self._sink = sink
        self._on_fault = on_fault
        self._greeted = asyncio.Event()
        self._first: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        """Return the first greeting, which has begun; ``run`` goes on with it. See ``greet``."""
        self._first = asyncio.create_task(self.greet(), name="first contact")
        return self._first

    async def close(self) -> None:
        """Let go of the gateway if nothing has been heard of it yet."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)

    async def greet(self) -> None:
        """Log in, find the account and load the contracts, once.

        Raises:
            LoginRefusedError: the gateway knows us and says no.
            GatewayAnswerError: the account is not there, or the answers make no sense.
            GatewayUnreachableError: no connection.
        """
        account = await self._gateway.account(self._account)
        instruments = await self._gateway.instruments()
        utc_us = self._clock.utc_us()
        self._sink(AccountReported(utc_us=utc_us, account=account, source=Source.REST))
        self._sink(InstrumentsLoaded(utc_us=utc_us, instruments=instruments))
        self.instruments = tuple(
            instrument
            for instrument in instruments
            if instrument.symbol in self._symbols and instrument.active
        )
        await self._hubs.add_contracts(instrument.contract_id for instrument in self.instruments)
        self._greeted.set()

    @property
    def market_relay(self) -> MarketRelay:
        """Where others say which market data they want passed on to them."""
        return self._hubs.relay

    async def hear(self, contract_ids: Iterable[str]) -> None:
        """Join the market of more contracts."""
        await self._hubs.add_contracts(contract_ids)

    async def greeted(self) -> None:
        """Wait until the account and the contracts are known."""
        await self._greeted.wait()

    async def run(self) -> None:
        """Greet until it works, then keep both hubs connected until cancelled."""
        attempt = 0
        while not self._greeted.is_set():
            try:
                await self._greeting()
            except GatewayError as error:
                self._on_fault(str(error))
                pause_s = FIRST_CONTACT_PAUSES_S[min(attempt, len(FIRST_CONTACT_PAUSES_S) - 1)]
                attempt += 1
                await asyncio.sleep(pause_s)
        await self._hubs.run()

    def _greeting(self) -> Awaitable[None]:
        """Return the first greeting while nobody knows what comes of it, afterwards another one."""
        first = self._first
        return self.greet() if first is None or first.done() else first
