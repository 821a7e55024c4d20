"""The state file: whole, or named as what it is."""

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.adapters.state_files import ACCOUNT, START_US, a_beat, a_checkpoint

from backstop.adapters.disk import Disk
from backstop.adapters.state_file import (
    BACKUP,
    CURRENT,
    KEPT_ASIDE_MAX,
    OLDER,
    OLDER_AFTER_US,
    Generation,
    StateFiles,
)
from backstop.adapters.state_format import (
    HEARTBEAT_WIDTH,
    Checkpoint,
    Heartbeat,
    file_content,
    heartbeat_line,
)
from backstop.errors import StateFileError, StateFolderError


@pytest.fixture
def files(tmp_path: Path) -> Iterator[StateFiles]:
    with StateFiles(tmp_path) as files:
        yield files


def newest(files: StateFiles) -> Generation:
    return next(files.generations(ACCOUNT))


def fault_of(files: StateFiles) -> StateFileError:
    (found,) = files.generations(ACCOUNT)
    assert found.checkpoint is None
    assert found.fault is not None
    return found.fault


# -- written and read ----------------------------------------------------------------------------


def test_what_is_written_is_read_and_is_json_for_everybody(
    files: StateFiles, tmp_path: Path
) -> None:
    written = files.write(a_checkpoint(3), a_beat(3))
    found = newest(files)

    assert found.checkpoint == a_checkpoint(3)
    assert found.heartbeat == a_beat(3)
    content = (tmp_path / CURRENT).read_text()
    assert len(content) == written
    document = json.loads(content)
    assert document["state"]["book"] == {"positions": {"MES": 3}}
    assert document["heartbeat"]["steps"] == 3
    assert document["heartbeat_at"].startswith("2026-09-21T")
    assert stat.S_IMODE((tmp_path / CURRENT).stat().st_mode) == 0o600


def test_a_heartbeat_is_renewed_in_place_and_changes_nothing_else(
    files: StateFiles, tmp_path: Path
) -> None:
    files.write(a_checkpoint(3), a_beat(1))
    before = (tmp_path / CURRENT).read_bytes()
    number = (tmp_path / CURRENT).stat().st_ino
    huge = 2**63 - 1
    for beat in (a_beat(2), a_beat(2**55, boot_id="b" * 36, steps=huge), a_beat(4)):
        assert files.beat(beat)
        assert newest(files).heartbeat == beat
        assert newest(files).checkpoint == a_checkpoint(3)

    after = (tmp_path / CURRENT).read_bytes()
    assert (tmp_path / CURRENT).stat().st_ino == number
    assert len(after) == len(before)
    start = len(b'{"format":1,\n')
    assert after[:start] == before[:start]
    assert after[start + HEARTBEAT_WIDTH :] == before[start + HEARTBEAT_WIDTH :]
    json.loads(after)


def test_every_heartbeat_has_the_same_width() -> None:
    huge = 2**63 - 1
    largest = Heartbeat(
        utc_us=253_402_300_799_999_999,
        monotonic_ns=huge,
        boot_id="b" * 36,
        guarded_utc_us=huge,
        guarded_monotonic_ns=huge,
        journal_seq=huge,
        steps=huge,
        calls=(15,) * 13,  # two hundred in all are more than there can be
    )
    assert len(heartbeat_line(a_beat(0))) == len(heartbeat_line(largest)) == HEARTBEAT_WIDTH


def test_three_generations_are_kept_and_the_newest_comes_first(
    files: StateFiles, tmp_path: Path
) -> None:
    for seq in range(1, 6):
        files.write(a_checkpoint(seq), a_beat(seq))
    found = list(files.generations(ACCOUNT))

    assert [it.path.name for it in found] == [CURRENT, BACKUP, OLDER]
    assert [it.checkpoint and it.checkpoint.journal_seq for it in found] == [5, 4, 1]
    files.write(a_checkpoint(6, utc_us=START_US + OLDER_AFTER_US + 10), a_beat(6))
    assert [it.checkpoint and it.checkpoint.journal_seq for it in files.generations(ACCOUNT)] == [
        6,
        5,
        4,
    ]
    assert {path.name for path in tmp_path.iterdir()} == {CURRENT, BACKUP, OLDER}


def test_there_is_a_current_file_at_every_moment(tmp_path: Path) -> None:
    seen: list[bool] = []

    class WatchedDisk(Disk):
        def replace(self, old: Path, new: Path) -> None:
            seen.append((tmp_path / CURRENT).exists())
            super().replace(old, new)
            seen.append((tmp_path / CURRENT).exists())

    with StateFiles(tmp_path, disk=WatchedDisk()) as files:
        files.write(a_checkpoint(1), a_beat())
        seen.clear()
        for seq in (2, 3):
            files.write(a_checkpoint(seq), a_beat())

    assert seen
    assert all(seen)


def test_without_second_names_the_generations_are_the_same(tmp_path: Path) -> None:
    class PlainDisk(Disk):
        def name_too(self, path: Path, other: Path) -> bool:
            return super().name_too(path, other / "nowhere")

    with StateFiles(tmp_path, disk=PlainDisk()) as files:
        for seq in (1, 2, 3):
            files.write(a_checkpoint(seq), a_beat())
        found = list(files.generations(ACCOUNT))

    assert [it.checkpoint and it.checkpoint.journal_seq for it in found] == [3, 2, 1]


def test_an_older_copy_that_was_put_back_does_not_hide_the_newer_backup(
    files: StateFiles, tmp_path: Path
) -> None:
    files.write(a_checkpoint(1), a_beat(1))
    shutil.copy(tmp_path / CURRENT, tmp_path / "copy")
    files.write(a_checkpoint(2), a_beat(2))
    files.write(a_checkpoint(3), a_beat(3))
    files.close()
    shutil.copy(tmp_path / "copy", tmp_path / CURRENT)

    found = newest(files)
    assert (found.path.name, found.checkpoint and found.checkpoint.journal_seq) == (BACKUP, 2)


@pytest.mark.parametrize("removes", [Path.unlink, lambda path: path.rename(path.parent / "moved")])
def test_a_file_that_is_gone_is_not_beaten_into(
    files: StateFiles, tmp_path: Path, removes: Callable[[Path], object]
) -> None:
    files.write(a_checkpoint(1), a_beat(1))
    removes(tmp_path / CURRENT)

    assert not files.beat(a_beat(2))
    files.write(a_checkpoint(1), a_beat(2))
    assert files.beat(a_beat(3))
    assert newest(files).heartbeat == a_beat(3)


def test_before_the_first_checkpoint_there_is_nothing_to_renew(files: StateFiles) -> None:
    assert not files.beat(a_beat())
    assert list(files.generations(ACCOUNT)) == []


# -- what is not one of ours ---------------------------------------------------------------------

GOOD = file_content(a_checkpoint(3), a_beat(3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\0" * 4096, "nothing but NUL bytes"),
        (b"\0" * 20 + GOOD[20:], "begins with NUL bytes"),
        (GOOD[:-100], "its end is missing"),
        (GOOD[:-1], "its end is missing"),
        (GOOD[: HEARTBEAT_WIDTH + 30], "cut off before its checksum"),
        (GOOD[:-200] + b"\0" * 200, "its end is missing"),
        (GOOD.replace(b'"MES":3', b'"MES":4'), "its checksum does not fit"),
        (GOOD.replace(b'{"format":1,', b'{"format":2,'), "a newer Backstop; this one reads"),
        (GOOD.replace(b'{"format":1,', b'{"format":0,'), "an older Backstop; this one reads"),
        (b'{"positions": []}', "no state of Backstop"),
        (b"{" * 5000, "no state of Backstop"),
        (file_content(a_checkpoint(3, account_id=43), a_beat()), "the state of account 43, not 42"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_as_what_it_is(
    files: StateFiles, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / CURRENT).write_bytes(content)

    fault = fault_of(files)
    assert words in fault.finding
    assert str(tmp_path / CURRENT) in str(fault)
    assert (tmp_path / CURRENT).read_bytes() == content


def test_the_members_of_another_version_are_named(files: StateFiles, tmp_path: Path) -> None:
    class Later(Checkpoint, frozen=True, kw_only=True):
        journal_seq: str  # type: ignore[assignment] # of another version

    later = Later(**(msgspec.structs.asdict(a_checkpoint(3)) | {"journal_seq": "three"}))
    (tmp_path / CURRENT).write_bytes(file_content(later, a_beat()))

    assert "another version" in fault_of(files).finding
    assert "journal_seq" in fault_of(files).finding


def test_a_folder_in_place_of_the_file_is_no_crash(files: StateFiles, tmp_path: Path) -> None:
    (tmp_path / CURRENT).mkdir()

    assert "cannot be read" in fault_of(files).finding


def test_the_heartbeat_of_a_torn_file_still_tells_when_it_lived(
    files: StateFiles, tmp_path: Path
) -> None:
    (tmp_path / CURRENT).write_bytes(GOOD[:-100])
    (found,) = files.generations(ACCOUNT)

    assert found.heartbeat == a_beat(3)


def test_a_torn_heartbeat_spoils_no_checkpoint(files: StateFiles, tmp_path: Path) -> None:
    place = GOOD.index(b'"monotonic_ns":') + 16
    (tmp_path / CURRENT).write_bytes(GOOD[:place] + b"9" + GOOD[place + 1 :])
    found = newest(files)

    assert found.checkpoint == a_checkpoint(3)
    assert found.heartbeat is None


def test_no_changed_byte_is_believed(files: StateFiles, tmp_path: Path) -> None:
    """A byte of the heartbeat spoils the heartbeat at most, any other one the checkpoint."""
    start = len(b'{"format":1,\n')
    for place in range(len(GOOD)):
        changed = GOOD[:place] + bytes([GOOD[place] ^ 1]) + GOOD[place + 1 :]
        (tmp_path / CURRENT).write_bytes(changed)
        found = newest(files)

        in_heartbeat = start <= place < start + HEARTBEAT_WIDTH
        assert found.checkpoint == (a_checkpoint(3) if in_heartbeat else None), place
        assert found.heartbeat is None or found.heartbeat == a_beat(3)


def test_what_cannot_be_read_is_kept_aside_and_never_written_over(
    files: StateFiles, tmp_path: Path
) -> None:
    (tmp_path / CURRENT).write_bytes(b"precious")
    kept = files.set_aside(tmp_path / CURRENT)
    files.write(a_checkpoint(1), a_beat())

    assert kept.read_bytes() == b"precious"
    assert kept.suffix == ".bad"
    assert newest(files).checkpoint == a_checkpoint(1)


def test_only_a_few_are_kept_aside_and_the_newest_of_them(
    files: StateFiles, tmp_path: Path
) -> None:
    for number in range(KEPT_ASIDE_MAX + 3):
        (tmp_path / CURRENT).write_bytes(b"%d" % number)
        files.set_aside(tmp_path / CURRENT)

    kept = sorted(tmp_path.glob("*.bad"))
    assert [int(path.read_bytes()) for path in kept] == list(range(3, KEPT_ASIDE_MAX + 3))


def test_a_copy_that_a_person_laid_beside_it_is_in_nobodys_way(
    files: StateFiles, tmp_path: Path
) -> None:
    own = [tmp_path / f"trading_state-{name}.bad" for name in ("0-mine", "mine", "1", "x-000009")]
    for path in own:
        path.write_bytes(b"a person's")
    for number in range(KEPT_ASIDE_MAX + 1):
        (tmp_path / CURRENT).write_bytes(b"%d" % number)
        kept = files.set_aside(tmp_path / CURRENT)

    assert kept.name == f"trading_state-{KEPT_ASIDE_MAX + 1:06}.bad"
    assert [path.read_bytes() for path in own] == [b"a person's"] * len(own)
    assert len(list(tmp_path.glob("*.bad"))) == KEPT_ASIDE_MAX + len(own)


def test_the_oldest_goes_also_where_the_numbers_grow_longer(
    files: StateFiles, tmp_path: Path
) -> None:
    (tmp_path / "trading_state-999999.bad").write_bytes(b"old")
    for number in range(KEPT_ASIDE_MAX):
        (tmp_path / CURRENT).write_bytes(b"%d" % number)
        kept = files.set_aside(tmp_path / CURRENT)

    assert kept.name == f"trading_state-{999999 + KEPT_ASIDE_MAX}.bad"
    assert not (tmp_path / "trading_state-999999.bad").exists()


def test_a_disk_that_takes_nothing_leaves_the_generations_as_they_were(tmp_path: Path) -> None:
    class FullDisk(Disk):
        full = False

        def write(self, descriptor: int, data: bytes, *, offset: int) -> None:
            if self.full:
                super().write(descriptor, data[: len(data) // 2], offset=offset)
                raise OSError(28, "No space left on device")
            super().write(descriptor, data, offset=offset)

    disk = FullDisk()
    with StateFiles(tmp_path, disk=disk) as files:
        files.write(a_checkpoint(1), a_beat(1))
        disk.full = True
        for _ in range(3):
            with pytest.raises(StateFolderError, match="No space left"):
                files.write(a_checkpoint(2), a_beat(2))
        with pytest.raises(StateFolderError, match="No space left"):
            files.beat(a_beat(2))
        disk.full = False
        assert newest(files).checkpoint == a_checkpoint(1)
        files.write(a_checkpoint(3), a_beat(3))
        assert newest(files).checkpoint == a_checkpoint(3)
