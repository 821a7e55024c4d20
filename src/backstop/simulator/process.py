"""The whole simulator in one process: feed, exchange, faults, and a gateway's surface on loopback.

``async with Simulator(config) as sim`` serves on ``sim.url`` until the block ends. Tests reach the
truth through ``sim.exchange`` and the mischief through ``sim.faults``.
"""

import asyncio
import errno
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web
from msgspec import Struct, structs

from backstop.adapters.projectx.wire import BarRow, BarsBody
from backstop.adapters.projectx_server.app import GatewayServer
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.venue import MarketEvent
from backstop.errors import SettingError
from backstop.simulator.bar_history import BarHistory
from backstop.simulator.clock import SimulatorClock
from backstop.simulator.contracts import Listing, listings
from backstop.simulator.exchange_config import (
    AccountSpec,
    BracketMode,
    ContractSpec,
    ExchangeConfig,
)
from backstop.simulator.fault_rules import FaultRule
from backstop.simulator.faults import FaultApplied, FaultPlan
from backstop.simulator.faults_control import FaultsControl
from backstop.simulator.feed import feed_items, make_drives
from backstop.simulator.live_exchange import LiveExchange
from backstop.simulator.market_events import MarketEvents
from backstop.simulator.pump import Pump
from backstop.simulator.sessions import session_us, trade_date
from backstop.simulator.sources import HISTORY_SESSIONS, Calendar

HOST: Final = "127.0.0.1"
"""The only address ever served: a look-alike of a broker must not be reachable from outside."""

SHUTDOWN_S = 1.0
"""What open connections get to end by themselves."""

COMBINE_ACCOUNT_ID: Final = 31_004_501
PRACTICE_ACCOUNT_ID: Final = 31_004_502
_MINI_COMMISSION, _MICRO_COMMISSION = Decimal("0.50"), Decimal("0.25")  # 0.25 is recorded for MNQ
_MICRO_FEE_MAX = Decimal("0.70")


class SimulatorConfig(Struct, frozen=True, kw_only=True):
    """What makes one simulator; equal seeds and data make equal markets.

    Attributes:
        user: login of the one user, with ``api_key``.
        port: 0 for any free one.
        data: files or folders of bars or ticks to replay; none: the generator alone.
        day: trade date of the data to begin with; None: the first one.
        speed: simulated seconds in a real one; 0: as fast as possible.
        bracket_mode: of the default accounts.
        accounts: None for a practice account of 150 000 and a combine of 50 000 dollars.
        faults: in force from the start.
        start_us: the first instant; None: now.
        quote_density: factor on the number of quotes, for a virtual clock that is to run far.
        history_sessions: how much history the market has; a short one is quickly made and read.
        exchange: how the exchange behaves in what is unknown of the real one; its seed, accounts,
            contracts, start and opening come from here.
        server: the same for the surface; its users come from here.
    """

    user: str
    api_key: str
    port: int = 0
    seed: int = 1
    data: tuple[Path, ...] = ()
    day: date | None = None
    speed: float = 1.0
    calendar: Calendar = Calendar.ALWAYS_OPEN
    bracket_mode: BracketMode = BracketMode.AUTO_OCO
    accounts: tuple[AccountSpec, ...] | None = None
    faults: tuple[FaultRule, ...] = ()
    start_us: int | None = None
    quote_density: float = 1.0
    history_sessions: int = HISTORY_SESSIONS
    exchange: ExchangeConfig = ExchangeConfig(seed=0, accounts=(), contracts=())
    server: ServerConfig = ServerConfig()


class Simulator:
    """A running gateway on loopback.

    Attributes:
        exchange: the venue; every call on it is made in the present.
        faults: the rules in force.
        server: the surface, for what tests want to see of its hubs.
        clock: simulated time.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        on_fault: Callable[[FaultApplied], None] | None = None,
    ) -> None:
        """Read the data and build everything but the socket.

        Args:
            config: what to simulate.
            on_fault: told of every fault as it happens.

        Raises:
            DataFileError: a data file cannot be used.
        """
        self.config: Final = config
        start_us = time.time_ns() // 1_000 if config.start_us is None else config.start_us
        today = trade_date(start_us)
        self.listings: Final = listings(today)
        drives = make_drives(
            self.listings,
            seed=config.seed,
            start_us=start_us,
            calendar=config.calendar,
            data=config.data,
            day=config.day,
            density=config.quote_density,
            history_sessions=config.history_sessions,
        )
        market_events = MarketEvents(drives)
        self.clock: Final = SimulatorClock(start_us=start_us, speed=config.speed)
        self._pump = Pump(
            feed_items(drives, start_us=start_us, calendar=config.calendar),
            clock=self.clock,
            events=market_events,
            calendar=config.calendar,
            wanted=self._is_wanted,
        )
        self.exchange: Final = LiveExchange(
            _exchange_config(config, self.listings, start_us=start_us),
            history=_History(BarHistory(drives), market_events, self.clock),
            before=self._pump.look,
            after=self._pump.soon,
        )
        self._pump.attach(self.exchange)
        self.faults: Final = FaultPlan(
            config.faults, seed=config.seed, now_us=self.clock.now_us, on_applied=on_fault
        )
        self.server: Final = GatewayServer(
            self.exchange,
            structs.replace(config.server, users={config.user: config.api_key}),
            now_us=self.clock.now_us,
            interference=self.faults,
        )
        FaultsControl(self.faults, self.exchange).add_to(self.server.app)
        self._pump.look()  # every contract has a quote before anybody can ask
        self.port = config.port
        self._runner: web.AppRunner | None = None
        self._pumping: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The gateway's root, without ``/api``."""
        return f"http://{HOST}:{self.port}"

    @property
    def accounts(self) -> tuple[AccountSpec, ...]:
        """The accounts as they were at the start."""
        return _accounts(self.config)

    @property
    def items_played(self) -> int:
        """How many quotes and trades the exchange has seen."""
        return self._pump.items_played

    async def __aenter__(self) -> Self:
        """Listen and let time run.

        Raises:
            SettingError: the port is in use.
        """
        runner = web.AppRunner(self.server.app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self.config.port).start()
        except OSError as error:
            await runner.cleanup()
            # The error's own words repeat the address; in use is by far the most frequent cause.
            why = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
            fault = f"{self.config.port} cannot be listened on: {why}"
            raise SettingError("port", fault, "a free port of this machine, or 0") from error
        self._runner = runner
        self.port = runner.addresses[0][1]
        self.faults.attach(self.server)
        self._pumping = asyncio.create_task(self._pump.run(), name="simulator pump")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop time, end every connection, and tell if the market had died before."""
        pumping, runner = self._pumping, self._runner
        if pumping is not None:
            pumping.cancel()
            await asyncio.wait([pumping])
        if runner is not None:
            await runner.cleanup()
        if pumping is not None and not pumping.cancelled() and error is None:
            pumping.result()

    async def serve(self, stop: asyncio.Event) -> None:
        """Wait until ``stop`` is set; raise what ended the market, if it ends by itself."""
        if self._pumping is None:
            return
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopping, self._pumping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if self._pumping.done():
            self._pumping.result()

    def _is_wanted(self, target: str, contract_id: str) -> bool:
        return self.server.market_hub.has_listeners((target, contract_id))


class _History:
    """What the exchange does not know by itself; implements its ``MarketHistory``."""

    def __init__(self, bars: BarHistory, events: MarketEvents, clock: SimulatorClock) -> None:
        self._bars = bars
        self._events = events
        self._clock = clock

    def bars(self, body: BarsBody, now_us: int) -> tuple[int, list[BarRow]]:
        return self._bars.bars(body, now_us)

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
        return self._events.snapshot(target, contract_id, self._clock.now_us())


def _accounts(config: SimulatorConfig) -> tuple[AccountSpec, ...]:
    if config.accounts is not None:
        return config.accounts
    return (
        AccountSpec(
            id=PRACTICE_ACCOUNT_ID,
            name="PRAC-V2-900001-87654321",
            user=config.user,
            starting_balance=Decimal(150_000),
            bracket_mode=config.bracket_mode,
        ),
        AccountSpec(
            id=COMBINE_ACCOUNT_ID,
            name="50KTC-V2-900001-12345678",
            user=config.user,
            starting_balance=Decimal(50_000),
            bracket_mode=config.bracket_mode,
        ),
    )


def _exchange_config(
    config: SimulatorConfig, listed: tuple[Listing, ...], *, start_us: int
) -> ExchangeConfig:
    contracts = []
    for listing in listed:
        product = listing.product
        micro = product.fee < _MICRO_FEE_MAX
        for row in (listing.active, listing.previous):
            # Under the exchange's hours a month ends with the session before its roll.
            expires = row.active_contract and config.calendar is Calendar.CME
            contracts.append(
                ContractSpec(
                    row=row,
                    fee=product.fee,
                    commission=_MICRO_COMMISSION if micro else _MINI_COMMISSION,
                    expiry_us=session_us(listing.last_day)[0] if expires else None,
                )
            )
    return structs.replace(
        config.exchange,
        seed=config.seed,
        accounts=_accounts(config),
        contracts=tuple(contracts),
        start_us=start_us,
        market_open=config.calendar.is_open(start_us),
    )
