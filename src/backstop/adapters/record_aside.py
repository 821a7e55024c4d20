"""Keeps what is left of a record under another name, whole, so that a new one can begin.

Nothing is deleted and nothing is read: what is kept is evidence. ``backstop audit verify`` reads
such a folder like a state folder, for the public key is copied into it.
"""

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from backstop.adapters.folders import make_private_folder, sync_folder
from backstop.errors import StateFolderError

KEPT_MAX = 16
"""Records that are kept so. More are no accident any more: the disk, or a program, takes them away,
and a person has to look before the next one begins."""

_PREFIX = "record-"


def records_aside(folder: Path) -> list[Path]:
    """Return the records that are kept in a state folder, oldest first."""
    return sorted(it for it in folder.glob(f"{_PREFIX}*") if it.is_dir())


def set_record_aside(
    folder: Path,
    *,
    parts: Sequence[str],
    copies: Sequence[str],
    mirror: Path | None,
    utc_us: int,
) -> Path:
    """Move a record aside and return the folder that holds it.

    Args:
        folder: the state folder.
        parts: what is moved, by names; last the one that tells a start of the record that was.
        copies: what is copied, by names that may have a folder in them.
        mirror: a second place of its checkpoints, which is renamed in the same way.
        utc_us: the time of day, for the name.

    Raises:
        StateFolderError: there are too many already, or something cannot be moved; the next start
            tries again.
    """
    if len(records_aside(folder)) >= KEPT_MAX:
        raise StateFolderError(
            f"{folder} keeps {KEPT_MAX} records that were lost, and no more. Find out what takes "
            f"them away, and move the folders {_PREFIX}… elsewhere. Until a guard runs: backstop "
            "liquidate."
        )
    stamp = datetime.fromtimestamp(utc_us / 1e6, tz=UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = folder / f"{_PREFIX}{stamp}"
    try:
        make_private_folder(aside)
        for name in copies:
            if (folder / name).is_file():
                make_private_folder((aside / name).parent)
                shutil.copy(folder / name, aside / name)
        if mirror is not None and mirror.exists():
            mirror.replace(mirror.with_name(f"{mirror.name}-{stamp}"))
            sync_folder(mirror.parent)
        for name in parts:
            if os.path.lexists(folder / name):
                (folder / name).replace(aside / name)
        sync_folder(aside)
        sync_folder(folder)
    except OSError as error:
        raise StateFolderError(
            f"What is left of the record in {folder} cannot be moved to {aside.name}: {error}. "
            f"Check that this user can write {folder}. Until a guard runs: backstop liquidate."
        ) from error
    return aside
