"""Finished orders that the book has let go of: in memory until the archive has them on disk.

The decision loop hands over what leaves and asks before each fact whether something of it is meant.
The archive is written by the thread that writes checkpoints, and before each of them.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from backstop.adapters.sqlite.past_archive import PastArchive, PastRow
from backstop.core.book import NUMBER_DIGITS_MAX, Book
from backstop.core.past import (
    PastOrder,
    client_key,
    decoded_entry,
    order_key,
    recollected,
    unheard,
)
from backstop.domain.events import Fact, PastRecalled
from backstop.domain.order import OrderState
from backstop.errors import StateFolderError


class PastOrders:
    """Everything that has left the book of one account.

    Attributes:
        fault: why the archive cannot be asked; None while it can.
    """

    def __init__(self, path: Path) -> None:
        """Name the archive's file; nothing is touched yet."""
        self.fault: str | None = None
        self._path = path
        self._archive: PastArchive | None = None  # none before anything has left the book
        self._waiting: dict[str, PastOrder] = {}  # by name, oldest first
        self._by_key: dict[str, PastOrder] = {}  # of those that wait

    def attach(self, record: str) -> None:
        """Use the archive of this record, if there is one."""
        self._archive = PastArchive.open(self._path, record=record)

    @property
    def archived_seq(self) -> int:
        """Everything that had left the book up to this record is in the archive."""
        return 0 if self._archive is None else self._archive.seq

    # -- for the decision loop -----------------------------------------------------------------

    def keep(self, let_go: Iterable[PastOrder]) -> None:
        """Take what left the book."""
        for past in let_go:
            self._waiting.pop(past.name, None)
            self._waiting[past.name] = past
            self._by_key.update(dict.fromkeys(past.keys, past))

    def consult(self, book: Book, fact: Fact) -> tuple[Fact, PastRecalled | None]:
        """Return ``fact`` as it is to be handled, and what has to be handled before it.

        Raises:
            StateFolderError: the archive cannot be read, so what the fact means is not known.
        """
        asked = unheard(book, fact)
        if not asked:
            return fact, None
        return recollected(book, fact, asked=asked, found=self._find(asked))

    # -- for people and bots -------------------------------------------------------------------

    def named(self, order_id: str) -> PastOrder | None:
        """Return an order of the past by its client id, or by its number at the venue as text.

        Raises:
            StateFolderError: the archive cannot be read.
        """
        keys = [client_key(order_id)]
        if order_id.isascii() and order_id.isdecimal() and len(order_id) <= NUMBER_DIGITS_MAX:
            keys.append(order_key(int(order_id)))
        found = self._find(tuple(keys))
        return next((found[key] for key in keys if key in found), None)

    def newest(
        self, limit: int, state: OrderState | None = None
    ) -> tuple[tuple[PastOrder, ...], int]:
        """Return orders of ours of the past, the newest first, and how many there are in all.

        Raises:
            StateFolderError: the archive cannot be read.
        """
        waiting = [
            past
            for past in reversed(self._waiting.values())
            if past.order is not None and state in {None, past.order.state}
        ]
        if self._archive is None:
            return tuple(waiting[:limit]), len(waiting)
        names = {past.name for past in waiting}
        # One that came back and left again is in the archive too, as it was before.
        before = map(decoded_entry, self._archive.find(tuple(names)).values())
        twice = sum(past.order is not None and state in {None, past.order.state} for past in before)
        kept = map(decoded_entry, self._archive.newest(limit=limit + twice, state=state))
        older = (past for past in kept if past.name not in names)
        total = self._archive.count(state=state) + len(waiting) - twice
        return tuple((*waiting, *older)[:limit]), total

    # -- for the thread that writes ------------------------------------------------------------

    @property
    def waiting(self) -> tuple[PastOrder, ...]:
        """What is not in the archive yet, oldest first."""
        return tuple(self._waiting.values())

    def write(self, entries: Iterable[PastOrder], *, record: str, seq: int) -> None:
        """Put ``entries``, all that left up to record ``seq``, on disk; on a thread of its own.

        Raises:
            StateFolderError: they could not be written.
        """
        if self._archive is None:
            self._archive = PastArchive.anew(self._path, record=record)
        self._archive.add((_row(past) for past in entries), seq=seq)

    def written(self, entries: Iterable[PastOrder]) -> None:
        """Let go of what ``write`` put on disk, unless it has changed since."""
        for past in entries:
            if self._waiting.get(past.name) is past:
                del self._waiting[past.name]
            for key in past.keys:
                if self._by_key.get(key) is past:
                    del self._by_key[key]

    def close(self) -> None:
        """Close the archive."""
        if self._archive is not None:
            self._archive.close()

    def _find(self, keys: tuple[str, ...]) -> dict[str, PastOrder]:
        held = {key: self._by_key[key] for key in keys if key in self._by_key}
        others = [key for key in keys if key not in held]
        try:
            found = self._archive.find(others) if others and self._archive is not None else {}
        except StateFolderError as error:
            self.fault = str(error)
            raise
        self.fault = None
        return held | {key: decoded_entry(value) for key, value in found.items()}


def _row(past: PastOrder) -> PastRow:
    return PastRow(
        name=past.name,
        keys=past.keys,
        state="" if past.order is None else str(past.order.state),
        value=msgspec.json.encode(past),
    )
