"""What a liquidation is: values that only ``emergency_liquidation`` and ``closing`` make anew.

One shape serves four uses: the whole account is taken flat, or one contract of it, both with a
latch; a machine closes a position that it cannot protect; and somebody closes a position or a part
of it. The last two latch nothing.
"""

from enum import StrEnum

from msgspec import Struct

from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.domain.events import Answer, CloseRefusal
from backstop.domain.order import Side

LIQUIDATIONS_KEPT = 64
"""Finished liquidations in memory; the journal has all of them."""

CAUSES_KEPT = 32
"""Causes that one run remembers: a machine that asks again and again names the same one."""

READ_FIRST_NS = 15 * SECOND_NS
"""How long a run that has to read first waits for a read: then it closes without one.

Nothing flips by that: the venue closes what is held, and a close of which the answer was lost is
waited for all the same. Two reads that hang to their deadlines fit in it.
"""

PAUSE_NS = 500 * MILLISECOND_NS
PAUSE_MAX_NS = 5 * SECOND_NS
"""Between two looks, and between two closes of one contract; doubled each time up to this."""

DOUBLINGS_MAX = 8
"""Keeps the growing pause a small number; ``PAUSE_MAX_NS`` bounds it before."""


class LiquidationState(StrEnum):
    """How far a liquidation has come."""

    LATCHED = "LATCHED"
    """It is on record and entries are refused; nothing else was done."""
    CLOSING = "CLOSING"
    """Positions are open that have to go."""
    VERIFYING = "VERIFYING"
    """No position is known; orders are being cancelled, and fresh reads have to agree."""
    ESCALATED = "ESCALATED"
    """Nothing got better for too long: a person is called, and it goes on trying."""
    FLAT = "FLAT"
    """Two fresh reads showed nothing left: no position, no working order, no open intent."""
    DONE = "DONE"
    """Of a partial close alone: what was asked for is closed, or the venue will not close more."""


FINISHED = frozenset({LiquidationState.FLAT, LiquidationState.DONE})

LIQUIDATION_TRANSITIONS: dict[LiquidationState, frozenset[LiquidationState]] = {
    LiquidationState.LATCHED: frozenset(
        {
            LiquidationState.CLOSING,
            LiquidationState.VERIFYING,
            LiquidationState.ESCALATED,
            LiquidationState.FLAT,
        }
    ),
    # Also back: what was taken for closed may come to light again.
    LiquidationState.CLOSING: frozenset(
        {
            LiquidationState.VERIFYING,
            LiquidationState.ESCALATED,
            LiquidationState.FLAT,
            LiquidationState.DONE,
        }
    ),
    LiquidationState.VERIFYING: frozenset(
        {
            LiquidationState.CLOSING,
            LiquidationState.ESCALATED,
            LiquidationState.FLAT,
            LiquidationState.DONE,
        }
    ),
    # Nothing but its end takes the call for a person back.
    LiquidationState.ESCALATED: FINISHED,
    LiquidationState.FLAT: frozenset(),
    LiquidationState.DONE: frozenset(),
}
"""From each state, the states that may follow it."""


class Cause(Struct, frozen=True, kw_only=True):
    """Who asked for it, and why."""

    text: str
    operator: str
    utc_us: int


class Liquidation(Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        contract_id: the contract that has to go flat; None: every one of the account.
        quantity: contracts of a partial close; None: all there are.
        keep: contracts that a partial close leaves.
        latches: a liquidation, not just a close: entries wait for a person afterwards, and the
            orders of others are cancelled as well.
        sends: False for one that was asked for while the gate was closed: nothing is ever sent.
        newest_trade_id: of all that were known when it was over; None: it is not.
        ended_utc_us: when it was over; of one that never sends, when a person resumed.
        begun_ns: monotonic; of the process that runs it, for a later one begins anew.
        reads_first: nothing may be closed before positions and orders were read: this process has
            not read them yet, or not since it stood still.
        moved_ns: when something last happened to its contracts; earlier reads prove nothing.
        clear_reads: fresh reads in a row that showed nothing left.
        clear_ns: when the newest of those was sent.
        looks: reads since something last happened, for growing pauses.
        read_due_ns: when the account is read next.
        least: the fewest things that were left so far; fewer is progress.
        progress_ns: when that was.
        told_closed: a person was told that the market is closed.
        venue_said: its words on the newest close, where it refused that; empty: it did not.
        escalation: number of the alert that called a person; 0 for none.
        escalated_ns: when a person was last called.
    """

    liquidation_id: str
    contract_id: str | None
    quantity: int | None = None
    keep: int = 0
    latches: bool
    sends: bool = True
    causes: tuple[Cause, ...]
    state: LiquidationState
    begun_utc_us: int
    newest_trade_id: int | None = None
    ended_utc_us: int | None = None
    begun_ns: int
    reads_first: bool
    moved_ns: int
    clear_reads: int = 0
    clear_ns: int = 0
    looks: int = 0
    read_due_ns: int = 0
    least: int | None = None
    progress_ns: int
    told_closed: bool = False
    venue_said: str = ""
    escalation: int = 0
    escalated_ns: int = 0

    @property
    def is_finished(self) -> bool:
        """Nothing more will be done."""
        return self.state in FINISHED

    @property
    def is_rehearsed(self) -> bool:
        """The gate keeps back what it would send, and nobody has resumed since it was asked for."""
        return not self.sends and self.ended_utc_us is None

    @property
    def is_partial(self) -> bool:
        """Some contracts are meant to stay."""
        return self.quantity is not None

    def waits_for_read(self, now_ns: int) -> bool:
        """Say whether nothing may be sent yet; a part alone is never closed without a read."""
        return self.reads_first and (self.is_partial or now_ns < self.begun_ns + READ_FIRST_NS)

    def covers(self, contract_id: str) -> bool:
        """Say whether ``contract_id`` has to go flat."""
        return self.contract_id in {None, contract_id}


class CloseAttempt(Struct, frozen=True, kw_only=True):
    """The newest request to the venue to close one contract.

    Attributes:
        quantity: the signed position that it was sent for.
        wanted: the contracts of it that were to be closed.
        sent_ns: when it left; monotonic.
        newest_order_id: the highest order number that was known then: the venue counts up.
        times: requests in a row that changed nothing.
        refusals: those of them that were refused for now.
        answer: None while it is awaited.
        refusal: why it was refused; while the answer is awaited, why the one before was.
        answered_ns: when the answer came, or the waiting for it ended.
        looks: fresh reads since then.
        looked_ns: when the newest of those was sent.
        stands: the newest read that can be no picture from before it shows all that is believed.
        follows_taken: the venue may have done a request before, and no read showed otherwise.
        told_flipped: a person was told that the position came out on the other side.
        told_ended: a person was told that the venue takes no orders for the contract month.
    """

    contract_id: str
    quantity: int
    wanted: int
    sent_ns: int
    newest_order_id: int
    times: int = 1
    refusals: int = 0
    answer: Answer | None = None
    refusal: CloseRefusal | None = None
    answered_ns: int = 0
    looks: int = 0
    looked_ns: int = 0
    stands: bool = False
    follows_taken: bool = False
    told_flipped: bool = False
    told_ended: bool = False

    @property
    def needs_look(self) -> bool:
        """No read has shown yet how things stand after it."""
        return self.answer is None or self.looks < _LOOKS_NEEDED[self.answer]

    @property
    def may_be_filling(self) -> bool:
        """An order that it made may be on its way to the market, or in it."""
        return self.needs_look and self.answer not in {Answer.NO, Answer.NOT_SENT}

    @property
    def may_have_closed(self) -> bool:
        """It, or one before it, may be closing the position or have done so: no read shows it.

        A read that lacks the position is no proof that it is gone, and none that it is there.
        """
        if self.may_be_filling:
            return True
        taken = self.follows_taken or self.answer not in {Answer.NO, Answer.NOT_SENT}
        return taken and not self.stands

    @property
    def is_taken(self) -> bool:
        """The venue has taken it, and no read has shown yet what became of it."""
        return self.needs_look and self.answer is Answer.YES

    @property
    def is_refused_for_now(self) -> bool:
        """The order was rejected, and did nothing: the same request may work later."""
        return self.answer is Answer.NO and self.refusal in _FOR_NOW

    @property
    def waits_for_market(self) -> bool:
        """The market was closed or halted, or may have been, by the newest answer that there is."""
        return self.answer in {Answer.NO, None} and self.refusal in _BY_THE_MARKET

    @property
    def is_refused_for_good(self) -> bool:
        """The venue takes no orders for the contract month: the same request will not work."""
        return self.answer is Answer.NO and self.refusal is CloseRefusal.ENDED


_BY_THE_MARKET = frozenset({CloseRefusal.NOT_NOW, CloseRefusal.UNSTATED})
_FOR_NOW = _BY_THE_MARKET | {CloseRefusal.REJECTED}

_LOOKS_NEEDED = {Answer.YES: 1, Answer.NO: 1, Answer.UNKNOWN: 2, Answer.NOT_SENT: 0}
"""Fresh reads after the answer that have to find nothing under way before the next request."""


class RemainingKind(StrEnum):
    """What is left to do something about."""

    POSITION = "POSITION"
    ORDER = "ORDER"
    INTENT = "INTENT"  # an order of ours of which nobody can say yet what became of it


class Remaining(Struct, frozen=True, kw_only=True):
    """One thing that a liquidation has still to get rid of.

    ``quantity`` is signed for a position, and the contracts that could still fill for an order.
    ``status`` is the venue's word for an order, our state for an intent, and for a position how
    well it is known.
    """

    kind: RemainingKind
    contract_id: str
    quantity: int
    status: str
    side: Side | None = None
    broker_order_id: int | None = None
    client_order_id: str | None = None


def pause_ns(times: int) -> int:
    """Return the pause after ``times`` looks or requests that changed nothing, from 0."""
    return min(PAUSE_NS << min(times, DOUBLINGS_MAX), PAUSE_MAX_NS)
