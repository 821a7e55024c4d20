"""What a guard prints goes to a terminal that was stopped, a dead reader or a full disk: it guards.

Nobody who holds a position should have to know where its log went.
"""

import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import PATIENCE_S, PROGRAM, RunningGuard, end_group

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}
SMALLEST_PIPE = 4096
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux; elsewhere a pipe takes longer to fill
STOP_LIMIT_S = 5
ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "MES",
    "side": "SELL",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "7000",
}


@contextmanager
def unread_pipe() -> Iterator[int]:
    """Give the end of a pipe that is full already, and that nobody ever reads."""
    read_end, write_end = os.pipe()
    with suppress(OSError):
        fcntl.fcntl(write_end, SET_PIPE_SIZE, SMALLEST_PIPE)
    os.set_blocking(write_end, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write_end, bytes(SMALLEST_PIPE))
    os.set_blocking(write_end, True)
    try:
        yield write_end
    finally:
        os.close(write_end)
        os.close(read_end)


@contextmanager
def dead_reader() -> Iterator[int]:
    """Give the end of a pipe whose reader has gone."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        yield write_end
    finally:
        os.close(write_end)


@contextmanager
def full_disk() -> Iterator[int]:
    """Give a file on a disk without any room."""
    with Path("/dev/full").open("wb", buffering=0) as file:
        yield file.fileno()


OUTPUTS = [unread_pipe, dead_reader, *([full_disk] if Path("/dev/full").exists() else [])]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda it: it.__name__)
async def test_where_the_log_goes_is_no_matter_of_life_and_death(
    bench: Any, output: Callable[[], Any]
) -> None:
    port = free_port()
    listening = {"BACKSTOP_LISTEN": f"127.0.0.1:{port}"}
    async with bench.venue() as venue:
        with output() as descriptor:
            process = await asyncio.create_subprocess_exec(
                str(PROGRAM),
                "run",
                cwd=bench.folder,
                env=bench.environment({**SENDING, **listening}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
            url = f"http://127.0.0.1:{port}"
            guard = RunningGuard(process=process, url=url, banner="", session=bench.session)
            try:
                await answering(guard)
                await guard.active()
                status, said = await guard.ask("POST", "/v1/orders", ENTRY)
                assert status == 201, said
                await protected(guard)
                (first,) = guard.processes("guard")

                # The watchdog has something to say about this as well, and nobody reads it.
                os.kill(first, signal.SIGKILL)
                await answering(guard)
                await protected(guard)
                assert first not in guard.processes("guard")

                done = await bench.call("liquidate", "--yes", **SENDING, **listening)
                truth = await venue.truth()
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(STOP_LIMIT_S + PATIENCE_S):
                    code = await process.wait()
            finally:
                end_group(process.pid)
                await process.wait()

    assert done.code == 0, done
    assert truth["positions"] == []
    assert code == 0


async def answering(guard: RunningGuard) -> None:
    """Wait until the guard answers, which is being started."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(OSError):
                await guard.ask("GET", "/v1/status")
                return
            await asyncio.sleep(0.05)


async def protected(guard: RunningGuard) -> None:
    await guard.until(
        "/v1/positions",
        lambda said: [row["protection"] for row in said["positions"]] == ["PROTECTED"],
    )
