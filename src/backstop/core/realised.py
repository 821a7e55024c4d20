"""What the account's trades brought, by the venue's own figures.

A half-turn that opens or adds states no result: that is not a result of zero, and no closed trade.
A voided one brings nothing and costs nothing.
"""

from collections.abc import Iterable

from msgspec import Struct

from backstop.domain.broker import BrokerTrade


class RealisedResult(Struct, frozen=True, kw_only=True):
    """Results of closed contracts, and the costs of every trade; millionths of a dollar.

    Attributes:
        gross_micros: profit minus loss at the fill prices, before costs.
        costs_micros: fees and commissions.
        closing_trades: trades that stated a result.
        trades: all that were counted.
    """

    gross_micros: int = 0
    costs_micros: int = 0
    closing_trades: int = 0
    trades: int = 0

    @property
    def net_micros(self) -> int:
        """What is left after costs."""
        return self.gross_micros - self.costs_micros

    def __add__(self, other: "RealisedResult") -> "RealisedResult":
        return RealisedResult(
            gross_micros=self.gross_micros + other.gross_micros,
            costs_micros=self.costs_micros + other.costs_micros,
            closing_trades=self.closing_trades + other.closing_trades,
            trades=self.trades + other.trades,
        )

    def __sub__(self, other: "RealisedResult") -> "RealisedResult":
        return RealisedResult(
            gross_micros=self.gross_micros - other.gross_micros,
            costs_micros=self.costs_micros - other.costs_micros,
            closing_trades=self.closing_trades - other.closing_trades,
            trades=self.trades - other.trades,
        )


def realised(trades: Iterable[BrokerTrade]) -> RealisedResult:
    """Return what ``trades`` brought; each is expected once, as the book holds them."""
    counted = [trade for trade in trades if not trade.voided]
    stated = [
        trade.profit_and_loss_micros
        for trade in counted
        if trade.profit_and_loss_micros is not None
    ]
    return RealisedResult(
        gross_micros=sum(stated),
        costs_micros=sum(trade.fees_micros + trade.commissions_micros for trade in counted),
        closing_trades=len(stated),
        trades=len(counted),
    )
