"""One CSV file of market data, line by line: its columns, products, times, prices and counts.

Whatever cannot be read, or cannot be true, becomes a DataFileError with file, line and fault.
"""

import csv
import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TextIO, cast

from backstop.errors import DataFileError
from backstop.simulator.contracts import Product, find_product
from backstop.simulator.sessions import instant_us

ROWS_MAX = 5_000_000
"""Lines of one file: about two gigabytes of memory; split a longer file."""

_HEADER_MAX = 100_000  # characters of the header that are looked at
_PRICES_MAX = 100_000  # prices of one file kept ready; then they are read anew


class Lines:
    """The rows of one file as dictionaries, with the number of the line at hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 1
        self._ticks: dict[tuple[str, str], int] = {}

    def fail(self, fault: str) -> DataFileError:
        """Return the error that names this file, the line at hand and ``fault``."""
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

    def ticks(self, name: str, text: str, product: Product) -> int:
        """Read a price of ``product`` as whole ticks; prices come back often and are kept."""
        known = self._ticks.get((text, product.code))
        if known is None:
            if len(self._ticks) >= _PRICES_MAX:
                self._ticks.clear()
            known = self._ticks[text, product.code] = self._read_ticks(name, text, product)
        return known

    def count(self, name: str, text: str) -> int | None:
        """Read a whole number of contracts; empty means that the source has none."""
        if not text:
            return None
        try:
            count = Decimal(text)
        except InvalidOperation:
            raise self.fail(f"the {name} {text!r} is not a number") from None
        if not count.is_finite() or count < 0 or count % 1:
            raise self.fail(f"the {name} {text} is not a whole number of contracts")
        return int(count)

    def day(self, text: str) -> date:
        """Read a trade date."""
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise self.fail(f"the trade date {text!r} is not a date") from None

    def _read_ticks(self, name: str, text: str, product: Product) -> int:
        try:
            price = Decimal(text)
            ticks, off_by = divmod(price, product.tick_size)
        except InvalidOperation:
            raise self.fail(f"the {name} {text!r} is not a number") from None
        if price.is_nan():  # it divides without a complaint
            raise self.fail(f"the {name} {text!r} is not a number")
        if off_by:
            raise self.fail(
                f"the {name} {text} is not a multiple of {product.code}'s tick {product.tick_size}"
            )
        return int(ticks)


class Columns:
    """Where each known column of a header stands."""

    def __init__(self, lines: Lines, header: list[str]) -> None:
        self._lines = lines
        self._places = {name.lower(): place for place, name in enumerate(header)}
        if len(self._places) != len(header):
            raise lines.fail("the header names a column twice")

    def has(self, *names: str) -> bool:
        """Tell whether all of ``names`` are there."""
        return all(name in self._places for name in names)

    def first(self, *names: str) -> int | None:
        """Return the place of the first of ``names`` that is there."""
        return next((self._places[name] for name in names if name in self._places), None)

    def need(self, *names: str) -> int:
        """Return the place of the first of ``names`` that is there; one of them must be."""
        place = self.first(*names)
        if place is None:
            present = ", ".join(self._places)
            raise self._lines.fail(f"no column {' or '.join(names)}; the header has {present}")
        return place


ProductReader = Callable[[list[str]], Product]


def product_reader(lines: Lines, columns: Columns) -> ProductReader:
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


def _product(lines: Lines, symbol: str) -> Product:
    product = find_product(symbol)
    if product is None:
        raise lines.fail(f"{symbol!r} is no known product")
    return product


TimeReader = Callable[[list[str]], int]


def time_reader(lines: Lines, columns: Columns) -> TimeReader:
    """Return what tells a line's time in microseconds since 1970; without an offset it is UTC."""
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


def _counted_time_us(lines: Lines, day: str, clock: str) -> int:
    """Read a time whose milliseconds carry a counter of three digits: ``13:30:00.107002``."""
    whole, _, digits = clock.partition(".")
    try:
        moment = datetime.fromisoformat(f"{day}T{whole}+00:00")
        return instant_us(moment) + (int(digits) if digits else 0)
    except ValueError:
        raise lines.fail(f"the time {day!r} {clock!r} cannot be read") from None
