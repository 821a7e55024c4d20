"""What a bot that gives no sign of life may not do: take on anything new."""

from backstop.core.book import Book
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.bot import BotState
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.utc import utc_text


def bot_denials(book: Book, strategy_id: str | None) -> tuple[Denial, ...]:
    """Return why an entry of a registered bot is refused: it is not known to live."""
    bot = book.bots.get(strategy_id or "")
    if bot is None or bot.is_alive:
        return ()
    since = "" if bot.silent_utc_us is None else f" since {utc_text(bot.silent_utc_us)}"
    way_back = (
        "its positions were closed, so it has to register again"
        if bot.state is BotState.GIVEN_UP
        else "entries pass again after its next heartbeat"
    )
    return (
        Denial(
            code=DenialCode.BOT_SILENT,
            message=f"bot {bot.bot_id} has given no sign of life{since}; {way_back}",
            value=str(bot.state),
        ),
    )


def withdrawn_entry(book: Book, order: TrackedOrder) -> str | None:
    """Return why a working entry is cancelled for its bot's silence; None when it is not."""
    bot = book.bots.get(order.request.strategy_id or "")
    if bot is None or not bot.withdraws_entries:
        return None
    return f"bot {bot.bot_id} is silent"
