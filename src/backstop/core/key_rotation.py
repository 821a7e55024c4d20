"""A change of the signing key as a record that both keys sign, and the chain of keys it makes.

The record stands in the audit log. What comes before it was signed by the old key; it and what
comes after it, by the new one. Who trusts the newest key can so check the whole log, and a retired
key that got into wrong hands can sign nothing that would be believed.
"""

import binascii
import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Sequence

from msgspec import Struct

from backstop.core import canonical_json
from backstop.core.checkpoint import SignatureCheck
from backstop.domain.utc import utc_text

FORMAT = "backstop.key-rotation.v1"
"""Names the shape of the document; part of what is signed, so no other document fits it."""

PUBLIC_KEY_SIZE = 32


class KeyChainError(ValueError):
    """Rotation records that do not lead to the trusted key; ``seq`` names the first bad one."""

    def __init__(self, seq: int, fault: str) -> None:
        self.seq = seq
        super().__init__(fault)


class Rotation(Struct, frozen=True, kw_only=True):
    """One change of keys.

    Attributes:
        seq: the number of its own record: from it on the new key signs.
        old_key: the 32 bytes of the public key until then.
        new_key: the 32 bytes of the public key from then on.
    """

    account: str
    seq: int
    utc_us: int
    old_key: bytes
    new_key: bytes


class KeyChain(Struct, frozen=True, kw_only=True):
    """Every key that ever signed a log, oldest first, each with the first record it signs.

    Attributes:
        first_seqs: of the first key 0, of each other one the number of its rotation record.
        public_keys: 32 bytes each.
    """

    first_seqs: tuple[int, ...]
    public_keys: tuple[bytes, ...]

    def key_at(self, seq: int) -> bytes:
        """Return the key that signs record ``seq``, and the tree head of size ``seq``."""
        return next(
            key
            for first, key in zip(
                reversed(self.first_seqs), reversed(self.public_keys), strict=True
            )
            if first <= seq
        )


def key_name(public_key: bytes) -> str:
    """Return the name of a key, as proofs carry it: 16 bytes of its SHA-256, as hex."""
    return hashlib.sha256(public_key).hexdigest()[:32]


def signed_bytes(rotation: Rotation) -> bytes:
    """Return what both keys sign."""
    return canonical_json.encode(_document(rotation))


def payload(rotation: Rotation, *, old_signature: bytes, new_signature: bytes) -> bytes:
    """Return the payload of the journal record."""
    return canonical_json.encode(
        {
            "rotation": _document(rotation),
            "signatures": {"old": _text(old_signature), "new": _text(new_signature)},
        }
    )


def key_chain(
    records: Sequence[tuple[int, bytes]], *, newest: bytes, account: str, check: SignatureCheck
) -> KeyChain:
    """Return the keys of a log from its rotation records, going back from the trusted one.

    Args:
        records: number and payload of every rotation record, in order.
        newest: the 32 bytes of the public key that is trusted.
        account: whose log it is.
        check: checks one signature.

    Raises:
        KeyChainError: a record is not what it says, or the chain does not end in ``newest``.
    """
    keys: list[bytes] = []
    for seq, raw in records:
        rotation = _checked(seq, raw, account, check)
        if keys and rotation.old_key != keys[-1]:
            raise KeyChainError(
                seq, f"it retires key {key_name(rotation.old_key)}, which was not in use"
            )
        if not keys:
            keys.append(rotation.old_key)
        keys.append(rotation.new_key)
    if keys and keys[-1] != newest:
        raise KeyChainError(
            records[-1][0],
            f"it leads to key {key_name(keys[-1])}, not to the trusted key {key_name(newest)}",
        )
    return KeyChain(
        first_seqs=(0, *(seq for seq, _ in records)), public_keys=tuple(keys or [newest])
    )


def _checked(seq: int, raw: bytes, account: str, check: SignatureCheck) -> Rotation:
    try:
        held = json.loads(raw)
        document, signatures = held["rotation"], held["signatures"]
        rotation = Rotation(
            account=account,
            seq=seq,
            utc_us=int(document["utc_us"]),
            old_key=_key(document["old_public_key_base64"]),
            new_key=_key(document["new_public_key_base64"]),
        )
        old, new = (b64decode(signatures[name], validate=True) for name in ("old", "new"))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise KeyChainError(seq, "it is no rotation of keys") from None
    if payload(rotation, old_signature=old, new_signature=new) != raw:
        raise KeyChainError(seq, "it speaks of another record, account or key")
    message = signed_bytes(rotation)
    if not check(rotation.old_key, old, message):
        raise KeyChainError(seq, "the key that it retires did not sign it")
    if not check(rotation.new_key, new, message):
        raise KeyChainError(seq, "the key that it brings in did not sign it")
    return rotation


def _document(rotation: Rotation) -> dict[str, object]:
    return {
        "format": FORMAT,
        "account": rotation.account,
        "seq": rotation.seq,
        "time": utc_text(rotation.utc_us),
        "utc_us": rotation.utc_us,
        "old_key_id": key_name(rotation.old_key),
        "old_public_key_base64": _text(rotation.old_key),
        "new_key_id": key_name(rotation.new_key),
        "new_public_key_base64": _text(rotation.new_key),
    }


def _key(text: str) -> bytes:
    key = b64decode(text, validate=True)
    if len(key) != PUBLIC_KEY_SIZE:
        raise ValueError(f"a key of {len(key)} bytes")
    return key


def _text(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")
