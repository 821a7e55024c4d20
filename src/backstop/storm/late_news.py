"""A gateway that tells the truth late and in parts: orders now, trades and pictures afterwards.

What a guard hears in that order is all true, and what it would conclude from a part of it is not.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from backstop.simulator.fault_rules import FaultKind, FaultRule
from backstop.storm.plan import POSITIONS_LAG_S, Weather
from backstop.storm.struck import Storm

LATE_S: Final = (0.6, 4.0)
"""Longer than the venue takes to tell the rest of it, shorter than anybody waits for."""

SLOW_S: Final = (0.3, 2.5)

WHILE_S: Final = (10.0, 40.0)
"""Some orders fill within that."""


class LateNews:
    """The acts of one storm."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm

    def all_of_them(self) -> list[Callable[[], object]]:
        """Return those that belong to the weather."""
        if not self._storm.plan.has(Weather.GATEWAY):
            return []
        return [self._late_trades, self._late_trades, self._slow_pictures]

    async def _late_trades(self) -> None:
        """Orders are told of at once; what they traded, and what is held then, seconds later."""
        delay_ms = self._some_ms(LATE_S)
        await self._with_rules(
            FaultRule(on=f"GatewayUser{noun}", act=FaultKind.DELAY_EVENT, delay_ms=delay_ms,
                      count=None)
            for noun in ("Trade", "Position")
        )  # fmt: skip

    async def _slow_pictures(self) -> None:
        """Reads of positions take long, and some show what was held before they were asked."""
        venue, plan = self._storm.venue, self._storm.plan
        venue.lag(positions_s=POSITIONS_LAG_S, lists_s=plan.lists_lag_s)
        slow = FaultRule(
            on="Position/searchOpen",
            act=FaultKind.DELAY_RESPONSE,
            delay_ms=self._some_ms(SLOW_S),
            count=None,
        )
        await self._with_rules([slow])
        venue.lag(positions_s=plan.positions_lag_s, lists_s=plan.lists_lag_s)

    def _some_ms(self, span_s: tuple[float, float]) -> int:
        return int(self._storm.chance.uniform(*span_s) * 1000)

    async def _with_rules(self, rules: Iterable[FaultRule]) -> None:
        """Have more rules in force for a while."""
        faults = self._storm.venue.faults
        added = faults.add(rules)
        await asyncio.sleep(self._storm.chance.uniform(*WHILE_S))
        faults.take_back(added)
