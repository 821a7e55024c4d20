"""The market hub's events: sparse quotes, trades in lists, depth with a snapshot first."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any

from backstop.simulator.contracts import listings
from backstop.simulator.feed import FeedItem, feed_items, make_drives
from backstop.simulator.market_events import DEPTH, QUOTE, TRADE, DomType, MarketEvents
from backstop.simulator.sessions import HOUR_US, MINUTE_US, SECOND_US, instant_us, session_us
from backstop.simulator.sources import Calendar

_DAY = date(2026, 11, 18)
_START_US = instant_us(datetime(2026, 11, 18, 15, 0, tzinfo=UTC))
_NQ = "CON.F.US.ENQ.Z26"
_ID_MEMBERS = {"symbol", "lastUpdated", "timestamp", "contract"}


class Tape:
    """NQ's feed and the events made of it."""

    def __init__(self, start_us: int = _START_US) -> None:
        self.drives = make_drives(
            [each for each in listings(_DAY) if each.product.code == "NQ"],
            seed=3,
            start_us=start_us,
            calendar=Calendar.ALWAYS_OPEN,
        )
        self.events = MarketEvents(self.drives)
        self._items: Iterator[FeedItem] = feed_items(
            self.drives, start_us=start_us, calendar=Calendar.ALWAYS_OPEN
        )

    def play(self, until_us: int) -> list[FeedItem]:
        """Return the items before ``until_us``; the next one stays."""
        played = []
        for item in self._items:
            if item.time_us >= until_us:
                self._items = chain([item], self._items)
                break
            played.append(item)
        return played

    def of(self, target: str, items: list[FeedItem]) -> list[Any]:
        return [
            event.data
            for item in items
            for event in self.events.of_item(item, lambda name, _: name == target)
        ]


def test_the_first_quote_is_complete_and_later_ones_carry_what_changed() -> None:
    tape = Tape()
    items = tape.play(_START_US + 10 * SECOND_US)

    first, *later = tape.of(QUOTE, items)

    assert set(first) == _ID_MEMBERS | {
        "bestBid", "bestAsk", "lastPrice", "change", "changePercent",
        "open", "high", "low", "volume",
    }  # fmt: skip
    assert first["symbol"] == "F.US.ENQ"
    assert first["contract"] == _NQ
    assert all(set(quote) >= _ID_MEMBERS for quote in later)
    assert any("lastPrice" not in quote for quote in later)
    assert not any("open" in quote for quote in later)


def test_merged_quotes_are_the_market_at_every_moment() -> None:
    tape = Tape()
    first, *rest = tape.play(_START_US + MINUTE_US)
    merged: dict[str, Any] = tape.of(QUOTE, [first])[0]
    volume = merged["volume"]

    for item in rest:
        merged |= tape.of(QUOTE, [item])[0]
        volume += item.last_size
        assert merged["volume"] == volume
        assert (merged["bestBid"], merged["bestAsk"]) == (item.bid, item.ask)
        if item.last is not None:
            assert merged["lastPrice"] == item.last
        assert merged["low"] <= merged["lastPrice"] <= merged["high"]


def test_times_have_seven_digits_and_three() -> None:
    tape = Tape()

    quote = tape.of(QUOTE, tape.play(_START_US + SECOND_US))[0]

    assert quote["timestamp"] == "2026-11-18T15:00:00.000+00:00"
    assert quote["lastUpdated"].startswith("2026-11-18T15:00:00.000000")
    assert len(quote["lastUpdated"]) == len("2026-11-18T15:00:00.0000000+00:00")


def test_the_session_in_a_quote_reaches_back_to_its_open() -> None:
    tape = Tape()
    quote = tape.of(QUOTE, tape.play(_START_US + SECOND_US))[0]
    opens_us, _ = session_us(_DAY)

    bars = [bar for bar in tape.drives[0].source.bars_before(_START_US) if bar.open_us >= opens_us]

    tick = Decimal("0.25")
    assert quote["open"] == bars[-1].open * tick
    assert quote["high"] >= max(bar.high for bar in bars) * tick
    assert quote["volume"] >= sum(bar.volume or 0 for bar in bars)
    before = next(tape.drives[0].source.bars_before(opens_us))
    assert quote["change"] == quote["lastPrice"] - before.close * tick


def test_a_new_session_begins_its_own_open_and_volume() -> None:
    opens_us, _ = session_us(date(2026, 11, 19))
    tape = Tape(start_us=opens_us - MINUTE_US)

    before = tape.of(QUOTE, tape.play(opens_us))
    after = tape.of(QUOTE, tape.play(opens_us + MINUTE_US))

    last = next(quote["lastPrice"] for quote in reversed(before) if "lastPrice" in quote)
    opening = next(quote for quote in after if "open" in quote)
    assert opening["open"] == opening.get("lastPrice", last), "unchanged members are left out"
    assert opening["change"] == opening["open"] - last
    assert opening["volume"] < before[0]["volume"]


def test_a_trade_is_a_list_with_its_aggressor() -> None:
    tape = Tape()
    items = tape.play(_START_US + 10 * SECOND_US)

    trades = tape.of(TRADE, items)

    traded = [item for item in items if item.last is not None]
    assert len(trades) == len(traded)
    for (row,), item in zip(trades, traded, strict=True):
        assert set(row) == {"symbolId", "price", "timestamp", "type", "volume", "contractId"}
        assert (row["price"], row["volume"], row["type"]) == (
            item.last,
            item.last_size,
            item.aggressor,
        )


def test_depth_rows_say_what_changed_at_the_touch() -> None:
    tape = Tape()
    items = tape.play(_START_US + 10 * SECOND_US)

    depth = tape.of(DEPTH, items)

    best: dict[int, Decimal] = {}
    for rows in depth:
        for row in rows:
            assert set(row) == {"timestamp", "type", "price", "volume", "currentVolume"}
            best[row["type"]] = row["price"]
    assert best[DomType.BEST_BID] == items[-1].bid
    assert best[DomType.BEST_ASK] == items[-1].ask


def test_a_depth_snapshot_is_a_reset_and_the_volume_at_each_price() -> None:
    tape = Tape(start_us=_START_US + 4 * HOUR_US)
    now_us = _START_US + 4 * HOUR_US + MINUTE_US
    tape.play(now_us)

    (event,) = tape.events.snapshot(DEPTH, _NQ, now_us)

    assert isinstance(event.data, list)
    reset, *rows = event.data
    assert (reset["type"], reset["price"]) == (DomType.RESET, 0)
    assert len(rows) > 100
    assert {row["type"] for row in rows} == {DomType.TRADE}
    assert len({row["price"] for row in rows}) == len(rows)


def test_quotes_trades_and_unknown_contracts_have_no_snapshot() -> None:
    tape = Tape()

    assert tape.events.snapshot(QUOTE, _NQ, _START_US) == []
    assert tape.events.snapshot(DEPTH, "CON.F.US.ENQ.U26", _START_US) == []


def test_nothing_is_made_that_nobody_wants() -> None:
    tape = Tape()

    items = tape.play(_START_US + SECOND_US)

    assert [tape.events.of_item(item, lambda _name, _id: False) for item in items] == [
        [] for _ in items
    ]
