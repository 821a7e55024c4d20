"""What stands before every entry, whatever it is: the trading state, the gate, the allow-list."""

from backstop.core.policy import Policy
from backstop.core.trading_state import ACTIVE, TradingState
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument

_STATE_CODES = {
    TradingState.STARTING: DenialCode.STATE_STARTING,
    TradingState.RECOVERING: DenialCode.STATE_RECOVERING,
    TradingState.REDUCING: DenialCode.STATE_REDUCING,
    TradingState.HALTED: DenialCode.STATE_HALTED,
}


STATE_DENIALS = frozenset({*_STATE_CODES.values(), DenialCode.STATE_UNPROTECTED})


def state_denials(
    trading_state: TradingState, reasons: tuple[str, ...], policy: Policy
) -> tuple[Denial, ...]:
    """Return why no new exposure may be taken on in ``trading_state``, for ``reasons``."""
    if trading_state is ACTIVE and not policy.unprotected:
        return ()
    denials: list[Denial] = []
    code = _STATE_CODES.get(trading_state)
    if code is not None:
        why = "; ".join(reasons) or "no reason recorded"
        denials.append(Denial(code=code, message=f"no new exposure while {trading_state}: {why}"))
    if policy.unprotected and not policy.allow_unprotected:
        names = ", ".join(policy.unprotected)
        denials.append(
            Denial(
                code=DenialCode.STATE_UNPROTECTED,
                message=f"{names} switched off; ALLOW_UNPROTECTED=1 accepts entries without",
            )
        )
    return tuple(denials)


def mode_denials(policy: Policy) -> tuple[Denial, ...]:
    """Return why entries are not sent from here: a bot sends its own, and this guard looks on."""
    if not policy.is_drop_copy:
        return ()
    return (
        Denial(
            code=DenialCode.MODE_DROP_COPY,
            message="BACKSTOP_MODE is drop-copy: the bot sends its entries with its own session, "
            "and none is sent from here; exits pass",
            max_quantity=0,
        ),
    )


def gate_denial(policy: Policy) -> Denial | None:
    """Return what keeps everything, exits too, from being sent; None while the gate is open."""
    if policy.observe_only:
        return Denial(
            code=DenialCode.GATE_OBSERVE_ONLY,
            message="CRITICAL_SYSTEM_ENABLE is 0: the system observes only and sends nothing",
            max_quantity=0,
        )
    if policy.dry_run:
        return Denial(
            code=DenialCode.GATE_DRY_RUN,
            message="dry run: nothing is sent; DRY_RUN=0 together with EXECUTE=1 sends",
            max_quantity=0,
        )
    if not policy.execute:
        return Denial(
            code=DenialCode.GATE_EXECUTE,
            message="EXECUTE is 0: nothing is sent; EXECUTE=1 together with DRY_RUN=0 sends",
            max_quantity=0,
        )
    return None


def list_denials(instrument: Instrument, policy: Policy) -> tuple[Denial, ...]:
    """Return why ``instrument`` is not to be traded: not allowed here, or not the venue's month."""
    if instrument.symbol not in policy.symbols:
        return (
            Denial(
                code=DenialCode.INSTRUMENT_NOT_ALLOWED,
                message=f"{instrument.symbol} is not in BACKSTOP_INSTRUMENTS",
                value=instrument.symbol,
                limit=",".join(policy.symbols),
            ),
        )
    if not instrument.active:
        return (
            Denial(
                code=DenialCode.INSTRUMENT_NOT_ACTIVE,
                message=f"{instrument.contract_id} is not the month the venue accepts orders for",
                value=instrument.contract_id,
            ),
        )
    return ()
