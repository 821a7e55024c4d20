"""What we believe of one position, from three witnesses: trades, hub rows and reads.

The broker is the truth for positions, but its snapshots lag and its events get lost. Trades are
summed into a ledger; rows and reads state totals. While ledger and rows agree there is nothing to
decide. Where they do not, two fresh reads that agree with each other move the ledger, and a trade
that explains the difference later takes the adjustment back instead of counting twice.
"""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.policy import MILLISECOND_NS

SETTLE_NS = 250 * MILLISECOND_NS
"""Two reads closer together than this are one: the venue's snapshots lag its stream."""


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
        adjusted_utc_us: when; older trades that arrive later explain it.
        evidence_ns: when the last trade or row about it was applied, monotonic.
        differing: what the last fresh read said, when that was not the ledger.
        differing_ns: when that read was sent.
        naked_since_ns: since when its stops do not cover it; 0 while they do.
    """

    contract_id: str
    quantity: int = 0
    average_price: Decimal | None = None
    knowledge: Knowledge = Knowledge.UNKNOWN
    traded: int = 0
    adjustment: int = 0
    adjusted_utc_us: int = 0
    evidence_ns: int = 0
    differing: int | None = None
    differing_ns: int = 0
    naked_since_ns: int = 0

    @property
    def ledger(self) -> int:
        """Signed contracts that the trades and the adjustments add up to."""
        return self.traded + self.adjustment

    @property
    def is_agreed(self) -> bool:
        """Trades and rows say the same."""
        return self.ledger == self.quantity

    def naked_since(self, since_ns: int) -> "PositionView":
        """Return the view with the time since when its stops do not cover it; 0: they do."""
        return replace(self, naked_since_ns=since_ns)


def after_trade(
    view: PositionView, signed_quantity: int, *, traded_utc_us: int, now_ns: int
) -> PositionView:
    """Count one trade (negative quantity: a sell, or a voided buy)."""
    was_agreed = view.is_agreed
    distance = abs(view.quantity - view.ledger)
    explained = 0
    if view.adjustment * signed_quantity > 0 and traded_utc_us <= view.adjusted_utc_us:
        # Reconciliation counted this trade before we had heard of it.
        explained = min(abs(view.adjustment), abs(signed_quantity))
        explained = explained if signed_quantity > 0 else -explained
    counted = replace(
        view,
        traded=view.traded + signed_quantity,
        adjustment=view.adjustment - explained,
        evidence_ns=now_ns,
        differing=None,
    )
    if was_agreed:
        return replace(counted, quantity=counted.ledger)
    if abs(view.quantity - counted.ledger) < distance:
        # A late trade that explains a row we already believe.
        return counted
    return replace(counted, quantity=view.quantity + signed_quantity - explained)


def after_row(
    view: PositionView, quantity: int, average_price: Decimal, *, now_ns: int
) -> PositionView:
    """Believe a row that the hub pushed; it says the total."""
    return replace(
        view,
        quantity=quantity,
        average_price=average_price,
        knowledge=Knowledge.KNOWN,
        evidence_ns=now_ns,
        differing=None,
    )


def after_read(
    view: PositionView,
    quantity: int,
    average_price: Decimal | None,
    *,
    sent_ns: int,
    utc_us: int,
) -> tuple[PositionView, int]:
    """Weigh one complete read of the account; ``quantity`` 0 is the absence of a row.

    Returns:
        The view, and the signed contracts by which the ledger was adjusted (0 for none).
    """
    if sent_ns < view.evidence_ns:
        # The snapshot may be older than what was applied since: it says nothing.
        return view, 0
    if quantity == view.ledger:
        agreed = replace(
            view,
            quantity=quantity,
            average_price=average_price if average_price is not None else view.average_price,
            knowledge=Knowledge.KNOWN,
            differing=None,
        )
        return agreed, 0
    confirmed = view.differing == quantity and sent_ns >= view.differing_ns + SETTLE_NS
    if not confirmed:
        first_ns = view.differing_ns if view.differing == quantity else sent_ns
        return replace(view, differing=quantity, differing_ns=first_ns), 0
    delta = quantity - view.ledger
    adjusted = replace(
        view,
        quantity=quantity,
        average_price=average_price if average_price is not None else view.average_price,
        knowledge=Knowledge.KNOWN,
        adjustment=view.adjustment + delta,
        adjusted_utc_us=utc_us,
        differing=None,
    )
    return adjusted, delta


def distrusted(view: PositionView) -> PositionView:
    """Return the view after the link that kept it true was lost."""
    if view.knowledge is Knowledge.KNOWN:
        return replace(view, knowledge=Knowledge.STALE, differing=None)
    return replace(view, differing=None)
