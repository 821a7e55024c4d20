"""What the account holds while somebody dies: either side of one contract and of another."""

from decimal import Decimal
from typing import NamedTuple


class Held(NamedTuple):
    """A position that a story is about; its levels are far on either side of the market.

    Attributes:
        name: how it is called on the command line.
        symbol: the root of its contract.
        sign: +1 long, -1 short.
        below: a price that the market does not fall to; ``above``: nor rise to.
    """

    name: str
    symbol: str
    sign: int
    below: str
    above: str

    @property
    def entry(self) -> str:
        """The side of orders that open it."""
        return "BUY" if self.sign > 0 else "SELL"

    @property
    def exit(self) -> str:
        """The side of orders that close it."""
        return "SELL" if self.sign > 0 else "BUY"

    @property
    def exit_code(self) -> int:
        """The same as the venue's number."""
        return 1 if self.sign > 0 else 0

    @property
    def stop(self) -> str:
        """A level for its stop."""
        return self.below if self.sign > 0 else self.above

    @property
    def target(self) -> str:
        """A level for its profit target."""
        return self.above if self.sign > 0 else self.below

    def against(self, price: Decimal, away: Decimal) -> Decimal:
        """Return the level ``away`` points from ``price`` where the position loses."""
        return price - self.sign * away


MES = ("4000", "9000")
NQ = ("14000", "32000")

HELD = (
    Held("long-mes", "MES", 1, *MES),
    Held("short-nq", "NQ", -1, *NQ),
    Held("short-mes", "MES", -1, *MES),
    Held("long-nq", "NQ", 1, *NQ),
)
"""Repeats take them in turn, and so do the deaths of the short form."""
