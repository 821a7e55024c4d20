"""Who waits for a change of an order, for any step, and for the record to catch up."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from backstop.app.waiter import answer, refuse
from backstop.core.tracked_order import TrackedOrder

Wanted = Callable[[TrackedOrder], bool]
"""Says of an order as a step left it whether that is what somebody waits for."""

_Watch = tuple[Wanted, asyncio.Future[TrackedOrder]]


class Watchers:
    """Futures that the decision loop resolves; they live as long as somebody waits for them."""

    def __init__(self) -> None:
        self._of_orders: dict[str, list[_Watch]] = {}
        self._of_steps: list[asyncio.Future[None]] = []
        self._of_releases: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def order_changed(self, client_order_id: str, wanted: Wanted) -> TrackedOrder:
        """Return the order as the next step leaves it that ``changed`` tells of and is wanted.

        Raises what ``end`` was given.
        """
        watcher: asyncio.Future[TrackedOrder] = asyncio.get_running_loop().create_future()
        watch = wanted, watcher
        watches = self._of_orders.setdefault(client_order_id, [])
        watches.append(watch)
        try:
            return await watcher
        finally:
            watches.remove(watch)
            if not watches:
                del self._of_orders[client_order_id]

    async def next_step(self) -> None:
        """Wait until one more step has been released, or raise what ``end`` was given."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._of_steps.append(waiter)
        await waiter

    async def until_released(self, steps: int) -> None:
        """Wait until so many steps have been released, or the loop has ended."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._of_releases.append((steps, waiter))
        await waiter

    def changed(self, orders: Iterable[TrackedOrder]) -> None:
        """Wake who wants one of these orders as it is now on record."""
        for order in orders:
            for wanted, watcher in self._of_orders.get(order.client_order_id, ()):
                if not watcher.done() and wanted(order):
                    answer(watcher, order)

    def released(self, steps: int) -> None:
        """Wake who waits for at most ``steps`` releases, and who waits for any."""
        woken, self._of_steps = self._of_steps, []
        for stepped in woken:
            answer(stepped, None)
        waiting = self._of_releases
        while waiting and waiting[0][0] <= steps:
            _, waiter = waiting.popleft()
            answer(waiter, None)

    def end(self, stopped: Callable[[], Exception]) -> None:
        """Let nobody wait for what will not come."""
        for _, watcher in (each for watches in self._of_orders.values() for each in watches):
            refuse(watcher, stopped())
        for waiter in self._of_steps:
            refuse(waiter, stopped())
        self._of_steps.clear()
        for _, waiter in self._of_releases:
            answer(waiter, None)
        self._of_releases.clear()
