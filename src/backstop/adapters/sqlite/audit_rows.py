"""Writes the rows of ``OrderAudit`` and ``FillAudit`` inside the journal's transaction."""

import sqlite3

from backstop.domain.audit import AuditRow, FillRow
from backstop.domain.utc import utc_text

_SECONDS_LENGTH = len("2026-11-02T14:30:00")

_UPSERT_ORDER = """
INSERT INTO OrderAudit (OrderId, ClientOrderId, SubmittedTime, Symbol, Side, Quantity, Price,
                        Status, ExecutionProof, CreatedAt, Account, JournalSeq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (OrderId) DO UPDATE SET
    ClientOrderId = excluded.ClientOrderId, SubmittedTime = excluded.SubmittedTime,
    Symbol = excluded.Symbol, Side = excluded.Side, Quantity = excluded.Quantity,
    Price = excluded.Price, Status = excluded.Status,
    ExecutionProof = coalesce(excluded.ExecutionProof, ExecutionProof),
    JournalSeq = excluded.JournalSeq
"""

_UPSERT_FILL = """
INSERT INTO FillAudit (FillId, OrderId, FillTime, FillPrice, FillQuantity, Commission, Voided,
                       Account, JournalSeq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (FillId) DO UPDATE SET
    OrderId = excluded.OrderId, FillTime = excluded.FillTime, FillPrice = excluded.FillPrice,
    FillQuantity = excluded.FillQuantity, Commission = excluded.Commission,
    Voided = excluded.Voided, JournalSeq = excluded.JournalSeq
"""


def write_order(
    connection: sqlite3.Connection, row: AuditRow, *, account: str, seq: int, utc_us: int
) -> None:
    """Write ``row`` as it now stands; ``seq`` is the journal record that says so.

    A new row is created at ``utc_us``, the time of that record: the database's own clock would
    put something into the row that no record can confirm. A row that had a provisional id takes
    the new one, and its fills follow it.
    """
    connection.execute(
        _UPSERT_ORDER,
        (
            row.order_id,
            row.client_order_id,
            utc_text(row.submitted_utc_us),
            row.symbol,
            row.side,
            row.quantity,
            row.price,
            row.status,
            row.execution_proof,
            _created_at(utc_us),
            account,
            seq,
        ),
    )
    if row.replaces_order_id is not None and row.replaces_order_id != row.order_id:
        _take_over(connection, old_id=row.replaces_order_id, new_id=row.order_id)


def write_fill(connection: sqlite3.Connection, row: FillRow, *, account: str, seq: int) -> None:
    """Write ``row``; a second delivery of the same fill changes nothing."""
    connection.execute(
        _UPSERT_FILL,
        (
            row.fill_id,
            row.order_id,
            utc_text(row.fill_utc_us),
            row.price,
            row.quantity,
            row.commission,
            int(row.voided),
            account,
            seq,
        ),
    )


def _created_at(utc_us: int) -> str:
    """Return the time to the second, in the form of SQLite's CURRENT_TIMESTAMP."""
    return utc_text(utc_us)[:_SECONDS_LENGTH].replace("T", " ")


def _take_over(connection: sqlite3.Connection, *, old_id: str, new_id: str) -> None:
    """Move what hangs on the row ``old_id`` to the row ``new_id``, and remove the old row.

    The new row exists before the fills move and the old one goes last, so the foreign key holds
    after each statement.
    """
    old = connection.execute(
        "SELECT CreatedAt, ExecutionProof FROM OrderAudit WHERE OrderId = ?", (old_id,)
    ).fetchone()
    if old is None:
        return
    created_at, execution_proof = old
    connection.execute(
        "UPDATE OrderAudit SET CreatedAt = ?, ExecutionProof = coalesce(ExecutionProof, ?) "
        "WHERE OrderId = ?",
        (created_at, execution_proof, new_id),
    )
    connection.execute("UPDATE FillAudit SET OrderId = ? WHERE OrderId = ?", (new_id, old_id))
    connection.execute("DELETE FROM OrderAudit WHERE OrderId = ?", (old_id,))
