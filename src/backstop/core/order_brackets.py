"""The legs around an entry: is a stop there, do stop and target lie right, are they worth it?

Distances are ticks from the price at which the entry is expected to fill, all of them rounded.
"""

from msgspec.structs import replace

from backstop.core.policy import Policy
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.numbers import ratio_text
from backstop.domain.order import OrderIntent, OrderRequest

MIN_BRACKET_TICKS = 4
"""The venue refuses protective legs nearer than this to the entry."""


def with_default_stop(intent: OrderIntent, entry_ticks: int | None, policy: Policy) -> OrderIntent:
    """Return ``intent`` with the stop of the settings where it has none of its own."""
    if intent.stop_loss_ticks is not None or policy.default_stop_ticks is None:
        return intent
    if entry_ticks is None:
        return intent
    level = entry_ticks - intent.side.sign * policy.default_stop_ticks
    return replace(intent, stop_loss_ticks=level)


def with_offset_legs(
    intent: OrderIntent, request: OrderRequest, entry_ticks: int | None
) -> OrderIntent:
    """Return ``intent`` with the levels of legs that are asked for by their offsets.

    They are measured from the price at which the entry is expected; the venue measures them anew
    from its fill. Where nothing is known of a price there is no level.
    """
    stop, target = request.stop_loss_offset_ticks, request.take_profit_offset_ticks
    if entry_ticks is None or (stop is None and target is None):
        return intent
    return replace(
        intent,
        stop_loss_ticks=intent.stop_loss_ticks if stop is None else entry_ticks + stop,
        take_profit_ticks=intent.take_profit_ticks if target is None else entry_ticks + target,
    )


def risk_and_reward(intent: OrderIntent, entry_ticks: int | None) -> tuple[int | None, int | None]:
    """Return how far stop and target lie from an entry at ``entry_ticks``; None: nobody knows."""
    if entry_ticks is None:
        return None, None
    sign = intent.side.sign
    stop, target = intent.stop_loss_ticks, intent.take_profit_ticks
    risk = None if stop is None else (entry_ticks - stop) * sign
    reward = None if target is None else (target - entry_ticks) * sign
    return risk, reward


def bracket_faults(intent: OrderIntent, entry_ticks: int | None) -> tuple[Denial, ...]:
    """Return what is wrong with the legs of ``intent`` around an entry at ``entry_ticks``."""
    return bracket_denials(*risk_and_reward(intent, entry_ticks))


def bracket_denials(risk: int | None, reward: int | None) -> tuple[Denial, ...]:
    """Return which leg lies on the wrong side of the entry, or nearer than the venue takes."""
    lies_right = (risk is None or risk >= MIN_BRACKET_TICKS) and (
        reward is None or reward >= MIN_BRACKET_TICKS
    )
    if lies_right:
        return ()
    denials: list[Denial] = []
    for name, code, distance in (
        ("stop_loss_price", DenialCode.BRACKET_STOP_SIDE, risk),
        ("take_profit_price", DenialCode.BRACKET_TARGET_SIDE, reward),
    ):
        if distance is None or distance >= MIN_BRACKET_TICKS:
            continue
        if distance <= 0:
            denials.append(
                Denial(
                    code=code,
                    message=f"{name} lies {-distance} ticks on the wrong side of the entry",
                    value=str(distance),
                    limit=str(MIN_BRACKET_TICKS),
                )
            )
        else:
            denials.append(
                Denial(
                    code=DenialCode.BRACKET_TOO_CLOSE,
                    message=f"{name} is {distance} ticks from the entry; the venue wants 4 or more",
                    value=str(distance),
                    limit=str(MIN_BRACKET_TICKS),
                )
            )
    return tuple(denials)


def reward_denials(risk: int | None, reward: int | None, policy: Policy) -> tuple[Denial, ...]:
    """Return why the target is too near for what the stop puts at risk."""
    wanted = policy.min_r_multiple
    if wanted is None or not risk or risk < 0 or reward is None:
        return ()
    above, below = policy.r_multiple_ratio
    if reward * below >= above * risk:
        return ()
    return (
        Denial(
            code=DenialCode.R_MULTIPLE_TOO_LOW,
            message=f"{reward} ticks of reward for {risk} ticks of risk",
            value=ratio_text(reward, risk),
            limit=str(wanted),
        ),
    )


def stop_denials(*, has_stop: bool, policy: Policy) -> tuple[Denial, ...]:
    """Return why an entry cannot go without a stop."""
    if has_stop or not policy.stop_required:
        return ()
    return (
        Denial(
            code=DenialCode.STOP_REQUIRED,
            message="an entry needs a stop: stop_loss_price (stopLossBracket through the gateway), "
            "or DEFAULT_STOP_TICKS in the settings",
        ),
    )
