"""The contract table: months, rolls, names, and agreement with a recorded answer of the venue."""

import json
import os
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from backstop.adapters.projectx.wire import ContractRow
from backstop.simulator.contracts import (
    PRODUCTS,
    Product,
    find_product,
    front_month,
    listings,
)

_DATA = Path(os.environ.get("BACKSTOP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
_RECORDED = sorted(_DATA.glob("gateway/projectx/*/contracts_available.json"))
_RECORDED_ON = date(2026, 8, 19)


def contract_table(day: date) -> list[ContractRow]:
    """Return every contract row of ``day``."""
    return [row for each in listings(day) for row in (each.active, each.previous)]


def active_id(code: str, day: date) -> str:
    return next(each.active.id for each in listings(day) if each.product.code == code)


def test_the_table_has_one_active_and_one_expired_month_of_every_product() -> None:
    table = contract_table(date(2026, 11, 22))

    assert Counter(row.active_contract for row in table) == {True: 51, False: 51}
    assert len({row.id for row in table}) == 102
    assert len({row.symbol_id for row in table}) == 51


@pytest.mark.parametrize(
    ("day", "contract_id"),
    [
        (date(2026, 12, 9), "CON.F.US.EP.Z26"),
        (date(2026, 12, 10), "CON.F.US.EP.H27"),  # the third Friday is the 18th
        (date(2026, 3, 11), "CON.F.US.EP.H26"),
        (date(2026, 3, 12), "CON.F.US.EP.M26"),
    ],
)
def test_stock_index_contracts_roll_eight_days_before_the_third_friday(
    day: date, contract_id: str
) -> None:
    assert active_id("ES", day) == contract_id
    assert active_id("MES", day) == contract_id.replace("EP", "MES")


def test_crude_rolls_monthly_and_into_the_next_year() -> None:
    assert active_id("CL", date(2026, 11, 16)) == "CON.F.US.CLE.Z26"
    assert active_id("CL", date(2026, 11, 17)) == "CON.F.US.CLE.F27"
    assert active_id("MCL", date(2026, 12, 31)) == "CON.F.US.MCLE.G27"


def test_gold_skips_the_months_that_nobody_trades() -> None:
    days = [date(2026, 1, 1) + timedelta(days=each) for each in range(365)]

    months = list(dict.fromkeys(active_id("GC", day)[-3:] for day in days))

    assert months == ["G26", "J26", "M26", "Q26", "Z26", "G27"]


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.code)
def test_the_front_month_never_goes_back_and_never_lies_behind(product: Product) -> None:
    day = date(2025, 1, 1)
    before = front_month(product, day)
    for offset in range(1, 800):
        day = date(2025, 1, 1) + timedelta(days=offset)
        now = front_month(product, day)
        assert now >= before
        assert (now.year, now.month) >= (day.year, day.month)
        before = now


def test_names_carry_one_digit_of_the_year_and_ids_two() -> None:
    row = next(each for each in contract_table(date(2026, 11, 22)) if each.name == "MNQZ6")

    assert row == ContractRow(
        id="CON.F.US.MNQ.Z26",
        name="MNQZ6",
        description="Micro E-mini Nasdaq-100: December 2026",
        tick_size=Decimal("0.25"),
        tick_value=Decimal("0.5"),
        active_contract=True,
        symbol_id="F.US.MNQ",
    )


def test_the_expired_month_of_a_product_is_the_one_before_its_active_month() -> None:
    listing = next(each for each in listings(date(2026, 1, 5)) if each.product.code == "NQ")

    assert (listing.active.id, listing.previous.id) == ("CON.F.US.ENQ.H26", "CON.F.US.ENQ.Z25")
    assert not listing.previous.active_contract


@pytest.mark.parametrize(
    ("symbol", "code"),
    [
        ("ES", "ES"),
        ("es", "ES"),
        ("EP", "ES"),
        ("ESH4", "ES"),
        ("ESU15", "ES"),
        ("ES201312", "ES"),
        ("MGCZ4", "MGC"),
        ("6EZ6", "6E"),
        ("E7U6", "E7"),
        ("M2KU6", "M2K"),
        ("GMET", "MET"),
    ],
)
def test_a_symbol_is_recognised_in_the_ways_vendors_write_it(symbol: str, code: str) -> None:
    product = find_product(symbol)

    assert product is not None
    assert product.code == code


@pytest.mark.parametrize("symbol", ["", "AAPL", "1234", "ESX", "Z4"])
def test_an_unknown_symbol_is_no_product(symbol: str) -> None:
    assert find_product(symbol) is None


def test_every_start_price_is_on_its_tick() -> None:
    assert [each.code for each in PRODUCTS if each.start_price % each.tick_size] == []


def test_products_follow_an_index_that_is_a_product() -> None:
    codes = {product.code for product in PRODUCTS}

    assert {product.index for product in PRODUCTS} <= codes


@pytest.mark.parametrize("path", _RECORDED, ids=lambda path: path.parent.name)
def test_the_table_equals_the_recorded_answer_of_its_day(path: Path) -> None:
    recorded = json.loads(path.read_text("utf-8"), parse_float=Decimal)["payload"]

    ours = {row.id: row for row in contract_table(_RECORDED_ON) if row.active_contract}

    assert len(recorded) == len(ours)
    for row in recorded:
        mine = ours[row["id"]]
        assert mine.name == row["name"]
        assert mine.description == row["description"]
        assert mine.tick_size == Decimal(row["tickSize"])
        assert mine.tick_value == Decimal(row["tickValue"])
        assert mine.symbol_id == row["symbolId"]
