"""The venue of the storm: exchange, market and gateway, with the true time of the loop.

The exchange is the simulator's, the surface is the simulator's, served by the same server over the
simulated network. Only the market is the storm's own, and closed when its hours or a halt say so.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Final

from aiohttp import web
from msgspec.structs import replace

from backstop.adapters.projectx_server.app import GatewayServer
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.interference import Call
from backstop.adapters.projectx_server.venue import MarketEvent
from backstop.simulator.contracts import listings
from backstop.simulator.exchange_config import AccountSpec, ContractSpec, ExchangeConfig
from backstop.simulator.faults import FaultApplied
from backstop.simulator.rows import hub_time
from backstop.simulator.sessions import is_open, next_change_us
from backstop.storm.history import FamilyBars, StormHistory, past_of
from backstop.storm.machine import MICROS, true_utc_us
from backstop.storm.market import Market
from backstop.storm.network import PORT, StormLoop
from backstop.storm.terms import Terms
from backstop.storm.watched_gateway import CallWatch, WatchedExchange, WatchedFaults

USER: Final = "storm"
API_KEY: Final = "storm-key-0123456789"
SIGNING_KEY: Final = bytes(32)
ACCOUNT_ID: Final = 31_004_501
SYMBOLS: Final = ("ES", "NQ", "MES", "MNQ")
"""What is traded: two families, each in both sizes."""

MINIS: Final = ("ES", "NQ")

LOGIN_AGAIN_S: Final = 60.0
"""A guard whose key was refused tries it again by then."""

ENDED: Final = "MES"
"""Of this product the month before is listed as well."""

BALANCE: Final = Decimal(150_000)
TOUCH_SIZE: Final = 50

OPENING_TICKS: Final = 80
"""How far the market may stand from its close when it opens again."""


class StormVenue:
    """Exchange and gateway.

    Attributes:
        exchange: the truth.
        faults: what goes wrong at the gateway.
        server: its surface.
        contract_ids: by the code of the product.
        old_month: a contract that the venue lists and takes no orders for.
        history: its bars.
    """

    def __init__(
        self,
        loop: StormLoop,
        chance: Random,
        *,
        terms: Terms,
        config: ExchangeConfig,
        server: ServerConfig,
        wildness: float,
        on_change: Callable[[str], None],
        on_fault: Callable[[FaultApplied], None],
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._wildness = wildness
        self._advancing = False
        self._lets_trade = True
        self._terms = terms
        self._on_change = on_change
        self._lets_in_from_s = 0.0
        self._halted: set[str] = set()
        self._is_open = not terms.keeps_hours or is_open(terms.start_utc_us)
        self._due: asyncio.TimerHandle | None = None
        self._hours: asyncio.TimerHandle | None = None
        day = datetime.fromtimestamp(terms.start_utc_us / MICROS, UTC).date()
        known = [it for it in listings(day) if it.product.code in SYMBOLS]
        old = MINIS if terms.old_month else ()
        rows = {
            it.product.code: it.previous if it.product.code in old else it.active for it in known
        }
        self.contract_ids = {code: row.id for code, row in rows.items()}
        self._ending = {rows[code].id for code in old}
        ended = next(it for it in known if it.product.code == ENDED).previous
        self.old_month = ended.id
        self.history = StormHistory()
        self.exchange = WatchedExchange(
            replace(
                config,
                accounts=(
                    AccountSpec(
                        id=ACCOUNT_ID,
                        name="50KTC-V2-STORM",
                        user=USER,
                        starting_balance=BALANCE,
                        bracket_mode=terms.bracket_mode,
                        max_position=terms.firm_max_position,
                    ),
                ),
                contracts=(
                    *(
                        ContractSpec(
                            row=replace(rows[it.product.code], active_contract=True),
                            fee=it.product.fee,
                            expiry_us=terms.expiry_us if it.product.code in MINIS else None,
                        )
                        for it in known
                    ),
                    ContractSpec(row=ended),
                ),
                start_us=terms.start_utc_us,
                market_open=self._is_open,
            ),
            history=self.history,
            before=self._advance,
            after=self._plan,
            chance=chance,
            account_id=ACCOUNT_ID,
        )
        self.faults = WatchedFaults(
            seed=chance.getrandbits(32), now_us=self._now_us, on_applied=on_fault
        )
        self.server = GatewayServer(
            self.exchange,
            replace(server, users={USER: API_KEY}, signing_key=SIGNING_KEY),
            now_us=self._now_us,
            interference=self.faults,
        )
        families = sorted({it.product.index for it in known})
        self._markets = [
            Market(
                chance,
                family,
                [it for it in known if it.product.index == family],
                [self.contract_ids[it.product.code] for it in known if it.product.index == family],
                next(
                    int(it.product.start_price / it.product.tick_size)
                    for it in known
                    if it.product.index == family
                ),
            )
            for family in families
        ]
        past = past_of(chance, {it.family: it.ticks for it in self._markets}, terms.start_utc_us)
        for market in self._markets:
            tick_size = market.contracts[0][0].product.tick_size
            bars = FamilyBars(past[market.family], tick_size)
            self.history.add(market.family, bars, [it for _, it in market.contracts])
        self._runner = web.AppRunner(self.server.app, access_log=None, handle_signals=False)

    def watch(self, on_call: Callable[[Call], None], watch: CallWatch) -> None:
        """Show every call to ``on_call``, and to ``watch`` those that reach the exchange."""
        self.faults.on_call = on_call
        self.exchange.watcher = watch

    @property
    def lets_trade(self) -> bool:
        """The firm has not locked the account."""
        return self._lets_trade

    def lock(self, *, locked: bool) -> None:
        """Forbid trading, or allow it again."""
        self._lets_trade = not locked
        self.exchange.set_can_trade(ACCOUNT_ID, not locked)

    def liquidate(self) -> list[int]:
        """Close everything as the firm does, and lock the account; return the closing orders."""
        self._lets_trade = False
        return self.exchange.liquidate_account(ACCOUNT_ID, "a rule of the firm")

    def touch(self, contract_id: str) -> tuple[Decimal, Decimal]:
        """Return the bid of a contract, and its tick."""
        for market in self._markets:
            for listing, held_id in market.contracts:
                if held_id == contract_id:
                    tick = listing.product.tick_size
                    return market.ticks * tick, tick
        raise KeyError(contract_id)

    @property
    def is_open(self) -> bool:
        """The market is in its hours."""
        return self._is_open

    def trades(self, contract_id: str) -> bool:
        """Say whether orders of a contract can fill now."""
        ends_us = self._terms.expiry_us if contract_id in self._ending else None
        ended = ends_us is not None and self._now_us() >= ends_us
        return self.is_open and not ended and contract_id not in self._halted

    @property
    def trades_all(self) -> bool:
        """Orders of every contract can fill now."""
        return all(map(self.trades, self.contract_ids.values()))

    def halt(self, contract_id: str, *, halted: bool) -> None:
        """Halt the trading of one contract, or end that."""
        (self._halted.add if halted else self._halted.discard)(contract_id)
        self.exchange.set_market_open(contract_id, self.trades(contract_id))

    def end_halts(self) -> None:
        """Let everything trade that is in its hours."""
        for contract_id in sorted(self._halted):
            self.halt(contract_id, halted=False)

    def gap(self, reach: int) -> None:
        """Let a market jump, through whatever stops there are."""
        self._chance.choice(self._markets).jump(reach)

    @property
    def lets_in(self) -> bool:
        """Logins are accepted, and were for so long that one was tried."""
        return self._loop.now_s >= self._lets_in_from_s

    def shut_out(self, seconds: float) -> None:
        """Take note that no login is accepted for so long."""
        self._lets_in_from_s = self._loop.now_s + seconds + LOGIN_AGAIN_S

    def lag(self, *, positions_s: float, lists_s: float) -> None:
        """Have reads of positions, and lists of orders and trades, lag behind the stream."""
        self.exchange.positions_lag_us = round(positions_s * MICROS)
        self.exchange.lists_lag_us = round(lists_s * MICROS)

    async def open(self) -> None:
        """Listen, and let the market begin."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - set up above
        self._loop.network.listen(PORT, server)
        self.faults.attach(self.server)
        for market in self._markets:
            self._tell(market)
        self._quoting = asyncio.create_task(self._quote())
        self._plan_hours()

    async def close(self) -> None:
        """Stop the market and the gateway."""
        self._quoting.cancel()
        await self._runner.cleanup()
        for timer in (self._due, self._hours):
            if timer is not None:
                timer.cancel()

    # -- time ------------------------------------------------------------------------------------

    def _now_us(self) -> int:
        return true_utc_us(self._loop, self._terms.start_utc_us)

    def _plan_hours(self) -> None:
        """Open and close the market as its hours say."""
        if self._terms.keeps_hours:
            due_us = next_change_us(self._now_us())
            delay_s = (due_us - self._now_us()) / MICROS
            self._hours = self._loop.call_later(delay_s, self._open_or_close)

    def _open_or_close(self) -> None:
        self._is_open = is_open(self._now_us())
        self._on_change("open" if self.is_open else "close")
        if self.is_open:
            for market in self._markets:
                market.jump(OPENING_TICKS)
        for contract_id in self.contract_ids.values():
            self.exchange.set_market_open(contract_id, self.trades(contract_id))
        self._plan_hours()

    def _advance(self) -> None:
        if not self._advancing:
            self._advancing = True
            try:
                self.exchange.advance(self._now_us())
            finally:
                self._advancing = False

    def _plan(self) -> None:
        """Have the exchange do in time what is due by itself."""
        due_us = self.exchange.next_event_us()
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if due_us is not None:
            delay_s = max(0, due_us - self._now_us()) / MICROS
            self._due = self._loop.call_later(delay_s, self._happen)

    def _happen(self) -> None:
        self._due = None
        self._advance()
        self._plan()

    # -- the market ------------------------------------------------------------------------------

    async def _quote(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0.1, 0.6))
            market = self._chance.choice(self._markets)
            if self.is_open:
                market.step(self._wildness)
                self._tell(market)

    def _tell(self, market: Market) -> None:
        self._advance()
        now_us = self._now_us()
        self.history.families[market.family].put(now_us, market.ticks)
        for listing, contract_id in market.contracts:
            if not self.trades(contract_id):
                continue
            tick = listing.product.tick_size
            bid, ask = market.ticks * tick, (market.ticks + 1) * tick
            self.exchange.on_quote(
                contract_id, bid, ask, TOUCH_SIZE, TOUCH_SIZE, bid, TOUCH_SIZE, 1
            )
            if self.server.market_hub.has_listeners(("GatewayQuote", contract_id)):
                moment = hub_time(now_us)
                self.exchange.publish(
                    MarketEvent(
                        target="GatewayQuote",
                        contract_id=contract_id,
                        data={
                            "symbol": f"F.US.{listing.product.root}",
                            "lastPrice": bid,
                            "bestBid": bid,
                            "bestAsk": ask,
                            "lastUpdated": moment,
                            "timestamp": moment,
                            "contract": contract_id,
                        },
                    )
                )
        self._plan()
