"""The file audit.db: exactly the promised columns, and files that must not be touched."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from backstop.adapters.sqlite.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    open_for_reading,
    open_for_writing,
)
from backstop.errors import StateFolderError


def columns(database: Path, table: str) -> list[tuple[object, ...]]:
    """Name, type, default and whether it is the primary key, of each column in order."""
    with closing(open_for_reading(database)) as connection:
        found = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return [(name, kind, default, key) for _, name, kind, _, default, key in found]


def test_order_audit_begins_with_exactly_the_specified_columns(database: Path) -> None:
    open_for_writing(database).close()

    assert columns(database, "OrderAudit")[:10] == [
        ("OrderId", "TEXT", None, 1),
        ("ClientOrderId", "TEXT", None, 0),
        ("SubmittedTime", "DATETIME", None, 0),
        ("Symbol", "TEXT", None, 0),
        ("Side", "TEXT", None, 0),
        ("Quantity", "INTEGER", None, 0),
        ("Price", "DECIMAL", None, 0),
        ("Status", "TEXT", None, 0),
        ("ExecutionProof", "TEXT", None, 0),
        ("CreatedAt", "DATETIME", "CURRENT_TIMESTAMP", 0),
    ]


def test_fill_audit_begins_with_exactly_the_specified_columns(database: Path) -> None:
    open_for_writing(database).close()

    assert columns(database, "FillAudit")[:6] == [
        ("FillId", "TEXT", None, 1),
        ("OrderId", "TEXT", None, 0),
        ("FillTime", "DATETIME", None, 0),
        ("FillPrice", "DECIMAL", None, 0),
        ("FillQuantity", "INTEGER", None, 0),
        ("Commission", "DECIMAL", None, 0),
    ]
    with closing(open_for_reading(database)) as connection:
        keys = connection.execute("PRAGMA foreign_key_list(FillAudit)").fetchall()
    assert [key[2:5] for key in keys] == [("OrderAudit", "OrderId", "OrderId")]


def test_the_folder_and_the_file_are_for_the_owner_only(database: Path) -> None:
    open_for_writing(database).close()

    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_opening_again_changes_nothing(database: Path) -> None:
    open_for_writing(database).close()
    before = database.read_bytes()

    open_for_writing(database).close()

    assert database.read_bytes() == before


def test_an_empty_file_left_by_a_power_cut_is_a_new_one(database: Path) -> None:
    database.parent.mkdir()
    database.touch()

    open_for_writing(database).close()

    assert columns(database, "OrderAudit")


def test_a_newer_layout_is_refused_untouched(database: Path) -> None:
    with closing(open_for_writing(database)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = database.read_bytes()

    with pytest.raises(StateFolderError, match="layout 3, written by a newer") as refused:
        open_for_writing(database)

    assert "It was not changed. Install the newer version" in str(refused.value)
    assert database.read_bytes() == before


def test_a_foreign_database_is_refused_untouched(database: Path) -> None:
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE Songs (Title TEXT)")
    before = database.read_bytes()

    with pytest.raises(StateFolderError, match="a database of another program"):
        open_for_writing(database)

    assert database.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_untouched(database: Path) -> None:
    database.parent.mkdir()
    database.write_bytes(b"these are not the bytes of a database" * 100)
    before = database.read_bytes()

    with pytest.raises(StateFolderError, match="is damaged: file is not a database") as refused:
        open_for_writing(database)

    assert "restore audit.db from a backup" in str(refused.value)
    assert database.read_bytes() == before


def test_a_damaged_page_is_refused_untouched(database: Path) -> None:
    with closing(open_for_writing(database)) as connection:
        connection.executemany(
            "INSERT INTO Journal VALUES (?, 'event', '42', 0, 0, 0, zeroblob(3000), x'00')",
            [(seq,) for seq in range(1, 200)],
        )
    content = bytearray(database.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = os.urandom(4096)
    database.write_bytes(content)

    with pytest.raises(StateFolderError, match="is damaged"):
        open_for_writing(database)

    assert database.read_bytes() == content


def test_a_cut_file_is_refused_untouched(database: Path) -> None:
    with closing(open_for_writing(database)) as connection:
        connection.executemany(
            "INSERT INTO Journal VALUES (?, 'event', '42', 0, 0, 0, zeroblob(3000), x'00')",
            [(seq,) for seq in range(1, 50)],
        )
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2)
    before = database.read_bytes()

    with pytest.raises(StateFolderError, match="is damaged"):
        open_for_writing(database)

    assert database.read_bytes() == before


def test_a_missing_file_is_an_error_for_readers(database: Path) -> None:
    with pytest.raises(StateFolderError, match="does not exist"):
        open_for_reading(database)

    assert not database.exists()


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")

    with pytest.raises(StateFolderError, match="cannot be opened"):
        open_for_writing(tmp_path / "state" / "audit.db")


def test_readers_cannot_write(database: Path) -> None:
    with (
        closing(open_for_writing(database)),
        closing(open_for_reading(database)) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("DELETE FROM OrderAudit")


def test_the_file_says_whose_it_is(database: Path) -> None:
    open_for_writing(database).close()

    with closing(open_for_reading(database)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_path_with_special_characters_works(tmp_path: Path) -> None:
    database = tmp_path / "a ? b # c % d" / "audit.db"

    open_for_writing(database).close()

    assert columns(database, "OrderAudit")
