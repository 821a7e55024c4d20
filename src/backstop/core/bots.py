"""Bots as clients: what their registration, their silence and their return lead to.

Exits of a silent bot pass like anybody's and no stop is ever touched. Its entries are refused at
once; by its policy those that work are cancelled, and at last its share of each position is closed
by the machinery that closes positions for people: without a latch, and never the other side.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.bot_record import BOTS_MAX, Bot
from backstop.core.bot_shares import share_of, shares_of, shares_text, strategy_of
from backstop.core.liquidation_scope import unfinished
from backstop.core.position_close import close_requested
from backstop.core.step import Decision, DecisionKind, Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.bot import BotPolicy, BotState
from backstop.domain.commands import Severity
from backstop.domain.events import (
    BotFellSilent,
    BotGivenUp,
    BotRegistered,
    BotReturned,
    BotSignedOff,
    CloseRequested,
)
from backstop.domain.numbers import count_text

# -- wishes --------------------------------------------------------------------------------------


def bot_registered(work: Workbench, event: BotRegistered) -> None:
    """Look after a bot from now on; one of that name begins anew, alive."""
    bots = work.book.bots
    if event.bot_id not in bots and len(bots) >= BOTS_MAX:
        work.decision = Decision(
            kind=DecisionKind.NOT_POSSIBLE,
            message=f"{BOTS_MAX} bots are registered, which is all there may be: sign one off",
        )
        return
    bots[event.bot_id] = Bot(bot_id=event.bot_id, terms=event.terms, registered_utc_us=event.utc_us)
    work.decision = Decision(kind=DecisionKind.ACCEPTED)
    work.note(
        Tag.CRITICAL_SYSTEM,
        "bot_registered",
        bot_id=event.bot_id,
        policy=str(event.terms.policy),
        heartbeat_timeout_ms=event.terms.heartbeat_timeout_ms,
        flatten_after_ms=event.terms.flatten_after_ms or 0,
    )


def bot_signed_off(work: Workbench, event: BotSignedOff) -> None:
    """Look after a bot no more; its orders, its positions and their stops stay as they are."""
    known = work.book.bots.pop(event.bot_id, None)
    work.decision = Decision(
        kind=DecisionKind.ACCEPTED if known is not None else DecisionKind.UNKNOWN_BOT,
        message="" if known is not None else f"no bot goes by {event.bot_id}",
    )
    if known is not None:
        work.note(Tag.CRITICAL_SYSTEM, "bot_signed_off", bot_id=event.bot_id)


# -- silence -------------------------------------------------------------------------------------


def bot_changed(work: Workbench, event: BotFellSilent | BotGivenUp | BotReturned) -> None:
    """Take note of what its heartbeats, or their absence, say about a bot."""
    bot = work.book.bots.get(event.bot_id)
    if bot is None:
        return  # it signed off meanwhile
    match event:
        case BotFellSilent() if bot.is_alive:
            _fell_silent(work, bot, event)
        case BotGivenUp() if bot.state is BotState.SILENT:
            _given_up(work, bot, event)
        case BotReturned() if bot.state is BotState.SILENT:
            work.book.bots[bot.bot_id] = replace(bot, state=BotState.ALIVE, silent_utc_us=None)
            work.alert(
                Severity.INFO,
                AlertCode.BOT_RETURNED,
                f"Bot {bot.bot_id} is back; its entries pass again.",
            )
        case _:
            pass  # a second word about the same


def _fell_silent(work: Workbench, bot: Bot, event: BotFellSilent) -> None:
    book = work.book
    since_utc_us = event.utc_us - event.silent_ms * 1000
    bot = replace(bot, state=BotState.SILENT, silent_utc_us=since_utc_us)
    book.bots[bot.bot_id] = bot
    shares = shares_of(book, bot.bot_id)
    live = sum(1 for order in book.live_orders() if order.request.strategy_id == bot.bot_id)
    open_text = shares_text(book, bot.bot_id)
    work.alert(
        Severity.CRITICAL if shares or live else Severity.WARNING,
        AlertCode.BOT_SILENT,
        f"Bot {bot.bot_id} has given no sign of life for {event.silent_ms / 1000:g} s, with "
        f"{open_text or 'no position'} and {count_text(live, 'live order')}. {_what_follows(bot)}",
    )


def _what_follows(bot: Bot) -> str:
    kept = "Its entries are refused; exits pass and stops stay."
    match bot.terms.policy:
        case BotPolicy.KEEP_PROTECTION:
            return f"{kept} Entries that work already are left."
        case BotPolicy.STOP_ENTRIES:
            return f"{kept} Entries that work already are cancelled."
        case BotPolicy.FLATTEN:
            after_s = (bot.terms.flatten_after_ms or 0) / 1000
            return (
                f"{kept} Entries that work already are cancelled; after {after_s:g} s of silence "
                "its share of each position is closed."
            )


def _given_up(work: Workbench, bot: Bot, event: BotGivenUp) -> None:
    book = work.book
    shares = shares_of(book, bot.bot_id)
    to_close = tuple(contract_id for contract_id, _ in shares)
    book.bots[bot.bot_id] = replace(bot, state=BotState.GIVEN_UP, to_close=to_close)
    what = ", ".join(
        f"{share:+d} of {book.position(name).quantity:+d} {book.symbol_of(name)}"
        for name, share in shares
    )
    work.alert(
        Severity.CRITICAL,
        AlertCode.BOT_GIVEN_UP,
        f"Bot {bot.bot_id} has given no sign of life for {event.silent_ms / 1000:g} s. "
        f"{_closing_text(work, what)} Its entries stay refused until it registers again.",
    )


def _closing_text(work: Workbench, what: str) -> str:
    if not what:
        return "It holds no position."
    if not work.book.policy.sends:
        return f"The gate is closed, so nothing is sent. It would have closed {what}."
    return f"Its share is closed: {what}."


# -- in every step -------------------------------------------------------------------------------


def close_for_bots(work: Workbench) -> None:
    """Close what bots that were given up still have a share of, also what fills after that.

    Asked for once for each finding: the close itself goes on until it is proven. While another
    one is under way in the contract, or the account is being read, it waits.
    """
    for bot in _given_up_bots(work):
        waiting = tuple(name for name in _to_close(work, bot) if not _asked(work, bot, name))
        if waiting != bot.to_close:
            work.book.bots[bot.bot_id] = replace(bot, to_close=waiting)


def _given_up_bots(work: Workbench) -> Iterator[Bot]:
    for bot in list(work.book.bots.values()):
        if bot.state is BotState.GIVEN_UP and (bot.to_close or work.new_trades):
            yield bot


def _to_close(work: Workbench, bot: Bot) -> dict[str, None]:
    late = (
        trade.contract_id
        for trade in work.new_trades.values()
        if strategy_of(work.book, trade) == bot.bot_id
    )
    return dict.fromkeys((*bot.to_close, *late))


def _asked(work: Workbench, bot: Bot, contract_id: str) -> bool:
    """Ask for the close of a bot's share; False when that has to wait."""
    book = work.book
    share = share_of(book, bot.bot_id, contract_id)
    if not share or not book.policy.sends:
        return True
    if not book.recovered or any(run.covers(contract_id) for run in unfinished(book)):
        return False
    position = book.position(contract_id).quantity
    exits = book.open_exits(contract_id, position)
    whole = share == position
    quantity = None if whole else min(abs(share), abs(position) - exits)
    if quantity is not None and quantity <= 0:
        return False  # other exits are about to close as much
    held_decision = work.decision
    close_requested(
        work,
        CloseRequested(
            utc_us=work.utc_us,
            contract_id=contract_id,
            reason=f"bot {bot.bot_id} was given up",
            operator="backstop",
            quantity=quantity,
        ),
    )
    work.decision = held_decision
    work.note(
        Tag.CRITICAL_SYSTEM,
        "bot_share_closed",
        bot_id=bot.bot_id,
        contract_id=contract_id,
        share=share,
        position=position,
    )
    return True
