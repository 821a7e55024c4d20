"""A venue and the guards in front of it, in one process, over real sockets and real files.

The exchange's own truth decides what is right; ``differences`` compares it with everything that a
guard believes and has written down.
"""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.settings import Settings
from backstop.core.book import Book
from backstop.core.step import DecisionKind, Note
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import TradingState
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.ports import Clock
from backstop.simulator.exchange_config import AccountSpec, ExchangeConfig, PartialFill
from backstop.simulator.fault_rules import FaultKind, FaultRule
from backstop.simulator.process import Simulator, SimulatorConfig

USER, API_KEY = "desk-user", "desk-key-0123456789"
ACCOUNTS = range(7_000_001, 7_000_101)
"""One for each test: what another one did to the venue does not touch it."""

SIGNING_KEY = bytes(32)
"""Of the venue's tokens: one that comes back after a break still knows them."""

COLLAR_TICKS = 2000
"""The venue refuses levels farther from the market."""

SPEED = 5.0
"""Simulated seconds in a real one."""

PATIENCE_S = 40
"""For whatever must become true; nothing waits this long when all is well."""

POLL_S = 0.01
STOP_TICKS = 400

LARGEST_FILE_BYTES = 64 * 1024
"""More than the test runner writes during a test, less than the journal of a running guard."""

NO_HISTORY = FaultRule(
    on="History/retrieveBars",
    act=FaultKind.ERROR_CODE,
    code=1,
    message="no history",
    count=None,
    name="no history",
)
"""A hundred days of bars take seconds to make; without them the stress values hold at once."""


_failures: list[BaseException] = []
"""What ended a guard that nobody stopped: no use to wait for what it should do."""


async def until(is_true: Callable[[], bool], what: Callable[[], object] | str) -> None:
    """Wait until ``is_true``; ``what`` says what was waited for, when it never came."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not is_true():
                if _failures:
                    raise AssertionError("the guard itself has failed") from _failures.pop()
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        said = what if isinstance(what, str) else what()
        raise AssertionError(f"not within {PATIENCE_S} s: {said}") from None


def forget_failures() -> None:
    """Take what ended a guard for what the test wanted."""
    _failures.clear()


class JumpingClock(SystemClock):
    """The machine's clocks, with time that passes at once when a test says so."""

    def __init__(self) -> None:
        self._ahead_ns = 0
        self._asleep_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self._ahead_ns

    def awake_ns(self) -> int:
        return super().awake_ns() + self._ahead_ns - self._asleep_ns

    def suspend(self, seconds: float) -> None:
        """Let time pass while the machine sleeps."""
        self._asleep_ns += int(seconds * 1_000_000_000)
        self.jump(seconds)

    def jump(self, seconds: float) -> None:
        self._ahead_ns += int(seconds * 1_000_000_000)


@dataclass
class Guard:
    """A running manager and what a bot does with it."""

    manager: CriticalSystemManager
    venue: Simulator
    notes: list[Note]
    names: "count[int]"

    @property
    def book(self) -> Book:
        return self.manager.book

    async def ready(self, *symbols: str) -> None:
        """Wait until entries are possible and ``symbols`` are quoted."""
        await until(
            lambda: self.book.trading_state(self.manager.now_ns()) is TradingState.ACTIVE,
            lambda: f"ACTIVE; {self.book.state_reasons(self.manager.now_ns())}",
        )
        await self.quoted(*symbols)

    async def quoted(self, *symbols: str) -> None:
        """Wait until ``symbols`` are quoted, in whatever state the guard is."""
        for symbol in symbols:
            await until(lambda held=symbol: self._is_quoted(held), f"a quote of {symbol}")  # type: ignore[misc]

    def _is_quoted(self, symbol: str) -> bool:
        quote = self.manager.quotes.reference(self.instrument(symbol).contract_id)
        return quote is not None and None not in {quote.bid, quote.ask, quote.last}

    def instrument(self, symbol: str) -> Instrument:
        found = self.book.instrument_for(symbol)
        assert found is not None
        return found

    def request(
        self,
        side: Side = Side.BUY,
        quantity: int = 1,
        kind: OrderType = OrderType.MARKET,
        *,
        symbol: str = "MES",
        ticks: int = 0,
        protected: bool = True,
        client_order_id: str | None = None,
    ) -> OrderRequest:
        """Return an order at the touch, its price ``ticks`` on in the direction of its side.

        The symbol must be ``quoted`` by now: being ready includes that.
        """
        instrument = self.instrument(symbol)
        quote = self.manager.quotes.reference(instrument.contract_id)
        assert quote is not None
        touch = quote.touch(side)
        assert touch is not None
        number = next(self.names)
        level = touch + side.sign * ticks * instrument.tick_size
        # Each a little different: equal orders within a second are refused as doubles.
        away = side.sign * (STOP_TICKS + number) * instrument.tick_size
        return OrderRequest(
            client_order_id=client_order_id or f"order-{number}",
            symbol=symbol,
            side=side,
            quantity=quantity,
            type=kind,
            limit_price=level if kind is OrderType.LIMIT else None,
            stop_price=level if kind in {OrderType.STOP, OrderType.TRAILING_STOP} else None,
            stop_loss_price=level - away if protected else None,
            take_profit_price=level + away if protected else None,
        )

    async def send(self, request: OrderRequest) -> TrackedOrder:
        """Submit an order that must be accepted, and return it as the venue's answer left it."""
        decision = await self.manager.submit_order(request)
        assert decision.kind is DecisionKind.ACCEPTED, (decision.denials, decision.message)
        assert decision.order is not None
        return decision.order

    async def enter(self, *arguments: Any, **changes: Any) -> TrackedOrder:
        """Send an entry and return it filled."""
        order = await self.send(self.request(*arguments, **changes))
        return await self.reaches(order.client_order_id, OrderState.FILLED)

    async def reaches(self, client_order_id: str, *states: OrderState) -> TrackedOrder:
        """Return the order once it is in one of ``states``."""
        await until(
            lambda: self.book.orders[client_order_id].state in states,
            lambda: f"{states} for {self.book.orders[client_order_id]}",
        )
        return self.book.orders[client_order_id]

    async def proof(self, client_order_id: str) -> bytes:
        """Return the signed proof of an order once the evidence is complete and on disk."""
        await self.manager.verify_execution(client_order_id, timeout_s=PATIENCE_S)
        bundle = self.manager.execution_proof(client_order_id)
        assert bundle is not None
        return bundle

    def position(self, symbol: str = "MES") -> int:
        return self.book.position(self.instrument(symbol).contract_id).quantity

    async def holds(self, quantity: int, symbol: str = "MES") -> None:
        """Wait until the broker's row of a position says so: it comes after the order's own."""
        await until(
            lambda: self.position(symbol) == quantity,
            lambda: f"{quantity:+d} {symbol}; {self.position(symbol):+d} is known",
        )

    def move_market(self, ticks: int, symbol: str = "MES") -> None:
        """Let the market trade ``ticks`` from its last price for a moment."""
        self._trade_at(self._price(ticks, symbol), symbol)

    async def filled_by_market(
        self, client_order_id: str, ticks: int, symbol: str = "MES"
    ) -> TrackedOrder:
        """Keep the market ``ticks`` from its last price until an order is filled; return that.

        It fills in parts, and of a limit order each part needs a market that is still there.
        """
        price = self._price(ticks, symbol)

        def is_filled() -> bool:
            if self.book.orders[client_order_id].state is OrderState.FILLED:
                return True
            self._trade_at(price, symbol)
            return False

        await until(is_filled, lambda: f"filled: {self.book.orders[client_order_id]}")
        return self.book.orders[client_order_id]

    def _price(self, ticks: int, symbol: str) -> Decimal:
        """Return the price that is ``ticks`` from the last one."""
        instrument = self.instrument(symbol)
        quote = self.manager.quotes.reference(instrument.contract_id)
        assert quote is not None
        now = quote.last or quote.bid
        assert now is not None
        return now + ticks * instrument.tick_size

    def _trade_at(self, price: Decimal, symbol: str) -> None:
        instrument = self.instrument(symbol)
        bid = price - instrument.tick_size
        self.venue.exchange.on_quote(instrument.contract_id, bid, price, 500, 500, price, 500, 0)

    async def agrees(self) -> None:
        """Wait until the guard and the exchange agree on everything."""
        await until(lambda: not differences(self), lambda: differences(self))


@dataclass
class Desk:
    """A simulated venue, and folders for the guards in front of it."""

    venue: Simulator
    folder: Path
    account: int
    names: "count[int]" = field(default_factory=lambda: count(1))

    def settings(self, **values: object) -> Settings:
        defaults: dict[str, object] = {
            "TOPSTEPX_API_URL": self.venue.url,
            "TOPSTEPX_USERNAME": USER,
            "TOPSTEPX_API_KEY": API_KEY,
            "TOPSTEPX_ACCOUNT_ID": self.account,
            "BACKSTOP_STATE_DIR": self.folder / "state",
            "BACKSTOP_CALENDAR": "always-open",
            "STALE_QUOTE_MS": 30_000,  # at any hour: a busy machine is no frozen market
            # The venue's time flies; how far it is from ours is for the tests of the clock.
            "CLOCK_OFFSET_MAX_SECONDS": 0,
            "RISK_BUDGET": 100_000,
            "ES_NQ_MAX_COMBINED_EXPOSURE": 100_000,
            "DRY_RUN": False,
            "EXECUTE": True,
        }
        return Settings.hermetic(**(defaults | values))

    @asynccontextmanager
    async def guard(
        self, *symbols: str, clock: Clock | None = None, ready: bool = True, **settings: object
    ) -> AsyncIterator[Guard]:
        """Run a guard; with ``ready`` it is ACTIVE and has quotes of ``symbols`` and MES."""
        notes: list[Note] = []
        manager = CriticalSystemManager.from_settings(
            self.settings(**settings), clock=clock, on_note=notes.append
        )
        async with manager:
            guard = Guard(manager, self.venue, notes, self.names)
            watching = asyncio.create_task(manager.failed())
            watching.add_done_callback(_keep_failure)
            try:
                if ready:
                    await guard.ready("MES", *symbols)
                yield guard
            finally:
                watching.cancel()

    def mischief(self, on: str, act: FaultKind, **details: Any) -> None:
        """Have one thing go wrong."""
        self.venue.faults.add([FaultRule(on=on, act=act, **details)])

    def truth(self) -> Mapping[str, Any]:
        return self.venue.exchange.truth()

    def orders(self) -> list[Mapping[str, Any]]:
        """Return the orders that somebody placed on the account; legs are the venue's making."""
        rows = self.truth()["orders"]
        return [row for row in rows if row["accountId"] == self.account and row["leg"] is None]

    def strikes(self, act: FaultKind) -> int:
        """Return how often a kind of fault has struck: a story without its fault tells nothing."""
        return sum(applied.act is act for applied in self.venue.faults.applied)


def a_venue(
    *,
    history: bool = False,
    speed: float = SPEED,
    port: int = 0,
    data: tuple[Path, ...] = (),
    day: date | None = None,
    **exchange: Any,
) -> Simulator:
    """Return a venue that fills in parts, on a free port once it is entered.

    ``data`` are files that it plays from ``day`` on; ``exchange`` are members of its
    ExchangeConfig that are to be different.
    """
    accounts = tuple(
        AccountSpec(id=number, name=f"PRAC-{number}", user=USER, starting_balance=Decimal(150_000))
        for number in ACCOUNTS
    )
    return Simulator(
        SimulatorConfig(
            user=USER,
            api_key=API_KEY,
            port=port,
            seed=11,
            speed=speed,
            accounts=accounts,
            data=data,
            day=day,
            faults=() if history else (NO_HISTORY,),
            exchange=replace(
                ExchangeConfig(
                    seed=0,
                    accounts=(),
                    contracts=(),
                    partial_fill=PartialFill.SLICES,
                    fill_slices=2,
                    price_collar_ticks=COLLAR_TICKS,
                ),
                **exchange,
            ),
            # Tests log in and read more often than one bot would.
            server=ServerConfig(general_limit=None, bars_limit=None, signing_key=SIGNING_KEY),
        )
    )


_free_accounts: WeakKeyDictionary[Simulator, Iterator[int]] = WeakKeyDictionary()


def a_desk(venue: Simulator, folder: Path) -> Desk:
    """Return an account of ``venue`` that nobody used, with everything healed."""
    _failures.clear()
    venue.faults.heal()
    venue.faults.applied.clear()
    venue.faults.add(venue.config.faults)
    return Desk(venue, folder, next(_free_accounts.setdefault(venue, iter(ACCOUNTS))))


def _keep_failure(watching: asyncio.Task[None]) -> None:
    if not watching.cancelled() and (failure := watching.exception()) is not None:
        _failures.append(failure)


@contextmanager
def full_disk(guard: Guard) -> Iterator[None]:
    """Let no file of this process grow; what is written inside the limit still goes."""
    log = guard.manager.settings.state_folder / "audit.db-wal"
    assert log.stat().st_size > LARGEST_FILE_BYTES
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def audited(state_folder: Path, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
    """Return rows of the audit database as another process reads them."""
    uri = f"{(state_folder / 'audit.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        return database.execute(statement, arguments).fetchall()


def differences(guard: Guard) -> list[str]:
    """Return what the guard believes or wrote down and the exchange does not, or the reverse."""
    truth: Mapping[str, Any] = guard.venue.exchange.truth()
    account = guard.book.policy.account_id
    return [
        *_position_differences(guard.book, truth, account),
        *_trade_differences(guard, truth, account),
        *_order_differences(guard.book, truth, account),
    ]


def _position_differences(book: Book, truth: Mapping[str, Any], account: int) -> list[str]:
    true = {
        row["contractId"]: row["quantity"]
        for row in truth["positions"]
        if row["accountId"] == account
    }
    believed = {view.contract_id: view.quantity for view in book.positions.values()}
    believed = {contract_id: quantity for contract_id, quantity in believed.items() if quantity}
    return [] if true == believed else [f"positions: true {true}, believed {believed}"]


def _trade_differences(guard: Guard, truth: Mapping[str, Any], account: int) -> list[str]:
    def row(trade: Any) -> tuple[object, ...]:
        signed = trade.side.sign * trade.quantity
        return (trade.broker_order_id, signed, trade.price, trade.voided)

    true = {
        trade["id"]: (
            trade["orderId"], trade["quantity"], Decimal(trade["price"]), trade["voided"]
        )
        for trade in truth["trades"]
        if trade["accountId"] == account
    }  # fmt: skip
    believed = {trade.trade_id: row(trade) for trade in guard.book.trades.values()}
    written = {
        int(fill): (int(order), Decimal(str(price)), quantity, bool(voided))
        for fill, order, price, quantity, voided in audited(
            guard.manager.settings.state_folder,
            "SELECT FillId, OrderId, FillPrice, FillQuantity, Voided FROM FillAudit",
        )
    }
    expected = {
        trade: (order, price, abs(quantity), voided)
        for trade, (order, quantity, price, voided) in true.items()
    }
    found = [] if true == believed else [f"trades: true {true}, believed {believed}"]
    return found if expected == written else [*found, f"FillAudit: {expected}, written {written}"]


_SAME = {
    "OPEN": {OrderState.WORKING, OrderState.PARTIALLY_FILLED},
    "PENDING": {OrderState.WORKING},
    "FILLED": {OrderState.FILLED},
    "CANCELLED": {OrderState.CANCELLED},
    "REJECTED": {OrderState.REJECTED},
    "EXPIRED": {OrderState.EXPIRED},
}


def _order_differences(book: Book, truth: Mapping[str, Any], account: int) -> list[str]:
    rows = {row["id"]: row for row in truth["orders"] if row["accountId"] == account}
    found: list[str] = []
    for order in book.orders.values():
        row = rows.pop(order.broker_order_id, None)
        if row is None:
            if order.state not in {OrderState.NOT_SUBMITTED, OrderState.REJECTED}:
                found.append(f"{order.client_order_id} is {order.state} and not at the exchange")
        elif order.state not in _SAME["CANCELLED" if order.voided_quantity else row["status"]]:
            # What a void leaves is all that the order got: it is filled no more.
            found.append(f"{order.client_order_id} is {order.state}, in truth {row['status']}")
        elif order.filled_quantity + order.voided_quantity != row["fillVolume"]:
            found.append(f"{order.client_order_id}: {order.filled_quantity} of {row['fillVolume']}")
    unheard = [row for number, row in rows.items() if number not in book.venue_orders]
    found.extend(f"order {row['id']} is not known" for row in unheard if row["status"] == "OPEN")
    return found
