"""Makes the archive of past orders again from the journal when it is found to be damaged.

The journal explains everything that ever left the book, so nothing is lost with the archive. The
damaged one is kept aside, the journal is folded once more on a thread of its own, with rests, and
what leaves that book goes to the new archive. Until it is complete nothing is asked of it: new
orders wait and old trades are held. A process that dies meanwhile leaves an archive that is behind
the state, which the next start sees: it folds the whole journal.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

from backstop.adapters.sqlite.journal_view import JournalView
from backstop.adapters.sqlite.past_archive import PastArchive
from backstop.app.audit_trail import AuditTrail
from backstop.app.daemon_thread import in_daemon_thread
from backstop.app.past_orders import PastOrders, archive_row
from backstop.core.book import Book
from backstop.core.engine import new_book
from backstop.core.journal_leaf import leaf_hash
from backstop.core.past import PastOrder
from backstop.core.record_fold import decode_policy, fold
from backstop.domain.events import Fact, PastUnreadable
from backstop.errors import BackstopError, StateFolderError
from backstop.ports import Clock, JournalRecord

LOOK_S = 0.2
"""Between two looks at whether the archive is damaged: new orders wait for what follows."""

AGAIN_S = 60.0
"""A journal that could not be read is tried again after this."""

RECORDS_AT_ONCE = 50
"""Records between two rests: some five milliseconds of work."""

REST_S = 0.01
"""A rest after them, so that the guard has the core most of the time."""

ENTRIES_AT_ONCE = 500
"""Orders that wait to be put on disk: bounds the memory, as at a start."""


class PastRebuild:
    """Looks after the archive of one running guard."""

    def __init__(
        self,
        *,
        past: PastOrders,
        trail: AuditTrail,
        book: Book,
        tell: Callable[[Fact], None],
        clock: Clock,
    ) -> None:
        self._past = past
        self._trail = trail
        self._book = book
        self._tell = tell
        self._clock = clock
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Make the archive again whenever it is damaged, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            damage = self._past.damage
            if damage is None:
                continue
            if not self._book.doubt.fault:
                self._tell(PastUnreadable(utc_us=self._clock.utc_us(), reason=damage))
            made = await self._made_again()
            if isinstance(made, PastArchive):
                self._past.use(made)
            else:
                self._past.fault = f"{damage} That failed, and is tried again: {made}"
                await asyncio.sleep(AGAIN_S)

    async def _made_again(self) -> PastArchive | str:
        """Return the new archive, or why there is none; the work is done on its own thread."""
        try:
            return await in_daemon_thread(self._make, name="past orders")
        except asyncio.CancelledError:
            self._stopped.set()
            raise
        except BackstopError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a damaged journal may break any reader
            return f"{type(error).__name__}: {error}"

    def _make(self) -> PastArchive:
        """Fold the journal as far as it is on disk now, and archive what leaves the book."""
        last_seq = self._trail.durable_seq
        archive = self._past.begin_again(record=self._trail.record_name())
        try:
            leaving: list[PastOrder] = []
            for record, let_go in self._folded(last_seq):
                leaving.extend(let_go)
                if len(leaving) >= ENTRIES_AT_ONCE:
                    archive.add(map(archive_row, leaving), seq=record.seq)
                    leaving.clear()
            archive.add(map(archive_row, leaving), seq=last_seq)
        except BaseException:
            archive.close()
            raise
        return archive

    def _folded(self, last_seq: int) -> Iterator[tuple[JournalRecord, tuple[PastOrder, ...]]]:
        """Yield every record with what left the book with it, with rests."""
        view = JournalView(self._trail.path, leaf_hash=leaf_hash)
        book: Book | None = None
        for start in range(0, last_seq, RECORDS_AT_ONCE):
            for record in view[start : min(start + RECORDS_AT_ONCE, last_seq)]:
                if book is None:
                    book = new_book(decode_policy(record))
                result = fold(book, record)
                yield record, () if result is None else result.let_go
            if self._stopped.is_set():
                raise StateFolderError("the guard was stopped meanwhile")
            time.sleep(REST_S)
