"""Invented prices that behave like the real ones: volatility in clusters, and correlation.

A log return is one shared shock of the product's sector and one of its own, times a volatility that
has a shape over the day and wanders over hours. Every shock is a pure function of (seed, name,
minute), so any stretch can be made at any time, in any order, and is always the same. Floats are
statistics here; what leaves are bars in whole ticks.

Figures: daily volatilities and ES/NQ correlation as measured on exchange data of 2024 to 2026
(correlation of five-minute returns 0.92 in the mean).
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from statistics import NormalDist

from msgspec import Struct

from backstop.simulator.price_paths import Bar
from backstop.simulator.sessions import HOUR_US, MINUTE_US, local_us

HISTORY_STEP_US = 5 * MINUTE_US
"""Width of the bars before the start: 65 sessions of one-minute bars would take seconds to make."""

_SESSION_MINUTES = 23 * 60
_GAP_SHARE = 0.25  # of a day's volatility, between one session's close and the next one's open
_SLOW_HOURS = 5
_HOURLY_WEIGHT, _SLOW_WEIGHT = 0.35, 0.25  # of the logarithm of volatility
_MEAN_SQUARE = 1.43  # of the wandering and the shape; measured, so that a day with its gap is right
_MASK = (1 << 64) - 1
_NORMAL = NormalDist().inv_cdf


class Dynamics(Struct, frozen=True, kw_only=True):
    """How one index moves.

    Attributes:
        daily_volatility: standard deviation of a session's log return.
        sector: whose shocks it shares.
        loading: correlation with its sector; two members correlate by the product of theirs.
        minute_volume: contracts in a minute of average activity.
    """

    daily_volatility: float
    sector: str
    loading: float
    minute_volume: int


def _dynamics(volatility: float, sector: str, loading: float, volume: int) -> Dynamics:
    return Dynamics(
        daily_volatility=volatility, sector=sector, loading=loading, minute_volume=volume
    )


DYNAMICS = {
    "ES": _dynamics(0.0100, "equity", 0.98, 900),
    "NQ": _dynamics(0.0140, "equity", 0.94, 400),
    "RTY": _dynamics(0.0140, "equity", 0.86, 130),
    "YM": _dynamics(0.0095, "equity", 0.94, 90),
    "NKD": _dynamics(0.0140, "equity", 0.60, 8),
    "CL": _dynamics(0.0210, "energy", 0.95, 220),
    "NG": _dynamics(0.0340, "gas", 0.90, 90),
    "HO": _dynamics(0.0210, "energy", 0.85, 35),
    "RB": _dynamics(0.0220, "energy", 0.85, 35),
    "GC": _dynamics(0.0105, "metal", 0.92, 130),
    "SI": _dynamics(0.0190, "metal", 0.85, 45),
    "HG": _dynamics(0.0140, "metal", 0.45, 40),
    "PL": _dynamics(0.0160, "metal", 0.65, 15),
    "6E": _dynamics(0.0048, "currency", 0.92, 130),
    "6B": _dynamics(0.0052, "currency", 0.80, 60),
    "6A": _dynamics(0.0062, "currency", 0.70, 65),
    "6C": _dynamics(0.0040, "currency", 0.65, 50),
    "6J": _dynamics(0.0060, "currency", 0.55, 110),
    "6S": _dynamics(0.0052, "currency", 0.80, 20),
    "6N": _dynamics(0.0064, "currency", 0.68, 20),
    "6M": _dynamics(0.0072, "currency", 0.35, 35),
    "ZT": _dynamics(0.0009, "rates", 0.85, 350),
    "ZF": _dynamics(0.0023, "rates", 0.95, 700),
    "ZN": _dynamics(0.0036, "rates", 0.99, 1100),
    "TN": _dynamics(0.0046, "rates", 0.97, 300),
    "ZB": _dynamics(0.0065, "rates", 0.92, 250),
    "UB": _dynamics(0.0080, "rates", 0.90, 160),
    "ZC": _dynamics(0.0130, "grain", 0.80, 110),
    "ZS": _dynamics(0.0110, "grain", 0.85, 80),
    "ZW": _dynamics(0.0160, "grain", 0.65, 50),
    "ZL": _dynamics(0.0170, "grain", 0.55, 50),
    "ZM": _dynamics(0.0150, "grain", 0.65, 50),
    "LE": _dynamics(0.0090, "livestock", 0.60, 20),
    "HE": _dynamics(0.0140, "livestock", 0.60, 18),
    "MBT": _dynamics(0.0300, "crypto", 0.92, 20),
    "MET": _dynamics(0.0400, "crypto", 0.90, 25),
}
"""By the code of the product whose price leads, for every such product of the contract table."""

# Weight of a minute's variance by Chicago hour and half hour: quiet nights, a busy open and close.
_QUIET, _EUROPE, _MORNING, _OPEN, _MIDDAY, _CLOSE = 0.30, 0.62, 0.85, 4.2, 1.95, 3.0
_SHAPE = (
    [_QUIET] * 4  # 00:00
    + [_EUROPE] * 10  # 02:00
    + [_MORNING] * 3  # 07:00
    + [_OPEN] * 2  # 08:30, the cash open
    + [_MIDDAY] * 9  # 09:30
    + [_CLOSE] * 2  # 14:00
    + [_MORNING] * 2  # 15:00
    + [_QUIET] * 16  # 16:00
)


class Noise:
    """Independent numbers addressed by a counter; equal seeds and names give equal numbers."""

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest)
        self._stretch = (0, self.normal(0), self.normal(1))  # the last one that wave() needed

    def uniform(self, counter: int) -> float:
        """Return the number between 0 and 1, both excluded, at ``counter``."""
        mixed = (self._key + counter * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (((mixed ^ (mixed >> 31)) >> 12) + 0.5) / (1 << 52)

    def normal(self, counter: int) -> float:
        """Return the standard normal number at ``counter``."""
        return _NORMAL(self.uniform(counter))

    def wave(self, counter: float) -> float:
        """Return a standard normal number at whole counters, and the line between elsewhere."""
        whole = math.floor(counter)
        if self._stretch[0] != whole:
            self._stretch = (whole, self.normal(whole), self.normal(whole + 1))
        _, before, after = self._stretch
        return before + (counter - whole) * (after - before)


class _Step(Struct, frozen=True, kw_only=True):
    """One bar as log levels."""

    open_us: int
    width_us: int
    open: float
    high: float
    low: float
    close: float
    volume: int


class Generator:
    """The price of one index, in ticks of ``tick_size`` points, for one seed."""

    def __init__(self, index: str, *, seed: int, tick_size: float, start_price: float) -> None:
        self._dynamics = dynamics = DYNAMICS[index]
        self._tick_size = tick_size
        self._start_ticks = start_price / tick_size
        self._shared = Noise(seed, dynamics.sector)
        self._own = Noise(seed, f"{dynamics.sector}/{index}")
        self._own_share = math.sqrt(1 - dynamics.loading**2)
        self._extremes = Noise(seed, f"{index}/extremes")
        self._volumes = Noise(seed, f"{index}/volume")
        self._hourly = Noise(seed, f"{dynamics.sector}/hourly")
        self._slowly = Noise(seed, f"{dynamics.sector}/slowly")

    def typical_minute_ticks(self, price_ticks: int) -> int:
        """Return the usual height of a one-minute bar at ``price_ticks``, at least one tick."""
        sigma = self._dynamics.daily_volatility / math.sqrt(_SESSION_MINUTES)
        return max(1, round(self._scale(price_ticks) * sigma * 1.7))

    def before(self, sessions: Iterable[tuple[int, int]], *, end_ticks: int) -> list[Bar]:
        """Return the five-minute bars of ``sessions``; the last one closes at ``end_ticks``."""
        steps: list[_Step] = []
        level = 0.0
        for opens, closes in sessions:
            level += self._gap(opens)
            for open_us in range(opens, closes, HISTORY_STEP_US):
                step = self._step(open_us, HISTORY_STEP_US, level)
                steps.append(step)
                level = step.close
        ticks = self._ticks_of(end_ticks, shift=level)
        return [_bar(step, ticks) for step in steps]

    def after(
        self, start_us: int, *, start_ticks: int, is_open: Callable[[int], bool]
    ) -> Iterator[Bar]:
        """Yield one-minute bars without end from ``start_us`` on, where ``is_open`` says so."""
        ticks = self._ticks_of(start_ticks, shift=0.0)
        level = 0.0
        open_us = start_us
        was_open = True
        while True:
            if is_open(open_us):
                if not was_open:
                    level += self._gap(open_us)
                step = self._step(open_us, MINUTE_US, level)
                yield _bar(step, ticks)
                level = step.close
                was_open = True
            else:
                was_open = False
            open_us += MINUTE_US

    def _scale(self, price_ticks: int) -> float:
        # A price at or below zero (crude oil knows how) moves as the start price would.
        return float(price_ticks) if price_ticks > 0 else self._start_ticks

    def _ticks_of(self, anchor_ticks: int, *, shift: float) -> Callable[[float], int]:
        """Return what turns a log level into ticks; the level ``shift`` is ``anchor_ticks``."""
        scale = self._scale(anchor_ticks)
        return lambda level: anchor_ticks + round(scale * math.expm1(level - shift))

    def _gap(self, open_us: int) -> float:
        return self._shock(-open_us // MINUTE_US) * self._dynamics.daily_volatility * _GAP_SHARE

    def _shock(self, counter: int) -> float:
        loading = self._dynamics.loading
        return loading * self._shared.normal(counter) + self._own_share * self._own.normal(counter)

    def _step(self, open_us: int, width_us: int, level: float) -> _Step:
        # Histories and live minutes take their numbers from different places of the same noise.
        counter = open_us // MINUTE_US * 8 + (0 if width_us == MINUTE_US else 4)
        hour = open_us / HOUR_US
        mood = _HOURLY_WEIGHT * self._hourly.wave(hour)
        mood += _SLOW_WEIGHT * self._slowly.wave(hour / _SLOW_HOURS)
        shape = _SHAPE[local_us(open_us) // (HOUR_US // 2) % 48]
        minutes = width_us / MINUTE_US
        variance = shape * minutes / _SESSION_MINUTES * math.exp(2 * mood) / _MEAN_SQUARE
        variance *= self._dynamics.daily_volatility**2
        move = math.sqrt(variance) * self._shock(counter)
        # The extremes of a random walk whose two ends are known.
        up = -2 * variance * math.log(self._extremes.uniform(counter))
        down = -2 * variance * math.log(self._extremes.uniform(counter + 1))
        volume = self._dynamics.minute_volume * minutes * math.sqrt(shape) * math.exp(mood)
        volume *= math.exp(0.4 * self._volumes.normal(counter))
        return _Step(
            open_us=open_us,
            width_us=width_us,
            open=level,
            high=level + (move + math.sqrt(move * move + up)) / 2,
            low=level + (move - math.sqrt(move * move + down)) / 2,
            close=level + move,
            volume=max(1, round(volume)),
        )


def _bar(step: _Step, ticks: Callable[[float], int]) -> Bar:
    return Bar(
        open_us=step.open_us,
        width_us=step.width_us,
        open=ticks(step.open),
        high=ticks(step.high),
        low=ticks(step.low),
        close=ticks(step.close),
        volume=step.volume,
    )
