"""The newest quote of each contract, and when it came."""

import asyncio

from msgspec.structs import replace

from backstop.core.believed_price import Believed, believed
from backstop.core.policy import MILLISECOND_NS
from backstop.domain.quote import Mark, Quote
from backstop.ports import Clock


class QuoteBoard:
    """Market data as the guard knows it: cached, never journaled by itself.

    What a decision used of it is part of that decision's own record.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._quotes: dict[str, tuple[Quote, int]] = {}
        self._believed: dict[str, Believed] = {}
        self._trusted_from_ns = 0
        self._changed = asyncio.Event()

    def put(self, quote: Quote, arrived_ns: int) -> None:
        """Take the newest merged quote of one contract."""
        self._quotes[quote.contract_id] = (quote, arrived_ns)
        self._believed[quote.contract_id] = believed(self._believed.get(quote.contract_id), quote)
        self._changed.set()

    def distrust(self) -> None:
        """Count what came up to now as none: the market went on while nobody listened."""
        self._trusted_from_ns = self._clock.monotonic_ns()

    def reference(self, contract_id: str) -> Quote | None:
        """Return the newest quote with its age at this moment; None when there is none to trust."""
        held = self._quotes.get(contract_id)
        if held is None:
            return None
        quote, arrived_ns = held
        if arrived_ns < self._trusted_from_ns:
            return None
        age_ms = max(0, self._clock.monotonic_ns() - arrived_ns) // MILLISECOND_NS
        return replace(quote, age_ms=age_ms)

    def marks(self) -> tuple[Mark, ...]:
        """Return what every contract is worth: its last trade, else the middle of its touch.

        A last trade that the touch contradicts counts when another print says so too.
        """
        found: list[Mark] = []
        now_ns = self._clock.monotonic_ns()
        for quote, arrived_ns in self._quotes.values():
            price = self._believed[quote.contract_id].price
            if price is not None and arrived_ns >= self._trusted_from_ns:
                age_ms = max(0, now_ns - arrived_ns) // MILLISECOND_NS
                found.append(Mark(contract_id=quote.contract_id, price=price, age_ms=age_ms))
        return tuple(found)

    def contracts(self) -> tuple[str, ...]:
        """Return the contracts that ever had a quote."""
        return tuple(self._quotes)

    async def changed(self) -> None:
        """Wait until any quote arrives after this call."""
        self._changed.clear()
        await self._changed.wait()
