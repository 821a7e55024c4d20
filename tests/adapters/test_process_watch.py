"""Other processes, watched and ended: real ones."""

import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstop.adapters.child_process import own_command, process_state, start_child
from backstop.adapters.process_line import ProcessLine
from backstop.adapters.process_watch import watched_process
from backstop.adapters.stack_dump import forget_stacks, read_stacks

PATIENCE_S = 30


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(300)"],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def has_ended(watched: object, *, within_s: float) -> bool:
    readable, _, _ = select.select([watched], [], [], within_s)
    return bool(readable)


def test_a_living_process_has_not_ended(child: "subprocess.Popen[bytes]") -> None:
    watched = watched_process(child.pid)

    assert not has_ended(watched, within_s=0)
    watched.close()


def test_a_killed_process_has_ended(child: "subprocess.Popen[bytes]") -> None:
    watched = watched_process(child.pid)
    watched.kill()

    assert has_ended(watched, within_s=PATIENCE_S)
    assert child.wait(PATIENCE_S) == -signal.SIGKILL
    watched.kill()  # what has ended cannot be killed again, and nobody minds
    watched.close()


def test_a_process_that_stands_still_can_be_told_to_stop(child: "subprocess.Popen[bytes]") -> None:
    watched = watched_process(child.pid)
    child.send_signal(signal.SIGSTOP)
    watched.stop()

    assert has_ended(watched, within_s=PATIENCE_S)
    assert child.wait(PATIENCE_S) == -signal.SIGTERM
    watched.close()


def test_a_process_that_is_gone_cannot_be_watched(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.wait(PATIENCE_S)

    with pytest.raises(OSError, match="process"):
        watched_process(child.pid)


def test_the_state_of_a_process_is_told_in_a_word(child: "subprocess.Popen[bytes]") -> None:
    child.send_signal(signal.SIGSTOP)
    watched = watched_process(child.pid)
    while not process_state(child.pid).startswith("T"):
        assert not has_ended(watched, within_s=0.01)
    watched.close()

    assert "stopped" in process_state(child.pid)
    assert process_state(2**22 + 1) == ""


def test_the_current_folder_cannot_stand_in_for_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backstop.py").write_text("raise SystemExit(77)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ended = subprocess.run(own_command("--version"), capture_output=True, check=False, timeout=60)

    assert ended.returncode == 0
    assert ended.stdout.startswith(b"backstop ")


def test_a_child_is_not_told_what_systemd_told_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that both answer for one service would confuse its manager."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    ours, theirs = ProcessLine.pair()
    number = str(theirs.fileno())
    words = ["simulate", "--port", "0", "--api-key", "k", "--user", "{line}"]
    child = start_child(words, line=theirs)
    environment = b""
    while not environment and child.poll() is None:  # it is shown a moment after the start
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
    command = Path(f"/proc/{child.pid}/cmdline").read_bytes().split(b"\0")
    child.kill()
    child.wait(PATIENCE_S)
    ours.close()
    theirs.close()

    assert b"PATH=" in environment
    assert b"NOTIFY_SOCKET" not in environment
    assert command[-2] == number.encode()


# -- stacks ----------------------------------------------------------------------------------------

BUSY = """
import sys, threading
from pathlib import Path
from backstop.adapters.stack_dump import StackDump

dump = StackDump(Path(sys.argv[1]))
go_on = threading.Event()

def busy_with_a_secret(password):
    while not go_on.wait(0):
        pass

threading.Thread(target=go_on.wait, name="idle", daemon=True).start()
print("up", flush=True)
{act}
dump.close()
"""


def started(folder: Path, act: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY.replace("{act}", act), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    return process


def stacks_while_busy(folder: Path) -> list[str]:
    """Return what a busy process wrote when it was asked; empty when that was its end.

    The interpreter reads the frames of running threads without a lock, and once in a long while
    that ends the process. A guard that is asked for its stacks has stood still for seconds.
    """
    process = started(folder, "busy_with_a_secret('hunter2')")
    watched = watched_process(process.pid)
    found: list[str] = []
    while not any("busy_with_a_secret" in line for line in found):
        watched.ask_for_stacks()  # again: the first time it may not be busy yet
        if has_ended(watched, within_s=0.05):
            found = []
            break
        found = list(read_stacks(folder, process.pid))
    process.kill()
    process.wait(PATIENCE_S)
    watched.close()
    return found


def test_a_process_that_is_busy_with_python_writes_its_stacks_and_no_values(tmp_path: Path) -> None:
    tries = (stacks_while_busy(tmp_path) for _ in range(5))
    text = "\n".join(next(found for found in tries if found))

    assert "wait" in text  # the idle thread is there as well
    assert "hunter2" not in text


def test_a_crash_of_native_code_leaves_its_stacks(tmp_path: Path) -> None:
    process = started(tmp_path, "import faulthandler; faulthandler._sigsegv()")
    assert process.wait(PATIENCE_S) == -signal.SIGSEGV

    assert any("Segmentation fault" in line for line in read_stacks(tmp_path, process.pid))


def test_folders_made_on_the_way_to_stacks_are_for_their_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    process = started(state / "crash", "pass")
    process.wait(PATIENCE_S)

    made = (state.parent, state, state / "crash")
    assert [stat.S_IMODE(folder.stat().st_mode) & 0o077 for folder in made] == [0, 0, 0]


def test_a_process_that_ends_well_leaves_nothing(tmp_path: Path) -> None:
    process = started(tmp_path, "pass")
    assert process.wait(PATIENCE_S) == 0

    assert list(tmp_path.iterdir()) == []
    assert read_stacks(tmp_path, process.pid) == ()
    forget_stacks(tmp_path, process.pid)
