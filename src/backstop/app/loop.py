"""One queue, one writer: the path of every fact.

fact -> journal -> core.step -> commands -> journal -> durable -> gateway, answers, log, watchers

The core runs ahead of the disk, the world does not: nothing that a step brings forth leaves this
process before its records are on disk. Facts that come while the disk is busy share the next
commit, so a busy market costs latency, never order.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from backstop.app.codec import COMMAND_KIND, EVENT_KIND, PROOF_KIND, encode, recordable
from backstop.app.dispatch import Dispatcher
from backstop.app.journal_fold import fold
from backstop.app.past_orders import PastOrders
from backstop.app.proofs import ProofMaker, with_proof
from backstop.core.book import Book
from backstop.core.engine import condensed, next_deadline_ns, step
from backstop.core.step import Decision, DecisionKind, Note, Step, Tag
from backstop.core.unrecorded import may_leave_unrecorded, needs_record
from backstop.core.wishes import judge
from backstop.domain.audit import AuditRow
from backstop.domain.commands import PlaceOrder, Request, Severity
from backstop.domain.events import (
    AccountAudited,
    Answer,
    Fact,
    OrderDispatched,
    OrderRequested,
    PlaceAnswered,
    TimerFired,
)
from backstop.errors import JournalError, StateFolderError
from backstop.ports import Clock, JournalBatch, JournalRecord, WritableJournal

MAX_QUEUED_FACTS = 100_000
"""Facts waiting for the core: minutes of the busiest market; beyond it the process is not sound."""

FACTS_PER_TURN = 64
"""Facts handled before other tasks get a turn."""

PROOFS_KEPT = 2_000
"""Newest proofs in memory; all of them stand in the audit table."""

NoteSink = Callable[[Note], None]


def _stopped() -> JournalError:
    return JournalError("The guard has stopped: nothing more is decided, recorded or sent.")


@dataclass(slots=True)
class _Pending:
    """One step on its way to the disk, and who waits for its decision."""

    result: Step
    durable: asyncio.Future[None]
    asker: asyncio.Future[Decision] | None
    proofs: dict[str, bytes]
    needs_record: bool


class DecisionLoop:
    """Owns the book; the only place where it changes."""

    def __init__(
        self,
        *,
        book: Book,
        journal: WritableJournal,
        clock: Clock,
        dispatcher: Dispatcher,
        proofs: ProofMaker,
        on_note: NoteSink,
        past: PastOrders | None = None,
    ) -> None:
        self.book = book
        self.failure: str | None = None  # why nothing is durable any more
        self.steps = 0  # work done: a pulse that carries it cannot lie about a stuck loop
        self.turns = 0  # times round the loop below, with or without a fact
        self._ended = False
        self._journal = journal
        self._clock = clock
        self._dispatcher = dispatcher
        self._proofs = proofs
        self._bundles: dict[str, bytes] = {}
        self._on_note = on_note
        self._past = past
        self._queue: deque[tuple[Fact, asyncio.Future[Decision] | None]] = deque()
        self._arrived = asyncio.Event()
        self._unreleased: asyncio.Queue[_Pending] = asyncio.Queue()
        self._releasing: _Pending | None = None
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}
        self._released = 0  # steps whose records are on disk and whose effects have left
        self._awaiting_record: deque[tuple[int, asyncio.Future[None]]] = deque()
        dispatcher.bind(self.put)

    # -- in ----------------------------------------------------------------------------------

    def put(self, fact: Fact) -> None:
        """Queue one fact; called on the event loop, never blocks."""
        self._put(fact, None)

    async def decide(self, fact: Fact) -> Decision:
        """Queue a wish and return its decision once that is durable.

        Raises:
            DomainError: a member of the wish is not what its type says; nothing was decided.
            JournalError: the decision could not be made durable, or the guard has stopped;
                nothing was sent.
        """
        if self._ended:
            raise _stopped()
        fact = recordable(fact)
        asker: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._put(fact, asker)
        return await asker

    def _put(self, fact: Fact, asker: asyncio.Future[Decision] | None) -> None:
        if self._ended:
            return  # what the broker still says is read at the next start
        if len(self._queue) >= MAX_QUEUED_FACTS:
            # To drop a fact would falsify the book; to stop is safe, the watchdog takes over.
            raise JournalError(f"{MAX_QUEUED_FACTS} facts are waiting: the guard does not keep up.")
        self._queue.append((fact, asker))
        self._arrived.set()

    @property
    def journal_seq(self) -> int:
        """Number of the newest record that was handed to the journal."""
        return self._journal.next_seq - 1

    def nudge(self) -> None:
        """Have the loop go round once although there is nothing to do: ``turns`` tells whether."""
        self._arrived.set()

    def replay(self, records: Iterable[JournalRecord]) -> int:
        """Fold the journal into the book; returns how many facts there were.

        Each is judged by the policy of its time; after that the book has its own one again.
        """
        policy, count = self.book.policy, 0
        for record in records:
            result = fold(self.book, record)
            count += result is not None
            self._keep_past(result)
        self.book.policy = policy
        return count

    def _keep_past(self, result: Step | None) -> None:
        if result is not None and result.let_go and self._past is not None:
            self._past.keep(result.let_go)

    def begin(self, fact: Fact) -> None:
        """Handle the first fact of this process at once, after the replay and before ``run``.

        Until then the book is that of the process before: its links seem up, its account read.
        """
        self._handle(fact, None)

    # -- the one writer ----------------------------------------------------------------------

    async def run(self) -> None:
        """Handle facts and deadlines until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._release_in_order(), name="release")
                while True:
                    await self._next_fact_or_deadline()
                    self.turns += 1
                    for _ in range(min(len(self._queue), FACTS_PER_TURN)):
                        fact, asker = self._queue.popleft()
                        self._handle(fact, asker)
                    await asyncio.sleep(0)
        finally:
            self._end()

    def _end(self) -> None:
        """Let nobody wait for a decision or a change that this process will not bring."""
        self._ended = True
        waiting = [asker for _, asker in self._queue]
        while not self._unreleased.empty():
            waiting.append(self._unreleased.get_nowait().asker)
        if self._releasing is not None:
            waiting.append(self._releasing.asker)
        self._queue.clear()
        for asker in waiting:
            if asker is not None and not asker.done():
                asker.set_exception(_stopped())
        for watcher in (each for watchers in self._watchers.values() for each in watchers):
            if not watcher.done():
                watcher.set_exception(_stopped())
        self._tell_recorded()

    async def _next_fact_or_deadline(self) -> None:
        if self._queue:
            return
        self._arrived.clear()
        due_ns = next_deadline_ns(self.book)
        wait_s = None if not due_ns else max(0, due_ns - self._clock.monotonic_ns()) / 1e9
        try:
            async with asyncio.timeout(wait_s):
                await self._arrived.wait()
        except TimeoutError:
            self.put(TimerFired(utc_us=self._clock.utc_us()))

    def _handle(self, fact: Fact, asker: asyncio.Future[Decision] | None) -> None:
        if isinstance(fact, AccountAudited):
            fact = condensed(self.book, fact)
        if self._past is not None:
            try:
                fact, recalled = self._past.consult(self.book, fact)
            except StateFolderError as error:
                recalled = None
                if asker is not None and self._is_entry(fact):
                    # It may be an order of the past, and would be a second one.
                    asker.set_exception(JournalError(str(error)))
                    return
            if recalled is not None:
                self._step(recalled, None)
        self._step(fact, asker)

    def _is_entry(self, fact: Fact) -> bool:
        if not isinstance(fact, OrderRequested):
            return False
        now_ns = self._clock.monotonic_ns()
        judged = judge(self.book, fact.request, fact.reference, now_ns=now_ns, marks=fact.marks)
        return judged is None or not judged.reducing

    def _step(self, fact: Fact, asker: asyncio.Future[Decision] | None) -> None:
        now_ns = self._clock.monotonic_ns()
        result = step(self.book, fact, now_ns)
        self._keep_past(result)
        self.steps += 1
        durable, proofs = self._record(fact, result, now_ns)
        self._unreleased.put_nowait(
            _Pending(
                result=result,
                durable=durable,
                asker=asker,
                proofs=proofs,
                needs_record=needs_record(fact),
            )
        )

    def _record(
        self, fact: Fact, result: Step, now_ns: int
    ) -> tuple[asyncio.Future[None], dict[str, bytes]]:
        utc_us = self._clock.utc_us()
        seq = self._journal.next_seq

        def record(kind: str, payload: bytes) -> JournalRecord:
            nonlocal seq
            made = JournalRecord(
                seq=seq, kind=kind, monotonic_ns=now_ns, utc_us=utc_us, payload=payload
            )
            seq += 1
            return made

        records = [record(EVENT_KIND, encode(fact))]
        event_seq = records[0].seq
        records.extend(record(COMMAND_KIND, encode(command)) for command in result.commands)
        order_rows: tuple[AuditRow, ...] = result.order_rows
        bundles: dict[str, bytes] = {}
        for client_order_id in result.proofs_due:
            bundle = self._proofs.make(self.book, client_order_id, journal_seq=event_seq)
            records.append(record(PROOF_KIND, bundle))
            bundles[client_order_id] = bundle
            order_rows = with_proof(self.book, order_rows, client_order_id, bundle)
        batch = JournalBatch(records=tuple(records), orders=order_rows, fills=result.fill_rows)
        return asyncio.ensure_future(self._journal.append(batch)), bundles

    # -- out ---------------------------------------------------------------------------------

    async def _release_in_order(self) -> None:
        while True:
            pending = self._releasing = await self._unreleased.get()
            try:
                await pending.durable
            except JournalError as error:
                self._release_without_journal(pending, error)
            else:
                self._release(pending)
            self._releasing = None
            self._released += 1
            self._tell_recorded()

    def _tell_recorded(self) -> None:
        waiting = self._awaiting_record
        while waiting and (self._ended or waiting[0][0] <= self._released):
            _, waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _release(self, pending: _Pending) -> None:
        result = pending.result
        self._keep_proofs(pending.proofs)
        for note in result.notes:
            self._on_note(note)
        for command in result.commands:
            if isinstance(command, PlaceOrder):
                self.put(
                    OrderDispatched(
                        utc_us=self._clock.utc_us(), client_order_id=command.client_order_id
                    )
                )
            self._dispatcher.dispatch(command)
        if pending.asker is not None and not pending.asker.done():
            pending.asker.set_result(result.decision or Decision(kind=DecisionKind.ACCEPTED))
        for client_order_id in result.changed_orders:
            for watcher in self._watchers.pop(client_order_id, ()):
                if not watcher.done():
                    watcher.set_result(None)

    def _release_without_journal(self, pending: _Pending, error: JournalError) -> None:
        """Let go only what reduces risk: a full disk must not hold a position open."""
        if self.failure is None:
            self.failure = str(error)
            self._on_note(
                Note(
                    tag=Tag.CRITICAL,
                    name="journal_failed",
                    fields={"message": str(error)},
                    severity=Severity.CRITICAL,
                )
            )
        result = pending.result
        pending.proofs = {}  # a proof names its place in the record, and there is none
        left = tuple(it for it in result.commands if may_leave_unrecorded(self.book, it))
        if len(left) < len(result.commands):
            pending.result = replace(result, commands=left)
            self._withhold([it for it in result.commands if it not in left])
        withheld = pending.needs_record or len(left) < len(result.commands)
        if withheld and pending.asker is not None and not pending.asker.done():
            pending.asker.set_exception(error)
        self._release(pending)

    def _withhold(self, commands: Iterable[Request]) -> None:
        for command in commands:
            if isinstance(command, PlaceOrder):
                self.put(
                    PlaceAnswered(
                        utc_us=self._clock.utc_us(),
                        client_order_id=command.client_order_id,
                        answer=Answer.NOT_SENT,
                        message="the intent could not be made durable",
                    )
                )

    def _keep_proofs(self, proofs: dict[str, bytes]) -> None:
        self._bundles.update(proofs)
        while len(self._bundles) > PROOFS_KEPT:
            del self._bundles[next(iter(self._bundles))]

    def proof_of(self, client_order_id: str) -> bytes | None:
        """Return the signed proof of an order that this process completed; None otherwise."""
        return self._bundles.get(client_order_id)

    # -- watching ----------------------------------------------------------------------------

    async def recorded(self) -> None:
        """Wait until everything that the book shows now is on disk and its effects have left.

        The book runs ahead of the disk; what is told to others must not.
        """
        if self._released >= self.steps or self._ended:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaiting_record.append((self.steps, waiter))
        await waiter

    async def order_changed(self, client_order_id: str) -> None:
        """Wait until a durable step changes the order.

        Raises:
            JournalError: the guard has stopped, and will bring no change.
        """
        if self._ended:
            raise _stopped()
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watchers = self._watchers.setdefault(client_order_id, [])
        watchers.append(watcher)
        try:
            await watcher
        finally:
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers and self._watchers.get(client_order_id) is watchers:
                del self._watchers[client_order_id]
