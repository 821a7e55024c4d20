"""Who hears of steps: of each as it is taken, as it is let go, and of its fact once on disk."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from backstop.domain.events import Fact


class StepFollower(Protocol):
    """Sees the book exactly as each fact left it, which the book shows for a moment only."""

    def stepped(self, fact: Fact, number: int) -> None:
        """See the book right after ``fact``, the step with this number; nothing may leave yet."""

    def released(self, number: int) -> None:
        """Hear that the steps up to this number are on disk: what they brought may leave."""


class Followers:
    """Calls them all, in the order in which they came.

    One that fails is told of and called again: nobody who follows can stop the guard.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[Fact], None]] = []
        self._followers: list[StepFollower] = []

    def listen(self, listener: Callable[[Fact], None]) -> None:
        """Have ``listener`` hear each fact once it was let go."""
        self._listeners.append(listener)

    def follow(self, follower: StepFollower) -> None:
        """Have ``follower`` see each step, and hear when it is let go."""
        self._followers.append(follower)

    def stepped(self, fact: Fact, number: int) -> None:
        """Tell of the step that was just taken."""
        for follower in self._followers:
            _contained(partial(follower.stepped, fact, number), follower)

    def released(self, number: int) -> None:
        """Tell how many steps were let go by now."""
        for follower in self._followers:
            _contained(partial(follower.released, number), follower)

    def heard(self, fact: Fact) -> None:
        """Tell of a fact whose step was let go."""
        for listener in self._listeners:
            _contained(partial(listener, fact), listener)


def _contained(call: Callable[[], None], whose: object) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - a bug of whoever follows, made loud
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"{whose!r} failed at a step", "exception": error}
        )
