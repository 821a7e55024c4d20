"""Moves simulated time: feeds quotes to the exchange, lets due things happen, opens and closes."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from backstop.simulator.clock import SimulatorClock
from backstop.simulator.exchange import Exchange
from backstop.simulator.feed import FeedItem
from backstop.simulator.market_events import MarketEvents, Wanted
from backstop.simulator.sessions import next_change_us
from backstop.simulator.sources import Calendar

LOOK_ITEMS_MAX = 256
"""Items of one look: a few milliseconds, then sockets get their turn. After the machine slept, the
market catches up look by look, and its time lags until it has."""

VIRTUAL_STEP_US = 100_000
"""How far a virtual clock jumps at a time: what a client answers at once comes so much later."""

WAIT_S_MAX = 1.0
"""Longest pause between two looks, whatever is due: a machine's clock may jump."""


class Pump:
    """The one writer of feed and time.

    ``look`` brings everything up to the present as far as one look may; ``run`` looks for ever.
    """

    def __init__(
        self,
        items: Iterator[FeedItem],
        *,
        clock: SimulatorClock,
        events: MarketEvents,
        calendar: Calendar,
        wanted: Wanted,
        wait_s_max: float = WAIT_S_MAX,
    ) -> None:
        self.items_played = 0
        self._items = items
        self._next = next(items)
        self._clock = clock
        self._events = events
        self._wanted = wanted
        self._wait_s_max = wait_s_max
        self._change_us = next_change_us(clock.now_us()) if calendar is Calendar.CME else None
        self._exchange: Exchange | None = None
        self._looking = False
        self._sooner = asyncio.Event()

    def attach(self, exchange: Exchange) -> None:
        """Take over the exchange that is fed."""
        self._exchange = exchange

    def look(self) -> bool:
        """Bring the exchange up to the present; tell whether that took less than a whole look."""
        if self._looking or self._exchange is None:
            return True  # something inside this look calls the exchange
        self._looking = True
        try:
            return self._look(self._exchange, self._clock.now_us())
        finally:
            self._looking = False

    def soon(self) -> None:
        """Look again before the time that was planned."""
        self._sooner.set()

    async def run(self) -> None:
        """Look whenever something is due, until cancelled."""
        while True:
            self._sooner.clear()
            if not self.look():
                await asyncio.sleep(0)
                continue
            due_us = self._due_us()
            if self._clock.is_virtual:
                self._clock.reach(due_us + VIRTUAL_STEP_US)
                await asyncio.sleep(0)
                continue
            wait_s = min(self._wait_s_max, self._clock.real_s_until(due_us))
            # Not wait_for, which can lose a cancellation that comes together with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._sooner.wait()

    def _look(self, exchange: Exchange, now_us: int) -> bool:
        for _ in range(LOOK_ITEMS_MAX):
            item = self._next
            if self._change_us is not None and self._change_us <= min(now_us, item.time_us):
                self._open_or_close(exchange, self._change_us)
            if item.time_us > now_us:
                exchange.advance(now_us)
                return True
            exchange.advance(item.time_us)
            exchange.on_quote(
                item.contract_id,
                item.bid,
                item.ask,
                item.bid_size,
                item.ask_size,
                item.last,
                item.last_size,
                None if item.aggressor is None else int(item.aggressor),
            )
            for event in self._events.of_item(item, self._wanted):
                exchange.publish(event)
            self.items_played += 1
            self._next = next(self._items)
        return False

    def _open_or_close(self, exchange: Exchange, change_us: int) -> None:
        exchange.advance(change_us)
        exchange.set_market_open(None, Calendar.CME.is_open(change_us))
        self._change_us = next_change_us(change_us)

    def _due_us(self) -> int:
        """Return when the next thing happens by itself."""
        exchange = self._exchange
        dues = [self._next.time_us, self._change_us]
        dues.append(None if exchange is None else exchange.next_event_us())
        return min(due for due in dues if due is not None)
