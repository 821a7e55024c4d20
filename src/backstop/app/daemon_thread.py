"""Waits for work that may hang, without ever holding up the end of the process."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from backstop.adapters.machine import machine
from backstop.app.waiter import answer, refuse

_Result = TypeVar("_Result")


async def in_daemon_thread(work: Callable[[], _Result], *, name: str) -> _Result:
    """Return what ``work`` returns, or raise what it raises; it runs in a thread of its own.

    The event loop waits at its end for the threads of ``asyncio.to_thread``. It does not know of
    this one, so a vault that does not answer cannot delay a stop.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[_Result] = loop.create_future()

    def run() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                loop.call_soon_threadsafe(refuse, answered, error)
            else:
                loop.call_soon_threadsafe(answer, answered, result)

    machine().start_thread(run, name=name)
    return await answered
