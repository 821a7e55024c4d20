"""The market of the storm: one price for each family, quick, and wild where the seed says so."""

from random import Random

from backstop.simulator.contracts import Listing


class Market:
    """The price of one family: a walk in ticks, told for each of its contracts."""

    def __init__(
        self, chance: Random, family: str, contracts: list[Listing], ids: list[str], ticks: int
    ) -> None:
        self.ticks = ticks
        self.family = family
        self.contracts = [*zip(contracts, ids, strict=True)]
        self._chance = chance

    def step(self, wildness: float) -> None:
        """Move on: mostly by a tick or two, now and then by a jump."""
        roll = self._chance.random()
        reach = 1 if roll < 0.7 else 3  # noqa: PLR2004 - the shape of the walk
        if roll > 1.0 - 0.002 * wildness:
            reach = int(20 + 60 * wildness)  # a gap, far through a stop
        self.jump(reach)

    def jump(self, reach: int) -> None:
        """Move by up to so many ticks."""
        self.ticks = max(1000, self.ticks + self._chance.randint(-reach, reach))
