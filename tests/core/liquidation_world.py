"""A small model of a venue for tests of liquidations: it fills, it loses answers, it tells truth.

It is as hostile as the real one may be: a close is a market order of the whole position, whatever
is under way already, so that two at once open the other side; legs survive it; and answers, events
and reads come late or not at all, as the test draws them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from tests.core.builders import ACCOUNT, MES, START_US, Guard, a_guard_start, an_instrument

from backstop.core.engine import new_book, next_deadline_ns, step
from backstop.core.liquidation import Liquidation, LiquidationState
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.domain.broker import BrokerOrder, BrokerPosition, BrokerStatus, BrokerTrade
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    Command,
    LookUpOrder,
)
from backstop.domain.events import (
    AccountAudited,
    Answer,
    CancelAnswered,
    CloseRefusal,
    Fact,
    Hub,
    HubConnected,
    InstrumentsLoaded,
    LiquidationRequested,
    OrderLookedUp,
    OrderReported,
    PositionCloseAnswered,
    PositionReported,
    Source,
    TimerFired,
    TradeReported,
)
from backstop.domain.order import OrderType, Side

DONE_BY_NS = 400 * SECOND_NS
"""Simulated time after which a run that is not over will never be."""

READ_WAITS_MS = 10_000


class Fate(Struct, frozen=True, kw_only=True):
    """What becomes of one close request, or of one cancel.

    ``fills`` are the contracts that trade at once; None: all of them. What is left rests. A
    request of which the answer is lost may still be on its way for ``arrive_ms``.
    """

    answer: Answer = Answer.YES
    arrives: bool = True
    arrive_ms: int = 0
    refusal: CloseRefusal | None = None
    words: str = ""
    answer_ms: int = 20
    fill_ms: int = 3
    fills: int | None = None


HEALTHY = Fate()


@dataclass
class World:
    """A guard and a venue on one simulated clock."""

    guard: Guard = field(default_factory=Guard)
    fates: list[Fate] = field(default_factory=list)  # of the next close requests
    cancel_fates: list[Fate] = field(default_factory=list)
    lost_events: list[bool] = field(default_factory=list)  # of the next events of the hub
    failed_reads: list[bool] = field(default_factory=list)
    no_calls_to_read: bool = False
    market_open: bool = True
    positions: dict[str, int] = field(default_factory=dict)
    orders: dict[int, BrokerOrder] = field(default_factory=dict)
    trades: list[BrokerTrade] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)  # closes that came while one was under way
    naked: list[str] = field(default_factory=list)  # stops cancelled under an open position
    hidden: dict[int, None] = field(default_factory=dict)  # orders that no read shows any more
    seen: dict[str, LiquidationState] = field(default_factory=dict)  # the state of each run before
    sent: list[Command] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=lambda: count(1_000))
    _queue: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _turns: "count[int]" = field(default_factory=count)

    # -- the account before ----------------------------------------------------------------------

    def start(self) -> "World":
        """Connect; the account has been read when this returns."""
        guard = self.guard
        guard.feed(a_guard_start(utc_us=guard.utc_us))
        guard.feed(InstrumentsLoaded(utc_us=guard.utc_us, instruments=(an_instrument(),)))
        guard.feed(HubConnected(utc_us=guard.utc_us, hub=Hub.MARKET, generation=1))
        self.feed(HubConnected(utc_us=guard.utc_us, hub=Hub.USER, generation=1))
        guard.account(can_trade=True)
        self.run(lambda: guard.book.recovered and self._all_proven(), limit_s=60)
        return self

    def _all_proven(self) -> bool:
        return all(
            self.guard.book.position(contract_id).is_proven
            for contract_id, quantity in self.positions.items()
            if quantity
        )

    def hold(self, quantity: int, contract_id: str = MES, *, stop: bool = True) -> "World":
        """Hold a position with a foreign-looking stop beside it."""
        self.positions[contract_id] = quantity
        side = Side.BUY if quantity > 0 else Side.SELL
        self._trade(next(self.numbers), contract_id, side, abs(quantity))
        if stop:
            self.order(side.opposite, abs(quantity), OrderType.STOP, contract_id)
        return self

    def order(
        self,
        side: Side,
        quantity: int,
        kind: OrderType,
        contract_id: str = MES,
        status: BrokerStatus = BrokerStatus.OPEN,
    ) -> int:
        """Rest an order that somebody else sent."""
        number = next(self.numbers)
        self.orders[number] = BrokerOrder(
            broker_order_id=number,
            account_id=ACCOUNT,
            contract_id=contract_id,
            status=status,
            type=kind,
            side=side,
            quantity=quantity,
            stop_price=Decimal(4900) if kind is OrderType.STOP else None,
            limit_price=Decimal(4900) if kind is OrderType.LIMIT else None,
            created_utc_us=START_US,
            updated_utc_us=START_US,
        )
        return number

    # -- time ------------------------------------------------------------------------------------

    def feed(self, fact: Fact) -> None:
        """Let the guard hear of ``fact`` now, and the venue of what it asks for."""
        result = self.guard.feed(fact, after_ms=0)
        for command in result.commands:
            self.receive(command)

    def later(self, ms: int, act: Callable[[], None]) -> None:
        heappush(self._queue, (self.guard.now_ns + ms * MILLISECOND_NS, next(self._turns), act))

    def run(self, is_over: Callable[[], bool], *, limit_s: int = 400) -> None:
        """Let time pass until ``is_over``, or until ``limit_s`` have."""
        end_ns = self.guard.now_ns + limit_s * SECOND_NS
        while not is_over() and self.guard.now_ns < end_ns:
            self.turn(end_ns)

    def turn(self, end_ns: int) -> None:
        """Let the next thing happen: of the venue's, or the guard's own deadline."""
        guard = self.guard
        due_ns = next_deadline_ns(guard.book) or end_ns
        if self._queue and self._queue[0][0] <= due_ns:
            at_ns, _, act = heappop(self._queue)
            guard.now_ns = max(guard.now_ns, at_ns)
            act()
        else:
            guard.now_ns = max(guard.now_ns, min(due_ns, end_ns))
            if due_ns < end_ns:
                self.feed(TimerFired(utc_us=guard.utc_us))

    def restart(self, *, told: bool = True) -> None:
        """Kill the process and start another from its record; ``told``: what it sent arrived."""
        history, now_ns = self.guard.history, self.guard.now_ns
        book = new_book(self.guard.policy)
        for fact, at_ns, _ in history:
            step(book, fact, at_ns)
        reborn = Guard(policy=self.guard.policy, now_ns=now_ns + SECOND_NS)
        reborn.book, reborn.history = book, history
        self.guard = reborn
        # Answers and events on their way go to a process that is no more; fills happen anyway.
        self._queue = (
            [it for it in self._queue if getattr(it[2], "of_venue", False)] if told else []
        )
        self.feed(a_guard_start(utc_us=reborn.utc_us))
        reborn.feed(HubConnected(utc_us=reborn.utc_us, hub=Hub.MARKET, generation=2))
        self.feed(HubConnected(utc_us=reborn.utc_us, hub=Hub.USER, generation=2))

    # -- what the guard asks for -----------------------------------------------------------------

    def receive(self, command: Command) -> None:
        self.sent.append(command)
        match command:
            case ClosePosition():
                self._close(command)
            case CancelOrder():
                self._cancel(command)
            case AuditAccount() if self.no_calls_to_read:
                self._read_in_vain()
            case AuditAccount():
                failed = bool(self.failed_reads) and self.failed_reads.pop(0)
                self._read(failed=failed)
            case LookUpOrder():
                self._look_up(command)
            case _:
                pass

    def _close(self, command: ClosePosition) -> None:
        fate = self.fates.pop(0) if self.fates else HEALTHY
        if fate.answer is Answer.UNKNOWN:
            self._answer_close(command, fate, Answer.UNKNOWN, None)
            if fate.arrives:
                self._later_at_venue(fate.arrive_ms, lambda: self._take_close(command, fate))
            return
        if fate.answer is Answer.YES:
            refusal = self._take_close(command, fate)
            answer = Answer.YES if refusal is None else Answer.NO
            self._answer_close(command, fate, answer, refusal)
            return
        self._answer_close(command, fate, fate.answer, fate.refusal)

    def _answer_close(
        self, command: ClosePosition, fate: Fate, answer: Answer, refusal: CloseRefusal | None
    ) -> None:
        self.later(
            fate.answer_ms,
            lambda: self.feed(
                PositionCloseAnswered(
                    utc_us=self.guard.utc_us,
                    contract_id=command.contract_id,
                    answer=answer,
                    refusal=refusal if answer is Answer.NO else None,
                    message=fate.words,
                )
            ),
        )

    def _take_close(self, command: ClosePosition, fate: Fate) -> CloseRefusal | None:
        """Send the market order of a close to the market, whatever else is under way."""
        contract_id = command.contract_id
        held = self.positions.get(contract_id, 0)
        if not held:
            return CloseRefusal.NO_POSITION
        if not self.market_open:
            return CloseRefusal.NOT_NOW
        under_way = [row for row in self._live(contract_id) if row.type is OrderType.MARKET]
        self.doubled.extend(f"{contract_id} at {self.guard.now_ns}" for _ in under_way[:1])
        side = Side.SELL if held > 0 else Side.BUY
        size = abs(held) if command.quantity is None else min(command.quantity, abs(held))
        number = self.order(side, size, OrderType.MARKET, contract_id, BrokerStatus.PENDING)
        self._tell_order(number)
        self._later_at_venue(fate.fill_ms, lambda: self._fill(number, fate.fills))
        return None

    def _cancel(self, command: CancelOrder) -> None:
        if self.no_calls_to_read and command.repeats:
            fate = Fate(answer=Answer.NOT_SENT)  # it leaves even more calls to others
        else:
            fate = self.cancel_fates.pop(0) if self.cancel_fates else HEALTHY
        number = command.broker_order_id
        row = self.orders[number]
        held = self.positions.get(row.contract_id, 0)
        if row.type is OrderType.STOP and held * row.side.sign < 0:
            self.naked.append(f"{number} under {held:+d}")
        if number in self.hidden:
            fate = Fate(answer=Answer.NO)
        if fate.arrives and fate.answer in {Answer.YES, Answer.UNKNOWN}:
            self._later_at_venue(fate.fill_ms, lambda: self._end(number))
        self.later(
            fate.answer_ms,
            lambda: self.feed(
                CancelAnswered(utc_us=self.guard.utc_us, broker_order_id=number, answer=fate.answer)
            ),
        )

    def _read(self, *, failed: bool) -> None:
        sent_ns = self.guard.now_ns

        def taken() -> None:
            rows = tuple(
                BrokerPosition(
                    position_id=1,
                    account_id=ACCOUNT,
                    contract_id=contract_id,
                    quantity=quantity,
                    average_price=Decimal(5000),
                )
                for contract_id, quantity in self.positions.items()
                if quantity
            )
            fact = AccountAudited(
                utc_us=self.guard.utc_us,
                reason="test",
                sent_ns=sent_ns,
                orders=tuple(self._shown()),
                live_orders=tuple(row for row in self._shown() if row.status.is_live),
                trades=tuple(self.trades),
                positions=None if failed else rows,
            )
            self.later(10, lambda: self.feed(fact))

        self.later(5, taken)

    def _read_in_vain(self) -> None:
        """Let a read wait for calls until its time is up."""
        nothing = AccountAudited(
            utc_us=self.guard.utc_us,
            reason="test",
            sent_ns=self.guard.now_ns,
            orders=None,
            live_orders=None,
            trades=None,
            positions=None,
        )
        self.later(READ_WAITS_MS, lambda: self.feed(nothing))

    def _look_up(self, command: LookUpOrder) -> None:
        sent_ns = self.guard.now_ns
        rows = tuple(row for row in self.orders.values() if row.custom_tag == command.custom_tag)
        ids = {row.broker_order_id for row in rows}
        trades = tuple(trade for trade in self.trades if trade.broker_order_id in ids)
        self.later(
            10,
            lambda: self.feed(
                OrderLookedUp(
                    utc_us=self.guard.utc_us,
                    client_order_id=command.client_order_id,
                    sent_ns=sent_ns,
                    complete=True,
                    orders=rows,
                    trades=trades,
                )
            ),
        )

    def _shown(self) -> list[BrokerOrder]:
        return [row for number, row in self.orders.items() if number not in self.hidden]

    # -- what happens there ----------------------------------------------------------------------

    def fill(self, number: int, quantity: int | None = None) -> None:
        """Let an order that rests trade, as the market pleases."""
        self._fill(number, quantity)

    def _live(self, contract_id: str) -> list[BrokerOrder]:
        return [
            row
            for row in self.orders.values()
            if row.contract_id == contract_id and row.status.is_live
        ]

    def _fill(self, number: int, quantity: int | None) -> None:
        row = self.orders[number]
        if not row.status.is_live:
            return
        left = row.quantity - row.filled_quantity
        size = left if quantity is None else min(left, quantity)
        filled = row.filled_quantity + size
        status = BrokerStatus.FILLED if filled == row.quantity else BrokerStatus.OPEN
        self.orders[number] = replace(row, filled_quantity=filled, status=status)
        if size:
            before = self.positions.get(row.contract_id, 0)
            self.positions[row.contract_id] = before + row.side.sign * size
            trade = self._trade(number, row.contract_id, row.side, size)
            self._tell(TradeReported(utc_us=self.guard.utc_us, trade=trade, source=Source.HUB))
        self._tell_order(number)
        if size:
            self._tell(
                PositionReported(
                    utc_us=self.guard.utc_us,
                    source=Source.HUB,
                    position=BrokerPosition(
                        position_id=1,
                        account_id=ACCOUNT,
                        contract_id=row.contract_id,
                        quantity=self.positions[row.contract_id],
                        average_price=Decimal(5000),
                    ),
                )
            )

    def _end(self, number: int) -> None:
        row = self.orders[number]
        if row.status.is_live:
            self.orders[number] = replace(row, status=BrokerStatus.CANCELLED)
            self._tell_order(number)

    def _trade(self, number: int, contract_id: str, side: Side, quantity: int) -> BrokerTrade:
        trade = BrokerTrade(
            trade_id=next(self.numbers),
            broker_order_id=number,
            account_id=ACCOUNT,
            contract_id=contract_id,
            side=side,
            quantity=quantity,
            price=Decimal(5000),
            fees_micros=0,
            created_utc_us=self.guard.utc_us,
        )
        self.trades.append(trade)
        return trade

    def _tell_order(self, number: int) -> None:
        self._tell(
            OrderReported(utc_us=self.guard.utc_us, order=self.orders[number], source=Source.HUB)
        )

    def _tell(self, fact: Fact) -> None:
        if self.lost_events and self.lost_events.pop(0):
            return
        self.later(2, lambda: self.feed(fact))

    def _later_at_venue(self, ms: int, act: Callable[[], None]) -> None:
        def happens() -> None:
            act()

        happens.of_venue = True  # type: ignore[attr-defined]
        self.later(ms, happens)

    # -- what came of it -------------------------------------------------------------------------

    def liquidate(self, contract_id: str | None = None) -> str:
        """Ask for a liquidation and return its id."""
        self.feed(
            LiquidationRequested(
                utc_us=self.guard.utc_us,
                reason="the operator says so",
                operator="ann",
                contract_id=contract_id,
            )
        )
        return next(reversed(self.guard.book.liquidations))

    def liquidation(self, name: str) -> Liquidation:
        return self.guard.book.liquidations[name]

    def flat(self, name: str) -> bool:
        return self.liquidation(name).is_finished

    @property
    def holds(self) -> list[str]:
        """What the venue still has: the truth that FLAT is measured by."""
        return [
            *(f"{quantity:+d} {name}" for name, quantity in self.positions.items() if quantity),
            *(str(row.broker_order_id) for row in self._shown() if row.status.is_live),
        ]

    def sent_of(self, kind: type[Command]) -> list[Any]:
        return [command for command in self.sent if isinstance(command, kind)]
