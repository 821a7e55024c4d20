"""The contracts that the simulated venue offers: 51 products, their months and front-month rolls.

One contract per product is active, the most traded month, and the month before it is known but
inactive, so that a client can meet a contract that has rolled. Source: the gateway's recorded
``Contract/available`` answer of 19 August 2026 (roots, names, tick sizes, tick values, months).
EMD stands in the documentation of 2025 only and is left out.
"""

from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct

from backstop.adapters.projectx.wire import ContractRow
from backstop.errors import InvariantError

MONTH_CODES = "FGHJKMNQUVXZ"
_MONTH_NAMES = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_FRIDAY = 4


class RollRule(Struct, frozen=True, kw_only=True):
    """The first day on which a delivery month is no longer the most traded one.

    ``day`` of the month that lies ``months_before`` the delivery month; ``day`` None means eight
    days before the third Friday of the delivery month, the custom of the stock index contracts.
    """

    months_before: int = 0
    day: int | None = None

    def roll_date(self, year: int, month: int) -> date:
        """Return the day on which the month ``year``-``month`` stops being active."""
        if self.day is None:
            first = date(year, month, 1)
            third_friday = first + timedelta(days=(_FRIDAY - first.weekday()) % 7 + 14)
            return third_friday - timedelta(days=8)
        months = year * 12 + (month - 1) - self.months_before
        return date(months // 12, months % 12 + 1, self.day)


_ROLLS = {
    "index": RollRule(),
    "notice": RollRule(months_before=1, day=27),  # before notices of delivery begin
    "crude": RollRule(months_before=1, day=17),  # trading ends about the 20th of the month before
    "gas": RollRule(months_before=1, day=24),
    "fuels": RollRule(months_before=1, day=13),  # volume leaves two weeks before the last day
    "grains": RollRule(months_before=1, day=14),
    "cattle": RollRule(months_before=0, day=1),
    "hogs": RollRule(months_before=0, day=8),
    "crypto": RollRule(months_before=0, day=24),  # the last Friday is the last day
}


class Product(Struct, frozen=True, kw_only=True):
    """One product as a trader knows it.

    Attributes:
        code: the exchange's code, ``ES``; what a trader says.
        root: the gateway's root, ``EP``; often another word.
        description: as in the gateway's contract rows, without the month.
        tick_size: price points in one tick.
        tick_value: dollars that a tick is worth for one contract.
        months: the delivery months that are ever the most traded one.
        roll: when one of them stops being it.
        index: code of the product whose price this one follows; minis and micros share one path.
        start_price: price points at which the generator begins. ES and NQ begin where the worked
            examples of the documentation stand.
        fee: dollars per contract and fill.
    """

    code: str
    root: str
    description: str
    tick_size: Decimal
    tick_value: Decimal
    months: str
    roll: RollRule
    index: str
    start_price: Decimal
    fee: Decimal


# Fees: 0.36 (MES, MNQ) and 0.51 (MCL) are recorded; the others are set by their kind.
# code, root, tick size, tick value, months, roll, index, start price, fee, description
_TABLE = """
ES   EP   0.25       12.5    HMUZ    index  ES   6000    1.40 E-Mini S&P 500
MES  MES  0.25       1.25    HMUZ    index  ES   6000    0.36 Micro E-mini S&P 500
NQ   ENQ  0.25       5       HMUZ    index  NQ   21000   1.40 E-mini NASDAQ-100
MNQ  MNQ  0.25       0.5     HMUZ    index  NQ   21000   0.36 Micro E-mini Nasdaq-100
RTY  RTY  0.1        5       HMUZ    index  RTY  2250    1.40 E-mini Russell 2000
M2K  M2K  0.1        0.5     HMUZ    index  RTY  2250    0.36 Micro E-mini Russell 2000
YM   YM   1          5       HMUZ    index  YM   43500   1.40 E-mini Dow ($5)
MYM  MYM  1          0.5     HMUZ    index  YM   43500   0.36 Micro E-mini Dow $0.50
NKD  NKD  5          25      HMUZ    index  NKD  39000   2.16 Nikkei 225 (Globex)
CL   CLE  0.01       10      every   crude  CL   72      1.52 Crude Light (Globex)
QM   NQM  0.025      12.5    every   crude  CL   72      1.22 E-Mini Crude Oil
MCL  MCLE 0.01       1       every   crude  CL   72      0.51 Micro WTI Crude Oil
NG   NGE  0.001      10      every   gas    NG   3.5     1.60 Natural Gas (Globex)
QG   NQG  0.005      12.5    every   gas    NG   3.5     0.52 E-Mini Natural Gas
MNG  MNG  0.001      1       every   gas    NG   3.5     0.61 Micro Henry Hub Natural Gas
HO   HOE  0.0001     4.2     every   fuels  HO   2.4     1.52 NY Harbor ULSD
RB   RBE  0.0001     4.2     every   fuels  RB   2.1     1.52 RBOB Gasoline (Globex)
GC   GCE  0.1        10      GJMQZ   notice GC   2900    1.62 Gold (Globex)
MGC  MGC  0.1        1       GJMQZ   notice GC   2900    0.62 Micro Gold
SI   SIE  0.005      25      HKNUZ   notice SI   32      1.62 Silver (Globex)
SIL  SIL  0.005      5       HKNUZ   notice SI   32      1.02 Micro Silver
HG   CPE  0.0005     12.5    HKNUZ   notice HG   4.5     1.62 Copper (Globex)
MHG  MHG  0.0005     1.25    HKNUZ   notice HG   4.5     0.62 Micro Copper
PL   PLE  0.1        5       FJNV    notice PL   980     1.62 Platinum (Globex)
6E   EU6  0.00005    6.25    HMUZ    index  6E   1.08    1.62 Euro FX (Globex)
E7   EEU  0.0001     6.25    HMUZ    index  6E   1.08    0.87 E-mini Euro FX
M6E  M6E  0.0001     1.25    HMUZ    index  6E   1.08    0.26 E-Micro EUR/USD
6B   BP6  0.0001     6.25    HMUZ    index  6B   1.29    1.62 British Pound (Globex)
M6B  M6B  0.0001     0.625   HMUZ    index  6B   1.29    0.26 E-Micro GBP/USD
6A   DA6  0.00005    5       HMUZ    index  6A   0.65    1.62 Australian Dollar (Globex)
M6A  M6A  0.0001     1       HMUZ    index  6A   0.65    0.26 E-Micro AUD/USD
6C   CA6  0.00005    5       HMUZ    index  6C   0.72    1.62 Canadian Dollar (Globex)
6J   JY6  5E-7       6.25    HMUZ    index  6J   0.0067  1.62 Japanese Yen (Globex)
6S   SF6  0.00005    6.25    HMUZ    index  6S   1.12    1.62 Swiss Franc (Globex)
6N   NE6  0.00005    5       HMUZ    index  6N   0.58    1.62 New Zealand Dollar (Globex)
6M   MX6  0.00001    5       HMUZ    index  6M   0.05    1.62 Mexican Peso (Globex)
ZT   TUA  0.00390625 7.8125  HMUZ    notice ZT   103     0.67 2 Year US Treasury Note (Globex)
ZF   FVA  0.0078125  7.8125  HMUZ    notice ZF   107     0.67 5 Year US Treasury Notes (Globex)
ZN   TYA  0.015625   15.625  HMUZ    notice ZN   110     0.82 10yr US Treasury Notes (Globex)
TN   TNA  0.015625   15.625  HMUZ    notice TN   113     0.84 Ultra 10yr Treasury Note (Globex)
ZB   USA  0.03125    31.25   HMUZ    notice ZB   116     0.91 30yr US Treasury Bonds (Globex)
UB   ULA  0.03125    31.25   HMUZ    notice UB   120     0.98 Ultra T-Bond (Globex)
ZC   ZCE  0.25       12.5    HKNZ    grains ZC   450     2.15 Corn (Globex)
ZS   ZSE  0.25       12.5    FHKNX   grains ZS   1050    2.15 Soybeans (Globex)
ZW   ZWA  0.25       12.5    HKNUZ   grains ZW   560     2.15 Wheat (Globex)
ZL   ZLE  0.01       6       FHKNZ   grains ZL   46      2.15 Soybean Oil (Globex)
ZM   ZME  0.1        10      FHKNZ   grains ZM   310     2.15 Soybean Meal (Globex)
LE   GLE  0.025      10      GJMQVZ  cattle LE   195     2.12 Live Cattle (Globex)
HE   HE   0.025      10      GJMNQVZ hogs   HE   88      2.12 Lean Hogs (Globex)
MBT  MBT  5          0.5     every   crypto MBT  95000   2.02 Micro Bitcoin
MET  GMET 0.5        0.05    every   crypto MET  3200    0.22 Micro Ether
"""


def _product(line: str) -> Product:
    """Return the product that one line of the table describes."""
    code, root, tick, value, months, roll, index, start, fee, description = line.split(maxsplit=9)
    return Product(
        code=code,
        root=root,
        description=description,
        tick_size=Decimal(tick),
        tick_value=Decimal(value),
        months=MONTH_CODES if months == "every" else months,
        roll=_ROLLS[roll],
        index=index,
        start_price=Decimal(start),
        fee=Decimal(fee),
    )


PRODUCTS: tuple[Product, ...] = tuple(_product(line) for line in _TABLE.strip().splitlines())

_BY_CODE = {product.code: product for product in PRODUCTS}
_BY_ROOT = {product.root: product for product in PRODUCTS}


class Month(Struct, frozen=True, kw_only=True, order=True):
    """One delivery month of one product."""

    year: int
    month: int

    @property
    def code(self) -> str:
        """Return the month's letter: Z for December."""
        return MONTH_CODES[self.month - 1]


class Listing(Struct, frozen=True, kw_only=True):
    """One product's two contract months on one day.

    ``last_day`` is the day on which the active month rolls, and the venue's last day for it.
    """

    product: Product
    active: ContractRow
    previous: ContractRow
    last_day: date


def front_month(product: Product, day: date) -> Month:
    """Return the most traded month of ``product`` on ``day``."""
    for month in _cycle(product, day.year):
        if day < product.roll.roll_date(month.year, month.month):
            return month
    raise InvariantError(f"No month of {product.code} lies after {day}.")


def previous_month(product: Product, month: Month) -> Month:
    """Return the month of ``product`` that was active before ``month``."""
    return max(earlier for earlier in _cycle(product, month.year) if earlier < month)


def contract_row(product: Product, month: Month, *, active: bool) -> ContractRow:
    """Return the gateway's row for one month of ``product``."""
    return ContractRow(
        id=f"CON.F.US.{product.root}.{month.code}{month.year % 100:02d}",
        name=f"{product.code}{month.code}{month.year % 10}",
        description=f"{product.description}: {_MONTH_NAMES[month.month - 1]} {month.year}",
        tick_size=product.tick_size,
        tick_value=product.tick_value,
        active_contract=active,
        symbol_id=f"F.US.{product.root}",
    )


def listings(day: date) -> tuple[Listing, ...]:
    """Return the active and the previous month of every product on ``day``."""
    found = []
    for product in PRODUCTS:
        front = front_month(product, day)
        found.append(
            Listing(
                product=product,
                active=contract_row(product, front, active=True),
                previous=contract_row(product, previous_month(product, front), active=False),
                last_day=product.roll.roll_date(front.year, front.month),
            )
        )
    return tuple(found)


def find_product(symbol: str) -> Product | None:
    """Return the product that ``symbol`` names, or None.

    Args:
        symbol: a code (``ES``), a gateway root (``EP``), or either with a month, as data vendors
            write it: ``ESH4``, ``ESU15``, ``ES201312``.
    """
    name = symbol.strip().upper()
    direct = _BY_CODE.get(name) or _BY_ROOT.get(name)
    if direct is not None:
        return direct
    stem = name.rstrip("0123456789")
    if stem == name or not stem:
        return None
    # A month letter may be missing (ES201312); a code may end in a digit only in front of one.
    for candidate in (stem[:-1] if stem[-1] in MONTH_CODES else stem, stem):
        product = _BY_CODE.get(candidate) or _BY_ROOT.get(candidate)
        if product is not None:
            return product
    return None


def _cycle(product: Product, year: int) -> list[Month]:
    """Return the months of ``product`` from the year before ``year`` to the year after it."""
    return [
        Month(year=each, month=MONTH_CODES.index(code) + 1)
        for each in (year - 1, year, year + 1)
        for code in product.months
    ]
