"""From the frame of a broker's event to its record on disk, at a steady thousand events a second.

The venue fills orders in many parts and lets the rows of the user hub go one by one, evenly: order,
trade, position and account in turns. Counted is every row that the guard recorded, from the moment
at which its frame was read from the socket to the commit that holds it; for trades also from the
moment at which the venue let them go, which is before the venue itself has written them. Baseline:
one small write and fdatasync at a time on the same disk, meanwhile, by a process of its own.
"""

import asyncio
import json
import sqlite3
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct

from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.domain.events import TradeReported
from benchmarks.figures import Figure, Goal, Of, percentile
from benchmarks.guard import a_guard, filled, side
from benchmarks.sync_probe import syncs_meanwhile
from benchmarks.venue import a_venue

PACE_US = 950
SLICES = 50
SLICE_GAP_US = 4_000
"""250 trades a second, each with an order, a position and an account row: 1 000 events."""

FLOOD_ORDERS = 20
"""At once, each filled in one moment: 4 000 events that the venue sends as fast as it can."""

P50_GOAL, P99_GOAL = 2.5, 3.0
BASELINE = "one fdatasync, meanwhile"


class Event(Struct, frozen=True, kw_only=True):
    """One row of the user hub; moments in microseconds since 1970.

    ``left_us`` is when the venue let it go, None where the row does not say.
    """

    framed_us: int
    durable_us: int
    left_us: int | None


class Durable:
    """When each record of a guard became durable."""

    def __init__(self, guard: CriticalSystemManager) -> None:
        self._seqs: list[int] = []
        self._times_us: list[int] = []
        guard.parts.trail.on_durable = self._note

    def _note(self, seq: int) -> None:
        self._seqs.append(seq)
        self._times_us.append(time.time_ns() // 1000)

    def at_us(self, seq: int) -> int | None:
        """Return when record ``seq`` was on disk; None when that was not noted."""
        place = bisect_left(self._seqs, seq)
        return None if place == len(self._seqs) else self._times_us[place]


def measure_paced(*, rounds: int, pairs: int) -> list[Figure]:
    """Return waits at a thousand events a second, against single syncs of the disk.

    Args:
        rounds: how often.
        pairs: of a buy and a sell in each round.
    """
    found: list[list[Event]] = []
    syncs: list[list[float]] = []
    with a_venue(slices=SLICES, gap_us=SLICE_GAP_US, pace_us=PACE_US) as url:
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                with syncs_meanwhile(folder) as taken_ms:
                    found.append(asyncio.run(_paced(url, folder, f"paced-{number}", pairs)))
                syncs.append(taken_ms)
    figures = []
    for percent, goal in ((50, P50_GOAL), (99, P99_GOAL)):
        baseline_rounds = tuple(percentile(each, percent / 100) for each in syncs)
        figures += [
            Figure(
                key=f"event_to_durable_p{percent}_ms",
                what=f"frame of an event to its durable record: p{percent}",
                unit="ms",
                rounds=tuple(_percentile_ms(each, percent) for each in found),
                baseline=f"{BASELINE}: p{percent}",
                baseline_rounds=baseline_rounds,
                goal=Goal(of=Of.RATIO, bound=goal, at_least=False),
            ),
            Figure(
                key=f"venue_to_durable_p{percent}_ms",
                what=f"a trade leaves the venue to its durable fill: p{percent}",
                unit="ms",
                rounds=tuple(_percentile_ms(each, percent, left=True) for each in found),
                baseline=f"{BASELINE}: p{percent}",
                baseline_rounds=baseline_rounds,
            ),
        ]
    figures.append(
        Figure(
            key="event_load_per_s",
            what="    while the hub sent so many events",
            unit="1/s",
            rounds=tuple(_per_second(each) for each in found),
        )
    )
    return figures


def measure_flood(*, rounds: int) -> Figure:
    """Return how many events a second the guard takes in when they come all at once."""
    rates: list[float] = []
    with a_venue(slices=SLICES) as url:
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                events = asyncio.run(_flooded(url, Path(folder), f"flood-{number}"))
            rates.append(_per_second(events))
    return Figure(
        key="events_at_once_per_s",
        what=f"events of {FLOOD_ORDERS} orders at once, frame to verified fill",
        unit="1/s",
        rounds=tuple(rates),
    )


async def _paced(url: str, folder: Path, name: str, pairs: int) -> list[Event]:
    async with a_guard(url, folder) as guard:
        durable = Durable(guard)
        for number in range(2 * pairs):
            await filled(guard, f"{name}-{number}", side(number), quantity=SLICES)
    return _events(folder, durable)


async def _flooded(url: str, folder: Path, name: str) -> list[Event]:
    async with a_guard(url, folder) as guard:
        durable = Durable(guard)
        async with asyncio.TaskGroup() as tasks:
            for number in range(FLOOD_ORDERS):
                tasks.create_task(filled(guard, f"{name}-{number}", side(number), quantity=SLICES))
    return _events(folder, durable)


def _events(folder: Path, durable: Durable) -> list[Event]:
    """Return every row that the hub sent, out of the record itself."""
    events = []
    for seq, fact in hub_facts(folder):
        durable_us = durable.at_us(seq)
        if durable_us is None:
            continue
        is_trade = fact["kind"] == TradeReported.__name__
        events.append(
            Event(
                framed_us=fact["utc_us"],
                durable_us=durable_us,
                left_us=fact["trade"]["created_utc_us"] if is_trade else None,
            )
        )
    return events


def hub_facts(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what a guard recorded of the rows of its hub: number in the record, and the fact."""
    with closing(sqlite3.connect(folder / AUDIT_DATABASE)) as database:
        rows = database.execute("SELECT seq, payload FROM Journal WHERE kind = 'event'")
        for seq, payload in rows:
            fact = json.loads(payload)
            if fact.get("source") == "HUB":
                yield seq, fact


def _percentile_ms(events: Sequence[Event], percent: int, *, left: bool = False) -> float:
    waits_us = [
        it.durable_us - (it.left_us if left else it.framed_us)  # type: ignore[operator]
        for it in events
        if not left or it.left_us is not None
    ]
    return percentile(waits_us, percent / 100) / 1000


def _per_second(events: Sequence[Event]) -> float:
    began_us, ended_us = min(it.framed_us for it in events), max(it.durable_us for it in events)
    return len(events) * 1e6 / (ended_us - began_us)
