"""Everything that happens in a seed, shown to those who judge it and told in its story.

The rules know what must never be; here they are brought together with the calls, trades and notes
that they look at, and with what excuses a guard: a closed market, a locked account, a cut cable.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from backstop.adapters.projectx.wire import ModifyBody, PlaceBody
from backstop.adapters.projectx_server.interference import Call
from backstop.config.settings import Settings
from backstop.core.step import Note
from backstop.domain.alert_code import AlertCode
from backstop.simulator.faults import FaultApplied
from backstop.storm.coverage import ALERTS, DENIALS, TRANSITIONS, Reached, steps_of
from backstop.storm.estimate_truth import EstimateWatch
from backstop.storm.exposure_truth import ExposureWatch, Limits
from backstop.storm.gateway_bots.judge import BotsJudge
from backstop.storm.guard_host import GuardHost
from backstop.storm.machine import StormMachine
from backstop.storm.network import Network
from backstop.storm.plan import Plan, Weather
from backstop.storm.safety import (
    LOOK_S,
    NAKED_CALM_S,
    NAKED_RESTLESS_S,
    NAKED_STORM_S,
    SafetyWatch,
)
from backstop.storm.story import Story
from backstop.storm.terms import Terms
from backstop.storm.truth import Truth
from backstop.storm.venue import StormVenue
from backstop.storm.virtual_loop import EPOCH_S

COMPARE_S: Final = 60.0
"""Between two looks at what the guard measured from the bars."""


class Judges:
    """All who judge one seed; implements ``CallWatch``.

    Attributes:
        safety: knows the rules, and keeps what was broken.
        bots: judges what bots behind the gateway are told; None: there are none.
        reached: what of all that a guard can do was done.
    """

    def __init__(
        self,
        plan: Plan,
        terms: Terms,
        *,
        host: GuardHost,
        machine: StormMachine,
        network: Network,
        venue: StormVenue,
        truth: Truth,
        story: Story,
        reached: Reached,
        now_s: Callable[[], float],
    ) -> None:
        self.bots: BotsJudge | None = None
        self.reached = reached
        self.safety = SafetyWatch(
            truth,
            host,
            now_s=now_s,
            durable=self._is_durable,
            decided_s=self._decided_s,
            recorded_s=self._recorded_s,
            disk_troubled=machine.simulated_disk.was_troubled,
            is_reachable=self._can_act,
            naked_limit_s=_naked_limit_s(plan),
            loses_messages=plan.has(Weather.GATEWAY, Weather.NETWORK),
            max_tenths=terms.max_tenths,
            crowded=plan.has(Weather.OTHERS),
        )
        self._exposure: ExposureWatch | None = None
        self._estimates: EstimateWatch | None = None
        self._plan = plan
        self._sends = terms.sends
        self._host = host
        self._disk = machine.simulated_disk
        self._network = network
        self._venue = venue
        self._truth = truth
        self._story = story
        self._now_s = now_s
        host.on_note, host.on_alert, host.on_fall = self.on_note, self.on_alert, self.on_fall

    def begin(self, settings: Settings) -> None:
        """Listen to the venue; ``settings`` are the guard's."""
        self._venue.exchange.subscribe(self._truth.hear)
        self._venue.exchange.subscribe(self._tell_event)
        if settings.correlation_protection_enable and not self._plan.has(Weather.OTHERS):
            self._exposure = self._exposure_watch(settings)
            self._estimates = self._estimate_watch()
        self._venue.watch(self.on_call, self)

    async def look(self) -> None:
        """Look at the state now and then, until cancelled."""
        compare_s = COMPARE_S
        while True:
            await asyncio.sleep(LOOK_S)
            self.safety.look()
            if self._estimates is not None and self._now_s() >= compare_s:
                compare_s = self._now_s() + COMPARE_S
                self._estimates.compare()

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return what of all that a guard can do was done, by kind."""
        if self.bots is not None:
            self.reached.add(DENIALS, self.bots.reached)
        return self.reached.names()

    def _exposure_watch(self, settings: Settings) -> ExposureWatch:
        return ExposureWatch(
            self._truth,
            limits=Limits.of(settings),
            bars=self._venue.history.families,
            guard=lambda: self._host.guard,
            broke=self.safety.break_rule,
        )

    def _estimate_watch(self) -> EstimateWatch:
        return EstimateWatch(
            bars=self._venue.history.families,
            guard=lambda: self._host.guard,
            up_s=lambda: self._now_s() - self._host.started_s,
            reads_fail=self._plan.has(Weather.GATEWAY, Weather.NETWORK, Weather.CRASH),
            broke=self.safety.break_rule,
        )

    # -- what reaches the gateway, and the exchange behind it --------------------------------------

    def on_call(self, call: Call) -> None:
        """Have a call judged that the server understood."""
        self.safety.on_call(call)

    def on_place(self, body: PlaceBody) -> None:
        """Have an order judged."""
        self._gate_is_open(f"order {body.custom_tag}")
        if self.bots is not None:
            self.bots.on_place(body)
        self.safety.on_place(body)
        if self._exposure is not None:
            self._exposure.on_place(body)

    def on_modify(self, body: ModifyBody) -> None:
        """Have a change judged."""
        self._gate_is_open(f"a change of {body.order_id}")
        self.safety.on_modify(body)
        if self._exposure is not None:
            self._exposure.on_modify(body)

    def on_change(self, kind: str, key: int | str) -> None:
        """Have a cancel or a close judged."""
        self._gate_is_open(f"{kind} {key}")
        self.safety.on_change(kind, key)

    def _gate_is_open(self, what: str) -> None:
        if not self._sends:
            self.safety.break_rule("never live by accident", f"{what} left, and the gate is closed")

    # -- what excuses a guard ----------------------------------------------------------------------

    def _is_durable(self, kind: str, about: str) -> bool:
        """Say whether a command is on disk; who acts without a guard writes facts, not commands."""
        if self._host.acts_alone and kind in {"cancel", "close"}:
            return True
        return self._disk.is_durable(kind, about)

    def _decided_s(self, kind: str, about: str) -> float | None:
        decided_s = self._disk.decided_s(kind, about)
        return None if decided_s is None else decided_s - EPOCH_S

    def _recorded_s(self, kind: str, about: str) -> float | None:
        recorded_s = self._disk.recorded_s(kind, about)
        return None if recorded_s is None else recorded_s - EPOCH_S

    def _can_act(self) -> bool:
        """Say whether a guard could do something about a position now."""
        return (
            self._sends
            and self._network.is_up
            and self._venue.lets_trade
            and self._venue.lets_in
            and self._venue.trades_all
        )

    # -- what is said ------------------------------------------------------------------------------

    def on_note(self, note: Note) -> None:
        """Hear what the guard notes."""
        self.safety.on_note(note)
        name = str(note.fields["client_order_id"]) if note.name == "order_state" else None
        if name is not None:
            self._on_order(name)
        self.reached.hear(note)
        if name is not None and self._exposure is not None:
            self._exposure.decided(name)
        self._story.tell("guard", note.name, **note.fields)

    def _on_order(self, name: str) -> None:
        """Look at an order of which the state has changed."""
        guard = self._host.guard
        order = None if guard is None else guard.book.orders.get(name)
        if order is None:
            return
        # A note tells of the first state before a step and of the last one after it.
        self.reached.add(TRANSITIONS, steps_of(order))
        if self.bots is not None:
            self.bots.intended(name, order.custom_tag, order.request.strategy_id)

    def on_alert(self, code: AlertCode) -> None:
        """Hear an alert of a process beside the guard."""
        self.reached.add(ALERTS, (code,))

    def on_fall(self, why: str) -> None:
        """Hear of a guard that ended by a mistake of its own."""
        self.safety.break_rule("the guard does not fall", why)

    def on_refused_exit(self, why: str) -> None:
        """Hear of an exit that nothing spoke against."""
        if self._sends:
            self.safety.break_rule("exits pass", why)

    def on_hours(self, what: str) -> None:
        """Hear that the market opens or closes."""
        self.safety.disturb()
        self._story.tell("venue", what)

    def on_fault(self, fault: FaultApplied) -> None:
        """Hear what went wrong at the gateway."""
        self.safety.on_fault(fault.on, fault.act)
        self._story.tell("fault", str(fault.act), on=fault.on, tag=fault.tag or "-")

    def _tell_event(self, event: Any) -> None:
        target = event.target
        if target == "GatewayUserOrder":
            row = event.data
            self._story.tell(
                "venue", "order", id=row.id, status=row.status, side=row.side, size=row.size,
                filled=row.fill_volume, tag=row.custom_tag,
            )  # fmt: skip
        elif target == "GatewayUserTrade":
            row = event.data
            held = self._truth.positions.get(row.contract_id)
            self._story.tell(
                "venue", "trade", id=row.id, order=row.order_id, side=row.side, size=row.size,
                price=row.price, voided=row.voided, position=held,
            )  # fmt: skip


def _naked_limit_s(plan: Plan) -> float:
    if plan.weather is Weather.CALM:
        return NAKED_CALM_S
    lossy = plan.has(Weather.GATEWAY, Weather.NETWORK)
    return NAKED_STORM_S if lossy else NAKED_RESTLESS_S
