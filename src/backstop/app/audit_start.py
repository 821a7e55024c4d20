"""What the guard asks before it goes on with a record: is this what was signed?

To find out later would be too late: a signature of ours under a record makes all of it true.
Nothing is changed here but the files of a change of keys that a crash cut short.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from msgspec import Struct

from backstop.adapters.checkpoints import CheckpointFolder
from backstop.adapters.key_folder import discard_next, open_next, promote_next
from backstop.adapters.signing import AuditKeys
from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.adapters.sqlite.record_owner import refuse_other_owner
from backstop.adapters.sqlite.schema import FIRST_SEQ, damaged, way_out
from backstop.adapters.state_layout import AUDIT_DATABASE, KEY_FOLDER
from backstop.app.tree_check import (
    check_head,
    checked_key_chain,
    checked_leaves,
    folder_source,
    no_checkpoints,
    walk,
)
from backstop.core.audit_log import Frontier
from backstop.core.checkpoint import Checkpoint, CheckpointError, parse
from backstop.core.key_rotation import KeyChain
from backstop.core.merkle import EMPTY_ROOT
from backstop.domain.record_kind import RecordKind
from backstop.errors import RecordGoneError, StateFolderError, TamperedRecordError

WHOLE_CHECK_RECORDS = 200
"""A record of up to this length is read whole at every start: it takes two milliseconds."""

WHOLE_LOOK_BYTES = 512 * 1024
"""A file of up to this size has its structure checked whole before anything is written to it: less
than two milliseconds. A larger one is looked through at once beside the guard, and entries wait for
it; what protects and what closes does not."""

ANY_SIZE = 2**63 - 1
"""Bytes: every file is smaller."""


class KnownTree(Struct, frozen=True, kw_only=True):
    """A tree over the first ``size`` records that was kept: its peaks are enough to go on."""

    size: int
    peaks: tuple[bytes, ...]


KnownTrees = Callable[[str, int], Iterable[KnownTree]]
"""Gives kept trees of the record with this name and so many entries, newest first."""


def no_known_trees(_record: str, _size: int) -> Iterable[KnownTree]:
    """Return none: every record is read."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedStart:
    """What a start found.

    Attributes:
        keys: the key that signs.
        frontier: the tree over all that is recorded.
        known: the kept tree that fits; None when none does.
        whole: every record was read; otherwise that is still to be done, while the guard runs.
        looked_through: the structure of the file was checked whole; otherwise likewise.
        record: names the record: the leaf hash of its first entry, as hex; empty without one.
        size: records that there were.
        root: the root of the tree over them, which was signed.
    """

    keys: AuditKeys
    frontier: Frontier
    known: KnownTree | None = None
    whole: bool = True
    looked_through: bool = True
    record: str = ""
    size: int = 0
    root: bytes = EMPTY_ROOT


def checked_start(
    state_folder: Path,
    folders: Sequence[CheckpointFolder],
    store: AuditStore | None,
    *,
    account: str,
    origin: str,
    known: KnownTrees = no_known_trees,
) -> CheckedStart:
    """Return the key that signs and the tree over what is recorded, once all of it holds.

    With a tree that was kept, and that grows into the head which our key signed, the records under
    it are not read: the log that goes on is then the one that was signed, whatever has become of
    its beginning in the file since. Who reads it all later, finds that.

    Args:
        state_folder: where the record is, or is to begin.
        folders: where its checkpoints are, its own place first.
        store: the record, opened and not looked through; None: there is none.
        account: whose record it must be.
        origin: the name of the log.
        known: gives trees that were kept, newest first; the first that fits is used.

    Raises:
        DamagedDatabaseError: the structure of the file is not sound.
        TamperedRecordError: the record is not what was signed.
        RecordGoneError: nothing is left of a record that was signed.
        StateFolderError: the folder cannot be used, or holds the record of another account.
    """
    database, key_folder = state_folder / AUDIT_DATABASE, state_folder / KEY_FOLDER
    if store is None:
        _expect_no_promise(database, folders, found="it is gone")
        return CheckedStart(keys=AuditKeys.open(key_folder), frontier=Frontier())
    fault, looked_through = store.quick_fault(whole_up_to_bytes=WHOLE_LOOK_BYTES)
    if fault is not None:
        raise damaged(database, fault)
    owner = store.account()
    if owner is None:
        _expect_no_promise(database, folders, found="it holds no record")
        return CheckedStart(keys=AuditKeys.open(key_folder), frontier=Frontier())
    refuse_other_owner(database, owner=owner, account=account)
    if folders[0].newest() is None:
        raise no_checkpoints(folders[0].folder, records=store.last_seq())
    offered = iter(known(_name(store), store.last_seq()))
    unfit: list[KnownTree] = []
    if store.last_seq() > WHOLE_CHECK_RECORDS and open_next(key_folder) is None:
        keys = AuditKeys.open(key_folder)
        for tree in offered:
            start = _grown(store, folders, keys, tree, account=account, origin=origin)
            if start is not None:
                return replace(start, looked_through=looked_through)
            unfit.append(tree)
    if not looked_through and (fault := store.quick_fault(whole_up_to_bytes=ANY_SIZE)[0]):
        raise damaged(database, fault)
    return _read_whole(
        store, folders, chain(unfit, offered), state_folder, account=account, origin=origin
    )


def _expect_no_promise(database: Path, folders: Sequence[CheckpointFolder], *, found: str) -> None:
    """Raise RecordGoneError where a checkpoint is of records, and there are none."""
    for folder in folders:
        promised, unreadable = _checkpoints_in(folder)
        newest = max(promised, key=lambda it: it.size, default=None)
        if newest is not None and newest.size:
            finding = f"{found}, and {folder.folder} has checkpoints of it"
            gone = refused(database.parent, TamperedRecordError(str(database), finding))
            raise RecordGoneError(str(gone), size=newest.size, root=newest.root.hex())
        if unreadable:
            finding = f"{unreadable}, so nobody knows what was signed: move this folder as well"
            raise refused(database.parent, TamperedRecordError(str(folder.folder), finding))


def _checkpoints_in(folder: CheckpointFolder) -> tuple[list[Checkpoint], str]:
    """Return the checkpoints of a folder, and the fault of one that cannot be read."""
    promised, unreadable = [], ""
    for note in folder.notes():
        try:
            promised.append(parse(note).checkpoint)
        except CheckpointError as error:
            unreadable = str(error)
    return promised, unreadable


def _read_whole(
    store: AuditStore,
    folders: Sequence[CheckpointFolder],
    trees: Iterable[KnownTree],
    state_folder: Path,
    *,
    account: str,
    origin: str,
) -> CheckedStart:
    """Read every record, and check that it is what was signed; errors as ``checked_start``."""
    key_folder = state_folder / KEY_FOLDER
    rotations = store.payloads(RecordKind.KEY_ROTATION)
    keys = present_keys(key_folder, rotations, account=account)
    signers = checked_key_chain(
        rotations, newest=keys.public_key().public_bytes_raw(), account=account
    )
    walked = walk(
        checked_leaves(store.records(), account=account),
        [folder_source(it.folder) for it in folders],
        origin=origin,
        chain=signers,
        check_signatures=False,
    )
    check_head(store.head_rows(), walked.frontier, origin=origin, chain=signers)
    return CheckedStart(
        keys=keys,
        frontier=walked.frontier,
        known=next((tree for tree in trees if tree_is_of(store, tree)), None),
        record=_name(store),
        size=walked.frontier.size,
        root=walked.frontier.root(),
    )


def _name(store: AuditStore) -> str:
    first = store.leaf_hash(FIRST_SEQ)
    return "" if first is None else first.hex()


def tree_is_of(store: AuditStore, tree: KnownTree) -> bool:
    """Tell whether a kept tree is one over the beginning of this record, by its stored hashes."""
    frontier = Frontier()
    for leaf in store.leaves(0, tree.size):
        frontier.append(leaf)
    return (frontier.size, frontier.peaks) == (tree.size, tree.peaks)


def _grown(
    store: AuditStore,
    folders: Sequence[CheckpointFolder],
    keys: AuditKeys,
    tree: KnownTree,
    *,
    account: str,
    origin: str,
) -> CheckedStart | None:
    """Grow a kept tree over the records after it; None when what is signed is not what comes out.

    All of the record is read then, and what is wrong with it gets a name.
    """
    try:
        frontier = Frontier(size=tree.size, peaks=tree.peaks)
        later = store.records(from_seq=tree.size + 1)
        for leaf in checked_leaves(later, account=account, first_seq=tree.size + 1):
            frontier.append(leaf)
        signers = KeyChain(first_seqs=(0,), public_keys=(keys.public_key().public_bytes_raw(),))
        check_head(store.head_rows(), frontier, origin=origin, chain=signers)
        outside = [note for folder in folders if (note := folder.newest()) is not None]
        if any(parse(note).checkpoint.size > frontier.size for note in outside):
            return None
    except (ValueError, TamperedRecordError):
        return None
    return CheckedStart(
        keys=keys,
        frontier=frontier,
        known=tree,
        whole=False,
        record=_name(store),
        size=frontier.size,
        root=frontier.root(),
    )


def present_keys(
    key_folder: Path, rotations: list[tuple[int, bytes]], *, account: str
) -> AuditKeys:
    """Open the key that signs; finish a change of keys that a crash cut short, or undo it.

    Raises:
        StateFolderError: the keys cannot be used.
    """
    following = open_next(key_folder)
    if following is not None:
        newest = following.public_key().public_bytes_raw()
        try:
            checked_key_chain(rotations, newest=newest, account=account)
        except TamperedRecordError:
            discard_next(key_folder)
        else:
            # Without a rotation any key would do for a chain: only a record makes it the key.
            if rotations:
                return promote_next(key_folder)
            discard_next(key_folder)
    return AuditKeys.open(key_folder)


def refused(state_folder: Path, error: TamperedRecordError) -> StateFolderError:
    """Return what a person who starts the guard on such a record should read."""
    return StateFolderError(
        f"The record in {state_folder} is not what was signed. {error} Nothing was changed, and "
        f"nothing is added to it. {way_out(state_folder / AUDIT_DATABASE)} 'backstop audit verify' "
        "checks the copy."
    )
