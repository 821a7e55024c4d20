"""What one journal record hashes to: the leaf of the audit log's Merkle tree.

The bytes cover everything that is stored of a record, in a form that only one record can have:
fixed-width numbers, and a length before each text. The stand-alone audit check recomputes them.
"""

import struct

from backstop.core import merkle

_PREFIX = b"backstop journal record v1\0"
_NUMBERS = struct.Struct(">QQqq")
"""seq, epoch, monotonic_ns, utc_us: 8 bytes each, big-endian."""
_LENGTH = struct.Struct(">I")


def leaf_bytes(
    *,
    seq: int,
    kind: str,
    account: str,
    epoch: int,
    monotonic_ns: int,
    utc_us: int,
    payload: bytes,
) -> bytes:
    """Return the canonical bytes of one record: everything that is stored of it."""
    parts = [_PREFIX, _NUMBERS.pack(seq, epoch, monotonic_ns, utc_us)]
    for part in (kind.encode(), account.encode(), payload):
        parts.append(_LENGTH.pack(len(part)))
        parts.append(part)
    return b"".join(parts)


def leaf_hash(
    *,
    seq: int,
    kind: str,
    account: str,
    epoch: int,
    monotonic_ns: int,
    utc_us: int,
    payload: bytes,
) -> bytes:
    """Return the RFC 6962 leaf hash (32 bytes) of one record."""
    return merkle.leaf_hash(
        leaf_bytes(
            seq=seq,
            kind=kind,
            account=account,
            epoch=epoch,
            monotonic_ns=monotonic_ns,
            utc_us=utc_us,
            payload=payload,
        )
    )
