"""The guard's signing key: made once, kept for its owner only, used for proofs and checkpoints.

``keys/`` in the state folder has mode 0700, the private key ``audit.key`` mode 0600; the public key
``audit.pub`` is for everyone. Both are PEM files, so that common tools can read them. A key that
others could have read is refused, because a signature by it would prove nothing.
"""

import hashlib
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from backstop.adapters.folders import sync_folder
from backstop.errors import StateFolderError

PRIVATE_KEY_FILE = "audit.key"
PUBLIC_KEY_FILE = "audit.pub"


class AuditKeys:
    """An Ed25519 key pair with a name.

    Attributes:
        key_id: the first 16 bytes of the SHA-256 of the public key's 32 bytes, as hex.
        public_key_path: where the public key is, for those who check.
    """

    def __init__(self, private_key: Ed25519PrivateKey, public_key_path: Path) -> None:
        self._private_key = private_key
        self.public_key_path = public_key_path
        self.key_id = key_id(private_key.public_key())

    def __repr__(self) -> str:
        return f"AuditKeys({self.key_id})"

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the key in ``folder`` (``keys/`` in the state folder); make one at first start.

        Raises:
            StateFolderError: others could read the key, the private key is gone while the public
                one is there, or a file cannot be used; nothing is replaced.
        """
        return cls._open(folder / PRIVATE_KEY_FILE, folder / PUBLIC_KEY_FILE)

    @classmethod
    def _open(cls, private_path: Path, public_path: Path) -> Self:
        folder = private_path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_others(folder, allowed=0o700)
            if not private_path.exists():
                make_key_pair(private_path, public_path)
            _refuse_others(private_path, allowed=0o600)
            key = load_pem_private_key(private_path.read_bytes(), password=None)
        except OSError as error:
            raise StateFolderError(
                f"{private_path} cannot be used: {error}. Check that this user owns {folder}."
            ) from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StateFolderError(
                f"{private_path} is not a readable private key: {error}. It was not changed. "
                "Restore it from a backup."
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise StateFolderError(f"{private_path} is not an Ed25519 key. Restore it.")
        _match_public(key, public_path)
        return cls(key, public_path)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature over ``message``."""
        return self._private_key.sign(message)

    def public_key(self) -> Ed25519PublicKey:
        """Return the key that checks what this one signed."""
        return self._private_key.public_key()


def open_key_pair(private_path: Path, public_path: Path) -> AuditKeys:
    """Open a key pair by its files, which are both there; errors as ``AuditKeys.open``."""
    return AuditKeys._open(private_path, public_path)  # noqa: SLF001 - the same file


def get_ready() -> None:
    """Have done what the first use of a key waits a millisecond for: OpenSSL fills its tables."""
    Ed25519PrivateKey.generate().sign(b"")


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key in PEM form; raises StateFolderError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise StateFolderError(f"{path} is not a readable public key: {error}.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise StateFolderError(f"{path} is not an Ed25519 key.")
    return key


def verify(key: Ed25519PublicKey, *, signature: bytes, message: bytes) -> bool:
    """Tell whether ``signature`` is that of ``key`` over ``message``."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def verify_raw(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell the same for a key of 32 bytes; bytes that are no key or no signature fit nothing."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a key, as bundles and checkpoints carry it."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def make_key_pair(private_path: Path, public_path: Path) -> None:
    """Make a key pair; a crash at any point leaves either none or a whole private key.

    The public half is written by whoever opens the pair next.
    """
    if public_path.exists():
        raise StateFolderError(
            f"{private_path} is gone while {public_path} is there. A new key would not fit the "
            f"record signed so far. Restore {PRIVATE_KEY_FILE} from a backup, or move "
            f"{public_path} away to go on with a new key."
        )
    private = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    _write_whole(private_path, private, mode=0o600)


def _match_public(key: Ed25519PrivateKey, public_path: Path) -> None:
    expected = key.public_key()
    if not public_path.exists():
        public = expected.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        _write_whole(public_path, public, mode=0o644)
    if load_public_key(public_path).public_bytes_raw() != expected.public_bytes_raw():
        raise StateFolderError(
            f"{public_path} is not the public half of {PRIVATE_KEY_FILE} beside it. Nothing was "
            "changed. Restore both from the same backup."
        )


def _write_whole(path: Path, content: bytes, *, mode: int) -> None:
    """Write a new file so that it is there whole and durable, or not at all; never replace one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        # A second process may make its key at the same moment: the first one stays.
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def _refuse_others(path: Path, *, allowed: int) -> None:
    """Refuse a file or folder that others than its owner may use (POSIX modes only)."""
    if sys.platform == "win32":
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~allowed & 0o077:
        raise StateFolderError(
            f"{path} has mode {mode:04o}: others than its owner may have read the signing key. "
            f"If that is harmless, run: chmod {allowed:o} {path}"
        )
