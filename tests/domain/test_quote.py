"""What a market order would meet first."""

from decimal import Decimal

import pytest

from backstop.domain.order import Side
from backstop.domain.quote import Quote

BID, ASK, LAST = Decimal(1), Decimal(2), Decimal(3)


@pytest.mark.parametrize(
    ("quote", "side", "touch"),
    [
        (Quote(contract_id="c", bid=BID, ask=ASK, last=LAST), Side.BUY, ASK),
        (Quote(contract_id="c", bid=BID, ask=ASK, last=LAST), Side.SELL, BID),
        (Quote(contract_id="c", bid=BID, last=LAST), Side.BUY, LAST),
        (Quote(contract_id="c", ask=ASK, last=LAST), Side.SELL, LAST),
        (Quote(contract_id="c", bid=BID), Side.BUY, None),
        (Quote(contract_id="c"), Side.SELL, None),
    ],
)
def test_the_touch_is_the_opposite_side_else_the_last_trade(
    quote: Quote, side: Side, touch: Decimal | None
) -> None:
    assert quote.touch(side) == touch
