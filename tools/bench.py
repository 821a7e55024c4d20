"""Measures what the safety costs, each figure beside a baseline of the same minute.

Run with ``make bench``, or ``python tools/bench.py [--quick] [--only PART ...] [--json FILE]``.
The machine's noise is part of the answer: every figure is a median of rounds with the lowest and
the highest, and the disk and the load are measured too. Nothing but loopback is contacted. A whole
measurement writes docs/reference/figures.md and the document that it is made of.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from benchmarks import (
    audit,
    crash,
    decisions,
    events,
    exposure,
    flat,
    naked,
    page,
    restart,
    stall,
    start,
    state,
    storage,
    whole_path,
)
from benchmarks import load as interface_load
from benchmarks.figures import Figure, load, machine, table
from msgspec import Struct
from msgspec.structs import replace

BUILD = Path(__file__).parents[1] / "build"

A_MINUTE_S = 60


class Amounts(Struct, frozen=True, kw_only=True):
    """How much is measured; a burst of orders fits into one minute's call budget."""

    rounds: int = 5
    records: int = 4000
    orders_in_a_row: int = 100
    orders_of_each_of_32: int = 4
    paced_pairs: int = 10
    audited_commits: int = 2000
    verified_records: int = 100_000
    orders_decided: int = 2000
    past_orders_decided: int = 20_000
    exposure_decisions: int = 20_000
    exposure_bars: int = 20
    past_orders: int = 100_000
    proofs: int = 1000
    short_tail: int = 1000
    long_tail: int = 100_000
    state_kept_s: float = 5
    stall_s: float = 10
    kills: int = 8
    naked_positions: int = 40
    load_rounds: int = 2
    load_s: float = 60


QUICK = Amounts(
    rounds=1,
    records=128,
    orders_in_a_row=4,
    orders_of_each_of_32=1,
    paced_pairs=1,
    audited_commits=20,
    verified_records=100,
    orders_decided=20,
    past_orders_decided=100,
    exposure_decisions=20,
    exposure_bars=2,
    past_orders=100,
    proofs=20,
    short_tail=100,
    long_tail=200,
    state_kept_s=0.5,
    stall_s=1.5,
    kills=1,
    naked_positions=2,
    load_rounds=1,
    load_s=2,
)


def main() -> None:
    """Measure, print the table, write the JSON and, if told to, the page."""
    options = _options()
    if options.render:
        page.write(json.loads(page.DOCUMENT.read_text(encoding="utf-8")))
        return
    if options.folder is not None:
        tempfile.tempdir = str(options.folder)
    amounts = QUICK if options.quick else Amounts()
    if options.soak is not None:
        amounts = replace(amounts, stall_s=options.soak)
    with tempfile.TemporaryDirectory() as folder:
        found = machine(Path(folder))
        for name, fact in found.items():
            print(f"{name:14}{json.dumps(fact)}")
        parts = _parts(Path(folder), amounts)
        measured: dict[str, list[Figure]] = {}
        loads: dict[str, float | None] = {}
        for name in options.only or page.PARTS:
            loads[name] = load()
            measured[name] = _timed(name, parts[name])
            document = {**_document(found, measured), "loads": loads}
            _write(document, options.json)  # what is measured is kept when a later part fails
    print(table(chain.from_iterable(measured.values())))
    if not (options.quick or options.only):
        page.write(document)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of little: does it run?")
    parser.add_argument(
        "--only", nargs="+", choices=page.PARTS, metavar="PART", help=f"of {', '.join(page.PARTS)}"
    )
    parser.add_argument("--soak", type=float, metavar="S", help="watch the event loop for so long")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    parser.add_argument("--json", type=Path, default=BUILD / "bench.json", metavar="FILE")
    parser.add_argument(
        "--render", action="store_true", help="only write the page again, out of its document"
    )
    return parser.parse_args()


def _document(
    found: Mapping[str, object], measured: Mapping[str, Iterable[Figure]]
) -> dict[str, object]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**found, "load_after": load()},
        "figures": {
            figure.key: {"part": name, **figure.document()}
            for name, figures in measured.items()
            for figure in figures
        },
    }


def _write(document: Mapping[str, object], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _timed(name: str, measure: Callable[[], Iterable[Figure]]) -> list[Figure]:
    began_s = time.perf_counter()
    figures = list(measure())
    print(f"{name}: {time.perf_counter() - began_s:.0f} s", file=sys.stderr, flush=True)
    return figures


def _parts(folder: Path, amounts: Amounts) -> dict[str, Callable[[], Iterable[Figure]]]:
    """Return what measures each part of the page."""
    rounds = amounts.rounds
    return {
        "journal": lambda: storage.measure(folder, rounds=rounds, records=amounts.records),
        "events": lambda: _events(amounts),
        "audit": lambda: _audit(folder, amounts),
        "orders": lambda: whole_path.measure_orders(
            rounds=rounds,
            sequential=amounts.orders_in_a_row,
            each_of_32=amounts.orders_of_each_of_32,
        ),
        "core": lambda: decisions.measure_engine(
            rounds=rounds, orders=amounts.orders_decided, past_orders=amounts.past_orders_decided
        ),
        "exposure": lambda: chain(
            exposure.measure_decisions(rounds=rounds, decisions=amounts.exposure_decisions),
            exposure.measure_bars(rounds=rounds, bars=amounts.exposure_bars),
        ),
        "crash": lambda: crash.measure(kills=amounts.kills),
        "restart": lambda: restart.measure(rounds=rounds),
        "protection": lambda: chain(
            naked.measure(positions=amounts.naked_positions), flat.measure(rounds=rounds)
        ),
        "state": lambda: _state(amounts),
        # The longest of a number of short looks says less than one long look.
        "loop": lambda: stall.measure(
            rounds=1 if amounts.stall_s > A_MINUTE_S else rounds, seconds=amounts.stall_s
        ),
        "api": lambda: interface_load.measure(rounds=amounts.load_rounds, seconds=amounts.load_s),
        "start": lambda: start.measure(rounds=rounds, import_runs=rounds),
    }


def _events(amounts: Amounts) -> Iterator[Figure]:
    yield from events.measure_paced(rounds=amounts.rounds, pairs=amounts.paced_pairs)
    yield events.measure_flood(rounds=amounts.rounds)


def _audit(folder: Path, amounts: Amounts) -> Iterator[Figure]:
    rounds = amounts.rounds
    yield from audit.measure_orders(folder, rounds=rounds, commits=amounts.audited_commits)
    yield from audit.measure_signatures(folder, rounds=rounds, count=amounts.proofs)
    yield from decisions.measure_proofs(rounds=rounds, proofs=amounts.proofs)
    yield from audit.measure_verification(
        folder, rounds=rounds, records=amounts.verified_records, proofs=amounts.proofs
    )


def _state(amounts: Amounts) -> Iterator[Figure]:
    yield from state.measure_start(
        rounds=amounts.rounds,
        past_orders=amounts.past_orders,
        short_tail=amounts.short_tail,
        long_tail=amounts.long_tail,
    )
    yield from state.measure_keeping(rounds=amounts.rounds, seconds=amounts.state_kept_s)


if __name__ == "__main__":
    main()
