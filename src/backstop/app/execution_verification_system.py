"""Did what was sent really happen, once, at an acceptable price, and can it be proven?

The face of execution verification for bots in Python. A bot that lets the guard send its orders has
it as ``guard.execution_verification``. A bot that sends its own orders runs it alone:

    async with ExecutionVerificationSystem() as verification:
        await verification.add_pending_order(request, custom_tag="my-17")
        ...  # the bot sends the order, with that tag
        await verification.verify_execution("my-17-order", expected_quantity=2, max_slippage=2)
"""

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Self

from backstop.config.settings import Settings
from backstop.core.execution_verification import Verdict, Verification, verify
from backstop.core.step import Decision
from backstop.core.tracked_order import TrackedOrder, final_quantity
from backstop.domain.order import OrderRequest
from backstop.errors import (
    GatewayUnreachableError,
    JournalError,
    NoProofError,
    SettingError,
    SetupError,
    UnknownOrderError,
)

if TYPE_CHECKING:
    from backstop.app.critical_system_manager import CriticalSystemManager

READY_LIMIT_S = 60.0
"""How long the start waits for hubs and account; a gateway that answers takes a second or two."""


class ExecutionVerificationSystem:
    """Follows orders from before they leave until their executions are proven, or refuted.

    Without a guard it starts one of its own; what that guard may send depends on ``DRY_RUN`` and
    ``EXECUTE`` alone, and registered orders it never sends. Leave it with ``async with``, or close
    ``guard``.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        guard: "CriticalSystemManager | None" = None,
    ) -> None:
        """Prepare; nothing is read or contacted yet.

        Args:
            settings: of a guard of its own; those of the environment if None.
            guard: a started guard to be the face of; it is closed by whoever started it.
        """
        self._settings = settings
        self._guard = guard
        self._owns_guard = guard is None

    async def __aenter__(self) -> Self:
        await self.initialize_verification_system()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._owns_guard and self._guard is not None:
            await self._guard.close()

    @property
    def guard(self) -> "CriticalSystemManager":
        """The guard that does the work; raises SetupError before there is one."""
        if self._guard is None:
            raise SetupError("Not started: call initialize_verification_system() first.")
        return self._guard

    async def initialize_verification_system(self, *, timeout_s: float = READY_LIMIT_S) -> None:
        """Return once nothing that happens to an order can be missed any more.

        That is: the record is replayed, the user hub is connected, and the account has been read
        since. Called again it only waits for that.

        Args:
            timeout_s: how long to wait for it after the first contact with the gateway.

        Raises:
            SetupError: settings, state folder, keys, or another guard on the account.
            LoginRefusedError: the gateway refuses the credentials.
            GatewayUnreachableError: the account could not be read within ``timeout_s``.
        """
        if self._guard is None:
            self._guard = await self._started_guard()
        guard = self._guard
        try:
            async with asyncio.timeout(timeout_s):
                await guard.account_read()
        except TimeoutError:
            why = "; ".join(guard.book.state_reasons(guard.now_ns()))
            if self._owns_guard:
                self._guard = None
                await guard.close()
            raise GatewayUnreachableError(
                f"Nothing can be verified yet after {timeout_s:g} s: {why}. Nothing was sent."
            ) from None

    async def _started_guard(self) -> "CriticalSystemManager":
        from backstop.app.critical_system_manager import (  # noqa: PLC0415 - it has this as a part
            CriticalSystemManager,
        )

        settings = self._settings or Settings.load()
        if not settings.execution_verification_enable:
            raise SettingError("EXECUTION_VERIFICATION_ENABLE", "is off", "1 to verify executions")
        guard = CriticalSystemManager.from_settings(settings)
        await guard.initialize()
        return guard

    async def add_pending_order(
        self,
        request: OrderRequest,
        *,
        custom_tag: str | None = None,
        broker_order_id: int | None = None,
    ) -> Decision:
        """Follow an order that the caller itself sends; it is on disk when this returns.

        Register first, then send, with ``custom_tag`` as the order's ``customTag``: then a crash in
        between loses nothing. An order that was sent without a tag is named by its number. From now
        on it is looked up while nothing is heard of it; never heard of, it is UNKNOWN after 15 s
        and NOT_SUBMITTED once two complete reads, 45 s and more after this call, lack it.

        Args:
            request: what is sent: the client order id names it here from now on; prices exactly on
                the tick, for nothing is rounded.
            custom_tag: the tag under which the venue will show it.
            broker_order_id: the venue's number of an order that was sent already.

        Returns:
            ACCEPTED; REPEATED for the same order again, also to add its number; otherwise CONFLICT,
            REFUSED, NOT_POSSIBLE or UNKNOWN_SYMBOL with the reason, and nothing is followed.

        Raises:
            DomainError: a member of the request is not what its type says.
            JournalError: it is not on disk, and after a crash nobody would know of it: do not
                send an entry. What reduces a position may go, and is followed while this runs.
        """
        return await self.guard.register_pending_order(
            request, custom_tag=custom_tag, broker_order_id=broker_order_id
        )

    async def verify_execution(
        self,
        order_id: str,
        expected_quantity: int | None = None,
        max_slippage: Decimal | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Verification:
        """Wait for the evidence about an order, and judge it; it waits on events, not by polling.

        Args:
            order_id: the client order id, or the venue's number as text.
            expected_quantity: contracts that should have been filled; all of the order, as it was
                last changed, if None.
            max_slippage: adverse ticks allowed; MAX_SLIPPAGE_TICKS if None.
            timeout_s: how long to wait for a verdict other than UNKNOWN; EXECUTION_TIMEOUT_SECONDS
                if None.

        Returns:
            VERIFIED, BREACH, REFUTED or UNKNOWN, each with its reason.

        Raises:
            UnknownOrderError: no order goes by ``order_id``.
        """
        guard, policy = self.guard, self.guard.book.policy
        wait_s = policy.execution_timeout_ns / 1e9 if timeout_s is None else timeout_s
        slippage = policy.max_slippage_ticks if max_slippage is None else Decimal(max_slippage)
        name = self._order(order_id).client_order_id

        def judged() -> Verification:
            order = self._order(name)
            return verify(
                order,
                guard.book.instruments[order.intent.contract_id],
                expected_quantity=(
                    final_quantity(order) if expected_quantity is None else expected_quantity
                ),
                max_slippage_ticks=slippage,
            )

        try:
            async with asyncio.timeout(wait_s):
                while judged().verdict is Verdict.UNKNOWN:
                    await guard.decisions.order_changed(name)
        except (TimeoutError, JournalError):
            pass  # UNKNOWN is what the evidence says so far, also when the guard stops meanwhile
        await guard.decisions.recorded()
        return judged()

    async def generate_execution_proof(self, order_id: str) -> bytes:
        """Return the signed proof of an order's fills: a JSON bundle that can be checked offline.

        ``backstop-verify BUNDLE --key audit.pub`` checks it without this package's other parts.

        Args:
            order_id: the client order id, or the venue's number as text.

        Raises:
            UnknownOrderError: no order goes by ``order_id``.
            NoProofError: the order is not finished or has no fills; says what is true now.
        """
        guard = self.guard
        order = guard.order_named(order_id)
        name = order_id if order is None else order.client_order_id
        await guard.decisions.recorded()
        bundle = await asyncio.to_thread(guard.execution_proof, name)
        if bundle is not None:
            return bundle
        order = self._order(order_id)
        raise NoProofError(
            order.client_order_id,
            str(order.state),
            filled_quantity=order.filled_quantity,
            quantity=final_quantity(order),
        )

    def _order(self, order_id: str) -> TrackedOrder:
        order = self.guard.order_named(order_id)
        if order is None:
            raise UnknownOrderError(order_id)
        return order
