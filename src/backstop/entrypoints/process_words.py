"""The command lines of our processes: ``VERB --option value … -- words of 'backstop run'``.

One look at a process list tells which is which: the verb is a word of its own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backstop.errors import SetupError

WATCHDOG = "watchdog"
GUARD = "guard"
SPARE = "spare"  # as long as GUARD: it is written over when the spare becomes the guard
REPORT = "crash-report"
ALERT = "watchdog-alert"

_END_OF_OPTIONS = "--"


class Words(NamedTuple):
    """What stands after a verb: our options, and what the user wrote after ``backstop run``."""

    options: Mapping[str, str]
    run: tuple[str, ...]

    def option(self, name: str) -> str:
        """Return one option.

        Raises:
            SetupError: somebody started this process by hand.
        """
        if name not in self.options:
            raise SetupError(
                f"{name} is missing: this part of Backstop is started by 'backstop run'."
            )
        return self.options[name]


def words(verb: str, options: Mapping[str, str], run: Sequence[str]) -> list[str]:
    """Return what stands after the program's name."""
    pairs = [word for name, value in options.items() for word in (name, value)]
    return [verb, *pairs, _END_OF_OPTIONS, *run]


def read_words(arguments: Sequence[str]) -> Words:
    """Return what ``words`` put together, from after the verb."""
    place = arguments.index(_END_OF_OPTIONS) if _END_OF_OPTIONS in arguments else len(arguments)
    before = arguments[:place]
    options = dict(zip(before[::2], before[1::2], strict=False))
    return Words(options=options, run=tuple(arguments[place + 1 :]))
