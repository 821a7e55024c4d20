"""Futures contracts: identity, tick arithmetic, value of a tick."""

from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import NewType

from msgspec import Struct

from backstop.errors import OffTickError

PriceTicks = NewType("PriceTicks", int)
"""A price as a whole number of ticks of its instrument; may be negative."""

PRICE_LIMIT_TICKS = 1_000_000_000
"""No contract trades this far from zero; a larger number is a wrong unit, not a price."""

PRICE_DECIMALS_MAX = 18
"""The finest tick has seven decimals; a double printed in full has no more than this."""

LEVELS_KEPT = 4096
"""Levels of one contract whose ticks are remembered: a day's range has a few hundred."""


class Rounding(StrEnum):
    """Which way a price between two ticks goes."""

    DOWN = "DOWN"
    UP = "UP"
    NEAREST = "NEAREST"


class Instrument(Struct, frozen=True, kw_only=True, dict=True):
    """One futures contract month; prices inside the package are whole ticks of it.

    Attributes:
        contract_id: the gateway's id, ``CON.F.US.MES.Z26``; opaque when trading.
        symbol: the exchange's root as a trader says it, ``ES``, ``MES``, ``CL``.
        name: root, month code and one year digit, ``MESZ6``.
        tick_size: price points in one tick: 0.25 for MES.
        tick_value_micros: millionths of a dollar a tick is worth for one contract: cents cannot
            hold ZN's 15.625 USD.
        active: the venue accepts orders for this month.
    """

    contract_id: str
    symbol: str
    name: str
    tick_size: Decimal
    tick_value_micros: int
    active: bool = True

    def price_ticks(self, price: Decimal) -> PriceTicks:
        """Return ``price`` (price points) in whole ticks, or raise OffTickError."""
        ticks, off_by = divmod(price, self.tick_size)
        if off_by:
            raise OffTickError(self.symbol, price, self.tick_size)
        return PriceTicks(int(ticks))

    def rounded_ticks(self, price: Decimal, rounding: Rounding) -> PriceTicks:
        """Return ``price`` (price points) in ticks, rounded the way ``rounding`` says."""
        known = self.known_levels.get(price)
        if known is not None:
            return known
        # Whole numbers, for a Decimal quotient is itself rounded, to 28 digits, before we round it.
        above, below = price.as_integer_ratio()
        tick_above, tick_below = self._tick_ratio
        down, rest = divmod(above * tick_below, below * tick_above)
        if not rest:
            self._remember(price, PriceTicks(down), below)
            return PriceTicks(down)
        match rounding:
            case Rounding.DOWN:
                return PriceTicks(down)
            case Rounding.UP:
                return PriceTicks(down + 1)
            case Rounding.NEAREST:
                return PriceTicks(round(Fraction(above * tick_below, below * tick_above)))

    @cached_property
    def known_levels(self) -> dict[Decimal, PriceTicks]:
        """Prices on the tick that were asked for before, with their ticks.

        The same prices come again and again, and arithmetic on a Decimal costs more than any rule.
        Each of them lies within a billion ticks of zero, and has no more decimals than a price may.
        """
        return {}

    def _remember(self, price: Decimal, ticks: PriceTicks, denominator: int) -> None:
        levels = self.known_levels
        if len(levels) >= LEVELS_KEPT:
            levels.clear()
        if abs(ticks) <= PRICE_LIMIT_TICKS and not 10**PRICE_DECIMALS_MAX % denominator:
            levels[price] = ticks

    @cached_property
    def _tick_ratio(self) -> tuple[int, int]:
        return self.tick_size.as_integer_ratio()

    def price(self, ticks: int) -> Decimal:
        """Return the price in points that ``ticks`` stands for, exactly."""
        return ticks * self.tick_size

    @property
    def point_value_micros(self) -> int:
        """Millionths of a dollar that one full point is worth for one contract, rounded up."""
        return int((self.tick_value_micros / self.tick_size).to_integral_value(ROUND_CEILING))
