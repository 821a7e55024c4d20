"""A state that knows more than its record: put on record whole, so that what follows is explained.

A record can lose its end, or all of it, while the newest state file beside it is sound: the file of
the database was torn, or an older copy was put back. Then the state goes on record as one entry,
and the fold of the record is what the guard knows, at this start and at every later one.

A state has the form of the version that wrote it. A version with another form takes of such an
entry what has a form of its own, which is what nobody could find out again: latches, and what is
being taken flat. The rest is read from the broker.
"""

import hashlib
from dataclasses import fields

import msgspec
from msgspec import Struct

from backstop.core.book import Book
from backstop.core.engine import rows_of_everything, step
from backstop.core.standing_latches import standing_latches
from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.core.step import Step
from backstop.domain.events import LatchesHandedOver
from backstop.domain.standing_latch import StandingLatch


class TakenState(Struct, frozen=True, kw_only=True):
    """What is on record of it.

    Attributes:
        digest: SHA-256 of ``book``, hex; names the state.
        source: the name of its file.
        record: the record that it was of: the hash of that one's first entry, as hex.
        journal_seq: the entry of that record that it was current to.
        kept: the record before this one, and where it is kept; empty: this record goes on.
        latches: that were on.
        book: the state itself, in the form of the version that wrote it.
    """

    digest: str
    source: str
    record: str
    journal_seq: int
    kept: str
    latches: tuple[StandingLatch, ...]
    book: msgspec.Raw


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[TakenState] = msgspec.json.Decoder(TakenState)


def taken_state(book: Book, *, source: str, record: str, journal_seq: int, kept: str) -> TakenState:
    """Return the entry for the state that ``book`` is in; the members as in ``TakenState``."""
    state = encoded(captured(book))
    return TakenState(
        digest=hashlib.sha256(state).hexdigest(),
        source=source,
        record=record,
        journal_seq=journal_seq,
        kept=kept,
        latches=standing_latches(book),
        book=msgspec.Raw(state),
    )


def payload_of(taken: TakenState) -> bytes:
    """Return the entry as JSON."""
    return _encoder.encode(taken)


def fold_taken(book: Book, payload: bytes, *, now_ns: int, utc_us: int) -> Step:
    """Put the state that an entry holds in the place of what ``book`` knows.

    Args:
        book: what the entries before it come to; its policy stays.
        payload: of the entry.
        now_ns: the monotonic time of the entry.
        utc_us: its time of day.

    Raises:
        ValueError: it is no such entry.
    """
    taken = _decoder.decode(payload)
    try:
        held = restored(decoded(taken.book))
    except ValueError:
        result = step(book, LatchesHandedOver(utc_us=utc_us, latches=taken.latches), now_ns)
        book.taken_digest = taken.digest
        return Step(order_rows=result.order_rows, fill_rows=result.fill_rows)
    held.policy, held.taken_digest = book.policy, taken.digest
    for member in fields(Book):
        setattr(book, member.name, getattr(held, member.name))
    return rows_of_everything(book, now_ns=now_ns, utc_us=utc_us)
