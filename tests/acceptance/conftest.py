"""The pieces as their users run them: a simulator, a guard and the command line, each a process."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from tests.app.record_story import Story, tell
from tests.surroundings import PLAIN

PROGRAM = Path(sys.executable).with_name("backstop")
USER, API_KEY = "bench-user", "bench-key-0123456789"
ACCOUNT_ID = 31_004_502
TOKEN = "bench-token-0123456789"
PATIENCE_S = 30
"""For whatever must become true; nothing waits this long when all is well."""
PRINTED_BYTES = 65_536
HISTORY_SESSIONS = "5"
"""Enough to measure volatility and correlation; a quarter takes seconds to make and to read."""


class Outcome(NamedTuple):
    code: int | None
    out: str
    err: str


@dataclass
class Venue:
    """A running simulator."""

    url: str
    session: aiohttp.ClientSession

    async def truth(self) -> Any:
        async with self.session.get(f"{self.url}/_simulator/truth") as answer:
            return await answer.json()


@dataclass
class RunningGuard:
    """A running guard; ``process`` is the watchdog, the one that was started."""

    process: asyncio.subprocess.Process
    url: str
    banner: str
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.session.request(
            method, self.url + path, json=body, headers=headers
        ) as answer:
            return answer.status, await answer.json()

    async def first_answer(self, path: str) -> tuple[int, Any]:
        """Return what ``path`` answers as soon as anybody listens."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    return await self.ask("GET", path)
                await asyncio.sleep(0.02)

    async def until(self, path: str, is_true: Callable[[Any], bool]) -> Any:
        """Read ``path`` until it says what is waited for."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                _, said = await self.ask("GET", path)
                if is_true(said):
                    return said
                await asyncio.sleep(0.02)

    async def active(self) -> None:
        """Wait until entries are possible: ACTIVE, and a price of each contract."""
        what_if = {"symbol": "MES", "side": "BUY", "quantity": 1, "type": "MARKET"}
        await self.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                _, said = await self.ask("POST", "/v1/orders/validate", what_if)
                if "STALE_REFERENCE" not in {denial["code"] for denial in said["denials"]}:
                    return
                await asyncio.sleep(0.02)

    async def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    def processes(self, verb: str) -> list[int]:
        """Return the processes of this run whose command line has ``verb`` as a word."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if verb.encode() in words and os.getpgid(int(folder.name)) == self.process.pid:
                    found.append(int(folder.name))
        return found

    async def kill(self) -> None:
        """kill -9 of guard and watchdog in the same moment, as a power cut does it."""
        end_group(self.process.pid)
        async with asyncio.timeout(PATIENCE_S):
            await self.process.wait()


@dataclass
class Bench:
    """Starts processes in one folder, with nothing of this machine's environment."""

    folder: Path
    session: aiohttp.ClientSession
    settings: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()  # a command that runs another one in surroundings of its own

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        return {
            **PLAIN,
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder),
            "BACKSTOP_STATE_DIR": str(self.folder / "state"),
            "BACKSTOP_LISTEN": "127.0.0.1:0",
            "BACKSTOP_API_TOKEN": TOKEN,
            "BACKSTOP_CALENDAR": "always-open",
            "STALE_QUOTE_MS": "30000",
            "TOPSTEPX_USERNAME": USER,
            "TOPSTEPX_API_KEY": API_KEY,
            "TOPSTEPX_ACCOUNT_ID": str(ACCOUNT_ID),
            **self.settings,
            **settings,
        }

    async def start(self, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
        return await self._start(str(PROGRAM), *arguments, **settings)

    async def _start(self, *command: str, **settings: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.within,
            *command,
            cwd=self.folder,
            env=self.environment(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def call(self, *arguments: str, **settings: str) -> Outcome:
        """Run the program to its end; without one of its own accord it is killed."""
        process = await self.start(*arguments, **settings)
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, err = await process.communicate()
        finally:
            end_group(process.pid)
            await process.wait()
        return Outcome(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def venue(self, api_key: str = API_KEY) -> AsyncIterator[Venue]:
        who = ("--user", USER, "--api-key", api_key)
        process = await self.start("simulate", *who, "--history", HISTORY_SESSIONS)
        async with _ended(process):
            first = await _line(process, "ProjectX gateway simulator at ")
            url = first.split()[4]
            self.settings["TOPSTEPX_API_URL"] = url
            async with _draining(process):
                yield Venue(url=url, session=self.session)

    @asynccontextmanager
    async def guard(
        self, *, hastily: Sequence[str] = (), options: Sequence[str] = (), **settings: str
    ) -> AsyncIterator[RunningGuard]:
        """Start a guard; ``hastily`` are options of a watchdog with less patience."""
        if hastily:
            own = (sys.executable, "-P", "-m", "backstop", "watchdog", *hastily, "--")
            process = await self._start(*own, **settings)
        else:
            process = await self.start("run", *options, **settings)
        async with _ended(process), _draining(process, out=False):
            banner = [await _line(process, "Backstop")]
            while not banner[-1].startswith("API"):
                banner.append(await _line(process, ""))
            url = banner[-1].split()[1]
            async with _draining(process, err=False):
                yield RunningGuard(
                    process=process, url=url, banner="".join(banner), session=self.session
                )

    @asynccontextmanager
    async def starting(self, port: int, **settings: str) -> AsyncIterator[RunningGuard]:
        """Start a guard that listens on ``port``, and wait for nothing that it says."""
        process = await self.start("run", BACKSTOP_LISTEN=f"127.0.0.1:{port}", **settings)
        async with _ended(process), _draining(process):
            yield RunningGuard(
                process=process, url=f"http://127.0.0.1:{port}", banner="", session=self.session
            )


async def _line(process: asyncio.subprocess.Process, start: str) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while line := (await process.stdout.readline()).decode():
            if line.startswith(start):
                return line
    raise AssertionError(f"the process ended without a line that starts with {start!r}")


@asynccontextmanager
async def _draining(
    process: asyncio.subprocess.Process, *, out: bool = True, err: bool = True
) -> AsyncIterator[None]:
    """Read what the process prints, so that no full pipe can stop it.

    What it wrote is the first thing to read when a test fails.
    """
    streams = [process.stdout] * out + [process.stderr] * err
    printed: list[bytes] = []
    tasks = [asyncio.create_task(_read(it, printed)) for it in streams if it is not None]
    try:
        yield
    except BaseException as error:
        # No further than what there is: others that share the output may live on.
        words = b"".join(printed).decode(errors="replace")
        error.add_note(f"exit code {process.returncode}, and before:\n{words}")
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(stream: asyncio.StreamReader, printed: list[bytes]) -> None:
    while data := await stream.read(PRINTED_BYTES):
        printed.append(data)


@asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        end_group(process.pid)
        await process.communicate()  # to the last word of all that shared its output


def end_group(leader: int) -> None:
    """Kill a process with everything it started: a guard outlives its watchdog, and vice versa."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with aiohttp.ClientSession() as session:
        yield Bench(folder=tmp_path, session=session)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Give the record of guards at a simulated venue, made once for a file of tests."""
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("story")
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        yield tell(folder)


@pytest.fixture
def state(story: Story, bench: Any) -> Path:
    """The record, in the state folder of the program under test."""
    return story.copy(bench.folder / "state")
