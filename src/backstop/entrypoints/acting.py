"""The watchdog's own act, beside its watch: a thread with an event loop of its own.

The watch goes on meanwhile: the guard, where it lives, must hear its watchdog. Loaded only when it
is needed, because a watchdog that never has to act shall stay small.
"""

import asyncio
import socket
import threading
from contextlib import suppress

from backstop.ports import LiquidationOutcome, Liquidator

CLOSE_LIMIT_S = 3.0
"""How long the end of an act is waited for: a command that was told to end is killed after 2 s, and
a stop of everything has to be over within 5 s, whatever a dying process is still held up by."""


class Act:
    """One liquidation under way; ``fileno`` can be read once it is over."""

    def __init__(self, liquidator: Liquidator, reason: str) -> None:
        self._outcome = LiquidationOutcome(flat=False, message="it did not begin")
        self._told, self._tells = socket.socketpair()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[LiquidationOutcome] | None = None
        self._is_told_to_end = False
        self._thread = threading.Thread(
            # It keeps no process alive: one that we no longer wait for ends with ours.
            target=self._run,
            args=(liquidator, reason),
            name="liquidation",
            daemon=True,
        )
        self._thread.start()

    def fileno(self) -> int:
        """Return a descriptor that can be read once the act is over, for selectors."""
        return self._told.fileno()

    def cancel(self) -> None:
        """Give up; what was begun is ended in an orderly way."""

        def stop() -> None:
            self._is_told_to_end = True
            if self._task is not None:
                self._task.cancel()

        with suppress(RuntimeError):  # it is over already
            self._loop.call_soon_threadsafe(stop)

    def close(self) -> LiquidationOutcome:
        """Wait for the end of the thread, let go of everything, and return what became of it.

        One that does not end in time keeps what it uses, and counts as not flat.
        """
        self._thread.join(CLOSE_LIMIT_S)
        if self._thread.is_alive():
            return LiquidationOutcome(
                flat=False, message=f"it did not end within {CLOSE_LIMIT_S:g} s of being told to"
            )
        self._told.close()
        self._tells.close()
        return self._outcome

    def _run(self, liquidator: Liquidator, reason: str) -> None:
        async def liquidate() -> LiquidationOutcome:
            self._task = asyncio.create_task(liquidator.liquidate(reason))
            if self._is_told_to_end:  # before it could begin
                self._task.cancel()
            return await self._task

        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                self._outcome = runner.run(liquidate())
        except asyncio.CancelledError:
            self._outcome = LiquidationOutcome(flat=False, message="it was told to end")
        except Exception as error:  # noqa: BLE001 - the watch must hear of every end
            self._outcome = LiquidationOutcome(
                flat=False, message=f"{type(error).__name__}: {error}"
            )
        finally:
            self._tells.send(b".")
