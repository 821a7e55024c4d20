"""Work that hangs is waited for in vain, and holds nothing up."""

import asyncio
import subprocess
import sys
import threading

import pytest

from backstop.app.daemon_thread import in_daemon_thread


async def test_what_the_work_returns_comes_back() -> None:
    assert await in_daemon_thread(lambda: threading.current_thread().name, name="vault") == "vault"


async def test_what_the_work_raises_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await in_daemon_thread(fail, name="vault")


async def test_a_caller_that_gives_up_is_not_told_any_more() -> None:
    answers = threading.Event()
    asking = asyncio.ensure_future(in_daemon_thread(answers.wait, name="vault"))
    await asyncio.sleep(0)
    asking.cancel()
    answers.set()

    with pytest.raises(asyncio.CancelledError):
        await asking


def test_work_that_never_ends_does_not_keep_the_process_from_ending() -> None:
    program = (
        "import asyncio, threading\n"
        "from backstop.app.daemon_thread import in_daemon_thread\n"
        "async def main():\n"
        "    asking = asyncio.ensure_future(in_daemon_thread(threading.Event().wait, name='v'))\n"
        "    await asyncio.sleep(0)\n"
        "    asking.cancel()\n"
        "asyncio.run(main())\n"
        "print('ended')\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert ended.stdout == "ended\n"
