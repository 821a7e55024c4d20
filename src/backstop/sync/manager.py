"""The guard embedded in a program that is not asyncio: the same names, and every call waits.

    from backstop.sync import CriticalSystemManager

    with CriticalSystemManager.from_env() as guard:
        guard.reached(TradingState.ACTIVE)
        decision = guard.submit_order(request)

The guard runs in a thread of its own with its own event loop, so it protects while the program
computes or sleeps. Its book belongs to that thread: ``ask`` looks into it from there.
"""

import asyncio
import atexit
from collections.abc import Callable, Coroutine
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, TypeVar

from backstop.app.critical_system_manager import NOT_STARTED
from backstop.app.critical_system_manager import CriticalSystemManager as AsyncManager
from backstop.app.recovery_review import RecoveryReport
from backstop.config.secret import Secret
from backstop.config.settings import Settings
from backstop.core.execution_verdict import Verification
from backstop.core.exposure_snapshot import ExposureSnapshot
from backstop.core.guardrails import Assessment
from backstop.core.liquidation import Liquidation
from backstop.core.step import Decision, Note
from backstop.core.trading_state import TradingState
from backstop.domain.order import OrderRequest
from backstop.domain.quote import Quote
from backstop.domain.set_up import SetUp
from backstop.errors import SetupError
from backstop.portal import Portal
from backstop.sync.parts import (
    CorrelationProtectionSystem,
    DisasterRecoverySystem,
    ExecutionVerificationSystem,
)

T = TypeVar("T")

QUOTE_LIMIT_S = 30.0
"""How long a first quote is waited for; an open market has one within a second."""

__all__ = ["CriticalSystemManager"]


class CriticalSystemManager:
    """Guards one account; use as a context manager. Each operation as the asynchronous one says.

    May be called by several threads. A program that ends without ``close`` counts as a crash, and
    the next start treats it as one; orders and stops stay at the venue either way.
    """

    def __init__(
        self, settings: Settings, *, on_note: Callable[[Note], None] | None = None
    ) -> None:
        """Prepare; nothing is read or contacted yet.

        ``on_note`` hears each line of the log, in the guard's own thread, and must not block.
        """
        self.settings = settings
        self._on_note = on_note
        self.execution_verification = ExecutionVerificationSystem(self.wait_for)
        self.disaster_recovery = DisasterRecoverySystem(self.wait_for)
        self.correlation_protection = CorrelationProtectionSystem(self.wait_for)
        self._portal: Portal | None = None
        self._guard: AsyncManager | None = None

    @classmethod
    def from_settings(
        cls, settings: Settings, *, on_note: Callable[[Note], None] | None = None
    ) -> Self:
        """Return a manager that is not started yet."""
        return cls(settings, on_note=on_note)

    @classmethod
    def from_env(cls) -> Self:
        """Return a manager for the settings of the environment and of ``.env.local``."""
        return cls(Settings.load())

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Ctrl-C is a person's wish; whatever else ends a bot is a crash.
        self.close(by_person=kind is None or not issubclass(kind, Exception))

    # -- lifecycle -------------------------------------------------------------------------------

    def initialize(self) -> None:
        """Take the right to send, recover, and begin to connect; errors as ``initialize`` there.

        Raises:
            SetupError: also when it is started already.
        """
        if self._portal is not None:
            raise SetupError("The guard is started already: close it first.")
        self._portal = Portal("backstop-guard")
        try:
            self._guard = self._portal.run(_started(self.settings, self._on_note))
        except BaseException:
            self._portal.close()
            self._portal = None
            raise
        atexit.register(self._left_open)

    def close(self, *, by_person: bool = True) -> None:
        """Write everything down, give the right to send back, end the thread; twice is once.

        Raises:
            JournalError: the disk did not take the rest in time; all else is closed all the same.
        """
        portal, guard = self._portal, self._guard
        self._portal = self._guard = None
        if portal is None:
            return
        atexit.unregister(self._left_open)
        try:
            if guard is not None:
                portal.run(guard.close(by_person=by_person))
        finally:
            portal.close()

    def _left_open(self) -> None:
        """End with the program, which did not say that it wants to."""
        self.close(by_person=False)

    # -- orders ----------------------------------------------------------------------------------

    def validate_order(self, request: OrderRequest) -> Assessment | None:
        """Judge an order without doing anything; None when no contract goes by its symbol."""
        return self.ask(lambda guard: guard.validate_order(request))

    def what_if(self, request: OrderRequest) -> Assessment | None:
        """Judge an order as ``submit_order`` would now, looking for a kill file like it."""
        return self.wait_for(lambda guard: guard.what_if(request))

    def submit_order(self, request: OrderRequest) -> Decision:
        """Ask for an order; an accepted one is returned when the venue answered, or did not."""
        return self.wait_for(lambda guard: guard.submit_order(request))

    def register_pending_order(
        self,
        request: OrderRequest,
        *,
        custom_tag: str | None = None,
        broker_order_id: int | None = None,
    ) -> Decision:
        """Follow an order that the bot sends itself, and never send it."""
        return self.wait_for(
            lambda guard: guard.register_pending_order(
                request, custom_tag=custom_tag, broker_order_id=broker_order_id
            )
        )

    def cancel_order(self, client_order_id: str, *, reason: str = "asked for") -> Decision:
        """Ask the venue to cancel an order; what comes of it shows in the order."""
        return self.wait_for(lambda guard: guard.cancel_order(client_order_id, reason=reason))

    def modify_order(
        self,
        client_order_id: str,
        *,
        quantity: int | None = None,
        limit_price: Decimal | int | None = None,
        stop_price: Decimal | int | None = None,
    ) -> Decision:
        """Ask the venue to change an order; prices go to the tick as for a new order."""
        return self.wait_for(
            lambda guard: guard.modify_order(
                client_order_id, quantity=quantity, limit_price=limit_price, stop_price=stop_price
            )
        )

    def change_leg(self, broker_order_id: int, *, price: Decimal | int | None) -> Decision:
        """Ask the venue to move a leg of a bracket to ``price``, or with None to cancel it."""
        return self.wait_for(lambda guard: guard.change_leg(broker_order_id, price=price))

    def verify_execution(
        self,
        client_order_id: str,
        *,
        expected_quantity: int | None = None,
        max_slippage_ticks: Decimal | None = None,
        timeout_s: float | None = None,
    ) -> Verification | None:
        """Wait for the evidence about an order and judge it; None for an unknown order."""
        return self.wait_for(
            lambda guard: guard.verify_execution(
                client_order_id,
                expected_quantity=expected_quantity,
                max_slippage_ticks=max_slippage_ticks,
                timeout_s=timeout_s,
            )
        )

    def save_strategy(self, strategy_id: str, state: dict[str, str | int | None]) -> None:
        """Record what a strategy needs to go on after a restart, if it changed."""
        self.ask(lambda guard: guard.save_strategy(strategy_id, state))

    def execution_proof(self, client_order_id: str) -> bytes | None:
        """Return the signed proof of an order's fills as JSON, None while there is none."""
        return self.ask(lambda guard: guard.execution_proof(client_order_id))

    # -- positions -------------------------------------------------------------------------------

    def add_position(
        self,
        symbol: str,
        quantity: int,
        *,
        stop_price: Decimal | int,
        take_profit_price: Decimal | int | None = None,
    ) -> Decision:
        """Record where a position that the broker shows is to be taken out, and do that."""
        return self.wait_for(
            lambda guard: guard.add_position(
                symbol, quantity, stop_price=stop_price, take_profit_price=take_profit_price
            )
        )

    def protect_position(
        self,
        symbol: str,
        *,
        stop_price: Decimal | int | None = None,
        take_profit_price: Decimal | int | None = None,
    ) -> Decision:
        """Give a position a stop and a target; a level that is None stays as it is."""
        return self.wait_for(
            lambda guard: guard.protect_position(
                symbol, stop_price=stop_price, take_profit_price=take_profit_price
            )
        )

    def close_position(
        self,
        symbol: str,
        *,
        quantity: int | None = None,
        reason: str = "asked for",
        operator: str = "bot",
    ) -> Decision:
        """Close a position, or ``quantity`` contracts of it, at the market; never flips it."""
        return self.wait_for(
            lambda guard: guard.close_position(
                symbol, quantity=quantity, reason=reason, operator=operator
            )
        )

    def update_exposure(
        self, symbol: str, quantity: int, *, timeout_s: float | None = None
    ) -> ExposureSnapshot:
        """Return the exposure once the broker shows a position of ``quantity``."""
        return self.wait_for(
            lambda guard: guard.update_exposure(symbol, quantity, timeout_s=timeout_s)
        )

    def exposure(self) -> ExposureSnapshot:
        """Return everything that is held and could fill, in risk dollars, with its limits."""
        return self.ask(lambda guard: guard.exposure())

    # -- the operator's acts ---------------------------------------------------------------------

    def halt(self, *, reason: str, operator: str) -> Decision:
        """Block new exposure until a person resumes; exits stay possible."""
        return self.wait_for(lambda guard: guard.halt(reason=reason, operator=operator))

    def resume(self, *, reason: str, operator: str) -> Decision:
        """Lift what a person or a machine latched; refused while an order is UNKNOWN."""
        return self.wait_for(lambda guard: guard.resume(reason=reason, operator=operator))

    def liquidate(self, *, reason: str, operator: str, symbol: str | None = None) -> Decision:
        """Take the account flat, or the contract that ``symbol`` stands for."""
        return self.wait_for(
            lambda guard: guard.liquidate(reason=reason, operator=operator, symbol=symbol)
        )

    def change_limits(
        self,
        *,
        daily_loss: Decimal | int | None = None,
        trailing_loss: Decimal | int | None = None,
        max_position: Decimal | int | None = None,
        reason: str = "",
        operator: str = "",
    ) -> Decision:
        """Change limits of the account, in dollars and minis; to loosen one takes a person."""
        return self.wait_for(
            lambda guard: guard.change_limits(
                daily_loss=daily_loss,
                trailing_loss=trailing_loss,
                max_position=max_position,
                reason=reason,
                operator=operator,
            )
        )

    def acknowledge_alert(self, alert_id: int, *, operator: str) -> Decision:
        """Note that a person has read an alert; it lifts no latch."""
        return self.wait_for(lambda guard: guard.acknowledge_alert(alert_id, operator=operator))

    def liquidation(self, liquidation_id: str) -> Liquidation | None:
        """Return a liquidation or a close as it stands."""
        return self.ask(lambda guard: guard.liquidation(liquidation_id))

    # -- credentials -----------------------------------------------------------------------------

    def get_credential(self, name: str, *, default: str | None = None) -> Secret:
        """Return a credential, or ``default`` where no source has it; a vault may take seconds."""
        return self.wait_for(lambda guard: guard.get_credential(name, default=default))

    def try_get_credential(self, name: str) -> Secret | None:
        """Return a credential; None when no source has it."""
        return self.wait_for(lambda guard: guard.try_get_credential(name))

    # -- what is true ----------------------------------------------------------------------------

    def ask(self, question: Callable[[AsyncManager], T]) -> T:
        """Return ``question(guard)``, asked in the guard's own thread.

        For everything that has no method here: ``ask(lambda guard: guard.components)``. The answer
        must not be the book itself, which changes under the hand of every other thread.
        """

        async def asked(guard: AsyncManager) -> T:
            return question(guard)

        return self.wait_for(asked)

    @property
    def components(self) -> dict[str, str]:
        """What is not well, by component; empty when everything is."""
        return self.ask(lambda guard: guard.components)

    @property
    def recovery(self) -> RecoveryReport | None:
        """What was different when this guard began; None before the account was read."""
        return self.ask(lambda guard: guard.recovery)

    def set_up(self) -> SetUp:
        """Return what the guard knows of its clock, disk, login, hubs, data and gates."""
        return self.ask(lambda guard: guard.set_up())

    def user_hub_connected(self) -> None:
        """Wait until the user hub is connected and subscribed."""
        self.wait_for(lambda guard: guard.user_hub_connected())

    def account_read(self) -> None:
        """Wait until the user hub is connected and the account has been read completely since."""
        self.wait_for(lambda guard: guard.account_read())

    def reached(self, state: TradingState) -> None:
        """Wait until the trading state is ``state``."""
        self.wait_for(lambda guard: guard.reached(state))

    def trading_state(self) -> TradingState:
        """Return what is let through now."""
        return self.ask(lambda guard: guard.book.trading_state(guard.now_ns()))

    def position(self, symbol: str) -> int:
        """Return the signed contracts of a symbol's contract; 0 also where nothing is known."""

        def held(guard: AsyncManager) -> int:
            instrument = guard.book.instrument_for(symbol)
            return 0 if instrument is None else guard.book.position(instrument.contract_id).quantity

        return self.ask(held)

    def quote(self, symbol: str, *, timeout_s: float = QUOTE_LIMIT_S) -> Quote:
        """Return the newest quote of a symbol; waits for the first one.

        Raises:
            SetupError: no contract goes by ``symbol``.
            TimeoutError: none came; the market may be closed.
        """
        return self.wait_for(lambda guard: _quoted(guard, symbol, timeout_s))

    def wait_for(self, operation: Callable[[AsyncManager], Coroutine[Any, Any, T]], /) -> T:
        """Return what an operation of the asynchronous guard gives, run in the guard's own thread.

        For everything that has no method here: ``wait_for(lambda guard: guard.failed())``.
        """
        portal, guard = self._portal, self._guard
        if portal is None or guard is None:
            raise SetupError(NOT_STARTED)
        return portal.run(operation(guard))


async def _started(settings: Settings, on_note: Callable[[Note], None] | None) -> AsyncManager:
    guard = AsyncManager.from_settings(settings, on_note=on_note)
    await guard.initialize()
    return guard


async def _quoted(guard: AsyncManager, symbol: str, timeout_s: float) -> Quote:
    async with asyncio.timeout(timeout_s):
        while True:
            instrument = guard.book.instrument_for(symbol)
            if instrument is None:
                raise SetupError(f"No contract goes by {symbol}.")
            quote = guard.quotes.reference(instrument.contract_id)
            if quote is not None:
                return quote
            await guard.quotes.changed()
