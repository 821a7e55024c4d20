"""Everything the guard knows, in one place with one writer: the state that events are folded into.

The containers are mutable because one writer owns them and a copy per event would cost more than
the decision; the values inside are frozen and only pure functions make new ones.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from backstop.core.account_rules.limits import AccountLimits, in_force
from backstop.core.account_rules.record import AccountRecord
from backstop.core.account_rules.sums import AccountSums
from backstop.core.alerts import AlertBoard
from backstop.core.asked_changes import AskedCancel
from backstop.core.bot_record import Bot
from backstop.core.by_contract import LiveOrders, Positions
from backstop.core.contract_facts import KeptFacts
from backstop.core.counted_trades import CountedTrades
from backstop.core.drop_copy_record import DropCopyRecord
from backstop.core.exposure import LimitName
from backstop.core.external_record import ExternalRecord
from backstop.core.liquidation import CloseAttempt, Liquidation
from backstop.core.market_hours import Hours
from backstop.core.noted import ChangeLog, Noted
from backstop.core.past_doubt import PastDoubt
from backstop.core.policy import SECOND_NS, Policy
from backstop.core.positions import Knowledge, PositionView
from backstop.core.protection_record import ProtectionBook
from backstop.core.realised import RealisedResult
from backstop.core.reference_levels import LevelHistory
from backstop.core.standing_exposure import StandingExposure
from backstop.core.tracked_order import TrackedOrder, told_quantity
from backstop.core.trading_state import (
    Condition,
    Latch,
    Readiness,
    TradingState,
    state_reasons,
    trading_state,
)
from backstop.core.venue_clock import VenueClock
from backstop.domain.broker import BrokerAccount, BrokerOrder, BrokerStatus
from backstop.domain.events import JournalRecovered, RiskEstimated, StopKind
from backstop.domain.instrument import Instrument
from backstop.domain.order import LegRole, OrderRequest, OrderType, Side

AUDIT_INTERVAL_NS = 5 * SECOND_NS
"""How often orders, trades and positions are read, whatever the hubs say."""

FIRST_LOOK_BACK_US = 24 * 3600 * 1_000_000
"""How far an audit without a cursor reads back: a full trading day."""

AUDIT_STALE_NS = 3 * AUDIT_INTERVAL_NS
"""Without a complete audit for this long the account counts as stale."""

MARKET_LINK_GRACE_NS = 2 * SECOND_NS
"""How long the market hub may be away before entries are blocked."""

ORDERS_KEPT = 20_000
"""Finished orders in memory; older ones are in the journal and in the audit tables."""

TRADES_KEPT = 200_000
"""Trade ids in memory; the audit table's primary key guards against older ones."""

CANCEL_AGAIN_NS = 2 * SECOND_NS
"""How long a cancel may take before it is asked for again; later ones may have longer pauses."""

LATCHES_KEPT = 32
"""Different causes of a halt that are remembered; one is enough to stay halted."""

VENUE_ORDERS_KEPT = 20_000
"""Finished legs and foreign orders in memory."""

UNLISTED_READS_MAX = 3
"""Searches for an order that no list of live orders shows, before it protects nothing any more
and a person is told."""

STOP_TYPES = frozenset({OrderType.STOP, OrderType.TRAILING_STOP})
"""What closes a position at a loss that is bounded, whatever its owner does meanwhile."""

NUMBER_DIGITS_MAX = 19
"""Digits of the largest order number that 64 bits hold; a longer text is no number."""


class Wake(StrEnum):
    """What the core wants to be woken for; each has at most one time."""

    ORPHANS = "ORPHANS"  # legs without a position are looked at
    EXTERNAL = "EXTERNAL"  # the wait for the attribution of a fill ends
    PROTECTION = "PROTECTION"  # a position has been naked for as long as it may be
    LIQUIDATION = "LIQUIDATION"  # the next look at a liquidation or a close
    ALERTS = "ALERTS"  # critical alerts that nobody acknowledged are sent again
    HALTING = "HALTING"  # a cancel of an entry is asked for again
    DROP_COPY = "DROP_COPY"  # orders of a bot that trades by itself are judged
    HOURS = "HOURS"  # a session opens or ends, or what may not be held over it
    CANCELS = "CANCELS"  # a cancel that somebody asked for is asked for again
    EXITS = "EXITS"  # exits beyond their position are looked at
    JOURNAL = "JOURNAL"  # the disk has taken records for so long that a person is told
    BLINDNESS = "BLINDNESS"  # both hubs have been away for too long with an order in doubt


class VenueOrder(Struct, frozen=True, kw_only=True):
    """An order of the venue that no request of ours placed by itself: a bracket leg, or foreign.

    ``owner`` is the client id of the entry a leg belongs to; None marks a foreign order. ``cancel``
    is kept of a leg whose bot wants it over.
    """

    row: BrokerOrder
    owner: str | None = None
    role: LegRole | None = None
    levels_seen: LevelHistory = LevelHistory()
    cancel: AskedCancel | None = None


class Entry(Struct, frozen=True, kw_only=True):
    """An accepted entry, remembered for the rate and look-alike rules.

    ``moved`` marks a change that took on more risk: it counts in the rate, and is no second order.
    """

    accepted_ns: int
    request: OrderRequest
    moved: bool = False


class Search(Struct, frozen=True, kw_only=True):
    """The search for an order of ours that no list of live orders shows."""

    times: int = 0
    due_ns: int = 0  # when it is asked for again


class AskedSize(Struct, frozen=True, kw_only=True):
    """The sizes of an order, filled contracts included, that were asked for and may come.

    Attributes:
        quantity: the smallest of them.
        asked_ns: when the newest was asked for, monotonic.
        may_come: one of those that were answered was not refused.
        known_after_ns: a read that was sent later shows what came of all that were answered;
            monotonic.
    """

    quantity: int
    asked_ns: int
    may_come: bool = False
    known_after_ns: int = 0


class Outages(Struct, frozen=True, kw_only=True):
    """Times in which the disk took no record, each soon after the one before.

    Attributes:
        times: how many there were; 0: the disk has not failed, or came back for good.
        ended_ns: when the newest of them ended, monotonic.
        untold: what was written of all whose end no person has been told of; None: of none.
    """

    times: int = 0
    ended_ns: int = 0
    untold: JournalRecovered | None = None


class Unclear(Struct, frozen=True, kw_only=True):
    """Requests about one order without a clear answer, in a row; ``left`` may have arrived.

    ``last_ns`` is when the last that may have was answered, or given up; monotonic. ``is_shown``: a
    read that was sent since then shows the order as if nothing had been asked.
    """

    times: int = 0
    left: int = 0
    last_ns: int = 0
    is_shown: bool = False

    @property
    def is_in_doubt(self) -> bool:
        """One may have arrived, and no read says what came of it: the next one repeats it."""
        return self.left > 0 and not self.is_shown


@dataclass(slots=True)
class Links:
    """The hubs, as far as the core needs to know them."""

    user_up: bool = False
    user_since_ns: int = 0
    user_lost_ns: int = 0  # by this process, and not regained; 0: it is up, or never was
    market_up: bool = False
    market_lost_ns: int = 0
    watchdog_lost: bool = False  # a guard that nobody was to watch never loses its watchdog
    journal_failed: bool = False  # the disk takes no record now
    login_refused: bool = False  # the gateway does not accept our key


@dataclass(slots=True)
class AuditClock:
    """When the account was read, and when it will be."""

    requested_ns: int = 0  # 0: none is under way
    due_ns: int = 0
    complete_sent_ns: int = 0
    complete_ns: int = 0
    cursor_utc_us: int = 0  # the venue's time up to which all orders and trades have been read
    newest_utc_us: int = 0  # the venue's time of the newest order or trade we heard of
    reach_back_utc_us: int = 0  # the next audit starts this early; 0: at the cursor
    asked: bool = False  # somebody wants the next audit early
    hurries: int = 0  # early audits in a row; each next one waits twice as long
    paced_ns: int = 0  # until when reads of a steady pace would have been the same number
    read_ns: int = 0  # when the newest one was asked for


@dataclass(slots=True)
class Counters:
    """Facts that changed nothing, counted because silence about them would hide trouble."""

    duplicate_trades: int = 0
    contradictions: int = 0
    rejected_payloads: int = 0
    adjustments: int = 0
    foreign_accounts: int = 0  # rows of an account that is not ours


@dataclass(slots=True)
class Book:
    """The state of one guarded account."""

    policy: Policy
    instruments: Noted[Instrument] = field(default_factory=Noted)
    contract_of: dict[str, str] = field(default_factory=dict)  # symbol -> active contract id
    orders: OrderedDict[str, TrackedOrder] = field(default_factory=OrderedDict)
    live: LiveOrders[str] = field(default_factory=LiveOrders)  # client ids of unfinished orders
    client_of_tag: dict[str, str] = field(default_factory=dict)
    client_of_broker_id: dict[int, str] = field(default_factory=dict)
    venue_orders: OrderedDict[int, VenueOrder] = field(default_factory=OrderedDict)
    live_venue: LiveOrders[int] = field(default_factory=LiveOrders)  # ids of those that can fill
    unlisted: dict[int, int] = field(default_factory=dict)  # of those: audits that lacked it
    trades: CountedTrades = field(default_factory=CountedTrades)
    trades_of: dict[int, tuple[int, ...]] = field(default_factory=dict)  # broker order -> trades
    kept_trades: dict[int, str] = field(
        default_factory=dict
    )  # trade -> the order that had its number before the venue gave that to another one
    forgotten_trade_id: int | None = None  # trades up to it, if not held, were counted long ago
    forgotten_order_id: int | None = None  # the newest number of an order that was let go of
    past_result: RealisedResult = field(default_factory=RealisedResult)  # of trades that are gone
    new_trades: dict[int, None] = field(default_factory=dict)  # older, and never counted yet
    finished: dict[str, None] = field(default_factory=dict)  # client ids, in the order of finishing
    finished_venue: dict[int, None] = field(default_factory=dict)  # legs and foreign ones, likewise
    positions: Positions = field(default_factory=Positions)
    protection: ProtectionBook = field(default_factory=ProtectionBook)
    account: BrokerAccount | None = None
    account_rules: AccountRecord = field(default_factory=AccountRecord)
    entries: deque[Entry] = field(default_factory=deque)
    latches: tuple[Latch, ...] = ()
    liquidations: dict[str, Liquidation] = field(default_factory=dict)  # oldest first
    liquidating: dict[str, None] = field(default_factory=dict)  # ids of those that are not over
    closes: Noted[CloseAttempt] = field(default_factory=Noted)  # contract -> newest request
    external: ExternalRecord = field(default_factory=ExternalRecord)
    drop_copy: DropCopyRecord = field(default_factory=DropCopyRecord)
    links: Links = field(default_factory=Links)
    outages: Outages = field(default_factory=Outages)
    audit: AuditClock = field(default_factory=AuditClock)
    venue_clock: VenueClock = field(default_factory=VenueClock)
    counters: Counters = field(default_factory=Counters)
    alerts: AlertBoard = field(default_factory=AlertBoard)
    recovered: bool = False
    ends_as: StopKind = StopKind.UNKNOWN  # how this process ends if it never gets to say so
    left_alone_ms: int = 0  # nobody guarded for so long, too long; 0 once it was acted on
    standstills: int = 0  # how often this process was found not to have run
    orders_forgotten: int = 0  # finished orders that only the record still knows
    missing: dict[str, Search] = field(default_factory=dict)  # orders that no list shows
    aligned: dict[int, None] = field(default_factory=dict)  # what was set to its level once
    cancel_asked_ns: dict[int, int] = field(
        default_factory=dict
    )  # broker order -> when we asked to cancel it
    cancel_unheld_ns: dict[int, int] = field(
        default_factory=dict
    )  # broker order -> when we asked so with every call to use, and left none to reads
    asked_sizes: dict[int, AskedSize] = field(
        default_factory=dict
    )  # broker order -> the sizes that were asked for
    unclear: dict[int, Unclear] = field(default_factory=dict)  # live broker order -> its requests
    trade_date: str = ""  # the trading day that runs; empty until one was told
    breaches: dict[str, str | None] = field(
        default_factory=dict
    )  # executions with too much slippage -> the day they count in; None: in none any more
    reused_ids: dict[int, None] = field(default_factory=dict)  # of which a person was told
    breaches_seen_to: int = 0  # trades up to it: a person resumed since, or a day began
    estimate: RiskEstimated | None = None
    broken_limits: tuple[str, ...] = ()  # that let through what they must refuse
    sound_limits: tuple[Policy, AccountLimits | None] | None = field(
        default=None, compare=False
    )  # that were tried by this process, all of them, and refuse it
    breaches_told: dict[LimitName, None] = field(
        default_factory=dict
    )  # exposure limits that the market has broken
    changed: ChangeLog = field(default_factory=ChangeLog, compare=False)
    standing: StandingExposure = field(default_factory=StandingExposure, compare=False)
    account_sums: AccountSums = field(default_factory=AccountSums, compare=False)
    contract_facts: KeptFacts = field(default_factory=KeptFacts, compare=False)
    hours: Hours = field(default_factory=Hours)
    executions: dict[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # strategy, contract and side -> when orders began to fill, monotonic, of the last minute
    strategy_states: dict[str, dict[str, str | int | None]] = field(default_factory=dict)
    abandoned_by: dict[str, str] = field(
        default_factory=dict
    )  # client order id -> the strategy that failed and left it
    bots: dict[str, Bot] = field(default_factory=dict)
    doubt: PastDoubt = field(default_factory=PastDoubt)
    record_unread: bool = False  # nobody has looked through its structure since the start
    record_finding: str = ""  # by a check of the whole audit record; empty: it is sound
    emergency_digest: str = ""  # of the newest file of a liquidation without a guard in the record
    taken_digest: str = ""  # of the newest state that went on record for entries that are gone
    wakes: dict[Wake, int] = field(default_factory=dict)  # monotonic times of the next looks

    def __post_init__(self) -> None:
        self.instruments.noted_in(self.changed)
        self.positions.noted_in(self.changed)
        self.live.noted_in(self.changed)
        self.live_venue.noted_in(self.changed)
        self.protection.records.noted_in(self.changed)
        self.account_rules.bases.noted_in(self.changed)
        self.closes.noted_in(self.changed)

    def wake(self, what: Wake, due_ns: int) -> None:
        """Have the core woken for ``what`` at ``due_ns``, or earlier if that was asked before."""
        self.wakes[what] = min(self.wakes.get(what, due_ns), due_ns)

    def woken(self, what: Wake, now_ns: int) -> bool:
        """Say whether the time for ``what`` has come, and if so forget it."""
        due_ns = self.wakes.get(what)
        if due_ns is None or now_ns < due_ns:
            return False
        del self.wakes[what]
        return True

    def readiness(self, now_ns: int) -> Readiness:
        """Return what allows or blocks new exposure at ``now_ns``."""
        return Readiness(
            instruments_loaded=bool(self.instruments),
            recovered=self.recovered,
            risk_estimated=self.estimate is not None or self.policy.exposure_limits is None,
            conditions=self._conditions(now_ns),
            latches=self.latches,
        )

    def trading_state(self, now_ns: int, contract_id: str | None = None) -> TradingState:
        """Return the trading state at ``now_ns``, of the account or of one contract."""
        return trading_state(self.readiness(now_ns), contract_id)

    def state_reasons(self, now_ns: int, contract_id: str | None = None) -> tuple[str, ...]:
        """Return why the trading state is not ACTIVE at ``now_ns``."""
        return state_reasons(self.readiness(now_ns), contract_id)

    def _conditions(self, now_ns: int) -> tuple[Condition, ...]:
        """Return what blocks entries: asked by every decision, so nothing of it is a walk."""
        links, audit = self.links, self.audit
        found: list[Condition] = []
        if not links.user_up or audit.complete_sent_ns < links.user_since_ns:
            found.append(Condition.USER_HUB_LOST)
        if not links.market_up and now_ns - links.market_lost_ns > MARKET_LINK_GRACE_NS:
            found.append(Condition.MARKET_HUB_LOST)
        if self.account_stale_ns(now_ns) is not None:
            found.append(Condition.ACCOUNT_STALE)
        if self.account is not None and not self.account.can_trade:
            found.append(Condition.ACCOUNT_CANNOT_TRADE)
        if links.login_refused:
            found.append(Condition.LOGIN_REFUSED)
        if links.watchdog_lost:
            found.append(Condition.WATCHDOG_LOST)
        if links.journal_failed:
            found.append(Condition.JOURNAL_FAILED)
        if self.record_unread:
            found.append(Condition.RECORD_UNREAD)
        if self.record_finding:
            found.append(Condition.RECORD_UNSOUND)
        if self.doubt.fault:
            found.append(Condition.PAST_UNREADABLE)
        if self.venue_clock.is_off:
            found.append(Condition.CLOCK_OFFSET)
        if self.broken_limits:
            found.append(Condition.LIMIT_BROKEN)
        if self.protection.known_bare:
            found.append(Condition.STOP_MISSING)
        if self.external.in_doubt:
            found.append(Condition.FILL_UNATTRIBUTED)
        return (*found, *self.account_rules.conditions(self.trade_date, now_ns))

    @property
    def account_limits(self) -> AccountLimits | None:
        """The limits of the account as they are in force; None: it has none."""
        limits, changes = self.policy.account_limits, self.account_rules.changes
        return in_force(limits or AccountLimits(), changes) if changes else limits

    def account_stale_ns(self, now_ns: int) -> int | None:
        """Return how long ago the account was read completely, when that is too long; else None."""
        age_ns = now_ns - self.audit.complete_ns
        return age_ns if self.recovered and age_ns > AUDIT_STALE_NS else None

    def instrument_for(self, symbol: str) -> Instrument | None:
        """Return the contract that ``symbol`` (a root, or a contract id) stands for."""
        contract_id = self.contract_of.get(symbol, symbol)
        return self.instruments.get(contract_id)

    def symbol_of(self, contract_id: str) -> str:
        """Return the root of a contract, or its id where the gateway did not name it."""
        instrument = self.instruments.get(contract_id)
        return contract_id if instrument is None else instrument.symbol

    def order_named(self, order_id: str) -> TrackedOrder | None:
        """Return the order with this client order id, or with this number of the venue as text."""
        order = self.orders.get(order_id)
        number = order_id.isascii() and order_id.isdecimal() and len(order_id) <= NUMBER_DIGITS_MAX
        if order is None and number:
            order = self.orders.get(self.client_of_broker_id.get(int(order_id), ""))
        return order

    def position(self, contract_id: str) -> PositionView:
        """Return what is believed of one contract of which nothing may ever have been said."""
        held = self.positions.get(contract_id)
        if held is not None:
            return held
        # A complete read of all positions that does not name the contract says it is flat.
        knowledge = Knowledge.KNOWN if self.recovered else Knowledge.UNKNOWN
        return PositionView(contract_id=contract_id, knowledge=knowledge)

    def live_orders(self, contract_id: str | None = None) -> Iterator[TrackedOrder]:
        """Yield our unfinished orders, oldest first; ``contract_id`` None: of every contract."""
        for client_order_id in self.live if contract_id is None else self.live.of(contract_id):
            yield self.orders[client_order_id]

    def live_legs(self, contract_id: str) -> Iterator[VenueOrder]:
        """Yield the bracket legs and foreign orders of one contract that can still fill."""
        for broker_order_id in self.live_venue.of(contract_id):
            yield self.venue_orders[broker_order_id]

    def live_venue_orders(self) -> Iterator[VenueOrder]:
        """Yield the bracket legs and foreign orders that can still fill."""
        for broker_order_id in self.live_venue:
            yield self.venue_orders[broker_order_id]

    def is_exit(self, order: TrackedOrder) -> bool:
        """Say whether all that is open of ``order`` would reduce its contract's position."""
        position = self.position(order.intent.contract_id).quantity
        opposite = position * order.intent.side.sign < 0
        return opposite and order.open_quantity <= abs(position)

    def open_exits(self, contract_id: str, position: int) -> int:
        """Return contracts of all unfinished exits of ``position``, protective orders excepted.

        A stop protects the position until something else closes it; counting it would refuse
        the very exit that is needed. So would a target that the guard placed. A close that the
        venue was asked for counts until a read shows that the position still stands. Exits of
        others count like ours: the venue does not ask whose order it was that flipped the position.
        """
        if position == 0:
            return 0
        reducing_side = Side.SELL if position > 0 else Side.BUY
        close = self.closes.get(contract_id)
        closing = self.left_of(close) if close is not None and close.may_have_closed else 0
        ours = sum(order.open_quantity for order in self.exits_of(contract_id, position))
        ours -= self._counted_exits(contract_id, reducing_side) if ours else 0
        foreign = sum(
            row.quantity - row.filled_quantity
            for row in (leg.row for leg in self.live_legs(contract_id) if leg.owner is None)
            if row.side is reducing_side
            and row.type not in STOP_TYPES
            # The leg of an entry of theirs, which closes nothing before that one fills.
            and row.status is not BrokerStatus.SUSPENDED
            # The target of a bot that trades by itself: it shrinks with the position.
            and not (self.policy.is_drop_copy and row.type is OrderType.LIMIT)
        )
        return closing + ours + foreign

    def left_of(self, close: CloseAttempt) -> int:
        """Return the contracts of a close that no trade of its order has shown yet.

        A restart gives all closes one time, also those that were over long before: only what is
        newer than all that was known when this one left can be of it. What seems to be of another
        one closes the same contracts, where that was for all of them.
        """
        of_it = (
            number
            for own in self.external.closes
            if own.contract_id == close.contract_id
            and (own.asked_ns == close.sent_ns or own.quantity is None)
            for number, _ in own.claims
            if number > close.newest_order_id
        )
        return max(0, close.wanted - sum(self.traded(number) for number in of_it))

    def _counted_exits(self, contract_id: str, side: Side) -> int:
        """Return contracts that unfinished exits of ``side`` have closed, by rows and by reads.

        Their trades are missing, and no read has to come to know what is left of the position.
        """
        view = self.position(contract_id)
        untraded = sum(
            max(0, told_quantity(order) - order.filled_quantity - order.voided_quantity)
            for order in self.exits_of(contract_id, -side.sign)
            if (order.broker_order_id or 0) not in self.protection.awaited
        )
        return min(untraded, view.adjusted_towards(side.sign))

    def exits_of(self, contract_id: str, position: int) -> Iterator[TrackedOrder]:
        """Yield our unfinished exits of ``position``, protective orders and stops excepted."""
        for order in self.live_orders(contract_id):
            intent = order.intent
            if (
                intent.side.sign * position < 0
                and order.role is None
                and intent.type not in STOP_TYPES
            ):
                yield order

    def stop_cover(self, contract_id: str, position: int) -> int:
        """Return contracts of ``position`` that working stops at the venue would close."""
        return sum(
            row.quantity - self.filled_of(row) for row in self.working_stops(contract_id, position)
        )

    def working_stops(self, contract_id: str, position: int) -> Iterator[BrokerOrder]:
        """Yield the stops, whoever placed them, that would close ``position``.

        A stop that the venue shows nowhere any more covers nothing, although it still counts as
        exposure: absence proves neither that it is gone nor that it is there.
        """
        side = Side.SELL if position > 0 else Side.BUY
        for row in self.working_rows(contract_id):
            works = row.side is side and row.status is BrokerStatus.OPEN
            if works and row.type in STOP_TYPES and not self.is_unlisted(row.broker_order_id):
                yield row

    def filled_of(self, row: BrokerOrder) -> int:
        """Return the contracts of an order that have filled, by its row or by its trades.

        Either may be told long before the other; what has filled protects nothing any more.
        """
        return max(row.filled_quantity, min(row.quantity, self.traded(row.broker_order_id)))

    def traded(self, broker_order_id: int) -> int:
        """Return the contracts that all trades of an order show, voided ones included."""
        trades = (self.trades.get(number) for number in self.trades_of.get(broker_order_id, ()))
        return sum(trade.quantity for trade in trades if trade is not None)

    def is_unlisted(self, broker_order_id: int) -> bool:
        """Say whether no list of live orders shows an order, after every search for it."""
        client_order_id = self.client_of_broker_id.get(broker_order_id)
        if client_order_id is None:
            return self.unlisted.get(broker_order_id, 0) > UNLISTED_READS_MAX
        search = self.missing.get(client_order_id)
        return search is not None and search.times > UNLISTED_READS_MAX

    def is_missing(self, broker_order_id: int) -> bool:
        """Say whether the newest list of live orders lacks an order that still counts.

        It may be gone, or in the next one: it says nothing yet about any other order.
        """
        client_order_id = self.client_of_broker_id.get(broker_order_id)
        if client_order_id is None:
            return broker_order_id in self.unlisted
        return client_order_id in self.missing

    def cancel_of(self, broker_order_id: int) -> AskedCancel | None:
        """Return the cancel that was asked for of an order of ours, or of a leg; None: none was."""
        order = self.orders.get(self.client_of_broker_id.get(broker_order_id, ""))
        if order is not None:
            return order.cancel
        leg = self.venue_orders.get(broker_order_id)
        return None if leg is None else leg.cancel

    def working_rows(self, contract_id: str | None = None) -> Iterator[BrokerOrder]:
        """Yield every order row that can still fill, ours, legs and foreign ones."""
        for order in self.live_orders(contract_id):
            row = order.venue
            if row is not None and row.status.is_live:
                yield row
        others = self.live_venue_orders() if contract_id is None else self.live_legs(contract_id)
        for venue_order in others:
            yield venue_order.row
