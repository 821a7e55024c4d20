"""A disk that can be full, slow and broken, and that forgets what was not synced.

Names are durable after ``sync_folder``, bytes after ``sync``. A power cut keeps any of the renames
since, each whole, and of an unsynced file nothing, all, or a torn beginning.
"""

import errno
import os
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from backstop.adapters.disk import Disk

SYNC_S: Final = (0.001, 0.008)
"""Shortest and longest wait for a healthy disk."""


AFTER_TROUBLE_S: Final = 15.0
"""After it: what was not recorded before it left is written now."""

_ABOUT: Final = re.compile(
    rb'"kind":"(PlaceOrder|CancelOrder|ModifyOrder|ClosePosition)".*?'
    rb'"(custom_tag|broker_order_id|contract_id)":"?([^",}]+)'
)
_KINDS: Final = {
    b"PlaceOrder": "place",
    b"CancelOrder": "cancel",
    b"ModifyOrder": "modify",
    b"ClosePosition": "close",
}


@dataclass
class _File:
    """One file: what is on the disk, and the writes since, oldest first, by their offset."""

    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def size(self) -> int:
        """Return its length as the system has it."""
        return max((offset + len(data) for offset, data in self.pending), default=0)


@dataclass(frozen=True)
class _Command:
    """When a command was decided, and when its record was on the disk; on the loop's clock."""

    decided_s: float
    recorded_s: float


class SimulatedDisk(Disk):
    """Files of a machine, with the faults that the storm sets.

    Attributes:
        is_full: no write succeeds.
        fails_sync: syncs and commits fail.
        slow_s: added to every wait.
        on_order: hears, once, that the request for an order is on the disk.
    """

    def __init__(self, chance: Random, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self.is_full = False
        self.fails_sync = False
        self.slow_s = 0.0
        self.on_order: Callable[[], None] | None = None
        self._chance = chance
        self._names: dict[Path, _File] = {}
        self._durable_names: dict[Path, _File] = {}
        self._open: dict[int, _File] = {}
        self._commands: dict[str, _Command] = {}  # by what committed ones are about; the first
        self._calm_after_s = 0.0

    # -- what is on the disk ---------------------------------------------------------------------

    def committed(self, payload: bytes, *, decided_s: float) -> None:
        """Take note of a command whose record is on the disk; ``decided_s``: the loop's time."""
        found = _ABOUT.search(payload)
        if found is not None:
            about = f"{_KINDS[found[1]]} {found[3].decode()}"
            self._commands.setdefault(about, _Command(decided_s, recorded_s=self.now_s()))
            if found[1] == b"PlaceOrder" and self.on_order is not None:
                on_order, self.on_order = self.on_order, None
                on_order()

    def is_durable(self, kind: str, about: str) -> bool:
        """Say whether a command about an order or a contract was ever committed."""
        return f"{kind} {about}" in self._commands

    def decided_s(self, kind: str, about: str) -> float | None:
        """Return when a committed command was first decided, on the loop's clock; None: never."""
        command = self._commands.get(f"{kind} {about}")
        return None if command is None else command.decided_s

    def recorded_s(self, kind: str, about: str) -> float | None:
        """Return when a command was first committed, on the loop's clock; None: it never was."""
        command = self._commands.get(f"{kind} {about}")
        return None if command is None else command.recorded_s

    def was_troubled(self) -> bool:
        """Say whether the disk took nothing, or not at once, a moment ago."""
        troubled = self.is_full or self.fails_sync or self.slow_s > 0
        return troubled or self.now_s() < self._calm_after_s

    def recover(self) -> None:
        """Take everything again; what was kept back needs a while."""
        self.is_full = self.fails_sync = False
        self.slow_s = 0.0
        self._calm_after_s = self.now_s() + AFTER_TROUBLE_S

    def delay_s(self) -> float:
        """Draw how long one piece of work takes."""
        return self._chance.uniform(*SYNC_S) + self.slow_s

    def coin(self) -> bool:
        """Draw a yes or a no."""
        return self._chance.random() < 0.5  # noqa: PLR2004 - a coin

    def check_write(self) -> None:
        """Refuse a transaction on a full disk."""
        if self.is_full:
            raise sqlite3.OperationalError("database or disk is full")

    def loses_commit(self) -> bool:
        """Say whether a commit ends with an error now; whether it arrived is another matter."""
        return self.fails_sync

    # -- the calls of a disk -------------------------------------------------------------------

    def create(self, path: Path) -> int:
        """Make an empty file."""
        self._refuse_if_full(path)
        descriptor = super().create(path)
        self._open[descriptor] = self._names[path] = _File()
        return descriptor

    def reopen(self, path: Path) -> int:
        """Open an existing file."""
        descriptor = super().reopen(path)
        self._open[descriptor] = self._names.setdefault(path, _File())
        return descriptor

    def write(self, descriptor: int, data: bytes, *, offset: int) -> None:
        """Write, for now into the system's memory only."""
        file = self._open[descriptor]
        if self.is_full and offset + len(data) > max(len(file.durable), file.size()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, data, offset=offset)
        same_place = [it for it in file.pending if (it[0], len(it[1])) == (offset, len(data))]
        if len(same_place) > 1:
            # Of many writes to one place the oldest and the newest stand for all of them.
            file.pending.remove(same_place[-1])
        file.pending.append((offset, bytes(data)))

    def sync(self, descriptor: int) -> None:
        """Put the file's bytes on the disk."""
        if self.fails_sync:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        file = self._open[descriptor]
        for offset, data in file.pending:
            file.durable = _written(file.durable, offset, data)
        file.pending.clear()

    def close(self, descriptor: int) -> None:
        """Close a file."""
        super().close(descriptor)
        self._open.pop(descriptor, None)

    def replace(self, old: Path, new: Path) -> None:
        """Rename, for now in the system's memory only."""
        super().replace(old, new)
        file = self._names.pop(old, None)
        if file is not None:
            self._names[new] = file

    def name_too(self, path: Path, other: Path) -> bool:
        """Give a file a second name."""
        if not super().name_too(path, other):
            return False
        if path in self._names:
            self._names[other] = self._names[path]
        return True

    def sync_folder(self, folder: Path) -> None:  # noqa: ARG002 - there is one
        """Put the names on the disk."""
        if self.fails_sync:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._durable_names = dict(self._names)

    def _refuse_if_full(self, path: Path) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    # -- a power cut ---------------------------------------------------------------------------

    def lose_what_is_not_synced(self) -> None:
        """Lay the folder out as a power cut leaves it."""
        names = dict(self._names if self.coin() else self._durable_names)
        for path in [*self._names, *self._durable_names]:
            if path not in names:
                path.unlink(missing_ok=True)
        for path, file in names.items():
            for offset, data in file.pending:
                if self.coin():
                    cut = self._chance.choice((len(data), self._chance.randint(0, len(data))))
                    file.durable = _written(file.durable, offset, data[:cut])
                    if self.coin():  # the length came, the data did not
                        file.durable = file.durable.ljust(offset + len(data), b"\0")
            file.pending.clear()
            path.write_bytes(file.durable)
        self._names, self._durable_names = dict(names), dict(names)
        self._open.clear()


def _written(content: bytes, offset: int, data: bytes) -> bytes:
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]
