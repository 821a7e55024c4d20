"""One seed: a venue, a machine with a guard and bots on it, the weather, and who judges."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from backstop.adapters.projectx.wire import ModifyBody, PlaceBody
from backstop.adapters.projectx_server.interference import Call
from backstop.config.settings import Settings
from backstop.core.step import Note
from backstop.domain.alert_code import AlertCode
from backstop.simulator.faults import FaultApplied
from backstop.storm.bots import Bot
from backstop.storm.coverage import ALERTS, DENIALS, TRANSITIONS, Reached, steps_of
from backstop.storm.exposure_truth import ExposureWatch, Limits
from backstop.storm.gateway_bots.bot import Desk
from backstop.storm.gateway_bots.host import GatewayBots, credentials_made
from backstop.storm.gateway_bots.judge import BotsJudge
from backstop.storm.guard_host import GuardHost
from backstop.storm.hearts import Heart
from backstop.storm.liveness import differences
from backstop.storm.machine import MICROS, StormMachine
from backstop.storm.network import HOST, PORT, StormLoop
from backstop.storm.operators import Operator
from backstop.storm.plan import Plan, Weather
from backstop.storm.safety import (
    LOOK_S,
    NAKED_CALM_S,
    NAKED_RESTLESS_S,
    NAKED_STORM_S,
    SafetyWatch,
)
from backstop.storm.story import Story
from backstop.storm.struck import Storm
from backstop.storm.terms import Terms, terms_of
from backstop.storm.truth import Truth
from backstop.storm.venue import ACCOUNT_ID, API_KEY, USER, StormVenue
from backstop.storm.virtual_loop import EPOCH_S
from backstop.storm.weather import StormWeather

COMPARE_S: Final = 60.0
"""Between two looks at what the guard measured from the bars."""

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
        self.host.on_note = self._on_note
        self.host.on_alert = self._on_alert
        self.host.on_fall = self._on_fall
        self.safety = SafetyWatch(
            self.truth,
            self.host,
            now_s=self.now_s,
            durable=self._is_durable,
            decided_s=self._decided_s,
            disk_troubled=self.machine.simulated_disk.was_troubled,
            is_reachable=self._can_act,
            naked_limit_s=_naked_limit_s(plan),
            loses_messages=plan.has(Weather.GATEWAY, Weather.NETWORK),
            max_tenths=terms.max_tenths,
            crowded=plan.has(Weather.OTHERS),
        )
        self._judge: BotsJudge | None = None
        self.gateway_bots: GatewayBots | None = None
        if terms.bots_behind:
            self._judge, self.gateway_bots = self._bots_behind()
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

    @property
    def state_folder(self) -> Path:
        """Where the guard keeps its state."""
        return self._folder / "state"

    async def begin(self) -> None:
        """Open the venue and start the program; nothing goes wrong yet."""
        self.venue.exchange.subscribe(self.truth.hear)
        self.venue.exchange.subscribe(self._tell_event)
        if not self.plan.has(Weather.OTHERS):
            self.exposure = self._exposure_watch()
        self.venue.watch(self._on_call, self)
        await self.venue.open()
        works: list[Coroutine[Any, Any, None]] = [self.host.keep_running(), self._look()]
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

    async def _look(self) -> None:
        compare_s = COMPARE_S
        while True:
            await asyncio.sleep(LOOK_S)
            self.safety.look()
            if self.exposure is not None and self.now_s() >= compare_s:
                compare_s = self.now_s() + COMPARE_S
                self.exposure.compare_estimates()

    # -- what reaches the exchange from the guard --------------------------------------------------

    def on_place(self, body: PlaceBody) -> None:
        """Have an order judged."""
        self._gate_is_open(f"order {body.custom_tag}")
        if self._judge is not None:
            self._judge.on_place(body)
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

    def _decided_s(self, kind: str, about: str) -> float | None:
        decided_s = self.machine.simulated_disk.decided_s(kind, about)
        return None if decided_s is None else decided_s - EPOCH_S

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
            up_s=lambda: self.now_s() - self.host.started_s,
            reads_fail=self.plan.has(Weather.GATEWAY, Weather.NETWORK, Weather.CRASH),
            broke=self.safety.break_rule,
        )

    def reached(self) -> dict[str, tuple[str, ...]]:
        """Return what of all that a guard can do was done, by kind."""
        if self._judge is not None:
            self._reached.add(DENIALS, self._judge.reached)
        return self._reached.names()

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

    def _on_note(self, note: Note) -> None:
        self.safety.on_note(note)
        if note.name == "order_state":
            self._on_order(str(note.fields["client_order_id"]))
        self._reached.hear(note)
        if self.exposure is not None and note.name == "order_state":
            self.exposure.decided(str(note.fields["client_order_id"]))
        self.story.tell("guard", note.name, **note.fields)

    def _on_order(self, name: str) -> None:
        """Look at an order of which the state has changed."""
        guard = self.host.guard
        order = None if guard is None else guard.book.orders.get(name)
        if order is None:
            return
        # A note tells of the first state before a step and of the last one after it.
        self._reached.add(TRANSITIONS, steps_of(order))
        if self._judge is not None:
            self._judge.intended(name, order.custom_tag, order.request.strategy_id)

    def _send_by_bot(self, body: PlaceBody) -> None:
        """Send an order that a bot has registered; it is not the guard's."""
        outcome = self.venue.exchange.place_by_others(body)
        if outcome.order_id is not None:
            self.safety.foreign_orders.add(outcome.order_id)

    def _on_refused_exit(self, why: str) -> None:
        if self.terms.sends:
            self.safety.break_rule("exits pass", why)

    def _on_alert(self, code: AlertCode) -> None:
        self._reached.add(ALERTS, (code,))

    def _on_fall(self, why: str) -> None:
        self.safety.break_rule("the guard does not fall", why)

    def _on_hours(self, what: str) -> None:
        self.safety.disturb()
        self.story.tell("venue", what)

    def _on_fault(self, fault: FaultApplied) -> None:
        self.safety.on_fault(fault.on, fault.act)
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
