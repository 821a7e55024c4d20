"""What the two audit tables must hold: rebuilt from the journal, then compared column by column.

The expected rows are made by the same statements that write the real ones, in a scratch database,
so that a difference is a difference of content and never of how SQLite stores a number.
"""

import json
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from msgspec import Struct

from backstop.adapters.signing import verify_raw
from backstop.adapters.sqlite.audit_rows import RowWriter
from backstop.adapters.sqlite.audit_store import (
    AuditStore,
    AuditTable,
    layout,
    table,
    table_columns,
)
from backstop.adapters.sqlite.schema import scratch
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.journal_fold import Decided, decisions
from backstop.app.proofs import proof_document, with_proof
from backstop.core.book import Book
from backstop.core.execution_proof import proof_fault
from backstop.core.key_rotation import KeyChain
from backstop.core.record_fold import decode_fact
from backstop.domain.events import JournalRecovered
from backstop.domain.utc import utc_text
from backstop.errors import TamperedRecordError
from backstop.ports import JournalRecord

_RECOVERED = JournalRecovered.__name__.encode()

FLUSH_DECISIONS = 500
"""Facts whose rows are held in memory before they go to the scratch database."""


OUTAGES_TOLD = 100
"""Newest times without a disk that a report names; a healthy one has none in years."""


class OutageOnRecord(Struct, frozen=True, kw_only=True):
    """A time in which the disk took nothing, as the record tells it.

    Attributes:
        began: ISO-8601.
        ended: ISO-8601.
        reason: what the disk said.
        first_seq: of the records that were written late.
        last_seq: of these records.
        lost: facts that could not be kept and are missing.
    """

    began: str
    ended: str
    reason: str
    first_seq: int
    last_seq: int
    lost: int


class TablesChecked(Struct, frozen=True, kw_only=True):
    """What was compared: rows of each table, and proofs whose signatures hold."""

    orders: int
    fills: int
    proofs: int
    outages: tuple[OutageOnRecord, ...]


def check_layout(store: AuditStore) -> None:
    """Refuse tables that are not ours: a view could show something else by an old name.

    Raises:
        TamperedRecordError: something was added, removed or defined anew.
    """
    with closing(scratch()) as expected:
        if store.layout() != layout(expected):
            raise TamperedRecordError(
                AUDIT_DATABASE,
                "its tables, indexes, views or triggers are not those of this layout",
            )


def check_tables(
    store: AuditStore,
    records: Iterable[JournalRecord],
    book: Book,
    *,
    account: str,
    chain: KeyChain,
) -> TablesChecked:
    """Compare both tables with what ``records`` imply; ``book`` is new and will be filled.

    Raises:
        TamperedRecordError: the first proof or row that does not hold.
        StateFolderError: a record was written by a version that knows more than this one.
    """
    with closing(scratch()) as expected:
        expected.execute("BEGIN")
        rows = RowWriter(expected, account=account)
        proofs = 0
        outages: deque[OutageOnRecord] = deque(maxlen=OUTAGES_TOLD)
        for done, decided in enumerate(decisions(book, records), start=1):
            proofs += _add_expected(rows, book, decided, chain=chain)
            if _RECOVERED in decided.event.payload:
                outages.extend(_outage(decided.event))
            if done % FLUSH_DECISIONS == 0:
                rows.flush()
        rows.flush()
        orders, fills = (_compare(store, expected, name) for name in AuditTable)
    return TablesChecked(orders=orders, fills=fills, proofs=proofs, outages=tuple(outages))


def _outage(record: JournalRecord) -> Iterator[OutageOnRecord]:
    fact = decode_fact(record)
    if isinstance(fact, JournalRecovered):
        yield OutageOnRecord(
            began=utc_text(fact.began_utc_us),
            ended=utc_text(fact.utc_us),
            reason=fact.reason,
            first_seq=fact.first_seq,
            last_seq=fact.last_seq,
            lost=fact.lost,
        )


def _add_expected(rows: RowWriter, book: Book, decided: Decided, *, chain: KeyChain) -> int:
    """Take the rows of one fact; returns how many proofs were signed with it."""
    result, event = decided.result, decided.event
    bundles = decided.proofs
    if len(bundles) != len(result.proofs_due):
        raise TamperedRecordError(
            f"record {event.seq}",
            f"it completes {len(result.proofs_due)} orders and has {len(bundles)} proofs",
        )
    orders = result.order_rows
    for client_order_id, bundle in zip(result.proofs_due, bundles, strict=True):
        proof = proof_document(book, client_order_id, journal_seq=event.seq)
        fault = proof_fault(
            bundle, proof=proof, public_key=chain.key_at(event.seq), check=verify_raw
        )
        if fault is not None:
            raise TamperedRecordError(
                f"the proof of order {client_order_id} in the journal after record {event.seq}",
                fault,
            )
        orders = with_proof(book, orders, client_order_id, bundle)
    rows.add(orders, result.fill_rows, seq=decided.last_seq, utc_us=event.utc_us)
    return len(bundles)


def _compare(store: AuditStore, expected: sqlite3.Connection, name: AuditTable) -> int:
    """Go through both tables in the order of their keys; returns how many rows agree."""
    columns = table_columns(expected, name)
    count = 0
    for found, implied in _side_by_side(store.table(name), table(expected, name)):
        if found is None:
            assert implied is not None  # noqa: S101 - one of them is there
            raise TamperedRecordError(f"{name} {implied[0]}", "the row is missing")
        if implied is None:
            raise TamperedRecordError(f"{name} {found[0]}", "no record of the journal implies it")
        for column, here, there in zip(columns, found, implied, strict=True):
            if (type(here), here) != (type(there), there):
                raise TamperedRecordError(
                    f"{name} {implied[0]}",
                    f"{column} is {_short(here)}, the journal implies {_short(there)}",
                )
        count += 1
    return count


_Row = tuple[Any, ...]


def _side_by_side(
    found: Iterator[_Row], implied: Iterator[_Row]
) -> Iterator[tuple[_Row | None, _Row | None]]:
    """Pair rows with equal keys; a row without a partner comes with None."""
    left, right = next(found, None), next(implied, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _order(left[0]) < _order(right[0])):
            yield left, None
            left = next(found, None)
        elif left is None or _order(right[0]) < _order(left[0]):
            yield None, right
            right = next(implied, None)
        else:
            yield left, right
            left, right = next(found, None), next(implied, None)


def _order(key: Any) -> tuple[int, Any]:
    """Return what SQLite sorts by: nothing, then numbers, then texts, then bytes."""
    match key:
        case None:
            return (0, 0)
        case int() | float():
            return (1, key)
        case str():
            return (2, key)
        case _:
            return (3, key)


def _short(value: object) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:60]}..."  # noqa: PLR2004 - for one line
