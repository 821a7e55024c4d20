"""What every rule may look at, and where it says that something was broken."""

import re
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from backstop.core.step import Note
from backstop.domain.order import OrderState
from backstop.storm.guard_host import GuardHost
from backstop.storm.told import Told, may_be_held
from backstop.storm.truth import Truth

LOOK_S: Final = 0.25

SETTLED_S: Final = 15.0
"""Nothing disturbed the guard for so long: what it knows must be true."""

RACE_S: Final = 5.0
"""Trades that lie this close to each other may cross a request on its way."""

RECOVERY_S: Final = 15.0
"""After a start the account is read first."""

DENIED_S: Final = 60.0
"""Two empty lists within so long say that nothing is held, and two reads are believed."""

OUR_TAG: Final = re.compile(r"^bs-[a-z0-9]+$")
OUR_LEG: Final = re.compile(r"^bs-[a-z0-9]+-(SL|TP)$")


class Violation(Struct, frozen=True, kw_only=True):
    """One broken invariant."""

    at_s: float
    rule: str
    text: str


class Scene:
    """The exchange's truth beside the guard, and how the seed makes it hard for the guard.

    Attributes:
        violations: what was broken.
        disturbed_s: when something last happened that the guard may not have been told of.
        foreign_orders: ids of orders that other people sent.
        durable: says whether a command about an order or a contract is on disk.
        decided_s: says when it was decided; None: it is not on disk.
        recorded_s: says since when it is on disk; None: it is not.
        exits: tags of orders that only reduced, by what the guard knew when it let them pass.
        exits_of: what may have been held then by all that it had been told, by the same tags.
        bare_exits: tags of orders of bots that were let through as exits, without a stop.
        protective: tags of stops and targets that the guard placed itself.
        loses_messages: the weather loses answers and events.
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
        loses_messages: bool,
    ) -> None:
        self.truth = truth
        self.host = host
        self.told = Told(truth, now_s)
        self.now_s = now_s
        self.durable = durable
        self.decided_s = decided_s
        self.recorded_s = recorded_s
        self.disk_troubled = disk_troubled
        self.loses_messages = loses_messages
        self.violations: list[Violation] = []
        self.disturbed_s = now_s()
        self.foreign_orders: set[int] = set()
        self.exits: set[str] = set()
        self.exits_of: dict[str, frozenset[int]] = {}
        self.bare_exits: set[str] = set()
        self.protective: set[str] = set()
        self._is_reachable = is_reachable
        self._denied_s: deque[float] = deque((-DENIED_S, -DENIED_S), maxlen=2)

    def break_rule(self, rule: str, text: str) -> None:
        """Note a broken invariant."""
        self.violations.append(Violation(at_s=self.now_s(), rule=rule, text=text))

    def on_note(self, note: Note) -> None:
        """Keep what the guard took an order for: what it was told late it could not know."""
        if note.name != "order_state" or note.fields["state"] != OrderState.INTENDED:
            return
        guard = self.host.guard
        order = (
            None if guard is None else guard.book.orders.get(str(note.fields["client_order_id"]))
        )
        if guard is not None and order is not None and guard.book.is_exit(order):
            self.exits.add(order.custom_tag)
            held = may_be_held(self.truth, guard.book, order.intent.contract_id)
            self.exits_of.setdefault(order.custom_tag, held)
        if order is not None and order.reduces_risk:
            self.bare_exits.add(order.custom_tag)
        if order is not None and order.role is not None:
            self.protective.add(order.custom_tag)

    def positions_denied(self) -> None:
        """A read of positions was answered with an empty list, whatever is held."""
        self._denied_s.append(self.now_s())

    @property
    def was_told_flat(self) -> bool:
        """The venue has said twice of late that nothing is held: that is believed, true or not."""
        return self.now_s() - self._denied_s[0] < DENIED_S

    @property
    def is_settled(self) -> bool:
        """Nothing has disturbed the guard for a while, and what it sends arrives."""
        return self.now_s() - self.disturbed_s > SETTLED_S and self._is_reachable()

    @property
    def guard_is_able(self) -> bool:
        """The guard runs, reaches the venue, and has read the account."""
        guard = self.host.guard
        return (
            guard is not None
            and not self.host.is_frozen
            and self._is_reachable()
            and guard.book.recovered
            and self.now_s() - self.host.started_s > RECOVERY_S
        )

    def is_quiet(self, contract_id: str) -> bool:
        """Say whether nothing of a contract traded just now."""
        return self.now_s() - self.truth.traded_s.get(contract_id, 0.0) > RACE_S
