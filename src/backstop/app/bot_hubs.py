"""The hubs that bots listen to, as the guard behind them shows them in its numbers."""

from collections.abc import Mapping
from typing import Protocol


class BotHub(Protocol):
    """One hub of a gateway in front of the guard."""

    @property
    def name(self) -> str:
        """``user`` or ``market``."""

    @property
    def connected(self) -> int:
        """Connections that are open."""

    @property
    def misuse(self) -> Mapping[str, int]:
        """What clients were refused, were ended for, or got less of, by word; since the start."""
