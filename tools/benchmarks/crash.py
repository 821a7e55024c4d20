"""kill -9 in the middle of trading: what is lost, and how long a position goes without a stop.

A bot sends orders through the API, one after the other, when the guard is killed. In that moment
somebody buys another contract at the venue, so that there is a position that nobody protects. The
clock runs until the exchange itself has a working stop for it. What the guard had told the bot is
then looked for in the record: what is not there is a lost decision.
"""

import asyncio
import json
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.state_file import CURRENT
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.config.secret import Secret
from benchmarks.figures import Figure, Goal, Of, percentile
from benchmarks.guard import SYMBOL, side
from benchmarks.pack import LIMIT_S, LOOK_AGAIN_S, Pack, a_pack, until
from benchmarks.venue import API_KEY, USER, a_venue, manual_order, truth

BOUGHT = "MNQ"
"""What is bought beside the bot, which trades another contract."""

SETTINGS = {
    "STOP_REQUIRED": "0",
    "ALLOW_FLIP": "1",
    "DEFAULT_STOP_TICKS": "40",
    "DUPLICATE_WINDOW_MS": "0",
    "MAX_SLIPPAGE_TICKS": "1000",
    "RISK_BUDGET": "1000000000",
    "ES_NQ_MAX_COMBINED_EXPOSURE": "1000000000",
}
ORDERS_BEFORE = 6
"""So many have been accepted before the kill comes, and the next is on its way."""

RESTART_LIMIT_MS = 2000
"""A position may go without a stop for two seconds after a restart."""

STATE_LIMIT_MS = 100
"""What is not decided, the market, may be as old as this when it is lost."""


class Crash(NamedTuple):
    """What one kill cost."""

    protected_ms: float
    lost: int
    state_age_ms: float


def measure(*, kills: int) -> list[Figure]:
    """Return the time without a stop, the lost decisions, and the age of the state on disk."""
    with a_venue() as url:
        contract_id = asyncio.run(_contract_id(url))
        crashes = [_crash(url, contract_id) for _ in range(kills)]
    protected_ms = [it.protected_ms for it in crashes]
    return [
        Figure(
            key="crash_to_protected_ms",
            what="kill -9 to a working stop for a position bought at that moment",
            unit="ms",
            rounds=tuple(protected_ms),
        ),
        Figure(
            key="crash_to_protected_p99_ms",
            what=f"    the same: p99 of {kills} kills",
            unit="ms",
            rounds=(percentile(protected_ms, 0.99),),
            goal=Goal(of=Of.VALUE, bound=RESTART_LIMIT_MS, at_least=False),
        ),
        Figure(
            key="crash_lost_decisions",
            what="decisions that were told to the bot or to the venue, and are lost",
            unit="orders",
            rounds=tuple(float(it.lost) for it in crashes),
            goal=Goal(of=Of.WORST, bound=0, at_least=False),
        ),
        Figure(
            key="crash_state_age_ms",
            what="age of the newest state on disk at the kill",
            unit="ms",
            rounds=tuple(it.state_age_ms for it in crashes),
            goal=Goal(of=Of.WORST, bound=STATE_LIMIT_MS, at_least=False),
        ),
    ]


class _Bot:
    """Sends orders one after the other, and keeps the names of those that were accepted."""

    def __init__(self, pack: Pack) -> None:
        self.accepted: list[str] = []
        self._pack = pack
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._trade, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Send no more, and wait for the last answer."""
        self._over.set()
        self._thread.join(LIMIT_S)

    def _trade(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            body: dict[str, object] = {
                "client_order_id": f"crash-{number}",
                "symbol": SYMBOL,
                "side": side(number).name,
                "quantity": 1,
                "type": "MARKET",
            }
            try:
                status = self._pack.post("/v1/orders", body)
            except (OSError, HTTPException):
                self._over.wait(LOOK_AGAIN_S)  # the guard is dead, or about to come
                continue
            if status < 300:  # noqa: PLR2004 - accepted, in the words of HTTP
                self.accepted.append(f"crash-{number}")


def _crash(url: str, contract_id: str) -> Crash:
    with a_pack(url, spare=True, **SETTINGS) as pack:
        pack.heard("recovered")
        pack.spare_is_loaded()
        guard, bot = pack.child("guard"), _Bot(pack)
        until(lambda: len(bot.accepted) >= ORDERS_BEFORE, "accepted orders")
        written_ns = (pack.state / CURRENT).stat().st_mtime_ns
        killed_ns, killed_s = time.time_ns(), time.perf_counter()
        os.kill(guard, signal.SIGKILL)
        manual_order(url, pack.account, contract_id)
        until(lambda: _is_protected(url, pack.account, contract_id), "a working stop")
        protected_s = time.perf_counter()
        bot.end()
        pack.heard("recovered", after_s=killed_s)
        lost = _lost(pack.state, bot.accepted, _tags(url, pack.account))
    return Crash((protected_s - killed_s) * 1000, lost, (killed_ns - written_ns) / 1e6)


def _is_protected(url: str, account: int, contract_id: str) -> bool:
    return any(
        it["type"] == "STOP" and it["status"] == "OPEN" and it["contractId"] == contract_id
        for it in _orders(url, account)
    )


def _tags(url: str, account: int) -> set[str]:
    return {it["customTag"] for it in _orders(url, account) if it["customTag"]}


def _orders(url: str, account: int) -> list[dict[str, Any]]:
    return [it for it in truth(url)["orders"] if it["accountId"] == account]


def _lost(state: Path, accepted: list[str], tags: set[str]) -> int:
    """Count what was told to somebody and does not stand in the record."""
    with closing(sqlite3.connect(state / AUDIT_DATABASE)) as database:
        payloads = [json.loads(it) for (it,) in database.execute("SELECT payload FROM Journal")]
    placed = [it for it in payloads if it.get("kind") == "PlaceOrder"]
    known = {it["client_order_id"] for it in placed} | {it["custom_tag"] for it in placed}
    ours = {it.removesuffix("-SL").removesuffix("-TP") for it in tags}  # legs carry their entry's
    return len(set(accepted) - known) + len(ours - known)


async def _contract_id(url: str) -> str:
    async with ProjectXGateway(
        api_url=url, user_name=USER, api_key=Secret(API_KEY), clock=SystemClock()
    ) as gateway:
        found = await gateway.instruments()
    return next(it.contract_id for it in found if it.symbol == BOUGHT and it.active)
