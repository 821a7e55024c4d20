"""Let clients that are not ours trade: with ``backstop simulate``, and through a guard before it.

Installs the pinned clients below ``.venv/foreign-clients``, starts simulator and guard on free
loopback ports, runs each client against both, and ends with 1 when a step of any failed. With
``--write`` the results go to docs/reference/foreign-clients.md. Needs Node, npm and PyPI.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
REPO = HERE.parents[1]
WORK = REPO / ".venv" / "foreign-clients"  # ignored by git, gone with `make clean`
PAGE = REPO / "docs" / "reference" / "foreign-clients.md"
USER = "foreign"
API_KEY = "only-for-this-loopback-run"
ACCOUNT = "31004502"
START_S = 60.0
CLIENT_S = 180.0
INSTALL_S = 600.0


class Client(NamedTuple):
    """One client that is not ours; ``environment`` empty: it runs under Node."""

    title: str
    package: str
    script: str
    environment: str = ""
    requirements: str = ""


CLIENTS = (
    Client("Official SignalR client (JavaScript)", "@microsoft/signalr", "official_signalr.mjs"),
    Client(
        "projectx-sdk (Python, requests, signalrcore 0.9)",
        "projectx-sdk",
        "independent_python.py",
        "venv",
        "requirements.txt",
    ),
    Client(
        "topstep-client-py (Python, httpx, signalrcore 1.0)",
        "topstep-client-py",
        "async_python.py",
        "venv-async",
        "requirements-async.txt",
    ),
)


class Outcome(NamedTuple):
    """What became of one client at one place: the steps it took, and whether all went well."""

    steps: tuple[str, ...]
    passed: bool


class Gateway(NamedTuple):
    """Where a client trades, and as whom."""

    url: str
    user: str
    key: str
    guarded: bool


def main() -> int:
    """Install, start, run; return the exit code."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        print("FAIL  Node and npm are needed and were not found", flush=True)
        return 2
    install()
    found: dict[tuple[str, bool], Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="foreign-clients-") as folder, simulator() as direct:
        for client in CLIENTS:
            found[client.package, False] = run_client(client, direct)
        with guard(direct, Path(folder)) as guarded:
            for client in CLIENTS:
                found[client.package, True] = run_client(client, guarded)
    failed = [name for name, outcome in found.items() if not outcome.passed]
    print(f"{len(failed)} of {len(found)} runs FAILED" if failed else "all foreign clients passed")
    if "--write" in sys.argv and not failed:
        PAGE.write_text(page(found), encoding="utf-8")
        print(f"written: {PAGE}")
    return 1 if failed else 0


# -- the clients -----------------------------------------------------------------------------------


def install() -> None:
    """Install the pinned clients, each Python one in an environment of its own."""
    WORK.mkdir(exist_ok=True)
    shutil.copy(HERE / "package.json", WORK / "package.json")
    for client in CLIENTS:
        shutil.copy(HERE / client.script, WORK / client.script)
    npm = shutil.which("npm") or "npm"
    subprocess.run(  # noqa: S603 - fixed arguments
        [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"],
        cwd=WORK, check=True, timeout=INSTALL_S,
    )  # fmt: skip
    for client in CLIENTS:
        if not client.environment:
            continue
        python = python_of(client)
        if not python.exists():
            folder = WORK / client.environment
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)  # noqa: S603 - our own
        subprocess.run(  # noqa: S603 - fixed arguments
            [python, "-m", "pip", "install", "--quiet", "-r", HERE / client.requirements],
            check=True, timeout=INSTALL_S,
        )  # fmt: skip


def python_of(client: Client) -> Path:
    """Return the Python of a client's own environment."""
    name = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return WORK / client.environment / name


def run_client(client: Client, gateway: Gateway) -> Outcome:
    """Run one client in the work folder; a client that hangs has failed."""
    where = "through the guard" if gateway.guarded else "at the simulator"
    print(f"----  {client.title}, {where}", flush=True)
    program = python_of(client) if client.environment else shutil.which("node") or "node"
    environment = {
        **os.environ,
        "GATEWAY_URL": gateway.url,
        "GATEWAY_USER": gateway.user,
        "GATEWAY_KEY": gateway.key,
        "GATEWAY_GUARDED": str(int(gateway.guarded)),
    }
    try:
        ended = subprocess.run(  # noqa: S603 - fixed arguments
            [program, client.script],
            cwd=WORK,
            env=environment,
            timeout=CLIENT_S,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        print(f"{error.stdout or ''}\nFAIL  it did not end within {CLIENT_S:g} s", flush=True)
        return Outcome((), passed=False)
    print(ended.stdout, end="", flush=True)
    lines = ended.stdout.splitlines()
    steps = tuple(it.partition(": ")[2] for it in lines if it.startswith("ok "))
    return Outcome(steps, passed=ended.returncode == 0)


# -- where they trade ------------------------------------------------------------------------------


def program() -> Path:
    """Return the ``backstop`` of this environment."""
    return Path(sys.executable).with_name("backstop.exe" if os.name == "nt" else "backstop")


@contextmanager
def simulator() -> Iterator[Gateway]:
    """Serve a simulated venue."""
    port = free_port()
    command = [program(), "simulate", "--port", str(port), "--user", USER, "--api-key", API_KEY]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own program
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_up(f"{url}/api/Status/ping", process)
            yield Gateway(url, USER, API_KEY, guarded=False)
        finally:
            process.terminate()
            process.wait(timeout=10)


@contextmanager
def guard(venue: Gateway, folder: Path) -> Iterator[Gateway]:
    """Serve a guard's own gateway in front of ``venue``, with credentials for one bot."""
    door, api = free_port(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "TOPSTEPX_API_URL": venue.url,
        "TOPSTEPX_USERNAME": venue.user,
        "TOPSTEPX_API_KEY": venue.key,
        "TOPSTEPX_ACCOUNT_ID": ACCOUNT,
        "BACKSTOP_STATE_DIR": str(folder / "state"),
        "BACKSTOP_LISTEN": f"127.0.0.1:{api}",
        "BACKSTOP_CALENDAR": "always-open",
        "DEFAULT_STOP_TICKS": "400",
        "DRY_RUN": "0",
        "EXECUTE": "1",
    }
    key_file = folder / "bot.key"
    add = ["bots", "add", "foreign-bot", "--max-quantity", "2", "--instruments", "MNQ"]
    subprocess.run(  # noqa: S603 - our own program
        [program(), *add, "--key-file", key_file],
        cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    command = [program(), "run", "--gateway", f"127.0.0.1:{door}"]
    with (
        (folder / "guard.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=log
        ) as process,
    ):
        try:
            wait_until_up(f"http://127.0.0.1:{api}/v1/health", process)
            key = key_file.read_text(encoding="utf-8").strip()
            yield Gateway(f"http://127.0.0.1:{door}", "foreign-bot", key, guarded=True)
        finally:
            process.terminate()
            process.wait(timeout=10)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Return when ``url`` answers well; raise when the program has ended or takes too long."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} ended with exit code {process.returncode}")
    raise TimeoutError(f"nothing answered well on {url} within {START_S:g} s")


# -- the page --------------------------------------------------------------------------------------


def page(found: dict[tuple[str, bool], Outcome]) -> str:
    """Return the list of clients, versions, and what each of them did."""
    rows = "\n".join(
        f"| {it.title} | `{version_of(it)}` | {len(found[it.package, False].steps)} of "
        f"{len(found[it.package, False].steps)} | {len(found[it.package, True].steps)} of "
        f"{len(found[it.package, True].steps)} |"
        for it in CLIENTS
    )
    exercised = "\n\n".join(
        f"## {it.title}\n\n" + "\n".join(f"- {told}" for told in found[it.package, True].steps)
        for it in CLIENTS
    )
    return f"""# Clients that are not ours

<!-- Written by `make foreign-clients ARGS=--write`; do not edit. -->

Clients that other people wrote for ProjectX run unmodified: against `backstop simulate`, and
against `backstop run --gateway` in front of it, with the credentials of a bot.
`make foreign-clients` installs the pinned versions, runs every one of them at both places, and
fails with the first step that does. What they do through the guard is listed below; at the
simulator they do the same, and cancel their legs themselves. How a bot is put there:
[put the guard in front of a bot](../howto/put-the-guard-in-front-of-a-bot.md).

| client | version | steps at the simulator | steps through the guard |
| --- | --- | --- | --- |
{rows}

{exercised}
"""


def version_of(client: Client) -> str:
    """Return the pinned version of a client."""
    if not client.requirements:
        text = (HERE / "package.json").read_text(encoding="utf-8")
        return text.partition(f'"{client.package}": "')[2].partition('"')[0]
    text = (HERE / client.requirements).read_text(encoding="utf-8")
    return text.partition(f"{client.package}==")[2].partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
