"""Is the state folder one that a guard can rely on? Asked before anything in it is opened.

Whoever can write in the folder can make the guard believe anything, and whoever can read its
secrets can act in the operator's name. A folder that every user can write to is refused when a
person starts a guard, as is one of another user, or one that we cannot write to: each is mended by
one command. Where a guard comes back after a crash nothing is refused that can be closed instead:
a position may wait for it. All else that is open is closed, and told.

POSIX modes only; Windows keeps the folder of a user to that user by itself.
"""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from backstop.adapters.state_layout import AUDIT_DATABASE, CHECKPOINT_FOLDER, CRASH_FOLDER
from backstop.errors import StateFolderError

_BELIEVED = (
    *(AUDIT_DATABASE, f"{AUDIT_DATABASE}-wal", f"{AUDIT_DATABASE}-shm"),
    *("trading_state.json", "trading_state.backup.json"),
    *("trading_state.older.json", "trading_state.taken.json"),
    *("past_orders.db", "past_orders.db-wal", "past_orders.db-shm"),
    *(CHECKPOINT_FOLDER, CRASH_FOLDER),
)
"""What the guard believes, or tells of the account; the keys have a check of their own."""

_SECRETS = ("api_token", "gateway.key", "bots.json")
"""What lets others act: halt, resume, send orders as a bot."""

_ROOT = 0
"""It may change everything in any case, so what belongs to it is in no other hands."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Opening(Struct, frozen=True, kw_only=True):
    """What other users of this machine could do with the folder, or with a file in it.

    Attributes:
        path: the folder or the file.
        mode: as it was found.
        mode_now: what it was changed to; as ``mode`` where it was left alone.
        owner: the user whose it is, if that is neither root nor we.
        is_folder: it is the state folder itself.
        holds_secrets: whoever reads it can act.
    """

    path: Path
    mode: int
    mode_now: int
    owner: int | None = None
    is_folder: bool = False
    holds_secrets: bool = False

    @property
    def can_be_changed(self) -> bool:
        """Others could make the guard believe what is not so."""
        return self.owner is not None or bool(self.mode & _OTHERS_WRITE)

    @property
    def matters(self) -> bool:
        """A person has to think about what others did with it; else closing it is enough."""
        return self.can_be_changed or self.holds_secrets

    @property
    def told(self) -> str:
        """What was found, why it matters, and what was done or is to be done, in sentences."""
        return f"{self._found}: {self._why}. {self._done}"

    @property
    def _found(self) -> str:
        if self.owner is not None:
            return f"{self.path} belongs to user {self.owner}"
        tense = "has" if self.mode_now == self.mode else "had"
        return f"{self.path} {tense} mode {self.mode:04o}"

    @property
    def _why(self) -> str:
        if self.owner is not None:
            return "that user can change what the guard believes"
        if self.can_be_changed:
            return "other users of this machine could change what the guard believes"
        if self.holds_secrets:
            return "other users of this machine could read it, and act with what it holds"
        if self.is_folder:
            return "other users of this machine can see what is in it and when it changes"
        return "other users of this machine could read it"

    @property
    def _done(self) -> str:
        if self.owner is not None:
            return f"Run: chown -R {_user()} {self.path}"
        wanted = "700" if self.mode & stat.S_IXUSR else "600"
        close = f"chmod {wanted} {self.path}"
        if self.mode_now == self.mode:
            own = ", or set BACKSTOP_STATE_DIR to a folder of its own" if self.is_folder else ""
            return f"Run: {close}{own}"
        done = f"It has mode {self.mode_now:04o} now"
        if self.mode_now & _OTHERS:
            done += f"; to close it altogether: {close}"
        if self.can_be_changed:
            return f"{done}. If somebody may have used that, run: backstop audit verify"
        if self.path.name == "api_token":
            return f"{done}. For another token, remove the file while no guard runs"
        return done


def check_state_folder(folder: Path) -> None:
    """Refuse a folder that cannot be relied on; one that does not exist yet is fine.

    Raises:
        StateFolderError: what is true now, and what to do.
    """
    check_usable(folder)
    for found in openings(folder):
        if found.owner is not None and _user() != _ROOT:
            raise StateFolderError(found.told)
        if found.mode & stat.S_IWOTH and not found.mode & stat.S_ISVTX:
            raise StateFolderError(
                f"{found.path} has mode {found.mode:04o}: everybody on this machine can change "
                f"what the guard believes. If nobody did, run: chmod o-w {found.path}"
            )


def close_state_folder(folder: Path, *, refuse: bool = True) -> tuple[Opening, ...]:
    """Take from others what they need not have in ``folder``; return what was open.

    A folder that does not exist yet is made, for this user only. Files are closed to everybody
    else. The folder is only made unwritable for them: where it is a home, for example, seeing into
    it may be meant.

    Args:
        folder: the state folder.
        refuse: False when a guard comes back after a crash: then what ``check_state_folder``
            refuses is closed, if it is ours, and told.

    Raises:
        StateFolderError: it cannot be relied on, or not even be used.
    """
    if refuse:
        check_state_folder(folder)
    make_state_folder(folder)
    return tuple(_closed(found) for found in openings(folder))


def make_state_folder(folder: Path) -> None:
    """Make the folder, for this user only, where it does not exist yet.

    Here, and not by whoever writes the first file in it: a parent that is made on the way to a file
    gets the mode that all folders get.

    Raises:
        StateFolderError: it cannot be made, or cannot be used.
    """
    check_usable(folder)
    try:
        folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    except OSError as error:
        raise StateFolderError(
            f"{folder} cannot be made: {error.strerror or error}. Set BACKSTOP_STATE_DIR to a "
            "folder that this user can write."
        ) from error


def openings(folder: Path) -> tuple[Opening, ...]:
    """Return what of ``folder`` other users can see, read or change; changes nothing."""
    if sys.platform == "win32":
        return ()
    return tuple(_openings(folder))


def _openings(folder: Path) -> Iterator[Opening]:
    for name in ("", *_BELIEVED, *_SECRETS):
        path = folder / name
        try:
            found = path.stat()
        except OSError:
            continue  # it is not there, or whoever needs it will say so
        mode = stat.S_IMODE(found.st_mode)
        owner = None if found.st_uid in {_ROOT, _user()} else found.st_uid
        if owner is not None or mode & _OTHERS:
            yield Opening(
                path=path,
                mode=mode,
                mode_now=mode,
                owner=owner,
                is_folder=not name,
                holds_secrets=name in _SECRETS,
            )


def _closed(found: Opening) -> Opening:
    """Close what is ours, and return it as it was; what cannot be closed is left, and says so."""
    mode = found.mode & ~(_OTHERS_WRITE if found.is_folder else _OTHERS)
    # With the sticky bit many share it by intention; a link may lead to a file of another program.
    shared = found.mode & stat.S_ISVTX or (found.path.is_symlink() and not found.is_folder)
    if mode == found.mode or found.owner is not None or shared:
        return found
    try:
        found.path.chmod(mode)
    except OSError:
        return found
    return Opening(
        path=found.path,
        mode=found.mode,
        mode_now=mode,
        is_folder=found.is_folder,
        holds_secrets=found.holds_secrets,
    )


def check_usable(folder: Path) -> None:
    """Refuse what is no folder, or none that we can write in; one that is not there yet is fine.

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
        if sys.platform != "win32":
            _check_access(folder)
    except OSError as error:
        raise StateFolderError(
            f"{folder} cannot be looked into: {error.strerror or error}. It must belong to the "
            f"user who runs the guard: chown it, or set BACKSTOP_STATE_DIR to another folder."
        ) from error


def _check_access(folder: Path) -> None:
    for path, needed in (
        (folder, os.R_OK | os.W_OK | os.X_OK),
        (folder / AUDIT_DATABASE, os.R_OK | os.W_OK),
    ):
        if not path.exists() or os.access(path, needed):
            continue
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            raise StateFolderError(
                f"{path} is on a disk that is mounted read-only, and nothing can be recorded "
                "there. Mount it for writing, or set BACKSTOP_STATE_DIR to another folder."
            )
        found = path.stat()
        raise StateFolderError(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o} and belongs to user "
            f"{found.st_uid}: this process, of user {_user()}, cannot write in it. Run it as that "
            f"user, or: chown -R {_user()} {folder}; where it is yours: chmod -R u+rwX {folder}"
        )


def _user() -> int:
    return os.geteuid() if sys.platform != "win32" else _ROOT
