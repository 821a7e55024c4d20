"""The address of the dashboard, with the token where a person reads it and no log keeps it.

The token stands behind ``#``: a browser keeps that part to itself and sends it to no server.
"""

import os
import stat
from typing import TextIO
from urllib.parse import quote

from backstop.config.secret import Secret

FRAGMENT = "/#token="


def page_line(address: str, token: Secret, *, made: bool, out: TextIO) -> str:
    """Return what a person who starts a guard is told of its page.

    Args:
        address: of the interface, without a path.
        token: of the interface.
        made: the guard made the token itself, so nobody has it yet.
        out: where the line will be written.
    """
    if _is_terminal(out) or (made and _is_pipe(out)):
        return f"Page   {address}{FRAGMENT}{quote(token.reveal(), safe='')}"
    return f"Page   {address}/   it asks for the token"


def _is_terminal(out: TextIO) -> bool:
    return out.isatty()


def _is_pipe(out: TextIO) -> bool:
    """Tell whether the other end is a program that reads now: no file, and no system's journal."""
    try:
        return stat.S_ISFIFO(os.fstat(out.fileno()).st_mode)
    except (OSError, ValueError):  # no descriptor, or a closed one
        return False
