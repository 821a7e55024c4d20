"""Counts what a hub says and nobody understands, and reports it as facts, within a bound.

Every fault counts. The reports go to the journal, so a hub that sends only nonsense may fill just
a bounded part of it: the first ``REPORTS_MAX`` of each connection and one for each new target.
"""

from msgspec import Struct

from backstop.adapters.projectx import translate
from backstop.domain.events import Hub, PayloadRejected, Source
from backstop.ports import Clock, FactSink

REPORTS_MAX = 50
UNKNOWN_TARGETS_MAX = 64


class HubCounts(Struct, frozen=True, kw_only=True):
    """How often a hub was not understood since the start."""

    rejected: int
    unknown_targets: int
    unreported: int


class HubReports:
    """The faults of one hub."""

    def __init__(self, hub: Hub, *, clock: Clock, sink: FactSink) -> None:
        self._hub = hub
        self._clock = clock
        self._sink = sink
        self._left = REPORTS_MAX
        self._rejected = 0
        self._unknown = 0
        self._unreported = 0
        self._targets: set[str] = set()

    def begin(self) -> None:
        """Begin a new connection, with a fresh allowance of reports."""
        self._left = REPORTS_MAX

    def counts(self) -> HubCounts:
        """Return the counts since the start."""
        return HubCounts(
            rejected=self._rejected,
            unknown_targets=self._unknown,
            unreported=self._unreported,
        )

    def rejected(self, target: str, fault: str, payload: bytes) -> None:
        """Count and report a payload that breaks its schema."""
        self._rejected += 1
        self._report(target, fault, payload)

    def unknown_target(self, target: str, payload: bytes) -> None:
        """Count an event that this version does not know; report the first of each name."""
        self._unknown += 1
        if target in self._targets or len(self._targets) >= UNKNOWN_TARGETS_MAX:
            return
        self._targets.add(target)
        self._report(target, "an event that this version does not know", payload)

    def _report(self, target: str, fault: str, payload: bytes) -> None:
        if self._left == 0:
            self._unreported += 1
            return
        self._left -= 1
        self._sink(
            PayloadRejected(
                utc_us=self._clock.utc_us(),
                source=Source.HUB,
                # What is no event names no target: then it is a matter of the whole hub.
                target=target[:100] or f"/hubs/{self._hub.lower()}",
                fault=fault[:500],
                raw=translate.rejected_text(payload),
            )
        )
