"""Says at every start what was different from the book, and what is done about it.

The book as the last process left it is compared with the first complete read of the account. That
decides nothing: the core acts on the same facts by itself. It is for the log, the status, and the
person who wants to know what happened while nobody guarded.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from msgspec import Struct

from backstop.app.notes import failure_text
from backstop.app.state_start import Before
from backstop.core.book import Book
from backstop.core.disaster_recovery import Downtime, RecoveryPlan, recovery_plan
from backstop.core.recovery_rehearsal import AccountPicture, Act, PlannedAct
from backstop.core.state_checkpoint import captured, restored
from backstop.core.step import Note, Tag
from backstop.domain.broker import BrokerPosition
from backstop.domain.commands import Severity
from backstop.domain.events import AccountAudited, Fact, StopKind
from backstop.ports import Clock, FactSink


class RecoveryReport(Struct, frozen=True, kw_only=True):
    """One recovery.

    Attributes:
        at_utc_us: when the account had been read.
        source: where the book was from: a checkpoint, or the whole journal.
        plan: what was different, and what was done about it.
    """

    at_utc_us: int
    source: str
    plan: RecoveryPlan


class RecoveryReview:
    """Waits for the first complete read of the account, and reports on it.

    Attributes:
        report: of this process; None before the account was read.
        failure: why there will be none; None while there may be one.
    """

    def __init__(
        self,
        book: Book,
        *,
        before: Before,
        source: str,
        liquidate_after_ms: int | None,
        clock: Clock,
        on_note: Callable[[Note], None],
        on_fault: Callable[[str], None],
    ) -> None:
        """Keep the state of ``book`` as it is now, before the first fact of this process."""
        self.report: RecoveryReport | None = None
        self.failure: str | None = None
        self._book = book
        self._before = captured(book)
        self._downtime = downtime_of(before)
        self._source = source
        self._liquidate_after_ms = liquidate_after_ms
        self._clock = clock
        self._on_note = on_note
        self._on_fault = on_fault
        self._reviewing: asyncio.Task[None] | None = None

    def listening(self, sink: FactSink) -> FactSink:
        """Return a sink that hands everything on to ``sink``, and looks at reads on the way."""

        def put(fact: Fact) -> None:
            if isinstance(fact, AccountAudited) and self._reviewing is None and _is_complete(fact):
                picture = picture_of(self._book, fact, utc_us=self._clock.utc_us())
                self._reviewing = asyncio.ensure_future(self._review(picture))
            sink(fact)

        return put

    async def _review(self, picture: AccountPicture) -> None:
        """Report; a bug in here changes nothing for the account, and is told."""
        try:
            self.report = await self._reviewed(picture)
            for note in notes_of(self.report.plan):
                self._on_note(note)
        except Exception as error:  # noqa: BLE001 - a task that nobody waits for
            self.failure = failure_text(error)
            self._on_fault(f"what was different at the start cannot be told: {self.failure}")
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the review of the recovery failed", "exception": error}
            )

    async def _reviewed(self, picture: AccountPicture) -> RecoveryReport:
        # A copy of the book lives through a few seconds: not on the event loop's time.
        plan = await asyncio.to_thread(
            recovery_plan,
            restored(self._before),
            picture,
            downtime=self._downtime,
            liquidate_after_ms=self._liquidate_after_ms,
            now_ns=self._clock.monotonic_ns(),
        )
        return RecoveryReport(at_utc_us=picture.utc_us, source=self._source, plan=plan)


def downtime_of(before: Before) -> Downtime:
    """Return the downtime as the plan takes it."""
    return Downtime(stop=before.stop, ms=before.downtime_ms, wall_clock=before.wall_clock)


def picture_of(book: Book, read: AccountAudited, *, utc_us: int) -> AccountPicture:
    """Return the account as one read shows it, with what the book knows of account and contracts.

    Prices are not known here: whether the market is past a stop, the venue says when it is placed.
    """
    return AccountPicture(
        utc_us=utc_us,
        account=book.account,
        positions=read.positions,
        live_orders=read.live_orders,
        orders=read.orders,
        trades=read.trades,
        instruments=tuple(book.instruments.values()),
    )


def plan_as_believed(state: Struct, *, now_ns: int) -> RecoveryPlan:
    """Return what a start would do if the account is as the book of ``state`` believes it to be."""
    book = restored(state)
    read = AccountAudited(
        utc_us=book.audit.newest_utc_us,
        reason="as believed",
        sent_ns=now_ns,
        orders=(),
        live_orders=tuple(book.working_rows()),
        trades=(),
        positions=tuple(
            BrokerPosition(
                position_id=0,
                account_id=book.policy.account_id,
                contract_id=view.contract_id,
                quantity=view.quantity,
                average_price=view.average_price or Decimal(0),
            )
            for view in book.positions.values()
            if view.quantity
        ),
    )
    return recovery_plan(
        book,
        picture_of(book, read, utc_us=read.utc_us),
        downtime=Downtime(stop=StopKind.CLEAN, ms=0),
        liquidate_after_ms=0,
        now_ns=now_ns,
    )


def notes_of(plan: RecoveryPlan) -> Iterator[Note]:
    """Yield one line for each difference and each act."""
    for finding in plan.findings:
        yield Note(
            tag=Tag.CRITICAL_SYSTEM,
            name="recovery_difference",
            fields={
                "difference": str(finding.difference),
                "symbol": finding.symbol,
                "evidence": finding.evidence,
                "act": finding.act,
            },
            severity=Severity.WARNING,
        )
    for symbol in plan.symbols:
        for act in _worth_a_line(symbol.acts):
            fields: dict[str, str | int] = {"symbol": symbol.symbol, "act": str(act.act)}
            fields |= {} if act.quantity is None else {"quantity": act.quantity}
            fields |= {} if act.price is None else {"price": act.price}
            if act.broker_order_id is not None:
                fields["broker_order_id"] = act.broker_order_id
            fields |= {"reason": act.reason} if act.reason else {}
            yield Note(tag=Tag.CRITICAL_SYSTEM, name="recovery_act", fields=fields)


def _worth_a_line(acts: Iterable[PlannedAct]) -> Iterator[PlannedAct]:
    return (act for act in acts if act.act is not Act.NOTHING)


def _is_complete(read: AccountAudited) -> bool:
    return None not in (read.orders, read.live_orders, read.trades, read.positions)
