"""``trading_state.json``: the newest checkpoint of the state, with generations before it.

A new checkpoint is a new file: written, on disk, then given its name, then the name on disk. The
one before becomes ``trading_state.backup.json``, and one of some time ago stays as
``trading_state.older.json``. A file that cannot be read is never written over: it is kept aside.
One that knows more than the record is taken out of the generations, until the record has it.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from msgspec import Struct

from backstop.adapters.disk import REPLACES_OPEN_FILES, Disk
from backstop.adapters.kept_aside import kept_aside, next_kept_name
from backstop.adapters.state_format import (
    BEGINNING_BYTES,
    HEARTBEAT_OFFSET,
    Checkpoint,
    Heartbeat,
    checkpoint_in,
    file_content,
    heartbeat_in,
    heartbeat_line,
    stated_seq,
)
from backstop.errors import StateFileError, StateFolderError

CURRENT = "trading_state.json"
BACKUP = "trading_state.backup.json"
OLDER = "trading_state.older.json"
GENERATIONS = (CURRENT, BACKUP, OLDER)
TAKEN = "trading_state.taken.json"
"""No generation any more: a state that knows more than the record, on its way into it."""
_NEW = "trading_state.new"
_SPARE = "trading_state.spare"
_KEPT_STEM = "trading_state"

FILE_BYTES_MAX = 64 * 2**20
"""A thousand times the usual; what is larger is not read into memory."""

KEPT_ASIDE_MAX = 5
"""Unreadable files that are kept; the oldest goes when there are more."""

OLDER_AFTER_US = 600 * 1_000_000
"""The oldest generation is renewed this often: old enough to be from before a fault, new enough
for its journal tail to be short."""


class Generation(Struct, frozen=True, kw_only=True):
    """One file as it was found.

    Attributes:
        path: where it is.
        heartbeat: None where its line does not hold.
        checkpoint: None where the file cannot be used.
        fault: why it cannot.
        other_account: it is whole, and that of this account.
    """

    path: Path
    other_account: int | None = None
    heartbeat: Heartbeat | None = None
    checkpoint: Checkpoint | None = None
    fault: StateFileError | None = None


class StateFiles:
    """The checkpoints in one state folder; one writer, used by one thread at a time."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        """Name the folder; nothing is touched yet."""
        self.folder = folder
        self._disk = Disk() if disk is None else disk
        self._current = folder / CURRENT
        self._open: int | None = None
        self._identity: tuple[int, int] | None = None
        self._older_us: int | None = None  # when the oldest generation was made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading -----------------------------------------------------------------------------

    def generations(self, account_id: int) -> Iterator[Generation]:
        """Yield every generation there is, the newest first; each is read when it is asked for.

        Raises:
            StateFolderError: the folder cannot be looked into.
        """
        for path in self._newest_first():
            yield self._generation(path, account_id)

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        """Return every heartbeat that holds, also of files whose rest does not."""
        files = (*self._newest_first(), self.folder / TAKEN)
        beats = (heartbeat_in(_beginning(path)) for path in files)
        return tuple(beat for beat in beats if beat is not None)

    def _newest_first(self) -> list[Path]:
        """Return the files in the order in which they are to be tried.

        By the record that each says it is current to, so that an old copy which somebody put back
        does not hide a newer file; whether what it says is true shows when it is read. Those that
        say nothing come first: it takes no time to find out what is wrong with them.
        """
        there = [path for path in map(self.folder.joinpath, GENERATIONS) if self._exists(path)]
        return sorted(there, key=lambda path: stated_seq(_beginning(path)), reverse=True)

    def _exists(self, path: Path) -> bool:
        try:
            return path.is_symlink() or path.exists()
        except OSError as error:
            raise StateFolderError(
                f"{self.folder} cannot be looked into: {error}. Check that this user owns it."
            ) from error

    def _generation(self, path: Path, account_id: int) -> Generation:
        heartbeat = None
        try:
            content = _content(path)
            heartbeat = heartbeat_in(content)
            checkpoint = checkpoint_in(path, content)
        except StateFileError as fault:
            return Generation(path=path, heartbeat=heartbeat, fault=fault)
        owner = checkpoint.account_id
        if owner == account_id:
            return Generation(path=path, heartbeat=heartbeat, checkpoint=checkpoint)
        other = StateFileError(str(path), f"it is the state of account {owner}, not {account_id}")
        return Generation(path=path, fault=other, other_account=owner)

    def taken(self, account_id: int) -> Generation | None:
        """Return the state that was taken out of the generations by ``take_out``, if it is there.

        Raises:
            StateFolderError: the folder cannot be looked into.
        """
        path = self.folder / TAKEN
        return self._generation(path, account_id) if self._exists(path) else None

    # -- writing -----------------------------------------------------------------------------

    def take_out(self, path: Path) -> None:
        """Make a generation no longer one: the record does not lead to what it holds.

        Raises:
            StateFolderError: it cannot be renamed.
        """
        try:
            self._disk.replace(path, self.folder / TAKEN)
            self._disk.sync_folder(self.folder)
        except OSError as error:
            raise _cannot_write(path, error) from error

    def write(self, checkpoint: Checkpoint, heartbeat: Heartbeat) -> int:
        """Make ``checkpoint`` the newest generation; it is on disk when this returns.

        Returns the bytes written.

        Raises:
            StateFolderError: it could not be written; the generations before are as they were.
        """
        content = file_content(checkpoint, heartbeat)
        new = self.folder / _NEW
        try:
            descriptor = self._disk.create(new)
            try:
                self._disk.write(descriptor, content, offset=0)
                self._disk.sync(descriptor)
            except BaseException:
                self._disk.close(descriptor)
                raise
            self._turn_generations(checkpoint.utc_us)
            self._take_place(new, descriptor)
            self._disk.sync_folder(self.folder)
        except OSError as error:
            raise _cannot_write(self._current, error) from error
        return len(content)

    def _turn_generations(self, utc_us: int) -> None:
        """Make the current file the backup, and now and then the backup the older one."""
        self.close()
        backup, older = self.folder / BACKUP, self.folder / OLDER
        due = self._older_us is None or not 0 <= utc_us - self._older_us < OLDER_AFTER_US
        if due and backup.exists():
            self._disk.replace(backup, older)
            self._older_us = utc_us
        if self._current.exists():
            # By way of a second name, so that there is a current file at every moment.
            spare = self.folder / _SPARE
            spare.unlink(missing_ok=True)
            named = self._disk.name_too(self._current, spare)
            self._disk.replace(spare if named else self._current, backup)

    def _take_place(self, new: Path, descriptor: int) -> None:
        if not REPLACES_OPEN_FILES:
            self._disk.close(descriptor)
        self._disk.replace(new, self._current)
        self._open = descriptor if REPLACES_OPEN_FILES else self._disk.reopen(self._current)
        self._identity = _identity(self._current)

    def beat(self, heartbeat: Heartbeat) -> bool:
        """Renew the heartbeat in place; not worth an fsync, for an old one only looks longer dead.

        Returns False when our file is not there any more: then a whole checkpoint is due.

        Raises:
            StateFolderError: it could not be written.
        """
        if self._open is None or _identity(self._current) != self._identity:
            return False
        try:
            self._disk.write(self._open, heartbeat_line(heartbeat), offset=HEARTBEAT_OFFSET)
        except OSError as error:
            raise _cannot_write(self._current, error) from error
        return True

    def unusable(self, account_id: int) -> list[StateFileError]:
        """Return what is wrong with the files there are; to be kept aside before the first write.

        Raises:
            StateFolderError: the folder cannot be looked into.
        """
        faults = [it.fault for it in self.generations(account_id) if it.fault is not None]
        taken = self.folder / TAKEN
        if self._exists(taken):
            faults.append(StateFileError(str(taken), "what it knew is in the record now"))
        return faults

    def set_aside(self, path: Path) -> Path:
        """Keep a file that cannot be used under another name, and return that.

        Raises:
            StateFolderError: it cannot be renamed; nothing is written over it.
        """
        try:
            kept = kept_aside(self.folder, _KEPT_STEM)
            target = next_kept_name(self.folder, _KEPT_STEM)
            for oldest in kept[: max(0, len(kept) - KEPT_ASIDE_MAX + 1)]:
                oldest.unlink()
            self._disk.replace(path, target)
            self._disk.sync_folder(self.folder)
        except OSError as error:
            raise StateFolderError(
                f"{path} cannot be used and cannot be moved aside: {error}. Nothing was changed. "
                f"Check that this user can write {self.folder}."
            ) from error
        return target

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            descriptor, self._open = self._open, None
            with suppress(OSError):
                self._disk.close(descriptor)


def _beginning(path: Path) -> bytes:
    """Return what comes before the state itself; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(BEGINNING_BYTES)
    except OSError:
        return b""


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise StateFileError(str(path), f"it is larger than {FILE_BYTES_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise StateFileError(str(path), f"it cannot be read: {error}") from error


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells one file from another of the same name; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _cannot_write(path: Path, error: OSError) -> StateFolderError:
    return StateFolderError(
        f"{path} cannot be written: {error}. Check that this user can write there and that the "
        "disk has room."
    )
