"""The few calls by which a file becomes durable, in one place per platform.

What is written is in the file at once for everybody who reads it, and on the disk only after
``sync``. A name is durable only after ``sync_folder``. Windows has neither positioned writes nor a
call for folders: it writes names through by itself, and refuses to replace a file that is open.
"""

import os
import sys
from pathlib import Path

from backstop.adapters.folders import sync_folder

REPLACES_OPEN_FILES = sys.platform != "win32"
"""Whether a file may be replaced while we hold it open."""


class Disk:
    """The real disk; a test can put another one in its place to see what a power cut leaves."""

    def create(self, path: Path) -> int:
        """Make an empty file at ``path``, for its owner only, and return its descriptor."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)

    def reopen(self, path: Path) -> int:
        """Open an existing file for writing in place."""
        return os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))

    def write(self, descriptor: int, data: bytes, *, offset: int) -> None:
        """Write all of ``data`` at ``offset``; not durable yet."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Return when everything written to the file is on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        """Give the file ``old`` the name ``new`` in one step; not durable yet."""
        old.replace(new)

    def name_too(self, path: Path, other: Path) -> bool:
        """Give the file at ``path`` a second name; False where the file system has no such thing.

        ``other`` must be free. Not durable yet.
        """
        try:
            other.hardlink_to(path)
        except OSError:
            return False
        return True

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in ``folder`` are on the disk."""
        sync_folder(folder)
