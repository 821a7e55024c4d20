"""Exact numbers as text for people and JSON."""

from collections.abc import Iterable
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, Inexact
from fractions import Fraction

MICROS = 1_000_000
"""Millionths in one unit of money."""


DIGITS_MAX = 5000
"""More than a number can have that Python writes as text at all."""

_EXACT = Context(prec=200, traps=[Inexact])
"""Far more digits than any price times any quantity has; a loss of one would raise."""

_WIDE = Context(prec=DIGITS_MAX)


def average(priced: Iterable[tuple[Decimal, int]]) -> Fraction | None:
    """Return the exact mean of prices weighted by quantities; None without any."""
    # The parts of an order fill at a few prices: what is exact, and slow, is done once for each.
    quantities: dict[Decimal, int] = {}
    for price, weight in priced:
        quantities[price] = quantities.get(price, 0) + weight
    quantity = sum(quantities.values())
    if not quantity:
        return None
    total = Decimal(0)
    for price, weight in quantities.items():
        total = _EXACT.fma(price, weight, total)
    numerator, denominator = total.as_integer_ratio()
    return Fraction(numerator, denominator * quantity)


def difference(minuend: Decimal, subtrahend: Decimal) -> Decimal:
    """Return the exact difference of two prices, however many digits they have."""
    return _EXACT.subtract(minuend, subtrahend)


def micros(amount: Decimal) -> int:
    """Return ``amount`` of money in millionths, half-even when it has more than six decimals."""
    return int((amount * MICROS).to_integral_value(ROUND_HALF_EVEN))


def money(amount_micros: int) -> Decimal:
    """Return millionths as a Decimal amount, exactly, without needless zeros."""
    return plain(_WIDE.scaleb(Decimal(amount_micros), -6))


def plain(number: Decimal) -> Decimal:
    """Return ``number`` without trailing zeros and never in exponent form.

    One that nobody could write out, which is no amount of anything, stays as it is.
    """
    if not number.is_finite() or number.adjusted() >= DIGITS_MAX:
        return number
    normal = _WIDE.normalize(number)
    whole = normal.as_tuple().exponent > 0  # type: ignore[operator]
    return _WIDE.quantize(normal, Decimal(1)) if whole else normal


def decimal_text(number: Decimal | None) -> str | None:
    """Return ``number``, a price for example, as plain decimal text; None where there is none."""
    return None if number is None else f"{plain(number):f}"


def fraction_text(value: Fraction, *, places: int = 9) -> str:
    """Return ``value`` as decimal text: exact when ``places`` decimals suffice, else cut there."""
    scaled = value.numerator * 10**places
    quotient = abs(scaled) // value.denominator
    number = Decimal(quotient if scaled >= 0 else -quotient).scaleb(-places)
    return f"{plain(number):f}"


def ratio_text(numerator: int, denominator: int) -> str:
    """Return a ratio with one to four decimals, rounded towards zero: ``2.0``, ``1.875``."""
    ratio = (Decimal(numerator) / Decimal(denominator)).quantize(Decimal("0.0001"), ROUND_DOWN)
    text = f"{ratio:f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def count_text(number: int, thing: str) -> str:
    """Return how many of ``thing`` (its singular) there are, for people: ``1 trade``, ``2 trades``.

    For words that take an s.
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
