"""Reading a database as evidence: also from a folder that must not, or cannot, be written to.

SQLite makes a helper file beside a database in WAL mode even when it only reads. Where that is not
possible (a copy on read-only storage) the database and its write-ahead file, which may hold the
newest records of a process that was killed, are read from a temporary copy.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backstop.errors import StateFolderError

_WRITE_AHEAD = "-wal"


@contextmanager
def readable(database: Path) -> Iterator[Path]:
    """Give a path under which ``database`` can be read; raises StateFolderError."""
    if not database.is_file() or os.access(database.parent, os.W_OK):
        yield database
        return
    with copied(database) as copy:
        yield copy


@contextmanager
def copied(database: Path) -> Iterator[Path]:
    """Give a temporary copy of ``database`` with all that is committed in it.

    Raises:
        StateFolderError: it cannot be copied.
    """
    with tempfile.TemporaryDirectory(prefix="backstop-evidence-") as folder:
        copy = Path(folder) / database.name
        newest = database.with_name(database.name + _WRITE_AHEAD)
        try:
            shutil.copyfile(database, copy)
            if newest.is_file():
                shutil.copyfile(newest, copy.with_name(newest.name))
        except OSError as error:
            raise StateFolderError(
                f"{database} cannot be copied to a place where it can be read: {error}."
            ) from error
        yield copy
