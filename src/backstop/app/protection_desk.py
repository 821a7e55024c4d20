"""What bots and people ask of a position's protection, and the waiting that belongs to it.

Nobody looks again and again: whatever is waited for comes with a step of the decision loop, so
each step is followed by a look, and nothing else is.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

from backstop.app.loop import DecisionLoop
from backstop.app.quote_board import QuoteBoard
from backstop.app.wish_checks import checked_price
from backstop.core.liquidation_scope import contract_for
from backstop.core.order_waits import has_to_wait, is_trading
from backstop.core.protection_situation import is_in_place
from backstop.core.protection_wishes import levels_in_ticks
from backstop.core.step import Decision, DecisionKind
from backstop.domain.events import ProtectionRequested
from backstop.domain.order import OrderRequest
from backstop.errors import JournalError
from backstop.ports import Clock

IN_PLACE_LIMIT_S = 3.0
"""How long a caller is kept waiting until his levels stand at the venue; they are followed on."""

DECIDABLE_LIMIT_S = 3.0
"""How long an order waits for what is under way in its contract: the proof that a closed position
is flat takes two reads a quarter of a second apart, the cancel of its stops one more call. After it
the order is judged as things are. No caller waits so long for an answer that he would give up."""


class ProtectionDesk:
    """Asks the decision loop, and waits for what comes of it."""

    def __init__(self, loop: DecisionLoop, *, quotes: QuoteBoard, clock: Clock) -> None:
        self._loop = loop
        self._quotes = quotes
        self._clock = clock

    async def protect(
        self,
        symbol: str,
        *,
        stop_price: Decimal | int | None,
        take_profit_price: Decimal | int | None,
    ) -> Decision:
        """Give a position these levels; returns when they stand at the venue, or will not.

        Raises:
            DomainError: a price is no exact number.
            JournalError: it could not be made durable, and nothing was sent.
        """
        stop_price = checked_price("stop_price", stop_price)
        take_profit_price = checked_price("take_profit_price", take_profit_price)
        book = self._loop.book
        contract_id = contract_for(book, symbol)
        instrument = None if contract_id is None else book.instruments.get(contract_id)
        if contract_id is None or instrument is None:
            return Decision(kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract: {symbol}")
        view = book.position(contract_id)
        levels = levels_in_ticks(instrument, view.quantity, stop_price, take_profit_price)
        if isinstance(levels, Decision):
            return levels
        decision = await self._loop.decide(
            ProtectionRequested(
                utc_us=self._clock.utc_us(),
                contract_id=contract_id,
                stop_ticks=levels[0],
                take_profit_ticks=levels[1],
                reference=self._quotes.reference(contract_id),
            )
        )
        if decision.kind is not DecisionKind.ACCEPTED:
            return decision
        await self._until(lambda: is_in_place(book, contract_id), limit_s=IN_PLACE_LIMIT_S)
        with suppress(JournalError):  # what is true then is what the caller is told
            await self._loop.recorded()
        refused = book.protection.refusals.get(contract_id)
        if refused is None:
            return decision
        return Decision(
            kind=DecisionKind.NOT_POSSIBLE,
            message=f"the venue refused to move an order of {contract_id}: {refused}. "
            "It protects where it stood",
        )

    async def decidable(self, request: OrderRequest) -> None:
        """Let what is under way in the contract of an order end before the order is judged."""
        book, clock = self._loop.book, self._clock
        await self._until(
            lambda: not has_to_wait(book, request, now_ns=clock.monotonic_ns()),
            limit_s=DECIDABLE_LIMIT_S,
        )

    async def traded(self, contract_id: str) -> None:
        """Let orders of ours in a contract that trade just now come to their end."""
        book = self._loop.book
        await self._until(lambda: not is_trading(book, contract_id), limit_s=DECIDABLE_LIMIT_S)

    async def _until(self, is_true: Callable[[], bool], *, limit_s: float) -> None:
        """Return when it is so, or the time is up, or the guard stops and no step follows."""
        if is_true():
            return
        with suppress(TimeoutError, JournalError):
            async with asyncio.timeout(limit_s):
                while not is_true():
                    await self._loop.next_step()
