"""The signals that mean: end in an orderly way; and how they are made to wait."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the watchdog does without event loops, and must stay small
    from asyncio import AbstractEventLoop

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)
"""Told by a service manager, typed by a person, or the end of the terminal."""


def keep_back() -> None:
    """Let signals wait: none may be lost while one program becomes another."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


@contextmanager
def kept_back() -> Iterator[None]:
    """Let signals wait inside the block, and in a child that is started there until it asks."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stop_signals() -> None:
    """Go on whatever a terminal or a service manager tells all processes of a group.

    For one whose end is somebody else's to say.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def call_at_stop_signals(loop: "AbstractEventLoop", stop: Callable[[], None]) -> None:
    """Have ``loop`` call ``stop`` at each of them; one that is ignored stays so, as nohup wants."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            continue
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows has no signals on the event loop
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
