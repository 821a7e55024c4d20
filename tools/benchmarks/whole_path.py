"""Orders through everything: wish, durable intent, venue, events, durable and verified fill.

Nothing is switched off and no limit of the client is lifted but those that a setting names: the
shipped call budget of 200 a minute is in force, so every round is one guard and a burst that fits
into it. Baseline: the same orders by a bare client of the same venue, which places them and waits
for their trades on the hub, without a journal, without rules and without proofs.
"""

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from msgspec import Struct

from backstop.adapters.clock import SystemClock
from backstop.adapters.log import LogFormat, Redactor, configure_logging
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.projectx.hubs import ProjectXHubs
from backstop.app.audit_trail import AUDIT_DATABASE
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.secret import Secret
from backstop.config.settings import Settings
from backstop.core.execution_verification import Verdict
from backstop.core.step import Note
from backstop.core.trading_state import TradingState
from backstop.domain.commands import PlaceOrder
from backstop.domain.events import Fact, TradeReported
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.simulator.process import PRACTICE_ACCOUNT_ID
from benchmarks.figures import Figure, percentile, sync_ms
from benchmarks.venue import API_KEY, USER, a_venue

CONCURRENCY = 32
READY_LIMIT_S = 60.0
ORDER_LIMIT_S = 20.0
SYMBOL = "MES"
FILL_SLICES = 50
SLICE_GAP_US = 8_000
"""125 trades a second, each with an order, a position and an account row: about 500 events."""

AMPLE = 1_000_000_000
"""A budget that no order of these reaches: the rules are evaluated, and let all pass."""

_PlaceOne = Callable[[int], Awaitable[None]]


class Burst(Struct, frozen=True, kw_only=True):
    """A number of orders through one way, and how long each took."""

    per_second: float
    waits_ms: tuple[float, ...]


class Latencies(Struct, frozen=True, kw_only=True):
    """From each trade's frame to its fill on disk, and how busy the hub was."""

    waits_ms: tuple[float, ...]
    events_per_second: float


def measure_orders(*, rounds: int, sequential: int, each_of_32: int) -> list[Figure]:
    """Return orders per second and waits, one at a time and 32 at a time."""
    bursts: dict[tuple[bool, int], list[Burst]] = {}
    with a_venue() as url:
        for number in range(rounds):
            for workers, each in ((1, sequential), (CONCURRENCY, each_of_32)):
                name = f"{number}-{workers}"
                bare = asyncio.run(_bare_burst(url, name, workers, each))
                ours = asyncio.run(_guarded_burst(url, name, workers, each))
                bursts.setdefault((False, workers), []).append(bare)
                bursts.setdefault((True, workers), []).append(ours)
    return [
        figure
        for workers in (1, CONCURRENCY)
        for figure in _burst_figures(workers, bursts[True, workers], bursts[False, workers])
    ]


def measure_events(*, rounds: int, orders: int) -> list[Figure]:
    """Return the time from a trade's frame to its durable fill, against one sync of the disk."""
    found: list[Latencies] = []
    syncs: list[list[float]] = []
    with a_venue(slices=FILL_SLICES, gap_us=SLICE_GAP_US) as url:
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                syncs.append(sync_ms(Path(folder)))
                found.append(asyncio.run(_latencies(url, Path(folder), f"{number}", orders)))
    figures = [
        Figure(
            key=f"event_to_durable_fill_p{percent}_ms",
            what=f"frame of a trade to its durable fill: p{percent}",
            unit="ms",
            rounds=tuple(percentile(each.waits_ms, percent / 100) for each in found),
            baseline=f"one fdatasync of the same disk: p{percent}",
            baseline_rounds=tuple(percentile(each, percent / 100) for each in syncs),
        )
        for percent in (50, 99)
    ]
    figures.append(
        Figure(
            key="event_load_per_s",
            what="    while the hub sent so many events",
            unit="1/s",
            rounds=tuple(each.events_per_second for each in found),
        )
    )
    return figures


def _burst_figures(workers: int, ours: list[Burst], bare: list[Burst]) -> list[Figure]:
    label = "one at a time" if workers == 1 else f"{workers} at a time"
    figures = [
        Figure(
            key=f"orders_{workers}_per_s",
            what=f"orders to verified fills, {label}",
            unit="1/s",
            rounds=tuple(each.per_second for each in ours),
            baseline="bare client: placed and filled",
            baseline_rounds=tuple(each.per_second for each in bare),
        )
    ]
    figures += [
        Figure(
            key=f"orders_{workers}_p{percent}_ms",
            what=f"order to verified fill, {label}: p{percent}",
            unit="ms",
            rounds=tuple(percentile(each.waits_ms, percent / 100) for each in ours),
            baseline="bare client",
            baseline_rounds=tuple(percentile(each.waits_ms, percent / 100) for each in bare),
        )
        for percent in (50, 99)
    ]
    return figures


async def _burst(place_one: _PlaceOne, workers: int, each: int) -> Burst:
    """Let ``workers`` place ``each`` orders one after the other."""
    waits_ms: list[float] = []

    async def worker(first: int) -> None:
        for number in range(first, first + each):
            began_ns = time.perf_counter_ns()
            async with asyncio.timeout(ORDER_LIMIT_S):
                await place_one(number)
            waits_ms.append((time.perf_counter_ns() - began_ns) / 1e6)

    began_ns = time.perf_counter_ns()
    async with asyncio.TaskGroup() as tasks:
        for index in range(workers):
            tasks.create_task(worker(index * each))
    elapsed_ns = time.perf_counter_ns() - began_ns
    return Burst(per_second=len(waits_ms) * 1e9 / elapsed_ns, waits_ms=tuple(waits_ms))


def _side(number: int) -> Side:
    """Buy and sell in turns, so that the account ends as flat as it began."""
    return Side.SELL if number % 2 else Side.BUY


# -- the guard -----------------------------------------------------------------------------------


async def _guarded_burst(url: str, name: str, workers: int, each: int) -> Burst:
    with tempfile.TemporaryDirectory() as folder:
        async with _a_guard(url, Path(folder)) as guard:

            async def place_one(number: int) -> None:
                await _filled(guard, f"{name}-{number}", _side(number), quantity=1)

            return await _burst(place_one, workers, each)


async def _latencies(url: str, folder: Path, name: str, orders: int) -> Latencies:
    durable_us: dict[int, int] = {}

    def note(note: Note) -> None:
        if note.name == "trade_booked":
            durable_us[int(note.fields["trade_id"])] = time.time_ns() // 1000

    async with _a_guard(url, folder, on_note=note) as guard:
        began_ns = time.perf_counter_ns()
        for number in range(orders):
            await _filled(guard, f"{name}-{number}", _side(number), quantity=FILL_SLICES)
        elapsed_ns = time.perf_counter_ns() - began_ns
    heard_us, events = _heard(folder)
    # A trade that an account audit read before the hub told of it has no frame to count from.
    waits_ms = tuple(
        (at_us - heard_us[trade]) / 1000
        for trade, at_us in durable_us.items()
        if heard_us.get(trade, at_us + 1) <= at_us
    )
    return Latencies(waits_ms=waits_ms, events_per_second=events * 1e9 / elapsed_ns)


def _heard(folder: Path) -> tuple[dict[int, int], int]:
    """Return when each trade's frame came, and how many rows the hub sent, from the record."""
    heard_us: dict[int, int] = {}
    events = 0
    with closing(sqlite3.connect(folder / AUDIT_DATABASE)) as database:
        for (payload,) in database.execute("SELECT payload FROM Journal WHERE kind = 'event'"):
            fact = json.loads(payload)
            if fact.get("source") != "HUB":
                continue
            events += 1
            if fact["kind"] == TradeReported.__name__:
                heard_us.setdefault(fact["trade"]["trade_id"], fact["utc_us"])
    return heard_us, events


async def _filled(
    guard: CriticalSystemManager, client_order_id: str, side: Side, *, quantity: int
) -> None:
    """Submit one market order and wait until its fill is verified; raise if it is not."""
    decision = await guard.submit_order(
        OrderRequest(
            client_order_id=client_order_id,
            symbol=SYMBOL,
            side=side,
            quantity=quantity,
            type=OrderType.MARKET,
        )
    )
    if decision.order is None:
        raise RuntimeError(f"order {client_order_id} was refused: {decision.denials}")
    verification = await guard.verify_execution(client_order_id, timeout_s=ORDER_LIMIT_S)
    if verification is None or verification.verdict is not Verdict.VERIFIED:
        raise RuntimeError(f"order {client_order_id} was not verified: {verification}")


@asynccontextmanager
async def _a_guard(
    url: str, folder: Path, *, on_note: Callable[[Note], None] | None = None
) -> AsyncIterator[CriticalSystemManager]:
    settings = Settings.hermetic(
        TOPSTEPX_API_URL=url,
        TOPSTEPX_USERNAME=USER,
        TOPSTEPX_API_KEY=API_KEY,
        TOPSTEPX_ACCOUNT_ID=PRACTICE_ACCOUNT_ID,
        BACKSTOP_STATE_DIR=folder,
        BACKSTOP_CALENDAR="always-open",
        DRY_RUN=False,
        EXECUTE=True,
        STOP_REQUIRED=False,
        ALLOW_FLIP=True,
        MAX_ORDERS_PER_SECOND=1000,
        DUPLICATE_WINDOW_MS=0,
        MAX_SLIPPAGE_TICKS=1000,
        RISK_BUDGET=AMPLE,
        ES_NQ_MAX_COMBINED_EXPOSURE=AMPLE,
    )
    with (folder / "guard.log").open("a", encoding="utf-8") as log:
        guard = CriticalSystemManager.from_settings(settings, on_note=on_note)
        configure_logging(
            session_id=guard.session_id,
            redactor=Redactor(),
            log_format=LogFormat.JSON,
            stream=log,
        )
        async with guard:
            async with asyncio.timeout(READY_LIMIT_S):
                await guard.reached(TradingState.ACTIVE)
            yield guard


# -- the bare client -----------------------------------------------------------------------------


async def _bare_burst(url: str, name: str, workers: int, each: int) -> Burst:
    clock = SystemClock()
    filled: dict[int, asyncio.Event] = {}
    connected = asyncio.Event()

    async def on_user_connected() -> None:
        connected.set()

    def hear(fact: Fact) -> None:
        if isinstance(fact, TradeReported):
            filled.setdefault(fact.trade.broker_order_id, asyncio.Event()).set()

    async with ProjectXGateway(
        api_url=url, user_name=USER, api_key=Secret(API_KEY), clock=clock
    ) as gateway:
        contract_id = next(
            each.contract_id
            for each in await gateway.instruments()
            if each.symbol == SYMBOL and each.active
        )
        hubs = ProjectXHubs(
            user_hub_url=f"{url}/hubs/user",
            market_hub_url=f"{url}/hubs/market",
            account_id=PRACTICE_ACCOUNT_ID,
            contract_ids=(contract_id,),
            tokens=gateway.session,
            clock=clock,
            sink=hear,
            quotes=lambda _quote, _ns: None,
        )

        async def place_one(number: int) -> None:
            tag = f"bare-{name}-{number}"
            answered = await gateway.place_order(
                PlaceOrder(
                    client_order_id=tag,
                    custom_tag=tag,
                    account_id=PRACTICE_ACCOUNT_ID,
                    contract_id=contract_id,
                    type=OrderType.MARKET,
                    side=_side(number),
                    quantity=1,
                )
            )
            if answered.broker_order_id is None:
                raise RuntimeError(f"{tag}: {answered.message}")
            await filled.setdefault(answered.broker_order_id, asyncio.Event()).wait()

        listening = asyncio.create_task(hubs.run(on_user_connected))
        try:
            async with asyncio.timeout(READY_LIMIT_S):
                await connected.wait()
            return await _burst(place_one, workers, each)
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
