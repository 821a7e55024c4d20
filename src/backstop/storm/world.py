"""One seed: a venue, a machine with a guard and bots on it, the weather, and who judges."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from backstop.adapters.projectx.wire import PlaceBody
from backstop.config.settings import Settings
from backstop.simulator.faults import FaultApplied
from backstop.storm.bots import Bot
from backstop.storm.coverage import Reached
from backstop.storm.gateway_bots.bot import Desk
from backstop.storm.gateway_bots.host import GatewayBots, credentials_made
from backstop.storm.gateway_bots.judge import BotsJudge
from backstop.storm.guard_host import GuardHost
from backstop.storm.hearts import Heart
from backstop.storm.judges import Judges
from backstop.storm.liveness import differences
from backstop.storm.machine import MICROS, StormMachine
from backstop.storm.network import HOST, PORT, StormLoop
from backstop.storm.operators import Operator
from backstop.storm.plan import Plan, Weather
from backstop.storm.story import Story
from backstop.storm.struck import Storm
from backstop.storm.terms import Terms, terms_of
from backstop.storm.truth import Truth
from backstop.storm.venue import ACCOUNT_ID, API_KEY, USER, StormVenue
from backstop.storm.virtual_loop import EPOCH_S
from backstop.storm.weather import StormWeather

A_DAY_S: Final = 86_400


def _chance(seed: int, what: str) -> Random:
    return Random(f"{what}/{seed}")  # noqa: S311 - repeatable, nothing secret is drawn


class World:
    """Everything there is, of one seed.

    Attributes:
        unsettled: what had not come right in time after the faults.
        settled_s: how long it took to come right.
        gateway_bots: those behind the protective gateway; None: there are none.
    """

    def __init__(
        self,
        plan: Plan,
        loop: StormLoop,
        folder: Path,
        *,
        show: Callable[[str], None] | None,
        terms: Terms | None = None,
    ) -> None:
        self.plan = plan
        if terms is None:
            terms = terms_of(plan.seed, stops_are_needed=plan.has(Weather.OTHERS))
        self.terms = terms
        self._loop = loop
        self._folder = folder
        self._trading = True
        self.unsettled: tuple[str, ...] = ()
        self.settled_s = 0.0
        self._reached = Reached()
        self._tasks: list[asyncio.Task[None]] = []
        self.state_folder.mkdir(mode=0o700)
        self.story = Story(self.now_s, hidden=str(folder), show=show)
        self.truth = Truth(self.now_s)
        self.machine = StormMachine(
            loop, _chance(plan.seed, "machine"), folder, start_utc_us=terms.start_utc_us
        )
        self.venue = StormVenue(
            loop,
            _chance(plan.seed, "venue"),
            terms=terms,
            config=plan.exchange,
            server=plan.server,
            wildness=plan.wildness,
            on_change=self._on_hours,
            on_fault=self._on_fault,
        )
        bots = [
            Bot(
                f"bot{number}",
                _chance(plan.seed, f"bot{number}"),
                pause_s=plan.pause_s,
                story=self.story,
                wants=lambda: self._trading,
                on_refused_exit=self._on_refused_exit,
                on_decision=self._reached.decided,
                sends_itself=self._send_by_bot if plan.has(Weather.OTHERS) else None,
                old_month=self.venue.old_month,
            )
            for number in range(plan.bots)
        ]
        person = Operator(
            _chance(plan.seed, "operator"),
            story=self.story,
            wants=lambda: self._trading,
            kill_file=folder / "kill",
            on_decision=self._reached.decided,
        )
        hearts = [
            Heart(
                f"bot{number}",
                _chance(plan.seed, f"heart{number}"),
                story=self.story,
                wants=lambda: self._trading,
            )
            for number in range(1, plan.bots)
        ]
        self.host = GuardHost(self.machine, self._settings, [*bots, *hearts, person], self.story)
        self.judges = Judges(
            plan,
            terms,
            host=self.host,
            machine=self.machine,
            network=loop.network,
            venue=self.venue,
            truth=self.truth,
            story=self.story,
            reached=self._reached,
            now_s=self.now_s,
        )
        self.safety = self.judges.safety
        self.gateway_bots: GatewayBots | None = None
        if terms.bots_behind:
            self.judges.bots, self.gateway_bots = self._bots_behind()
        self._weather = StormWeather(
            Storm(
                plan=plan,
                chance=_chance(plan.seed, "weather"),
                host=self.host,
                machine=self.machine,
                network=loop.network,
                venue=self.venue,
                truth=self.truth,
                story=self.story,
                disturb=self.safety.disturb,
                broke=self.safety.break_rule,
                foreign=self.safety.foreign_orders,
            )
        )

    @property
    def state_folder(self) -> Path:
        """Where the guard keeps its state."""
        return self._folder / "state"

    async def begin(self) -> None:
        """Open the venue and start the program; nothing goes wrong yet."""
        self.judges.begin(self._settings())
        await self.venue.open()
        works: list[Coroutine[Any, Any, None]] = [self.host.keep_running(), self.judges.look()]
        if self.gateway_bots is not None:
            works.append(self.gateway_bots.keep_running())
        self._tasks = [asyncio.ensure_future(work) for work in works]

    async def begin_storm(self) -> None:
        """Let things go wrong from now on."""
        self._weather.begin()
        self._storming = asyncio.ensure_future(self._weather.run())

    async def end_storm(self) -> None:
        """Heal everything; nobody wants anything any more."""
        self._storming.cancel()
        tasks = [*self._tasks, self._storming]
        await asyncio.wait(tasks, timeout=0)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()  # a storm that has ended by itself proves nothing
        self._trading = False
        self._weather.end()
        (self._folder / "kill").unlink(missing_ok=True)
        self.story.tell("world", "healed")

    async def end(self) -> None:
        """Stop the program as a person does, and close the venue."""
        await self.host.stop()
        if self.gateway_bots is not None:
            self.gateway_bots.kill_all()
        for task in self._tasks:
            task.cancel()
        await self.venue.close()
        for failure in self._loop.failures:
            self.safety.break_rule("no failure is lost", _failure(failure))

    def break_off(self) -> None:
        """Kill everything: nobody waits for its end."""
        self.host.kill_all(down_s=math.inf)
        if self.gateway_bots is not None:
            self.gateway_bots.kill_all()

    def bury(self) -> None:
        """Let go of everything, at the very end."""
        self.host.bury()
        if self.gateway_bots is not None:
            self.gateway_bots.bury()

    def differences(self) -> list[str]:
        """Return what has not come right yet."""
        left = differences(
            self.host.guard,
            self.truth,
            acts=self.terms.sends and self.venue.lets_trade,
            trades=self.venue.trades,
        )
        if self.gateway_bots is not None:
            left += self.gateway_bots.differences()
        return left

    def reached(self) -> dict[str, tuple[str, ...]]:
        """Return what of all that a guard can do was done, by kind."""
        return self.judges.names()

    # -- bots behind the gateway -------------------------------------------------------------------

    def _bots_behind(self) -> tuple[BotsJudge, GatewayBots]:
        """Make bots that are processes of their own, and whoever judges what they are told."""
        plan, start_us = self.plan, self.terms.start_utc_us
        made_s = start_us // MICROS - A_DAY_S  # a clock that steps back does not make them younger
        keys = credentials_made(self.state_folder, utc_s=made_s)
        judge = BotsJudge(
            self.truth,
            bots=frozenset(keys),
            broke=self.safety.break_rule,
            keeps_order=not plan.has(Weather.GATEWAY, Weather.NETWORK, Weather.CRASH),
        )
        desk = Desk(
            account_id=ACCOUNT_ID,
            contract_ids=tuple(self.venue.contract_ids.values()),
            touch=self.venue.touch,
            since=datetime.fromtimestamp(made_s, UTC).isoformat(),
            serving=self.host.serving,
            now_s=self.now_s,
        )
        bots = GatewayBots(
            self.machine,
            keys,
            partial(_chance, plan.seed),
            pause_s=plan.pause_s,
            desk=desk,
            judge=judge,
            story=self.story,
            wants=lambda: self._trading,
        )
        self.host.serves_bots, self.host.neighbours = True, bots.living
        return judge, bots

    # -- what is told ------------------------------------------------------------------------------

    def told(self, text: str) -> str:
        """Return ``text`` without the folder of this run, which is another in each."""
        return text.replace(str(self._folder), "STATE")

    def now_s(self) -> float:
        """Return seconds since the story began."""
        return self._loop.now_s - EPOCH_S

    def _settings(self) -> Settings:
        return Settings.hermetic(
            TOPSTEPX_API_URL=f"http://{HOST}:{PORT}",
            TOPSTEPX_USERNAME=USER,
            TOPSTEPX_API_KEY=API_KEY,
            TOPSTEPX_ACCOUNT_ID=ACCOUNT_ID,
            BACKSTOP_STATE_DIR=self._folder / "state",
            KILL_FILE=self._folder / "kill",
            STATE_PERSISTENCE_INTERVAL_MS=500,
            **self.terms.settings,
        )

    # The judges look at all the others, and so are made last: until then nobody calls these.

    def _on_hours(self, what: str) -> None:
        self.judges.on_hours(what)

    def _on_fault(self, fault: FaultApplied) -> None:
        self.judges.on_fault(fault)

    def _on_refused_exit(self, why: str) -> None:
        self.judges.on_refused_exit(why)

    def _send_by_bot(self, body: PlaceBody) -> None:
        """Send an order that a bot has registered; it is not the guard's."""
        outcome = self.venue.exchange.place_by_others(body)
        if outcome.order_id is not None:
            self.safety.foreign_orders.add(outcome.order_id)


def _failure(said: dict[str, Any]) -> str:
    return f"{said.get('message')}: {said.get('exception')!r}"
