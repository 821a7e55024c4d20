"""Rows as the records say, however many go together, and nothing believed that was rolled back."""

import sqlite3
from collections.abc import Iterator

import pytest

from backstop.adapters.sqlite.audit_rows import RowWriter
from backstop.adapters.sqlite.schema import scratch
from backstop.domain.audit import AuditRow, FillRow

UTC_US = 1_762_093_800_000_000


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = scratch()
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


@pytest.fixture
def rows(database: sqlite3.Connection) -> RowWriter:
    return RowWriter(database, account="42")


def an_order(
    order_id: str, client: str | None, status: str = "SENT", *, replaces: str | None = None
) -> AuditRow:
    return AuditRow(
        order_id=order_id,
        client_order_id=client,
        submitted_utc_us=UTC_US,
        symbol="MES",
        side="BUY",
        quantity=2,
        price=None,
        status=status,
        replaces_order_id=replaces,
    )


def a_fill(fill_id: str, order_id: str) -> FillRow:
    return FillRow(
        fill_id=fill_id,
        order_id=order_id,
        fill_utc_us=UTC_US,
        price="5000.5",
        quantity=1,
        commission="0.37",
        voided=False,
    )


def add(rows: RowWriter, *orders: AuditRow, fills: tuple[FillRow, ...] = (), seq: int = 1) -> None:
    rows.add(orders, fills, seq=seq, utc_us=UTC_US)


def stored(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    return database.execute(
        "SELECT OrderId, ClientOrderId, Status, JournalSeq FROM OrderAudit ORDER BY OrderId"
    ).fetchall()


@pytest.mark.parametrize("at_once", [True, False])
def test_an_order_is_one_row_from_its_intent_to_its_end(
    database: sqlite3.Connection, rows: RowWriter, *, at_once: bool
) -> None:
    life = [
        an_order("c-1", "c-1", "INTENDED"),
        an_order("9001", "c-1", "WORKING", replaces="c-1"),
        an_order("9001", "c-1", "PARTIALLY_FILLED", replaces="c-1"),
        an_order("9001", "c-1", "FILLED", replaces="c-1"),
    ]
    for seq, order in enumerate(life, start=1):
        add(rows, order, seq=seq)
        if not at_once:
            rows.flush()
    rows.flush()

    assert stored(database) == [("9001", "c-1", "FILLED", 4)]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_row_takes_every_name_that_it_is_given(
    database: sqlite3.Connection, rows: RowWriter, *, at_once: bool
) -> None:
    """First nobody's, then ours, then another one's of ours, and nobody's again."""
    names = [None, None, "c-1", "c-1", "c-2", "c-2", None, "c-1"]
    for seq, name in enumerate(names, start=1):
        add(rows, an_order("9001", name, replaces=name), seq=seq)
        if not at_once:
            rows.flush()
            assert stored(database) == [("9001", name, "SENT", seq)]
    rows.flush()

    assert stored(database) == [("9001", "c-1", "SENT", 8)]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_provisional_row_may_come_back_and_give_way_again(
    database: sqlite3.Connection, rows: RowWriter, *, at_once: bool
) -> None:
    """An order that loses its number, because it was another one's, stands under its own name."""
    life = [
        an_order("c-1", "c-1"),
        an_order("9001", "c-1", replaces="c-1"),
        an_order("c-1", "c-1", "UNKNOWN"),
        an_order("9001", None, "FOREIGN"),
        an_order("9002", "c-1", "WORKING", replaces="c-1"),
    ]
    for seq, order in enumerate(life, start=1):
        add(rows, order, seq=seq)
        if not at_once:
            rows.flush()
    rows.flush()

    assert stored(database) == [("9001", None, "FOREIGN", 4), ("9002", "c-1", "WORKING", 5)]


def test_fills_follow_a_row_that_takes_another_id(
    database: sqlite3.Connection, rows: RowWriter
) -> None:
    add(rows, an_order("c-1", "c-1"), fills=(a_fill("7", "c-1"),))
    add(rows, an_order("9001", "c-1", replaces="c-1"), fills=(a_fill("8", "9001"),))
    rows.flush()

    found = database.execute("SELECT FillId, OrderId FROM FillAudit ORDER BY FillId").fetchall()
    assert found == [("7", "9001"), ("8", "9001")]


def test_what_was_rolled_back_is_written_whole_the_next_time(
    database: sqlite3.Connection, rows: RowWriter
) -> None:
    add(rows, an_order("9001", None))
    rows.flush()
    database.execute("BEGIN")
    add(rows, an_order("9001", "c-1", replaces="c-1"))
    rows.flush()
    database.execute("ROLLBACK")
    rows.forget()

    add(rows, an_order("9001", "c-1", replaces="c-1"), seq=2)
    rows.flush()
    assert stored(database) == [("9001", "c-1", "SENT", 2)]


def test_a_row_that_lives_on_leaves_the_index_of_names_alone(
    database: sqlite3.Connection, rows: RowWriter
) -> None:
    """Every page that a commit writes is one that it waits for."""
    add(rows, an_order("9001", "c-1", replaces="c-1"))
    rows.flush()
    statements: list[str] = []
    database.set_trace_callback(statements.append)
    add(rows, an_order("9001", "c-1", "FILLED", replaces="c-1"), seq=2)
    rows.flush()

    (upsert,) = statements
    assert "SET" in upsert
    assert "ClientOrderId = excluded" not in upsert
