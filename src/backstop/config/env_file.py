r"""Reads ``.env.local``: one ``NAME=value`` per line, as shells and other tools write it.

Nothing is expanded or executed. A value may stand in single quotes (taken as it is) or in double
quotes (where ``\n \t \r \" \\ \$`` mean what they mean in a shell); without quotes it ends at the
end of the line or at `` #``. Errors name the line, never its content, which may be a secret.
"""

import os
import re
import stat
from pathlib import Path

from backstop.errors import SetupError

ENV_FILE = ".env.local"

MAX_FILE_BYTES = 2**20
"""More is not a file of settings; a wrong path must not fill the memory."""

_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_DOUBLE_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_SINGLE_QUOTED = re.compile(r"'([^']*)'\s*(?:#.*)?")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


def read_env_file(path: Path) -> dict[str, str]:
    """Return the names and values in ``path``; empty when there is no such file.

    Raises:
        SetupError: the file cannot be read, a line is no assignment, or a name stands there
            twice, which would make two people believe two things.
    """
    return {name: value for name, (value, _line) in read_lines(path).items()}


def read_lines(path: Path) -> dict[str, tuple[str, int]]:
    """Return value and line number by name; errors as ``read_env_file``."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SetupError(
                f"{path} has more than {MAX_FILE_BYTES} bytes; it is no settings file."
            )
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise SetupError(f"{path} is not UTF-8 text. Save it as UTF-8.") from error
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error
    lines: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, value = _assignment(stripped, where=f"{path}, line {number}")
        if name in lines:
            raise SetupError(
                f"{path}: {name} stands there twice, in lines {lines[name][1]} and {number}. "
                "Remove one."
            )
        lines[name] = value, number
    return lines


def open_to_others(path: Path) -> bool:
    """Tell whether others than the owner may read ``path`` (POSIX modes; False elsewhere)."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return os.name == "posix" and bool(stat.S_IMODE(mode) & 0o044)


def _assignment(line: str, *, where: str) -> tuple[str, str]:
    found = _ASSIGNMENT.fullmatch(line)
    if found is None:
        raise SetupError(f"{where}: not of the form NAME=value. Comments begin with #.")
    name, value = found[1], found[2]
    if value.startswith('"'):
        quoted = _DOUBLE_QUOTED.fullmatch(value)
        if quoted is None:
            raise SetupError(
                f"{where}: the double quotes of {name} do not close at the line's end."
            )
        return name, re.sub(r"\\(.)", _unescaped, quoted[1])
    if value.startswith("'"):
        quoted = _SINGLE_QUOTED.fullmatch(value)
        if quoted is None:
            raise SetupError(
                f"{where}: the single quotes of {name} do not close at the line's end."
            )
        return name, quoted[1]
    return name, re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()


def _unescaped(escape: re.Match[str]) -> str:
    return _ESCAPES.get(escape[1], escape[0])
