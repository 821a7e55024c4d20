"""Who may use the protective gateway: a file of names, limits and hashes of keys.

A key is shown once, when it is made. Only its hash is kept: whoever reads the file cannot log in.
The key has 256 random bits, so a plain SHA-256 of it tells as little as a slow hash would.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from backstop.adapters.file_lock import one_at_a_time
from backstop.domain.bot import BotLimits
from backstop.errors import SetupError, StateFolderError

BOTS_FILE = "bots.json"
KEY_BYTES = 32
BOTS_MAX = 64
"""More of them on one account are a mistake, such as a new name at every start."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
ALLOWED_NAMES = "1 to 32 letters, digits, dots, dashes or underscores, a letter or digit first"


class BotCredential(Struct, frozen=True, kw_only=True):
    """One bot: its name, what proves it, since when (seconds since 1970), and its limits."""

    name: str
    key_sha256: str
    made_utc_s: int
    limits: BotLimits


class _File(Struct, frozen=True, kw_only=True):
    version: int = 1
    bots: tuple[BotCredential, ...] = ()


class BotCredentials:
    """The file of one state folder; what others changed in it meanwhile is seen at each read."""

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / BOTS_FILE

    @property
    def stamp(self) -> tuple[int, int, int] | None:
        """Return what differs once the file was replaced; None while there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self) -> tuple[BotCredential, ...]:
        """Return every bot, in the order of making.

        Raises:
            StateFolderError: the file cannot be read, or is no such file.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File).bots
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise StateFolderError(
                f"{self._path} cannot be used: {why}. No bot can log in. Mend it, or take it away "
                "and make the bots anew with 'backstop bots add'."
            ) from error

    def add(self, name: str, limits: BotLimits, *, utc_s: int) -> str:
        """Make a bot and return its key, which nobody can read again.

        Raises:
            SetupError: a name that cannot be used, or is in use.
            StateFolderError: the file cannot be read or written.
        """
        if _NAME.fullmatch(name) is None:
            raise SetupError(f"{name!r} is no name of a bot. Allowed: {ALLOWED_NAMES}.")
        with self._one_change() as bots:
            if any(bot.name.lower() == name.lower() for bot in bots):
                raise SetupError(
                    f"There is a bot {name} already. 'backstop bots remove {name}' revokes its "
                    "key; then add it again."
                )
            if len(bots) >= BOTS_MAX:
                raise SetupError(
                    f"There are {BOTS_MAX} bots, which is all there may be: remove one."
                )
            key = secrets.token_urlsafe(KEY_BYTES)
            bot = BotCredential(name=name, key_sha256=_hash(key), made_utc_s=utc_s, limits=limits)
            self._write((*bots, bot))
        return key

    def remove(self, name: str) -> bool:
        """Revoke a bot's key and tokens; False when there is no such bot.

        Raises:
            StateFolderError: the file cannot be read or written.
        """
        with self._one_change() as bots:
            left = tuple(bot for bot in bots if bot.name.lower() != name.lower())
            if len(left) == len(bots):
                return False
            self._write(left)
        return True

    @contextmanager
    def _one_change(self) -> Iterator[tuple[BotCredential, ...]]:
        """Give the bots as they are, and let nobody else change them within the block."""
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        with one_at_a_time(self._path.with_suffix(".lock")):
            yield self.read()

    def _write(self, bots: tuple[BotCredential, ...]) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}")
        text = msgspec.json.format(msgspec.json.encode(_File(bots=bots)), indent=2)
        try:
            # Never a moment in which others can read it, or in which it is half written.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StateFolderError:
        return StateFolderError(
            f"{self._path} cannot be written: {error.strerror or error}. Check that "
            "BACKSTOP_STATE_DIR is a folder this user can write."
        )


def is_key_of(bot: BotCredential, key: str) -> bool:
    """Tell whether ``key`` is the one that ``bot`` was given."""
    return hmac.compare_digest(bot.key_sha256, _hash(key))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
