"""The secret of the local tokens: kept, so that bots stay logged in when the guard starts anew."""

import os
import secrets
from pathlib import Path

from backstop.errors import StateFolderError

KEY_FILE = "gateway.key"
KEY_BYTES = 32


def stored_or_made_key(state_folder: Path) -> bytes:
    """Return the key of ``state_folder``; makes one, readable for this user only, if needed.

    Raises:
        StateFolderError: it can be neither read nor kept.
    """
    path = state_folder / KEY_FILE
    try:
        key = path.read_bytes() if path.exists() else b""
        if len(key) == KEY_BYTES:
            path.chmod(0o600)
            return key
        # Of another length it was cut or is not ours: a new one only makes bots log in again.
        key = secrets.token_bytes(KEY_BYTES)
        state_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StateFolderError(
            f"The key of the gateway's tokens cannot be kept in {path}: {error.strerror or error}. "
            "Check that BACKSTOP_STATE_DIR is a folder this user can write."
        ) from error
    return key
