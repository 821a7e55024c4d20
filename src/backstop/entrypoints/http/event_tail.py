"""The record as events for any number of readers: read from the disk once, encoded once.

Readers that are up to date share what is newest; one that has been away reads its past in pages,
one page of one reader at a time. So it costs the guard about the same whether one reader follows
or thirty, and a reader that begins at the beginning holds up nobody.
"""

import asyncio
from base64 import b64decode
from collections import deque
from functools import partial
from typing import Protocol

import msgspec
from msgspec import Struct

from backstop.app.audit_reading import AuditReading, RecordView
from backstop.domain.utc import utc_text
from backstop.entrypoints.http.disk_reads import DiskReads

RECORDS_PER_READ = 200

SHARED_RECORDS_MAX = 1_000
SHARED_BYTES_MAX = 4 * 1024 * 1024
"""What is kept of the newest: seconds of a busy market. Who is further behind reads the disk."""


GAP = "gap"


class EventView(Struct, frozen=True, kw_only=True):
    """One record of the journal, as the ``data`` of an event; the stream's ``id`` is ``seq``.

    ``record`` is event, command, proof, policy, key-rotation or state. ``payload`` is what was
    recorded; the ``kind`` in it names the fact or the command, and is the stream's ``event`` too.
    With ``record`` gap it is a Gap: ``seq`` is the last number that is missing.
    """

    seq: int
    record: str
    time: str
    payload: msgspec.Raw


class Gap(Struct, frozen=True, kw_only=True):
    """Records that the disk does not give, from first to last.

    The check of the record (``backstop audit verify``) says what became of them.
    """

    first_seq: int
    last_seq: int
    kind: str = GAP


class Recording(Protocol):
    """A guard, as far as its record goes."""

    @property
    def journal_seq(self) -> int:
        """Number of the newest record, which may not be on disk yet."""

    @property
    def audit(self) -> AuditReading:
        """Answers from what is on disk."""


class Told(Struct, frozen=True, kw_only=True):
    """Events as they are written to a reader, and where it goes on."""

    data: bytes
    next_seq: int


class EventTail:
    """Gives events from any place on; use it in one event loop."""

    def __init__(self, guard: Recording) -> None:
        self._guard = guard
        self._shared: deque[tuple[int, bytes]] = deque()  # without a hole between
        self._shared_bytes = 0
        self._reading = asyncio.Lock()
        self._reads = DiskReads()

    async def after(self, next_seq: int) -> Told | None:
        """Return what is on disk from ``next_seq`` on, a page at most; None while that is nothing.

        Only what is durable is told.
        """
        if self._guard.journal_seq < next_seq:
            return None
        told = self._from_shared(next_seq)
        if told is not None:
            return told
        async with self._reading:
            told = self._from_shared(next_seq)  # another reader has read it meanwhile
            if told is not None:
                return told
            events = await self._reads.read(partial(self._read, next_seq))
        self._share(next_seq, events)
        if not events:
            return None
        return Told(data=b"".join(data for _, data in events), next_seq=events[-1][0] + 1)

    def _from_shared(self, next_seq: int) -> Told | None:
        if not self._shared or not self._shared[0][0] <= next_seq <= self._shared[-1][0]:
            return None
        events = [it for it in self._shared if it[0] >= next_seq][:RECORDS_PER_READ]
        return Told(data=b"".join(data for _, data in events), next_seq=events[-1][0] + 1)

    def _share(self, next_seq: int, events: list[tuple[int, bytes]]) -> None:
        if not events or events[-1][0] + RECORDS_PER_READ < self._guard.journal_seq:
            return  # the past of one reader
        if self._shared and self._shared[-1][0] + 1 != next_seq:
            self._shared.clear()
            self._shared_bytes = 0
        self._shared.extend(events)
        self._shared_bytes += sum(len(data) for _, data in events)
        while len(self._shared) > SHARED_RECORDS_MAX or self._shared_bytes > SHARED_BYTES_MAX:
            self._shared_bytes -= len(self._shared.popleft()[1])

    def _read(self, next_seq: int) -> list[tuple[int, bytes]]:
        """Read and encode a page, on a thread: the loop has better things to do."""
        page = self._guard.audit.records(first_seq=next_seq, limit=RECORDS_PER_READ)
        events: list[tuple[int, bytes]] = []
        for record in page.records:
            data = _event(record)
            if record.seq > next_seq:
                data = _gap(next_seq, record) + data
            events.append((record.seq, data))
            next_seq = record.seq + 1
        return events


class _Kind(Struct):
    kind: str = ""


def _event(record: RecordView) -> bytes:
    payload = b64decode(record.payload_base64)
    try:
        kind = msgspec.json.decode(payload, type=_Kind).kind
    except msgspec.MsgspecError:
        kind, payload = "", msgspec.json.encode(payload.decode("utf-8", "backslashreplace"))
    return _written(record.seq, kind or record.kind, record.kind, record.utc_us, payload)


def _gap(first_seq: int, found: RecordView) -> bytes:
    last_seq = found.seq - 1
    payload = msgspec.json.encode(Gap(first_seq=first_seq, last_seq=last_seq))
    return _written(last_seq, GAP, GAP, found.utc_us, payload)


def _written(seq: int, kind: str, record: str, utc_us: int, payload: bytes) -> bytes:
    view = EventView(seq=seq, record=record, time=utc_text(utc_us), payload=msgspec.Raw(payload))
    head = f"id: {seq}\nevent: {kind}\ndata: "
    return head.encode() + msgspec.json.encode(view) + b"\n\n"
