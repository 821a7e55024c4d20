"""The best bid and offer, and the last trade, of one contract."""

from decimal import Decimal

from msgspec import Struct

from backstop.domain.order import Side


class Quote(Struct, frozen=True, kw_only=True):
    """What the market hub last said of one contract; a member that never came is None.

    ``age_ms`` is how long before its use the newest part of it arrived.
    """

    contract_id: str
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    age_ms: int = 0

    def touch(self, side: Side) -> Decimal | None:
        """Return the price a market order on ``side`` would meet first, else the last trade."""
        opposite = self.ask if side.sign > 0 else self.bid
        return self.last if opposite is None else opposite


class Mark(Struct, frozen=True, kw_only=True):
    """The last known price of one contract, in points, as a decision used it; ``age_ms`` old."""

    contract_id: str
    price: Decimal
    age_ms: int = 0
