"""What one journal record hashes to: the leaf of the audit log's Merkle tree.

The bytes cover everything that is stored of a record, in a form that only one record can have:
fixed-width numbers, and a length before each text. The stand-alone audit check recomputes them.
"""

import struct

from backstop.core import merkle
from backstop.ports import JournalRecord

_PREFIX = b"backstop journal record v1\0"
_NUMBERS = struct.Struct(">QQqq")
"""seq, epoch, monotonic_ns, utc_us: 8 bytes each, big-endian."""
_LENGTH = struct.Struct(">I")


def leaf_bytes(record: JournalRecord, *, account: str, epoch: int) -> bytes:
    """Return the canonical bytes of ``record`` as written under ``account`` and ``epoch``."""
    numbers = _NUMBERS.pack(record.seq, epoch, record.monotonic_ns, record.utc_us)
    parts = [_PREFIX, numbers]
    for part in (record.kind.encode(), account.encode(), record.payload):
        parts.append(_LENGTH.pack(len(part)))
        parts.append(part)
    return b"".join(parts)


def leaf_hash(record: JournalRecord, account: str, epoch: int) -> bytes:
    """Return the RFC 6962 leaf hash of ``record`` (32 bytes)."""
    return merkle.leaf_hash(leaf_bytes(record, account=account, epoch=epoch))
