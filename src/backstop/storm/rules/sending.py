"""What leaves: each order once, on the disk before it is sent, and no entry from a halted guard."""

from collections import Counter

from backstop.adapters.projectx.wire import OrderRow, PlaceBody, WireOrderType
from backstop.core.trading_state import TradingState
from backstop.storm.rules.scene import OUR_TAG, RACE_S, Scene
from backstop.storm.truth import STOPS, sign


class SendingRules:
    """Looks at every call that reaches the venue."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._tags: Counter[str] = Counter()
        self._halted_s: float | None = None

    def on_call(self, endpoint: str, tag: str | None) -> None:
        """Count a place request by its tag, whether the venue acts on it or not."""
        if endpoint == "Order/place" and tag is not None and OUR_TAG.match(tag):
            self._tags[tag] += 1
            if self._tags[tag] > 1:
                self._scene.break_rule("once", f"the order {tag} was sent {self._tags[tag]} times")

    def on_place(self, body: PlaceBody) -> None:
        """Look at an order that reaches the venue from the guard."""
        scene, tag = self._scene, body.custom_tag or ""
        position = scene.truth.positions.get(body.contract_id, 0)
        if not scene.durable("place", tag):
            if not scene.disk_troubled():
                scene.break_rule("durable before sent", f"order {tag} left before it was on disk")
            elif position == 0 and scene.is_quiet(body.contract_id) and not self._reduced(body):
                scene.break_rule("fail closed", f"entry {tag} left while the disk took nothing")
        grows = position * sign(body.side) >= 0
        guard, since_s = scene.host.guard, self._halted_s
        entry = grows and body.type not in STOPS and tag not in scene.exits
        if guard is None or since_s is None or not entry:
            return
        halted = guard.book.trading_state(guard.now_ns()) is TradingState.HALTED
        recorded_s = scene.recorded_s("place", tag)
        # One that was on disk before may be long on its way.
        if halted and (scene.now_s() if recorded_s is None else recorded_s) - since_s > RACE_S:
            scene.break_rule("halted", f"entry {tag} left in state HALTED")

    def _reduced(self, body: PlaceBody) -> bool:
        """Say whether an order took away from what the guard had to take for held, or covered it.

        That it was gone nobody had told the guard when it let the order pass.
        """
        held = self._scene.exits_of.get(body.custom_tag or "", frozenset())
        return any(it * sign(body.side) < 0 and body.size <= abs(it) for it in held)

    def on_change(self, kind: str, key: int | str) -> None:
        """Look at a cancel, a change or a close that reaches the venue from the guard."""
        scene = self._scene
        if not scene.durable(kind, str(key)) and not scene.disk_troubled():
            scene.break_rule("durable before sent", f"{kind} {key} left before it was on disk")
        if kind == "close":
            self._look_at_close(str(key))

    def _look_at_close(self, contract_id: str) -> None:
        """A second close beside one that is under way closes the position twice."""
        scene = self._scene
        under_way = [row.id for row in scene.truth.live.values() if self._closes(row, contract_id)]
        if under_way:
            scene.break_rule(
                "one close at a time",
                f"{contract_id} is being closed by order {under_way[0]}, and a close came again",
            )

    def _closes(self, row: OrderRow, contract_id: str) -> bool:
        """Say whether a live order is a close that the guard asked for."""
        ours = row.custom_tag is None and row.id not in self._scene.foreign_orders
        return ours and row.contract_id == contract_id and row.type == WireOrderType.MARKET

    def look(self, *, able: bool) -> None:
        """Note since when the guard has been halted."""
        guard = self._scene.host.guard
        state = guard.book.trading_state(guard.now_ns()) if guard is not None and able else None
        if state is not TradingState.HALTED:
            self._halted_s = None
        elif self._halted_s is None:
            self._halted_s = self._scene.now_s()
