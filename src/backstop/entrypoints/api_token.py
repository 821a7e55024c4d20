"""The token of the guard's HTTP interface: where it is kept, for the guard and its callers."""

import os
import secrets
from pathlib import Path

from backstop.adapters.state_folder import check_usable, make_state_folder
from backstop.errors import StateFolderError

TOKEN_FILE = "api_token"  # noqa: S105 - a file name
TOKEN_BYTES = 32


def stored_token(state_folder: Path) -> str | None:
    """Return the token that a guard of this state folder made; None when there is none."""
    check_usable(state_folder)
    try:
        return (state_folder / TOKEN_FILE).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StateFolderError(
            f"{state_folder / TOKEN_FILE} cannot be read: {_why(error)}. "
            "Check BACKSTOP_STATE_DIR, or set BACKSTOP_API_TOKEN."
        ) from error


def stored_or_made_token(state_folder: Path) -> str:
    """Return the token of ``state_folder``; makes one, readable for this user only, if needed.

    The first of a start to need the folder; that it is none is no fault of the token.

    Raises:
        StateFolderError: it is no folder and cannot be made one, or the token cannot be kept in it.
    """
    path = state_folder / TOKEN_FILE
    make_state_folder(state_folder)
    token = stored_token(state_folder)
    try:
        if token is not None:
            return token  # who else can read it is told, and mended, with the rest of the folder
        token = secrets.token_urlsafe(TOKEN_BYTES)
        # Never a moment in which others can read it, or in which it is half written.
        temporary = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StateFolderError(
            f"The API token cannot be kept in {path}: {_why(error)}. Check that "
            "BACKSTOP_STATE_DIR is a folder this user can write, or set BACKSTOP_API_TOKEN."
        ) from error
    return token


def _why(error: Exception) -> str:
    """Return the system's own words, without the path, which the sentence has."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
