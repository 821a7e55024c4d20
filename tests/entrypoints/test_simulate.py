"""`backstop simulate` as a process: what it prints, what it refuses, how it ends."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

_LIMIT_S = 20.0
_JSON = {"Content-Type": "application/json"}
_RUN = (
    "import typer; from backstop.entrypoints.simulate import simulate; "
    "app = typer.Typer(); app.command()(simulate); app()"
)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", _RUN, *arguments]


def refused(*arguments: str) -> str:
    """Return what a refused start says; it must be one sentence with exit code 2."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


class Started:
    """A running simulator and what it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.text = self.read_until("Ctrl-C ends it.")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def read_until(self, mark: str) -> str:
        text = ""
        while mark not in text:
            text += self._lines.get(timeout=_LIMIT_S)
        return text

    def _connection(self) -> HTTPConnection:
        address = re.search(r"http://127\.0\.0\.1:(\d+)", self.text)
        assert address is not None
        return HTTPConnection("127.0.0.1", int(address.group(1)), timeout=_LIMIT_S)

    def fetch(self, path: str, *, method: str) -> bytes:
        with closing(self._connection()) as connection:
            connection.request(method, path)
            return connection.getresponse().read()

    def log_in(self) -> tuple[int, str | None]:
        """Return the status of a login, and what it says of when to come back."""
        body = '{"userName": "demo", "apiKey": "demo"}'
        with closing(self._connection()) as connection:
            connection.request("POST", "/api/Auth/loginKey", body, _JSON)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Retry-After")

    def end(self) -> None:
        self.process.kill()
        self.process.wait(_LIMIT_S)
        self._reader.join(_LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def started(
    *arguments: str, environment: dict[str, str] | None = None, folder: Path | None = None
) -> Iterator[Started]:
    """Run the simulator until the block ends."""
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    )
    simulator = Started(process)
    try:
        yield simulator
    finally:
        simulator.end()


def test_a_newcomer_is_told_addresses_accounts_contracts_and_mischief() -> None:
    with started("--user", "trader77", "--api-key", "s3cret-key") as simulator:
        for needed in (
            "/hubs/user",
            "/hubs/market",
            "trader77",
            "31004502  PRAC-V2-900001-87654321  balance 150000",
            "31004501  50KTC-V2-900001-12345678  balance 50000",
            "CON.F.US.MES.",
            "/_simulator/faults",
        ):
            assert needed in simulator.text
        assert "s3cret-key" not in simulator.text
        assert b"pong" in simulator.fetch("/api/Status/ping", method="GET")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(number: signal.Signals) -> None:
    with started() as simulator:
        simulator.process.send_signal(number)
        assert simulator.process.wait(_LIMIT_S) == 0


def test_the_environment_and_env_local_change_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("TOPSTEPX_USERNAME=other\nBACKSTOP_CALENDAR=cme\n")
    environment = {
        "TOPSTEPX_USERNAME": "real",
        "TOPSTEPX_API_URL": "http://192.0.2.1",
        "EXECUTE": "1",
    }
    with started("--user", "me", environment=environment, folder=tmp_path) as simulator:
        assert "TOPSTEPX_USERNAME=me" in simulator.text
        assert "calendar always-open" in simulator.text
        assert "192.0.2.1" not in simulator.text


def test_a_fault_is_told_when_it_happens() -> None:
    with started() as simulator:
        simulator.fetch("/_simulator/hub/drop", method="POST")
        assert "hub_reset" in simulator.read_until("Fault 1")


def test_a_taken_port_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port: {port} cannot be listened on" in refused("--port", str(port))


def test_an_unreadable_line_of_data_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "ES.csv"
    path.write_text("ts_utc,open,high,low,close\n2026-02-05T23:00:00Z,1,2,x,1\n", "utf-8")

    said = refused("--data", str(path))

    assert said == f"backstop simulate: {path}, line 2: the low 'x' is not a number\n"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--data", "absent.csv"), "absent.csv: no such file"),
        (("--port", "65536"), "--port: 65536 is out of range"),
        (("--user", " "), "--user: is empty"),
        (("--speed", "-1"), "--speed: -1.0 is out of range"),
        (("--speed", "nan"), "--speed: nan is out of range"),
        (("--history", "0"), "--history: 0 is out of range"),
        (("--calendar", "nyse"), "--calendar: 'nyse' is unknown. Allowed: always-open or cme."),
        (("--brackets", "oco"), "--brackets: 'oco' is unknown. Allowed: auto-oco or position."),
        (("--date", "2024-08-05"), "--date: there is no data to begin in"),
        (("--data", "x", "--date", "soon"), "--date: 'soon' is no date"),
        (("--faults", "absent.json"), "--faults: absent.json cannot be read"),
        (("--switch", "partial_fil=never"), "--switch: 'partial_fil' is unknown. Allowed: "),
        (
            ("--switch", "partial_fill=some"),
            "--switch partial_fill: 'some' cannot be used. Allowed: never or by-liquidity or ",
        ),
    ],
)
def test_unusable_options_are_refused_in_one_sentence(
    arguments: tuple[str, ...], fault: str
) -> None:
    assert fault in refused(*arguments)


def test_the_list_of_switches_is_shown_without_serving() -> None:
    done = subprocess.run(
        command("--switch", "list"), capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "partial_fill=never\n" in done.stdout
    assert "http://" not in done.stdout


def test_a_switch_reaches_the_running_gateway() -> None:
    with started("--switch", "general_limit=1/1000", "--switch", "retry-after=on") as simulator:
        statuses = [simulator.log_in() for _ in range(2)]

    assert statuses[0] == (200, None)
    assert statuses[1][0] == 429
    assert statuses[1][1] is not None
    assert 0 < int(statuses[1][1]) <= 1_000


def test_an_unusable_fault_file_names_the_field(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('[{"on": "Order/place", "act": "explode"}]', "utf-8")

    assert "act" in refused("--faults", str(path))
