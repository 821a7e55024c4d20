"""Trials of the rules of an account: its size, its losses, its pauses."""

from collections.abc import Callable, Iterator

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.account_rules.standing import floor_of, tenths_of
from backstop.core.book import Book
from backstop.core.policy import Policy
from backstop.core.realised import RealisedResult
from backstop.core.trial_book import DAY, NOW_NS, Trial, an_order, as_it_is, trial_symbol
from backstop.domain.denial import DenialCode

LEFT_MICROS = 1
"""What may still be lost in a trial: less than any order could."""

FAR_MICROS = 10**18
"""A balance far above every floor, so that only the day is judged."""


def account_trials(policy: Policy) -> Iterator[Trial]:
    """Yield an order for each rule of the account that is set."""
    limits = policy.account_limits
    if limits is None:
        return

    def trial(
        limit: str, code: DenialCode, prepare: Callable[[Book], None], quantity: int = 1
    ) -> Trial:
        wish = an_order(quantity=quantity)
        return Trial(limit=limit, code=code, policy=policy, wish=wish, prepare=prepare)

    if limits.max_position_tenths is not None:
        most = limits.max_position_tenths // tenths_of(trial_symbol(policy))
        yield trial("MAX_POSITION", DenialCode.POSITION_TOO_LARGE, as_it_is, most + 1)
    if limits.daily_loss_micros is not None:
        lost = _lost(limits.daily_loss_micros - LEFT_MICROS)
        yield trial("MAX_DAILY_LOSS", DenialCode.DAILY_LOSS_BUFFER, lost)
        yield trial("MAX_DAILY_LOSS", DenialCode.DAILY_LOSS_LOCKED, _locked)
    if limits.trailing_loss_micros is not None:
        yield trial("MAX_TRAILING_LOSS", DenialCode.MAX_LOSS_BUFFER, _at_the_floor(limits))
    if limits.bounds_losses:
        yield trial("FIRM LIQUIDATION", DenialCode.FIRM_LIQUIDATED, _closed_by_the_firm)
    if limits.cool_down_after_stops is not None:
        yield trial("COOL_DOWN_AFTER_STOPS", DenialCode.COOL_DOWN, _cooling_down)


def _lost(micros: int) -> Callable[[Book], None]:
    def prepare(book: Book) -> None:
        book.account_rules.opening_micros = FAR_MICROS
        book.account_rules.day = RealisedResult(gross_micros=-micros)

    return prepare


def _at_the_floor(limits: AccountLimits) -> Callable[[Book], None]:
    def prepare(book: Book) -> None:
        floor = floor_of(book, limits)
        assert floor is not None  # noqa: S101 - a trailing loss has one
        book.account_rules.opening_micros = floor.micros + LEFT_MICROS

    return prepare


def _locked(book: Book) -> None:
    book.account_rules.locked_on, book.account_rules.lock_cause = DAY, "trial"


def _closed_by_the_firm(book: Book) -> None:
    book.account_rules.firm_closed_on = DAY


def _cooling_down(book: Book) -> None:
    book.account_rules.cool_until_ns = NOW_NS + 1
