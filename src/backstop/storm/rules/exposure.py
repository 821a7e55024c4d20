"""Within limits: what is held and what could fill, orders of unknown fate included."""

import re

from backstop.adapters.projectx.wire import OrderRow, PlaceBody
from backstop.storm.rules.scene import OUR_LEG, RACE_S, Scene
from backstop.storm.truth import STOPS, sign


class ExposureRule:
    """Holds the worst that could fill against the limit at each order that could enlarge it."""

    def __init__(self, scene: Scene, *, max_tenths: int) -> None:
        self._scene = scene
        self._max_tenths = max_tenths

    def on_place(self, body: PlaceBody) -> None:
        """Look at an order that reaches the venue; legs open nothing."""
        truth = self._scene.truth
        if not body.custom_tag or body.custom_tag in self._scene.exits:
            return
        if truth.positions.get(body.contract_id, 0) * sign(body.side) < 0:
            return
        worst: dict[str, list[int]] = {
            contract_id: [held, held] for contract_id, held in truth.positions.items()
        }
        rows = [
            (row.contract_id, row.side, row.size - row.fill_volume)
            for row in truth.live.values()
            if self._could_open(row)
        ]
        for contract_id, side, size in (*rows, (body.contract_id, body.side, body.size)):
            low_high = worst.setdefault(contract_id, [0, 0])
            low_high[sign(side) > 0] += sign(side) * size
        tenths = sum(
            max(abs(low), abs(high)) * _tenths(contract_id)
            for contract_id, (low, high) in worst.items()
        )
        if tenths > self._max_tenths:
            self._scene.break_rule(
                "within limits",
                f"{body.custom_tag} could bring it to {tenths} tenths of a mini; "
                f"{self._max_tenths} are allowed",
            )

    def _could_open(self, row: OrderRow) -> bool:
        """Say whether an order could open something: what protects a position does not."""
        # Also a stop of what was held before a trade that crossed the order on its way.
        since_s = self._scene.now_s() - RACE_S
        held = self._scene.truth.held_of_late(row.contract_id, since_s=since_s)
        may_protect = row.type in STOPS or row.custom_tag in self._scene.protective
        protects = may_protect and any(sign(row.side) * it < 0 for it in held)
        is_leg = OUR_LEG.match(row.custom_tag or "") is not None
        return not is_leg and not protects and row.id not in self._scene.foreign_orders


def _tenths(contract_id: str) -> int:
    """Return what one contract counts in tenths of a mini."""
    return 1 if re.search(r"\.(MES|MNQ)\.", contract_id) else 10
