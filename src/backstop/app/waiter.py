"""Answers for those who wait, whoever of them is still there.

A caller may go at any moment: its connection ends, its deadline passes. Then its future is done,
and to answer it would raise in the midst of work that is not its own.
"""

import asyncio
from typing import TypeVar

_Answer = TypeVar("_Answer")


def answer(waiter: asyncio.Future[_Answer] | None, result: _Answer) -> None:
    """Give ``result`` to who waits, unless they have heard or gone; None: nobody ever waited."""
    if waiter is not None and not waiter.done():
        waiter.set_result(result)


def refuse(waiter: asyncio.Future[_Answer] | None, error: BaseException) -> None:
    """Raise ``error`` where it is waited, likewise."""
    if waiter is not None and not waiter.done():
        waiter.set_exception(error)
