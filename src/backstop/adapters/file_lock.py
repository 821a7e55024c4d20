"""A lock on a file that the operating system holds for us, and lets go of when the process ends."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backstop.errors import StateFolderError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED_BYTE = 1 << 30
"""Windows locks bytes against reading too: this one lies far behind whatever is written."""

WAIT_S = 5.0
"""For somebody else's change of a small file, which takes milliseconds; then one of them hangs."""

LOOK_S = 0.01
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this descriptor alone; False where another one holds it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


@contextmanager
def one_at_a_time(path: Path, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the lock file ``path`` within the block, and wait ``wait_s`` for it.

    The file stays, empty: to take it away would let two hold a file of one name.

    Raises:
        StateFolderError: another process holds it for longer, or it cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o600)
    except OSError as error:
        raise StateFolderError(
            f"{path} cannot be locked: {error.strerror or error}. Check that this user can write "
            f"{path.parent}. Nothing was changed."
        ) from error
    try:
        until_s = time.monotonic() + wait_s
        while not try_lock(descriptor):
            if time.monotonic() >= until_s:
                raise StateFolderError(
                    f"Another program has held {path} for {wait_s:g} s. Wait for it or end it, "
                    "then try again. Nothing was changed."
                )
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(descriptor)
