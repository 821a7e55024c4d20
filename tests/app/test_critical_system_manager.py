"""The manager from its first contact to its restart, in front of a real venue."""

import asyncio
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace
from tests.app.desk import ACCOUNTS, Desk, a_venue, audited, until
from tests.app.silent_gateway import a_silent_gateway

from backstop.adapters.lock import AccountLock
from backstop.app import state_opening
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.settings import Settings
from backstop.core.call_budget import call_reserve
from backstop.core.execution_verdict import Verdict
from backstop.core.step import DecisionKind, Note, Tag
from backstop.core.trading_state import TradingState
from backstop.domain.call_purpose import CallPurpose
from backstop.domain.denial import DenialCode
from backstop.domain.events import AccountAudited
from backstop.domain.order import OrderState, OrderType, Side
from backstop.errors import (
    AlreadyRunningError,
    BackstopError,
    DomainError,
    JournalError,
    LoginRefusedError,
    SetupError,
)
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_order_is_filled_verified_and_proven(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.enter()
        verification = await guard.manager.verify_execution(order.client_order_id)
        await guard.agrees()

        assert verification is not None
        assert verification.verdict in {Verdict.VERIFIED, Verdict.BREACH}
        assert verification.filled_quantity == 1
        assert guard.manager.execution_proof(order.client_order_id) is not None
        assert guard.position() == 1


async def test_a_restart_finds_the_same_orders_and_counts_each_fill_once(desk: Desk) -> None:
    async with desk.guard() as guard:
        filled = await guard.enter()
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        proof = await guard.proof(filled.client_order_id)
        before = desk.orders()

    async with desk.guard() as guard:
        await guard.agrees()
        again = guard.book.orders

        assert [again[order.client_order_id].state for order in (filled, resting)] == [
            OrderState.FILLED,
            OrderState.WORKING,
        ]
        assert again[filled.client_order_id].fills == filled.fills
        assert guard.position() == 1
        assert guard.manager.execution_proof(filled.client_order_id) == proof
        assert [row["id"] for row in desk.orders()] == [row["id"] for row in before]


async def test_an_equal_request_after_a_restart_is_the_same_order(desk: Desk) -> None:
    async with desk.guard() as guard:
        request = guard.request()
        await guard.send(request)
        await guard.reaches(request.client_order_id, OrderState.FILLED)

    async with desk.guard() as guard:
        decision = await guard.manager.submit_order(request)

        assert decision.kind is DecisionKind.REPEATED
        assert len(desk.orders()) == 1


async def test_fills_that_happen_while_nobody_watches_are_counted_once(desk: Desk) -> None:
    async with desk.guard() as guard:
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-40))
        await until(lambda: desk.orders()[0]["status"] == "OPEN", desk.orders)
        guard_before = guard
    guard_before.move_market(-60)
    await until(lambda: desk.orders()[0]["status"] == "FILLED", desk.orders)

    async with desk.guard() as guard:
        order = await guard.reaches(resting.client_order_id, OrderState.FILLED)
        await guard.agrees()

        assert order.filled_quantity == 1
        assert guard.position() == 1
        assert len(desk.orders()) == 1


async def test_a_wrong_account_is_refused_and_the_right_ones_are_named(desk: Desk) -> None:
    manager = CriticalSystemManager.from_settings(desk.settings(TOPSTEPX_ACCOUNT_ID=123_456))

    with pytest.raises(SetupError) as refused:
        await manager.initialize()

    assert "123456" in str(refused.value)
    assert all(str(number) in str(refused.value) for number in ACCOUNTS[:3])


async def test_a_wrong_key_is_refused_at_start_and_never_told(desk: Desk) -> None:
    manager = CriticalSystemManager.from_settings(
        desk.settings(TOPSTEPX_API_KEY="a-key-that-is-not-right")
    )

    with pytest.raises(LoginRefusedError) as refused:
        await manager.initialize()

    assert "a-key-that-is-not-right" not in str(refused.value)


async def test_a_refused_start_leaves_the_account_free(desk: Desk) -> None:
    wrong = desk.settings(TOPSTEPX_API_KEY="a-key-that-is-not-right")
    with pytest.raises(LoginRefusedError):
        await CriticalSystemManager.from_settings(wrong).initialize()

    async with desk.guard() as guard:
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.ACTIVE


async def test_a_gateway_that_is_not_there_yet_is_waited_for(desk: Desk) -> None:
    async with a_venue() as gone:
        settings = desk.settings(TOPSTEPX_API_URL=gone.url)
    async with CriticalSystemManager.from_settings(settings) as manager:
        first = manager.book.trading_state(manager.now_ns())
        said = manager.components

        async with Simulator(replace(gone.config, port=gone.port)):
            await until(
                lambda: manager.book.trading_state(manager.now_ns()) is TradingState.ACTIVE,
                lambda: manager.book.state_reasons(manager.now_ns()),
            )

            assert "gateway" not in manager.components

    assert first is TradingState.STARTING
    assert "gateway" in said


async def test_a_gateway_that_says_nothing_holds_up_no_halt_and_its_cancelled_start_is_no_crash(
    desk: Desk,
) -> None:
    async with desk.guard():
        pass
    async with a_silent_gateway() as gateway:
        manager = CriticalSystemManager.from_settings(desk.settings(TOPSTEPX_API_URL=gateway.url))
        begun = asyncio.Event()
        manager.on_begun = begun.set
        starting = asyncio.create_task(manager.initialize())
        await begun.wait()
        halted = await manager.halt(reason="not today", operator="Ada")
        heard = gateway.hung_up.is_set() or starting.done()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    async with desk.guard(ready=False) as guard:
        await until(lambda: guard.manager.recovery is not None, "the report")
        report = guard.manager.recovery

    assert halted.kind is DecisionKind.ACCEPTED
    assert not heard
    assert report is not None
    assert str(report.plan.downtime.stop) == "CLEAN"


async def test_an_embedded_guard_says_which_settings_are_in_doubt(desk: Desk) -> None:
    settings = replace(desk.settings(), warnings=("DRYRUN is no setting",))
    notes: list[Note] = []
    async with CriticalSystemManager.from_settings(settings, on_note=notes.append):
        pass

    (said,) = [note for note in notes if note.name == "setting_in_doubt"]
    assert said.fields["message"] == "DRYRUN is no setting"


async def test_a_second_guard_on_the_account_is_refused(desk: Desk, tmp_path: Path) -> None:
    async with desk.guard() as guard:
        second = CriticalSystemManager.from_settings(
            desk.settings(BACKSTOP_STATE_DIR=tmp_path / "other")
        )
        with pytest.raises(AlreadyRunningError, match=str(desk.account)):
            await second.initialize()

        await guard.enter()
        await guard.agrees()


async def test_a_dry_run_sends_nothing_and_says_what_it_would_send(desk: Desk) -> None:
    async with desk.guard(DRY_RUN=True, EXECUTE=False) as guard:
        request = guard.request()
        decision = await guard.manager.submit_order(request)
        exit_ = await guard.manager.submit_order(guard.request(Side.SELL, protected=False))

        assert decision.kind is DecisionKind.REFUSED
        assert [denial.code for denial in decision.denials] == [DenialCode.GATE_DRY_RUN]
        assert decision.assessment is not None
        assert decision.assessment.intent.client_order_id == request.client_order_id
        assert decision.assessment.intent.quantity == 1
        assert DenialCode.GATE_DRY_RUN in {denial.code for denial in exit_.denials}
        assert desk.orders() == []


async def test_a_wish_of_the_wrong_types_is_refused_and_the_guard_goes_on(desk: Desk) -> None:
    """A bot in Python may pass anything; it must neither stop the guard nor spoil its record."""
    async with desk.guard() as guard:
        request = guard.request(kind=OrderType.LIMIT, ticks=-300)
        assert request.limit_price is not None
        for wrong in ({"quantity": 1.5}, {"side": "UP"}, {"limit_price": "cheap"}):
            with pytest.raises(DomainError, match=next(iter(wrong))):
                await guard.manager.submit_order(replace(request, **wrong))  # type: ignore[arg-type]
            with pytest.raises(DomainError, match=next(iter(wrong))):
                guard.manager.validate_order(replace(request, **wrong))  # type: ignore[arg-type]
        with pytest.raises(DomainError, match="state"):
            guard.manager.save_strategy("s", {"mean": 1.5})  # type: ignore[dict-item]
        with pytest.raises(DomainError, match="reason"):
            await guard.manager.halt(reason=None, operator="Ada")  # type: ignore[arg-type]
        loose = replace(request, side="BUY", limit_price=float(request.limit_price))  # type: ignore[arg-type]
        order = await guard.send(loose)

    async with desk.guard() as guard:
        again = await guard.manager.submit_order(loose)

        assert again.kind is DecisionKind.REPEATED
        assert guard.book.orders[order.client_order_id].request == request
        assert len(desk.orders()) == 1


async def test_one_key_of_the_gate_is_not_enough(desk: Desk) -> None:
    async with desk.guard(DRY_RUN=False, EXECUTE=False) as guard:
        decision = await guard.manager.submit_order(guard.request())

        assert [denial.code for denial in decision.denials] == [DenialCode.GATE_EXECUTE]
        assert desk.orders() == []


async def test_a_gateway_of_which_a_part_is_elsewhere_is_not_begun_with(tmp_path: Path) -> None:
    far = Settings.load(
        environment={
            "TOPSTEPX_API_URL": "https://gateway.invalid",
            "TOPSTEPX_USER_HUB_URL": "http://127.0.0.1:9/hubs/user",
            "TOPSTEPX_MARKET_HUB_URL": "http://127.0.0.1:9/hubs/market",
            "TOPSTEPX_USERNAME": "somebody",
            "TOPSTEPX_API_KEY": "key-0123456789",
            "TOPSTEPX_ACCOUNT_ID": "1",
            "BACKSTOP_STATE_DIR": str(tmp_path / "state"),
            "DRY_RUN": "0",
            "EXECUTE": "1",
        },
        env_file=tmp_path / "none",
    )
    with pytest.raises(SetupError, match="Nothing was sent"):
        await CriticalSystemManager.from_settings(far).initialize()

    assert not (tmp_path / "state").exists()


async def test_a_wish_after_the_end_is_refused_and_does_not_hang(desk: Desk) -> None:
    async with desk.guard() as guard:
        request = guard.request()

    with pytest.raises(BackstopError):
        async with asyncio.timeout(5):
            await guard.manager.submit_order(request)
    assert desk.orders() == []


async def test_a_wish_that_the_end_overtakes_is_not_left_hanging(desk: Desk) -> None:
    async with desk.guard() as guard:
        asking = asyncio.create_task(guard.manager.submit_order(guard.request()))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.wait({asking})

    assert asking.done()
    assert len(desk.orders()) <= 1


async def test_an_order_that_the_end_overtakes_is_told_as_not_answered(desk: Desk) -> None:
    async with desk.guard() as guard:
        desk.mischief("Order/place", FaultKind.DELAY_RESPONSE, delay_ms=600_000)
        for event in ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition"):
            desk.mischief(event, FaultKind.DROP_EVENT, count=None)
        request = guard.request()
        asking = asyncio.create_task(guard.manager.submit_order(request))
        await until(lambda: len(desk.orders()) == 1, "the order at the exchange")
        verifying = asyncio.create_task(guard.manager.verify_execution(request.client_order_id))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        decision, verification = await asyncio.gather(asking, verifying)

    assert decision.order is not None
    assert decision.order.state in {OrderState.SENT, OrderState.WORKING}
    assert verification is not None
    assert verification.verdict is Verdict.UNKNOWN


async def test_a_disk_that_hangs_at_the_end_does_not_keep_the_account(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on after the error must be able to start another guard in the same process."""
    monkeypatch.setattr(state_opening, "CLOSE_LIMIT_S", 0.05)
    manager = CriticalSystemManager.from_settings(desk.settings())
    await manager.initialize()
    lock = AccountLock(
        gateway_host=urlsplit(desk.venue.url).netloc, account=str(manager.settings.account_id)
    )
    with closing(sqlite3.connect(desk.folder / "state" / "audit.db")) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write
        halting = asyncio.create_task(manager.halt(reason="the end", operator="Ada"))
        await until(lambda: bool(manager.book.latches), "the decision, which cannot be recorded")
        with pytest.raises(JournalError, match="did not take"):
            await manager.close()
        other.rollback()
    await asyncio.wait({halting})

    assert isinstance(halting.exception(), JournalError)
    lock.acquire()
    lock.release()


async def test_a_guard_that_fails_says_so_by_itself(desk: Desk) -> None:
    """A bot around it awaits its own orders, not the guard's tasks: it must hear of their end."""
    notes: list[Note] = []
    manager = CriticalSystemManager.from_settings(desk.settings(), on_note=notes.append)
    async with manager:
        # A fact that the journal cannot encode is a bug of ours, and ends the decision loop.
        manager.decisions.put(object())  # type: ignore[arg-type]
        with pytest.raises(ExceptionGroup):
            async with asyncio.timeout(10):
                await manager.failed()
        said = manager.components["guard"]

    (told,) = [note for note in notes if note.name == "guard_failed"]
    assert (told.tag, told.fields["message"]) == (Tag.CRITICAL, said)
    assert "object" in said


async def test_a_guard_that_is_started_anew_after_it_failed_is_well(desk: Desk) -> None:
    manager = CriticalSystemManager.from_settings(desk.settings())
    async with manager:
        manager.decisions.put(object())  # type: ignore[arg-type]
        with pytest.raises(ExceptionGroup):
            async with asyncio.timeout(10):
                await manager.failed()
    assert "guard" in manager.components

    async with manager:
        await manager.account_read()
        assert "guard" not in manager.components


async def test_a_halt_blocks_entries_and_exits_still_go(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        await guard.manager.halt(reason="a look at the news", operator="Ada")

        refused = await guard.manager.submit_order(guard.request())
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        await guard.enter(Side.SELL, 2, protected=False)
        await guard.agrees()

        assert DenialCode.STATE_HALTED in {denial.code for denial in refused.denials}
        assert guard.position() == 0

        await guard.manager.resume(reason="read it", operator="Ada")
        await until(lambda: not guard.book.live_venue, "the legs of the first entry are gone")
        await guard.enter()


async def test_entries_leave_the_last_calls_to_what_cuts_risk(desk: Desk) -> None:
    """The gateway says 429: entries wait until it takes calls again, exits do not."""
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.agrees()
        budget = guard.manager.parts.gateway.budget
        assert budget.kept(CallPurpose.ORDINARY) == call_reserve(guard.book) > 20
        desk.mischief("Order/search", FaultKind.HTTP_ERROR, http_status=429, count=None)
        await until(lambda: budget.left() == 0, "the gateway refused a call")
        refused = await guard.manager.submit_order(guard.request())
        await guard.enter(Side.SELL, 2, protected=False)

        assert DenialCode.RATE_BUDGET_LOW in {denial.code for denial in refused.denials}
        desk.venue.faults.heal()
        await until(lambda: budget.left() > 0, "the pause is over")
        await guard.ready("MES")
        await guard.enter()


async def test_the_only_stop_of_a_position_is_neither_cancelled_nor_made_smaller(
    desk: Desk,
) -> None:
    async with desk.guard(STOP_REQUIRED=False) as guard:
        await guard.enter(quantity=2, protected=False)
        stop = await guard.send(
            guard.request(Side.SELL, 2, OrderType.STOP, ticks=200, protected=False)
        )
        await guard.agrees()
        guard.book.policy = replace(guard.book.policy, stop_required=True)
        name = stop.client_order_id
        cancelled = await guard.manager.cancel_order(name, reason="why not")
        smaller = await guard.manager.modify_order(
            name, quantity=1, limit_price=None, stop_price=None
        )

        for refused in (cancelled, smaller):
            assert [it.code for it in refused.denials] == [DenialCode.PROTECTION_REQUIRED]
        assert [row["status"] for row in desk.orders()] == ["FILLED", "OPEN"]


async def test_an_order_is_changed_where_it_rests(desk: Desk) -> None:
    async with desk.guard() as guard:
        resting = await guard.send(guard.request(quantity=3, kind=OrderType.LIMIT, ticks=-300))
        limit = resting.request.limit_price
        assert limit is not None
        decision = await guard.manager.modify_order(
            resting.client_order_id, quantity=2, limit_price=limit - 1, stop_price=None
        )
        await until(lambda: desk.orders()[0]["size"] == 2, desk.orders)
        await guard.agrees()

        assert decision.kind is DecisionKind.ACCEPTED
        assert Decimal(desk.orders()[0]["limitPrice"]) == limit - 1


async def test_what_cannot_be_done_to_an_order_is_said(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.enter()
        late = await guard.manager.cancel_order(order.client_order_id, reason="too late")
        nobody = await guard.manager.cancel_order("nobody", reason="never was")
        verification = await guard.manager.verify_execution("nobody")

        assert late.kind is DecisionKind.NOT_POSSIBLE
        assert "FILLED" in late.message
        assert nobody.kind is DecisionKind.UNKNOWN_ORDER
        assert verification is None


async def test_a_verification_ends_in_time_with_the_reason(desk: Desk) -> None:
    async with desk.guard() as guard:
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        verification = await guard.manager.verify_execution(resting.client_order_id, timeout_s=0.05)

        assert verification is not None
        assert verification.verdict is Verdict.UNKNOWN
        assert "WORKING" in verification.reason


async def test_every_order_row_follows_its_order(desk: Desk) -> None:
    async with desk.guard() as guard:
        filled = await guard.enter()
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        await guard.manager.cancel_order(resting.client_order_id, reason="enough")
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        await guard.agrees()

    rows = audited(
        guard.manager.settings.state_folder,
        "SELECT OrderId, ClientOrderId, Side, Quantity, Status FROM OrderAudit"
        " WHERE ClientOrderId IS NOT NULL ORDER BY SubmittedTime",
    )

    numbers = [row["id"] for row in desk.orders()]
    assert rows == [
        (str(numbers[0]), filled.client_order_id, "BUY", 1, "FILLED"),
        (str(numbers[1]), resting.client_order_id, "BUY", 1, "CANCELLED"),
    ]


async def test_the_account_goes_on_being_read_and_each_reading_is_recorded(desk: Desk) -> None:
    async with desk.guard() as guard:
        first = guard.book.audit.complete_sent_ns
        await until(lambda: guard.book.audit.complete_sent_ns > first, "another audit")

        assert AccountAudited.__name__ in {
            event for (event,) in audited(
                guard.manager.settings.state_folder,
                "SELECT DISTINCT json_extract(CAST(payload AS TEXT), '$.kind') FROM Journal"
                " WHERE kind = 'event'",
            )
        }  # fmt: skip
