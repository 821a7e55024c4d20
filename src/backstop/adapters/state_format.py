"""One state file as bytes, and back: four lines of JSON, each with a check of its own.

The first line names the format. The second is the heartbeat, as wide as ever, so that it is renewed
in place ten times a second while nothing else changes: it is not worth an fsync. The third is the
SHA-256 of everything below it, the fourth what was true when the file was written.
"""

import hashlib
import re
import zlib
from pathlib import Path

import msgspec
from msgspec import Struct

from backstop.domain.utc import utc_text
from backstop.errors import StateFileError

FORMAT = 1
"""Of the file as a whole; a program reads only the one it knows."""

HEARTBEAT_WIDTH = 400
"""Characters of the second line: the largest numbers fit, and it lies in the first disk sector."""

BEGINNING_BYTES = 1024
"""Enough of a file's beginning to hold everything that comes before its texts of any length."""

_FIRST_LINE = b'{"format":%d,\n' % FORMAT

HEARTBEAT_OFFSET = len(_FIRST_LINE)
"""Bytes before the second line."""

_SEQ = re.compile(rb'"state":\{"journal_seq":(\d{1,19}),')
_SAYS_NOTHING = 10**20
_PREFIX = b"backstop trading state\n"
_CHECKSUM_START = b'"checksum":"'
_CHECKSUM_END = b'",\n'
_STATE_START, _STATE_END = b'"state":', b"}\n"


class Heartbeat(Struct, frozen=True, kw_only=True):
    """The last sign of life of the process that wrote the file.

    Attributes:
        utc_us: when, by the time of day.
        monotonic_ns: when, by the clock of this boot.
        boot_id: the boot of the machine; its monotonic times mean nothing in another one.
        guarded_utc_us: when the account was guarded last; a process that ends before it has read
            it, and before it has waited a while for a broker that cannot be reached, takes this
            over from the one before. 0: never.
        guarded_monotonic_ns: likewise; 0 when that was in another boot.
        journal_seq: the newest record that was durable.
        steps: facts handled: work done, so that a stuck loop cannot look alive.
        calls: what the gateway may still count against the next process; ``RateBudget.made``.
    """

    utc_us: int
    monotonic_ns: int
    boot_id: str
    guarded_utc_us: int
    guarded_monotonic_ns: int
    journal_seq: int
    steps: int
    calls: tuple[int, ...] = ()


class TreeState(Struct, frozen=True, kw_only=True):
    """The audit log's tree up to some record: how many leaves, and its peaks as hex."""

    size: int
    peaks: tuple[str, ...]


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What was true when the file was written.

    Attributes:
        journal_seq: the record that it is current to; the rest of the state is in later ones.
        account_id: the account.
        record: the leaf hash of the journal's first record, as hex: which record it belongs to.
        software: the version of Backstop that wrote it.
        machine: the host's name.
        boot_id: the boot of the machine in which it was written.
        process_id: the process that wrote it.
        utc_us: when, by the time of day.
        monotonic_ns: when, by the clock of that boot.
        archive_seq: what had left the book up to this record is in the archive of past orders.
        tree: the audit log's tree at or before that record.
        clean_stop: a person stopped the process, and this is the last that it wrote.
        book: the state itself, as JSON.
    """

    journal_seq: int
    account_id: int
    record: str
    software: str
    machine: str
    boot_id: str
    process_id: int
    utc_us: int
    monotonic_ns: int
    archive_seq: int
    tree: TreeState
    clean_stop: bool = False
    book: msgspec.Raw


_encoder = msgspec.json.Encoder()
_checkpoints: msgspec.json.Decoder[Checkpoint] = msgspec.json.Decoder(Checkpoint)
_heartbeats: msgspec.json.Decoder[Heartbeat] = msgspec.json.Decoder(Heartbeat)


# -- written --------------------------------------------------------------------------------------


def file_content(checkpoint: Checkpoint, heartbeat: Heartbeat) -> bytes:
    """Return the whole file."""
    body = _STATE_START + _encoder.encode(checkpoint) + _STATE_END
    checksum = hashlib.sha256(_PREFIX + _FIRST_LINE + body).hexdigest().encode()
    return b"".join(
        (_FIRST_LINE, heartbeat_line(heartbeat), _CHECKSUM_START, checksum, _CHECKSUM_END, body)
    )


def heartbeat_line(heartbeat: Heartbeat) -> bytes:
    """Return the second line: always HEARTBEAT_WIDTH bytes, the last of them a newline."""
    beat = _encoder.encode(heartbeat)
    line = b'"heartbeat":%b,"heartbeat_at":"%b","heartbeat_crc32":"%08x",' % (
        beat,
        utc_text(heartbeat.utc_us).encode(),
        zlib.crc32(beat),
    )
    return line.ljust(HEARTBEAT_WIDTH - 1) + b"\n"


# -- read -----------------------------------------------------------------------------------------


def heartbeat_in(content: bytes) -> Heartbeat | None:
    """Return the heartbeat of a file, also of one whose rest cannot be used; None if torn."""
    start = HEARTBEAT_OFFSET
    line = content[start : start + HEARTBEAT_WIDTH]
    beat, comma, rest = line.removeprefix(b'"heartbeat":').partition(b',"heartbeat_at":')
    if not comma or b'"heartbeat_crc32":"%08x",' % zlib.crc32(beat) not in rest:
        return None
    try:
        return _heartbeats.decode(beat)
    except msgspec.MsgspecError:
        return None


def stated_seq(beginning: bytes) -> int:
    """Return the record that a file says it is current to, by its first BEGINNING_BYTES.

    Whether that is true shows when the rest is read. One that says nothing: later than any.
    """
    found = _SEQ.search(beginning)
    return _SAYS_NOTHING if found is None else int(found.group(1))


def checkpoint_in(path: Path, content: bytes) -> Checkpoint:
    """Return what the file says, once all of it holds; the first thing that does not is named."""
    _check_whole(path, content)
    start = HEARTBEAT_OFFSET + HEARTBEAT_WIDTH
    start += len(_CHECKSUM_START) if content.startswith(_CHECKSUM_START, start) else 0
    end = content.find(_CHECKSUM_END, start)
    if end < 0:
        raise StateFileError(str(path), "it is cut off before its checksum")
    # Read where it lies: every copy of a large state is time that a start takes.
    body = memoryview(content)[end + len(_CHECKSUM_END) :]
    hashed = hashlib.sha256(_PREFIX + _FIRST_LINE)
    hashed.update(body)
    if hashed.hexdigest().encode() != content[start:end]:
        cut = "" if content.endswith(_STATE_END) else " and its end is missing"
        raise StateFileError(
            str(path), f"its checksum does not fit{cut}: it is torn or was changed"
        )
    try:
        return _checkpoints.decode(body[len(_STATE_START) : -len(_STATE_END)])
    except msgspec.MsgspecError as error:
        raise StateFileError(str(path), f"it is of another version of Backstop: {error}") from error


def _check_whole(path: Path, content: bytes) -> None:
    where = str(path)
    if not content:
        raise StateFileError(where, "it is empty: a crash came before its first byte was on disk")
    if not content.strip(b"\0"):
        raise StateFileError(where, "it holds nothing but NUL bytes, as a power cut leaves them")
    if content.startswith(_FIRST_LINE):
        return
    if b"\0" in content[: len(_FIRST_LINE)]:
        raise StateFileError(where, "it begins with NUL bytes, as a power cut leaves them")
    number = _format(content)
    if number is None:
        raise StateFileError(where, "it is no state of Backstop, or its beginning is gone")
    age = "a newer" if number > FORMAT else "an older"
    raise StateFileError(
        where, f"it has format {number}, of {age} Backstop; this one reads format {FORMAT}"
    )


def _format(content: bytes) -> int | None:
    first, newline, _ = content.partition(b",\n")
    digits = first.removeprefix(b'{"format":')
    return int(digits) if newline and digits != first and digits.isdigit() else None
