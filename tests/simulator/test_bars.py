"""Market-data files: what is read, and the sentence that each unreadable line gets."""

import gzip
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from backstop.adapters.projectx.wire import WireSide
from backstop.errors import DataFileError
from backstop.simulator.bars import BarSeries, Series, data_files, read_series
from backstop.simulator.price_paths import Bar, Point
from backstop.simulator.sessions import MINUTE_US
from backstop.simulator.tick_files import TickSeries

_DATA = Path(os.environ.get("BACKSTOP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
_FILES = sorted(_DATA.glob("market/*/*.csv.gz"))
_STRESS = [path for path in _FILES if path.match("m5_es_stress_*/ES.csv.gz")]
_HEAD_LINES = 400

_HEADER = "ts_utc,trade_date,open,high,low,close,volume"
_GOOD = "2026-02-05T23:00:00Z,2026-02-06,6785.5,6792.25,6785.25,6790.5,1117"
_NEXT = "2026-02-05T23:01:00Z,2026-02-06,6791.0,6791.5,6781.0,6784.0,690"
_OPEN_US = 1_770_332_400_000_000


def written(folder: Path, *lines: str, name: str = "ES.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def only(series: Sequence[Series]) -> Series:
    (one,) = series
    return one


def test_a_bar_file_gives_bars_in_ticks(tmp_path: Path) -> None:
    series = only(read_series(written(tmp_path, _HEADER, _GOOD, _NEXT)))

    assert isinstance(series, BarSeries)
    assert series.product.code == "ES"
    assert series.dates == (date(2026, 2, 6), date(2026, 2, 6))
    assert series.bars[0] == Bar(
        open_us=_OPEN_US,
        width_us=MINUTE_US,
        open=27142,
        high=27169,
        low=27141,
        close=27162,
        volume=1117,
    )


def test_a_gzipped_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    plain = written(tmp_path, _HEADER, _GOOD, _NEXT)
    packed = tmp_path / "MES.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    (left,), (right,) = read_series(plain), read_series(packed)

    assert isinstance(left, BarSeries)
    assert isinstance(right, BarSeries)
    assert right.product.code == "MES"
    assert right.bars == left.bars


def test_the_bar_width_is_the_shortest_distance_between_two_bars(tmp_path: Path) -> None:
    rows = [_GOOD.replace("T23:00", time) for time in ("T22:50", "T23:05", "T23:10")]

    series = only(read_series(written(tmp_path, _HEADER, *rows)))

    assert isinstance(series, BarSeries)
    assert {bar.width_us for bar in series.bars} == {5 * MINUTE_US}


def test_an_empty_volume_is_unknown_and_a_missing_trade_date_is_computed(tmp_path: Path) -> None:
    path = written(
        tmp_path, "ts_utc,open,high,low,close,volume", "2026-02-05T23:00:00Z,5,6,4,5.25,"
    )

    series = only(read_series(path))

    assert isinstance(series, BarSeries)
    assert series.bars[0].volume is None
    assert series.dates == (date(2026, 2, 6),)


def test_one_file_may_hold_several_products(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "ts_event,open,high,low,close,volume,symbol",
        "2024-07-01T23:40:00.000000Z,5527.25,5527.5,5527.0,5527.5,180,ESU4",
        "2024-07-01T23:40:00.000000Z,20014.25,20016.25,20013.5,20016.25,35,NQU4",
        name="feed.csv",
    )

    assert [each.product.code for each in read_series(path)] == ["ES", "NQ"]


def test_ticks_without_a_book_get_a_touch_from_their_trade(tmp_path: Path) -> None:
    path = written(
        tmp_path, "ts_utc,price", "2018-05-07T13:30:00.001532Z,2670.5", "2018-05-07T13:30:01Z,2670"
    )

    series = only(read_series(path))

    assert isinstance(series, TickSeries)
    assert [(each.bid, each.ask, each.last) for each in series.points] == [
        (10681, 10682, 10682),
        (10680, 10681, 10680),
    ]
    assert series.points[1].aggressor is WireSide.ASK


def test_a_book_update_without_a_trade_is_a_quote(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "ts_event,action,side,price,size,bid_px_00,ask_px_00,bid_sz_00,ask_sz_00,symbol",
        "2024-07-01T23:58:01Z,T,B,5528.75,2,5528.5,5528.75,29,6,ESU4",
        "2024-07-01T23:58:02Z,C,A,5528.75,2,5528.5,5528.75,29,4,ESU4",
    )

    series = only(read_series(path))

    assert isinstance(series, TickSeries)
    trade, quote = series.points
    assert (trade.last, trade.last_size, trade.aggressor) == (22115, 2, WireSide.BID)
    assert quote == Point(
        time_us=trade.time_us + 1_000_000, bid=22114, ask=22115, bid_size=29, ask_size=4
    )


def test_a_time_that_carries_a_counter_keeps_its_order(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "Date;Time;Price;Volume;TradeType;AskPrice;BidPrice;AskSize;BidSize",
        "2022-01-24;13:30:00.6002;4347.75;1;2;4347.75;4347.5;1;34",
        "2022-01-24;13:30:00.47000;4347.5;1;1;4348;4347.5;66;36",
    )

    series = only(read_series(path))

    assert isinstance(series, TickSeries)
    first, second = series.points
    assert second.time_us - first.time_us == 47_000 - 6_002
    assert (first.aggressor, second.aggressor) == (WireSide.BID, WireSide.ASK)


@pytest.mark.parametrize(
    ("lines", "line_number", "fault"),
    [
        ((), 1, "the file is empty"),
        ((_HEADER,), 1, "a header and no bar"),
        (("ts_utc,open,high,low",), 1, "no column price; the header has ts_utc, open, high, low"),
        (("ts,open,high,low,close", "x"), 1, "no column ts_utc or ts_event or ts_recv"),
        (("ts_utc,open,high,low,close,close", "x"), 1, "names a column twice"),
        ((_HEADER, _GOOD, _NEXT.rsplit(",", 1)[0]), 3, "6 fields where the header has 7"),
        ((_HEADER, _GOOD.replace("2026-02-05T", "05.02.2026 ")), 2, "is not ISO 8601"),
        ((_HEADER, _GOOD, _GOOD), 3, "does not begin after the one before it"),
        ((_HEADER, _GOOD.replace("6785.5", "abc")), 2, "the open 'abc' is not a number"),
        ((_HEADER, _GOOD.replace("6785.5", "NaN")), 2, "the open 'NaN' is not a number"),
        ((_HEADER, _GOOD.replace("6785.5", "Infinity")), 2, "the open 'Infinity' is not a number"),
        ((_HEADER, _GOOD.replace("6785.5", "6785.6")), 2, "is not a multiple of ES's tick 0.25"),
        ((_HEADER, _GOOD.replace("6785.25", "6786.25")), 2, "do not lie between low and high"),
        ((_HEADER, _GOOD.replace("1117", "-3")), 2, "the volume -3 is not a whole number"),
        ((_HEADER, _GOOD.replace("1117", "1.5")), 2, "the volume 1.5 is not a whole number"),
        ((_HEADER, _GOOD.replace("2026-02-06", "Friday")), 2, "the trade date 'Friday'"),
        ((_HEADER, _GOOD, _NEXT.replace("23:01", "23:07")), 3, "7 minutes after the one before"),
        (
            (_HEADER, _GOOD, _NEXT.replace("23:01", "23:05"), _NEXT.replace("23:01", "23:12")),
            4,
            "does not begin on a multiple of 5 min",
        ),
        (("ts_utc,price,side", "2026-02-05T23:00:00Z,6785.5,Z"), 2, "the side 'Z'"),
        (
            ("ts_utc,price", "2026-02-05T23:00:01Z,6785.5", "2026-02-05T23:00:00Z,6785.5"),
            3,
            "lies before that of the line above",
        ),
    ],
)
def test_an_unreadable_line_is_named_with_its_fault(
    tmp_path: Path, lines: tuple[str, ...], line_number: int, fault: str
) -> None:
    path = tmp_path / "ES.csv"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")

    with pytest.raises(DataFileError) as caught:
        read_series(path)

    assert caught.value.path == str(path)
    assert caught.value.line_number == line_number
    assert fault in caught.value.fault


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(f"{_HEADER}\n{_GOOD}".encode())
    path = tmp_path / "ES.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(DataFileError, match="cannot be read"):
        read_series(path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ES.csv"
    path.write_bytes(_HEADER.encode() + b"\n\xff\xfe\x00\n")

    with pytest.raises(DataFileError, match="cannot be read"):
        read_series(path)


def test_a_file_of_no_known_product_says_how_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="name the file after its product"):
        read_series(written(tmp_path, _HEADER, _GOOD, name="prices.csv"))


def test_a_folder_stands_for_the_data_files_inside(tmp_path: Path) -> None:
    for name in ("NQ.csv.gz", "ES.csv", "notes.txt"):
        (tmp_path / name).write_bytes(b"")

    assert [path.name for path in data_files(tmp_path)] == ["ES.csv", "NQ.csv.gz"]


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="no such file"):
        data_files(tmp_path / "absent.csv")
    with pytest.raises(DataFileError, match=r"cannot be read|no such file"):
        data_files(tmp_path / ("x" * 5_000))
    with pytest.raises(DataFileError, match=r"holds no \.csv"):
        data_files(tmp_path)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_beginning_of_each_recorded_file_is_readable(path: Path, tmp_path: Path) -> None:
    head = tmp_path / path.name.removesuffix(".gz")
    with gzip.open(path, "rt", encoding="utf-8") as source:
        head.write_text("".join(line for _, line in zip(range(_HEAD_LINES), source, strict=False)))

    series = read_series(head)

    rows = sum(len(each.bars if isinstance(each, BarSeries) else each.points) for each in series)
    assert 0 < rows < _HEAD_LINES


@pytest.mark.parametrize("path", _STRESS, ids=lambda path: path.parent.name)
def test_a_recorded_day_of_panic_is_read_whole(path: Path) -> None:
    series = only(read_series(path))

    assert isinstance(series, BarSeries)
    day = [
        bar for bar, on in zip(series.bars, series.dates, strict=True) if on == date(2015, 8, 24)
    ]
    assert min(bar.low for bar in day) == 1831 * 4
