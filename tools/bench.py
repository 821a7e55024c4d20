"""Measures what the safety costs, each figure beside a baseline of the same minute.

Run with ``make bench``, or ``python tools/bench.py [--short] [--folder DIR] [--json FILE]``. The
machine's noise is part of the answer: every figure is a median of rounds with the lowest and the
highest, and the disk and the load are measured too. Nothing but loopback is contacted.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import audit, decisions, events, flat, restart, start, state, storage, whole_path
from benchmarks.figures import Figure, load, machine, table
from msgspec import Struct

BUILD = Path(__file__).parents[1] / "build"


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
    past_orders: int = 20_000
    proofs: int = 1000
    short_tail: int = 1000
    long_tail: int = 100_000
    state_kept_s: float = 5


SHORT = Amounts(
    rounds=1,
    records=128,
    orders_in_a_row=4,
    orders_of_each_of_32=1,
    paced_pairs=1,
    audited_commits=20,
    verified_records=100,
    orders_decided=20,
    past_orders=100,
    proofs=20,
    short_tail=100,
    long_tail=200,
    state_kept_s=0.5,
)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="one round of little: does it run?")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    parser.add_argument("--json", type=Path, default=BUILD / "bench.json", metavar="FILE")
    options = parser.parse_args()
    if options.folder is not None:
        tempfile.tempdir = str(options.folder)
    with tempfile.TemporaryDirectory() as folder:
        found = machine(Path(folder))
        for name, fact in found.items():
            print(f"{name:14}{json.dumps(fact)}")
        figures = list(_measured(Path(folder), SHORT if options.short else Amounts()))
    print(table(figures))
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**found, "load_after": load()},
        "figures": {figure.key: figure.document() for figure in figures},
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _measured(folder: Path, amounts: Amounts) -> Iterator[Figure]:
    rounds = amounts.rounds
    yield from start.measure(rounds=rounds, import_runs=rounds)
    yield from restart.measure(rounds=rounds)
    yield from state.measure_start(
        rounds=rounds,
        past_orders=amounts.past_orders,
        short_tail=amounts.short_tail,
        long_tail=amounts.long_tail,
    )
    yield from state.measure_keeping(rounds=rounds, seconds=amounts.state_kept_s)
    yield from storage.measure(folder, rounds=rounds, records=amounts.records)
    yield from whole_path.measure_orders(
        rounds=rounds,
        sequential=amounts.orders_in_a_row,
        each_of_32=amounts.orders_of_each_of_32,
    )
    yield from flat.measure(rounds=rounds)
    yield from events.measure_paced(rounds=rounds, pairs=amounts.paced_pairs)
    yield events.measure_flood(rounds=rounds)
    yield from audit.measure_orders(folder, rounds=rounds, commits=amounts.audited_commits)
    yield from audit.measure_signatures(folder, rounds=rounds, count=amounts.proofs)
    yield from audit.measure_verification(
        folder, rounds=rounds, records=amounts.verified_records, proofs=amounts.proofs
    )
    yield from decisions.measure_engine(
        rounds=rounds, orders=amounts.orders_decided, past_orders=amounts.past_orders
    )
    yield from decisions.measure_proofs(rounds=rounds, proofs=amounts.proofs)


if __name__ == "__main__":
    main()
