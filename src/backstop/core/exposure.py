"""Risk dollars: what each family could lose on a one-sigma day, whichever pending orders fill.

Everything here is whole numbers. A family's risk is its net position in units (contracts of the
family's smallest size) times the risk of one unit in millionths of a dollar. Pending orders make
of the position a range, from the net if every sell fills to the net if every buy fills; stop and
target legs up to the position are not part of it, because they only take risk away.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from backstop.core.instrument_table import PPM, contract_profile, family_profile
from backstop.domain.denial import DenialCode
from backstop.errors import DomainError


class LimitName(StrEnum):
    """The four limits of correlation and concentration protection."""

    CORRELATION = "CORRELATION"  # L1: a family with all that moves with it
    ES_NQ_COMBINED = "ES_NQ_COMBINED"  # L2: the same over ES and NQ alone
    DIRECTIONAL = "DIRECTIONAL"  # L3: all longs, all shorts
    GROSS = "GROSS"  # L4: everything, whatever its side

    @property
    def denial_code(self) -> DenialCode:
        """The code with which this limit refuses an order."""
        return _DENIAL_CODES[self]


_DENIAL_CODES = {
    LimitName.CORRELATION: DenialCode.CORRELATION_EXPOSURE,
    LimitName.ES_NQ_COMBINED: DenialCode.ES_NQ_COMBINED_EXPOSURE,
    LimitName.DIRECTIONAL: DenialCode.CONCENTRATION_DIRECTIONAL,
    LimitName.GROSS: DenialCode.GROSS_EXPOSURE,
}


class ExposureLimits(Struct, frozen=True, kw_only=True):
    """The limits in millionths of risk dollars; each at least 1."""

    correlation_micros: int
    es_nq_combined_micros: int
    directional_micros: int
    gross_micros: int

    def __post_init__(self) -> None:
        """Refuse a limit that is not positive: it would be a switch, and a hidden one."""
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise DomainError(f"{name} is {getattr(self, name)}; a limit is at least 1.")


class FamilyExposure(Struct, frozen=True, kw_only=True):
    """One family's position and what pending orders may make of it.

    Attributes:
        family: the underlying, ``ES``.
        unit_risk_micros: risk of one unit, millionths of a dollar; None when no price is known.
        filled_units: the net position, positive for long.
        net_if_buys_fill_units: the net if every buy that could fill does, and no sell.
        net_if_sells_fill_units: the net if every sell that could fill does, and no buy.
    """

    family: str
    unit_risk_micros: int | None
    filled_units: int = 0
    net_if_buys_fill_units: int = 0
    net_if_sells_fill_units: int = 0

    def __post_init__(self) -> None:
        """Refuse a range that does not hold the position: it would hide risk."""
        if not self.net_if_sells_fill_units <= self.filled_units <= self.net_if_buys_fill_units:
            raise DomainError(
                f"{self.family}: the net is {self.filled_units} units, outside of its range "
                f"{self.net_if_sells_fill_units} to {self.net_if_buys_fill_units}."
            )
        if self.unit_risk_micros is not None and self.unit_risk_micros < 1:
            raise DomainError(
                f"{self.family}: a unit's risk is {self.unit_risk_micros} micros; at least 1, "
                "or None when it is not known."
            )

    @property
    def is_flat(self) -> bool:
        """No position and nothing that could become one."""
        return self.net_if_buys_fill_units == 0 == self.net_if_sells_fill_units

    @property
    def worst_long_micros(self) -> int:
        """Largest long risk that pending orders can lead to; 0 if none, or if no price is known."""
        return max(0, self.net_if_buys_fill_units) * (self.unit_risk_micros or 0)

    @property
    def worst_short_micros(self) -> int:
        """Largest short risk, as a positive number; 0 if none, or if no price is known."""
        return max(0, -self.net_if_sells_fill_units) * (self.unit_risk_micros or 0)


class Holding(Struct, frozen=True, kw_only=True):
    """What one contract month contributes to its family.

    Attributes:
        symbol: the exchange's root, ``MES``.
        price: last known price, points; None when none is known.
        point_value_micros: from the gateway's contract row.
        filled: net position in contracts, positive for long.
        pending_buys: contracts of all buys that could fill: working, in flight and UNKNOWN, and by
            how many more contracts than ``filled`` the position may be long already.
        pending_sells: the same for sells; legs up to the position left out of both.
        contract_id: the month; empty in examples.
    """

    symbol: str
    price: Decimal | None
    point_value_micros: int
    filled: int = 0
    pending_buys: int = 0
    pending_sells: int = 0
    contract_id: str = ""


def unit_risk_micros(
    symbol: str, *, price: Decimal | None, point_value_micros: int, sigma_ppm: int
) -> int | None:
    """Return the risk of one unit of the family of ``symbol``, or None without a usable price.

    Args:
        symbol: the exchange's root that the price and the point value belong to.
        price: points; its size counts, and at least the family's price floor.
        point_value_micros: millionths of a dollar per point of one contract of ``symbol``.
        sigma_ppm: daily volatility, parts per million.

    Returns:
        Millionths of a dollar, rounded up: price x point value x volatility / units.
    """
    contract = contract_profile(symbol)
    if price is None or not price.is_finite():
        return None
    floor = family_profile(contract.family).price_floor
    if price <= 0 and floor == 0:
        return None
    numerator, denominator = max(abs(price), floor).as_integer_ratio()
    whole = numerator * point_value_micros * sigma_ppm
    return -(-whole // (denominator * contract.units * PPM))


def sigma_of(symbol: str, sigma_ppm: Mapping[str, int]) -> int:
    """Return what ``sigma_ppm`` says of the family of ``symbol``; of others, the stress value."""
    family = contract_profile(symbol).family
    sigma = sigma_ppm.get(family)
    return family_profile(family).stress_volatility_ppm if sigma is None else sigma


def family_exposures(
    holdings: Iterable[Holding], sigma_ppm: Mapping[str, int]
) -> tuple[FamilyExposure, ...]:
    """Return the exposure of each family in ``holdings``, in the order of their names.

    All contracts of a family are counted in its units at one risk per unit, the largest that any
    of its prices gives, so that a mini and ten micros cancel exactly.

    Args:
        holdings: what is held, pending or about to be ordered; several months of a root may come.
        sigma_ppm: daily volatility by family; a family that is absent counts at its stress value.
    """
    risks: dict[str, int | None] = {}
    filled: dict[str, int] = {}
    buys: dict[str, int] = {}
    sells: dict[str, int] = {}
    for holding in holdings:
        if holding.pending_buys < 0 or holding.pending_sells < 0:
            raise DomainError(f"{holding.symbol}: pending quantities are never negative.")
        contract = contract_profile(holding.symbol)
        family = contract.family
        risk = unit_risk_micros(
            holding.symbol,
            price=holding.price,
            point_value_micros=holding.point_value_micros,
            sigma_ppm=sigma_of(holding.symbol, sigma_ppm),
        )
        risks[family] = max(risks.get(family) or 0, risk or 0) or None
        filled[family] = filled.get(family, 0) + holding.filled * contract.units
        buys[family] = buys.get(family, 0) + holding.pending_buys * contract.units
        sells[family] = sells.get(family, 0) + holding.pending_sells * contract.units
    return tuple(
        FamilyExposure(
            family=family,
            unit_risk_micros=risks[family],
            filled_units=filled[family],
            net_if_buys_fill_units=filled[family] + buys[family],
            net_if_sells_fill_units=filled[family] - sells[family],
        )
        for family in sorted(risks)
    )


def dollars(micros: int) -> str:
    """Return ``micros`` as dollars and cents, rounded up, so that a breach never looks even."""
    cents = -(-micros // 10_000)
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"
