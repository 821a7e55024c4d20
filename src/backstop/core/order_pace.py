"""How fast entries come: doubles, a rate, and the calls that are kept for what cuts risk."""

from backstop.core.policy import MILLISECOND_NS, Policy
from backstop.domain.denial import Denial, DenialCode


def pace_denials(look_alike: str | None, recent_entries: int, policy: Policy) -> tuple[Denial, ...]:
    """Return why one more entry comes too soon.

    Args:
        look_alike: client id of an equal order inside the duplicate window.
        recent_entries: accepted within the last second, moves to more risk included.
        policy: has the limits.
    """
    denials: list[Denial] = []
    if look_alike is not None:
        window_ms = policy.duplicate_window_ns // MILLISECOND_NS
        denials.append(
            Denial(
                code=DenialCode.DUPLICATE_ORDER,
                message=f"equal to order {look_alike} of less than {window_ms} ms ago",
                value=look_alike,
                limit=str(window_ms),
            )
        )
    if recent_entries >= policy.max_orders_per_second:
        denials.append(
            Denial(
                code=DenialCode.RATE_TOO_HIGH,
                message=(
                    f"{recent_entries} entries, or moves of one to more risk, were accepted within "
                    "the last second"
                ),
                value=str(recent_entries + 1),
                limit=str(policy.max_orders_per_second),
            )
        )
    return tuple(denials)


def budget_denials(spare_calls: int | None, reserve: int) -> tuple[Denial, ...]:
    """Refuse what would begin to use up the calls that a flatten needs.

    ``spare_calls`` is what the gateway would still take within this minute; None: nobody knows.
    """
    if spare_calls is None or spare_calls > reserve:
        return ()
    return (
        Denial(
            code=DenialCode.RATE_BUDGET_LOW,
            message=(
                f"the gateway takes {spare_calls} more calls within this minute, and {reserve} are "
                "kept for what cuts risk"
            ),
            value=str(spare_calls),
            limit=str(reserve),
        ),
    )
