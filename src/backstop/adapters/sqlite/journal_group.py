"""What goes to the disk in one transaction: records with their leaf hashes, rows, and a head.

Batches are handed in on the event loop. The writer's thread takes them when it is about to write,
and not earlier: whatever is there by then shares the commit, and waits for no other one.
"""

from collections import deque
from typing import Final, Protocol

from backstop.adapters.sqlite.journal_view import LeafHash
from backstop.ports import JournalBatch, JournalRecord

MAX_GROUP_BATCHES = 512
"""Decisions in one transaction, so that the first of them does not wait for a long one."""

StoredRecord = tuple[int, str, str, int, int, int, bytes, bytes]
"""The columns of ``Journal``: seq, kind, account, epoch, monotonic_ns, utc_us, payload, hash."""

PAYLOAD: Final = 6
"""The place of the payload in a stored record."""

SignedHead = tuple[int, str]
"""How many records there are, and the signed note over all of them."""


class TreeHeads(Protocol):
    """Grows with the records and signs what it has become; used on the writer's thread alone."""

    def append(self, leaf_hash: bytes) -> None:
        """Add the hash of the next record."""

    def signed_head(self) -> SignedHead:
        """Return how many records there are, and the signed note over all of them."""


class Group:
    """Batches that become durable together.

    Attributes:
        batches: as they were handed in.
        records: theirs, as they are stored.
        head: over all records up to the last of these; None when nobody signs.
    """

    __slots__ = ("batches", "head", "records")

    def __init__(
        self,
        batches: list[JournalBatch],
        records: list[StoredRecord],
        head: SignedHead | None,
    ) -> None:
        self.batches = batches
        self.records = records
        self.head = head

    @property
    def rows(self) -> int:
        """Rows of the audit tables that the batches imply."""
        return sum([len(batch.orders) + len(batch.fills) for batch in self.batches])

    @property
    def size(self) -> int:
        """Bytes of the payloads of its records."""
        return sum([len(record[PAYLOAD]) for record in self.records])


class Intake:
    """Where batches wait to be taken, in order: put in by one thread, taken out by another.

    Both ends of a ``deque`` may be used at the same time, so nobody waits for a lock.
    """

    def __init__(
        self, *, account: str, epoch: int, leaf_hash: LeafHash, heads: TreeHeads | None
    ) -> None:
        self._account = account
        self._epoch = epoch
        self._leaf_hash = leaf_hash
        self._heads = heads
        self._batches: deque[JournalBatch] = deque()

    def __bool__(self) -> bool:
        return bool(self._batches)

    def put(self, batch: JournalBatch) -> None:
        """Add ``batch`` after all others."""
        self._batches.append(batch)

    def take(self) -> Group | None:
        """Return what is there, signed, and at most so much that the first need not wait long."""
        held = self._batches
        batches = [held.popleft() for _ in range(min(len(held), MAX_GROUP_BATCHES))]
        if not batches:
            return None
        records = [self._stored(it) for batch in batches for it in batch.records]
        return Group(batches, records, self._head_over(records))

    def _head_over(self, records: list[StoredRecord]) -> SignedHead | None:
        heads = self._heads
        if heads is None:
            return None
        for record in records:
            heads.append(record[-1])
        return heads.signed_head()

    def _stored(self, record: JournalRecord) -> StoredRecord:
        seq, kind, monotonic_ns = record.seq, record.kind, record.monotonic_ns
        utc_us, payload, account, epoch = record.utc_us, record.payload, self._account, self._epoch
        leaf = self._leaf_hash(
            seq=seq,
            kind=kind,
            account=account,
            epoch=epoch,
            monotonic_ns=monotonic_ns,
            utc_us=utc_us,
            payload=payload,
        )
        return seq, kind, account, epoch, monotonic_ns, utc_us, payload, leaf
