"""Keeps account of an outage: decisions that were acted on before their records were on disk."""

from backstop.domain.events import JournalRecovered


class Outage:
    """Begins with the first decision that left unrecorded; ends when all of them are written.

    Attributes:
        reason: why the disk takes nothing; None while there is no outage.
        began_utc_us: when it began; the caller's to set, for this class has no clock.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.began_utc_us = 0
        self._waiting = 0
        self._decisions = 0
        self._lost = 0
        self._first_seq = 0
        self._last_seq = 0

    @property
    def lost(self) -> int:
        """Decisions of this outage, or of the one that ended last, that no record will have."""
        return self._lost

    def left(self, seq: int, last_seq: int, *, kept: bool, reason: str) -> bool:
        """Count a decision with the records ``seq`` to ``last_seq``; True if it is the first.

        ``kept`` says whether its records wait to be written; those of others will be missing.
        """
        first = self.reason is None
        if first:
            self._decisions = self._lost = 0
            self._first_seq = seq
        self.reason = reason
        if kept:
            self._waiting += 1
            self._decisions += 1
            self._last_seq = last_seq
        else:
            self._lost += 1
        return first

    def written(self) -> None:
        """Count one decision that is on disk now."""
        self._waiting -= 1

    def ended(self, *, utc_us: int) -> JournalRecovered | None:
        """Return what is to be recorded at the end; None while there is none, or it goes on."""
        if self._waiting or self.reason is None:
            return None
        recovered = JournalRecovered(
            utc_us=utc_us,
            began_utc_us=self.began_utc_us,
            reason=self.reason,
            decisions=self._decisions,
            first_seq=self._first_seq,
            last_seq=self._last_seq,
            lost=self._lost,
        )
        self.reason = None
        return recovered
