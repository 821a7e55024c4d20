"""Where the token of the page is shown: to a person who starts a guard, and never to a log."""

import io
import os
import pty
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from backstop.config.secret import Secret
from backstop.entrypoints.page_address import page_line

ADDRESS = "http://127.0.0.1:8720"
TOKEN = "made-up+token/="
WITH_TOKEN = f"Page   {ADDRESS}/#token=made-up%2Btoken%2F%3D"


@contextmanager
def an_output(kind: str, folder: Path) -> Iterator[TextIO]:
    """Give what stands behind the standard output of a guard."""
    with ExitStack() as closing:
        match kind:
            case "terminal":
                master, end = pty.openpty()
                closing.callback(os.close, master)
            case "pipe":
                reader, end = os.pipe()
                closing.callback(os.close, reader)
            case "journal of the system":  # systemd gives its services a socket
                near, far = socket.socketpair()
                closing.callback(far.close)
                end = near.detach()
            case _:
                end = os.open(folder / "guard.log", os.O_CREAT | os.O_WRONLY)
        yield closing.enter_context(os.fdopen(end, "w"))


@pytest.mark.parametrize(
    ("kind", "made", "shown"),
    [
        ("terminal", True, True),
        ("terminal", False, True),
        ("pipe", True, True),
        # Who set it knows it; what reads the pipe may be anything.
        ("pipe", False, False),
        ("journal of the system", True, False),
        ("journal of the system", False, False),
        ("file", True, False),
        ("file", False, False),
    ],
)
def test_the_token_is_shown_where_somebody_reads(
    tmp_path: Path, kind: str, *, made: bool, shown: bool
) -> None:
    with an_output(kind, tmp_path) as out:
        line = page_line(ADDRESS, Secret(TOKEN), made=made, out=out)

    assert line == (WITH_TOKEN if shown else f"Page   {ADDRESS}/   it asks for the token")


def test_an_output_that_is_nothing_of_the_system_shows_no_token() -> None:
    line = page_line(ADDRESS, Secret(TOKEN), made=True, out=io.StringIO())

    assert "#" not in line
