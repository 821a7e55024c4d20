"""``backstop audit export``: the record as files that never change, for storage that keeps them.

Segments of SEGMENT_RECORDS records each, one record a line in canonical JSON; a manifest that
chains their hashes; the signed checkpoint and the public key; and both tables as CSV for people.
The same record gives the same bytes, so a second export is a check of the first. A file that is
there with other content is never written over, and a folder with files that are no export is left
as it is.
"""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from backstop.adapters.folders import sync_folder
from backstop.adapters.signing import PUBLIC_KEY_FILE
from backstop.adapters.sqlite.audit_store import AuditStore, StoredFill, StoredOrder
from backstop.adapters.sqlite.evidence_copy import readable
from backstop.adapters.state_layout import AUDIT_DATABASE, KEY_FOLDER
from backstop.app.audit_reading import record_view
from backstop.app.tree_check import recomputed_leaf
from backstop.core import canonical_json
from backstop.core.audit_log import Frontier
from backstop.core.checkpoint import CheckpointError, parse
from backstop.errors import BackstopError, StateFolderError, TamperedRecordError

FORMAT = "backstop.audit-export.v1"

SEGMENT_RECORDS = 10_000
"""Records in one file: some ten megabytes, and the same split at every export."""

RECORDS_BETWEEN_REPORTS = 1_000
"""A person sees it move, and it costs nothing."""

_OUR_NAMES = re.compile(
    r"journal-\d{6,}\.jsonl|manifest\.json|checkpoint\.txt|(Order|Fill)Audit\.csv"
    rf"|{re.escape(PUBLIC_KEY_FILE)}|\..*"
)
"""What may be in a folder before; hidden files are a desktop's, or what a killed export left."""

_NO_SEGMENT = bytes(32)
"""What the chain of hashes begins with."""


class ExportRefusedError(BackstopError):
    """The folder holds files of another export, or of somebody else; they are for keeping."""


class Exported(Struct, frozen=True, kw_only=True):
    """What stands in the folder now."""

    records: int
    segments: int
    orders: int
    fills: int
    chain: str


def export_record(
    state_folder: Path,
    target: Path,
    *,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> Exported:
    """Write the record in ``state_folder`` to ``target``.

    Args:
        state_folder: of a guard, running or not.
        target: a new folder, or one with an earlier export of the same.
        on_progress: hears how many records are done.

    Raises:
        TamperedRecordError: a record is not what was written, or not what was signed.
        ExportRefusedError: ``target`` holds another export, or files that are none.
        StateFolderError: there is no usable record, or ``target`` cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        _refuse_strangers(target)
        with readable(state_folder / AUDIT_DATABASE) as path, AuditStore(path) as store:
            store.freeze()
            exported = _Export(store, target, on_progress).write()
        public_key = state_folder / KEY_FOLDER / PUBLIC_KEY_FILE
        if public_key.is_file():
            _keep(target / PUBLIC_KEY_FILE, public_key.read_bytes())
        sync_folder(target)
    except OSError as error:
        raise StateFolderError(f"{target} cannot be written: {error}.") from error
    return exported


class _Export:
    """One export out of one moment of the record."""

    def __init__(self, store: AuditStore, target: Path, on_progress: Callable[[int], None]) -> None:
        self._store = store
        self._target = target
        self._on_progress = on_progress
        self._frontier = Frontier()
        self._chain = _NO_SEGMENT
        self._segments: list[dict[str, object]] = []

    def write(self) -> Exported:
        note = self._store.signed_head()
        if note is None:
            raise TamperedRecordError("the signed head in audit.db", "it is gone")
        for first_seq, content in self._contents():
            self._add_segment(first_seq, content)
        self._check_head(note)
        orders = _table(StoredOrder, self._store.all_orders())
        fills = _table(StoredFill, self._store.all_fills())
        manifest = {
            "format": FORMAT,
            "account": self._store.account(),
            "records": self._frontier.size,
            "root_hash": self._frontier.root().hex(),
            "segments": self._segments,
            "chain": self._chain.hex(),
            "tables": {
                "OrderAudit.csv": _digest(orders.content),
                "FillAudit.csv": _digest(fills.content),
            },
        }
        _keep(self._target / "OrderAudit.csv", orders.content)
        _keep(self._target / "FillAudit.csv", fills.content)
        _keep(self._target / "checkpoint.txt", note.encode())
        _keep(self._target / "manifest.json", canonical_json.encode(manifest) + b"\n")
        return Exported(
            records=self._frontier.size,
            segments=len(self._segments),
            orders=orders.rows,
            fills=fills.rows,
            chain=self._chain.hex(),
        )

    def _contents(self) -> Iterator[tuple[int, bytes]]:
        """Give number of the first record and bytes of each segment; one in memory at a time."""
        lines: list[bytes] = []
        first_seq = 1
        for record in self._store.records():
            leaf = recomputed_leaf(record)
            if leaf != record.leaf_hash:
                raise TamperedRecordError(f"record {record.seq}", "it is not what was written")
            self._frontier.append(leaf)
            if not self._frontier.size % RECORDS_BETWEEN_REPORTS:
                self._on_progress(self._frontier.size)
            lines.append(canonical_json.encode(structs.asdict(record_view(record))) + b"\n")
            if len(lines) == SEGMENT_RECORDS:
                yield first_seq, b"".join(lines)
                first_seq, lines = record.seq + 1, []
        if lines:
            yield first_seq, b"".join(lines)

    def _add_segment(self, first_seq: int, content: bytes) -> None:
        name = f"journal-{len(self._segments) + 1:06}.jsonl"
        digest = hashlib.sha256(content).digest()
        self._chain = hashlib.sha256(self._chain + digest).digest()
        self._segments.append(
            {
                "file": name,
                "first_seq": first_seq,
                "last_seq": self._frontier.size,
                "sha256": digest.hex(),
                "root_hash": self._frontier.root().hex(),
                "chain": self._chain.hex(),
            }
        )
        _keep(self._target / name, content)

    def _check_head(self, note: str) -> None:
        try:
            head = parse(note).checkpoint
        except CheckpointError as error:
            raise TamperedRecordError("the signed head in audit.db", str(error)) from error
        if (head.size, head.root) != (self._frontier.size, self._frontier.root()):
            raise TamperedRecordError(
                "the signed head in audit.db",
                f"it is of {head.size} records and does not fit the {self._frontier.size} there",
            )


class _Table(Struct, frozen=True, kw_only=True):
    content: bytes
    rows: int


def _table(row_type: type[Struct], rows: Iterable[Struct]) -> _Table:
    """Return a table as CSV (RFC 4180); its heads are the columns' own names."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_head(name) for name in row_type.__struct_fields__)
    count = 0
    for row in rows:
        writer.writerow(_cell(value) for value in structs.astuple(row))
        count += 1
    return _Table(content=text.getvalue().encode(), rows=count)


def _head(member: str) -> str:
    return "".join(word.capitalize() for word in member.split("_"))


def _cell(value: Any) -> object:
    return int(value) if isinstance(value, bool) else value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refuse_strangers(target: Path) -> None:
    """Nobody tells six files that cannot be written from what was there before."""
    strangers = (it.name for it in target.iterdir() if not _OUR_NAMES.fullmatch(it.name))
    if first := min(strangers, default=None):
        raise ExportRefusedError(
            f"{target} has files that are no export, such as {first}. Nothing was written: "
            "name a new folder, or an empty one."
        )


def _keep(path: Path, content: bytes) -> None:
    """Write a new file, or confirm that it holds exactly this already; never change one."""
    if path.exists():
        if path.read_bytes() != content:
            raise ExportRefusedError(
                f"{path} is there with other content. An export is for keeping: "
                "write this one to a new folder."
            )
        return
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.chmod(0o444)
    temporary.rename(path)
