"""Who waits for a change of an order, and who waits for the record to catch up."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable


class Watchers:
    """Futures that the decision loop resolves; they live as long as somebody waits for them."""

    def __init__(self) -> None:
        self._of_orders: dict[str, list[asyncio.Future[None]]] = {}
        self._of_releases: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def order_changed(self, client_order_id: str) -> None:
        """Wait until ``changed`` names the order, or raise what ``end`` was given."""
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watchers = self._of_orders.setdefault(client_order_id, [])
        watchers.append(watcher)
        try:
            await watcher
        finally:
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers and self._of_orders.get(client_order_id) is watchers:
                del self._of_orders[client_order_id]

    async def until_released(self, steps: int) -> None:
        """Wait until so many steps have been released, or the loop has ended."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._of_releases.append((steps, waiter))
        await waiter

    def changed(self, client_order_ids: Iterable[str]) -> None:
        """Wake who watches these orders."""
        for client_order_id in client_order_ids:
            for watcher in self._of_orders.pop(client_order_id, ()):
                if not watcher.done():
                    watcher.set_result(None)

    def released(self, steps: int) -> None:
        """Wake who waits for at most ``steps`` releases."""
        waiting = self._of_releases
        while waiting and waiting[0][0] <= steps:
            _, waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def end(self, stopped: Callable[[], Exception]) -> None:
        """Let nobody wait for what will not come."""
        for watcher in (each for watchers in self._of_orders.values() for each in watchers):
            if not watcher.done():
                watcher.set_exception(stopped())
        for _, waiter in self._of_releases:
            if not waiter.done():
                waiter.set_result(None)
        self._of_releases.clear()
