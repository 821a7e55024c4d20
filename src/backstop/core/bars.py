"""Closed five-minute bars as the estimators take them, and the market's own clock."""

import math
from decimal import Decimal

from msgspec import Struct

BAR_US = 300_000_000
"""Length of one bar, microseconds: five minutes."""

TRADING_DAY_S = 24 * 3600
"""One trading day with its maintenance hour, seconds of market time."""

_OPEN_WEEK_S = 5 * TRADING_DAY_S  # Sunday 22:00 to Friday 22:00 UTC
_WEEK_S = 7 * 24 * 3600
_FIRST_OPEN_S = 3 * 24 * 3600 + 22 * 3600  # Sunday 1970-01-04 22:00 UTC


class Bar(Struct, frozen=True, kw_only=True):
    """One closed five-minute bar.

    Attributes:
        family: the underlying whose volatility and correlation it feeds.
        contract_id: a close is compared only with one of the same contract, because the step
            from one month to the next at a roll is no return.
        trade_date: the exchange's trade date, ``2024-08-05``: the session the bar belongs to.
        start_utc_us: start of the bar, microseconds since 1970.
        close: last price, points.
    """

    family: str
    contract_id: str
    trade_date: str
    start_utc_us: int
    close: Decimal


def log_ratio(first: float, last: float) -> float | None:
    """Return the logarithm of ``last / first``, two prices, or None where it has no meaning.

    Oil has traded at and below zero; a gateway may send nonsense. Neither becomes a number.
    """
    if not (0.0 < first < math.inf and 0.0 < last < math.inf):
        return None
    ratio = last / first
    # The quotient of absurd prices leaves the range of a float on either side.
    return math.log(ratio) if 0.0 < ratio < math.inf else None


def market_age_s(since_utc_us: int, now_utc_us: int) -> int:
    """Return the seconds from ``since`` to ``now`` in which futures could trade.

    Saturdays and most of Sundays do not age a figure: the 48 hours from Friday 22:00 UTC are left
    out, which is the exchange's weekend to within an hour in both halves of the year. Holidays
    do age it: that errs to the careful side. Negative when ``since`` lies ahead.
    """
    return _open_seconds(now_utc_us // 1_000_000) - _open_seconds(since_utc_us // 1_000_000)


def outdated_utc_us(since_utc_us: int, limit_s: int) -> int:
    """Return the first moment at which ``market_age_s`` since ``since_utc_us`` is above a limit."""
    weeks, rest = divmod(_open_seconds(since_utc_us // 1_000_000) + limit_s + 1, _OPEN_WEEK_S)
    if rest == 0:  # the last second of a week, not the first of the next
        weeks, rest = weeks - 1, _OPEN_WEEK_S
    return (_FIRST_OPEN_S + weeks * _WEEK_S + rest) * 1_000_000


def _open_seconds(utc_s: int) -> int:
    weeks, rest = divmod(utc_s - _FIRST_OPEN_S, _WEEK_S)
    return weeks * _OPEN_WEEK_S + min(rest, _OPEN_WEEK_S)
