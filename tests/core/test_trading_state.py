"""The one state that follows from what has been established; the gravest reason wins."""

from typing import Any

import pytest

from backstop.core.trading_state import (
    Condition,
    Latch,
    LatchKind,
    Readiness,
    TradingState,
    state_reasons,
    trading_state,
)

LATCH = Latch(cause="lunch", operator="ann", utc_us=1)


def ready(**changes: Any) -> Readiness:
    members: dict[str, Any] = {
        "instruments_loaded": True,
        "recovered": True,
        "risk_estimated": True,
        "conditions": (),
        "latches": (),
    }
    return Readiness(**(members | changes))


@pytest.mark.parametrize(
    ("changes", "state", "reasons"),
    [
        ({}, TradingState.ACTIVE, ()),
        (
            {"conditions": (Condition.ACCOUNT_STALE, Condition.USER_HUB_LOST)},
            TradingState.REDUCING,
            ("ACCOUNT_STALE", "USER_HUB_LOST"),
        ),
        (
            {"risk_estimated": False},
            TradingState.RECOVERING,
            ("volatilities and correlations have not been estimated yet",),
        ),
        (
            {"recovered": False, "risk_estimated": False},
            TradingState.RECOVERING,
            ("the account has not been read completely yet",),
        ),
        (
            {"instruments_loaded": False, "recovered": False},
            TradingState.STARTING,
            ("the gateway's contracts are not loaded yet",),
        ),
        ({"latches": (LATCH,)}, TradingState.HALTED, ("halted by ann: lunch",)),
    ],
)
def test_the_state_and_its_reasons_follow_from_what_is_established(
    changes: dict[str, Any], state: TradingState, reasons: tuple[str, ...]
) -> None:
    assert trading_state(ready(**changes)) is state
    assert state_reasons(ready(**changes)) == reasons


def test_a_latch_outweighs_everything_and_all_reasons_are_told() -> None:
    given = ready(
        instruments_loaded=False,
        recovered=False,
        conditions=(Condition.MARKET_HUB_LOST,),
        latches=(LATCH,),
    )

    assert trading_state(given) is TradingState.HALTED
    assert state_reasons(given)[0] == "halted by ann: lunch"
    assert len(state_reasons(given)) == 3


@pytest.mark.parametrize("kind", LatchKind)
def test_each_latch_refuses_entries_and_only_the_grave_ones_halt(kind: LatchKind) -> None:
    given = ready(latches=(Latch(kind=kind, cause="lunch", operator="ann", utc_us=1),))
    grave = {LatchKind.HALT, LatchKind.LIQUIDATION, LatchKind.EMERGENCY, LatchKind.DRAWDOWN}
    halts = kind in grave

    assert trading_state(given) is (TradingState.HALTED if halts else TradingState.REDUCING)
    assert state_reasons(given) == (f"{'halted' if halts else 'entries frozen'} by ann: lunch",)


def test_a_latch_of_one_contract_binds_that_contract_alone() -> None:
    latch = Latch(
        kind=LatchKind.LIQUIDATION, contract_id="MES", cause="lunch", operator="ann", utc_us=1
    )
    given = ready(latches=(latch,))

    assert trading_state(given, "MES") is TradingState.HALTED
    assert state_reasons(given, "MES") == ("halted by ann: lunch",)
    for other in ("NQ", None):
        assert trading_state(given, other) is TradingState.ACTIVE
        assert state_reasons(given, other) == ()
