"""Execution verification for a bot that sends its own orders, in front of a real venue.

The bot of these tests is a plain REST client. The guard in front of the same account sends nothing;
what it says is held against the exchange's own truth.
"""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace
from tests.app.desk import (
    COLLAR_TICKS,
    PATIENCE_S,
    Desk,
    Guard,
    JumpingClock,
    a_venue,
    audited,
    full_disk,
    until,
)
from tests.app.own_bot import an_own_bot

import backstop
from backstop.adapters.lock import AccountLock
from backstop.app.audit_verification import verify_record
from backstop.app.execution_verification_system import ExecutionVerificationSystem
from backstop.core.execution_verdict import Verdict
from backstop.core.step import DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.errors import (
    DomainError,
    GatewayUnreachableError,
    JournalError,
    NoProofError,
    SettingError,
    SetupError,
    UnknownOrderError,
)
from backstop.simulator.fault_rules import FaultKind
from backstop.verifier.backstop_verify import main as verify_offline

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHILD = Path(__file__).with_name("verification_child.py")
EVENTS = ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition")
WATCHING: dict[str, Any] = {"DRY_RUN": True, "EXECUTE": False}
_tags = count(1)


def a_tag() -> str:
    return f"own-{next(_tags)}"


@asynccontextmanager
async def alone(
    desk: Desk, *, ready: bool = True, **settings: Any
) -> AsyncIterator[tuple[ExecutionVerificationSystem, Guard]]:
    """Run the system without a guard of somebody else; with ``ready`` quotes of MES are there."""
    async with ExecutionVerificationSystem(desk.settings(**(WATCHING | settings))) as system:
        guard = Guard(system.guard, desk.venue, [], desk.names)
        if ready:
            await guard.ready("MES")
        yield system, guard


def written(desk: Desk, name: str) -> list[tuple[Any, ...]]:
    return audited(
        desk.folder / "state",
        "SELECT OrderId, Status, Quantity FROM OrderAudit WHERE ClientOrderId = ?",
        name,
    )


# -- the four operations ---------------------------------------------------------------------------


async def test_it_has_the_four_operations_of_the_specification_and_a_public_name() -> None:
    operations = [
        name
        for name, member in inspect.getmembers(
            ExecutionVerificationSystem, inspect.iscoroutinefunction
        )
        if not name.startswith("_")
    ]

    assert sorted(operations) == [
        "add_pending_order",
        "generate_execution_proof",
        "initialize_verification_system",
        "verify_execution",
    ]
    assert backstop.ExecutionVerificationSystem is ExecutionVerificationSystem


async def test_an_order_that_a_bot_sends_itself_is_verified_and_proven_in_dry_run(
    desk: Desk, tmp_path: Path
) -> None:
    system = ExecutionVerificationSystem(desk.settings(**WATCHING))
    await system.initialize_verification_system()
    await system.initialize_verification_system()  # again: it only waits until it may be used
    guard = Guard(system.guard, desk.venue, [], desk.names)
    await guard.ready("MES")
    request, tag = guard.request(quantity=3, protected=False), a_tag()

    decision = await system.add_pending_order(request, custom_tag=tag)
    before = written(desk, request.client_order_id)
    async with an_own_bot(desk) as bot:
        number = await bot.place(request, tag=tag)
    verification = await system.verify_execution(request.client_order_id, 3, Decimal(1000))
    bundle = await system.generate_execution_proof(request.client_order_id)
    await guard.agrees()
    after = written(desk, request.client_order_id)
    await system.guard.close()

    assert decision.kind is DecisionKind.ACCEPTED
    assert before == [(request.client_order_id, "SENT", 3)], "durable before the bot sends"
    assert verification.verdict is Verdict.VERIFIED
    assert verification.filled_quantity == 3
    assert verification.slippage_ticks is not None
    assert after == [(str(number), "FILLED", 3)]
    assert [(row["id"], row["customTag"]) for row in desk.orders()] == [(number, tag)]
    file = tmp_path / "bundle.json"
    file.write_bytes(bundle)
    key = desk.folder / "state" / "keys" / "audit.pub"
    assert verify_offline([str(file), "--key", str(key)]) == 0


async def test_the_guard_never_sends_what_was_registered_also_when_it_may_send(desk: Desk) -> None:
    async with desk.guard() as guard:
        request = guard.request(kind=OrderType.LIMIT, ticks=-300, protected=False)
        decision = await guard.manager.register_pending_order(request, custom_tag=a_tag())
        name = request.client_order_id
        await until(lambda: guard.book.orders[name].attempts > 1, "look-ups")
        again = await guard.manager.submit_order(request)
        await guard.enter()

        assert decision.kind is DecisionKind.ACCEPTED
        assert again.kind is DecisionKind.CONFLICT
        assert guard.book.orders[name].state is OrderState.SENT
        assert [row["type"] for row in desk.orders()] == ["MARKET"]


async def test_a_guard_that_may_send_protects_what_a_registered_entry_opened(desk: Desk) -> None:
    async with desk.guard() as guard, an_own_bot(desk) as bot:
        request, tag = guard.request(quantity=2), a_tag()
        await guard.manager.register_pending_order(request, custom_tag=tag)
        await bot.place(request, tag=tag)  # without a bracket
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: guard.book.stop_cover(contract_id, 2) == 2, "a stop for both")

        entry, stop = desk.orders()
        assert (entry["customTag"], entry["type"]) == (tag, "MARKET")
        assert (stop["type"], Decimal(stop["stopPrice"])) == ("STOP", request.stop_loss_price)


async def test_a_guard_that_runs_has_it_as_its_own_face(desk: Desk) -> None:
    async with desk.guard() as guard:
        system = guard.manager.execution_verification
        await system.initialize_verification_system()
        order = await guard.enter()

        by_name = await system.verify_execution(order.client_order_id, 1, Decimal(1000))
        by_number = await system.verify_execution(str(order.broker_order_id), 1, Decimal(1000))
        proof = await system.generate_execution_proof(str(order.broker_order_id))

        assert by_name == by_number
        assert by_name.verdict is Verdict.VERIFIED
        assert proof == await guard.proof(order.client_order_id)
        assert system.guard is guard.manager


async def test_a_verification_that_waits_is_woken_by_the_event(desk: Desk) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        request, tag = guard.request(protected=False), a_tag()
        await system.add_pending_order(request, custom_tag=tag)
        waiting = asyncio.create_task(
            system.verify_execution(
                request.client_order_id, max_slippage=Decimal(1000), timeout_s=PATIENCE_S
            )
        )
        await asyncio.sleep(0)
        await bot.place(request, tag=tag)

        assert (await waiting).verdict is Verdict.VERIFIED


# -- told late, twice, in another order, or never --------------------------------------------------


MISTOLD: list[tuple[FaultKind, dict[str, Any]]] = [
    (FaultKind.DUPLICATE_EVENT, {"copies": 2, "delay_ms": 30}),
    (FaultKind.DELAY_EVENT, {"delay_ms": 400}),
    (FaultKind.REORDER_EVENT, {"delay_ms": 200}),
    (FaultKind.DROP_EVENT, {}),
]


@pytest.mark.parametrize(
    ("event", "act", "details"),
    [
        *((event, act, details) for event in EVENTS for act, details in MISTOLD),
        ("GatewayUserOrder", FaultKind.CONTRADICT_EVENT, {"delay_ms": 50}),
    ],
)
async def test_however_its_execution_is_told_the_verdict_is_the_same(
    desk: Desk, event: str, act: FaultKind, details: dict[str, Any]
) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        desk.mischief(event, act, count=None, **details)
        request, tag = guard.request(quantity=2, protected=False), a_tag()
        await system.add_pending_order(request, custom_tag=tag)
        await bot.place(request, tag=tag)
        found = await system.verify_execution(
            request.client_order_id, 2, Decimal(1000), timeout_s=PATIENCE_S
        )
        await guard.agrees()

        assert desk.strikes(act) > 0
        assert (found.verdict, found.filled_quantity) == (Verdict.VERIFIED, 2)
        assert len(desk.orders()) == 1


async def test_an_order_of_which_no_event_ever_comes_is_found_by_its_tag(desk: Desk) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        for event in EVENTS:
            desk.mischief(event, FaultKind.DROP_EVENT, count=None)
        request, tag = guard.request(quantity=2, protected=False), a_tag()
        await system.add_pending_order(request, custom_tag=tag)
        number = await bot.place(request, tag=tag)
        found = await system.verify_execution(
            request.client_order_id, 2, Decimal(1000), timeout_s=PATIENCE_S
        )
        await guard.agrees()

        assert found.verdict is Verdict.VERIFIED
        assert guard.book.orders[request.client_order_id].broker_order_id == number


async def test_an_order_without_a_tag_is_followed_by_its_number_after_it_was_sent(
    desk: Desk,
) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        request = guard.request(kind=OrderType.LIMIT, ticks=-40, protected=False)
        number = await bot.place(request, tag=None)
        await until(lambda: number in guard.book.venue_orders, "the order, as somebody else's")
        decision = await system.add_pending_order(request, broker_order_id=number)
        await until(lambda: desk.orders()[0]["status"] == "OPEN", desk.orders)
        guard.move_market(-60)
        found = await system.verify_execution(str(number), 1, timeout_s=PATIENCE_S)
        await guard.agrees()

        assert decision.order is not None
        assert decision.order.state is OrderState.WORKING
        assert found.verdict is Verdict.VERIFIED
        assert written(desk, request.client_order_id) == [(str(number), "FILLED", 1)]
        assert await system.generate_execution_proof(request.client_order_id)


async def test_an_order_that_is_over_when_it_is_registered_is_verified_by_its_number(
    desk: Desk,
) -> None:
    async with an_own_bot(desk) as bot:
        request = OrderRequest(
            client_order_id="early", symbol="MES", side=Side.BUY, quantity=1, type=OrderType.MARKET
        )
        number = await bot.place(request, tag=None)
        await until(lambda: desk.orders()[0]["status"] == "FILLED", desk.orders)
        # It was traded by somebody else, as far as anybody knows: never ACTIVE.
        async with alone(desk, ready=False) as (system, guard):
            for event in EVENTS:
                desk.mischief(event, FaultKind.DROP_EVENT, count=None)
            await system.add_pending_order(request, broker_order_id=number)
            found = await system.verify_execution(
                request.client_order_id, 1, Decimal(1000), timeout_s=PATIENCE_S
            )
            await guard.agrees()

    assert found.verdict is Verdict.VERIFIED


# -- what was not executed as it was meant ---------------------------------------------------------


async def test_an_order_that_never_arrives_is_unknown_then_proven_absent_then_refuted(
    desk: Desk,
) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock, **WATCHING) as guard:
        system = guard.manager.execution_verification
        request = guard.request(protected=False)
        name = request.client_order_id
        await system.add_pending_order(request, custom_tag=a_tag())
        early = await system.verify_execution(name, timeout_s=0.05)
        with pytest.raises(NoProofError, match="SENT with 0 of 1"):
            await system.generate_execution_proof(name)
        clock.jump(16)
        await guard.reaches(name, OrderState.UNKNOWN)
        unknown = await system.verify_execution(name, timeout_s=0.05)
        clock.jump(60)
        await _looked_up_again(guard, name)
        clock.jump(10)
        await guard.reaches(name, OrderState.NOT_SUBMITTED)
        refuted = await system.verify_execution(name)

    assert [early.verdict, unknown.verdict] == [Verdict.UNKNOWN, Verdict.UNKNOWN]
    assert "SENT" in early.reason
    assert "UNKNOWN" in unknown.reason
    assert refuted.verdict is Verdict.REFUTED
    assert "NOT_SUBMITTED" in refuted.reason
    assert desk.orders() == []


async def _looked_up_again(guard: Guard, name: str) -> None:
    searched = guard.book.orders[name].attempts
    await until(lambda: guard.book.orders[name].attempts > searched, lambda: guard.book.orders)


async def test_slippage_beyond_the_limit_is_a_breach_with_a_proof(desk: Desk) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        request = guard.request(Side.BUY, 1, OrderType.STOP, ticks=20, protected=False)
        tag = a_tag()
        await system.add_pending_order(request, custom_tag=tag)
        await bot.place(request, tag=tag)
        await until(lambda: desk.orders()[0]["status"] == "OPEN", desk.orders)
        guard.move_market(60)
        found = await system.verify_execution(
            request.client_order_id, 1, Decimal(2), timeout_s=PATIENCE_S
        )

        assert found.verdict is Verdict.BREACH
        assert found.slippage_ticks is not None
        assert found.slippage_ticks > 2
        assert await system.generate_execution_proof(request.client_order_id)


async def test_more_or_less_than_was_expected_is_refuted(desk: Desk) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        request, tag = guard.request(quantity=2, protected=False), a_tag()
        await system.add_pending_order(request, custom_tag=tag)
        await bot.place(request, tag=tag)
        await guard.reaches(request.client_order_id, OrderState.FILLED)
        more = await system.verify_execution(request.client_order_id, 3, Decimal(1000))
        less = await system.verify_execution(request.client_order_id, 1, Decimal(1000))

        assert [more.verdict, less.verdict] == [Verdict.REFUTED, Verdict.REFUTED]
        assert "2 of 3" in more.reason
        assert "1 expected" in less.reason


async def test_a_refusal_of_the_venue_and_a_cancel_are_refuted_and_cannot_be_proven(
    desk: Desk,
) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        far = guard.request(kind=OrderType.LIMIT, ticks=-COLLAR_TICKS - 200, protected=False)
        resting = guard.request(kind=OrderType.LIMIT, ticks=-300, protected=False)
        numbers = []
        for request in (far, resting):
            tag = a_tag()
            await system.add_pending_order(request, custom_tag=tag)
            numbers.append(await bot.place(request, tag=tag))
        await guard.reaches(resting.client_order_id, OrderState.WORKING)
        with pytest.raises(NoProofError, match="WORKING with 0 of 1 contract"):
            await system.generate_execution_proof(resting.client_order_id)
        await bot.cancel(numbers[1])
        verdicts = {
            request.client_order_id: await system.verify_execution(
                request.client_order_id, timeout_s=PATIENCE_S
            )
            for request in (far, resting)
        }
        await guard.agrees()

        assert {found.verdict for found in verdicts.values()} == {Verdict.REFUTED}
        assert "REJECTED" in verdicts[far.client_order_id].reason
        assert "CANCELLED" in verdicts[resting.client_order_id].reason
        for request, state in ((far, "REJECTED"), (resting, "CANCELLED")):
            with pytest.raises(NoProofError, match=state) as refused:
                await system.generate_execution_proof(request.client_order_id)
            assert (refused.value.filled_quantity, refused.value.quantity) == (0, 1)


async def test_an_order_that_was_sent_the_other_way_round_refutes_its_registration(
    desk: Desk,
) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        request, tag = guard.request(Side.BUY, protected=False), a_tag()
        await system.add_pending_order(request, custom_tag=tag)
        number = await bot.place(replace(request, side=Side.SELL), tag=tag)
        found = await system.verify_execution(request.client_order_id, timeout_s=PATIENCE_S)
        await until(lambda: guard.position() == -1, guard.position)

        assert found.verdict is Verdict.REFUTED
        assert f"order {number} at the venue is SELL 1" in found.reason
        assert number in guard.book.venue_orders


# -- refusals ------------------------------------------------------------------------------------


async def test_what_cannot_be_followed_is_refused_with_the_reason(desk: Desk) -> None:
    async with alone(desk) as (system, guard):
        request = guard.request(kind=OrderType.LIMIT, ticks=-300, protected=False)
        assert request.limit_price is not None
        untold = await system.add_pending_order(request)
        unknown = await system.add_pending_order(replace(request, symbol="ZZZ"), custom_tag="t-1")
        between = await system.add_pending_order(
            replace(request, limit_price=request.limit_price + Decimal("0.1")), custom_tag="t-1"
        )
        ours = await system.add_pending_order(request, custom_tag="bs-1")
        with pytest.raises(DomainError, match="quantity"):
            await system.add_pending_order(replace(request, quantity=1.5), custom_tag="t-1")  # type: ignore[arg-type]
        accepted = await system.add_pending_order(request, custom_tag="t-1")
        repeated = await system.add_pending_order(request, custom_tag="t-1")
        other = await system.add_pending_order(replace(request, quantity=2), custom_tag="t-1")
        taken = await system.add_pending_order(
            replace(request, client_order_id="another"), custom_tag="t-1"
        )

        assert [untold.kind, ours.kind] == [DecisionKind.NOT_POSSIBLE] * 2
        assert unknown.kind is DecisionKind.UNKNOWN_SYMBOL
        assert [denial.code for denial in between.denials] == [DenialCode.TICK_UNALIGNED]
        assert [accepted.kind, repeated.kind] == [DecisionKind.ACCEPTED, DecisionKind.REPEATED]
        assert [other.kind, taken.kind] == [DecisionKind.CONFLICT] * 2
        assert request.client_order_id in taken.message


async def test_a_name_that_no_order_goes_by_is_an_error_that_says_so(desk: Desk) -> None:
    async with alone(desk) as (system, _):
        for name in ("nobody", "12345", "9" * 5000):
            with pytest.raises(UnknownOrderError, match="No order goes by"):
                await system.verify_execution(name, 1, Decimal(2))
            with pytest.raises(UnknownOrderError, match="No order goes by"):
                await system.generate_execution_proof(name)


async def test_a_system_that_was_not_started_or_is_switched_off_says_so(desk: Desk) -> None:
    system = ExecutionVerificationSystem(desk.settings(EXECUTION_VERIFICATION_ENABLE=False))
    with pytest.raises(SetupError, match="Not started"):
        await system.verify_execution("c1")
    with pytest.raises(SettingError, match="EXECUTION_VERIFICATION_ENABLE"):
        await system.initialize_verification_system()

    async with alone(desk):
        pass  # the account was left free


async def test_a_venue_that_is_not_there_ends_the_start_in_time_and_frees_the_account(
    desk: Desk,
) -> None:
    async with a_venue() as gone:
        url = gone.url
    system = ExecutionVerificationSystem(desk.settings(**WATCHING, TOPSTEPX_API_URL=url))
    with pytest.raises(GatewayUnreachableError, match="contracts are not loaded"):
        await system.initialize_verification_system(timeout_s=0.1)
    with pytest.raises(SetupError, match="Not started"):
        _ = system.guard
    lock = AccountLock(gateway_host=urlsplit(url).netloc, account=str(desk.account))
    lock.acquire()
    lock.release()


async def test_a_registration_that_is_not_on_disk_is_not_promised(desk: Desk) -> None:
    async with alone(desk) as (system, guard):
        request = guard.request(protected=False)
        with full_disk(guard), pytest.raises(JournalError, match="not on disk"):
            await system.add_pending_order(request, custom_tag=a_tag())

        assert written(desk, request.client_order_id) == []


# -- restarts --------------------------------------------------------------------------------------


async def test_an_order_sent_while_nobody_watched_is_found_and_verified(desk: Desk) -> None:
    async with an_own_bot(desk) as bot:
        async with alone(desk) as (system, guard):
            request, tag = guard.request(quantity=2, protected=False), a_tag()
            await system.add_pending_order(request, custom_tag=tag)
        await bot.place(request, tag=tag)
        await until(lambda: desk.orders()[0]["status"] == "FILLED", desk.orders)
        async with alone(desk) as (system, guard):
            found = await system.verify_execution(
                request.client_order_id, 2, Decimal(1000), timeout_s=PATIENCE_S
            )
            proof = await system.generate_execution_proof(request.client_order_id)
            await guard.agrees()
            found_fills = len(guard.book.trades)
        async with alone(desk) as (system, _):
            again = await system.verify_execution(request.client_order_id, 2, Decimal(1000))

            assert await system.generate_execution_proof(request.client_order_id) == proof
    assert found == again
    assert found.verdict is Verdict.VERIFIED
    report = verify_record(desk.folder / "state")  # it leads to the same rows and proofs
    assert (report.orders, report.fills, report.proofs) == (1, found_fills, 1)


@asynccontextmanager
async def a_bot_process(desk: Desk, name: str, tag: str) -> AsyncIterator[str]:
    """Run a bot that registers one order, until kill -9; give what the system answered it."""
    folder = str(desk.folder / "state")
    command = (CHILD, desk.venue.url, str(desk.account), folder, name, tag)
    bot = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert bot.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            printed = [await bot.stdout.readline()]
            while not printed[-1].startswith(b"decision "):
                assert printed[-1], b"".join(printed)
                printed.append(await bot.stdout.readline())
        yield printed[-1].decode().split()[1]
    finally:
        bot.kill()
        await bot.communicate()


@pytest.mark.parametrize("sent_before_the_kill", [True, False])
async def test_a_bot_killed_right_after_it_registered_loses_nothing(
    desk: Desk, *, sent_before_the_kill: bool
) -> None:
    """The registration is on disk before the bot hears of it: kill -9 cannot take it back."""
    tag, name = a_tag(), "killed-1"
    request = OrderRequest(
        client_order_id=name, symbol="MES", side=Side.BUY, quantity=2, type=OrderType.MARKET
    )
    async with an_own_bot(desk) as bot:
        async with a_bot_process(desk, name, tag) as decided:
            if sent_before_the_kill:
                await bot.place(request, tag=tag)
        async with alone(desk) as (system, guard):
            if not sent_before_the_kill:
                assert guard.book.orders[name].state is OrderState.UNKNOWN
                await bot.place(request, tag=tag)
            found = await system.verify_execution(name, 2, Decimal(1000), timeout_s=PATIENCE_S)
            repeated = await system.add_pending_order(request, custom_tag=tag)
            await guard.agrees()

    assert decided == DecisionKind.ACCEPTED
    assert found.verdict is Verdict.VERIFIED
    assert repeated.kind is DecisionKind.REPEATED
    assert len(desk.orders()) == 1
