"""What a liquidation did while no guard wrote the record: one file, one row for each fact.

The record itself is never touched here: it may be the very thing that is damaged, and only one
writer may sign it. The next guard folds these facts into it, in their order, with a record that
says so; until then this file is the rest of the record, and the next liquidation reads it as well.
A row is on disk before what follows from it leaves. Where no disk takes it, the liquidation goes on
without: a full disk must not hold a position open.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from io import FileIO
from pathlib import Path

import msgspec
from msgspec import Struct

from backstop.adapters.folders import sync_folder
from backstop.core.policy import Policy
from backstop.domain.events import Fact
from backstop.domain.record_kind import RecordKind
from backstop.ports import JournalRecord

LOCK_CHARACTERS = 16
"""Of the lock's name, which is a hash of host and account, in the name of the file."""

SPOOL_BYTES_MAX = 64 * 1024 * 1024
"""A run writes a few hundred rows; a larger file is none of ours, and is not read into memory."""


class _Row(Struct, frozen=True, kw_only=True):
    kind: str
    monotonic_ns: int
    utc_us: int
    payload: msgspec.Raw


_rows = msgspec.json.Decoder(_Row)
_encode = msgspec.json.Encoder().encode


class Spooled(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        records: the rows as journal records, numbered from 1; oldest first.
        digest: SHA-256 of all the bytes, as hex; empty when there are none.
        unreadable: rows that are damaged. The last one of a file may be cut: it is not counted,
            for nothing left because of it.
        paths: the files that were read.
    """

    records: tuple[JournalRecord, ...] = ()
    digest: str = ""
    unreadable: int = 0
    paths: tuple[Path, ...] = ()


def spool_places(state_folder: Path, lock: Path) -> tuple[Path, ...]:
    """Return where facts about the account of ``lock`` are put, the best place first.

    That is in the state folder; beside the lock where the state folder takes nothing.
    """
    name = f"emergency-{lock.stem[:LOCK_CHARACTERS]}.jsonl"
    return state_folder / name, lock.parent / name


def read_spool(places: Iterable[Path]) -> Spooled:
    """Read what earlier liquidations left; a file that cannot be read counts as one bad row."""
    found = sha256()
    records: list[JournalRecord] = []
    unreadable = 0
    paths = []
    for path in places:
        try:
            if path.stat().st_size > SPOOL_BYTES_MAX:
                raise OSError  # noqa: TRY301 - the same end as a file that cannot be read
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError:
            unreadable += 1
            continue
        paths.append(path)
        found.update(content)
        *whole, _torn = content.split(b"\n")
        for line in whole:
            record = _record(line, seq=len(records) + 1)
            if record is None:
                unreadable += 1
            else:
                records.append(record)
    digest = found.hexdigest() if paths else ""
    return Spooled(records=tuple(records), digest=digest, unreadable=unreadable, paths=tuple(paths))


def set_aside(spooled: Spooled) -> None:
    """Keep files that are in the record by now under another name, out of the way of new ones."""
    for path in spooled.paths:
        with suppress(OSError):
            path.replace(path.with_name(f"{path.stem}-{spooled.digest[:16]}.recorded"))


def _record(line: bytes, *, seq: int) -> JournalRecord | None:
    try:
        row = _rows.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return JournalRecord(
        seq=seq,
        kind=row.kind,
        monotonic_ns=row.monotonic_ns,
        utc_us=row.utc_us,
        payload=bytes(row.payload),
    )


class Spool:
    """The file that one liquidation writes.

    Attributes:
        fault: why nothing is written any more; empty while all is well.
        path: where rows go now.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        """Name the places; nothing is touched before the first row."""
        self.fault = ""
        self.path = places[0]
        self._places = list(places)
        self._file: FileIO | None = None

    def put(self, value: Fact | Policy, *, monotonic_ns: int, utc_us: int) -> None:
        """Put one row on disk, in the first place that takes it; never raises for a disk."""
        kind = RecordKind.POLICY if isinstance(value, Policy) else RecordKind.EVENT
        payload = msgspec.Raw(_encode(value))
        row = _Row(kind=kind, monotonic_ns=monotonic_ns, utc_us=utc_us, payload=payload)
        data = _encode(row) + b"\n"
        while self._places:
            try:
                self._append(data)
            except OSError as error:
                self.fault = f"{self._places[0]} takes nothing ({error.strerror or error})"
                self.close()
                del self._places[0]
            else:
                return

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self.path = self._places[0]
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = FileIO(self.path, "a+", opener=partial(os.open, mode=0o600))
            _end_torn_row(self._file)
            with suppress(OSError):  # not every file system can, and the row counts
                sync_folder(self.path.parent)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        os.fsync(self._file.fileno())


def _end_torn_row(file: FileIO) -> None:
    """Cut a row that a dying process did not finish: nothing left because of it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    if file.readall() not in {b"", b"\n"}:
        file.seek(0)
        file.truncate(file.readall().rfind(b"\n") + 1)
