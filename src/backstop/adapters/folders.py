"""Folders on disk: made for their owner alone, and the names in them made durable."""

import os
import stat
import sys
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make ``folder``, and what is missing on the way to it, for its owner alone.

    ``mkdir`` gives its mode to the last folder only: the others get the one that all folders get.

    Raises:
        OSError: one of them cannot be made.
    """
    for missing in reversed((folder, *folder.parents)):
        missing.mkdir(mode=stat.S_IRWXU, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a new file's name is lost without it in a power cut.

    Windows writes names through by itself and has no call for it.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
