"""Which of two prices a position is worth when the last trade and the touch lie far apart.

One print that nothing else confirms, a zero among them, must not close an account: what it says is
gone within milliseconds, what was closed for it is not. A market that runs away from a touch that
stands still prints again, and is believed with its second price.
"""

from decimal import Decimal

from msgspec import Struct

from backstop.domain.quote import Quote

FAR = 200
"""The last trade and the nearer side of the touch are far apart from one part in so many on: half a
percent, 30 points of ES. No market leaves its own touch so far behind for longer than a moment."""


class Believed(Struct, frozen=True, kw_only=True):
    """What one contract is worth after its newest quote.

    Attributes:
        quote: the newest one.
        price: what is believed; None: there is neither a last trade nor a whole touch.
        alone: a last trade that the touch contradicted, which no other print has confirmed.
    """

    quote: Quote
    price: Decimal | None = None
    alone: Decimal | None = None


def believed(before: Believed | None, quote: Quote) -> Believed:
    """Return what a contract is worth after ``quote``: its last trade, else the touch's middle."""
    last, near = quote.last, _nearer_side(quote)
    if last is None:
        middle = None if quote.bid is None or quote.ask is None else (quote.bid + quote.ask) / 2
        return Believed(quote=quote, price=middle)
    if (
        near is None
        or not _are_far(last, near)
        or (before and _is_likelier(last, near, before, quote))
    ):
        return Believed(quote=quote, price=last)
    return Believed(quote=quote, price=near, alone=last)


def _is_likelier(last: Decimal, near: Decimal, before: Believed, quote: Quote) -> bool:
    """Say whether the last trade is believed, and not the touch that lies far from it."""
    if before.price is not None and abs(before.price - last) <= abs(before.price - near):
        return True  # it is the touch that is new, and alone
    touch_stands = (before.quote.bid, before.quote.ask) == (quote.bid, quote.ask)
    return touch_stands and before.alone not in {None, last}


def _nearer_side(quote: Quote) -> Decimal | None:
    """Return the price of the touch that is nearest to the last trade; None: there is no touch."""
    bid, ask, last = quote.bid, quote.ask, quote.last
    if last is None or not bid or not ask or bid > ask:
        return None
    return min(max(last, bid), ask)


def _are_far(last: Decimal, near: Decimal) -> bool:
    return abs(last - near) * FAR > abs(near)
