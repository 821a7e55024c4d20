"""The verb ``demo``: its options; the demonstration itself loads when it is called."""

from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from backstop.errors import SettingError


def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Play the story once and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON on the last line.")
    ] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="File of bars to replay instead of generated prices; repeat it."),
    ] = None,
    day: Annotated[
        datetime | None,
        typer.Option(
            "--date", "--day", formats=["%Y-%m-%d"], help="Trade date of the data to begin with."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of generated prices and of latencies.")] = 7,
) -> None:
    """Show what it does: a bot, a guard and a simulated venue on this machine."""
    if day is not None and not data:
        raise SettingError("--date", "there is no data to begin in", "a date together with --data")
    code = import_module("backstop.entrypoints.demo.run").run_demo(
        once=once,
        as_json=as_json,
        data=tuple(data or ()),
        day=None if day is None else day.date(),
        seed=seed,
    )
    raise typer.Exit(code)
