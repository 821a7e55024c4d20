"""The journal on real files: durable, in order, whole or not at all, and loud when it fails."""

import asyncio
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backstop.adapters.sqlite import journal as journal_module
from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.adapters.sqlite.schema import connect_read_only
from backstop.core.journal_leaf import leaf_hash
from backstop.domain.audit import AuditRow, FillRow
from backstop.errors import InvariantError, JournalError, JournalFullError, StateFolderError
from backstop.ports import JournalBatch, JournalRecord

PATIENCE_S = 30


def a_record(seq: int, payload: bytes = b"{}") -> JournalRecord:
    return JournalRecord(
        seq=seq, kind="event", monotonic_ns=seq * 10, utc_us=1_762_093_800_000_000, payload=payload
    )


def a_batch(*seqs: int) -> JournalBatch:
    return JournalBatch(records=tuple(a_record(seq) for seq in seqs))


def an_order(order_id: str, **members: object) -> AuditRow:
    row: dict[str, object] = {
        "order_id": order_id,
        "client_order_id": "c-1",
        "submitted_utc_us": 1_762_093_800_000_000,
        "symbol": "MES",
        "side": "BUY",
        "quantity": 2,
        "price": "5000.25",
        "status": "SENT",
    }
    return AuditRow(**(row | members))  # type: ignore[arg-type]


def a_fill(fill_id: str, order_id: str, *, voided: bool = False) -> FillRow:
    return FillRow(
        fill_id=fill_id,
        order_id=order_id,
        fill_utc_us=1_762_093_801_000_000,
        price="5000.5",
        quantity=1,
        commission="0.37",
        voided=voided,
    )


def rows(database: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(connect_read_only(database)) as connection:
        return connection.execute(statement).fetchall()


def reopened(database: Path) -> SqliteJournal:
    return SqliteJournal.open(database, account="42", epoch=3, leaf_hash=leaf_hash)


async def test_what_was_awaited_reads_back_whole_and_in_order(
    journal: SqliteJournal, database: Path
) -> None:
    first = a_record(1, b'{"price":"5000.25"}')
    second = a_record(2, b"\x00\xff" * 5000)

    await journal.append(JournalBatch(records=(first, second)))
    await journal.append(a_batch(3))

    assert tuple(journal.read_all()) == (first, second, a_record(3))
    assert rows(database, "SELECT DISTINCT account, epoch FROM Journal") == [("42", 3)]


async def test_a_record_is_in_the_file_when_its_awaitable_ends(
    journal: SqliteJournal, database: Path
) -> None:
    """Another connection, as another process has it, sees what was acknowledged."""
    await journal.append(a_batch(1))

    assert rows(database, "SELECT seq FROM Journal") == [(1,)]


async def test_every_commit_waits_for_the_disk(journal: SqliteJournal, database: Path) -> None:
    await journal.append(a_batch(1))

    assert rows(database, "PRAGMA journal_mode") == [("wal",)]
    (synchronous,) = journal._writer._connection.execute("PRAGMA synchronous").fetchone()
    assert synchronous == 2


async def test_awaitables_end_in_the_order_of_the_appends(journal: SqliteJournal) -> None:
    ended: list[int] = []

    async def append(seq: int) -> None:
        await journal.append(a_batch(seq))
        ended.append(seq)

    async with asyncio.TaskGroup() as tasks:
        for seq in range(1, 301):
            tasks.create_task(append(seq))

    assert ended == list(range(1, 301))


async def test_decisions_that_wait_together_share_commits(journal: SqliteJournal) -> None:
    """300 decisions that are made at once do not cost 300 waits for the disk."""
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    journal._writer._connection.set_trace_callback(count)
    await asyncio.gather(*(journal.append(a_batch(seq)) for seq in range(1, 301)))

    assert len(journal.read_all()) == 300
    assert commits < 100


async def test_what_comes_during_a_commit_is_taken_together_when_that_has_ended(
    journal: SqliteJournal, database: Path
) -> None:
    """Whatever is there when the writer is free shares its commit, and waits for no other one."""
    begun, groups = threading.Event(), Counter[str]()

    def hear(statement: str) -> None:
        groups[statement] += 1
        begun.set()

    journal._writer._connection.set_trace_callback(hear)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # until it ends the journal cannot commit
        pending = [journal.append(a_batch(1))]
        assert await asyncio.to_thread(begun.wait, PATIENCE_S)
        for seq in range(2, 41):
            pending.append(journal.append(a_batch(seq)))
            await asyncio.sleep(0)  # a turn of its own
        other.execute("ROLLBACK")
    await asyncio.gather(*pending)

    assert [record.seq for record in journal.read_all()] == list(range(1, 41))
    assert groups["COMMIT"] == 2


async def test_the_sequence_goes_on_where_an_earlier_process_ended(database: Path) -> None:
    first = reopened(database)
    await first.append(a_batch(1, 2))
    await first.close()

    second = reopened(database)
    assert second.next_seq == 3
    await second.append(a_batch(3))
    assert [record.seq for record in second.read_all()] == [1, 2, 3]
    await second.close()


async def test_close_writes_what_is_pending(journal: SqliteJournal, database: Path) -> None:
    pending = [journal.append(a_batch(seq)) for seq in range(1, 101)]

    await journal.close()

    await asyncio.gather(*pending)
    assert not database.with_name("audit.db-wal").exists()
    assert rows(database, "SELECT count(*) FROM Journal") == [(100,)]


async def test_a_closed_journal_takes_nothing_more(journal: SqliteJournal) -> None:
    await journal.close()

    with pytest.raises(JournalError, match="is closed; nothing was written"):
        await journal.append(a_batch(1))


async def test_a_hole_in_the_sequence_is_our_own_broken_promise(journal: SqliteJournal) -> None:
    with pytest.raises(InvariantError, match="record 2 was appended where 1 is next"):
        journal.append(a_batch(2))
    await journal.append(a_batch(1))
    with pytest.raises(InvariantError, match="record 1 was appended where 2 is next"):
        journal.append(a_batch(1))


async def test_a_cancelled_waiter_does_not_hold_up_the_others(journal: SqliteJournal) -> None:
    impatient = asyncio.ensure_future(journal.append(a_batch(1)))
    patient = journal.append(a_batch(2))

    impatient.cancel()
    await patient

    assert [record.seq for record in journal.read_all()] == [1, 2]


async def test_the_view_behaves_like_a_sequence(journal: SqliteJournal) -> None:
    await journal.append(a_batch(*range(1, 11)))
    view = journal.read_all()

    assert len(view) == 10
    assert view[0].seq == 1
    assert view[-1].seq == 10
    assert [record.seq for record in view[2:5]] == [3, 4, 5]
    assert [record.seq for record in view[::-4]] == [10, 6, 2]
    with pytest.raises(IndexError):
        view[10]


async def test_an_empty_journal_is_an_empty_sequence(journal: SqliteJournal) -> None:
    assert tuple(journal.read_all()) == ()
    assert len(journal.read_all()) == 0
    assert journal.next_seq == 1


# -- the audit rows --------------------------------------------------------------------------------


async def test_the_rows_and_the_record_that_implies_them_are_one_commit(
    journal: SqliteJournal, database: Path
) -> None:
    await journal.append(
        JournalBatch(
            records=(a_record(1),), orders=(an_order("9001"),), fills=(a_fill("77", "9001"),)
        )
    )

    assert rows(
        database,
        "SELECT OrderId, ClientOrderId, SubmittedTime, Symbol, Side, Quantity, Price, Status,"
        " ExecutionProof, Account, JournalSeq FROM OrderAudit",
    ) == [
        (
            "9001",
            "c-1",
            "2025-11-02T14:30:00.000000Z",
            "MES",
            "BUY",
            2,
            5000.25,
            "SENT",
            None,
            "42",
            1,
        )
    ]
    assert rows(
        database,
        "SELECT FillId, OrderId, FillTime, FillPrice, FillQuantity, Commission, Voided,"
        " JournalSeq FROM FillAudit",
    ) == [("77", "9001", "2025-11-02T14:30:01.000000Z", 5000.5, 1, 0.37, 0, 1)]


async def test_a_row_lives_on_and_keeps_the_time_of_its_making(
    journal: SqliteJournal, database: Path
) -> None:
    await journal.append(JournalBatch(records=(a_record(1),), orders=(an_order("9001"),)))
    made = rows(database, "SELECT CreatedAt FROM OrderAudit")
    await journal.append(
        JournalBatch(
            records=(a_record(2),),
            orders=(an_order("9001", status="FILLED", execution_proof='{"proof":1}'),),
        )
    )
    await journal.append(
        JournalBatch(records=(a_record(3),), orders=(an_order("9001", status="FILLED"),))
    )

    assert rows(database, "SELECT Status, ExecutionProof, JournalSeq FROM OrderAudit") == [
        ("FILLED", '{"proof":1}', 3)
    ]
    assert rows(database, "SELECT CreatedAt FROM OrderAudit") == made


async def test_a_second_delivery_of_a_fill_makes_no_second_row(
    journal: SqliteJournal, database: Path
) -> None:
    await journal.append(
        JournalBatch(
            records=(a_record(1),), orders=(an_order("9001"),), fills=(a_fill("77", "9001"),)
        )
    )
    await journal.append(JournalBatch(records=(a_record(2),), fills=(a_fill("77", "9001"),)))
    assert rows(database, "SELECT FillId, Voided FROM FillAudit") == [("77", 0)]

    await journal.append(
        JournalBatch(records=(a_record(3),), fills=(a_fill("77", "9001", voided=True),))
    )
    assert rows(database, "SELECT FillId, Voided FROM FillAudit") == [("77", 1)]


async def test_the_provisional_id_gives_way_to_the_brokers_and_fills_follow(
    journal: SqliteJournal, database: Path
) -> None:
    await journal.append(
        JournalBatch(
            records=(a_record(1),), orders=(an_order("c-1"),), fills=(a_fill("77", "c-1"),)
        )
    )
    renamed = an_order("9001", status="WORKING", replaces_order_id="c-1")
    await journal.append(JournalBatch(records=(a_record(2),), orders=(renamed,)))
    await journal.append(
        JournalBatch(records=(a_record(3),), orders=(renamed,), fills=(a_fill("78", "9001"),))
    )

    assert rows(database, "SELECT OrderId, Status FROM OrderAudit") == [("9001", "WORKING")]
    assert rows(database, "SELECT FillId, OrderId FROM FillAudit ORDER BY FillId") == [
        ("77", "9001"),
        ("78", "9001"),
    ]
    assert rows(database, "PRAGMA foreign_key_check") == []


async def test_an_order_first_taken_for_foreign_becomes_ours_in_one_row(
    journal: SqliteJournal, database: Path
) -> None:
    """Its trade came before the answer, so both rows exist when we learn that they are one."""
    await journal.append(
        JournalBatch(
            records=(a_record(1),),
            orders=(an_order("c-1"), an_order("9001", client_order_id=None)),
            fills=(a_fill("77", "9001"),),
        )
    )
    await journal.append(
        JournalBatch(records=(a_record(2),), orders=(an_order("9001", replaces_order_id="c-1"),))
    )

    assert rows(database, "SELECT OrderId, ClientOrderId FROM OrderAudit") == [("9001", "c-1")]
    assert rows(database, "SELECT OrderId FROM FillAudit") == [("9001",)]


async def test_a_fill_may_name_an_order_of_an_earlier_batch(
    journal: SqliteJournal, database: Path
) -> None:
    await journal.append(JournalBatch(records=(a_record(1),), orders=(an_order("9001"),)))
    await journal.append(JournalBatch(records=(a_record(2),), fills=(a_fill("77", "9001"),)))

    assert rows(database, "SELECT FillId FROM FillAudit") == [("77",)]


# -- failures --------------------------------------------------------------------------------------


async def test_a_batch_is_written_whole_or_not_at_all(
    journal: SqliteJournal, database: Path
) -> None:
    """A fill without its order cannot be stored; its record must not stand there alone."""
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        await journal.append(
            JournalBatch(records=(a_record(1),), orders=(an_order("1"),), fills=(a_fill("7", "2"),))
        )

    assert rows(database, "SELECT count(*) FROM Journal") == [(0,)]
    assert rows(database, "SELECT count(*) FROM OrderAudit") == [(0,)]


async def test_everyone_who_waits_hears_of_the_failure(journal: SqliteJournal) -> None:
    waiting = [
        journal.append(JournalBatch(records=(a_record(1),), fills=(a_fill("7", "2"),))),
        *(journal.append(a_batch(seq)) for seq in range(2, 50)),
    ]

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(outcome, JournalError) for outcome in outcomes)


async def test_beyond_the_limit_nothing_is_taken_and_nothing_that_was_taken_is_lost(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To leave one out and take the next would tear a hole into the record."""
    monkeypatch.setattr(journal_module, "MAX_PENDING_BATCHES", 5)
    told: list[bool] = []
    all_durable = asyncio.Event()

    def hear(error: JournalError | None) -> None:
        told.append(error is None)
        if told.count(True) == 5:
            all_durable.set()

    for seq in range(1, 6):
        journal.submit(a_batch(seq), hear)

    with pytest.raises(JournalFullError, match=r"does not keep up\. 5 decisions"):
        await journal.append(a_batch(6))
    await all_durable.wait()
    with pytest.raises(JournalFullError):
        await journal.append(a_batch(6))
    journal.take_again()
    await journal.append(a_batch(6))

    assert [record.seq for record in journal.read_all()] == [1, 2, 3, 4, 5, 6]
    assert told == [False] * 5 + [True] * 5


async def test_too_many_waiting_bytes_are_beyond_the_limit(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_PENDING_BYTES", 100)
    on_disk = asyncio.Event()

    def hear(error: JournalError | None) -> None:
        if error is None:
            on_disk.set()

    journal.submit(JournalBatch(records=(a_record(1, b"x" * 101),)), hear)

    with pytest.raises(JournalFullError, match="1 decisions with 101 bytes wait already"):
        await journal.append(a_batch(2))
    await on_disk.wait()
    journal.take_again()
    await journal.append(a_batch(2))

    assert [record.seq for record in journal.read_all()] == [1, 2]


async def test_what_comes_while_the_word_of_a_drained_backlog_is_on_its_way_is_taken(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, it would leave a journal that is full for ever: nothing is left to be written."""
    monkeypatch.setattr(journal_module, "MAX_PENDING_BATCHES", 1)
    loop, on_its_way = asyncio.get_running_loop(), threading.Event()
    report = loop.call_soon_threadsafe

    def observed(*arguments: Any, **options: Any) -> asyncio.Handle:
        handle = report(*arguments, **options)
        on_its_way.set()
        return handle

    monkeypatch.setattr(loop, "call_soon_threadsafe", observed)
    first = journal.append(a_batch(1))
    journal.flush()
    assert on_its_way.wait(PATIENCE_S)

    await asyncio.gather(first, journal.append(a_batch(2)))
    await journal.append(a_batch(3))

    assert [record.seq for record in journal.read_all()] == [1, 2, 3]


def test_a_journal_belongs_to_one_event_loop(database: Path) -> None:
    journal = reopened(database)

    async def append(seq: int) -> None:
        await journal.append(a_batch(seq))

    asyncio.run(append(1))
    with pytest.raises(InvariantError, match="another"):
        asyncio.run(append(2))
    asyncio.run(journal.close())


async def test_the_record_of_one_account_is_not_continued_by_another(
    journal: SqliteJournal, database: Path
) -> None:
    await journal.append(a_batch(1))
    await journal.close()

    with pytest.raises(StateFolderError, match="record of account 42, not of 43"):
        SqliteJournal.open(database, account="43", epoch=0, leaf_hash=leaf_hash)


@pytest.mark.parametrize("missing", [1, 2, 4])
async def test_a_missing_record_is_noticed(
    journal: SqliteJournal, database: Path, missing: int
) -> None:
    """The first, one in the middle; of the last, the caller's checkpoint must tell."""
    await journal.append(a_batch(1, 2, 3, 4, 5))
    await journal.close()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM Journal WHERE seq = ?", (missing,))

    damaged = reopened(database)
    with pytest.raises(StateFolderError, match=f"record {missing} is missing"):
        tuple(damaged.read_all())
    await damaged.close()


@pytest.mark.parametrize(
    "change",
    [
        "payload = CAST('{\"forged\":1}' AS BLOB)",
        "kind = 'command'",
        "utc_us = utc_us + 1",
        "monotonic_ns = 0",
        "epoch = 9",
        "leaf_hash = zeroblob(32)",
    ],
)
async def test_a_changed_record_is_noticed(
    journal: SqliteJournal, database: Path, change: str
) -> None:
    await journal.append(a_batch(1, 2, 3))
    await journal.close()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"UPDATE Journal SET {change} WHERE seq = 2")  # noqa: S608 - from above

    damaged = reopened(database)
    with pytest.raises(StateFolderError, match="record 2 is not what was written"):
        tuple(damaged.read_all())
    await damaged.close()


async def test_a_reader_sees_a_still_picture_while_the_writer_goes_on(
    journal: SqliteJournal,
) -> None:
    await journal.append(a_batch(*range(1, 101)))
    seen = iter(journal.read_all())
    first = next(seen)

    await journal.append(a_batch(101))

    assert [first.seq, *(record.seq for record in seen)] == list(range(1, 101))
