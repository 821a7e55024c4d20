"""The largest quantity with which the same order would pass the rule that refused it, exactly.

Most rules ask for nothing but the side, the prices or the moment: no quantity passes them, except
what only closes contracts, for an exit passes them all. Rules about quantity say their own number.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from backstop.domain.denial import Denial, DenialCode

NOT_A_QUANTITY = frozenset({DenialCode.DUPLICATE_ORDER, DenialCode.PROTECTION_REQUIRED})
"""An equal order is refused, and one of any other size is not equal; and an order that is taken
back has no quantity that would pass."""

HOLDS_FOR_EXITS = frozenset(
    {
        DenialCode.QUANTITY_INVALID,
        DenialCode.PRICE_MISSING,
        DenialCode.PRICE_UNEXPECTED,
        DenialCode.PRICE_INVALID,
        DenialCode.GATE_DRY_RUN,
        DenialCode.GATE_EXECUTE,
        DenialCode.GATE_OBSERVE_ONLY,
    }
)
"""What an exit has to pass as well; these say themselves which quantity does."""


def with_largest(denials: Iterable[Denial], closable: int) -> tuple[Denial, ...]:
    """Return ``denials`` with the largest quantity that would pass each of them.

    Args:
        denials: of one order.
        closable: contracts that the same order could close of what is held.
    """
    return tuple(_stated(denial, closable) for denial in denials)


def _stated(denial: Denial, closable: int) -> Denial:
    if denial.code in NOT_A_QUANTITY or denial.code in HOLDS_FOR_EXITS:
        return denial
    most = max(denial.max_quantity or 0, closable)
    return denial if denial.max_quantity == most else replace(denial, max_quantity=most)
