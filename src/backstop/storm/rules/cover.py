"""Protected or flat: stops cover each position, stay with it, and go when it is gone."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from backstop.adapters.projectx.wire import OrderRow, WireOrderStatus
from backstop.storm.rules.scene import LOOK_S, OUR_LEG, RACE_S, Scene
from backstop.storm.told import may_be_held
from backstop.storm.truth import STOPS, sign

SURPLUS_S: Final = 45.0
"""How long legs may be larger than all that was held meanwhile: what is certain takes two reads;
nothing is lost by it unless the market comes."""

CANCEL_RACE_S: Final = 1.5
"""A position that is younger may have come about while the cancel of its stop was on its way."""

TOLD_S: Final = 0.2
"""By then an event has arrived that nothing keeps from it."""

ONE_MOMENT_S: Final = 0.1
"""A fill, and the legs that begin to work with it, come about within so long."""


@dataclass
class _Surplus:
    """For how long legs are larger than the position, and the most that was held meanwhile."""

    since_s: float = 0.0
    held_most: int = 0


class CoverRules:
    """Times naked positions and legs that are too large; looks at each cancel of a stop.

    Attributes:
        naked_s_max: the longest time for which a position was naked and could be protected.
    """

    def __init__(self, scene: Scene, *, naked_limit_s: float) -> None:
        self.naked_s_max = 0.0
        self._scene = scene
        self._naked_limit_s = naked_limit_s
        self._naked_s: dict[str, float] = {}
        self._surplus: dict[str, _Surplus] = {}
        self._flat_s: dict[str, float] = {}

    def on_cancel(self, order_id: int) -> None:
        """Look at a cancel from the guard that reaches the venue."""
        truth = self._scene.truth
        row = truth.live.get(order_id)
        if row is None or row.type not in STOPS:
            return
        position = truth.positions.get(row.contract_id, 0)
        young_s = self._scene.now_s() - truth.traded_s.get(row.contract_id, 0.0)
        if not position or sign(row.side) * position > 0:
            return
        if young_s < CANCEL_RACE_S and not self._worked_for_it(row):
            return
        if self._scene.was_told_flat:
            return
        left = truth.stop_cover(row.contract_id, without=order_id)
        # What is held on the side of the stop, or may be, is not what the stop protects.
        needed = (
            max(0, -held * sign(row.side)) for held in self._held_since_decided(row, position)
        )
        if left < min(needed):
            self._scene.break_rule(
                "protected or flat",
                f"stop {order_id} was cancelled, and only {left} of {position} {row.contract_id} "
                "stay covered",
            )

    def _worked_for_it(self, row: OrderRow) -> bool:
        """Say whether a leg had begun to work with a position before its cancel was decided.

        A leg that works says that its entry has filled, and that position has been there since:
        whoever cancels the leg is not sure of what it says, be the trade as young as it may.
        """
        scene, truth = self._scene, self._scene.truth
        if not OUR_LEG.match(row.custom_tag or ""):
            return False
        opened_s = truth.opened_s[row.id]
        decided_s = scene.decided_s("cancel", str(row.id))
        since_s = truth.held_s.get(row.contract_id, opened_s)
        return (
            decided_s is not None
            and decided_s > opened_s + TOLD_S
            and since_s < opened_s + ONE_MOMENT_S
        )

    def _shown_by(self, leg: OrderRow) -> frozenset[int]:
        """Return the trades that brought a leg about: that it works tells of them."""
        truth = self._scene.truth
        entry_tag = (leg.custom_tag or "").rpartition("-")[0]
        since_s = truth.opened_s[leg.id] + ONE_MOMENT_S
        early = {it.trade_id for it in truth.news.get(leg.contract_id, ()) if it.at_s <= since_s}
        trades = (truth.trades[it] for it in early if it in truth.trades)
        return frozenset(
            it.id
            for it in trades
            if (entry := truth.orders.get(it.order_id)) and entry.custom_tag == entry_tag
        )

    def _held_since_decided(self, row: OrderRow, position: int) -> AbstractSet[int]:
        """Return what was held when a cancel was decided, and since: what fills on its way counts.

        So does what may be held by all that the guard was told. The legs of an entry begin to work
        a moment after it has filled.
        """
        scene, guard = self._scene, self._scene.host.guard
        seen = self._shown_by(row) if self._worked_for_it(row) else frozenset[int]()
        told = (
            may_be_held(scene.truth, guard.book, row.contract_id, seen=seen)
            if guard
            else frozenset[int]()
        )
        decided_s = scene.decided_s("cancel", str(row.id))
        if decided_s is None:
            return told | {position}
        return told | scene.truth.held_of_late(row.contract_id, since_s=decided_s)

    def on_trade(self, row: OrderRow | None, contract_id: str, *, before: int, after: int) -> None:
        """Look at a leg that opened a position, long after the one that it belonged to."""
        scene = self._scene
        now_s = scene.now_s()
        long_flat = now_s - self._flat_s.get(contract_id, now_s) > RACE_S
        if after == 0:
            self._flat_s[contract_id] = now_s
        else:
            self._flat_s.pop(contract_id, None)
        tag = "" if row is None else row.custom_tag or ""
        # Nobody takes legs away where no guard runs: what is left then fills as it may.
        could = scene.is_settled and scene.guard_is_able
        if OUR_LEG.match(tag) and before == 0 and long_flat and could:
            scene.break_rule(
                "no leg outlives its position", f"leg {tag} opened {after} in {contract_id}"
            )

    def look(self, *, able: bool) -> None:
        """Look at every contract; time counts only while the guard can do something."""
        for contract_id in [*self._scene.truth.positions]:
            self._look_at_cover(contract_id, able=able)
            self._look_at_surplus(contract_id, able=able)

    def _look_at_cover(self, contract_id: str, *, able: bool) -> None:
        scene = self._scene
        if not scene.truth.uncovered(contract_id):
            self._naked_s.pop(contract_id, None)
            return
        if not able:
            return
        before_s = self._naked_s.get(contract_id, 0.0)
        naked_s = self._naked_s[contract_id] = before_s + LOOK_S
        self.naked_s_max = max(self.naked_s_max, naked_s)
        if before_s <= self._naked_limit_s < naked_s:
            held = scene.truth.positions[contract_id]
            scene.break_rule(
                "protected or flat",
                f"{held} {contract_id} have been naked for {naked_s:g} s "
                f"(limit {self._naked_limit_s:g} s)",
            )

    def _look_at_surplus(self, contract_id: str, *, able: bool) -> None:
        """Legs must not close more than is held: what fires last would open the opposite."""
        truth = self._scene.truth
        held = truth.positions[contract_id]
        legs = sum(
            row.size - row.fill_volume
            for row in truth.live.values()
            if row.contract_id == contract_id
            and row.status == WireOrderStatus.OPEN
            and row.type in STOPS
            and OUR_LEG.match(row.custom_tag or "")
        )
        if legs <= abs(held):
            self._surplus.pop(contract_id, None)
            return
        if not able:
            return
        surplus = self._surplus.setdefault(contract_id, _Surplus())
        surplus.since_s += LOOK_S
        surplus.held_most = max(surplus.held_most, abs(held))
        if surplus.since_s <= SURPLUS_S:
            return
        if legs > surplus.held_most:
            self._scene.break_rule(
                "no leg outlives its position",
                f"stops of {legs} work for {held} {contract_id} since {surplus.since_s:g} s",
            )
        # Of what was filled meanwhile nobody could know so long: it has as long again.
        self._surplus[contract_id] = _Surplus()
