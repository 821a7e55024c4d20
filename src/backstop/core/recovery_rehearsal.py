"""What the core would do about an account after a start: tried out on a copy of the book.

The copy lives through the first seconds of a start: both hubs come, every read says what the
picture says, and the deadlines pass. What it asks for on the way is the plan; nothing of it is
carried out, so only what is asked for first about a contract counts.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from backstop.core import engine
from backstop.core.book import Book
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.protection_levels import row_of
from backstop.core.state_checkpoint import captured, restored
from backstop.domain.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    BrokerStatus,
    BrokerTrade,
)
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
    Request,
)
from backstop.domain.events import (
    AccountAudited,
    AccountReported,
    Fact,
    GuardStarted,
    Hub,
    HubConnected,
    InstrumentsLoaded,
    Source,
    StopKind,
    TimerFired,
)
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import decimal_text
from backstop.domain.order import OrderType, Side

HORIZON_NS = 6 * SECOND_NS
"""The first seconds of a start: a naked position is given up long before."""

READ_NS = 100 * MILLISECOND_NS
"""What a read of the account takes in the rehearsal."""

STEPS_MAX = 400
"""A rehearsal has some fifty steps; what takes many more does not end."""

STOPS = frozenset({OrderType.STOP, OrderType.TRAILING_STOP})


class Act(StrEnum):
    """What is done about a contract."""

    ADOPT_STOP = "ADOPT_STOP"  # the stop that works at the venue is kept
    PLACE_STOP = "PLACE_STOP"
    PLACE_TARGET = "PLACE_TARGET"
    CHANGE_ORDER = "CHANGE_ORDER"  # a stop or target is fitted to the position
    CANCEL_ORDER = "CANCEL_ORDER"  # it would open a position, or is too much
    CLOSE = "CLOSE"
    CLOSE_PAST_STOP = "CLOSE_PAST_STOP"  # the market is beyond the recorded stop
    LIQUIDATE = "LIQUIDATE"  # left alone for too long
    LOOK_UP = "LOOK_UP"  # an order is searched by its tag
    ASK_A_PERSON = "ASK_A_PERSON"  # held without a stop, and no rule gives one
    NOTHING = "NOTHING"


class PlannedAct(Struct, frozen=True, kw_only=True):
    """One act.

    Attributes:
        act: its kind.
        quantity: contracts; None where it has none.
        price: level in points as text; None where it has none.
        broker_order_id: the order it is about; None: a new one, or the position.
        reason: why, for people.
    """

    act: Act
    quantity: int | None = None
    price: str | None = None
    broker_order_id: int | None = None
    reason: str = ""


class AccountPicture(Struct, frozen=True, kw_only=True):
    """The account as it was read just now; a part that could not be read completely is None.

    Attributes:
        account: its own row; None when the login does not show it.
        other_accounts: what the login shows instead, for people.
        instruments: the contracts that the gateway lists; empty when they could not be read.
        prices: last prices in points, by contract, as far as they are known.
    """

    utc_us: int
    account: BrokerAccount | None
    other_accounts: tuple[str, ...] = ()
    positions: tuple[BrokerPosition, ...] | None
    live_orders: tuple[BrokerOrder, ...] | None
    orders: tuple[BrokerOrder, ...] | None
    trades: tuple[BrokerTrade, ...] | None
    instruments: tuple[Instrument, ...] = ()
    prices: Mapping[str, Decimal] = {}

    @property
    def unread(self) -> tuple[str, ...]:
        """The parts that could not be read."""
        parts = ("positions", "live_orders", "orders", "trades")
        return tuple(part for part in parts if getattr(self, part) is None)

    def symbol(self, contract_id: str, book: Book) -> str:
        """Return the exchange's root of a contract, or the contract where that is not known."""
        listed = next((it for it in self.instruments if it.contract_id == contract_id), None)
        known = listed or book.instruments.get(contract_id)
        return contract_id if known is None else known.symbol

    def is_traded(self, contract_id: str) -> bool:
        """Say whether the venue takes orders for a contract; True when that is not known."""
        if not self.instruments:
            return True
        return any(it.contract_id == contract_id and it.active for it in self.instruments)

    def as_read(self, *, sent_ns: int, utc_us: int) -> AccountAudited:
        """Return the fact that a read of the account would be."""
        return AccountAudited(
            utc_us=utc_us,
            reason="rehearsal",
            sent_ns=sent_ns,
            orders=self.orders,
            live_orders=self.live_orders,
            trades=self.trades,
            positions=self.positions,
        )


def acts_on(
    before: Book, picture: AccountPicture, *, liquidates: bool, now_ns: int
) -> dict[str, tuple[PlannedAct, ...]]:
    """Return what is done about each contract; ``before`` is not changed."""
    rehearsal = _Rehearsal(before, picture, now_ns=now_ns)
    asked = rehearsal.requests()
    found: dict[str, tuple[PlannedAct, ...]] = {}
    for contract_id in rehearsal.contracts():
        if liquidates and rehearsal.held(contract_id):
            reason = "nobody guarded the account for longer than the threshold"
            found[contract_id] = (
                PlannedAct(
                    act=Act.LIQUIDATE,
                    quantity=abs(rehearsal.held(contract_id)),
                    reason=reason,
                ),
            )
            continue
        requests = asked.get(contract_id, [])
        acts = [*rehearsal.adopted(contract_id), *map(rehearsal.act, requests)]
        if not acts and rehearsal.held(contract_id):
            acts.append(
                PlannedAct(
                    act=Act.ASK_A_PERSON,
                    quantity=abs(rehearsal.held(contract_id)),
                    reason="no stop works, none was recorded, and DEFAULT_STOP_TICKS gives none",
                )
            )
        found[contract_id] = tuple(acts)
    return found


class _Rehearsal:
    """One start on a copy of a book."""

    def __init__(self, before: Book, picture: AccountPicture, *, now_ns: int) -> None:
        self._picture = picture
        self._book = restored(captured(before))
        # What would leave if the gate were open: whether it is, is another question.
        # Its time of day is taken for the venue's: there are no answers to read that from.
        self._book.policy = replace(
            before.policy, dry_run=False, execute=True, observe_only=False, measures_clock=False
        )
        self._begin_ns = self._now_ns = now_ns
        self._reads_ns: list[int] = []
        self._asked: dict[str, list[Request]] = {}
        self._closed_to: set[str] = set()

    def requests(self) -> dict[str, list[Request]]:
        """Live through the start; returns the first requests about each contract."""
        for fact in self._opening():
            self._feed(fact)
        for _ in range(STEPS_MAX):
            due_ns = self._next_ns()
            if due_ns > self._begin_ns + HORIZON_NS:
                break
            self._now_ns = max(self._now_ns, due_ns)
            if self._reads_ns and self._reads_ns[0] <= self._now_ns:
                sent_ns = self._reads_ns.pop(0) - READ_NS
                self._feed(self._picture.as_read(sent_ns=sent_ns, utc_us=self._utc_us))
            else:
                self._feed(TimerFired(utc_us=self._utc_us))
        return self._asked

    @property
    def _utc_us(self) -> int:
        return self._picture.utc_us + (self._now_ns - self._begin_ns) // 1000

    def _opening(self) -> Iterator[Fact]:
        picture, utc_us = self._picture, self._picture.utc_us
        yield GuardStarted(
            utc_us=utc_us,
            boot_id="",
            process_id=0,
            account_id=self._book.policy.account_id,
            gateway_host="",
            version="",
            stop=StopKind.CLEAN,
        )
        if picture.instruments:
            yield InstrumentsLoaded(utc_us=utc_us, instruments=picture.instruments)
        if picture.account is not None:
            yield AccountReported(utc_us=utc_us, account=picture.account, source=Source.REST)
        for hub in (Hub.MARKET, Hub.USER):
            yield HubConnected(utc_us=utc_us, hub=hub, generation=1)

    def _next_ns(self) -> int:
        wanted = engine.next_deadline_ns(self._book) or self._begin_ns + 2 * HORIZON_NS
        return min([wanted, *self._reads_ns])

    def _feed(self, fact: Fact) -> None:
        self._now_ns += MILLISECOND_NS
        result = engine.step(self._book, fact, self._now_ns)
        answered: set[str] = set()
        for command in result.commands:
            if isinstance(command, AuditAccount):
                self._reads_ns.append(self._now_ns + READ_NS)
                continue
            contract_id = self._contract_of(command)
            if contract_id is None or contract_id in self._closed_to:
                continue
            asked = self._asked.setdefault(contract_id, [])
            if not any(_is_repeated(command, it) for it in asked):
                asked.append(command)
            if isinstance(command, PlaceOrder | ClosePosition):
                answered.add(contract_id)
        # Nobody answers, so what is asked for after that is about the silence.
        self._closed_to |= answered

    def _contract_of(self, command: Request) -> str | None:
        match command:
            case PlaceOrder() | ClosePosition():
                return command.contract_id
            case CancelOrder() | ModifyOrder():
                row = row_of(self._book, command.broker_order_id)
                return None if row is None else row.contract_id
            case LookUpOrder():
                order = self._book.orders.get(command.client_order_id)
                return None if order is None else order.intent.contract_id
            case _:
                return None

    # -- what it means -----------------------------------------------------------------------

    def contracts(self) -> tuple[str, ...]:
        """Return every contract that is held, or about which something was asked."""
        held = (row.contract_id for row in self._picture.positions or () if row.quantity)
        return tuple(dict.fromkeys((*held, *self._asked)))

    def held(self, contract_id: str) -> int:
        """Return the signed contracts that the broker says are held."""
        rows = self._picture.positions or ()
        return next((row.quantity for row in rows if row.contract_id == contract_id), 0)

    def adopted(self, contract_id: str) -> Iterator[PlannedAct]:
        """Yield the stops that work for the position and are kept."""
        held = self.held(contract_id)
        gone = {
            command.broker_order_id
            for command in self._asked.get(contract_id, [])
            if isinstance(command, CancelOrder)
        }
        for row in self._picture.live_orders or ():
            closes = row.contract_id == contract_id and held * row.side.sign < 0
            if not closes or row.type not in STOPS or row.status is not BrokerStatus.OPEN:
                continue
            if row.broker_order_id not in gone:
                yield PlannedAct(
                    act=Act.ADOPT_STOP,
                    quantity=row.quantity - row.filled_quantity,
                    price=decimal_text(row.stop_price),
                    broker_order_id=row.broker_order_id,
                    reason="it works at the venue",
                )

    def act(self, command: Request) -> PlannedAct:
        """Return a request as an act."""
        match command:
            case PlaceOrder() if command.type in STOPS:
                return self._stop(command)
            case PlaceOrder():
                kind = Act.PLACE_TARGET if command.type is OrderType.LIMIT else Act.CLOSE
                return PlannedAct(
                    act=kind, quantity=command.quantity, price=decimal_text(command.limit_price)
                )
            case ModifyOrder():
                level = (
                    command.stop_price if command.stop_price is not None else command.limit_price
                )
                return PlannedAct(
                    act=Act.CHANGE_ORDER,
                    quantity=command.quantity,
                    price=decimal_text(level),
                    broker_order_id=command.broker_order_id,
                    reason=command.reason,
                )
            case CancelOrder():
                return PlannedAct(
                    act=Act.CANCEL_ORDER,
                    broker_order_id=command.broker_order_id,
                    reason=command.reason,
                )
            case ClosePosition():
                return PlannedAct(act=Act.CLOSE, quantity=command.quantity, reason=command.reason)
            case LookUpOrder():
                reason = f"{command.client_order_id}, tag {command.custom_tag or 'none'}"
                return PlannedAct(act=Act.LOOK_UP, reason=reason)
            case _:
                return PlannedAct(act=Act.NOTHING)

    def _stop(self, command: PlaceOrder) -> PlannedAct:
        level = command.stop_price if command.stop_price is not None else command.trail_price
        market = self._picture.prices.get(command.contract_id)
        selling = command.side is Side.SELL
        past = (
            level is not None
            and market is not None
            and (market <= level if selling else market >= level)
        )
        if not past:
            return PlannedAct(
                act=Act.PLACE_STOP,
                quantity=command.quantity,
                price=decimal_text(level),
                reason="no working stop covers these contracts",
            )
        return PlannedAct(
            act=Act.CLOSE_PAST_STOP,
            quantity=command.quantity,
            price=decimal_text(level),
            reason=f"the market is at {decimal_text(market)}, past the recorded stop",
        )


def _is_repeated(command: Request, earlier: Request) -> bool:
    """Say whether a request is an earlier one again: what was not answered is asked for anew."""
    if isinstance(command, CancelOrder | ModifyOrder) and type(command) is type(earlier):
        return command.broker_order_id == getattr(earlier, "broker_order_id", None)
    return command == earlier
