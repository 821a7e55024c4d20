"""One word of a command line can be changed for whoever lists processes."""

import subprocess
import sys

PROGRAM = """
import sys
from pathlib import Path
from backstop.adapters.process_title import rename_word

rename_word(sys.argv[1], sys.argv[2])
sys.stdout.buffer.write(Path("/proc/self/cmdline").read_bytes())
"""


def words_after(before: str, after: str, *others: str) -> list[bytes]:
    command = [sys.executable, "-c", PROGRAM, before, after, *others]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    return done.stdout.rstrip(b"\0").split(b"\0")[3:]


def test_a_word_is_replaced_by_one_of_the_same_length() -> None:
    assert words_after("spare", "guard", "--line") == [b"guard", b"guard", b"--line"]


def test_a_word_of_another_length_leaves_everything_as_it_is() -> None:
    assert words_after("spare", "watchdog") == [b"spare", b"watchdog"]
