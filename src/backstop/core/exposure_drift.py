"""How far ranges of risk have moved since the sums of all others were brought to them."""

Range = tuple[int, int]
"""A family's risk if all its sells fill, and if all its buys do; micros, positive for long."""


class Drift:
    """The ranges that the sums still hold, of the families that are elsewhere by now.

    Attributes:
        told: by family, the range that the sums of all others hold of it.
        micros: how far all of them together are from there, each by its end that moved more.
    """

    __slots__ = ("micros", "told")

    def __init__(self) -> None:
        self.told: dict[str, Range] = {}
        self.micros = 0

    def note(self, family: str, before: Range, now: Range) -> None:
        """Take down that a range went from ``before`` to ``now``; back at its place it is none."""
        told = self.told.get(family, before)
        self.micros += _distance(told, now) - _distance(told, before)
        if now == told:
            self.told.pop(family, None)
        else:
            self.told[family] = told

    def forget(self) -> None:
        """Begin anew: the sums hold what is."""
        self.told.clear()
        self.micros = 0


def _distance(one: Range, other: Range) -> int:
    return max(abs(other[0] - one[0]), abs(other[1] - one[1]))
