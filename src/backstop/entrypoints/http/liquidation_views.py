"""What the interface shows of liquidations and closes, and what it takes to ask for one."""

from msgspec import Struct

from backstop.core.book import Book
from backstop.core.entry_gate import gate_denial
from backstop.core.liquidation import Liquidation, LiquidationState, Remaining, RemainingKind
from backstop.core.liquidation_escalation import stops_in_words
from backstop.core.liquidation_scope import remaining, would_send
from backstop.domain.commands import CancelOrder, ClosePosition
from backstop.domain.denial import Denial
from backstop.domain.order import Side
from backstop.domain.utc import utc_text
from backstop.entrypoints.gates import COMMAND_THAT_SENDS
from backstop.entrypoints.http.models import Body, Quantity, Symbol
from backstop.entrypoints.http.people import UNNAMED_OPERATOR, Operator, Reason
from backstop.entrypoints.http.position_view import PositionRow

DEFAULT_REASON = "asked for over the API"
"""Why a position is closed, where the caller does not say."""


class LiquidateBody(Body, frozen=True, kw_only=True):
    """Who wants the account flat, and why; with ``symbol`` only that contract."""

    reason: Reason
    operator: Operator
    symbol: Symbol | None = None


class CloseBody(Body, frozen=True, kw_only=True):
    """How much of a position to close; all of it when ``quantity`` is left out.

    To close all of it also cancels the guard's entries that wait in the contract: one of them could
    fill while the contract is proven flat. To close a part leaves them.
    """

    quantity: Quantity | None = None
    reason: Reason = DEFAULT_REASON
    operator: Operator = UNNAMED_OPERATOR


class CauseView(Struct, frozen=True, kw_only=True):
    """One request that a liquidation answers."""

    reason: str
    operator: str
    time: str


class RemainingView(Struct, frozen=True, kw_only=True):
    """One thing that is left: a position, a working order, or an order of ours in doubt.

    ``quantity`` is signed for a position, and the contracts that could still fill for an order.
    """

    kind: RemainingKind
    symbol: str
    contract_id: str
    quantity: int
    side: Side | None
    status: str
    broker_order_id: int | None
    client_order_id: str | None


class LiquidationView(Struct, frozen=True, kw_only=True):
    """One liquidation, or one close of a position (``latches`` false).

    ``causes`` are the reasons that were given, ``requests`` say by whom and when. ``sends`` is
    false for one that was asked for while the gate was closed: nothing is ever sent for it,
    ``would_send`` shows what would have been, ``gate`` says what keeps it back now, and
    ``message`` says all of it in words.
    """

    id: str
    state: LiquidationState
    causes: tuple[str, ...]
    remaining: tuple[RemainingView, ...]
    symbol: str | None
    contract_id: str | None
    quantity: int | None
    latches: bool
    sends: bool
    message: str
    requests: tuple[CauseView, ...]
    would_send: tuple[CancelOrder | ClosePosition, ...]
    gate: Denial | None
    begun_at: str
    ended_at: str | None


class LiquidationList(Struct, frozen=True, kw_only=True):
    """Liquidations and closes, newest first."""

    liquidations: tuple[LiquidationView, ...]


class ClosingPosition(PositionRow, frozen=True, kw_only=True):
    """A position that is being closed, by the run ``liquidation_id``; null: it was flat already."""

    liquidation_id: str | None


class RefusedClose(Struct, frozen=True, kw_only=True):
    """Why a position is not closed. ``would_send`` is the request that only the gate kept back."""

    denials: tuple[Denial, ...]
    would_send: tuple[CancelOrder | ClosePosition, ...]


LIQUIDATION_SHAPES = (
    LiquidateBody,
    CloseBody,
    LiquidationView,
    LiquidationList,
    ClosingPosition,
    RefusedClose,
)
"""What these calls take and answer, for the description of the interface."""


def liquidation_view(book: Book, run: Liquidation) -> LiquidationView:
    """Return one run as it stands now."""
    left = remaining(book, run)
    gate = gate_denial(book.policy)
    return LiquidationView(
        id=run.liquidation_id,
        state=run.state,
        causes=tuple(cause.text for cause in run.causes),
        remaining=tuple(_remaining(book, it) for it in left),
        symbol=None if run.contract_id is None else book.symbol_of(run.contract_id),
        contract_id=run.contract_id,
        quantity=run.quantity,
        latches=run.latches,
        sends=run.sends,
        message=_message(book, run, left, gate),
        requests=tuple(
            CauseView(reason=it.text, operator=it.operator, time=utc_text(it.utc_us))
            for it in run.causes
        ),
        would_send=() if run.sends else would_send(book, run),
        gate=gate,
        begun_at=utc_text(run.begun_utc_us),
        ended_at=None if run.ended_utc_us is None else utc_text(run.ended_utc_us),
    )


def running_liquidations(book: Book) -> tuple[LiquidationView, ...]:
    """Return the runs that are not over, oldest first."""
    return tuple(liquidation_view(book, book.liquidations[name]) for name in book.liquidating)


def _message(book: Book, run: Liquidation, left: tuple[Remaining, ...], gate: Denial | None) -> str:
    if not run.sends:
        why = "" if gate is None else f" ({gate.message})"
        still = f"{len(left)} things are still open" if left else "nothing was open"
        how = f"To send it, restart the guard with these settings: {COMMAND_THAT_SENDS}"
        return f"nothing was sent{why}; {still}. {how}"
    if gate is not None and not run.is_finished:
        return f"it waits: {gate.message}"
    match run.state:
        case LiquidationState.LATCHED:
            return "on record; positions and orders are read before anything is sent"
        case LiquidationState.CLOSING:
            return (
                f"positions are being closed.{_refusal(run)} {stops_in_words(book, left)}".strip()
            )
        case LiquidationState.VERIFYING:
            return "no position is known; two fresh reads have to show that nothing is left"
        case LiquidationState.ESCALATED:
            trouble = f"{_refusal(run)} {stops_in_words(book, left)}".rstrip()
            return f"it gets nowhere and goes on trying; look at the account.{trouble}"
        case LiquidationState.FLAT:
            return "two fresh reads showed nothing left"
        case LiquidationState.DONE:
            return "the request for a part of the position is over"


def _refusal(run: Liquidation) -> str:
    return f" The venue refused the newest close: {run.venue_said}." if run.venue_said else ""


def _remaining(book: Book, it: Remaining) -> RemainingView:
    return RemainingView(
        kind=it.kind,
        symbol=book.symbol_of(it.contract_id),
        contract_id=it.contract_id,
        quantity=it.quantity,
        side=it.side,
        status=it.status,
        broker_order_id=it.broker_order_id,
        client_order_id=it.client_order_id,
    )
