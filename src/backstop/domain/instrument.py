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
        # Whole numbers, for a Decimal quotient is itself rounded, to 28 digits, before we round it.
        above, below = price.as_integer_ratio()
        tick_above, tick_below = self._tick_ratio
        down, rest = divmod(above * tick_below, below * tick_above)
        if not rest:
            return PriceTicks(down)
        match rounding:
            case Rounding.DOWN:
                return PriceTicks(down)
            case Rounding.UP:
                return PriceTicks(down + 1)
            case Rounding.NEAREST:
                return PriceTicks(round(Fraction(above * tick_below, below * tick_above)))

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
