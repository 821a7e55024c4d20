"""What a start begins with: the newest state that holds, and how the process before it ended."""

import json
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.app.desk import PATIENCE_S, Desk, Guard, JumpingClock, a_desk, until
from tests.app.state_folders import (
    a_day,
    from_the_checkpoint,
    from_the_journal,
    generations,
    same,
    spoil,
    started,
    state,
    written,
)

from backstop.adapters.machine import Machine
from backstop.adapters.state_file import BACKUP, CURRENT, OLDER
from backstop.adapters.state_format import file_content
from backstop.app import audit_start, state_persistence
from backstop.core.policy import SECOND_NS
from backstop.domain.commands import Severity
from backstop.domain.events import StopKind
from backstop.domain.order import Side
from backstop.errors import StateFolderError
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")


# -- what a start begins with --------------------------------------------------------------------


async def test_a_start_reads_the_checkpoint_and_what_came_after_it(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await guard.agrees()
        await written(guard)
        kept = {it.path: it.path.read_bytes() for it in generations(state(desk), desk.account)}
        await guard.enter(Side.BUY, 1)
    before = from_the_journal(state(desk))
    for path, content in kept.items():
        path.write_bytes(content)  # as if the process had died right after them

    async with desk.guard() as guard:
        assert started(guard)["source"] == CURRENT
        assert int(started(guard)["records_replayed"]) > 0
        await guard.agrees()
        assert guard.book.strategy_states == before.strategy_states == {"momentum": {"bars": 7}}
        assert guard.book.live.keys() == before.live.keys()
        assert guard.position() == 3


@pytest.mark.parametrize(
    ("spoilt", "source"),
    [
        ((CURRENT,), BACKUP),
        ((CURRENT, BACKUP), OLDER),
        ((CURRENT, BACKUP, OLDER), "the whole journal"),
    ],
)
async def test_what_does_not_hold_is_kept_aside_and_the_next_best_is_used(
    desk: Desk, spoilt: tuple[str, ...], source: str
) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await until((state(desk) / OLDER).exists, "three generations")
    for name in spoilt:
        spoil(state(desk) / name)
    contents = {(state(desk) / name).read_bytes() for name in spoilt}

    async with desk.guard() as guard:
        assert started(guard)["source"] == source
        assert started(guard)["stop"] == "CRASH"
        kept = {path.read_bytes() for path in state(desk).glob("trading_state-*.bad")}
        assert kept == contents
        await guard.agrees()
    assert same(from_the_checkpoint(state(desk), desk.account), from_the_journal(state(desk)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0" * 4096, "NUL"),
        (b'{"format":7,\n{}', "newer"),
        (b"{}", "no state of Backstop"),
    ],
)
async def test_a_file_that_is_something_else_is_named_and_kept(
    desk: Desk, content: bytes, words: str
) -> None:
    async with desk.guard():
        pass
    spoil(state(desk) / CURRENT, content)

    async with desk.guard(ready=False) as guard:
        assert words in str(started(guard, "state_file_unusable")["message"])
        kept = state(desk) / str(started(guard, "state_file_unusable")["kept_as"])
        assert kept.read_bytes() == content


async def test_a_checkpoint_of_another_version_makes_way_for_the_journal(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_persistence, "__version__", "99.0")
    async with desk.guard() as guard:
        await a_day(guard)
    monkeypatch.undo()

    async with desk.guard(ready=False) as guard:
        assert started(guard)["source"] == "the whole journal"
        assert "99.0" in str(started(guard, "state_file_unusable")["message"])


async def test_a_state_of_another_form_makes_way_for_the_journal(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
    for found in generations(state(desk), desk.account):
        assert found.checkpoint is not None
        assert found.heartbeat is not None
        book = json.loads(bytes(found.checkpoint.book))
        del book["counters"]["contradictions"]
        other = replace(found.checkpoint, book=_raw(book))
        found.path.write_bytes(file_content(other, found.heartbeat))

    async with desk.guard() as guard:
        assert started(guard)["source"] == "the whole journal"
        assert started(guard)["stop"] == "CLEAN"
        await guard.agrees()


def _raw(book: Any) -> Any:
    return msgspec.Raw(json.dumps(book, separators=(",", ":")).encode())


async def test_the_state_of_another_record_is_not_believed(desk: Desk, venue: Simulator) -> None:
    async with desk.guard():
        pass
    other = Desk(venue, desk.folder / "other", desk.account)
    async with other.guard():
        pass
    for kept in state(other).glob("trading_state*.json"):
        kept.unlink()  # how many generations a short life leaves is chance
    for name in (CURRENT, BACKUP):
        shutil.copy(state(desk) / name, state(other) / name)

    async with other.guard(ready=False) as guard:
        assert started(guard)["source"] == "the whole journal"
        message = str(started(guard, "state_file_unusable")["message"])
        assert "belongs to another record" in message


async def test_the_folder_of_another_account_is_refused(desk: Desk, venue: Simulator) -> None:
    async with desk.guard():
        pass
    other = a_desk(venue, desk.folder)
    way_out = f"account {desk.account}.*BACKSTOP_STATE_DIR.*if {desk.account} was a slip, move"
    with pytest.raises(StateFolderError, match=way_out):
        async with other.guard():
            pass
    for name in ("audit.db", "checkpoints", "keys"):
        path = state(desk) / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    left = (state(desk) / CURRENT).read_bytes()

    with pytest.raises(StateFolderError, match=f"state of account {desk.account}.*STATE_DIR"):
        async with other.guard():
            pass
    assert (state(desk) / CURRENT).read_bytes() == left


# -- long records --------------------------------------------------------------------------------


@pytest.fixture
def long_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every record count as long: its beginning is read beside the running guard."""
    monkeypatch.setattr(audit_start, "WHOLE_CHECK_RECORDS", 0)


@pytest.mark.usefixtures("long_record")
async def test_a_long_record_is_gone_on_with_from_its_tree(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
    for _ in range(2):
        async with desk.guard() as guard:
            start = guard.manager.parts.state.trail.start
            assert not start.whole
            assert start.known is not None
            assert start.known.size <= start.size
            await guard.agrees()
            assert "audit record" not in guard.manager.components


@pytest.mark.usefixtures("long_record")
@pytest.mark.parametrize("seq_back", [0, 1])
async def test_what_was_changed_at_the_end_is_refused_at_once(desk: Desk, seq_back: int) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await written(guard)
        await guard.enter(Side.BUY, 1)
        old = {it.path.name: it.path.read_bytes() for it in generations(state(desk), desk.account)}
        await guard.enter(Side.BUY, 1)
    for name, content in old.items():
        (state(desk) / name).write_bytes(content)  # so that there is a tail to read
    change(
        state(desk),
        "UPDATE Journal SET payload = payload || ' '"
        " WHERE seq = (SELECT max(seq) FROM Journal) - ?",
        seq_back,
    )

    with pytest.raises(StateFolderError, match="not what was signed"):
        async with desk.guard(ready=False):
            pass


def change(folder: Path, statement: str, *arguments: Any) -> None:
    with closing(sqlite3.connect(folder / "audit.db")) as database:
        database.execute(statement, arguments)
        database.commit()


# -- who stopped, and for how long ---------------------------------------------------------------


async def test_a_stop_by_a_person_is_told_from_a_crash(desk: Desk) -> None:
    async with desk.guard(ready=False) as guard:
        assert started(guard)["stop"] == "FIRST"
    async with desk.guard() as guard:
        assert started(guard)["stop"] == "CLEAN"
        await guard.manager.close(by_person=False)
    async with desk.guard(ready=False) as guard:
        assert started(guard)["stop"] == "CRASH"

    with pytest.raises(RuntimeError, match="a bug of the bot"):
        await _with_a_bug(desk)
    async with desk.guard(ready=False) as guard:
        assert started(guard)["stop"] == "CRASH"


async def _with_a_bug(desk: Desk) -> None:
    async with desk.guard():
        raise RuntimeError("a bug of the bot")


def downtime_s(guard: Guard) -> float:
    before = guard.manager.parts.state.before
    assert before.downtime_ms is not None
    assert not before.wall_clock
    return before.downtime_ms / 1000


async def test_downtime_counts_suspend_and_goes_on_through_starts_that_came_to_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_persistence, "SOUND_S", PATIENCE_S)
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await written(guard)
    clock.jump(100)
    async with desk.guard(clock=clock, ready=False, **UNREACHABLE) as guard:
        assert 100 <= downtime_s(guard) < 130
        await written(guard)
        clock.jump(50)
    clock.jump(25)
    async with desk.guard(clock=clock) as guard:
        assert 175 <= downtime_s(guard) < 235
        await until(lambda: guard.book.recovered, "the account to be read")
        await written(guard)
    async with desk.guard(clock=clock, ready=False) as guard:
        assert downtime_s(guard) < 30


async def test_the_time_for_which_a_guard_waits_for_its_broker_is_no_downtime(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the watchdog: whoever has been at work for a while has left nothing alone."""
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await written(guard)
    clock.jump(100)
    monkeypatch.setattr(state_persistence, "SOUND_S", 0.2)
    async with desk.guard(clock=clock, ready=False, **UNREACHABLE) as guard:
        assert 100 <= downtime_s(guard) < 130
        beats = guard.manager.parts.persistence
        await until(lambda: beats._keeps_guarding, "the guard to count as one")
        clock.jump(500)
        guarded = beats._guarded
        await until(lambda: beats._guarded != guarded, "a beat after that")
    clock.jump(25)
    async with desk.guard(clock=clock, ready=False) as guard:
        assert 25 <= downtime_s(guard) < 55


async def test_an_account_that_was_never_guarded_is_not_by_waiting_for_its_broker(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_persistence, "SOUND_S", 0)
    async with desk.guard(ready=False, **UNREACHABLE) as guard:
        await written(guard)
    async with desk.guard(ready=False) as guard:
        assert _before(guard).downtime_ms is None


UNREACHABLE: dict[str, Any] = {"TOPSTEPX_API_URL": "http://127.0.0.1:1"}


async def test_in_another_boot_the_time_of_day_counts_and_at_least_the_age_of_the_boot(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.guard() as guard:
        await written(guard)
    monkeypatch.setattr(Machine, "boot_id", lambda _: "another boot")

    class JustBooted(JumpingClock):
        age_ns = 40 * SECOND_NS
        behind_us = 0

        def monotonic_ns(self) -> int:
            return super().monotonic_ns() % SECOND_NS + self.age_ns

        def utc_us(self) -> int:
            return super().utc_us() - self.behind_us

    async with desk.guard(clock=JustBooted(), ready=False) as guard:
        before = _before(guard)
        assert before.wall_clock
        assert before.downtime_ms is not None
        assert 40_000 <= before.downtime_ms < 42_000
        await guard.manager.close(by_person=False)

    # The time of day was set back meanwhile: the age of the boot is what is sure.
    clock = JustBooted()
    clock.behind_us = 3600 * 1_000_000
    async with desk.guard(clock=clock, ready=False) as guard:
        assert _before(guard).downtime_ms is not None


def _before(guard: Guard) -> Any:
    return guard.manager.parts.state.before


async def test_the_first_fact_says_how_the_process_before_ended(desk: Desk) -> None:
    async with desk.guard(ready=False):
        pass
    async with desk.guard() as guard:
        note = started(guard, "guard_started")
        assert note["stop"] == StopKind.CLEAN


@pytest.mark.parametrize(
    ("spoil_folder", "words"),
    [
        (lambda folder: folder.chmod(0o777), "mode 0777"),
        (lambda folder: (folder / CURRENT).chmod(0o666), "mode 0666"),
        (lambda folder: (folder / "audit.db").chmod(0o602), "mode 0602"),
    ],
)
async def test_a_folder_that_everybody_can_change_is_refused(
    desk: Desk, spoil_folder: Callable[[Path], None], words: str
) -> None:
    async with desk.guard(ready=False):
        pass
    spoil_folder(state(desk))

    with pytest.raises(StateFolderError, match=f"{words}.*chmod"):
        async with desk.guard(ready=False):
            pass


@pytest.mark.parametrize(
    ("spoil_folder", "severity", "words"),
    [
        (lambda folder: folder.chmod(0o770), Severity.CRITICAL, "had mode 0770"),
        (lambda folder: (folder / CURRENT).chmod(0o664), Severity.CRITICAL, "had mode 0664"),
        (lambda folder: (folder / "gateway.key").chmod(0o644), Severity.WARNING, "had mode 0644"),
    ],
)
async def test_what_others_could_change_or_use_is_closed_and_a_person_is_alerted(
    desk: Desk, spoil_folder: Callable[[Path], None], severity: Severity, words: str
) -> None:
    async with desk.guard(ready=False):
        pass
    (state(desk) / "gateway.key").touch(0o600)
    spoil_folder(state(desk))

    async with desk.guard(ready=False) as guard:
        (alert,) = guard.book.alerts.alerts.values()
        assert words in str(started(guard, "state_folder_open")["message"])
        assert any(words in it for it in guard.manager.settings_warnings)

    assert (alert.code, alert.severity) == ("STATE_FOLDER_OPEN", severity)
    assert words in alert.message
    async with desk.guard(ready=False) as guard:
        assert len(guard.book.alerts.alerts) == 1, "it is closed: there is nothing more to tell"


async def test_a_folder_that_a_guard_makes_is_closed_to_others(desk: Desk) -> None:
    async with desk.guard(ready=False) as guard:
        assert guard.manager.settings_warnings == ()
        assert stat.S_IMODE(state(desk).stat().st_mode) == 0o700


async def test_a_folder_that_others_see_into_is_told_and_alerts_nobody(desk: Desk) -> None:
    state(desk).mkdir(mode=0o755)
    state(desk).chmod(0o755)

    async with desk.guard(ready=False) as guard:
        (told,) = guard.manager.settings_warnings
        assert not guard.book.alerts.alerts

    assert told.endswith(
        f"Run: chmod 700 {state(desk)}, or set BACKSTOP_STATE_DIR to a folder of its own"
    )


async def test_a_file_in_place_of_the_folder_is_refused(desk: Desk) -> None:
    state(desk).write_text("not a folder")

    with pytest.raises(StateFolderError, match="is a file"):
        async with desk.guard(ready=False):
            pass
