"""What bots and people ask of a position's protection, and the waiting that belongs to it."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

from backstop.app.loop import DecisionLoop
from backstop.app.quote_board import QuoteBoard
from backstop.core.leftovers import leftovers
from backstop.core.liquidation_scope import contract_for
from backstop.core.order_month import instrument_of_order
from backstop.core.protection_situation import is_in_place
from backstop.core.protection_wishes import levels_in_ticks
from backstop.core.step import Decision, DecisionKind
from backstop.domain.events import ProtectionRequested
from backstop.domain.order import OrderRequest, Side
from backstop.errors import JournalError
from backstop.ports import Clock

IN_PLACE_LIMIT_S = 3.0
"""How long a caller is kept waiting until his levels stand at the venue; they are followed on."""

LEFTOVERS_LIMIT_S = 1.0
"""How long an entry waits for stops of an earlier position to be cancelled; then it is refused."""

LOOK_S = 0.02
"""Pause between looks at what no single order owns."""


class ProtectionDesk:
    """Asks the decision loop, and waits for what comes of it."""

    def __init__(self, loop: DecisionLoop, *, quotes: QuoteBoard, clock: Clock) -> None:
        self._loop = loop
        self._quotes = quotes
        self._clock = clock

    async def protect(
        self, symbol: str, *, stop_price: Decimal | None, take_profit_price: Decimal | None
    ) -> Decision:
        """Give a position these levels; returns when they stand at the venue, or will not.

        Raises:
            JournalError: it could not be made durable, and nothing was sent.
        """
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
        refused = book.protection.refusals.get(contract_id)
        if refused is None:
            return decision
        return Decision(
            kind=DecisionKind.NOT_POSSIBLE,
            message=f"the venue refused to move an order of {contract_id}: {refused}. "
            "It protects where it stood",
        )

    async def leftovers_gone(self, request: OrderRequest) -> None:
        """Let stops of an earlier position leave before an entry into its contract is judged."""
        book = self._loop.book
        instrument = instrument_of_order(book, request)
        if instrument is None or not (book.policy.sends and book.policy.protects):
            return
        contract_id = instrument.contract_id
        held = book.position(contract_id).quantity
        # Compared, not asked: what a bot sent is checked for its types when it is decided about.
        if (held > 0 and request.side == Side.SELL) or (held < 0 and request.side == Side.BUY):
            return  # an exit waits for nothing

        def gone() -> bool:
            return next(leftovers(book, contract_id), None) is None

        await self._until(gone, limit_s=LEFTOVERS_LIMIT_S)

    async def _until(self, is_true: Callable[[], bool], *, limit_s: float) -> None:
        if is_true():
            return
        try:
            async with asyncio.timeout(limit_s):
                while not is_true():  # noqa: ASYNC110 - many facts can make it so, none is awaited
                    await asyncio.sleep(LOOK_S)
            await self._loop.recorded()
        except (TimeoutError, JournalError):
            pass  # what is true then is what the caller is told
