"""The verb ``demo``: its options; the demonstration itself loads when it is called."""

from importlib import import_module
from typing import Annotated

import typer


def demo(
    *,
    once: Annotated[bool, typer.Option(help="Play the story once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Show what it does: a bot, a guard and a simulated venue on this machine."""
    code = import_module("backstop.entrypoints.demo").demo(once=once, as_json=as_json)
    raise typer.Exit(code or 0)
