"""Feeds the volatility and correlation estimators with the gateway's own bars.

Seeded from history at start, then kept up to date as bars close. The estimate goes into the
decision loop as a fact, so that each decision can be replayed with what was known then. Until the
first estimate, and for whatever cannot be read, the stress values and a correlation of one count:
entries pay for what is not known, exits do not ask for it. What could not be read is asked for
again soon, and then less and less often.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from backstop.adapters.projectx.translate import HistoryBar
from backstop.app.trading_days import trade_date
from backstop.core.bars import Bar
from backstop.core.correlation_estimator import CorrelationEstimator
from backstop.core.instrument_table import contract_profile
from backstop.core.volatility import VolatilityEstimator
from backstop.domain.events import FamilyVolatility, PairCorrelation, RiskEstimated
from backstop.domain.instrument import Instrument
from backstop.domain.quote import Mark
from backstop.errors import GatewayError
from backstop.ports import Clock, FactSink

HISTORY_US = 100 * 86_400_000_000
"""More than 60 sessions, which the volatility's median looks back on."""

BARS_PER_CALL = 20_000
"""The most the gateway returns; a hundred days of five-minute bars fit."""

MINUTE_UNIT = 2
BAR_MINUTES = 5
BAR_US = BAR_MINUTES * 60_000_000

SERVED_AFTER_S = 2.0
"""After its end a bar is asked for this much later: the gateway needs a moment to close it."""

RETRY_PAUSES_S = (2.0, 5.0, 15.0, 30.0, 60.0)
"""Before what could not be read is asked for again, and again.

Ten families that all fail stay inside the 50 calls for bars that the gateway allows in 30 s.
"""

_Contracts = Mapping[str, str]
"""The contract id that speaks for each family."""

_Histories = dict[str, list[Bar]]
"""New closed bars of each family that could be read, oldest first."""


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
        marks: Callable[[], tuple[Mark, ...]],
    ) -> None:
        self._clock = clock
        self._marks = marks
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
        self._begin_anew(contracts)
        while True:
            missing = await self._update(contracts, contracts)
            for pause_s in RETRY_PAUSES_S:
                if not missing or pause_s >= self._update_interval_s:
                    await asyncio.sleep(self._until_next_s())
                    break
                await asyncio.sleep(pause_s)
                missing = await self._update(contracts, missing)

    def _until_next_s(self) -> float:
        """Return the pause until the running bar is closed and served, or the interval if less."""
        closes_s = (BAR_US - self._clock.utc_us() % BAR_US) / 1_000_000
        return min(self._update_interval_s, closes_s + SERVED_AFTER_S)

    def _begin_anew(self, contracts: _Contracts) -> None:
        self._last_bar_us.clear()
        self._volatility = {family: VolatilityEstimator(family) for family in contracts}
        self._correlation = CorrelationEstimator(contracts)

    async def _update(self, contracts: _Contracts, wanted: _Contracts) -> _Contracts:
        """Estimate with what is new of ``wanted``; return those that could not be read."""
        histories, faults = await self._read(wanted)
        if self._comes_late(histories):
            histories, faults = await self._read(contracts, anew=True)
            if faults:
                histories = {}
            else:
                self._begin_anew(contracts)
        for family, bars in histories.items():
            if bars:
                self._last_bar_us[family] = bars[-1].start_utc_us
        # A hundred days of bars take a good part of a second: not on the event loop.
        self._sink(await asyncio.to_thread(self._estimate, histories))
        self._on_fault("; ".join(faults))
        return {family: held for family, held in wanted.items() if family not in histories}

    def _comes_late(self, histories: _Histories) -> bool:
        """Say whether a first history meets feeds that are far ahead of it.

        A correlation pairs bars of the same time while both feeds pass it, so all begin anew.
        """
        known = self._last_bar_us.keys()
        return bool(known) and any(
            bars for family, bars in histories.items() if family not in known
        )

    async def _read(
        self, wanted: _Contracts, *, anew: bool = False
    ) -> tuple[_Histories, tuple[str, ...]]:
        """Return what is new of those that could be read, and what is wrong with the others.

        ``anew`` reads from the beginning.
        """
        read = await asyncio.gather(
            *(self._bars_or_fault(family, held, anew=anew) for family, held in wanted.items())
        )
        found = dict(zip(wanted, read, strict=True))
        return (
            {family: bars for family, bars in found.items() if not isinstance(bars, str)},
            tuple(fault for fault in found.values() if isinstance(fault, str)),
        )

    async def _bars_or_fault(self, family: str, contract_id: str, *, anew: bool) -> list[Bar] | str:
        last_us = 0 if anew else self._last_bar_us.get(family, 0)
        try:
            return await self._closed_bars(family, contract_id, last_us)
        except GatewayError as error:
            # Its estimate ages and then counts at its stress value; nothing is guessed.
            return f"no bars of {family}: {error}"

    async def _closed_bars(self, family: str, contract_id: str, last_us: int) -> list[Bar]:
        """Return the closed bars that begin after ``last_us``; 0: all that history holds."""
        now_us = self._clock.utc_us()
        rows = await self._read_bars(
            contract_id,
            start_utc_us=last_us + BAR_US if last_us else now_us - HISTORY_US,
            end_utc_us=now_us,
            unit=MINUTE_UNIT,
            number=BAR_MINUTES,
            limit=BARS_PER_CALL,
        )
        made = partial(_bars, rows, family, contract_id, after_us=last_us, now_us=now_us)
        return await asyncio.to_thread(made)  # for the same reason

    def _estimate(self, histories: _Histories) -> RiskEstimated:
        fresh = [bar for bars in histories.values() for bar in bars]
        fresh.sort(key=lambda bar: (bar.start_utc_us, bar.family))
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
                    as_of_utc_us=volatility.as_of_utc_us,
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
            marks=self._marks(),
        )


def _bars(
    rows: Iterable[HistoryBar], family: str, contract_id: str, *, after_us: int, now_us: int
) -> list[Bar]:
    """Return those that begin after ``after_us`` and have ended by ``now_us``."""
    return [
        Bar(
            family=family,
            contract_id=contract_id,
            trade_date=trade_date(row.utc_us),
            start_utc_us=row.utc_us,
            close=row.close,
        )
        for row in rows
        if row.utc_us > after_us and row.utc_us + BAR_US <= now_us
    ]


def _one_contract_per_family(instruments: Iterable[Instrument]) -> dict[str, str]:
    """Return the contract that speaks for each family: the mini, which trades the most."""
    chosen: dict[str, Instrument] = {}
    for instrument in instruments:
        family = contract_profile(instrument.symbol).family
        held = chosen.get(family)
        if held is None or instrument.symbol == family:
            chosen[family] = instrument
    return {family: chosen[family].contract_id for family in sorted(chosen)}
