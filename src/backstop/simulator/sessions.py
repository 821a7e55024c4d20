"""CME Globex hours, as far as the simulator needs them.

Sunday 17:00 to Friday 16:00 Chicago time with a break from 16:00 to 17:00; a session bears the date
of the day on which it ends. Holidays and early closes are left out. All times in and out are
microseconds since 1970 UTC.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

CHICAGO = ZoneInfo("America/Chicago")
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US

_OPENS = time(17)
_CLOSES = time(16)
_TO_MIDNIGHT = timedelta(hours=7)  # a session opens seven hours before its own date begins
_SATURDAY = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSETS_MAX = 8_192  # hours kept: more than a year of history


def utc(us: int) -> datetime:
    """Return the instant ``us`` as a UTC time."""
    return _EPOCH + timedelta(microseconds=us)


def instant_us(moment: datetime) -> int:
    """Return an aware ``moment`` in microseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=_OFFSETS_MAX)
def _offset_us(hour: int) -> int:
    """Return Chicago's distance from UTC in the given hour since 1970; it changes on full hours."""
    offset = utc(hour * HOUR_US).astimezone(CHICAGO).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)


def local_us(us: int) -> int:
    """Return Chicago's wall clock at ``us`` as if it were UTC: its minute of the day, its date."""
    return us + _offset_us(us // HOUR_US)


def trade_date(us: int) -> date:
    """Return the trade date that ``us`` belongs to; the break belongs to the session before."""
    wall = utc(local_us(us))
    return (wall + _TO_MIDNIGHT).date() if wall.time() >= _OPENS else wall.date()


def session_us(day: date) -> tuple[int, int]:
    """Return when the session of trade date ``day`` opens and closes."""
    opens = datetime.combine(day - timedelta(days=1), _OPENS, CHICAGO)
    closes = datetime.combine(day, _CLOSES, CHICAGO)
    return instant_us(opens), instant_us(closes)


def is_open(us: int) -> bool:
    """Tell whether Globex trades at ``us``."""
    day = trade_date(us)
    opens, closes = session_us(day)
    return day.weekday() < _SATURDAY and opens <= us < closes


def next_change_us(us: int) -> int:
    """Return the next instant after ``us`` at which Globex opens or closes."""
    day = trade_date(us)
    while True:
        if day.weekday() < _SATURDAY:
            for edge in session_us(day):
                if edge > us:
                    return edge
        day += timedelta(days=1)


def sessions_before(us: int, count: int) -> list[tuple[int, int]]:
    """Return the last ``count`` sessions that opened before ``us``, oldest first.

    The last of them ends at ``us`` when it is still open then.
    """
    found: list[tuple[int, int]] = []
    day = trade_date(us)
    while len(found) < count:
        opens, closes = session_us(day)
        if day.weekday() < _SATURDAY and opens < us:
            found.append((opens, min(closes, us)))
        day -= timedelta(days=1)
    found.reverse()
    return found
