"""Draws how the estimates reacted on stress days, from recorded prices, as a picture for the docs.

Run ``python tools/stress_plot.py [--data FOLDER] --write``. The picture holds what the estimators
made of the prices at the end of each day, and no price. Where there is no data it is left as it is.
"""

import argparse
import csv
import gzip
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from backstop.core.bars import BAR_US, Bar
from backstop.core.correlation_estimator import CorrelationEstimator
from backstop.core.volatility import VolatilityEstimator

REPO = Path(__file__).parents[1]
PICTURE = REPO / "docs" / "reference" / "stress-days.svg"
SET = "m5_es_nq_rty_ym_cl_2024-02_2026-03"
FIRST, LAST = "2025-03-12", "2025-05-16"
"""The weeks around the falls of April 2025, with calm days on either side."""

WIDTH, HEIGHT, LEFT, TOP, GAP = 720, 200, 56, 34, 60
NEAR_ONE, LOWEST_CORRELATION = 1.0, 0.7
COLOURS = {"ES": "#1f5fa8", "NQ": "#b3541e", "day": "#8a8a8a"}


class Day(NamedTuple):
    """What was estimated at the end of one trade date, and what the day itself was."""

    date: str
    sigma_percent: dict[str, float]
    correlation: float
    of_day: float


def recorded(folder: Path, family: str) -> Iterator[Bar]:
    """Yield the five-minute bars of one family."""
    with gzip.open(folder / f"{family}.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            yield Bar(
                family=family,
                contract_id=row["contract"],
                trade_date=row["trade_date"],
                start_utc_us=int(datetime.fromisoformat(row["ts_utc"]).timestamp()) * 1_000_000,
                close=Decimal(row["close"]),
            )


def days(folder: Path) -> list[Day]:
    """Return every trade date from ``FIRST`` to ``LAST``, after all that came before."""
    with (folder.parent / "days.csv").open() as file:
        table = {
            row["trade_date"]: float(row["corr"])
            for row in csv.DictReader(file)
            if row["dataset"] == folder.name and row["corr"]
        }
    bars = [bar for family in ("ES", "NQ") for bar in recorded(folder, family)]
    bars = sorted(
        (bar for bar in bars if bar.trade_date <= LAST), key=lambda it: (it.start_utc_us, it.family)
    )
    correlation = CorrelationEstimator(["ES", "NQ"])
    volatility = {family: VolatilityEstimator(family) for family in ("ES", "NQ")}
    found: list[Day] = []
    for bar, following in zip(bars, [*bars[1:], None], strict=True):
        correlation.on_bar(bar)
        volatility[bar.family].on_bar(bar)
        if following is not None and following.trade_date == bar.trade_date:
            continue
        now_us = bar.start_utc_us + BAR_US
        value = correlation.view(now_us).correlation("ES", "NQ").value
        if bar.trade_date >= FIRST and value is not None and bar.trade_date in table:
            found.append(
                Day(
                    date=bar.trade_date,
                    sigma_percent={
                        family: held.volatility(now_us).sigma_ppm / 10_000
                        for family, held in volatility.items()
                    },
                    correlation=value,
                    of_day=table[bar.trade_date],
                )
            )
    return found


def picture(shown: Sequence[Day]) -> str:
    """Return two panels as SVG: volatilities above, correlation below."""
    top = max(max(day.sigma_percent.values()) for day in shown) * 1.1
    height = TOP + 2 * HEIGHT + GAP + 40
    below = TOP + HEIGHT + GAP
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="12">'
        ),
        (
            "<title>Volatility and correlation of ES and NQ in spring 2025, at the end of each "
            "trade date</title>"
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_panel("daily volatility, per cent", TOP, 0, top),
        *_panel("correlation of ES and NQ", below, LOWEST_CORRELATION, NEAR_ONE),
    ]
    for family in ("ES", "NQ"):
        values = [day.sigma_percent[family] for day in shown]
        lines.append(_line(values, TOP, 0, top, COLOURS[family]))
    running = [day.correlation for day in shown]
    lines.append(_line(running, below, LOWEST_CORRELATION, NEAR_ONE, COLOURS["ES"]))
    lines += [
        f'<circle cx="{_x(n, len(shown)):.1f}" '
        f'cy="{_y(day.of_day, below, LOWEST_CORRELATION, NEAR_ONE):.1f}" r="2.5" '
        f'fill="{COLOURS["day"]}"/>'
        for n, day in enumerate(shown)
    ]
    lines += [
        f'<text x="{_x(n, len(shown)):.1f}" y="{height - 12}" text-anchor="middle">'
        f"{day.date[5:]}</text>"
        for n, day in enumerate(shown)
        if n % 4 == 0
    ]
    legend = (
        ("ES", TOP - 14, COLOURS["ES"], 470),
        ("NQ", TOP - 14, COLOURS["NQ"], 510),
        ("running estimate", below - 14, COLOURS["ES"], 470),
        ("the day alone", below - 14, COLOURS["day"], 590),
    )
    lines += [
        f'<text x="{x}" y="{y}" fill="{colour}">{text}</text>' for text, y, colour, x in legend
    ]
    return "\n".join([*lines, "</svg>", ""])


def _panel(title: str, top: int, low: float, high: float) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="{top - 14}" font-weight="bold">{title}</text>'
    for n in range(5):
        value = low + (high - low) * n / 4
        y = _y(value, top, low, high)
        yield (
            f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        )


def _line(values: Sequence[float], top: int, low: float, high: float, colour: str) -> str:
    points = " ".join(
        f"{_x(n, len(values)):.1f},{_y(value, top, low, high):.1f}"
        for n, value in enumerate(values)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _x(number: int, count: int) -> float:
    return LEFT + 10 + (WIDTH - LEFT - 40) * number / max(1, count - 1)


def _y(value: float, top: int, low: float, high: float) -> float:
    return top + HEIGHT * (1 - (value - low) / (high - low))


def main() -> None:
    """Draw the picture, or say what it would show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = os.environ.get("BACKSTOP_TEST_DATA", REPO.parent / "shared" / "data")
    parser.add_argument(
        "--data", type=Path, default=Path(known), help="the folder of recorded data"
    )
    parser.add_argument("--write", action="store_true", help="renew the picture")
    options = parser.parse_args()
    shown = days(options.data / "market" / SET)
    if options.write:
        PICTURE.write_text(picture(shown), encoding="utf-8")
    for day in shown:
        print(
            day.date, *(f"{it:.2f}" for it in day.sigma_percent.values()), f"{day.correlation:.3f}"
        )


if __name__ == "__main__":
    main()
