"""Puts one value into ``.env.local``: whole or not at all, and for the owner's eyes alone."""

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from backstop.adapters.folders import sync_folder
from backstop.config.env_file import read_env_file, read_lines
from backstop.errors import SetupError

_PLAIN = re.compile(r"[\w.+/=@:-]+", re.ASCII)
"""Values of these characters mean themselves to every tool that reads such files."""


def write_value(path: Path, name: str, value: str) -> None:
    """Have ``name`` stand for ``value`` in the file; every other line stays as it is.

    The file has mode 0600 afterwards, whatever it had. A symbolic link stays one.

    Raises:
        SetupError: the file cannot be read or written, or one of its lines is no assignment; it is
            then as it was.
    """
    path = path.resolve()
    held = read_lines(path)
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
    assignment = f"{name}={_quoted(value)}"
    if name in held:
        lines[held[name][1] - 1] = assignment
    else:
        lines.append(assignment)
    _replace(path, "\n".join(lines) + "\n")
    if read_env_file(path).get(name) != value:
        raise SetupError(f"{path} does not give {name} back as it was written; look at its line.")


def _quoted(value: str) -> str:
    """Return the value as ``env_file`` reads it back."""
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'


def _replace(path: Path, text: str) -> None:
    try:
        # Made with mode 0600, so that there is no moment in which others could read it.
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}.") from error
