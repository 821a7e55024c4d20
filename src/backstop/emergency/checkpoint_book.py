"""The book that a checkpoint holds, or why it cannot be believed: for a guard, and without one."""

from pathlib import Path

from backstop import __version__
from backstop.adapters.state_format import Checkpoint
from backstop.core.book import Book
from backstop.core.state_checkpoint import decoded, encoded, restored
from backstop.errors import StateFileError


def check_record(path: Path, checkpoint: Checkpoint, *, record: str, size: int) -> None:
    """Refuse a sound checkpoint that is of another record, or goes beyond this one.

    Args:
        path: where it was found, for people.
        checkpoint: its checksum holds.
        record: the name of the record that is there: the hash of its first entry.
        size: the number of its entries.

    Raises:
        StateFileError: says why.
    """
    if checkpoint.record != record:
        raise StateFileError(str(path), "it belongs to another record than audit.db")
    if checkpoint.journal_seq > size:
        raise StateFileError(
            str(path),
            f"it is current to record {checkpoint.journal_seq}, and audit.db ends at {size}: the "
            "record lost its end, or is an older copy",
        )


def book_of(path: Path, checkpoint: Checkpoint) -> Book:
    """Return the book of a checkpoint whose checksum holds.

    Raises:
        StateFileError: another version or another form of the state; says so.
    """
    where = str(path)
    if checkpoint.software != __version__:
        raise StateFileError(
            where,
            f"Backstop {checkpoint.software} wrote it and this is {__version__}, which may decide "
            "differently: the journal is read instead",
        )
    payload = bytes(checkpoint.book)
    try:
        state = decoded(payload)
    except ValueError as error:
        raise StateFileError(where, f"its state is of another form: {error}") from error
    if encoded(state) != payload:
        # A member that was added since would have its default now, whatever happened.
        raise StateFileError(where, "its state is of another form: it has other members")
    return restored(state)
