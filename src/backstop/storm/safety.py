"""The first question: is anything ever done that must not be? Judged by the exchange's truth.

Each rule names the invariant that it holds the guard to. What the guard cannot know it is not
blamed for: a rule about what must be done in time counts only the time in which it ran, was
connected, and could be told.
"""

from collections.abc import Callable
from typing import Final

from backstop.adapters.projectx.wire import ModifyBody, PlaceBody, TradeRow
from backstop.adapters.projectx_server.interference import Call
from backstop.core.step import Note
from backstop.simulator.fault_rules import FaultKind
from backstop.storm.guard_host import GuardHost
from backstop.storm.rules.beliefs import BeliefRules
from backstop.storm.rules.cover import CoverRules
from backstop.storm.rules.exits import ExitRules
from backstop.storm.rules.exposure import ExposureRule
from backstop.storm.rules.flips import FlipRules
from backstop.storm.rules.latches import LatchRules
from backstop.storm.rules.reading import ReadingRule
from backstop.storm.rules.scene import LOOK_S, Scene, Violation
from backstop.storm.rules.sending import SendingRules
from backstop.storm.truth import Truth, sign

NAKED_CALM_S: Final = 3.0
"""One second after the evidence, and what the repair itself takes: orders, answers, events."""

NAKED_RESTLESS_S: Final = 8.0
"""Where every message arrives, and processes die, disks fail and other people trade."""

NAKED_STORM_S: Final = 30.0
"""While events and answers are lost: an audit every 5 s, reads of 10 s, a look-up, a close."""

__all__ = ["LOOK_S", "SafetyWatch", "Violation"]


class SafetyWatch:
    """Shows the rules every call that reaches the venue, every trade, and the state now and then.

    Attributes:
        scene: what they look at, and what they found.
    """

    def __init__(
        self,
        truth: Truth,
        host: GuardHost,
        *,
        now_s: Callable[[], float],
        durable: Callable[[str, str], bool],
        decided_s: Callable[[str, str], float | None],
        recorded_s: Callable[[str, str], float | None],
        disk_troubled: Callable[[], bool],
        is_reachable: Callable[[], bool],
        naked_limit_s: float,
        loses_messages: bool,
        max_tenths: int,
        crowded: bool,
    ) -> None:
        self.scene = Scene(
            truth,
            host,
            now_s=now_s,
            durable=durable,
            decided_s=decided_s,
            recorded_s=recorded_s,
            disk_troubled=disk_troubled,
            is_reachable=is_reachable,
            loses_messages=loses_messages,
        )
        self._sending = SendingRules(self.scene)
        # What others hold and order is not within our limits.
        self._exposure = None if crowded else ExposureRule(self.scene, max_tenths=max_tenths)
        self._cover = CoverRules(self.scene, naked_limit_s=naked_limit_s)
        self._exits = ExitRules(self.scene)
        self._flips = FlipRules(self.scene)
        self._beliefs = BeliefRules(self.scene)
        self._reading = ReadingRule(self.scene)
        # Where other people trade, the firm locks the account for a minute.
        self._latches = LatchRules(self.scene, slow=loses_messages or crowded)
        truth.on_trade = self._on_trade

    @property
    def violations(self) -> list[Violation]:
        """What was broken."""
        return self.scene.violations

    @property
    def foreign_orders(self) -> set[int]:
        """Ids of orders that other people sent; the weather adds to them."""
        return self.scene.foreign_orders

    @property
    def naked_s_max(self) -> float:
        """The longest time for which a position was naked and could be protected."""
        return self._cover.naked_s_max

    def break_rule(self, rule: str, text: str) -> None:
        """Note a broken invariant."""
        self.scene.break_rule(rule, text)

    def disturb(self) -> None:
        """Something happened that the guard may not have been told of."""
        self.scene.disturbed_s = self.scene.now_s()

    def on_fault(self, on: str, act: FaultKind) -> None:
        """Something went wrong at the gateway; the guard may not have been told."""
        self.disturb()
        if act is FaultKind.EMPTY_LIST and on == "Position/searchOpen":
            self.scene.positions_denied()

    # -- calls ---------------------------------------------------------------------------------

    def on_call(self, call: Call) -> None:
        """Look at a request that the server understood, whether the venue acts on it or not."""
        self._sending.on_call(call.endpoint, call.tag)
        self._flips.on_call(call.endpoint, call.tag, call.contract_id)
        self._reading.on_call(call.endpoint)

    def on_place(self, body: PlaceBody) -> None:
        """Look at an order that reaches the venue from the guard."""
        self._sending.on_place(body)
        if self._exposure is not None:
            self._exposure.on_place(body)

    def on_change(self, kind: str, key: int | str) -> None:
        """Look at a cancel, a change or a close that reaches the venue from the guard."""
        self._sending.on_change(kind, key)
        if kind == "cancel" and isinstance(key, int):
            self._cover.on_cancel(key)

    def on_modify(self, body: ModifyBody) -> None:
        """Look at a change that reaches the venue from the guard."""
        self.on_change("modify", body.order_id)

    def on_note(self, note: Note) -> None:
        """Look at what the guard says."""
        self.scene.on_note(note)
        self._beliefs.on_note(note)
        self._latches.on_note(note)

    # -- trades, and the state now and then ----------------------------------------------------

    def _on_trade(self, trade: TradeRow, before: int) -> None:
        row = self.scene.truth.orders.get(trade.order_id)
        after = before + sign(trade.side) * trade.size
        ours = None if trade.order_id in self.scene.foreign_orders else row
        self._cover.on_trade(ours, trade.contract_id, before=before, after=after)
        self._flips.on_trade(row, trade.contract_id, before=before, after=after)

    def look(self) -> None:
        """Look at what must be so by now."""
        guard, able = self.scene.host.guard, self.scene.guard_is_able
        self.scene.told.look(None if guard is None else guard.book)
        self._cover.look(able=able)
        self._exits.look(able=able)
        self._sending.look(able=able)
        self._reading.look(able=able)
        if guard is not None and able:
            self._beliefs.look(guard.book)
            self._latches.look(guard.book)
