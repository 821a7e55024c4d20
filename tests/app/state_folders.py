"""What a state folder holds, read as a start reads it, and as an auditor would."""

from pathlib import Path
from typing import Any

from tests.app.desk import Desk, Guard, until
from tests.core.test_state_checkpoint import in_order

from backstop.adapters.sqlite.journal_view import JournalView
from backstop.adapters.state_file import CURRENT, Generation, StateFiles
from backstop.adapters.state_format import Checkpoint
from backstop.core.book import Book
from backstop.core.engine import new_book
from backstop.core.journal_leaf import leaf_hash
from backstop.core.record_fold import decode_policy, fold
from backstop.core.state_checkpoint import decoded, restored
from backstop.domain.order import OrderState, OrderType, Side


def generations(folder: Path, account: int) -> tuple[Generation, ...]:
    return tuple(StateFiles(folder).generations(account))


def checkpoint(folder: Path, account: int, name: str = CURRENT) -> Checkpoint:
    # A file that is replaced while it is looked for is looked for again.
    looks = (it for _ in range(100) for it in generations(folder, account))
    found = next(it for it in looks if it.path.name == name)
    assert found.checkpoint is not None, found.fault
    return found.checkpoint


def from_the_journal(folder: Path, *, up_to: int | None = None) -> Book:
    """Return what the whole journal says, record by record."""
    records = JournalView(folder / "audit.db", leaf_hash=leaf_hash)
    book = new_book(decode_policy(records[0]))
    for record in records:
        if up_to is not None and record.seq > up_to:
            break
        fold(book, record)
    return book


def from_the_checkpoint(folder: Path, account: int, name: str = CURRENT) -> Book:
    """Return what a checkpoint says, with the records after it."""
    found = checkpoint(folder, account, name)
    book = restored(decoded(found.book))
    journal = JournalView(folder / "audit.db", leaf_hash=leaf_hash)
    for record in journal.read_from(found.journal_seq + 1):
        fold(book, record)
    return book


def same(one: Book, other: Book) -> bool:
    """Tell whether two books are equal to the last member, the order of entries included."""
    return bool(in_order(one) == in_order(other))


def spoil(path: Path, content: Any = None) -> None:
    """Cut a file in two, or put something else there."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)


def state(desk: Desk) -> Path:
    return desk.folder / "state"


async def a_day(guard: Guard) -> None:
    """Trade a little: positions with their legs, and a resting order."""
    await guard.enter(Side.BUY, 2)
    resting = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-40))
    await guard.reaches(resting.client_order_id, OrderState.WORKING)
    guard.manager.save_strategy("momentum", {"bars": 7})


async def written(guard: Guard) -> None:
    """Wait until the newest record is in the state file."""
    trail = guard.manager.decisions
    folder = guard.manager.settings.state_folder
    account = guard.book.policy.account_id

    def is_there() -> bool:
        for it in generations(folder, account):
            if it.path.name == CURRENT:
                assert it.checkpoint is not None, it.fault
                return it.checkpoint.journal_seq == trail.journal_seq
        return False  # the first one is not written yet, or it is just being replaced

    await until(is_there, "a checkpoint of the newest record")


def started(guard: Guard, name: str = "state_restored") -> dict[str, str | int]:
    found = [note.fields for note in guard.notes if note.name == name]
    assert found, f"no note {name}"
    return found[0]
