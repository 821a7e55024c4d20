"""How long a liquidation takes: from the request until nothing is left, and until that is proven.

Each position has a stop beside it, and both were made by somebody else, so that everything has to
be found, closed and cancelled. The guard keeps inside the real venue's call budget.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from backstop.adapters.log import Redactor, configure_logging
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.secret import Secret
from backstop.config.settings import Settings
from backstop.core.liquidation import Liquidation
from backstop.core.liquidation_scope import open_quantity
from backstop.domain.order import Side
from benchmarks.figures import Figure
from benchmarks.venue import API_KEY, USER, a_venue, free_account, manual_order

POSITIONS = (1, 5, 20)
LIMIT_S = 90.0
LOOK_S = 0.005


class Flattened(Struct, frozen=True, kw_only=True):
    """Milliseconds from the request until no position is held, and until FLAT is proven."""

    closed_ms: float
    flat_ms: float


def measure(*, rounds: int) -> list[Figure]:
    """Return the times for each number of positions; every time on an account of its own."""
    taken: dict[int, list[Flattened]] = {}
    with a_venue() as url:
        for _ in range(rounds):
            for count in POSITIONS:
                taken.setdefault(count, []).append(asyncio.run(_flattened(url, count)))
    return [figure for count in POSITIONS for figure in _figures(count, taken[count])]


def _figures(count: int, taken: list[Flattened]) -> list[Figure]:
    what = "1 position" if count == 1 else f"{count} positions"
    return [
        Figure(
            key=f"closed_{count}_ms",
            what=f"liquidation of {what}: until none is held",
            unit="ms",
            rounds=tuple(it.closed_ms for it in taken),
        ),
        Figure(
            key=f"flat_{count}_ms",
            what=f"liquidation of {what}: until FLAT is proven",
            unit="ms",
            rounds=tuple(it.flat_ms for it in taken),
        ),
    ]


async def _flattened(url: str, count: int) -> Flattened:
    account = free_account(url)
    configure_logging(session_id="bench", redactor=Redactor(), level=logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.hermetic(
            TOPSTEPX_API_URL=url,
            TOPSTEPX_USERNAME=USER,
            TOPSTEPX_API_KEY=Secret(API_KEY),
            TOPSTEPX_ACCOUNT_ID=account,
            BACKSTOP_STATE_DIR=Path(folder),
            BACKSTOP_CALENDAR="always-open",
            STALE_QUOTE_MS=30_000,
            DRY_RUN=False,
            EXECUTE=True,
        )
        async with asyncio.timeout(LIMIT_S), CriticalSystemManager.from_settings(settings) as guard:
            await _until(lambda: guard.book.recovered)
            for instrument in [it for it in guard.book.instruments.values() if it.active][:count]:
                await _held(url, account, instrument.contract_id, str(instrument.tick_size))
            await _until(lambda: _open(guard) == count)
            return await _timed(guard)


async def _until(is_true: Callable[[], bool]) -> None:
    while not is_true():  # noqa: ASYNC110 - what is waited for is a state, not an event
        await asyncio.sleep(LOOK_S)


async def _timed(guard: CriticalSystemManager) -> Flattened:
    began_s = time.perf_counter()
    decision = await guard.liquidate(reason="measured", operator="bench")
    await _until(lambda: not _open(guard))
    closed_s = time.perf_counter()
    await _until(lambda: _run(guard, decision.liquidation_id).is_finished)
    return Flattened(
        closed_ms=(closed_s - began_s) * 1000, flat_ms=(time.perf_counter() - began_s) * 1000
    )


def _run(guard: CriticalSystemManager, name: str | None) -> Liquidation:
    run = None if name is None else guard.liquidation(name)
    if run is None:
        raise RuntimeError("a liquidation was asked for and none is there")
    return run


def _open(guard: CriticalSystemManager) -> int:
    return sum(bool(open_quantity(view)) for view in guard.book.positions.values())


async def _held(url: str, account: int, contract_id: str, stop_price: str) -> None:
    """Have somebody buy two and protect them far below."""
    await asyncio.to_thread(manual_order, url, account, contract_id, size=2)
    await asyncio.to_thread(
        manual_order, url, account, contract_id, side=Side.SELL, size=2, stop_price=stop_price
    )
