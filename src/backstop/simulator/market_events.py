"""What the market hub pushes: sparse quotes, trades in a list, depth with a snapshot first.

Shapes as recorded from live traffic: a quote carries its identification and the members that
changed; a trade and a depth event carry a list; the depth snapshot is a reset row and then the
volume traded at each price of the session, several hundred rows in one frame.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from enum import IntEnum

from msgspec import Struct

from backstop.adapters.projectx_server.venue import MarketEvent
from backstop.simulator.feed import Drive, FeedItem, Outlet
from backstop.simulator.rows import hub_time
from backstop.simulator.sessions import session_us, trade_date, utc
from backstop.simulator.sources import PriceSource

QUOTE, TRADE, DEPTH = "GatewayQuote", "GatewayTrade", "GatewayDepth"
SNAPSHOT_ROWS_MAX = 1_000
"""Prices of one snapshot: a wild day has more; the ones nearest to the last price are shown."""

_PERCENT_DIGITS = Decimal("0.0001")

Wanted = Callable[[str, str], bool]
"""Tells whether anybody listens to an event name of a contract."""


class DomType(IntEnum):
    """``type`` of a depth row, as far as the simulator uses them."""

    BEST_ASK = 3
    BEST_BID = 4
    TRADE = 5
    RESET = 6


class _Session(Struct, kw_only=True):
    """One contract's trading day so far."""

    ends_us: int
    previous_close: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    volume: int


class _Contract(Struct, kw_only=True):
    """One contract: where its prices come from, and what its listeners know."""

    source: PriceSource
    outlet: Outlet
    session: _Session | None = None
    shown: dict[str, object]
    touch: tuple[Decimal, int, Decimal, int] | None = None


class MarketEvents:
    """Turns feed items into the events of the market hub; silent contracts cost next to nothing."""

    def __init__(self, drives: Iterable[Drive]) -> None:
        self._contracts = {
            outlet.contract_id: _Contract(source=drive.source, outlet=outlet, shown={})
            for drive in drives
            for outlet in drive.outlets
        }

    def of_item(self, item: FeedItem, wanted: Wanted) -> list[MarketEvent]:
        """Return the events of one item that somebody wants."""
        contract = self._contracts[item.contract_id]
        events = []
        if wanted(QUOTE, item.contract_id):
            events.append(self._event(QUOTE, item, self._quote(contract, item)))
        else:
            contract.session = None  # worked out anew when somebody listens again
        if wanted(DEPTH, item.contract_id) and (rows := _depth(contract, item)):
            events.append(self._event(DEPTH, item, rows))
        if item.last is not None and wanted(TRADE, item.contract_id):
            events.append(self._event(TRADE, item, [_trade(contract, item)]))
        return events

    def snapshot(self, target: str, contract_id: str, now_us: int) -> list[MarketEvent]:
        """Return what a new subscriber gets: for depth, a reset and the session's volumes."""
        contract = self._contracts.get(contract_id)
        if target != DEPTH or contract is None:
            return []
        opens_us, _ = session_us(trade_date(now_us))
        volumes: dict[int, int] = {}
        last = None
        for bar in contract.source.bars_before(now_us):
            if bar.open_us < opens_us:
                break
            last = bar.close if last is None else last
            share, rest = divmod(bar.volume or 0, bar.high - bar.low + 1)
            for ticks in range(bar.low, bar.high + 1):
                volumes[ticks] = volumes.get(ticks, 0) + share
            volumes[bar.close] += rest
        centre = 0 if last is None else last
        nearest = sorted(volumes, key=lambda ticks: (abs(ticks - centre), ticks))
        rows = [_row(now_us, DomType.RESET, Decimal(0), 0)]
        rows += [
            _row(now_us, DomType.TRADE, contract.outlet.price(ticks), volumes[ticks])
            for ticks in sorted(nearest[:SNAPSHOT_ROWS_MAX])
            if volumes[ticks]
        ]
        return [MarketEvent(target=DEPTH, contract_id=contract_id, data=rows)]

    @staticmethod
    def _event(target: str, item: FeedItem, data: object) -> MarketEvent:
        return MarketEvent(target=target, contract_id=item.contract_id, data=data)

    def _quote(self, contract: _Contract, item: FeedItem) -> dict[str, object]:
        """Return the quote's identification and whatever differs from what was shown last."""
        session = _session(contract, item)
        now: dict[str, object] = {"bestBid": item.bid, "bestAsk": item.ask}
        if item.last is not None:
            change = item.last - session.previous_close
            now |= {
                "lastPrice": item.last,
                "change": change,
                "changePercent": _percent(change, session.previous_close),
                "open": session.open,
                "high": session.high,
                "low": session.low,
                "volume": session.volume,
            }
        shown = contract.shown
        changed = {name: value for name, value in now.items() if shown.get(name) != value}
        shown |= changed
        return {
            "symbol": f"F.US.{contract.outlet.product.root}",
            **changed,
            "lastUpdated": hub_time(item.time_us),
            "timestamp": _millisecond_time(item.time_us),
            "contract": item.contract_id,
        }


def _session(contract: _Contract, item: FeedItem) -> _Session:
    """Return the contract's session with ``item`` in it."""
    session = contract.session
    if session is None:
        contract.shown.clear()
        session = contract.session = _session_so_far(contract, item)
        return session
    if item.last is None:
        return session
    if item.time_us >= session.ends_us:
        previous = contract.shown.get("lastPrice", session.previous_close)
        session = contract.session = _Session(
            ends_us=_session_end_us(item.time_us),
            previous_close=previous if isinstance(previous, Decimal) else item.last,
            open=item.last,
            high=item.last,
            low=item.last,
            volume=0,
        )
    session.high = max(session.high, item.last)
    session.low = min(session.low, item.last)
    session.volume += item.last_size
    return session


def _session_so_far(contract: _Contract, item: FeedItem) -> _Session:
    """Read the session up to ``item`` from the history."""
    opens_us, _ = session_us(trade_date(item.time_us))
    price = contract.outlet.price
    here = item.bid if item.last is None else item.last
    session = _Session(
        ends_us=_session_end_us(item.time_us),
        previous_close=here,
        open=here,
        high=here,
        low=here,
        volume=0,
    )
    for bar in contract.source.bars_before(item.time_us):
        if bar.open_us < opens_us:
            session.previous_close = price(bar.close)
            break
        if bar.open_us + bar.width_us > item.time_us:
            continue  # it is being played and counts from its next trade on
        session.open = price(bar.open)
        session.high = max(session.high, price(bar.high))
        session.low = min(session.low, price(bar.low))
        session.volume += bar.volume or 0
    return session


def _session_end_us(us: int) -> int:
    """Return when the next trade date begins."""
    return session_us(trade_date(us) + timedelta(days=1))[0]


def _percent(change: Decimal, base: Decimal) -> Decimal:
    return (change / base).quantize(_PERCENT_DIGITS) if base else Decimal(0)


def _trade(contract: _Contract, item: FeedItem) -> dict[str, object]:
    return {
        "symbolId": f"F.US.{contract.outlet.product.root}",
        "price": item.last,
        "timestamp": _millisecond_time(item.time_us),
        "type": 0 if item.aggressor is None else int(item.aggressor),
        "volume": item.last_size,
        "contractId": item.contract_id,
    }


def _depth(contract: _Contract, item: FeedItem) -> list[dict[str, object]]:
    """Return the rows of what changed at the touch, and of the trade."""
    touch = (item.bid, item.bid_size, item.ask, item.ask_size)
    before = contract.touch or (None, 0, None, 0)
    contract.touch = touch
    rows = []
    if touch[:2] != before[:2]:
        rows.append(_row(item.time_us, DomType.BEST_BID, item.bid, item.bid_size))
    if touch[2:] != before[2:]:
        rows.append(_row(item.time_us, DomType.BEST_ASK, item.ask, item.ask_size))
    if item.last is not None:
        rows.append(_row(item.time_us, DomType.TRADE, item.last, item.last_size))
    return rows


def _row(time_us: int, kind: DomType, price: Decimal, volume: int) -> dict[str, object]:
    return {
        "timestamp": hub_time(time_us),
        "type": int(kind),
        "price": price,
        "volume": volume,
        "currentVolume": 0,
    }


def _millisecond_time(us: int) -> str:
    """Return an instant as the market feed writes it: three digits, cut off."""
    return f"{utc(us):%Y-%m-%dT%H:%M:%S}.{us % 1_000_000 // 1_000:03d}+00:00"
