"""Trades and quotes in CSV: with a book, with sides, or with nothing but prices.

A line is a trade unless an ``action`` column says otherwise. Where a file has no book, the trade
tells one side of the touch, and the other is a tick away.
"""

from collections.abc import Iterator

from msgspec import Struct

from backstop.adapters.projectx.wire import WireSide
from backstop.simulator.contracts import Product
from backstop.simulator.csv_lines import Columns, Lines, ProductReader, TimeReader
from backstop.simulator.price_paths import Point

_BUYERS = frozenset({"B", "BID", "BUY", "0"})
_SELLERS = frozenset({"A", "ASK", "S", "SELL", "1"})
_UNKNOWN_SIDES = frozenset({"", "N"})
_OF_BUYER = "2"  # "traded at the ask", in files whose side column is named TradeType


class TickSeries(Struct, frozen=True, kw_only=True):
    """The trades and quotes of one product, ascending by time."""

    product: Product
    path: str
    points: tuple[Point, ...]


def read_ticks(
    lines: Lines,
    columns: Columns,
    body: Iterator[list[str]],
    product_of: ProductReader,
    moment: TimeReader,
) -> list[TickSeries]:
    """Return the trades and quotes of one file, a series for each product in it."""
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
    lines: Lines,
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
    last = lines.ticks("price", price, product) if is_trade and price else None
    aggressor = _aggressor(lines, side, last, before)
    bid, ask, bid_size, ask_size = touch
    if bid and ask and bid_size is not None and ask_size is not None:
        best = (lines.ticks("bid", bid, product), lines.ticks("ask", ask, product))
        shown = (lines.count("bid size", bid_size), lines.count("ask size", ask_size))
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
        last_size=max(1, lines.count("size", size) or 1) if last is not None else 0,
        aggressor=aggressor if last is not None else None,
    )


def _aggressor(lines: Lines, side: str, last: int | None, before: Point | None) -> WireSide:
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
