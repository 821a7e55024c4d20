"""`backstop demo`: simulator, guard and orchestrator together, in a temporary folder.

Nothing of the environment and no file of settings is read: the demo cannot touch a real account.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import msgspec

from backstop.adapters.log import LogFormat, configure_logging
from backstop.adapters.stop_signals import call_at_stop_signals
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.orchestrator_agent import OrchestratorAgent
from backstop.app.strategies.momentum import Momentum
from backstop.config.settings import Settings
from backstop.domain.numbers import count_text
from backstop.entrypoints.demo.story import PAUSE_S, Story, StoryFailedError
from backstop.entrypoints.demo.summary import Summary, summarise
from backstop.entrypoints.demo.view import DemoView
from backstop.simulator.exchange_config import ExchangeConfig, PartialFill
from backstop.simulator.faults import FaultApplied
from backstop.simulator.process import PRACTICE_ACCOUNT_ID, Simulator, SimulatorConfig

USER, API_KEY = "demo", "demo-key-of-the-local-simulator"

STORY_LIMIT_S = 60.0
"""The story is promised to end by then."""

STORY_SPEED = 20.0
"""Simulated seconds in a real one: prices move enough for stops to be reached."""

LOG_FILE = "demo.log"

LIVE_SPEED = 5.0

REFRESH_S = 0.125

LIVE_FAULT_PAUSE_S = 15.0
"""Between two faults of the demo that goes on."""


def run_demo(
    *,
    once: bool,
    as_json: bool,
    data: tuple[Path, ...] = (),
    day: date | None = None,
    seed: int = 7,
) -> int:
    """Run the demo; returns the process's exit code.

    Args:
        once: tell the story and end; else trade until Ctrl-C.
        as_json: print the summary as one JSON object on the last line of standard output.
        data: bar files to replay instead of generated prices.
        day: trade date of the data to begin with.
        seed: of generated prices and of the exchange's latencies.

    Raises:
        SetupError: a data file cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="backstop-demo-") as folder:
        demo = Demo(Path(folder), data=data, day=day, seed=seed, to_stderr=as_json)
        try:
            summary = asyncio.run(demo.tell_once() if once else demo.go_on())
        except (StoryFailedError, TimeoutError) as error:
            demo.view.console.print(f"the demo failed: {error}", style="bold red")
            return 1
        finally:
            demo.close()
    _print(demo.view, summary, as_json=as_json)
    return 1 if summary.faults_found else 0


class Demo:
    """One demo with everything it is made of."""

    def __init__(
        self,
        state_folder: Path,
        *,
        data: tuple[Path, ...],
        day: date | None,
        seed: int,
        to_stderr: bool,
    ) -> None:
        self.view = DemoView(to_stderr=to_stderr)
        self._open_files = ExitStack()
        self._state_folder = state_folder
        self._data = data
        self._day = day
        self._seed = seed

    def close(self) -> None:
        """Close the log."""
        self._open_files.close()

    @property
    def _data_text(self) -> str:
        if not self._data:
            return f"generated ES and NQ prices, seed {self._seed}"
        names = ", ".join(f"{path.parent.name}/{path.name}" for path in self._data)
        return f"{names}, {self._day or 'first day'}"

    async def tell_once(self) -> Summary:
        """Tell the story and compare the books."""
        started = time.monotonic()
        story: Story | None = None
        async with self._simulator(STORY_SPEED) as simulator, self._manager(simulator) as manager:
            pause_s = PAUSE_S if self.view.is_live else 0.0
            story = Story(simulator.faults, say=self.view.say, pause_s=pause_s)
            self.view.watch(manager)
            with self.view:
                async with asyncio.timeout(STORY_LIMIT_S):
                    await self._drawn(self._host(manager, story))
                self.view.say("the books of both sides are compared")
                return await summarise(
                    manager,
                    simulator.exchange.truth(),
                    refused=story.refused,
                    seconds=time.monotonic() - started,
                    data=self._data_text,
                )

    async def go_on(self) -> Summary:
        """Trade until Ctrl-C, with a fault now and then, then compare the books."""
        started = time.monotonic()
        stop = asyncio.Event()
        call_at_stop_signals(asyncio.get_running_loop(), stop.set)
        async with self._simulator(LIVE_SPEED) as simulator, self._manager(simulator) as manager:
            story = Story(simulator.faults, say=self.view.say)
            self.view.watch(manager)
            with self.view:
                self.view.say("two small strategies trade until Ctrl-C")
                await self._drawn(self._trade(manager, story, stop))
                self.view.say("flat, and the books of both sides are compared")
                return await summarise(
                    manager,
                    simulator.exchange.truth(),
                    refused=story.refused,
                    seconds=time.monotonic() - started,
                    data=self._data_text,
                )

    async def _host(self, manager: CriticalSystemManager, story: Story) -> None:
        """Let the orchestrator host the story; what fails in it is the demo's failure."""
        await OrchestratorAgent(manager, [story]).host()
        if story.failure is not None:
            raise story.failure

    async def _trade(
        self, manager: CriticalSystemManager, story: Story, stop: asyncio.Event
    ) -> None:
        agent = OrchestratorAgent(manager, [Momentum("MES"), Momentum("MNQ")])
        trading = asyncio.create_task(agent.host(), name="orchestrator")
        mischief = asyncio.create_task(story.mischief_for_ever(LIVE_FAULT_PAUSE_S), name="faults")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({trading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (trading, mischief, stopping):
            task.cancel()
        await asyncio.gather(trading, mischief, stopping, return_exceptions=True)
        async with asyncio.timeout(STORY_LIMIT_S):
            await story.end_flat(manager)

    async def _drawn(self, work: Awaitable[None]) -> None:
        """Wait for ``work`` while the view is drawn."""
        working = asyncio.ensure_future(work)
        try:
            while not working.done():
                self.view.refresh()
                await asyncio.wait({working}, timeout=REFRESH_S)
            await working
        finally:
            working.cancel()

    def _simulator(self, speed: float) -> Simulator:
        config = SimulatorConfig(
            user=USER,
            api_key=API_KEY,
            seed=self._seed,
            data=self._data,
            day=self._day,
            speed=speed,
            exchange=ExchangeConfig(
                seed=self._seed,
                accounts=(),
                contracts=(),
                partial_fill=PartialFill.SLICES,
                fill_slices=2,
            ),
        )
        return Simulator(config, on_fault=self._on_fault)

    def _on_fault(self, fault: FaultApplied) -> None:
        self.view.fault(f"{fault.act} on {fault.on}")

    def _manager(self, simulator: Simulator) -> CriticalSystemManager:
        settings = Settings.hermetic(
            TOPSTEPX_API_URL=simulator.url,
            TOPSTEPX_USERNAME=USER,
            TOPSTEPX_API_KEY=API_KEY,
            TOPSTEPX_ACCOUNT_ID=PRACTICE_ACCOUNT_ID,
            BACKSTOP_STATE_DIR=self._state_folder,
            BACKSTOP_CALENDAR="always-open",  # the simulated market trades at any hour
            STALE_QUOTE_MS=30_000,  # and is no less lively at one than at another
            CLOCK_OFFSET_MAX_SECONDS=0,  # its time flies
            # Its prices move twenty times as far while an order is on its way: what slips is told
            # and counted, and ends no story.
            SLIPPAGE_BREACHES_TO_REDUCE=1000,
            DRY_RUN=False,
            EXECUTE=True,
        )
        manager = CriticalSystemManager.from_settings(settings, on_note=self.view.note)
        # The view shows every note; the log goes beside the records of the demo.
        log = (self._state_folder / LOG_FILE).open("a", encoding="utf-8")
        self._open_files.callback(log.close)
        configure_logging(
            session_id=manager.session_id,
            redactor=manager.redactor,
            log_format=LogFormat.JSON,
            stream=log,
        )
        return manager


def _left(positions: Mapping[str, int]) -> str:
    """Return what is still held, in words."""
    held = [f"{quantity:+d} {symbol}" for symbol, quantity in positions.items() if quantity]
    return f"still held: {', '.join(held)}" if held else "flat in the end"


def _print(view: DemoView, summary: Summary, *, as_json: bool) -> None:
    for fault in summary.faults_found:
        view.console.print(f"NOT EQUAL: {fault}", style="bold red")
    if as_json:
        print(msgspec.json.encode(summary).decode())  # noqa: T201 - the answer
        return
    view.console.print(
        f"{count_text(summary.orders, 'order')} accepted, {count_text(summary.fills, 'fill')}, "
        f"{summary.verified} verified ({summary.breaches} with slippage beyond the limit), "
        f"{count_text(summary.proofs_verified, 'signed proof')} checked, {summary.refused} "
        f"refused; {_left(summary.positions)}; {count_text(summary.audit_rows, 'audit row')}; "
        f"{summary.seconds} s on {summary.data}.",
        style="bold green" if not summary.faults_found else "bold red",
    )
