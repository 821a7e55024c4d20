"""Folders on disk: making the names in them durable."""

import os
import sys
from pathlib import Path


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
