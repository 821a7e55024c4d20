"""The named points at which a process dies: where, in which story, and who goes with it.

``docs/reference/kill-matrix.md`` is written from this table.
"""

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct
from tests.acceptance.kill_matrix.held import HELD, Held

from backstop.simulator.fault_rules import FaultKind

JOURNAL = ("backstop.adapters.sqlite.journal_writer", "JournalWriter._write")
GATEWAY = "backstop.adapters.projectx.gateway"
DISK = "backstop.adapters.disk"
STATE_FILES = "backstop.adapters.state_file"
WATCHDOG = "backstop.emergency.watch_duty"


class Victim(StrEnum):
    """Who is killed."""

    GUARD = "GUARD"
    WATCHDOG = "WATCHDOG"
    LIQUIDATE = "LIQUIDATE"
    BOTH = "BOTH"


class Story(StrEnum):
    """What the account lives through around the death; its steps are the names below."""

    ORDER = "ORDER"
    PROTECTION = "PROTECTION"
    LIQUIDATION = "LIQUIDATION"
    RESTART = "RESTART"
    ABANDONED = "ABANDONED"


STEPS: dict[Story, tuple[str, ...]] = {
    Story.ORDER: ("enter", "rest", "change", "cancel"),
    Story.PROTECTION: ("enter", "repair", "move", "shrink", "orphan"),
    Story.LIQUIDATION: ("enter", "rest", "liquidate"),
    Story.RESTART: ("enter", "rest", "restart"),
    Story.ABANDONED: ("enter", "abandon"),
}

TOLD: dict[Story, str] = {
    Story.ORDER: "two contracts are opened with stop and target; a limit order rests, is changed "
    "and is cancelled",
    Story.PROTECTION: "two contracts are opened; somebody takes their stop away and it is put "
    "back; it is moved; one contract is closed; somebody else closes the rest",
    Story.LIQUIDATION: "two contracts are opened, a limit order rests, and a person has the "
    "account taken flat",
    Story.RESTART: "two contracts are opened, a limit order rests, and the guard is killed: its "
    "successor dies as well, on the way back",
    Story.ABANDONED: "two contracts are opened and the guard is killed for good: the watchdog has "
    "the account taken flat by a process of its own",
}


class Seam(NamedTuple):
    """A function of the product: the point is right before it is called, or right after."""

    module: str
    attribute: str
    after: bool = False
    words: tuple[str, ...] = ()  # all of them stand in what the function is called with
    passes: int = 1
    process: Victim = Victim.GUARD  # the one that passes


class Call(NamedTuple):
    """A call that the venue has acted upon and whose answer is still on its way."""

    endpoint: str
    act: FaultKind = FaultKind.DELAY_RESPONSE
    silent_hub: bool = False  # nor does the hub tell of it


class Point(Struct, frozen=True, kw_only=True):
    """One point.

    Attributes:
        name: its name, for the command line and for people.
        title: what has been done by then, and what has not.
        story: the story that passes it.
        step: the step in which the next pass counts.
        at: where it is.
        victims: who is killed there, one after the other in runs of their own.
        slow: the broker's proof that an order never came takes half a minute.
        short: the victim with which it is part of the short form.
    """

    name: str
    title: str
    story: Story
    step: str
    at: Seam | Call
    victims: tuple[Victim, ...] = (Victim.GUARD, Victim.BOTH)
    slow: bool = False
    short: Victim | None = None


def _committed(kind: str, *, after: bool, words: tuple[str, ...] = ()) -> Seam:
    return Seam(*JOURNAL, after=after, words=(f'"kind":"{kind}"', *words))


def _gateway(call: str, *, after: bool = False) -> Seam:
    return Seam(GATEWAY, f"ProjectXGateway.{call}", after=after)


def _order(name: str, title: str, step: str, at: Seam | Call, **more: object) -> Point:
    return Point(name=f"order.{name}", title=title, story=Story.ORDER, step=step, at=at, **more)  # type: ignore[arg-type]


def _state(name: str, title: str, at: Seam, **more: object) -> Point:
    return Point(name=f"state.{name}", title=title, story=Story.ORDER, step="rest", at=at, **more)  # type: ignore[arg-type]


def _protection(name: str, title: str, step: str, at: Seam | Call, **more: object) -> Point:
    return Point(
        name=f"protection.{name}",
        title=title,
        story=Story.PROTECTION,
        step=step,
        at=at,
        **more,  # type: ignore[arg-type]
    )


def _liquidation(name: str, title: str, at: Seam | Call, **more: object) -> Point:
    return Point(
        name=f"liquidation.{name}",
        title=title,
        story=Story.LIQUIDATION,
        step="liquidate",
        at=at,
        **more,  # type: ignore[arg-type]
    )


def _restart(name: str, title: str, at: Seam, **more: object) -> Point:
    return Point(
        name=f"restart.{name}",
        title=title,
        story=Story.RESTART,
        step="restart",
        at=at,
        **more,  # type: ignore[arg-type]
    )


def _abandoned(name: str, title: str, at: Seam | Call, **more: object) -> Point:
    return Point(
        name=f"abandoned.{name}",
        title=title,
        story=Story.ABANDONED,
        step="abandon",
        at=at,
        **more,  # type: ignore[arg-type]
    )


EVERYBODY = (Victim.GUARD, Victim.WATCHDOG, Victim.BOTH)
WITH_THE_COMMAND = (Victim.LIQUIDATE, Victim.BOTH)

POINTS: tuple[Point, ...] = (
    # -- an order --------------------------------------------------------------------------------
    _order(
        "intent-undecided-on-disk",
        "the entry is decided, its record not committed",
        "enter",
        _committed("OrderRequested", after=False),
        victims=EVERYBODY,
        short=Victim.BOTH,
    ),
    _order(
        "intent-on-disk",
        "the entry is committed, nobody has been told and nothing has left",
        "enter",
        _committed("OrderRequested", after=True),
        slow=True,
    ),
    _order(
        "place-not-sent",
        "the order is about to leave",
        "enter",
        _gateway("place_order"),
        slow=True,
    ),
    _order(
        "place-unanswered",
        "the venue has the order, its answer is on the way",
        "enter",
        Call("Order/place"),
        victims=EVERYBODY,
        short=Victim.GUARD,
    ),
    _order(
        "place-unanswered-hub-silent",
        "the venue has the order, and neither answer nor event tells of it",
        "enter",
        Call("Order/place", silent_hub=True),
    ),
    _order(
        "place-answered",
        "the venue's answer is there, and no fact yet",
        "enter",
        _gateway("place_order", after=True),
    ),
    _order(
        "answer-not-on-disk",
        "the answer is a fact, its record not committed",
        "enter",
        _committed("PlaceAnswered", after=False),
    ),
    _order(
        "answer-on-disk",
        "the answer is committed, and the bot has not heard of it",
        "enter",
        _committed("PlaceAnswered", after=True),
    ),
    _order(
        "order-event",
        "the hub's first word about the order is received and not understood yet",
        "enter",
        Seam(
            "backstop.adapters.projectx.user_hub", "UserHub.on_event", words=("GatewayUserOrder",)
        ),
    ),
    _order(
        "trade-event",
        "the first fill is received and not understood yet",
        "enter",
        Seam(
            "backstop.adapters.projectx.user_hub", "UserHub.on_event", words=("GatewayUserTrade",)
        ),
        short=Victim.BOTH,
    ),
    _order(
        "second-trade-event",
        "the second half of the fill is received, the first is on record",
        "enter",
        Seam(
            "backstop.adapters.projectx.user_hub",
            "UserHub.on_event",
            words=("GatewayUserTrade",),
            passes=2,
        ),
    ),
    _order(
        "fill-not-on-disk",
        "a fill is counted in memory, its record and its audit row not committed",
        "enter",
        _committed("TradeReported", after=False),
        victims=EVERYBODY,
    ),
    _order(
        "fill-on-disk",
        "a fill, its row and the key of its doubles are committed in one transaction",
        "enter",
        _committed("TradeReported", after=True),
    ),
    _order(
        "proof-signed",
        "the execution proof is signed and in memory only",
        "enter",
        Seam("backstop.app.proofs", "ProofMaker.make", after=True),
    ),
    _order(
        "proof-on-disk",
        "the proof is committed and not handed out",
        "enter",
        Seam("backstop.app.recording", "Recorder.keep"),
    ),
    _order(
        "note-not-outside",
        "records are committed, the signed note about them not written outside the database",
        "enter",
        Seam("backstop.adapters.checkpoints", "CheckpointFolder._append"),
    ),
    _order(
        "note-outside",
        "the signed note is outside and on disk",
        "enter",
        Seam("backstop.adapters.checkpoints", "CheckpointFolder._append", after=True),
    ),
    _order(
        "resting-unanswered",
        "the venue has the limit order, its answer is on the way",
        "rest",
        Call("Order/place"),
    ),
    _order(
        "change-not-sent",
        "a change of the price is committed and about to leave",
        "change",
        _gateway("modify_order"),
    ),
    _order(
        "change-unanswered",
        "the venue has changed the order, its answer is on the way",
        "change",
        Call("Order/modify"),
    ),
    _order(
        "change-answered",
        "the change is answered, and no fact yet",
        "change",
        _gateway("modify_order", after=True),
    ),
    _order(
        "change-on-disk",
        "the answer to the change is committed",
        "change",
        _committed("ModifyAnswered", after=True),
    ),
    _order(
        "cancel-not-sent",
        "a cancel is committed and about to leave",
        "cancel",
        _gateway("cancel_order"),
    ),
    _order(
        "cancel-unanswered",
        "the venue has cancelled the order, its answer is on the way",
        "cancel",
        Call("Order/cancel"),
    ),
    _order(
        "cancel-answered",
        "the cancel is answered, and no fact yet",
        "cancel",
        _gateway("cancel_order", after=True),
    ),
    # -- the state on disk ------------------------------------------------------------------------
    _state(
        "created",
        "the new state file has a name and no content",
        Seam(DISK, "Disk.create", after=True),
    ),
    _state(
        "written",
        "the new state is written and not synced",
        Seam(DISK, "Disk.sync"),
    ),
    _state(
        "not-renamed",
        "the generations are turned, the new state has not taken its place",
        Seam(STATE_FILES, "StateFiles._take_place"),
        victims=EVERYBODY,
        short=Victim.GUARD,
    ),
    _state(
        "renamed",
        "the new state has taken its place, the folder is not synced",
        Seam(DISK, "Disk.sync_folder"),
    ),
    _state(
        "durable",
        "the new state is on disk, and the guard has not heard of it",
        Seam(STATE_FILES, "StateFiles.write", after=True),
    ),
    # -- protection -------------------------------------------------------------------------------
    _protection(
        "naked-known",
        "the account has no stop any more, and the record of that is not committed",
        "repair",
        _committed("OrderReported", after=False),
    ),
    _protection(
        "stop-not-sent",
        "the new stop is committed and about to leave",
        "repair",
        _gateway("place_order"),
        slow=True,
    ),
    _protection(
        "stop-unanswered",
        "the venue has the new stop, its answer is on the way",
        "repair",
        Call("Order/place"),
        victims=EVERYBODY,
        short=Victim.GUARD,
    ),
    _protection(
        "stop-unanswered-hub-silent",
        "the venue has the new stop, and neither answer nor event tells of it",
        "repair",
        Call("Order/place", silent_hub=True),
    ),
    _protection(
        "stop-answered",
        "the new stop is answered, and no fact yet",
        "repair",
        _gateway("place_order", after=True),
    ),
    _protection(
        "stop-on-disk",
        "the answer to the new stop is committed",
        "repair",
        _committed("PlaceAnswered", after=True),
    ),
    _protection(
        "move-not-sent",
        "the new level of the stop is committed and about to leave",
        "move",
        _gateway("modify_order"),
    ),
    _protection(
        "move-unanswered",
        "the venue has moved the stop, its answer is on the way",
        "move",
        Call("Order/modify"),
    ),
    _protection(
        "shrink-known",
        "the exit is filled, and the smaller position not on record",
        "shrink",
        _committed("TradeReported", after=False),
    ),
    _protection(
        "shrink-not-sent",
        "the stop is larger than the position, its change about to leave",
        "shrink",
        _gateway("modify_order"),
    ),
    _protection(
        "shrink-unanswered",
        "the venue has shrunk a leg, its answer is on the way",
        "shrink",
        Call("Order/modify"),
    ),
    _protection(
        "orphan-not-sent",
        "the position is gone, the cancel of its stop about to leave",
        "orphan",
        _gateway("cancel_order"),
    ),
    _protection(
        "orphan-unanswered",
        "the venue has cancelled the stop, its answer is on the way",
        "orphan",
        Call("Order/cancel"),
    ),
    # -- liquidation ------------------------------------------------------------------------------
    _liquidation(
        "request-not-on-disk",
        "the liquidation is decided, its record not committed",
        _committed("LiquidationRequested", after=False),
        victims=EVERYBODY,
    ),
    _liquidation(
        "request-on-disk",
        "the liquidation and its latch are committed, nothing has left",
        _committed("LiquidationRequested", after=True),
    ),
    _liquidation(
        "cancel-not-sent",
        "the first cancel is about to leave",
        _gateway("cancel_order"),
    ),
    _liquidation(
        "cancel-unanswered",
        "the venue has cancelled an order, its answer is on the way",
        Call("Order/cancel"),
    ),
    _liquidation(
        "close-not-sent",
        "the close is about to leave",
        _gateway("close_position"),
    ),
    _liquidation(
        "close-unanswered",
        "the venue has closed the position, its answer is on the way",
        Call("Position/closeContract"),
        victims=EVERYBODY,
        short=Victim.BOTH,
    ),
    _liquidation(
        "close-unanswered-hub-silent",
        "the venue has closed the position, and neither answer nor event tells of it",
        Call("Position/closeContract", silent_hub=True),
    ),
    _liquidation(
        "close-answered",
        "the close is answered, and no fact yet",
        _gateway("close_position", after=True),
    ),
    _liquidation(
        "close-on-disk",
        "the answer to the close is committed",
        _committed("PositionCloseAnswered", after=True),
    ),
    _liquidation(
        "legs-not-cancelled",
        "the position is closed, its legs still work",
        Seam(GATEWAY, "ProjectXGateway.cancel_order", passes=2),
    ),
    _liquidation(
        "verifying",
        "everything is gone, and the first read that shows it is not on record",
        _committed("AccountAudited", after=False, words=('"live_orders":[],', '"positions":[]')),
    ),
    # -- the way back -----------------------------------------------------------------------------
    _restart(
        "before-replay",
        "the successor holds the account and has read the checkpoint",
        Seam("backstop.app.state_opening", "OpenedState.replay_into"),
    ),
    _restart(
        "after-replay",
        "the book is as the predecessor left it, nothing is on record about the start",
        Seam("backstop.app.state_opening", "OpenedState.replay_into", after=True),
        short=Victim.GUARD,
    ),
    _restart(
        "start-on-disk",
        "the start is committed, the broker has not been read",
        _committed("GuardStarted", after=True),
        victims=EVERYBODY,
    ),
    _restart(
        "read-not-on-disk",
        "the broker's truth is read, and not on record",
        _committed("AccountAudited", after=False),
    ),
    _restart(
        "read-on-disk",
        "the broker's truth is on record, and not acted upon",
        _committed("AccountAudited", after=True),
    ),
    _restart(
        "death-noticed",
        "the watchdog has seen the guard's end and not acted upon it",
        Seam(WATCHDOG, "WatchDuty.died", process=Victim.WATCHDOG),
        victims=(Victim.WATCHDOG,),
    ),
    _restart(
        "successor-not-told",
        "the successor is started, and not told to begin",
        Seam(
            "backstop.entrypoints.guard_process",
            "GuardProcess.started",
            after=True,
            process=Victim.WATCHDOG,
        ),
        victims=(Victim.WATCHDOG, Victim.BOTH),
    ),
    _restart(
        "successor-told",
        "the successor is told to begin, and has no watchdog any more",
        Seam(WATCHDOG, "WatchDuty._start_guard", after=True, process=Victim.WATCHDOG),
        victims=(Victim.WATCHDOG, Victim.BOTH),
    ),
    _restart(
        "pulse",
        "the successor is about to show that its loop works",
        Seam("backstop.app.watch_link", "WatchLink._pulse"),
        victims=EVERYBODY,
    ),
    # -- nobody comes back ------------------------------------------------------------------------
    _abandoned(
        "liquidation-due",
        "the threshold has passed, the watchdog is about to liquidate",
        Seam(WATCHDOG, "WatchDuty._liquidate", process=Victim.WATCHDOG),
        victims=(Victim.WATCHDOG,),
    ),
    _abandoned(
        "latch-not-on-disk",
        "the process that liquidates has decided, its first row is not on disk",
        Seam("backstop.emergency.spool", "Spool.put", process=Victim.LIQUIDATE, passes=2),
        victims=WITH_THE_COMMAND,
    ),
    _abandoned(
        "latch-on-disk",
        "its first rows are on disk, nothing has left",
        Seam(
            "backstop.emergency.spool",
            "Spool.put",
            after=True,
            words=("LiquidationRequested",),
            process=Victim.LIQUIDATE,
        ),
        victims=WITH_THE_COMMAND,
    ),
    _abandoned(
        "close-not-sent",
        "its close is about to leave",
        Seam(GATEWAY, "ProjectXGateway.close_position", process=Victim.LIQUIDATE),
        victims=WITH_THE_COMMAND,
        short=Victim.LIQUIDATE,
    ),
    _abandoned(
        "close-answered",
        "its close is answered, and not on record",
        Seam(GATEWAY, "ProjectXGateway.close_position", after=True, process=Victim.LIQUIDATE),
        victims=WITH_THE_COMMAND,
    ),
)


class Case(NamedTuple):
    """One death: where, and whose, and with which position."""

    point: Point
    victim: Victim
    held: Held = HELD[0]

    @property
    def name(self) -> str:
        """How it is called on the command line."""
        return f"{self.point.name}:{self.victim.lower()}"

    def repeat(self, number: int) -> "Case":
        """Return it with the position that is held in this repeat of it, counted from 0."""
        return self._replace(held=HELD[(HELD.index(self.held) + number) % len(HELD)])


def cases() -> tuple[Case, ...]:
    """Return every death of the matrix; neighbours begin with different positions."""
    every = (Case(point, victim) for point in POINTS for victim in point.victims)
    return tuple(case.repeat(place) for place, case in enumerate(every))


def short_form() -> tuple[Case, ...]:
    """Return one death of each kind: what fits into a minute."""
    chosen = (Case(point, point.short) for point in POINTS if point.short is not None)
    return tuple(case.repeat(place) for place, case in enumerate(chosen))
