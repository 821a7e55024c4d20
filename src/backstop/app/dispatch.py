"""The one place where requests leave: commands go out, what comes back are facts."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from backstop.core.policy import Policy
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    Change,
    ClosePosition,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
    RaiseAlert,
    Request,
)
from backstop.domain.events import AccountAudited, Fact, OrderLookedUp
from backstop.domain.not_sent import not_sent
from backstop.ports import Clock, FactSink, Gateway

ORDINARY_MAX = 200
"""Reads and entries under way at once. The gateway takes 200 calls a minute: what comes on top
would leave when its reason is long past. A read is answered as failed, and the core asks again; an
entry is answered as not sent."""

MODIFIES_MAX = 200
"""Changes of orders under way at once, likewise; one that is not sent leaves its order as it is."""

SAME_CANCEL_MAX = 4
"""Cancels of one order under way at once: while one hangs, another may get through; a fifth adds
nothing. Those that leave calls to others are counted apart, for they may wait long. No other
request that cuts risk is ever kept back: there are as many as the core has positions and orders."""


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
        on_fault: Callable[[str], None],
        entry_stop: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """Prepare; nothing is sent before ``bind``.

        Args:
            gateway: the broker.
            clock: for the times of answers that are made up here.
            policy: has the two keys.
            holds_right_to_send: asked before every change.
            on_alert: takes alerts.
            on_fault: is told why requests are kept back, and with an empty text that none are.
            entry_stop: asked right before an entry leaves: why it may not; empty: it may.
        """
        self._gateway = gateway
        self._clock = clock
        self._policy = policy
        self._holds_right_to_send = holds_right_to_send
        self._on_alert = on_alert
        self._on_fault = on_fault
        self._entry_stop = entry_stop
        self._put: FactSink | None = None
        self._tasks: dict[asyncio.Task[None], str] = {}  # and the crowd that each is part of
        self._crowds: Counter[str] = Counter()
        self._keeps_back = False

    def bind(self, put: FactSink) -> None:
        """Say where the answers go."""
        self._put = put

    def dispatch(self, command: Request) -> None:
        """Start to carry out one durable command; its answer becomes a fact."""
        if isinstance(command, RaiseAlert):
            self._on_alert(command)
            return
        crowd, most = _crowd(command)
        if most is not None and self._crowds[crowd] >= most:
            self._keep_back(command, f"{most} requests of its kind are under way")
            return
        task = asyncio.create_task(self._carry_out(command), name=type(command).__name__)
        self._tasks[task] = crowd
        self._crowds[crowd] += 1
        task.add_done_callback(self._finished)

    def _keep_back(self, command: Change | LookUpOrder | AuditAccount, why: str) -> None:
        """Answer a request that is not carried out; whoever reads the answer asks again."""
        if isinstance(command, CancelOrder):
            return  # what is under way for the same order brings its answer
        self._tell_fault(f"{type(command).__name__}: {why}; it was not sent")
        if self._put is None:
            return
        if isinstance(command, Change):
            self._put(self._not_sent(command, why))
        else:
            self._put(self._not_read(command, why))

    def _tell_fault(self, fault: str) -> None:
        if self._keeps_back != bool(fault):
            self._keeps_back = bool(fault)
            self._on_fault(fault)

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
        crowd = self._tasks.pop(task)
        self._crowds[crowd] -= 1
        if not self._crowds[crowd]:
            del self._crowds[crowd]
        if len(self._tasks) < ORDINARY_MAX // 2:
            self._tell_fault("")
        if not task.cancelled() and task.exception() is not None:
            # A bug of ours. Its order is found by the core's own deadlines; this makes it loud.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": task.exception()}
            )

    async def _carry_out(self, command: Change | LookUpOrder | AuditAccount) -> None:
        if isinstance(command, Change):
            closed = self._closed_gate() or await self._stopped_entry(command)
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

    async def _stopped_entry(self, command: Change) -> str:
        """Return why an entry may not leave any more although it was let through."""
        is_entry = isinstance(command, PlaceOrder) and not command.reduces_risk
        return await self._entry_stop() if is_entry and self._entry_stop is not None else ""

    def _not_sent(self, command: Change, why: str) -> Fact:
        return not_sent(command, utc_us=self._clock.utc_us(), message=why)

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

    def _not_read(
        self, command: LookUpOrder | AuditAccount, why: str
    ) -> OrderLookedUp | AccountAudited:
        utc_us, now_ns = self._clock.utc_us(), self._clock.monotonic_ns()
        if isinstance(command, LookUpOrder):
            return OrderLookedUp(
                utc_us=utc_us,
                client_order_id=command.client_order_id,
                sent_ns=now_ns,
                complete=False,
                fault=why,
            )
        return AccountAudited(
            utc_us=utc_us,
            reason=command.reason,
            sent_ns=now_ns,
            orders=None,
            live_orders=None,
            trades=None,
            positions=None,
            fault=why,
        )


def _crowd(command: Change | LookUpOrder | AuditAccount) -> tuple[str, int | None]:
    """Return the crowd that a request is counted in, and how large it may be; None: any size."""
    match command:
        case CancelOrder():
            # What waits for calls that it leaves to others keeps none back that may use them all.
            again = "repeated " if command.repeats else ""
            return f"{again}cancel {command.broker_order_id}", SAME_CANCEL_MAX
        case ModifyOrder():
            return "modifies", MODIFIES_MAX
        case PlaceOrder() if not command.reduces_risk:
            return "ordinary", ORDINARY_MAX
        case LookUpOrder() | AuditAccount():
            return "ordinary", ORDINARY_MAX
        case _:
            return "exits", None
