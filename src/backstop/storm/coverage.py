"""What the seeds have reached of all that the guard can do: transitions, refusals, alerts, classes.

What no seed reaches is not simulated by it; the page of the storm lists that.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from backstop.core.disaster_recovery import Difference
from backstop.core.step import Decision, Note
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.alert_code import AlertCode
from backstop.domain.denial import DenialCode
from backstop.domain.order import ORDER_TRANSITIONS

TRANSITIONS: Final = "transitions of orders"
DENIALS: Final = "refusal codes"
ALERTS: Final = "alerts"
CLASSES: Final = "reconciliation classes"


def all_there_is() -> dict[str, tuple[str, ...]]:
    """Return everything that could be reached, by kind."""
    return {
        TRANSITIONS: tuple(
            f"{before} -> {after}"
            for before, reachable in ORDER_TRANSITIONS.items()
            for after in sorted(reachable)
        ),
        DENIALS: tuple(sorted(DenialCode)),
        ALERTS: tuple(sorted(AlertCode)),
        CLASSES: tuple(sorted(Difference)),
    }


class Reached:
    """What one seed has reached so far."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def add(self, kind: str, names: Iterable[str]) -> None:
        """Note what was reached of one kind."""
        self._names.setdefault(kind, set()).update(names)

    def hear(self, note: Note) -> None:
        """Look at what the guard says."""
        shown = reached_by(note)
        if shown is not None:
            self.add(shown[0], (shown[1],))

    def decided(self, decision: Decision) -> None:
        """Look at what the guard has answered to a wish."""
        self.add(DENIALS, (str(denial.code) for denial in decision.denials))

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return all of it, by kind."""
        return {kind: tuple(sorted(names)) for kind, names in self._names.items()}


def reached_by(note: Note) -> tuple[str, str] | None:
    """Return the kind, and what of it, that one note of the guard shows."""
    fields = note.fields
    match note.name:
        case "alert":
            return ALERTS, str(fields["code"])
        case "recovery_difference":
            return CLASSES, str(fields["difference"])
        case _:
            return None


def steps_of(order: TrackedOrder) -> Iterator[str]:
    """Yield the transitions that an order has made of late."""
    for step in order.transitions:
        yield f"{step.from_state} -> {step.to_state}"


class Coverage(Struct, frozen=True, kw_only=True):
    """One kind: what was reached, and what was not."""

    kind: str
    reached: tuple[str, ...]
    unreached: tuple[str, ...]


def coverage(reached: Iterable[Mapping[str, Iterable[str]]]) -> tuple[Coverage, ...]:
    """Return what all seeds together have reached."""
    together: dict[str, set[str]] = {}
    for of_seed in reached:
        for kind, names in of_seed.items():
            together.setdefault(kind, set()).update(names)
    return tuple(
        Coverage(
            kind=kind,
            reached=tuple(name for name in names if name in together.get(kind, ())),
            unreached=tuple(name for name in names if name not in together.get(kind, ())),
        )
        for kind, names in all_there_is().items()
    )
