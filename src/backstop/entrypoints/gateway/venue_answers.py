"""What the broker answered to a change: heard from the record, for the bot that waits for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from backstop.domain.events import (
    CancelAnswered,
    Fact,
    ModifyAnswered,
    PositionCloseAnswered,
)

ChangeAnswer = CancelAnswered | ModifyAnswered | PositionCloseAnswered
CHANGE_WAIT_S = 10.0
"""How long a bot is kept waiting for the answer to a change; the guard itself waits 8 s for it."""

Key = tuple[type[ChangeAnswer], int | str]
"""Which change, and of which order (its broker id) or contract (its id)."""


class VenueAnswers:
    """Hears the facts of a guard; waiters live as long as somebody waits."""

    def __init__(self) -> None:
        self._waiting: dict[Key, list[asyncio.Future[ChangeAnswer]]] = {}

    def hear(self, fact: Fact) -> None:
        """Take one fact that is on disk."""
        match fact:
            case CancelAnswered() | ModifyAnswered():
                key: Key = (type(fact), fact.broker_order_id)
            case PositionCloseAnswered():
                key = (type(fact), fact.contract_id)
            case _:
                return
        for waiter in self._waiting.pop(key, ()):
            if not waiter.done():
                waiter.set_result(fact)

    @contextmanager
    def expected(
        self, change: type[ChangeAnswer], of: int | str
    ) -> Iterator[asyncio.Future[ChangeAnswer]]:
        """Give what will be the next such answer; begun before the change is asked for."""
        waiter: asyncio.Future[ChangeAnswer] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault((change, of), [])
        waiters.append(waiter)
        try:
            yield waiter
        finally:
            waiter.cancel()
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters and self._waiting.get((change, of)) is waiters:
                del self._waiting[change, of]


async def within(answer: asyncio.Future[ChangeAnswer], limit_s: float) -> ChangeAnswer | None:
    """Return the answer, or None when it does not come in time."""
    try:
        async with asyncio.timeout(limit_s):
            return await answer
    except TimeoutError:
        return None
