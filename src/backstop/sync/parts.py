"""The guard's three components for programs that are not asyncio: the same names, and each waits.

What an operation does, takes and raises stands at the component of the same name in ``app``.
"""

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from backstop.app.correlation_protection_system import CorrelatedExposure, PositionVerdict
from backstop.app.critical_system_manager import CriticalSystemManager as AsyncManager
from backstop.app.disaster_recovery_system import (
    LIQUIDATED_LIMIT_S,
    RECOVERED_LIMIT_S,
    LiquidationEnd,
    Recovered,
)
from backstop.app.guard_part import READY_LIMIT_S
from backstop.core.execution_verdict import Verification
from backstop.core.exposure_snapshot import ExposureSnapshot
from backstop.core.step import Decision
from backstop.domain.order import OrderRequest, Side

T = TypeVar("T")


class Waits(Protocol):
    """Runs an operation in the guard's own thread, and waits for what it gives."""

    def __call__(self, operation: Callable[[AsyncManager], Coroutine[Any, Any, T]], /) -> T:
        """Return what ``operation(guard)`` returns, or raise what it raises."""


class ExecutionVerificationSystem:
    """Follows orders until their executions are proven, or refuted."""

    def __init__(self, wait_for: Waits) -> None:
        self._wait_for = wait_for

    def initialize_verification_system(self, *, timeout_s: float = READY_LIMIT_S) -> None:
        """Return once nothing that happens to an order can be missed any more."""
        self._wait_for(
            lambda guard: guard.execution_verification.initialize_verification_system(
                timeout_s=timeout_s
            )
        )

    def add_pending_order(
        self,
        request: OrderRequest,
        *,
        custom_tag: str | None = None,
        broker_order_id: int | None = None,
    ) -> Decision:
        """Follow an order that the caller itself sends; it is on disk when this returns."""
        return self._wait_for(
            lambda guard: guard.execution_verification.add_pending_order(
                request, custom_tag=custom_tag, broker_order_id=broker_order_id
            )
        )

    def verify_execution(
        self,
        order_id: str,
        expected_quantity: int | None = None,
        max_slippage: Decimal | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Verification:
        """Wait for the evidence about an order, and judge it."""
        return self._wait_for(
            lambda guard: guard.execution_verification.verify_execution(
                order_id, expected_quantity, max_slippage, timeout_s=timeout_s
            )
        )

    def generate_execution_proof(self, order_id: str) -> bytes:
        """Return the signed proof of an order's fills: a JSON bundle that is checked offline."""
        return self._wait_for(
            lambda guard: guard.execution_verification.generate_execution_proof(order_id)
        )


class DisasterRecoverySystem:
    """Brings a trader back after a crash: what is held is protected, or it is closed."""

    def __init__(self, wait_for: Waits) -> None:
        self._wait_for = wait_for

    def initialize_recovery_system(self, *, timeout_s: float = READY_LIMIT_S) -> None:
        """Return once the record is replayed and the account has been read."""
        self._wait_for(
            lambda guard: guard.disaster_recovery.initialize_recovery_system(timeout_s=timeout_s)
        )

    def recover_from_crash(self, *, timeout_s: float = RECOVERED_LIMIT_S) -> Recovered:
        """Return what the last stop left behind, once every position is protected or closed."""
        return self._wait_for(
            lambda guard: guard.disaster_recovery.recover_from_crash(timeout_s=timeout_s)
        )

    def add_position(
        self,
        symbol: str,
        quantity: int,
        *,
        stop_price: Decimal | int,
        take_profit_price: Decimal | int | None = None,
        timeout_s: float | None = None,
    ) -> Decision:
        """Record where a position is to be taken out, and have that in place from now on."""
        return self._wait_for(
            lambda guard: guard.disaster_recovery.add_position(
                symbol,
                quantity,
                stop_price=stop_price,
                take_profit_price=take_profit_price,
                timeout_s=timeout_s,
            )
        )

    def emergency_liquidation(
        self,
        *,
        reason: str,
        operator: str,
        symbol: str | None = None,
        timeout_s: float = LIQUIDATED_LIMIT_S,
    ) -> LiquidationEnd:
        """Take the account flat, or one contract; return when that is proven, or not in time."""
        return self._wait_for(
            lambda guard: guard.disaster_recovery.emergency_liquidation(
                reason=reason, operator=operator, symbol=symbol, timeout_s=timeout_s
            )
        )


class CorrelationProtectionSystem:
    """Keeps positions that move together inside the limits on risk dollars."""

    def __init__(self, wait_for: Waits) -> None:
        self._wait_for = wait_for

    def initialize_correlation_monitor(self, *, timeout_s: float = READY_LIMIT_S) -> None:
        """Return once the account was read, and volatilities and correlations are estimated."""
        self._wait_for(
            lambda guard: guard.correlation_protection.initialize_correlation_monitor(
                timeout_s=timeout_s
            )
        )

    def validate_new_position(self, symbol: str, side: Side, quantity: int) -> PositionVerdict:
        """Say whether the exposure limits leave room for an order; nothing is sent or reserved."""
        return self._wait_for(
            lambda guard: guard.correlation_protection.validate_new_position(symbol, side, quantity)
        )

    def update_exposure(
        self, symbol: str, quantity: int, *, timeout_s: float | None = None
    ) -> ExposureSnapshot:
        """Return the exposure once the broker shows a position of ``quantity``."""
        return self._wait_for(
            lambda guard: guard.correlation_protection.update_exposure(
                symbol, quantity, timeout_s=timeout_s
            )
        )

    def calculate_correlated_exposure(self, symbol: str) -> CorrelatedExposure:
        """Return what a symbol's family comes to with everything that moves with it."""
        return self._wait_for(
            lambda guard: guard.correlation_protection.calculate_correlated_exposure(symbol)
        )

    def snapshot(self) -> ExposureSnapshot:
        """Return everything that is held and could fill, at the newest prices."""

        async def asked(guard: AsyncManager) -> ExposureSnapshot:
            return guard.correlation_protection.snapshot()

        return self._wait_for(asked)
