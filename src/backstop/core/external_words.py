"""What people are told of trading that is not ours: what was done, what is held, what follows."""

from collections.abc import Iterable
from fractions import Fraction

from backstop.core.book import Book
from backstop.core.protection_plan import Cover, Share
from backstop.core.protection_situation import Situation, situation
from backstop.domain.broker import BrokerTrade
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.numbers import fraction_text, plain
from backstop.domain.order import Side


def bought(trades: tuple[BrokerTrade, ...]) -> str:
    """Return what trades of one side did, with their average price."""
    quantity = sum(trade.quantity for trade in trades)
    value = sum((Fraction(trade.price) * trade.quantity for trade in trades), Fraction(0))
    verb = "bought" if trades[0].side is Side.BUY else "sold"
    return f"{verb} {quantity} at {fraction_text(value / quantity, places=4)}"


def position_words(book: Book, contract_id: str) -> str:
    """Return what is held now."""
    quantity = book.position(contract_id).quantity
    return f"The position is {quantity:+d} now." if quantity else "The position is flat now."


def act_words(book: Book, contract_id: str) -> str:
    """Return what the policy does about a position, and how to get what it does not."""
    policy, symbol = book.policy, book.symbol_of(contract_id)
    if not book.position(contract_id).quantity:
        return "There is nothing to protect."
    named = f"EXTERNAL_POSITION_POLICY={policy.external_position_policy}"
    if policy.external_position_policy is ExternalPositionPolicy.ALERT:
        words = f"{named}: nothing of it is touched."
    elif policy.external_position_policy is ExternalPositionPolicy.FLATTEN:
        words = f"{named}: the contract is taken flat."
    elif known := _known_stops(book, contract_id):
        words = f"{named}: {known}."
    elif policy.default_stop_ticks is None:
        words = (
            f"{named}: no stop is made up for it, because DEFAULT_STOP_TICKS is not set; set one "
            f"with PUT /v1/positions/{symbol}/protection, or close it."
        )
    else:
        words = (
            f"{named}: what no stop covers gets one {policy.default_stop_ticks} ticks away "
            "(DEFAULT_STOP_TICKS)."
        )
    return words if policy.sends else f"{words} But nothing is sent: the gate is closed."


def _known_stops(book: Book, contract_id: str) -> str:
    """Return what protects a position without anything being made up; empty: nothing does."""
    now = situation(book, contract_id)
    if not book.policy.protects or not now.quantity:
        return ""
    if not now.is_naked:
        return f"working stops cover all of it ({_level_words(now, now.stops)})"
    wanted: tuple[Cover | Share, ...] = (*now.missing, *now.coming)
    if not wanted or not all(now.record.asks_for_stop(it.ticks) for it in wanted):
        return ""
    return f"what no stop covers gets one at the level on record ({_level_words(now, wanted)})"


def _level_words(now: Situation, stops: Iterable[Cover | Share]) -> str:
    return ", ".join(
        f"{stop.quantity} at {plain(now.instrument.price(stop.ticks)):f}"
        if stop.ticks is not None and now.instrument is not None
        else str(stop.quantity)
        for stop in stops
    )
