"""The archive of past orders: found by any key, there after a kill, never another record's."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from backstop.adapters.sqlite.past_archive import (
    KEPT_ASIDE_MAX,
    KEYS_AT_ONCE,
    LOG_PAGES,
    PAST_DATABASE,
    PastArchive,
    PastRow,
)
from backstop.adapters.sqlite.write_ahead_log import LOG_SUFFIX, PAGE_BYTES
from backstop.errors import DamagedDatabaseError, StateFolderError

RECORD = "ab" * 32


def a_row(number: int, *, state: str = "FILLED", value: bytes = b"{}") -> PastRow:
    return PastRow(name=f"c{number}", keys=(f"c{number}", f"o{number}"), state=state, value=value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / PAST_DATABASE


def test_an_entry_is_found_by_each_of_its_keys(path: Path) -> None:
    archive = PastArchive.anew(path, record=RECORD)
    archive.add([a_row(1, value=b"one"), a_row(2, value=b"two")], seq=7)

    assert archive.find(("o1", "c2", "x9")) == {"o1": b"one", "c2": b"two"}
    assert archive.seq == 7
    archive.close()


def test_an_entry_that_left_again_replaces_what_was_there(path: Path) -> None:
    archive = PastArchive.anew(path, record=RECORD)
    archive.add([a_row(1, value=b"before")], seq=7)
    archive.add([a_row(2)], seq=8)
    archive.add([a_row(1, state="CANCELLED", value=b"after")], seq=5)

    assert archive.find(("c1",)) == {"c1": b"after"}
    assert archive.count() == 2
    assert archive.count(state="CANCELLED") == 1
    assert archive.seq == 8
    archive.close()


def test_many_keys_are_asked_for_at_once(path: Path) -> None:
    archive = PastArchive.anew(path, record=RECORD)
    many = KEYS_AT_ONCE + 10
    archive.add((a_row(number) for number in range(many)), seq=1)

    assert len(archive.find([f"c{number}" for number in range(many)])) == many
    archive.close()


def test_a_start_after_a_crash_has_no_long_log_to_read(path: Path) -> None:
    """However much left at once: what is in the log is read whole, also what is copied already."""
    log = path.with_name(path.name + LOG_SUFFIX)
    archive = PastArchive.anew(path, record=RECORD)
    archive.add((a_row(number, value=bytes(2 * PAGE_BYTES)) for number in range(LOG_PAGES)), seq=1)
    long = log.stat().st_size
    archive.add([a_row(LOG_PAGES)], seq=2)

    assert long < LOG_PAGES * PAGE_BYTES
    assert log.stat().st_size < LOG_PAGES * PAGE_BYTES
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM Past").fetchone() == (LOG_PAGES + 1,)
    archive.close()


def test_a_log_that_somebody_reads_is_cut_another_time(path: Path) -> None:
    archive = PastArchive.anew(path, record=RECORD)
    archive.add([a_row(0)], seq=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM Past").fetchone()
        archive._writer.execute("PRAGMA busy_timeout = 10")
        rows = [a_row(number, value=bytes(2 * PAGE_BYTES)) for number in range(1, LOG_PAGES)]
        archive.add(rows, seq=2)

        assert archive.seq == 2
        assert other.execute("SELECT count(*) FROM Past").fetchone() == (1,)
    assert len(archive.find([f"c{number}" for number in range(LOG_PAGES)])) == LOG_PAGES
    archive.close()


def test_listed_entries_come_newest_first(path: Path) -> None:
    archive = PastArchive.anew(path, record=RECORD)
    rows = [a_row(number, value=b"%d" % number) for number in range(5)]
    rows[3] = a_row(3, state="")
    archive.add(rows, seq=1)

    assert archive.newest(limit=2) == [b"4", b"2"]
    assert archive.newest(limit=2, skip=2) == [b"1", b"0"]
    assert archive.newest(limit=9, state="CANCELLED") == []
    assert archive.count() == 4
    archive.close()


def test_what_was_added_is_there_for_another_process(path: Path) -> None:
    archive = PastArchive.anew(path, record=RECORD)
    archive.add([a_row(1, value=b"one")], seq=3)
    other = PastArchive.open(path, record=RECORD)

    assert other is not None
    assert other.find(("c1",)) == {"c1": b"one"}
    assert other.seq == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other.close()
    archive.close()


def test_rows_that_cannot_be_written_are_not_there_in_part(path: Path) -> None:
    archive = PastArchive.anew(path, record=RECORD)
    with pytest.raises(StateFolderError, match=r"past_orders\.db"):
        archive.add([a_row(1), a_row(2, value=None)], seq=3)  # type: ignore[arg-type]

    assert archive.find(("c1",)) == {}
    assert archive.seq == 0
    archive.close()


def test_the_archive_of_another_record_is_not_opened_and_is_kept_aside(path: Path) -> None:
    archive = PastArchive.anew(path, record="cd" * 32)
    archive.add([a_row(1)], seq=3)
    archive.close()

    with pytest.raises(StateFolderError, match="not the archive of this record"):
        PastArchive.open(path, record=RECORD)
    new = PastArchive.anew(path, record=RECORD)
    assert new.find(("c1",)) == {}
    new.close()
    (kept,) = path.parent.glob("*.bad")
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT name FROM Past").fetchall() == [("c1",)]


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"not a database at all" * 300])
def test_a_file_that_is_no_archive_is_not_opened(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(StateFolderError, match="cannot be used"):
        PastArchive.open(path, record=RECORD)
    assert path.read_bytes() == content


def test_there_may_be_none(path: Path) -> None:
    assert PastArchive.open(path, record=RECORD) is None


def test_only_a_few_are_kept_aside(path: Path) -> None:
    for number in range(KEPT_ASIDE_MAX + 3):
        PastArchive.anew(path, record=f"{number}").close()

    assert len(list(path.parent.glob("*.bad"))) == KEPT_ASIDE_MAX


def test_a_copy_that_a_person_laid_beside_it_is_in_nobodys_way(path: Path) -> None:
    own = path.with_name(f"{path.stem}-before-upgrade.bad")
    own.write_bytes(b"a person's")
    for number in range(KEPT_ASIDE_MAX + 2):
        PastArchive.anew(path, record=f"{number}").close()

    assert own.read_bytes() == b"a person's"
    assert len(list(path.parent.glob("*.bad"))) == KEPT_ASIDE_MAX + 1


def test_an_archive_that_was_damaged_meanwhile_says_so(path: Path) -> None:
    archive = PastArchive.anew(path, record=RECORD)
    archive.add((a_row(number, value=b"v" * 500) for number in range(300)), seq=1)
    archive.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 100_000)

    with pytest.raises(StateFolderError, match="malformed"):
        PastArchive.open(path, record=RECORD)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateFolderError, match="cannot be made"):
        PastArchive.anew(tmp_path / "nowhere" / PAST_DATABASE, record=RECORD)


def test_damage_is_told_from_what_may_pass(path: Path) -> None:
    """A page of noise does not mend itself; a table that is not there now may be back."""
    archive = PastArchive.anew(path, record=RECORD)
    archive.add((a_row(number, value=b"x" * 500) for number in range(200)), seq=7)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("ALTER TABLE PastKey RENAME TO Gone")
    with pytest.raises(StateFolderError, match="cannot be read") as passing:
        archive.find(("c1",))
    assert not isinstance(passing.value, DamagedDatabaseError)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("ALTER TABLE Gone RENAME TO PastKey")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    archive.close()
    content = bytearray(path.read_bytes())
    content[PAGE:] = bytes(place % 251 for place in range(len(content) - PAGE))
    path.write_bytes(content)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        damaged = PastArchive(path, database, record=RECORD, seq=7)

        with pytest.raises(DamagedDatabaseError, match=r"past_orders\.db is damaged: ") as found:
            damaged.find(("c1",))
        with pytest.raises(DamagedDatabaseError, match=r"past_orders\.db is damaged: "):
            damaged.add([a_row(1)], seq=8)

        assert "\n" not in str(found.value)
        damaged.close()


PAGE = 4096
