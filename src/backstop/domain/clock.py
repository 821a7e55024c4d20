"""One look at the venue's clock; the only one that it shows is the ``Date`` of its answers."""

from msgspec import Struct

DATE_RESOLUTION_US = 1_000_000
"""A ``Date`` header names the second in which an answer was made, not when in it."""


class ClockReading(Struct, frozen=True, kw_only=True):
    """What one answer said of the venue's time, at the monotonic time ``read_ns``.

    Attributes:
        read_ns: when the answer came, monotonic.
        ours_utc_us: our own time of day then.
        earliest_utc_us: the venue's time then was no earlier: the second that it named.
        latest_utc_us: nor later: the end of that second, and all of the round trip.
    """

    read_ns: int
    ours_utc_us: int
    earliest_utc_us: int
    latest_utc_us: int

    @property
    def offset_us(self) -> int:
        """The venue's time of day minus ours, as likely as not too small."""
        return (self.earliest_utc_us + self.latest_utc_us) // 2 - self.ours_utc_us

    @property
    def round_trip_us(self) -> int:
        """How long the answer took."""
        return self.latest_utc_us - self.earliest_utc_us - DATE_RESOLUTION_US
