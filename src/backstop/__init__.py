"""Backstop: the safety layer between an automated futures trader and the broker.

The public names; each is imported when it is first used, because a guard that restarts must be
back at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backstop.app.correlation_protection_system import CorrelationProtectionSystem
    from backstop.app.critical_system_manager import CriticalSystemManager
    from backstop.app.disaster_recovery_system import DisasterRecoverySystem
    from backstop.app.execution_verification_system import ExecutionVerificationSystem
    from backstop.app.orchestrator_agent import OrchestratorAgent, Strategy
    from backstop.config.credential_manager import CredentialManager
    from backstop.config.settings import Settings
    from backstop.domain.order import OrderRequest, OrderType, Side

__version__ = "0.1.0"

__all__ = [
    "CorrelationProtectionSystem",
    "CredentialManager",
    "CriticalSystemManager",
    "DisasterRecoverySystem",
    "ExecutionVerificationSystem",
    "OrchestratorAgent",
    "OrderRequest",
    "OrderType",
    "Settings",
    "Side",
    "Strategy",
    "__version__",
]

_HOMES = {
    "CorrelationProtectionSystem": "backstop.app.correlation_protection_system",
    "CredentialManager": "backstop.config.credential_manager",
    "CriticalSystemManager": "backstop.app.critical_system_manager",
    "DisasterRecoverySystem": "backstop.app.disaster_recovery_system",
    "ExecutionVerificationSystem": "backstop.app.execution_verification_system",
    "OrchestratorAgent": "backstop.app.orchestrator_agent",
    "OrderRequest": "backstop.domain.order",
    "OrderType": "backstop.domain.order",
    "Settings": "backstop.config.settings",
    "Side": "backstop.domain.order",
    "Strategy": "backstop.app.orchestrator_agent",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'backstop' has no attribute {name!r}")
    return getattr(import_module(home), name)
