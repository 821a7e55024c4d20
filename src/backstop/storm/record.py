"""What a guard leaves behind: does the record hold, is it whole, and is the state made of it?"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.audit_verification import verify_record
from backstop.core.book import Book
from backstop.core.record_fold import fold
from backstop.core.state_checkpoint import captured, encoded
from backstop.emergency.checkpoint_book import book_of
from backstop.errors import BackstopError
from backstop.storm.truth import Truth

TOLD_CHARS: Final = 160
"""Of each of two values that should be one."""


def record_faults(state_folder: Path, account_id: int, truth: Truth) -> list[str]:
    """Return what is wrong with the record of a guard that has stopped; nothing when it holds."""
    folded: list[Book] = []
    try:
        verify_record(state_folder, on_book=folded.append)
    except BackstopError as error:
        return [f"audit verify: {error}"]
    fills = _fill_faults(state_folder, truth)
    return [*fills, *_state_faults(state_folder, account_id, *folded)]


def _fill_faults(state_folder: Path, truth: Truth) -> Iterator[str]:
    """Yield each fill that the record and the exchange do not have alike."""
    uri = f"{(state_folder / AUDIT_DATABASE).as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        written = {
            int(fill): (int(order), quantity)
            for fill, order, quantity in database.execute(
                "SELECT FillId, OrderId, FillQuantity FROM FillAudit WHERE NOT Voided"
            )
        }
    true = {it.id: (it.order_id, it.size) for it in truth.trades.values()}
    for trade_id in sorted(true.keys() | written.keys()):
        if true.get(trade_id) != written.get(trade_id):
            yield f"fill {trade_id}: true {true.get(trade_id)}, written {written.get(trade_id)}"


def _state_faults(state_folder: Path, account_id: int, folded: Book) -> Iterator[str]:
    """Yield what the state of the next start has otherwise than the whole journal makes it.

    A state that went from checkpoint to checkpoint, over kills and power cuts, is the one that a
    single fold of every record gives: that is what a start relies on.
    """
    with StateFiles(state_folder) as files:
        newest = next(files.generations(account_id), None)
    if newest is None or newest.checkpoint is None:
        yield "a guard that stopped left no checkpoint"
        return
    book = book_of(newest.path, newest.checkpoint)
    with AuditStore(state_folder / AUDIT_DATABASE, checked=False) as store:
        for stored in store.records(from_seq=newest.checkpoint.journal_seq + 1):
            fold(book, stored.as_written())
    kept, whole = _members(book), _members(folded)
    for name in kept:
        if kept[name] != whole[name]:
            here, there = _apart(kept[name], whole[name])
            yield f"the state's {name} is {here}, and the journal makes it {there}"


def _members(book: Book) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.json.decode(encoded(captured(book)))
    return members


def _apart(one: Any, other: Any) -> tuple[str, str]:
    """Return two values as text; of two mappings only what differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in one | other if one.get(name) != other.get(name)]
        one = {name: one.get(name) for name in names}
        other = {name: other.get(name) for name in names}
    return str(one)[:TOLD_CHARS], str(other)[:TOLD_CHARS]
