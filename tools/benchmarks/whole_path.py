"""Orders through everything: wish, durable intent, venue, events, durable and verified fill.

The shipped call budget of 200 a minute is in force, so every round is one guard and a burst that
fits into it. Baseline: the same orders by a bare client of the same venue, which places them and
waits for their trades on the hub, without a journal, without rules and without proofs.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.projectx.hubs import ProjectXHubs
from backstop.config.secret import Secret
from backstop.domain.commands import PlaceOrder
from backstop.domain.events import Fact, TradeReported
from backstop.domain.order import OrderType
from benchmarks.figures import Figure, percentile
from benchmarks.guard import ORDER_LIMIT_S, READY_LIMIT_S, SYMBOL, a_guard, filled, side
from benchmarks.venue import API_KEY, USER, a_venue, free_account

CONCURRENCY = 32

_PlaceOne = Callable[[int], Awaitable[None]]


class Burst(Struct, frozen=True, kw_only=True):
    """A number of orders through one way, and how long each took."""

    per_second: float
    waits_ms: tuple[float, ...]


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


# -- the guard -----------------------------------------------------------------------------------


async def _guarded_burst(url: str, name: str, workers: int, each: int) -> Burst:
    with tempfile.TemporaryDirectory() as folder:
        async with a_guard(url, Path(folder)) as guard:

            async def place_one(number: int) -> None:
                await filled(guard, f"{name}-{number}", side(number), quantity=1)

            return await _burst(place_one, workers, each)


# -- the bare client -----------------------------------------------------------------------------


async def _bare_burst(url: str, name: str, workers: int, each: int) -> Burst:
    clock, account = SystemClock(), free_account(url)
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
            account_id=account,
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
                    account_id=account,
                    contract_id=contract_id,
                    type=OrderType.MARKET,
                    side=side(number),
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
