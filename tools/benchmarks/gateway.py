"""The protective gateway against the venue itself: what a bot waits longer, and quotes for ten.

Orders and their events are measured in ``gateway_orders``. The guard is a process of its own.
``python gateway.py guard URL FOLDER ACCOUNT`` is that process, ``python gateway.py quotes RATE`` a
venue that quotes so often in a second; both print how to reach them and end with their input.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from backstop.adapters.bot_credentials import BotCredentials
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.venue import MarketEvent
from backstop.domain.bot import BotLimits
from backstop.entrypoints.gateway.server import BotGateway
from backstop.simulator.exchange_config import AccountSpec
from backstop.simulator.process import Simulator, SimulatorConfig

if __name__ == "__main__":  # as a process of its own it is not part of the package
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.figures import Figure, Goal, Of, percentile, sync_ms
from benchmarks.gateway_orders import (
    BOT,
    Rested,
    Tripped,
    event_figures,
    order_figures,
    rested,
    trip_figures,
    tripped,
)
from benchmarks.guard import SYMBOL, a_guard
from benchmarks.surface import Heard, a_process, listening, logged_in
from benchmarks.venue import ACCOUNTS, API_KEY, NO_HISTORY, USER, a_venue, free_account

CLIENTS = 10
QUOTES_PER_S = 500
FIRST_PRICE = Decimal(9000)
"""Far above the market that the simulator makes, so that these quotes are told from its own."""

PRICES = 40_000
TICK = Decimal("0.25")
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder whose files are on no disk
HERE = Path(__file__)


class FannedOut(Struct, frozen=True, kw_only=True):
    """Market data of so many bots."""

    delivered_share: float
    later_ms: tuple[float, ...]
    processor_share: float  # of one processor, the guard's process


def measure(*, rounds: int, orders: int, trips: int, seconds: float) -> list[Figure]:
    """Return what the gateway adds to orders, to user events, and to market data."""
    disk: list[Rested] = []
    memory: list[Rested] = []
    trips_made: list[Tripped] = []
    fanned: list[FannedOut] = []
    syncs: list[float] = []
    with a_venue() as url:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                disk.append(asyncio.run(rested(url, Path(folder), orders)))
                syncs.append(percentile(sync_ms(Path(folder)), 0.5))
            if MEMORY.is_dir():
                with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
                    memory.append(asyncio.run(rested(url, Path(folder), orders)))
            with tempfile.TemporaryDirectory() as folder:
                trips_made.append(asyncio.run(tripped(url, Path(folder), trips)))
    with a_process(HERE, "quotes", str(QUOTES_PER_S)) as (process, url):
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                fanned.append(asyncio.run(_fanned_out(url, Path(folder), seconds)))
        process.poll()
    return [
        *order_figures(disk, memory or disk, syncs),
        *trip_figures(trips_made),
        *event_figures(disk, trips_made),
        *_fan_out_figures(fanned),
    ]


def _fan_out_figures(found: Sequence[FannedOut]) -> Iterator[Figure]:
    told = f"{QUOTES_PER_S} quotes/s to {CLIENTS} bots"
    yield Figure(
        key="gateway_quotes_delivered_percent",
        what=f"{told}: of what a client of the venue gets, each of them gets",
        unit="%",
        rounds=tuple(100 * it.delivered_share for it in found),
        goal=Goal(of=Of.VALUE, bound=99.9, at_least=True),
    )
    for percent in (50, 99):
        yield Figure(
            key=f"gateway_quote_later_p{percent}_ms",
            what=f"    so much later: p{percent}",
            unit="ms",
            rounds=tuple(max(0.0, percentile(it.later_ms, percent / 100)) for it in found),
        )
    yield Figure(
        key="gateway_quotes_processor_percent",
        what="    the guard's process takes of one processor",
        unit="%",
        rounds=tuple(100 * it.processor_share for it in found),
        goal=Goal(of=Of.VALUE, bound=100, at_least=False),
    )


# -- market data -----------------------------------------------------------------------------------


async def _fanned_out(url: str, folder: Path, seconds: float) -> FannedOut:
    words = ("guard", url, str(folder), str(free_account(url)))
    with a_process(HERE, *words) as (process, line):
        address, key = line.split()
        async with AsyncExitStack() as stack:
            venue = await logged_in(stack, url, USER, API_KEY)
            door = await logged_in(stack, address, BOT, key)
            contract_id = await venue.contract(SYMBOL)
            everyone = [Heard(_PRICE) for _ in range(CLIENTS + 1)]
            subscribed = ("SubscribeContractQuotes", contract_id)
            for number, heard in enumerate(everyone):
                side = door if number else venue
                await stack.enter_async_context(listening(side, "market", heard, subscribed))
            direct, *bots = everyone
            for heard in everyone:
                await heard.so_many(QUOTES_PER_S // 10)
            for heard in everyone:
                heard.at_ns.clear()
            before_s, began_s = _processor_s(process), time.perf_counter()
            await asyncio.sleep(seconds)
            used_s, took_s = _processor_s(process) - before_s, time.perf_counter() - began_s
            # What the venue has sent last is on its way to the others.
            sent = dict(tuple(direct.at_ns.items())[: -QUOTES_PER_S // 10])
            await asyncio.sleep(0.1)
    later = [
        (bot.at_ns[price] - at_ns) / 1e6
        for bot in bots
        for price, at_ns in sent.items()
        if price in bot.at_ns
    ]
    return FannedOut(
        delivered_share=len(later) / (len(sent) * CLIENTS),
        later_ms=tuple(later),
        processor_share=used_s / took_s,
    )


_PRICE = r'"lastPrice":((?:9\d{3}|1\d{4})(?:\.\d+)?)'
"""The last price of a quote that the venue of this measurement has made up."""


def _processor_s(process: "subprocess.Popen[str]") -> float:
    """Return the processor time that a guard's process has used so far."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process with pipes has none")
    process.stdin.write("processor\n")
    process.stdin.flush()
    return float(process.stdout.readline())


# -- the processes ---------------------------------------------------------------------------------


async def _guard(url: str, folder: Path, account: int) -> None:
    """Serve a guard's gateway until the input ends; each line of it asks for processor time."""
    while account != ACCOUNTS[0] and free_account(url) != account - 1:
        pass  # accounts before are those of earlier guards
    key = BotCredentials(folder).add(
        BOT,
        BotLimits(quantity_max=50, orders_max=50, entries_per_second_max=1000),
        utc_s=int(time.time()),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    async with a_guard(url, folder) as guard:
        if guard.settings.account_id != account:
            raise RuntimeError(f"the guard is on account {guard.settings.account_id}")
        gateway = BotGateway(guard, listener)
        serving = asyncio.create_task(gateway.serve())
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]} {key}\n")
        sys.stdout.flush()
        while await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(f"{time.process_time()}\n")
            sys.stdout.flush()
        gateway.stop()
        await serving


def _quoted(contract_id: str, number: int) -> MarketEvent:
    """Return one quote as the venue sends it; its price tells it from all others of a while."""
    price = float(FIRST_PRICE + number % PRICES * TICK)
    now = datetime.now(UTC).isoformat()
    return MarketEvent(
        target="GatewayQuote",
        contract_id=contract_id,
        data={
            "symbol": f"F.US.{SYMBOL}",
            "bestBid": price,
            "bestAsk": price,
            "lastPrice": price,
            "volume": number,
            "lastUpdated": now,
            "timestamp": now,
        },
    )


async def _quote(per_second: int) -> None:
    """Serve a venue whose MES is quoted so often, each time at another price."""
    config = SimulatorConfig(
        user=USER,
        api_key=API_KEY,
        faults=(NO_HISTORY,),
        server=ServerConfig(general_limit=None, bars_limit=None),
        accounts=tuple(
            AccountSpec(
                id=number, name=f"PRAC-{number}", user=USER, starting_balance=Decimal(150_000)
            )
            for number in ACCOUNTS
        ),
    )
    async with Simulator(config) as simulator:
        contract_id = next(
            it.id for it in simulator.exchange.contracts() if it.id.split(".")[3] == SYMBOL
        )

        async def quote() -> None:
            began_s, number = time.perf_counter(), 0
            while True:
                await asyncio.sleep(1 / per_second)
                while number < (time.perf_counter() - began_s) * per_second:
                    simulator.server.deliver(_quoted(contract_id, number))
                    number += 1

        quoting = asyncio.create_task(quote())
        sys.stdout.write(f"{simulator.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        quoting.cancel()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["guard", venue_url, state_folder, number]:
            asyncio.run(_guard(venue_url, Path(state_folder), int(number)))
        case ["quotes", rate]:
            asyncio.run(_quote(int(rate)))
