"""A power cut at any moment, and every folder that it may leave: the last state is in each."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.adapters.power_loss import RecordingDisk, laid_out
from tests.adapters.state_files import ACCOUNT, a_beat, a_checkpoint

from backstop.adapters.state_file import StateFiles


class CutDisk(RecordingDisk):
    """Stands still before call number ``calls_left``: what is not durable by then may be lost."""

    calls_left = -1

    def _count(self) -> None:
        if self.calls_left == 0:
            raise PowerCutError
        self.calls_left -= 1

    def create(self, path: Path) -> int:
        self._count()
        return super().create(path)

    def write(self, descriptor: int, data: bytes, *, offset: int) -> None:
        self._count()
        super().write(descriptor, data, offset=offset)

    def sync(self, descriptor: int) -> None:
        self._count()
        super().sync(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        self._count()
        super().replace(old, new)

    def name_too(self, path: Path, other: Path) -> bool:
        self._count()
        return super().name_too(path, other)

    def sync_folder(self, folder: Path) -> None:
        self._count()
        super().sync_folder(folder)


class PowerCutError(Exception):
    pass


Folders = Iterator[dict[str, bytes]]


def states_after_power_cuts(
    folder: Path, disks: Callable[[], CutDisk]
) -> Iterator[tuple[int, Folders]]:
    """Yield, for a cut before each call, what was durable and every folder that may be left."""
    for calls in itertools.count():
        disk = disks()
        disk.calls_left = calls
        place = folder / f"cut-{calls}"
        place.mkdir()
        durable = 0
        try:
            with StateFiles(place, disk=disk) as files:
                for seq in range(1, 5):
                    files.write(a_checkpoint(seq), a_beat(seq))
                    durable = seq
                    files.beat(a_beat(seq + 100))
        except PowerCutError:
            yield durable, disk.folders()
        else:
            yield durable, disk.folders()
            return


def found_after_power_cuts(folder: Path, disks: Callable[[], CutDisk]) -> Iterator[tuple[int, int]]:
    """Yield what was acknowledged, and the checkpoint that a start then finds; 0: none."""
    numbers = itertools.count()
    for durable, folders in states_after_power_cuts(folder, disks):
        for left in folders:
            place = laid_out(left, folder / f"left-{next(numbers)}")
            usable = [
                it.checkpoint.journal_seq
                for it in StateFiles(place).generations(ACCOUNT)
                if it.checkpoint is not None
            ]
            shutil.rmtree(place)
            yield durable, max(usable, default=0)


def test_after_any_power_cut_the_last_acknowledged_checkpoint_is_there(tmp_path: Path) -> None:
    cuts = list(found_after_power_cuts(tmp_path, CutDisk))

    assert len(cuts) > 100
    for durable, found in cuts:
        assert found in {durable, durable + 1}


class LazyFileDisk(CutDisk):
    """A bug: the data is never forced to the disk."""

    def sync(self, descriptor: int) -> None:  # noqa: ARG002 - that is the bug
        self._count()


class LazyFolderDisk(CutDisk):
    """A bug: the names are never forced to the disk."""

    def sync_folder(self, folder: Path) -> None:  # noqa: ARG002 - that is the bug
        self._count()


@pytest.mark.parametrize("bug", [LazyFileDisk, LazyFolderDisk])
def test_the_power_cuts_find_a_missing_sync(tmp_path: Path, bug: type[CutDisk]) -> None:
    cuts = found_after_power_cuts(tmp_path, bug)

    assert any(found not in {durable, durable + 1} for durable, found in cuts)
