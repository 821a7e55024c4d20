"""Decisions about exposure with 4, 50 and 500 instruments, and what a new bar costs."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import combinations

from msgspec.structs import replace

from backstop.app.exposure_limits import exposure_limits
from backstop.core.account_rules.limits import AccountLimits
from backstop.core.bars import BAR_US, Bar
from backstop.core.book import Book
from backstop.core.correlation_estimator import CorrelationEstimator
from backstop.core.engine import new_book, step
from backstop.core.instrument_table import contract_profile
from backstop.core.policy import Policy
from backstop.core.portfolio import exposure_denials
from backstop.core.pre_trade import judge
from backstop.core.volatility import VolatilityEstimator
from backstop.domain.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    BrokerStatus,
    BrokerTrade,
)
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
    PairCorrelation,
    PlaceAnswered,
    PositionReported,
    RiskEstimated,
    SessionsScheduled,
    Source,
    TradeReported,
    TradingDayBegan,
)
from backstop.domain.instrument import Instrument
from backstop.domain.order import LEG_SUFFIXES, LegRole, OrderIntent, OrderRequest, OrderType, Side
from backstop.domain.quote import Mark, Quote
from backstop.domain.session import MarketGroup, Session
from benchmarks.figures import Figure, Goal, Of

ACCOUNT = 42
PRICE = Decimal(5000)
START_US = 1_790_000_000_000_000
START_NS = 1_000_000_000_000
US_PER_S = 1e6
DAY_US = 24 * 3600 * 1_000_000
BALANCE_MICROS = 10**12

ACCOUNT_LIMITS = AccountLimits(
    starting_balance_micros=BALANCE_MICROS,
    daily_loss_micros=10**12,
    trailing_loss_micros=10**12,
    high_close_micros=BALANCE_MICROS,
    max_position_tenths=10**6,
    cool_down_after_stops=3,
    cool_down_ns=60_000_000_000,
    fees_micros=740_000,
)
"""Every rule of an account, none of them near."""

VALIDATE_P50_US = 5.0
VALIDATE_P99_US = 12.0
BAR_GOALS = {
    50: Goal(of=Of.VALUE, bound=15, at_least=False),
    500: Goal(of=Of.VALUE, bound=600, at_least=False),
}


class Held:
    """An account with every rule on, that has an entry resting in each instrument.

    It holds every second one, with a stop and a target; all pairs of families are measured.
    """

    def __init__(self, instruments: int, *, account_limits: AccountLimits | None) -> None:
        self.symbols = tuple(["ES", "NQ", "MES", "MNQ"] + [f"I{n}" for n in range(4, instruments)])
        self.marks = tuple(Mark(contract_id=_contract(it), price=PRICE) for it in self.symbols)
        self.book: Book = new_book(_policy(self.symbols, account_limits))
        self.now_ns = START_NS
        for fact in self._facts():
            self.now_ns += 1_000_000
            step(self.book, fact, self.now_ns)
        self._read_the_account()
        # Last, for the calendar has no hours for instruments that are made up.
        self.book.policy = replace(self.book.policy, keeps_hours=True)
        wish = self.wish()
        found = judge(self.book, wish, now_ns=self.now_ns)
        if found is None or found.refusals or found.reducing:
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
            spare_calls=200,
        )

    def intent(self) -> OrderIntent:
        """Return that order as the pipeline would send it."""
        found = judge(self.book, self.wish(), now_ns=self.now_ns)
        if found is None or found.refusals:
            raise RuntimeError(f"the order of the measurement is refused: {found}")
        return found.intent

    def _facts(self) -> Iterator[Fact]:
        account = BrokerAccount(
            account_id=ACCOUNT,
            name="PRAC",
            balance_micros=BALANCE_MICROS,
            can_trade=True,
            simulated=True,
        )
        yield AccountReported(utc_us=START_US, account=account, source=Source.REST)
        yield InstrumentsLoaded(
            utc_us=START_US, instruments=tuple(_instrument(it) for it in self.symbols)
        )
        yield _schedule()
        yield TradingDayBegan(
            utc_us=START_US,
            trade_date="2026-09-21",
            began_utc_us=START_US,
            ends_utc_us=START_US + DAY_US,
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
        yield self._read()
        for number, symbol in enumerate(self.symbols):
            if number % 2 == 0:
                yield from self._held(symbol, number)
            yield self.wish(symbol, client_order_id=f"r-{symbol}", limit_price=PRICE)

    def _held(self, symbol: str, number: int) -> Iterator[Fact]:
        """Yield what is heard of an entry that filled, with its legs."""
        contract_id, name, entry = _contract(symbol), f"h-{symbol}", 1_000_000 + 10 * number
        yield self.wish(symbol, client_order_id=name)
        yield OrderDispatched(utc_us=START_US, client_order_id=name)
        yield PlaceAnswered(
            utc_us=START_US, client_order_id=name, answer=Answer.YES, broker_order_id=entry
        )
        tag = self.book.orders[name].custom_tag
        row = BrokerOrder(
            broker_order_id=entry,
            account_id=ACCOUNT,
            contract_id=contract_id,
            status=BrokerStatus.FILLED,
            type=OrderType.MARKET,
            side=Side.BUY,
            quantity=1,
            filled_quantity=1,
            filled_price=PRICE,
            custom_tag=tag,
            created_utc_us=START_US,
            updated_utc_us=START_US,
        )
        yield OrderReported(utc_us=START_US, order=row, source=Source.HUB)
        trade = BrokerTrade(
            trade_id=entry,
            broker_order_id=entry,
            account_id=ACCOUNT,
            contract_id=contract_id,
            side=Side.BUY,
            quantity=1,
            price=PRICE,
            fees_micros=370_000,
            created_utc_us=START_US,
        )
        yield TradeReported(utc_us=START_US, trade=trade, source=Source.HUB)
        position = BrokerPosition(
            position_id=entry,
            account_id=ACCOUNT,
            contract_id=contract_id,
            quantity=1,
            average_price=PRICE,
        )
        yield PositionReported(utc_us=START_US, position=position, source=Source.HUB)
        for place, (suffix, role) in enumerate(LEG_SUFFIXES.items(), start=1):
            stops = role is LegRole.STOP_LOSS
            leg = BrokerOrder(
                broker_order_id=entry + place,
                account_id=ACCOUNT,
                contract_id=contract_id,
                status=BrokerStatus.OPEN,
                type=OrderType.STOP if stops else OrderType.LIMIT,
                side=Side.SELL,
                quantity=1,
                stop_price=PRICE - 10 if stops else None,
                limit_price=None if stops else PRICE + 20,
                custom_tag=f"{tag}{suffix}",
                parent_order_id=entry,
                created_utc_us=START_US,
                updated_utc_us=START_US,
            )
            yield OrderReported(utc_us=START_US, order=leg, source=Source.HUB)

    def _read_the_account(self) -> None:
        """Let all that rests have been there for two minutes, and be what a read shows."""
        self.now_ns += 2 * 60 * 1_000_000_000
        step(self.book, self._read(), self.now_ns)
        self.now_ns += 1_000_000_000

    def _read(self) -> AccountAudited:
        """Return a complete read of what the book holds by now."""
        live = tuple(self.book.working_rows())
        return AccountAudited(
            utc_us=START_US,
            reason="audit",
            sent_ns=self.now_ns,
            orders=live,
            live_orders=live,
            trades=(),
            positions=tuple(
                BrokerPosition(
                    position_id=1_000_000 + number,
                    account_id=ACCOUNT,
                    contract_id=view.contract_id,
                    quantity=view.quantity,
                    average_price=PRICE,
                )
                for number, view in enumerate(self.book.positions.values())
            ),
        )


def measure_decisions(
    *, rounds: int, decisions: int, instruments_of: Sequence[int]
) -> Iterator[Figure]:
    """Yield what one approved order costs to judge: all of the rules, and exposure alone."""
    for instruments in instruments_of:
        held = Held(instruments, account_limits=ACCOUNT_LIMITS)
        yield from _costs(
            "validate",
            f"every rule, {instruments} instruments",
            instruments,
            rounds,
            decisions,
            judged(held),
        )
        intent = held.intent()

        def alone(held: Held = held, intent: OrderIntent = intent) -> object:
            return exposure_denials(held.book, intent, held.marks, START_US)

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
            MovedPrices(held),
        )


def judged(held: Held) -> Callable[[], object]:
    """Return the judgement of a wish, to be made as often as it is called."""
    book, wish, now_ns = held.book, held.wish(), held.now_ns
    return lambda: judge(book, wish, now_ns=now_ns)


class MovedPrices:
    """A decision after the prices of the last ``moved`` instruments are others."""

    def __init__(self, held: Held, *, moved: int = 1) -> None:
        self._held = held
        self._intent = held.intent()
        stayed, before = held.marks[:-moved], held.marks[-moved:]
        others = (Mark(contract_id=it.contract_id, price=it.price + 1) for it in before)
        self._marks = (held.marks, (*stayed, *others))
        self._turn = 0

    def __call__(self) -> object:
        """Decide, at the other prices than the last time."""
        self._turn ^= 1
        return exposure_denials(self._held.book, self._intent, self._marks[self._turn], START_US)


def _costs(  # noqa: PLR0917 - what, of what, and how often
    key: str, what: str, instruments: int, rounds: int, decisions: int, act: Callable[[], object]
) -> Iterator[Figure]:
    """Yield median, 99th percentile and throughput of ``act``."""
    medians, tails, rates = [], [], []
    for _ in range(rounds):
        took = sorted(took_us(act, decisions))
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
        took = sorted(took_us(act, max(1, decisions)))
        medians.append(took[len(took) // 2])
    return Figure(key=f"{key}_us_{instruments}", what=what, unit="us", rounds=tuple(medians))


def took_us(act: Callable[[], object], times: int) -> list[float]:
    """Return what each of so many calls took, in microseconds."""
    clock, took = time.perf_counter_ns, []
    for _ in range(times):
        began_ns = clock()
        act()
        took.append((clock() - began_ns) / 1000)
    return took


def measure_bars(*, rounds: int, bars: int, families_of: Sequence[int]) -> Iterator[Figure]:
    """Yield what one closed bar costs: one family's volatility, and its pairs with all others."""
    for families in families_of:
        yield Figure(
            key=f"bar_us_{families}",
            what=f"a bar into volatility and correlation, {families} instruments",
            unit="us",
            rounds=tuple(bar_us(families, rounds=rounds, bars=bars)),
            goal=BAR_GOALS.get(families),
        )


def bar_us(families: int, *, rounds: int, bars: int) -> Iterator[float]:
    """Yield what one bar took on average, in microseconds, round by round.

    Args:
        families: of which each gets a bar in turn.
        rounds: how often.
        bars: of each family in a round.
    """
    names = [f"F{number:03}" for number in range(families)]
    estimator = CorrelationEstimator(names)
    volatility = {name: VolatilityEstimator(name) for name in names}
    for first in range(0, rounds * bars, bars):
        took_ns = 0
        for number in range(first, first + bars):
            row = [_bar(name, number) for name in names]
            began_ns = time.perf_counter_ns()
            for bar in row:
                volatility[bar.family].on_bar(bar)
                estimator.on_bar(bar)
            took_ns += time.perf_counter_ns() - began_ns
        yield took_ns / 1000 / (bars * families)


def _bar(family: str, number: int) -> Bar:
    wave = Decimal(round(10 * math.sin(number * 0.7 + int(family[1:])), 2))
    return Bar(
        family=family,
        contract_id="made",
        trade_date="2026-09-21",
        start_utc_us=START_US + number * BAR_US,
        close=PRICE + wave,
    )


def _policy(symbols: tuple[str, ...], account_limits: AccountLimits | None) -> Policy:
    budget = Decimal(1_000_000_000)
    return Policy(
        account_id=ACCOUNT,
        dry_run=False,
        execute=True,
        protects=True,
        busy_quote_ns=2_000_000_000,
        account_limits=account_limits,
        symbols=symbols,
        min_r_multiple=Decimal("1.5"),
        max_order_notional_micros=10**15,
        price_collar_ppm=50_000,
        prevents_self_trades=True,
        max_repeated_executions=100,
        max_orders_per_second=1_000_000,
        exposure_limits=exposure_limits(
            risk_budget=budget,
            max_correlation_exposure=Decimal("0.7"),
            es_nq_max_combined_exposure=budget,
            max_directional_share=Decimal("0.5"),
        ),
    )


def _schedule() -> SessionsScheduled:
    """Return a session of the stock indices that is at its busiest."""
    return SessionsScheduled(
        utc_us=START_US,
        sessions=(
            Session(
                group=MarketGroup.EQUITY,
                trade_date="2026-09-21",
                opens_utc_us=START_US - DAY_US // 4,
                closes_utc_us=START_US + DAY_US // 4,
                busy_from_utc_us=START_US - DAY_US // 8,
                busy_until_utc_us=START_US + DAY_US // 8,
                entries_until_utc_us=START_US + DAY_US // 8,
                flat_by_utc_us=START_US + DAY_US // 8,
            ),
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
