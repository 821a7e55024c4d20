"""Work beside the event loop: in order, tried again after a pause, and ended without waiting."""

import threading

from backstop.adapters.machine import Machine, machine, running_on
from backstop.adapters.work_line import ThreadLine

PATIENCE_S = 10.0


def test_work_is_done_in_the_order_in_which_it_was_put() -> None:
    line, done = ThreadLine("a line"), []
    for number in range(100):
        line.put(lambda number=number: done.append(number))  # type: ignore[misc]
    line.stop(lambda: done.append(-1))
    assert line.join(PATIENCE_S)
    assert done == [*range(100), -1]


def test_what_comes_after_waits_until_the_work_before_it_succeeds() -> None:
    line, done = ThreadLine("a line"), []
    attempts = iter((0.001, 0.001, None))

    def tries() -> float | None:
        pause_s = next(attempts)
        done.append("tried" if pause_s else "done")
        return pause_s

    line.put(tries)
    line.put(lambda: done.append("next"))
    line.stop()
    assert line.join(PATIENCE_S)
    assert done == ["tried", "tried", "done", "next"]


async def test_a_stop_cuts_a_pause_short_and_the_end_can_be_waited_for() -> None:
    line, tried = ThreadLine("a line"), threading.Event()

    def tries() -> float | None:
        tried.set()
        return None if line.is_stopping else 1000.0

    line.put(tries)
    assert tried.wait(PATIENCE_S)
    line.stop()
    assert await line.ended(PATIENCE_S)


def test_another_computer_is_there_for_one_context_alone() -> None:
    here = machine()
    with running_on(another := Machine()):
        assert machine() is another
    assert machine() is here
