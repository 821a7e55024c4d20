"""Feeds the volatility and correlation estimators with the gateway's own bars.

Seeded from history at start, then kept up to date as bars close. The estimate goes into the
decision loop as a fact, so that each decision can be replayed with what was known then. Until the
first estimate, and for whatever cannot be read, the stress values and a correlation of one count.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from backstop.adapters.projectx.translate import HistoryBar
from backstop.app.trading_days import trade_date
from backstop.core.bars import Bar
from backstop.core.correlation_estimator import CorrelationEstimator
from backstop.core.instrument_table import contract_profile
from backstop.core.volatility import VolatilityEstimator
from backstop.domain.events import FamilyVolatility, PairCorrelation, RiskEstimated
from backstop.domain.instrument import Instrument
from backstop.errors import GatewayError
from backstop.ports import Clock, FactSink

HISTORY_US = 100 * 86_400_000_000
"""More than 60 sessions, which the volatility's median looks back on."""

BARS_PER_CALL = 20_000
"""The most the gateway returns; a hundred days of five-minute bars fit."""

MINUTE_UNIT = 2
BAR_MINUTES = 5
BAR_US = BAR_MINUTES * 60_000_000


class ReadBars(Protocol):
    """Reads finished bars of one contract, oldest first."""

    def __call__(
        self,
        contract_id: str,
        *,
        start_utc_us: int,
        end_utc_us: int,
        unit: int,
        number: int,
        limit: int,
    ) -> Awaitable[tuple[HistoryBar, ...]]:
        """Return the newest ``limit`` bars of ``number`` units in the window."""


class MarketRisk:
    """Owns the estimators; one series for each family that may be traded."""

    def __init__(
        self,
        *,
        clock: Clock,
        read_bars: ReadBars,
        sink: FactSink,
        on_fault: Callable[[str], None],
        update_interval_s: float,
    ) -> None:
        self._clock = clock
        self._read_bars = read_bars
        self._sink = sink
        self._on_fault = on_fault
        self._update_interval_s = update_interval_s
        self._last_bar_us: dict[str, int] = {}
        self._volatility: dict[str, VolatilityEstimator] = {}
        self._correlation = CorrelationEstimator(())

    async def run(self, instruments: Iterable[Instrument]) -> None:
        """Seed and follow until cancelled."""
        contracts = _one_contract_per_family(instruments)
        self._volatility = {family: VolatilityEstimator(family) for family in contracts}
        self._correlation = CorrelationEstimator(contracts)
        while True:
            await self._update(contracts)
            await asyncio.sleep(self._update_interval_s)

    async def _update(self, contracts: Mapping[str, str]) -> None:
        histories = await asyncio.gather(
            *(self._bars_or_none(family, contract_id) for family, contract_id in contracts.items())
        )
        if None not in histories:
            self._on_fault("")
        fresh = [bar for bars in histories for bar in bars or ()]
        fresh.sort(key=lambda bar: (bar.start_utc_us, bar.family))
        # A hundred days of bars take a good part of a second: not on the event loop.
        self._sink(await asyncio.to_thread(self._estimate, fresh))

    async def _bars_or_none(self, family: str, contract_id: str) -> list[Bar] | None:
        try:
            return await self._closed_bars(family, contract_id)
        except GatewayError as error:
            # Its estimate ages and then counts at its stress value; nothing is guessed.
            self._on_fault(f"no bars of {family}: {error}")
            return None

    async def _closed_bars(self, family: str, contract_id: str) -> list[Bar]:
        now_us = self._clock.utc_us()
        last_us = self._last_bar_us.get(family)
        rows = await self._read_bars(
            contract_id,
            start_utc_us=now_us - HISTORY_US if last_us is None else last_us + BAR_US,
            end_utc_us=now_us,
            unit=MINUTE_UNIT,
            number=BAR_MINUTES,
            limit=BARS_PER_CALL,
        )
        bars = [
            Bar(
                family=family,
                contract_id=contract_id,
                trade_date=trade_date(row.utc_us),
                start_utc_us=row.utc_us,
                close=row.close,
            )
            for row in rows
            if row.utc_us > (last_us or 0) and row.utc_us + BAR_US <= now_us
        ]
        if bars:
            self._last_bar_us[family] = bars[-1].start_utc_us
        return bars

    def _estimate(self, fresh: list[Bar]) -> RiskEstimated:
        for bar in fresh:
            self._volatility[bar.family].on_bar(bar)
            self._correlation.on_bar(bar)
        now_us = self._clock.utc_us()
        volatilities = [estimator.volatility(now_us) for estimator in self._volatility.values()]
        return RiskEstimated(
            utc_us=now_us,
            volatilities=tuple(
                FamilyVolatility(
                    family=volatility.family,
                    sigma_ppm=volatility.sigma_ppm,
                    origin=str(volatility.origin),
                )
                for volatility in volatilities
            ),
            correlations=tuple(
                PairCorrelation(
                    first=first,
                    second=second,
                    origin=str(correlation.origin),
                    value=correlation.value,
                    aligned_bars=correlation.aligned_bars,
                    as_of_utc_us=correlation.as_of_utc_us,
                    age_s=correlation.age_s,
                )
                for first, second, correlation in self._correlation.view(now_us).pairs()
            ),
        )


def _one_contract_per_family(instruments: Iterable[Instrument]) -> dict[str, str]:
    """Return the contract that speaks for each family: the mini, which trades the most."""
    chosen: dict[str, Instrument] = {}
    for instrument in instruments:
        family = contract_profile(instrument.symbol).family
        held = chosen.get(family)
        if held is None or instrument.symbol == family:
            chosen[family] = instrument
    return {family: chosen[family].contract_id for family in sorted(chosen)}
