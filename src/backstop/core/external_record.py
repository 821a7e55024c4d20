"""What is remembered of trading on the account that may not be ours; all of it is bounded."""

from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.venue_clock import DAY_US, VenueClock, cautious_us
from backstop.domain.order import Side


class Sighting(Struct, frozen=True, kw_only=True):
    """An order of the venue that nobody has named yet.

    Attributes:
        contract_id: what it trades.
        seen_ns: when this process first heard of it, monotonic.
        urgent: its trades were found by the reads of a start: our own would have been known there.
    """

    contract_id: str
    seen_ns: int
    urgent: bool = False


class Adjustment(Struct, frozen=True, kw_only=True):
    """A position that reads of the account moved while no trade explained it.

    ``before`` is by how many signed contracts it had been adjusted until then.
    """

    before: int
    seen_ns: int


class WorkingForeign(Struct, frozen=True, kw_only=True):
    """A working order of somebody else that a person was told of, and how it is being cancelled."""

    cancels: int = 0
    due_ns: int = 0  # the next cancel, monotonic
    seen_ns: int = 0  # since when it is known to be somebody else's, monotonic


class TaggedOrder(Struct, frozen=True, kw_only=True):
    """An order of another program: what its tag begins with, and the venue's time of it."""

    broker_order_id: int
    prefix: str
    created_utc_us: int


class OwnClose(Struct, frozen=True, kw_only=True):
    """A close that we asked the venue for; it answers with a market order that bears no name.

    Attributes:
        newest_order_id: the highest order number that was known then: the venue counts up.
        side: of that order; None: what was held was not known.
        quantity: contracts, once its time is over only those that it led to; None: all that the
            venue holds, in one order.
        claims: the orders that were taken for it, with the contracts of each.
    """

    contract_id: str
    newest_order_id: int
    side: Side | None
    quantity: int | None
    claims: tuple[tuple[int, int], ...] = ()
    asked_ns: int = 0  # monotonic


@dataclass(slots=True)
class ExternalRecord:
    """Trading that is not ours, or not known to be."""

    guarding_since_utc_us: int = 0  # the venue's time when the first guard of this record began
    begun_utc_us: int = 0  # our time of day then, while that is not known
    begun_ns: int = 0  # and the monotonic time, in that guard's own process
    sightings: dict[int, Sighting] = field(default_factory=dict)
    adjusted: dict[str, Adjustment] = field(default_factory=dict)  # by contract
    foreign: dict[int, None] = field(default_factory=dict)  # orders found to be of others
    working: dict[int, WorkingForeign] = field(default_factory=dict)  # of those: the live ones
    tagged: tuple[TaggedOrder, ...] = ()  # of the last hour
    closes: tuple[OwnClose, ...] = ()
    in_doubt: bool = False  # something could not be attributed in time

    @property
    def is_busy(self) -> bool:
        """Something of it waits for time, a read or another fact."""
        waits = self.sightings or self.adjusted or self.working or self.closes
        return bool(waits) or self.in_doubt

    def begin(self, *, utc_us: int, now_ns: int, measures_clock: bool) -> None:
        """Let every wait begin anew in a new process: earlier monotonic times mean nothing.

        Without ``measures_clock`` our time of day is taken for the venue's.
        """
        if not self.guarding_since_utc_us and not measures_clock:
            self.guarding_since_utc_us = utc_us
        self.begun_ns = 0 if self.begun_utc_us else now_ns
        self.begun_utc_us = self.begun_utc_us or utc_us
        self.sightings = {
            number: replace(it, seen_ns=now_ns) for number, it in self.sightings.items()
        }
        self.adjusted = {
            contract_id: replace(it, seen_ns=now_ns) for contract_id, it in self.adjusted.items()
        }
        self.working = {
            number: replace(it, due_ns=now_ns, seen_ns=now_ns)
            for number, it in self.working.items()
        }
        # What came of the closes that were under way shows from now on.
        self.closes = tuple(replace(it, asked_ns=now_ns) for it in self.closes)

    def guarded_from(self, clock: VenueClock, *, utc_us: int, now_ns: int) -> None:
        """Know since when the account is guarded, in the venue's time, once that is known.

        What happened before is nobody's fault; so in doubt it is earlier. Of a guard that ended
        before it heard the venue's time there is only our time of day, with a day's room.
        """
        now = clock.at(now_ns)
        if self.guarding_since_utc_us or now is None:
            return
        began = clock.at(self.begun_ns) if self.begun_ns else None
        if began is not None:
            since_us = began.earliest_us
            self.guarding_since_utc_us = cautious_us(since_us, ours_us=self.begun_utc_us)
        else:
            offset_us = min(0, now.earliest_us - utc_us)
            self.guarding_since_utc_us = self.begun_utc_us + offset_us - DAY_US

    def acknowledge(self) -> None:
        """Count other programs anew for a person who has seen those so far."""
        self.tagged = ()
