"""Once for each trouble of the state file, and not at every beat."""

import pytest
from tests.app.desk import Desk, JumpingClock, until
from tests.app.state_folders import state, written

from backstop.adapters.disk import Disk
from backstop.app.state_alarm import StateAlarm
from backstop.domain.events import Fact, StateFileFailed

pytestmark = pytest.mark.asyncio(loop_scope="module")

FULL = "No space left on device."


async def test_the_first_fault_of_a_trouble_is_told_and_the_log_has_every_change() -> None:
    clock, facts, said = JumpingClock(), list[Fact](), list[str]()
    alarm = StateAlarm(report=said.append, put=facts.append, clock=clock)
    for what in ("", FULL, FULL, "", FULL):
        alarm.hear(what)
    assert [type(it) for it in facts] == [StateFileFailed]
    assert said == ["", FULL, FULL, "", FULL]

    alarm.hear("")
    clock.jump(601)
    alarm.hear(FULL)
    assert len(facts) == 2


async def test_a_state_file_that_finds_no_room_alerts_a_person_and_entries_go_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room of the journal is made in advance: it lasts when the disk is full."""

    def no_room(_disk: Disk, path: object) -> int:
        raise OSError(28, "No space left on device", str(path))

    async with desk.guard() as guard:
        with monkeypatch.context() as full:
            full.setattr(Disk, "create", no_room)
            guard.manager.save_strategy("momentum", {"bars": 1})

            def codes() -> list[str]:
                return [it.code for it in guard.book.alerts.alerts.values()]

            await until(lambda: "STATE_NOT_SAVED" in codes(), "an alert")
            assert codes() == ["STATE_NOT_SAVED"]
            assert "state file" in guard.manager.components
            assert guard.book.readiness(guard.manager.now_ns()).conditions == ()
        await until(lambda: "state file" not in guard.manager.components, "the disk to be well")
        await written(guard)
    assert (state(desk) / "trading_state.json").is_file()
