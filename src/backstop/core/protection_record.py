"""What should protect each position: values that only ``protection_evidence`` makes anew.

A position has one record for as long as it lasts. Its lots say which stop and which target each
part of it was given; the levels follow what the trader, or the venue at his word, did with them.
The record is a fold over the journal, so a restart knows what to put back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from backstop.core.noted import Noted
from backstop.domain.broker import BrokerStatus
from backstop.domain.events import Answer
from backstop.domain.order import LegRole

LOTS_KEPT = 64
"""Lots of one position; what came from older ones is covered at the levels of the newer."""

ADOPTED_PREFIX = "venue:"
"""Begins the owner of a lot that stands for a stop of somebody else."""


class LotLeg(Struct, frozen=True, kw_only=True):
    """A bracket leg of the entry that a lot came from, as the venue last showed it."""

    broker_order_id: int
    role: LegRole
    status: BrokerStatus
    filled_quantity: int = 0

    @property
    def is_dropped(self) -> bool:
        """It ended without doing what it was for."""
        return not self.status.is_live and self.status is not BrokerStatus.FILLED


class Lot(Struct, frozen=True, kw_only=True):
    """One source of a position's protection: an entry of ours, or a stop that somebody else placed.

    Attributes:
        owner: client id of the entry; of an adopted stop ``adopted_owner`` of its number.
        sign: +1 when it belongs to a long position, -1 to a short one.
        filled_quantity: contracts that it put into the position.
        stop_ticks: level of its stop, as it was last moved; None: it was given none.
        target_ticks: level of its target, likewise.
        legs: the legs of its bracket that the venue has shown.
    """

    owner: str
    sign: int
    filled_quantity: int
    stop_ticks: int | None = None
    target_ticks: int | None = None
    legs: tuple[LotLeg, ...] = ()

    @property
    def is_adopted(self) -> bool:
        """It stands for a stop that no request of ours placed."""
        return self.owner.startswith(ADOPTED_PREFIX)

    @property
    def quantity(self) -> int:
        """Contracts that are left of it: its own legs have closed the others."""
        return max(0, self.filled_quantity - sum(leg.filled_quantity for leg in self.legs))

    def leg(self, role: LegRole) -> LotLeg | None:
        """Return its newest leg for ``role``; None while the venue has shown none."""
        return next((leg for leg in reversed(self.legs) if leg.role is role), None)

    def lost_its_target(self, replacing: tuple[int, ...]) -> bool:
        """Say whether its target ended together with its stop, or in ``replacing``, by our hand.

        A target that ended alone was taken away by its owner.
        """
        stop, target = self.leg(LegRole.STOP_LOSS), self.leg(LegRole.TAKE_PROFIT)
        if target is not None and not target.is_dropped:
            return False
        if target is not None and target.broker_order_id in replacing:
            return True
        return stop is not None and stop.is_dropped


def adopted_owner(broker_order_id: int) -> str:
    """Return the owner of the lot for a stop that no request of ours placed."""
    return f"{ADOPTED_PREFIX}{broker_order_id}"


class Episode(Struct, frozen=True, kw_only=True):
    """What was done about a position since its stops last stopped covering it; monotonic times.

    Attributes:
        wanted_ns: since when it lacks a stop that it should have; 0: it has all that are wanted.
        bare_since_ns: since when a complete read has it that it lacks one; 0: none has said so yet.
        looked_ns: when the newest read is due, or was, that shows what the venue does by itself.
        try_again_ns: not before this, for the one before did not leave this machine.
        hear_until_ns: its limit was noticed late: what waits in the sockets is heard until then.
        excess_ns: when the contracts without a stop were ordered closed; 0: they were not.
        alarmed: a person was told that it stays naked because the account cannot be read.
    """

    wanted_ns: int = 0
    bare_since_ns: int = 0
    looked_ns: int = 0
    try_again_ns: int = 0
    hear_until_ns: int = 0
    excess_ns: int = 0
    alarmed: bool = False


class SetAside(Struct, frozen=True, kw_only=True):
    """What protected a position that is gone; it may come back.

    ``newest_trade_id`` is of the contract's trades then: a later one says what became of it.
    ``traded`` is what those added up to, signed: voided, they add up to the position again. It is
    None where reads alone say that the position is gone.
    """

    sign: int
    newest_trade_id: int
    after_trade_id: int
    traded: int | None = None
    lots: tuple[Lot, ...]
    stop_ticks: int | None = None
    target_ticks: int | None = None


class ProtectionRecord(Struct, frozen=True, kw_only=True):
    """The protection of one contract's position.

    Attributes:
        sign: +1 long, -1 short, 0 flat.
        newest_trade_id: of the contract's trades; ``after_trade_id``: trades up to this one
            belong to earlier positions.
        lots: oldest first, of both signs: an order can fill before the position is told.
        stop_ticks: level that somebody asked for the whole position; None: nobody did.
        target_ticks: likewise.
        adopted: stops of others that count as cover; they leave with the position.
        leftovers: adopted stops of a position that is no more.
        replacing: stops that the venue does not change as asked: another one takes over first.
        repairs: protective orders that we placed for this position.
        naked_max_ns: the longest time that its stops did not cover it, so far.
        surplus: contracts of stops and targets that were too many at the last look.
        surplus_since_ns: since when they have been that many; 0: none is too many.
        opened_ns: when a protective order opened it instead of closing; 0: it did not.
        withheld: it was said what is not done because nothing is sent.
        declared: contracts of which a person was told that no stop is on record for them.
        doubted_ns: since when its witnesses differ about contracts that no stop covers; 0: no.
        set_aside: of the position before, where this contract is flat; None: there was none.
    """

    contract_id: str
    sign: int = 0
    newest_trade_id: int = 0
    after_trade_id: int = 0
    lots: tuple[Lot, ...] = ()
    stop_ticks: int | None = None
    target_ticks: int | None = None
    adopted: tuple[int, ...] = ()
    leftovers: tuple[int, ...] = ()
    replacing: tuple[int, ...] = ()
    repairs: int = 0
    naked_max_ns: int = 0
    surplus: int = 0
    surplus_since_ns: int = 0
    opened_ns: int = 0
    withheld: bool = False
    declared: int = 0
    doubted_ns: int = 0
    set_aside: SetAside | None = None
    episode: Episode = Episode()

    @property
    def active_lots(self) -> tuple[Lot, ...]:
        """The lots of the position that is held, oldest first."""
        return tuple(lot for lot in self.lots if lot.sign == self.sign)

    def asks_for_stop(self, ticks: int | None) -> bool:
        """Say whether an entry, or somebody for the whole position, asked for a stop at a level."""
        if ticks is None or ticks == self.stop_ticks:
            return ticks is not None
        return any(lot.stop_ticks == ticks for lot in self.active_lots if not lot.is_adopted)


class Change(Struct, frozen=True, kw_only=True):
    """A change of a protective order that the venue was asked for; None leaves a member as it is.

    ``quantity`` is the size asked for, filled contracts included; 0 asks for its end.
    ``unshown_ns`` is when the newest list was asked for that shows the order without it.
    """

    contract_id: str
    quantity: int | None = None
    stop_ticks: int | None = None
    target_ticks: int | None = None
    asked_ns: int
    answer: Answer | None = None
    message: str = ""
    unshown_ns: int = 0


class AwaitedFill(Struct, frozen=True, kw_only=True):
    """Contracts, signed, that an order's row says are filled and no trade has shown yet.

    ``told_utc_us`` is when the venue last changed the row, in its own time: they filled by then.
    """

    contract_id: str
    quantity: int
    since_ns: int
    told_utc_us: int = 0


class ProtectionRecords(Noted[ProtectionRecord]):
    """The records by contract; ``lacking`` are those whose position lacks a stop, or may."""

    __slots__ = ("lacking",)

    def __init__(
        self, held: Mapping[str, ProtectionRecord] | Iterable[tuple[str, ProtectionRecord]] = ()
    ) -> None:
        super().__init__(held)
        self.lacking: dict[str, None] = {}
        for contract_id in self:
            self._follow(contract_id)

    def _follow(self, contract_id: str) -> None:
        record = self.get(contract_id)
        if record is not None and (record.episode.wanted_ns or record.doubted_ns):
            self.lacking[contract_id] = None
        else:
            self.lacking.pop(contract_id, None)

    def _note(self, key: str) -> None:
        super()._note(key)
        self._follow(key)

    def clear(self) -> None:
        """Take everything away."""
        super().clear()
        self.lacking.clear()


@dataclass(slots=True)
class ProtectionBook:
    """The records of all contracts, and what is under way about them."""

    records: ProtectionRecords = field(default_factory=ProtectionRecords)
    changes: dict[int, Change] = field(default_factory=dict)  # by broker order
    awaited: dict[int, AwaitedFill] = field(default_factory=dict)  # by broker order
    levels: dict[int, int] = field(default_factory=dict)  # of our own working stops, in ticks
    refusals: dict[str, str] = field(default_factory=dict)  # contract -> why a move was refused
    last_number: int = 0  # of the orders that we placed to protect
    naked_max_ns: int = 0  # the longest time that any position was naked
    brackets_refused: bool = False  # the venue's newest word on entries with brackets
    started_ns: int = 0  # when this process began
    known_ns: int = 0  # when it first read the account completely; 0: not yet
    start_noted: bool = False  # what its start found bare is known to be

    @property
    def is_urgent(self) -> bool:
        """A position lacks a stop, or may lack one: reads about it may use the reserve."""
        return bool(self.records.lacking)

    def record(self, contract_id: str) -> ProtectionRecord:
        """Return the record of a contract of which nothing may ever have been said."""
        held = self.records.get(contract_id)
        return ProtectionRecord(contract_id=contract_id) if held is None else held

    @property
    def known_bare(self) -> bool:
        """A position lacks a stop by the word of a complete read.

        A stop that comes with its entry is there before any such read, so this is not about fills.
        """
        records = self.records
        return any(records[contract_id].episode.bare_since_ns for contract_id in records.lacking)
