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

from backstop.app.guard_part import READY_LIMIT_S, GuardPart
from backstop.app.wish_checks import check_contracts, checked_slippage, checked_wait_s
from backstop.core.execution_verdict import Verdict, Verification, verify
from backstop.core.step import Decision
from backstop.core.tracked_order import TrackedOrder, final_quantity
from backstop.domain.order import OrderRequest
from backstop.errors import (
    JournalError,
    NoProofError,
    UnknownOrderError,
)


class ExecutionVerificationSystem(GuardPart):
    """Follows orders from before they leave until their executions are proven, or refuted.

    A guard that it starts for itself never sends registered orders.
    """

    SWITCH = "EXECUTION_VERIFICATION_ENABLE"
    PURPOSE = "to verify executions"
    INITIALIZE = "initialize_verification_system"
    NOT_READY = "Nothing can be verified"

    async def initialize_verification_system(self, *, timeout_s: float = READY_LIMIT_S) -> None:
        """Return once nothing that happens to an order can be missed any more.

        That is: the record is replayed, the user hub is connected, and the account has been read
        since. Called again it only waits for that.

        Args:
            timeout_s: how long to wait for it after the first contact with the gateway.

        Raises:
            DomainError: ``timeout_s`` is no finite number of seconds; nothing was started.
            SetupError: settings, state folder, keys, or another guard on the account.
            LoginRefusedError: the gateway refuses the credentials.
            GatewayUnreachableError: the account could not be read within ``timeout_s``.
        """
        await self._ready(timeout_s=timeout_s)

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
            What is followed is so in every state: ``trading_state`` says which holds, and where
            that is not ACTIVE ``message`` says what becomes of an entry that is sent all the same.

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
            expected_quantity: contracts that should have been filled, 0 for none; all of the
                order, as it was last changed, if None.
            max_slippage: adverse ticks allowed; MAX_SLIPPAGE_TICKS if None.
            timeout_s: how long to wait for a verdict other than UNKNOWN; EXECUTION_TIMEOUT_SECONDS
                if None.

        Returns:
            VERIFIED, BREACH, REFUTED or UNKNOWN, each with its reason.

        Raises:
            DomainError: an argument is no number of contracts, of ticks, or of seconds.
            UnknownOrderError: no order goes by ``order_id``.
        """
        guard, policy = self.guard, self.guard.book.policy
        wait_s = policy.execution_timeout_ns / 1e9
        wait_s = wait_s if timeout_s is None else checked_wait_s(timeout_s)
        slippage = policy.max_slippage_ticks
        slippage = slippage if max_slippage is None else checked_slippage(max_slippage)
        if expected_quantity is not None:
            check_contracts("expected_quantity", expected_quantity, least=0)
        name = (await self._order(order_id)).client_order_id

        async def judged() -> Verification:
            order = await self._order(name)
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
                while (await judged()).verdict is Verdict.UNKNOWN:
                    await guard.decisions.order_changed(name)
        except (TimeoutError, JournalError):
            pass  # UNKNOWN is what the evidence says so far, also when the guard stops meanwhile
        await guard.decisions.recorded()
        return await judged()

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
        order = await guard.order_records.named(order_id)
        name = order_id if order is None else order.client_order_id
        await guard.decisions.recorded()
        bundle = await guard.order_records.proof(name)
        if bundle is not None:
            return bundle
        order = await self._order(order_id)
        raise NoProofError(
            order.client_order_id,
            str(order.state),
            filled_quantity=order.filled_quantity,
            quantity=final_quantity(order),
        )

    async def _order(self, order_id: str) -> TrackedOrder:
        order = await self.guard.order_records.named(order_id)
        if order is None:
            raise UnknownOrderError(order_id)
        return order
