"""When contract months have to be left: the exchange's rules for the last trading day, by root.

Settled in cash: before trading ends. Delivered: before delivery could be asked for. A root without
a rule here has no end that anybody knows; the venue still says which month it takes orders for.

Source: the contract specifications of CME Group (rulebook chapters 358, 359, 361, 200, 113, 19, 18
and 261), as of 2026.
"""

import re
from collections.abc import Iterable
from datetime import date, time, timedelta
from enum import StrEnum

from backstop.adapters.session_calendar import OPENS, utc_us_at
from backstop.adapters.session_exceptions import EXCEPTIONS, FIRST_DATE, LAST_DATE
from backstop.domain.instrument import Instrument
from backstop.domain.session import ContractEnd, MarketGroup

LEAVE_BEFORE_US = 3_600_000_000
"""An hour before trading ends a month is left: by then nearly everybody else has left it too."""

_MONTHS = "FGHJKMNQUVXZ"
_MONTH = re.compile(rf"\.([{_MONTHS}])([0-9]{{2}})$")
_HALF_DAY = "12:15"  # the stock market trades in the morning: a business day all the same
_ONE_DAY = timedelta(days=1)
_WEDNESDAY, _FRIDAY = 2, 4
_SATURDAY = 5


class _Rule(StrEnum):
    INDEX = "INDEX"  # the third Friday, at the opening of the stock market
    CURRENCY = "CURRENCY"  # two business days before the third Wednesday
    CRUDE = "CRUDE"  # three business days before the 25th of the month before
    CRUDE_MICRO = "CRUDE_MICRO"  # a business day before that
    DELIVERED = "DELIVERED"  # the business day before the first notice day


_RULES = {
    **dict.fromkeys(("ES", "MES", "NQ", "MNQ", "RTY", "M2K", "YM", "MYM"), _Rule.INDEX),
    **dict.fromkeys(("6E", "M6E"), _Rule.CURRENCY),
    "CL": _Rule.CRUDE,
    "MCL": _Rule.CRUDE_MICRO,
    **dict.fromkeys(("GC", "MGC", "ZN", "ZB"), _Rule.DELIVERED),
}

_TRADING_ENDS = {
    # Chicago time on the last day.
    _Rule.INDEX: time(8, 30),
    _Rule.CURRENCY: time(9, 16),
    _Rule.CRUDE: time(13, 30),
    _Rule.CRUDE_MICRO: time(13, 30),
    _Rule.DELIVERED: time(16),
}


def contract_ends(instruments: Iterable[Instrument]) -> tuple[ContractEnd, ...]:
    """Return when each of ``instruments`` has to be left, where that is known."""
    ends = (_end_of(it) for it in instruments)
    return tuple(it for it in ends if it is not None)


def _end_of(instrument: Instrument) -> ContractEnd | None:
    rule = _RULES.get(instrument.symbol)
    month = _MONTH.search(instrument.contract_id)
    if rule is None or month is None:
        return None
    first = date(2000 + int(month[2]), _MONTHS.index(month[1]) + 1, 1)
    if not date.fromisoformat(FIRST_DATE) + timedelta(days=62) <= first:
        return None
    if first + timedelta(days=31) > date.fromisoformat(LAST_DATE):
        return None
    last = _last_date(rule, first)
    ends_us = utc_us_at(last, _TRADING_ENDS[rule])
    return ContractEnd(
        contract_id=instrument.contract_id,
        last_date=last.isoformat(),
        entries_until_utc_us=utc_us_at(last - _ONE_DAY, OPENS),
        flat_by_utc_us=ends_us - LEAVE_BEFORE_US,
        ends_utc_us=ends_us,
    )


def _last_date(rule: _Rule, first: date) -> date:
    """Return the last date on which the month that begins with ``first`` may be held."""
    match rule:
        case _Rule.INDEX:
            return _on_or_before(_third(first, _FRIDAY))
        case _Rule.CURRENCY:
            return _business_days_before(_third(first, _WEDNESDAY), 2)
        case _Rule.CRUDE | _Rule.CRUDE_MICRO:
            before = (first - _ONE_DAY).replace(day=25)
            days = 3 if rule is _Rule.CRUDE else 4
            return _business_days_before(_on_or_before(before), days)
        case _Rule.DELIVERED:
            return _business_days_before(_on_or_before(first - _ONE_DAY), 1)


def _third(first: date, weekday: int) -> date:
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 14)


def _on_or_before(day: date) -> date:
    while not _is_business_day(day):
        day -= _ONE_DAY
    return day


def _business_days_before(day: date, count: int) -> date:
    for _ in range(count):
        day = _on_or_before(day - _ONE_DAY)
    return day


def _is_business_day(day: date) -> bool:
    """Say whether the stock market opens; its holidays are the exchange's for settlement."""
    if day.weekday() >= _SATURDAY:
        return False
    unusual = EXCEPTIONS[MarketGroup.EQUITY]
    key = day.isoformat()
    return key not in unusual or unusual[key] == _HALF_DAY
