"""Decisions about exposure with 4, 50 and 500 instruments, and what a new bar costs."""

import math
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import combinations

from backstop.core.bars import BAR_US, Bar
from backstop.core.book import Book
from backstop.core.correlation_estimator import CorrelationEstimator
from backstop.core.engine import new_book, step
from backstop.core.exposure import ExposureLimits
from backstop.core.instrument_table import contract_profile
from backstop.core.policy import Policy
from backstop.core.portfolio import exposure_denials
from backstop.core.pre_trade import judge
from backstop.core.volatility import VolatilityEstimator
from backstop.domain.broker import BrokerAccount
from backstop.domain.events import (
    AccountAudited,
    AccountReported,
    Fact,
    FamilyVolatility,
    Hub,
    HubConnected,
    InstrumentsLoaded,
    OrderRequested,
    PairCorrelation,
    RiskEstimated,
    Source,
)
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderIntent, OrderRequest, OrderType, Side
from backstop.domain.quote import Mark, Quote
from benchmarks.figures import Figure, Goal, Of

INSTRUMENTS = (4, 50, 500)
FAMILIES = (50, 500)
ACCOUNT = 42
PRICE = Decimal(5000)
START_US = 1_790_000_000_000_000
START_NS = 1_000_000_000_000
US_PER_S = 1e6

VALIDATE_P50_US = 5.0
VALIDATE_P99_US = 12.0
BAR_US_GOALS = {50: 15.0, 500: 600.0}


class Held:
    """An account with an order that could fill in every instrument, all pairs of them measured."""

    def __init__(self, instruments: int) -> None:
        self.symbols = tuple(["ES", "NQ", "MES", "MNQ"] + [f"I{n}" for n in range(4, instruments)])
        self.marks = tuple(Mark(contract_id=_contract(it), price=PRICE) for it in self.symbols)
        self.book: Book = new_book(_policy(self.symbols))
        self.now_ns = START_NS
        for fact in self._facts():
            self.now_ns += 1_000_000 if isinstance(fact, OrderRequested) else 300_000_000
            step(self.book, fact, self.now_ns)
        self.now_ns += 2_000_000_000
        wish = self.wish()
        found = judge(self.book, wish, now_ns=self.now_ns)
        if found is None or found.denials:
            raise RuntimeError(f"the order of the measurement is refused: {found}")

    def wish(
        self,
        symbol: str = "MES",
        *,
        client_order_id: str = "c-1",
        limit_price: Decimal | None = None,
    ) -> OrderRequested:
        """Return an order with a stop and a target that every rule lets through."""
        return OrderRequested(
            utc_us=START_US,
            request=OrderRequest(
                client_order_id=client_order_id,
                symbol=symbol,
                side=Side.BUY,
                quantity=1,
                type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
                limit_price=limit_price,
                stop_loss_price=PRICE - 10,
                take_profit_price=PRICE + 20,
            ),
            reference=Quote(
                contract_id=_contract(symbol), bid=PRICE - Decimal("0.25"), ask=PRICE, last=PRICE
            ),
            marks=self.marks,
        )

    def _facts(self) -> Iterator[Fact]:
        account = BrokerAccount(
            account_id=ACCOUNT,
            name="PRAC",
            balance_micros=10**12,
            can_trade=True,
            simulated=True,
        )
        yield AccountReported(utc_us=START_US, account=account, source=Source.REST)
        yield InstrumentsLoaded(
            utc_us=START_US, instruments=tuple(_instrument(it) for it in self.symbols)
        )
        yield HubConnected(utc_us=START_US, hub=Hub.MARKET, generation=1)
        yield HubConnected(utc_us=START_US, hub=Hub.USER, generation=1)
        families = sorted({contract_profile(it).family for it in self.symbols})
        yield RiskEstimated(
            utc_us=START_US,
            volatilities=tuple(
                FamilyVolatility(family=it, sigma_ppm=10_000, origin="MEASURED") for it in families
            ),
            correlations=tuple(
                PairCorrelation(first=first, second=second, origin="MEASURED", value=0.3)
                for first, second in combinations(families, 2)
            ),
        )
        yield AccountAudited(
            utc_us=START_US,
            reason="audit",
            sent_ns=self.now_ns + 250_000_000,
            orders=(),
            live_orders=(),
            trades=(),
            positions=(),
        )
        for symbol in self.symbols:
            yield self.wish(symbol, client_order_id=symbol, limit_price=PRICE)


def measure_decisions(*, rounds: int, decisions: int) -> Iterator[Figure]:
    """Yield what one approved order costs to judge: all of the rules, and exposure alone."""
    for instruments in INSTRUMENTS:
        held = Held(instruments)
        wish = held.wish()

        def whole(held: Held = held, wish: OrderRequested = wish) -> object:
            return judge(held.book, wish, now_ns=held.now_ns)

        assessment = judge(held.book, wish, now_ns=held.now_ns)
        intent: OrderIntent = assessment.intent  # type: ignore[union-attr]

        def alone(held: Held = held, intent: OrderIntent = intent) -> object:
            return exposure_denials(held.book, intent, held.marks, START_US)

        moved = _MovedPrice(held, intent)
        yield from _costs(
            "validate",
            f"every rule, {instruments} instruments",
            instruments,
            rounds,
            decisions,
            whole,
        )
        yield from _costs(
            "exposure",
            f"exposure alone, {instruments} instruments",
            instruments,
            rounds,
            decisions,
            alone,
        )
        yield _median(
            "exposure_moved",
            f"exposure after one price moved, {instruments} instruments",
            instruments,
            rounds,
            decisions // 10,
            moved,
        )


class _MovedPrice:
    """A decision after the price of one instrument that is held is another one."""

    def __init__(self, held: Held, intent: OrderIntent) -> None:
        self._held, self._intent = held, intent
        last = held.marks[-1]
        other = Mark(contract_id=last.contract_id, price=last.price + 1)
        self._marks = (held.marks, (*held.marks[:-1], other))
        self._turn = 0

    def __call__(self) -> object:
        self._turn ^= 1
        return exposure_denials(self._held.book, self._intent, self._marks[self._turn], START_US)


def _costs(  # noqa: PLR0917 - what, of what, and how often
    key: str, what: str, instruments: int, rounds: int, decisions: int, act: Callable[[], object]
) -> Iterator[Figure]:
    """Yield median, 99th percentile and throughput of ``act``."""
    medians, tails, rates = [], [], []
    for _ in range(rounds):
        took = sorted(_took_us(act, decisions))
        medians.append(took[len(took) // 2])
        tails.append(took[math.ceil(0.99 * len(took)) - 1])
        began_ns = time.perf_counter_ns()
        for _ in range(decisions):
            act()
        rates.append(decisions * 1e9 / (time.perf_counter_ns() - began_ns))
    yield Figure(
        key=f"{key}_p50_us_{instruments}",
        what=f"{what}: median",
        unit="us",
        rounds=tuple(medians),
        goal=Goal(of=Of.VALUE, bound=VALIDATE_P50_US, at_least=False),
    )
    yield Figure(
        key=f"{key}_p99_us_{instruments}",
        what=f"{what}: 99 of 100 within",
        unit="us",
        rounds=tuple(tails),
        goal=Goal(of=Of.VALUE, bound=VALIDATE_P99_US, at_least=False),
    )
    yield Figure(
        key=f"{key}_per_s_{instruments}",
        what=f"{what}: one thread",
        unit="1/s",
        rounds=tuple(rates),
    )


def _median(  # noqa: PLR0917 - as _costs
    key: str, what: str, instruments: int, rounds: int, decisions: int, act: Callable[[], object]
) -> Figure:
    medians = []
    for _ in range(rounds):
        took = sorted(_took_us(act, max(1, decisions)))
        medians.append(took[len(took) // 2])
    return Figure(key=f"{key}_us_{instruments}", what=what, unit="us", rounds=tuple(medians))


def _took_us(act: Callable[[], object], times: int) -> list[float]:
    clock, took = time.perf_counter_ns, []
    for _ in range(times):
        began_ns = clock()
        act()
        took.append((clock() - began_ns) / 1000)
    return took


def measure_bars(*, rounds: int, bars: int) -> Iterator[Figure]:
    """Yield what one closed bar costs: one family's volatility, and its pairs with all others."""
    for families in FAMILIES:
        names = [f"F{number:03}" for number in range(families)]
        estimator = CorrelationEstimator(names)
        volatility = {name: VolatilityEstimator(name) for name in names}
        costs = []
        start = 0
        for _ in range(rounds):
            took_ns = 0
            for number in range(start, start + bars):
                row = [_bar(name, number) for name in names]
                began_ns = time.perf_counter_ns()
                for bar in row:
                    volatility[bar.family].on_bar(bar)
                    estimator.on_bar(bar)
                took_ns += time.perf_counter_ns() - began_ns
            start += bars
            costs.append(took_ns / 1000 / (bars * families))
        yield Figure(
            key=f"bar_us_{families}",
            what=f"a bar into volatility and correlation, {families} instruments",
            unit="us",
            rounds=tuple(costs),
            goal=Goal(of=Of.VALUE, bound=BAR_US_GOALS[families], at_least=False),
        )


def _bar(family: str, number: int) -> Bar:
    wave = Decimal(round(10 * math.sin(number * 0.7 + int(family[1:])), 2))
    return Bar(
        family=family,
        contract_id="made",
        trade_date="2026-09-21",
        start_utc_us=START_US + number * BAR_US,
        close=PRICE + wave,
    )


def _policy(symbols: tuple[str, ...]) -> Policy:
    budget = Decimal(1_000_000_000)
    return Policy(
        account_id=ACCOUNT,
        dry_run=False,
        execute=True,
        symbols=symbols,
        min_r_multiple=Decimal("1.5"),
        max_order_notional_micros=10**15,
        price_collar_ppm=50_000,
        prevents_self_trades=True,
        max_repeated_executions=100,
        max_orders_per_second=1_000_000,
        exposure_limits=ExposureLimits.from_settings(
            risk_budget=budget,
            max_correlation_exposure=Decimal("0.7"),
            es_nq_max_combined_exposure=budget,
            max_directional_share=Decimal("0.5"),
        ),
    )


def _contract(symbol: str) -> str:
    return f"CON.F.US.{symbol}.Z26"


def _instrument(symbol: str) -> Instrument:
    return Instrument(
        contract_id=_contract(symbol),
        symbol=symbol,
        name=f"{symbol}Z6",
        tick_size=Decimal("0.25"),
        tick_value_micros=1_250_000,
    )
