"""What goes to the disk in one transaction: records with their leaf hashes, rows, and a head.

A group is put together on the event loop and written by the writer's thread. The signature over it
takes as long as the thread takes to wake up, so the group is handed over first and signed then.
"""

import queue
from typing import Final, Protocol

from backstop.adapters.sqlite.journal_view import LeafHash
from backstop.ports import JournalBatch, JournalRecord

StoredRecord = tuple[int, str, str, int, int, int, bytes, bytes]
"""The columns of ``Journal``: seq, kind, account, epoch, monotonic_ns, utc_us, payload, hash."""

PAYLOAD: Final = 6
"""The place of the payload in a stored record."""

SignedHead = tuple[int, str]
"""How many records there are, and the signed note over all of them."""


class TreeHeads(Protocol):
    """Grows with the records and signs what it has become; used on the event loop alone."""

    def append(self, leaf_hash: bytes) -> None:
        """Add the hash of the next record."""

    def signed_head(self) -> SignedHead:
        """Return how many records there are, and the signed note over all of them."""


class Group:
    """Batches that become durable together.

    Attributes:
        batches: as they were handed in.
        records: theirs, as they are stored.
    """

    __slots__ = ("_head", "_signed", "batches", "records")

    def __init__(self, batches: list[JournalBatch], records: list[StoredRecord]) -> None:
        self.batches = batches
        self.records = records
        self._signed: queue.SimpleQueue[SignedHead | None] = queue.SimpleQueue()
        self._head: SignedHead | None = None

    @property
    def rows(self) -> int:
        """Rows of the audit tables that the batches imply."""
        return sum([len(batch.orders) + len(batch.fills) for batch in self.batches])

    @property
    def size(self) -> int:
        """Bytes of the payloads of its records."""
        return sum([len(record[PAYLOAD]) for record in self.records])

    def sign(self, head: SignedHead | None) -> None:
        """Give the group its head; None when nobody signs."""
        self._signed.put(head)

    def head(self) -> SignedHead | None:
        """Wait for the head; asked by one thread only, as often as it likes."""
        if self._head is None:
            self._head = self._signed.get()
            if self._head is None:
                self._signed.put(None)
        return self._head


class GroupMaker:
    """Puts groups together, in the order of the records."""

    def __init__(
        self, *, account: str, epoch: int, leaf_hash: LeafHash, heads: TreeHeads | None
    ) -> None:
        self._account = account
        self._epoch = epoch
        self._leaf_hash = leaf_hash
        self._heads = heads

    def make(self, batches: list[JournalBatch]) -> Group:
        """Return a group of ``batches``; ``sign`` it once it is handed over."""
        return Group(batches, [self._stored(it) for batch in batches for it in batch.records])

    def sign(self, group: Group) -> None:
        """Sign the tree over all records up to the last one of ``group``."""
        heads = self._heads
        if heads is None:
            group.sign(None)
            return
        for record in group.records:
            heads.append(record[-1])
        group.sign(heads.signed_head())

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
