"""A watchdog and its guard as processes of their own, as ``backstop run`` has them."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from backstop.entrypoints.api_token import TOKEN_FILE
from benchmarks.venue import API_KEY, USER, free_account

LIMIT_S = 60.0
LOOK_AGAIN_S = 0.01
STILL_S = 0.5
"""A spare that has used no processor for this long is loaded."""


class Heard(NamedTuple):
    """A line that was printed, and when it came."""

    at_s: float
    text: str


class Pack:
    """A watchdog with its guard, and every line that they print."""

    def __init__(
        self, process: "subprocess.Popen[str]", *, account: int, folder: Path, listen: str
    ) -> None:
        self.process = process
        self.account = account
        self.state = folder / "state"
        self._address = f"http://{listen}"
        self._heard: list[Heard] = []
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=self._listen, args=(stream,), daemon=True).start()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._heard.append(Heard(time.perf_counter(), line))

    def heard(self, words: str, *, after_s: float = 0) -> float:
        """Return when the first line with ``words`` came after a moment."""
        return until(
            lambda: next(
                (it.at_s for it in list(self._heard) if it.at_s > after_s and words in it.text), 0
            ),
            words,
        )

    def post(self, path: str, body: dict[str, object]) -> int:
        """Call the guard's API with its own token; return the HTTP status."""
        token = (self.state / TOKEN_FILE).read_text(encoding="utf-8").strip()
        request = Request(  # noqa: S310 - loopback
            f"{self._address}{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=LIMIT_S) as answer:  # noqa: S310 - likewise
                return int(answer.status)
        except HTTPError as error:
            return error.code

    def child(self, verb: str) -> int:
        """Return the number of the process with this verb, once there is one."""
        return int(until(lambda: self._child(verb), verb))

    def _child(self, verb: str) -> int:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for number in map(int, listed.read_text(encoding="ascii").split()):
            if verb.encode() in Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0"):
                return number
        return 0

    def spare_is_loaded(self) -> int:
        """Wait until there is a spare that does nothing any more; return its number."""
        number = self.child("spare")
        used, since_s = -1, time.perf_counter()
        while time.perf_counter() - since_s < STILL_S:
            now = _processor_ticks(number)
            if now != used:
                used, since_s = now, time.perf_counter()
            time.sleep(LOOK_AGAIN_S)
        return number


@contextmanager
def a_pack(url: str, *, spare: bool, **changes: str) -> Iterator[Pack]:
    """Run a watchdog and its guard on an account that nobody used; ``changes`` are settings."""
    account = free_account(url)
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        taken.close()
        words = ["watchdog", "--spare", "0" if spare else "no", "--"]
        with subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "backstop", *words],
            cwd=folder,
            env=_environment(url, listen, folder, account) | changes,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Pack(process, account=account, folder=Path(folder), listen=listen)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(LIMIT_S)


def _environment(url: str, listen: str, folder: str, account: int) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": folder,
        "XDG_RUNTIME_DIR": folder,
        "TOPSTEPX_API_URL": url,
        "TOPSTEPX_USERNAME": USER,
        "TOPSTEPX_API_KEY": API_KEY,
        "TOPSTEPX_ACCOUNT_ID": str(account),
        "BACKSTOP_STATE_DIR": str(Path(folder) / "state"),
        "BACKSTOP_LISTEN": listen,
        "BACKSTOP_CALENDAR": "always-open",
        "DRY_RUN": "0",
        "EXECUTE": "1",
    }


def until(look: Callable[[], float], what: str) -> float:
    """Look until there is something; return it."""
    deadline_s = time.perf_counter() + LIMIT_S
    while not (found := look()):
        if time.perf_counter() > deadline_s:
            raise RuntimeError(f"{what!r} did not come within {LIMIT_S:g} s")
        time.sleep(LOOK_AGAIN_S / 10)
    return found


def _processor_ticks(number: int) -> int:
    fields = Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident_mib(number: int) -> float:
    """Return what a process holds in memory."""
    text = Path(f"/proc/{number}/status").read_text(encoding="utf-8")
    rows = dict(row.split(":", 1) for row in text.splitlines())
    return int(rows["VmRSS"].split()[0]) / 1024
