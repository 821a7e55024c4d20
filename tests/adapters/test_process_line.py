"""The line between two processes, on real sockets."""

import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from backstop.adapters.process_line import ROW_BYTES_MAX, ProcessLine
from backstop.domain.heartbeat import Beat, Begin, Holdings, Pulse, Stop

PULSE = Pulse(
    turns=1, steps=2, journal_seq=3, audit_age_ms=None, holdings=Holdings.OPEN, stall_ms_max=0
)


class Ends(NamedTuple):
    ours: ProcessLine
    theirs: ProcessLine


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = ProcessLine.pair()
    both = Ends(ours, ProcessLine(theirs))
    yield both
    both.ours.close()
    both.theirs.close()


def test_messages_arrive_in_their_order(ends: Ends) -> None:
    ours, theirs = ends
    ours.send(PULSE)
    ours.send(Beat(process_id=7, restarts=0))

    assert theirs.receive() == (PULSE, Beat(process_id=7, restarts=0))
    assert theirs.receive() == ()
    assert not theirs.ended


def test_the_end_of_the_other_process_is_heard_after_its_last_words(ends: Ends) -> None:
    ours, theirs = ends
    ours.send(PULSE)
    ours.close()

    assert theirs.receive() == (PULSE,)
    assert theirs.ended


def test_nothing_is_sent_into_a_line_that_has_ended(ends: Ends) -> None:
    ours, theirs = ends
    theirs.close()
    ours.send(PULSE)
    ours.send(PULSE)

    assert ours.ended


def test_a_message_in_pieces_is_put_together(ends: Ends) -> None:
    theirs = ends.theirs

    assert theirs.read(b'{"kind":"St') == ()
    assert theirs.read(b'op"}\n{"kind":"Begin","port":7}\n') == (Stop(), Begin(port=7))


def test_what_another_version_says_is_counted_and_passed_over(ends: Ends) -> None:
    theirs = ends.theirs

    assert theirs.read(b'{"kind":"Sing"}\nnoise\n{"kind":"Stop","loud":true}\n') == (Stop(),)
    assert theirs.unreadable == 2


def test_a_row_without_end_is_not_kept_for_ever(ends: Ends) -> None:
    theirs = ends.theirs
    theirs.read(b"x" * (ROW_BYTES_MAX + 1))

    assert theirs.ended


def test_a_reader_that_stands_still_holds_up_nobody_and_gets_whole_messages(
    ends: Ends,
) -> None:
    ours, theirs = ends
    for _ in range(20_000):
        ours.send(PULSE)
    first = theirs.receive()
    ours.send(PULSE)
    ours.send(PULSE)

    assert set(first) == {PULSE}
    assert set(theirs.receive()) == {PULSE}
    assert theirs.unreadable == 0


def test_a_child_speaks_over_the_end_that_it_inherits_and_does_not_pass_it_on() -> None:
    ours, theirs = ProcessLine.pair()
    program = (
        "import os, sys\n"
        "from backstop.adapters.process_line import ProcessLine\n"
        "from backstop.domain.heartbeat import Beat\n"
        "line = ProcessLine.inherited(int(sys.argv[1]))\n"
        "line.send(Beat(process_id=0, restarts=int(os.get_inheritable(line.fileno()))))\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        check=True,
        timeout=30,
    )
    theirs.close()

    assert ours.receive() == (Beat(process_id=0, restarts=0),)
    assert ours.ended
    ours.close()
