"""State folders as guards leave them, made without one: so many past orders, so long a tail."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from msgspec.structs import replace

from backstop.adapters.clock import SystemClock, boot_id
from backstop.adapters.sqlite.past_archive import PAST_DATABASE
from backstop.adapters.state_file import StateFiles
from backstop.app.audit_trail import AuditTrail
from backstop.app.codec import encode
from backstop.app.journal_fold import policy_batch
from backstop.app.loop import DecisionLoop
from backstop.app.past_orders import PastOrders
from backstop.app.state_persistence import Process, StatePersistence
from backstop.app.state_start import Guarded
from backstop.core.book import Book
from backstop.core.engine import new_book, step
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.events import (
    AccountAudited,
    Answer,
    Fact,
    OrderDispatched,
    OrderReported,
    OrderRequested,
    PlaceAnswered,
    Source,
)
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.domain.quote import Mark, Quote
from backstop.domain.record_kind import RecordKind
from backstop.ports import JournalBatch, JournalRecord
from benchmarks.decisions import ACCOUNT, CONTRACT, PRICE, START_US, opening_facts, opening_policy

FACTS_AT_ONCE = 20
"""Facts in one commit of a guard at work."""

BULK_AT_ONCE = 500
"""Facts in one commit of what is long past."""

NEWEST_ORDERS = 2000
"""Committed as a guard does it, so that the database and its log lie as it leaves them."""

ORDERS_BETWEEN_READS = 25
ARCHIVED_AT_ONCE = 5000

EVENT_NS = 30_000_000


class RecordMaker:
    """Writes a record of one account, fact by fact, as the guard's loop does."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.trail = AuditTrail.open(folder, account=str(ACCOUNT), epoch=1, clock=self.clock)
        self.book: Book = new_book(replace(opening_policy(), archives=True))
        self.past = PastOrders(folder / PAST_DATABASE)
        self.steps = 0
        self.failure: str | None = None
        self.beyond_record = False
        self._folder = folder
        self._now_ns = 1_000_000_000_000
        self._orders = 0

    async def begin(self) -> None:
        """Write down the rules, and an account that has been read."""
        await self.trail.append(
            policy_batch(self.book.policy, seq=1, monotonic_ns=self._now_ns, utc_us=START_US)
        )
        await self.feed(opening_facts())

    async def past_orders(self, orders: int) -> None:
        """Have so many orders refused by the venue; what has passed leaves the book."""
        bulk = max(0, orders - NEWEST_ORDERS)
        await self.feed(self._refused_orders(bulk), at_once=BULK_AT_ONCE)
        await self.feed(self._refused_orders(orders - bulk))

    async def one_order(self) -> None:
        """Have one more order refused."""
        await self.feed(self._refused_order())

    async def audit(self) -> None:
        """Have the account read, flat and without orders."""
        await self.feed(iter((self._account_read(),)))

    def _refused_orders(self, orders: int) -> Iterator[Fact]:
        for left in reversed(range(orders)):
            yield from self._refused_order()
            if left % ORDERS_BETWEEN_READS == 0:
                yield self._account_read()

    def _refused_order(self) -> Iterator[Fact]:
        self._orders += 1
        return _refused_order(self._orders)

    def _account_read(self) -> Fact:
        return AccountAudited(
            utc_us=START_US + self._orders * 1_000_000,
            reason="audit",
            sent_ns=self._now_ns,
            orders=(),
            live_orders=(),
            trades=(),
            positions=(),
        )

    async def records(self, records: int) -> None:
        """Write so many records: of orders, too."""
        target = self.trail.next_seq + records
        while self.trail.next_seq < target:
            await self.past_orders(ORDERS_BETWEEN_READS)

    async def feed(self, facts: Iterator[Fact], *, at_once: int = FACTS_AT_ONCE) -> None:
        """Decide and record ``facts``."""
        told: asyncio.Future[None] | None = None
        for number, fact in enumerate(facts, start=1):
            self._now_ns += EVENT_NS
            result = step(self.book, fact, self._now_ns)
            self.past.keep(result.let_go)
            commands = ((RecordKind.COMMAND, it) for it in result.commands)
            payloads = [(RecordKind.EVENT, fact), *commands]
            records = tuple(
                JournalRecord(
                    seq=seq,
                    kind=kind,
                    monotonic_ns=self._now_ns,
                    utc_us=fact.utc_us,
                    payload=encode(payload),
                )
                for seq, (kind, payload) in enumerate(payloads, start=self.trail.next_seq)
            )
            self.steps += 1
            told = asyncio.get_running_loop().create_future()
            self.trail.submit(
                JournalBatch(records=records, orders=result.order_rows, fills=result.fill_rows),
                _teller(told),
            )
            if number % at_once == 0:
                self.trail.flush()
                await told
                if len(self.past.waiting) > ARCHIVED_AT_ONCE:
                    self._archive()
        self.trail.flush()
        if told is not None:
            await told
        self._archive()

    def _archive(self) -> None:
        waiting = self.past.waiting
        if waiting:
            self.past.write(waiting, record=self.trail.record_name(), seq=self.trail.durable_seq)
            self.past.written(waiting)

    def persistence(self, files: StateFiles | None = None) -> StatePersistence:
        """Return what writes this state down."""
        loop = SimpleNamespace(
            book=self.book, steps=self.steps, failure=None, beyond_record=False, recorded=_at_once
        )
        return StatePersistence(
            loop=cast("DecisionLoop", loop),
            trail=self.trail,
            past=self.past,
            files=files or StateFiles(self._folder),
            process=Process(account_id=ACCOUNT, machine="", boot_id=boot_id(), process_id=1),
            guarded=Guarded(),
            clock=self.clock,
            interval_ns=100_000_000,
            calls_made=lambda: (),
            on_fault=_loudly,
            on_set_aside=lambda fault, _kept: _loudly(str(fault)),
        )


async def _at_once() -> None:
    return


def _loudly(fault: str) -> None:
    if fault:
        raise RuntimeError(fault)


def _teller(told: asyncio.Future[None]) -> Callable[[Exception | None], None]:
    def tell(error: Exception | None) -> None:
        if error is not None:
            told.set_exception(error)
        else:
            told.set_result(None)

    return tell


def _refused_order(number: int) -> Iterator[Fact]:
    client_order_id = f"c-{number}"
    utc_us = START_US + number * 1_000_000
    yield OrderRequested(
        utc_us=utc_us,
        request=OrderRequest(
            client_order_id=client_order_id,
            symbol="MES",
            side=Side.BUY,
            quantity=1,
            type=OrderType.MARKET,
        ),
        reference=Quote(contract_id=CONTRACT, bid=PRICE, ask=PRICE, last=PRICE),
        marks=(Mark(contract_id=CONTRACT, price=PRICE),),
    )
    yield OrderDispatched(utc_us=utc_us, client_order_id=client_order_id)
    yield PlaceAnswered(
        utc_us=utc_us,
        client_order_id=client_order_id,
        answer=Answer.NO,
        broker_order_id=1_000_000 + number,
        code=2,
        message="Not enough margin.",
    )
    row = BrokerOrder(
        broker_order_id=1_000_000 + number,
        account_id=ACCOUNT,
        contract_id=CONTRACT,
        status=BrokerStatus.REJECTED,
        type=OrderType.MARKET,
        side=Side.BUY,
        quantity=1,
        created_utc_us=utc_us,
        updated_utc_us=utc_us,
    )
    yield OrderReported(utc_us=utc_us, order=row, source=Source.HUB)
