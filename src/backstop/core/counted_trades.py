"""The trades that a book holds, oldest first, and what they brought together, kept as they change.

There may be hundreds of thousands, and the sum is asked for with every status: nobody walks them.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from backstop.core.realised import RealisedResult, realised
from backstop.domain.broker import BrokerTrade


class CountedTrades(OrderedDict[int, BrokerTrade]):
    """Trades by their numbers; ``result`` is always what ``realised`` says of all of them."""

    __slots__ = ("result",)

    def __init__(
        self, held: Mapping[int, BrokerTrade] | Iterable[tuple[int, BrokerTrade]] = ()
    ) -> None:
        super().__init__()
        for number, trade in dict(held).items():
            super().__setitem__(number, trade)
        self.result = realised(self.values())

    def __reduce__(
        self,
    ) -> tuple[type["CountedTrades"], tuple[tuple[tuple[int, BrokerTrade], ...]]]:
        """Build copies and pickles from the trades alone: the sum would be added to itself."""
        return CountedTrades, (tuple(self.items()),)

    def __setitem__(self, number: int, trade: BrokerTrade) -> None:
        before = self.get(number)
        super().__setitem__(number, trade)
        if before is not None:
            self.result -= realised((before,))
        self.result += realised((trade,))

    def __delitem__(self, number: int) -> None:
        before = self[number]
        super().__delitem__(number)
        self.result -= realised((before,))

    def pop(self, number: int, *default: Any) -> Any:
        """Take one away, as a dict does."""
        if number not in self and default:
            return default[0]
        trade = self[number]
        del self[number]
        return trade

    def popitem(self, last: bool = True) -> tuple[int, BrokerTrade]:  # noqa: FBT001, FBT002 - as it is called in the dict it overrides
        """Take the newest away, or the oldest, as an ordered dict does."""
        if not self:
            raise KeyError("no trade is held")
        number = next(reversed(self) if last else iter(self))
        return number, self.pop(number)

    def clear(self) -> None:
        """Take all away."""
        super().clear()
        self.result = RealisedResult()
