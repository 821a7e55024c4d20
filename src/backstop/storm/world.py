"""One seed: a venue, a machine with a guard and bots on it, the weather, and the two questions."""

import asyncio
import gc
import io
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec import Struct, structs

from backstop.adapters.log import LogFormat, Redactor, configure_logging
from backstop.adapters.projectx.wire import ModifyBody, PlaceBody
from backstop.adapters.projectx_server.interference import Call
from backstop.config.settings import Settings
from backstop.core.step import Decision, Note
from backstop.domain.alert_code import AlertCode
from backstop.simulator.faults import FaultApplied
from backstop.storm.bots import Bot
from backstop.storm.coverage import ALERTS, DENIALS, reached_by
from backstop.storm.exposure_truth import ExposureWatch, Limits
from backstop.storm.guard_host import GuardHost
from backstop.storm.hearts import Heart
from backstop.storm.liveness import SETTLE_S, differences
from backstop.storm.machine import StormMachine
from backstop.storm.network import HOST, PORT, Network, StormLoop
from backstop.storm.operators import Operator
from backstop.storm.plan import Plan, Weather, plan_of
from backstop.storm.record import record_faults
from backstop.storm.safety import (
    LOOK_S,
    NAKED_CALM_S,
    NAKED_RESTLESS_S,
    NAKED_STORM_S,
    SafetyWatch,
    Violation,
)
from backstop.storm.story import Story
from backstop.storm.struck import Storm
from backstop.storm.terms import Terms, terms_of
from backstop.storm.truth import Truth
from backstop.storm.venue import ACCOUNT_ID, API_KEY, USER, StormVenue
from backstop.storm.virtual_loop import EPOCH_S, TimeStoodStillError
from backstop.storm.weather import StormWeather

MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
"""Files that no disk is waited for, where a system has such a place."""


COMPARE_S: Final = 60.0
"""Between two looks at what the guard measured from the bars."""

MOMENT_S: Final = 1e-6
"""Less than this is no time: added to the loop's, which is a float, it may be nothing."""

STRETCH_S: Final = 5.0
"""How long it goes on at least after something was broken, when that ends it."""


class SeedResult(Struct, frozen=True, kw_only=True):
    """What came of one seed.

    Attributes:
        unsettled: what had not come right in time after the faults; empty: all of it had.
        counts: how often each kind of thing happened.
        naked_s_max: the longest time for which a position was naked and could be protected.
        reached: what of all that a guard can do was done, by kind.
        settled_s: how long it took to come right after the faults.
        cpu_s: seconds of one core that it took.
    """

    seed: int
    weather: Weather
    hours: float
    digest: str
    violations: tuple[Violation, ...]
    unsettled: tuple[str, ...]
    counts: dict[str, int]
    naked_s_max: float
    settled_s: float
    cpu_s: float
    newest: tuple[str, ...]
    reached: dict[str, tuple[str, ...]] = {}

    @property
    def passed(self) -> bool:
        """Nothing was broken, and everything came right."""
        return not self.violations and not self.unsettled


def run_seed(
    seed: int,
    *,
    hours: float,
    show: Callable[[str], None] | None = None,
    first_fault: bool = False,
) -> SeedResult:
    """Simulate ``hours`` of ``seed``, heal everything, and judge; see ``World.run``."""
    began_s = time.process_time()
    world = simulated(
        plan_of(seed), partial(World.run, hours=hours, first_fault=first_fault), show=show
    )
    return world.result(hours, cpu_s=time.process_time() - began_s)


def simulated(
    plan: Plan,
    act: Callable[["World"], Coroutine[Any, Any, None]],
    *,
    show: Callable[[str], None] | None = None,
    terms: Terms | None = None,
) -> "World":
    """Make the world of ``plan``, let ``act`` happen to it, and return it when all is over.

    ``terms`` None: those of the seed.
    """
    configure_logging(
        session_id="storm",
        redactor=Redactor(),
        log_format=LogFormat.JSON,
        level=logging.CRITICAL,
        stream=io.StringIO(),
    )
    place = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place, prefix="backstop-storm-") as folder:
        loop = StormLoop(Network(_chance(plan.seed, "network")))
        try:
            world = World(plan, loop, Path(folder), show=show, terms=terms)
            try:
                loop.run_until_complete(act(world))
            except TimeStoodStillError as error:
                world.safety.break_rule("time goes on", str(error))
        finally:
            _end(loop)
        _bury(world)
    return world


def _bury(world: "World") -> None:
    """Let go of the dead: their ``finally`` runs now, when nothing of it reaches anything."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _said: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what was killed never closed its files
            world.host.bury()
            gc.collect()
    finally:
        sys.unraisablehook = hook


def _end(loop: StormLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    with suppress(Exception):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def _chance(seed: int, what: str) -> Random:
    return Random(f"{what}/{seed}")  # noqa: S311 - repeatable, nothing secret is drawn


class World:
    """Everything there is, of one seed."""

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
        self._unsettled: tuple[str, ...] = ()
        self._settled_s = 0.0
        self._reached: dict[str, set[str]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        (folder / "state").mkdir(mode=0o700)
        self.story = Story(self._now_s, hidden=str(folder), show=show)
        self.truth = Truth(self._now_s)
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
                on_decision=self._on_decision,
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
            on_decision=self._on_decision,
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
        self.host.on_note = self._on_note
        self.host.on_alert = self._on_alert
        self.safety = SafetyWatch(
            self.truth,
            self.host,
            now_s=self._now_s,
            durable=self._is_durable,
            disk_troubled=self.machine.simulated_disk.was_troubled,
            is_reachable=self._can_act,
            naked_limit_s=_naked_limit_s(plan),
            loses_messages=plan.has(Weather.GATEWAY, Weather.NETWORK),
            max_tenths=terms.max_tenths,
            crowded=plan.has(Weather.OTHERS),
        )
        self.exposure: ExposureWatch | None = None
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

    async def run(self, hours: float, *, first_fault: bool = False) -> None:
        """Let it storm for ``hours``, then heal everything and see whether it comes right.

        With ``first_fault`` it ends soon after the first thing that was broken.
        """
        await self.begin()
        self._weather.begin()
        self._tasks.append(weather := asyncio.ensure_future(self._weather.run()))
        ends_s = self._now_s() + hours * 3600
        while (left_s := ends_s - self._now_s()) > MOMENT_S:
            if first_fault and self.safety.violations:
                break
            await asyncio.sleep(min(STRETCH_S, left_s))
        weather.cancel()
        await asyncio.wait(self._tasks, timeout=0)
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()  # a storm that has ended by itself proves nothing
        self._trading = False
        self._weather.end()
        (self._folder / "kill").unlink(missing_ok=True)
        self.story.tell("world", "healed")
        if not (first_fault and self.safety.violations):
            await self._settle()
        await self.end()
        if not self._unsettled:
            self._unsettled = tuple(record_faults(self._folder / "state", ACCOUNT_ID, self.truth))
        for failure in self._loop.failures:
            self.safety.break_rule("no failure is lost", _failure(failure))
        self.story.tell("world", "over", unsettled=len(self._unsettled))

    async def begin(self) -> None:
        """Open the venue and start the program; nothing goes wrong yet."""
        self.venue.exchange.subscribe(self.truth.hear)
        self.venue.exchange.subscribe(self._tell_event)
        if not self.plan.has(Weather.OTHERS):
            self.exposure = self._exposure_watch()
        self.venue.watch(self._on_call, self)
        await self.venue.open()
        self._tasks = [
            asyncio.ensure_future(self.host.keep_running()),
            asyncio.ensure_future(self._look()),
        ]

    async def end(self) -> None:
        """Stop the program as a person does, and close the venue."""
        await self.host.stop()
        for task in self._tasks:
            task.cancel()
        await self.venue.close()

    async def _settle(self) -> None:
        began_s = self._now_s()
        good = 0
        while good < 3 and self._now_s() - began_s < SETTLE_S:  # noqa: PLR2004 - looks in a row
            await asyncio.sleep(1.0)
            left = self._differences()
            good = 0 if left else good + 1
        self._settled_s = self._now_s() - began_s
        self._unsettled = tuple(left)

    def _differences(self) -> list[str]:
        return differences(
            self.host.guard,
            self.truth,
            acts=self.terms.sends and self.venue.lets_trade,
            trades=self.venue.trades,
        )

    async def _look(self) -> None:
        compare_s = COMPARE_S
        while True:
            await asyncio.sleep(LOOK_S)
            self.safety.look()
            if self.exposure is not None and self._now_s() >= compare_s:
                compare_s = self._now_s() + COMPARE_S
                self.exposure.compare_estimates()

    # -- what reaches the exchange from the guard --------------------------------------------------

    def on_place(self, body: PlaceBody) -> None:
        """Have an order judged."""
        self._gate_is_open(f"order {body.custom_tag}")
        self.safety.on_place(body)
        if self.exposure is not None:
            self.exposure.on_place(body)

    def on_modify(self, body: ModifyBody) -> None:
        """Have a change judged."""
        self._gate_is_open(f"a change of {body.order_id}")
        self.safety.on_modify(body)
        if self.exposure is not None:
            self.exposure.on_modify(body)

    def on_change(self, kind: str, key: int | str) -> None:
        """Have a cancel or a close judged."""
        self._gate_is_open(f"{kind} {key}")
        self.safety.on_change(kind, key)

    def _gate_is_open(self, what: str) -> None:
        if not self.terms.sends:
            self.safety.break_rule("never live by accident", f"{what} left, and the gate is closed")

    def _is_durable(self, kind: str, about: str) -> bool:
        """Say whether a command is on disk; who acts without a guard writes facts, not commands."""
        if self.host.acts_alone and kind in {"cancel", "close"}:
            return True
        return self.machine.simulated_disk.is_durable(kind, about)

    def _can_act(self) -> bool:
        """Say whether a guard could do something about a position now."""
        return (
            self.terms.sends
            and self._loop.network.is_up
            and self.venue.lets_trade
            and self.venue.lets_in
            and self.venue.trades_all
        )

    def _exposure_watch(self) -> ExposureWatch | None:
        settings = self._settings()
        if not settings.correlation_protection_enable:
            return None
        return ExposureWatch(
            self.truth,
            limits=Limits.of(settings),
            bars=self.venue.history.families,
            guard=lambda: self.host.guard,
            up_s=lambda: self._now_s() - self.host.started_s,
            reads_fail=self.plan.has(Weather.GATEWAY, Weather.NETWORK, Weather.CRASH),
            broke=self.safety.break_rule,
        )

    def result(self, hours: float, *, cpu_s: float) -> SeedResult:
        """Return what came of it."""
        return SeedResult(
            seed=self.plan.seed,
            weather=self.plan.weather,
            hours=hours,
            digest=self.story.digest(),
            violations=tuple(
                structs.replace(it, text=self._told(it.text)) for it in self.safety.violations
            ),
            unsettled=tuple(map(self._told, self._unsettled)),
            counts=dict(self.story.counts),
            naked_s_max=self.safety.naked_s_max,
            settled_s=self._settled_s,
            cpu_s=cpu_s,
            newest=tuple(self.story.newest),
            reached={kind: tuple(sorted(names)) for kind, names in self._reached.items()},
        )

    def _told(self, text: str) -> str:
        """Return ``text`` without the folder of this run, which is another in each."""
        return text.replace(str(self._folder), "STATE")

    # -- what is told ------------------------------------------------------------------------------

    def _now_s(self) -> float:
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

    def _on_note(self, note: Note) -> None:
        self.safety.on_note(note)
        shown = reached_by(note)
        if shown is not None:
            self._reached.setdefault(shown[0], set()).add(shown[1])
        if self.exposure is not None and note.name == "order_state":
            self.exposure.decided(str(note.fields["client_order_id"]))
        self.story.tell("guard", note.name, **note.fields)

    def _on_decision(self, decision: Decision) -> None:
        codes = {str(denial.code) for denial in decision.denials}
        self._reached.setdefault(DENIALS, set()).update(codes)

    def _send_by_bot(self, body: PlaceBody) -> None:
        """Send an order that a bot has registered; it is not the guard's."""
        outcome = self.venue.exchange.place_by_others(body)
        if outcome.order_id is not None:
            self.safety.foreign_orders.add(outcome.order_id)

    def _on_refused_exit(self, why: str) -> None:
        if self.terms.sends:
            self.safety.break_rule("exits pass", why)

    def _on_alert(self, code: AlertCode) -> None:
        self._reached.setdefault(ALERTS, set()).add(code)

    def _on_hours(self, what: str) -> None:
        self.safety.disturb()
        self.story.tell("venue", what)

    def _on_fault(self, fault: FaultApplied) -> None:
        self.safety.disturb()
        self.story.tell("fault", str(fault.act), on=fault.on, tag=fault.tag or "-")

    def _on_call(self, call: Call) -> None:
        self.safety.on_call(call)

    def _tell_event(self, event: Any) -> None:
        target = event.target
        if target == "GatewayUserOrder":
            row = event.data
            self.story.tell(
                "venue", "order", id=row.id, status=row.status, side=row.side, size=row.size,
                filled=row.fill_volume, tag=row.custom_tag,
            )  # fmt: skip
        elif target == "GatewayUserTrade":
            row = event.data
            held = self.truth.positions.get(row.contract_id)
            self.story.tell(
                "venue", "trade", id=row.id, order=row.order_id, side=row.side, size=row.size,
                price=row.price, voided=row.voided, position=held,
            )  # fmt: skip


def _naked_limit_s(plan: Plan) -> float:
    if plan.weather is Weather.CALM:
        return NAKED_CALM_S
    lossy = plan.has(Weather.GATEWAY, Weather.NETWORK)
    return NAKED_STORM_S if lossy else NAKED_RESTLESS_S


def _failure(said: dict[str, Any]) -> str:
    return f"{said.get('message')}: {said.get('exception')!r}"
