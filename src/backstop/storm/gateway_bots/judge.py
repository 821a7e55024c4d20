"""What the bots were told, beside what is true at the exchange.

A success that was told is an order; a definite no is none, then and later; what nobody knows is
said to be unknown. Each tag of a bot is one order at most. What comes over the hub comes once, in
order, and after a reconnect nothing is missing. What one bot does harms no other.
"""

from collections.abc import Callable, Iterator
from typing import Final

from backstop.adapters.projectx.wire import PlaceBody, WireOrderStatus
from backstop.domain.denial import DenialCode
from backstop.storm.gateway_bots.client import NO_ANSWER, OK, TOO_MANY, Told
from backstop.storm.gateway_bots.picture import Fault, Picture
from backstop.storm.truth import Truth

PENDING: Final = 6
"""``errorCode`` of Order/place: nobody knows yet."""

IN_USE: Final = "custom tag is already in use"
"""A no to a second order under one tag; it says nothing of the first."""

DONE_NOTHING: Final = frozenset({400, 401, 404, 405, TOO_MANY})
"""Answers of HTTP to a call that was not acted upon."""

LOOK_UP_S: Final = 5.0
"""How long a call may take for which nothing has to be asked or written."""

Broke = Callable[[str, str], None]


class BotsJudge:
    """Follows the orders of every bot behind the gateway."""

    def __init__(
        self, truth: Truth, *, bots: frozenset[str], broke: Broke, keeps_order: bool
    ) -> None:
        """Judge by ``truth``.

        Args:
            truth: the exchange's.
            bots: the names of all of them.
            broke: hears of each broken rule.
            keeps_order: no event of the broker is lost, so an order is known before its trades.
        """
        self._truth = truth
        self._bots = bots
        self._broke = broke
        self._keeps_order = keeps_order
        self._sent: dict[str, int] = {}  # tag -> how often a bot sent an order under it
        self._refused: dict[str, str] = {}  # tag -> the no that was told
        self._broker_tags: dict[str, list[str]] = {}
        self._name_of: dict[str, str] = {}  # broker tag -> tag
        self._placed: dict[str, int] = {}
        self.reached: set[str] = set()

    def sends(self, tag: str) -> None:
        """Note that an order is about to be sent, perhaps once more."""
        self._sent[tag] = self._sent.get(tag, 0) + 1
        # A 429 did nothing, and bots send what it met again: that is asked anew.
        self._refused.pop(tag, None)

    def intended(self, name: str, broker_tag: str, bot: str | None) -> None:
        """Note what the guard calls an order at the broker; ``bot``: who asked, by its word."""
        if bot not in self._bots:
            return
        if name not in self._sent:
            self._broke("once", f"{name} is an order of {bot}, which never asked for it")
        tags = self._broker_tags.setdefault(name, [])
        if broker_tag not in tags:
            tags.append(broker_tag)
            self._name_of[broker_tag] = name

    def on_place(self, body: PlaceBody) -> None:
        """Look at an order that reaches the exchange."""
        name = self._name_of.get(body.custom_tag or "")
        if name is None:
            return
        count = self._placed[name] = self._placed.get(name, 0) + 1
        if count > 1:
            self._broke("once", f"the order {name} of a bot reached the exchange {count} times")
        if name in self._refused:
            self._broke("no means no", f"{name} was refused ({self._refused[name]}), and is sent")

    def answered(self, tag: str, told: Told) -> None:
        """Look at the answer to an order."""
        self._note_codes(told.message)
        if told.success:
            self._look_at_success(tag, told)
        elif (told.status == OK and told.code == PENDING) or told.status not in {OK, *DONE_NOTHING}:
            return
        elif told.status != OK and self._sent[tag] > 1:
            return  # nothing came of this request; of one before it something may have
        elif IN_USE not in told.message:
            self._look_at_no(tag, f"{told.status} {told.code} {told.message}")

    def _look_at_success(self, tag: str, told: Told) -> None:
        number = told.body.get("orderId")
        row = self._truth.orders.get(number) if isinstance(number, int) else None
        if row is None or row.status == WireOrderStatus.REJECTED:
            self._broke("yes means yes", f"{tag} was told to be order {number}, which is none")
        elif row.custom_tag not in self._broker_tags.get(tag, ()):
            self._broke("yes means yes", f"{tag} was told to be order {number}, which is another")

    def _look_at_no(self, tag: str, no: str) -> None:
        self._refused[tag] = no
        orders = [self._truth.by_tag.get(it) for it in self._broker_tags.get(tag, ())]
        for number in orders:
            if number is not None:
                self._broke("no means no", f"{tag} was refused ({no}), and is order {number}")

    def changed(self, told: Told) -> None:
        """Look at the answer to a change of an order, or to a close."""
        self._note_codes(told.message)

    def _note_codes(self, message: str) -> None:
        for part in message.split("; "):
            code = part.partition(":")[0]
            if code in DenialCode.__members__:
                self.reached.add(code)

    def heard(self, bot: str, faults: list[Fault]) -> None:
        """Look at what is wrong with an event."""
        for fault in faults:
            if fault.rule != "told in order" or self._keeps_order:
                self._broke(fault.rule, f"{bot}: {fault.text}")

    def waited(self, bot: str, path: str, told: Told, seconds: float) -> None:
        """Look at how long a bot that does no harm waited for what takes nothing."""
        if told.status in {NO_ANSWER, TOO_MANY} or seconds > LOOK_UP_S:
            self._broke(
                "nobody starves", f"{bot}: {path} was answered {told.status} after {seconds:.1f} s"
            )

    def differences(self, bot: str, picture: Picture) -> Iterator[str]:
        """Yield what a bot believes otherwise than it is."""
        if not picture.is_whole:
            yield f"{bot} has not read the account"
            return
        for what, here, there in (
            ("orders", picture.live_orders(), set(self._truth.live)),
            ("trades", picture.trades(), set(self._truth.trades)),
        ):
            if here != there:
                yield f"{bot} {what}: lacks {sorted(there - here)}, has {sorted(here - there)} more"
        true = dict(self._truth.open_positions())
        if picture.positions() != true:
            yield f"{bot} positions: true {true}, believed {picture.positions()}"
        for tag, numbers in sorted(picture.ids_by_tag().items()):
            if tag in self._sent and len(numbers) > 1:
                yield f"{bot}: the tag {tag} stands for the orders {sorted(numbers)}"
