"""Is the state folder one that a guard can rely on? Asked before anything in it is opened.

Whoever can write in the folder can make the guard believe anything, so a folder that everybody can
write to is refused, as is one that we cannot write to. POSIX modes only; Windows keeps the folder
of a user to that user by itself.
"""

import os
import stat
import sys
from pathlib import Path

from backstop.errors import StateFolderError

_WATCHED = (
    *("audit.db", "trading_state.json", "trading_state.backup.json", "past_orders.db"),
    *("bots.json", "gateway.key"),
)
"""Files whose content is believed; the keys have a check of their own."""


def check_state_folder(folder: Path) -> None:
    """Refuse a folder that cannot be relied on; one that does not exist yet is fine.

    Raises:
        StateFolderError: what is true now, and what to do.
    """
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise StateFolderError(
                f"{folder} is a file, and the state needs a folder. Set BACKSTOP_STATE_DIR."
            )
        _check_modes(folder)
    except OSError as error:
        raise StateFolderError(
            f"{folder} cannot be looked into: {error.strerror or error}. It must belong to the "
            f"user who runs the guard: chown it, or set BACKSTOP_STATE_DIR to another folder."
        ) from error


def _check_modes(folder: Path) -> None:
    if sys.platform == "win32":
        return
    for path in (folder, *(folder / name for name in _WATCHED)):
        if not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StateFolderError(
                f"{path} has mode {mode:04o}: everybody on this machine can change what the guard "
                f"believes. If nobody did, run: chmod o-w {path}"
            )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        mode = stat.S_IMODE(folder.stat().st_mode)
        raise StateFolderError(
            f"{folder} has mode {mode:04o} and belongs to user {folder.stat().st_uid}: this "
            f"process, of user {os.geteuid()}, cannot write in it. Run it as that user, or: "
            f"chmod u+rwx {folder}"
        )
