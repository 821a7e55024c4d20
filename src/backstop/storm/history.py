"""The bars that the venue of the storm has: some sessions before the beginning, and those since.

They are few on purpose: a guard reads all of them at each start, and it starts often here. Both
families share a part of each step, so that they have a correlation that can be measured.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Final

from msgspec import Struct

from backstop.adapters.projectx.wire import BarRow, BarsBody
from backstop.adapters.projectx_server.binding import to_utc_us
from backstop.adapters.projectx_server.venue import MarketEvent
from backstop.simulator.rows import rest_time
from backstop.simulator.sessions import sessions_before

BAR_US: Final = 300_000_000

SESSIONS: Final = 3
"""Enough for an average over complete sessions, and for a correlation of many bars."""

STEP_SIGMA: Final = 0.000_6
"""Of one bar, as a share of the price: about one percent in a session of 276."""

SHARED: Final = 0.8
"""Weight of what both families have in common; their correlation is a little above its square."""


class Close(Struct, frozen=True, kw_only=True):
    """One closed bar."""

    open_us: int
    ticks: int


class FamilyBars:
    """The bars of one family, oldest first, and the one that is being made."""

    def __init__(self, closes: list[Close], tick_size: Decimal) -> None:
        self.closes = closes
        self._tick_size = tick_size
        self._running: Close | None = None

    @property
    def price(self) -> float:
        """The newest price, in points."""
        newest = self.closes[-1] if self._running is None else self._running
        return float(newest.ticks * self._tick_size)

    def put(self, now_us: int, ticks: int) -> None:
        """Take a price."""
        open_us = now_us - now_us % BAR_US
        if self._running is not None and self._running.open_us != open_us:
            self.closes.append(self._running)
        self._running = Close(open_us=open_us, ticks=ticks)

    def rows(self, start_us: int, end_us: int, limit: int) -> list[BarRow]:
        """Return closed bars, newest first."""
        found: list[BarRow] = []
        for close in reversed(self.closes):
            if close.open_us < start_us or len(found) == limit:
                break
            if close.open_us < end_us:
                price = close.ticks * self._tick_size
                found.append(
                    BarRow(t=rest_time(close.open_us), o=price, h=price, l=price, c=price, v=1)
                )
        return found


class StormHistory:
    """Implements the simulator's ``MarketHistory`` for five-minute bars, all that a guard asks for.

    Attributes:
        families: bars by the code of the family.
    """

    def __init__(self) -> None:
        self.families: dict[str, FamilyBars] = {}
        self._of_contract: dict[str, FamilyBars] = {}

    def add(self, family: str, bars: FamilyBars, contract_ids: Sequence[str]) -> None:
        """Have bars for the contracts of a family."""
        self.families[family] = bars
        self._of_contract |= dict.fromkeys(contract_ids, bars)

    def bars(self, body: BarsBody, now_us: int) -> tuple[int, list[BarRow]]:  # noqa: ARG002 - only closed bars are kept
        """Return (code, bars newest first)."""
        bars = self._of_contract.get(body.contract_id)
        if bars is None:
            return 0, []
        return 0, bars.rows(to_utc_us(body.start_time), to_utc_us(body.end_time), body.limit)

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:  # noqa: ARG002 - the next quote comes soon
        """Return nothing: the next quote comes soon."""
        return []


def past_of(chance: Random, families: dict[str, int], start_us: int) -> dict[str, list[Close]]:
    """Return the past of each family, by its code, which leads to its price at the beginning.

    Args:
        chance: draws the steps.
        families: the price of each at the beginning, in ticks.
        start_us: the beginning, microseconds UTC.
    """
    opens = [
        open_us
        for opens_us, closes_us in sessions_before(start_us, SESSIONS)
        for open_us in range(opens_us, closes_us - BAR_US + 1, BAR_US)
    ]
    own = math.sqrt(1.0 - SHARED * SHARED)
    logs = dict.fromkeys(families, 0.0)
    past: dict[str, list[Close]] = {family: [] for family in families}
    # Backwards, from the price that there is at the beginning.
    for open_us in reversed(opens):
        shared = chance.gauss(0.0, STEP_SIGMA)
        for family, ticks in families.items():
            past[family].append(Close(open_us=open_us, ticks=round(ticks * math.exp(logs[family]))))
            logs[family] -= SHARED * shared + own * chance.gauss(0.0, STEP_SIGMA)
    for closes in past.values():
        closes.reverse()
    return past
