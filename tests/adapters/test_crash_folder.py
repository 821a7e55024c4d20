"""Crash dumps: whole, without secrets, of bounded size and number."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

from backstop.adapters.crash_folder import (
    DUMP_BYTES_MAX,
    DUMPS_KEPT,
    LEFT_OUT,
    CrashFolder,
    CrashReport,
)
from backstop.adapters.log import STARS, Redactor
from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.adapters.sqlite.last_records import last_records
from backstop.ports import JournalBatch, JournalRecord

SECRET = "k3y/with-umlaut-ü"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
THREADS = 8


class Revealed:
    def reveal(self) -> str:
        return SECRET


def a_report(**changes: Any) -> CrashReport:
    members: dict[str, Any] = {
        "what": "FROZEN",
        "why": "no pulse for 10.0 s",
        "process_id": 7,
        "versions": {"backstop": "0"},
    }
    return CrashReport(**(members | changes))


def no_hash(**_: object) -> bytes:
    return b""


def same(text: str) -> str:
    return text


def test_a_dump_says_what_was_known(tmp_path: Path) -> None:
    report = a_report(stacks=("File a", "File b"), records=("1", "2"), state={"steps": "9"})
    path = CrashFolder(tmp_path / "crash").write(report, same, now=NOON)

    assert path.name == "20260302T120000.000Z-frozen-7.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "what": "FROZEN",
        "why": "no pulse for 10.0 s",
        "at": "2026-03-02T12:00:00.000+00:00",
        "process_id": 7,
        "versions": {"backstop": "0"},
        "state": {"steps": "9"},
        "stacks": ["File a", "File b"],
        "records": ["1", "2"],
    }


def test_no_secret_gets_into_a_dump_wherever_it_stands(tmp_path: Path) -> None:
    redactor = Redactor()
    redactor.register(Revealed())
    leak = f"login with {SECRET} gave eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
    report = a_report(why=leak, stacks=(leak,), records=(leak,), state={"fault": leak})
    text = (
        CrashFolder(tmp_path).write(report, redactor.redact, now=NOON).read_text(encoding="utf-8")
    )

    assert SECRET not in text
    assert "eyJ" not in text
    assert text.count(STARS) == 8


def test_a_secret_at_the_place_of_a_cut_is_not_left_in_half(tmp_path: Path) -> None:
    redactor = Redactor()
    redactor.register(Revealed())
    line = "x" * (2_000 - len(SECRET) // 2) + SECRET
    path = CrashFolder(tmp_path).write(a_report(stacks=(line,)), redactor.redact, now=NOON)

    assert SECRET[: len(SECRET) // 2] not in path.read_text(encoding="utf-8")


def test_a_dump_has_a_bounded_size_and_keeps_the_newest_records(tmp_path: Path) -> None:
    worst = '"\\\n\x00ü' * 300
    report = a_report(
        stacks=(worst,) * 4_000,
        records=(*(worst,) * 4_000, "the newest"),
        state={f"name {number}": worst for number in range(4_000)},
    )
    path = CrashFolder(tmp_path).write(report, same, now=NOON)
    found = json.loads(path.read_text(encoding="utf-8"))

    assert DUMP_BYTES_MAX / 2 < path.stat().st_size <= DUMP_BYTES_MAX
    assert found["stacks"][-1] == LEFT_OUT
    assert (found["records"][0], found["records"][-1]) == (LEFT_OUT, "the newest")


def test_folders_made_on_the_way_to_a_dump_are_for_their_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"

    CrashFolder(state / "crash").write(a_report(), same, now=NOON)

    modes = [stat.S_IMODE(folder.stat().st_mode) for folder in (state, state / "crash")]
    assert [mode & 0o077 for mode in modes] == [0, 0]


def test_the_newest_dumps_are_kept(tmp_path: Path) -> None:
    folder = CrashFolder(tmp_path)
    written = [
        folder.write(a_report(), same, now=NOON + timedelta(seconds=second))
        for second in range(DUMPS_KEPT + 5)
    ]

    assert folder.dumps() == written[5:]
    assert sorted(tmp_path.iterdir()) == written[5:]


def test_failures_of_one_millisecond_are_a_dump_each_in_their_order(tmp_path: Path) -> None:
    folder = CrashFolder(tmp_path)
    reasons = [f"failure {number}" for number in range(DUMPS_KEPT)]
    written = [folder.write(a_report(why=why), same, now=NOON) for why in reasons]

    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.dumps()]
    assert [dump["why"] for dump in found] == reasons
    assert {dump["at"] for dump in found} == {"2026-03-02T12:00:00.000+00:00"}
    assert folder.dumps() == written
    assert sorted(tmp_path.iterdir()) == written


def test_threads_that_fail_together_leave_a_dump_each(tmp_path: Path) -> None:
    folder = CrashFolder(tmp_path)
    together = Barrier(THREADS)

    def fail(number: int) -> None:
        together.wait()
        folder.write(a_report(why=f"failure {number}"), same, now=NOON)

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(fail, range(THREADS)))

    found = [json.loads(path.read_text(encoding="utf-8"))["why"] for path in folder.dumps()]
    assert sorted(found) == sorted(f"failure {number}" for number in range(THREADS))


def test_a_dump_that_a_dead_process_left_half_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = CrashFolder(tmp_path)
    half = tmp_path / "20260302T120000.000Z-frozen-7.part"
    half.write_text("{", encoding="utf-8")

    path = folder.write(a_report(), same, now=NOON)

    assert folder.dumps() == [path]
    assert half.read_text(encoding="utf-8") == "{"


# -- the newest records of the journal -------------------------------------------------------------


def test_a_journal_that_is_not_there_is_no_second_failure(tmp_path: Path) -> None:
    (row,) = last_records(tmp_path / "audit.db", 5)

    assert "cannot be read" in row
    assert list(tmp_path.iterdir()) == []


async def test_the_newest_records_are_read_beside_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    journal = SqliteJournal.open(path, account="42", epoch=1, leaf_hash=no_hash)
    for seq in range(1, 6):
        await journal.append(
            JournalBatch(
                records=(
                    JournalRecord(
                        seq=seq, kind="event", monotonic_ns=0, utc_us=seq, payload=b'{"a":1}'
                    ),
                )
            )
        )
    found = last_records(path, 2)
    await journal.close()

    assert found == ('4 4 event {"a":1}', '5 5 event {"a":1}')
