"""Writes the rows of ``OrderAudit`` and ``FillAudit`` inside the journal's transaction."""

import sqlite3
from collections.abc import Sequence

from backstop.domain.audit import AuditRow, FillRow
from backstop.domain.utc import utc_text

_SECONDS_LENGTH = len("2026-11-02T14:30:00")

_UPSERT_NAMED_ORDER = """
INSERT INTO OrderAudit (OrderId, ClientOrderId, SubmittedTime, Symbol, Side, Quantity, Price,
                        Status, ExecutionProof, CreatedAt, Account, JournalSeq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (OrderId) DO UPDATE SET
    SubmittedTime = excluded.SubmittedTime,
    Symbol = excluded.Symbol, Side = excluded.Side, Quantity = excluded.Quantity,
    Price = excluded.Price, Status = excluded.Status,
    ExecutionProof = coalesce(excluded.ExecutionProof, ExecutionProof),
    JournalSeq = excluded.JournalSeq
"""
"""For a row that has its ClientOrderId: to set it again would write a page of its index, and a
commit waits for every page."""

_UPSERT_ORDER = f"{_UPSERT_NAMED_ORDER}, ClientOrderId = excluded.ClientOrderId"

_UPSERT_FILL = """
INSERT INTO FillAudit (FillId, OrderId, FillTime, FillPrice, FillQuantity, Commission, Voided,
                       Account, JournalSeq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (FillId) DO UPDATE SET
    OrderId = excluded.OrderId, FillTime = excluded.FillTime, FillPrice = excluded.FillPrice,
    FillQuantity = excluded.FillQuantity, Commission = excluded.Commission,
    Voided = excluded.Voided, JournalSeq = excluded.JournalSeq
"""


NAMES_KEPT = 4096
"""Orders of which it is remembered under which name their row stands; the rest is looked up."""


class RowWriter:
    """Writes rows as the journal's records say; many together, as if one after the other.

    A statement for a hundred rows costs little more than one for a single row. So rows are
    collected and written by ``flush``, which the owner of the transaction calls at its end.
    """

    def __init__(self, connection: sqlite3.Connection, *, account: str) -> None:
        self._connection = connection
        self._account = account
        self._names: dict[str, tuple[str | None, str | None]] = {}  # client and replaced id
        self._orders: list[tuple[object, ...]] = []
        self._named_orders: list[tuple[object, ...]] = []
        self._named_ids: set[str] = set()
        self._fills: list[tuple[object, ...]] = []
        self._renamed: list[tuple[str, str]] = []  # provisional id, new id
        self._filled_ids: set[str] = set()

    def add(
        self, orders: Sequence[AuditRow], fills: Sequence[FillRow], *, seq: int, utc_us: int
    ) -> None:
        """Take rows as they now stand; ``seq`` is the record that says so, of time ``utc_us``.

        A new order row is created at ``utc_us``: the database's own clock would put something
        into the row that no record can confirm. A row that had a provisional id takes the new
        one, and its fills follow it; a second delivery of the same fill changes nothing.
        """
        for order in orders:
            values = _order_values(order, self._account, seq, utc_us)
            name = (order.client_order_id, order.replaces_order_id)
            if self._names.get(order.order_id) == name:
                self._named_orders.append(values)
                self._named_ids.add(order.order_id)
            else:
                self._name(order, name)
                self._orders.append(values)
        for fill in fills:
            self._filled_ids.add(fill.order_id)
            self._fills.append(_fill_values(fill, self._account, seq))

    def _name(self, order: AuditRow, name: tuple[str | None, str | None]) -> None:
        """Prepare for a row that is new, or stands under another name than before."""
        provisional = order.replaces_order_id
        renames = provisional is not None and provisional != order.order_id
        gives_way = any(order.order_id == old_id for old_id, _ in self._renamed)
        to_follow = renames and provisional in self._filled_ids
        if order.order_id in self._named_ids or gives_way or to_follow:
            self.flush()  # what was said before goes first
        if renames and provisional is not None:
            self._renamed.append((provisional, order.order_id))
            self._names.pop(provisional, None)
        if len(self._names) >= NAMES_KEPT:
            self._names.clear()
        self._names[order.order_id] = name

    def flush(self) -> None:
        """Write what was taken; raises sqlite3.Error.

        The orders come first, because fills refer to them; each new row is there before the
        fills move to it, and the old one goes last, so the foreign key holds after each statement.
        """
        if self._orders:
            self._connection.executemany(_UPSERT_ORDER, self._orders)
        if self._named_orders:
            self._connection.executemany(_UPSERT_NAMED_ORDER, self._named_orders)
        for old_id, new_id in dict.fromkeys(self._renamed):
            _take_over(self._connection, old_id=old_id, new_id=new_id)
        if self._fills:
            self._connection.executemany(_UPSERT_FILL, self._fills)
        self._let_go()

    def forget(self) -> None:
        """Let go of what was taken, and of what is believed: its transaction was rolled back."""
        self._let_go()
        self._names.clear()

    def _let_go(self) -> None:
        for held in (self._orders, self._named_orders, self._fills, self._renamed):
            held.clear()
        self._named_ids.clear()
        self._filled_ids.clear()


def _order_values(row: AuditRow, account: str, seq: int, utc_us: int) -> tuple[object, ...]:
    return (
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
    )


def _fill_values(row: FillRow, account: str, seq: int) -> tuple[object, ...]:
    return (
        row.fill_id,
        row.order_id,
        utc_text(row.fill_utc_us),
        row.price,
        row.quantity,
        row.commission,
        int(row.voided),
        account,
        seq,
    )


def _created_at(utc_us: int) -> str:
    """Return the time to the second, in the form of SQLite's CURRENT_TIMESTAMP."""
    return utc_text(utc_us)[:_SECONDS_LENGTH].replace("T", " ")


def _take_over(connection: sqlite3.Connection, *, old_id: str, new_id: str) -> None:
    """Move what hangs on the row ``old_id`` to the row ``new_id``, and remove the old row."""
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
