"""The book as the record of a state folder tells it, read by a process that writes no record.

It is a help and no condition: own orders and tags are known by it, and a liquidation that a dead
process began goes on. Whatever is wrong with it, the broker is the truth.
"""

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.adapters.sqlite.journal_view import JournalView
from backstop.adapters.sqlite.schema import FIRST_SEQ
from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.core.book import Book
from backstop.core.engine import new_book
from backstop.core.journal_leaf import leaf_hash
from backstop.core.policy import Policy
from backstop.core.record_fold import fold
from backstop.emergency.checkpoint_book import book_of, check_record
from backstop.emergency.spool import Spooled
from backstop.errors import BackstopError, StateFileError
from backstop.ports import JournalRecord

READ_LIMIT_S = 5.0
"""A record that takes longer is not waited for: positions are open meanwhile."""


class Recorded(Struct, frozen=True, kw_only=True):
    """The book to begin with.

    Attributes:
        book: what is known before the broker is asked.
        fault: why the record is no part of it; empty when it is, or when there is none.
        owner: the other account whose record it is; empty when it is ours.
    """

    book: Book
    fault: str = ""
    owner: str = ""


def recorded(folder: Path, spooled: Spooled, policy: Policy) -> Recorded:
    """Return what the record and the rows after it tell, or a new book and what was wrong."""
    reading = _Reading(folder, spooled, policy)
    # A thread that a process at its end does not wait for: the disk may never answer.
    thread = threading.Thread(target=reading.run, name="record", daemon=True)
    thread.start()
    thread.join(READ_LIMIT_S)
    fault = f"it was not read within {READ_LIMIT_S:g} s" if thread.is_alive() else reading.fault
    book = reading.book
    if fault or book is None:
        reading.given_up = True
        return Recorded(book=new_book(policy), fault=fault)
    book.policy = policy
    return Recorded(book=book, owner=reading.owner)


class _Reading:
    """One attempt to read it.

    Attributes:
        book: what it came to; None before the end.
        fault: why it came to nothing.
        owner: the account whose record it is, where that is not ours: nothing of it is taken.
        given_up: nobody waits for it any more.
    """

    def __init__(self, folder: Path, spooled: Spooled, policy: Policy) -> None:
        self.book: Book | None = None
        self.fault = ""
        self.owner = ""
        self.given_up = False
        self._folder = folder
        self._spooled = spooled
        self._policy = policy

    def run(self) -> None:
        try:
            book = self._record()
            if self._spooled.digest != book.emergency_digest:
                self._fold(book, self._spooled.records)
            self.book = book
        except (BackstopError, sqlite3.Error, OSError, ValueError) as error:
            self.fault = str(error)
        except Exception as error:  # noqa: BLE001 - a damaged record may break anything that reads it
            self.fault = f"{type(error).__name__}: {error}"

    def _record(self) -> Book:
        path = self._folder / AUDIT_DATABASE
        if not path.exists():
            return new_book(self._policy)
        with AuditStore(path, checked=False) as store:
            owner, first = store.account(), store.leaf_hash(FIRST_SEQ)
        if owner is not None and owner != str(self._policy.account_id):
            self.owner = owner
            return new_book(self._policy)
        view = JournalView(path, leaf_hash=leaf_hash)
        size = len(view)
        name = "" if first is None else first.hex()
        for found in StateFiles(self._folder).generations(self._policy.account_id):
            kept = found.checkpoint
            if kept is None:
                continue
            try:
                check_record(found.path, kept, record=name, size=size)
                book = book_of(found.path, kept)
            except StateFileError:
                continue  # an older one, or the facts themselves, tell it anew
            self._fold(book, view.read_from(kept.journal_seq + 1))
            return book
        book = new_book(self._policy)
        self._fold(book, view)
        return book

    def _fold(self, book: Book, records: Iterable[JournalRecord]) -> None:
        for record in records:
            if self.given_up:
                return
            fold(book, record)
