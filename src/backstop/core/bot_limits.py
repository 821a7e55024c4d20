"""What the credentials of a bot permit its entries: one refusal for each limit.

The limits come with the wish, as the credentials had them then. The pace is that of the record:
what this process accepted counts by its monotonic time. In its first second what came before it
counts as well, by the time of day, the only one that both have: a bot that has had its share has
had it after a restart, too, and a clock that somebody sets can matter for no longer than that.
"""

from collections.abc import Iterator
from itertools import islice

from backstop.core.book import Book
from backstop.core.policy import SECOND_NS
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.bot import BotLimits
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import OrderRequested
from backstop.domain.instrument import Instrument

SECOND_US = 1_000_000

NEWEST_ORDERS = 256
"""Orders looked at for the pace before a restart: more than any bot may enter in one second."""


def bot_limit_denials(
    book: Book,
    wish: OrderRequested,
    instrument: Instrument,
    *,
    now_ns: int,
    instead_of: TrackedOrder | None = None,
) -> tuple[Denial, ...]:
    """Return why an entry goes beyond what its bot may do; empty for one that is held to nothing.

    Args:
        book: what is known.
        wish: the entry, its ``strategy_id`` the bot's name, with the limits of its credentials.
        instrument: the contract of the entry.
        now_ns: monotonic time.
        instead_of: an order that this one is to replace, and that does not count beside it.
    """
    limits, bot = wish.bot_limits, wish.request.strategy_id or ""
    if limits is None:
        return ()
    return (
        *_instrument_denials(instrument, limits),
        *_quantity_denials(wish.request.quantity, limits),
        *_order_denials(book, bot, limits, instead_of),
        *_pace_denials(bot, limits, _recent_entries(book, wish, bot, now_ns=now_ns)),
    )


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


def _order_denials(
    book: Book, bot: str, limits: BotLimits, instead_of: TrackedOrder | None
) -> Iterator[Denial]:
    live = sum(order.request.strategy_id == bot for order in book.live_orders())
    live -= instead_of is not None
    if live >= limits.orders_max:
        yield Denial(
            code=DenialCode.BOT_ORDERS_TOO_MANY,
            message=f"{live} orders of bot {bot} are unfinished",
            value=str(live),
            limit=str(limits.orders_max),
            max_quantity=0,
        )


def _pace_denials(bot: str, limits: BotLimits, recent: int) -> Iterator[Denial]:
    if recent >= limits.entries_per_second_max:
        yield Denial(
            code=DenialCode.BOT_RATE_TOO_HIGH,
            message=f"bot {bot} entered {recent} times within the last second, moves of an entry "
            "to more risk included",
            value=str(recent + 1),
            limit=str(limits.entries_per_second_max),
            max_quantity=0,
        )


def _recent_entries(book: Book, wish: OrderRequested, bot: str, *, now_ns: int) -> int:
    """Return how many entries of ``bot``, and moves of them, were accepted within a second."""
    names: dict[str, None] = {}
    moves = 0
    for entry in reversed(book.entries):
        if now_ns - entry.accepted_ns >= SECOND_NS:
            break
        if entry.request.strategy_id != bot:
            continue
        moves += entry.moved
        if not entry.moved:
            names[entry.request.client_order_id] = None
    if now_ns - book.protection.started_ns >= SECOND_NS:
        return len(names) + moves
    for order in islice(reversed(book.orders.values()), NEWEST_ORDERS):
        is_entry = order.request.strategy_id == bot and not order.reduces_risk
        if is_entry and 0 <= wish.utc_us - order.requested_utc_us < SECOND_US:
            names[order.client_order_id] = None
    return len(names) + moves
