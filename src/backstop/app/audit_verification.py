"""``backstop audit verify``: is this the record that was signed, and do the tables follow from it?

Two passes over the journal, each with one record in memory at a time. The first recomputes every
leaf from the raw record and holds the tree against every checkpoint and signature; what passes it
is authentic. The second folds the records through the core, as a restart does, and compares both
tables with what comes out. The file is only read.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from backstop.adapters.checkpoints import CheckpointFolder
from backstop.adapters.key_folder import next_public_key
from backstop.adapters.signing import PUBLIC_KEY_FILE, load_public_key
from backstop.adapters.sqlite.audit_store import AuditStore, StoredRecord
from backstop.adapters.sqlite.evidence_copy import readable
from backstop.adapters.state_layout import AUDIT_DATABASE, CHECKPOINT_FOLDER, KEY_FOLDER
from backstop.app.audit_tables import OutageOnRecord, check_layout, check_tables
from backstop.app.tree_check import (
    NoteSource,
    Walked,
    check_head,
    checked_key_chain,
    checked_leaves,
    file_source,
    folder_source,
    largest_size,
    no_checkpoints,
    walk,
)
from backstop.core.book import Book
from backstop.core.checkpoint import log_origin
from backstop.core.engine import new_book
from backstop.core.key_rotation import KeyChain, key_name
from backstop.core.record_fold import decode_policy
from backstop.domain.record_kind import RecordKind
from backstop.errors import DamagedDatabaseError, StateFolderError, TamperedRecordError

Progress = Callable[[str, int, int], None]
"""Hears what is being done, how many records are done, and how many there are."""

BookSink = Callable[[Book], None]
"""Hears what the whole record makes of the account, once it was found good."""

PROGRESS_RECORDS = 1000
"""Records between two words about progress."""


class AuditReport(Struct, frozen=True, kw_only=True):
    """What was checked and found good.

    Attributes:
        account: whose record it is.
        records: in the journal.
        root: the root of the tree over them, as hex.
        checkpoints: outside the database, all of which agree.
        orders: rows of ``OrderAudit``.
        fills: rows of ``FillAudit``.
        proofs: signed execution proofs.
        key_ids: the keys that signed, oldest first.
        outages: times in which the disk took nothing; their records were written late.
    """

    account: str
    records: int
    root: str
    checkpoints: int
    orders: int
    fills: int
    proofs: int
    key_ids: tuple[str, ...]
    outages: tuple[OutageOnRecord, ...]


def verify_record(
    state_folder: Path,
    *,
    public_key: Path | None = None,
    checkpoints: tuple[Path, ...] = (),
    mirror: Path | str | None = None,
    on_progress: Progress = lambda _what, _done, _total: None,
    on_book: BookSink = lambda _book: None,
) -> AuditReport:
    """Check everything that the record in ``state_folder`` says.

    Args:
        state_folder: it, or a copy of it.
        public_key: the newest public key, kept elsewhere; the one in the folder if None.
        checkpoints: files with checkpoints that were kept elsewhere.
        mirror: the second place of checkpoints; only a folder can be read.
        on_progress: hears how far it is.
        on_book: hears what the record makes of the account.

    Raises:
        TamperedRecordError: the first thing that does not hold.
        DamagedDatabaseError: the database is not sound.
        StateFolderError: nothing can be said: no record, no key, or another version's.
    """
    database = state_folder / AUDIT_DATABASE
    if not database.is_file() or not database.stat().st_size:
        raise _missing(state_folder, database)
    outside = state_folder / CHECKPOINT_FOLDER
    with readable(database) as path, AuditStore(path, checked=False) as store:
        fault = store.fault()
        if fault is not None:
            raise DamagedDatabaseError(f"{database} is damaged: {fault}. It was not changed.")
        check_layout(store)
        account = store.account()
        sources = [folder_source(outside), *(file_source(it) for it in checkpoints)]
        if account is None:
            raise _empty(database, sources)
        if CheckpointFolder(outside).newest() is None:
            raise no_checkpoints(outside, records=store.last_seq())
        if isinstance(mirror, Path):
            sources.append(folder_source(mirror / f"backstop-{account}"))
        check = _Check(store, account, on_progress, on_book)
        chain = check.key_chain(state_folder / KEY_FOLDER, public_key)
        walked = check.tree(sources, chain)
        return check.tables(walked, chain)


class _Check:
    """One verification; all questions are answered from one moment."""

    def __init__(
        self, store: AuditStore, account: str, on_progress: Progress, on_book: BookSink
    ) -> None:
        self._store = store
        self._account = account
        self._origin = log_origin(account)
        self._on_progress = on_progress
        self._on_book = on_book

    def key_chain(self, key_folder: Path, public_key: Path | None) -> KeyChain:
        rotations = self._store.payloads(RecordKind.KEY_ROTATION)
        trusted = key_folder / PUBLIC_KEY_FILE if public_key is None else public_key
        if not trusted.is_file():
            raise StateFolderError(
                f"{trusted} does not exist. Give the public key of this record with --key."
            )
        newest = load_public_key(trusted).public_bytes_raw()
        following = next_public_key(key_folder) if public_key is None else None
        if following is not None and rotations:
            # A change of keys may be recorded and not yet finished in the folder.
            try:
                return checked_key_chain(rotations, newest=following, account=self._account)
            except TamperedRecordError:
                pass
        return checked_key_chain(rotations, newest=newest, account=self._account)

    def tree(self, sources: list[NoteSource], chain: KeyChain) -> Walked:
        # After the checkpoints were found: what a running guard adds later is in neither.
        self._store.freeze()
        walked = walk(
            checked_leaves(self._stored("records"), account=self._account),
            sources,
            origin=self._origin,
            chain=chain,
            check_signatures=True,
        )
        check_head(self._store.head_rows(), walked.frontier, origin=self._origin, chain=chain)
        return walked

    def tables(self, walked: Walked, chain: KeyChain) -> AuditReport:
        records = (record.as_written() for record in self._stored("tables"))
        first = next(records)
        if first.kind != RecordKind.POLICY:
            raise StateFolderError(
                "The record does not begin with the rules of the process that wrote it: it is of "
                "a version that this one cannot follow."
            )
        book = new_book(decode_policy(first))
        found = check_tables(self._store, records, book, account=self._account, chain=chain)
        self._on_book(book)
        return AuditReport(
            account=self._account,
            records=walked.frontier.size,
            root=walked.frontier.root().hex(),
            checkpoints=walked.checkpoints,
            orders=found.orders,
            fills=found.fills,
            proofs=found.proofs,
            key_ids=tuple(key_name(key) for key in chain.public_keys),
            outages=found.outages,
        )

    def _stored(self, what: str) -> Iterator[StoredRecord]:
        total = self._store.last_seq()
        for done, record in enumerate(self._store.records(), start=1):
            yield record
            if done % PROGRESS_RECORDS == 0 or done == total:
                self._on_progress(what, done, total)


def _empty(database: Path, sources: list[NoteSource]) -> StateFolderError:
    """Return what to raise where there is no record: a checkpoint of one proves that it is gone."""
    for source in sources:
        size = largest_size(source)
        if size:
            found = f"it holds no record, and {source.name} has a checkpoint of size {size}"
            return TamperedRecordError(str(database), found)
    return StateFolderError(f"{database} holds no record yet.")


def _missing(state_folder: Path, database: Path) -> StateFolderError:
    for name in (CHECKPOINT_FOLDER, KEY_FOLDER):
        beside = state_folder / name
        if beside.is_dir() and any(beside.iterdir()):
            return TamperedRecordError(str(database), f"it is gone, and {name}/ is there")
    return StateFolderError(
        f"{database} does not exist: no guard has recorded anything there. Check "
        "BACKSTOP_STATE_DIR."
    )
