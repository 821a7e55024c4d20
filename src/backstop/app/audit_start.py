"""What the guard asks before it goes on with a record: is this what was signed?

To find out later would be too late: a signature of ours under a record makes all of it true.
Nothing is changed here but the files of a change of keys that a crash cut short.
"""

from collections.abc import Sequence
from pathlib import Path

from backstop.adapters.checkpoints import CheckpointFolder
from backstop.adapters.key_folder import discard_next, open_next, promote_next
from backstop.adapters.signing import AuditKeys
from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.app.codec import ROTATION_KIND
from backstop.app.state_layout import AUDIT_DATABASE, KEY_FOLDER
from backstop.app.tree_check import (
    check_head,
    checked_key_chain,
    checked_leaves,
    folder_source,
    walk,
)
from backstop.core.audit_log import Frontier
from backstop.core.checkpoint import parse
from backstop.errors import StateFolderError, TamperedRecordError


def checked_start(
    state_folder: Path, folders: Sequence[CheckpointFolder], *, account: str, origin: str
) -> tuple[AuditKeys, Frontier]:
    """Return the key that signs and the tree over what is recorded, once all of it holds.

    Args:
        state_folder: where the record is, or is to begin.
        folders: where its checkpoints are, its own place first.
        account: whose record it must be.
        origin: the name of the log.

    Raises:
        TamperedRecordError: the record is not what was signed.
        StateFolderError: the folder cannot be used, or holds the record of another account.
    """
    database, key_folder = state_folder / AUDIT_DATABASE, state_folder / KEY_FOLDER
    if not database.is_file() or not database.stat().st_size:
        for folder in folders:
            if any(parse(note).checkpoint.size for note in folder.notes()):
                raise TamperedRecordError(
                    str(database), f"it is gone, and {folder.folder} has checkpoints of it"
                )
        return AuditKeys.open(key_folder), Frontier()
    with AuditStore(database) as store:
        owner = store.account()
        if owner is None:
            return AuditKeys.open(key_folder), Frontier()
        if owner != account:
            raise StateFolderError(
                f"{database} holds the record of account {owner}, not of {account}. "
                "Set BACKSTOP_STATE_DIR to a folder of its own for each account."
            )
        if not folders[0].files():
            raise TamperedRecordError(
                str(folders[0].folder), f"it is gone, with {store.last_seq()} records left"
            )
        rotations = store.payloads(ROTATION_KIND)
        keys = present_keys(key_folder, rotations, account=account)
        chain = checked_key_chain(
            rotations, newest=keys.public_key().public_bytes_raw(), account=account
        )
        walked = walk(
            checked_leaves(store.records(), account=account),
            [folder_source(it.folder) for it in folders],
            origin=origin,
            chain=chain,
            check_signatures=False,
        )
        check_head(store.head_rows(), walked.frontier, origin=origin, chain=chain)
    return keys, walked.frontier


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
        "nothing is added to it. Keep a copy of the whole folder; 'backstop audit verify' checks "
        "it. Then restore the newest copy of it, or move the folder away to start a new record: "
        "positions and orders are then read from the broker."
    )
