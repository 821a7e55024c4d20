"""Verified, in breach, refuted or unknown: what the evidence says of one execution.

The evidence itself is gathered in ``execution_verification``; here it is judged, and its slippage
is measured from the level that was asked for.
"""

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from msgspec import Struct

from backstop.core.reference_levels import adverse_ticks, references
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import count_text, fraction_text, plain
from backstop.domain.order import OrderType

REGISTRATION_SLACK_US = 1_000_000
"""An order that the venue made this long before it was registered was sent before. Only where the
venue's time of then is not known: its clock is not ours, and the two may differ by so much."""


class Verdict(StrEnum):
    """What the evidence says about an execution."""

    VERIFIED = "VERIFIED"
    BREACH = "BREACH"  # executed in full, at a price outside the tolerance
    REFUTED = "REFUTED"  # it did not happen as expected, and will not
    UNKNOWN = "UNKNOWN"  # the evidence is not complete


class Verification(Struct, frozen=True, kw_only=True):
    """A verdict with its reason; slippage in adverse ticks, exact, None without a reference."""

    verdict: Verdict
    reason: str
    filled_quantity: int
    expected_quantity: int
    slippage_ticks: Fraction | None
    max_slippage_ticks: Decimal


def slippage_ticks(order: TrackedOrder, instrument: Instrument) -> Fraction | None:
    """Return the adverse ticks between the reference and the average fill; negative is better."""
    measured_from = fill_references(order)
    if measured_from is None:
        return None
    return adverse_ticks(
        order.fills,
        measured_from,
        side=order.intent.side,
        tick_size=instrument.tick_size,
    )


def adverse_text(slippage: Fraction) -> str:
    """Return adverse ticks for people: cut after four places, never rounded up."""
    return f"{fraction_text(slippage, places=4)} adverse {'tick' if slippage == 1 else 'ticks'}"


def fill_references(order: TrackedOrder) -> tuple[Decimal, ...] | None:
    """Return what each fill of ``order`` is measured from, in points; None when that is unknown."""
    if _was_sent_before_it_was_known(order):
        return None
    return references(
        order.fills,
        order.levels_seen,
        kind=order.intent.type,
        side=order.intent.side,
        as_sent=order.reference_price,
    )


def why_unmeasured(order: TrackedOrder) -> str:
    """Return why it is unknown what the fills of ``order`` are measured from."""
    kind = order.intent.type
    if kind is OrderType.MARKET and order.registered:
        return "it was sent before it was registered, or no quote was fresh then"
    if kind is OrderType.MARKET:
        return "no quote was fresh when it was sent"
    if kind is OrderType.TRAILING_STOP:
        return "the venue showed no level of it"
    return "the level at which it was filled is not on record"


def _was_sent_before_it_was_known(order: TrackedOrder) -> bool:
    """Say whether the quote of a registered market order is from after it was sent.

    No quote of the past is kept, and one from after the fill would be measured from the fill.
    """
    if not order.registered or order.intent.type is not OrderType.MARKET:
        return False
    known_utc_us = order.venue_from_us
    if known_utc_us is None:
        known_utc_us = order.requested_utc_us - REGISTRATION_SLACK_US
    times = [fill.created_utc_us for fill in order.fills]
    if order.venue is not None:
        times.append(order.venue.created_utc_us)
    return any(0 < utc_us < known_utc_us for utc_us in times)


def verify(
    order: TrackedOrder,
    instrument: Instrument,
    *,
    expected_quantity: int,
    max_slippage_ticks: Decimal,
) -> Verification:
    """Judge ``order`` by its evidence; ``expected_quantity`` in contracts."""
    slippage = slippage_ticks(order, instrument)
    filled = order.filled_quantity

    def verdict(word: Verdict, reason: str) -> Verification:
        return Verification(
            verdict=word,
            reason=reason,
            filled_quantity=filled,
            expected_quantity=expected_quantity,
            slippage_ticks=slippage,
            max_slippage_ticks=max_slippage_ticks,
        )

    if filled > expected_quantity:
        return verdict(
            Verdict.REFUTED,
            f"{count_text(filled, 'contract')} filled, {expected_quantity} expected",
        )
    if not order.is_terminal or order.lacks_trades:
        return verdict(
            Verdict.UNKNOWN,
            f"the order is {order.state} with {filled} of "
            f"{count_text(expected_quantity, 'contract')} proven",
        )
    if filled < expected_quantity:
        told = f": {order.venue_message}" if order.venue_message else ""
        return verdict(
            Verdict.REFUTED,
            f"the order is {order.state} with {filled} of "
            f"{count_text(expected_quantity, 'contract')}{told}",
        )
    if slippage is None:
        return verdict(
            Verdict.VERIFIED,
            f"{count_text(filled, 'contract')} proven by trades; the reference price is UNKNOWN: "
            f"{why_unmeasured(order)}",
        )
    adverse = adverse_text(slippage)
    if slippage > Fraction(max_slippage_ticks):
        return verdict(
            Verdict.BREACH,
            f"filled in full with {adverse}, {plain(max_slippage_ticks):f} allowed",
        )
    return verdict(
        Verdict.VERIFIED,
        f"{count_text(filled, 'contract')} proven by {count_text(len(order.fills), 'trade')}, "
        f"{adverse}",
    )
