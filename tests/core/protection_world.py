"""A guard's core in front of the simulator's exchange, in one process and on one simulated clock.

What the exchange pushes becomes facts through the adapter's own translation, and what the core asks
for becomes calls on the exchange. Events can be lost, late or told twice, requests and answers can
get lost; the exchange's own truth decides what is right.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct
from tests.core.builders import (
    ACCOUNT,
    MES,
    NQ,
    START_NS,
    START_US,
    Guard,
    a_guard_start,
    a_policy,
    a_quote,
    a_request,
    an_instrument,
    an_nq_instrument,
)

from backstop.adapters.projectx.translate import (
    broker_order,
    broker_position,
    broker_trade,
    modify_body,
    place_body,
)
from backstop.adapters.projectx.verdict import REFUSALS, Change
from backstop.adapters.projectx.wire import ContractRow, ModifyBody, QueryBody, QueryFilter
from backstop.adapters.projectx_server.venue import MarketEvent, Outcome, UserEvent
from backstop.core.book import Book
from backstop.core.engine import new_book, next_deadline_ns, step
from backstop.core.policy import MILLISECOND_NS, SECOND_NS, Policy
from backstop.core.step import Decision
from backstop.domain.broker import BrokerOrder, BrokerPosition
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    Command,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
)
from backstop.domain.events import (
    AccountAudited,
    Answer,
    CancelAnswered,
    CancelRequested,
    CloseRefusal,
    CloseRequested,
    Fact,
    Hub,
    HubConnected,
    InstrumentsLoaded,
    ModifyAnswered,
    OrderDispatched,
    OrderLookedUp,
    OrderReported,
    OrderRequested,
    PlaceAnswered,
    PositionCloseAnswered,
    PositionReported,
    ProtectionRequested,
    Source,
    TimerFired,
    TradeReported,
)
from backstop.domain.order import OrderType, Side
from backstop.simulator.exchange import Exchange
from backstop.simulator.exchange_config import AccountSpec, ContractSpec, ExchangeConfig

ALL_STATUSES = tuple(range(9))
LIVE_STATUSES = (1, 6, 7, 8)
STOP_TYPES = {4, 5}
REQUEST_MS = 5
"""One way to the venue; the answer takes as long again."""


class Delivery(Struct, frozen=True, kw_only=True):
    """What becomes of one thing on its way: the milliseconds after which each copy arrives."""

    copies_ms: tuple[int, ...] = (1,)


TOLD = Delivery()
LOST = Delivery(copies_ms=())


class Request(Struct, frozen=True, kw_only=True):
    """What becomes of one request: it may not arrive, and its answer may not come back."""

    leaves: bool = True
    forgotten: bool = False  # the venue says yes, and that is all
    arrives: bool = True
    answered: bool = True
    refused: str = ""  # in these words, whatever the exchange would say
    ms: int = REQUEST_MS

    def answer(self, change: Change, outcome: Outcome) -> Answer:
        """Return what the guard hears of ``outcome``."""
        if not self.leaves:
            return Answer.NOT_SENT
        if not self.answered or not self.arrives:
            return Answer.UNKNOWN
        if not outcome.code:
            return Answer.YES
        return Answer.NO if outcome.code in REFUSALS[change] else Answer.UNKNOWN

    @property
    def is_judged(self) -> bool:
        """The exchange itself decides."""
        return self.leaves and self.arrives and not self.refused


@dataclass
class World:
    """One account at the exchange, guarded."""

    policy: Policy = field(default_factory=lambda: a_policy(protects=True))
    switches: dict[str, Any] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)
    tell: Callable[[str], Delivery] = lambda _: TOLD
    request: Callable[[Command], Request] = lambda _: Request()
    distort: Callable[[BrokerOrder], BrokerOrder] = lambda row: row
    reads_fail: bool = False
    reads_reach_back: bool = True  # else they lack all that was over before they were asked for
    shown: Callable[[tuple[BrokerPosition, ...]], tuple[BrokerPosition, ...]] = lambda rows: rows
    sent: list[Command] = field(default_factory=list)
    naked_ns: int = 0  # at the exchange, the longest time in a row
    surplus_ns: int = 0
    guard: Guard = field(init=False)
    exchange: Exchange = field(init=False)
    _queue: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _turns: "count[int]" = field(default_factory=count)
    _names: "count[int]" = field(default_factory=lambda: count(1))
    _last: Decimal = Decimal(0)
    _naked_since_ns: int | None = None
    _surplus_since_ns: int | None = None

    def __post_init__(self) -> None:
        self.guard = Guard(policy=self.policy)
        self.exchange = Exchange(_exchange_config(self.switches, self.account))
        self.exchange.subscribe(self._pushed)
        self.quote(5000)
        self.quote(21000, contract_id=NQ)

    @property
    def book(self) -> Book:
        return self.guard.book

    def start(self) -> "World":
        """Connect; the account has been read when this returns."""
        guard = self.guard
        self.feed(a_guard_start(utc_us=guard.utc_us))
        self._connect()
        self.run_until(lambda: guard.book.recovered, "recovered")
        return self

    def _connect(self) -> None:
        guard = self.guard
        loaded = (an_instrument(), an_nq_instrument())
        self.feed(InstrumentsLoaded(utc_us=guard.utc_us, instruments=loaded))
        self.feed(HubConnected(utc_us=guard.utc_us, hub=Hub.MARKET, generation=1))
        self.feed(HubConnected(utc_us=guard.utc_us, hub=Hub.USER, generation=1))
        guard.account(can_trade=True)

    def restart(self, *, down_ms: int = 100, **start: Any) -> None:
        """Kill the process; another one begins from its record, while the venue goes on."""
        self.restart_after(lambda: None, down_ms=down_ms, **start)

    def restart_after(
        self, meanwhile: Callable[[], None], *, down_ms: int = 100, **start: Any
    ) -> None:
        """Kill the process, let things happen, and start another one from its record.

        ``start`` are members of what its start says.
        """
        book = new_book(self.policy)
        for fact, at_ns, _ in self.guard.history:
            step(book, fact, at_ns)
        reborn = Guard(policy=self.policy, now_ns=self.guard.now_ns)
        reborn.book, reborn.history = book, self.guard.history
        self._queue.clear()  # what was on its way goes to a process that is no more
        self.guard = reborn
        meanwhile()
        self.wait(down_ms, hears=False)
        self._queue.clear()
        self.feed(a_guard_start(utc_us=reborn.utc_us, **start))
        self._connect()

    # -- time ------------------------------------------------------------------------------------

    def feed(self, fact: Fact) -> None:
        """Let the guard hear of ``fact`` now, and the venue of what it asks for."""
        result = self.guard.feed(fact, after_ms=0)
        for command in result.commands:
            self._receive(command)

    def later(self, ms: float, act: Callable[[], None]) -> None:
        due_ns = self.guard.now_ns + int(ms * MILLISECOND_NS)
        heappush(self._queue, (due_ns, next(self._turns), act))

    def wait(self, ms: float, *, hears: bool = True) -> None:
        """Let ``ms`` pass."""
        end_ns = self.guard.now_ns + int(ms * MILLISECOND_NS)
        while self._turn(end_ns, hears=hears):
            pass

    def run_until(self, is_true: Callable[[], bool], what: str, *, limit_ms: int = 60_000) -> None:
        """Let time pass until ``is_true``."""
        end_ns = self.guard.now_ns + limit_ms * MILLISECOND_NS
        while not is_true():
            assert self._turn(end_ns), f"not within {limit_ms} ms: {what}"

    def _turn(self, end_ns: int, *, hears: bool = True) -> bool:
        """Let the next thing happen that is due by ``end_ns``; False when there is none."""
        venue_us = self.exchange.next_event_us()
        venue_ns = end_ns + 1 if venue_us is None else START_NS + (venue_us - START_US) * 1000
        queue_ns = self._queue[0][0] if self._queue and hears else end_ns + 1
        deadline_ns = (next_deadline_ns(self.book) or end_ns + 1) if hears else end_ns + 1
        due_ns = min(venue_ns, queue_ns, deadline_ns)
        if due_ns > end_ns:
            self._at(end_ns)
            return False
        self._at(due_ns)
        if venue_ns == due_ns:
            pass
        elif queue_ns == due_ns:
            heappop(self._queue)[2]()
        else:
            self.feed(TimerFired(utc_us=self.guard.utc_us))
        self._measure()
        return True

    def _at(self, now_ns: int) -> None:
        self.guard.now_ns = max(self.guard.now_ns, now_ns)
        self.exchange.advance(self.guard.utc_us)
        self._measure()

    def _measure(self) -> None:
        held, cover = abs(self.position()), self.cover()
        now_ns = self.guard.now_ns
        self._naked_since_ns, naked_ns = _timed(self._naked_since_ns, held > cover, now_ns)
        self._surplus_since_ns, surplus_ns = _timed(self._surplus_since_ns, cover > held, now_ns)
        self.naked_ns = max(self.naked_ns, naked_ns)
        self.surplus_ns = max(self.surplus_ns, surplus_ns)

    # -- the market and other people -------------------------------------------------------------

    def quote(self, last: float | str, *, size: int = 500, contract_id: str = MES) -> None:
        """Let the market trade at ``last``, with ``size`` contracts on offer."""
        price = Decimal(str(last))
        bid = price - Decimal("0.25")
        self._last = price if contract_id == MES else self._last
        self.exchange.on_quote(contract_id, bid, price, size, size, price, size, 0)

    @property
    def last(self) -> Decimal:
        """The last price of MES."""
        return self._last

    def take_away(self, role: str = "STOP_LOSS") -> None:
        """Have somebody cancel the working legs of ``role`` on the firm's web page."""
        for row in self.orders():
            if row["leg"] == role and row["status"] == "OPEN":
                assert self.exchange.cancel(ACCOUNT, row["id"]).code == 0

    def enter(
        self, side: Side = Side.BUY, quantity: int = 2, *, stop: float | None, **changes: Any
    ) -> str:
        """Have a bot send a market entry with a stop, and return its name."""
        members: dict[str, Any] = {
            "client_order_id": f"c{next(self._names)}",
            "side": side,
            "quantity": quantity,
            "stop_loss_price": None if stop is None else Decimal(str(stop)),
        }
        request = a_request(**(members | changes))
        decision = self.decide(
            OrderRequested(utc_us=self.guard.utc_us, request=request, reference=a_quote())
        )
        assert decision.order is not None, decision
        return request.client_order_id

    def exit(self, quantity: int) -> str:
        """Have a bot sell contracts of a long position at the market."""
        return self.enter(Side.SELL, quantity, stop=None)

    def protect(
        self, *, stop: float | None = None, target: float | None = None, **changes: Any
    ) -> Decision:
        """Ask for protective levels."""
        members: dict[str, Any] = {
            "contract_id": MES,
            "stop_ticks": None if stop is None else int(stop * 4),
            "take_profit_ticks": None if target is None else int(target * 4),
            "reference": a_quote(),
        }
        return self.decide(ProtectionRequested(utc_us=self.guard.utc_us, **(members | changes)))

    def cancel(self, client_order_id: str) -> Decision:
        """Have a bot cancel an order of its own."""
        return self.decide(
            CancelRequested(
                utc_us=self.guard.utc_us, client_order_id=client_order_id, reason="test"
            )
        )

    def close(self, quantity: int | None = None) -> Decision:
        """Have a bot close the position, or contracts of it."""
        return self.decide(
            CloseRequested(
                utc_us=self.guard.utc_us,
                contract_id=MES,
                reason="out",
                operator="bot",
                quantity=quantity,
            )
        )

    def move(self, broker_order_id: int, *, stop: float) -> None:
        """Have the trader move a stop on the firm's web page."""
        body = ModifyBody(
            account_id=ACCOUNT, order_id=broker_order_id, stop_price=Decimal(str(stop))
        )
        assert self.exchange.modify(body).code == 0

    def decide(self, fact: Fact) -> Decision:
        result = self.guard.feed(fact, after_ms=0)
        for command in result.commands:
            self._receive(command)
        assert result.decision is not None
        return result.decision

    def manual(
        self, kind: int, side: Side, size: int, *, contract_id: str = MES, **levels: Any
    ) -> int:
        """Place an order on the firm's web page; returns its number."""
        number = 0 if side is Side.BUY else 1
        outcome = self.exchange.place_manual(
            ACCOUNT, contract_id, type=kind, side=number, size=size, **levels
        )
        assert outcome.order_id is not None, outcome
        return outcome.order_id

    # -- the truth -------------------------------------------------------------------------------

    def position(self, contract_id: str = MES) -> int:
        rows: Any = self.exchange.truth()["positions"]
        held = (row["quantity"] for row in rows if row["contractId"] == contract_id)
        return int(next(held, 0))

    def orders(self) -> list[Any]:
        rows: Any = self.exchange.truth()["orders"]
        return [row for row in rows if row["accountId"] == ACCOUNT]

    def stops(self) -> list[tuple[int, Decimal]]:
        """Return (contracts, level) of each working stop that would close the position.

        One of a bot's that was let through to turn the position around is an entry.
        """
        side = 1 if self.position() > 0 else 0
        adopted = self.book.protection.record(MES).adopted
        entries = {
            order.broker_order_id
            for order in self.book.orders.values()
            if order.role is None and not order.reduces_risk
        }.difference(adopted)
        return sorted(
            (row.size - (row.fill_volume or 0), row.stop_price or Decimal(0))
            for row in self.exchange.open_orders(ACCOUNT)
            if row.type in STOP_TYPES
            and row.side == side
            and row.contract_id == MES
            and row.id not in entries
        )

    def targets(self) -> list[tuple[int, Decimal]]:
        side = 1 if self.position() > 0 else 0
        return sorted(
            (row.size - (row.fill_volume or 0), row.limit_price or Decimal(0))
            for row in self.exchange.open_orders(ACCOUNT)
            if row.type == 1 and row.side == side and row.contract_id == MES
        )

    def cover(self) -> int:
        return sum(quantity for quantity, _ in self.stops()) if self.position() else 0

    def placed(self) -> list[PlaceOrder]:
        """Return the protective orders that the guard sent by itself."""
        return [
            it
            for it in self.sent
            if isinstance(it, PlaceOrder) and it.client_order_id.startswith("protect:")
        ]

    def sent_of(self, kind: type[Command]) -> list[Any]:
        return [it for it in self.sent if isinstance(it, kind)]

    # -- what the exchange pushes ----------------------------------------------------------------

    def _pushed(self, event: UserEvent | MarketEvent) -> None:
        if not isinstance(event, UserEvent):
            return
        row = msgspec.json.encode(event.data)
        utc_us = self.exchange.now_us
        fact: Fact
        match event.target:
            case "GatewayUserOrder":
                order = self.distort(broker_order(row))
                fact = OrderReported(utc_us=utc_us, order=order, source=Source.HUB)
            case "GatewayUserTrade":
                fact = TradeReported(utc_us=utc_us, trade=broker_trade(row), source=Source.HUB)
            case "GatewayUserPosition":
                position = broker_position(row)
                fact = PositionReported(utc_us=utc_us, position=position, source=Source.HUB)
            case _:
                return
        late_ms = (utc_us - self.guard.utc_us) / 1000
        for ms in self.tell(event.target).copies_ms:
            self.later(late_ms + ms, lambda: self.feed(fact))

    # -- what the guard asks for -----------------------------------------------------------------

    def _receive(self, command: Command) -> None:
        self.sent.append(command)
        match command:
            case PlaceOrder():
                self._place(command)
            case CancelOrder() | ModifyOrder():
                self._change(command)
            case ClosePosition():
                self._close(command)
            case AuditAccount():
                self.later(REQUEST_MS, lambda: self._audit(self.guard.now_ns))
            case LookUpOrder():
                self.later(REQUEST_MS, lambda: self._look_up(command))
            case _:
                pass

    def _place(self, command: PlaceOrder) -> None:
        fate, guard = self.request(command), self.guard
        name = command.client_order_id
        self.later(0, lambda: self.feed(OrderDispatched(utc_us=guard.utc_us, client_order_id=name)))

        def arrive() -> None:
            outcome = Outcome(code=2, message=fate.refused)
            if fate.is_judged:
                outcome = self.exchange.place(place_body(command))
            answer = fate.answer(Change.PLACE, outcome)
            fact = PlaceAnswered(
                utc_us=guard.utc_us,
                client_order_id=name,
                answer=answer,
                broker_order_id=outcome.order_id if answer is Answer.YES else None,
                code=outcome.code,
                message=outcome.message or "",
            )
            self.later(fate.ms, lambda: self.feed(fact))

        self.later(fate.ms, arrive)

    def _change(self, command: CancelOrder | ModifyOrder) -> None:
        fate, guard = self.request(command), self.guard
        number = command.broker_order_id

        def arrive() -> None:
            outcome, change = Outcome(code=3, message=fate.refused), Change.CANCEL
            if isinstance(command, ModifyOrder):
                change = Change.MODIFY
            if fate.forgotten:
                outcome = Outcome()
            elif fate.is_judged:
                if isinstance(command, ModifyOrder):
                    outcome = self.exchange.modify(modify_body(command))
                else:
                    outcome = self.exchange.cancel(ACCOUNT, number)
            answer = fate.answer(change, outcome)
            kind = ModifyAnswered if isinstance(command, ModifyOrder) else CancelAnswered
            fact = kind(
                utc_us=guard.utc_us,
                broker_order_id=number,
                answer=answer,
                message=outcome.message or "",
            )
            self.later(fate.ms, lambda: self.feed(fact))

        self.later(fate.ms, arrive)

    def _close(self, command: ClosePosition) -> None:
        fate, contract_id = self.request(command), command.contract_id

        def arrive() -> None:
            outcome, change = Outcome(code=5, message=fate.refused), Change.CLOSE
            if command.quantity is not None:
                change = Change.PARTIAL_CLOSE
            if fate.is_judged:
                if command.quantity is None:
                    outcome = self.exchange.close_position(ACCOUNT, contract_id)
                else:
                    outcome = self.exchange.partial_close(ACCOUNT, contract_id, command.quantity)
            answer = fate.answer(change, outcome)
            refusal = CloseRefusal.NO_POSITION if outcome.code == 2 else CloseRefusal.NOT_POSSIBLE
            fact = PositionCloseAnswered(
                utc_us=self.guard.utc_us,
                contract_id=contract_id,
                answer=answer,
                refusal=refusal if answer is Answer.NO else None,
            )
            self.later(fate.ms, lambda: self.feed(fact))

        self.later(fate.ms, arrive)

    def _audit(self, sent_ns: int) -> None:
        statuses = ALL_STATUSES if self.reads_reach_back else LIVE_STATUSES
        read = None if self.reads_fail else self._rows(statuses)
        live = None if self.reads_fail else self._rows(LIVE_STATUSES)
        trades = None if self.reads_fail else self._trades()
        positions = tuple(
            broker_position(msgspec.json.encode(row)) for row in self.exchange.positions(ACCOUNT)
        )
        fact = AccountAudited(
            utc_us=self.guard.utc_us,
            reason="test",
            sent_ns=sent_ns - REQUEST_MS * MILLISECOND_NS,
            orders=read,
            live_orders=live,
            trades=trades,
            positions=None if self.reads_fail else self.shown(positions),
        )
        self.later(REQUEST_MS, lambda: self.feed(fact))

    def _rows(self, statuses: tuple[int, ...]) -> tuple[Any, ...]:
        rows, offset = [], 0
        while True:
            wanted = QueryFilter(account_id=ACCOUNT, statuses=list(statuses))
            page, total = self.exchange.query_orders(
                QueryBody(filter=wanted, page_size=100, page_offset=offset)
            )
            rows += page
            offset += len(page)
            if offset >= total:
                return tuple(self.distort(broker_order(msgspec.json.encode(row))) for row in rows)

    def _trades(self) -> tuple[Any, ...]:
        rows = self.exchange.trades(ACCOUNT, 0, None)
        return tuple(broker_trade(msgspec.json.encode(row)) for row in rows)

    def _look_up(self, command: LookUpOrder) -> None:
        tag = command.custom_tag
        rows = [row for row in self._rows(ALL_STATUSES) if (row.custom_tag or "").startswith(tag)]
        ids = {row.broker_order_id for row in rows}
        fact = OrderLookedUp(
            utc_us=self.guard.utc_us,
            client_order_id=command.client_order_id,
            sent_ns=self.guard.now_ns,
            complete=not self.reads_fail,
            orders=() if self.reads_fail else tuple(rows),
            trades=()
            if self.reads_fail
            else tuple(it for it in self._trades() if it.broker_order_id in ids),
        )
        self.later(REQUEST_MS, lambda: self.feed(fact))


def with_a_resting_entry() -> tuple[World, str]:
    """Return a world in which a limit order to buy 2 waits below the market, and its name."""
    world = World().start()
    levels: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(4980)}
    name = world.enter(quantity=2, stop=4950, **levels)
    world.wait(200)
    return world, name


def _timed(since_ns: int | None, is_so: bool, now_ns: int) -> tuple[int | None, int]:  # noqa: FBT001 - the state itself
    if not is_so:
        return None, 0 if since_ns is None else now_ns - since_ns
    since_ns = now_ns if since_ns is None else since_ns
    return since_ns, now_ns - since_ns


def _exchange_config(switches: dict[str, Any], account: dict[str, Any]) -> ExchangeConfig:
    def contract(contract_id: str, name: str, tick_value: str) -> ContractSpec:
        return ContractSpec(
            row=ContractRow(
                id=contract_id,
                name=name,
                description=name,
                tick_size=Decimal("0.25"),
                tick_value=Decimal(tick_value),
                active_contract=True,
                symbol_id="F.US." + contract_id.split(".")[3],
            )
        )

    members: dict[str, Any] = {
        "seed": 3,
        "start_us": START_US,
        "accounts": (
            AccountSpec(
                id=ACCOUNT,
                name="PRAC-1",
                user="bot",
                starting_balance=Decimal(50_000),
                **account,
            ),
        ),
        "contracts": (contract(MES, "MESZ6", "1.25"), contract(NQ, "NQZ6", "5")),
        "stop_slippage_ticks": (0, 0),
    }
    return ExchangeConfig(**(members | switches))


__all__ = ["LOST", "SECOND_NS", "Delivery", "OrderType", "Request", "World"]
