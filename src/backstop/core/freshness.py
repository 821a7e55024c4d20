"""What is too old to decide upon: the account, or the market of a contract."""

from backstop.core.book import AUDIT_STALE_NS
from backstop.core.policy import MILLISECOND_NS, Policy
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.order import Side
from backstop.domain.quote import Quote


def stale_after_ns(policy: Policy, *, busy: bool) -> int:
    """Return how old a market price may be; less while its market is ``busy``."""
    return (policy.busy_quote_ns if busy else None) or policy.stale_quote_ns


def account_age_denials(account_stale_ms: int | None) -> tuple[Denial, ...]:
    """Refuse while nobody knows the account; its age when that is too large, None when not."""
    if account_stale_ms is None:
        return ()
    return (
        Denial(
            code=DenialCode.STALE_ACCOUNT,
            message=f"the account was last read completely {account_stale_ms} ms ago",
            value=str(account_stale_ms),
            limit=str(AUDIT_STALE_NS // MILLISECOND_NS),
        ),
    )


def reference_denials(
    reference: Quote | None, *, symbol: str, side: Side, limit_ns: int
) -> tuple[Denial, ...]:
    """Refuse without a market of ``symbol`` that is younger than ``limit_ns``."""
    limit_ms = limit_ns // MILLISECOND_NS
    if reference is None or reference.touch(side) is None:
        return (
            Denial(
                code=DenialCode.STALE_REFERENCE,
                message=f"no market price of {symbol} is known",
                limit=str(limit_ms),
            ),
        )
    if reference.age_ms > limit_ms:
        return (
            Denial(
                code=DenialCode.STALE_REFERENCE,
                message=f"the last market data of {symbol} is {reference.age_ms} ms old",
                value=str(reference.age_ms),
                limit=str(limit_ms),
            ),
        )
    return ()
