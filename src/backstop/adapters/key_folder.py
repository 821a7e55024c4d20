"""A change of the signing key on disk: made beside the old one, put in its place when it is valid.

``keys/`` holds ``audit.key`` and ``audit.pub``. While a change is under way there are also
``audit.next.key`` and ``audit.next.pub``. The public keys of earlier times stay in ``retired/``;
their private halves are gone, because a key that nobody has cannot be stolen.
"""

from pathlib import Path

from backstop.adapters.folders import sync_folder
from backstop.adapters.signing import (
    PRIVATE_KEY_FILE,
    PUBLIC_KEY_FILE,
    AuditKeys,
    key_id,
    load_public_key,
    make_key_pair,
    open_key_pair,
)
from backstop.errors import StateFolderError

NEXT_PRIVATE_KEY_FILE = "audit.next.key"
NEXT_PUBLIC_KEY_FILE = "audit.next.pub"
RETIRED_FOLDER = "retired"


def make_next(folder: Path) -> AuditKeys:
    """Make the key that is to follow; one left over from a change that never took place goes.

    Raises:
        StateFolderError: the folder cannot be written.
    """
    discard_next(folder)
    make_key_pair(folder / NEXT_PRIVATE_KEY_FILE, folder / NEXT_PUBLIC_KEY_FILE)
    return open_key_pair(folder / NEXT_PRIVATE_KEY_FILE, folder / NEXT_PUBLIC_KEY_FILE)


def open_next(folder: Path) -> AuditKeys | None:
    """Return the key that is to follow; None when no change is under way.

    Raises:
        StateFolderError: it cannot be used.
    """
    private = folder / NEXT_PRIVATE_KEY_FILE
    return open_key_pair(private, folder / NEXT_PUBLIC_KEY_FILE) if private.is_file() else None


def next_public_key(folder: Path) -> bytes | None:
    """Return the 32 bytes of the key that is to follow, for those who only read."""
    path = folder / NEXT_PUBLIC_KEY_FILE
    return load_public_key(path).public_bytes_raw() if path.is_file() else None


def discard_next(folder: Path) -> None:
    """Remove a key that never came into use; raises StateFolderError."""
    try:
        for name in (NEXT_PUBLIC_KEY_FILE, NEXT_PRIVATE_KEY_FILE):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error


def promote_next(folder: Path) -> AuditKeys:
    """Put the next key in the place of the present one; also finishes what a crash cut short.

    Raises:
        StateFolderError: the folder cannot be written.
    """
    public, next_public = folder / PUBLIC_KEY_FILE, folder / NEXT_PUBLIC_KEY_FILE
    try:
        if public.is_file() and public.read_bytes() != next_public.read_bytes():
            _retire(folder / RETIRED_FOLDER, public)
        # The public half first: while the next private key is there, this is done again.
        next_public.replace(public)
        sync_folder(folder)
        (folder / NEXT_PRIVATE_KEY_FILE).replace(folder / PRIVATE_KEY_FILE)
        sync_folder(folder)
    except OSError as error:
        raise _unusable(folder, error) from error
    return AuditKeys.open(folder)


def _retire(retired: Path, public: Path) -> None:
    retired.mkdir(mode=0o700, exist_ok=True)
    kept = retired / f"{key_id(load_public_key(public))}.pub"
    kept.write_bytes(public.read_bytes())
    sync_folder(retired)


def _unusable(folder: Path, error: OSError) -> StateFolderError:
    return StateFolderError(f"{folder} cannot be changed: {error}. Check that this user owns it.")
