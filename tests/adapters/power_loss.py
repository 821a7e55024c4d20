"""A disk that remembers every call, and builds each folder that a power cut could leave behind.

The files are real; what is not synced is dropped, kept or torn at will. What the model allows:

- A name in the folder is durable only after ``sync_folder``. Of the renames since then any subset
  may have reached the disk, each whole.
- Bytes are durable only after ``sync`` of their file. Of the writes since then each may have
  reached the disk whole, in part (up to any sector, or with zeros where data never came), or not
  at all; a file whose length was written and whose data was not reads as NUL bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from backstop.adapters.disk import Disk

SECTOR = 512


@dataclass
class _File:
    """One file, whatever its names: what is surely on disk, and the writes that may be."""

    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def outcomes(self) -> Iterator[bytes]:
        """Yield what the file may hold after a power cut."""
        yield from dict.fromkeys(self._outcomes())

    def _outcomes(self) -> Iterator[bytes]:
        yield self.durable
        whole = self.durable
        for offset, data in self.pending:
            in_place = offset + len(data) <= len(whole)
            cuts = {len(data) // 2} if in_place else {0, 1, SECTOR, len(data) // 2, len(data) - 1}
            for cut in sorted(cuts):
                if cut <= len(data):
                    torn = _written(whole, offset, data[:cut])
                    yield torn
                    # The length came, the data did not.
                    yield torn + b"\0" * (offset + len(data) - len(torn))
            whole = _written(whole, offset, data)
        yield whole


@dataclass
class RecordingDisk(Disk):
    """Does everything in real files, and keeps a book of what is durable: no sync is waited for."""

    files: list[_File] = field(default_factory=list)
    durable_names: dict[Path, int] = field(default_factory=dict)
    renames: list[tuple[Path | None, Path, int]] = field(default_factory=list)
    open_files: dict[int, int] = field(default_factory=dict)
    names: dict[Path, int] = field(default_factory=dict)

    def adopt(self, path: Path) -> None:
        """Count a file that is there already as durable."""
        self.files.append(_File(durable=path.read_bytes()))
        self.durable_names[path] = self.names[path] = len(self.files) - 1

    # -- the calls -----------------------------------------------------------------------------

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self.files.append(_File())
        number = len(self.files) - 1
        self.open_files[descriptor] = self.names[path] = number
        self.renames.append((None, path, number))
        return descriptor

    def reopen(self, path: Path) -> int:
        descriptor = super().reopen(path)
        self.open_files[descriptor] = self.names[path]
        return descriptor

    def write(self, descriptor: int, data: bytes, *, offset: int) -> None:
        super().write(descriptor, data, offset=offset)
        pending = self.files[self.open_files[descriptor]].pending
        same_place = [it for it in pending if (it[0], len(it[1])) == (offset, len(data))]
        if len(same_place) > 1:
            # Of many writes to one place the oldest and the newest stand for all of them.
            pending.remove(same_place[-1])
        pending.append((offset, bytes(data)))

    def sync(self, descriptor: int) -> None:
        file = self.files[self.open_files[descriptor]]
        for offset, data in file.pending:
            file.durable = _written(file.durable, offset, data)
        file.pending.clear()

    def close(self, descriptor: int) -> None:
        super().close(descriptor)
        self.open_files.pop(descriptor, None)

    def replace(self, old: Path, new: Path) -> None:
        super().replace(old, new)
        number = self.names.pop(old)
        self.names[new] = number
        self.renames.append((old, new, number))

    def name_too(self, path: Path, other: Path) -> bool:
        assert super().name_too(path, other)
        self.names[other] = self.names[path]
        self.renames.append((None, other, self.names[path]))
        return True

    def sync_folder(self, folder: Path) -> None:  # noqa: ARG002 - there is one
        self.durable_names = dict(self.names)
        self.renames.clear()

    # -- what a power cut leaves ---------------------------------------------------------------

    def contents(self) -> Iterator[bytes]:
        """Yield whatever any of the files that have a name may hold after a power cut now."""
        for number in {**self.durable_names, **self.names}.values():
            yield from self.files[number].outcomes()

    def folders(self) -> Iterator[dict[str, bytes]]:
        """Yield every folder that may be there after a power cut now: contents by name."""
        seen = set()
        for kept in product((False, True), repeat=len(self.renames)):
            names = dict(self.durable_names)
            for (old, new, number), reached in zip(self.renames, kept, strict=True):
                if reached:
                    if old is not None and names.get(old) == number:
                        del names[old]
                    names[new] = number
            files = [self.files[number] for number in names.values()]
            for contents in product(*(file.outcomes() for file in files)):
                folder = {path.name: content for path, content in zip(names, contents, strict=True)}
                key = tuple(sorted(folder.items()))
                if key not in seen:
                    seen.add(key)
                    yield folder


def laid_out(folder: dict[str, bytes], to: Path) -> Path:
    """Write ``folder`` out as real files in ``to``."""
    to.mkdir(parents=True)
    for name, content in folder.items():
        (to / name).write_bytes(content)
    return to


def _written(content: bytes, offset: int, data: bytes) -> bytes:
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]
