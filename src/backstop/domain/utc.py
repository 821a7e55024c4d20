"""Moments for people and records: microseconds since 1970 as ISO-8601 text, and back."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_text(utc_us: int) -> str:
    """Return ``utc_us`` (microseconds since 1970, UTC) as ``2026-11-02T14:30:00.000000Z``.

    Always six decimals and ``Z``, so that the order of the texts is the order of the moments.
    """
    seconds, micros = divmod(utc_us, 1_000_000)
    return f"{_second_text(seconds)}.{micros:06}Z"


@lru_cache(maxsize=64)
def _second_text(seconds: int) -> str:
    """Return one second as text; a busy second is asked for thousands of times."""
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def utc_us_of(text: str) -> int:
    """Return the microseconds since 1970 of ISO-8601 ``text``; without an offset it means UTC.

    Raises:
        ValueError: the text is not ISO-8601.
    """
    return microseconds(datetime.fromisoformat(text))


def microseconds(moment: datetime) -> int:
    """Return ``moment`` in microseconds since 1970; without an offset it means UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND
