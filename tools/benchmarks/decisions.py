"""The core alone: facts into decisions, and fills into proofs that a stranger can check."""

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backstop.app.exposure_limits import exposure_limits
from backstop.core.book import Book
from backstop.core.engine import new_book, step
from backstop.core.execution_proof import (
    ProofFill,
    ProofOrder,
    execution_proof,
    signed_bundle,
    signed_bytes,
)
from backstop.core.policy import Policy
from backstop.core.step import DecisionKind
from backstop.domain.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    BrokerStatus,
    BrokerTrade,
)
from backstop.domain.commands import AuditAccount
from backstop.domain.events import (
    AccountAudited,
    AccountReported,
    Answer,
    Fact,
    FamilyVolatility,
    Hub,
    HubConnected,
    InstrumentsLoaded,
    OrderDispatched,
    OrderReported,
    OrderRequested,
    PlaceAnswered,
    PositionReported,
    RiskEstimated,
    Source,
    TradeReported,
)
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.domain.quote import Mark, Quote
from backstop.verifier.backstop_verify import key_id, verify_bundle
from benchmarks.figures import Figure

ACCOUNT = 42
CONTRACT = "CON.F.US.MES.Z26"
PRICE = Decimal(6000)
START_US = 1_790_000_000_000_000
FAR = Decimal(100)
"""Points between the market and an order that is to rest."""

EVENT_NS = 20_000_000
"""Core time between two facts: six of them make an order, so about eight orders a second."""

READ_NS = 100_000_000
"""Core time that a read of the account takes."""


class World:
    """A book, and the facts of one filled market order after the other."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.book: Book = new_book(opening_policy() if policy is None else policy)
        self.facts = 0
        self._orders = 0
        self._now_ns = 1_000_000_000_000
        self._audit_asked = False
        for fact in opening_facts():
            self._feed(fact)
        self._answer_audit()

    def fill_pairs(self, count: int) -> None:
        """Buy and sell again ``count`` times; the account is read when the core asks for it."""
        for _ in range(count):
            for _ in range(2):
                self._orders += 1
                for fact in _order_facts(self._orders):
                    self._feed(fact)
            if self._audit_asked:
                self._answer_audit()

    def rest(self, orders: int) -> None:
        """Let so many more orders rest at the venue, far below the market."""
        for _ in range(orders):
            self._orders += 1
            for fact in _resting_facts(self._orders):
                self._feed(fact)
            if self._audit_asked:
                self._answer_audit()

    def _answer_audit(self) -> None:
        """Let a read of the account, flat by now, come back."""
        self._audit_asked = False
        live = tuple(self.book.working_rows())
        sent_ns = self._now_ns + EVENT_NS
        self._now_ns += 3 * READ_NS
        self._feed(
            AccountAudited(
                utc_us=START_US,
                reason="audit",
                sent_ns=sent_ns,
                orders=live,
                live_orders=live,
                trades=(),
                positions=(),
            )
        )

    def _feed(self, fact: Fact) -> None:
        self._now_ns += EVENT_NS
        self.facts += 1
        result = step(self.book, fact, self._now_ns)
        self._audit_asked |= any(isinstance(each, AuditAccount) for each in result.commands)
        if result.decision is not None and result.decision.kind is not DecisionKind.ACCEPTED:
            raise RuntimeError(f"order {self._orders} was refused: {result.decision}")


def measure_engine(*, rounds: int, orders: int, past_orders: int) -> list[Figure]:
    """Return how many facts a second the core decides, with and without a past."""
    young: list[float] = []
    old: list[float] = []
    grown = World()
    grown.fill_pairs(past_orders // 2)
    for _ in range(rounds):
        young.append(_facts_per_second(World(), orders))
        old.append(_facts_per_second(grown, orders))
    return [
        Figure(
            key="engine_facts_per_s",
            what="core.engine.step, no past orders",
            unit="1/s",
            rounds=tuple(young),
        ),
        Figure(
            key="engine_facts_per_s_with_past",
            what=f"core.engine.step, {past_orders} past orders",
            unit="1/s",
            rounds=tuple(old),
            baseline="no past orders",
            baseline_rounds=tuple(young),
        ),
    ]


def measure_proofs(*, rounds: int, proofs: int) -> list[Figure]:
    """Return how many execution proofs a second are made and checked, against bare Ed25519."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    order = _proven_order()
    message = signed_bytes(execution_proof(order))
    bundle, signature = _bundle(order, key), key.sign(message)
    made, signed, checked, verified = [], [], [], []
    for _ in range(rounds):
        made.append(_per_second(lambda: _bundle(order, key), proofs))
        signed.append(_per_second(lambda: key.sign(message), proofs))
        checked.append(_per_second(lambda: verify_bundle(json.loads(bundle), public), proofs))
        verified.append(_per_second(lambda: public.verify(signature, message), proofs))
    return [
        Figure(
            key="proofs_made_per_s",
            what="execution proofs built and signed",
            unit="1/s",
            rounds=tuple(made),
            baseline="bare Ed25519 signatures",
            baseline_rounds=tuple(signed),
        ),
        Figure(
            key="proofs_checked_per_s",
            what="execution proofs read and checked",
            unit="1/s",
            rounds=tuple(checked),
            baseline="bare Ed25519 verifications",
            baseline_rounds=tuple(verified),
        ),
    ]


def _facts_per_second(world: World, orders: int) -> float:
    facts, began_ns = world.facts, time.perf_counter_ns()
    world.fill_pairs(orders // 2)
    return (world.facts - facts) * 1e9 / (time.perf_counter_ns() - began_ns)


def _per_second(act: Callable[[], object], count: int) -> float:
    began_ns = time.perf_counter_ns()
    for _ in range(count):
        act()
    return count * 1e9 / (time.perf_counter_ns() - began_ns)


def _bundle(order: ProofOrder, key: Ed25519PrivateKey) -> bytes:
    proof = execution_proof(order)
    signature = key.sign(signed_bytes(proof))
    return msgspec.json.encode(
        signed_bundle(proof, key_id=key_id(key.public_key()), signature=signature)
    )


def opening_policy() -> Policy:
    """Return generous limits, so that no order is refused."""
    budget = Decimal(1_000_000)
    return Policy(
        account_id=ACCOUNT,
        dry_run=False,
        execute=True,
        stop_required=False,
        duplicate_window_ns=0,
        exposure_limits=exposure_limits(
            risk_budget=budget,
            max_correlation_exposure=Decimal("0.7"),
            es_nq_max_combined_exposure=budget,
            max_directional_share=Decimal("0.5"),
        ),
    )


def opening_facts() -> Iterator[Fact]:
    """Yield what a start learns of an account that is flat."""
    account = BrokerAccount(
        account_id=ACCOUNT,
        name="PRAC",
        balance_micros=50_000_000_000,
        can_trade=True,
        simulated=True,
    )
    instrument = Instrument(
        contract_id=CONTRACT,
        symbol="MES",
        name="MESZ6",
        tick_size=Decimal("0.25"),
        tick_value_micros=1_250_000,
    )
    yield AccountReported(utc_us=START_US, account=account, source=Source.REST)
    yield InstrumentsLoaded(utc_us=START_US, instruments=(instrument,))
    yield HubConnected(utc_us=START_US, hub=Hub.MARKET, generation=1)
    yield HubConnected(utc_us=START_US, hub=Hub.USER, generation=1)
    yield RiskEstimated(
        utc_us=START_US,
        volatilities=(FamilyVolatility(family="ES", sigma_ppm=10_000, origin="MEASURED"),),
        correlations=(),
    )


def _order_facts(number: int) -> Iterator[Fact]:
    """Yield everything that is heard of one market order for one contract."""
    side = Side.BUY if number % 2 else Side.SELL
    client_order_id, broker_order_id = f"c-{number}", 1_000_000 + number
    row = BrokerOrder(
        broker_order_id=broker_order_id,
        account_id=ACCOUNT,
        contract_id=CONTRACT,
        status=BrokerStatus.FILLED,
        type=OrderType.MARKET,
        side=side,
        quantity=1,
        filled_quantity=1,
        filled_price=PRICE,
        created_utc_us=START_US,
        updated_utc_us=START_US + number,
    )
    trade = BrokerTrade(
        trade_id=2_000_000 + number,
        broker_order_id=broker_order_id,
        account_id=ACCOUNT,
        contract_id=CONTRACT,
        side=side,
        quantity=1,
        price=PRICE,
        fees_micros=370_000,
        created_utc_us=START_US + number,
    )
    position = BrokerPosition(
        position_id=3_000_000 + number,
        account_id=ACCOUNT,
        contract_id=CONTRACT,
        quantity=number % 2,
        average_price=PRICE,
    )
    request = OrderRequest(
        client_order_id=client_order_id,
        symbol="MES",
        side=side,
        quantity=1,
        type=OrderType.MARKET,
    )
    quote = Quote(contract_id=CONTRACT, bid=PRICE - Decimal("0.25"), ask=PRICE, last=PRICE)
    marks = (Mark(contract_id=CONTRACT, price=PRICE),)
    yield OrderRequested(utc_us=START_US, request=request, reference=quote, marks=marks)
    yield OrderDispatched(utc_us=START_US, client_order_id=client_order_id)
    yield PlaceAnswered(
        utc_us=START_US,
        client_order_id=client_order_id,
        answer=Answer.YES,
        broker_order_id=broker_order_id,
    )
    yield OrderReported(utc_us=START_US, order=row, source=Source.HUB)
    yield TradeReported(utc_us=START_US, trade=trade, source=Source.HUB)
    yield PositionReported(utc_us=START_US, position=position, source=Source.HUB)


def _resting_facts(number: int) -> Iterator[Fact]:
    """Yield what is heard of an order to buy that rests far below the market."""
    client_order_id, broker_order_id = f"r-{number}", 1_000_000 + number
    request = OrderRequest(
        client_order_id=client_order_id,
        symbol="MES",
        side=Side.BUY,
        quantity=1,
        type=OrderType.LIMIT,
        limit_price=PRICE - FAR,
    )
    row = BrokerOrder(
        broker_order_id=broker_order_id,
        account_id=ACCOUNT,
        contract_id=CONTRACT,
        status=BrokerStatus.OPEN,
        type=OrderType.LIMIT,
        side=Side.BUY,
        quantity=1,
        limit_price=PRICE - FAR,
        created_utc_us=START_US,
        updated_utc_us=START_US + number,
    )
    quote = Quote(contract_id=CONTRACT, bid=PRICE - Decimal("0.25"), ask=PRICE, last=PRICE)
    marks = (Mark(contract_id=CONTRACT, price=PRICE),)
    yield OrderRequested(utc_us=START_US, request=request, reference=quote, marks=marks)
    yield OrderDispatched(utc_us=START_US, client_order_id=client_order_id)
    yield PlaceAnswered(
        utc_us=START_US,
        client_order_id=client_order_id,
        answer=Answer.YES,
        broker_order_id=broker_order_id,
    )
    yield OrderReported(utc_us=START_US, order=row, source=Source.HUB)


def _proven_order() -> ProofOrder:
    fills = tuple(
        ProofFill(
            fill_id=number,
            price=PRICE + number,
            quantity=1,
            utc_us=START_US,
            fees_micros=370_000,
            raw="{}",
        )
        for number in range(1, 4)
    )
    return ProofOrder(
        client_order_id="c-1",
        custom_tag="bs-c-1",
        broker_order_ids=(1,),
        account_id=ACCOUNT,
        contract_id=CONTRACT,
        symbol="MES",
        side=Side.BUY,
        type=OrderType.MARKET,
        quantity=3,
        state=OrderState.FILLED,
        intended_utc_us=START_US,
        reference_price=PRICE,
        tick_size=Decimal("0.25"),
        max_slippage_ticks=Decimal(2),
        journal_seq=7,
        fills=fills,
    )
