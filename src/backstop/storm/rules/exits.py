"""No exit outlives its position: what was let through as an exit has no stop of its own."""

from typing import Final

from backstop.adapters.projectx.wire import WireOrderStatus
from backstop.storm.rules.scene import LOOK_S, Scene
from backstop.storm.truth import STOPS, sign

BEYOND_S: Final = 45.0
"""How long exits may close more than is held: it may take reads to know, a refusal to shrink, and
a cancel that gets lost."""


class ExitRules:
    """Times the exits of each contract and side that close more than is held."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._beyond_s: dict[tuple[str, int], float] = {}

    def look(self, *, able: bool) -> None:
        """Look at every exit that works; time counts only while the guard can do something."""
        scene, sizes = self._scene, self._open()
        for key in [*self._beyond_s]:
            if key not in sizes:
                del self._beyond_s[key]
        for (contract_id, side), size in sizes.items():
            held = scene.truth.positions.get(contract_id, 0)
            if size <= max(0, -held * side):
                self._beyond_s.pop((contract_id, side), None)
                continue
            if not able:
                continue
            before_s = self._beyond_s.get((contract_id, side), 0.0)
            since_s = self._beyond_s[contract_id, side] = before_s + LOOK_S
            if before_s <= BEYOND_S < since_s:
                scene.break_rule(
                    "no exit outlives its position",
                    f"exits of {size} work for {held} {contract_id} since {since_s:g} s",
                )

    def _open(self) -> dict[tuple[str, int], int]:
        """Return the contracts of all exits that bots sent, by contract and sign of their side."""
        sizes: dict[tuple[str, int], int] = {}
        for row in self._scene.truth.live.values():
            is_exit = row.custom_tag in self._scene.bare_exits and row.type not in STOPS
            if is_exit and row.status == WireOrderStatus.OPEN:
                key = row.contract_id, sign(row.side)
                sizes[key] = sizes.get(key, 0) + row.size - row.fill_volume
        return sizes
