"""An event loop in a thread of its own, for programs that are not asyncio.

The thread ends with the portal. What a caller waits for is cancelled when the caller is
interrupted, so Ctrl-C neither hangs nor leaves work behind.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

T = TypeVar("T")

END_LIMIT_S = 5.0
"""How long what still runs may take to end when the portal closes."""

CLOSED = "It is closed: begin anew."


class Portal:
    """Runs coroutines for threads that have no event loop; close it when done."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Nothing can be run any more."""
        return self._loop.is_closed() or not self._thread.is_alive()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end and return its result, or raise what it raised.

        Raises:
            RuntimeError: the portal is closed, or this is the portal's own thread.
        """
        if self.is_closed or threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                CLOSED
                if self.is_closed
                else "Its own thread cannot wait for itself: await instead."
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError(CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Yield what ``source`` yields; it is closed when the caller stops asking."""

        async def one() -> tuple[T, ...]:
            try:
                return (await anext(source),)
            except StopAsyncIteration:
                return ()

        try:
            while found := self.run(one()):
                yield found[0]
        finally:
            if not self.is_closed:
                self.run(_closed(source))

    def close(self) -> None:
        """End the thread and whatever still runs in it; a second time does nothing."""
        if self.is_closed:
            return
        try:
            self.run(_ended())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(END_LIMIT_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


async def _closed(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


async def _ended() -> None:
    """Cancel everything else that runs in this loop, and wait for it within bounds."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=END_LIMIT_S)
