"""The process, the machine or the network died: what is true now, what must be done first?

The face of disaster recovery for bots in Python. A bot with a guard has it as
``guard.disaster_recovery``. A bot that sends its own orders runs it alone:

    async with DisasterRecoverySystem() as recovery:
        recovered = await recovery.recover_from_crash()
        ...  # the bot trades
        await recovery.add_position("MES", 2, stop_price=Decimal("4990"))
"""

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from backstop.app.guard_part import READY_LIMIT_S, GuardPart, until
from backstop.app.recovery_review import RecoveryReport
from backstop.app.wish_checks import checked_price, checked_wait_s, shown
from backstop.core.book import Book
from backstop.core.liquidation import LiquidationState, Remaining
from backstop.core.liquidation_scope import contract_for, remaining
from backstop.core.protection_situation import Protection, protection_of
from backstop.core.protection_wishes import levels_in_ticks
from backstop.core.step import Decision, DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.wish_terms import QUANTITY_MAX
from backstop.errors import DomainError, GatewayUnreachableError, InvariantError

if TYPE_CHECKING:
    from backstop.app.critical_system_manager import CriticalSystemManager

RECOVERED_LIMIT_S = 60.0
"""How long a recovery is waited for: a position is protected or closed within seconds, and only a
market that is closed makes it longer."""

LIQUIDATED_LIMIT_S = 75.0
"""How long a liquidation is followed; the guard goes on with it afterwards."""

_SETTLED = frozenset({Protection.PROTECTED, Protection.UNPROTECTED})
"""Nothing more is being done about it: it is covered, or no level is known for it."""


class Recovered(Struct, frozen=True, kw_only=True):
    """What was found after a stop, and how things stand.

    Attributes:
        report: how the process before ended, every difference, and every act.
        protection: how each open position stands, by contract.
        trading_state: whether entries are let through.
        reasons: why it is not ACTIVE.
    """

    report: RecoveryReport
    protection: dict[str, Protection]
    trading_state: TradingState
    reasons: tuple[str, ...]


class LiquidationEnd(Struct, frozen=True, kw_only=True):
    """How a liquidation stands when it is not followed any more.

    Attributes:
        flat: two fresh reads have proven that nothing is left.
        reason: why it is flat, or why it is not, and what goes on.
        liquidation_id: its name; empty when none was begun.
        state: how far it came; None when none was begun.
        remaining: what is left.
    """

    flat: bool
    reason: str
    liquidation_id: str = ""
    state: LiquidationState | None = None
    remaining: tuple[Remaining, ...] = ()


class DisasterRecoverySystem(GuardPart):
    """Brings a trader back after a crash: what is held is protected, or it is closed.

    Recovery is no act of its own: every start of the guard does it, and keeps positions protected
    from then on. The operations here wait for it, add to it, and end it all.
    """

    SWITCH = "DISASTER_RECOVERY_ENABLE"
    PURPOSE = "to recover and to protect"
    INITIALIZE = "initialize_recovery_system"
    NOT_READY = "Nothing can be recovered"

    async def initialize_recovery_system(self, *, timeout_s: float = READY_LIMIT_S) -> None:
        """Return once the record is replayed and the account has been read.

        Called again it only waits for that.

        Args:
            timeout_s: how long to wait for it after the first contact with the gateway.

        Raises:
            DomainError: ``timeout_s`` is no finite number of seconds; nothing was started.
            SetupError: settings, state folder, keys, or another guard on the account.
            LoginRefusedError: the gateway refuses the credentials.
            GatewayUnreachableError: the account could not be read within ``timeout_s``.
        """
        await self._ready(timeout_s=timeout_s)

    async def recover_from_crash(self, *, timeout_s: float = RECOVERED_LIMIT_S) -> Recovered:
        """Return what the last stop left behind, once every position is protected or closed.

        After a clean stop, and at the first start, there may be nothing to tell; it still is true.

        Args:
            timeout_s: how long to wait for it.

        Raises:
            DomainError: ``timeout_s`` is no finite number of seconds.
            GatewayUnreachableError: it was not over by then; says what is still open. The guard
                goes on, and stops at the venue stay.
            InvariantError: a bug of ours: there is no report. The guard goes on likewise.
        """
        wait_s, guard = checked_wait_s(timeout_s), self.guard
        try:
            async with asyncio.timeout(wait_s):
                await guard.account_read()
                await until(guard, lambda: _is_reported(guard) and _is_settled(guard))
        except TimeoutError:
            raise GatewayUnreachableError(_unfinished(guard, wait_s)) from None
        report = guard.recovery
        if report is None:
            raise InvariantError(
                f"What the last stop left behind cannot be told: {guard.parts.review.failure}. "
                "The guard has acted on it all the same: `backstop status` shows what is held now."
            )
        book, now_ns = guard.book, guard.now_ns()
        return Recovered(
            report=report,
            protection={name: protection_of(book, name) for name in _held(book)},
            trading_state=book.trading_state(now_ns),
            reasons=book.state_reasons(now_ns),
        )

    async def add_position(
        self,
        symbol: str,
        quantity: int,
        *,
        stop_price: Decimal | int,
        take_profit_price: Decimal | int | None = None,
        timeout_s: float | None = None,
    ) -> Decision:
        """Record where a position is to be taken out, and have that in place from now on.

        It is on disk before anything is sent, so after a crash the same stop and target are put
        back, not invented ones. The broker is the truth for what is held: a position that it does
        not show within ``timeout_s`` is not added, for a stop without a position would open one.
        Entries that the guard sends carry their levels with them and need no such call.

        Args:
            symbol: root or contract id.
            quantity: signed contracts of the whole position, positive for long.
            stop_price: rounded towards the market, if it lies between ticks.
            take_profit_price: likewise to no worse price; None leaves the target as it is.
            timeout_s: how long to wait for the broker's word of the position;
                EXECUTION_TIMEOUT_SECONDS if None.

        Returns:
            ACCEPTED once the levels stand at the venue or are on their way; REFUSED with denials,
            UNKNOWN_SYMBOL, or NOT_POSSIBLE with what the broker shows instead.

        Raises:
            DomainError: an argument is not what its type says.
            JournalError: it could not be made durable, and nothing was sent.
        """
        _check(quantity)
        stop = checked_price("stop_price", stop_price)
        target = checked_price("take_profit_price", take_profit_price)
        guard = self.guard
        contract_id = contract_for(guard.book, symbol)
        if contract_id is None:
            return Decision(kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract: {symbol}")
        if not guard.book.policy.protects:
            return _not_possible(f"{self.SWITCH} is 0: nothing would be protected")
        instrument = guard.book.instruments.get(contract_id)
        if instrument is not None:
            levels = levels_in_ticks(instrument, quantity, stop, target)
            if isinstance(levels, Decision):
                return levels  # what can be no price is not waited for

        def is_held() -> bool:
            view = guard.book.position(contract_id)
            return view.quantity == quantity and view.is_settled

        wait_s = guard.book.policy.execution_timeout_ns / 1e9
        wait_s = wait_s if timeout_s is None else checked_wait_s(timeout_s)
        try:
            async with asyncio.timeout(wait_s):
                await until(guard, is_held)
        except TimeoutError:
            view = guard.book.position(contract_id)
            return _not_possible(
                f"after {wait_s:g} s {view.quantity:+d} {contract_id} is {view.knowledge}, and not "
                f"the {quantity:+d} that were to be added. Nothing was recorded; what is held "
                "stays protected as it was"
            )
        return await guard.protect_position(contract_id, stop_price=stop, take_profit_price=target)

    async def emergency_liquidation(
        self,
        *,
        reason: str,
        operator: str,
        symbol: str | None = None,
        timeout_s: float = LIQUIDATED_LIMIT_S,
    ) -> LiquidationEnd:
        """Take the account flat, or one contract, and return when that is proven.

        Entries stay refused afterwards until a person resumes. A call during a run joins it.

        Args:
            reason: why; it goes into the record.
            operator: who asks.
            symbol: only the contract that it stands for; None: the whole account.
            timeout_s: how long to follow it; the guard goes on with it afterwards.

        Raises:
            DomainError: nobody is named, no reason is, or ``timeout_s`` is no finite number of
                seconds; nothing was begun.
            JournalError: it could not be made durable, and something of it was held back.
        """
        wait_s, guard = checked_wait_s(timeout_s), self.guard
        decision = await guard.liquidate(reason=reason, operator=operator, symbol=symbol)
        name = decision.liquidation_id
        if name is None:
            return LiquidationEnd(flat=False, reason=f"nothing was begun: {decision.message}")

        def is_over() -> bool:
            run = guard.book.liquidations[name]
            return run.is_finished or not run.sends

        try:
            async with asyncio.timeout(wait_s):
                await until(guard, is_over)
        except TimeoutError:
            pass  # how far it came is what is told
        await guard.decisions.recorded()
        return _end(guard.book, name, wait_s)


def _held(book: Book) -> list[str]:
    return [view.contract_id for view in book.positions.values() if view.quantity]


def _is_reported(guard: "CriticalSystemManager") -> bool:
    return guard.recovery is not None or guard.parts.review.failure is not None


def _is_settled(guard: "CriticalSystemManager") -> bool:
    """Say whether nothing is being done any more about what the stop left behind."""
    book = guard.book
    if not (book.policy.sends and book.policy.protects):
        return True  # it only says what it would do
    return not book.liquidating and all(
        protection_of(book, contract_id) in _SETTLED for contract_id in _held(book)
    )


def _unfinished(guard: "CriticalSystemManager", waited_s: float) -> str:
    book = guard.book
    open_ = ", ".join(
        f"{book.position(name).quantity:+d} {name} is {protection_of(book, name)}"
        for name in _held(book)
    )
    what = open_ or "; ".join(book.state_reasons(guard.now_ns())) or "it is being reported"
    return (
        f"The recovery is not over after {waited_s:g} s: {what}. The guard goes on, entries are "
        "refused meanwhile, and stops that work at the venue stay."
    )


def _check(quantity: int) -> None:
    """Refuse what is no number of contracts: a bot may pass anything."""
    if type(quantity) is not int or not 1 <= abs(quantity) <= QUANTITY_MAX:
        raise DomainError(f"A position of {shown(quantity)} contracts cannot be added.")


def _not_possible(message: str) -> Decision:
    return Decision(kind=DecisionKind.NOT_POSSIBLE, message=message)


def _end(book: Book, name: str, followed_s: float) -> LiquidationEnd:
    run = book.liquidations[name]
    left = remaining(book, run)
    if run.state is LiquidationState.FLAT:
        reason = "two fresh reads show nothing left; entries stay refused until a person resumes"
    elif not run.sends:
        reason = "the gate is closed, so nothing was sent: DRY_RUN=0 together with EXECUTE=1 sends"
    else:
        reason = f"not proven within {followed_s:g} s: {len(left)} things are left; it goes on"
    return LiquidationEnd(
        flat=run.state is LiquidationState.FLAT,
        reason=reason,
        liquidation_id=name,
        state=run.state,
        remaining=left,
    )
