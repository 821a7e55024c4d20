"""Whatever order requests, fills, cancels and rejects come in, what could fill stays in the limits.

The venue of these tests knows what really rests and what really filled; the guard hears of it late,
in any order, or by a read of the account. What is checked is the venue's truth, by trying every
outcome of the orders that could still fill.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.builders import (
    MES,
    Guard,
    a_policy,
    a_position,
    a_quote,
    a_request,
    a_row,
    a_trade,
    an_instrument,
)

from backstop.app.exposure_limits import exposure_limits
from backstop.core.correlation_protection import evaluate
from backstop.core.estimate_age import correlation_view
from backstop.core.portfolio import exposures
from backstop.core.pre_trade import judge
from backstop.core.step import Decision, DecisionKind
from backstop.domain.broker import BrokerOrder, BrokerPosition, BrokerStatus, BrokerTrade
from backstop.domain.denial import DenialCode
from backstop.domain.events import (
    Answer,
    CancelRequested,
    Fact,
    FamilyVolatility,
    OrderReported,
    OrderRequested,
    PositionReported,
    RiskEstimated,
    Source,
    TradeReported,
)
from backstop.domain.order import OrderRequest, Side
from backstop.domain.quote import Mark

MNQ = "CON.F.US.MNQ.Z26"
PRICES = {MES: Decimal(5000), MNQ: Decimal(20_000)}
RISK = {MES: 250, MNQ: 560}
"""Dollars a contract: 5000 x 5 x 1 %, and 20000 x 2 x 1.4 %."""

COMBINED = 3000
"""Long and short each, as long as no correlation is known: then same sides are the same bet."""

GROSS = 5000
SYMBOLS = {MES: "MES", MNQ: "MNQ"}


@dataclass
class Pending:
    """An order as the venue has it; ``quantity`` is what has not filled."""

    client_order_id: str
    broker_order_id: int
    contract_id: str
    side: Side
    quantity: int
    asked: int


@dataclass
class Market:
    """A guard, the venue's truth, and what the guard has not heard yet."""

    guard: Guard
    pending: dict[str, Pending] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    unheard: list[Fact] = field(default_factory=list)
    fills: int = 0
    names: int = 0

    def wish(self, contract_id: str, side: Side, quantity: int) -> OrderRequested:
        self.names += 1
        return OrderRequested(
            utc_us=self.guard.utc_us,
            request=a_request(
                client_order_id=f"n{self.names}",
                symbol=SYMBOLS[contract_id],
                side=side,
                quantity=quantity,
                strategy_id=f"s{self.names % 3}",
            ),
            reference=a_quote(contract_id=contract_id),
            marks=tuple(Mark(contract_id=name, price=price) for name, price in PRICES.items()),
        )

    def validate(self, contract_id: str, side: Side, quantity: int) -> None:
        """Ask what would be; submitting the same right after must get the same answer."""
        wish = self.wish(contract_id, side, quantity)
        found = judge(self.guard.book, wish, now_ns=self.guard.now_ns)
        assert found is not None
        before = (self.guard.book.live.copy(), len(self.guard.book.entries))
        assert before == (self.guard.book.live, len(self.guard.book.entries))
        decision = self.submitted(wish)
        assert tuple(decision.denials) == found.refusals

    def submit(self, contract_id: str, side: Side, quantity: int) -> None:
        self.submitted(self.wish(contract_id, side, quantity))

    def submitted(self, wish: OrderRequested) -> Decision:
        decision = self.guard.feed(wish, after_ms=0).decision
        assert decision is not None
        request: OrderRequest = wish.request
        if decision.kind is DecisionKind.ACCEPTED:
            assert decision.order is not None
            self.pending[request.client_order_id] = Pending(
                client_order_id=request.client_order_id,
                broker_order_id=1000 + self.names,
                contract_id=decision.order.intent.contract_id,
                side=request.side,
                quantity=request.quantity,
                asked=request.quantity,
            )
        return decision

    def answer(self, pick: int, answer: Answer) -> None:
        """The venue's answer comes, or does not; a no means that nothing rests."""
        name = self._picked(pick)
        if name is None or self.guard.order(name).broker_order_id is not None:
            return
        order = self.pending[name]
        known = order.broker_order_id if answer is Answer.YES else None
        if self.guard.order(name).state == "INTENDED":
            self.guard.dispatch(name)
        if answer is Answer.NO and order.quantity == order.asked:
            del self.pending[name]
        elif answer is Answer.NO:
            return
        self.guard.answer(answer, known, client_order_id=name)

    def fill(self, pick: int, quantity: int) -> None:
        """Some of an order trades; the guard is told later."""
        name = self._picked(pick)
        if name is None:
            return
        order = self.pending[name]
        quantity = min(quantity, order.quantity)
        order.quantity -= quantity
        self.fills += 1
        self.held[order.contract_id] = (
            self.held.get(order.contract_id, 0) + order.side.sign * quantity
        )
        status = BrokerStatus.FILLED if order.quantity == 0 else BrokerStatus.OPEN
        self.unheard += [
            TradeReported(utc_us=self.guard.utc_us, trade=trade, source=Source.HUB)
            for trade in [self._trade(order, quantity)]
        ]
        self._tell_row(order, status)
        self.unheard.append(
            PositionReported(
                utc_us=self.guard.utc_us,
                position=self._position(order.contract_id),
                source=Source.HUB,
            )
        )
        if order.quantity == 0:
            del self.pending[name]

    def cancel(self, pick: int, *, works: bool) -> None:
        """A bot asks for a cancel; it works, or it comes too late and the order rests on."""
        name = self._picked(pick)
        if name is None:
            return
        order = self.pending[name]
        self.guard.feed(
            CancelRequested(utc_us=self.guard.utc_us, client_order_id=name, reason="asked for")
        )
        if works:
            self._tell_row(order, BrokerStatus.CANCELLED)
            del self.pending[name]

    def hear(self, pick: int) -> None:
        """One thing that happened reaches the guard, not always the oldest."""
        if self.unheard:
            self.guard.feed(self.unheard.pop(pick % len(self.unheard)))

    def _tell_row(self, order: Pending, status: BrokerStatus) -> None:
        self.unheard.append(
            OrderReported(
                utc_us=self.guard.utc_us, order=self._row(order, status), source=Source.HUB
            )
        )

    def _row(self, order: Pending, status: BrokerStatus) -> BrokerOrder:
        return a_row(
            broker_order_id=order.broker_order_id,
            custom_tag=self.guard.order(order.client_order_id).custom_tag,
            contract_id=order.contract_id,
            side=order.side,
            quantity=order.asked,
            filled_quantity=order.asked - order.quantity,
            status=status,
        )

    def _trade(self, order: Pending, quantity: int) -> BrokerTrade:
        return a_trade(
            trade_id=self.fills,
            broker_order_id=order.broker_order_id,
            contract_id=order.contract_id,
            side=order.side,
            quantity=quantity,
            price=PRICES[order.contract_id],
        )

    def _position(self, contract_id: str) -> BrokerPosition:
        return a_position(
            self.held[contract_id],
            contract_id=contract_id,
            position_id=1 + list(PRICES).index(contract_id),
            average_price=PRICES[contract_id],
        )

    def _picked(self, pick: int) -> str | None:
        names = list(self.pending)
        return names[pick % len(names)] if names else None


def a_market() -> Market:
    limits = exposure_limits(
        risk_budget=Decimal(10_000),
        max_correlation_exposure=Decimal("0.7"),
        es_nq_max_combined_exposure=Decimal(COMBINED),
        max_directional_share=Decimal("0.9"),
        max_gross_exposure=Decimal(GROSS),
    )
    guard = Guard(
        policy=a_policy(
            exposure_limits=limits,
            symbols=("MES", "MNQ"),
            duplicate_window_ns=0,
            max_orders_per_second=1000,
        )
    )
    mnq = an_instrument(contract_id=MNQ, symbol="MNQ", name="MNQZ6", tick_value_micros=500_000)
    guard.start(an_instrument(), mnq)
    guard.feed(
        RiskEstimated(
            utc_us=guard.utc_us,
            volatilities=(
                FamilyVolatility(family="ES", sigma_ppm=10_000, origin="MEASURED"),
                FamilyVolatility(family="NQ", sigma_ppm=14_000, origin="MEASURED"),
            ),
            correlations=(),
        )
    )
    return Market(guard)


def agree_with_scratch(market: Market) -> None:
    """What decisions keep up to date is what the whole book comes to, looked at anew."""
    book, limits = market.guard.book, market.guard.policy.exposure_limits
    marks = tuple(Mark(contract_id=name, price=price) for name, price in PRICES.items())
    assert limits is not None
    kept = book.standing.exposures(book, limits, marks, market.guard.utc_us)
    fresh = exposures(book, marks, market.guard.utc_us)
    held = {it.family: it for it in kept.exposures if not it.is_flat}
    assert held == {it.family: it for it in fresh if not it.is_flat}
    report = evaluate(fresh, correlation_view(book.estimate, market.guard.utc_us), limits)
    for limit, found in kept.largest().items():
        values = (it.value_micros for it in report.readings if it.limit is limit)
        assert found.value_micros == max(values, default=0)


def worst_case(market: Market) -> tuple[int, int]:
    """Return the most that one side, and that both sides, could come to in risk dollars."""
    worst_side = worst_gross = 0
    # The venue's own view, and one that may lag behind it do not differ here: this is the truth.
    for outcome in product((False, True), repeat=len(market.pending)):
        net = dict(market.held)
        for fills, order in zip(outcome, market.pending.values(), strict=True):
            if fills:
                net[order.contract_id] = (
                    net.get(order.contract_id, 0) + order.side.sign * order.quantity
                )
        risks = [RISK[contract_id] * quantity for contract_id, quantity in net.items()]
        longs, shorts = sum(it for it in risks if it > 0), -sum(it for it in risks if it < 0)
        worst_side = max(worst_side, longs, shorts)
        worst_gross = max(worst_gross, longs + shorts)
    return worst_side, worst_gross


contracts = st.sampled_from([MES, MNQ])
sides = st.sampled_from(Side)
picks = st.integers(0, 5)
acts = st.one_of(
    st.tuples(st.just("submit"), contracts, sides, st.integers(1, 12)),
    st.tuples(st.just("validate"), contracts, sides, st.integers(1, 12)),
    st.tuples(st.just("answer"), picks, st.sampled_from([Answer.YES, Answer.UNKNOWN, Answer.NO])),
    st.tuples(st.just("fill"), picks, st.integers(1, 12)),
    st.tuples(st.just("cancel"), picks, st.booleans()),
    st.tuples(st.just("hear"), picks),
)
PENDING_MAX = 9
"""All outcomes of so many orders are tried; more are not sent."""


STALE_ROW = [
    # The row of the first of two fills comes after the trades of both, and the other side fills.
    ("submit", MES, Side.SELL, 2),
    ("fill", 0, 2),
    ("submit", MES, Side.BUY, 12),
    ("answer", 0, Answer.YES),
    ("fill", 0, 1),
    ("hear", 3),
    ("hear", 0),
    ("hear", 1),
    ("submit", MNQ, Side.BUY, 1),
]


@example(STALE_ROW)
@settings(max_examples=300, deadline=None)
@given(st.lists(acts, min_size=10, max_size=40))
def test_no_interleaving_lets_what_could_fill_pass_a_limit(
    script: list[tuple[object, ...]],
) -> None:
    market = a_market()
    for act in script:
        match act:
            case ("submit", str(contract_id), Side() as side, int(quantity)):
                if len(market.pending) < PENDING_MAX:
                    market.submit(contract_id, side, quantity)
            case ("validate", str(contract_id), Side() as side, int(quantity)):
                if len(market.pending) < PENDING_MAX:
                    market.validate(contract_id, side, quantity)
            case ("answer", int(pick), Answer() as answer):
                market.answer(pick, answer)
            case ("fill", int(pick), int(quantity)):
                market.fill(pick, quantity)
            case ("cancel", int(pick), bool(works)):
                market.cancel(pick, works=works)
            case ("hear", int(pick)):
                market.hear(pick)
        agree_with_scratch(market)
        worst_side, worst_gross = worst_case(market)
        assert worst_side <= COMBINED
        assert worst_gross <= GROSS


def test_of_two_orders_in_the_same_moment_that_fit_only_alone_one_passes() -> None:
    """12 MES are 3000 dollars: each half of more than that passes as long as it is the first."""
    market = a_market()
    first, second = (market.wish(MES, Side.BUY, 7) for _ in range(2))
    for wish in (first, second):
        found = judge(market.guard.book, wish, now_ns=market.guard.now_ns)
        assert found is not None
        assert found.denials == ()

    decisions = [market.submitted(wish) for wish in (first, second)]

    assert [it.kind for it in decisions] == [DecisionKind.ACCEPTED, DecisionKind.REFUSED]
    (denial,) = decisions[1].denials
    assert denial.code is DenialCode.ES_NQ_COMBINED_EXPOSURE
    assert denial.max_quantity == 5


def test_what_is_rejected_or_cancelled_gives_its_room_back() -> None:
    market = a_market()
    market.submit(MES, Side.BUY, 12)
    assert market.submitted(market.wish(MNQ, Side.BUY, 1)).kind is DecisionKind.REFUSED
    market.answer(0, Answer.NO)
    market.submit(MES, Side.BUY, 12)
    market.answer(0, Answer.YES)
    assert market.submitted(market.wish(MNQ, Side.BUY, 1)).kind is DecisionKind.REFUSED
    market.cancel(0, works=True)
    assert market.submitted(market.wish(MNQ, Side.BUY, 1)).kind is DecisionKind.REFUSED

    market.hear(0)

    assert market.submitted(market.wish(MNQ, Side.BUY, 1)).kind is DecisionKind.ACCEPTED


def test_what_nobody_answered_for_keeps_its_room() -> None:
    market = a_market()
    market.submit(MES, Side.BUY, 12)
    market.answer(0, Answer.UNKNOWN)

    assert market.submitted(market.wish(MES, Side.BUY, 1)).kind is DecisionKind.REFUSED


def test_two_strategies_that_close_the_same_position_do_not_reverse_it() -> None:
    market = a_market()
    market.submit(MES, Side.BUY, 12)
    market.answer(0, Answer.YES)
    market.fill(0, 12)
    while market.unheard:
        market.hear(0)
    first, second = (market.wish(MES, Side.SELL, 12) for _ in range(2))

    decisions = [market.submitted(wish) for wish in (first, second)]

    assert [it.kind for it in decisions] == [DecisionKind.ACCEPTED, DecisionKind.REFUSED]
    assert DenialCode.POSITION_FLIP in [it.code for it in decisions[1].denials]


def test_held_working_and_unknown_contracts_all_count_and_an_exit_may_take_what_is_held() -> None:
    """6 held, 4 working and 2 of unknown fate are the 12 that are allowed."""
    market = a_market()
    market.submit(MES, Side.BUY, 6)
    market.answer(0, Answer.YES)
    market.fill(0, 6)
    while market.unheard:
        market.hear(0)
    market.submit(MES, Side.BUY, 4)
    market.answer(0, Answer.YES)
    market.submit(MES, Side.BUY, 2)
    market.answer(1, Answer.UNKNOWN)
    book, now_ns = market.guard.book, market.guard.now_ns

    def refusals(side: Side, quantity: int) -> list[tuple[DenialCode, int | None]]:
        found = judge(book, market.wish(MES, side, quantity), now_ns=now_ns)
        assert found is not None
        return [(it.code, it.max_quantity) for it in found.denials]

    assert refusals(Side.BUY, 1) == [(DenialCode.ES_NQ_COMBINED_EXPOSURE, 0)]
    assert refusals(Side.SELL, 6) == []
    assert refusals(Side.SELL, 7) == [(DenialCode.POSITION_FLIP, 6)]
    book.policy = replace(book.policy, allow_flip=True)
    assert refusals(Side.SELL, 7) == []
