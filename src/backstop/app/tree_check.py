"""Walks along the log once and holds every checkpoint and every signature against it.

The start of the guard and ``backstop audit verify`` ask the same question: is this the record that
was signed? What does not hold is named with the first place where it shows.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from backstop.adapters.checkpoints import CheckpointFolder, notes_in
from backstop.adapters.signing import verify_raw
from backstop.adapters.sqlite.audit_store import StoredRecord
from backstop.adapters.sqlite.schema import FIRST_SEQ
from backstop.core.audit_log import Frontier
from backstop.core.checkpoint import CheckpointError, SignedCheckpoint, parse
from backstop.core.journal_leaf import leaf_hash
from backstop.core.key_rotation import KeyChain, KeyChainError, key_chain, key_name
from backstop.errors import TamperedRecordError

SIGNED_HEAD = "the signed head in audit.db"


class NoteSource(Struct, frozen=True, kw_only=True):
    """Checkpoints of one place, in the order of writing; ``name`` is for people."""

    name: str
    notes: Iterable[str]


class Walked(Struct, frozen=True, kw_only=True):
    """What held: the tree over all records, and how many checkpoints agree with it."""

    frontier: Frontier
    checkpoints: int


def checked_key_chain(
    rotations: list[tuple[int, bytes]], *, newest: bytes, account: str
) -> KeyChain:
    """Return the keys of the log; raises TamperedRecordError."""
    try:
        return key_chain(rotations, newest=newest, account=account, check=verify_raw)
    except KeyChainError as error:
        raise TamperedRecordError(f"record {error.seq}", str(error)) from error


def folder_source(folder: Path) -> NoteSource:
    """Return the checkpoints of a folder."""
    return NoteSource(name=str(folder), notes=CheckpointFolder(folder).notes())


def file_source(path: Path) -> NoteSource:
    """Return the checkpoints of a file that somebody kept."""
    return NoteSource(name=str(path), notes=notes_in(path))


def largest_size(source: NoteSource) -> int:
    """Return of how many records the largest checkpoint of a place is; 0 where it has none.

    Raises:
        TamperedRecordError: one of them is no checkpoint.
    """
    return max((_parsed(note, source.name).checkpoint.size for note in source.notes), default=0)


def no_checkpoints(folder: Path, *, records: int) -> TamperedRecordError:
    """Return what to raise where no checkpoint is left: the first is written before any record."""
    gone = "it holds no checkpoint" if folder.is_dir() else "it is gone"
    return TamperedRecordError(str(folder), f"{gone}, with {records} records left")


def walk(
    leaf_hashes: Iterable[bytes],
    sources: Iterable[NoteSource],
    *,
    origin: str,
    chain: KeyChain,
    check_signatures: bool,
) -> Walked:
    """Grow the tree from ``leaf_hashes`` and compare it with every checkpoint on the way.

    Args:
        leaf_hashes: of all records in order.
        sources: where checkpoints were kept.
        origin: the name of the log.
        chain: who may sign what.
        check_signatures: of every checkpoint; False saves time where a false one, which then
            shows as a difference, is refused all the same.

    Raises:
        TamperedRecordError: the first thing that does not hold.
    """
    frontier = Frontier()
    cursors = [
        _Cursor(source, origin=origin, chain=chain if check_signatures else None)
        for source in sources
    ]
    agreed = 0  # records up to which a checkpoint agreed
    for leaf in _with_start(leaf_hashes):
        if leaf is not None:
            frontier.append(leaf)
        waiting = [it for it in cursors if it.size == frontier.size]
        if waiting:
            root = frontier.root()
            for cursor in waiting:
                cursor.compare(root, agreed=agreed)
            agreed = frontier.size
    for cursor in cursors:
        cursor.expect_end(frontier.size)
    return Walked(frontier=frontier, checkpoints=sum(it.count for it in cursors))


def checked_leaves(
    records: Iterable[StoredRecord], *, account: str, first_seq: int = FIRST_SEQ
) -> Iterator[bytes]:
    """Recompute the leaf hash of each record from everything that is stored of it.

    The first of ``records`` must be number ``first_seq``.

    Raises:
        TamperedRecordError: while iterating, the first record that is missing or not what was
            written.
    """
    for expected, record in enumerate(records, start=first_seq):
        where = f"record {expected}"
        if record.seq < expected:
            raise TamperedRecordError(f"record {record.seq}", "no record has such a number")
        if record.seq != expected:
            raise TamperedRecordError(where, "it is missing")
        if record.account != account:
            raise TamperedRecordError(where, f"it is of account {record.account}")
        leaf = recomputed_leaf(record)
        if leaf != record.leaf_hash:
            raise TamperedRecordError(where, "it is not what was written")
        yield leaf


def recomputed_leaf(record: StoredRecord) -> bytes:
    """Return the leaf hash of what is stored of a record.

    Raises:
        TamperedRecordError: a column holds another type than it ever had.
    """
    try:
        return leaf_hash(
            seq=record.seq,
            kind=record.kind,
            account=record.account,
            epoch=record.epoch,
            monotonic_ns=record.monotonic_ns,
            utc_us=record.utc_us,
            payload=record.payload,
        )
    except Exception as error:
        raise TamperedRecordError(
            f"record {record.seq}", f"a column of it is not what it must be: {error}"
        ) from error


def check_head(
    rows: Sequence[tuple[Any, ...]], frontier: Frontier, *, origin: str, chain: KeyChain
) -> None:
    """Check that the head in the database is ours and covers exactly all records.

    Args:
        rows: everything in its table: id, size and note.
        frontier: the tree over all records.
        origin: the name of the log.
        chain: who may sign what.

    Raises:
        TamperedRecordError: it does not.
    """
    if not rows:
        raise TamperedRecordError(SIGNED_HEAD, f"it is gone, with {frontier.size} records left")
    note = rows[0][2]
    signed = _parsed(note, SIGNED_HEAD)
    _check_signature(signed, SIGNED_HEAD, origin=origin, chain=chain)
    size = signed.checkpoint.size
    if len(signed.signatures) != 1:
        raise TamperedRecordError(SIGNED_HEAD, "somebody added a signature to it")
    if size < frontier.size:
        raise TamperedRecordError(
            f"record {size + 1}",
            f"no key signed it: the record was signed up to {size} and now has {frontier.size}",
        )
    if size > frontier.size:
        raise TamperedRecordError(
            f"record {frontier.size + 1}",
            f"it is missing: {size} records were signed and {frontier.size} are there",
        )
    if signed.checkpoint.root != frontier.root():
        raise TamperedRecordError(
            f"records 1 to {size}", "one of them is not what was signed, its hash made to fit"
        )
    if [tuple(row[:2]) for row in rows] != [(1, size)]:
        raise TamperedRecordError(SIGNED_HEAD, "its row does not say what its note says")


def _with_start(leaf_hashes: Iterable[bytes]) -> Iterator[bytes | None]:
    yield None  # the empty tree, which the first checkpoint of every log is about
    yield from leaf_hashes


class _Cursor:
    """Goes through the checkpoints of one place as the tree grows."""

    def __init__(self, source: NoteSource, *, origin: str, chain: KeyChain | None) -> None:
        self.count = 0
        self._name = source.name
        self._notes = iter(source.notes)
        self._origin = origin
        self._chain = chain
        self._next: SignedCheckpoint | None = None
        self._advance()

    @property
    def size(self) -> int | None:
        """Leaves of the next checkpoint; None when there is none any more."""
        return None if self._next is None else self._next.checkpoint.size

    def compare(self, root: bytes, *, agreed: int) -> None:
        """Hold the checkpoints of the present size against ``root``."""
        size = self.size
        seen = 0
        while self._next is not None and self.size == size:
            if self._next.checkpoint.root != root:
                if seen:
                    raise TamperedRecordError(
                        self._name, f"two checkpoints of size {size} have different roots"
                    )
                raise TamperedRecordError(
                    f"records {agreed + 1} to {size}",
                    f"one of them is not what was signed: the checkpoint of size {size} in "
                    f"{self._name} has another root",
                )
            seen += 1
            self._advance()

    def expect_end(self, size: int) -> None:
        """Refuse a checkpoint that goes beyond the record."""
        if self._next is not None:
            raise TamperedRecordError(
                f"record {size + 1}",
                f"it is missing: {self._name} has a checkpoint of size {self.size}, and the "
                f"record ends at {size}; its end was cut off, or audit.db was replaced by an "
                "older copy",
            )

    def _advance(self) -> None:
        before, note = self.size, next(self._notes, None)
        if note is None:
            self._next = None
            return
        self.count += 1
        where = f"{self._name}, checkpoint {self.count}"
        signed = _parsed(note, where)
        size = signed.checkpoint.size
        if signed.checkpoint.origin != self._origin:
            raise TamperedRecordError(where, f"it is of the log {signed.checkpoint.origin!r}")
        if self._chain is not None:
            _check_signature(signed, where, origin=self._origin, chain=self._chain)
        if before is not None and size < before:
            raise TamperedRecordError(
                where, f"its size is {size} after {before}: it was put there, or they were swapped"
            )
        self._next = signed


def _parsed(note: str, where: str) -> SignedCheckpoint:
    try:
        return parse(note)
    except CheckpointError as error:
        raise TamperedRecordError(where, str(error)) from error


def _check_signature(signed: SignedCheckpoint, where: str, *, origin: str, chain: KeyChain) -> None:
    size = signed.checkpoint.size
    key = chain.key_at(size)
    if signed.checkpoint.origin == origin and signed.is_signed_by(key, verify_raw):
        return
    others = [it for it in chain.public_keys if signed.is_signed_by(it, verify_raw)]
    signer = f"key {key_name(others[0])}" if others else "another key, or nobody,"
    raise TamperedRecordError(
        where, f"{signer} signed size {size}, where key {key_name(key)} was in use"
    )
