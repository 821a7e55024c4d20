"""Carries out what a liquidation asks of the venue; each answer, or its absence, is a fact.

Only what cuts risk leaves here: an order that would be placed is answered as not sent.
"""

import asyncio
from collections.abc import Callable

from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    Change,
    ClosePosition,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
)
from backstop.domain.events import Fact
from backstop.domain.not_sent import not_sent
from backstop.ports import Clock, FactSink, Gateway

Asked = Change | LookUpOrder | AuditAccount

NO_RIGHT = "this process does not hold the right to send for the account"
NOT_HERE = "a liquidation places and moves no orders"


class Requests:
    """Requests under way; each is carried out in a task of its own, once."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        clock: Clock,
        sink: FactSink,
        may_send: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            gateway: the broker.
            clock: for the times of answers that are made up here.
            sink: takes the answers.
            may_send: asked before everything that changes something.
            say: hears of a request that failed because of a fault of ours.
        """
        self._gateway = gateway
        self._clock = clock
        self._sink = sink
        self._may_send = may_send
        self._say = say
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, request: Asked) -> None:
        """Begin to carry out ``request``."""
        task = asyncio.create_task(self._carry_out(request), name=type(request).__name__)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def close(self) -> None:
        """Wait for nothing more."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            # A fault of ours. The core's own deadlines ask again.
            self._say(f"{task.get_name()} failed: {type(failure).__name__}: {failure}")

    async def _carry_out(self, request: Asked) -> None:
        self._sink(await self._answer(request))

    async def _answer(self, request: Asked) -> Fact:
        gateway = self._gateway
        match request:
            case AuditAccount():
                return await gateway.audit_account(request)
            case LookUpOrder():
                return await gateway.look_up_order(request)
            case PlaceOrder() | ModifyOrder():
                return self._not_sent(request, NOT_HERE)
            case _ if not self._may_send():
                return self._not_sent(request, NO_RIGHT)
            case CancelOrder():
                return await gateway.cancel_order(request)
            case ClosePosition():
                return await gateway.close_position(request)

    def _not_sent(self, request: Change, why: str) -> Fact:
        return not_sent(request, utc_us=self._clock.utc_us(), message=why)
