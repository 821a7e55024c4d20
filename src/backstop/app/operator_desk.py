"""Where a person acts: stop, go on, change a limit, close, take everything flat.

Each act goes into the record with who asked and why, and is decided by the one loop.
"""

from decimal import Decimal

from backstop.app.codec import recordable
from backstop.app.kill_file import KillFile
from backstop.app.loop import DecisionLoop
from backstop.app.wish_checks import (
    SHOWN_MAX,
    check_naming,
    check_operator,
    check_person,
    checked_amount,
)
from backstop.core.account_rules.limits import TENTHS
from backstop.core.liquidation_scope import contract_for
from backstop.core.order_numbers import quantity_faults
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
from backstop.domain.wish_terms import (
    DOLLARS_MAX,
    DOLLARS_MIN,
    MINIS_MAX,
    MINIS_MIN,
    is_bounded,
)
from backstop.errors import DomainError
from backstop.ports import Clock


class OperatorDesk:
    """Asks the decision loop on behalf of people."""

    def __init__(self, loop: DecisionLoop, *, kill_file: KillFile, clock: Clock) -> None:
        """Serve the guard of ``loop``."""
        self._loop = loop
        self._kill_file = kill_file
        self._clock = clock

    async def halt(self, *, reason: str, operator: str) -> Decision:
        """Block new exposure until a person resumes; exits stay possible.

        Raises:
            DomainError: nobody is named, or no reason is.
        """
        check_person(operator=operator, reason=reason)
        return await self._loop.decide(
            HaltRequested(utc_us=self._clock.utc_us(), reason=reason, operator=operator)
        )

    async def resume(self, *, reason: str, operator: str) -> Decision:
        """Lift what a person or a machine latched.

        Refused while the kill file is there, which would latch again at once, while an order is
        UNKNOWN, a liquidation is not flat, or the record is not sound.

        Raises:
            DomainError: nobody is named, or no reason is.
        """
        check_person(operator=operator, reason=reason)
        if why := await self._kill_file.look():
            return _refused(f"{why} and halts the guard again; take it away first")
        return await self._loop.decide(
            ResumeRequested(utc_us=self._clock.utc_us(), reason=reason, operator=operator)
        )

    async def change_limits(
        self,
        *,
        daily_loss: Decimal | int | None,
        trailing_loss: Decimal | int | None,
        max_position: Decimal | int | None,
        reason: str,
        operator: str,
    ) -> Decision:
        """Change limits of the account, in dollars and minis; to loosen one takes a person.

        Raises:
            DomainError: no limit is named, one is no exact number, or what is said of who asks and
                why is no such text.
        """
        check_naming(operator=operator, reason=reason)
        daily_loss = checked_amount("daily_loss", daily_loss)
        trailing_loss = checked_amount("trailing_loss", trailing_loss)
        max_position = checked_amount("max_position", max_position)
        amounts = (("daily_loss", daily_loss), ("trailing_loss", trailing_loss))
        if daily_loss is None and trailing_loss is None and max_position is None:
            raise DomainError(
                "No limit is named: at least one of daily_loss, trailing_loss and max_position is "
                "needed."
            )
        for name, amount in amounts:
            if amount is not None and not _is_counted_in(amount, DOLLARS_MIN, most=DOLLARS_MAX):
                return _refused(
                    f"{name} is {_shown(amount)}; dollars to the cent, {DOLLARS_MIN} to "
                    f"{DOLLARS_MAX}, are allowed"
                )
        if max_position is not None and not _is_counted_in(max_position, MINIS_MIN, most=MINIS_MAX):
            return _refused(
                f"max_position is {_shown(max_position)}; {MINIS_MIN} to {MINIS_MAX} minis are "
                "allowed, a micro is a tenth of one"
            )
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
        check_operator(operator)
        return await self._loop.decide(
            AlertAcknowledged(utc_us=self._clock.utc_us(), alert_id=alert_id, operator=operator)
        )

    async def liquidate(self, *, reason: str, operator: str, symbol: str | None) -> Decision:
        """Take the account flat, or the contract that ``symbol`` stands for.

        Raises:
            DomainError: nobody is named, or no reason is.
            JournalError: it could not be made durable, and something of it was held back.
        """
        check_person(operator=operator, reason=reason)
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
            DomainError: nobody is named, or no reason is.
            JournalError: it could not be made durable, and nothing was sent.
        """
        check_person(operator=operator, reason=reason)
        contract_id = contract_for(self._loop.book, symbol)
        if contract_id is None:
            return _no_contract(symbol)
        wish = recordable(
            CloseRequested(
                utc_us=self._clock.utc_us(),
                contract_id=contract_id,
                reason=reason,
                operator=operator,
                quantity=quantity,
            )
        )
        if wish.quantity is not None and (faults := quantity_faults(wish.quantity)):
            return Decision(kind=DecisionKind.REFUSED, denials=faults)
        return await self._loop.decide(wish)


def _no_contract(symbol: str) -> Decision:
    return Decision(kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract: {symbol}")


def _is_counted_in(amount: Decimal, step: Decimal, *, most: Decimal) -> bool:
    """Say whether ``amount`` is a number of whole steps: a finer one would be cut silently."""
    return is_bounded(amount) and step <= amount <= most and not amount % step


def _shown(amount: Decimal) -> str:
    return str(amount)[:SHOWN_MAX]


def _refused(message: str) -> Decision:
    return Decision(kind=DecisionKind.NOT_POSSIBLE, message=message)
