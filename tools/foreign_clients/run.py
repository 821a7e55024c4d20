"""Let clients that are not ours trade with ``backstop simulate``; needs Node, npm and PyPI.

Installs the pinned clients below ``.venv/foreign-clients``, starts the simulator on a
free loopback port, runs each client, and ends with 1 when a step of any failed.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
REPO = HERE.parents[1]
WORK = REPO / ".venv" / "foreign-clients"  # ignored by git, gone with `make clean`
USER = "foreign"
API_KEY = "only-for-this-loopback-run"
START_S = 60.0
CLIENT_S = 180.0
INSTALL_S = 600.0


def main() -> int:
    """Install, start, run; return the exit code."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        print("FAIL  Node and npm are needed and were not found", flush=True)
        return 2
    python = install(npm)
    port = free_port()
    backstop = Path(sys.executable).with_name("backstop.exe" if os.name == "nt" else "backstop")
    command = [backstop, "simulate", "--port", str(port), "--user", USER, "--api-key", API_KEY]
    with subprocess.Popen(command, cwd=REPO) as simulator:  # noqa: S603 - our own program
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_up(url, simulator)
            clients = ([node, "official_signalr.mjs"], [str(python), "independent_python.py"])
            failed = [command for command in clients if run_client(command, url) != 0]
        finally:
            simulator.terminate()
            simulator.wait(timeout=10)
    print("all foreign clients passed" if not failed else f"{len(failed)} foreign client(s) FAILED")
    return 1 if failed else 0


def install(npm: str) -> Path:
    """Install the pinned clients; return the Python of the SDK's own environment."""
    WORK.mkdir(exist_ok=True)
    for name in ("package.json", "official_signalr.mjs", "independent_python.py"):
        shutil.copy(HERE / name, WORK / name)
    subprocess.run(  # noqa: S603 - fixed arguments
        [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"],
        cwd=WORK, check=True, timeout=INSTALL_S,
    )  # fmt: skip
    python = WORK / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", WORK / "venv"], check=True)  # noqa: S603
    subprocess.run(  # noqa: S603 - fixed arguments
        [python, "-m", "pip", "install", "--quiet", "--requirement", HERE / "requirements.txt"],
        check=True, timeout=INSTALL_S,
    )  # fmt: skip
    return python


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, simulator: "subprocess.Popen[bytes]") -> None:
    """Return when the gateway answers; raise when it has ended or takes too long."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and simulator.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/api/Status/ping", timeout=2):  # noqa: S310 - loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    if simulator.poll() is not None:
        raise RuntimeError(f"the simulator ended with exit code {simulator.returncode}")
    raise TimeoutError(f"the simulator did not answer on {url} within {START_S:g} s")


def run_client(command: list[str], url: str) -> int:
    """Run one client in the work folder; a client that hangs has failed."""
    environment = {
        **os.environ, "GATEWAY_URL": url, "GATEWAY_USER": USER, "GATEWAY_KEY": API_KEY
    }  # fmt: skip
    try:
        return subprocess.run(  # noqa: S603 - fixed arguments
            command, cwd=WORK, env=environment, timeout=CLIENT_S, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"FAIL  {command[-1]} did not end within {CLIENT_S:g} s", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
