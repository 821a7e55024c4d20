"""The protective gateway against the venue itself: what a bot waits longer, and quotes for ten.

Each bot's order goes once straight to the venue and once through the guard, in turns; each user
event is heard from both, by two connections of one process. The guard is a process of its own.
``python gateway.py guard URL FOLDER ACCOUNT`` is that process, ``python gateway.py quotes RATE`` a
venue that quotes so often in a second; both print how to reach them and end with their input.
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
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
from benchmarks.guard import SYMBOL, a_guard
from benchmarks.venue import ACCOUNTS, API_KEY, NO_HISTORY, USER, a_venue, free_account

BOT = "bench-bot"
CLIENTS = 10
QUOTES_PER_S = 500
FIRST_PRICE = Decimal(9000)
"""Far above the market that the simulator makes, so that these quotes are told from its own."""

PRICES = 40_000
TICK = Decimal("0.25")
WARM_UP = 10
PLACE_GOAL_MS = 1.0
"""Added to an order without the disk's sync, half of the time."""

LIMIT_S = 60.0
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder whose files are on no disk
END = "\x1e"


class Compared(Struct, frozen=True, kw_only=True):
    """One guard: what orders and events took, at the venue and through the guard."""

    direct_ms: tuple[float, ...]
    guarded_ms: tuple[float, ...]
    later_ms: tuple[float, ...]  # that a bot behind the guard hears of the same event


class FannedOut(Struct, frozen=True, kw_only=True):
    """Market data of so many bots."""

    delivered_share: float
    later_ms: tuple[float, ...]
    processor_share: float  # of one processor, the guard's process


def measure(*, rounds: int, orders: int, seconds: float) -> list[Figure]:
    """Return what the gateway adds to orders, to user events, and to market data."""
    disk: list[Compared] = []
    memory: list[Compared] = []
    fanned: list[FannedOut] = []
    syncs: list[float] = []
    with a_venue() as url:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                disk.append(asyncio.run(_compared(url, Path(folder), orders)))
                syncs.append(percentile(sync_ms(Path(folder)), 0.5))
            if MEMORY.is_dir():
                with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
                    memory.append(asyncio.run(_compared(url, Path(folder), orders)))
    with _process("quotes", str(QUOTES_PER_S)) as (process, url):
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                fanned.append(asyncio.run(_fanned_out(url, Path(folder), seconds)))
        process.poll()
    return [
        *_order_figures(disk, memory or disk, syncs),
        *_event_figures(disk),
        *_fan_out_figures(fanned),
    ]


def _order_figures(
    disk: Sequence[Compared], memory: Sequence[Compared], syncs: Sequence[float]
) -> Iterator[Figure]:
    for percent in (50, 99):
        share = percent / 100
        yield Figure(
            key=f"gateway_place_p{percent}_ms",
            what=f"an order by the ProjectX API until its answer: p{percent}",
            unit="ms",
            rounds=tuple(percentile(it.guarded_ms, share) for it in disk),
            baseline="straight to the venue",
            baseline_rounds=tuple(percentile(it.direct_ms, share) for it in disk),
        )
    yield Figure(
        key="gateway_place_added_ms",
        what="    added by the guard, the disk's sync in it: p50",
        unit="ms",
        rounds=tuple(_added(it) for it in disk),
        baseline="one sync of that disk",
        baseline_rounds=tuple(syncs),
    )
    yield Figure(
        key="gateway_place_added_without_sync_ms",
        what="    added by the guard, its record in memory: p50",
        unit="ms",
        rounds=tuple(_added(it) for it in memory),
        goal=Goal(of=Of.VALUE, bound=PLACE_GOAL_MS, at_least=False),
    )


def _added(compared: Compared) -> float:
    # Less than nothing is the noise of the machine.
    return max(0.0, percentile(compared.guarded_ms, 0.5) - percentile(compared.direct_ms, 0.5))


def _event_figures(found: Sequence[Compared]) -> Iterator[Figure]:
    for percent in (50, 99):
        yield Figure(
            key=f"gateway_user_event_later_p{percent}_ms",
            what=f"a user event is heard so much later than at the venue: p{percent}",
            unit="ms",
            rounds=tuple(max(0.0, percentile(it.later_ms, percent / 100)) for it in found),
        )


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


# -- orders and their events -----------------------------------------------------------------------


class Heard:
    """When each event was first heard, by the name that its row gives it."""

    def __init__(self, pattern: str) -> None:
        self.at_ns: dict[str, int] = {}
        self._pattern = re.compile(pattern)
        self.came = asyncio.Event()

    def take(self, text: str) -> None:
        """Note what is in one message."""
        now_ns = time.perf_counter_ns()
        for record in text.split(END):
            found = self._pattern.search(record)
            if found is not None:
                self.at_ns.setdefault(found[1], now_ns)
        self.came.set()


class Surface(Struct, kw_only=True):
    """One side that speaks the ProjectX API, and an open session with it."""

    url: str
    http: aiohttp.ClientSession
    token: str

    async def call(self, path: str, **body: Any) -> dict[str, Any]:
        """Ask for something; a refusal is an error."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.post(f"{self.url}/api/{path}", json=body, headers=headers) as answer:
            told: dict[str, Any] = await answer.json()
        if not told["success"]:
            raise RuntimeError(f"{path} {body}: {told}")
        return told


async def _logged_in(stack: AsyncExitStack, url: str, user: str, key: str) -> Surface:
    http = await stack.enter_async_context(aiohttp.ClientSession())
    surface = Surface(url=url, http=http, token="")
    answer = await surface.call("Auth/loginKey", userName=user, apiKey=key)
    surface.token = answer["token"]
    return surface


@asynccontextmanager
async def _listening(
    surface: Surface, hub: str, heard: Heard, *calls: tuple[str, object]
) -> AsyncIterator[None]:
    """Hear a hub, subscribed to ``calls``, within the block."""
    headers = {"Authorization": f"Bearer {surface.token}"}
    address = f"{surface.url}/hubs/{hub}"
    async with surface.http.ws_connect(address, headers=headers, max_msg_size=0) as socket:
        await socket.send_str('{"protocol":"json","version":1}' + END)
        await socket.receive_str()
        for number, (target, argument) in enumerate(calls):
            record = {"type": 1, "invocationId": str(number), "target": target}
            await socket.send_str(json.dumps({**record, "arguments": [argument]}) + END)

        async def listen() -> None:
            async for message in socket:
                heard.take(message.data)

        listener = asyncio.create_task(listen())
        try:
            yield
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)


async def _compared(url: str, folder: Path, orders: int) -> Compared:
    account = free_account(url)
    with _process("guard", url, str(folder), str(account)) as (_, line):
        address, key = line.split()
        async with AsyncExitStack() as stack:
            venue = await _logged_in(stack, url, USER, API_KEY)
            door = await _logged_in(stack, address, BOT, key)
            contract_id = await _contract(venue)
            pattern = r'"target":"GatewayUserTrade".*?"id":(\d+)'
            direct, guarded = Heard(pattern), Heard(pattern)
            subscribed = ("SubscribeTrades", account)
            await stack.enter_async_context(_listening(venue, "user", direct, subscribed))
            await stack.enter_async_context(_listening(door, "user", guarded, subscribed))
            own = free_account(url)
            waits: dict[str, list[float]] = {"venue": [], "door": []}
            for number in range(orders + WARM_UP):
                side = number % 2
                for name, surface, to in (("venue", venue, own), ("door", door, account)):
                    began_ns = time.perf_counter_ns()
                    await surface.call(
                        "Order/place", accountId=to, contractId=contract_id, type=2, side=side,
                        size=1, customTag=f"{folder.name}-{name}-{number}",
                    )  # fmt: skip
                    if number >= WARM_UP:
                        waits[name].append((time.perf_counter_ns() - began_ns) / 1e6)
                await _heard_by_both(direct, guarded, number + 1)
            later = [
                (guarded.at_ns[trade] - at_ns) / 1e6
                for trade, at_ns in tuple(direct.at_ns.items())[WARM_UP:]
            ]
    return Compared(
        direct_ms=tuple(waits["venue"]), guarded_ms=tuple(waits["door"]), later_ms=tuple(later)
    )


async def _heard_by_both(direct: Heard, guarded: Heard, trades: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        for heard in (direct, guarded):
            while len(heard.at_ns) < trades:
                heard.came.clear()
                await heard.came.wait()


async def _contract(venue: Surface) -> str:
    told = await venue.call("Contract/search", searchText=SYMBOL, live=False)
    return str(next(it["id"] for it in told["contracts"] if it["name"].startswith(SYMBOL)))


# -- market data -----------------------------------------------------------------------------------


async def _fanned_out(url: str, folder: Path, seconds: float) -> FannedOut:
    with _process("guard", url, str(folder), str(free_account(url))) as (process, line):
        address, key = line.split()
        async with AsyncExitStack() as stack:
            venue = await _logged_in(stack, url, USER, API_KEY)
            door = await _logged_in(stack, address, BOT, key)
            contract_id = await _contract(venue)
            everyone = [Heard(_PRICE) for _ in range(CLIENTS + 1)]
            subscribed = ("SubscribeContractQuotes", contract_id)
            for number, heard in enumerate(everyone):
                side = door if number else venue
                await stack.enter_async_context(_listening(side, "market", heard, subscribed))
            direct, *bots = everyone
            await _flowing(everyone)
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


async def _flowing(everyone: Sequence[Heard]) -> None:
    async with asyncio.timeout(LIMIT_S):
        for heard in everyone:
            while len(heard.at_ns) < QUOTES_PER_S // 10:
                heard.came.clear()
                await heard.came.wait()


def _processor_s(process: "subprocess.Popen[str]") -> float:
    """Return the processor time that a guard's process has used so far."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process with pipes has none")
    process.stdin.write("processor\n")
    process.stdin.flush()
    return float(process.stdout.readline())


# -- the processes ---------------------------------------------------------------------------------


@contextmanager
def _process(*words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run this file as a process; gives it and the line that it prints first."""
    command = [sys.executable, str(Path(__file__)), *words]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process with pipes has none")
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.stdin.close()


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
