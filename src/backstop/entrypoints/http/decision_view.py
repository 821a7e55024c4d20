"""What the interface says of a decision: what would become of an order, and what one led to."""

from collections.abc import Iterable

from msgspec import Struct

from backstop.core.book import Book
from backstop.core.execution_verdict import Verdict, Verification
from backstop.core.guardrails import Assessment
from backstop.domain.denial import Denial
from backstop.domain.numbers import fraction_text, plain
from backstop.entrypoints.http.order_view import level_text


class RoundedPrices(Struct, frozen=True, kw_only=True):
    """The prices of an order on the tick; null where it has none."""

    limit_price: str | None
    stop_price: str | None
    stop_loss_price: str | None
    take_profit_price: str | None


class ValidationView(Struct, frozen=True, kw_only=True):
    """What would become of an order. ``gate`` is what would keep an approved one from leaving."""

    decision: str
    denials: tuple[Denial, ...]
    rounded: RoundedPrices
    r_multiple: str | None
    reducing: bool
    gate: Denial | None


class VerificationView(Struct, frozen=True, kw_only=True):
    """The verdict about an execution, with its reason and the numbers behind it."""

    verdict: Verdict
    reason: str
    filled_quantity: int
    expected_quantity: int
    slippage_ticks: str | None
    max_slippage_ticks: str


def validation_view(book: Book, assessment: Assessment) -> ValidationView:
    """Return the answer to a what-if; the gate does not deny one, it is shown beside."""
    return ValidationView(
        decision="DENIED" if assessment.denials else "APPROVED",
        denials=assessment.denials,
        rounded=rounded_prices(book, assessment),
        r_multiple=assessment.r_multiple,
        reducing=assessment.reducing,
        gate=assessment.gate,
    )


def refused_validation(denials: Iterable[Denial]) -> ValidationView:
    """Return the answer to a what-if that cannot be judged yet: nothing is known to round to."""
    nothing = RoundedPrices(
        limit_price=None, stop_price=None, stop_loss_price=None, take_profit_price=None
    )
    return ValidationView(
        decision="DENIED",
        denials=tuple(denials),
        rounded=nothing,
        r_multiple=None,
        reducing=False,
        gate=None,
    )


def rounded_prices(book: Book, assessment: Assessment) -> RoundedPrices:
    """Return the prices of the judged order as they would be sent."""
    intent = assessment.intent
    instrument = book.instruments.get(intent.contract_id)
    return RoundedPrices(
        limit_price=level_text(instrument, intent.limit_ticks),
        stop_price=level_text(instrument, intent.stop_ticks),
        stop_loss_price=level_text(instrument, intent.stop_loss_ticks),
        take_profit_price=level_text(instrument, intent.take_profit_ticks),
    )


def verification_view(verification: Verification) -> VerificationView:
    """Return the published verdict; slippage is cut after nine decimals if it never ends."""
    slippage = verification.slippage_ticks
    return VerificationView(
        verdict=verification.verdict,
        reason=verification.reason,
        filled_quantity=verification.filled_quantity,
        expected_quantity=verification.expected_quantity,
        slippage_ticks=None if slippage is None else fraction_text(slippage),
        max_slippage_ticks=f"{plain(verification.max_slippage_ticks):f}",
    )
