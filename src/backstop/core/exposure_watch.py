"""Exposure limits between orders: they are looked at when the market moves.

A breach without a trade, by the market or by a limit that was tightened, refuses what would
increase it, for every order is judged by what holds then. It is told to a person here; it takes the
account flat only where that was asked for, and never because something is not known.
"""

from collections.abc import Iterable

from backstop.core import emergency_liquidation
from backstop.core.correlation import CorrelationOrigin
from backstop.core.estimate_age import correlation_view, volatilities_now
from backstop.core.exposure import dollars
from backstop.core.exposure_book import ExposureBook
from backstop.core.lifecycle import MACHINE
from backstop.core.step import Tag, Workbench
from backstop.core.volatility import VolatilityOrigin
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import RiskEstimated

_GUESSED = {str(VolatilityOrigin.STRESS_MISSING), str(VolatilityOrigin.STRESS_STALE)}

_CLOSES = {
    False: "nothing is closed by itself",
    True: "what is held is closed if all of this was measured and nothing of it assumed",
}


def watch_exposure(work: Workbench, event: RiskEstimated) -> None:
    """Tell a person of limits that were broken without a trade, and of those that hold again."""
    book = work.book
    limits = book.policy.exposure_limits
    if limits is None or not event.marks:
        return
    judged = book.standing.exposures(book, limits, event.marks, event.utc_us)
    for limit, found in judged.largest().items():
        value, allowed = dollars(found.value_micros), dollars(found.limit_micros)
        if found.value_micros <= found.limit_micros:
            if limit in book.breaches_told:
                del book.breaches_told[limit]
                work.note(
                    Tag.CRITICAL_SYSTEM,
                    "exposure_back_in_limit",
                    limit=str(limit),
                    value=value,
                    allowed=allowed,
                )
            continue
        what = f"{limit} of {found.subject} stands at {value} risk dollars; {allowed} are allowed"
        if limit not in book.breaches_told:
            book.breaches_told[limit] = None
            work.alert(
                Severity.CRITICAL,
                AlertCode.EXPOSURE_LIMIT_BROKEN,
                f"Without any trade {what}: the market has moved, or a setting has. Orders that "
                f"would add to it are refused; {_CLOSES[book.policy.liquidates_breaches]}.",
            )
        if book.policy.liquidates_breaches and _is_measured(judged, event):
            cause = f"exposure beyond its limit: {what}"
            emergency_liquidation.begin(work, cause=cause, operator=MACHINE)


def _is_measured(judged: ExposureBook, event: RiskEstimated) -> bool:
    """Say whether what is held is valued by measurements alone: ignorance closes nothing."""
    held = [it.family for it in judged.exposures if not it.is_flat]
    volatilities = {it.family: it for it in volatilities_now(event, event.utc_us)}
    view = correlation_view(event, event.utc_us)
    return (
        all(it.unit_risk_micros is not None for it in judged.exposures if not it.is_flat)
        and all(it in volatilities and volatilities[it].origin not in _GUESSED for it in held)
        and all(
            view.correlation(first, second).origin is CorrelationOrigin.MEASURED
            for first, second in _pairs(held)
        )
    )


def _pairs(families: Iterable[str]) -> Iterable[tuple[str, str]]:
    names = sorted(families)
    return ((first, second) for n, first in enumerate(names) for second in names[n + 1 :])
