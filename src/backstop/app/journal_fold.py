"""The journal as decisions: each fact with everything that was recorded because of it.

The policy of a process is a record too, so that a decision is judged again by the rules under which
it was made, whatever the settings are today.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from backstop.app.codec import encode
from backstop.core.book import Book
from backstop.core.policy import Policy
from backstop.core.record_fold import fold
from backstop.core.step import Step
from backstop.domain.record_kind import RecordKind
from backstop.ports import JournalBatch, JournalRecord

FOLLOWING = frozenset({RecordKind.COMMAND, RecordKind.PROOF})
"""Kinds of records that belong to the fact before them."""


class Decided(Struct, frozen=True, kw_only=True):
    """One fact with everything that was recorded because of it.

    Attributes:
        event: the record of the fact, or of a state that went on record.
        records: it and what followed from it: commands, then proofs.
        result: what the core makes of the fact.
    """

    event: JournalRecord
    records: tuple[JournalRecord, ...]
    result: Step

    @property
    def proofs(self) -> tuple[bytes, ...]:
        """The proofs that were signed with it."""
        return tuple(it.payload for it in self.records if it.kind == RecordKind.PROOF)

    @property
    def last_seq(self) -> int:
        """The record whose number the audit rows carry."""
        return self.records[-1].seq


def decisions(book: Book, records: Iterable[JournalRecord]) -> Iterator[Decided]:
    """Fold ``records`` into ``book``, fact by fact; ``book`` stands right after the one given."""
    event: JournalRecord | None = None
    result = Step()
    held: list[JournalRecord] = []
    for record in records:
        if event is not None and record.kind not in FOLLOWING:
            yield Decided(event=event, records=tuple(held), result=result)
            event = None
        folded = fold(book, record)
        if folded is not None:
            event, result, held = record, folded, []
        if event is not None:
            held.append(record)
    if event is not None:
        yield Decided(event=event, records=tuple(held), result=result)


def policy_batch(policy: Policy, *, seq: int, monotonic_ns: int, utc_us: int) -> JournalBatch:
    """Return the record of the rules that hold from here on."""
    record = JournalRecord(
        seq=seq,
        kind=RecordKind.POLICY,
        monotonic_ns=monotonic_ns,
        utc_us=utc_us,
        payload=encode(policy),
    )
    return JournalBatch(records=(record,))
