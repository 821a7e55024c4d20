"""What a list still says of which some rows break their schema.

Such a list is no picture of anything, so the read fails: what is not in it proves nothing. But each
row that can be read is evidence by itself, and a fill must not be lost because of its neighbour.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Raw

from backstop.adapters.projectx import translate
from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.domain.events import Fact, OrderReported, PayloadRejected, Source, TradeReported
from backstop.errors import GatewayAnswerError
from backstop.ports import Clock, FactSink

ROWS_REMEMBERED = 20_000
"""Rows that were told of and are not told again by the next read: more than a week of trades."""

REPORTS_MAX = 50
"""Rows without sense that go on record in one process; each further one fails its read alone."""


class UnreadableRowsError(GatewayAnswerError):
    """Some rows of a list cannot be read.

    Attributes:
        readable: what the other rows state.
        rejected: the rows that state nothing, each with its fault.
    """

    def __init__(
        self, readable: Sequence[object], rejected: Sequence[tuple[Raw, GatewayAnswerError]]
    ) -> None:
        self.readable = tuple(readable)
        self.rejected = tuple(rejected)
        more = f" (and {len(rejected) - 1} more such rows)" if len(rejected) > 1 else ""
        super().__init__(f"{rejected[0][1]}{more}")


class BrokenLists:
    """Hands on the rows of broken lists as facts, each once, however often it is read."""

    def __init__(self, *, clock: Clock, sink: FactSink) -> None:
        self._clock = clock
        self._sink = sink
        self._told: OrderedDict[bytes, None] = OrderedDict()
        self._reports_left = REPORTS_MAX

    def tell(self, target: str, broken: UnreadableRowsError) -> None:
        """Report every row of ``broken`` that is new; ``target`` is the call that listed it."""
        for stated in broken.readable:
            fact = self._evidence(stated)
            if fact is not None:
                self._sink(fact)
        for row, fault in broken.rejected:
            if self._reports_left and self._is_new(bytes(row)):
                self._reports_left -= 1
                self._sink(
                    PayloadRejected(
                        utc_us=self._clock.utc_us(),
                        source=Source.REST,
                        target=target,
                        fault=str(fault),
                        raw=translate.rejected_text(row),
                    )
                )

    def _evidence(self, stated: object) -> Fact | None:
        """Return what one row proves; one position proves nothing, for its picture is cut."""
        match stated:
            case BrokerOrder() if self._is_new(stated.raw.encode()):
                return OrderReported(utc_us=self._clock.utc_us(), order=stated, source=Source.REST)
            case BrokerTrade() if self._is_new(stated.raw.encode()):
                return TradeReported(utc_us=self._clock.utc_us(), trade=stated, source=Source.REST)
            case _:
                return None

    def _is_new(self, row: bytes) -> bool:
        name = hashlib.sha256(row).digest()
        if name in self._told:
            self._told.move_to_end(name)
            return False
        self._told[name] = None
        if len(self._told) > ROWS_REMEMBERED:
            self._told.popitem(last=False)
        return True
