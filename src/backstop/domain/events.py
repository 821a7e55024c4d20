"""Facts, in the past tense: everything that can make the core decide.

Every event is journaled before it is acted on, and a replay of the journal rebuilds the state.
``utc_us`` (microseconds since 1970, UTC) is for people and records; order comes from the journal's
sequence number, deadlines from the monotonic time that goes beside each event.
"""

from enum import StrEnum

from msgspec import Struct

from backstop.domain.bot import BotLimits, BotTerms
from backstop.domain.broker import BrokerAccount, BrokerOrder, BrokerPosition, BrokerTrade
from backstop.domain.clock import ClockReading
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderRequest, Rejection
from backstop.domain.quote import Mark, Quote
from backstop.domain.session import ContractEnd, Session
from backstop.domain.standing_latch import StandingLatch
from backstop.domain.watch_alert import WatchAlert


class Source(StrEnum):
    """Which way a fact reached us."""

    HUB = "HUB"
    REST = "REST"


class Hub(StrEnum):
    """The two SignalR hubs of a ProjectX gateway."""

    USER = "USER"
    MARKET = "MARKET"


class Answer(StrEnum):
    """What an answer to a request that changes something proves."""

    YES = "YES"  # the gateway accepted it
    NO = "NO"  # the gateway refused it, and says so in its envelope
    UNKNOWN = "UNKNOWN"  # no answer, or one that proves nothing
    NOT_SENT = "NOT_SENT"  # no byte of the request left this machine


class CloseRefusal(StrEnum):
    """Why the venue refused to close a position."""

    NO_POSITION = "NO_POSITION"  # it knows of no such position: evidence for flat, not proof
    NOT_NOW = "NOT_NOW"  # the market is closed or halted, or has no price, in the venue's words
    UNSTATED = "UNSTATED"  # the order was rejected without a word, as in a closed market
    REJECTED = "REJECTED"  # the order was rejected, in words that say nothing of the market
    SIZE = "SIZE"  # more contracts than are open
    ENDED = "ENDED"  # no orders are taken for this contract month (any more)
    NOT_POSSIBLE = "NOT_POSSIBLE"  # the account or the contract cannot be closed this way


class Event(Struct, frozen=True, kw_only=True, tag_field="kind", tag=True):
    """Base of all facts."""

    utc_us: int


# -- life of the guard ---------------------------------------------------------------------------


class StopKind(StrEnum):
    """How the last process that guarded the account ended, as far as its state folder tells.

    One that never heard of the account, for its start was refused, is none of them.
    """

    FIRST = "FIRST"  # there was none
    CLEAN = "CLEAN"  # a person stopped it, and it wrote that down before it ended
    CRASH = "CRASH"  # it wrote nothing down: a crash, a kill, a power cut
    UNKNOWN = "UNKNOWN"  # records of before such ends were told apart


class GuardStarted(Event, frozen=True, kw_only=True, tag=True):
    """A process began to guard ``account_id``; monotonic times before it mean nothing any more.

    ``downtime_ms`` is how long nobody guarded before, suspend counted; None when nothing tells.
    Within one boot of the machine it is measured; with ``wall_clock`` it is a difference of times
    of day, never less than this boot's age, and a step of the clock is in it.

    With ``record_unread`` the structure of the audit record, a large file, is still being looked
    through beside the guard that has just started. ``records_lost`` records were on disk once and
    are in the journal no more; where the whole journal is gone and this is a new one,
    ``record_kept`` says what had been signed of it, and where what is left of it is kept.
    ``past_unusable`` says why the archive of past orders cannot be used; empty: it can, or there is
    none. ``folder_open`` says what of the state folder other users of the machine could change, or
    act with; with ``folder_changeable`` they could change what the guard believes.
    """

    boot_id: str
    process_id: int
    account_id: int
    gateway_host: str
    version: str
    stop: StopKind = StopKind.UNKNOWN
    downtime_ms: int | None = None
    wall_clock: bool = False
    record_unread: bool = False
    records_lost: int = 0
    record_kept: str = ""
    past_unusable: str = ""
    folder_open: str = ""
    folder_changeable: bool = False


class JournalFailed(Event, frozen=True, kw_only=True, tag=True):
    """The disk takes no record any more; from here on they are kept in memory and written later."""

    reason: str


class JournalRecovered(Event, frozen=True, kw_only=True, tag=True):
    """The disk took what was kept since ``began_utc_us``.

    Those are the records ``first_seq`` to ``last_seq`` of ``decisions`` facts. ``lost`` more facts
    could not be kept; then this is the last record of its process.
    """

    began_utc_us: int
    reason: str
    decisions: int
    first_seq: int
    last_seq: int
    lost: int = 0


class StateFileFailed(Event, frozen=True, kw_only=True, tag=True):
    """``trading_state.json`` cannot be written any more, for ``reason``; the journal has it all."""

    reason: str


class EmergencyRunRecorded(Event, frozen=True, kw_only=True, tag=True):
    """The ``facts`` records before this one are of a liquidation that ran with no guard at work.

    It wrote them to a file of its own, from whose bytes ``digest`` (SHA-256, hex) is made;
    ``unreadable`` rows of it are damaged. Each keeps the time of its own process.
    """

    facts: int
    unreadable: int
    digest: str


class LatchesHandedOver(Event, frozen=True, kw_only=True, tag=True):
    """The watchdog told this process what the one before it had latched by its last pulse."""

    latches: tuple[StandingLatch, ...]


class WatchAlertsHandedOver(Event, frozen=True, kw_only=True, tag=True):
    """The watchdog told this process what it had told people since a guard last guarded."""

    alerts: tuple[WatchAlert, ...]


class InstrumentsLoaded(Event, frozen=True, kw_only=True, tag=True):
    """Contract rows of the gateway.

    ``listed``: they are of its list, which has one month of each root, the one that new orders go
    to. Otherwise they were asked for by their ids, because the account has to do with them.
    """

    instruments: tuple[Instrument, ...]
    listed: bool = True


class FamilyVolatility(Struct, frozen=True, kw_only=True):
    """One family's daily volatility, parts per million of its price, and which rule gave it.

    ``as_of_utc_us`` is the end of the newest bar in it; None where none was seen, and in records of
    before it was told.
    """

    family: str
    sigma_ppm: int
    origin: str
    as_of_utc_us: int | None = None


class PairCorrelation(Struct, frozen=True, kw_only=True):
    """One pair's correlation of five-minute returns; only a MEASURED one may lower a risk."""

    first: str
    second: str
    origin: str
    value: float | None = None
    aligned_bars: int = 0
    as_of_utc_us: int | None = None
    age_s: int | None = None


class RiskEstimated(Event, frozen=True, kw_only=True, tag=True):
    """What the estimators make of the market's bars; replaces every earlier estimate.

    ``marks`` are the prices of that moment: whether the market has carried the account over a limit
    is looked at with them. Empty in records of before that was looked at.
    """

    volatilities: tuple[FamilyVolatility, ...]
    correlations: tuple[PairCorrelation, ...]
    marks: tuple[Mark, ...] = ()


class StrategySaved(Event, frozen=True, kw_only=True, tag=True):
    """What a strategy needs to go on after a restart; replaces what it saved before."""

    strategy_id: str
    state: dict[str, str | int | None]


class StrategyFailed(Event, frozen=True, kw_only=True, tag=True):
    """A hosted strategy has ended by a failure; ``reason`` is one line of text."""

    strategy_id: str
    reason: str


class TimerFired(Event, frozen=True, kw_only=True, tag=True):
    """The deadline that the core asked for has come."""


class RecordFoundUnsound(Event, frozen=True, kw_only=True, tag=True):
    """A check of the whole audit record found something; ``finding`` is one line of text."""

    finding: str


class RecordFoundSound(Event, frozen=True, kw_only=True, tag=True):
    """A check of the audit record found nothing: of all of it, or of its structure alone."""

    whole: bool = True


class AlertChannelUnreached(Event, frozen=True, kw_only=True, tag=True):
    """The service of an alert channel does not answer; nothing was sent to it.

    ``channel`` counts from 1 in the order of BACKSTOP_ALERT_URLS, ``service`` is its scheme.
    """

    channel: int
    service: str
    reason: str


class LoginRefused(Event, frozen=True, kw_only=True, tag=True):
    """The gateway does not accept our key any more; ``spare_works``: it lets the spare one in."""

    reason: str
    spare_works: bool


class LoginAccepted(Event, frozen=True, kw_only=True, tag=True):
    """The gateway accepts our key again."""


class GuardStoodStill(Event, frozen=True, kw_only=True, tag=True):
    """This process did not run for ``unguarded_ms``; the machine slept for ``asleep_ms`` of it."""

    unguarded_ms: int
    asleep_ms: int


class WatchdogLost(Event, frozen=True, kw_only=True, tag=True):
    """The process that watches over this one is dead or silent; nobody would notice our freeze."""

    reason: str


class WatchdogReturned(Event, frozen=True, kw_only=True, tag=True):
    """A watchdog, ``process_id``, has watched steadily again for as long as it has to."""

    process_id: int


class BotFellSilent(Event, frozen=True, kw_only=True, tag=True):
    """A registered bot has given no sign of life for longer than it said; ``silent_ms`` so far."""

    bot_id: str
    silent_ms: int


class BotGivenUp(Event, frozen=True, kw_only=True, tag=True):
    """A silent bot has stayed so for as long as its terms give it before its share is closed."""

    bot_id: str
    silent_ms: int


class BotReturned(Event, frozen=True, kw_only=True, tag=True):
    """A silent bot gave a sign of life again. Heartbeats of a bot that is alive are no facts."""

    bot_id: str


class PastRecalled(Event, frozen=True, kw_only=True, tag=True):
    """What the archive told of orders and trades that the next fact names.

    ``entries`` are those that the book had let go of, as JSON, each as it was then; ``new_trades``
    are trades that were never counted, although the venue numbered them before ones let go of.
    """

    entries: tuple[str, ...] = ()
    new_trades: tuple[int, ...] = ()


class VenueClockRead(Event, frozen=True, kw_only=True, tag=True):
    """The newest answers of the gateway say what time it is at the venue; at most three of them.

    Empty: so many answers in a row did not say it, or said no time at all. Only readings that
    change what is known are on record.
    """

    readings: tuple[ClockReading, ...] = ()


class PastUnreadable(Event, frozen=True, kw_only=True, tag=True):
    """The archive of past orders cannot be asked: what is old cannot be told from what is new."""

    reason: str


class PastReadable(Event, frozen=True, kw_only=True, tag=True):
    """The archive of past orders can be asked again; what was held meanwhile follows."""


class TradingDayBegan(Event, frozen=True, kw_only=True, tag=True):
    """The trading day ``trade_date`` (ISO date) began, at 17:00 Chicago of the day before.

    ``began_utc_us`` and ``ends_utc_us`` are the two 17:00 around it; 0 in records of before they
    were told.
    """

    trade_date: str
    began_utc_us: int = 0
    ends_utc_us: int = 0


class PositionsPriced(Event, frozen=True, kw_only=True, tag=True):
    """The market prices of what is held; recorded when they change what the account may lose."""

    marks: tuple[Mark, ...]


class TradedDay(Struct, frozen=True, kw_only=True):
    """What the trades of one trading day brought, costs taken off; millionths of a dollar."""

    trade_date: str
    net_micros: int


class AccountHistoryRead(Event, frozen=True, kw_only=True, tag=True):
    """Every trade of the account that the venue still shows, by day, and its balance just then.

    ``trade_date`` is the day that runs; ``days`` are in their order, and the last may be that one.
    """

    trade_date: str
    balance_micros: int
    days: tuple[TradedDay, ...] = ()


class SessionsScheduled(Event, frozen=True, kw_only=True, tag=True):
    """When the markets trade, and when contract months end; replaces every earlier schedule.

    ``sessions`` are, for each group, the one that is open or comes next, and those after it. A
    group that is not named is one whose hours nobody knows.
    """

    sessions: tuple[Session, ...]
    contract_ends: tuple[ContractEnd, ...] = ()


# -- wishes of bots and operators ----------------------------------------------------------------


class OrderRequested(Event, frozen=True, kw_only=True, tag=True):
    """A bot asked for an order.

    ``reference`` is the market of its contract as the guard knew it then, ``marks`` the last
    prices of every contract that was quoted, ``spare_calls`` how many calls the gateway would still
    take: what the decision was based on. ``bot_limits`` is what the credentials of the bot permit;
    None: it needs none.
    """

    request: OrderRequest
    reference: Quote | None = None
    marks: tuple[Mark, ...] = ()
    spare_calls: int | None = None
    bot_limits: BotLimits | None = None


class OrderRegistered(Event, frozen=True, kw_only=True, tag=True):
    """Somebody else sends, or has sent, this order; it is to be verified like one of ours.

    ``custom_tag`` is the tag under which the venue will show it, ``broker_order_id`` its number
    there; at least one of them is known. ``reference`` and ``marks`` are as of a wish.
    """

    request: OrderRequest
    custom_tag: str | None = None
    broker_order_id: int | None = None
    reference: Quote | None = None
    marks: tuple[Mark, ...] = ()


class BotRegistered(Event, frozen=True, kw_only=True, tag=True):
    """A bot asked to be looked after; its orders carry its name as ``strategy_id``."""

    bot_id: str
    terms: BotTerms


class BotSignedOff(Event, frozen=True, kw_only=True, tag=True):
    """A bot, or a person for it, said that it needs no looking after any more."""

    bot_id: str


class CloseRequested(Event, frozen=True, kw_only=True, tag=True):
    """A bot or an operator asked to close a position, or ``quantity`` contracts of it."""

    contract_id: str
    reason: str
    operator: str
    quantity: int | None = None


class ProtectionRequested(Event, frozen=True, kw_only=True, tag=True):
    """A bot or an operator asked for protective levels, in ticks; None leaves one as it is.

    ``reference`` is the market of the contract as the guard knew it then.
    """

    contract_id: str
    stop_ticks: int | None = None
    take_profit_ticks: int | None = None
    reference: Quote | None = None


class LiquidationRequested(Event, frozen=True, kw_only=True, tag=True):
    """Somebody asked to take the account flat, or with ``contract_id`` that contract only."""

    reason: str
    operator: str
    contract_id: str | None = None


class AlertAcknowledged(Event, frozen=True, kw_only=True, tag=True):
    """A person has read an alert; that lifts nothing."""

    alert_id: int
    operator: str


class CancelRequested(Event, frozen=True, kw_only=True, tag=True):
    """A bot or an operator asked to cancel an order of ours."""

    client_order_id: str
    reason: str


class ModifyRequested(Event, frozen=True, kw_only=True, tag=True):
    """A bot asked to change an order of ours; None leaves a member as it is. Levels in ticks.

    ``reference`` is the market of its contract as the guard knew it then, ``marks`` the last
    prices of every contract that was quoted, ``spare_calls`` how many calls the gateway would still
    take, ``bot_limits`` what the credentials of the bot permit.
    """

    client_order_id: str
    quantity: int | None = None
    limit_ticks: int | None = None
    stop_ticks: int | None = None
    reference: Quote | None = None
    marks: tuple[Mark, ...] = ()
    spare_calls: int | None = None
    bot_limits: BotLimits | None = None


class LegChangeRequested(Event, frozen=True, kw_only=True, tag=True):
    """A bot asked to move one leg of its bracket to ``ticks``, or with None to cancel it."""

    broker_order_id: int
    ticks: int | None = None


class HaltRequested(Event, frozen=True, kw_only=True, tag=True):
    """A person asked to stop new exposure."""

    reason: str
    operator: str


class LimitsChangeRequested(Event, frozen=True, kw_only=True, tag=True):
    """Somebody asked for other limits of the account; None leaves one as it is.

    Money is millionths of a dollar, a position tenths of a mini. To loosen a limit takes both an
    operator and a reason; to tighten one takes neither.
    """

    daily_loss_micros: int | None = None
    trailing_loss_micros: int | None = None
    max_position_tenths: int | None = None
    reason: str = ""
    operator: str = ""


class ResumeRequested(Event, frozen=True, kw_only=True, tag=True):
    """A person asked to trade again."""

    reason: str
    operator: str


# -- answers, or their absence -------------------------------------------------------------------


class OrderDispatched(Event, frozen=True, kw_only=True, tag=True):
    """The durable request was handed to the network."""

    client_order_id: str


class PlaceAnswered(Event, frozen=True, kw_only=True, tag=True):
    """What came back for a place request.

    ``code`` is the gateway's number for this endpoint where it gave one; ``tag_in_use`` says that
    the refusal itself proves an earlier request with this tag arrived; ``rejection`` is what kind
    of no a NO is.
    """

    client_order_id: str
    answer: Answer
    broker_order_id: int | None = None
    code: int | None = None
    message: str = ""
    tag_in_use: bool = False
    rejection: Rejection | None = None
    raw: str = ""


class CancelAnswered(Event, frozen=True, kw_only=True, tag=True):
    """What came back for a cancel request."""

    broker_order_id: int
    answer: Answer
    code: int | None = None
    message: str = ""


class ModifyAnswered(Event, frozen=True, kw_only=True, tag=True):
    """What came back for a modify request."""

    broker_order_id: int
    answer: Answer
    code: int | None = None
    message: str = ""


class PositionCloseAnswered(Event, frozen=True, kw_only=True, tag=True):
    """What came back for a close request; the venue names no order in it.

    ``refusal`` says why, where the answer is NO and the code is one that this version knows.
    """

    contract_id: str
    answer: Answer
    refusal: CloseRefusal | None = None
    code: int | None = None
    message: str = ""


# -- facts of the hubs ---------------------------------------------------------------------------


class HubConnected(Event, frozen=True, kw_only=True, tag=True):
    """A hub is connected and subscribed; ``generation`` grows with every connection."""

    hub: Hub
    generation: int


class HubLost(Event, frozen=True, kw_only=True, tag=True):
    """A hub connection ended or is not to be trusted; what happens meanwhile is not told."""

    hub: Hub
    generation: int
    reason: str


class SessionEvicted(Event, frozen=True, kw_only=True, tag=True):
    """The gateway said ``GatewayLogout``: another session may have taken ours."""

    hub: Hub
    generation: int
    message: str


class OrderReported(Event, frozen=True, kw_only=True, tag=True):
    """One order row, pushed by the hub or read singly."""

    order: BrokerOrder
    source: Source


class TradeReported(Event, frozen=True, kw_only=True, tag=True):
    """One trade row, pushed by the hub."""

    trade: BrokerTrade
    source: Source


class PositionReported(Event, frozen=True, kw_only=True, tag=True):
    """One position row, pushed by the hub."""

    position: BrokerPosition
    source: Source


class MarketNoted(Event, frozen=True, kw_only=True, tag=True):
    """The market at the first sight of orders that nobody here sent; the next fact tells of them.

    Only a guard that watches a bot which trades by itself notes it. ``references`` are the markets
    of the contracts of those orders as the guard knew them then, ``marks`` the last prices of every
    contract that was quoted: what those orders are judged by.
    """

    references: tuple[Quote, ...] = ()
    marks: tuple[Mark, ...] = ()


class AccountReported(Event, frozen=True, kw_only=True, tag=True):
    """One account row."""

    account: BrokerAccount
    source: Source


class PayloadRejected(Event, frozen=True, kw_only=True, tag=True):
    """A payload of the gateway that breaks its schema; kept as it came, cut to a bound."""

    source: Source
    target: str
    fault: str
    raw: str


# -- reads: complete pictures, or honest failures ------------------------------------------------


class AccountAudited(Event, frozen=True, kw_only=True, tag=True):
    """One audit of the account: orders and trades since a cursor, live orders, positions.

    A part that could not be read completely is None, which proves nothing. ``sent_ns`` is the
    monotonic time at which the first read was sent; what was true before says nothing after.
    ``known_trades`` counts trades that were read, were counted before, and are left out here.
    """

    reason: str
    sent_ns: int
    orders: tuple[BrokerOrder, ...] | None
    live_orders: tuple[BrokerOrder, ...] | None
    trades: tuple[BrokerTrade, ...] | None
    positions: tuple[BrokerPosition, ...] | None
    known_trades: int = 0
    fault: str = ""


class OrderLookedUp(Event, frozen=True, kw_only=True, tag=True):
    """A search for one order by its tag over order search, every status and the trades.

    ``complete`` is true only when every page of all three reads came back. ``since_utc_us`` is the
    venue's time from which on they searched; None in records of before it was told.
    """

    client_order_id: str
    sent_ns: int
    complete: bool
    since_utc_us: int | None = None
    orders: tuple[BrokerOrder, ...] = ()
    trades: tuple[BrokerTrade, ...] = ()
    fault: str = ""


LifeFact = (
    GuardStarted
    | GuardStoodStill
    | JournalFailed
    | JournalRecovered
    | StateFileFailed
    | RecordFoundUnsound
    | RecordFoundSound
    | AlertChannelUnreached
    | PastUnreadable
    | PastReadable
    | EmergencyRunRecorded
    | LatchesHandedOver
    | WatchAlertsHandedOver
    | InstrumentsLoaded
    | TradingDayBegan
    | VenueClockRead
    | SessionsScheduled
    | LoginRefused
    | LoginAccepted
    | WatchdogLost
    | WatchdogReturned
    | BotFellSilent
    | BotGivenUp
    | BotReturned
    | StrategyFailed
    | HubConnected
    | HubLost
    | SessionEvicted
)
"""What happens to the guard and to its links."""

Wish = (
    OrderRequested
    | OrderRegistered
    | CancelRequested
    | ModifyRequested
    | LegChangeRequested
    | CloseRequested
    | ProtectionRequested
    | LiquidationRequested
    | HaltRequested
    | LimitsChangeRequested
    | ResumeRequested
    | AlertAcknowledged
    | StrategySaved
    | BotRegistered
    | BotSignedOff
)
"""What bots and operators ask for."""

Fact = (
    LifeFact
    | Wish
    | TimerFired
    | RiskEstimated
    | PositionsPriced
    | AccountHistoryRead
    | PastRecalled
    | OrderDispatched
    | PlaceAnswered
    | CancelAnswered
    | ModifyAnswered
    | PositionCloseAnswered
    | MarketNoted
    | OrderReported
    | TradeReported
    | PositionReported
    | AccountReported
    | PayloadRejected
    | AccountAudited
    | OrderLookedUp
)
"""Every event there is: the closed set that ``core.engine.step`` matches over."""
