"""The verbs of ``backstop``: one table; the code of a verb loads when it is called."""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Verb(NamedTuple):
    """One word after ``backstop``: its help, and where the function or group of it lives."""

    help: str
    module: str
    member: str


VERBS = {
    "demo": Verb("Show what it does: a bot, a guard and a simulated venue.", "demo_verb", "demo"),
    "run": Verb("Guard the account: connect, protect, serve the API.", "run_options", "run_verb"),
    "simulate": Verb(
        "Serve a local gateway that behaves like the real one.", "simulate", "simulate"
    ),
    "status": Verb("Show the running guard's state, gates and limits.", "reading", "status"),
    "positions": Verb("Show positions with their stops and targets.", "reading", "positions"),
    "exposure": Verb("Show risk dollars and the room of every limit.", "exposure", "exposure"),
    "bots": Verb("List the guard's bots, and say who may use its gateway.", "bots", "bots"),
    "validate": Verb("Ask the running guard whether an order would pass.", "reading", "validate"),
    "liquidate": Verb("Take the account flat: cancel, close, prove it.", "liquidate", "liquidate"),
    "alerts": Verb("Read and acknowledge alerts, and try whether they arrive.", "alerts", "alerts"),
    "halt": Verb("Stop new exposure until a person resumes.", "latches", "halt"),
    "resume": Verb("Let new exposure through again.", "latches", "resume"),
    "recover": Verb("Show what a start would do; sends nothing.", "recover", "recover"),
    "credentials": Verb(
        "Show where each credential comes from, try it, store it.", "credentials", "credentials"
    ),
    "doctor": Verb("Check whether this set-up is fit to trade on.", "doctor", "doctor"),
    "storm": Verb("Simulate the whole path from a seed, with its faults.", "storm", "storm"),
    "audit": Verb("Read the audit record of the state folder.", "audit", "audit"),
}


EPILOG = (
    "Exit codes: 0 good, 1 refused, not flat or tampered with, 2 unusable input or set-up. "
    "'backstop VERB --help' tells more, 'backstop --version' the version."
)


class _Deferred(TyperCommand):
    """A verb of which only the name and the help are loaded yet."""

    def __init__(self, name: str, verb: Verb) -> None:
        super().__init__(name=name, help=verb.help, rich_markup_mode=None)
        self._verb = verb

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Load the real command; from here on it is the one that is asked."""
        return self._load().make_context(info_name, args, parent=parent, **extra)

    def _load(self) -> Any:
        member = getattr(
            import_module(f"backstop.entrypoints.{self._verb.module}"), self._verb.member
        )
        if isinstance(member, typer.Typer):
            return typer.main.get_command(member)
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name=self.name)(member)  # with its docstring: the list has one line of it
        return typer.main.get_command(single)


def run(arguments: list[str]) -> int:
    """Run one verb; ends the process with its exit code where the command line does."""
    group = TyperGroup(
        name="backstop",
        help="The safety layer for live futures trading bots on ProjectX gateways.",
        commands={name: _Deferred(name, verb) for name, verb in VERBS.items()},
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.main(args=arguments, prog_name="backstop")
    return 0
