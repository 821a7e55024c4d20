"""Moments for people and records: microseconds since 1970 as ISO-8601 text, and back."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_text(utc_us: int) -> str:
    """Return ``utc_us`` (microseconds since 1970, UTC) as ``2026-11-02T14:30:00.000000Z``.

    Always six decimals and ``Z``, so that the order of the texts is the order of the moments.
    """
    moment = _EPOCH + utc_us * _MICROSECOND
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def utc_us_of(text: str) -> int:
    """Return the microseconds since 1970 of ISO-8601 ``text``; without an offset it means UTC.

    Raises:
        ValueError: the text is not ISO-8601.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND
