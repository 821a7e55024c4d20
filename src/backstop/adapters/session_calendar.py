"""The hours of CME Globex, from the time zone database and the table of unusual days.

Sunday 17:00 to Friday 16:00 Chicago time with a break from 16:00 to 17:00. A session bears the date
of the day on which it ends. What follows from the hours is decided elsewhere.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from backstop.adapters.session_exceptions import EXCEPTIONS, FIRST_DATE, LAST_DATE
from backstop.domain.session import MarketGroup, Session

CHICAGO = ZoneInfo("America/Chicago")

OPENS = time(17)
CLOSES = time(16)

LOOK_AHEAD_DAYS = 14
"""No group rests this long: a search for the next session that goes further has gone wrong."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SATURDAY = 5


def chicago(utc_us: int) -> datetime:
    """Return ``utc_us`` (microseconds since 1970, UTC) on Chicago's clock."""
    return (_EPOCH + utc_us * _MICROSECOND).astimezone(CHICAGO)


def utc_us_at(day: date, at: time) -> int:
    """Return the moment at which Chicago's clock shows ``at`` on ``day``, microseconds UTC."""
    return (datetime.combine(day, at, CHICAGO) - _EPOCH) // _MICROSECOND


def trade_date(utc_us: int) -> date:
    """Return the trading day that ``utc_us`` belongs to: days change at 17:00 Chicago.

    What lies after Friday's change belongs to Monday: nothing is traded before its session opens.
    """
    local = chicago(utc_us)
    day = local.date() + timedelta(days=1) if local.time() >= OPENS else local.date()
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return day


def session_on(group: MarketGroup, day: date) -> Session | None:
    """Return the session of ``group`` that bears the date ``day``; None when there is none."""
    if day.weekday() >= _SATURDAY:
        return None
    unusual = EXCEPTIONS[group]
    key = day.isoformat()
    closes = CLOSES
    if key in unusual:
        early = unusual[key]
        if early is None:
            return None
        closes = time.fromisoformat(early)
    return Session(
        group=group,
        trade_date=key,
        opens_utc_us=utc_us_at(day - timedelta(days=1), OPENS),
        closes_utc_us=utc_us_at(day, closes),
        early=closes < CLOSES,
    )


def sessions_from(group: MarketGroup, utc_us: int, *, count: int = 2) -> tuple[Session, ...]:
    """Return the session that is open at ``utc_us``, or the next one, and those after it.

    Args:
        group: the markets.
        utc_us: microseconds since 1970, UTC.
        count: sessions wanted.
    """
    found: list[Session] = []
    day = chicago(utc_us).date()
    for _ in range(LOOK_AHEAD_DAYS + 2 * count):
        session = session_on(group, day)
        if session is not None and session.closes_utc_us > utc_us:
            found.append(session)
            if len(found) == count:
                break
        day += timedelta(days=1)
    return tuple(found)


def is_known(utc_us: int) -> bool:
    """Say whether the table of unusual days reaches ``utc_us``."""
    return FIRST_DATE <= trade_date(utc_us).isoformat() <= LAST_DATE
