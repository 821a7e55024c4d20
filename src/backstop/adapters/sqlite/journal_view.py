"""The records of a journal as a sequence that is read from the file as it is used."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, overload

from backstop.adapters.sqlite.schema import FIRST_SEQ, connect_read_only, way_out
from backstop.errors import StateFolderError
from backstop.ports import JournalRecord

_COLUMNS = "seq, kind, account, epoch, monotonic_ns, utc_us, payload, leaf_hash"

_Row = tuple[int, str, str, int, int, int, bytes, bytes]


class LeafHash(Protocol):
    """Hashes everything that is stored of one record: ``core.journal_leaf.leaf_hash``."""

    def __call__(
        self,
        *,
        seq: int,
        kind: str,
        account: str,
        epoch: int,
        monotonic_ns: int,
        utc_us: int,
        payload: bytes,
    ) -> bytes:
        """Return 32 bytes."""


class JournalView(Sequence[JournalRecord]):
    """All records in order, however many: iterating holds one in memory at a time.

    Each is checked when read: its place in the sequence, and its hash.
    """

    def __init__(self, path: Path, *, leaf_hash: LeafHash) -> None:
        self._path = path
        self._leaf_hash = leaf_hash

    def __len__(self) -> int:
        """Return the number of the last record, which is also how many there must be."""
        with closing(connect_read_only(self._path)) as connection:
            return _last_seq(connection) - FIRST_SEQ + 1

    def __iter__(self) -> Iterator[JournalRecord]:
        """Read from the first record to the last that was durable at the first step.

        Raises:
            StateFolderError: a record is missing, or is not what was written.
        """
        yield from self._read(FIRST_SEQ)

    def read_from(self, seq: int) -> Iterator[JournalRecord]:
        """Iterate from record ``seq`` to the last that is durable now; errors as iterating."""
        yield from self._read(seq)

    @overload
    def __getitem__(self, index: int) -> JournalRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[JournalRecord]: ...
    def __getitem__(self, index: int | slice) -> JournalRecord | Sequence[JournalRecord]:
        """Return the records at ``index``, counted from 0 as in every sequence."""
        places = range(len(self))[index]
        if isinstance(places, int):
            return next(self._read(FIRST_SEQ + places, 1))
        if places.step == 1:
            return tuple(self._read(FIRST_SEQ + places.start, len(places)))
        return tuple(self[place] for place in places)

    def _read(self, first_seq: int, count: int | None = None) -> Iterator[JournalRecord]:
        """Yield ``count`` records from the first on; None: up to the last that is durable now."""
        expected = first_seq
        with closing(connect_read_only(self._path)) as connection:
            try:
                end = _last_seq(connection) + 1 if count is None else first_seq + count
                end = max(end, first_seq)
                for row in connection.execute(
                    f"SELECT {_COLUMNS} FROM Journal WHERE seq >= ? AND seq < ? ORDER BY seq",  # noqa: S608 - a constant
                    (first_seq, end),
                ):
                    if row[0] != expected:
                        break
                    expected += 1
                    yield self._checked(row)
            except sqlite3.Error as error:
                raise self._fault(f"record {expected} cannot be read: {error}") from error
        if expected != end:
            raise self._fault(f"record {expected} is missing")

    def _checked(self, row: _Row) -> JournalRecord:
        seq, kind, account, epoch, monotonic_ns, utc_us, payload, leaf_hash = row
        found = self._leaf_hash(
            seq=seq,
            kind=kind,
            account=account,
            epoch=epoch,
            monotonic_ns=monotonic_ns,
            utc_us=utc_us,
            payload=payload,
        )
        if found != leaf_hash:
            raise self._fault(f"record {seq} is not what was written")
        return JournalRecord(
            seq=seq, kind=kind, monotonic_ns=monotonic_ns, utc_us=utc_us, payload=payload
        )

    def _fault(self, fault: str) -> StateFolderError:
        return StateFolderError(
            f"{self._path}: {fault}, so the state cannot be rebuilt from it. It was not changed. "
            f"{way_out(self._path)}"
        )


def _last_seq(connection: sqlite3.Connection) -> int:
    """Return the number of the newest record; below that of the first when there is none."""
    (last,) = connection.execute("SELECT max(seq) FROM Journal").fetchone()
    return FIRST_SEQ - 1 if last is None else int(last)
