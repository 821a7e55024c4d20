"""Reads ``audit.db`` for people and for the audit: orders, fills, records; never writes.

A reader works beside the running guard, without one, and on a copied folder. Prices and
commissions come back as text.
"""

import re
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from backstop.adapters.sqlite.schema import (
    disk_fault,
    is_damage,
    one_line,
    open_for_reading,
    unreadable,
)
from backstop.ports import JournalRecord

LOWEST_SEQ = -(2**63)
"""The lowest number that SQLite can give a row: from it on, no row of the journal stays unseen."""

ROWS_AT_THE_END = 16
"""Newest rows of a table that a start reads before it writes behind them: some pages."""

MAX_ROWS = 1000
"""Rows of one answer, so that no question about a long history fills the memory."""

_ORDER = """
SELECT OrderId, ClientOrderId, SubmittedTime, Symbol, Side, Quantity, Price, Status,
       ExecutionProof, CreatedAt, JournalSeq
FROM OrderAudit
"""

_FILL = """
SELECT FillId, OrderId, FillTime, FillPrice, FillQuantity, Commission,
       Voided, JournalSeq
FROM FillAudit
"""


_RECORD = """
SELECT seq, kind, account, epoch, monotonic_ns, utc_us, payload, leaf_hash
FROM Journal
"""


_PAGE_NOT_GIVEN = re.compile(r"unable to get the page\. error code=(\d+)")
"""How a check tells that the pager failed; the number is SQLite's extended result code."""


class AuditTable(StrEnum):
    """The tables that the specification names."""

    ORDERS = "OrderAudit"
    FILLS = "FillAudit"


class StoredOrder(Struct, frozen=True, kw_only=True):
    """One row of ``OrderAudit``; ``journal_seq`` is the record that wrote it last."""

    order_id: str
    client_order_id: str | None
    submitted_time: str
    symbol: str
    side: str
    quantity: int
    price: str | None
    status: str
    execution_proof: str | None
    created_at: str
    journal_seq: int


class StoredFill(Struct, frozen=True, kw_only=True):
    """One row of ``FillAudit``; ``journal_seq`` is the record that wrote it last."""

    fill_id: str
    order_id: str
    fill_time: str
    fill_price: str
    fill_quantity: int
    commission: str
    voided: bool
    journal_seq: int


class StoredRecord(Struct, frozen=True, kw_only=True):
    """One journal record with everything that is stored of it."""

    seq: int
    kind: str
    account: str
    epoch: int
    monotonic_ns: int
    utc_us: int
    payload: bytes
    leaf_hash: bytes

    def as_written(self) -> JournalRecord:
        """Return the record as the journal's writer was given it."""
        return JournalRecord(
            seq=self.seq,
            kind=self.kind,
            monotonic_ns=self.monotonic_ns,
            utc_us=self.utc_us,
            payload=self.payload,
        )


class AuditStore:
    """A read-only view of one ``audit.db``; use it in a ``with`` block, on one thread.

    A question in the block that SQLite cannot answer leaves it as a StateFolderError: as
    DamagedDatabaseError where the bytes are not sound, or the disk cannot give them.
    """

    def __init__(self, path: Path, *, checked: bool = True) -> None:
        """Open ``path``.

        Args:
            path: the database.
            checked: read the whole file to see whether it is sound; not for single questions to
                a file that this process has checked before.

        Raises:
            StateFolderError: it is missing, damaged or not ours.
        """
        self._path = path
        self._connection = open_for_reading(path, checked=checked)
        # Text that is no text any more must come out as a difference, not as an error.
        self._connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if isinstance(exc, sqlite3.Error):
            raise unreadable(self._path, exc) from exc

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def orders(
        self, *, limit: int = MAX_ROWS, after: StoredOrder | None = None
    ) -> tuple[StoredOrder, ...]:
        """Return orders, the one that changed last first; at most MAX_ROWS.

        Args:
            limit: how many at most.
            after: the last row of the page before this one.
        """
        rows = self._connection.execute(
            f"{_ORDER} WHERE ?1 IS NULL OR (JournalSeq, OrderId) < (?1, ?2)"
            " ORDER BY JournalSeq DESC, OrderId DESC LIMIT ?3",
            (after and after.journal_seq, after and after.order_id, min(limit, MAX_ROWS)),
        )
        return tuple(_order(row) for row in rows)

    def order(self, order_id: str) -> StoredOrder | None:
        """Return the order with this broker order id or client order id; None if unknown."""
        row = self._connection.execute(
            f"{_ORDER} WHERE OrderId = ?1 OR ClientOrderId = ?1 ORDER BY OrderId = ?1 DESC LIMIT 1",
            (order_id,),
        ).fetchone()
        return None if row is None else _order(row)

    def fills(self, order_id: str) -> tuple[StoredFill, ...]:
        """Return the fills of the order with this ``OrderId``, in the order of their times."""
        rows = self._connection.execute(
            f"{_FILL} WHERE OrderId = ? ORDER BY FillTime, FillId", (order_id,)
        )
        return tuple(_fill(row) for row in rows)

    def all_orders(self) -> Iterator[StoredOrder]:
        """Iterate over every order, by id; one row in memory at a time."""
        return map(_order, self._connection.execute(f"{_ORDER} ORDER BY OrderId"))

    def all_fills(self) -> Iterator[StoredFill]:
        """Iterate over every fill, by id; one row in memory at a time."""
        return map(_fill, self._connection.execute(f"{_FILL} ORDER BY FillId"))

    def records(
        self, *, from_seq: int = LOWEST_SEQ, limit: int | None = None
    ) -> Iterator[StoredRecord]:
        """Iterate over journal records from ``from_seq`` on, unchecked, as they are stored."""
        rows = self._connection.execute(
            f"{_RECORD} WHERE seq >= ? ORDER BY seq LIMIT ?",
            (from_seq, -1 if limit is None else limit),
        )
        return map(_record, rows)

    def leaf_hashes(self) -> tuple[bytes, ...]:
        """Return the stored leaf hash of every record in order: the leaves of the Merkle tree."""
        rows = self._connection.execute("SELECT leaf_hash FROM Journal ORDER BY seq")
        return tuple(leaf for (leaf,) in rows)

    def leaves(self, start: int, end: int) -> list[bytes]:
        """Return the leaf hashes of the places ``start`` (from 0) to ``end``, without the last."""
        rows = self._connection.execute(
            "SELECT leaf_hash FROM Journal WHERE seq > ? AND seq <= ? ORDER BY seq", (start, end)
        )
        return [leaf for (leaf,) in rows]

    def payloads(self, kind: str) -> list[tuple[int, bytes]]:
        """Return number and payload of every record of one rare kind."""
        return self._connection.execute(
            "SELECT seq, payload FROM Journal WHERE kind = ? ORDER BY seq", (kind,)
        ).fetchall()

    def leaf_hash(self, seq: int) -> bytes | None:
        """Return the stored leaf hash of one record; None without it."""
        row = self._connection.execute(
            "SELECT leaf_hash FROM Journal WHERE seq = ?", (seq,)
        ).fetchone()
        return None if row is None else row[0]

    def newest(self, *, kind: str, containing: str) -> Iterator[StoredRecord]:
        """Iterate over records of one kind whose payload has a text in it, newest first."""
        rows = self._connection.execute(
            f"{_RECORD} WHERE kind = ? AND instr(payload, CAST(? AS BLOB)) ORDER BY seq DESC",
            (kind, containing),
        )
        return map(_record, rows)

    def signed_head(self) -> str | None:
        """Return the signed note over all records; None when there is none."""
        row = self._connection.execute("SELECT note FROM TreeHead WHERE id = 1").fetchone()
        return None if row is None else str(row[0])

    def head_rows(self) -> list[tuple[Any, ...]]:
        """Return everything in the table of the signed head."""
        return self._connection.execute("SELECT id, size, note FROM TreeHead").fetchall()

    def account(self) -> str | None:
        """Return the account whose record this is; None while it is empty."""
        rows = self._connection.execute("SELECT account FROM Journal ORDER BY seq LIMIT 1")
        return next((str(account) for (account,) in rows), None)

    def freeze(self) -> None:
        """Answer all further questions from one moment, whatever a guard writes meanwhile."""
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT count(*) FROM TreeHead").fetchone()

    def fault(self) -> str | None:
        """Return what SQLite's complete check of tables and indexes finds; None for nothing.

        Raises:
            DamagedDatabaseError: the disk does not give the bytes.
        """
        return self._finding("PRAGMA integrity_check(1)")

    def quick_fault(self, *, whole_up_to_bytes: int) -> tuple[str | None, bool]:
        """Return what a check of the file's structure finds, None for nothing; and if it was whole.

        It takes three milliseconds for a megabyte. In a file of more than ``whole_up_to_bytes`` it
        is looked only at the ends of the tables, where a start begins to write.
        """
        ((size,),) = self._connection.execute(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        ).fetchall()
        if size <= whole_up_to_bytes:
            return self._finding("PRAGMA quick_check(1)"), True
        finding = self._finding("PRAGMA quick_check(TreeHead)")
        for name in (AuditTable.ORDERS, AuditTable.FILLS, "Journal"):
            finding = finding or self._fault_at_the_end(name)
        return finding, False

    def _fault_at_the_end(self, name: str) -> str | None:
        """Return what is wrong with the newest rows of a table; None for nothing."""
        try:
            self._connection.execute(
                f"SELECT * FROM {name} ORDER BY rowid DESC LIMIT ?",  # noqa: S608 - of a closed set
                (ROWS_AT_THE_END,),
            ).fetchall()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return one_line(str(error))
        return None

    def _finding(self, check: str) -> str | None:
        """Return the first finding of one of SQLite's checks; what only fails for now, raises."""
        try:
            (finding,) = self._connection.execute(check).fetchone()
        except sqlite3.OperationalError:
            raise  # a disk that fails, or a lock: no finding about the bytes
        except sqlite3.DatabaseError as error:
            finding = str(error)
        if finding == "ok":
            return None
        code = _PAGE_NOT_GIVEN.search(str(finding))
        if code is not None and int(code[1]) & 0xFF == sqlite3.SQLITE_IOERR:
            raise disk_fault(self._path, str(finding))
        return one_line(str(finding))

    def layout(self) -> tuple[tuple[Any, ...], ...]:
        """Return every table, index, view and trigger with its definition."""
        return layout(self._connection)

    def table(self, name: AuditTable) -> Iterator[tuple[Any, ...]]:
        """Iterate over all columns of a table as they are stored, in the order of its key."""
        return table(self._connection, name)

    def last_seq(self) -> int:
        """Return the number of the newest record; 0 when there is none."""
        (last,) = self._connection.execute("SELECT max(seq) FROM Journal").fetchone()
        return 0 if last is None else int(last)


def layout(connection: sqlite3.Connection) -> tuple[tuple[Any, ...], ...]:
    """Return every table, index, view and trigger of a database with its definition."""
    return tuple(
        connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2")
    )


def table(connection: sqlite3.Connection, name: AuditTable) -> Iterator[tuple[Any, ...]]:
    """Iterate over all columns of a table as they are stored, in the order of its key."""
    return connection.execute(f"SELECT * FROM {name} ORDER BY 1")  # noqa: S608 - of a closed set


def table_columns(connection: sqlite3.Connection, name: AuditTable) -> tuple[str, ...]:
    """Return the names of the columns of a table in their order."""
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (str(name),))
    return tuple(column for (column,) in rows)


_Row = tuple[Any, ...]
"""One row as SQLite gives it, in the order of the members of the Struct that it becomes."""


def _order(row: _Row) -> StoredOrder:
    members = dict(zip(StoredOrder.__struct_fields__, row, strict=True))
    price = members["price"]
    return StoredOrder(**(members | {"price": None if price is None else _number_text(price)}))


def _fill(row: _Row) -> StoredFill:
    members = dict(zip(StoredFill.__struct_fields__, row, strict=True))
    return StoredFill(
        **members
        | {
            "fill_price": _number_text(members["fill_price"]),
            "commission": _number_text(members["commission"]),
            "voided": bool(members["voided"]),
        }
    )


def _record(row: _Row) -> StoredRecord:
    return StoredRecord(**dict(zip(StoredRecord.__struct_fields__, row, strict=True)))


def _number_text(value: float | str) -> str:
    """Return a DECIMAL as plain text: the shortest that reads back as the stored number."""
    return f"{Decimal(str(value)):f}"
