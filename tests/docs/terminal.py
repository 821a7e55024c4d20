"""A reader who types what the pages say, in an empty folder and on free ports.

Programs are the real ones. ``curl`` is carried out here, because not every machine has it.
"""

import os
import re
import shlex
import signal
import socket
import string
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from tests.docs.markdown import Block, Command, commands
from tests.surroundings import PLAIN

PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 90.0
LOOK_S = 0.05
PIPE_BYTES = 65_536
LAST_WORDS = 4_000
READY = "Ctrl-C"
"""In the last line that a program prints before it serves."""

EXIT_CODES = {
    "DRY_RUN=1 backstop liquidate --json --yes": 1,
}
"""Commands that the pages show because they are refused."""

REFUSED = "DENIED"
"""What the first line under a command says that the guard refuses."""

STAND_INS = {
    "your platform login": "trader",
    "your key": "practice",
    "your account id": "31004502",
}
"""What a reader fills in; here it is what the simulator expects."""


class Terminal:
    """Carries out blocks one after the other; ``close`` ends what was started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {usual: str(_free_port()) for usual in ("8730", "8720", "8721")}
        self._environment = {
            **PLAIN,
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "BACKSTOP_LISTEN": f"127.0.0.1:{self._ports['8720']}",
        }
        self._serving: list[subprocess.Popen[bytes]] = []
        self._heard: list[Heard] = []

    def carry_out(self, block: Block) -> str:
        """Do what one block says; return what a script printed."""
        match block.language:
            case "console":
                for command in commands(block):
                    self.type(command)
            case "ini":
                text = block.body
                for blank, value in STAND_INS.items():
                    text = text.replace(blank, value)
                (self._folder / ".env.local").write_text(text, encoding="utf-8")
            case "python":
                script = self._folder / "bot.py"
                script.write_text(block.body, encoding="utf-8")
                printed, code = self._run([sys.executable, str(script)], self._environment)
                assert code == 0, f"{printed}\n{self._last_words()}"
                return printed
            case _:
                raise AssertionError(f"nothing can be done with a block of {block.language}")
        return ""

    def type(self, command: Command) -> None:
        """Carry out one line and hold its output against the page."""
        line = command.line.removeprefix(".venv/bin/").replace(" .venv/bin/", " ")
        for usual, free in self._ports.items():
            line = line.replace(usual, free)
        words = shlex.split(string.Template(line).substitute(self._environment))
        environment = dict(self._environment)
        while words and re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        match words:
            case ["export", *assignments]:
                self._environment |= dict(it.split("=", 1) for it in assignments)
            case ["backstop", "run" | "simulate", *_]:
                printed = self._serve(words, environment)
                assert _says(printed, self._expected(command)), printed
            case ["pkill", *signal_words, "-f", pattern]:
                self._kill(pattern, signal_number(signal_words))
            case ["curl", *arguments]:
                changes = "-d" in arguments or "-X" in arguments
                expected = self._expected(command)

                def is_enough(heard: str) -> bool:
                    return _says(heard, expected)

                self._ask(command, lambda: (_curl(arguments, is_enough), 0), once=changes)
            case _:
                self._ask(command, lambda: self._run(words, environment), once=False)

    def _kill(self, pattern: str, number: int) -> None:
        """Signal what was started here and matches; nothing else on the machine is touched.

        Told to end, it is waited for: what a reader types next expects that it is gone.
        """
        meant = [it for it in descendants(self._serving) if pattern in it.words]
        assert meant, f"nothing that runs matches {pattern}"
        for it in meant:
            os.kill(it.process_id, number)
        if number == signal.SIGTERM:
            ours = {it.process_id for it in meant}
            for process in self._serving:
                if process.pid in ours:
                    process.wait(timeout=PATIENCE_S)

    def close(self) -> list[int]:
        """End what serves, the newest first; return the exit codes."""
        codes = []
        for process in reversed(self._serving):
            process.terminate()
            codes.append(process.wait(timeout=PATIENCE_S))
        for heard in self._heard:
            heard.end()
        return codes

    def _ask(self, command: Command, ask: Callable[[], tuple[str, int]], *, once: bool) -> None:
        """Ask until the answer is what the page says, as a reader looks again; or once."""
        right = EXIT_CODES.get(command.line, int(command.printed[:1] == (REFUSED,)))
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            printed, code = ask()
            if code == right and _says(printed, self._expected(command)):
                return
            told = f"{command.line}\nended with {code} and printed: {printed}"
            assert not once, told + self._last_words()
            assert time.monotonic() < deadline_s, told + self._last_words()
            time.sleep(LOOK_S)

    def _last_words(self) -> str:
        """Return what the programs that serve have logged at last: the first thing to read."""
        logs = sorted(self._folder.glob("*.err"))
        return "".join(
            f"\n{log.name}: …{log.read_text(encoding='utf-8')[-LAST_WORDS:]}" for log in logs
        )

    def _expected(self, command: Command) -> list[str]:
        """Return the lines under a command, with the ports of this test."""
        lines = list(command.printed)
        for usual, free in self._ports.items():
            lines = [line.replace(usual, free) for line in lines]
        return lines

    def _run(self, words: list[str], environment: dict[str, str]) -> tuple[str, int]:
        ended = subprocess.run(
            words,
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return ended.stdout, ended.returncode

    def _serve(self, words: list[str], environment: dict[str, str]) -> str:
        """Start a program that serves until it is ended; return what it printed by then."""
        errors = self._folder / f"{len(self._serving)}-{words[1]}.err"
        with errors.open("wb") as error_file:
            process = subprocess.Popen(
                words,
                cwd=self._folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=error_file,
            )
        assert process.stdout is not None
        heard = Heard(process.stdout)
        self._serving.append(process)
        self._heard.append(heard)
        deadline_s = time.monotonic() + PATIENCE_S
        while READY not in (printed := heard.text):
            assert process.poll() is None, errors.read_text(encoding="utf-8")
            assert time.monotonic() < deadline_s, f"{words} printed only: {printed}"
            time.sleep(LOOK_S)
        return printed


class Heard:
    """What a program prints, as it comes. It is a pipe, as to somebody who reads, and no file."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, args=(pipe,), daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        return b"".join(self._parts).decode()

    def end(self) -> None:
        """Wait until nobody can print to it any more."""
        self._thread.join(timeout=PATIENCE_S)

    def _listen(self, pipe: IO[bytes]) -> None:
        with pipe:
            while part := os.read(pipe.fileno(), PIPE_BYTES):
                self._parts.append(part)


class Listed(NamedTuple):
    """One process as the system lists it."""

    process_id: int
    words: str


def descendants(roots: list[subprocess.Popen[bytes]]) -> list[Listed]:
    """Return the processes of ``roots`` that still run, and all that these started."""
    lines = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="],  # noqa: S607 - wherever the system has it
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    rows = [line.split(maxsplit=2) for line in lines]
    found = {root.pid for root in roots if root.poll() is None}
    grown = True
    while grown:
        children = {int(it[0]) for it in rows if int(it[1]) in found}
        grown = not children <= found
        found |= children
    return [Listed(int(it[0]), it[2]) for it in rows if int(it[0]) in found]


def signal_number(words: list[str]) -> int:
    """Return the signal that ``pkill`` is told to send: -9, or none for the polite one."""
    match words:
        case []:
            return signal.SIGTERM
        case ["-9"]:
            return signal.SIGKILL
        case _:
            raise AssertionError(f"pkill {words} is not known here")


def _says(printed: str, expected: list[str]) -> bool:
    """Tell whether every expected line is in ``printed``; … stands for anything."""
    wanted = (".*".join(map(re.escape, line.split("…"))) for line in expected)
    return all(re.search(f"^{line}", printed, re.MULTILINE) for line in wanted)


def _curl(arguments: list[str], is_enough: Callable[[str], bool]) -> str:
    """Return the answer's body, also of an error, as curl prints it.

    A stream without an end, ``--max-time``, is heard until it has said enough, or the time is over.
    """
    method, headers, data, url, limit_s = "GET", {}, None, "", PATIENCE_S
    rest = iter(arguments)
    for word in rest:
        match word:
            case "-X":
                method = next(rest)
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case "-d":
                method, data = "POST", next(rest).encode()
            case "--max-time":
                limit_s = float(next(rest))
            case "-sN":
                pass  # no picture of the progress, and everything at once
            case _:
                url = word
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=limit_s) as answer:  # noqa: S310 - loopback
            return _heard(answer, limit_s, is_enough)
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def _heard(answer: IO[bytes], limit_s: float, is_enough: Callable[[str], bool]) -> str:
    heard, ends_s = b"", time.monotonic() + limit_s
    with suppress(TimeoutError):
        while time.monotonic() < ends_s and (line := answer.readline()):
            heard += line
            if limit_s < PATIENCE_S and is_enough(heard.decode()):
                break
    return heard.decode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
