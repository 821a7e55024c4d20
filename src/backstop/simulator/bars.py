"""Market-data files: bars, ticks and quotes in CSV, plain or gzipped.

The header line decides the layout. A bar file has ``open, high, low, close``; every other file has
``price``. The time stands in ``ts_utc``, else ``ts_event`` (``ts_recv`` for sampled quotes), or in
``Date`` and ``Time``. Columns that are not known are ignored. A line that cannot be read, or that
cannot be true, is a DataFileError with file, line and fault: a replay with a silent hole proves
nothing.
"""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TextIO, cast

from msgspec import Struct

from backstop.adapters.projectx.wire import WireSide
from backstop.errors import DataFileError
from backstop.simulator.contracts import Product, find_product
from backstop.simulator.price_paths import Bar, Point
from backstop.simulator.sessions import MINUTE_US, instant_us, trade_date

ROWS_MAX = 5_000_000
"""Lines of one file: about two gigabytes of memory; split a longer file."""

_WIDTHS_US = tuple(minutes * MINUTE_US for minutes in (1, 2, 3, 5, 10, 15, 30, 60))
_HEADER_MAX = 100_000  # characters of the header that are looked at
_BAR_COLUMNS = ("open", "high", "low", "close")
_SUFFIXES = (".csv", ".csv.gz")
_BUYERS = frozenset({"B", "BID", "BUY", "0"})
_SELLERS = frozenset({"A", "ASK", "S", "SELL", "1"})
_UNKNOWN_SIDES = frozenset({"", "N"})


_OF_BUYER = "2"  # "traded at the ask", in files whose side column is named TradeType


class BarSeries(Struct, frozen=True, kw_only=True):
    """The bars of one product, ascending, all of one width; ``dates`` has one day for each."""

    product: Product
    path: str
    bars: tuple[Bar, ...]
    dates: tuple[date, ...]


class TickSeries(Struct, frozen=True, kw_only=True):
    """The trades and quotes of one product, ascending by time."""

    product: Product
    path: str
    points: tuple[Point, ...]


Series = BarSeries | TickSeries


def data_files(path: Path) -> list[Path]:
    """Return the data files that ``path`` names: itself, or those directly inside a folder.

    Raises:
        DataFileError: there is nothing there.
    """
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.name.endswith(_SUFFIXES))
        if not found:
            raise DataFileError(str(path), 0, "the folder holds no .csv or .csv.gz file")
        return found
    if not path.is_file():
        raise DataFileError(str(path), 0, "no such file")
    return [path]


def read_series(path: Path) -> list[Series]:
    """Read one file; a file with a ``symbol`` column may hold several products.

    Raises:
        DataFileError: the file or one of its lines cannot be read or cannot be true.
    """
    lines = _Lines(path)
    try:
        return _read(lines)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(str(path), lines.number, f"cannot be read: {error}") from error


class _Lines:
    """The rows of one file as dictionaries, with the number of the line at hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 1

    def fail(self, fault: str) -> DataFileError:
        return DataFileError(str(self.path), self.number, fault)

    def fields(self) -> Iterator[list[str]]:
        """Yield the fields of each line, the header first."""
        with self._open() as file:
            first = file.readline(_HEADER_MAX)
            delimiter = ";" if ";" in first else ","
            header = [name.strip() for name in first.split(delimiter)]
            if not first.strip():
                raise self.fail("the file is empty; a header line is needed")
            yield header
            for fields in csv.reader(file, delimiter=delimiter):
                self.number += 1
                if self.number > ROWS_MAX:
                    raise self.fail(f"the file is longer than {ROWS_MAX} lines; split it")
                if not fields:
                    continue  # a blank line says nothing
                if len(fields) != len(header):
                    raise self.fail(f"{len(fields)} fields where the header has {len(header)}")
                yield fields

    def _open(self) -> TextIO:
        if self.path.name.endswith(".gz"):
            return cast("TextIO", gzip.open(self.path, "rt", encoding="utf-8-sig", newline=""))
        return self.path.open(encoding="utf-8-sig", newline="")


class _Columns:
    """Where each known column of a header stands."""

    def __init__(self, lines: _Lines, header: list[str]) -> None:
        self._lines = lines
        self._places = {name.lower(): place for place, name in enumerate(header)}
        if len(self._places) != len(header):
            raise lines.fail("the header names a column twice")

    def has(self, *names: str) -> bool:
        return all(name in self._places for name in names)

    def first(self, *names: str) -> int | None:
        """Return the place of the first of ``names`` that is there."""
        return next((self._places[name] for name in names if name in self._places), None)

    def need(self, *names: str) -> int:
        place = self.first(*names)
        if place is None:
            present = ", ".join(self._places)
            raise self._lines.fail(f"no column {' or '.join(names)}; the header has {present}")
        return place


def _read(lines: _Lines) -> list[Series]:
    body = lines.fields()
    columns = _Columns(lines, next(body))
    product_of = _product_reader(lines, columns)
    moment = _time_reader(lines, columns)
    if columns.has(*_BAR_COLUMNS):
        return _read_bars(lines, columns, body, product_of, moment)
    return _read_ticks(lines, columns, body, product_of, moment)


_ProductReader = Callable[[list[str]], Product]


def _product_reader(lines: _Lines, columns: _Columns) -> _ProductReader:
    """Return what tells a line's product: its symbol column, else the file's name, else a contract.

    The file's name comes before the contract column, since it says ``MES`` where a contract column
    may carry a vendor's own word.
    """
    stem = lines.path.name.split(".", 1)[0].split("_", 1)[0]
    of_file = find_product(stem)
    place = columns.first("symbol")
    if place is None and of_file is not None:
        return lambda _: of_file
    if place is None:
        place = columns.first("contract")
    if place is None:
        raise lines.fail(
            f"the file name begins with {stem!r}, which is no known product, and there is no "
            "symbol or contract column; name the file after its product, as in ES.csv"
        )
    return lambda fields: _product(lines, fields[place])


def _product(lines: _Lines, symbol: str) -> Product:
    product = find_product(symbol)
    if product is None:
        raise lines.fail(f"{symbol!r} is no known product")
    return product


_TimeReader = Callable[[list[str]], int]


def _time_reader(lines: _Lines, columns: _Columns) -> _TimeReader:
    if columns.has("date", "time") and not columns.has("ts_utc"):
        day, clock = columns.need("date"), columns.need("time")
        return lambda fields: _counted_time_us(lines, fields[day], fields[clock])
    sampled = columns.has("rtype", "bid_px_00") and not columns.has("action")
    place = columns.need("ts_recv") if sampled else columns.need("ts_utc", "ts_event", "ts_recv")

    def read(fields: list[str]) -> int:
        text = fields[place]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise lines.fail(f"the time {text!r} is not ISO 8601") from None
        return instant_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))

    return read


def _counted_time_us(lines: _Lines, day: str, clock: str) -> int:
    """Read a time whose milliseconds carry a counter of three digits: ``13:30:00.107002``."""
    whole, _, digits = clock.partition(".")
    try:
        moment = datetime.fromisoformat(f"{day}T{whole}+00:00")
        return instant_us(moment) + (int(digits) if digits else 0)
    except ValueError:
        raise lines.fail(f"the time {day!r} {clock!r} cannot be read") from None


class _Row(NamedTuple):
    """One line of a bar file: open, high, low and close in ``ticks``."""

    line: int
    open_us: int
    ticks: list[int]
    volume: int | None
    on: date


def _read_bars(
    lines: _Lines,
    columns: _Columns,
    body: Iterator[list[str]],
    product_of: _ProductReader,
    moment: _TimeReader,
) -> list[Series]:
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
            _ticks(lines, name, fields[place], product)
            for name, place in zip(_BAR_COLUMNS, prices, strict=True)
        ]
        first, high, low, close = ticks
        if not low <= min(first, close) <= max(first, close) <= high:
            raise lines.fail("open and close do not lie between low and high")
        size = None if volume is None else _count(lines, "volume", fields[volume])
        on = trade_date(open_us) if day is None else _day(lines, fields[day])
        rows.append(_Row(lines.number, open_us, ticks, size, on))
    if not found:
        raise lines.fail("the file has a header and no bar")
    return [_bar_series(lines, *each) for each in found.values()]


def _bar_series(lines: _Lines, product: Product, rows: list[_Row]) -> BarSeries:
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


def _read_ticks(
    lines: _Lines,
    columns: _Columns,
    body: Iterator[list[str]],
    product_of: _ProductReader,
    moment: _TimeReader,
) -> list[Series]:
    price = columns.need("price")
    size = columns.first("size", "volume")
    side = columns.first("side", "tradetype")
    action = columns.first("action")
    touch = [
        columns.first(name, other)
        for name, other in (
            ("bid_px_00", "bidprice"),
            ("ask_px_00", "askprice"),
            ("bid_sz_00", "bidsize"),
            ("ask_sz_00", "asksize"),
        )
    ]
    found: dict[str, tuple[Product, list[Point]]] = {}
    for fields in body:
        product = product_of(fields)
        _, points = found.setdefault(product.code, (product, []))
        time_us = moment(fields)
        if points and time_us < points[-1].time_us:
            raise lines.fail("the time lies before that of the line above")
        point = _point(
            lines,
            product,
            time_us,
            before=points[-1] if points else None,
            price=fields[price],
            size="1" if size is None else fields[size],
            side="" if side is None else fields[side],
            is_trade=action is None or fields[action] == "T",
            touch=[None if place is None else fields[place] for place in touch],
        )
        if point is not None:
            points.append(point)
    if not any(points for _, points in found.values()):
        raise lines.fail("the file has a header and no trade or quote")
    return [
        TickSeries(product=product, path=str(lines.path), points=tuple(points))
        for product, points in found.values()
        if points
    ]


def _point(
    lines: _Lines,
    product: Product,
    time_us: int,
    *,
    before: Point | None,
    price: str,
    size: str,
    side: str,
    is_trade: bool,
    touch: list[str | None],
) -> Point | None:
    """Return the market after one line, or None while no touch is known."""
    last = _ticks(lines, "price", price, product) if is_trade and price else None
    aggressor = _aggressor(lines, side, last, before)
    bid, ask, bid_size, ask_size = touch
    if bid and ask and bid_size is not None and ask_size is not None:
        best = (_ticks(lines, "bid", bid, product), _ticks(lines, "ask", ask, product))
        shown = (_count(lines, "bid size", bid_size), _count(lines, "ask size", ask_size))
        if best[0] > best[1]:
            raise lines.fail("the bid lies above the ask")
    elif last is not None:
        # Without a book the trade tells one side of the touch, and the other is a tick away.
        best = (last - 1, last) if aggressor is WireSide.BID else (last, last + 1)
        shown = (1, 1)
    else:
        return None
    return Point(
        time_us=time_us,
        bid=best[0],
        ask=best[1],
        bid_size=max(1, shown[0] or 1),
        ask_size=max(1, shown[1] or 1),
        last=last,
        last_size=max(1, _count(lines, "size", size) or 1) if last is not None else 0,
        aggressor=aggressor if last is not None else None,
    )


def _aggressor(lines: _Lines, side: str, last: int | None, before: Point | None) -> WireSide:
    """Return who hit the market: as the line says, else a buyer if the price rose."""
    word = side.strip().upper()
    if word in _BUYERS or word == _OF_BUYER:
        return WireSide.BID
    if word in _SELLERS:
        return WireSide.ASK
    if word not in _UNKNOWN_SIDES:
        raise lines.fail(f"the side {side!r} is neither buyer nor seller")
    rose = before is None or last is None or last >= before.ask
    return WireSide.BID if rose else WireSide.ASK


def _ticks(lines: _Lines, name: str, text: str, product: Product) -> int:
    try:
        price = Decimal(text)
        ticks, off_by = divmod(price, product.tick_size)
    except InvalidOperation:
        raise lines.fail(f"the {name} {text!r} is not a number") from None
    if price.is_nan():  # it divides without a complaint
        raise lines.fail(f"the {name} {text!r} is not a number")
    if off_by:
        raise lines.fail(
            f"the {name} {text} is not a multiple of {product.code}'s tick {product.tick_size}"
        )
    return int(ticks)


def _count(lines: _Lines, name: str, text: str) -> int | None:
    """Read a whole number of contracts; empty means that the source has none."""
    if not text:
        return None
    try:
        count = Decimal(text)
    except InvalidOperation:
        raise lines.fail(f"the {name} {text!r} is not a number") from None
    if not count.is_finite() or count < 0 or count % 1:
        raise lines.fail(f"the {name} {text} is not a whole number of contracts")
    return int(count)


def _day(lines: _Lines, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise lines.fail(f"the trade date {text!r} is not a date") from None
