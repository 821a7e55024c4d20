"""What the credentials of a bot permit: looked at before the pipeline, for its entries alone."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backstop.core.book import Book
from backstop.core.policy import SECOND_NS
from backstop.domain.bot import BotLimits
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderRequest
from backstop.ports import Clock


class BotPace:
    """The entries of one bot: those on their way to the book, and when the last ones came."""

    def __init__(self, bot: str, *, clock: Clock) -> None:
        self._bot = bot
        self._clock = clock
        self._on_their_way: dict[str, None] = {}  # client order ids that the book may not hold yet
        self._recent_ns: deque[int] = deque()

    def denials(
        self, book: Book, request: OrderRequest, instrument: Instrument, limits: BotLimits
    ) -> tuple[Denial, ...]:
        """Return why an entry goes beyond what the bot may do."""
        return (
            *_instrument_denials(instrument, limits),
            *_quantity_denials(request.quantity, limits),
            *self._order_denials(book, limits),
            *self._pace_denials(limits),
        )

    @contextmanager
    def sending(self, client_order_id: str, *, counts: bool) -> Iterator[None]:
        """Count an order from the look at it until the book holds it; an exit does not count."""
        if counts:
            self._on_their_way[client_order_id] = None
            self._recent_ns.append(self._clock.monotonic_ns())
        try:
            yield
        finally:
            self._on_their_way.pop(client_order_id, None)

    def _order_denials(self, book: Book, limits: BotLimits) -> Iterator[Denial]:
        live = sum(order.request.strategy_id == self._bot for order in book.live_orders())
        live += sum(name not in book.orders for name in self._on_their_way)
        if live >= limits.orders_max:
            yield Denial(
                code=DenialCode.BOT_ORDERS_TOO_MANY,
                message=f"{live} orders of bot {self._bot} are unfinished",
                value=str(live),
                limit=str(limits.orders_max),
                max_quantity=0,
            )

    def _pace_denials(self, limits: BotLimits) -> Iterator[Denial]:
        now_ns, recent = self._clock.monotonic_ns(), self._recent_ns
        while recent and now_ns - recent[0] >= SECOND_NS:
            recent.popleft()
        if len(recent) >= limits.entries_per_second_max:
            yield Denial(
                code=DenialCode.BOT_RATE_TOO_HIGH,
                message=f"bot {self._bot} sent {len(recent)} entries within one second",
                value=str(len(recent)),
                limit=str(limits.entries_per_second_max),
                max_quantity=0,
            )


class BotPaces:
    """One pace for each bot that ever sent an order; there are as many as there are bots."""

    def __init__(self, *, clock: Clock) -> None:
        self._new: Callable[[str], BotPace] = lambda bot: BotPace(bot, clock=clock)
        self._held: dict[str, BotPace] = {}

    def of(self, bot: str) -> BotPace:
        """Return the pace of ``bot``."""
        return self._held.setdefault(bot, self._new(bot))


def _instrument_denials(instrument: Instrument, limits: BotLimits) -> Iterator[Denial]:
    if limits.symbols and instrument.symbol not in limits.symbols:
        yield Denial(
            code=DenialCode.BOT_INSTRUMENT_NOT_ALLOWED,
            message=f"the bot may not enter {instrument.symbol}",
            value=instrument.symbol,
            limit=",".join(limits.symbols),
            max_quantity=0,
        )


def _quantity_denials(quantity: int, limits: BotLimits) -> Iterator[Denial]:
    if quantity > limits.quantity_max:
        yield Denial(
            code=DenialCode.BOT_QUANTITY_TOO_LARGE,
            message=f"{quantity} contracts in one order are more than the bot may enter",
            value=str(quantity),
            limit=str(limits.quantity_max),
            max_quantity=limits.quantity_max,
        )
