"""How long a position is without a stop that its guard has to place itself.

Bought at the venue by somebody else, so that no bracket came with it: what a guard cannot have
prepared. Both moments are the exchange's own: the trade, and the stop that stands. A bracket order
needs no figure, its stop is placed by the venue in the moment of the fill.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from backstop.domain.order import Side
from benchmarks.figures import Figure, Goal, Of, percentile
from benchmarks.guard import SYMBOL, a_guard
from benchmarks.venue import a_venue, manual_order, truth

LIMIT_S = 20.0
LOOK_S = 0.02
NAKED_LIMIT_MS = 1000
POSITIONS_OF_A_GUARD = 8
"""Each takes reads, a stop and a cancel: more in a row would be about the call budget."""

FINISHED = frozenset({"CANCELLED", "FILLED", "EXPIRED", "REJECTED"})


def measure(*, positions: int) -> list[Figure]:
    """Return the times of so many positions, one after the other."""
    naked_ms: list[float] = []
    with a_venue() as url:
        while len(naked_ms) < positions:
            count = min(POSITIONS_OF_A_GUARD, positions - len(naked_ms))
            with tempfile.TemporaryDirectory() as folder:
                naked_ms += asyncio.run(_naked_ms(url, Path(folder), count))
    goal = Goal(of=Of.VALUE, bound=NAKED_LIMIT_MS, at_least=False)
    what = "naked time, fill at the venue to a stop that stands there"
    return [
        Figure(
            key=f"naked_{name}_ms",
            what=f"{what}: {name} of {positions}",
            unit="ms",
            rounds=(value,),
            goal=goal if name == "max" else None,
        )
        for name, value in (
            ("p50", percentile(naked_ms, 0.5)),
            ("p99", percentile(naked_ms, 0.99)),
            ("max", max(naked_ms)),
        )
    ]


async def _naked_ms(url: str, folder: Path, positions: int) -> list[float]:
    async with a_guard(url, folder, DEFAULT_STOP_TICKS=400) as guard:
        instrument = guard.book.instrument_for(SYMBOL)
        if instrument is None:
            raise RuntimeError(f"the venue has no {SYMBOL}")
        account, contract_id = guard.settings.account_id, instrument.contract_id
        taken = []
        for _ in range(positions):
            before = {it["id"] for it in await _rows(url, account, "orders")}
            await asyncio.to_thread(manual_order, url, account, contract_id)
            stop = await _new_stop(url, account, before)
            (*_, bought) = await _rows(url, account, "trades")
            taken.append((stop["createdUs"] - bought["createdUs"]) / 1000)
            await asyncio.to_thread(manual_order, url, account, contract_id, side=Side.SELL)
            await _finished(url, account, stop["id"])
    return taken


async def _rows(url: str, account: int, kind: str) -> list[dict[str, Any]]:
    found = await asyncio.to_thread(truth, url)
    return [it for it in found[kind] if it["accountId"] == account]


async def _new_stop(url: str, account: int, before: set[int]) -> dict[str, Any]:
    """Return the stop that stands now and was not there before."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for row in await _rows(url, account, "orders"):
                if row["id"] not in before and row["type"] == "STOP" and row["status"] == "OPEN":
                    return row
            await asyncio.sleep(LOOK_S)


async def _finished(url: str, account: int, order_id: int) -> None:
    """Wait until the stop of the position that was sold is gone."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            (row,) = [it for it in await _rows(url, account, "orders") if it["id"] == order_id]
            if row["status"] in FINISHED:
                return
            await asyncio.sleep(LOOK_S)
