"""What time it is at the venue, within bounds, whatever our own time of day says.

The answers of the gateway say its time to the second. They are laid beside the monotonic clock,
which no step of NTP and no suspend disturbs; so the venue's time of any moment of this process
follows without a look at our wall clock. Times of the venue (of orders, of trades) are compared
with that and with nothing else. While no answer says the time, it is not known, and nothing that
depends on it is concluded.
"""

from dataclasses import dataclass

from msgspec import Struct

from backstop.domain.clock import DATE_RESOLUTION_US, ClockReading

READS = 3
"""How many of the newest answers are looked at: one of them may be odd, or slow."""

TOLERANCE_US = 1_000_000
"""Readings that move the bounds by less are no news: clocks drift, and servers cache the header."""

NARROWER_US = 10_000_000
"""Bounds that a slow answer made wide are told anew once they are this much narrower."""

LOOK_BACK_US = 60_000_000
"""Searches begin this long before what they are for: what stamps an order at the venue need not be
the clock of the server that answers us."""

DAY_US = 24 * 3600 * 1_000_000

STEP_US = 1_000_000
"""Our wall clock does not move this far against the monotonic one unless somebody sets it."""


class Span(Struct, frozen=True, kw_only=True):
    """A time of the venue, microseconds since 1970, as two bounds: it lies between them."""

    earliest_us: int
    latest_us: int

    def later(self, by_us: int) -> "Span":
        """Return the bounds ``by_us`` later."""
        return Span(earliest_us=self.earliest_us + by_us, latest_us=self.latest_us + by_us)

    def wider(self, by_us: int) -> "Span":
        """Return the bounds ``by_us`` farther out on either side."""
        return Span(earliest_us=self.earliest_us - by_us, latest_us=self.latest_us + by_us)

    def meets(self, other: "Span") -> bool:
        """Say whether one time lies within both."""
        return self.earliest_us <= other.latest_us and other.earliest_us <= self.latest_us

    def joined(self, other: "Span") -> "Span":
        """Return the bounds that hold whichever of the two is true."""
        return Span(
            earliest_us=min(self.earliest_us, other.earliest_us),
            latest_us=max(self.latest_us, other.latest_us),
        )


@dataclass(slots=True)
class VenueClock:
    """What this process knows of the venue's clock.

    Attributes:
        readings: the newest ones that were told of, oldest first; empty: its time is not known.
        zero: the venue's time at the monotonic time 0, by the newest readings there ever were.
        stamps: the same by all readings of this process, before steps and after them; by the newest
            alone once trades have shown that their stamps go by it.
        stepped_ns: monotonic time of the newest reading that made ``stamps`` wider; 0: none did.
        fitting: trades in a row since then whose stamps go by ``zero``.
        told: something was heard, be it that the answers do not say the time.
        is_off: our time of day is farther from the venue's than is allowed.
    """

    readings: tuple[ClockReading, ...] = ()
    zero: Span | None = None
    stamps: Span | None = None
    stepped_ns: int = 0
    fitting: int = 0
    told: bool = False
    is_off: bool = False

    def restart(self) -> None:
        """Forget everything: the monotonic clock may be that of another boot."""
        self.readings, self.zero, self.stamps = (), None, None
        self.stepped_ns = self.fitting = 0
        self.told, self.is_off = False, False

    def show(self, zero: Span, *, now_ns: int) -> None:
        """Go by ``zero`` from now on.

        A clock that drifts is one clock. Where it was set, what was stamped before goes by the old
        time, and what stamps orders need not have been set with it at all.
        """
        before, self.zero = self.zero, zero
        if before is None or self.stamps is None:
            self.stamps = zero
            return
        earlier_us = zero.earliest_us - before.earliest_us
        later_us = zero.latest_us - before.latest_us
        if max(abs(earlier_us), abs(later_us)) <= TOLERANCE_US:
            self.stamps = Span(
                earliest_us=self.stamps.earliest_us + earlier_us,
                latest_us=self.stamps.latest_us + later_us,
            )
        else:
            self.stepped_ns, self.fitting = now_ns, 0
        self.stamps = self.stamps.joined(zero)

    def heard(self, stamp_us: int, *, after_ns: int, now_ns: int) -> None:
        """Learn from the stamp of a trade that was made between two monotonic times.

        Where it can only be by ``zero``, READS times in a row, trades are stamped by the clock that
        answers. What was stamped before the step matters until that clock is past all of it.
        """
        zero, stamps = self.zero, self.stamps
        if zero is None or stamps is None or not 0 < self.stepped_ns <= after_ns:
            return
        wide = zero.wider(TOLERANCE_US)
        by = Span(earliest_us=stamp_us - now_ns // 1000, latest_us=stamp_us - after_ns // 1000)
        if not wide.meets(by):
            self.fitting = 0
        elif wide.joined(by) == wide:
            self.fitting += 1
        old_us = stamps.latest_us + self.stepped_ns // 1000
        if self.fitting >= READS and old_us <= zero.earliest_us + now_ns // 1000:
            self.stamps, self.stepped_ns, self.fitting = zero, 0, 0

    def at(self, moment_ns: int) -> Span | None:
        """Return the venue's time at a monotonic time of this process; None: nobody knows."""
        return self._at(self.zero, moment_ns)

    def stamped_at(self, moment_ns: int) -> Span | None:
        """Return what an order or a trade of that moment may be stamped with; None: anything."""
        return self._at(self.stamps, moment_ns)

    def _at(self, zero: Span | None, moment_ns: int) -> Span | None:
        if zero is None or not self.readings:
            return None
        return zero.wider(TOLERANCE_US).later(moment_ns // 1000)


def zero_of(readings: tuple[ClockReading, ...]) -> Span:
    """Return the venue's time at the monotonic time 0; ``readings`` are not empty.

    Readings that can all be true narrow each other down. Where they cannot, a clock was set in
    between, and it is nowhere beyond all of them.
    """
    earliest = [it.earliest_utc_us - it.read_ns // 1000 for it in readings]
    latest = [it.latest_utc_us - it.read_ns // 1000 for it in readings]
    if max(earliest) <= min(latest):
        return Span(earliest_us=max(earliest), latest_us=min(latest))
    return Span(earliest_us=min(earliest), latest_us=max(latest))


def offset_of(readings: tuple[ClockReading, ...]) -> tuple[int, int]:
    """Return the venue's time of day minus ours by all ``readings``, and to what it is true, in us.

    A slow answer alone says little; beside quicker ones it changes nothing. No more is claimed than
    one answer without any delay would say: servers cache the header.
    """
    bounds = zero_of(readings)
    width_us = bounds.latest_us - bounds.earliest_us
    offset_us = bounds.earliest_us + width_us // 2 - ours_at_zero_us(readings[-1])
    return offset_us, max(width_us, DATE_RESOLUTION_US) // 2


def cautious_us(venue_us: int, *, ours_us: int) -> int:
    """Return the earlier of two times of day; ours only while it is not absurd."""
    return min(venue_us, ours_us) if ours_us >= venue_us - DAY_US else venue_us


def ours_at_zero_us(reading: ClockReading) -> int:
    """Return what our time of day was at the monotonic time 0: it moves only when it is set."""
    return reading.ours_utc_us - reading.read_ns // 1000


def is_off(reading: ClockReading, *, limit_us: int) -> bool:
    """Say whether the two times of day differ by more than ``limit_us``, however the trip went."""
    return abs(reading.offset_us) - reading.round_trip_us // 2 > limit_us


def still_off(clock: VenueClock, readings: tuple[ClockReading, ...], *, limit_us: int) -> bool:
    """Judge by the newest three together: one odd answer neither blocks nor lifts anything."""
    if not limit_us:
        return False
    if len(readings) < READS:
        return clock.is_off
    beyond = [is_off(it, limit_us=limit_us) for it in readings]
    return all(beyond) or (clock.is_off and any(beyond))


def is_news(clock: VenueClock, readings: tuple[ClockReading, ...], *, limit_us: int) -> bool:
    """Say whether the newest readings change what is known: only such ones go on record."""
    if not clock.told or bool(readings) != bool(clock.readings):
        return True
    if not readings or clock.zero is None:
        return False
    known, now = clock.zero, zero_of(readings)
    beyond = (
        now.earliest_us < known.earliest_us - TOLERANCE_US
        or now.latest_us > known.latest_us + TOLERANCE_US
    )
    narrower = (known.latest_us - known.earliest_us) - (now.latest_us - now.earliest_us)
    stepped = abs(ours_at_zero_us(readings[-1]) - ours_at_zero_us(clock.readings[-1]))
    return (
        beyond
        or narrower > NARROWER_US
        or stepped > STEP_US
        or still_off(clock, readings, limit_us=limit_us) != clock.is_off
    )
