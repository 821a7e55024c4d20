"""Reading the audit: beside the writer, after it, and from a copy."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from backstop.adapters.sqlite.audit_store import MAX_ROWS, AuditStore
from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.core import merkle
from backstop.core.journal_leaf import leaf_hash
from backstop.domain.audit import AuditRow, FillRow
from backstop.errors import StateFolderError
from backstop.ports import JournalBatch, JournalRecord


def a_batch(seq: int, *, fills: int = 0, price: str | None = "5000.25") -> JournalBatch:
    return JournalBatch(
        records=(
            JournalRecord(seq=seq, kind="event", monotonic_ns=seq, utc_us=seq, payload=b"{}"),
        ),
        orders=(
            AuditRow(
                order_id=f"90{seq:02}",
                client_order_id=f"c-{seq}",
                submitted_utc_us=1_762_093_800_000_000,
                symbol="MES",
                side="SELL",
                quantity=3,
                price=price,
                status="SENT",
            ),
        ),
        fills=tuple(
            FillRow(
                fill_id=f"{seq}-{number}",
                order_id=f"90{seq:02}",
                fill_utc_us=1_762_093_800_000_000 + number,
                price="-37.63",
                quantity=1,
                commission="0.1",
                voided=number == 1,
            )
            for number in range(fills)
        ),
    )


async def test_an_order_is_found_by_either_id(journal: SqliteJournal, database: Path) -> None:
    await journal.append(a_batch(1))

    with AuditStore(database) as store:
        found = store.order("9001")
        assert found is not None
        assert store.order("c-1") == found
        assert store.order("nobody") is None
    assert (found.order_id, found.client_order_id, found.price) == ("9001", "c-1", "5000.25")
    assert (found.side, found.quantity, found.journal_seq) == ("SELL", 3, 1)
    assert found.submitted_time == "2025-11-02T14:30:00.000000Z"


async def test_fills_come_in_the_order_of_their_times(
    journal: SqliteJournal, database: Path
) -> None:
    await journal.append(a_batch(1, fills=3))
    await journal.append(a_batch(2, fills=1))

    with AuditStore(database) as store:
        found = store.fills("9001")

        assert [fill.fill_id for fill in found] == ["1-0", "1-1", "1-2"]
        assert [fill.voided for fill in found] == [False, True, False]
        assert {(fill.fill_price, fill.commission) for fill in found} == {("-37.63", "0.1")}
        assert len(list(store.all_fills())) == 4


@pytest.mark.parametrize(
    "price",
    ["0.1", "5000.25", "21003.75", "-37.63", "118.015625", "0.00005", "99999999.999999", "5000"],
)
async def test_prices_come_back_exactly(journal: SqliteJournal, database: Path, price: str) -> None:
    """DECIMAL has numeric affinity: 15 significant digits survive it, prices have fewer."""
    await journal.append(a_batch(1, price=price))

    with AuditStore(database) as store:
        found = store.order("9001")
    assert found is not None
    assert found.price == price


async def test_orders_are_paged_from_the_newest_change_back(
    journal: SqliteJournal, database: Path
) -> None:
    for seq in range(1, 8):
        await journal.append(a_batch(seq))

    with AuditStore(database) as store:
        first = store.orders(limit=3)
        second = store.orders(limit=3, after=first[-1])

        assert [row.journal_seq for row in first] == [7, 6, 5]
        assert [row.journal_seq for row in second] == [4, 3, 2]
        assert len(store.orders(limit=MAX_ROWS * 10)) == 7
        assert [row.order_id for row in store.all_orders()] == [f"90{n:02}" for n in range(1, 8)]


async def test_a_page_may_end_between_orders_of_one_record(
    journal: SqliteJournal, database: Path
) -> None:
    """An entry and its two legs are written by the same record."""
    batch = a_batch(1)
    legs = tuple(replace(batch.orders[0], order_id=order_id) for order_id in ("9001", "8", "9002"))
    await journal.append(replace(batch, orders=legs))

    with AuditStore(database) as store:
        first = store.orders(limit=2)
        second = store.orders(limit=2, after=first[-1])

    assert {row.order_id for row in (*first, *second)} == {"9001", "8", "9002"}
    assert len(first) + len(second) == 3


async def test_records_carry_what_their_hash_covers(journal: SqliteJournal, database: Path) -> None:
    for seq in range(1, 6):
        await journal.append(a_batch(seq))

    with AuditStore(database) as store:
        records = list(store.records(from_seq=2, limit=3))
        leaves = store.leaf_hashes()

        assert [record.seq for record in records] == [2, 3, 4]
        assert store.last_seq() == 5
    for record in records:
        assert (record.account, record.epoch) == ("42", 3)
        assert record.leaf_hash == leaf_hash(
            seq=record.seq,
            kind=record.kind,
            account=record.account,
            epoch=record.epoch,
            monotonic_ns=record.monotonic_ns,
            utc_us=record.utc_us,
            payload=record.payload,
        )
    assert merkle.verify_inclusion(
        leaf=records[0].leaf_hash,
        index=records[0].seq - 1,
        size=5,
        proof=merkle.inclusion_proof(leaves, 1),
        root_hash=merkle.root(leaves),
    )


async def test_a_copied_folder_can_be_read_while_the_guard_writes(
    journal: SqliteJournal, database: Path, tmp_path: Path
) -> None:
    """A copy has the write-ahead file as it was, not yet merged."""
    await journal.append(a_batch(1, fills=2))
    copied = tmp_path / "copy"
    shutil.copytree(database.parent, copied)

    with AuditStore(copied / "audit.db") as store:
        assert store.last_seq() == 1
        assert len(store.fills("9001")) == 2


def test_a_missing_database_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(StateFolderError, match="does not exist"):
        AuditStore(tmp_path / "audit.db")
