"""``backstop audit prove``: one order with everything that proves it, in one file.

The bundle holds the signed execution proof, every journal record that changed the order or told of
its number, the proof that each of them is in the tree, the signed checkpoint of that tree, and the
changes of keys up to the present one. It is checked with the public key alone, without the
database.
"""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from backstop.adapters.sqlite.audit_store import AuditStore, StoredOrder, StoredRecord
from backstop.adapters.sqlite.evidence_copy import readable
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.audit_reading import RecordView, record_view
from backstop.app.journal_fold import decisions
from backstop.core.audit_log import ChunkedTree
from backstop.core.checkpoint import CheckpointError, parse
from backstop.core.engine import new_book
from backstop.core.record_fold import decode_policy
from backstop.core.step import Step
from backstop.domain.record_kind import RecordKind
from backstop.errors import NoBundleError, StateFolderError, TamperedRecordError

FORMAT = "backstop.audit-bundle.v1"

MAX_RECORDS = 5000
"""Records of one order; an order with 2000 fills has fewer, and the bundle stays below 16 MiB."""


class IncludedRecord(Struct, frozen=True, kw_only=True):
    """A record and the siblings that lead from its leaf to the root, lowest first, in base64."""

    record: RecordView
    inclusion: tuple[str, ...]


class AuditBundle(Struct, frozen=True, kw_only=True):
    """The file as it travels.

    Attributes:
        execution: the signed execution proof, as it stands in the record.
        records: what changed the order or told of its number, in order.
        rotations: every change of keys; from them follows who could sign what.
        checkpoint: the signed note over the tree that all of them are in.
    """

    format: str
    execution: msgspec.Raw
    records: tuple[IncludedRecord, ...]
    rotations: tuple[IncludedRecord, ...]
    checkpoint: str


def order_bundle(state_folder: Path, order_id: str) -> bytes:
    """Return the bundle of the order with this client order id or broker order id, as JSON.

    Raises:
        NoBundleError: it has no execution proof yet.
        StateFolderError: there is no such order, or no usable record.
    """
    with readable(state_folder / AUDIT_DATABASE) as path, AuditStore(path) as store:
        store.freeze()
        order = _order(store, order_id)
        note = store.signed_head()
        if note is None:
            raise StateFolderError(f"{path} has no signed head. Run 'backstop audit verify'.")
        size = _size(note)
        tree = ChunkedTree(store.leaves)

        def included(record: StoredRecord) -> IncludedRecord:
            siblings = tree.inclusion_proof(record.seq - 1, size)
            return IncludedRecord(
                record=record_view(record),
                inclusion=tuple(b64encode(it).decode("ascii") for it in siblings),
            )

        seqs = _seqs_of(store, order)
        rotations = [seq for seq, _ in store.payloads(RecordKind.KEY_ROTATION)]
        bundle = AuditBundle(
            format=FORMAT,
            execution=msgspec.Raw(str(order.execution_proof).encode()),
            records=tuple(included(it) for it in _records(store, seqs)),
            rotations=tuple(included(it) for it in _records(store, rotations)),
            checkpoint=note,
        )
    return msgspec.json.encode(bundle)


def _order(store: AuditStore, order_id: str) -> StoredOrder:
    order = store.order(order_id)
    if order is None:
        raise StateFolderError(
            f"No recorded order has the id {order_id}. 'backstop audit orders' lists them."
        )
    if order.client_order_id is None:
        raise NoBundleError(
            f"Order {order_id} was not placed by Backstop; only its fills are on record."
        )
    if order.execution_proof is None:
        raise NoBundleError(
            f"Order {order_id} is {order.status} and has no execution proof. A proof is made when "
            "an order with fills is finished."
        )
    return order


def _size(note: str) -> int:
    try:
        return parse(note).checkpoint.size
    except CheckpointError as error:
        raise TamperedRecordError("the signed head in audit.db", str(error)) from error


def _seqs_of(store: AuditStore, order: StoredOrder) -> list[int]:
    """Return the numbers of all records of the facts that tell of an order."""
    records = (record.as_written() for record in store.records())
    first = next(records)
    if first.kind != RecordKind.POLICY:
        raise StateFolderError("The record is of a version that this one cannot follow.")
    seqs: list[int] = []
    for decided in decisions(new_book(decode_policy(first)), records):
        if _tells_of(decided.result, order):
            seqs.extend(record.seq for record in decided.records)
        if len(seqs) > MAX_RECORDS:
            raise NoBundleError(
                f"Order {order.client_order_id} has more than {MAX_RECORDS} records; "
                "'backstop audit export' writes them all."
            )
    return seqs


def _tells_of(step: Step, order: StoredOrder) -> bool:
    """Say whether a fact changed ``order``, or told of its number before that was known as its."""
    numbers = (
        *(row.order_id for row in step.order_rows),
        *(row.order_id for row in step.fill_rows),
    )
    return order.client_order_id in step.changed_orders or order.order_id in numbers


def _records(store: AuditStore, seqs: list[int]) -> Iterator[StoredRecord]:
    for seq in seqs:
        yield from store.records(from_seq=seq, limit=1)
