"""What a start found different, as the guard tells it, and as it is told without a guard."""

import pytest
from msgspec.structs import replace
from tests.app.desk import Desk, Guard, until
from tests.app.state_folders import a_day, from_the_journal, same, spoil, state, written

from backstop.adapters.clock import SystemClock
from backstop.adapters.state_file import CURRENT
from backstop.app.policy import policy_from_settings
from backstop.app.recovery_review import RecoveryReport, plan_as_believed
from backstop.app.state_reading import read_state
from backstop.core.disaster_recovery import Difference
from backstop.core.protection_situation import is_in_place
from backstop.core.recovery_rehearsal import Act
from backstop.core.state_checkpoint import captured
from backstop.domain.events import StopKind
from backstop.domain.order import OrderType, Side
from backstop.errors import StateFolderError
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def reported(guard: Guard) -> RecoveryReport:
    await until(lambda: guard.manager.recovery is not None, "the recovery to be reviewed")
    report = guard.manager.recovery
    assert report is not None
    return report


def close_at_the_venue(desk: Desk) -> None:
    """Close the position as somebody at the trading platform would."""
    (row,) = [it for it in desk.truth()["positions"] if it["accountId"] == desk.account]
    desk.venue.exchange.close_position(desk.account, row["contractId"])


async def test_a_start_after_which_nothing_is_different_says_what_it_keeps(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await guard.agrees()
        await guard.manager.close(by_person=False)

    async with desk.guard() as guard:
        report = await reported(guard)
        (symbol,) = report.plan.symbols
        assert report.source == CURRENT
        assert report.plan.downtime.stop is StopKind.CRASH
        assert report.plan.findings == ()
        assert (symbol.symbol, symbol.before, symbol.quantity) == ("MES", 2, 2)
        assert [act.act for act in symbol.acts] == [Act.ADOPT_STOP]
        said = [note.fields for note in guard.notes if note.name == "recovery_act"]
        assert [fields["act"] for fields in said] == ["ADOPT_STOP"]


async def test_what_happened_meanwhile_is_told_with_its_evidence(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 2)
        await guard.agrees()
    close_at_the_venue(desk)

    async with desk.guard(ready=False) as guard:
        report = await reported(guard)
        differences = {finding.difference for finding in report.plan.findings}
        assert differences == {Difference.CLOSED_WHILE_AWAY, Difference.MISSING_FILLS}
        (symbol,) = report.plan.symbols
        assert {act.act for act in symbol.acts} == {Act.CANCEL_ORDER}
        told = [note.fields for note in guard.notes if note.name == "recovery_difference"]
        assert "sold" in str(told[0]["evidence"])
        # The guard does what its plan says.
        await until(
            lambda: not [row for row in desk.truth()["orders"] if is_open(row, desk)],
            "the legs to be cancelled",
        )


async def test_a_move_that_was_under_way_is_not_planned_for_a_leg_that_has_to_go(
    desk: Desk,
) -> None:
    desk.mischief("Order/modify", FaultKind.RESET_BEFORE, count=None)
    async with desk.guard() as guard:
        # It fills far better than its limit, and the venue measures the legs from the fill.
        await guard.enter(Side.BUY, 2, OrderType.LIMIT, ticks=20)
        await until(lambda: bool(guard.book.protection.changes), "a leg to be moved")
        await guard.agrees()
    close_at_the_venue(desk)

    async with desk.guard(ready=False) as guard:
        report = await reported(guard)
        assert guard.book.protection.changes
        (symbol,) = report.plan.symbols
        assert [act.act for act in symbol.acts] == [Act.CANCEL_ORDER] * 2


def is_open(row: object, desk: Desk) -> bool:
    members: dict[str, object] = dict(row)  # type: ignore[call-overload]
    return members["accountId"] == desk.account and members["status"] == "OPEN"


async def test_what_a_start_would_do_now_can_be_asked_of_a_living_guard(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 1)
        await guard.agrees()
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: is_in_place(guard.book, contract_id), "the stop works")
        before = from_the_journal(state(desk))
        plan = plan_as_believed(captured(guard.book), now_ns=guard.manager.now_ns())

        assert [act.act for act in plan.symbols[0].acts] == [Act.ADOPT_STOP]
        assert not plan.liquidates
        await written(guard)
        assert guard.book.positions.keys() == before.positions.keys()


# -- without a guard -----------------------------------------------------------------------------


async def test_the_folder_is_read_as_a_start_reads_it_and_not_touched(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await guard.agrees()
    spoil(state(desk) / CURRENT)
    policy = policy_from_settings(desk.settings())
    files = {path: path.read_bytes() for path in state(desk).glob("trading_state*")}

    book, read = read_state(state(desk), policy, clock=SystemClock())

    assert read.source == "trading_state.backup.json"
    assert read.before.stop is StopKind.CRASH
    assert any(CURRENT in fault for fault in read.faults)
    whole = from_the_journal(state(desk))
    whole.policy = policy
    assert same(book, whole)
    assert {path: path.read_bytes() for path in state(desk).glob("trading_state*")} == files


async def test_an_empty_folder_tells_nothing_and_is_no_error(desk: Desk) -> None:
    policy = policy_from_settings(desk.settings())
    book, read = read_state(state(desk), policy, clock=SystemClock())

    assert (read.source, read.records, read.replayed) == ("nothing", 0, 0)
    assert read.before.stop is StopKind.FIRST
    assert not book.positions


async def test_the_folder_of_another_account_is_named(desk: Desk) -> None:
    async with desk.guard(ready=False):
        pass
    policy = replace(policy_from_settings(desk.settings()), account_id=1)

    with pytest.raises(StateFolderError, match=f"account {desk.account}"):
        read_state(state(desk), policy, clock=SystemClock())
