"""Secrets as files, one each: what systemd, Docker and Kubernetes hand to a service."""

import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from backstop.adapters.vaults.secret_names import spellings
from backstop.domain.credential import CredentialFacts
from backstop.errors import CredentialSourceError

MAX_FILE_BYTES = 64 * 1024
"""No credential is longer; a wrong path must not fill the memory."""

READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH


class SecretFiles:
    """A folder with one file for each secret.

    Args:
        folder: where the files are.
        closed: the folder is private to the service whatever the files' modes say, as those are
            that a container or systemd mounts.
    """

    timeout_s: float | None = None

    def __init__(self, folder: Path, *, closed: bool = False) -> None:
        self.name = f"secret files in {folder}"
        self._folder = folder
        self._closed = closed

    def read(self, credential: str) -> str | None:
        """Return the content of the credential's file, without a line break at its end.

        Raises:
            CredentialSourceError: the file cannot be read, or others may read it.
        """
        for name in spellings(credential):
            path = self._folder / name
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CredentialSourceError(f"{path}: {error.strerror}") from error
            self._check(path, found)
            try:
                return path.read_text(encoding="utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise CredentialSourceError(f"{path} is not UTF-8 text") from error
            except OSError as error:
                raise CredentialSourceError(f"{path}: {error.strerror}") from error
        return None

    def facts(self, credential: str) -> CredentialFacts:
        """Return the credential's file and when it was written."""
        for name in spellings(credential):
            path = self._folder / name
            with suppress(OSError):
                changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                return CredentialFacts(place=str(path), changed=changed)
        return CredentialFacts(place=str(self._folder))

    def _check(self, path: Path, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise CredentialSourceError(f"{path} is not a file")
        if found.st_size > MAX_FILE_BYTES:
            raise CredentialSourceError(f"{path} has more than {MAX_FILE_BYTES} bytes")
        if not self._closed and os.name == "posix" and found.st_mode & READABLE_BY_OTHERS:
            mode = stat.S_IMODE(found.st_mode)
            raise CredentialSourceError(
                f"{path} has mode {mode:04o} and can be read by others: chmod 600 {path}"
            )
