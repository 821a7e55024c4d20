"""What the guard believes: nothing that never was, and before long what is true."""

from typing import Final

from backstop.core.book import Book
from backstop.core.positions import PositionView
from backstop.core.step import Note
from backstop.domain.alert_code import AlertCode
from backstop.domain.order import OrderState
from backstop.storm.rules.scene import LOOK_S, Scene

MISTAKEN_LOSSY_S: Final = 45.0
"""How long a position may be believed wrongly while events and answers get lost."""

MISTAKEN_S: Final = 10.0
"""And where every answer arrives: the account is read every 5 s, and two reads decide."""

SURE_S: Final = 0.5
"""The guard was told of every trade this long ago: each of them has been counted."""


class BeliefRules:
    """Holds the guard's book against the exchange's truth."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._mistaken_s: dict[str, float] = {}
        self._invented: dict[str, int] = {}  # contract -> looks in a row
        self._adjusted: dict[str, int] = {}  # contract -> contracts that no trade explained
        self._limit_s = MISTAKEN_LOSSY_S if scene.loses_messages else MISTAKEN_S

    def on_note(self, note: Note) -> None:
        """Look at what the guard concludes about its orders."""
        if note.name == "order_state" and note.fields["state"] == OrderState.NOT_SUBMITTED:
            self._look_at_absence(str(note.fields["client_order_id"]))
        elif note.name == "alert" and note.fields["code"] == AlertCode.POSITION_ADJUSTED:
            self._look_at_adjustments()

    def _look_at_absence(self, client_order_id: str) -> None:
        guard = self._scene.host.guard
        order = None if guard is None else guard.book.orders.get(client_order_id)
        there = None if order is None else self._scene.truth.by_tag.get(order.custom_tag)
        if there is not None:
            self._scene.break_rule(
                "no conclusion from absence",
                f"{client_order_id} is said to have never arrived, and is order {there}",
            )

    def _look_at_adjustments(self) -> None:
        """Reads move a position whose every trade is known to what is true, or they were old."""
        scene = self._scene
        guard, now_s = scene.host.guard, scene.now_s()
        if guard is None or scene.was_told_flat:
            return
        for contract_id, view in guard.book.positions.items():
            true = scene.truth.positions.get(contract_id, 0)
            same = view.adjustment == self._adjusted.get(contract_id, 0)
            if same or view.ledger == true or not scene.told.was_complete(contract_id, now_s):
                continue
            scene.break_rule(
                "no conclusion from an old picture",
                f"reads moved {contract_id} to {view.ledger}; every trade is known, and {true} are "
                "held",
            )

    def look(self, book: Book) -> None:
        """Look at orders and positions as the guard has them."""
        self._adjusted = {it.contract_id: it.adjustment for it in book.positions.values()}
        for order in book.live_orders():
            row = self._scene.truth.orders.get(order.broker_order_id or 0)
            if row is not None and order.filled_quantity > row.fill_volume:
                self._scene.break_rule(
                    "no fill without proof",
                    f"{order.client_order_id} is believed to have {order.filled_quantity}, "
                    f"and has {row.fill_volume}",
                )
        for contract_id, true in self._scene.truth.positions.items():
            view = book.positions.get(contract_id)
            believed = 0 if view is None else view.quantity
            if self._was_read_away(view):
                self._invented.pop(contract_id, None)
            else:
                self._look_at_invention(contract_id, believed)
            self._look_at_mistake(contract_id, believed, true)

    def _was_read_away(self, view: PositionView | None) -> bool:
        """Say whether empty lists moved a position to nothing: two are believed, true or not.

        A sum of trades that comes to nothing is none of those, whatever the venue has said.
        """
        if view is None or view.adjustment == 0:
            return False
        return view.quantity == view.ledger == 0 and self._scene.was_told_flat

    def _look_at_invention(self, contract_id: str, believed: int) -> None:
        """A guard that knows every trade believes no position that there never was."""
        scene = self._scene
        sure = scene.told.was_complete(contract_id, scene.now_s() - SURE_S)
        if not sure or believed in scene.truth.held_of_late(contract_id):
            self._invented.pop(contract_id, None)
            return
        looks = self._invented[contract_id] = self._invented.get(contract_id, 0) + 1
        if looks == 2:  # noqa: PLR2004 - one alone may fall between two events of one moment
            scene.break_rule(
                "no position without proof",
                f"{believed} {contract_id} are believed to be held; every trade is known, and it "
                f"never was more or less than {sorted(scene.truth.held_of_late(contract_id))}",
            )

    def _look_at_mistake(self, contract_id: str, believed: int, true: int) -> None:
        if believed == true:
            self._mistaken_s.pop(contract_id, None)
            return
        before_s = self._mistaken_s.get(contract_id, 0.0)
        since_s = self._mistaken_s[contract_id] = before_s + LOOK_S
        if before_s <= self._limit_s < since_s:
            self._scene.break_rule(
                "belief follows the truth",
                f"{believed} {contract_id} are believed to be held for {since_s:g} s, and there "
                f"are {true}",
            )
