"""The specification's own four checks of the critical system, as a plain program makes them.

No asyncio here: the guard is the embedded one of ``backstop.sync``, the venue a simulated one.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from tests.app.desk import API_KEY, Desk, a_desk, a_venue

from backstop import OrderRequest, OrderType, Side
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.errors import AlreadyRunningError, CredentialError, SetupError
from backstop.portal import Portal
from backstop.sync import CriticalSystemManager

STOP = Decimal(50)
"""Points below the entry."""


@dataclass
class World:
    """A venue that runs in a thread of its own, and the guards in front of it."""

    desk: Desk
    portal: Portal

    def guard(self, **settings: object) -> CriticalSystemManager:
        return CriticalSystemManager.from_settings(self.desk.settings(**settings))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    portal, venue = Portal("venue"), a_venue()
    portal.run(venue.__aenter__())
    try:
        yield World(a_desk(venue, tmp_path), portal)
    finally:
        portal.run(venue.__aexit__(None, None, None))
        portal.close()


def an_entry(guard: CriticalSystemManager, name: str, quantity: int = 1) -> OrderRequest:
    ask = guard.quote("MES").ask
    assert ask is not None
    return OrderRequest(
        client_order_id=name,
        symbol="MES",
        side=Side.BUY,
        quantity=quantity,
        type=OrderType.MARKET,
        stop_loss_price=ask - STOP,
    )


def stop_level(guard: CriticalSystemManager) -> Decimal | None:
    """Return the level of the one working stop."""

    def levels(manager: object) -> list[Decimal | None]:
        return [
            row.stop_price
            for row in manager.book.working_rows()  # type: ignore[attr-defined]
            if row.type is OrderType.STOP
        ]

    (level,) = guard.ask(levels)
    return level


# -- one: the credential manager -------------------------------------------------------------------


def test_credentials_are_found_named_when_absent_and_never_shown(world: World) -> None:
    with world.guard() as guard:
        key = guard.get_credential("TOPSTEPX_API_KEY")
        absent = guard.try_get_credential("NOBODY_HAS_THIS")
        fallback = guard.get_credential("NOBODY_HAS_THIS", default="spare")
        with pytest.raises(CredentialError, match="NOBODY_HAS_THIS"):
            guard.get_credential("NOBODY_HAS_THIS")

    assert key.reveal() == API_KEY
    assert API_KEY not in f"{key} {key!r}"
    assert (absent, fallback.reveal()) == (None, "spare")


# -- two: recovery keeps track of positions --------------------------------------------------------


def test_a_position_and_its_stop_are_known_again_after_a_restart(world: World) -> None:
    with world.guard() as guard:
        guard.reached(TradingState.ACTIVE)
        decision = guard.submit_order(an_entry(guard, "entry-1", quantity=2))
        assert decision.kind is DecisionKind.ACCEPTED, decision
        verification = guard.verify_execution("entry-1", max_slippage_ticks=Decimal(400))
        assert verification is not None
        assert verification.verdict == "VERIFIED", verification

        moved = guard.quote("MES").ask
        assert moved is not None
        wanted = (moved - 2 * STOP).quantize(Decimal(1))
        added = guard.add_position("MES", 2, stop_price=wanted)
        assert added.kind is DecisionKind.ACCEPTED, added
        assert stop_level(guard) == wanted

    with world.guard() as guard:
        guard.reached(TradingState.ACTIVE)
        assert guard.position("MES") == 2
        assert stop_level(guard) == wanted

        closing = guard.close_position("MES")
        assert closing.kind is DecisionKind.ACCEPTED
        exposure = guard.update_exposure("MES", 0)
        assert guard.position("MES") == 0

    assert [it.filled_micros for it in exposure.report.families if it.filled_micros] == []


def test_the_components_answer_a_plain_program_from_entry_to_flat(world: World) -> None:
    with world.guard() as guard:
        guard.disaster_recovery.initialize_recovery_system()
        guard.correlation_protection.initialize_correlation_monitor()
        guard.reached(TradingState.ACTIVE)
        verdict = guard.correlation_protection.validate_new_position("MES", Side.BUY, 1)
        assert verdict.allowed, verdict

        guard.submit_order(an_entry(guard, "entry-1"))
        verification = guard.execution_verification.verify_execution(
            "entry-1", expected_quantity=1, max_slippage=Decimal(400)
        )
        proof = guard.execution_verification.generate_execution_proof("entry-1")
        assert verification.verdict == "VERIFIED", verification
        assert b'"client_order_id":"entry-1"' in proof
        exposure = guard.correlation_protection.calculate_correlated_exposure("MES")
        assert exposure.family == "ES"
        assert exposure.value_micros > 0

        recovered = guard.disaster_recovery.recover_from_crash()
        assert list(recovered.protection.values()) == ["PROTECTED"]
        end = guard.disaster_recovery.emergency_liquidation(reason="enough", operator="Ann")
        assert end.flat, end
        assert guard.position("MES") == 0


# -- three: correlation is validated ---------------------------------------------------------------


def test_an_order_that_makes_one_big_bet_is_refused_with_the_limit_and_the_rest_passes(
    world: World,
) -> None:
    with world.guard(ES_NQ_MAX_COMBINED_EXPOSURE=5_000, RISK_BUDGET=10_000) as guard:
        guard.reached(TradingState.ACTIVE)
        small = guard.validate_order(an_entry(guard, "small"))
        large = guard.validate_order(an_entry(guard, "large", quantity=40))
        refused = guard.submit_order(an_entry(guard, "large", quantity=40))

    assert small is not None
    assert small.denials == ()
    assert large is not None
    codes = [str(denial.code) for denial in large.denials]
    assert "ES_NQ_COMBINED_EXPOSURE" in codes
    (combined,) = [it for it in large.denials if it.code == "ES_NQ_COMBINED_EXPOSURE"]
    assert combined.limit is not None
    assert combined.max_quantity is not None
    assert 1 <= combined.max_quantity < 40
    assert refused.kind is DecisionKind.REFUSED
    assert world.desk.orders() == []


# -- four: initialisation and disposal -------------------------------------------------------------


def test_a_guard_is_started_once_and_leaves_nothing_behind(world: World) -> None:
    before = {thread.name for thread in threading.enumerate()}
    guard = world.guard()
    with pytest.raises(SetupError, match="initialize"):
        guard.trading_state()

    guard.initialize()
    assert guard.trading_state() in set(TradingState)
    with pytest.raises(SetupError, match="already"):
        guard.initialize()
    with pytest.raises(AlreadyRunningError):
        world.guard().initialize()

    guard.close()
    guard.close()
    with pytest.raises(SetupError, match="initialize"):
        guard.trading_state()
    assert "backstop-guard" not in {it.name for it in threading.enumerate()} - before

    guard.initialize()
    guard.close()


def test_a_start_that_fails_leaves_nothing_behind_either(world: World) -> None:
    wrong = world.guard(TOPSTEPX_ACCOUNT_ID=1, BACKSTOP_STATE_DIR=world.desk.folder / "other")
    with pytest.raises(SetupError, match="account"):
        wrong.initialize()

    assert "backstop-guard" not in {it.name for it in threading.enumerate()}
    with world.guard() as guard:
        guard.reached(TradingState.ACTIVE)


def test_a_block_that_ends_with_an_error_counts_as_a_crash(world: World) -> None:
    def fail_while_active() -> None:
        with world.guard() as guard:
            guard.reached(TradingState.ACTIVE)  # before it hears of the account it guards nothing
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_active()

    with world.guard() as guard:
        guard.reached(TradingState.ACTIVE)
        recovered = guard.disaster_recovery.recover_from_crash()

    assert str(recovered.report.plan.downtime.stop) == "CRASH"
