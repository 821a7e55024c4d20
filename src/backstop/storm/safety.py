"""The first question: is anything ever done that must not be? Judged by the exchange's truth.

Each rule names the invariant that it holds the guard to. What the guard cannot know it is not
blamed for: a rule about what must be done in time counts only the time in which it ran, was
connected, and could be told.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from backstop.adapters.projectx.wire import (
    ModifyBody,
    OrderRow,
    PlaceBody,
    TradeRow,
    WireOrderStatus,
    WireOrderType,
)
from backstop.app.state_start import NOTHING, WHOLE_JOURNAL
from backstop.core.book import Book
from backstop.core.step import Note
from backstop.core.trading_state import TradingState
from backstop.domain.order import OrderState
from backstop.storm.guard_host import GuardHost
from backstop.storm.truth import STOPS, Truth, sign

LOOK_S: Final = 0.25

NAKED_CALM_S: Final = 3.0
"""One second after the evidence, and what the repair itself takes: orders, answers, events."""

NAKED_RESTLESS_S: Final = 8.0
"""Where every message arrives, and processes die, disks fail and other people trade."""

NAKED_STORM_S: Final = 30.0
"""While events and answers are lost: an audit every 5 s, reads of 10 s, a look-up, a close."""

RECOVERY_S: Final = 15.0
"""After a start the account is read first."""

SETTLED_S: Final = 15.0
"""Nothing disturbed the guard for so long: what it knows must be true."""

RACE_S: Final = 5.0
"""Trades that lie this close to each other may cross a request on its way."""

CLOSING_S: Final = 20.0
"""How long a liquidation may take where every message arrives: refusals are tried again."""

CLOSING_STORM_S: Final = 150.0
"""And where answers are lost, connections freeze, or the account is locked for a minute."""

SURPLUS_S: Final = 45.0
"""How long legs may be larger than the position: what is certain takes two reads, and calls that
may be lost; nothing is lost by it unless the market comes."""

OUR_TAG: Final = re.compile(r"^bs-[a-z0-9]+$")
OUR_LEG: Final = re.compile(r"^bs-[a-z0-9]+-(SL|TP)$")


class Violation(Struct, frozen=True, kw_only=True):
    """One broken invariant."""

    at_s: float
    rule: str
    text: str


class SafetyWatch:
    """Looks at every call that reaches the venue, at every trade, and at the state now and then.

    Attributes:
        violations: what was broken.
        naked_s_max: the longest time for which a position was naked and could be protected.
    """

    def __init__(
        self,
        truth: Truth,
        host: GuardHost,
        *,
        now_s: Callable[[], float],
        durable: Callable[[str, str], bool],
        disk_troubled: Callable[[], bool],
        is_reachable: Callable[[], bool],
        naked_limit_s: float,
        loses_messages: bool,
        max_tenths: int,
        crowded: bool,
    ) -> None:
        self.violations: list[Violation] = []
        self.naked_s_max = 0.0
        self.disturbed_s = now_s()
        self.foreign_orders: set[int] = set()
        self._truth = truth
        self._host = host
        self._now_s = now_s
        self._durable = durable
        self._disk_troubled = disk_troubled
        self._is_reachable = is_reachable
        self._naked_limit_s = naked_limit_s
        self._max_tenths = max_tenths
        self._crowded = crowded
        self._surplus_s: dict[str, float] = {}
        self._closing_s: dict[str, float] = {}
        self._closing_limit_s = CLOSING_STORM_S if loses_messages else CLOSING_S
        self._tags: Counter[str] = Counter()
        self._naked_s: dict[str, float] = {}
        self._flat_s: dict[str, float] = {}
        self._traded: dict[str, tuple[int, float]] = {}  # contract -> newest order that traded
        self._halted_s: float | None = None
        self._recovered_s: float | None = None
        self._latched = (0, 0.0)  # starts, and when a latch was last seen on record; 0: none
        self._resumed_s = -1.0
        truth.on_trade = self._on_trade

    def break_rule(self, rule: str, text: str) -> None:
        """Note a broken invariant."""
        self.violations.append(Violation(at_s=self._now_s(), rule=rule, text=text))

    def disturb(self) -> None:
        """Something happened that the guard may not have been told of."""
        self.disturbed_s = self._now_s()

    @property
    def is_settled(self) -> bool:
        """Nothing has disturbed the guard for a while."""
        return self._now_s() - self.disturbed_s > SETTLED_S

    # -- calls ---------------------------------------------------------------------------------

    def on_call(self, endpoint: str, tag: str | None) -> None:
        """Count a place request by its tag, whether the venue acts on it or not."""
        if endpoint == "Order/place" and tag is not None and OUR_TAG.match(tag):
            self._tags[tag] += 1
            if self._tags[tag] > 1:
                self.break_rule("once", f"the order {tag} was sent {self._tags[tag]} times")

    def on_place(self, body: PlaceBody) -> None:
        """Look at an order that reaches the venue from the guard."""
        tag = body.custom_tag or ""
        position = self._truth.positions.get(body.contract_id, 0)
        grows = position * sign(body.side) >= 0
        if not self._durable("place", tag):
            if not self._disk_troubled():
                self.break_rule("durable before sent", f"order {tag} left before it was on disk")
            elif position == 0 and self._quiet(body.contract_id):
                self.break_rule("fail closed", f"entry {tag} left while the disk took nothing")
        if grows and not self._crowded:
            self._look_at_limit(body)
        guard = self._host.guard
        if guard is not None and grows and body.type not in STOPS:
            state = guard.book.trading_state(guard.now_ns())
            since_s = self._halted_s
            halted = state is TradingState.HALTED and since_s is not None
            if halted and since_s is not None and self._now_s() - since_s > RACE_S:
                self.break_rule("halted", f"entry {tag} left in state HALTED")

    def _look_at_limit(self, body: PlaceBody) -> None:
        """Hold the worst that could fill against the limit; legs open nothing."""
        worst: dict[str, list[int]] = {
            contract_id: [held, held] for contract_id, held in self._truth.positions.items()
        }
        rows = [
            (row.contract_id, row.side, row.size - row.fill_volume)
            for row in self._truth.live.values()
            if not OUR_LEG.match(row.custom_tag or "")
            and row.id not in self.foreign_orders
            and not self._is_protective(row)
        ]
        for contract_id, side, size in (*rows, (body.contract_id, body.side, body.size)):
            low_high = worst.setdefault(contract_id, [0, 0])
            low_high[sign(side) > 0] += sign(side) * size
        tenths = sum(
            max(abs(low), abs(high)) * _tenths(contract_id)
            for contract_id, (low, high) in worst.items()
        )
        if tenths > self._max_tenths and body.custom_tag:
            self.break_rule(
                "within limits",
                f"{body.custom_tag} could bring it to {tenths} tenths of a mini; "
                f"{self._max_tenths} are allowed",
            )

    def _is_protective(self, row: OrderRow) -> bool:
        position = self._truth.positions.get(row.contract_id, 0)
        return row.type in STOPS and sign(row.side) * position < 0

    def on_note(self, note: Note) -> None:
        """Look at what a start says that it found."""
        if note.name in {"state_file_unusable", "records_lost"}:
            self.break_rule("what was synced is whole", note.name)
        anew = note.name == "state_restored" and note.fields["source"] in {WHOLE_JOURNAL, NOTHING}
        if anew and self._has_checkpoint:
            self.break_rule("what was synced is whole", "no checkpoint was there after a start")
        if note.name == "order_state" and note.fields["state"] == OrderState.NOT_SUBMITTED:
            self._look_at_absence(str(note.fields["client_order_id"]))
        if note.name.startswith("resume"):
            self._resumed_s = self._now_s()
        if note.name == "recovered":
            self._recovered_s = self._now_s()

    def _look_at_absence(self, client_order_id: str) -> None:
        guard = self._host.guard
        order = None if guard is None else guard.book.orders.get(client_order_id)
        there = None if order is None else self._truth.by_tag.get(order.custom_tag)
        if there is not None:
            self.break_rule(
                "no conclusion from absence",
                f"{client_order_id} is said to have never arrived, and is order {there}",
            )

    @property
    def _has_checkpoint(self) -> bool:
        """A guard has run for so long that its checkpoint must be on the disk."""
        since_s = self._recovered_s
        return since_s is not None and self._now_s() - since_s > SETTLED_S

    def on_change(self, kind: str, key: int | str) -> None:
        """Look at a cancel, a change or a close that reaches the venue from the guard."""
        if not self._durable(kind, str(key)) and not self._disk_troubled():
            self.break_rule("durable before sent", f"{kind} {key} left before it was on disk")
        if kind == "cancel" and isinstance(key, int):
            self._on_cancel(key)

    def on_modify(self, body: ModifyBody) -> None:
        """Look at a change that reaches the venue from the guard."""
        self.on_change("modify", body.order_id)

    def _on_cancel(self, order_id: int) -> None:
        row = self._truth.live.get(order_id)
        if row is None or row.type not in STOPS:
            return
        position = self._truth.positions.get(row.contract_id, 0)
        if not position or sign(row.side) * position > 0 or not self._quiet(row.contract_id):
            return
        left = self._truth.stop_cover(row.contract_id, without=order_id)
        if left < abs(position):
            self.break_rule(
                "protected or flat",
                f"stop {order_id} was cancelled, and only {left} of {position} {row.contract_id} "
                "stay covered",
            )

    def _quiet(self, contract_id: str) -> bool:
        return self._now_s() - self._truth.traded_s.get(contract_id, 0.0) > RACE_S

    # -- trades --------------------------------------------------------------------------------

    def _on_trade(self, trade: TradeRow, before: int) -> None:
        row = self._truth.orders.get(trade.order_id)
        after = before + sign(trade.side) * trade.size
        contract_id, now_s = trade.contract_id, self._now_s()
        quiet = now_s - self._flat_s.get(contract_id, now_s) > RACE_S
        if row is not None and row.id not in self.foreign_orders:
            self._judge(row, before, after, flat_for_long=before == 0 and quiet)
        self._traded[contract_id] = (trade.order_id, now_s)
        if after == 0:
            self._flat_s[contract_id] = now_s
        else:
            self._flat_s.pop(contract_id, None)

    def _judge(self, row: OrderRow, before: int, after: int, *, flat_for_long: bool) -> None:
        tag = row.custom_tag or ""
        if OUR_LEG.match(tag) and flat_for_long and self.is_settled:
            self.break_rule(
                "no leg outlives its position", f"leg {tag} opened {after} in {row.contract_id}"
            )
        if self._is_close(row.id) and abs(after) > abs(before):
            other, other_s = self._traded.get(row.contract_id, (row.id, 0.0))
            again = other != row.id and self._is_close(other)
            if again and self._now_s() - other_s < RACE_S:
                self.break_rule(
                    "never flipped", f"two closes made {after} of {before} {row.contract_id}"
                )
        flips = before * after < 0
        if flips and row.type == WireOrderType.MARKET and self.is_settled:
            other, other_s = self._traded.get(row.contract_id, (row.id, 0.0))
            if other == row.id or self._now_s() - other_s > RACE_S:
                what = tag or "a close"
                self.break_rule(
                    "never flipped", f"{what} turned {before} into {after} in {row.contract_id}"
                )

    def _is_close(self, order_id: int) -> bool:
        """Say whether an order is a close that the guard asked the venue for."""
        row = self._truth.orders.get(order_id)
        ours = row is not None and row.custom_tag is None and order_id not in self.foreign_orders
        return ours and row is not None and row.type == WireOrderType.MARKET

    # -- the state, now and then -----------------------------------------------------------------

    def look(self) -> None:
        """Look at what must be so by now."""
        guard = self._host.guard
        able = (
            guard is not None
            and not self._host.is_frozen
            and self._is_reachable()
            and guard.book.recovered
            and self._now_s() - self._host.started_s > RECOVERY_S
        )
        for contract_id in [*self._truth.positions]:
            self._look_at_cover(contract_id, able=able)
            self._look_at_surplus(contract_id, able=able)
        if guard is None or not able:
            self._halted_s = None
            return
        self._look_at_liquidations(guard.book)
        self._look_at_latches(latched=bool(guard.book.latches))
        halted = guard.book.trading_state(guard.now_ns()) is TradingState.HALTED
        if not halted:
            self._halted_s = None
        elif self._halted_s is None:
            self._halted_s = self._now_s()
        for order in guard.book.live_orders():
            row = self._truth.orders.get(order.broker_order_id or 0)
            if row is not None and order.filled_quantity > row.fill_volume:
                self.break_rule(
                    "no fill without proof",
                    f"{order.client_order_id} is believed to have {order.filled_quantity}, "
                    f"and has {row.fill_volume}",
                )

    def _look_at_latches(self, *, latched: bool) -> None:
        """What a person has to lift is not lifted by a restart."""
        starts, recorded_s = self._latched
        again = self._host.starts > starts and self._resumed_s < recorded_s
        if again and recorded_s and not latched:
            self.break_rule("machines only reduce", "a latch is gone after a start")
        # While the disk takes nothing a latch may be lost with its process.
        recorded = latched and not self._disk_troubled()
        self._latched = (self._host.starts, self._now_s() if recorded else 0.0)

    def _look_at_liquidations(self, book: Book) -> None:
        """What is to be taken flat is flat soon, whatever the disk does meanwhile."""
        scopes = [book.liquidations[name].contract_id for name in book.liquidating]
        for contract_id, held in self._truth.positions.items():
            covered = held and (None in scopes or contract_id in scopes)
            before_s = self._closing_s.get(contract_id, 0.0)
            now_s = self._closing_s[contract_id] = before_s + LOOK_S if covered else 0.0
            if before_s <= self._closing_limit_s < now_s:
                self.break_rule(
                    "a liquidation ends flat",
                    f"{held} {contract_id} are still held {now_s:g} s after it began",
                )

    def _look_at_cover(self, contract_id: str, *, able: bool) -> None:
        if not self._truth.uncovered(contract_id):
            self._naked_s.pop(contract_id, None)
            return
        if not able:
            return
        before_s = self._naked_s.get(contract_id, 0.0)
        naked_s = self._naked_s[contract_id] = before_s + LOOK_S
        self.naked_s_max = max(self.naked_s_max, naked_s)
        if before_s <= self._naked_limit_s < naked_s:
            held = self._truth.positions[contract_id]
            self.break_rule(
                "protected or flat",
                f"{held} {contract_id} have been naked for {naked_s:g} s "
                f"(limit {self._naked_limit_s:g} s)",
            )

    def _look_at_surplus(self, contract_id: str, *, able: bool) -> None:
        """Legs must not close more than is held: what fires last would open the opposite."""
        held = self._truth.positions[contract_id]
        legs = sum(
            row.size - row.fill_volume
            for row in self._truth.live.values()
            if row.contract_id == contract_id
            and row.status == WireOrderStatus.OPEN
            and row.type in STOPS
            and OUR_LEG.match(row.custom_tag or "")
        )
        if legs <= abs(held):
            self._surplus_s.pop(contract_id, None)
            return
        if not able:
            return
        before_s = self._surplus_s.get(contract_id, 0.0)
        since_s = self._surplus_s[contract_id] = before_s + LOOK_S
        if before_s <= SURPLUS_S < since_s:
            self.break_rule(
                "no leg outlives its position",
                f"stops of {legs} work for {held} {contract_id} since {since_s:g} s",
            )


def _tenths(contract_id: str) -> int:
    """Return what one contract counts in tenths of a mini."""
    return 1 if re.search(r"\.(MES|MNQ)\.", contract_id) else 10
