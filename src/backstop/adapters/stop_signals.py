"""The signals that mean: end in an orderly way; and how they are made to wait."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
