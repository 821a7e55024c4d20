"""How cost grows: with orders, with instruments, and with the length of the journal.

Each point is the median of its rounds, with the lowest and the highest. What the core does is
counted in processor time or as the median of many, so that other programs show little.
"""

import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from backstop.adapters.state_file import GENERATIONS
from backstop.adapters.state_layout import AUDIT_DATABASE
from benchmarks.audit import check_in_a_process
from benchmarks.decisions import World, opening_policy
from benchmarks.exposure import ACCOUNT_LIMITS, Held, MovedPrices, bar_us, judged, took_us
from benchmarks.figures import spread
from benchmarks.state import make_apart, opened_ms

PAIRS = 10
"""Bought and sold in each round of a point over orders: 120 facts, and few more past orders."""

DECISIONS, MOVES = 400, 40


class Panel(StrEnum):
    """What cost is drawn over."""

    ORDERS = "orders"
    INSTRUMENTS = "instruments"
    RECORDS = "records"


class Reach(Struct, frozen=True, kw_only=True):
    """Where the points lie."""

    past_orders: tuple[int, ...] = (100, 300, 1000, 3000, 10_000)
    resting_orders: tuple[int, ...] = (10, 30, 100, 300)
    instruments: tuple[int, ...] = (4, 16, 50, 160, 500)
    journal_orders: tuple[int, ...] = (200, 600, 2000, 6000)


SHORT = Reach(
    past_orders=(2, 50), resting_orders=(1, 4), instruments=(4, 8), journal_orders=(10, 20)
)
"""Only to try whether it runs."""


class Point(Struct, frozen=True, kw_only=True):
    """What something costs ``at`` so many; one value for each round."""

    at: int
    rounds: tuple[float, ...]


class Curve(Struct, frozen=True, kw_only=True):
    """How one cost grows.

    Attributes:
        key: its name for programs.
        what: its name for people.
        panel: what it is drawn over.
        unit: of every value.
        points: in the order of ``at``.
    """

    key: str
    what: str
    panel: Panel
    unit: str
    points: tuple[Point, ...]

    def document(self) -> dict[str, object]:
        """Return the curve as JSON has it."""
        return {
            "what": self.what,
            "panel": str(self.panel),
            "unit": self.unit,
            "points": [{"at": it.at, **spread(it.rounds)} for it in self.points],
        }


def measure(*, rounds: int, reach: Reach) -> Iterator[Curve]:
    """Yield every curve."""
    yield from _over_orders(rounds, reach)
    yield from _over_instruments(rounds, reach.instruments)
    yield from _over_records(rounds, reach.journal_orders)


# -- orders ----------------------------------------------------------------------------------------


def _over_orders(rounds: int, reach: Reach) -> Iterator[Curve]:
    yield Curve(
        key="fact_us_by_past_orders",
        what="a fact, with orders that are over",
        panel=Panel.ORDERS,
        unit="us",
        points=tuple(_with_past(rounds, reach.past_orders)),
    )
    yield Curve(
        key="fact_us_by_resting_orders",
        what="a fact, with orders that rest in its contract",
        panel=Panel.ORDERS,
        unit="us",
        points=tuple(_with_resting(rounds, reach.resting_orders)),
    )


def _with_past(rounds: int, counts: Sequence[int]) -> Iterator[Point]:
    world, past = World(), 0
    for count in counts:
        world.fill_pairs((count - past) // 2)
        values = tuple(_fact_us(world) for _ in range(rounds))
        past = count + 2 * PAIRS * rounds
        yield Point(at=count, rounds=values)


def _with_resting(rounds: int, counts: Sequence[int]) -> Iterator[Point]:
    world, resting = World(replace(opening_policy(), max_orders_per_second=1_000_000)), 0
    for count in counts:
        world.rest(count - resting)
        resting = count
        yield Point(at=count, rounds=tuple(_fact_us(world) for _ in range(rounds)))


def _fact_us(world: World) -> float:
    facts, began_ns = world.facts, time.process_time_ns()
    world.fill_pairs(PAIRS)
    return (time.process_time_ns() - began_ns) / 1000 / (world.facts - facts)


# -- instruments -----------------------------------------------------------------------------------


def _over_instruments(rounds: int, counts: Sequence[int]) -> Iterator[Curve]:
    points: dict[str, list[Point]] = {}
    for count in counts:
        held = Held(count, account_limits=ACCOUNT_LIMITS)
        for key, act, times in (
            ("decision_us", judged(held), DECISIONS),
            ("one_moved_us", MovedPrices(held), MOVES),
            ("all_moved_us", MovedPrices(held, moved=count), MOVES),
        ):
            values = tuple(median(took_us(act, times)) for _ in range(rounds))
            points.setdefault(key, []).append(Point(at=count, rounds=values))
        bars = tuple(bar_us(count, rounds=rounds, bars=2))
        points.setdefault("bar_us", []).append(Point(at=count, rounds=bars))
    for key, what in (
        ("decision_us", "every rule about one order"),
        ("one_moved_us", "exposure alone, after one price moved"),
        ("all_moved_us", "exposure alone, after all prices moved"),
        ("bar_us", "a bar into volatility and correlation"),
    ):
        yield Curve(
            key=f"{key}_by_instruments",
            what=what,
            panel=Panel.INSTRUMENTS,
            unit="us",
            points=tuple(points[key]),
        )


# -- records ---------------------------------------------------------------------------------------


def _over_records(rounds: int, orders: Sequence[int]) -> Iterator[Curve]:
    points: dict[str, list[Point]] = {}
    with tempfile.TemporaryDirectory() as name:
        for count in orders:
            folder = Path(name) / str(count)
            make_apart(folder, count, 0)
            records = _records(folder)
            checks = (check_in_a_process(folder) for _ in range(rounds))
            found = {
                "checkpoint": tuple(opened_ms(folder) for _ in range(rounds)),
                "verify": tuple(records / it.records_per_s * 1000 for it in checks),
            }
            for generation in GENERATIONS:
                (folder / generation).unlink(missing_ok=True)
            found["journal"] = tuple(opened_ms(folder) for _ in range(rounds))
            for key, values in found.items():
                points.setdefault(key, []).append(Point(at=records, rounds=values))
    for key, what in (
        ("checkpoint", "state after a crash, with its checkpoint"),
        ("journal", "state from the journal alone"),
        ("verify", "audit verify of all of it"),
    ):
        yield Curve(
            key=f"{key}_ms_by_records",
            what=what,
            panel=Panel.RECORDS,
            unit="ms",
            points=tuple(points[key]),
        )


def _records(folder: Path) -> int:
    with closing(sqlite3.connect(folder / AUDIT_DATABASE)) as database:
        (newest,) = database.execute("SELECT max(seq) FROM Journal").fetchone()
    return int(newest)
