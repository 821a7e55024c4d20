"""Whoever writes goes on, whatever becomes of the output."""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from backstop.adapters.unblocked_output import (
    WAITING_BYTES_MAX,
    UnblockedOutput,
    unblock_output,
)

LINE = "x" * 1023 + "\n"
LINES = 2 * WAITING_BYTES_MAX // len(LINE)
"""Twice what is kept in memory: some of it has to be left out."""

PATIENCE_S = 20


class Pipe:
    """A pipe whose other end is the test's."""

    def __init__(self) -> None:
        self.read_end, write_end = os.pipe()
        self.stream = os.fdopen(write_end, "w")
        self.output = UnblockedOutput(self.stream)

    def stop_reading(self) -> None:
        with suppress(OSError):
            os.close(self.read_end)

    def read_until(self, wanted: str) -> str:
        """Read until ``wanted`` has come."""
        text = ""
        while wanted not in text:
            data = os.read(self.read_end, 65_536)
            assert data, f"it ended without {wanted}: {text[-200:]}"
            text += data.decode()
        return text


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    it = Pipe()
    yield it
    it.stop_reading()  # whatever is stuck in the thread fails, and is over
    it.output.drain(PATIENCE_S)
    it.stream.close()


def test_what_is_written_comes_out_in_its_order(pipe: Pipe) -> None:
    for number in range(100):
        pipe.output.write(f"line {number}\n")

    assert pipe.read_until("line 99\n") == "".join(f"line {it}\n" for it in range(100))
    assert pipe.output.drain(PATIENCE_S)


def test_an_output_that_nobody_reads_holds_up_nobody_and_says_what_is_missing(pipe: Pipe) -> None:
    for _ in range(LINES):
        pipe.output.write(LINE)
    assert not pipe.output.drain(0), "it is stuck"

    text, kept, lost = "", 0, 0
    while kept + lost < LINES:  # the reader is back: each line comes, or is among those that lack
        text += pipe.read_until("\n")
        kept = text.count(LINE)
        lost = sum(map(int, re.findall(r'"output_lost","lines":(\d+)}\n', text)))

    assert kept + lost == LINES
    assert 0 < lost < LINES


def test_a_reader_that_has_gone_is_no_error_of_the_writer(pipe: Pipe) -> None:
    pipe.stop_reading()
    for _ in range(10):
        pipe.output.write("nobody hears this\n")

    assert pipe.output.drain(PATIENCE_S)


@pytest.mark.parametrize("full", [it for it in (Path("/dev/full"),) if it.exists()])
def test_a_disk_that_is_full_is_no_error_of_the_writer(full: Path) -> None:
    with full.open("w", encoding="utf-8", buffering=1) as stream:
        output = UnblockedOutput(stream)
        output.write("there is no room for this\n")

        assert output.drain(PATIENCE_S)


def test_an_output_that_does_not_wait_by_itself_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.stream.fileno(), False)
    for number in range(200):
        pipe.output.write(LINE)
        pipe.output.write(f"after {number}\n")

    text = pipe.read_until("after 199\n")

    assert text.count(LINE) == 200


def test_it_stands_for_the_stream_that_it_replaces(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", pipe.stream)
    unblock_output("stderr")

    assert isinstance(sys.stderr, UnblockedOutput)
    assert (sys.stderr.fileno(), sys.stderr.isatty()) == (pipe.stream.fileno(), False)
    sys.stderr.write("a word\n")
    assert pipe.read_until("a word\n") == "a word\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_what_is_no_file_stays_as_it_is(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    unblock_output("stdout")

    assert sys.stdout is stream
