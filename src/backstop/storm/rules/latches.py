"""What lasts: latches and checkpoints over a start, and a liquidation until all is flat."""

from typing import Final

from backstop.app.state_start import NOTHING, WHOLE_JOURNAL
from backstop.core.book import Book
from backstop.core.step import Note
from backstop.storm.rules.scene import LOOK_S, SETTLED_S, Scene

CLOSING_S: Final = 20.0
"""How long a liquidation may take where every message arrives: refusals are tried again."""

CLOSING_STORM_S: Final = 150.0
"""And where answers are lost, connections freeze, or the account is locked for a minute."""


class LatchRules:
    """Follows what a person has to lift, and what is being taken flat."""

    def __init__(self, scene: Scene, *, slow: bool) -> None:
        self._scene = scene
        self._limit_s = CLOSING_STORM_S if slow else CLOSING_S
        self._closing_s: dict[str, float] = {}
        self._recovered_s: float | None = None
        self._latched = (0, 0.0)  # starts, and when a latch was last seen on record; 0: none
        self._resumed_s = -1.0

    def on_note(self, note: Note) -> None:
        """Look at what a start says that it found."""
        if note.name in {"state_file_unusable", "records_lost"}:
            self._scene.break_rule("what was synced is whole", note.name)
        anew = note.name == "state_restored" and note.fields["source"] in {WHOLE_JOURNAL, NOTHING}
        if anew and self._has_checkpoint:
            self._scene.break_rule("what was synced is whole", "no checkpoint after a start")
        if note.name.startswith("resume"):
            self._resumed_s = self._scene.now_s()
        if note.name == "recovered":
            self._recovered_s = self._scene.now_s()

    @property
    def _has_checkpoint(self) -> bool:
        """A guard has run for so long that its checkpoint must be on the disk."""
        since_s = self._recovered_s
        return since_s is not None and self._scene.now_s() - since_s > SETTLED_S

    def look(self, book: Book) -> None:
        """Look at what must be so by now."""
        self._look_at_liquidations(book)
        self._look_at_latches(latched=bool(book.latches))

    def _look_at_latches(self, *, latched: bool) -> None:
        """What a person has to lift is not lifted by a restart."""
        scene = self._scene
        starts, recorded_s = self._latched
        again = scene.host.starts > starts and self._resumed_s < recorded_s
        if again and recorded_s and not latched:
            scene.break_rule("machines only reduce", "a latch is gone after a start")
        # While the disk takes nothing a latch may be lost with its process.
        recorded = latched and not scene.disk_troubled()
        self._latched = (scene.host.starts, scene.now_s() if recorded else 0.0)

    def _look_at_liquidations(self, book: Book) -> None:
        """What is to be taken flat is flat soon, whatever the disk does meanwhile."""
        scopes = [book.liquidations[name].contract_id for name in book.liquidating]
        for contract_id, held in self._scene.truth.positions.items():
            covered = held and (None in scopes or contract_id in scopes)
            before_s = self._closing_s.get(contract_id, 0.0)
            now_s = self._closing_s[contract_id] = before_s + LOOK_S if covered else 0.0
            if before_s <= self._limit_s < now_s:
                self._scene.break_rule(
                    "a liquidation ends flat",
                    f"{held} {contract_id} are still held {now_s:g} s after it began",
                )
