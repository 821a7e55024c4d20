"""A signal to stop reaches an event loop, on every system."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from backstop.adapters.stop_signals import STOP_SIGNALS, call_at_stop_signals

LIMIT_S = 10


class LoopWithoutSignals(asyncio.SelectorEventLoop):
    """An event loop as Windows has it: it takes no handlers of signals."""

    add_signal_handler = asyncio.AbstractEventLoop.add_signal_handler


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Begin as on a terminal, also under ``nohup``; give every signal back what it had."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def stopped_by(number: int) -> None:
    stop = asyncio.Event()
    call_at_stop_signals(asyncio.get_running_loop(), stop.set)
    signal.raise_signal(number)
    async with asyncio.timeout(LIMIT_S):
        await stop.wait()


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, LoopWithoutSignals])
def test_a_signal_to_stop_is_heard(loop: type[asyncio.SelectorEventLoop], number: int) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(stopped_by(number))


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(STOP_SIGNALS[-1], signal.SIG_IGN)

    with asyncio.Runner(loop_factory=LoopWithoutSignals) as runner:
        runner.run(stopped_by(STOP_SIGNALS[0]))

    assert signal.getsignal(STOP_SIGNALS[-1]) is signal.SIG_IGN
