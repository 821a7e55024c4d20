"""The estimators on recorded prices of real days, where the data folder is present."""

import csv
import gzip
import json
import math
import os
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from backstop.core.bars import BAR_US, Bar
from backstop.core.correlation import CorrelationOrigin
from backstop.core.correlation_estimator import CorrelationEstimator
from backstop.core.instrument_table import CONTRACTS, FAMILIES
from backstop.core.volatility import VolatilityEstimator, VolatilityOrigin

DATA = Path(
    os.environ.get("BACKSTOP_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)
FIVE_MINUTES = "m5_es_nq_rty_ym_cl_2024-02_2026-03"
CONTRACT_ROWS = DATA / "gateway/projectx/capture-2026-08-19/contracts_available.json"

SAME_DAY_TOLERANCE = 0.02
"""The running estimate weighs the evening more than the morning; the table weighs them alike."""

folders = [DATA / "market" / FIVE_MINUTES] if (DATA / "market" / FIVE_MINUTES).is_dir() else []
contract_rows = [CONTRACT_ROWS] if CONTRACT_ROWS.is_file() else []


@cache
def bars_of(folder: Path, family: str) -> tuple[Bar, ...]:
    with gzip.open(folder / f"{family}.csv.gz", "rt") as file:
        return tuple(
            Bar(
                family=family,
                contract_id=row["contract"],
                trade_date=row["trade_date"],
                start_utc_us=int(datetime.fromisoformat(row["ts_utc"]).timestamp()) * 1_000_000,
                close=Decimal(row["close"]),
            )
            for row in csv.DictReader(file)
        )


def days_of(folder: Path) -> dict[str, list[Bar]]:
    days: dict[str, list[Bar]] = {}
    for family in ("ES", "NQ"):
        for bar in bars_of(folder, family):
            days.setdefault(bar.trade_date, []).append(bar)
    return days


def table_of(folder: Path) -> dict[str, float]:
    with (folder.parent / "days.csv").open() as file:
        return {
            row["trade_date"]: float(row["corr"])
            for row in csv.DictReader(file)
            if row["dataset"] == folder.name and row["corr"]
        }


def end_of(bars: list[Bar]) -> int:
    return max(bar.start_utc_us for bar in bars) + BAR_US


@pytest.mark.parametrize("folder", folders)
def test_each_day_alone_measures_what_the_table_says(folder: Path) -> None:
    table, days = table_of(folder), days_of(folder)
    errors = {}
    for date, expected in table.items():
        got = (
            CorrelationEstimator.seeded(["ES", "NQ"], days[date])
            .view(end_of(days[date]))
            .correlation("ES", "NQ")
        )
        assert got.origin is CorrelationOrigin.MEASURED
        errors[date] = (got.value or 0.0) - expected
    assert len(errors) > 250
    worst = max(errors, key=lambda date: abs(errors[date]))
    assert abs(errors[worst]) <= SAME_DAY_TOLERANCE, (worst, errors[worst])
    assert abs(sum(errors.values()) / len(errors)) < 0.01


@pytest.mark.parametrize("folder", folders)
def test_the_running_estimate_follows_the_days(folder: Path) -> None:
    """At each close it lies within 0.12 of the two newest days' weighted mean."""
    table, days = table_of(folder), days_of(folder)
    estimator = CorrelationEstimator(["ES", "NQ"])
    before: float | None = None
    checked = 0
    for date, day in sorted(days.items()):
        for bar in sorted(day, key=lambda bar: (bar.start_utc_us, bar.family)):
            estimator.on_bar(bar)
        value = estimator.view(end_of(day)).correlation("ES", "NQ").value or 0.0
        if before is not None and date in table:
            checked += 1
            low, high = sorted((before, table[date]))
            assert low - 0.12 <= value <= high + 0.12, (date, before, table[date], value)
        before = value
    assert checked > 250


def closes_of_days(bars: tuple[Bar, ...]) -> Iterator[tuple[str, int, Bar]]:
    for bar, following in pairwise(bars):
        if bar.trade_date != following.trade_date:
            yield bar.trade_date, bar.start_utc_us + BAR_US, bar


@pytest.mark.parametrize("folder", folders)
def test_volatility_of_real_years_is_measured_and_rises_during_the_crash(folder: Path) -> None:
    bars = bars_of(folder, "ES")
    estimator = VolatilityEstimator("ES")
    ends = {bar.start_utc_us: date for date, _, bar in closes_of_days(bars)}
    sigmas: dict[str, int] = {}
    origins = set()
    for bar in bars:
        estimator.on_bar(bar)
        if bar.start_utc_us in ends:
            got = estimator.volatility(bar.start_utc_us + BAR_US)
            sigmas[bar.trade_date] = got.sigma_ppm
            origins.add(got.origin)
    assert VolatilityOrigin.STRESS_STALE not in origins
    measured = list(sigmas.values())[1:]  # the first session is still running
    assert 5_000 <= min(measured) <= 8_000  # the calm of 2024
    # April 2025: the first crash day raises the estimate by its own close.
    assert sigmas["2025-04-04"] > sigmas["2025-03-31"] * 1.15
    assert max(measured) == max(
        sigma for date, sigma in sigmas.items() if date.startswith("2025-04")
    )
    assert max(measured) < FAMILIES["ES"].stress_volatility_ppm


@pytest.mark.parametrize("path", contract_rows)
def test_the_table_agrees_with_the_gateways_contract_rows(path: Path) -> None:
    rows = json.loads(path.read_text(), parse_float=Decimal)["payload"]
    by_root = {row["name"][:-2]: row for row in rows}
    for symbol, profile in CONTRACTS.items():
        row = by_root[symbol]
        assert profile.tick_size is not None
        assert profile.point_value_micros is not None
        assert Decimal(row["tickSize"]) == profile.tick_size
        tick_value = profile.tick_size * profile.point_value_micros / 1_000_000
        assert tick_value == Decimal(row["tickValue"])


def test_made_days_measure_what_they_were_made_with() -> None:
    """The same check as on recorded days, for places that do not have them."""
    level = {"ES": 5000.0, "NQ": 18000.0}
    bars = []
    for position in range(277):
        wave, ripple = math.sin(position * 0.7) / 1000, math.sin(position * 1.9) / 1000
        level["ES"] *= math.exp(wave)
        level["NQ"] *= math.exp(0.8 * wave + 0.6 * ripple)
        bars += [
            Bar(
                family=family,
                contract_id="made",
                trade_date="2024-06-03",
                start_utc_us=1_717_365_600_000_000 + position * BAR_US,
                close=Decimal(repr(close)),
            )
            for family, close in level.items()
        ]
    view = CorrelationEstimator.seeded(["ES", "NQ"], bars).view(end_of(bars))
    assert view.correlation("ES", "NQ").value == pytest.approx(0.8, abs=SAME_DAY_TOLERANCE)
