"""Values and a small guard for tests of the core: what is not said is harmless and fixed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from backstop.core.book import Book
from backstop.core.engine import condensed, new_book, next_deadline_ns, step
from backstop.core.policy import MILLISECOND_NS, SECOND_NS, Policy
from backstop.core.step import Decision, Step
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    BrokerStatus,
    BrokerTrade,
)
from backstop.domain.commands import Command
from backstop.domain.events import (
    AccountAudited,
    AccountReported,
    Answer,
    Fact,
    GuardStarted,
    Hub,
    HubConnected,
    InstrumentsLoaded,
    OrderDispatched,
    OrderLookedUp,
    OrderReported,
    OrderRequested,
    PlaceAnswered,
    PositionReported,
    Source,
    TimerFired,
    TradeReported,
)
from backstop.domain.instrument import Instrument
from backstop.domain.order import (
    OrderIntent,
    OrderRequest,
    OrderState,
    OrderType,
    Side,
    custom_tag,
)
from backstop.domain.quote import Quote

ACCOUNT = 42
MES = "CON.F.US.MES.Z26"
NQ = "CON.F.US.ENQ.Z26"
START_US = 1_790_000_000_000_000
"""UTC of the first event."""
START_NS = 1_000 * SECOND_NS
"""Monotonic time of the first event."""


def an_instrument(**changes: Any) -> Instrument:
    members: dict[str, Any] = {
        "contract_id": MES,
        "symbol": "MES",
        "name": "MESZ6",
        "tick_size": Decimal("0.25"),
        "tick_value_micros": 1_250_000,
    }
    return Instrument(**(members | changes))


def an_nq_instrument(**changes: Any) -> Instrument:
    members = {"contract_id": NQ, "symbol": "NQ", "name": "NQZ6", "tick_value_micros": 5_000_000}
    return an_instrument(**(members | changes))


def a_policy(**changes: Any) -> Policy:
    """Return rules under which a plain order is sent."""
    members: dict[str, Any] = {
        "account_id": ACCOUNT,
        "dry_run": False,
        "execute": True,
        "stop_required": False,
    }
    return Policy(**(members | changes))


def a_request(**changes: Any) -> OrderRequest:
    members: dict[str, Any] = {
        "client_order_id": "c1",
        "symbol": "MES",
        "side": Side.BUY,
        "quantity": 2,
        "type": OrderType.MARKET,
    }
    return OrderRequest(**(members | changes))


def an_intent(**changes: Any) -> OrderIntent:
    members: dict[str, Any] = {
        "client_order_id": "c1",
        "account_id": ACCOUNT,
        "contract_id": MES,
        "symbol": "MES",
        "side": Side.BUY,
        "quantity": 2,
        "type": OrderType.MARKET,
    }
    return OrderIntent(**(members | changes))


def an_order(state: OrderState = OrderState.INTENDED, **changes: Any) -> TrackedOrder:
    """Return an order of ours: buy 2 MES at the market, unless its ``intent`` says otherwise."""
    intent = changes.pop("intent", an_intent())
    request = a_request(
        client_order_id=intent.client_order_id,
        side=intent.side,
        quantity=intent.quantity,
        type=intent.type,
    )
    members: dict[str, Any] = {
        "request": request,
        "intent": intent,
        "custom_tag": custom_tag(intent),
        "state": state,
        "requested_utc_us": START_US,
    }
    return TrackedOrder(**(members | changes))


def a_row(**changes: Any) -> BrokerOrder:
    """Return the venue's row of an order: buy 2 MES at the market, open, number 100."""
    members: dict[str, Any] = {
        "broker_order_id": 100,
        "account_id": ACCOUNT,
        "contract_id": MES,
        "status": BrokerStatus.OPEN,
        "type": OrderType.MARKET,
        "side": Side.BUY,
        "quantity": 2,
        "created_utc_us": START_US,
        "updated_utc_us": START_US,
    }
    return BrokerOrder(**(members | changes))


def a_trade(**changes: Any) -> BrokerTrade:
    """Return trade number 7: 1 MES bought at 5000 by order 100."""
    members: dict[str, Any] = {
        "trade_id": 7,
        "broker_order_id": 100,
        "account_id": ACCOUNT,
        "contract_id": MES,
        "side": Side.BUY,
        "quantity": 1,
        "price": Decimal(5000),
        "fees_micros": 370_000,
        "created_utc_us": START_US,
    }
    return BrokerTrade(**(members | changes))


def a_position(quantity: int, **changes: Any) -> BrokerPosition:
    members: dict[str, Any] = {
        "position_id": 9,
        "account_id": ACCOUNT,
        "contract_id": MES,
        "quantity": quantity,
        "average_price": Decimal(5000),
    }
    return BrokerPosition(**(members | changes))


def a_quote(**changes: Any) -> Quote:
    members: dict[str, Any] = {
        "contract_id": MES,
        "bid": Decimal("4999.75"),
        "ask": Decimal(5000),
        "last": Decimal(5000),
    }
    return Quote(**(members | changes))


@dataclass
class Guard:
    """A book with one writer and a clock in the test's hand; keeps what happened for a replay."""

    policy: Policy = field(default_factory=a_policy)
    now_ns: int = START_NS
    condenses: bool = True
    history: list[tuple[Fact, int, Step]] = field(default_factory=list)
    book: Book = field(init=False)

    def __post_init__(self) -> None:
        self.book = new_book(self.policy)

    @property
    def utc_us(self) -> int:
        return START_US + (self.now_ns - START_NS) // 1000

    def feed(self, event: Fact, *, after_ms: int = 1) -> Step:
        """Let ``event`` happen ``after_ms`` later than the one before."""
        self.now_ns += after_ms * MILLISECOND_NS
        if self.condenses and isinstance(event, AccountAudited):
            event = condensed(self.book, event)
        result = step(self.book, event, self.now_ns)
        self.history.append((event, self.now_ns, result))
        return result

    @property
    def steps(self) -> list[Step]:
        return [result for _, _, result in self.history]

    @property
    def commands(self) -> list[Command]:
        return [command for result in self.steps for command in result.commands]

    def commands_of(self, kind: type[Command]) -> list[Any]:
        return [command for command in self.commands if isinstance(command, kind)]

    def alerts(self) -> list[str]:
        return [command.code for command in self.commands if hasattr(command, "code")]

    # -- plain events --------------------------------------------------------------------------

    def start(self, *instruments: Instrument) -> "Guard":
        """Begin with a flat account that has been read once: new orders are let through."""
        self.connect(*instruments)
        self.audit()
        return self

    def connect(self, *instruments: Instrument) -> "Guard":
        """Begin, know the contracts and have both hubs: the account has not been read yet."""
        self.feed(a_guard_start(utc_us=self.utc_us))
        self.feed(
            InstrumentsLoaded(
                utc_us=self.utc_us, instruments=instruments or (an_instrument(), an_nq_instrument())
            )
        )
        self.feed(HubConnected(utc_us=self.utc_us, hub=Hub.MARKET, generation=1))
        self.feed(HubConnected(utc_us=self.utc_us, hub=Hub.USER, generation=1))
        self.account(can_trade=True)
        return self

    def account(self, *, can_trade: bool, account_id: int = ACCOUNT) -> Step:
        account = BrokerAccount(
            account_id=account_id,
            name="50K",
            balance_micros=50_000_000_000,
            can_trade=can_trade,
            simulated=True,
        )
        return self.feed(AccountReported(utc_us=self.utc_us, account=account, source=Source.REST))

    def submit(self, quote: Quote | None = None, **changes: Any) -> Decision:
        reference = a_quote() if quote is None else quote
        result = self.feed(
            OrderRequested(utc_us=self.utc_us, request=a_request(**changes), reference=reference)
        )
        assert result.decision is not None
        return result.decision

    def dispatch(self, client_order_id: str = "c1") -> Step:
        return self.feed(OrderDispatched(utc_us=self.utc_us, client_order_id=client_order_id))

    def answer(self, answer: Answer, broker_order_id: int | None = None, **changes: Any) -> Step:
        members = {"client_order_id": "c1"} | changes
        return self.feed(
            PlaceAnswered(
                utc_us=self.utc_us, answer=answer, broker_order_id=broker_order_id, **members
            )
        )

    def working(self, broker_order_id: int = 100, **changes: Any) -> TrackedOrder:
        """Submit an order and have the venue accept it."""
        decision = self.submit(**changes)
        assert decision.order is not None, decision
        client_order_id = decision.order.client_order_id
        self.dispatch(client_order_id)
        self.answer(Answer.YES, broker_order_id, client_order_id=client_order_id)
        return self.order(client_order_id)

    def target(self, broker_order_id: int = 101) -> TrackedOrder:
        """Have a limit order work that takes the profit of a long position of the bot alpha."""
        return self.working(
            broker_order_id,
            client_order_id="target",
            side=Side.SELL,
            type=OrderType.LIMIT,
            limit_price=Decimal(5010),
            strategy_id="alpha",
        )

    def row(self, **changes: Any) -> Step:
        return self.feed(
            OrderReported(utc_us=self.utc_us, order=a_row(**changes), source=Source.HUB)
        )

    def trade(self, **changes: Any) -> Step:
        return self.feed(
            TradeReported(utc_us=self.utc_us, trade=a_trade(**changes), source=Source.HUB)
        )

    def position_row(self, quantity: int, **changes: Any) -> Step:
        return self.feed(
            PositionReported(
                utc_us=self.utc_us, position=a_position(quantity, **changes), source=Source.HUB
            )
        )

    def timer(self, *, after_ms: int = 1) -> Step:
        return self.feed(TimerFired(utc_us=self.utc_us), after_ms=after_ms)

    def until_due(self) -> Step:
        """Fire the timer at the moment the core asked for."""
        due_ns = next_deadline_ns(self.book)
        assert due_ns, "nothing is due"
        self.now_ns = max(self.now_ns, due_ns)
        return self.timer(after_ms=0)

    def audit(self, *, after_ms: int = 300, **parts: Any) -> Step:
        """Let a complete audit come back that was sent 100 ms before; parts not named are empty."""
        self.now_ns += after_ms * MILLISECOND_NS
        members: dict[str, Any] = {
            "orders": (),
            "live_orders": (),
            "trades": (),
            "positions": (),
            "sent_ns": self.now_ns - 100 * MILLISECOND_NS,
        }
        return self.feed(
            AccountAudited(utc_us=self.utc_us, reason="test", **(members | parts)), after_ms=0
        )

    def look_up(self, client_order_id: str = "c1", *, complete: bool = True, **parts: Any) -> Step:
        """Let a search come back that was sent just now."""
        members: dict[str, Any] = {"sent_ns": self.now_ns, "complete": complete}
        return self.feed(
            OrderLookedUp(utc_us=self.utc_us, client_order_id=client_order_id, **(members | parts))
        )

    # -- what is believed ----------------------------------------------------------------------

    def order(self, client_order_id: str = "c1") -> TrackedOrder:
        return self.book.orders[client_order_id]

    def state(self, client_order_id: str = "c1") -> OrderState:
        return self.order(client_order_id).state

    def position(self, contract_id: str = MES) -> int:
        return self.book.position(contract_id).quantity


def a_guard_start(**changes: Any) -> GuardStarted:
    members: dict[str, Any] = {
        "utc_us": START_US,
        "boot_id": "b",
        "process_id": 1,
        "account_id": ACCOUNT,
        "gateway_host": "127.0.0.1",
        "version": "0",
    }
    return GuardStarted(**(members | changes))


def replayed(policy: Policy, history: Iterable[tuple[Fact, int, Step]]) -> tuple[Book, list[Step]]:
    """Return the book and the steps that the same events make a second time."""
    book = new_book(policy)
    return book, [step(book, event, now_ns) for event, now_ns, _ in history]
