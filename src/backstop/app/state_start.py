"""What a start knows before it has heard anything: the newest state that can be relied on.

Current checkpoint, then its backup, then the older one, each with the journal's records after it;
where none can be used, the whole journal; where that is empty, the broker alone. The first that
holds is taken, and what was wrong with those before it is said.

A sound checkpoint can also know more than the journal, which lost its end or all of it: then it is
not the journal that is believed about what only the two of them know.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from backstop.adapters.sqlite.past_archive import PAST_DATABASE
from backstop.adapters.state_file import TAKEN, Generation, StateFiles
from backstop.adapters.state_format import Checkpoint, Heartbeat
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.audit_start import KnownTree
from backstop.app.past_orders import PastOrders
from backstop.core.book import Book
from backstop.core.policy import MILLISECOND_NS
from backstop.core.taken_state import TakenState, taken_state
from backstop.domain.events import StopKind
from backstop.emergency.checkpoint_book import book_of, check_record
from backstop.errors import StateFileError, StateFolderError
from backstop.ports import Clock

WHOLE_JOURNAL = "the whole journal"
NOTHING = "nothing"


class Ahead(Struct, frozen=True, kw_only=True):
    """A state that knows more than the journal.

    Attributes:
        path: the file that it is in.
        book: the state.
        checkpoint: the rest of what the file says.
    """

    path: Path
    book: Book
    checkpoint: Checkpoint

    @property
    def source(self) -> str:
        """Where the book is from, for people."""
        return f"{self.path.name}, which knows more than {AUDIT_DATABASE}"

    def entry(self, *, kept: str) -> TakenState:
        """Return what goes on record of it; ``kept`` as there."""
        return taken_state(
            self.book,
            source=self.path.name,
            record=self.checkpoint.record,
            journal_seq=self.checkpoint.journal_seq,
            kept=kept,
        )


class Guarded(Struct, frozen=True, kw_only=True):
    """When the account was guarded last, by both clocks.

    By a process that had read it, or that was at work and could not: a broker that cannot be
    reached is no downtime.

    ``utc_us`` 0: never, or nothing tells. ``monotonic_ns`` 0: in another boot of the machine.
    """

    utc_us: int = 0
    monotonic_ns: int = 0


class Before(Struct, frozen=True, kw_only=True):
    """How the last process that guarded the account ended.

    Attributes:
        stop: by whom or what; UNKNOWN: the record tells.
        guarded: when the account was guarded last.
        downtime_ms: how long it was not; None when nothing tells.
        wall_clock: that is a difference of times of day.
        calls: of the gateway, that it had made by ``calls_ns``; none of another boot.
        calls_ns: monotonic.
    """

    stop: StopKind
    guarded: Guarded
    downtime_ms: int | None
    wall_clock: bool
    calls: tuple[int, ...] = ()
    calls_ns: int = 0

    def told_by(self, book: Book) -> "Before":
        """Return it as ``book`` tells, which is the state with all that was recorded after it."""
        if self.stop is not StopKind.UNKNOWN:
            return self
        unsaid = book.ends_as is StopKind.UNKNOWN
        return replace(self, stop=StopKind.CRASH if unsaid else book.ends_as)


class StateSearch:
    """Goes through the checkpoints of one state folder, the newest first, until one holds.

    Attributes:
        faults: what is wrong with the files that cannot be used, as far as they were read.
    """

    def __init__(self, files: StateFiles, past: PastOrders, *, account_id: int) -> None:
        """Read nothing yet; ``past`` is given its archive when the record is known."""
        self.faults: dict[Path, StateFileError] = {}
        self._files = files
        self._past = past
        self._account_id = account_id
        self._read: list[Generation] = []
        self._books: dict[Path, Book] = {}
        self._record = ""

    def trees(self, record: str, size: int) -> Iterator[KnownTree]:
        """Yield the tree of each usable checkpoint; one is taken apart when it is asked for.

        ``record`` names the record that is there, ``size`` is the number of its entries.
        """
        self._record = record
        self._past.attach(record)
        for found in self._generations():
            if found.checkpoint is None:
                continue
            try:
                check_record(found.path, found.checkpoint, record=record, size=size)
                self._books[found.path] = _book(found.path, found.checkpoint, self._past)
                yield _tree(found.path, found.checkpoint)
            except StateFileError as fault:
                self.faults[found.path] = fault

    def _generations(self) -> Iterator[Generation]:
        for found in self._files.generations(self._account_id):
            self._read.append(found)
            if found.fault is not None:
                self.faults[found.path] = found.fault
            yield found

    def book(self, *, size: int, known: KnownTree | None) -> tuple[Book, Checkpoint, str] | None:
        """Return the newest book that is one of this record, its checkpoint and the file's name.

        None: it is to be folded from the whole journal. ``size`` is the number of its entries,
        ``known`` the tree out of ``trees`` that fits it.

        Raises:
            StateFolderError: there is no record, and the state is that of another account.
        """
        if not size:
            self._read_without_record()
        others = [it.other_account for it in self._read if it.other_account is not None]
        if others and not size:
            raise StateFolderError(
                f"{self._files.folder} holds the state of account {others[0]}. Nothing was "
                "changed. Set BACKSTOP_STATE_DIR to a folder of its own for each account."
            )
        for found in self._read:
            checkpoint, book = found.checkpoint, self._books.get(found.path)
            if checkpoint is None or book is None:
                continue
            if _tree(found.path, checkpoint) == known:
                return book, checkpoint, found.path.name
            self.faults[found.path] = StateFileError(
                str(found.path), "the record up to it is not the one in audit.db"
            )
        return None

    def _read_without_record(self) -> None:
        for found in self._generations():
            if found.checkpoint is not None:
                self.faults[found.path] = StateFileError(
                    str(found.path), "the record that it belongs to is gone"
                )

    def ahead(self, record: str, size: int) -> Ahead | None:
        """Return the newest state of this account that knows more than the journal; after ``book``.

        One of another record knows more than an empty journal, and nothing about one that is there.
        One that a start has taken, and that died before the journal had it, comes first.
        """
        taken = self._files.taken(self._account_id)
        if taken is not None:
            found = self._usable(taken)
            if found is not None:
                return found
        files = [
            it
            for it in self._read
            if it.checkpoint is not None
            and (not size or (_is_of(it, record) and it.checkpoint.journal_seq > size))
        ]
        newest_first = sorted(files, key=_newest_seq, reverse=True)
        return next((it for it in map(self._usable, newest_first) if it is not None), None)

    def _usable(self, found: Generation) -> Ahead | None:
        """Return what a sound file holds; None where its state is of another version."""
        if found.checkpoint is None:
            return None
        try:
            book = _as_it_ended(found.path, found.checkpoint)
        except StateFileError as fault:
            self.faults[found.path] = fault
            return None
        return Ahead(path=found.path, book=book, checkpoint=found.checkpoint)

    def take_out(self, ahead: Ahead) -> None:
        """Have its file be no generation any more, and not set aside before the journal has it."""
        self.faults.pop(ahead.path, None)
        if ahead.path.name != TAKEN:
            self._files.take_out(ahead.path)

    def before(self, *, size: int, clock: Clock, boot_id: str, ahead: Ahead | None) -> Before:
        """Return what the files tell of the process before this one; before any is set aside.

        ``size`` is the number of entries of the record, ``ahead`` a state that knows more than it.
        """
        beats = self._files.heartbeats()
        newest = max(beats, key=lambda beat: beat.utc_us, default=None)
        downtime_ms, wall_clock = _downtime(newest, clock=clock, boot_id=boot_id)
        guarded = Guarded()
        in_this_boot = newest is not None and newest.boot_id == boot_id
        if newest is not None:
            guarded = Guarded(
                utc_us=newest.guarded_utc_us,
                monotonic_ns=newest.guarded_monotonic_ns if in_this_boot else 0,
            )
        stop = StopKind.UNKNOWN
        if ahead is None and not self._read and not size:
            stop = StopKind.FIRST
        elif ahead is None and any(self._is_end(it, size) for it in self._read):
            stop = StopKind.CLEAN
        return Before(
            stop=stop,
            guarded=guarded,
            downtime_ms=downtime_ms,
            wall_clock=wall_clock,
            calls=newest.calls if newest is not None and in_this_boot else (),
            calls_ns=newest.monotonic_ns if newest is not None else 0,
        )

    def _is_end(self, found: Generation, size: int) -> bool:
        """Say whether a clean stop wrote this last, and nothing has been recorded since.

        Its state may have the form of another version, which is not read: whoever stops a guard to
        put a newer one in its place has not crashed.
        """
        last = found.checkpoint
        ends = last is not None and last.clean_stop and last.journal_seq == size
        return ends and _is_of(found, self._record)

    def newest_seq(self, record: str) -> int:
        """Return the newest entry of ``record`` that a file says was on disk; 0: none says so.

        Where there is no record (its name is empty), of any.
        """
        found = (it for it in self._read if _is_of(it, record) or not record)
        return max(map(_newest_seq, found), default=0)

    def set_aside(self, on_set_aside: Callable[[StateFileError, Path], None]) -> None:
        """Keep what could not be used under other names, so that nothing is written over it.

        Raises:
            StateFolderError: a file cannot be moved.
        """
        for path, fault in self.faults.items():
            on_set_aside(fault, self._files.set_aside(path))


def _book(path: Path, checkpoint: Checkpoint, past: PastOrders) -> Book:
    """Return the book of a checkpoint whose checksum holds; raises StateFileError."""
    book = _as_it_ended(path, checkpoint)
    if past.is_behind(checkpoint.archive_seq):
        raise StateFileError(
            str(path), f"{PAST_DATABASE} beside it lacks orders that have left this state"
        )
    return book


def _as_it_ended(path: Path, checkpoint: Checkpoint) -> Book:
    """Return the book of a checkpoint, which may be the last word of a clean stop."""
    book = book_of(path, checkpoint)
    if checkpoint.clean_stop:
        book.ends_as = StopKind.CLEAN
    return book


def _is_of(found: Generation, record: str) -> bool:
    return found.checkpoint is not None and found.checkpoint.record == record


def _newest_seq(found: Generation) -> int:
    beaten = 0 if found.heartbeat is None else found.heartbeat.journal_seq
    return max(beaten, 0 if found.checkpoint is None else found.checkpoint.journal_seq)


def _tree(path: Path, checkpoint: Checkpoint) -> KnownTree:
    try:
        peaks = tuple(bytes.fromhex(peak) for peak in checkpoint.tree.peaks)
    except ValueError as error:
        raise StateFileError(str(path), f"its tree is none: {error}") from error
    return KnownTree(size=checkpoint.tree.size, peaks=peaks)


def _downtime(beat: Heartbeat | None, *, clock: Clock, boot_id: str) -> tuple[int | None, bool]:
    """Return how long nobody guarded in ms, and whether that is a difference of times of day."""
    if beat is None or not beat.guarded_utc_us:
        return None, False
    now_ns = clock.monotonic_ns()
    if beat.boot_id == boot_id and beat.guarded_monotonic_ns:
        return max(0, now_ns - beat.guarded_monotonic_ns) // MILLISECOND_NS, False
    by_the_clock_ms = max(0, clock.utc_us() - beat.guarded_utc_us) // 1000
    if beat.boot_id == boot_id:
        return by_the_clock_ms, True
    # Whoever guarded was gone when this boot began, whatever the time of day was set to since.
    return max(by_the_clock_ms, now_ns // MILLISECOND_NS), True
