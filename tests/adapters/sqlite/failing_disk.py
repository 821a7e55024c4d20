"""A disk that fails when a test says so: a file layer between SQLite and the real files.

SQLite itself reports the errors, so what is tested is what would happen. The layer also knows what
a power cut would leave: only what a successful sync waited for. When a sync fails, what it should
have written is gone for good, although it can still be read: so do Linux's file systems behave, and
so a later success proves nothing about it.

It is put into the SQLite library that Python's module uses, through its C interface. A Python whose
library cannot be reached from outside has none: ``REACHABLE`` is empty then, and tests that are
parametrised over it do not run.
"""

import _sqlite3
import ctypes
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

_OK = 0

_layers: list["_Layer"] = []  # SQLite holds their functions as long as a connection lives
_WAL_OR_DATABASE = 0x00080000 | 0x00000100  # SQLITE_OPEN_WAL, SQLITE_OPEN_MAIN_DB

_Open = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,  # the name, which SQLite keeps a pointer to
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_int),
)
_Write = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_Close = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Fault(IntEnum):
    """What the disk answers, as SQLite names it."""

    FULL = 13  # SQLITE_FULL: a write finds no room
    READ_ONLY = 10 | 3 << 8  # SQLITE_IOERR_WRITE, as after a remount
    SYNC = 10 | 4 << 8  # SQLITE_IOERR_FSYNC: EIO


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("path_max", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", _Open),
        ("others", ctypes.c_void_p * 15),
    )


class _Methods(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("close", _Close),
        ("read", ctypes.c_void_p),
        ("write", _Write),
        ("truncate", _Truncate),
        ("sync", _Sync),
        ("others", ctypes.c_void_p * 13),
    )


def _library() -> Any:
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    library.sqlite3_vfs_register.argtypes = (ctypes.POINTER(_Vfs), ctypes.c_int)
    return library


try:
    REACHABLE: tuple[Any, ...] = (_library(),)
except (AttributeError, OSError, TypeError):
    REACHABLE = ()


class Disk:
    """What is on the platter, and what fails.

    Attributes:
        fault: what happens to the next writes or syncs; None while all is well.
        struck: how often it happened: a test without its fault tells nothing.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.struck = 0
        self._platter: dict[Path, bytearray] = {}
        self._dirty: dict[Path, list[tuple[int, bytes]]] = {}
        self._open: Counter[Path] = Counter()

    def opened(self, path: Path) -> None:
        """Take what a file holds for durable when nobody has it open yet."""
        if not self._open[path]:
            self._platter[path] = bytearray(path.read_bytes())
        self._open[path] += 1

    def closed(self, path: Path) -> None:
        """Note that one connection less has the file open."""
        self._open[path] -= 1

    def written(self, path: Path, offset: int, data: bytes) -> int:
        """Keep a write until a sync; returns what SQLite is to be told."""
        if self.fault in {Fault.FULL, Fault.READ_ONLY}:
            return self._strike(self.fault)
        self._dirty.setdefault(path, []).append((offset, data))
        return _OK

    def truncated(self, path: Path, size: int) -> None:
        """Take a file for cut at once."""
        del self._platter[path][size:]

    def synced(self, path: Path) -> int:
        """Bring the writes to the platter, or lose them."""
        dirty = self._dirty.pop(path, [])
        if self.fault is Fault.SYNC:
            return self._strike(self.fault)
        platter = self._platter[path]
        for offset, data in dirty:
            platter.extend(bytes(max(0, offset + len(data) - len(platter))))
            platter[offset : offset + len(data)] = data
        return _OK

    def _strike(self, fault: Fault) -> int:
        self.struck += 1
        return int(fault)

    def after_a_power_cut(self, database: Path, folder: Path) -> Path:
        """Write what is left of ``database`` into ``folder``, and return it there."""
        folder.mkdir(parents=True)
        for path, content in self._platter.items():
            if path.parent == database.parent and path.exists():
                (folder / path.name).write_bytes(content)
        return folder / database.name


@contextmanager
def failing_disk(library: Any) -> Iterator[Disk]:
    """Put the layer under every connection that is opened inside the block."""
    disk = Disk()
    real = library.sqlite3_vfs_find(None)
    layer = _Layer(real, disk)
    _layers.append(layer)
    assert library.sqlite3_vfs_register(ctypes.byref(layer.vfs), 1) == _OK
    try:
        yield disk
    finally:
        library.sqlite3_vfs_register(real, 1)
        library.sqlite3_vfs_unregister(ctypes.byref(layer.vfs))


class _Layer:
    """The system's own file layer, with some of its functions led through ``Disk``."""

    def __init__(self, real: Any, disk: Disk) -> None:
        self.vfs = _Vfs.from_buffer_copy(real.contents)
        self.vfs.name = b"failing"
        self.vfs.open = _Open(self._open_file)
        self._real = real
        self._disk = disk
        self._paths: dict[int, Path] = {}  # by the address of SQLite's file object
        self._real_methods: dict[int, _Methods] = {}
        self._ours: dict[int, _Methods] = {}  # by the address of the real ones

    def _open_file(self, _vfs: int, name: int, file: int, flags: int, out: Any) -> int:
        code = int(self._real.contents.open(self._real, name, file, flags, out))
        if code == _OK and flags & _WAL_OR_DATABASE:
            path = self._paths[file] = Path(ctypes.string_at(name).decode())
            self._disk.opened(path)
            methods = ctypes.c_void_p.from_address(file)  # the first member of a file object
            assert methods.value is not None
            self._real_methods[file] = _Methods.from_address(methods.value)
            methods.value = ctypes.addressof(self._led_through(methods.value))
        return code

    def _led_through(self, address: int) -> _Methods:
        if address not in self._ours:
            real = _Methods.from_address(address)
            ours = self._ours[address] = _Methods.from_buffer_copy(real)
            ours.close = _Close(self._close)
            ours.write = _Write(self._write)
            ours.truncate = _Truncate(self._truncate)
            ours.sync = _Sync(self._sync)
        return self._ours[address]

    def _close(self, file: int) -> int:
        self._disk.closed(self._paths.pop(file))
        return int(self._real_methods.pop(file).close(file))

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        written = ctypes.string_at(data, size)
        code = self._disk.written(self._paths[file], offset, written)
        return code or int(self._real_methods[file].write(file, data, size, offset))

    def _truncate(self, file: int, size: int) -> int:
        self._disk.truncated(self._paths[file], size)
        return int(self._real_methods[file].truncate(file, size))

    def _sync(self, file: int, flags: int) -> int:
        return self._disk.synced(self._paths[file]) or int(
            self._real_methods[file].sync(file, flags)
        )
