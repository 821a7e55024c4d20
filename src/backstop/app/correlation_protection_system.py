"""Does this order make the portfolio one big bet? The face of correlation protection for bots.

A bot with a guard has it as ``guard.correlation_protection``. A bot that sends its own orders asks
it alone:

    async with CorrelationProtectionSystem() as exposure:
        verdict = await exposure.validate_new_position("MES", Side.BUY, 2)
        if verdict.allowed: ...  # the bot sends
        await exposure.update_exposure("MES", 2)
"""

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from backstop.app.guard_part import READY_LIMIT_S, GuardPart, until
from backstop.app.wish_checks import check_contracts, checked_wait_s
from backstop.core.correlation_protection import LimitReading
from backstop.core.exposure import LimitName
from backstop.core.exposure_snapshot import ExposureSnapshot, exposure_snapshot
from backstop.core.instrument_table import contract_profile
from backstop.core.portfolio import exposure_denials
from backstop.domain.denial import Denial
from backstop.domain.order import OrderIntent, OrderType, Side
from backstop.domain.wish_terms import QUANTITY_MAX
from backstop.errors import DomainError, GatewayUnreachableError, SettingError

if TYPE_CHECKING:
    from backstop.domain.instrument import Instrument


class PositionVerdict(Struct, frozen=True, kw_only=True):
    """Whether exposure limits leave room for a new position.

    Attributes:
        allowed: no limit is broken by it, or it only reduces what is held.
        denials: one for each limit it would break, with value, limit and the largest quantity.
        max_quantity: contracts that pass every limit; the asked quantity if it is allowed.
    """

    allowed: bool
    denials: tuple[Denial, ...]
    max_quantity: int


class CorrelatedExposure(Struct, frozen=True, kw_only=True):
    """What one family comes to together with everything that moves with it, in micro dollars.

    Attributes:
        family: the underlying.
        filled_micros: risk of what is held, negative for short; None without a price.
        value_micros: with same bets and hedges, at the worst outcome of all pending orders.
        readings: every limit that the family is part of, with its room.
    """

    family: str
    filled_micros: int | None
    value_micros: int
    readings: tuple[LimitReading, ...]


class CorrelationProtectionSystem(GuardPart):
    """Keeps positions that move together inside the limits on risk dollars.

    Every order that the guard sends is judged by the same function. The operations here ask it
    without sending, and show what stands.
    """

    SWITCH = "CORRELATION_PROTECTION_ENABLE"
    PURPOSE = "to limit what moves together"
    INITIALIZE = "initialize_correlation_monitor"
    NOT_READY = "No exposure can be judged"

    async def initialize_correlation_monitor(self, *, timeout_s: float = READY_LIMIT_S) -> None:
        """Return once the account was read, and volatilities and correlations are estimated.

        What the gateway has no history of counts at its stress value, as a correlation of one. An
        estimate out of the record serves for one trading day; a new one follows within seconds.

        Args:
            timeout_s: how long to wait for it after the first contact with the gateway.

        Raises:
            DomainError: ``timeout_s`` is no finite number of seconds; nothing was started.
            SetupError: settings, state folder, keys, or another guard on the account.
            SettingError: CORRELATION_PROTECTION_ENABLE is 0.
            LoginRefusedError: the gateway refuses the credentials.
            GatewayUnreachableError: it was not there within ``timeout_s``.
        """
        wait_s = checked_wait_s(timeout_s)
        await self._ready(timeout_s=wait_s)
        guard = self.guard
        if guard.book.policy.exposure_limits is None:
            raise SettingError(self.SWITCH, "is off", f"1 {self.PURPOSE}")
        try:
            async with asyncio.timeout(wait_s):
                await until(guard, lambda: guard.book.estimate is not None)
        except TimeoutError:
            raise GatewayUnreachableError(
                f"No volatility was estimated within {wait_s:g} s. Entries are refused "
                "meanwhile; the guard goes on trying."
            ) from None

    async def validate_new_position(
        self, symbol: str, side: Side, quantity: int
    ) -> PositionVerdict:
        """Say whether the exposure limits leave room for an order; nothing is sent or reserved.

        The other rules of the pipeline are not asked: ``guard.validate_order`` asks all of them.

        Args:
            symbol: root or contract id.
            side: of the order.
            quantity: contracts.

        Raises:
            DomainError: no contract goes by ``symbol``, or the quantity is no number of contracts.
        """
        check_contracts("quantity", quantity)
        guard, instrument = self.guard, self._instrument(symbol)
        intent = OrderIntent(
            client_order_id="what-if",
            account_id=guard.book.policy.account_id,
            contract_id=instrument.contract_id,
            symbol=instrument.symbol,
            side=Side(side),
            quantity=quantity,
            type=OrderType.MARKET,
        )
        denials = exposure_denials(guard.book, intent, guard.quotes.marks(), guard.clock.utc_us())
        return PositionVerdict(
            allowed=not denials,
            denials=denials,
            max_quantity=min((denial.max_quantity or 0 for denial in denials), default=quantity),
        )

    async def update_exposure(
        self, symbol: str, quantity: int, *, timeout_s: float | None = None
    ) -> ExposureSnapshot:
        """Return the exposure once the broker shows a position of ``quantity``.

        The broker is the truth for what is held, so nothing is taken on anybody's word: a position
        counts from the first evidence of a fill, whether this is called or not. A bot that trades
        by itself calls it to go on only when what it did is counted.

        Args:
            symbol: root or contract id.
            quantity: signed contracts of the whole position, positive for long; 0 for flat.
            timeout_s: how long to wait for the broker's word; EXECUTION_TIMEOUT_SECONDS if None.

        Raises:
            DomainError: no contract goes by ``symbol``, or the quantity is no whole number.
            GatewayUnreachableError: the broker does not show it; says what it shows instead, which
                is what counts.
        """
        check_contracts("quantity", quantity, least=-QUANTITY_MAX)
        guard, contract_id = self.guard, self._instrument(symbol).contract_id
        wait_s = guard.book.policy.execution_timeout_ns / 1e9
        wait_s = wait_s if timeout_s is None else checked_wait_s(timeout_s)
        try:
            async with asyncio.timeout(wait_s):
                await until(guard, lambda: self._is_held(contract_id, quantity))
        except TimeoutError:
            view = guard.book.position(contract_id)
            raise GatewayUnreachableError(
                f"After {wait_s:g} s {view.quantity:+d} {contract_id} is {view.knowledge}, and not "
                f"the {quantity:+d} that were named. What the broker shows is what counts."
            ) from None
        return self.snapshot()

    def _is_held(self, contract_id: str, quantity: int) -> bool:
        view = self.guard.book.position(contract_id)
        return view.quantity == quantity and view.is_settled

    async def calculate_correlated_exposure(self, symbol: str) -> CorrelatedExposure:
        """Return what a symbol's family comes to with everything that moves with it.

        Args:
            symbol: root or contract id.

        Raises:
            DomainError: no contract goes by ``symbol``.
        """
        family = contract_profile(self._instrument(symbol).symbol).family
        report = self.snapshot().report
        readings = tuple(
            it for it in report.readings if it.subject == family or it.subject in _OF_ALL
        )
        held = next((it for it in report.families if it.family == family), None)
        value = next((it for it in readings if it.limit is LimitName.CORRELATION), None)
        return CorrelatedExposure(
            family=family,
            filled_micros=0 if held is None else held.filled_micros,
            value_micros=0 if value is None else value.value_micros,
            readings=readings,
        )

    def snapshot(self) -> ExposureSnapshot:
        """Return everything that is held and could fill, at the newest prices."""
        guard = self.guard
        return exposure_snapshot(guard.book, guard.quotes.marks(), guard.clock.utc_us())

    def _instrument(self, symbol: str) -> "Instrument":
        instrument = self.guard.book.instrument_for(symbol)
        if instrument is None:
            raise DomainError(f"No contract of the gateway goes by {symbol!r}.")
        return instrument


_OF_ALL = frozenset({"LONG", "SHORT", "ALL"})
