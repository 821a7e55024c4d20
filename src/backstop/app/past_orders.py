"""Finished orders that the book has let go of: in memory until the archive has them on disk.

The decision loop hands over what leaves and asks before each fact whether something of it is meant:
``app.past_recall``. The archive is written by the thread that writes checkpoints, and before each
of them. One that is found to be damaged is used no more until it was made again:
``app.past_rebuild``.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from backstop.adapters.sqlite.past_archive import PastArchive, PastReading, PastRow
from backstop.app.disk_worker import DiskWorker
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
from backstop.errors import DamagedDatabaseError, StateFolderError

NO_KEY = "?"
"""Nothing goes by it; asked for to see whether the archive answers."""

_T = TypeVar("_T")


class PastOrders:
    """Everything that has left the book of one account.

    Attributes:
        fault: why the archive cannot be asked; None while it can.
        damage: what was found in the archive that cannot be; None while nothing was.
        unusable: why the file that was there at the start is not used; empty when it is.
    """

    def __init__(self, path: Path) -> None:
        """Name the archive's file; nothing is touched yet."""
        self.fault: str | None = None
        self.damage: str | None = None
        self.unusable = ""
        self._archived_seq = 0  # of the damaged archive, until there is another one
        self._writing = threading.Lock()
        self._path = path
        self._archive: PastArchive | None = None  # none before anything has left the book
        self._waiting: dict[str, PastOrder] = {}  # by name, oldest first
        self._by_key: dict[str, PastOrder] = {}  # of those that wait

    def attach(self, record: str) -> None:
        """Use the archive of this record, if there is one that can be used."""
        try:
            self._archive = PastArchive.open(self._path, record=record)
        except StateFolderError as error:
            self.unusable = str(error)

    def is_behind(self, seq: int) -> bool:
        """Say whether orders that had left up to record ``seq`` are missing, and remember it."""
        if self.archived_seq >= seq:
            return False
        self.unusable = self.unusable or (
            f"{self._path} lacks orders that left the state up to record {seq}."
        )
        return True

    @property
    def archived_seq(self) -> int:
        """Everything that had left the book up to this record is in the archive."""
        archived_seq = 0 if self._archive is None else self._archive.seq
        # A state that counts on a damaged archive must not be used with half of the next one.
        return max(archived_seq, self._archived_seq)

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

    def is_readable(self) -> bool:
        """Say whether the archive can be asked now."""
        try:
            self._asked(lambda archive: archive.find((NO_KEY,)))
        except StateFolderError:
            return False
        return True

    # -- for people and bots -------------------------------------------------------------------

    async def named(self, order_id: str, line: DiskWorker) -> PastOrder | None:
        """Return an order of the past by its client id, or by its number at the venue as text.

        The archive is read in ``line``, beside the event loop.

        Raises:
            StateFolderError: the archive cannot be read.
        """
        keys = [client_key(order_id)]
        if order_id.isascii() and order_id.isdecimal() and len(order_id) <= NUMBER_DIGITS_MAX:
            keys.append(order_key(int(order_id)))
        found = self._held(keys)
        if not found:
            read = await self._asked_aside(lambda archive: _found(archive, keys), line)
            found = (read or {}) | self._held(keys)  # what has left the book meanwhile
        return next((found[key] for key in keys if key in found), None)

    async def newest(
        self, limit: int, state: OrderState | None, line: DiskWorker
    ) -> tuple[tuple[PastOrder, ...], int]:
        """Return orders of ours of the past, the newest first, and how many there are in all.

        Raises:
            StateFolderError: the archive cannot be read.
        """
        waiting = self._listed(state)

        def ask(archive: PastReading) -> tuple[list[PastOrder], int]:
            # One that came back and left again is in the archive too, as it was before.
            before = _found(archive, tuple(waiting))
            twice = sum(
                past.order is not None and state in {None, past.order.state}
                for past in before.values()
            )
            kept = archive.newest(limit=limit + twice, state=state)
            older = [_decoded(archive, value) for value in kept]
            return older, archive.count(state=state) - twice

        older, total = await self._asked_aside(ask, line) or ([], 0)
        waiting = self._listed(state) | waiting  # and what has left the book meanwhile
        seen = (*waiting.values(), *(past for past in older if past.name not in waiting))
        return seen[:limit], total + len(waiting)

    def _listed(self, state: OrderState | None) -> dict[str, PastOrder]:
        """Return orders of ours that wait, by name, the newest first."""
        return {
            past.name: past
            for past in reversed(self._waiting.values())
            if past.order is not None and state in {None, past.order.state}
        }

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
        with self._writing:
            if self.damage is not None:
                raise StateFolderError(self.damage)
            if self._archive is None:
                self._archive = PastArchive.anew(self._path, record=record)
            try:
                self._archive.add(map(archive_row, entries), seq=seq)
            except DamagedDatabaseError as error:
                self._found_damaged(self._archive, error)
                raise

    def written(self, entries: Iterable[PastOrder]) -> None:
        """Let go of what ``write`` put on disk, unless it has changed since."""
        for past in entries:
            if self._waiting.get(past.name) is past:
                del self._waiting[past.name]
            for key in past.keys:
                if self._by_key.get(key) is past:
                    del self._by_key[key]

    # -- when the archive is damaged -----------------------------------------------------------

    def begin_again(self, *, record: str) -> PastArchive:
        """Keep the damaged archive aside and return an empty one; on a thread of its own.

        Nothing is asked of it, and nothing else put into it, before ``use``.

        Raises:
            StateFolderError: it cannot be made.
        """
        with self._writing:
            if self._archive is not None:
                self._archive.close()
                self._archive = None
            return PastArchive.anew(self._path, record=record)

    def use(self, archive: PastArchive) -> None:
        """Ask ``archive`` from now on: all that had left up to its record is in it."""
        with self._writing:
            self._archive, self._archived_seq = archive, 0
            self.damage = self.fault = None

    def _found_damaged(self, archive: PastArchive, error: DamagedDatabaseError) -> None:
        self._archived_seq = archive.seq
        self.fault = self.damage = str(error)

    def close(self) -> None:
        """Close the archive."""
        if self._archive is not None:
            self._archive.close()

    def _find(self, keys: tuple[str, ...]) -> dict[str, PastOrder]:
        held = self._held(keys)
        others = [key for key in keys if key not in held]
        if not others:
            return held
        found = self._asked(lambda archive: _found(archive, others))
        return held | (found or {})

    def _held(self, keys: Iterable[str]) -> dict[str, PastOrder]:
        return {key: self._by_key[key] for key in keys if key in self._by_key}

    def _asked(self, question: Callable[[PastReading], _T]) -> _T | None:
        """Return what the archive answers; None before there is one. Remembers why it cannot."""
        archive = self._usable()
        if archive is None:
            return None
        with self._noting(archive):
            return question(archive)

    async def _asked_aside(
        self, question: Callable[[PastReading], _T], line: DiskWorker
    ) -> _T | None:
        """Return the same in ``line``, over a connection of its own: no decision waits for it."""
        archive = self._usable()
        if archive is None:
            return None

        def ask() -> _T:
            with closing(PastReading(archive.path)) as reading:
                return question(reading)

        with self._noting(archive):
            answer = await line.do(ask)
        self._usable()  # else it may have been read from what was put aside meanwhile
        return answer

    def _usable(self) -> PastArchive | None:
        """Return the archive, if there is one; raises StateFolderError while it is damaged."""
        if self.damage is not None:
            raise StateFolderError(self.damage)
        return self._archive

    @contextmanager
    def _noting(self, archive: PastArchive) -> Iterator[None]:
        """Remember whether ``archive`` can be asked."""
        try:
            yield
        except StateFolderError as error:
            if archive is self._archive:
                self.fault = str(error)
                if isinstance(error, DamagedDatabaseError):
                    self._found_damaged(archive, error)
            raise
        if archive is self._archive:
            self.fault = self.damage


def _found(archive: PastReading, keys: Sequence[str]) -> dict[str, PastOrder]:
    """Return the entries that go by ``keys``."""
    entries = {key: _decoded(archive, value) for key, value in archive.find(keys).items()}
    for key, past in entries.items():
        if key not in past.keys:
            raise archive.damaged(f"under {key} is {past.name}, which does not go by that")
    return entries


def _decoded(archive: PastReading, value: bytes) -> PastOrder:
    try:
        past = decoded_entry(value)
    except (ValueError, TypeError) as error:  # TypeError: the column holds no bytes any more
        raise archive.damaged(f"an entry is none: {error}") from error
    if not past.keys:
        raise archive.damaged("an entry names nothing")
    return past


def archive_row(past: PastOrder) -> PastRow:
    """Return how the archive keeps ``past``."""
    return PastRow(
        name=past.name,
        keys=past.keys,
        state="" if past.order is None else str(past.order.state),
        value=msgspec.json.encode(past),
    )
