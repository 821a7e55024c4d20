"""The journal as state: what each record does to the book, for recovery and for the audit alike.

The policy of a process is a record too, so that a decision is judged again by the rules under which
it was made, whatever the settings are today.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from backstop.app.codec import (
    COMMAND_KIND,
    EVENT_KIND,
    POLICY_KIND,
    PROOF_KIND,
    decode_fact,
    decode_policy,
    encode,
)
from backstop.core.book import Book
from backstop.core.engine import step
from backstop.core.policy import Policy
from backstop.core.step import Step
from backstop.core.taken_state import TAKEN_STATE_KIND, fold_taken
from backstop.errors import StateFolderError
from backstop.ports import JournalBatch, JournalRecord


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
        return tuple(it.payload for it in self.records if it.kind == PROOF_KIND)

    @property
    def last_seq(self) -> int:
        """The record whose number the audit rows carry."""
        return self.records[-1].seq


def fold(book: Book, record: JournalRecord) -> Step | None:
    """Fold one record into ``book``; None for one from which nothing follows.

    Raises:
        StateFolderError: it was written by a version that knows more than this one.
    """
    if record.kind == EVENT_KIND:
        return step(book, decode_fact(record), record.monotonic_ns)
    if record.kind == POLICY_KIND:
        book.policy = decode_policy(record)
    if record.kind == TAKEN_STATE_KIND:
        try:
            return fold_taken(
                book, record.payload, now_ns=record.monotonic_ns, utc_us=record.utc_us
            )
        except ValueError as error:
            raise StateFolderError(
                f"Journal record {record.seq} is no state: {error}. Nothing was changed."
            ) from error
    return None


def decisions(book: Book, records: Iterable[JournalRecord]) -> Iterator[Decided]:
    """Fold ``records`` into ``book``, fact by fact; ``book`` stands right after the one given."""
    event: JournalRecord | None = None
    result = Step()
    held: list[JournalRecord] = []
    for record in records:
        if event is not None and record.kind not in {COMMAND_KIND, PROOF_KIND}:
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
        seq=seq, kind=POLICY_KIND, monotonic_ns=monotonic_ns, utc_us=utc_us, payload=encode(policy)
    )
    return JournalBatch(records=(record,))
