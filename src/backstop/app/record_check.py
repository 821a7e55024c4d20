"""Reads the whole record beside the running guard, where the start read only its end.

What a start relied on was signed: the tree that it kept grew into the signed head. So a record that
was changed in its older part does not become true by going on; but somebody should hear of it, and
nothing more should be risked on that machine. The check takes a little of one core for as long as
it needs, and is no part of any decision.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from backstop.adapters.checkpoints import CheckpointFolder
from backstop.adapters.sqlite.audit_store import AuditStore, StoredRecord
from backstop.app.audit_start import CheckedStart
from backstop.app.codec import ROTATION_KIND
from backstop.app.state_layout import AUDIT_DATABASE
from backstop.app.tree_check import NoteSource, checked_key_chain, checked_leaves, walk
from backstop.core.checkpoint import log_origin, parse
from backstop.errors import BackstopError, TamperedRecordError

RECORDS_AT_ONCE = 250
"""Records between two rests: some three milliseconds of work."""

REST_S = 0.03
"""A rest after them, so that the guard has the core most of the time."""


class RecordCheck:
    """One check of everything that there was at the start."""

    def __init__(
        self,
        state_folder: Path,
        *,
        account: str,
        start: CheckedStart,
        on_finding: Callable[[str], None],
    ) -> None:
        self._state_folder = state_folder
        self._account = account
        self._start = start
        self._on_finding = on_finding
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Check once, and say what was found; nothing to do where the start has read it all."""
        if self._start.whole:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()

        def settle(finding: str) -> None:
            if not done.done():
                done.set_result(finding)

        def work() -> None:
            finding = self._finding()
            with suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
                loop.call_soon_threadsafe(partial(settle, finding))

        threading.Thread(target=work, name="record check", daemon=True).start()
        try:
            finding = await done
        finally:
            self._stopped.set()
        if finding:
            self._on_finding(finding)

    def _finding(self) -> str:
        """Return what is wrong with the record; empty when nothing is."""
        try:
            self._check()
        except BackstopError as error:
            return str(error)
        return ""

    def _check(self) -> None:
        """Raise what is wrong with the record; nothing when it holds, or when nobody waits."""
        start, folder = self._start, self._state_folder
        with AuditStore(folder / AUDIT_DATABASE, checked=False) as store:
            fault = store.fault()
            if fault is not None:
                raise TamperedRecordError(AUDIT_DATABASE, f"it is damaged: {fault}")
            newest = start.keys.public_key().public_bytes_raw()
            chain = checked_key_chain(
                store.payloads(ROTATION_KIND), newest=newest, account=self._account
            )
            outside = CheckpointFolder(folder / "checkpoints")
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
        seq = 1
        while seq <= self._start.size and not self._stopped.is_set():
            limit = min(RECORDS_AT_ONCE, self._start.size - seq + 1)
            some = list(store.records(from_seq=seq, limit=limit))
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
