"""Market-data files: bars, ticks and quotes in CSV, plain or gzipped.

The header line decides the layout. A bar file has ``open, high, low, close``; every other file has
``price``. The time stands in ``ts_utc``, else ``ts_event`` (``ts_recv`` for sampled quotes), or in
``Date`` and ``Time``. Columns that are not known are ignored. A line that cannot be read, or that
cannot be true, is a DataFileError with file, line and fault: a replay with a silent hole proves
nothing.
"""

import csv
import zlib
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from backstop.errors import DataFileError
from backstop.simulator.contracts import Product
from backstop.simulator.csv_lines import (
    Columns,
    Lines,
    ProductReader,
    TimeReader,
    product_reader,
    time_reader,
)
from backstop.simulator.price_paths import Bar
from backstop.simulator.sessions import MINUTE_US, trade_date
from backstop.simulator.tick_files import TickSeries, read_ticks

_WIDTHS_US = tuple(minutes * MINUTE_US for minutes in (1, 2, 3, 5, 10, 15, 30, 60))
_BAR_COLUMNS = ("open", "high", "low", "close")
_SUFFIXES = (".csv", ".csv.gz")


class BarSeries(Struct, frozen=True, kw_only=True):
    """The bars of one product, ascending, all of one width; ``dates`` has one day for each."""

    product: Product
    path: str
    bars: tuple[Bar, ...]
    dates: tuple[date, ...]


Series = BarSeries | TickSeries


def data_files(path: Path) -> list[Path]:
    """Return the data files that ``path`` names: itself, or those directly inside a folder.

    Raises:
        DataFileError: there is nothing there, or nothing that may be read.
    """
    try:
        if not path.is_dir():
            found = [path] if path.is_file() else []
            fault = "no such file"
        else:
            found = sorted(each for each in path.iterdir() if each.name.endswith(_SUFFIXES))
            fault = "the folder holds no .csv or .csv.gz file"
    except OSError as error:
        raise DataFileError(str(path), 0, f"cannot be read: {error.strerror}") from error
    if not found:
        raise DataFileError(str(path), 0, fault)
    return found


def read_series(path: Path) -> Sequence[Series]:
    """Read one file; a file with a ``symbol`` column may hold several products.

    Raises:
        DataFileError: the file or one of its lines cannot be read or cannot be true.
    """
    lines = Lines(path)
    try:
        return _read(lines)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(str(path), lines.number, f"cannot be read: {error}") from error


def _read(lines: Lines) -> Sequence[Series]:
    body = lines.fields()
    columns = Columns(lines, next(body))
    product_of = product_reader(lines, columns)
    moment = time_reader(lines, columns)
    if columns.has(*_BAR_COLUMNS):
        return _read_bars(lines, columns, body, product_of, moment)
    return read_ticks(lines, columns, body, product_of, moment)


class _Row(NamedTuple):
    """One line of a bar file: open, high, low and close in ``ticks``."""

    line: int
    open_us: int
    ticks: list[int]
    volume: int | None
    on: date


def _read_bars(
    lines: Lines,
    columns: Columns,
    body: Iterator[list[str]],
    product_of: ProductReader,
    moment: TimeReader,
) -> list[BarSeries]:
    prices = [columns.need(name) for name in _BAR_COLUMNS]
    volume = columns.first("volume")
    day = columns.first("trade_date")
    found: dict[str, tuple[Product, list[_Row]]] = {}
    for fields in body:
        product = product_of(fields)
        _, rows = found.setdefault(product.code, (product, []))
        open_us = moment(fields)
        if rows and open_us <= rows[-1].open_us:
            raise lines.fail("the bar does not begin after the one before it")
        ticks = [
            lines.ticks(name, fields[place], product)
            for name, place in zip(_BAR_COLUMNS, prices, strict=True)
        ]
        first, high, low, close = ticks
        if not low <= min(first, close) <= max(first, close) <= high:
            raise lines.fail("open and close do not lie between low and high")
        size = None if volume is None else lines.count("volume", fields[volume])
        on = trade_date(open_us) if day is None else lines.day(fields[day])
        rows.append(_Row(lines.number, open_us, ticks, size, on))
    if not found:
        raise lines.fail("the file has a header and no bar")
    return [_bar_series(lines, *each) for each in found.values()]


def _bar_series(lines: Lines, product: Product, rows: list[_Row]) -> BarSeries:
    """Return the series; its bar width is the shortest distance between two bars."""
    width_us, line = min(
        ((right.open_us - left.open_us, right.line) for left, right in pairwise(rows)),
        default=(MINUTE_US, rows[0].line),
    )
    if width_us not in _WIDTHS_US:
        lines.number = line
        raise lines.fail(
            f"the bar begins {width_us / MINUTE_US:g} minutes after the one before it; bars of 1, "
            "2, 3, 5, 10, 15, 30 or 60 minutes can be replayed"
        )
    for row in rows:
        if row.open_us % width_us:
            lines.number = row.line
            raise lines.fail(f"the bar does not begin on a multiple of {width_us // MINUTE_US} min")
    bars = tuple(
        Bar(
            open_us=row.open_us,
            width_us=width_us,
            open=row.ticks[0],
            high=row.ticks[1],
            low=row.ticks[2],
            close=row.ticks[3],
            volume=row.volume,
        )
        for row in rows
    )
    dates = tuple(row.on for row in rows)
    return BarSeries(product=product, path=str(lines.path), bars=bars, dates=dates)
