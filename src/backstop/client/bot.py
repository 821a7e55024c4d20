"""A bot's side of its registration: say that it lives, from the very loop that does the work."""

import asyncio
from types import TracebackType
from typing import Any, Self

from backstop.client.answers import BotSeen, Heartbeat
from backstop.client.connection import Connection, escaped

BEATS_PER_TIMEOUT = 3
"""A heartbeat may be lost, and another one late, before the bot counts as silent."""


class BotLine:
    """The line of one registered bot to its guard; use with ``async with``.

    ``beat`` belongs into the loop that trades, as often as that goes round: it is sent as often as
    needed. There is no task that beats by itself, because it would go on while the bot hangs.
    Leaving the block signs the bot off when it ended well; after an error its policy decides.
    """

    def __init__(
        self,
        connection: Connection,
        bot_id: str,
        *,
        policy: str,
        heartbeat_timeout_ms: int,
        flatten_after_ms: int | None,
    ) -> None:
        self._connection = connection
        self._path = f"/v1/bots/{escaped(bot_id)}"
        self._terms: dict[str, Any] = {
            "policy": policy,
            "heartbeat_timeout_ms": heartbeat_timeout_ms,
            "flatten_after_ms": flatten_after_ms,
        }
        self._between_s = heartbeat_timeout_ms / 1000 / BEATS_PER_TIMEOUT
        self._next_s = 0.0
        self.bot_id = bot_id
        self.seen: Heartbeat | None = None  # as the guard answered last

    async def register(self) -> BotSeen:
        """Have the guard look after the bot, from now on or again."""
        self.seen = await self._connection.call("PUT", self._path, Heartbeat, self._terms)
        self._next_s = asyncio.get_running_loop().time() + self._between_s
        return self.seen.bot

    async def beat(self, *, progress: int | None = None, now: bool = False) -> Heartbeat | None:
        """Say that the bot lives, if that is due or ``now``; returns what the guard said last.

        A ``progress`` that stays the same over two heartbeats says that the bot is frozen.
        ``bot.state`` of the answer is GIVEN_UP once its positions were closed: look at them, then
        ``register`` again.
        """
        moment_s = asyncio.get_running_loop().time()
        if now or moment_s >= self._next_s:
            self._next_s = moment_s + self._between_s
            body = {"progress": progress}
            self.seen = await self._connection.call(
                "POST", f"{self._path}/heartbeat", Heartbeat, body
            )
        return self.seen

    async def sign_off(self) -> None:
        """Have the guard look after the bot no more; what it holds keeps its stops."""
        await self._connection.call("DELETE", self._path, dict, repeatable=False)

    async def __aenter__(self) -> Self:
        await self.register()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.sign_off()
