"""Checkpoints outside the database: what tells that the record was cut, replaced or rewritten.

``checkpoints/checkpoints.log`` in the state folder takes one signed note after the other, each
followed by an empty line, and each on disk (fsync) before the next. Nothing in it is ever changed;
a file that is full gets a number and makes room for a new one. The same notes can go to a second
place: a folder, or an address that takes them by POST. What a note means is not known here.
"""

import http.client
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from backstop.adapters.folders import sync_folder
from backstop.errors import StateFolderError, TamperedRecordError

CURRENT_FILE = "checkpoints.log"

MAX_FILE_BYTES = 16 * 2**20
"""Some 80 000 checkpoints: months of a busy bot; then a new file begins."""

MAX_FRAME_LINES = 64
"""Lines of one note; ours have five, and a file without empty lines is none of ours."""

END_BYTES = 64 * 1024
"""Enough of a file's end to hold its last notes: one has a few hundred bytes."""

NOTE_PARTS = 2
"""What is signed, and the signatures: between them is an empty line."""

POST_LIMIT_S = 2.0
"""How long the second place may take; nothing that trades waits for it, a stop a little."""

_FULL_FILE = re.compile(r"checkpoints-(\d{6})\.log")
_SIGNATURE = "— "


class CheckpointFolder:
    """One folder of checkpoints."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched yet."""
        self.folder = folder
        self._writing = threading.Lock()
        self._current = folder / CURRENT_FILE

    def files(self) -> tuple[Path, ...]:
        """Return the files with checkpoints, oldest first."""
        if not self.folder.is_dir():
            return ()
        full = sorted(it for it in self.folder.iterdir() if _FULL_FILE.fullmatch(it.name))
        return (*full, self._current) if self._current.is_file() else tuple(full)

    def notes(self) -> Iterator[str]:
        """Iterate over every note there is now, in the order of writing; one in memory at a time.

        The last one may have been cut short by a crash before it was acknowledged: then it is
        left out. What is added while this goes on is left out as well.

        Raises:
            TamperedRecordError: while iterating, a file holds something else than notes.
            StateFolderError: while iterating, a file cannot be read.
        """
        lengths = [(path, path.stat().st_size) for path in self.files()]
        return (note for path, length in lengths for note in notes_in(path, length=length))

    def newest(self) -> str | None:
        """Return the newest whole note; None when there is none. Reads the end of a file only.

        Raises:
            StateFolderError: a file cannot be read.
        """
        for path in reversed(self.files()):
            note = _last_note(path)
            if note is not None:
                return note
        return None

    def append(self, note: str) -> None:
        """Write one note; it is on disk when this returns.

        Raises:
            StateFolderError: it could not be written.
        """
        with self._writing:
            self._append(note)

    def _append(self, note: str) -> None:
        try:
            if not self.folder.is_dir():
                self.folder.mkdir(mode=0o700, parents=True)
                sync_folder(self.folder.parent)
            self._make_room()
            new = not self._current.exists()
            with self._current.open("r+b" if not new else "xb") as file:
                file.truncate(_whole_length(self._current))
                file.seek(0, os.SEEK_END)
                file.write(note.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if new:
                self._current.chmod(0o600)
                sync_folder(self.folder)
        except OSError as error:
            raise StateFolderError(
                f"{self._current} cannot take a checkpoint: {error}. Check that this user can "
                "write there and that the disk has room."
            ) from error

    def _make_room(self) -> None:
        if not self._current.exists() or self._current.stat().st_size < MAX_FILE_BYTES:
            return
        numbers = (_FULL_FILE.fullmatch(it.name) for it in self.folder.iterdir())
        last = max((int(it.group(1)) for it in numbers if it), default=0)
        self._current.rename(self.folder / f"checkpoints-{last + 1:06}.log")
        sync_folder(self.folder)


class CheckpointAddress:
    """A second place that takes each note by HTTP POST, and is never read back."""

    def __init__(self, url: str) -> None:
        self._url = url

    def append(self, note: str) -> None:
        """Send one note.

        Raises:
            StateFolderError: it was not taken.
        """
        request = urllib.request.Request(  # noqa: S310 - the setting allows http and https only
            self._url,
            data=note.encode(),
            headers={"Content-Type": "text/plain; charset=utf-8"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=POST_LIMIT_S):  # noqa: S310 - see above
                return
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            # The address may carry a key of its own: only its host is for messages.
            raise StateFolderError(
                f"The checkpoint was not taken by {urlsplit(self._url).hostname}: "
                f"{getattr(error, 'reason', error)}."
            ) from error


def notes_in(path: Path, *, length: int | None = None) -> Iterator[str]:
    """Iterate over the notes in the first ``length`` bytes of a file, or in all of it.

    See ``CheckpointFolder.notes``; a note that somebody saved by itself may lack the empty line.
    """
    frame: list[str] = []
    read = 0
    try:
        with path.open("rb") as file:
            for line in file:
                read += len(line)
                if not line.endswith(b"\n") or (length is not None and read > length):
                    return
                if line == b"\n" and frame and frame[-1].startswith(_SIGNATURE):
                    yield "".join(frame)
                    frame.clear()
                    continue
                frame.append(line.decode())
                if len(frame) > MAX_FRAME_LINES:
                    raise _no_note(path)
    except UnicodeDecodeError as error:
        raise _no_note(path) from error
    except OSError as error:
        raise StateFolderError(f"{path} cannot be read: {error}.") from error
    if frame and frame[-1].startswith(_SIGNATURE):
        yield "".join(frame)


def _no_note(path: Path) -> TamperedRecordError:
    return TamperedRecordError(str(path), "it holds something that is no checkpoint")


def _whole_length(path: Path) -> int:
    """Return the bytes up to the last whole note: the rest was never acknowledged."""
    size = path.stat().st_size
    # What a crash cuts short is the last note, so in all but a damaged file its end is enough.
    for start in (max(0, size - END_BYTES), 0):
        length = 0
        with path.open("rb") as file:
            file.seek(start)
            signed = False
            for line in file:
                if line == b"\n" and signed:
                    length = file.tell()
                signed = line.startswith(_SIGNATURE.encode())
        if length:
            return length
    return 0


def _last_note(path: Path) -> str | None:
    """Return the last whole note of a file; None without one."""
    try:
        length = _whole_length(path)
        with path.open("rb") as file:
            file.seek(max(0, length - END_BYTES))
            end = file.read(length - file.tell())
    except OSError as error:
        raise StateFolderError(f"{path} cannot be read: {error}.") from error
    # A note holds two parts with an empty line between, and is followed by another one.
    parts = end.removesuffix(b"\n\n").split(b"\n\n")
    if length == 0 or len(parts) < NOTE_PARTS:
        return None
    return b"\n\n".join((*parts[-NOTE_PARTS:], b"")).decode().removesuffix("\n")
