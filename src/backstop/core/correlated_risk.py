"""The one formula of limits L1 and L2, on whole numbers: same bets add, half of a hedge counts.

Why the worst case over all pending orders needs no search: for one family on one side the sum
only grows with its own size (slope at least a half), grows with every same bet and falls with
every hedge, and each other family enters through its own orders alone. So the largest sum over
every subset of fills is found by taking each family at its own worst end; and since that end is
an outcome that can happen, the bound is exact. A hedge is taken at its smallest over that range,
so an order that has not filled never hedges, and one that could close a hedge already has.
"""

from enum import StrEnum

from backstop.core.correlation import PairWeight
from backstop.core.instrument_table import PPM


class Direction(StrEnum):
    """The side of a bet."""

    LONG = "LONG"
    SHORT = "SHORT"


def worst_contribution(
    weight: PairWeight, direction: Direction, low_micros: int, high_micros: int
) -> int:
    """Return what another family does, at its worst, to one that bets in ``direction``.

    Args:
        weight: the pair's weight.
        direction: the side of the family that is judged.
        low_micros: the other family's risk if all its sells fill, positive for long.
        high_micros: the same if all its buys fill.

    Returns:
        Micros times parts per million: positive adds, negative is a hedge before halving.
    """
    if direction is Direction.SHORT:
        low_micros, high_micros = -high_micros, -low_micros
    # Linear on either side of zero, and no pair is a hedge on both: flat is never worse than
    # the worse of the two ends.
    return max(_contribution(weight, low_micros), _contribution(weight, high_micros))


def worst_contributions(weight: PairWeight, low_micros: int, high_micros: int) -> tuple[int, int]:
    """Return ``worst_contribution`` to a long bet and to a short one, as walks of all need them."""
    same, opposite = weight.same_side_ppm, weight.opposite_side_ppm
    low_adds = same * low_micros if low_micros >= 0 else -opposite * low_micros
    high_adds = same * high_micros if high_micros >= 0 else -opposite * high_micros
    low_turned = -same * low_micros if low_micros <= 0 else opposite * low_micros
    high_turned = -same * high_micros if high_micros <= 0 else opposite * high_micros
    return max(low_adds, high_adds), max(low_turned, high_turned)


def _contribution(weight: PairWeight, micros: int) -> int:
    if micros >= 0:
        return weight.same_side_ppm * micros
    return weight.opposite_side_ppm * -micros


def correlated_micros(own_micros: int, adds: int, hedges: int) -> int:
    """Return |own| + same bets - half the hedges, these at most half of |own|; rounded up.

    Args:
        own_micros: size of the judged family's risk, not negative; 0 is no bet and gives 0.
        adds: sum of the positive contributions, micros times parts per million.
        hedges: sum of the negative contributions as a positive number.
    """
    if own_micros == 0:
        return 0
    doubled = 2 * (PPM * own_micros + adds) - min(hedges, PPM * own_micros)
    return -(-doubled // (2 * PPM))
