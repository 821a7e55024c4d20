"""How the disk of a state folder is measured, on real files."""

import os
from pathlib import Path

from backstop.adapters.clock import SystemClock
from backstop.adapters.disk_probe import LIMIT_NS, WRITES, look_at_disk


class WaitingClock(SystemClock):
    """A clock whose time passes when a disk takes its time."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


def test_writes_are_waited_for_and_nothing_is_left(tmp_path: Path) -> None:
    look = look_at_disk(tmp_path, clock=SystemClock())

    assert (look.fault, look.writes) == ("", WRITES)
    assert 0 < look.typical_us <= look.slowest_us
    assert look.free_bytes is not None
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_is_slow_by_its_own_figures(tmp_path: Path) -> None:
    clock, waits_ms = WaitingClock(), iter([200] * (WRITES - 1) + [900])

    def sync(descriptor: int) -> None:
        os.fsync(descriptor)
        clock.ahead_ns += next(waits_ms) * 1_000_000

    look = look_at_disk(tmp_path, clock=clock, sync=sync)

    assert 200_000 <= look.typical_us < 300_000
    assert look.writes < WRITES  # it is not waited for longer than it takes to know
    assert look.writes * 200_000_000 >= LIMIT_NS


def test_a_folder_that_is_not_there_yet_is_measured_where_it_will_be(tmp_path: Path) -> None:
    look = look_at_disk(tmp_path / "to" / "come", clock=SystemClock())

    assert (look.fault, look.writes) == ("", WRITES)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    look = look_at_disk(tmp_path / "state", clock=SystemClock())

    assert look.writes == 0
    assert "is a file" in look.fault


def test_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    look = look_at_disk(tmp_path / "state", clock=SystemClock())

    assert "chmod o-w" in look.fault


def test_a_disk_that_fails_is_a_finding(tmp_path: Path) -> None:
    def sync(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    look = look_at_disk(tmp_path, clock=SystemClock(), sync=sync)

    assert look.fault == f"{tmp_path} cannot be written to: Input/output error"
