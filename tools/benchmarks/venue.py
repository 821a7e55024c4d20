"""A venue in a process of its own, as a broker is: it answers at once and counts no calls.

The recorded delays of the real venue are left out, so that what is measured is the guard.
``python venue.py SLICES GAP_US PACE_US HISTORY`` prints its address and ends when its standard
input does.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from msgspec.structs import replace

from backstop.adapters.projectx.wire import TradeRow
from backstop.adapters.projectx_server.app import GatewayServer
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.interference import Event
from backstop.adapters.projectx_server.venue import UserEvent
from backstop.domain.order import Side
from backstop.simulator.exchange_config import AccountSpec, ExchangeConfig, PartialFill
from backstop.simulator.fault_rules import FaultKind, FaultRule
from backstop.simulator.process import PRACTICE_ACCOUNT_ID, Simulator, SimulatorConfig

ACCOUNTS = range(PRACTICE_ACCOUNT_ID, PRACTICE_ACCOUNT_ID + 200)
"""One for each guard with a record of its own: what an earlier one traded would be a stranger's."""

CATCH_UP = 8
"""Events that may wait for their turn before two leave at once."""

NO_HISTORY = FaultRule(
    on="History/retrieveBars", act=FaultKind.ERROR_CODE, code=1, message="none is told", count=None
)

MARKET, STOP, BUY, SELL = 2, 4, 0, 1
CALL_LIMIT_S = 60.0

USER, API_KEY = "bench", "key-of-the-measured-venue"


@contextmanager
def a_venue(
    *, slices: int = 1, gap_us: int = 0, pace_us: int = 0, history: bool = False
) -> Iterator[str]:
    """Run a venue that fills each order in ``slices`` parts ``gap_us`` apart; gives its address.

    With ``pace_us`` the events of the user hub leave one by one and evenly, so far apart, and each
    trade's time is the moment at which it left. Without ``history`` it refuses to tell of the past:
    it is one process, and a hundred days of bars would keep a stop waiting as no venue does.
    """
    words = tuple(map(str, (slices, gap_us, pace_us, int(history))))
    if _kept is None:
        with _started(words) as url:
            yield url
        return
    running, stack = _kept
    if words not in running:
        running[words] = stack.enter_context(_started(words))
    yield running[words]


_kept: tuple[dict[tuple[str, ...], str], ExitStack] | None = None


@contextmanager
def venues_kept() -> Iterator[None]:
    """Let every venue of the block run until its end, and use it again: for trials.

    An old venue has more to tell than a new one, so nothing is measured in this way.
    """
    global _kept  # noqa: PLW0603 - of this process, which runs one trial
    with ExitStack() as stack:
        _kept = ({}, stack)
        try:
            yield
        finally:
            _kept = None


@contextmanager
def _started(words: tuple[str, ...]) -> Iterator[str]:
    command = [sys.executable, str(Path(__file__)), *words]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process with pipes has none")
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


_free_accounts: dict[str, Iterator[int]] = {}


def free_account(url: str) -> int:
    """Return an account of the venue at ``url`` that nobody traded on yet."""
    return next(_free_accounts.setdefault(url, iter(ACCOUNTS)))


def manual_order(
    url: str,
    account: int,
    contract_id: str,
    *,
    side: Side = Side.BUY,
    size: int = 1,
    stop_price: str | None = None,
) -> None:
    """Have somebody place an order by hand: at the market, or a stop at ``stop_price``."""
    body = {
        "account_id": account,
        "contract_id": contract_id,
        "type": MARKET if stop_price is None else STOP,
        "side": BUY if side is Side.BUY else SELL,
        "size": size,
        **({} if stop_price is None else {"stop_price": stop_price}),
    }
    request = Request(  # noqa: S310 - the venue on loopback
        f"{url}/_simulator/manual-order", data=json.dumps(body).encode(), method="POST"
    )
    with urlopen(request, timeout=CALL_LIMIT_S) as answer:  # noqa: S310 - likewise
        placed = json.load(answer)
    if not placed["order_id"] or placed["code"]:
        raise RuntimeError(f"the venue refused {body}: {placed}")


def truth(url: str) -> Any:
    """Return everything as the exchange itself has it."""
    with urlopen(f"{url}/_simulator/truth", timeout=CALL_LIMIT_S) as answer:  # noqa: S310 - loopback
        return json.load(answer)


class _Pacer:
    """Holds the events of the user hub back and lets one go at each tick of its thread.

    An event loop's own timers count whole milliseconds; a thread sleeps more finely.
    """

    def __init__(self, server: GatewayServer, pace_us: int) -> None:
        self._deliver = server.deliver
        self._pace_s = pace_us / 1e6
        self._held: deque[UserEvent] = deque()
        self._loop = asyncio.get_running_loop()
        server.deliver = self._take  # type: ignore[method-assign]
        threading.Thread(target=self._tick, name="pacer", daemon=True).start()

    def _take(self, event: Event) -> None:
        if isinstance(event, UserEvent):
            self._held.append(event)
        else:
            self._deliver(event)

    def _tick(self) -> None:
        due_s = time.perf_counter()
        while not self._loop.is_closed():
            due_s = max(due_s + self._pace_s, time.perf_counter() - self._pace_s)
            time.sleep(max(0.0, due_s - time.perf_counter()))
            if self._held:
                self._loop.call_soon_threadsafe(self._let_go)

    def _let_go(self) -> None:
        # One, and more of them after a moment in which this machine did something else: the hub
        # must not stay behind what REST says.
        for _ in range(min(len(self._held), 1 + len(self._held) // CATCH_UP)):
            event = self._held.popleft()
            if isinstance(event.data, TradeRow):
                left = datetime.now(UTC).isoformat()
                event = replace(event, data=replace(event.data, creation_timestamp=left))
            self._deliver(event)


async def _serve(slices: int, gap_us: int, pace_us: int, history: int) -> None:
    config = SimulatorConfig(
        user=USER,
        api_key=API_KEY,
        faults=() if history else (NO_HISTORY,),
        server=ServerConfig(general_limit=None, bars_limit=None),
        accounts=tuple(
            AccountSpec(
                id=number, name=f"PRAC-{number}", user=USER, starting_balance=Decimal(150_000)
            )
            for number in ACCOUNTS
        ),
        exchange=ExchangeConfig(
            seed=0,
            accounts=(),
            contracts=(),
            market_fill_us=(0, 0),
            position_row_us=(0, 0),
            partial_fill=PartialFill.SLICES if slices > 1 else PartialFill.NEVER,
            fill_slices=slices,
            slice_gap_us=gap_us,
        ),
    )
    async with Simulator(config) as simulator:
        if pace_us:
            _Pacer(simulator.server, pace_us)
        sys.stdout.write(f"{simulator.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(*map(int, sys.argv[1:])))
