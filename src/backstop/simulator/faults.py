"""The fault layer: decides which calls and events are hit, and does it to hubs and clocks.

One ``FaultPlan`` holds the rules of a script, of a seed and of the control port together, in the
order they were given; the first rule that hits a call or an event decides. Everything applied is
kept in a bounded log and told to a callback. Delays run on the event loop's time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from random import Random

from msgspec import Struct

from backstop.adapters.projectx_server.app import GatewayServer
from backstop.adapters.projectx_server.interference import (
    UNTOUCHED,
    Call,
    Deliver,
    Event,
    Treatment,
)
from backstop.adapters.projectx_server.venue import MarketEvent, UserEvent
from backstop.errors import SettingError
from backstop.simulator.fault_effects import older_status, treatment_of
from backstop.simulator.fault_rules import (
    ANY_CALL,
    ANY_EVENT,
    CALL_KINDS,
    EVENT_KINDS,
    NOW,
    RULES_MAX,
    FaultKind,
    FaultRule,
)
from backstop.simulator.fault_timers import FaultTimers
from backstop.simulator.fault_world import FaultWorld

APPLIED_MAX = 1000  # log lines kept; the count goes on
REORDER_WAIT_MS = 250  # how long a held event waits for another to overtake it


class FaultApplied(Struct, frozen=True, kw_only=True):
    """One fault as it happened."""

    number: int
    at_us: int  # the venue's time
    rule_id: int
    act: FaultKind
    on: str  # the call or event that was hit, or "now"
    name: str = ""
    account_id: int | None = None
    contract_id: str | None = None
    tag: str | None = None


class ActiveRule(Struct, kw_only=True):
    """A rule and how often it matched and hit so far."""

    id: int
    rule: FaultRule
    matched: int = 0
    hit: int = 0


class _Occasion(Struct, frozen=True, kw_only=True):
    """A call or an event, as rules look at it."""

    on: str
    is_call: bool
    user: str | None = None
    account_id: int | None = None
    contract_id: str | None = None
    tag: str | None = None
    status: int | None = None


class FaultPlan:
    """The rules in force; implements ``Interference`` for a ``GatewayServer``.

    Build it first, give it to the server, then ``attach`` the server, so that connection faults
    reach its hubs. ``on_applied`` is called for every fault, on the event loop.
    """

    def __init__(
        self,
        rules: Iterable[FaultRule] = (),
        *,
        seed: int = 0,
        now_us: Callable[[], int],
        on_applied: Callable[[FaultApplied], None] | None = None,
    ) -> None:
        self.seed = seed
        self._rules: list[ActiveRule] = []
        # What may concern each call and event of the gateway, which are few; found when asked for.
        self._concerning: dict[str, list[ActiveRule]] = {}
        self.applied: deque[FaultApplied] = deque(maxlen=APPLIED_MAX)
        self.applied_count = 0
        self._random = Random(seed)  # noqa: S311 - repeatable faults, no secrets
        self._now_us = now_us
        self._on_applied = on_applied
        self._rules_given = 0
        self._held: list[tuple[Event, Deliver, asyncio.TimerHandle]] = []
        self._timers = FaultTimers()
        self._world = FaultWorld(self._timers)
        self._waiting = list(rules)
        self.add(rule for rule in self._waiting if rule.on != NOW)

    def attach(self, server: GatewayServer) -> None:
        """Take over ``server``; rules with ``on: now`` that were given before strike here."""
        self._world.attach(server)
        self.add(rule for rule in self._waiting if rule.on == NOW)
        self._waiting = []

    # -- rules ----------------------------------------------------------------------------------

    @property
    def rules(self) -> tuple[ActiveRule, ...]:
        """Those that are in force, in their order; ``take_back`` ends some."""
        return tuple(self._rules)

    def add(self, rules: Iterable[FaultRule]) -> list[ActiveRule]:
        """Put rules in force after those that are; ``on: now`` strikes at once and is gone.

        Raises:
            SettingError: more rules than ``RULES_MAX``.
        """
        given = list(rules)
        if len(self._rules) + len(given) > RULES_MAX:
            raise SettingError("faults", "too many rules", f"at most {RULES_MAX} in force")
        added = []
        for rule in given:
            self._rules_given += 1
            active = ActiveRule(id=self._rules_given, rule=rule)
            added.append(active)
            if rule.on == NOW:
                active.matched = active.hit = 1
                self._world.strike(rule)
                self._note(active, _Occasion(on=NOW, is_call=False))
            else:
                self._rules.append(active)
        self._concerning.clear()
        return added

    def take_back(self, rules: Collection[ActiveRule]) -> None:
        """Take those of ``rules`` out of force that still are."""
        self._rules[:] = [it for it in self._rules if it not in rules]
        self._concerning.clear()

    def reseed(self, seed: int) -> None:
        """Begin the random choices anew."""
        self.seed = seed
        self._random.seed(seed)

    def heal(self) -> int:
        """Take every rule back, end silences, frozen feeds and skew; return how many rules."""
        removed = len(self._rules)
        self._rules.clear()
        self._concerning.clear()
        self._world.heal()
        self._release_held()
        return removed

    def close(self) -> None:
        """Forget every delayed event; for the end of the server."""
        self._timers.forget_all()
        self._held.clear()

    # -- Interference ---------------------------------------------------------------------------

    def treat_call(self, call: Call) -> Treatment:
        """Return what happens to ``call``."""
        occasion = _Occasion(
            on=call.endpoint,
            is_call=True,
            user=call.user,
            account_id=call.account_id,
            contract_id=call.contract_id,
            tag=call.tag,
        )
        rule = self._hit(occasion)
        if rule is None:
            return UNTOUCHED
        if rule.act in CALL_KINDS:
            return treatment_of(rule, call.endpoint)
        self._world.strike(rule)
        return UNTOUCHED

    def pass_event(self, event: Event, deliver: Deliver) -> None:
        """Deliver ``event`` now, later, more than once, or never."""
        if isinstance(event, MarketEvent) and self._world.is_frozen(event.contract_id):
            return
        rule = self._hit(_occasion_of(event))
        if rule is None:
            deliver(event)
        elif rule.act in EVENT_KINDS:
            self._disturb(rule, event, deliver)
            if rule.act is FaultKind.REORDER_EVENT:
                return  # it waits for the next one; those held before go on waiting
        else:
            self._world.strike(rule)
            deliver(event)
        self._release_held(type(event))

    def date_skew_s(self) -> float | None:
        """Return how many seconds the ``Date`` header is ahead of the venue; None: it is absent."""
        return self._world.skew_s

    # -- matching -------------------------------------------------------------------------------

    def _hit(self, occasion: _Occasion) -> FaultRule | None:
        """Return the first rule that strikes now; the rules after it do not count the occasion."""
        for active in self._rules_about(occasion):
            rule = active.rule
            if not _matches(rule, occasion):
                continue
            active.matched += 1
            if active.matched < rule.nth or (rule.count is not None and active.hit >= rule.count):
                continue
            if rule.probability < 1 and self._random.random() >= rule.probability:
                continue
            active.hit += 1
            self._note(active, occasion)
            return rule
        return None

    def _rules_about(self, occasion: _Occasion) -> list[ActiveRule]:
        """Return the rules that wait for what happened, whatever else they ask for."""
        found = self._concerning.get(occasion.on)
        if found is None:
            names = {occasion.on, ANY_CALL if occasion.is_call else ANY_EVENT}
            found = [active for active in self._rules if active.rule.on in names]
            self._concerning[occasion.on] = found
        return found

    def _note(self, active: ActiveRule, occasion: _Occasion) -> None:
        self.applied_count += 1
        applied = FaultApplied(
            number=self.applied_count,
            at_us=self._now_us(),
            rule_id=active.id,
            act=active.rule.act,
            on=occasion.on,
            name=active.rule.name,
            account_id=occasion.account_id,
            contract_id=occasion.contract_id,
            tag=occasion.tag,
        )
        self.applied.append(applied)
        if self._on_applied is not None:
            self._on_applied(applied)

    # -- events ---------------------------------------------------------------------------------

    def _disturb(self, rule: FaultRule, event: Event, deliver: Deliver) -> None:
        match rule.act:
            case FaultKind.DELAY_EVENT:
                self._timers.after(rule.delay_ms, lambda: deliver(event))
            case FaultKind.DUPLICATE_EVENT:
                deliver(event)
                for copy in range(1, rule.copies + 1):
                    self._timers.after(copy * rule.delay_ms, lambda: deliver(event))
            case FaultKind.REORDER_EVENT:
                self._hold(rule.delay_ms or REORDER_WAIT_MS, event, deliver)
            case FaultKind.CONTRADICT_EVENT:
                deliver(event)
                if (older := older_status(event)) is not None:
                    self._timers.after(rule.delay_ms, lambda: deliver(older))
            case _:  # FaultKind.DROP_EVENT: nobody hears of it
                pass

    def _hold(self, wait_ms: int, event: Event, deliver: Deliver) -> None:
        handle = self._timers.after(wait_ms, self._release_held)
        if handle is None:
            deliver(event)
        else:
            self._held.append((event, deliver, handle))

    def _release_held(self, kind: type[Event] | None = None) -> None:
        """Deliver what waits to be overtaken: by an event of its own hub, or None for all."""
        held, self._held = self._held, []
        for event, deliver, handle in held:
            if kind is not None and not isinstance(event, kind):
                self._held.append((event, deliver, handle))
            else:
                self._timers.forget(handle)
                deliver(event)


def _matches(rule: FaultRule, occasion: _Occasion) -> bool:
    """Say whether an occasion that a rule waits for is what it asks for."""
    # For a feed or connection fault these say what is struck, not what it waits for.
    targets = rule.act in CALL_KINDS or rule.act in EVENT_KINDS
    return (
        (rule.account_id is None or rule.account_id == occasion.account_id)
        and (rule.status is None or rule.status == occasion.status)
        and (rule.tag is None or rule.tag in (occasion.tag or ""))
        and (not targets or rule.contract is None or rule.contract in (occasion.contract_id or ""))
        and (not targets or rule.user is None or rule.user == occasion.user)
    )


def _occasion_of(event: Event) -> _Occasion:
    if isinstance(event, UserEvent):
        return _Occasion(
            on=event.target,
            is_call=False,
            account_id=event.account_id,
            contract_id=getattr(event.data, "contract_id", None),
            tag=getattr(event.data, "custom_tag", None),
            status=getattr(event.data, "status", None),
        )
    return _Occasion(on=event.target, is_call=False, contract_id=event.contract_id)
