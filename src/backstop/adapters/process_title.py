"""Changes one word of this process's command line, for whoever lists processes.

Linux shows the memory into which the kernel copied the words at the start; a word can be written
over by one of the same length. Elsewhere, and when anything is not as expected, nothing happens:
it is only for people.
"""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

_ARGUMENTS_START, _ARGUMENTS_END = 45, 46
"""Places in ``/proc/self/stat`` after the name of the program: fields 48 and 49 of proc(5)."""


def rename_word(before: str, after: str) -> None:
    """Put ``after`` in the place of the argument ``before``; both have the same length."""
    if sys.platform == "linux" and len(before) == len(after):
        with suppress(OSError, ValueError, IndexError):
            _write_over(before.encode(), after.encode())


def _write_over(before: bytes, after: bytes) -> None:
    # The name stands in brackets and may hold any character, so we look from its end on.
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_END])
    place = ctypes.string_at(start, end - start).find(b"\0" + before + b"\0")
    if place >= 0:
        ctypes.memmove(start + place + 1, after, len(after))
