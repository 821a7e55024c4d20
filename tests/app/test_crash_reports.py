"""Whatever fails unhandled leaves a dump, without secrets, and never too many."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.app.desk import API_KEY, Desk

from backstop.adapters.crash_folder import CrashFolder
from backstop.adapters.log import STARS, Redactor
from backstop.adapters.state_layout import CRASH_FOLDER
from backstop.app.crash_reports import DUMPS_PER_PROCESS, CrashReports, state_summary
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.secret import Secret

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_STARTED = {"state": "not started"}


def dumps(state_folder: Path) -> list[Any]:
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in CrashFolder(state_folder / CRASH_FOLDER).dumps()
    ]


def fail_with(message: str) -> Exception:
    try:
        dict[str, int]()[message]
    except KeyError as error:
        return error
    raise AssertionError("an empty table holds nothing")


async def test_a_dump_tells_what_failed_where_and_what_the_guard_believed(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.ready("MES")
        await guard.enter()
        manager = guard.manager
        redactor = Redactor()
        redactor.register(Secret(API_KEY))
        reports = CrashReports(
            manager.settings.state_folder,
            redact=redactor.redact,
            state=lambda: state_summary(manager),
        )
        written = reports.failed(fail_with(f"no {API_KEY} here"), where="the guard")
        (found,) = dumps(manager.settings.state_folder)

    assert written is not None
    assert found["what"] == "FAILED"
    assert found["why"] == f"the guard: KeyError: 'no {STARS} here'"
    assert any("fail_with" in line for line in found["stacks"])
    assert any("MainThread" in line for line in found["stacks"])
    assert any("OrderRequested" in record for record in found["records"])
    assert found["state"]["trading_state"] == "ACTIVE"
    assert "MES" in found["state"]["positions"]
    assert API_KEY not in json.dumps(found)


async def test_a_guard_that_has_not_begun_has_no_state_to_tell(desk: Desk) -> None:
    assert state_summary(CriticalSystemManager(desk.settings())) == NOT_STARTED


async def test_one_failure_is_one_dump_and_many_are_a_few(tmp_path: Path) -> None:
    reports = CrashReports(tmp_path, redact=str, state=lambda: NOT_STARTED)
    error = fail_with("once")
    reports.failed(error, where="the guard")
    assert reports.failed(error, where="the process") is None
    for number in range(20):
        reports.failed(fail_with(str(number)), where="a task")

    assert len(dumps(tmp_path)) == DUMPS_PER_PROCESS


async def test_a_state_that_cannot_be_told_does_not_prevent_the_dump(tmp_path: Path) -> None:
    def broken() -> dict[str, str]:
        raise KeyError("gone")

    CrashReports(tmp_path, redact=str, state=broken).failed(fail_with("x"), where="the guard")
    (found,) = dumps(tmp_path)

    assert found["state"] == {"state": "cannot be told: KeyError: 'gone'"}


async def test_a_disk_that_takes_no_dump_is_no_second_failure(tmp_path: Path) -> None:
    (tmp_path / CRASH_FOLDER).write_text("a file where the folder should be", encoding="utf-8")
    reports = CrashReports(tmp_path, redact=str, state=lambda: NOT_STARTED)

    assert reports.failed(fail_with("x"), where="the guard") is None


HOOKED = """
import asyncio, gc, sys, threading
from pathlib import Path
from backstop.app.crash_reports import CrashReports

async def main():
    CrashReports(Path(sys.argv[1]), redact=str, state=dict).install()
    async def forgotten():
        raise ValueError("in a task")
    asyncio.ensure_future(forgotten())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    def in_thread():
        raise ValueError("in a thread")
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()

asyncio.run(main())
raise ValueError("in the process")
"""


async def test_what_nobody_catches_leaves_a_dump_and_is_still_told(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HOOKED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    reasons = [found["why"] for found in dumps(tmp_path)]

    assert ended.returncode == 1
    for place in ("in a task", "in a thread", "in the process"):
        assert sum(place in why for why in reasons) == 1
        assert place in ended.stderr
