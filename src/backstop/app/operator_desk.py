"""Where a person acts: stop, go on, change a limit, close, take everything flat.

Each act goes into the record with who asked and why, and is decided by the one loop.
"""

from decimal import Decimal

from backstop.app.loop import DecisionLoop
from backstop.core.account_rules.limits import TENTHS
from backstop.core.liquidation_scope import contract_for
from backstop.core.step import Decision, DecisionKind
from backstop.domain.events import (
    AlertAcknowledged,
    CloseRequested,
    HaltRequested,
    LimitsChangeRequested,
    LiquidationRequested,
    ResumeRequested,
)
from backstop.domain.numbers import micros
from backstop.ports import Clock


class OperatorDesk:
    """Asks the decision loop on behalf of people."""

    def __init__(self, loop: DecisionLoop, *, clock: Clock) -> None:
        """Serve the guard of ``loop``."""
        self._loop = loop
        self._clock = clock

    async def halt(self, *, reason: str, operator: str) -> Decision:
        """Block new exposure until a person resumes; exits stay possible."""
        return await self._loop.decide(
            HaltRequested(utc_us=self._clock.utc_us(), reason=reason, operator=operator)
        )

    async def resume(self, *, reason: str, operator: str) -> Decision:
        """Lift what a person or a machine latched; refused while an order is UNKNOWN."""
        return await self._loop.decide(
            ResumeRequested(utc_us=self._clock.utc_us(), reason=reason, operator=operator)
        )

    async def change_limits(
        self,
        *,
        daily_loss: Decimal | None,
        trailing_loss: Decimal | None,
        max_position: Decimal | None,
        reason: str,
        operator: str,
    ) -> Decision:
        """Change limits of the account, in dollars and minis; to loosen one takes a person."""
        amounts = (("daily_loss", daily_loss), ("trailing_loss", trailing_loss))
        for name, amount in amounts:
            if amount is not None and not _is_counted_in(amount, Decimal("0.01")):
                return _refused(f"{name} is {amount}; dollars to the cent are allowed")
        if max_position is not None and not _is_counted_in(max_position, Decimal(1) / TENTHS):
            return _refused(f"max_position is {max_position}; a micro is a tenth of a mini")
        return await self._loop.decide(
            LimitsChangeRequested(
                utc_us=self._clock.utc_us(),
                daily_loss_micros=None if daily_loss is None else micros(daily_loss),
                trailing_loss_micros=None if trailing_loss is None else micros(trailing_loss),
                max_position_tenths=None if max_position is None else int(max_position * TENTHS),
                reason=reason,
                operator=operator,
            )
        )

    async def acknowledge_alert(self, alert_id: int, *, operator: str) -> Decision:
        """Note that a person has read an alert; it lifts no latch."""
        return await self._loop.decide(
            AlertAcknowledged(utc_us=self._clock.utc_us(), alert_id=alert_id, operator=operator)
        )

    async def liquidate(self, *, reason: str, operator: str, symbol: str | None) -> Decision:
        """Take the account flat, or the contract that ``symbol`` stands for.

        Raises:
            JournalError: it could not be made durable, and something of it was held back.
        """
        contract_id = None if symbol is None else contract_for(self._loop.book, symbol)
        if symbol is not None and contract_id is None:
            return _no_contract(symbol)
        return await self._loop.decide(
            LiquidationRequested(
                utc_us=self._clock.utc_us(),
                reason=reason,
                operator=operator,
                contract_id=contract_id,
            )
        )

    async def close_position(
        self, symbol: str, *, quantity: int | None, reason: str, operator: str
    ) -> Decision:
        """Close a position, or ``quantity`` contracts of it, at the market; never flips it.

        Raises:
            JournalError: it could not be made durable, and nothing was sent.
        """
        contract_id = contract_for(self._loop.book, symbol)
        if contract_id is None:
            return _no_contract(symbol)
        return await self._loop.decide(
            CloseRequested(
                utc_us=self._clock.utc_us(),
                contract_id=contract_id,
                reason=reason,
                operator=operator,
                quantity=quantity,
            )
        )


def _no_contract(symbol: str) -> Decision:
    return Decision(kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract: {symbol}")


def _is_counted_in(amount: Decimal, step: Decimal) -> bool:
    """Say whether ``amount`` is a number of whole steps: a finer one would be cut silently."""
    return amount.is_finite() and not amount % step


def _refused(message: str) -> Decision:
    return Decision(kind=DecisionKind.NOT_POSSIBLE, message=message)
