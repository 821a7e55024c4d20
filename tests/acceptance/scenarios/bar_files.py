"""Markets with a past that a test decides: bar files in which families move together as it says.

Each family stands still from the start of the simulation on, so that risk dollars are round: its
past is so calm that its volatility counts at its floor. Places are five-minute bars, 0 the first
one that is played, -1 the last one of the past.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

from msgspec import Struct

PAST_DAY, PLAYED_DAY = date(2026, 1, 5), date(2026, 1, 6)
FIRST_PLAYED = datetime(2026, 1, 6, tzinfo=UTC)

DAY_BARS = 288
PAST_DAYS = 75
"""More sessions than the simulator would invent: all of the past is what the test says."""

CALM = 0.00015
"""Standard deviation of a five-minute return: a quarter of a percent a day, below every floor."""


class Family(Struct, frozen=True, kw_only=True):
    """One family, the price at which its past ends, and dollars of one micro at its floor."""

    name: str
    price: Decimal
    tick: Decimal
    micro_risk: Decimal


ES = Family(name="ES", price=Decimal(5000), tick=Decimal("0.25"), micro_risk=Decimal(125))
NQ = Family(name="NQ", price=Decimal(20_000), tick=Decimal("0.25"), micro_risk=Decimal(280))
RTY = Family(name="RTY", price=Decimal(2000), tick=Decimal("0.1"), micro_risk=Decimal(80))
"""5000 x 5 x 0.5 %, 20000 x 2 x 0.7 %, and 2000 x 5 x 0.8 %."""

Returns = Mapping[int, float]
"""The return of each bar of the past by its place; a place that is missing has no bar."""


def moving_together(days: int, *loadings: tuple[float, ...]) -> list[dict[int, float]]:
    """Return the last ``days`` of each family, each a sum of the same independent shocks.

    Args:
        days: of bars without a hole, up to the start.
        loadings: of one family each: how much it has of each shock; their squares add up to one.
    """
    chance = Random(17)  # noqa: S311 - a market, not a secret
    moves: list[dict[int, float]] = [{} for _ in loadings]
    for place in range(-days * DAY_BARS, 0):
        shocks = [chance.gauss(0, CALM) for _ in max(loadings, key=len)]
        for family, shares in zip(moves, loadings, strict=True):
            family[place] = sum(it * shock for it, shock in zip(shares, shocks, strict=False))
    return moves


def two(correlation: float, *, days: int = 4) -> list[dict[int, float]]:
    """Return the past of two families with one correlation."""
    return moving_together(days, (1.0,), (correlation, math.sqrt(1 - correlation**2)))


def written(folder: Path, past: Mapping[str, Returns]) -> tuple[Path, ...]:
    """Write one file for each family named in ``past``; return them."""
    families = {it.name: it for it in (ES, NQ, RTY)}
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, returns in past.items():
        path = folder / f"{name}.csv"
        path.write_text("".join(_lines(families[name], returns)), encoding="utf-8")
        files.append(path)
    return tuple(files)


def _lines(family: Family, returns: Returns) -> Iterator[str]:
    yield "ts_utc,trade_date,open,high,low,close,volume\n"
    price = family.price
    closes: dict[int, Decimal] = {}
    first = min(returns)
    for place in sorted(returns, reverse=True):
        closes[place] = price
        price = _rounded(price / Decimal(math.exp(returns[place])), family.tick)
    days_before = range(-PAST_DAYS * DAY_BARS, first - DAY_BARS, DAY_BARS)
    closes |= dict.fromkeys(days_before, price)
    closes |= dict.fromkeys(range(DAY_BARS), family.price)
    before = price
    for place in sorted(closes):
        close = closes[place]
        moment = FIRST_PLAYED + timedelta(minutes=5 * place)
        day = PLAYED_DAY if place >= 0 else PAST_DAY
        high, low = max(before, close), min(before, close)
        yield f"{moment.isoformat()},{day},{before},{high},{low},{close},100\n"
        before = close


def _rounded(price: Decimal, tick: Decimal) -> Decimal:
    return round(price / tick) * tick
