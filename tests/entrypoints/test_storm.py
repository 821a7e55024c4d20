"""`backstop storm`: a line for each seed, a digest, an exit code."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backstop.adapters.process_watch import watched_process
from backstop.entrypoints.main import INTERRUPTED
from backstop.entrypoints.storm import storm as verb
from backstop.storm.mutations import MUTATIONS, planted
from backstop.storm.seed_files import MEMORY_FOLDER

app = typer.Typer()
app.command()(verb)
ASKED = ("--hours", "0.005")
PATIENCE_S = 60


def test_a_seed_has_a_line_with_its_digest_and_a_verdict() -> None:
    done = CliRunner().invoke(app, ["--seed", "20", *ASKED])
    assert done.exit_code == 0, done.output
    line, total = done.output.splitlines()
    assert line.startswith("seed     20 calm")
    assert "passed" in line
    assert total == "1 seed, 0 failed"


def test_the_json_of_a_seed_has_everything() -> None:
    done = CliRunner().invoke(app, ["--seed", "20", *ASKED, "--json"])
    result = json.loads(done.output)
    assert result["seed"] == 20
    assert len(result["digest"]) == 16
    assert result["violations"] == []


def test_a_trace_tells_the_story() -> None:
    done = CliRunner().invoke(app, ["--seed", "20", *ASKED, "--trace"])
    assert "world    start number=1" in done.output
    assert "guard    recovered" in done.output


def test_several_seeds_run_in_processes_of_their_own() -> None:
    done = CliRunner().invoke(app, ["--seeds", "20:22", *ASKED, "--workers", "2"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "2 seeds, 0 failed"


def test_a_failed_seed_ends_with_one_and_says_how_to_see_it() -> None:
    bug = next(it for it in MUTATIONS if it.name == "let commands leave before they are on disk")
    with planted(bug):
        done = CliRunner().invoke(app, ["--seed", "20", "--hours", "0.01000012"])
    assert done.exit_code == 1
    assert "durable before sent" in done.output
    assert "backstop storm --seed 20 --hours 0.01000012 --trace" in done.output


@pytest.mark.parametrize("seeds", ["many", "5", "5:5", "0:2000000", "-1:4"])
def test_a_range_that_is_none_is_refused(seeds: str) -> None:
    done = CliRunner().invoke(app, ["--seeds", seeds])
    assert done.exit_code == 2


def test_a_storm_of_no_time_is_refused() -> None:
    assert CliRunner().invoke(app, ["--seed", "1", "--hours", "0"]).exit_code == 2


@pytest.mark.parametrize(
    "asked",
    [
        ("--seed", "1", "--hours", "inf"),
        ("--seed", "1", "--hours", "nan"),
        ("--seed", "1", "--hours", "169"),
        ("--seed", "-1"),
        ("--seeds", "0:3", "--seed", "1"),
        ("--seeds", "0:2", "--workers", "-1"),
        ("--seeds", "0:2", "--workers", "62"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_played_is_refused_at_once(asked: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert f"Invalid value for {asked[-2]}" in done.output.replace("'", "")


def test_with_json_a_story_leaves_standard_output_alone() -> None:
    done = CliRunner().invoke(app, ["--seed", "20", *ASKED, "--json", "--trace"])
    assert json.loads(done.stdout)["seed"] == 20
    assert "guard    recovered" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda it: it.name)
@pytest.mark.parametrize(
    ("asked", "of"),
    [(("--seed", "20"), "1 seed"), (("--seeds", "20:30", "--workers", "2"), "10 seeds")],
)
def test_a_stop_says_how_far_it_came_and_leaves_nothing_behind(
    asked: tuple[str, ...], of: str, number: signal.Signals
) -> None:
    with begun(*asked, number=number) as process:
        try:
            waited_for(lambda: len(files_of(process)) >= 2)  # a seed is being played
            process.send_signal(number)
            told, complained = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        assert process.returncode == INTERRUPTED
        assert (told, complained) == ("", f"Stopped after 0 of {of}, 0 failed\n")
        assert files_of(process) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there a terminal has no group of processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda it: it.name)
def test_a_stop_that_a_whole_terminal_gets_while_seeds_begin_is_told_once(
    number: signal.Signals,
) -> None:
    with begun("--seeds", "20:30", "--workers", "2", number=number) as process:
        try:
            waited_for(lambda: children_of(process) >= 3)  # two are to play; one is Python's own
            os.killpg(process.pid, number)
            told, complained = process.communicate(timeout=PATIENCE_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == INTERRUPTED
        assert (told, complained) == ("", "Stopped after 0 of 10 seeds, 0 failed\n")
        assert files_of(process) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there a terminal has no group of processes")
def test_a_stop_between_two_seeds_waits_for_none_that_begins_meanwhile() -> None:
    asked = ("--seeds", "20:5000", "--workers", "2")
    with begun(*asked, number=signal.SIGINT, hours="0.0001") as process:
        try:
            assert process.stdout is not None
            assert "passed" in process.stdout.readline()
            os.killpg(process.pid, signal.SIGINT)
            _, complained = process.communicate(timeout=PATIENCE_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == INTERRUPTED
        assert re.fullmatch(r"Stopped after \d+ of 4980 seeds, 0 failed\n", complained)
        assert files_of(process) == []


def begun(*asked: str, number: signal.Signals, hours: str = "24") -> subprocess.Popen[str]:
    """Begin to play as on a terminal, also where these tests run in the background."""
    command = [sys.executable, "-m", "backstop", "storm", *asked, "--hours", hours]
    before = signal.signal(number, signal.SIG_DFL)
    try:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
    finally:
        signal.signal(number, before)


def waited_for(reached: Callable[[], bool]) -> None:
    """Wait until ``reached``."""
    ends_s = time.monotonic() + PATIENCE_S
    while not reached() and time.monotonic() < ends_s:
        time.sleep(0.02)
    assert reached()


def files_of(process: subprocess.Popen[str]) -> list[Path]:
    """Return the folders of the seeds that are being played."""
    own = [
        folder
        for place in (MEMORY_FOLDER, Path(tempfile.gettempdir()))
        for folder in place.glob(f"backstop-storm-{process.pid}-*")
    ]
    return [*own, *(it for folder in own for it in folder.rglob("audit.db"))]


def children_of(process: subprocess.Popen[str]) -> int:
    """Return how many processes it has started that are there."""
    ps = [shutil.which("ps") or "ps", "-A", "-o", "ppid="]
    shown = subprocess.run(ps, capture_output=True, text=True, check=True)
    return shown.stdout.split().count(str(process.pid))


def test_nothing_is_played_on_when_who_shares_the_seeds_out_is_killed() -> None:
    command = [sys.executable, "-m", "backstop", "storm", "--seeds", "20:30", "--workers", "2"]
    with subprocess.Popen([*command, "--hours", "24"], stdout=subprocess.DEVNULL) as process:

        def workers() -> list[int]:
            """Return the processes that play, which name the folders of their seeds."""
            folders = [
                folder
                for place in (MEMORY_FOLDER, Path(tempfile.gettempdir()))
                for folder in place.glob(f"backstop-storm-{process.pid}-*/backstop-storm-*")
            ]
            return [int(folder.name.split("-")[2]) for folder in folders]

        try:
            ends_s = time.monotonic() + PATIENCE_S
            while len(workers()) < 2 and time.monotonic() < ends_s:
                time.sleep(0.02)
            held = [watched_process(it) for it in workers()]
            assert len(held) == 2
        finally:
            process.kill()
    try:
        for worker in held:
            ended, _, _ = select.select([worker], [], [], PATIENCE_S)
            assert ended == [worker]
    finally:
        for worker in held:
            worker.kill()
            worker.close()
        for place in (MEMORY_FOLDER, Path(tempfile.gettempdir())):
            for folder in place.glob(f"backstop-storm-{process.pid}-*"):
                shutil.rmtree(folder)
