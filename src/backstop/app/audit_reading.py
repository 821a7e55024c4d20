"""Single questions to the record: the newest checkpoint, some records, a proof of inclusion.

For the HTTP interface and for bundles; the answers of a running guard come from what is durable.
"""

import threading
from base64 import b64encode
from pathlib import Path

from msgspec import Struct

from backstop.adapters.sqlite.audit_store import AuditStore, StoredRecord
from backstop.core.audit_log import ChunkedTree
from backstop.core.checkpoint import SignedCheckpoint, parse, verifier_key

RECORDS_SHOWN_MAX = 1000
"""Records in one answer, so that no question about a long history fills the memory."""


class RecordView(Struct, frozen=True, kw_only=True):
    """One journal record with everything its leaf hash covers.

    Attributes:
        seq: its place; the leaf of the Merkle tree has the index ``seq`` - 1.
        kind: event, command, proof, policy, key-rotation or state.
        epoch: number of the right to send under which it was written.
        monotonic_ns: as text, because readers of JSON round numbers as large as this.
        utc_us: microseconds since 1970.
        payload_base64: its bytes; JSON.
        leaf_hash: the RFC 6962 leaf hash, as hex.
    """

    seq: int
    kind: str
    account: str
    epoch: int
    monotonic_ns: str
    utc_us: int
    payload_base64: str
    leaf_hash: str


class RecordPage(Struct, frozen=True, kw_only=True):
    """Records in order; ``next_from`` continues, None at the end."""

    records: tuple[RecordView, ...]
    next_from: int | None


class CheckpointView(Struct, frozen=True, kw_only=True):
    """The newest signed head over all durable records.

    Attributes:
        root_hash: the root of the Merkle tree, as hex.
        note: the checkpoint itself, a C2SP signed note.
        verifier_key: the public key as tools for signed notes take it.
    """

    origin: str
    size: int
    root_hash: str
    key_id: str
    verifier_key: str
    note: str


class InclusionView(Struct, frozen=True, kw_only=True):
    """What shows that one record is in the tree of a checkpoint.

    Attributes:
        inclusion: hashes as hex, from the leaf to the root, as RFC 6962 has them.
    """

    record: RecordView
    leaf_index: int
    inclusion: tuple[str, ...]
    checkpoint: CheckpointView


class AuditReading:
    """Answers from one database; what it keeps between questions is small.

    Args:
        database: ``audit.db``.
        public_key: the 32 bytes of the key that signs now.
        key_id: its name.
    """

    def __init__(self, database: Path, *, public_key: bytes, key_id: str) -> None:
        self._database = database
        self._public_key = public_key
        self._key_id = key_id
        self._tree = ChunkedTree(self._read_leaves)
        self._tree_in_use = threading.Lock()  # calls come on threads of their own

    def checkpoint(self) -> CheckpointView | None:
        """Return the newest checkpoint; None while nothing is recorded."""
        with AuditStore(self._database, checked=False) as store:
            note = store.signed_head()
        return None if note is None else self._checkpoint_view(parse(note))

    def records(self, *, first_seq: int, limit: int) -> RecordPage:
        """Return at most ``limit`` records from ``first_seq`` on."""
        limit = min(limit, RECORDS_SHOWN_MAX)
        with AuditStore(self._database, checked=False) as store:
            found = [record_view(it) for it in store.records(from_seq=first_seq, limit=limit)]
            last = store.last_seq()
        more = bool(found) and found[-1].seq < last
        return RecordPage(records=tuple(found), next_from=found[-1].seq + 1 if more else None)

    def inclusion(self, seq: int) -> InclusionView | None:
        """Return the proof that record ``seq`` is in the newest checkpoint; None without it."""
        with AuditStore(self._database, checked=False) as store:
            note = store.signed_head()
            record = next(store.records(from_seq=seq, limit=1), None)
        if note is None or record is None or record.seq != seq:
            return None
        signed = parse(note)
        size = signed.checkpoint.size
        if seq > size:
            return None
        with self._tree_in_use:
            proof = self._tree.inclusion_proof(seq - 1, size)
        return InclusionView(
            record=record_view(record),
            leaf_index=seq - 1,
            inclusion=tuple(it.hex() for it in proof),
            checkpoint=self._checkpoint_view(signed),
        )

    def _read_leaves(self, start: int, end: int) -> list[bytes]:
        with AuditStore(self._database, checked=False) as store:
            return store.leaves(start, end)

    def _checkpoint_view(self, signed: SignedCheckpoint) -> CheckpointView:
        head = signed.checkpoint
        return CheckpointView(
            origin=head.origin,
            size=head.size,
            root_hash=head.root.hex(),
            key_id=self._key_id,
            verifier_key=verifier_key(head.origin, self._public_key),
            note=signed.note,
        )


def record_view(record: StoredRecord) -> RecordView:
    """Return a record as others see it."""
    return RecordView(
        seq=record.seq,
        kind=record.kind,
        account=record.account,
        epoch=record.epoch,
        monotonic_ns=str(record.monotonic_ns),
        utc_us=record.utc_us,
        payload_base64=b64encode(record.payload).decode("ascii"),
        leaf_hash=record.leaf_hash.hex(),
    )
