"""The one place where requests leave: commands go out, what comes back are facts."""

import asyncio
from collections.abc import Callable

from backstop.core.policy import Policy
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
    RaiseAlert,
    Request,
)
from backstop.domain.events import (
    AccountAudited,
    Answer,
    CancelAnswered,
    Fact,
    ModifyAnswered,
    OrderLookedUp,
    PlaceAnswered,
    PositionCloseAnswered,
)
from backstop.ports import Clock, FactSink, Gateway

Change = PlaceOrder | CancelOrder | ModifyOrder | ClosePosition


class Dispatcher:
    """Carries out commands against the gateway, each in a task of its own.

    It checks the two keys of the gate and the right to send once more, here, where it counts.
    """

    def __init__(
        self,
        *,
        gateway: Gateway,
        clock: Clock,
        policy: Policy,
        holds_right_to_send: Callable[[], bool],
        on_alert: Callable[[RaiseAlert], None],
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._policy = policy
        self._holds_right_to_send = holds_right_to_send
        self._on_alert = on_alert
        self._put: FactSink | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def bind(self, put: FactSink) -> None:
        """Say where the answers go."""
        self._put = put

    def dispatch(self, command: Request) -> None:
        """Start to carry out one durable command; its answer becomes a fact."""
        if isinstance(command, RaiseAlert):
            self._on_alert(command)
            return
        task = asyncio.create_task(self._carry_out(command), name=type(command).__name__)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def close(self) -> None:
        """Cancel what is under way; a request whose answer is not awaited stays UNKNOWN."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def under_way(self) -> int:
        """Requests whose answer has not come yet."""
        return len(self._tasks)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A bug of ours. Its order is found by the core's own deadlines; this makes it loud.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": task.exception()}
            )

    async def _carry_out(self, command: Change | LookUpOrder | AuditAccount) -> None:
        if isinstance(command, Change):
            closed = self._closed_gate()
            fact = self._not_sent(command, closed) if closed else await self._change(command)
        else:
            fact = await self._read(command)
        if self._put is not None:
            self._put(fact)

    def _closed_gate(self) -> str:
        if not self._policy.sends:
            return "the gate is closed: DRY_RUN=0 together with EXECUTE=1 opens it"
        if not self._holds_right_to_send():
            return "this process does not hold the right to send for the account"
        return ""

    def _not_sent(self, command: Change, why: str) -> Fact:
        utc_us = self._clock.utc_us()
        match command:
            case PlaceOrder():
                return PlaceAnswered(
                    utc_us=utc_us,
                    client_order_id=command.client_order_id,
                    answer=Answer.NOT_SENT,
                    message=why,
                )
            case CancelOrder():
                return CancelAnswered(
                    utc_us=utc_us,
                    broker_order_id=command.broker_order_id,
                    answer=Answer.NOT_SENT,
                    message=why,
                )
            case ModifyOrder():
                return ModifyAnswered(
                    utc_us=utc_us,
                    broker_order_id=command.broker_order_id,
                    answer=Answer.NOT_SENT,
                    message=why,
                )

            case ClosePosition():
                return PositionCloseAnswered(
                    utc_us=utc_us,
                    contract_id=command.contract_id,
                    answer=Answer.NOT_SENT,
                    message=why,
                )

    async def _change(self, command: Change) -> Fact:
        match command:
            case PlaceOrder():
                return await self._gateway.place_order(command)
            case CancelOrder():
                return await self._gateway.cancel_order(command)
            case ModifyOrder():
                return await self._gateway.modify_order(command)
            case ClosePosition():
                return await self._gateway.close_position(command)

    async def _read(self, command: LookUpOrder | AuditAccount) -> OrderLookedUp | AccountAudited:
        if isinstance(command, LookUpOrder):
            return await self._gateway.look_up_order(command)
        return await self._gateway.audit_account(command)
