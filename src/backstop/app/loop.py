"""One queue, one writer: the path of every fact.

fact -> core.step -> journal -> durable -> gateway, answers, log, watchers

The core runs ahead of the disk, the world does not: nothing that a step brings forth leaves this
process before its records are on disk. Facts that come while the disk is busy share the next
commit, so a busy market costs latency, never order. When the disk takes nothing, what reduces risk
leaves all the same: ``app.outage`` says what, and keeps account of it. What the book has let go of,
and a fact may mean all the same, is asked for before each: ``app.past_recall``.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from msgspec.structs import replace

from backstop.app.codec import recordable
from backstop.app.deadline import DeadlineTimer
from backstop.app.dispatch import Dispatcher
from backstop.app.followers import Followers, StepFollower
from backstop.app.journal_fold import policy_batch
from backstop.app.outage import Outage
from backstop.app.past_orders import PastOrders
from backstop.app.past_recall import PastRecall
from backstop.app.pending_step import PendingStep
from backstop.app.proofs import ProofMaker
from backstop.app.recording import Recorder
from backstop.app.waiter import refuse
from backstop.app.watchers import Wanted, Watchers
from backstop.core.book import Book
from backstop.core.clock_readings import is_clock_news
from backstop.core.engine import condensed, next_deadline_ns, step
from backstop.core.record_fold import decode_fact, decode_policy, fold
from backstop.core.step import Decision, DecisionKind, Note
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.commands import PlaceOrder, RaiseAlert
from backstop.domain.events import (
    AccountAudited,
    Fact,
    OrderDispatched,
    TimerFired,
    VenueClockRead,
)
from backstop.domain.record_kind import RecordKind
from backstop.errors import JournalError, JournalFullError
from backstop.ports import Clock, JournalRecord, WritableJournal

MAX_QUEUED_FACTS = 100_000
"""Facts waiting for the core: minutes of the busiest market; beyond it the process is not sound."""

FACTS_PER_TURN = 64
TURN_NS = 4_000_000
"""Facts handled, and time spent on them, before other tasks get a turn: sockets, pulses and
requests wait for no longer when very much comes at once."""

NOTE_WAIT_S = 0.1
"""How long the note that a request has left may wait for company. Nothing is decided by it that is
not decided without it: an order that was let go counts as one that left. So it takes no commit of
its own, and the venue's answer, which is told to somebody, has not to wait for that one."""

BEYOND_THE_RECORD = (
    "The disk took no record for so long that some could not be kept. The record says so, and "
    "ends here: start the guard anew, and it reads the broker's truth."
)

NoteSink = Callable[[Note], None]


_ACCEPTED = Decision(kind=DecisionKind.ACCEPTED)


def _stopped() -> JournalError:
    return JournalError("The guard has stopped: nothing more is decided, recorded or sent.")


def _nothing() -> None:
    """Nobody wants to hear of it, or has anything to say."""


def _nothing_before(_book: Book, _fact: Fact) -> None:
    """Nothing has to be on record before a fact."""


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
        self.steps = 0  # work done: a pulse that carries it cannot lie about a stuck loop
        self.turns = 0  # times round the loop below, with or without a fact
        self.before_turn: Callable[[], Fact | None] = _nothing  # says what comes before all else
        self.on_step: Callable[[], None] = _nothing  # hears of each step before anything leaves
        # Says, at each fact, what has to be on record before it.
        self.before_fact: Callable[[Book, Fact], Fact | None] = _nothing_before
        self._journal = journal
        self._clock = clock
        self._dispatcher = dispatcher
        self._recorder = Recorder(clock=clock, proofs=proofs)
        self._deadline = DeadlineTimer(clock, self._look_at_the_deadline)
        self._on_note = on_note
        self._recall = PastRecall(past, clock=clock)
        self._queue: deque[tuple[Fact, asyncio.Future[Decision] | None]] = deque()
        self._taken = 0  # facts out of the queue, since the start
        self._unreleased: deque[PendingStep] = deque()
        self._early: list[tuple[PendingStep, JournalError | None]] = []  # told before ``run``
        self._outage = Outage(clock=clock, put=self.put)
        self._watchers = Watchers()
        self._followers = Followers()
        self._running: asyncio.Future[None] | None = None
        self._broken: BaseException | None = None  # what ends ``run``: nothing more is handled
        self._closing = False  # nothing more is handled; the last record is on its way
        self._unexplained = False  # the book has changed, and the journal was not given why
        self._ended = False
        self._turn_due = False
        self._in_haste = False  # what was handed to the journal is to be written at once
        self._written_soon: asyncio.TimerHandle | None = None
        dispatcher.bind(self.put)

    @property
    def failure(self) -> str | None:
        """Why nothing becomes durable now; None while all is well."""
        return self._outage.reason

    @property
    def beyond_record(self) -> bool:
        """What the book knows does not follow from the record any more: no state to keep."""
        is_torn = self._unexplained or self._broken is not None
        return is_torn or self._closing or bool(self._outage.lost)

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
            # To drop a fact would falsify the book; to stop is safe, the watchdog takes over. To
            # raise alone would end only the task that brought the fact.
            error = JournalError(f"{MAX_QUEUED_FACTS} facts are waiting: the guard lags behind.")
            self._fail(error)
            raise error
        self._queue.append((fact, asker))
        self._have_a_turn()

    @property
    def journal_seq(self) -> int:
        """Number of the newest record that was handed to the journal."""
        return self._journal.next_seq - 1

    async def caught_up(self) -> None:
        """Wait until every fact that waits now has been handled; what the book shows follows."""
        handled = self._taken + len(self._queue)
        while self._taken < handled and not (self._ended or self._closing):  # noqa: ASYNC110 - turns
            await asyncio.sleep(0)

    def nudge(self) -> None:
        """Have the loop go round once although there is nothing to do: ``turns`` tells whether."""
        self._have_a_turn()

    def replay(self, records: Iterable[JournalRecord]) -> int:
        """Fold the journal into the book; returns how many facts there were.

        Each is judged by the policy of its time; after that the book has its own one again.
        """
        policy, count = self.book.policy, 0
        for record in records:
            result = fold(self.book, record)
            count += result is not None
            self._recall.keep(result)
        self.book.policy = policy
        return count

    def take_over(self, records: Iterable[JournalRecord], statement: Fact) -> None:
        """Put on record, in their own time, facts that another process of ours acted upon.

        What follows from them has left already, all but the alerts. ``statement`` comes last and
        says whose they are. After the replay and before ``begin``.
        """
        policy, moment_ns = self.book.policy, self._clock.monotonic_ns()
        for record in records:
            moment_ns = record.monotonic_ns
            if record.kind == RecordKind.POLICY:
                self.book.policy = decode_policy(record)
                batch = policy_batch(
                    self.book.policy,
                    seq=self._journal.next_seq,
                    monotonic_ns=moment_ns,
                    utc_us=record.utc_us,
                )
                self._journal.submit(batch, lambda _error: None)
            else:
                self._handle(decode_fact(record), None, acted_ns=moment_ns)
        # In the moment of the last one: nothing has fallen due since, so nothing is asked for.
        self._handle(statement, None, acted_ns=moment_ns)
        self.book.policy = policy

    def begin(self, fact: Fact) -> None:
        """Handle a first fact of this process at once, after the replay and before ``run``.

        Until then the book is that of the process before: its links seem up, its account read.
        """
        self._handle(fact, None)
        self._journal.flush()

    # -- the one writer ----------------------------------------------------------------------

    async def run(self) -> None:
        """Handle facts and deadlines until cancelled; raises what made the loop unsound."""
        self._running = asyncio.get_running_loop().create_future()
        try:
            if self._broken is not None:
                raise self._broken
            for pending, error in self._early:
                self._told(pending, error)
            self._early.clear()
            self._have_a_turn()
            await self._running
        finally:
            self._end()

    def _end(self) -> None:
        """Let nobody wait for a decision or a change that this process will not bring."""
        self._ended = True
        self._deadline.cancel()
        if self._written_soon is not None:
            self._written_soon.cancel()
        waiting = [asker for _, asker in self._queue]
        waiting += [pending.asker for pending in self._unreleased]
        self._queue.clear()
        for asker in waiting:
            refuse(asker, _stopped())
        self._watchers.end(_stopped)

    def _fail(self, error: BaseException) -> None:
        """End ``run`` with ``error``, now or as it begins: the loop is not sound any more."""
        if self._broken is None:
            self._broken = error
            refuse(self._running, error)

    def _have_a_turn(self) -> None:
        """See to it that what is queued is handled when the event loop comes round."""
        if not self._turn_due and self._running is not None:
            self._turn_due = True
            self._running.get_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self._ended or self._closing or self._broken is not None:
            return
        self.turns += 1
        try:
            first = self.before_turn()
            if first is not None:
                self._handle(first, None)
            until_ns = self._clock.monotonic_ns() + TURN_NS
            for _ in range(min(len(self._queue), FACTS_PER_TURN)):
                # It leaves the queue once it is handled: if that fails, who asked is refused there.
                self._handle(*self._queue[0])
                self._queue.popleft()
                self._taken += 1
                if self._clock.monotonic_ns() >= until_ns:
                    break
            self._write()
            if self._queue:
                self._have_a_turn()
            else:
                self._look_at_the_deadline()
        except Exception as error:  # noqa: BLE001 - a callback has nobody else to tell
            self._fail(error)

    def _write(self) -> None:
        """Have what was handed to the journal written, now or with what comes next."""
        if self._in_haste:
            self._write_now()
        elif self._unreleased and self._written_soon is None and self._running is not None:
            running = self._running.get_loop()
            self._written_soon = running.call_later(NOTE_WAIT_S, self._write_now)

    def _write_now(self) -> None:
        self._in_haste = False
        if self._written_soon is not None:
            self._written_soon.cancel()
            self._written_soon = None
        self._journal.flush()

    def _look_at_the_deadline(self) -> None:
        """Put TimerFired when the core wants it by now, or see to it that it comes."""
        due_ns = next_deadline_ns(self.book)
        if due_ns and due_ns <= self._clock.monotonic_ns():
            self.put(TimerFired(utc_us=self._clock.utc_us()))
        else:
            self._deadline.watch(due_ns)

    def _handle(
        self,
        fact: Fact,
        asker: asyncio.Future[Decision] | None,
        *,
        acted_ns: int | None = None,
    ) -> None:
        if isinstance(fact, AccountAudited):
            fact = condensed(self.book, fact)
        elif isinstance(fact, VenueClockRead) and not is_clock_news(self.book, fact):
            return
        for held in self._recall.held(self.book, fact):
            self._handle(held, None)
        recalled = self._recall.recalled(self.book, fact)
        if recalled.before is not None:
            self._step(recalled.before, None, acted_ns=acted_ns)
        refusal = None if asker is None else self._recall.refusal(self.book, recalled)
        if refusal is not None:
            refuse(asker, refusal)
            return
        fact = recalled.fact
        noted = self.before_fact(self.book, fact)
        if noted is not None:
            self._step(noted, None, acted_ns=acted_ns)
        self._step(fact, asker, acted_ns=acted_ns)

    def _step(
        self,
        fact: Fact,
        asker: asyncio.Future[Decision] | None,
        *,
        acted_ns: int | None = None,
    ) -> None:
        now_ns = self._clock.monotonic_ns() if acted_ns is None else acted_ns
        self._unexplained = True  # for good, if anything fails before the journal has it
        result = step(self.book, fact, now_ns)
        self._recall.keep(result)
        self.steps += 1
        self._in_haste |= bool(result.commands) or not isinstance(fact, OrderDispatched)
        seq = self._journal.next_seq
        batch, proofs = self._recorder.batch(self.book, fact, result, seq=seq, now_ns=now_ns)
        if acted_ns is not None:
            alerts = tuple(it for it in result.commands if isinstance(it, RaiseAlert))
            result = replace(result, commands=alerts)
        pending = PendingStep(
            fact, result, asker=asker, seq=seq, last_seq=batch.records[-1].seq, proofs=proofs
        )
        self._unreleased.append(pending)
        self.on_step()
        self._followers.stepped(fact, self.steps)
        self._journal.submit(batch, partial(self._told, pending))
        self._unexplained = False

    # -- out ---------------------------------------------------------------------------------

    def _told(self, pending: PendingStep, error: JournalError | None) -> None:
        """Hear what became of a step's records; the journal tells in the order of the steps."""
        if self._running is None:
            self._early.append((pending, error))
            return
        if self._ended or self._broken is not None:
            # Nobody is told, but a step that no record will have is still in the book.
            self._unexplained |= isinstance(error, JournalFullError)
            return
        try:
            if pending.left:
                self._written_late(pending)
                return
            self._unreleased.popleft()
            if error is None:
                self._release(pending)
            else:
                self._release_unrecorded(pending, error)
            released = self.steps - len(self._unreleased)
            self._followers.released(released)
            self._watchers.released(released)
        except Exception as failure:  # noqa: BLE001 - a callback has nobody else to tell
            pending.refuse(_stopped())
            self._fail(failure)

    def _release(self, pending: PendingStep) -> None:
        result = pending.result
        if pending.proofs:
            self._recorder.keep(pending.proofs)
        try:
            for command in result.commands:
                if isinstance(command, PlaceOrder):
                    self.put(
                        OrderDispatched(
                            utc_us=self._clock.utc_us(), client_order_id=command.client_order_id
                        )
                    )
                self._dispatcher.dispatch(command)
        finally:
            # Also when the guard fails in the midst of it: the decision holds, and who took it for
            # refused would ask again for what may have left.
            pending.answer(result.decision or _ACCEPTED)
        self._watchers.changed(result.changed)
        for note in result.notes:
            self._on_note(note)
        self._followers.heard(pending.fact)
        if self._closing:
            self._fail(JournalError(BEYOND_THE_RECORD))

    def _release_unrecorded(self, pending: PendingStep, error: JournalError) -> None:
        """Let go only what reduces risk: a full disk must not hold a position open."""
        self._outage.curb(self.book, pending, error)
        proofs, pending.proofs = pending.proofs, {}  # a proof names its place in the record
        self._release(pending)
        pending.proofs = proofs
        if not pending.left:
            self._look_for_the_end()

    def _written_late(self, pending: PendingStep) -> None:
        """Take note that records of the outage are on disk; the last of them may end it."""
        self._recorder.keep(pending.proofs)
        self._outage.written()
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        """End the outage if all of it that was kept is on disk, and nobody is still to be refused.

        What comes after a decision that is lost is refused as well, so then all of it hears.
        """
        if self._outage.lost and self._unreleased:
            return
        recovered = self._outage.ended()
        if recovered is None:
            return
        if not recovered.lost:
            self.put(recovered)
            return
        # What the book knows does not follow from the record any more. So this is the last that
        # is recorded, and the next process begins with what the record and the broker say.
        self._journal.take_again()
        self._closing = True
        self._handle(recovered, None)
        self._journal.flush()

    def proof_of(self, client_order_id: str) -> bytes | None:
        """Return the signed proof of an order that this process completed; None otherwise."""
        return self._recorder.proof_of(client_order_id)

    # -- watching ----------------------------------------------------------------------------

    def listen(self, listener: Callable[[Fact], None]) -> None:
        """Have ``listener`` hear every fact from now on, in order, once it is on disk.

        Called on the event loop after what follows from the fact has left; it must not block. One
        that fails is told of and called again: nobody who listens can stop the guard.
        """
        self._followers.listen(listener)

    def follow(self, follower: StepFollower) -> None:
        """Have ``follower`` see every step from now on as it is taken, and hear when it is let go.

        It is called on the event loop and must not block. One that fails is told of and called
        again: nobody who follows can stop the guard.
        """
        self._followers.follow(follower)

    async def recorded(self) -> None:
        """Wait until everything that the book shows now is on disk and its effects have left.

        The book runs ahead of the disk; what is told to others must not. While the disk takes
        nothing, it is enough that what may leave has left.
        """
        if self._unreleased and not self._ended:
            self._write_now()
            await self._watchers.until_released(self.steps)

    async def next_step(self) -> None:
        """Wait until one more step is on disk and its effects have left.

        Raises:
            JournalError: the guard has stopped, and no step follows.
        """
        if self._ended:
            raise _stopped()
        await self._watchers.next_step()

    async def order_changed(
        self, client_order_id: str, wanted: Wanted = lambda _: True
    ) -> TrackedOrder:
        """Return the order as a released step leaves it, the first one after which it is wanted.

        What is returned is on record, whatever the book knows beyond it by now.

        Raises:
            JournalError: the guard has stopped, and will bring no change.
        """
        if self._ended:
            raise _stopped()
        return await self._watchers.order_changed(client_order_id, wanted)
