"""Reads the whole record beside the running guard, where the start read only its end.

What a start relied on was signed: the tree that it kept grew into the signed head. So a record that
was changed in its older part does not become true by going on; but somebody should hear of it, and
nothing more should be risked on that machine. The check takes a little of one core for as long as
it needs. What it finds is a fact for the core; while a finding stands it is made again, because
only a whole check that finds nothing ends it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct

from backstop.adapters.checkpoints import CheckpointFolder
from backstop.adapters.sqlite.audit_store import LOWEST_SEQ, AuditStore, StoredRecord
from backstop.adapters.sqlite.schema import FIRST_SEQ, damaged, one_line
from backstop.adapters.state_layout import AUDIT_DATABASE, CHECKPOINT_FOLDER
from backstop.app.audit_start import CheckedStart
from backstop.app.daemon_thread import in_daemon_thread
from backstop.app.tree_check import NoteSource, checked_key_chain, checked_leaves, walk
from backstop.core.checkpoint import log_origin, parse
from backstop.domain.record_kind import RecordKind
from backstop.errors import DamagedDatabaseError, StateFolderError, TamperedRecordError

RECORDS_AT_ONCE = 250
"""Records between two rests: some three milliseconds of work."""

REST_S = 0.03
"""A rest after them, so that the guard has the core most of the time."""

AGAIN_S = 300.0
"""A check that found something is made again after this: it reads the whole file, and a person
needs longer than that to mend anything."""

UNMADE_AGAIN_S = 5.0
"""One that could not be made, for a lock or a disk that fails for a moment, is tried again sooner:
entries may be waiting for it."""

SOUND = ""
"""The finding of a check that found nothing."""


class _Outcome(Struct, frozen=True, kw_only=True):
    """What one check came to; with ``unmade`` it says nothing about the record."""

    finding: str = SOUND
    unmade: str = ""


class RecordCheck:
    """Checks everything that there was at the start.

    Args:
        state_folder: where the record is.
        account: whose it is.
        start: what the start has seen of it.
        standing: what an earlier check found and no later one has disproved; SOUND for nothing.
        on_structure: hears that the structure of the file was looked through, and is sound.
        on_finding: hears what each complete check found: one line of text, or SOUND.
        on_fault: hears what is wrong, for the status; an empty text when nothing is.
    """

    def __init__(
        self,
        state_folder: Path,
        *,
        account: str,
        start: CheckedStart,
        standing: str,
        on_structure: Callable[[], None] = lambda: None,
        on_finding: Callable[[str], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self._state_folder = state_folder
        self._account = account
        self._start = start
        self._standing = standing
        self._on_structure = on_structure
        self._on_finding = on_finding
        self._on_fault = on_fault
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Check until one check finds nothing; none is needed where the start has read it all."""
        if self._start.whole:
            self._on_finding(SOUND)
            return
        self._on_fault(self._standing)
        while True:
            outcome = await self._checked()
            if outcome.unmade:
                self._on_fault(f"the record could not be checked: {outcome.unmade}")
                await asyncio.sleep(UNMADE_AGAIN_S)
                continue
            self._on_fault(outcome.finding)
            self._on_finding(outcome.finding)
            if outcome.finding == SOUND:
                return
            await asyncio.sleep(AGAIN_S)

    async def _checked(self) -> _Outcome:
        """Check once, on a thread of its own, which a process that must end does not wait for."""
        loop = asyncio.get_running_loop()

        def structure_is_sound() -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
                loop.call_soon_threadsafe(self._on_structure)

        try:
            return await in_daemon_thread(
                partial(self._outcome, structure_is_sound), name="record check"
            )
        except asyncio.CancelledError:
            self._stopped.set()
            raise

    def _outcome(self, structure_is_sound: Callable[[], None]) -> _Outcome:
        try:
            self._check(structure_is_sound)
        except (TamperedRecordError, DamagedDatabaseError) as error:
            return _Outcome(finding=one_line(str(error)))
        except (StateFolderError, OSError) as error:
            return _Outcome(unmade=one_line(str(error)))
        except Exception as error:  # noqa: BLE001 - a damaged record may break anything that reads it
            found = one_line(f"{type(error).__name__}: {error}")
            return _Outcome(finding=f"{AUDIT_DATABASE} cannot be read as a record: {found}")
        return _Outcome()

    def _check(self, structure_is_sound: Callable[[], None]) -> None:
        """Raise what is wrong with the record; nothing when it holds, or when nobody waits."""
        start, database = self._start, self._state_folder / AUDIT_DATABASE
        with AuditStore(database, checked=False) as store:
            fault = store.fault()
            if fault is not None:
                raise damaged(database, fault)
            structure_is_sound()
            newest = start.keys.public_key().public_bytes_raw()
            chain = checked_key_chain(
                store.payloads(RecordKind.KEY_ROTATION), newest=newest, account=self._account
            )
            outside = CheckpointFolder(self._state_folder / CHECKPOINT_FOLDER)
            walked = walk(
                checked_leaves(self._records(store), account=self._account),
                [NoteSource(name=str(outside.folder), notes=self._notes(outside))],
                origin=log_origin(self._account),
                chain=chain,
                check_signatures=False,
            )
        if self._stopped.is_set():
            return
        if (walked.frontier.size, walked.frontier.root()) != (start.size, start.root):
            raise TamperedRecordError(
                f"records 1 to {start.size}", "one of them is not what was signed"
            )

    def _records(self, store: AuditStore) -> Iterator[StoredRecord]:
        """Yield the records that there were at the start, with rests; fewer when stopped.

        A few at a time, so that no long read keeps the write-ahead log from being put away.
        """
        seq = FIRST_SEQ
        while seq <= self._start.size and not self._stopped.is_set():
            limit = min(RECORDS_AT_ONCE, self._start.size - seq + 1)
            first = LOWEST_SEQ if seq == FIRST_SEQ else seq
            some = list(store.records(from_seq=first, limit=limit))
            yield from some
            if len(some) < limit:
                return
            seq += limit
            time.sleep(REST_S)

    def _notes(self, outside: CheckpointFolder) -> Iterator[str]:
        """Yield the checkpoints of what there was at the start."""
        for note in outside.notes():
            if parse(note).checkpoint.size > self._start.size:
                return
            yield note
