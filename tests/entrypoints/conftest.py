"""A guard of core parts and a hand-held venue, and the real HTTP server in front of it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace
from tests.entrypoints.program import A_SET_UP, ACCOUNT_ID, PROGRAM, Call, Outcome
from tests.surroundings import PLAIN

from backstop.app.bot_desk import BotDesk
from backstop.app.bot_hubs import BotHub
from backstop.app.commit_waits import CommitWaits
from backstop.app.recovery_review import RecoveryReport
from backstop.app.watch_link import WatchReport
from backstop.core.book import Book
from backstop.core.engine import new_book, step
from backstop.core.execution_verdict import Verification, verify
from backstop.core.exposure_snapshot import ExposureSnapshot, exposure_snapshot
from backstop.core.guardrails import Assessment
from backstop.core.liquidation_scope import contract_for
from backstop.core.past import PastOrder, client_key
from backstop.core.policy import SECOND_NS, Policy
from backstop.core.pre_trade import judge
from backstop.core.protection_wishes import levels_in_ticks
from backstop.core.step import Decision, DecisionKind, Step
from backstop.domain.broker import BrokerAccount
from backstop.domain.commands import PlaceOrder
from backstop.domain.events import (
    AccountAudited,
    AccountReported,
    Answer,
    CancelRequested,
    CloseRequested,
    Fact,
    HaltRequested,
    Hub,
    HubConnected,
    InstrumentsLoaded,
    LimitsChangeRequested,
    LiquidationRequested,
    ModifyRequested,
    OrderDispatched,
    OrderRequested,
    PlaceAnswered,
    ProtectionRequested,
    ResumeRequested,
    Source,
)
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import micros
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.domain.quote import Mark, Quote
from backstop.domain.set_up import SetUp
from backstop.entrypoints.http.server import api_server

TOKEN = "a-token-of-this-test"
UTC_US = 1_793_629_800_000_000

ES = Instrument(
    contract_id="CON.F.US.EP.Z26",
    symbol="ES",
    name="ESZ6",
    tick_size=Decimal("0.25"),
    tick_value_micros=12_500_000,
)


def a_request(client_order_id: str = "entry-1", **changes: Any) -> OrderRequest:
    return replace(
        OrderRequest(
            client_order_id=client_order_id,
            symbol="ES",
            side=Side.BUY,
            quantity=2,
            type=OrderType.LIMIT,
            limit_price=Decimal("5000.25"),
            stop_loss_price=Decimal("4995.25"),
            take_profit_price=Decimal("5010.25"),
        ),
        **changes,
    )


def an_order_body(client_order_id: str = "entry-1", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "client_order_id": client_order_id,
        "symbol": "ES",
        "side": "BUY",
        "quantity": 2,
        "type": "LIMIT",
        "limit_price": "5000.25",
        "stop_loss_price": "4995.25",
        "take_profit_price": "5010.25",
    }
    return {**body, **changes}


@dataclass
class HandGuard:
    """A guard without a network: facts are fed by hand, the core does the rest."""

    book: Book
    clock_ns: int = 10 * SECOND_NS
    components: dict[str, str] = field(default_factory=dict)
    proofs: dict[str, bytes] = field(default_factory=dict)
    next_broker_id: int = 9001
    answer: Answer = Answer.YES
    failure: Exception | None = None
    past: list[PastOrder] = field(default_factory=list)  # newest first
    recovery: RecoveryReport | None = None
    watch: WatchReport | None = None
    marks: tuple[Mark, ...] = ()
    bots: BotDesk = field(init=False)
    gateway_host: str = "127.0.0.1:5000"
    settings_warnings: tuple[str, ...] = ()
    bot_hubs: tuple[BotHub, ...] = ()
    journal_seq: int = 0
    looked: SetUp = A_SET_UP
    commit_waits: CommitWaits = field(default_factory=CommitWaits)

    def __post_init__(self) -> None:
        self.bots = BotDesk(self, clock=self)

    # -- what a desk of bots needs ---------------------------------------------------------------

    def monotonic_ns(self) -> int:
        return self.clock_ns

    def utc_us(self) -> int:
        return UTC_US

    def put(self, fact: Fact) -> None:
        self.feed(fact)

    async def decide(self, fact: Fact) -> Decision:
        if self.failure is not None:
            raise self.failure
        decision = self.feed(fact).decision
        assert decision is not None
        return decision

    # -- what the interface needs ----------------------------------------------------------------

    def now_ns(self) -> int:
        return self.clock_ns

    def set_up(self) -> SetUp:
        return self.looked

    def exposure(self) -> ExposureSnapshot:
        return exposure_snapshot(self.book, self.marks, UTC_US)

    def feed(self, fact: Fact) -> Step:
        return step(self.book, fact, self.clock_ns)

    def become_active(self) -> None:
        self.feed(InstrumentsLoaded(utc_us=UTC_US, instruments=(ES,)))
        for hub in Hub:
            self.feed(HubConnected(utc_us=UTC_US, hub=hub, generation=1))
        self.feed(
            AccountReported(
                utc_us=UTC_US,
                account=BrokerAccount(
                    account_id=ACCOUNT_ID,
                    name="practice",
                    balance_micros=50_000_000_000,
                    can_trade=True,
                    simulated=True,
                ),
                source=Source.REST,
            )
        )
        self.clock_ns += SECOND_NS
        self.feed(
            AccountAudited(
                utc_us=UTC_US,
                reason="recovery",
                sent_ns=self.clock_ns,
                orders=(),
                live_orders=(),
                trades=(),
                positions=(),
            )
        )

    def quote(self) -> Quote:
        return Quote(
            contract_id=ES.contract_id,
            bid=Decimal("5000.25"),
            ask=Decimal("5000.5"),
            last=Decimal("5000.5"),
        )

    async def what_if(self, request: OrderRequest) -> Assessment | None:
        wish = OrderRequested(utc_us=UTC_US, request=request, reference=self.quote())
        return judge(self.book, wish, now_ns=self.clock_ns)

    async def submit_order(self, request: OrderRequest) -> Decision:
        if self.failure is not None:
            raise self.failure
        result = self.feed(OrderRequested(utc_us=UTC_US, request=request, reference=self.quote()))
        for command in result.commands:
            if isinstance(command, PlaceOrder):
                self._place(command)
        assert result.decision is not None
        if result.decision.order is None:
            return result.decision
        return replace(result.decision, order=self.book.orders[request.client_order_id])

    def _place(self, command: PlaceOrder) -> None:
        self.feed(OrderDispatched(utc_us=UTC_US, client_order_id=command.client_order_id))
        self.feed(
            PlaceAnswered(
                utc_us=UTC_US,
                client_order_id=command.client_order_id,
                answer=self.answer,
                broker_order_id=self.next_broker_id if self.answer is Answer.YES else None,
                message="" if self.answer is Answer.YES else "the venue said so",
            )
        )
        self.next_broker_id += 1

    async def cancel_order(self, client_order_id: str, *, reason: str) -> Decision:
        decision = self.feed(
            CancelRequested(utc_us=UTC_US, client_order_id=client_order_id, reason=reason)
        ).decision
        assert decision is not None
        return decision

    async def modify_order(
        self,
        client_order_id: str,
        *,
        quantity: int | None,
        limit_price: Decimal | int | None,
        stop_price: Decimal | int | None,
    ) -> Decision:
        decision = self.feed(
            ModifyRequested(
                utc_us=UTC_US,
                client_order_id=client_order_id,
                quantity=quantity,
                limit_ticks=None if limit_price is None else ES.price_ticks(limit_price),
                stop_ticks=None if stop_price is None else ES.price_ticks(stop_price),
            )
        ).decision
        assert decision is not None
        return decision

    async def verify_execution(
        self,
        client_order_id: str,
        *,
        expected_quantity: int | None = None,
        max_slippage_ticks: Decimal | None = None,
        timeout_s: float | None = None,  # noqa: ARG002 - evidence is fed before, never awaited
    ) -> Verification | None:
        order = self.book.orders.get(client_order_id)
        if order is None:
            return None
        return verify(
            order,
            ES,
            expected_quantity=expected_quantity or order.intent.quantity,
            max_slippage_ticks=max_slippage_ticks or Decimal(2),
        )

    async def halt(self, *, reason: str, operator: str) -> Decision:
        if self.failure is not None:
            raise self.failure
        decision = self.feed(
            HaltRequested(utc_us=UTC_US, reason=reason, operator=operator)
        ).decision
        assert decision is not None
        return decision

    async def change_limits(
        self,
        *,
        daily_loss: Decimal | int | None = None,
        trailing_loss: Decimal | int | None = None,
        max_position: Decimal | int | None = None,
        reason: str = "",
        operator: str = "",
    ) -> Decision:
        decision = self.feed(
            LimitsChangeRequested(
                utc_us=UTC_US,
                daily_loss_micros=None if daily_loss is None else micros(daily_loss),
                trailing_loss_micros=None if trailing_loss is None else micros(trailing_loss),
                max_position_tenths=None if max_position is None else int(max_position * 10),
                reason=reason,
                operator=operator,
            )
        ).decision
        assert decision is not None
        return decision

    async def resume(self, *, reason: str, operator: str) -> Decision:
        decision = self.feed(
            ResumeRequested(utc_us=UTC_US, reason=reason, operator=operator)
        ).decision
        assert decision is not None
        return decision

    async def liquidate(self, *, reason: str, operator: str, symbol: str | None = None) -> Decision:
        contract_id = None if symbol is None else contract_for(self.book, symbol)
        if symbol is not None and contract_id is None:
            return Decision(kind=DecisionKind.UNKNOWN_SYMBOL)
        decision = self.feed(
            LiquidationRequested(
                utc_us=UTC_US, reason=reason, operator=operator, contract_id=contract_id
            )
        ).decision
        assert decision is not None
        return decision

    async def close_position(
        self, symbol: str, *, quantity: int | None = None, reason: str, operator: str
    ) -> Decision:
        contract_id = contract_for(self.book, symbol)
        if contract_id is None:
            return Decision(kind=DecisionKind.UNKNOWN_SYMBOL)
        decision = self.feed(
            CloseRequested(
                utc_us=UTC_US,
                contract_id=contract_id,
                reason=reason,
                operator=operator,
                quantity=quantity,
            )
        ).decision
        assert decision is not None
        return decision

    async def protect_position(
        self,
        symbol: str,
        *,
        stop_price: Decimal | int | None,
        take_profit_price: Decimal | int | None,
    ) -> Decision:
        contract_id = contract_for(self.book, symbol)
        if contract_id is None:
            return Decision(kind=DecisionKind.UNKNOWN_SYMBOL)
        instrument = self.book.instruments[contract_id]
        quantity = self.book.position(contract_id).quantity
        levels = levels_in_ticks(instrument, quantity, stop_price, take_profit_price)
        assert isinstance(levels, tuple)
        decision = self.feed(
            ProtectionRequested(
                utc_us=UTC_US,
                contract_id=contract_id,
                stop_ticks=levels[0],
                take_profit_ticks=levels[1],
            )
        ).decision
        assert decision is not None
        return decision

    @property
    def order_records(self) -> "HandRecords":
        return HandRecords(self)

    def let_go_of(self, client_order_id: str) -> None:
        """Have an order leave the book, as if it had finished long ago."""
        order = self.book.orders.pop(client_order_id)
        legs = tuple(it for it in self.book.venue_orders.values() if it.owner == client_order_id)
        self.past.insert(0, PastOrder(order=order, venue_orders=legs))


@dataclass
class HandRecords:
    """Orders of the past and proofs, as a test laid them down."""

    guard: HandGuard

    async def past(self, order_id: str) -> PastOrder | None:
        return next((it for it in self.guard.past if client_key(order_id) in it.keys), None)

    async def newest_past(
        self, *, limit: int, state: OrderState | None = None
    ) -> tuple[tuple[PastOrder, ...], int]:
        found = [it for it in self.guard.past if it.order and state in {None, it.order.state}]
        return tuple(found[:limit]), len(found)

    async def proof(self, client_order_id: str) -> bytes | None:
        return self.guard.proofs.get(client_order_id)


def a_guard(*, active: bool = True, **policy: Any) -> HandGuard:
    rules = Policy(account_id=ACCOUNT_ID, dry_run=False, execute=True)
    guard = HandGuard(book=new_book(replace(rules, **policy)))
    if active:
        guard.become_active()
    return guard


@asynccontextmanager
async def serving(guard: HandGuard) -> AsyncIterator[str]:
    """Run the real server in front of ``guard``; gives its base address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = api_server(guard, listener, token=TOKEN, loopback_only=True)
        port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(10):
                await server.started()
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop()
            async with asyncio.timeout(10):
                await task


@dataclass
class Caller:
    """A client of the interface that knows the token."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, **arguments) as response:
            return response.status, await response.json()


@asynccontextmanager
async def calling(guard: HandGuard) -> AsyncIterator[Caller]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with serving(guard) as url, aiohttp.ClientSession(headers=headers) as session:
        yield Caller(session=session, url=url)


class Desk:
    """What the tests of this folder make their guards and callers with."""

    ES = ES
    TOKEN = TOKEN
    UTC_US = UTC_US
    guard = staticmethod(a_guard)
    request = staticmethod(a_request)
    body = staticmethod(an_order_body)
    serving = staticmethod(serving)
    calling = staticmethod(calling)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def backstop(tmp_path: Path) -> Call:
    """Run the program in an empty folder with nothing of this machine's environment."""

    async def call(*arguments: str, **settings: str) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *arguments,
            cwd=tmp_path,
            env={
                **PLAIN,
                "HOME": str(tmp_path),
                "BACKSTOP_STATE_DIR": str(tmp_path / "state"),
                **settings,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert b"Traceback" not in err
        return Outcome(process.returncode, out.decode(), err.decode())

    return call


@pytest.fixture
def reading(backstop: Call, desk: Any, tmp_path: Path) -> Call:
    """Run the program against a guard that serves in this process."""

    async def call(guard: Any, *arguments: str) -> Outcome:
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "state" / "api_token").write_text(desk.TOKEN)
        async with desk.serving(guard) as url:
            return await backstop(*arguments, BACKSTOP_LISTEN=url.removeprefix("http://"))

    return call
