"""One run of the product under a threat: processes that die, come back or are started again.

A bot in front of it does what a bot should: it asks again, under the same name, whenever it was not
answered. What is right is what the exchange says.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tests.acceptance.conftest import Bench, RunningGuard
from tests.acceptance.kill_matrix.points import Call, Case, Seam, Story, Victim
from tests.app.desk import API_KEY, USER, Desk

from backstop.core.policy import SECOND_NS
from backstop.simulator.fault_rules import FaultKind

WEAPON = Path(__file__).with_name("weapon")

PATIENCE_S = 90
"""For one step: the proof that an order never came takes 30 s and two reads, and a start."""

LOOK_S = 0.02

ANSWER_LATE_MS = 2_000
"""How late an answer is that must not come before the death."""

ANSWER_S = 15
"""A guard whose process was stopped or ended in the middle answers nothing."""

SENDING = {
    "DRY_RUN": "0",
    "EXECUTE": "1",
    "RISK_BUDGET": "1000000",
    "ES_NQ_MAX_COMBINED_EXPOSURE": "1000000",
    "MAX_ORDERS_PER_SECOND": "100",
    "DUPLICATE_WINDOW_MS": "0",
}

ABANDONED_SOON = {"EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES": "0.15"}
"""Nine seconds without a guard: longer than a start takes on a busy machine."""

NEVER_AGAIN = {"crashes_max": 1, "pauses_ns": [600 * SECOND_NS]}
"""Limits of a watchdog that starts no second guard."""

VERBS = ("guard", "watchdog", "liquidate")
"""Words on the command lines of those who guard, watch or liquidate."""

LINE_OF_PROCESS = {
    Victim.GUARD: "guard",
    Victim.WATCHDOG: "watchdog",
    Victim.LIQUIDATE: "liquidate",
}


@dataclass
class Run:
    """The product at one account, the bot in front of it, and the death that waits."""

    desk: Desk
    bench: Bench
    case: Case
    told: dict[str, str] = field(default_factory=dict)  # tags of orders that were acknowledged
    heard: tuple[str, str, int, Any] = ("", "", 0, None)  # the newest answer, and to what
    starts: int = 0
    _guard: RunningGuard | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _waiting: asyncio.Task[None] | None = None

    # -- processes -------------------------------------------------------------------------------

    @property
    def guard(self) -> RunningGuard:
        assert self._guard is not None
        return self._guard

    async def start(self) -> None:
        """Run ``backstop run``; whatever was left of a run before is gone."""
        await self._stack.aclose()
        hastily: Sequence[str] = ()
        settings = dict(SENDING)
        if self.case.point.story is Story.ABANDONED:
            settings |= ABANDONED_SOON
            if not self.starts:
                hastily = ("--limits", json.dumps(NEVER_AGAIN), "--spare", "no")
        self.starts += 1
        self._guard = await self._stack.enter_async_context(
            self.bench.guard(hastily=hastily, **settings)
        )

    async def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        await self._stack.aclose()

    async def stop(self) -> None:
        """End the run as the system's service manager does: a signal to every process of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.guard.process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self.lives:  # noqa: ASYNC110 - other processes decide
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            left = {verb: self.guard.processes(verb) for verb in VERBS}
            raise AssertionError(
                f"told to stop, and after {PATIENCE_S} s there is {left}"
            ) from None

    @property
    def lives(self) -> bool:
        """Say whether anybody of this run is left who guards, watches or liquidates."""
        return any(self.guard.processes(verb) for verb in VERBS)

    async def back(self) -> None:
        """Start a new run if nobody is left, as the person at the machine would."""
        if not self.lives:
            await self.start()

    async def back_to_guarding(self) -> None:
        """Start a new run in the place of one that has no guard any more."""
        if not self.guard.processes("guard"):
            await self.start()

    def kill(self, victim: Victim) -> None:
        """kill -9 from outside."""
        if victim is Victim.BOTH:
            with suppress(ProcessLookupError):
                os.killpg(self.guard.process.pid, signal.SIGKILL)
            return
        for process_id in self.guard.processes(LINE_OF_PROCESS[victim]):
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)

    # -- the death -------------------------------------------------------------------------------

    @property
    def orders(self) -> Path:
        return self.bench.folder / "orders.json"

    def lay_out(self) -> None:
        """Write down for the processes to come where one of them is to die."""
        at = self.case.point.at
        seam = at if isinstance(at, Seam) else Seam("", "")
        victim = self.case.victim
        if victim is Victim.WATCHDOG and seam.process is Victim.GUARD:
            who = "PARENT"
        else:
            who = "BOTH" if victim is Victim.BOTH else "SELF"
        orders = {
            "module": seam.module,
            "attribute": seam.attribute,
            "after": seam.after,
            "words": list(seam.words),
            "passes": seam.passes,
            "process": seam.process,
            "victim": who,
        }
        self.orders.write_text(json.dumps(orders), encoding="utf-8")
        self.bench.settings |= {
            "KILL_MATRIX_ORDERS": str(self.orders),
            "PYTHONPATH": str(WEAPON),
        }

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """Do a step of the story; the death waits in it if it is the one."""
        if name == self.case.point.step:
            self._arm()
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield
        except TimeoutError:
            raise AssertionError(
                f"{name} came to no end within {PATIENCE_S} s: {self._now()}"
            ) from None

    def _arm(self) -> None:
        at = self.case.point.at
        if isinstance(at, Seam):
            self.orders.with_name(self.orders.name + ".armed").touch()
            return
        account = self.desk.account
        name = f"{self.case.name} {account}"
        if at.silent_hub:
            for event in ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition"):
                self.desk.mischief(
                    event, FaultKind.DROP_EVENT, count=None, account_id=account, name=name
                )
        self.desk.mischief(
            at.endpoint, at.act, account_id=account, name=name, delay_ms=ANSWER_LATE_MS
        )
        self._waiting = asyncio.create_task(self._kill_when_struck(name, at))

    async def _kill_when_struck(self, name: str, at: Call) -> None:
        faults = self.desk.venue.faults
        while not any(it.name == name and it.act is at.act for it in faults.applied):  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0)
        self.kill(self.case.victim)
        self.orders.with_name(self.orders.name + ".struck").touch()
        faults.take_back([active for active in faults.rules if active.rule.name == name])

    @property
    def struck(self) -> bool:
        return self.orders.with_name(self.orders.name + ".struck").exists()

    # -- the bot ---------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask until somebody answers."""
        while (said := await self.ask_once(method, path, body)) is None:  # noqa: ASYNC110 - see there
            await asyncio.sleep(LOOK_S)
        return said

    async def ask_once(self, method: str, path: str, body: Any = None) -> tuple[int, Any] | None:
        """Ask; None when nobody has answered. Whoever is to be asked next is there again."""
        try:
            async with asyncio.timeout(ANSWER_S):
                status, said = await self.guard.ask(method, path, body)
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            await self.back()
            return None
        self.heard = method, path, status, said
        return status, said

    async def until(self, is_true: Callable[[], Any]) -> None:
        """Wait until the exchange says so; whoever has to bring it about is started again."""
        while not is_true():
            await self.back()
            await asyncio.sleep(LOOK_S)

    async def says(self, path: str, is_true: Callable[[Any], Any]) -> Any:
        """Wait until the guard says so."""
        while True:
            status, said = await self.ask("GET", path)
            if status == 200 and is_true(said):
                return said
            await asyncio.sleep(LOOK_S)

    async def submit(self, order: dict[str, Any]) -> Any:
        """Have an order stand at the venue; returns its record.

        It is asked for under one name until that is answered. Only when it is proven that the
        order never came does the bot want it anew, under another name.
        """
        wanted = order
        while True:
            record = await self._known(wanted)
            if record["state"] != "NOT_SUBMITTED":
                return record
            number = int(wanted["client_order_id"].rpartition("-")[2]) + 1
            wanted = order | {"client_order_id": f"{order['client_order_id'][:-2]}-{number}"}

    async def _known(self, order: dict[str, Any]) -> Any:
        name = order["client_order_id"]
        while True:
            what_if = {key: value for key, value in order.items() if key != "client_order_id"}
            status, said = await self.ask("GET", f"/v1/orders/{name}")
            if status == 404:
                _, judged = await self.ask("POST", "/v1/orders/validate", what_if)
                if not judged["denials"]:
                    status, said = await self.ask("POST", "/v1/orders", order)
            if status in {200, 201} and said["broker_order_id"] is not None:
                self.told[name] = said["custom_tag"]
            if status in {200, 201} and said["state"] not in {"INTENDED", "SENT", "UNKNOWN"}:
                return said
            await asyncio.sleep(LOOK_S)

    def _now(self) -> str:
        """Return what is true, for whoever has to find out why."""
        account = self.desk.account
        truth = self.desk.truth()
        orders = [row for row in truth["orders"] if row["accountId"] == account]
        held = [row for row in truth["positions"] if row["accountId"] == account]
        return f"heard {self.heard}, position {held}, orders {orders}, told {self.told}"


@asynccontextmanager
async def a_run(desk: Desk, case: Case, folder: Path) -> AsyncIterator[Run]:
    """Start the product in ``folder`` at the account of ``desk``, with a death laid out."""
    async with aiohttp.ClientSession() as session:
        bench = Bench(
            folder=folder,
            session=session,
            settings={
                "TOPSTEPX_API_URL": desk.venue.url,
                "TOPSTEPX_USERNAME": USER,
                "TOPSTEPX_API_KEY": API_KEY,
                "TOPSTEPX_ACCOUNT_ID": str(desk.account),
            },
        )
        run = Run(desk=desk, bench=bench, case=case)
        run.lay_out()
        try:
            await run.start()
            yield run
        finally:
            await run.close()
