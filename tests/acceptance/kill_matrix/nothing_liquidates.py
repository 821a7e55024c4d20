"""A plugin for pytest that takes the liquidation away, in one of several ways.

Which one stands in NOTHING_LIQUIDATES. From the moment in which it would have been needed the
stories wait less long for what it should have done: they wait in vain.
"""

import os
from typing import Any

import pytest
from tests.app import desk

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core import emergency_liquidation
from backstop.core.liquidation import LiquidationState
from backstop.core.step import Decision, DecisionKind

IN_VAIN_S = 2


def _in_vain() -> None:
    desk.PATIENCE_S = IN_VAIN_S


def acts(*_: Any) -> None:
    """Begin a liquidation, and never send anything for it."""
    _in_vain()


def proves(*_: Any) -> LiquidationState:
    """Say that the account is flat, whatever there is."""
    _in_vain()
    return LiquidationState.FLAT


async def answers(*_: Any, **__: Any) -> Decision:
    """Say yes and do nothing at all."""
    _in_vain()
    return Decision(kind=DecisionKind.ACCEPTED, liquidation_id="liquidation-1")


WAYS: dict[str, tuple[object, str, object]] = {
    "sends nothing": (emergency_liquidation, "act", acts),
    "says flat at once": (emergency_liquidation, "_proven", proves),
    "only says yes": (CriticalSystemManager, "liquidate", answers),
}


@pytest.fixture(autouse=True)
def nothing_liquidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace one part of it by nothing, for each test."""
    owner, name, nothing = WAYS[os.environ["NOTHING_LIQUIDATES"]]
    monkeypatch.setattr(owner, name, nothing)
    monkeypatch.setattr(desk, "PATIENCE_S", desk.PATIENCE_S)
