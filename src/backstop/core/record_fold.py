"""The journal as state: what each record does to the book.

One way for all who read it: recovery, the audit, and a liquidation without a guard.
"""

from typing import Protocol, TypeVar

import msgspec

from backstop.core.book import Book
from backstop.core.engine import step
from backstop.core.policy import Policy
from backstop.core.step import Step
from backstop.core.taken_state import fold_taken
from backstop.domain.events import Fact
from backstop.domain.record_kind import RecordKind
from backstop.errors import StateFolderError

_T = TypeVar("_T")

_facts: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)
_policies: msgspec.json.Decoder[Policy] = msgspec.json.Decoder(Policy)


class Recorded(Protocol):
    """A record, as far as it matters here."""

    @property
    def seq(self) -> int:
        """Its place."""

    @property
    def kind(self) -> str:
        """A ``RecordKind``, or one that a later version knows."""

    @property
    def monotonic_ns(self) -> int:
        """The moment of its step, by the clock of its process."""

    @property
    def utc_us(self) -> int:
        """Its time of day."""

    @property
    def payload(self) -> bytes:
        """What it says, as JSON."""


def fold(book: Book, record: Recorded) -> Step | None:
    """Fold one record into ``book``; None for one from which nothing follows.

    Raises:
        StateFolderError: it was written by a version that knows more than this one.
    """
    match record.kind:
        case RecordKind.EVENT:
            return step(book, decode_fact(record), record.monotonic_ns)
        case RecordKind.POLICY:
            book.policy = decode_policy(record)
            return None
        case RecordKind.STATE:
            return _fold_state(book, record)
        case _:
            return None


def decode_fact(record: Recorded) -> Fact:
    """Return the fact that ``record`` holds.

    Raises:
        StateFolderError: it was written by a version that knows more than this one.
    """
    return _decoded(_facts, record)


def decode_policy(record: Recorded) -> Policy:
    """Return the policy that ``record`` holds; errors as ``decode_fact``."""
    return _decoded(_policies, record)


def _decoded(decoder: msgspec.json.Decoder[_T], record: Recorded) -> _T:
    try:
        return decoder.decode(record.payload)
    except msgspec.MsgspecError as error:
        raise StateFolderError(
            f"Journal record {record.seq} cannot be read: {error}. It was written by another "
            "version of Backstop; run that one, or a newer one. Nothing was changed."
        ) from error


def _fold_state(book: Book, record: Recorded) -> Step:
    try:
        return fold_taken(book, record.payload, now_ns=record.monotonic_ns, utc_us=record.utc_us)
    except ValueError as error:
        raise StateFolderError(
            f"Journal record {record.seq} is no state: {error}. Nothing was changed."
        ) from error
