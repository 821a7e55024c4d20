"""The settings of correlation and concentration protection as limits in whole micros."""

from decimal import ROUND_FLOOR, Decimal

from backstop.core.exposure import ExposureLimits
from backstop.domain.numbers import MICROS
from backstop.errors import SettingError

LARGEST_LIMIT_DOLLARS = 1_000_000_000_000
"""More than any account holds: a larger setting is a slip of the keyboard, not a limit."""


def exposure_limits(
    *,
    risk_budget: Decimal,
    max_correlation_exposure: Decimal,
    es_nq_max_combined_exposure: Decimal,
    max_directional_share: Decimal,
    max_gross_exposure: Decimal | None = None,
) -> ExposureLimits:
    """Return the limits that the settings mean, in whole micros, rounded down.

    Args:
        risk_budget: ``RISK_BUDGET``, risk dollars.
        max_correlation_exposure: ``MAX_CORRELATION_EXPOSURE``, share of the budget.
        es_nq_max_combined_exposure: ``ES_NQ_MAX_COMBINED_EXPOSURE``, risk dollars.
        max_directional_share: ``MAX_DIRECTIONAL_SHARE``, share of the gross limit, at most 1.
        max_gross_exposure: ``MAX_GROSS_EXPOSURE``, risk dollars; twice the budget if None.

    Raises:
        SettingError: a value that is not a positive finite number, or a share above 1.
    """
    gross = 2 * risk_budget if max_gross_exposure is None else max_gross_exposure
    for name, value in (
        ("RISK_BUDGET", risk_budget),
        ("MAX_CORRELATION_EXPOSURE", max_correlation_exposure),
        ("ES_NQ_MAX_COMBINED_EXPOSURE", es_nq_max_combined_exposure),
        ("MAX_DIRECTIONAL_SHARE", max_directional_share),
        ("MAX_GROSS_EXPOSURE", gross),
    ):
        if not value.is_finite() or value <= 0:
            raise SettingError(name, f"{value} is no limit", "a number above 0")
    if max_directional_share > 1:
        raise SettingError(
            "MAX_DIRECTIONAL_SHARE",
            f"{max_directional_share} is more than the whole",
            "a number above 0 and up to 1",
        )
    return ExposureLimits(
        correlation_micros=_micros(
            "MAX_CORRELATION_EXPOSURE", max_correlation_exposure * risk_budget
        ),
        es_nq_combined_micros=_micros("ES_NQ_MAX_COMBINED_EXPOSURE", es_nq_max_combined_exposure),
        directional_micros=_micros("MAX_DIRECTIONAL_SHARE", max_directional_share * gross),
        gross_micros=_micros("MAX_GROSS_EXPOSURE", gross),
    )


def _micros(name: str, amount: Decimal) -> int:
    if amount > LARGEST_LIMIT_DOLLARS:
        allowed = f"up to {LARGEST_LIMIT_DOLLARS} dollars"
        raise SettingError(name, f"it means a limit of {amount} dollars", allowed)
    micros = int((amount * MICROS).to_integral_value(ROUND_FLOOR))
    if micros < 1:
        allowed = "a millionth of a dollar or more"
        raise SettingError(name, f"it means a limit of {amount} dollars", allowed)
    return micros
