"""Never flipped: no market order of the guard turns a position around, alone or with another."""

from typing import Final

from backstop.adapters.projectx.wire import OrderRow, WireOrderType
from backstop.storm.rules.scene import RACE_S, Scene

REACT_S: Final = 1.0
"""From a trade that the guard hears of until what it sends can no longer have been on its way."""


class FlipRules:
    """Looks at every trade of an order of the guard."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._traded: dict[str, tuple[int, float]] = {}  # contract -> newest order that traded
        self._crossed: dict[str, tuple[int, float]] = {}  # contract -> newest one before that
        self._sent_s: dict[str, float] = {}  # tag, or contract of a close -> when it was sent

    def on_call(self, endpoint: str, tag: str | None, contract_id: str | None) -> None:
        """Note when an order, or a close, left the guard."""
        if endpoint == "Order/place" and tag is not None:
            self._sent_s[tag] = self._scene.now_s()
        elif endpoint.startswith("Position/") and contract_id is not None:
            self._sent_s[contract_id] = self._scene.now_s()

    def on_trade(self, row: OrderRow | None, contract_id: str, *, before: int, after: int) -> None:
        """Judge one trade by the position before and after it."""
        # What the venue fills beyond what was ordered, nobody could keep from it.
        beyond = row is not None and row.fill_volume > row.size
        if row is not None and not beyond and row.id not in self._scene.foreign_orders:
            self._look_at_closes(row, before, after)
            if before * after < 0 and row.type == WireOrderType.MARKET:
                self._look_at_flip(row, before, after)
        if row is not None:
            newest = self._traded.get(contract_id)
            if newest is not None and newest[0] != row.id:
                self._crossed[contract_id] = newest
            self._traded[contract_id] = (row.id, self._scene.now_s())

    def _look_at_closes(self, row: OrderRow, before: int, after: int) -> None:
        if not self._is_close(row.id) or abs(after) <= abs(before):
            return
        other, other_s = self._traded.get(row.contract_id, (row.id, 0.0))
        again = other != row.id and self._is_close(other)
        if again and self._scene.now_s() - other_s < RACE_S:
            self._scene.break_rule(
                "never flipped", f"two closes made {after} of {before} {row.contract_id}"
            )

    def _look_at_flip(self, row: OrderRow, before: int, after: int) -> None:
        """A market order may cross a trade on its way, and no other."""
        scene, contract_id = self._scene, row.contract_id
        guard = scene.host.guard
        if row.custom_tag is not None and guard is not None and guard.book.policy.allow_flip:
            return
        other, other_s = self._traded.get(contract_id, (row.id, 0.0))
        if other == row.id:  # it fills in parts
            other, other_s = self._crossed.get(contract_id, (row.id, 0.0))
        alone = other == row.id or scene.now_s() - other_s > RACE_S
        sent_s = self._sent_s.get(row.custom_tag or contract_id, 0.0)
        knew = scene.told.was_complete(contract_id, sent_s - REACT_S)
        knew = knew and not scene.disk_troubled()  # it leaves long after it was decided then
        if knew or (scene.is_settled and alone):
            what = row.custom_tag or "a close"
            scene.break_rule("never flipped", f"{what} turned {before} into {after} {contract_id}")

    def _is_close(self, order_id: int) -> bool:
        """Say whether an order is a close that the guard asked the venue for."""
        row = self._scene.truth.orders.get(order_id)
        ours = row is not None and row.custom_tag is None
        ours = ours and order_id not in self._scene.foreign_orders
        return ours and row is not None and row.type == WireOrderType.MARKET
