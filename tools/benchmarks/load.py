"""The HTTP interface under a steady load, and what that does to the guard's own work.

Two hundred calls a second of all kinds arrive evenly, whether or not earlier ones were answered,
from a process of their own, while three readers follow the stream of events and a bot trades. The
time of a call runs from the moment at which it was due to the last byte of its answer. Baseline of
the guard's work, from the frame of a trade to the verdict about its order: the same trading on the
same guard without a caller, half of it before and half after. ``python -m benchmarks.load`` makes
the calls.
"""

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec
from msgspec import Struct

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.heap import HeapKeeper
from backstop.core.execution_verdict import Verdict
from backstop.domain.bot import BotPolicy, BotTerms
from backstop.domain.order import OrderRequest, OrderType
from backstop.entrypoints.http.server import api_server
from benchmarks.figures import Figure, Goal, Of, percentile
from benchmarks.guard import ORDER_LIMIT_S, SYMBOL, a_guard, side
from benchmarks.venue import a_venue

CALLS_PER_S = 200
READERS = 3
CONNECTIONS = 32
"""As many as a handful of bots, a page and a collector of metrics keep together."""

ORDER_EVERY_S = 0.6
"""With the reads that the guard makes by itself it stays inside the call budget."""

CALL_P99_GOAL_MS = 50
SLOWER_GOAL = 2

TOKEN = "token-of-the-measured-guard"  # noqa: S105 - of a guard that lives for a minute
BOT = "bench"
FIRST_ORDER = "load-first"

TERMS = BotTerms(policy=BotPolicy.KEEP_PROTECTION, heartbeat_timeout_ms=60_000)

_ENTRY = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET"}


class Call(NamedTuple):
    """One kind of call, how many of a hundred are of it, and the answer that is right."""

    share: int
    method: str
    path: str
    status: int = 200
    body: dict[str, object] | None = None


CALLS = (
    Call(25, "POST", "/v1/orders/validate", body={**_ENTRY, "quantity": 1}),
    Call(15, "GET", "/v1/status"),
    Call(12, "GET", "/v1/positions"),
    Call(10, "GET", f"/v1/orders/{FIRST_ORDER}"),
    Call(8, "POST", f"/v1/bots/{BOT}/heartbeat"),
    Call(5, "GET", "/v1/account"),
    Call(5, "GET", "/v1/exposure"),
    Call(4, "GET", "/v1/orders?limit=50"),
    Call(3, "GET", "/v1/correlations"),
    Call(3, "GET", "/v1/bots"),
    Call(2, "GET", "/v1/alerts"),
    Call(2, "GET", "/metrics"),
    Call(2, "POST", f"/v1/orders/{FIRST_ORDER}/verify"),
    Call(1, "GET", f"/v1/orders/{FIRST_ORDER}/proof"),
    Call(1, "GET", "/v1/audit/records?limit=100"),
    Call(1, "GET", "/v1/audit/checkpoint"),
    Call(1, "POST", "/v1/orders", status=422, body={**_ENTRY, "quantity": 0}),
)
"""What bots, a page and a collector of metrics ask, together a hundred."""


class Answered(Struct, frozen=True, kw_only=True):
    """What the calling process found."""

    waits_ms: tuple[float, ...]
    took_s: float
    records: int  # that each reader of the stream was told of, the fewest


class Round(Struct, frozen=True, kw_only=True):
    """One guard with and without callers."""

    answered: Answered
    alone_ms: tuple[float, ...]
    loaded_ms: tuple[float, ...]


def measure(*, rounds: int, seconds: float) -> list[Figure]:
    """Return what calls wait, and what trades wait for their verdict meanwhile."""
    found: list[Round] = []
    with a_venue() as url:
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                found.append(asyncio.run(_round(url, Path(folder), f"load-{number}", seconds)))
    answered = [each.answered for each in found]
    return [
        Figure(
            key="api_calls_per_s",
            what="calls of all kinds answered, as many as were made",
            unit="1/s",
            rounds=tuple(len(each.waits_ms) / each.took_s for each in answered),
        ),
        *(
            Figure(
                key=f"api_call_p{percent}_ms",
                what=f"    a call until its answer: p{percent}",
                unit="ms",
                rounds=tuple(percentile(each.waits_ms, percent / 100) for each in answered),
                goal=Goal(of=Of.VALUE, bound=CALL_P99_GOAL_MS, at_least=False)
                if percent == 99  # noqa: PLR2004 - the share that the goal is about
                else None,
            )
            for percent in (50, 99)
        ),
        *(
            Figure(
                key=f"loaded_trade_to_verdict_p{percent}_ms",
                what=f"a trade's frame to the verdict about its order, meanwhile: p{percent}",
                unit="ms",
                rounds=tuple(percentile(each.loaded_ms, percent / 100) for each in found),
                baseline=f"without a caller: p{percent}",
                baseline_rounds=tuple(percentile(each.alone_ms, percent / 100) for each in found),
                goal=Goal(of=Of.RATIO, bound=SLOWER_GOAL, at_least=False),
            )
            for percent in (50, 99)
        ),
    ]


# -- the guard -----------------------------------------------------------------------------------


async def _round(url: str, folder: Path, name: str, seconds: float) -> Round:
    async with a_guard(url, folder) as guard, _answering(guard) as address:
        await guard.bots.register(BOT, TERMS)
        names = (f"{name}-{number}" for number in range(sys.maxsize))
        await _trade(guard, iter([FIRST_ORDER]), 0)
        before = await _trade(guard, names, seconds / 2)
        calling = asyncio.create_task(_called(address, seconds))
        loaded = await _trade(guard, names, seconds)
        answered = await calling
        after = await _trade(guard, names, seconds / 2)
    return Round(answered=answered, alone_ms=(*before, *after), loaded_ms=tuple(loaded))


@asynccontextmanager
async def _answering(guard: CriticalSystemManager) -> AsyncIterator[str]:
    """Serve the guard's interface in its own event loop, as ``backstop run`` does."""
    heap = HeapKeeper(steps=lambda: guard.steps, nothing_open=lambda: False)
    keeping = asyncio.create_task(heap.run())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = api_server(guard, listener, token=TOKEN, loopback_only=True)
        serving = asyncio.create_task(server.serve())
        try:
            await server.started()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            await serving
            keeping.cancel()


async def _trade(guard: CriticalSystemManager, names: Iterator[str], seconds: float) -> list[float]:
    """Trade for so long; return what each trade's frame waited for its order's verdict, in ms."""
    waits_ms: list[float] = []
    until_s = time.monotonic() + seconds
    for number, name in enumerate(names):
        began_s = time.monotonic()
        decision = await guard.submit_order(
            OrderRequest(
                client_order_id=name,
                symbol=SYMBOL,
                side=side(number),
                quantity=1,
                type=OrderType.MARKET,
            )
        )
        verification = await guard.verify_execution(name, timeout_s=ORDER_LIMIT_S)
        verified_us = time.time_ns() // 1000
        if verification is None or verification.verdict is not Verdict.VERIFIED:
            raise RuntimeError(f"{name} was not verified: {decision.denials} {verification}")
        heard_us = max(step.utc_us for step in guard.book.orders[name].transitions)
        waits_ms.append((verified_us - heard_us) / 1000)
        await asyncio.sleep(max(0.0, began_s + ORDER_EVERY_S - time.monotonic()))
        if time.monotonic() >= until_s:
            break
    return waits_ms


async def _called(address: str, seconds: float) -> Answered:
    """Have another process make the calls."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.load",
        address,
        str(seconds),
        cwd=Path(__file__).parents[1],
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the calls did not go as they should: see above")
    return msgspec.json.decode(said, type=Answered)


# -- the callers, in a process of their own ------------------------------------------------------


async def _call_for(address: str, seconds: float) -> Answered:
    waits_ms: list[float] = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connector = aiohttp.TCPConnector(limit=CONNECTIONS + READERS)
    async with aiohttp.ClientSession(address, headers=headers, connector=connector) as session:
        readers = [asyncio.create_task(_read(session)) for _ in range(READERS)]
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as calls:
            for number, call in enumerate(islice(_mixed(), int(seconds * CALLS_PER_S))):
                due_s = began_s + number / CALLS_PER_S
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                calls.create_task(_make(session, call, due_s, waits_ms))
        took_s = time.perf_counter() - began_s
        for reader in readers:
            reader.cancel()
        told = await asyncio.gather(*readers)
    return Answered(waits_ms=tuple(waits_ms), took_s=took_s, records=min(told))


def _mixed() -> Iterator[Call]:
    """Yield calls for ever, each kind spread evenly over every hundred."""
    places = sorted(
        ((number + 0.5) / call.share, index)
        for index, call in enumerate(CALLS)
        for number in range(call.share)
    )
    return cycle([CALLS[index] for _, index in places])


async def _make(
    session: aiohttp.ClientSession, call: Call, due_s: float, waits_ms: list[float]
) -> None:
    async with session.request(call.method, call.path, json=call.body) as answer:
        said = await answer.read()
        waits_ms.append((time.perf_counter() - due_s) * 1000)
        if answer.status != call.status:
            raise RuntimeError(f"{call.method} {call.path}: {answer.status} {said!r}")


async def _read(session: aiohttp.ClientSession) -> int:
    """Follow the stream until cancelled; return how many records it told of."""
    told = 0
    try:
        timeout = aiohttp.ClientTimeout(total=None)
        async with session.get("/v1/events", timeout=timeout) as stream:
            async for line in stream.content:
                told += line.startswith(b"data: ")
    except asyncio.CancelledError:
        pass
    return told


if __name__ == "__main__":
    found = asyncio.run(_call_for(sys.argv[1], float(sys.argv[2])))
    sys.stdout.buffer.write(msgspec.json.encode(found))
