"""`backstop storm`: the whole path simulated from one seed, with a line for each.

Needs no account, no network and no settings: everything is in this process, and its time is
virtual.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Annotated

import msgspec
import typer

from backstop.storm.seed_run import SeedResult, run_seed

EXIT_GOOD, EXIT_FAILED, EXIT_UNUSABLE = 0, 1, 2

SEEDS_MAX = 1_000_000
"""More than a machine gets through in a year."""

NEWEST_SHOWN = 12
"""Of a failed seed: how the story ended."""


def storm(  # noqa: PLR0917 - options of the command line, given by name
    seeds: Annotated[str, typer.Option(help="First seed and the one after the last: 0:1000.")] = "",
    seed: Annotated[int | None, typer.Option(help="One seed alone.")] = None,
    hours: Annotated[float, typer.Option(help="Simulated hours of each seed.")] = 1.0,
    trace: Annotated[bool, typer.Option(help="Tell the story of the seed.")] = False,  # noqa: FBT002
    workers: Annotated[
        int, typer.Option(help="Processes; 0: as many as there are processors.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a seed.")] = False,  # noqa: FBT002
) -> None:
    """Simulate guard, venue, network, disk and clock, and ask after safety and liveness.

    Ends with 0 when every seed passed, 1 when one did not.
    """
    numbers = _numbers(seeds, seed)
    if not hours > 0:
        raise typer.BadParameter("more than 0 hours are needed", param_hint="--hours")
    failed = 0
    for result in _results(numbers, hours=hours, trace=trace, workers=workers):
        failed += not result.passed
        typer.echo(msgspec.json.encode(result).decode() if as_json else _line(result))
    if not as_json:
        typer.echo(f"{len(numbers)} seeds, {failed} failed")
    raise typer.Exit(EXIT_FAILED if failed else EXIT_GOOD)


def _numbers(seeds: str, seed: int | None) -> range:
    if seed is not None:
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


def _results(numbers: range, *, hours: float, trace: bool, workers: int) -> Iterator[SeedResult]:
    if trace or len(numbers) == 1:
        show = partial(typer.echo, err=False) if trace else None
        for number in numbers:
            yield run_seed(number, hours=hours, show=show)
        return
    # A process for each seed: what a killed guard leaves behind is gone with it.
    count = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(max_workers=count, max_tasks_per_child=1) as pool:
        yield from pool.map(partial(run_seed, hours=hours), numbers)


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
        lines.append(
            f"    its story: backstop storm --seed {result.seed} --hours {result.hours:g} --trace"
        )
    return "\n".join(lines)
