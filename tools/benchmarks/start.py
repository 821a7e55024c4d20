"""From nothing to a healthy answer: ``backstop run`` as a process, in a fresh state folder."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from import_costs import MODULES, cost_ms

from benchmarks.figures import Figure
from benchmarks.venue import API_KEY, USER, a_venue, free_account

READY_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
LOOK_AGAIN_S = 0.002
LOCK_FILE = Path(__file__).parents[2] / "requirements.lock"


def measure(*, rounds: int, import_runs: int) -> list[Figure]:
    """Return how long a start takes, how much it loads, and how long loading takes."""
    armed_s: list[float] = []
    healthy_s: list[float] = []
    bare_s: list[float] = []
    with a_venue(history=True) as url:
        for _ in range(rounds):
            bare_s.append(_bare_interpreter_s())
            armed, healthy = _cold_start_s(url)
            armed_s.append(armed)
            healthy_s.append(healthy)
    baseline = "a bare Python interpreter"
    figures = [
        Figure(
            key="start_to_armed_s",
            what="cold start to the guard watching the account",
            unit="s",
            rounds=tuple(armed_s),
            baseline=baseline,
            baseline_rounds=tuple(bare_s),
        ),
        Figure(
            key="start_to_healthy_s",
            what="cold start to the first healthy answer",
            unit="s",
            rounds=tuple(healthy_s),
            baseline=baseline,
            baseline_rounds=tuple(bare_s),
        ),
        Figure(
            key="packages",
            what="packages of others that an installation brings",
            unit="packages",
            rounds=(float(_installed_packages()),),
        ),
    ]
    return figures + _imports(import_runs) + _sources(import_runs)


def _imports(runs: int) -> list[Figure]:
    guard = MODULES["the guard"]
    loaded = {
        "import_guard_ms": ("importing the guard", (guard,)),
        "import_http_ms": (
            "importing the HTTP interface after it",
            (MODULES["the HTTP interface after it"], guard),
        ),
    }
    return [
        Figure(
            key=key,
            what=what,
            unit="ms",
            rounds=tuple(cost_ms(*modules, runs=1) for _ in range(runs)),
        )
        for key, (what, modules) in loaded.items()
    ]


SOURCES = {
    "none": ("no vault configured", ("azure", "boto3", "botocore", "keyring")),
    "azure": ("Azure Key Vault asked", ("azure.identity", "azure.keyvault.secrets")),
    "aws": ("AWS Secrets Manager asked", ("boto3", "botocore")),
    "keyring": ("the keyring asked", ("keyring", "keyring.errors")),
}
"""What is measured of each source of credentials, and its modules: an unused one loads none."""

SOURCE_PROBE = """
import importlib, sys, time
from backstop.entrypoints import daemon

def held_mib():
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            rows = dict(row.split(":", 1) for row in status)
        return int(rows["VmRSS"].split()[0]) / 1024
    except FileNotFoundError:
        pass  # no Linux, where the peak below would also be that of the process that started us
    import resource
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

kind, *modules = sys.argv[1:]
before = held_mib()
began = time.perf_counter()
if kind == "none":
    from backstop.config.settings import configured_sources
    configured_sources()
    loaded = [it for it in modules if it in sys.modules]
    assert not loaded, f"an unused source has loaded {loaded}"
else:
    for module in modules:
        importlib.import_module(module)
print((time.perf_counter() - began) * 1000, held_mib() - before)
"""


def _sources(runs: int) -> list[Figure]:
    """Return what sources of credentials cost a start: those that are used, and those that are not.

    Where an extra is not installed, or the platform does not tell its memory, there is no figure.
    """
    figures: list[Figure] = []
    for kind, (what, modules) in SOURCES.items():
        costs = [cost for _ in range(runs) if (cost := _source_cost(kind, modules)) is not None]
        if not costs:
            continue
        time_ms, memory_mib = zip(*costs, strict=True)
        figures += [
            Figure(key=f"source_{kind}_ms", what=f"{what}: time", unit="ms", rounds=time_ms),
            Figure(key=f"source_{kind}_mib", what=f"{what}: memory", unit="MiB", rounds=memory_mib),
        ]
    return figures


def _source_cost(kind: str, modules: tuple[str, ...]) -> tuple[float, float] | None:
    """Return milliseconds and MiB on top of the guard's own, in a fresh interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - our own interpreter and words
            [sys.executable, "-c", SOURCE_PROBE, kind, *modules],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    if "ModuleNotFoundError" in done.stderr:
        return None
    done.check_returncode()
    time_ms, memory_mib = map(float, done.stdout.split())
    return time_ms, memory_mib


def _bare_interpreter_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def _cold_start_s(url: str) -> tuple[float, float]:
    """Start the guard and return when it was armed and when it first was healthy."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        taken.close()
        program = shutil.which("backstop", path=str(Path(sys.executable).parent))
        if program is None:
            raise RuntimeError("backstop is not installed beside this interpreter")
        began = time.perf_counter()
        with subprocess.Popen(  # noqa: S603 - our own program
            [program, "run"],
            cwd=folder,
            env=_environment(url, listen, folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                if process.stdout is None or not process.stdout.readline():
                    raise RuntimeError("backstop run ended before it was armed")
                armed = time.perf_counter() - began
                return armed, _healthy_at(f"http://{listen}/v1/health") - began
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(STOP_LIMIT_S)


def _healthy_at(address: str) -> float:
    deadline = time.perf_counter() + READY_LIMIT_S
    said: Any = "nothing"
    while time.perf_counter() < deadline:
        try:
            with urlopen(address, timeout=READY_LIMIT_S):  # noqa: S310 - loopback
                return time.perf_counter()
        except HTTPError as error:
            said = json.load(error)
        except (URLError, OSError) as error:
            said = error
        time.sleep(LOOK_AGAIN_S)
    raise RuntimeError(f"the guard was not healthy within {READY_LIMIT_S} s: {said}")


def _environment(url: str, listen: str, folder: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": folder,
        "TOPSTEPX_API_URL": url,
        "TOPSTEPX_USERNAME": USER,
        "TOPSTEPX_API_KEY": API_KEY,
        "TOPSTEPX_ACCOUNT_ID": str(free_account(url)),
        "BACKSTOP_STATE_DIR": str(Path(folder) / "state"),
        "BACKSTOP_LISTEN": listen,
        "BACKSTOP_CALENDAR": "always-open",
        "DRY_RUN": "0",
        "EXECUTE": "1",
    }


def _installed_packages() -> int:
    """Return how many distributions of the lock file are installed on this platform."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", LOCK_FILE.read_text(encoding="utf-8"), re.MULTILINE)
    return sum(1 for name in names if _is_installed(name))


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
