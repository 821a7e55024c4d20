"""Measures what the safety costs, each figure beside a baseline of the same minute.

Run with ``make bench``, or ``python tools/bench.py [--quick] [--only PART ...] [--json FILE]``.
The machine's noise is part of the answer: every figure is a median of rounds with the lowest and
the highest, and the disk and the load are measured with each part. Nothing but loopback is
contacted. A measurement writes docs/reference/figures.md, its picture, and the document that both
are made of; of a part alone it renews that part, and leaves what else stands there.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
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
    gateway,
    growth,
    naked,
    page,
    profiles,
    restart,
    stall,
    start,
    state,
    storage,
    whole_path,
)
from benchmarks import load as interface_load
from benchmarks.figures import Figure, load, machine, table
from benchmarks.growth import SHORT, Reach
from benchmarks.report import Document, Finding, Measured, document, merged
from benchmarks.venue import venues_kept
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
    instruments: tuple[int, ...] = (4, 50, 500)
    families: tuple[int, ...] = (50, 500)
    exposure_decisions: int = 20_000
    exposure_bars: int = 20
    past_orders: int = 100_000
    proofs: int = 1000
    short_tail: int = 1000
    long_tail: int = 100_000
    state_kept_s: float = 5
    history: bool = True  # of the market, a hundred days of it, that a start reads
    stall_s: float = 10
    kills: int = 8
    naked_positions: int = 40
    load_rounds: int = 2
    load_s: float = 60
    gateway_orders: int = 60
    gateway_trips: int = 8
    gateway_s: float = 5
    growth_rounds: int = 3
    reach: Reach = Reach()
    profile_rounds: int = 3
    profiled_orders: int = 20
    profiled_decisions: int = 50_000
    profiled_facts: int = 20_000
    profiled_hours: float = 0.05


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
    instruments=(4, 8),
    families=(8,),
    exposure_decisions=20,
    exposure_bars=2,
    past_orders=100,
    proofs=20,
    short_tail=100,
    long_tail=200,
    state_kept_s=0.5,
    history=False,
    stall_s=1.5,
    kills=1,
    naked_positions=2,
    load_rounds=1,
    load_s=2,
    gateway_orders=4,
    gateway_trips=2,
    gateway_s=1,
    growth_rounds=1,
    reach=SHORT,
    profile_rounds=1,
    profiled_orders=1,
    profiled_decisions=2000,
    profiled_facts=600,
    profiled_hours=0.001,
)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the document and, unless it was a trial, the page."""
    options = _options(words)
    if options.render:
        page.write(page.published())
        return
    if options.merge is not None:
        new: Document = json.loads(options.merge.read_text(encoding="utf-8"))
        page.write(merged(page.published(), new, order=page.PARTS))
        return
    if options.folder is not None:
        tempfile.tempdir = str(options.folder)
    amounts = QUICK if options.quick else Amounts()
    if options.soak is not None:
        amounts = replace(amounts, stall_s=options.soak)
    found: list[Measured] = []
    kept = venues_kept() if options.quick else nullcontext()
    with kept, tempfile.TemporaryDirectory() as folder:
        parts = _parts(Path(folder), amounts)
        for name in options.only or page.PARTS:
            found.append(_measured(name, parts[name], Path(folder)))
            # What is measured is kept when a later part fails.
            _write(document(found), options.json)
    print(table(it for part in found for it in part.findings if isinstance(it, Figure)))
    if not options.quick:
        held = page.published() if options.only else document(())
        page.write(merged(held, document(found), order=page.PARTS))


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of little: does it run?")
    parser.add_argument(
        "--only", nargs="+", choices=page.PARTS, metavar="PART", help=f"of {', '.join(page.PARTS)}"
    )
    parser.add_argument("--soak", type=float, metavar="S", help="watch the event loop for so long")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    parser.add_argument("--json", type=Path, default=BUILD / "bench.json", metavar="FILE")
    parser.add_argument(
        "--merge", type=Path, metavar="FILE", help="only put what FILE holds into the page"
    )
    parser.add_argument(
        "--render", action="store_true", help="only write the page again, out of its document"
    )
    return parser.parse_args(words)


def _write(told: Document, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _measured(name: str, measure: Callable[[], Iterable[Finding]], folder: Path) -> Measured:
    facts, load_before = machine(folder), load()
    began_s = time.perf_counter()
    findings = tuple(measure())
    took_s = time.perf_counter() - began_s
    print(f"{name}: {took_s:.1f} s", file=sys.stderr, flush=True)
    return Measured(
        name=name,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        findings=findings,
        machine=facts,
        load_before=load_before,
        load_after=load(),
        took_s=took_s,
    )


def _parts(folder: Path, amounts: Amounts) -> dict[str, Callable[[], Iterable[Finding]]]:
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
            exposure.measure_decisions(
                rounds=rounds,
                decisions=amounts.exposure_decisions,
                instruments_of=amounts.instruments,
            ),
            exposure.measure_bars(
                rounds=rounds, bars=amounts.exposure_bars, families_of=amounts.families
            ),
        ),
        "crash": lambda: crash.measure(kills=amounts.kills),
        "restart": lambda: restart.measure(rounds=rounds),
        "protection": lambda: chain(
            naked.measure(positions=amounts.naked_positions), flat.measure(rounds=rounds)
        ),
        "state": lambda: _state(amounts),
        # The longest of a number of short looks says less than one long look.
        "loop": lambda: stall.measure(
            rounds=1 if amounts.stall_s > A_MINUTE_S else rounds,
            seconds=amounts.stall_s,
            history=amounts.history,
        ),
        "api": lambda: interface_load.measure(rounds=amounts.load_rounds, seconds=amounts.load_s),
        "gateway": lambda: gateway.measure(
            rounds=rounds,
            orders=amounts.gateway_orders,
            trips=amounts.gateway_trips,
            seconds=amounts.gateway_s,
        ),
        "start": lambda: start.measure(rounds=rounds, import_runs=rounds),
        "growth": lambda: growth.measure(rounds=amounts.growth_rounds, reach=amounts.reach),
        "profiles": lambda: profiles.measure(
            rounds=amounts.profile_rounds,
            orders_at_once=amounts.profiled_orders,
            decisions=amounts.profiled_decisions,
            facts=amounts.profiled_facts,
            hours=amounts.profiled_hours,
        ),
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
