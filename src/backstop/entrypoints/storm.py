"""`backstop storm`: the whole path simulated from one seed, with a line for each.

Needs no account, no network and no settings: everything is in this process, and its time is
virtual.
"""

import math
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from types import FrameType
from typing import Annotated, Final

import msgspec
import typer

from backstop.storm.seed_files import seed_files
from backstop.storm.seed_run import SeedResult, run_seed

EXIT_GOOD, EXIT_FAILED, EXIT_UNUSABLE = 0, 1, 2

SEEDS_MAX = 1_000_000
"""More than a machine gets through in a year."""

HOURS_MAX: Final = 24 * 7
"""A week of one seed takes an hour or more of one core; the market's week repeats."""

WORKERS_MAX: Final = 61
"""No more processes can be waited for at once on Windows."""

KILLED_EVERY_S: Final = 0.05
"""A pool that is being ended may have started one more process meanwhile, and would wait for it."""

STOPS: Final = (signal.SIGINT, signal.SIGTERM)

NEWEST_SHOWN = 12
"""Of a failed seed: how the story ended."""


def storm(
    *,
    seeds: Annotated[
        str,
        typer.Option(help="First seed and the one after the last, as in 0:1000; 0:10 if not said."),
    ] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="One seed alone.")] = None,
    hours: Annotated[float, typer.Option(help="Simulated hours of each seed.")] = 1.0,
    trace: Annotated[bool, typer.Option(help="Tell the story of each seed.")] = False,
    workers: Annotated[
        int,
        typer.Option(min=0, max=WORKERS_MAX, help="Processes; 0: as many as there are processors."),
    ] = 0,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object a seed; a story goes to standard error."),
    ] = False,
) -> None:
    """Simulate guard, venue, network, disk and clock, and ask after safety and liveness.

    Ends with 0 when every seed passed, 1 when one did not. Ctrl-C ends it, and it says how far it
    came.
    """
    numbers = _numbers(seeds, seed)
    if not (math.isfinite(hours) and 0 < hours <= HOURS_MAX):
        raise typer.BadParameter(
            f"{hours:g} is not more than 0 hours and {HOURS_MAX} at most", param_hint="--hours"
        )
    played = failed = 0
    alone = trace or len(numbers) == 1
    try:
        for result in (
            _one_by_one(numbers, hours=hours, trace=trace, quiet=as_json)
            if alone
            else _shared_out(numbers, hours=hours, workers=workers)
        ):
            played += 1
            failed += not result.passed
            typer.echo(msgspec.json.encode(result).decode() if as_json else _line(result))
    except KeyboardInterrupt:
        typer.echo(f"Stopped after {played} of {_seeds(len(numbers))}, {failed} failed", err=True)
        raise
    if not as_json:
        typer.echo(f"{_seeds(played)}, {failed} failed")
    raise typer.Exit(EXIT_FAILED if failed else EXIT_GOOD)


def _seeds(number: int) -> str:
    return f"{number} seed{'s' * (number != 1)}"


def _numbers(seeds: str, seed: int | None) -> range:
    if seed is not None:
        if seeds:
            raise typer.BadParameter("one seed or a range of them, not both", param_hint="--seed")
        return range(seed, seed + 1)
    first, colon, after = (seeds or "0:10").partition(":")
    if not colon or not first.isdecimal() or not after.isdecimal():
        raise typer.BadParameter(f"{seeds!r} is no range such as 0:1000", param_hint="--seeds")
    numbers = range(int(first), int(after))
    if not 0 < len(numbers) <= SEEDS_MAX:
        raise typer.BadParameter(
            f"{len(numbers)} seeds; 1 to {SEEDS_MAX} are possible", param_hint="--seeds"
        )
    return numbers


def _one_by_one(numbers: range, *, hours: float, trace: bool, quiet: bool) -> Iterator[SeedResult]:
    """Play seeds in this process."""
    show = partial(typer.echo, err=quiet) if trace else None
    stop = _Stop()
    with _handled_by(stop.heard):
        for number in numbers:
            result = run_seed(number, hours=hours, show=show, stopped=lambda: stop.wanted)
            if stop.wanted:  # too late for the seed to see
                raise KeyboardInterrupt
            yield result


class _Stop:
    """A stop that the simulation looks for: raised inside a callback, it might be caught there."""

    def __init__(self) -> None:
        self.wanted = False

    def heard(self, number: int, frame: FrameType | None) -> None:
        """Take note of the first; the next one ends whatever is running."""
        if self.wanted:
            signal.default_int_handler(number, frame)
        self.wanted = True


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have a polite stop take the way of Ctrl-C, so that no folder of a seed is left in memory."""
    before = {kind: signal.signal(kind, handler) for kind in STOPS}
    try:
        yield
    finally:
        for kind, handled in before.items():
            signal.signal(kind, handled)


def _shared_out(numbers: range, *, hours: float, workers: int) -> Iterator[SeedResult]:
    """Play each seed in a process of its own: what a killed guard leaves behind goes with it."""
    count = min(workers or os.cpu_count() or 1, WORKERS_MAX)
    with (
        _handled_by(signal.default_int_handler),
        seed_files(seeds=count) as place,
        _killer_of_children() as kill_children,
        ProcessPoolExecutor(count, max_tasks_per_child=1, initializer=_begin_worker) as pool,
    ):
        try:
            play = partial(run_seed, hours=hours, place=place)
            with _kept_from_children():
                played = deque(pool.submit(play, it) for it in numbers[:count])
            played.extend(pool.submit(play, it) for it in numbers[count:])
            while played:
                yield played.popleft().result()
        except BaseException:
            # None is cancelled: the pool would stumble over a cancelled one when its processes end.
            kill_children()  # their files are in our folder
            raise


@contextmanager
def _killer_of_children() -> Iterator[Callable[[], None]]:
    """Give what kills every process of the pool, those included that it starts until it is down."""
    down = Event()

    def kill_until_down() -> None:
        while True:
            for child in multiprocessing.active_children():
                child.kill()
            if down.wait(KILLED_EVERY_S):
                return

    killer = Thread(target=kill_until_down, name="killer", daemon=True)
    try:
        yield killer.start
    finally:
        down.set()
        if killer.ident is not None:
            killer.join()


@contextmanager
def _kept_from_children() -> Iterator[None]:
    """Keep stops from the processes that the pool starts, until each leaves them to us by itself.

    A terminal sends Ctrl-C to all of them, and one that is still starting would tell of it. The
    first ones, and the pool's thread that starts all others, inherit what is blocked here.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    """Leave stops, which all of a terminal get, to who shares the seeds out; end when it ends."""
    for kind in STOPS:
        signal.signal(kind, signal.SIG_IGN)
    Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(EXIT_FAILED)


def _line(result: SeedResult) -> str:
    speed = result.hours * 3600 / max(result.cpu_s, 1e-9)
    verdict = "passed" if result.passed else "FAILED"
    trades = result.counts.get("venue trade", 0)
    starts = result.counts.get("world start", 0)
    head = f"seed {result.seed:6} {result.weather:<9} {result.digest} {verdict}"
    told = f"{trades:4} trades, {starts:2} starts, {result.settled_s:3.0f} s to settle"
    lines = [f"{head}  {told}, {speed:4.0f} x real time"]
    lines += [f"    at {it.at_s:.3f} s: {it.rule}: {it.text}" for it in result.violations]
    lines += [f"    did not come right: {it}" for it in result.unsettled]
    if not result.passed:
        lines += [f"    | {line}" for line in result.newest[-NEWEST_SHOWN:]]
        again = f"--seed {result.seed} --hours {result.hours:.15g} --trace"
        lines.append(f"    its story: backstop storm {again}")
    return "\n".join(lines)
