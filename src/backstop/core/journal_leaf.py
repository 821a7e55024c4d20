"""What one journal record hashes to: the leaf of the audit log's Merkle tree.

The bytes cover everything that is stored of a record, in a form that only one record can have:
fixed-width numbers, and a length before each text. The stand-alone audit check recomputes them.
"""

import struct
from functools import lru_cache
from hashlib import sha256

from backstop.core.merkle import LEAF_BYTE

_PREFIX = b"backstop journal record v1\0"
_LEAF_PREFIX = LEAF_BYTE + _PREFIX
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
    return b"".join(
        (
            _PREFIX,
            _NUMBERS.pack(seq, epoch, monotonic_ns, utc_us),
            _texts(kind, account),
            _LENGTH.pack(len(payload)),
            payload,
        )
    )


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
    # As merkle.leaf_hash of leaf_bytes, with everything joined once: it is done for every record.
    return sha256(
        b"".join(
            (
                _LEAF_PREFIX,
                _NUMBERS.pack(seq, epoch, monotonic_ns, utc_us),
                _texts(kind, account),
                _LENGTH.pack(len(payload)),
                payload,
            )
        )
    ).digest()


@lru_cache(maxsize=64)
def _texts(kind: str, account: str) -> bytes:
    """Return both with their lengths; a log has one account and a handful of kinds."""
    parts = (kind.encode(), account.encode())
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)
