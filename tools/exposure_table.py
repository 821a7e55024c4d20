"""Prints the worked table of docs/reference/correlation-protection.md from the code that decides.

Run ``python tools/exposure_table.py --write`` to renew it; a test holds the page to it.
"""

import sys
from decimal import Decimal
from pathlib import Path

from backstop.app.exposure_limits import exposure_limits
from backstop.core.correlation import CorrelationView
from backstop.core.correlation_protection import check_order, evaluate
from backstop.core.exposure import (
    FamilyExposure,
    Holding,
    LimitName,
    dollars,
    family_exposures,
)
from backstop.core.instrument_table import CONTRACTS, FAMILIES
from backstop.domain.order import Side

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "correlation-protection.md"
PRICES = {"ES": Decimal(6000), "NQ": Decimal(21000)}
SIGMA_PPM = {"ES": 10_000, "NQ": 14_000}
LIMITS = exposure_limits(
    risk_budget=Decimal(10_000),
    max_correlation_exposure=Decimal("0.7"),
    es_nq_max_combined_exposure=Decimal(5000),
    max_directional_share=Decimal("0.5"),
)

# Held contracts, correlation (None: not measured), order.
ORDERS: tuple[tuple[dict[str, int], float | None, str, Side, int], ...] = (
    ({}, None, "ES", Side.BUY, 1),
    ({}, None, "ES", Side.BUY, 2),
    ({}, None, "MES", Side.BUY, 16),
    ({}, None, "MES", Side.BUY, 17),
    ({}, None, "NQ", Side.BUY, 1),
    ({}, None, "MNQ", Side.BUY, 8),
    ({}, None, "MNQ", Side.BUY, 9),
    ({"ES": 1}, 0.85, "MNQ", Side.BUY, 4),
    ({"ES": 1}, 0.95, "MNQ", Side.BUY, 4),
    ({"ES": 1}, None, "MNQ", Side.BUY, 4),
    ({"ES": 1}, 0.85, "NQ", Side.SELL, 1),
    ({"ES": 1}, None, "NQ", Side.SELL, 1),
    ({"ES": 1, "NQ": -1}, 0.85, "NQ", Side.BUY, 1),
)


def exposures(held: dict[str, int]) -> tuple[FamilyExposure, ...]:
    """Return ES and NQ, mini and micro, at the example's prices."""
    return family_exposures(
        [
            Holding(
                symbol=symbol,
                price=PRICES[profile.family],
                point_value_micros=profile.point_value_micros or 0,
                filled=held.get(symbol, 0),
            )
            for symbol, profile in CONTRACTS.items()
            if profile.family in PRICES
        ],
        SIGMA_PPM,
    )


def worked_table() -> str:
    """Return the table of orders and what becomes of them."""
    lines = [
        "| held | correlation | order | decision | value | limit | largest that passes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for held, correlation, symbol, side, quantity in ORDERS:
        order = (symbol, side, quantity)
        view = (
            CorrelationView()
            if correlation is None
            else CorrelationView.measured({("ES", "NQ"): correlation})
        )
        refused = check_order(
            exposures(held), view, LIMITS, symbol=symbol, side=side, quantity=quantity
        )
        cells = [
            ", ".join(f"{count:+d} {root}" for root, count in held.items()) or "nothing",
            "not measured" if correlation is None else f"{correlation:.2f}",
            f"{side} {quantity} {symbol}",
        ]
        if not refused:
            lines.append(f"| {' | '.join(cells)} | passes | {_values(held, view, *order)} |")
        lines += [
            f"| {' | '.join(cells)} | `{denial.code}` | {denial.value} | {denial.limit} "
            f"| {denial.max_quantity} |"
            for denial in refused
        ]
    return "\n".join(lines)


def _values(
    held: dict[str, int], view: CorrelationView, symbol: str, side: Side, quantity: int
) -> str:
    """Return what ES and NQ come to once the order has filled, the limit on them, and no bound."""
    after = {**held, symbol: held.get(symbol, 0) + side.sign * quantity}
    values = [
        f"{it.subject} {dollars(it.value_micros)}"
        for it in evaluate(exposures(after), view, LIMITS).readings
        if it.limit is LimitName.ES_NQ_COMBINED and it.value_micros
    ]
    return f"{', '.join(values)} | {dollars(LIMITS.es_nq_combined_micros)} | "


def risk_table() -> str:
    """Return what one contract of the example carries."""
    lines = ["| contract | risk dollars |", "| --- | --- |"]
    risks = {one.family: one.unit_risk_micros or 0 for one in exposures({})}
    for symbol, profile in CONTRACTS.items():
        if profile.family in risks:
            lines.append(f"| {symbol} | {dollars(risks[profile.family] * profile.units)} |")
    return "\n".join(lines)


def family_table() -> str:
    """Return the volatility bounds of every family with their reasons."""
    lines = [
        "| family | contracts | floor % | stress % | price floor | why |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for profile in FAMILIES.values():
        roots = ", ".join(one.symbol for one in CONTRACTS.values() if one.family == profile.family)
        floor, stress = (
            Decimal(ppm).scaleb(-4).normalize()
            for ppm in (profile.volatility_floor_ppm, profile.stress_volatility_ppm)
        )
        price_floor = profile.price_floor or ""
        lines.append(
            f"| {profile.family} | {roots} | {floor:f} | {stress:f} | {price_floor} "
            f"| {profile.reason} |"
        )
    return "\n".join(lines)


TABLES = {"risk": risk_table, "worked": worked_table, "families": family_table}


def renewed(page: str) -> str:
    """Return ``page`` with every generated table replaced by what the code says now."""
    for name, table in TABLES.items():
        start, end = f"<!-- begin generated: {name} -->", f"<!-- end generated: {name} -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}\n{table()}\n{end}{after}"
    return page


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(table() for table in TABLES.values()))
