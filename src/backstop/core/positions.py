"""What we believe of one position, from three witnesses: trades, hub rows and reads.

The broker is the truth for positions, but its snapshots lag and its events get lost. Trades are
summed into a ledger; rows and reads state totals. While ledger and rows agree there is nothing to
decide. Where they do not, two fresh reads that agree with each other move the ledger, and a trade
that explains the difference later takes the adjustment back instead of counting twice.

Reads that alone say that contracts are gone are the weakest of these: an empty list may be wrong as
often as it is asked for. Until something else says so too, or a read of a later audit, what
protects those contracts stays.
"""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.read_moves import ReadMove, moves_with, moves_without
from backstop.core.venue_clock import Span

SETTLE_NS = 250 * MILLISECOND_NS
"""Two reads closer together than this are one: the venue's snapshots lag its stream."""

SNAPSHOT_LAG_NS = SECOND_NS
"""A read must be sent this long after the last trade or row to speak against them: snapshots have
been seen 800 ms behind the stream. Both of the two that decide were."""

LATE_ROW_NS = 2 * SECOND_NS
"""A row that shows a position as it was before an exit keeps a second exit waiting for so long at
most; reads decide sooner."""

LATER_NS = 5 * SECOND_NS
"""A read that is sent this long after those that alone took contracts away is another look, and not
the same wrong picture twice."""

FLAT_READS = 2
"""Fresh reads in a row that must agree before a position counts as proven."""


class Knowledge(StrEnum):
    """How far a belief can be trusted."""

    KNOWN = "KNOWN"
    STALE = "STALE"  # was known; the link that keeps it true is not trusted
    UNKNOWN = "UNKNOWN"


class PositionView(Struct, frozen=True, kw_only=True):
    """One contract's position.

    Attributes:
        quantity: what we believe, signed contracts.
        traded: sum of all counted trades, signed.
        adjustment: what reconciliation added because no trade explained it.
        adjusted_both_ways: contracts that it added and took away, of two fills whose trades are not
            here; they cancel out in ``adjustment``, and their trades come one after the other.
        adjusted_utc_us: when, at the latest, in the venue's time; older trades explain it.
        adjusted_from_utc_us: and at the earliest: between the two nobody can tell whether a trade
            is in the adjustment.
        evidence_ns: when the last trade or row about it was applied, monotonic.
        differing: what the last fresh read said, when that was not the ledger.
        differing_ns: when the first read that counts as saying so was sent.
        agreed_reads: fresh reads in a row that agreed with ledger and rows, counted to FLAT_READS.
        agreed_ns: when the newest of those was sent; counted until no snapshot lags so much.
        naked_since_ns: since when its stops do not cover it; 0 while they do.
        exited_from: signed contracts that the trades added up to before the exits of late.
        exited_ns: when the newest trade that closed a part of it was known; 0: none ever.
        late_until_ns: so long its row is taken for one from before those exits; 0: it is none.
        newest_trade_utc_us: of its counted trades, in the venue's time.
        row_utc_us: its newest row has every trade that is older, in the venue's time: there was a
            newer one when it came, or it came long after, or a newer one seems to be in it.
        taken: signed contracts that were held, and that reads alone said were gone.
        taken_ns: when the newest of those reads was sent; 0: a later one agreed.
        turned: signed contracts the other way that the same reads found in their place.
        moves: what the adjustments were made of, oldest first, less what trades have explained.
    """

    contract_id: str
    quantity: int = 0
    average_price: Decimal | None = None
    knowledge: Knowledge = Knowledge.UNKNOWN
    traded: int = 0
    adjustment: int = 0
    adjusted_both_ways: int = 0
    adjusted_utc_us: int = 0
    adjusted_from_utc_us: int | None = None  # None: the two are one
    evidence_ns: int = 0
    differing: int | None = None
    differing_ns: int = 0
    agreed_reads: int = 0
    agreed_ns: int = 0
    naked_since_ns: int = 0
    exited_from: int = 0
    exited_ns: int = 0
    late_until_ns: int = 0
    newest_trade_utc_us: int = 0
    row_utc_us: int = 0
    taken: int = 0
    taken_ns: int = 0
    turned: int = 0
    moves: tuple[ReadMove, ...] = ()

    @property
    def ledger(self) -> int:
        """Signed contracts that the trades and the adjustments add up to."""
        return self.traded + self.adjustment

    def adjusted_towards(self, sign: int) -> int:
        """Return the contracts of one sign that reads counted and no trade has explained.

        While nobody knows when those reads were made, only what they left: the rest would swallow
        every fill there will ever be.
        """
        return self.adjusted_net(sign) + (self.adjusted_both_ways if self.is_bounded else 0)

    def adjusted_net(self, sign: int) -> int:
        """Return the contracts of ``adjustment``, if it is of that sign."""
        return abs(self.adjustment) if self.adjustment * sign > 0 else 0

    @property
    def is_bounded(self) -> bool:
        """It is known, within bounds, when the reads were made that moved the ledger."""
        return self.adjusted_from_utc_us != 0

    @property
    def is_agreed(self) -> bool:
        """Trades and rows say the same."""
        return self.ledger == self.quantity

    @property
    def possible(self) -> tuple[int, ...]:
        """What may be held, signed contracts: rows and trades both count until they agree.

        A row may be older than the trades, and a trade that explains a row may be lost. What reads
        alone took away may still be there.
        """
        told = (self.quantity,) if self.is_agreed else (self.quantity, self.ledger)
        return (*told, self.if_reads_err) if self.in_question else told

    @property
    def if_reads_err(self) -> int:
        """Signed contracts that are held if the reads that alone took some away are wrong.

        Then what they found the other way is not there either.
        """
        return self.ledger + self.in_question - self.turned if self.in_question else self.ledger

    @property
    def in_question(self) -> int:
        """Signed contracts of which only reads of one moment say that they are gone."""
        return self.taken if self.taken_ns else 0

    @property
    def is_settled(self) -> bool:
        """Every witness says the same, and the newest read does not speak against them."""
        agreed = self.is_agreed and not self.in_question and self.differing is None
        return self.knowledge is Knowledge.KNOWN and agreed

    @property
    def is_proven(self) -> bool:
        """Enough fresh reads in a row agreed with trades and rows."""
        return self.is_settled and self.agreed_reads >= FLAT_READS

    @property
    def is_proven_late(self) -> bool:
        """One of those was sent so long after the last event that no snapshot lags behind it."""
        return self.is_proven and self.agreed_ns >= self.evidence_ns + SNAPSHOT_LAG_NS

    def closed_unseen(self, now_ns: int) -> int:
        """Return the contracts that exits have closed by their trades, and not yet by the row.

        The position still counts as its row says: it may be so, and is protected. A second exit
        of the same contracts would open a position the other way.
        """
        if self.is_agreed or now_ns >= self.late_until_ns:
            return 0
        left = self.ledger if self.ledger * self.quantity > 0 else 0
        return max(0, abs(self.quantity) - abs(left))

    def naked_since(self, since_ns: int) -> "PositionView":
        """Return the view with the time since when its stops do not cover it; 0: they do."""
        return replace(self, naked_since_ns=since_ns)


def after_trade(
    view: PositionView,
    signed_quantity: int,
    *,
    traded_utc_us: int,
    now_ns: int,
    corrects: bool = False,
) -> PositionView:
    """Count one trade (negative quantity: a sell, or a voided buy).

    Args:
        view: the position before it.
        signed_quantity: contracts, bought ones positive.
        traded_utc_us: when it came about, in the venue's time.
        now_ns: when it was known to be true: for a trade out of a read, when the read was sent, so
            that the positions of the same read still count as one look.
        corrects: it takes back, or changes, a trade that was counted: that is news, however old
            the trade is.
    """
    was_agreed = view.is_agreed
    distance = abs(view.quantity - view.ledger)
    explained = 0
    # What reads had found before they took it away again is not in the adjustment any more.
    taken_again = view.in_question if view.in_question * signed_quantity > 0 else 0
    found = view.adjustment + taken_again
    counted = abs(found) if found * signed_quantity > 0 else 0
    if not corrects:
        by_reads = counted_by(view, signed_quantity, traded_utc_us)
        counted = max(counted, by_reads) if view.in_question else by_reads
    if counted and traded_utc_us <= view.adjusted_utc_us:
        # Reconciliation counted this trade before we had heard of it.
        explained = min(counted, abs(signed_quantity))
        explained = explained if signed_quantity > 0 else -explained
        if taken_again or not is_certain(view, traded_utc_us):
            view = distrusted(view)
    again = _towards_zero(view.in_question, signed_quantity)
    if abs(again) > abs(explained):
        # It closes what reads alone called closed: the same contracts, whenever that was.
        explained, view = again, distrusted(view)
    known = view.in_question or explained  # else it is news, and what was gone is past
    taken = view.taken + _towards_zero(view.taken, explained) if known else 0
    after = replace(
        _exited(view, signed_quantity, now_ns),
        taken=taken,
        taken_ns=view.taken_ns if taken else 0,
        turned=view.turned if taken else 0,
        traded=view.traded + signed_quantity,
        adjustment=view.adjustment - explained,
        adjusted_both_ways=_both_ways_without(view, explained),
        moves=moves_without(view.moves, explained, traded_utc_us=traded_utc_us),
        evidence_ns=max(view.evidence_ns, now_ns),
        differing=None,
        agreed_reads=0,
        newest_trade_utc_us=max(view.newest_trade_utc_us, traded_utc_us),
    )
    if was_agreed:
        return replace(after, quantity=after.ledger)
    if abs(view.quantity - after.ledger) < distance:
        # A late trade that explains a row we already believe. What is older is in that row too,
        # or this one is not: reads decide.
        return replace(after, row_utc_us=max(view.row_utc_us, traded_utc_us))
    if traded_utc_us < view.row_utc_us and not corrects:
        # Told late, and the row came after a newer one, or long after this one: the row has it.
        return after
    return replace(after, quantity=view.quantity + signed_quantity - explained)


def counted_by(view: PositionView, signed_quantity: int, traded_utc_us: int) -> int:
    """Return the contracts of a sign that reads counted which were made after a trade.

    Where it is not known of each contract which reads counted it, all that they counted.
    """
    of_sign = [it for it in view.moves if it.contracts * signed_quantity > 0]
    counted = view.adjusted_towards(signed_quantity)
    if sum(abs(it.contracts) for it in of_sign) != counted:
        return counted
    return sum(abs(it.contracts) for it in of_sign if it.latest_us >= traded_utc_us)


def _both_ways_without(view: PositionView, explained: int) -> int:
    """Return what reads added and took away again, after a trade that explains a part of it."""
    beyond = max(0, abs(explained) - view.adjusted_net(explained))
    return max(0, view.adjusted_both_ways - beyond)


def _both_ways_with(view: PositionView, delta: int) -> int:
    """Return it after reads that move the ledger by ``delta``, signed, not 0.

    What they give back that reads alone had taken was no fill.
    """
    both_ways = view.adjusted_both_ways
    towards, against = view.adjusted_net(delta) + both_ways, view.adjusted_net(-delta) + both_ways
    given_back = _given_back(view, delta)
    return min(towards + abs(delta) - given_back, against - given_back)


def _given_back(view: PositionView, delta: int) -> int:
    """Return how many contracts of ``delta``, signed, reads alone had taken."""
    against = view.adjusted_net(-delta) + view.adjusted_both_ways
    return min(abs(view.taken), abs(delta), against) if view.taken * delta > 0 else 0


def _towards_zero(held: int, change: int) -> int:
    """Return what of ``change`` takes ``held`` contracts away, signed like it; both are signed."""
    if held * change >= 0:
        return 0
    number = min(abs(held), abs(change))
    return number if change > 0 else -number


def _exited(view: PositionView, signed_quantity: int, now_ns: int) -> PositionView:
    """Remember what was held before a trade that closes a part of it."""
    if view.ledger * signed_quantity >= 0:
        return view
    recent = now_ns - view.exited_ns < SNAPSHOT_LAG_NS and view.exited_from * view.ledger > 0
    held_before = view.exited_from if recent else view.ledger
    return replace(view, exited_from=held_before, exited_ns=now_ns)


def is_certain(view: PositionView, traded_utc_us: int) -> bool:
    """Say whether the venue's time of a trade tells if the adjustment of ``view`` has it already.

    Where it does not, it is taken to have it, and reads decide.
    """
    from_us = view.adjusted_from_utc_us
    is_moved = view.adjustment or (view.is_bounded and view.adjusted_both_ways)
    if not is_moved or from_us is None:
        return True
    return not from_us < traded_utc_us <= view.adjusted_utc_us


def in_motion(view: PositionView, *, now_ns: int) -> PositionView:
    """Return the view after a sign that it may have changed: only later reads can prove it."""
    evidence_ns = max(view.evidence_ns, now_ns)
    return replace(view, evidence_ns=evidence_ns, differing=None, agreed_reads=0)


def after_row(
    view: PositionView,
    quantity: int,
    average_price: Decimal,
    *,
    now_ns: int,
    has_until_utc_us: int = 0,
) -> PositionView:
    """Believe a row that the hub pushed; it says the total.

    Args:
        view: the position before it.
        quantity: what it says, signed.
        average_price: likewise.
        now_ns: when it came.
        has_until_utc_us: the venue's time LATE_ROW_NS before that, at the earliest: no row comes so
            late that a trade from before then is not in it; 0: nobody knows.
    """
    is_late = (
        now_ns - view.exited_ns < SNAPSHOT_LAG_NS
        and quantity * view.exited_from > 0
        and abs(quantity) <= abs(view.exited_from)
    )
    return replace(
        view,
        quantity=quantity,
        late_until_ns=now_ns + LATE_ROW_NS if view.exited_ns and is_late else 0,
        average_price=average_price if quantity else None,
        knowledge=Knowledge.KNOWN,
        evidence_ns=max(view.evidence_ns, now_ns),
        differing=None,
        agreed_reads=0,
        row_utc_us=max(view.newest_trade_utc_us, has_until_utc_us),
        # It says the same as the reads did: they are not alone any more.
        taken=0 if quantity == view.ledger else view.taken,
        taken_ns=0 if quantity == view.ledger else view.taken_ns,
        turned=0 if quantity == view.ledger else view.turned,
    )


def after_read(
    view: PositionView,
    quantity: int,
    average_price: Decimal | None,
    *,
    sent_ns: int,
    taken: Span,
    closed: int = 0,
) -> tuple[PositionView, int]:
    """Weigh one complete read of the account; ``quantity`` 0 is the absence of a row.

    Args:
        view: the position before it.
        quantity: what it says, signed.
        average_price: likewise; None where it has none.
        sent_ns: when it was sent.
        taken: when the venue took the picture, in its own time.
        closed: contracts that something else than a read says were closed lately.

    Returns:
        The view, and the signed contracts by which the ledger was adjusted (0 for none).
    """
    if sent_ns < view.evidence_ns:
        # The snapshot may be older than what was applied since: it says nothing.
        return view, 0
    price = (average_price or view.average_price) if quantity else None
    if quantity == view.ledger == view.quantity:
        return _agreed(replace(view, average_price=price), sent_ns=sent_ns), 0
    if not _confirms(view, quantity, sent_ns=sent_ns):
        return _doubted(view, quantity, price, sent_ns=sent_ns), 0
    delta = quantity - view.ledger
    view = _at_a_known_time(view, taken) if delta else view
    gone = 0 if quantity == view.quantity else _taken(view, quantity, closed)
    adjusted = replace(
        view,
        taken=gone,
        taken_ns=sent_ns if gone else 0,
        turned=quantity if quantity * gone < 0 else 0,
        quantity=quantity,
        average_price=price,
        knowledge=Knowledge.KNOWN,
        adjustment=view.adjustment + delta,
        adjusted_both_ways=_both_ways_with(view, delta) if delta else view.adjusted_both_ways,
        adjusted_utc_us=taken.latest_us if delta else view.adjusted_utc_us,
        adjusted_from_utc_us=taken.earliest_us if delta else view.adjusted_from_utc_us,
        moves=moves_with(view.moves, delta, _given_back(view, delta), latest_us=taken.latest_us),
        differing=None,
        agreed_reads=FLAT_READS,
        agreed_ns=sent_ns,
    )
    return adjusted, delta


def counted_both_ways(view: PositionView, contracts: int, *, taken: Span) -> PositionView:
    """Return the view after reads that agree, and have fills in them that no trade shows.

    Args:
        view: the position.
        contracts: so many were bought, and as many sold, that the ledger had not in it.
        taken: the venue's time when the newest of those reads was sent.
    """
    view = _at_a_known_time(view, taken)
    return replace(
        view,
        adjusted_both_ways=view.adjusted_both_ways + contracts,
        adjusted_utc_us=max(view.adjusted_utc_us, taken.latest_us),
        adjusted_from_utc_us=max(view.adjusted_from_utc_us or 0, taken.earliest_us),
        moves=moves_with(
            moves_with(view.moves, contracts, 0, latest_us=taken.latest_us),
            -contracts,
            0,
            latest_us=taken.latest_us,
        ),
    )


def _at_a_known_time(view: PositionView, taken: Span) -> PositionView:
    """Return the view that reads of ``taken`` move: of those of an unknown time what they left.

    What they added and took away again would else seem to be as new as the reads of now.
    """
    if view.is_bounded or not taken.earliest_us:
        return view
    left = ReadMove(contracts=view.adjustment, latest_us=view.adjusted_utc_us)
    return replace(view, adjusted_both_ways=0, moves=(left,) if view.adjustment else ())


def _taken(view: PositionView, quantity: int, closed: int) -> int:
    """Return the signed contracts that are gone by reads alone, if those are right.

    ``closed`` of the contracts that were held are explained by something else.
    """
    held = view.if_reads_err
    left = quantity if held * quantity > 0 else 0
    sign = 1 if held > 0 else -1
    return sign * max(0, abs(held) - abs(left) - closed)


def _agreed(view: PositionView, *, sent_ns: int) -> PositionView:
    another = view.agreed_reads == 0 or sent_ns >= view.agreed_ns + SETTLE_NS
    counted = another and not view.is_proven_late
    if view.in_question and sent_ns >= view.taken_ns + LATER_NS:
        view = replace(view, taken_ns=0)
    return replace(
        view,
        knowledge=Knowledge.KNOWN,
        differing=None,
        agreed_reads=min(FLAT_READS, view.agreed_reads + 1) if counted else view.agreed_reads,
        agreed_ns=sent_ns if counted else view.agreed_ns,
    )


def _confirms(view: PositionView, quantity: int, *, sent_ns: int) -> bool:
    return (
        _is_witness(view, quantity)
        and sent_ns >= view.differing_ns + SETTLE_NS
        and sent_ns >= view.evidence_ns + SNAPSHOT_LAG_NS
    )


def _is_witness(view: PositionView, quantity: int) -> bool:
    """Say whether a read has said ``quantity`` that may not be of before the last trade or row.

    Where nothing was known there is nothing that such a read would contradict.
    """
    late_enough = view.differing_ns >= view.evidence_ns + SNAPSHOT_LAG_NS
    return view.differing == quantity and (late_enough or view.knowledge is Knowledge.UNKNOWN)


def _doubted(
    view: PositionView, quantity: int, price: Decimal | None, *, sent_ns: int
) -> PositionView:
    repeated = _is_witness(view, quantity)
    doubted = replace(
        view,
        differing=quantity,
        differing_ns=view.differing_ns if repeated else sent_ns,
        agreed_reads=0,
    )
    if view.knowledge is Knowledge.UNKNOWN:
        # Nothing was known, so nothing is contradicted: it counts from the first evidence.
        return replace(doubted, quantity=quantity, average_price=price)
    return doubted


def distrusted(view: PositionView) -> PositionView:
    """Return the view after the link that kept it true was lost."""
    stale = view.knowledge is Knowledge.KNOWN
    return replace(
        view,
        knowledge=Knowledge.STALE if stale else view.knowledge,
        differing=None,
        agreed_reads=0,
    )
