"""Whatever arrives, in whatever order: the same venue history ends in the same book."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.builders import (
    MES,
    START_US,
    Guard,
    a_guard_start,
    a_position,
    a_quote,
    a_request,
    a_row,
    a_trade,
    an_intent,
    replayed,
)

from backstop.core.engine import next_deadline_ns
from backstop.core.execution_verification import (
    ABSENCE_MIN_AGE_NS,
    ABSENCE_MIN_GAP_NS,
    REPLY_LIMIT_NS,
)
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.positions import Knowledge
from backstop.domain.broker import BrokerOrder, BrokerStatus, BrokerTrade
from backstop.domain.commands import AuditAccount, LookUpOrder, PlaceOrder
from backstop.domain.events import (
    AccountAudited,
    Answer,
    CancelAnswered,
    CancelRequested,
    Fact,
    HaltRequested,
    Hub,
    HubConnected,
    HubLost,
    ModifyRequested,
    OrderDispatched,
    OrderLookedUp,
    OrderRegistered,
    OrderReported,
    OrderRequested,
    PlaceAnswered,
    PositionReported,
    ResumeRequested,
    Source,
    TimerFired,
    TradeReported,
)
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side, custom_tag

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SETTLE_ROUNDS = 400

Wish = OrderRequested | OrderRegistered


# -- a venue whose history is consistent -----------------------------------------------------------


@dataclass
class Told:
    """One fact that the venue tells, and what may happen to it on the way."""

    fact: Callable[[int], Fact]
    lossless: bool = False


@dataclass
class Venue:
    """What really happened: the final rows, every trade, the position; and all that was told."""

    rows: dict[int, BrokerOrder] = field(default_factory=dict)
    trades: dict[int, BrokerTrade] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    expected: dict[str, OrderState] = field(default_factory=dict)

    @property
    def position(self) -> int:
        return sum(t.side.sign * t.quantity for t in self.trades.values() if not t.voided)

    def tell_row(self, row: BrokerOrder) -> None:
        self.rows[row.broker_order_id] = row
        self.told.append(Told(lambda utc: OrderReported(utc_us=utc, order=row, source=Source.HUB)))

    def tell_trade(self, trade: BrokerTrade) -> None:
        self.trades[trade.trade_id] = trade
        self.told.append(
            Told(lambda utc: TradeReported(utc_us=utc, trade=trade, source=Source.HUB))
        )
        self.tell_position()

    def tell_position(self) -> None:
        row = a_position(self.position)
        self.told.append(
            Told(lambda utc: PositionReported(utc_us=utc, position=row, source=Source.HUB))
        )

    def audited(self, guard: Guard) -> AccountAudited:
        rows = tuple(self.rows.values())
        return AccountAudited(
            utc_us=guard.utc_us,
            reason="test",
            sent_ns=guard.now_ns,
            orders=rows,
            live_orders=tuple(row for row in rows if row.status.is_live),
            trades=tuple(self.trades.values()),
            positions=(a_position(self.position),) if self.position else (),
        )

    def looked_up(self, guard: Guard, command: LookUpOrder) -> OrderLookedUp:
        tag, number = command.custom_tag, command.broker_order_id
        rows = tuple(
            row
            for row in self.rows.values()
            if row.broker_order_id == number or (tag and (row.custom_tag or "").startswith(tag))
        )
        ids = [row.broker_order_id for row in rows]
        return OrderLookedUp(
            utc_us=guard.utc_us,
            client_order_id=command.client_order_id,
            sent_ns=guard.now_ns,
            complete=True,
            orders=rows,
            trades=tuple(t for t in self.trades.values() if t.broker_order_id in ids),
        )


FATES = (
    OrderState.FILLED,
    OrderState.CANCELLED,
    OrderState.EXPIRED,
    OrderState.REJECTED,
    OrderState.WORKING,
    OrderState.PARTIALLY_FILLED,
    OrderState.NOT_SUBMITTED,
)
_FINAL = {
    OrderState.FILLED: BrokerStatus.FILLED,
    OrderState.CANCELLED: BrokerStatus.CANCELLED,
    OrderState.EXPIRED: BrokerStatus.EXPIRED,
}


@st.composite
def venues(draw: st.DrawFn) -> tuple[Venue, list[Wish]]:
    """Draw up to three orders with their fates, and perhaps somebody else's trade.

    Some of the orders are ours, others a bot sends itself and has registered by tag or number.
    """
    venue, requests = Venue(), list[Wish]()
    for number in range(1, draw(st.integers(1, 3)) + 1):
        kind = draw(st.sampled_from([OrderType.MARKET, OrderType.LIMIT]))
        request = a_request(
            client_order_id=f"c{number}",
            side=draw(st.sampled_from(Side)),
            quantity=draw(st.integers(1, 4)),
            type=kind,
            limit_price=Decimal(5000) if kind is OrderType.LIMIT else None,
        )
        requests.append(_live(draw, venue, number, request))
    if draw(st.booleans()):
        trade = a_trade(trade_id=90, broker_order_id=900, side=draw(st.sampled_from(Side)))
        venue.tell_row(
            a_row(
                broker_order_id=900,
                side=trade.side,
                quantity=1,
                filled_quantity=1,
                status=BrokerStatus.FILLED,
            )
        )
        venue.tell_trade(trade)
    return venue, requests


def _live(draw: st.DrawFn, venue: Venue, number: int, request: OrderRequest) -> Wish:
    """Let one order meet its fate; return the wish that it begins with."""
    client_order_id = request.client_order_id
    intent = an_intent(
        client_order_id=client_order_id,
        side=request.side,
        quantity=request.quantity,
        type=request.type,
        limit_ticks=None if request.limit_price is None else 20_000,
    )
    fate = draw(st.sampled_from(FATES))
    venue.expected[client_order_id] = fate
    broker_order_id = 100 * number
    wish: Wish = OrderRequested(utc_us=START_US, request=request, reference=a_quote())
    tag: str | None = custom_tag(intent)
    registered = draw(st.sampled_from([None, "tag", "number"]))
    if registered is not None:
        by_number = registered == "number" and fate is not OrderState.NOT_SUBMITTED
        tag = None if by_number else f"own-{number}"
        wish = OrderRegistered(
            utc_us=START_US,
            request=request,
            custom_tag=tag,
            broker_order_id=broker_order_id if by_number else None,
            reference=a_quote(),
        )

    def answer(word: Answer, number_: int | None = None) -> None:
        if registered is not None:
            return  # its sender hears the answer, we do not
        told = Told(
            lambda utc: PlaceAnswered(
                utc_us=utc, client_order_id=client_order_id, answer=word, broker_order_id=number_
            ),
            lossless=True,  # the adapter always answers
        )
        venue.told.append(told)

    if fate is OrderState.NOT_SUBMITTED:
        answer(draw(st.sampled_from([Answer.UNKNOWN, Answer.NOT_SENT])))
        return wish
    heard = draw(st.booleans())
    row = a_row(
        broker_order_id=broker_order_id,
        custom_tag=tag,
        side=request.side,
        quantity=request.quantity,
        type=request.type,
        limit_price=request.limit_price,
        status=BrokerStatus.PENDING,
    )
    if draw(st.booleans()):
        venue.tell_row(row)
    if fate is OrderState.REJECTED:
        venue.tell_row(replace(row, status=BrokerStatus.REJECTED))
        answer(Answer.NO if heard else Answer.UNKNOWN, broker_order_id if heard else None)
        return wish
    answer(Answer.YES if heard else Answer.UNKNOWN, broker_order_id if heard else None)
    row = replace(row, status=BrokerStatus.OPEN)
    venue.tell_row(row)
    _fill(draw, venue, row, fate)
    return wish


def _fill(draw: st.DrawFn, venue: Venue, row: BrokerOrder, fate: OrderState) -> None:
    client_order_id = f"c{row.broker_order_id // 100}"
    most = row.quantity if fate is OrderState.FILLED else row.quantity - 1
    if fate is OrderState.WORKING:
        most = 0
    fills = most if fate is OrderState.FILLED else draw(st.integers(0, max(0, most)))
    if fate is OrderState.PARTIALLY_FILLED and not fills:
        venue.expected[client_order_id] = OrderState.WORKING
    for count in range(1, fills + 1):
        trade = a_trade(
            trade_id=row.broker_order_id + count,
            broker_order_id=row.broker_order_id,
            side=row.side,
        )
        row = replace(row, filled_quantity=count)
        venue.tell_row(row)
        venue.tell_trade(trade)
    if fate in _FINAL:
        venue.tell_row(replace(row, status=_FINAL[fate], updated_utc_us=START_US + 5))
    if fills and fate in _FINAL and draw(st.booleans()):
        voided = replace(venue.trades[row.broker_order_id + 1], voided=True)
        venue.tell_trade(voided)
        if fate is OrderState.FILLED:
            venue.expected[client_order_id] = OrderState.CANCELLED


@st.composite
def deliveries(draw: st.DrawFn, venue: Venue) -> list[tuple[Told, int]]:
    """Draw an order of what was told, with losses and repeats, and pauses in ms."""
    told = draw(st.permutations(venue.told))
    arriving: list[tuple[Told, int]] = []
    for item in told:
        copies = 1 if item.lossless else draw(st.integers(0, 2))
        arriving.extend((item, draw(st.integers(0, 700))) for _ in range(copies))
    return arriving


def run(
    venue: Venue,
    requests: list[Wish],
    arriving: list[tuple[Told, int]],
    *,
    condenses: bool = True,
) -> Guard:
    """Live through the history, then let the core ask until it asks nothing new."""
    guard = Guard(condenses=condenses).start()
    answered = len(guard.commands)
    for wish in requests:
        guard.feed(wish, after_ms=1100)
        if isinstance(wish, OrderRequested):
            guard.dispatch(wish.request.client_order_id)
    for item, pause_ms in arriving:
        guard.feed(item.fact(guard.utc_us), after_ms=pause_ms)
    for _ in range(SETTLE_ROUNDS):
        asked = guard.commands[answered:]
        answered += len(asked)
        for command in asked:
            if isinstance(command, AuditAccount):
                guard.feed(venue.audited(guard))
            elif isinstance(command, LookUpOrder):
                guard.feed(venue.looked_up(guard, command))
        guard.now_ns = max(guard.now_ns, next_deadline_ns(guard.book))
        guard.timer()
        if guard.now_ns > 1_090 * SECOND_NS:
            break
    return guard


@MANY
@given(st.data())
def test_lost_late_and_doubled_facts_end_in_the_venues_truth(data: st.DataObject) -> None:
    venue, requests = data.draw(venues())
    accepted = run(venue, requests, data.draw(deliveries(venue)))

    for wish in requests:
        order = accepted.order(wish.request.client_order_id)
        assert order.state is venue.expected[order.client_order_id], order.transitions
        truth = [
            trade
            for trade in venue.trades.values()
            if trade.broker_order_id == order.broker_order_id and not trade.voided
        ]
        assert sorted(f.trade_id for f in order.fills) == sorted(t.trade_id for t in truth)
    view = accepted.book.position(MES)
    assert (view.quantity, view.ledger) == (venue.position, venue.position)
    assert view.knowledge is Knowledge.KNOWN


@MANY
@given(st.data())
def test_dropping_known_rows_from_an_audit_changes_nothing(data: st.DataObject) -> None:
    venue, requests = data.draw(venues())
    arriving = data.draw(deliveries(venue))

    whole = run(venue, requests, arriving, condenses=False)
    lean = run(venue, requests, arriving, condenses=True)

    def believed(guard: Guard) -> list[tuple[OrderState, tuple[BrokerTrade, ...]]]:
        return [(order.state, order.fills) for order in guard.book.orders.values()]

    assert believed(lean) == believed(whole)
    assert lean.book.trades == whole.book.trades
    assert lean.position() == whole.position()


@MANY
@given(st.data())
def test_a_replay_of_the_journal_makes_the_same_book_and_the_same_steps(
    data: st.DataObject,
) -> None:
    venue, requests = data.draw(venues())
    lived = run(venue, requests, data.draw(deliveries(venue)))

    book, steps = replayed(lived.policy, lived.history)

    assert book == lived.book
    assert steps == lived.steps


# -- a world that contradicts itself ---------------------------------------------------------------

_TAGS = {name: custom_tag(an_intent(client_order_id=name)) for name in ("c1", "c2")}
_NAMES = st.sampled_from(["c1", "c2"])
_IDS = st.integers(100, 103)


@st.composite
def any_row(draw: st.DrawFn) -> BrokerOrder:
    name = draw(_NAMES)
    tags = [None, "stranger", "own", _TAGS[name], _TAGS[name] + "-SL", _TAGS[name] + "-TP"]
    return a_row(
        broker_order_id=draw(_IDS),
        status=draw(st.sampled_from(BrokerStatus)),
        side=draw(st.sampled_from([Side.BUY, Side.BUY, Side.SELL])),
        quantity=draw(st.integers(1, 3)),
        filled_quantity=draw(st.integers(0, 3)),
        custom_tag=draw(st.sampled_from(tags)),
        parent_order_id=draw(st.none() | _IDS),
        stop_price=draw(st.none() | st.just(Decimal(4990))),
        type=draw(st.sampled_from([OrderType.MARKET, OrderType.STOP, None])),
        updated_utc_us=START_US + draw(st.integers(0, 3)),
    )


@st.composite
def any_trade(draw: st.DrawFn) -> BrokerTrade:
    return a_trade(
        trade_id=draw(st.integers(1, 6)),
        broker_order_id=draw(_IDS),
        quantity=draw(st.integers(1, 2)),
        side=draw(st.sampled_from(Side)),
        voided=draw(st.booleans()),
    )


_ROWS = st.lists(any_row(), max_size=3).map(tuple)
_TRADES = st.lists(any_trade(), max_size=3).map(tuple)


@st.composite
def any_fact(draw: st.DrawFn, now_ns: int, utc_us: int) -> Fact:
    name = draw(_NAMES)
    age_ns = draw(st.sampled_from([0, 1, 300, 8_000])) * MILLISECOND_NS
    match draw(st.integers(0, 17)):
        case 0 | 1:
            return OrderRequested(
                utc_us=utc_us, request=a_request(client_order_id=name), reference=a_quote()
            )
        case 2:
            return OrderDispatched(utc_us=utc_us, client_order_id=name)
        case 3 | 4:
            return PlaceAnswered(
                utc_us=utc_us,
                client_order_id=name,
                answer=draw(st.sampled_from(Answer)),
                broker_order_id=draw(st.none() | _IDS),
                tag_in_use=draw(st.booleans()),
            )
        case 5 | 6:
            return OrderReported(utc_us=utc_us, order=draw(any_row()), source=Source.HUB)
        case 7 | 8:
            return TradeReported(utc_us=utc_us, trade=draw(any_trade()), source=Source.HUB)
        case 9:
            return PositionReported(
                utc_us=utc_us, position=a_position(draw(st.integers(-3, 3))), source=Source.HUB
            )
        case 10:
            return AccountAudited(
                utc_us=utc_us,
                reason="test",
                sent_ns=now_ns - age_ns,
                orders=draw(st.none() | _ROWS),
                live_orders=draw(st.none() | _ROWS),
                trades=draw(st.none() | _TRADES),
                positions=draw(
                    st.none() | st.just(()) | st.integers(-3, 3).map(lambda q: (a_position(q),))
                ),
            )
        case 11 | 12:
            return OrderLookedUp(
                utc_us=utc_us,
                client_order_id=name,
                sent_ns=now_ns - age_ns,
                complete=draw(st.booleans()),
                orders=draw(st.just(()) | _ROWS),
                trades=draw(st.just(()) | _TRADES),
            )
        case 13:
            return TimerFired(utc_us=utc_us)
        case 14:
            hub = draw(st.sampled_from(Hub))
            if draw(st.booleans()):
                return HubConnected(utc_us=utc_us, hub=hub, generation=2)
            return HubLost(utc_us=utc_us, hub=hub, generation=1, reason="test")
        case 15:
            changes: tuple[Fact, ...] = (
                CancelRequested(utc_us=utc_us, client_order_id=name, reason="test"),
                ModifyRequested(utc_us=utc_us, client_order_id=name, quantity=1),
                CancelAnswered(utc_us=utc_us, broker_order_id=100, answer=Answer.NO),
            )
            return draw(st.sampled_from(changes))
        case 16:
            return OrderRegistered(
                utc_us=utc_us,
                request=a_request(client_order_id=name),
                custom_tag=draw(st.sampled_from([None, "stranger", "own"])),
                broker_order_id=draw(st.none() | _IDS),
                reference=a_quote(),
            )
        case _:
            others: tuple[Fact, ...] = (
                HaltRequested(utc_us=utc_us, reason="test", operator="ann"),
                ResumeRequested(utc_us=utc_us, reason="test", operator="ann"),
                a_guard_start(utc_us=utc_us),
            )
            return draw(st.sampled_from(others))


def live_anything(data: st.DataObject, watch: Callable[[Guard], None]) -> Guard:
    guard = Guard().start()
    for name in ("c1", "c2")[: data.draw(st.integers(0, 2))]:
        guard.feed(
            OrderRequested(
                utc_us=guard.utc_us, request=a_request(client_order_id=name), reference=a_quote()
            ),
            after_ms=1500,
        )
    for _ in range(data.draw(st.integers(0, 25))):
        guard.now_ns += data.draw(st.sampled_from([0, 1, 600, 6_000, 50_000])) * MILLISECOND_NS
        guard.feed(data.draw(any_fact(guard.now_ns, guard.utc_us)), after_ms=0)
        watch(guard)
    return guard


@MANY
@given(st.data())
def test_no_history_counts_a_fill_twice(data: st.DataObject) -> None:
    def watch(guard: Guard) -> None:
        counted: set[int] = set()
        for order in guard.book.orders.values():
            ids = [fill.trade_id for fill in order.fills]
            assert len(set(ids)) == len(ids)
            assert not counted & set(ids)
            assert all(not guard.book.trades[trade_id].voided for trade_id in ids)
            counted |= set(ids)

    guard = live_anything(data, watch)

    view = guard.book.position(MES)
    trades = guard.book.trades.values()
    assert view.traded == sum(t.side.sign * t.quantity for t in trades if not t.voided)


@MANY
@given(st.data())
def test_no_history_places_an_order_twice(data: st.DataObject) -> None:
    def watch(guard: Guard) -> None:
        placed = [command.client_order_id for command in guard.commands_of(PlaceOrder)]
        assert len(set(placed)) == len(placed)

    live_anything(data, watch)


@MANY
@given(st.data())
def test_only_proof_makes_an_order_not_submitted(data: st.DataObject) -> None:
    """Nothing left this machine, or two complete late searches at least 5 s apart lack it."""

    def watch(guard: Guard) -> None:
        event, _, result = guard.history[-1]
        for client_order_id in result.changed_orders:
            order = guard.order(client_order_id)
            if order.state is not OrderState.NOT_SUBMITTED:
                continue
            if isinstance(event, PlaceAnswered) and event.answer is Answer.NOT_SENT:
                continue
            if order.transitions[-1].utc_us != event.utc_us:
                continue
            if order.registered and "another one" in order.transitions[-1].cause:
                continue  # its tag or number is shown to be a different order's
            assert isinstance(event, OrderLookedUp)
            searches = [
                past.sent_ns
                for past, _, _ in guard.history
                if isinstance(past, OrderLookedUp)
                and past.complete
                and past.client_order_id == client_order_id
            ]
            assert event.sent_ns - min(searches) >= ABSENCE_MIN_GAP_NS
            assert event.sent_ns >= order.sent_ns + REPLY_LIMIT_NS + ABSENCE_MIN_AGE_NS

    live_anything(data, watch)


@MANY
@given(st.data())
def test_every_state_of_an_order_is_backed_by_its_evidence(data: st.DataObject) -> None:
    def watch(guard: Guard) -> None:
        for order in guard.book.orders.values():
            assert (order.client_order_id in guard.book.live) is not order.is_terminal
            of_contract = guard.book.live.of(order.intent.contract_id)
            assert (order.client_order_id in of_contract) is not order.is_terminal
            if order.state is OrderState.FILLED:
                assert order.filled_quantity > 0
            if order.state is OrderState.WORKING:
                assert order.broker_order_id is not None
            if order.state is OrderState.UNKNOWN:
                assert order.due_ns
        for broker_order_id, venue_order in guard.book.venue_orders.items():
            assert (broker_order_id in guard.book.live_venue) is venue_order.row.status.is_live
            of_contract = guard.book.live_venue.of(venue_order.row.contract_id)
            assert (broker_order_id in of_contract) is venue_order.row.status.is_live

    guard = live_anything(data, watch)

    book, steps = replayed(guard.policy, guard.history)
    assert (book, steps) == (guard.book, guard.steps)


@MANY
@given(st.data())
def test_a_fired_timer_always_sets_a_later_deadline(data: st.DataObject) -> None:
    """A deadline that stays in the past would keep the guard spinning."""

    def watch(guard: Guard) -> None:
        if isinstance(guard.history[-1][0], TimerFired):
            due_ns = next_deadline_ns(guard.book)
            assert due_ns == 0 or due_ns > guard.now_ns

    live_anything(data, watch)
