"""The terms of a wish at the embedded door: Python checks no types, and a bot may pass anything.

The HTTP interface holds its callers to the same terms, which are in ``domain.wish_terms``.
"""

import math
from decimal import Decimal

from backstop.domain.order import OrderRequest
from backstop.domain.wish_terms import (
    CLIENT_ORDER_ID_TERMS,
    OPERATOR_TERMS,
    QUANTITY_MAX,
    REASON_TERMS,
    STRATEGY_ID_TERMS,
    is_bounded,
    is_client_order_id,
    is_operator,
    is_reason,
    is_strategy_id,
)
from backstop.errors import DomainError

SHOWN_MAX = 80
"""Characters of what somebody passed that an error repeats."""


def check_names(request: OrderRequest) -> None:
    """Refuse names that no order, or no strategy, can go by.

    Raises:
        DomainError: says which, and what is allowed.
    """
    if not is_client_order_id(request.client_order_id):
        raise _refused("client_order_id", CLIENT_ORDER_ID_TERMS, request.client_order_id)
    if request.strategy_id is not None:
        check_strategy(request.strategy_id)


def check_strategy(strategy_id: object) -> None:
    """Refuse a name that no strategy can go by; raises DomainError."""
    if not isinstance(strategy_id, str) or not is_strategy_id(strategy_id):
        raise _refused("strategy_id", STRATEGY_ID_TERMS, strategy_id)


def check_operator(operator: object) -> None:
    """Refuse an act for which nobody answers; raises DomainError."""
    if not isinstance(operator, str) or not is_operator(operator):
        raise _refused("operator", OPERATOR_TERMS, operator)


def check_person(*, operator: object, reason: object) -> None:
    """Refuse an act for which nobody answers, or that has no reason.

    Raises:
        DomainError: says which, and what is allowed.
    """
    check_operator(operator)
    check_reason(reason)


def check_naming(*, operator: object, reason: object) -> None:
    """Refuse a name or a reason that is none, where one is given: an empty text names nobody.

    Raises:
        DomainError: says which, and what is allowed.
    """
    if operator != "":
        check_operator(operator)
    if reason != "":
        check_reason(reason)


def check_reason(reason: object) -> None:
    """Refuse an act that has no reason; raises DomainError."""
    if not isinstance(reason, str) or not is_reason(reason):
        raise _refused("reason", REASON_TERMS, reason)


def check_contracts(name: str, quantity: int, *, least: int = 1) -> None:
    """Refuse what is no number of contracts from ``least`` on; raises DomainError."""
    if type(quantity) is not int or not least <= quantity <= QUANTITY_MAX:
        raise _refused(name, f"a whole number of contracts, {least} to {QUANTITY_MAX}", quantity)


def checked_price(name: str, price: Decimal | int | None) -> Decimal | None:
    """Return a price exactly as meant, None as None; raises DomainError where it is no number.

    Whether it is a price of its contract is for the core to judge.
    """
    return _checked_exact(name, "a price", price)


def checked_amount(name: str, amount: Decimal | int | None) -> Decimal | None:
    """Return an amount exactly as meant, None as None; raises DomainError where it is no number."""
    return _checked_exact(name, "an amount", amount)


def _checked_exact(name: str, what: str, number: Decimal | int | None) -> Decimal | None:
    if number is None or isinstance(number, Decimal):
        return number
    if type(number) is not int:
        # 0.1 is another number by the time that it is a float, and a text may mean anything.
        raise _refused(name, f"{what} as a Decimal or int, exactly as meant", number)
    return Decimal(number)


def checked_slippage(ticks: Decimal | int) -> Decimal:
    """Return adverse ticks that are allowed; raises DomainError where that is no number of them."""
    number = ticks if isinstance(ticks, Decimal) else None
    if type(ticks) is int and 0 <= ticks <= QUANTITY_MAX:
        number = Decimal(ticks)
    if number is None or not is_bounded(number) or number < 0:
        raise _refused("max_slippage", "adverse ticks, 0 or more, as a Decimal or int", ticks)
    return number


def checked_wait_s(timeout_s: float) -> float:
    """Return how long to wait in seconds; raises DomainError where that is no time."""
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float | Decimal):
        raise _refused("timeout_s", "seconds", timeout_s)
    try:
        wait_s = float(timeout_s)
    except (ArithmeticError, ValueError):
        wait_s = math.nan
    if not math.isfinite(wait_s):
        raise _refused("timeout_s", "a finite number of seconds", timeout_s)
    return wait_s


def _refused(name: str, terms: str, value: object) -> DomainError:
    return DomainError(f"{name} must be {terms}; got {shown(value)}.")


def shown(value: object) -> str:
    """Return anybody's value as text for an error: short, and never with an error of its own."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a number of too many digits, or an object that cannot say
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."
