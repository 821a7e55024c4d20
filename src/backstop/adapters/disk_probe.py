"""How fast is the disk of the state folder? Small writes, each waited for as the record does."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median_low

from backstop.adapters.disk import Disk
from backstop.adapters.state_folder import check_state_folder
from backstop.domain.set_up import DiskLook
from backstop.errors import StateFolderError
from backstop.ports import Clock

WRITES = 20
"""Enough for a middle and an outlier; a disk that is well takes a tenth of a second for them."""

WRITE_BYTES = 4096
"""A page, about what one decision writes."""

LIMIT_NS = 3_000_000_000
"""No further write is begun after this: what a disk is like that slow is known by then."""


def look_at_disk(
    folder: Path, *, clock: Clock, sync: Callable[[int], None] | None = None
) -> DiskLook:
    """Measure the disk that ``folder`` is on, or would be; nothing is left there.

    Args:
        folder: the state folder; where it does not exist yet, its nearest parent is written to.
        clock: for the durations.
        sync: returns when a file is on the disk; the system's own call if None.
    """
    sync = sync or Disk().sync
    there = next(it for it in (folder, *folder.absolute().parents) if it.exists())
    try:
        check_state_folder(folder)
        # Nameless where the system can do that: a crash leaves nothing behind.
        with tempfile.TemporaryFile(dir=there, prefix=".backstop-") as file:
            waits_us = _waits_us(file.fileno(), clock=clock, sync=sync)
        free = shutil.disk_usage(there).free
    except StateFolderError as error:
        return DiskLook(folder=str(folder), fault=str(error).rstrip("."))
    except OSError as error:
        why = error.strerror or str(error)
        return DiskLook(folder=str(folder), fault=f"{there} cannot be written to: {why}")
    return DiskLook(
        folder=str(folder),
        writes=len(waits_us),
        typical_us=median_low(waits_us),
        slowest_us=max(waits_us),
        free_bytes=free,
    )


def _waits_us(descriptor: int, *, clock: Clock, sync: Callable[[int], None]) -> list[int]:
    began_ns = clock.monotonic_ns()
    waits_us: list[int] = []
    while len(waits_us) < WRITES and clock.monotonic_ns() < began_ns + LIMIT_NS:
        before_ns = clock.monotonic_ns()
        os.write(descriptor, bytes(WRITE_BYTES))
        sync(descriptor)
        waits_us.append((clock.monotonic_ns() - before_ns) // 1_000)
    return waits_us
