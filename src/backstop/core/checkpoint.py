"""Signed tree heads as other transparency tools read them: C2SP tlog-checkpoint in a signed note.

A checkpoint is text of three lines (origin, size, root) that a key signs::

    backstop/31004502
    128
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — backstop/31004502 Az3grlgt...

The name of the key is the origin. Signing and checking of signatures are the caller's: here is only
what the bytes must be.

Source: c2sp.org/tlog-checkpoint and c2sp.org/signed-note (Ed25519 is signature type 1).
"""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from binascii import b2a_base64
from collections.abc import Callable

from msgspec import Struct

from backstop.core.merkle import HASH_SIZE

MAX_NOTE_BYTES = 64 * 1024
"""A note with the 16 signatures that the format promises to carry is far smaller."""

KEY_HASH_SIZE = 4
_SIGNATURE_PREFIX = "— "
_ED25519 = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_FIRST_PRINTABLE = " "

SignatureCheck = Callable[[bytes, bytes, bytes], bool]
"""Tells whether public key (32 bytes), signature and message belong together."""


class CheckpointError(ValueError):
    """Text that is no checkpoint; says what is wrong with it."""


class Checkpoint(Struct, frozen=True, kw_only=True):
    """The head of a tree: which log, how many leaves, and the 32 bytes of the root over them."""

    origin: str
    size: int
    root: bytes


class NoteSignature(Struct, frozen=True, kw_only=True):
    """One signature line; name and hash together say which key is meant."""

    name: str
    key_hash: bytes
    signature: bytes


class SignatureIdentity(Struct, frozen=True, kw_only=True):
    """The name of a log and the hash of a key that signs for it."""

    name: str
    key_hash: bytes


class SignedCheckpoint(Struct, frozen=True, kw_only=True):
    """A checkpoint with its signatures, none of them checked yet.

    Attributes:
        text: what was signed, to the byte.
        note: everything, as it travels.
    """

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]
    text: str
    note: str

    def is_signed_by(self, public_key: bytes, check: SignatureCheck) -> bool:
        """Tell whether the key with these 32 bytes, under the log's own name, signed this.

        Lines of other keys are ignored; one of this key that does not fit spoils the note.
        """
        name = self.checkpoint.origin
        identity = (name, key_hash(name, public_key))
        ours = [it for it in self.signatures if (it.name, it.key_hash) == identity]
        message = self.text.encode()
        return bool(ours) and all(check(public_key, it.signature, message) for it in ours)


def log_origin(account: str) -> str:
    """Return the name of the log of one account."""
    return f"backstop/{account}"


def key_hash(name: str, public_key: bytes) -> bytes:
    """Return the 4 bytes by which a signature line points at an Ed25519 key of 32 bytes."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:KEY_HASH_SIZE]


def verifier_key(name: str, public_key: bytes) -> str:
    """Return the key as tools of this format take it: ``name+hash+base64(type || key)``."""
    encoded = b64encode(_ED25519 + public_key).decode("ascii")
    return f"{name}+{key_hash(name, public_key).hex()}+{encoded}"


def note_text(checkpoint: Checkpoint) -> str:
    """Return the lines that are signed, with their last newline."""
    root = b2a_base64(checkpoint.root, newline=False).decode("ascii")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"


def signature_identity(name: str, public_key: bytes) -> SignatureIdentity:
    """Return what a signature line says of its key; the same for every note of a log."""
    return SignatureIdentity(name=name, key_hash=key_hash(name, public_key))


def note_of(text: str, identity: SignatureIdentity, signature: bytes) -> str:
    """Return the note of ``text`` (of ``note_text``) with the 64 bytes that sign it, in UTF-8."""
    value = b2a_base64(identity.key_hash + signature, newline=False).decode("ascii")
    return f"{text}\n{_SIGNATURE_PREFIX}{identity.name} {value}\n"


def parse(note: str) -> SignedCheckpoint:
    """Take a note apart; that it is signed by the right key is still to be checked.

    Raises:
        CheckpointError: it is no note, or no checkpoint.
    """
    if len(note) > MAX_NOTE_BYTES:
        raise CheckpointError(f"a checkpoint has at most {MAX_NOTE_BYTES} characters")
    if any(it < _FIRST_PRINTABLE and it != "\n" for it in note):
        raise CheckpointError("it holds a control character")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise CheckpointError("it has no signature after an empty line")
    text += "\n"
    signatures = tuple(_signature(line) for line in lines.removesuffix("\n").split("\n"))
    return SignedCheckpoint(
        checkpoint=_checkpoint(text), signatures=signatures, text=text, note=note
    )


def _checkpoint(text: str) -> Checkpoint:
    lines = text.removesuffix("\n").split("\n")
    match lines:
        case [origin, size, root, *_] if all(lines):
            if not _SIZE.fullmatch(size):
                raise CheckpointError(f"its size {size!r} is no plain decimal number")
            return Checkpoint(origin=origin, size=int(size), root=_root(root))
        case _:
            raise CheckpointError("it has not the three lines origin, size and root")


def _root(text: str) -> bytes:
    root = _base64(text)
    if len(root) != HASH_SIZE:
        raise CheckpointError(f"its root has {len(root)} bytes, not {HASH_SIZE}")
    return root


def _signature(line: str) -> NoteSignature:
    name, space, value = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(_SIGNATURE_PREFIX) or not space or not _is_key_name(name):
        raise CheckpointError("a line after the empty one is no signature")
    raw = _base64(value)
    if len(raw) <= KEY_HASH_SIZE:
        raise CheckpointError("a signature line holds no signature")
    return NoteSignature(name=name, key_hash=raw[:KEY_HASH_SIZE], signature=raw[KEY_HASH_SIZE:])


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(it.isspace() for it in name)


def _base64(text: str) -> bytes:
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CheckpointError(f"{text[:60]!r} is not base64") from None
    if b64encode(raw).decode("ascii") != text:
        raise CheckpointError(f"{text[:60]!r} is not the one base64 form of its bytes")
    return raw
