"""What waits for one client of a hub: in order, within a bound, and without a lie.

User events are never left out: when they do not fit, the client is told and disconnected. Of market
data a slow client gets less instead of late: quotes that wait are merged into the newest one, and
trades are left out. Depth is a chain of changes, of which none can be missing: it waits, like user
events, until there is no room for it.
"""

from collections import deque
from typing import Final

import msgspec
from msgspec import Raw, Struct

from backstop.adapters.projectx.wire import UNREADABLE
from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.hub_limits import HubLimits, Misuse

QUOTE: Final = "GatewayQuote"
TRADE: Final = "GatewayTrade"

Group = tuple[str, object]
"""Event name, and the account or contract it is about."""


class _Event(Struct):
    """What of a market event's record is needed to merge it with another one."""

    arguments: tuple[Raw, dict[str, Raw]]


_decode_event = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.encode


class Backlog:
    """Records that wait for one client."""

    def __init__(self, limits: HubLimits) -> None:
        self._limits = limits
        self._records: deque[bytes] = deque()
        self._bytes = 0
        self._merged: dict[Group, bytes] = {}  # the newest quote of each contract
        self._merged_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes that wait."""
        return self._bytes + self._merged_bytes

    def __bool__(self) -> bool:
        return bool(self._records or self._merged)

    def put(self, record: bytes) -> bool:
        """Let ``record`` wait; False when there is no room for it."""
        if self._bytes + self._merged_bytes + len(record) > self._limits.queue_bytes_max:
            return False
        self._records.append(record)
        self._bytes += len(record)
        return True

    def put_market(self, group: Group, record: bytes) -> Misuse | bool:
        """Let an event wait, merge it, or leave it out; False when there is no room for it.

        Returns:
            True when it waits, else what became of it.
        """
        above = self._limits.conflate_above_bytes
        if above is None or (self._bytes < above and group not in self._merged):
            return self.put(record)
        if group[0] == TRADE:
            return Misuse.TRADE_LEFT_OUT
        if group[0] == QUOTE:
            return self._merge(group, record)
        return self.put(record)

    def next_frame(self) -> bytes:
        """Take out the next records, up to 64 KB of them, or one that is larger."""
        if len(self._records) == 1:  # whoever keeps up has no more than the newest
            record = self._records.popleft()
            self._bytes -= len(record)
            return record
        records: list[bytes] = []
        size = 0
        while (first := self._first()) is not None:
            if records and size + len(first) > signalr.FRAME_BYTES_MAX:
                break
            self._drop_first(first)
            size += len(first)
            records.append(first)
        return records[0] if len(records) == 1 else b"".join(records)

    def clear(self) -> None:
        """Let nothing wait any more."""
        self._records.clear()
        self._merged.clear()
        self._bytes = self._merged_bytes = 0

    def _first(self) -> bytes | None:
        if self._records:
            return self._records[0]
        return next(iter(self._merged.values()), None)

    def _drop_first(self, record: bytes) -> None:
        if self._records:
            self._records.popleft()
            self._bytes -= len(record)
        else:
            del self._merged[next(iter(self._merged))]
            self._merged_bytes -= len(record)

    def _merge(self, group: Group, record: bytes) -> Misuse | bool:
        waiting = self._merged.get(group)
        merged = record if waiting is None else _newest(waiting, record)
        grown = len(merged) - (0 if waiting is None else len(waiting))
        if self._bytes + self._merged_bytes + grown > self._limits.queue_bytes_max:
            return False
        self._merged[group] = merged
        self._merged_bytes += grown
        return True if waiting is None else Misuse.QUOTE_MERGED


def _newest(waiting: bytes, record: bytes) -> bytes:
    """Return the quote after both: the members that the later one lacks stand as they were."""
    try:
        contract, members = _decode_event(waiting[:-1]).arguments
        _, later = _decode_event(record[:-1]).arguments
    except UNREADABLE:
        return record  # no quote that anybody could merge: the newer one stands for itself
    return signalr.invocation(QUOTE, bytes(contract), _encode(members | later))
