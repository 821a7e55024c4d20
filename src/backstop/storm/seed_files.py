"""Where the files of a seed are kept while it is played: in memory, where a system offers that."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
"""Files that no disk is waited for, where a system has such a place."""

SEED_BYTES_MAX: Final = 64 * 2**20
"""Twice what the files of a seed came to at most; a container may offer less than one of them."""


@contextmanager
def seed_files(*, seeds: int = 1) -> Iterator[Path]:
    """Make a folder for the files of ``seeds`` that are played at a time; remove it at the end.

    Its name has the number of this process, so that one that was left behind can be told.
    """
    place = MEMORY_FOLDER if _has_room(MEMORY_FOLDER, seeds * SEED_BYTES_MAX) else None
    with folder_in(place) as folder:
        yield folder


@contextmanager
def folder_in(place: Path | None) -> Iterator[Path]:
    """Make a folder in ``place``, None: where the system has its temporary ones; remove it."""
    prefix = f"backstop-storm-{os.getpid()}-"
    with tempfile.TemporaryDirectory(dir=place, prefix=prefix) as folder:
        yield Path(folder)


def _has_room(place: Path, size: int) -> bool:
    return (
        place.is_dir()
        and os.access(place, os.W_OK | os.X_OK)
        and shutil.disk_usage(place).free >= size
    )
