"""The process that writes down what the watchdog knows of a failed guard."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from backstop.adapters.child_process import own_command
from backstop.adapters.stack_dump import STACK_BYTES_MAX, stack_file
from backstop.entrypoints.process_words import REPORT, words
from backstop.entrypoints.watch_notes import CrashNote

API_TOKEN = "token-of-the-api-0123"


def a_note(state_folder: Path, **changes: Any) -> CrashNote:
    members: dict[str, Any] = {
        "what": "DIED",
        "why": "exit code -11",
        "process_id": 4711,
        "state_folder": str(state_folder),
        "state": {"restarts": "2", "leak": f"Bearer {API_TOKEN}"},
    }
    return CrashNote(**(members | changes))


def reported(note: CrashNote, **settings: str) -> tuple[Any, str]:
    """Run the process; return the dump that it wrote, and its bytes."""
    text = msgspec.json.encode(note).decode()
    subprocess.run(
        own_command(*words(REPORT, {"--note": text}, [])),
        env={"PATH": os.environ["PATH"], "BACKSTOP_API_TOKEN": API_TOKEN, **settings},
        cwd=note.state_folder,
        check=True,
        timeout=60,
    )
    (path,) = (Path(note.state_folder) / "crash").glob("*.json")
    written = path.read_text(encoding="utf-8")
    return json.loads(written), written


def test_a_dead_guard_leaves_its_stacks_to_the_dump(tmp_path: Path) -> None:
    stacks = stack_file(tmp_path / "crash", 4711)
    stacks.parent.mkdir()
    stacks.write_text("Fatal Python error: Segmentation fault\n  File x\n", encoding="utf-8")
    found, written = reported(a_note(tmp_path))

    assert (found["what"], found["process_id"]) == ("DIED", 4711)
    assert found["stacks"] == ["Fatal Python error: Segmentation fault", "  File x"]
    assert found["state"]["restarts"] == "2"
    assert API_TOKEN not in written
    assert not stacks.exists()


def test_the_stacks_of_a_living_guard_stay_for_the_next_time(tmp_path: Path) -> None:
    stacks = stack_file(tmp_path / "crash", 4711)
    stacks.parent.mkdir()
    stacks.write_text("Thread 1\n", encoding="utf-8")
    found, _ = reported(a_note(tmp_path, what="STALE"))

    assert found["stacks"] == ["Thread 1"]
    assert stacks.exists()


def test_a_guard_that_is_late_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    stacks = stack_file(tmp_path / "crash", 4711)
    stacks.parent.mkdir()
    stacks.write_bytes(b"Thread 1\n" * STACK_BYTES_MAX)
    reported(a_note(tmp_path, what="STALE"))

    assert stacks.stat().st_size == 0


def test_a_guard_that_could_write_nothing_is_said_to(tmp_path: Path) -> None:
    found, _ = reported(a_note(tmp_path))

    assert "no stacks" in found["stacks"][0]


def test_without_settings_no_record_is_shown(tmp_path: Path) -> None:
    """Their secrets could not be struck out."""
    found, _ = reported(a_note(tmp_path), MAX_SLIPPAGE_TICKS="much")

    assert len(found["records"]) == 1
    assert "left out" in found["records"][0]
