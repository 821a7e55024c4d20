"""The journal on a disk that fails and returns: told at once, kept in order, written in the end."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.sqlite.failing_disk import REACHABLE, Disk, Fault, failing_disk

from backstop.adapters.sqlite import journal as journal_module
from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.adapters.sqlite.journal_group import Intake
from backstop.adapters.sqlite.schema import connect_read_only
from backstop.core.audit_log import Frontier
from backstop.core.journal_leaf import leaf_hash
from backstop.errors import JournalError
from backstop.ports import JournalBatch, JournalRecord

PATIENCE_S = 30


class Told:
    """What each batch was told, in order."""

    def __init__(self) -> None:
        self.refused: list[int] = []
        self.durable: list[int] = []
        self._heard = asyncio.Event()

    def of(self, seq: int) -> Callable[[JournalError | None], None]:
        def told(error: JournalError | None) -> None:
            (self.durable if error is None else self.refused).append(seq)
            self._heard.set()

        return told

    async def until(self, *, refused: Sequence[int] = (), durable: Sequence[int] = ()) -> None:
        """Wait until exactly these batches were told so."""
        wanted = (list(refused), list(durable))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (self.refused, self.durable) != wanted:
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            raise AssertionError(f"{(self.refused, self.durable)}, not {wanted}") from None


class Heads:
    """The tree over all records, unsigned: its note is its size and its root."""

    def __init__(self) -> None:
        self._frontier = Frontier()

    def append(self, leaf_hash: bytes) -> None:
        self._frontier.append(leaf_hash)

    def signed_head(self) -> tuple[int, str]:
        size = self._frontier.size
        return size, f"{size} {self._frontier.root().hex()}"


def a_batch(seq: int) -> JournalBatch:
    record = JournalRecord(
        seq=seq, kind="event", monotonic_ns=seq, utc_us=seq, payload=b"%d" % seq * 100
    )
    return JournalBatch(records=(record,))


def hand_in(journal: SqliteJournal, told: Told, seqs: range) -> None:
    for seq in seqs:
        journal.submit(a_batch(seq), told.of(seq))
        journal.flush()


@asynccontextmanager
async def a_journal(database: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal.open(
        database, account="42", epoch=3, leaf_hash=leaf_hash, heads=Heads()
    )
    try:
        yield journal
    finally:
        await journal.close()


@pytest.fixture(params=REACHABLE, ids=lambda _: "sqlite")
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    with failing_disk(request.param) as disk:
        yield disk


def written(database: Path) -> tuple[list[int], str]:
    """Return the records of a file and its head."""
    with closing(connect_read_only(database)) as connection:
        seqs = [seq for (seq,) in connection.execute("SELECT seq FROM Journal ORDER BY seq")]
        (head,) = connection.execute("SELECT note FROM TreeHead").fetchone()
    return seqs, head


@pytest.mark.parametrize("fault", Fault)
async def test_what_a_failed_disk_refused_is_written_in_order_when_it_returns(
    database: Path, disk: Disk, fault: Fault
) -> None:
    told = Told()
    async with a_journal(database) as journal:
        hand_in(journal, told, range(1, 4))
        await told.until(durable=[1, 2, 3])
        disk.fault = fault
        hand_in(journal, told, range(4, 9))
        await told.until(refused=[4, 5, 6, 7, 8], durable=[1, 2, 3])
        assert journal.failure is not None
        assert len(journal.read_all()) == 3
        disk.fault = None
        await told.until(refused=[4, 5, 6, 7, 8], durable=range(1, 9))
        hand_in(journal, told, range(9, 10))
        await told.until(refused=[4, 5, 6, 7, 8], durable=range(1, 10))

        assert disk.struck > 0
        assert journal.failure is None
        assert told.refused == [4, 5, 6, 7, 8]

    expected = Heads()
    for seq in range(1, 10):
        expected.append(_leaf(seq))
    assert written(database) == (list(range(1, 10)), expected.signed_head()[1])


def _leaf(seq: int) -> bytes:
    (record,) = a_batch(seq).records
    return leaf_hash(
        seq=seq,
        kind=record.kind,
        account="42",
        epoch=3,
        monotonic_ns=record.monotonic_ns,
        utc_us=record.utc_us,
        payload=record.payload,
    )


async def test_a_power_cut_after_a_failed_sync_takes_nothing_that_was_acknowledged(
    database: Path, disk: Disk, tmp_path: Path
) -> None:
    """What the failed sync should have written is gone; only what is written anew is there."""
    told = Told()
    async with a_journal(database) as journal:
        hand_in(journal, told, range(1, 4))
        await told.until(durable=[1, 2, 3])
        disk.fault = Fault.SYNC
        hand_in(journal, told, range(4, 6))
        await told.until(refused=[4, 5], durable=[1, 2, 3])
        before = written(disk.after_a_power_cut(database, tmp_path / "before"))
        disk.fault = None
        await told.until(refused=[4, 5], durable=[1, 2, 3, 4, 5])
        after = written(disk.after_a_power_cut(database, tmp_path / "after"))

    assert disk.struck > 0
    assert before[0] == [1, 2, 3]
    assert after[0] == [1, 2, 3, 4, 5]


async def test_who_hands_in_during_an_outage_is_told_at_once(database: Path, disk: Disk) -> None:
    """An exit must not wait for the next attempt."""
    told = Told()
    async with a_journal(database) as journal:
        disk.fault = Fault.FULL
        hand_in(journal, told, range(1, 2))
        await told.until(refused=[1])
        hand_in(journal, told, range(2, 3))
        await asyncio.sleep(0)  # one turn of the event loop

        assert told.refused == [1, 2]
        disk.fault = None


class IntakeOfASlowLoop(Intake):
    """Holds up who hands in a batch until it is on disk, as an event loop that loses its turn."""

    def __init__(self, **members: Any) -> None:
        super().__init__(**members)
        self.have_it_written: Callable[[], None] | None = None  # hold up from now on
        self._written = threading.Event()

    def __bool__(self) -> bool:
        is_left = super().__bool__()
        if not is_left and threading.current_thread() is not threading.main_thread():
            self._written.set()  # the writer looks for more once it has reported a commit
        return is_left

    def put(self, batch: JournalBatch) -> None:
        self._written.clear()
        super().put(batch)
        if self.have_it_written is not None:
            self.have_it_written()
            assert self._written.wait(PATIENCE_S)


async def test_nobody_hears_that_a_record_is_not_on_disk_after_hearing_that_it_is(
    database: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may return at the moment in which something is handed in."""
    monkeypatch.setattr(journal_module, "Intake", IntakeOfASlowLoop)
    told = Told()
    heard: list[bool] = []
    async with a_journal(database) as journal:
        disk.fault = Fault.FULL
        hand_in(journal, told, range(1, 2))
        await told.until(refused=[1])
        disk.fault = None
        intake = journal._intake
        assert isinstance(intake, IntakeOfASlowLoop)
        intake.have_it_written = journal.flush
        journal.submit(a_batch(2), lambda error: heard.append(error is None))
        await told.until(refused=[1], durable=[1])
        async with asyncio.timeout(PATIENCE_S):
            while heard != [False, True]:
                assert heard in ([], [False])
                await asyncio.sleep(0)


async def test_a_record_that_is_there_after_all_is_not_written_twice(
    database: Path, disk: Disk, tmp_path: Path
) -> None:
    """An error does not say that nothing arrived: what is there is taken, and copied once more."""
    told = Told()
    async with a_journal(database) as journal:
        disk.fault = Fault.SYNC
        hand_in(journal, told, range(1, 2))
        await told.until(refused=[1])
        (record,) = a_batch(1).records
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            disk.fault = None
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(
                "INSERT INTO Journal VALUES (?, ?, '42', 3, ?, ?, ?, ?)",
                (1, record.kind, record.monotonic_ns, record.utc_us, record.payload, _leaf(1)),
            )
        await told.until(refused=[1], durable=[1])
        cut = disk.after_a_power_cut(database, tmp_path / "cut")
        hand_in(journal, told, range(2, 3))
        await told.until(refused=[1], durable=[1, 2])

    with closing(connect_read_only(cut)) as connection:
        assert connection.execute("SELECT seq FROM Journal").fetchall() == [(1,)]
    assert written(database)[0] == [1, 2]


async def test_records_of_somebody_else_are_never_taken_for_ours(
    database: Path, disk: Disk
) -> None:
    told = Told()
    journal = SqliteJournal.open(database, account="42", epoch=3, leaf_hash=leaf_hash)
    disk.fault = Fault.SYNC
    hand_in(journal, told, range(1, 2))
    await told.until(refused=[1])
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        disk.fault = None
        connection.execute(
            "INSERT INTO Journal VALUES (1, 'event', '42', 3, 1, 1, x'00', zeroblob(32))"
        )

    with pytest.raises(JournalError, match="not the file that was written"):
        await journal.close()
    assert told.durable == []


async def test_a_stop_during_an_outage_says_how_much_is_lost(database: Path, disk: Disk) -> None:
    told = Told()
    journal = SqliteJournal.open(database, account="42", epoch=3, leaf_hash=leaf_hash)
    disk.fault = Fault.FULL
    hand_in(journal, told, range(1, 5))
    await told.until(refused=[1, 2, 3, 4])

    with pytest.raises(JournalError, match=r"last 4 decisions.*full"):
        await journal.close()


class Unsigned(Heads):
    """Heads of which one cannot be signed."""

    def signed_head(self) -> tuple[int, str]:
        size, note = super().signed_head()
        if size > 1:
            raise ValueError("the key is gone")
        return size, note


async def test_nothing_is_written_behind_a_record_that_could_not_be_signed(database: Path) -> None:
    """There would be a hole before it; who waits hears of it as of a disk that takes nothing."""
    told = Told()
    journal = SqliteJournal.open(
        database, account="42", epoch=3, leaf_hash=leaf_hash, heads=Unsigned()
    )
    hand_in(journal, told, range(1, 2))
    await told.until(durable=[1])
    hand_in(journal, told, range(2, 3))
    await told.until(durable=[1], refused=[2])
    hand_in(journal, told, range(3, 4))
    await told.until(durable=[1], refused=[2, 3])

    with pytest.raises(JournalError, match=r"last 2 decisions.*the key is gone"):
        await journal.close()
    assert written(database)[0] == [1]


async def test_a_stop_writes_what_waits_if_the_disk_has_returned(
    database: Path, disk: Disk
) -> None:
    told = Told()
    async with a_journal(database) as journal:
        disk.fault = Fault.FULL
        hand_in(journal, told, range(1, 5))
        await told.until(refused=[1, 2, 3, 4])
        disk.fault = None

    assert told.durable == [1, 2, 3, 4]
    assert written(database)[0] == [1, 2, 3, 4]


async def test_a_disk_that_does_not_answer_counts_as_failed(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that hangs holds no exit; when it ends well, all is well."""
    monkeypatch.setattr(journal_module, "STALL_LIMIT_S", 0.05)
    told = Told()
    async with a_journal(database) as journal:
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # until it ends the journal cannot commit
            hand_in(journal, told, range(1, 3))
            await told.until(refused=[1, 2])
            assert "has not answered" in str(journal.failure)
            other.execute("ROLLBACK")
        await told.until(refused=[1, 2], durable=[1, 2])

        assert journal.failure is None


class CoarseClock(asyncio.SelectorEventLoop):
    """A loop whose clock moves in steps, as on Windows; it counts the looks for a stall."""

    STEP_S = 0.03

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def time(self) -> float:
        return super().time() // self.STEP_S * self.STEP_S

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, **given: Any
    ) -> Any:
        if getattr(callback, "__name__", "") == "_look_for_a_stall":
            self.looks += 1
            # A timer counts as due within a step of the clock.
            return super().call_at(when - self.STEP_S, callback, *args, **given)
        return super().call_at(when, callback, *args, **given)


def test_a_clock_of_coarse_steps_does_not_make_the_look_for_a_stall_spin(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "STALL_LIMIT_S", 0.61)

    async def stall() -> None:
        told = Told()
        async with a_journal(database) as journal:
            with closing(sqlite3.connect(database, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")  # until it ends the journal cannot commit
                hand_in(journal, told, range(1, 2))
                await told.until(refused=[1])
                other.execute("ROLLBACK")
            await told.until(refused=[1], durable=[1])

    with asyncio.Runner(loop_factory=CoarseClock) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, CoarseClock)
        runner.run(stall())
        assert loop.looks < 10
