"""The merged feed and the bars before and during it: generated, replayed, and both."""

import gzip
import os
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise, takewhile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstop.adapters.projectx.wire import BarRow, BarsBody
from backstop.errors import DataFileError
from backstop.simulator.bar_history import BarHistory, BarsCode
from backstop.simulator.contracts import listings
from backstop.simulator.feed import Drive, FeedItem, feed_items, make_drives
from backstop.simulator.rows import rest_time
from backstop.simulator.sessions import HOUR_US, MINUTE_US, SECOND_US, instant_us, trade_date
from backstop.simulator.sources import HISTORY_SESSIONS, PLAYED_MAX, Calendar, PriceSource

_DATA = Path(os.environ.get("BACKSTOP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
_LONG = list(_DATA.glob("market/m5_es_nq_rty_ym_cl_*/ES.csv.gz"))
_DAY = date(2026, 11, 18)
_START_US = instant_us(datetime(2026, 11, 18, 15, 0, tzinfo=UTC))  # on every grid
_ES, _MES, _NQ, _MNQ = (f"CON.F.US.{root}.Z26" for root in ("EP", "MES", "ENQ", "MNQ"))
_HEADER = "ts_utc,trade_date,open,high,low,close,volume"


class Market:
    """A feed with its history, and what was played of it so far."""

    def __init__(
        self,
        *data: Path,
        day: date | None = None,
        start_us: int = _START_US,
        calendar: Calendar = Calendar.ALWAYS_OPEN,
        only: Iterable[str] = (),
        history_sessions: int = HISTORY_SESSIONS,
    ) -> None:
        wanted = set(only)
        self.drives: tuple[Drive, ...] = make_drives(
            [each for each in listings(_DAY) if not wanted or each.product.code in wanted],
            seed=3,
            start_us=start_us,
            calendar=calendar,
            data=data,
            day=day,
            history_sessions=history_sessions,
        )
        self.start_us = self.now_us = start_us
        self._items = feed_items(self.drives, start_us=start_us, calendar=calendar)
        self.history = BarHistory(self.drives)

    def play(self, until_us: int) -> list[FeedItem]:
        """Return the items before ``until_us``; one more is consumed."""
        items = list(takewhile(lambda item: item.time_us < until_us, self._items))
        self.now_us = until_us
        return items

    def take(self, count: int) -> list[FeedItem]:
        return list(islice(self._items, count))

    def ask(
        self,
        contract_id: str,
        *,
        unit: int = 2,
        number: int = 1,
        limit: int = 20_000,
        start_us: int = 0,
        end_us: int | None = None,
        partial: bool = False,
    ) -> list[BarRow]:
        body = BarsBody(
            contract_id=contract_id,
            live=False,
            start_time=rest_time(start_us),
            end_time=rest_time(self.now_us if end_us is None else end_us),
            unit=unit,
            unit_number=number,
            limit=limit,
            include_partial_bar=partial,
        )
        code, rows = self.history.bars(body, self.now_us)
        assert code == BarsCode.SUCCESS
        return rows


def remade(items: Iterable[FeedItem], contract_id: str, width_us: int = MINUTE_US) -> list[BarRow]:
    """Return the bars that the trades of one contract make, newest first."""
    bars: dict[int, BarRow] = {}
    for item in items:
        if item.contract_id != contract_id or item.last is None:
            continue
        open_us = item.time_us - item.time_us % width_us
        bar = bars.get(open_us)
        if bar is None:
            last = item.last
            bar = bars[open_us] = BarRow(t=rest_time(open_us), o=last, h=last, l=last, c=last, v=0)
        bar.h, bar.l, bar.c = max(bar.h, item.last), min(bar.l, item.last), item.last
        bar.v += item.last_size
    return [bars[open_us] for open_us in sorted(bars, reverse=True)]


def a_bar_file(folder: Path, name: str, *rows: str) -> Path:
    path = folder / name
    path.write_text("\n".join([_HEADER, *rows]) + "\n", "utf-8")
    return path


def a_day(day: date, price: int, *, bars: int = 3, step: int = 5) -> list[str]:
    """Return rows of ``step``-minute bars from 14:00 UTC on, each a point above the one before."""
    first = datetime(day.year, day.month, day.day, 14, tzinfo=UTC)
    return [
        f"{(first + timedelta(minutes=step * each)):%Y-%m-%dT%H:%M:%SZ},{day},"
        f"{price + each},{price + each + 2},{price + each - 1},{price + each + 1},{100 + each}"
        for each in range(bars)
    ]


def prices(rows: Iterable[BarRow]) -> list[tuple[Decimal, Decimal, Decimal, Decimal, int]]:
    return [(row.o, row.h, row.l, row.c, row.v) for row in rows]


@pytest.mark.parametrize("calendar", list(Calendar))
@pytest.mark.parametrize("offset_us", [0, 123_456_789, 3 * 24 * HOUR_US])
def test_every_contract_has_a_quote_and_a_last_trade_at_the_start(
    calendar: Calendar, offset_us: int
) -> None:
    market = Market(start_us=_START_US + offset_us, calendar=calendar)

    opening = market.take(51)

    assert {item.contract_id for item in opening} == {each.active.id for each in listings(_DAY)}
    for item in opening:
        assert item.time_us == market.start_us
        assert item.bid < item.ask
        assert item.last is not None


def test_items_come_in_time_order_and_never_cross() -> None:
    items = Market().play(_START_US + 2 * MINUTE_US)

    assert all(left.time_us <= right.time_us for left, right in pairwise(items))
    assert all(item.bid < item.ask for item in items)
    assert all(item.last is None or item.bid <= item.last <= item.ask for item in items[51:])


def test_the_busy_contracts_never_fall_silent_for_two_seconds() -> None:
    items = Market().play(_START_US + 5 * MINUTE_US)

    for contract_id in (_ES, _MES, _NQ, _MNQ):
        times = [item.time_us for item in items if item.contract_id == contract_id]
        assert max(right - left for left, right in pairwise(times)) < 2 * SECOND_US


def test_a_mini_and_its_micro_share_a_path_and_other_ticks_round_it() -> None:
    items = Market(only=["ES", "MES", "CL", "MCL", "QM"]).play(_START_US + 5 * MINUTE_US)

    def path(root: str) -> list[tuple[int, Decimal | None]]:
        return [
            (item.time_us, item.last)
            for item in items
            if item.contract_id.startswith(f"CON.F.US.{root}.")
        ]

    assert path("EP") == path("MES")
    assert path("CLE") == path("MCLE")
    for (_, exact), (_, coarse) in zip(path("CLE"), path("NQM"), strict=True):
        assert (exact is None) == (coarse is None)
        if exact is not None and coarse is not None:
            assert coarse % Decimal("0.025") == 0
            assert abs(exact - coarse) <= Decimal("0.0125")


def test_two_weeks_of_minutes_stay_and_older_ones_become_five_minutes() -> None:
    product = next(each.product for each in listings(_DAY) if each.product.code == "ES")
    source = PriceSource(
        product,
        seed=1,
        origin_us=_START_US,
        calendar=Calendar.ALWAYS_OPEN,
        quotes_per_minute=1,
    )
    played = [stretch.bar for stretch in islice(source.stretches(), PLAYED_MAX + 1)]

    bars = list(source.bars_before(played[-1].open_us + MINUTE_US))

    since = [bar for bar in bars if bar.open_us >= _START_US]
    assert len(since) == PLAYED_MAX // 2 + 1 + PLAYED_MAX // 2 // 5
    assert sum(bar.width_us for bar in since) == (PLAYED_MAX + 1) * MINUTE_US
    assert sum(bar.volume or 0 for bar in since) == sum(bar.volume or 0 for bar in played)
    assert max(bar.high for bar in since) == max(bar.high for bar in played)
    assert (since[-1].open, since[0].close) == (played[0].open, played[-1].close)


@pytest.mark.parametrize("sessions", [1, 3])
def test_a_market_may_have_a_short_history(sessions: int) -> None:
    market = Market(only=["ES"], history_sessions=sessions)

    rows = market.ask(_ES, number=5)

    assert len({trade_date(instant_us(datetime.fromisoformat(row.t))) for row in rows}) == sessions
    assert rows[0].t == "2026-11-18T14:55:00+00:00"


def test_equal_seeds_play_equally() -> None:
    assert Market().take(500) == Market().take(500)


def test_live_bars_are_the_bars_of_what_was_played() -> None:
    market = Market(only=["ES", "MES", "NQ"])

    items = market.play(_START_US + 12 * MINUTE_US)

    for contract_id in (_ES, _MES, _NQ):
        assert market.ask(contract_id, start_us=_START_US) == remade(items, contract_id)
    seconds = market.ask(_ES, unit=1, start_us=_START_US)
    assert seconds == remade(items, _ES, SECOND_US)
    assert market.ask(_ES, number=3, start_us=_START_US) == remade(items, _ES, 3 * MINUTE_US)


def test_the_running_bar_shows_what_was_played_of_it_and_only_when_asked_for() -> None:
    market = Market(only=["ES"])

    items = market.play(_START_US + 2 * MINUTE_US + 20 * SECOND_US)

    assert market.ask(_ES, start_us=_START_US, partial=True) == remade(items, _ES)
    assert market.ask(_ES, start_us=_START_US) == remade(items, _ES)[1:]


def test_a_start_between_two_bars_sees_the_running_bar_from_its_beginning() -> None:
    market = Market(start_us=_START_US + 90 * SECOND_US, only=["ES"])
    market.play(_START_US + 2 * MINUTE_US)

    rows = market.ask(_ES, start_us=_START_US)

    assert [row.t for row in rows] == [
        "2026-11-18T15:01:00+00:00",
        "2026-11-18T15:00:00+00:00",
    ]


def test_65_sessions_of_five_minute_history_lead_up_to_the_live_path_without_a_jump() -> None:
    market = Market(only=["ES"])
    opening = market.take(1)[0]

    rows = market.ask(_ES, number=5)

    days = {trade_date(instant_us(datetime.fromisoformat(row.t))) for row in rows}
    assert len(days) == HISTORY_SESSIONS >= 65
    assert rows[0].t == "2026-11-18T14:55:00+00:00"
    assert rows[0].c == opening.last == Decimal(6000)


def test_a_market_that_never_closes_has_no_hole_before_a_sunday_start() -> None:
    sunday_us = instant_us(datetime(2026, 11, 15, 15, 0, tzinfo=UTC))
    market = Market(start_us=sunday_us, only=["ES"])

    rows = market.ask(_ES, number=5, start_us=sunday_us - 30 * HOUR_US)

    assert len(rows) == 30 * 12


def test_bars_come_newest_first_and_the_limit_keeps_the_newest() -> None:
    market = Market(only=["NQ"])

    rows = market.ask(_NQ, number=5)
    newest = market.ask(_NQ, number=5, limit=100)

    assert [row.t for row in rows] == sorted((row.t for row in rows), reverse=True)
    assert newest == rows[:100]


def test_minutes_of_the_past_add_up_to_its_five_minutes() -> None:
    market = Market(only=["ES"])
    since_us = _START_US - 2 * HOUR_US

    minutes = market.ask(_ES, start_us=since_us)
    fives = market.ask(_ES, number=5, start_us=since_us)

    assert len(fives) == 24
    assert sum(row.v for row in minutes) == sum(row.v for row in fives)
    assert max(row.h for row in minutes) == max(row.h for row in fives)
    assert minutes[-1].o == fives[-1].o
    assert minutes[0].c == fives[0].c


def test_a_window_holds_the_bars_that_begin_in_it() -> None:
    market = Market(only=["ES"])

    rows = market.ask(
        _ES,
        number=5,
        start_us=_START_US - HOUR_US,
        end_us=_START_US - HOUR_US + 10 * MINUTE_US,
    )

    assert [row.t for row in rows] == [
        "2026-11-18T14:05:00+00:00",
        "2026-11-18T14:00:00+00:00",
    ]


def test_the_last_bar_of_a_window_is_whole_though_it_ends_behind_it() -> None:
    market = Market(only=["ES"])

    cut = market.ask(_ES, number=15, end_us=_START_US - 10 * MINUTE_US, limit=1)

    assert cut == market.ask(_ES, number=15, limit=1)
    assert cut[0].t == "2026-11-18T14:45:00+00:00"


@pytest.mark.parametrize(
    ("unit", "number", "first"),
    [
        (3, 4, "2026-11-18T08:00:00+00:00"),
        (4, 1, "2026-11-16T23:00:00+00:00"),
        (5, 1, "2026-11-08T23:00:00+00:00"),
        (6, 1, "2026-09-30T22:00:00+00:00"),
    ],
)
def test_hours_days_weeks_and_months_put_the_same_bars_together(
    unit: int, number: int, first: str
) -> None:
    market = Market(only=["ES"])

    running, *rows = market.ask(_ES, unit=unit, number=number, partial=True)
    fives = market.ask(_ES, number=5, partial=True)

    assert rows == market.ask(_ES, unit=unit, number=number)
    assert rows[0].t == first
    inside = [row for row in fives if first <= row.t < running.t]
    assert rows[0].v == sum(row.v for row in inside)
    assert (rows[0].o, rows[0].c) == (inside[-1].o, inside[0].c)
    assert (rows[0].h, rows[0].l) == (max(r.h for r in inside), min(r.l for r in inside))


@pytest.mark.parametrize(
    ("unit", "number", "limit", "code"),
    [
        (0, 1, 10, BarsCode.UNIT_INVALID),
        (7, 1, 10, BarsCode.UNIT_INVALID),
        (2, 0, 10, BarsCode.UNIT_NUMBER_INVALID),
        (2, 1, 0, BarsCode.LIMIT_INVALID),
        (2, 1, 20_001, BarsCode.LIMIT_INVALID),
        (2, 1, 20_000, BarsCode.SUCCESS),
    ],
)
def test_each_unusable_request_has_its_own_code(
    unit: int, number: int, limit: int, code: BarsCode
) -> None:
    market = Market(only=["ES"])
    body = BarsBody(
        contract_id=_ES,
        live=False,
        start_time="2026-11-18T14:00:00Z",
        end_time="2026-11-18T15:00:00Z",
        unit=unit,
        unit_number=number,
        limit=limit,
        include_partial_bar=False,
    )

    assert market.history.bars(body, market.now_us)[0] == code


def test_a_month_that_rolled_has_no_bars() -> None:
    assert Market(only=["ES"]).ask("CON.F.US.EP.U26") == []


def test_a_replay_begins_at_the_start_and_remakes_its_bars(tmp_path: Path) -> None:
    rows = a_day(date(2024, 8, 5), 5200)
    market = Market(a_bar_file(tmp_path, "ES.csv", *rows), only=["ES", "MES"])

    items = market.play(_START_US + 15 * MINUTE_US)

    assert items[0].time_us == _START_US
    for contract_id in (_ES, _MES):
        assert prices(remade(items, contract_id, 5 * MINUTE_US)) == [
            (Decimal(5202), Decimal(5204), Decimal(5201), Decimal(5203), 102),
            (Decimal(5201), Decimal(5203), Decimal(5200), Decimal(5202), 101),
            (Decimal(5200), Decimal(5202), Decimal(5199), Decimal(5201), 100),
        ]
        assert market.ask(contract_id, number=5, start_us=_START_US) == remade(
            items, contract_id, 5 * MINUTE_US
        )
        assert market.ask(contract_id, start_us=_START_US) == remade(items, contract_id)


def test_a_replay_that_starts_inside_a_bar_keeps_the_bars_on_their_grid(tmp_path: Path) -> None:
    path = a_bar_file(tmp_path, "ES.csv", *a_day(date(2024, 8, 5), 5200))
    market = Market(path, start_us=_START_US + 100 * SECOND_US, only=["ES"])

    market.play(_START_US + 15 * MINUTE_US)

    assert prices(market.ask(_ES, number=5, start_us=_START_US)) == [
        (Decimal(5202), Decimal(5204), Decimal(5201), Decimal(5203), 102),
        (Decimal(5201), Decimal(5203), Decimal(5200), Decimal(5202), 101),
        (Decimal(5200), Decimal(5202), Decimal(5199), Decimal(5201), 100),
    ]


def test_a_locked_book_is_quoted_one_tick_apart(tmp_path: Path) -> None:
    path = tmp_path / "ES.csv"
    path.write_text(
        "ts_utc,action,price,size,bid_px_00,ask_px_00,bid_sz_00,ask_sz_00\n"
        "2024-07-01T23:58:01Z,T,5528.75,2,5528.75,5528.75,29,6\n",
        "utf-8",
    )

    (item,) = Market(path, only=["ES"]).take(1)

    assert (item.bid, item.ask) == (Decimal("5528.75"), Decimal("5529.00"))


def test_days_before_the_chosen_one_are_the_real_history(tmp_path: Path) -> None:
    rows = [*a_day(date(2024, 8, 2), 5300), *a_day(date(2024, 8, 5), 5200)]
    market = Market(a_bar_file(tmp_path, "MES.csv", *rows), day=date(2024, 8, 5))

    items = market.play(_START_US + MINUTE_US)
    past = market.ask(_ES, number=5, end_us=_START_US)

    assert items[0].last == Decimal(5200)
    assert prices(past)[:3] == [
        (Decimal(5302), Decimal(5304), Decimal(5301), Decimal(5303), 102),
        (Decimal(5301), Decimal(5303), Decimal(5300), Decimal(5302), 101),
        (Decimal(5300), Decimal(5302), Decimal(5299), Decimal(5301), 100),
    ]
    assert past[3].c == Decimal(5300), "what is invented before ends where the data begins"
    days = {trade_date(instant_us(datetime.fromisoformat(row.t))) for row in past}
    assert len(days) >= 65


@pytest.mark.parametrize(("before", "newest"), [(date(2024, 8, 2), 5303), (date(2024, 8, 1), 5200)])
def test_data_from_before_a_session_that_it_lacks_is_no_history(
    tmp_path: Path, before: date, newest: int
) -> None:
    """Friday leads up to Monday; Thursday does not, and what is invented takes its place."""
    rows = [*a_day(before, 5300), *a_day(date(2024, 8, 5), 5200)]
    market = Market(a_bar_file(tmp_path, "MES.csv", *rows), day=date(2024, 8, 5))

    (last,) = market.ask(_ES, number=5, end_us=_START_US, limit=1)

    assert last.c == Decimal(newest), "it ends where the day begins"


def test_after_the_data_the_price_goes_on_from_its_last_close(tmp_path: Path) -> None:
    market = Market(a_bar_file(tmp_path, "NQ.csv", *a_day(date(2024, 8, 5), 18000)), only=["NQ"])

    market.play(_START_US + 30 * MINUTE_US)

    rows = market.ask(_NQ, number=5, start_us=_START_US)
    assert len(rows) == 6
    assert rows[2].o == Decimal(18003)


def test_a_hole_in_the_data_is_quoted_and_not_traded(tmp_path: Path) -> None:
    rows = a_day(date(2024, 8, 5), 5200, bars=5)
    market = Market(a_bar_file(tmp_path, "ES.csv", rows[0], *rows[3:]), only=["ES"])

    items = market.play(_START_US + 15 * MINUTE_US)

    hole = [item for item in items if item.time_us >= _START_US + 5 * MINUTE_US]
    assert len(hole) > 300
    assert {item.last for item in hole} == {None}
    assert {(item.bid, item.ask) for item in hole} == {(items[-1].bid, items[-1].ask)}


def test_a_closed_market_is_not_quoted_under_the_exchange_calendar() -> None:
    friday_close_us = instant_us(datetime(2026, 11, 20, 22, 0, tzinfo=UTC))
    market = Market(start_us=friday_close_us - MINUTE_US, calendar=Calendar.CME, only=["ES"])

    items = market.play(friday_close_us + 49 * HOUR_US + MINUTE_US)

    times = [item.time_us for item in items]
    assert max(right - left for left, right in pairwise(times)) > 48 * HOUR_US


def test_micro_data_drives_its_mini_and_own_data_goes_first(tmp_path: Path) -> None:
    micro = a_bar_file(tmp_path, "MES.csv", *a_day(date(2024, 8, 5), 5200))
    mini = a_bar_file(tmp_path, "ES.csv", *a_day(date(2024, 8, 5), 5400))

    alone = Market(micro, only=["ES", "MES"]).take(2)
    both = Market(micro, mini, only=["ES", "MES"]).take(2)

    assert {item.last for item in alone} == {Decimal(5200)}
    assert {item.contract_id: item.last for item in both} == {
        _ES: Decimal(5400),
        _MES: Decimal(5200),
    }


def test_ticks_are_played_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "ES.csv"
    path.write_text(
        "ts_utc,price\n2018-05-07T13:30:00.5Z,2670.5\n2018-05-07T13:30:07Z,2670\n"
        "2018-05-07T13:31:30Z,2669.5\n",
        "utf-8",
    )
    market = Market(path, only=["ES"])

    trades = [item for item in market.play(_START_US + 80 * SECOND_US) if item.last is not None]

    assert [(item.time_us - _START_US, item.last) for item in trades] == [
        (0, Decimal("2670.5")),
        (6_500_000, Decimal(2670)),
    ]
    assert prices(market.ask(_ES, start_us=_START_US)) == [
        (Decimal("2670.5"), Decimal("2670.5"), Decimal(2670), Decimal(2670), 2)
    ]


def test_a_date_that_the_data_lacks_is_named_with_the_dates_that_it_has(tmp_path: Path) -> None:
    path = a_bar_file(tmp_path, "ES.csv", *a_day(date(2024, 8, 5), 5200))

    with pytest.raises(DataFileError, match="no data on 2024-08-06; it has days from 2024-08-05"):
        Market(path, day=date(2024, 8, 6))


def test_two_files_of_one_product_are_refused(tmp_path: Path) -> None:
    rows = a_day(date(2024, 8, 5), 5200)
    (tmp_path / "more").mkdir()

    with pytest.raises(DataFileError, match="ES is already given by"):
        Market(
            a_bar_file(tmp_path, "ES.csv", *rows),
            a_bar_file(tmp_path / "more", "ES.csv", *rows),
        )


@settings(max_examples=25, deadline=None)
@given(offset_us=st.integers(0, 400 * SECOND_US), seed_day=st.integers(0, 3))
def test_whenever_a_replay_starts_nothing_lies_before_the_start(
    offset_us: int, seed_day: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("replay")
    rows = a_day(date(2024, 8, 5 + seed_day), 5200, bars=6)
    market = Market(
        a_bar_file(folder, "ES.csv", *rows), start_us=_START_US + offset_us, only=["ES", "NQ"]
    )

    items = market.play(_START_US + offset_us + 3 * MINUTE_US)

    assert items[0].time_us == items[1].time_us == market.start_us
    assert all(item.time_us >= market.start_us for item in items)


@pytest.mark.parametrize("path", _LONG, ids=lambda path: path.parent.name)
@pytest.mark.parametrize(
    ("day", "follows"), [("2025-04-04", False), ("2025-04-11", True)], ids=["crash", "after it"]
)
def test_a_recorded_day_is_replayed_with_its_real_history(
    path: Path, day: str, *, follows: bool
) -> None:
    """The file has the day before the second one, and not the three days before the first."""
    market = Market(path, day=date.fromisoformat(day), only=["ES"])
    items = market.play(_START_US + 5 * MINUTE_US)

    with gzip.open(path, "rt", encoding="utf-8") as source:
        days = [line.split(",") for line in source]
    place = next(index for index, row in enumerate(days) if row[1] == day)
    opened, high, low, close = (Decimal(text) for text in days[place][2:6])
    (bar,) = remade(items, _ES, 5 * MINUTE_US)
    assert (bar.o, bar.h, bar.l, bar.c) == (opened, high, low, close)
    leads_up = Decimal(days[place - 1][5]) if follows else opened
    assert prices(market.ask(_ES, number=5, end_us=_START_US, limit=1))[0][3] == leads_up
