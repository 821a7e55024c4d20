"""Disaster recovery as a bot calls it, in front of a real venue; its own truth decides."""

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from tests.app.desk import Desk, Guard, a_venue, until

import backstop
from backstop.app import recovery_review
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.disaster_recovery_system import DisasterRecoverySystem
from backstop.core.liquidation import LiquidationState
from backstop.core.protection_situation import Protection
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.events import StopKind
from backstop.domain.order import OrderType, Side
from backstop.errors import (
    DomainError,
    GatewayUnreachableError,
    InvariantError,
    SettingError,
    SetupError,
)
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

SELL = 1
STOP = 4


@asynccontextmanager
async def alone(desk: Desk, **settings: Any) -> AsyncIterator[tuple[DisasterRecoverySystem, Guard]]:
    """Run the system without a guard of somebody else."""
    async with DisasterRecoverySystem(desk.settings(**settings)) as system:
        guard = Guard(system.guard, desk.venue, [], desk.names)
        await guard.ready("MES")
        yield system, guard


async def entered(desk: Desk, guard: Guard, quantity: int) -> Decimal:
    """Hold ``quantity`` MES and return the level of their stop, once it stands where it was asked.

    The venue measures a leg from the fill, so it is moved there after it began to work.
    """
    order = await guard.enter(quantity=quantity)
    level = order.request.stop_loss_price
    assert level is not None
    await until(lambda: stops(desk) == [(quantity, level)], lambda: stops(desk))
    return level


async def crashed(desk: Desk, *, quantity: int = 2) -> Decimal:
    """Leave a position behind as a crash does, and return the level of its stop."""
    async with desk.guard() as guard:
        level = await entered(desk, guard, quantity)
        await guard.manager.close(by_person=False)
        return level


def stops(desk: Desk) -> list[tuple[int, Decimal]]:
    """Return (contracts, level) of each stop that works at the venue."""
    rows = desk.truth()["orders"]
    return [
        (row["size"] - row["fillVolume"], Decimal(row["stopPrice"]))
        for row in rows
        if row["accountId"] == desk.account and row["type"] == "STOP" and row["status"] == "OPEN"
    ]


def position(desk: Desk) -> int:
    rows = (row for row in desk.truth()["positions"] if row["accountId"] == desk.account)
    return sum(row["quantity"] for row in rows)


async def take_the_stops_away(desk: Desk) -> None:
    """Have somebody cancel them on the firm's web page."""
    for row in desk.truth()["orders"]:
        if row["accountId"] == desk.account and row["type"] == "STOP" and row["status"] == "OPEN":
            assert desk.venue.exchange.cancel(desk.account, row["id"]).code == 0
    await until(lambda: not stops(desk), lambda: stops(desk))


def by_hand(desk: Desk, guard: Guard, kind: int, side: int, size: int, **levels: Any) -> None:
    """Place an order on the firm's web page."""
    outcome = desk.venue.exchange.place_manual(
        desk.account, guard.instrument("MES").contract_id, type=kind, side=side, size=size, **levels
    )
    assert outcome.order_id is not None, outcome


# -- the four operations ---------------------------------------------------------------------------


async def test_it_has_the_four_operations_of_the_specification_and_a_public_name() -> None:
    operations = [
        name
        for name, _ in inspect.getmembers(DisasterRecoverySystem, inspect.iscoroutinefunction)
        if not name.startswith("_")
    ]

    assert operations == [
        "add_position",
        "emergency_liquidation",
        "initialize_recovery_system",
        "recover_from_crash",
    ]
    assert backstop.DisasterRecoverySystem is DisasterRecoverySystem
    assert inspect.iscoroutinefunction(CriticalSystemManager.add_position)


async def test_a_bot_comes_back_from_a_crash_adds_to_its_protection_and_ends_flat(
    desk: Desk,
) -> None:
    level = await crashed(desk)
    system = DisasterRecoverySystem(desk.settings())
    await system.initialize_recovery_system()
    await system.initialize_recovery_system()  # again: it only waits until it may be used
    guard = Guard(system.guard, desk.venue, [], desk.names)
    recovered = await system.recover_from_crash()
    contract_id = guard.instrument("MES").contract_id

    assert recovered.report.plan.downtime.stop is StopKind.CRASH
    assert recovered.protection == {contract_id: Protection.PROTECTED}
    assert stops(desk) == [(2, level)]

    await guard.ready("MES")
    nearer = level + 5
    added = await system.add_position("MES", 2, stop_price=nearer)
    assert added.kind is DecisionKind.ACCEPTED, added.message
    assert stops(desk) == [(2, nearer)]

    end = await system.emergency_liquidation(reason="enough", operator="ann")
    assert end.flat, end.reason
    assert end.state is LiquidationState.FLAT
    assert (position(desk), stops(desk)) == (0, [])
    assert guard.book.trading_state(system.guard.now_ns()) is TradingState.HALTED
    await system.guard.close()


# -- recovering ------------------------------------------------------------------------------------


async def test_a_stop_that_went_while_nobody_guarded_is_back_when_the_recovery_is_over(
    desk: Desk,
) -> None:
    level = await crashed(desk)
    await take_the_stops_away(desk)

    async with DisasterRecoverySystem(desk.settings()) as system:
        recovered = await system.recover_from_crash()

        assert stops(desk) == [(2, level)], "the recorded level, not an invented one"
        assert set(recovered.protection.values()) == {Protection.PROTECTED}


async def test_a_first_start_has_nothing_to_tell_and_says_so(desk: Desk) -> None:
    async with alone(desk) as (system, _):
        recovered = await system.recover_from_crash()

    assert recovered.report.plan.downtime.stop is StopKind.FIRST
    assert (recovered.protection, recovered.report.plan.findings) == ({}, ())
    assert (recovered.trading_state, recovered.reasons) == (TradingState.ACTIVE, ())


async def test_a_review_that_fails_is_told_and_the_position_protected_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise LookupError("a bug of the review")

    level = await crashed(desk)
    await take_the_stops_away(desk)
    monkeypatch.setattr(recovery_review, "recovery_plan", broken)

    async with DisasterRecoverySystem(desk.settings()) as system:
        with pytest.raises(InvariantError, match="a bug of the review"):
            await system.recover_from_crash()

        assert "a bug of the review" in system.guard.components["recovery report"]
        assert stops(desk) == [(2, level)]


async def test_a_recovery_that_is_not_over_in_time_says_what_is_open(desk: Desk) -> None:
    await crashed(desk)
    async with DisasterRecoverySystem(desk.settings()) as system:
        await system.recover_from_crash()
        desk.mischief("Position/closeContract", FaultKind.ERROR_CODE, code=5, count=None)
        await system.guard.liquidate(reason="enough", operator="ann")
        with pytest.raises(GatewayUnreachableError, match=r"\+2 .* is CLOSING"):
            await system.recover_from_crash(timeout_s=0.1)


async def test_a_venue_that_is_not_there_ends_the_start_in_time(desk: Desk) -> None:
    async with a_venue() as gone:
        url = gone.url
    system = DisasterRecoverySystem(desk.settings(TOPSTEPX_API_URL=url))

    with pytest.raises(GatewayUnreachableError, match="Nothing can be recovered yet"):
        await system.initialize_recovery_system(timeout_s=0.1)


async def test_a_system_that_was_not_started_or_is_switched_off_says_so(desk: Desk) -> None:
    system = DisasterRecoverySystem(desk.settings(DISASTER_RECOVERY_ENABLE=False))

    with pytest.raises(SetupError, match="call initialize_recovery_system"):
        await system.recover_from_crash()
    with pytest.raises(SettingError, match="DISASTER_RECOVERY_ENABLE"):
        await system.initialize_recovery_system()


# -- adding a position -----------------------------------------------------------------------------


async def test_a_position_that_was_opened_by_hand_gets_the_stop_that_is_recorded_for_it(
    desk: Desk,
) -> None:
    async with alone(desk) as (system, guard):
        last = guard.manager.quotes.reference(guard.instrument("MES").contract_id)
        assert last is not None
        assert last.bid is not None
        level = last.bid + 100 * guard.instrument("MES").tick_size
        by_hand(desk, guard, 2, SELL, 1)
        added = await system.add_position("MES", -1, stop_price=level)

        assert added.kind is DecisionKind.ACCEPTED, added.message
        assert stops(desk) == [(1, level)]
    # On disk: the next process puts back what was recorded.
    await take_the_stops_away(desk)
    async with DisasterRecoverySystem(desk.settings()) as again:
        await again.recover_from_crash()
        assert stops(desk) == [(1, level)]


@pytest.mark.parametrize("quantity", [1, -2, 3])
async def test_a_position_that_the_broker_does_not_show_is_not_added(
    desk: Desk, quantity: int
) -> None:
    async with alone(desk) as (system, guard):
        level = await entered(desk, guard, 2)
        refused = await system.add_position("MES", quantity, stop_price=level + 1, timeout_s=0.2)

        assert refused.kind is DecisionKind.NOT_POSSIBLE
        assert f"not the {quantity:+d}" in refused.message
        assert stops(desk) == [(2, level)]


async def test_a_contract_that_nobody_knows_and_what_is_no_number_are_refused(desk: Desk) -> None:
    async with alone(desk) as (system, guard):
        unknown = await system.add_position("XYZ", 1, stop_price=Decimal(1))
        wrong: list[tuple[Any, Any]] = [(0, Decimal(1)), (True, Decimal(1)), ("1", Decimal(1))]
        for quantity, price in [*wrong, (1.0, Decimal(1)), (1, 4990.0), (1, "4990")]:
            with pytest.raises(DomainError):
                await guard.manager.add_position("MES", quantity, stop_price=price)

    assert unknown.kind is DecisionKind.UNKNOWN_SYMBOL


async def test_in_dry_run_nothing_is_added_and_nothing_taken_flat(desk: Desk) -> None:
    await crashed(desk)
    before = stops(desk)
    async with DisasterRecoverySystem(desk.settings(DRY_RUN=True)) as system:
        recovered = await system.recover_from_crash()
        added = await system.add_position("MES", 2, stop_price=before[0][1] + 1)
        end = await system.emergency_liquidation(reason="enough", operator="ann")

    assert [denial.code for denial in added.denials] == [DenialCode.GATE_DRY_RUN]
    assert recovered.report.plan.downtime.stop is StopKind.CRASH
    assert (end.flat, "nothing was sent" in end.reason) == (False, True)
    assert (position(desk), stops(desk)) == (2, before)


async def test_a_guard_that_does_not_protect_does_not_promise_it(desk: Desk) -> None:
    off = {"DISASTER_RECOVERY_ENABLE": False, "ALLOW_UNPROTECTED": True}
    async with desk.guard(**off) as guard:
        await guard.enter(Side.BUY, 1, OrderType.MARKET)
        decision = await guard.manager.add_position("MES", 1, stop_price=Decimal(1000))

    assert decision.kind is DecisionKind.NOT_POSSIBLE
    assert "DISASTER_RECOVERY_ENABLE" in decision.message


# -- ending it all ---------------------------------------------------------------------------------


async def test_one_contract_alone_is_taken_flat(desk: Desk) -> None:
    async with desk.guard("MNQ") as guard:
        await guard.enter(symbol="MES")
        await guard.enter(symbol="MNQ")
        end = await guard.manager.disaster_recovery.emergency_liquidation(
            reason="enough", operator="ann", symbol="MNQ"
        )
        unknown = await guard.manager.disaster_recovery.emergency_liquidation(
            reason="enough", operator="ann", symbol="XYZ"
        )

        assert end.flat, end.reason
        await guard.holds(0, "MNQ")
        await guard.holds(1, "MES")
    assert (unknown.flat, unknown.state) == (False, None)
    assert "XYZ" in unknown.reason


async def test_a_liquidation_that_does_not_end_in_time_says_what_is_left(desk: Desk) -> None:
    async with alone(desk) as (system, guard):
        await guard.enter()
        desk.mischief("Position/closeContract", FaultKind.ERROR_CODE, code=5, count=None)
        end = await system.emergency_liquidation(reason="enough", operator="ann", timeout_s=0.5)

    assert not end.flat
    assert end.remaining
    assert "it goes on" in end.reason
