"""A guard in front of a simulated venue, and its interface, in a thread of their own.

For callers that are not asyncio. ``state`` is what only a caller can change: two equal ones say
that nothing was done between them.
"""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.app.desk import Guard, a_desk, a_venue, audited

from backstop.domain.bot import BotPolicy, BotTerms
from backstop.domain.order import OrderState
from backstop.entrypoints.http.server import ApiServer, api_server
from backstop.portal import Portal

TOKEN = "a-token-of-this-test"
KNOWN_ORDER, KNOWN_BOT = "known-order", "known-bot"
"""There from the beginning, so that a caller can name something."""

START_LIMIT_S = 60


@dataclass(frozen=True)
class Target:
    """What is called, and what it is like inside."""

    url: str
    guard: Guard
    folder: Path
    portal: Portal

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}

    def state(self) -> Any:
        """Return everything that a caller could have changed, between two facts."""
        return self.portal.run(self._state())

    async def _state(self) -> Any:
        manager, book = self.guard.manager, self.guard.book
        return {
            # Whatever the guard places by itself has a role.
            "orders": [
                (order.client_order_id, order.request)
                for order in book.orders.values()
                if order.role is None
            ],
            "latches": [(it.kind, it.cause, it.operator) for it in book.latches],
            "liquidations": [
                (it.liquidation_id, [cause.text for cause in it.causes])
                for it in book.liquidations.values()
            ],
            "acknowledged": [
                (it.alert_id, it.acknowledged_by)
                for it in book.alerts.alerts.values()
                if not it.is_open
            ],
            "bots": [(it.bot.bot_id, it.bot.terms) for it in manager.bots.report()],
            "limits": dict(book.account_rules.changes),
        }

    def wishes(self) -> int:
        """Return how many wishes of callers are on record."""
        self.portal.run(self.guard.manager.decisions.recorded())
        rows = audited(self.folder, "SELECT payload FROM Journal WHERE kind = 'event'")
        kinds = [json.loads(payload)["kind"] for (payload,) in rows]
        return sum(kind.endswith("Requested") for kind in kinds)


@contextmanager
def a_target(folder: Path, *, known: bool = True, **settings: object) -> Iterator[Target]:
    """Run one, ACTIVE; what is ``known`` are a filled and proven order, a position and a bot."""
    portal, stack = Portal("target"), AsyncExitStack()
    try:
        target = portal.run(_entered(stack, folder, portal, settings))
        if known:
            portal.run(_acquaint(target.guard))
        yield target
    finally:
        portal.run(stack.aclose())
        portal.close()


async def _entered(
    stack: AsyncExitStack, folder: Path, portal: Portal, settings: dict[str, object]
) -> Target:
    desk = a_desk(await stack.enter_async_context(a_venue()), folder)
    guard = await stack.enter_async_context(desk.guard(**settings))
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    server = api_server(guard.manager, listener, token=TOKEN, loopback_only=True)
    serving = asyncio.create_task(server.serve())
    stack.push_async_callback(_stop, server, serving)
    async with asyncio.timeout(START_LIMIT_S):
        await server.started()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return Target(url, guard, desk.folder / "state", portal)


async def _acquaint(guard: Guard) -> None:
    await guard.send(guard.request(client_order_id=KNOWN_ORDER))
    await guard.reaches(KNOWN_ORDER, OrderState.FILLED)
    await guard.proof(KNOWN_ORDER)
    terms = BotTerms(policy=BotPolicy.KEEP_PROTECTION, heartbeat_timeout_ms=86_400_000)
    await guard.manager.bots.register(KNOWN_BOT, terms)


async def _stop(server: ApiServer, serving: "asyncio.Task[None]") -> None:
    server.stop()
    async with asyncio.timeout(START_LIMIT_S):
        await serving
