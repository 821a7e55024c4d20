"""One right to send per account on this machine: a lock that the operating system holds for us.

The lock is on a file in the user's runtime folder, named by a hash of gateway host and account, so
that two guards for one account meet whatever their state folders are. The system lets go of it
when the process ends, however it ends, so there is no stale lock. The file itself stays; its
content, the process id, is for people only.
"""

import hashlib
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from backstop.adapters.file_lock import NO_FOLLOW, try_lock
from backstop.adapters.loopback import is_loopback_host
from backstop.adapters.machine import machine
from backstop.errors import AlreadyRunningError, StateFolderError

MAX_REPLACED = 8
"""Attempts when the file is replaced while we open it; a cleaner does that once, not for ever."""


class AccountLock:
    """The right to send for one account; take it before anything can be sent.

    Attributes:
        path: the locked file.
        account: the account, for messages.
        gateway_host: host and port of the gateway, in one spelling.
    """

    def __init__(
        self, *, gateway_host: str, account: str, runtime_folder: Path | None = None
    ) -> None:
        """Name the lock; nothing is touched yet.

        Args:
            gateway_host: host of the gateway, with its port if it has one.
            account: the broker's account id.
            runtime_folder: where locks are; the user's runtime folder if None.
        """
        self.account = account
        self.gateway_host = one_spelling(gateway_host)
        self._descriptor: int | None = None
        identity = f"{self.gateway_host}\n{account}".encode()
        folder = default_runtime_folder() if runtime_folder is None else runtime_folder
        self.path = folder / f"{hashlib.sha256(identity).hexdigest()}.lock"

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def is_held(self) -> bool:
        """We hold the lock, and its file is still the one that others would find.

        False also when somebody removed the file: a second guard could then lock a new one. Before
        something is sent, ``keeps`` is asked.
        """
        return self._descriptor is not None and _is_file_at(self._descriptor, self.path)

    def acquire(self) -> None:
        """Take the lock at once, or refuse; never waits.

        Raises:
            AlreadyRunningError: another process, or another lock of this one, holds it.
            StateFolderError: the runtime folder cannot be used or is not private.
        """
        if self.is_held:
            return
        self.release()
        try:
            _make_private(self.path.parent)
            descriptor = self._locked_file()
        except OSError as error:
            raise StateFolderError(
                f"The lock {self.path} cannot be taken: {error}. Check that this user owns "
                f"{self.path.parent}."
            ) from error
        self._descriptor = descriptor
        machine().at_death(self.release)
        self._sign(descriptor)

    def keeps(self) -> bool:
        """Say whether we have the right to send now; take it again where its file was removed.

        Cleaners remove files, and the end of a login session empties the runtime folder. That gives
        the right to nobody: who locks the new file first has it. If that was somebody else, we have
        lost it for good. Where no file can be made nobody else can have locked one either.
        """
        if self._descriptor is None or self.is_held:
            return self._descriptor is not None
        try:
            _make_private(self.path.parent)
            descriptor = self._locked_file()
        except AlreadyRunningError:
            self.release()
            return False
        except (OSError, StateFolderError):
            return _is_missing(self.path)
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._sign(descriptor)
        return True

    def holder_process_id(self) -> int | None:
        """Return the number of the process that took the lock last; None when nothing tells.

        It says nothing on whether that process still holds it: try ``acquire`` before and after.
        """
        try:
            written = self.path.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return None
        return int(written) if written.isdigit() else None

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _sign(self, descriptor: int) -> None:
        with suppress(OSError):  # a full disk: the number is for people, the lock holds without it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{machine().process_id}\n".encode())

    def _locked_file(self) -> int:
        for _ in range(MAX_REPLACED):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o600)
            try:
                locked = try_lock(descriptor)
                if locked and _is_file_at(descriptor, self.path):
                    return descriptor
                holder = None if locked else _holder(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            if not locked:
                raise AlreadyRunningError(
                    f"Another guard holds account {self.account} at {self.gateway_host}: "
                    f"{holder}. Two would trade twice. Stop it first, or use it."
                )
        raise StateFolderError(f"{self.path} is replaced again and again by another program.")


def default_runtime_folder() -> Path:
    """Return the folder for locks: private to the user, emptied at the latest by a restart."""
    return machine().runtime_folder()


def one_spelling(gateway_host: str) -> str:
    """Return host and port in the one spelling that two guards of the same gateway share."""
    host, colon, port = gateway_host.lower().rstrip(".").rpartition(":")
    if not colon or not port.isdigit():
        host, port = gateway_host.lower().rstrip("."), ""
    bare = host.strip("[]").rstrip(".")
    name = "localhost" if is_loopback_host(bare) else bare
    return f"{name}:{port}" if port and port != "443" else name


def _holder(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    written = os.read(descriptor, 32).decode("ascii", errors="replace").strip()
    # Empty for a moment while the holder writes its number.
    return f"process {written}" if written.isdigit() else "a process that is just starting"


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        ours, there = os.fstat(descriptor), path.stat()
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:
        return False


def _make_private(folder: Path) -> None:
    """Make ``folder`` for this user only; refuse one that somebody else prepared for us."""
    for missing in reversed([folder, *folder.parents]):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)
    if sys.platform == "win32":
        return
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StateFolderError(
            f"{folder} is not a folder of this user, so a lock in it protects nothing. Remove it."
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
