"""A stop by a person is no crash, whoever is slow to say good-bye.

What it was is read where it counts: at the next start.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.app.desk import Desk, until
from tests.app.state_folders import started

from backstop.adapters import alert_courier
from backstop.adapters.sqlite import journal
from backstop.adapters.sqlite.journal_group import Group
from backstop.adapters.sqlite.journal_writer import JournalWriter
from backstop.app import guard_tasks, state_opening, state_persistence
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.entrypoints import daemon, gateway_door
from backstop.entrypoints.gateway import server as gateway_server
from backstop.entrypoints.http import server as http_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHOLE_STOP_S = 5.0
"""What a person is told: everything ends within that."""

PATIENCE_S = 30.0


@dataclass
class Hanging:
    """A server that takes whatever comes and answers nothing."""

    port: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):  # who only knocks, to see whether anybody is there, asks nothing
            self.asked.set()
            await self.over.wait()
        writer.close()


@asynccontextmanager
async def hanging() -> AsyncIterator[Hanging]:
    service = Hanging()
    server = await asyncio.start_server(service.take, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        service.over.set()
        server.close()
        await server.wait_closed()


async def stopped_as_a_process_does(manager: CriticalSystemManager) -> None:
    async with asyncio.timeout(daemon.GUARD_LIMIT_S):
        await manager.close()


async def test_an_alert_channel_that_hangs_makes_no_crash_of_it(desk: Desk) -> None:
    async with hanging() as channel:
        settings = desk.settings(BACKSTOP_ALERT_URLS=f"json://127.0.0.1:{channel.port}/")
        manager = CriticalSystemManager.from_settings(settings)
        await manager.initialize()
        await manager.halt(reason="a look at the news", operator="Ada")
        async with asyncio.timeout(PATIENCE_S):
            await channel.asked.wait()

        await stopped_as_a_process_does(manager)

    async with desk.guard(ready=False) as guard:
        assert started(guard)["stop"] == "CLEAN"


async def test_a_second_place_for_checkpoints_that_hangs_makes_no_crash_of_it(desk: Desk) -> None:
    async with hanging() as mirror:
        settings = desk.settings(BACKSTOP_CHECKPOINT_MIRROR=f"http://127.0.0.1:{mirror.port}/")
        manager = CriticalSystemManager.from_settings(settings)
        await manager.initialize()
        async with asyncio.timeout(PATIENCE_S):
            await mirror.asked.wait()

        await stopped_as_a_process_does(manager)

    async with desk.guard(ready=False) as guard:
        assert started(guard)["stop"] == "CLEAN"


async def test_a_stop_without_any_time_still_writes_the_state(desk: Desk) -> None:
    manager = CriticalSystemManager.from_settings(desk.settings())
    await manager.initialize()
    closing = asyncio.create_task(manager.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})

    async with desk.guard(ready=False) as guard:
        assert started(guard)["stop"] == "CLEAN"


async def test_one_commit_that_is_slow_but_no_stall_makes_no_crash_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, goes_on = threading.Event(), threading.Event()
    write = JournalWriter._write_rows

    def slowly(writer: JournalWriter, group: Group) -> None:
        at_work.set()
        goes_on.wait(PATIENCE_S)
        write(writer, group)

    manager = CriticalSystemManager.from_settings(desk.settings())
    await manager.initialize()
    monkeypatch.setattr(JournalWriter, "_write_rows", slowly)
    halting = asyncio.create_task(manager.halt(reason="the end", operator="Ada"))
    await until(at_work.is_set, "the disk to be at work")
    slow_s = journal.STALL_LIMIT_S - guard_tasks.END_LIMIT_S
    asyncio.get_running_loop().call_later(slow_s, goes_on.set)

    await stopped_as_a_process_does(manager)

    await asyncio.gather(halting, return_exceptions=True)  # refused at the stop, and on record
    monkeypatch.undo()
    async with desk.guard(ready=False) as guard:
        assert started(guard)["stop"] == "CLEAN"
        assert any(latch.operator == "Ada" for latch in guard.book.latches)


async def test_no_wait_of_a_stop_is_longer_than_the_one_around_it() -> None:
    for_the_journal_s = (
        state_opening.CLOSE_LIMIT_S - guard_tasks.END_LIMIT_S - state_persistence.CLOSE_LIMIT_S
    )
    assert alert_courier.HAND_OVER_LIMIT_S < guard_tasks.END_LIMIT_S
    assert for_the_journal_s >= journal.STALL_LIMIT_S
    assert state_opening.CLOSE_LIMIT_S < daemon.GUARD_LIMIT_S
    assert gateway_server.STOP_LIMIT_S < gateway_door.STOP_LIMIT_S < daemon.INTERFACE_LIMIT_S
    assert http_server.STOP_LIMIT_S < daemon.INTERFACE_LIMIT_S
    assert daemon.INTERFACE_LIMIT_S + daemon.GUARD_LIMIT_S < WHOLE_STOP_S
