"""The one place where requests leave: both keys of the gate and the right to send count here."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.app.desk import API_KEY, USER, Desk, until

from backstop.adapters.clock import SystemClock
from backstop.adapters.file_lock import try_lock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.app import dispatch
from backstop.app.dispatch import SAME_CANCEL_MAX, Dispatcher
from backstop.config.secret import Secret
from backstop.core.policy import Policy
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
    RaiseAlert,
    Request,
    Severity,
)
from backstop.domain.events import (
    AccountAudited,
    Answer,
    CancelAnswered,
    Fact,
    ModifyAnswered,
    OrderLookedUp,
    PlaceAnswered,
    PositionCloseAnswered,
)
from backstop.domain.order import OrderState, OrderType, Side
from backstop.errors import AlreadyRunningError
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTRACT = "CON.F.US.MES"


class Outlet:
    """A dispatcher in front of the venue, and what came back from it."""

    def __init__(
        self, desk: Desk, dispatcher: Dispatcher, alerts: list[RaiseAlert], faults: list[str]
    ) -> None:
        self.desk = desk
        self.dispatcher = dispatcher
        self.alerts = alerts
        self.faults = faults
        self.facts: list[Fact] = []
        dispatcher.bind(self.facts.append)

    async def answers(self, *commands: Request) -> list[Fact]:
        """Carry out ``commands`` one after the other and return what came back."""
        self.facts.clear()
        for number, command in enumerate(commands, start=1):
            self.dispatcher.dispatch(command)
            await until(lambda count=number: len(self.facts) == count, f"an answer to {command}")  # type: ignore[misc]
        return list(self.facts)

    def place(self, tag: str = "bs-a", **changes: object) -> PlaceOrder:
        members: dict[str, object] = {
            "client_order_id": tag,
            "custom_tag": tag,
            "account_id": self.desk.account,
            "contract_id": self.contract_id,
            "type": OrderType.LIMIT,
            "side": Side.BUY,
            "quantity": 2,
            "limit_price": Decimal(5800),
        }
        return PlaceOrder(**(members | changes))  # type: ignore[arg-type]

    @property
    def contract_id(self) -> str:
        rows = self.desk.venue.exchange.contracts()
        return next(row.id for row in rows if row.id.startswith(CONTRACT) and row.active_contract)

    def changes(self) -> tuple[PlaceOrder, CancelOrder, ModifyOrder]:
        account = self.desk.account
        return (
            self.place(),
            CancelOrder(account_id=account, broker_order_id=1, reason="a test"),
            ModifyOrder(account_id=account, broker_order_id=1, quantity=1),
        )


@asynccontextmanager
async def an_outlet(
    desk: Desk,
    *,
    dry_run: bool = False,
    execute: bool = True,
    observe_only: bool = False,
    holds: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Outlet]:
    clock = SystemClock()
    alerts: list[RaiseAlert] = []
    faults: list[str] = []
    async with ProjectXGateway(
        api_url=desk.venue.url, user_name=USER, api_key=Secret(API_KEY), clock=clock
    ) as gateway:
        policy = Policy(
            account_id=desk.account, dry_run=dry_run, execute=execute, observe_only=observe_only
        )
        dispatcher = Dispatcher(
            gateway=gateway,
            clock=clock,
            policy=policy,
            holds_right_to_send=holds,
            on_alert=alerts.append,
            on_fault=faults.append,
        )
        yield Outlet(desk, dispatcher, alerts, faults)
        await dispatcher.close()


@pytest.mark.parametrize(
    ("dry_run", "execute", "observe_only"),
    [(True, True, False), (False, False, False), (True, False, False), (False, True, True)],
)
async def test_a_closed_gate_lets_no_change_through(
    desk: Desk, *, dry_run: bool, execute: bool, observe_only: bool
) -> None:
    async with an_outlet(
        desk, dry_run=dry_run, execute=execute, observe_only=observe_only
    ) as outlet:
        placed, cancelled, modified = await outlet.answers(*outlet.changes())

    assert isinstance(placed, PlaceAnswered)
    assert isinstance(cancelled, CancelAnswered)
    assert isinstance(modified, ModifyAnswered)
    assert {placed.answer, cancelled.answer, modified.answer} == {Answer.NOT_SENT}
    assert "gate" in placed.message
    assert desk.orders() == []


async def test_who_lost_the_right_to_send_sends_nothing_more(desk: Desk) -> None:
    rights = [True]
    async with an_outlet(desk, holds=lambda: rights[-1]) as outlet:
        (before,) = await outlet.answers(outlet.place())
        rights.append(False)
        answers = await outlet.answers(*outlet.changes())

    assert isinstance(before, PlaceAnswered)
    assert before.answer is Answer.YES
    assert {fact.answer for fact in answers} == {Answer.NOT_SENT}  # type: ignore[union-attr]
    assert len(desk.orders()) == 1


async def test_a_lock_that_a_cleaner_removed_keeps_no_exit_from_leaving(desk: Desk) -> None:
    """The end of a login session empties the runtime folder under a guard that goes on."""
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        (lock,) = desk.folder.rglob("*.lock")
        shutil.rmtree(lock.parent)
        await guard.manager.close_position("MES")
        await until(lambda: guard.position() == 0, guard.position)
        with pytest.raises(AlreadyRunningError):
            async with desk.guard():
                pass

        def passes() -> bool:
            assessment = guard.manager.validate_order(guard.request())
            return assessment is not None and not assessment.denials

        await until(passes, "entries pass")
        # Another one was faster: from then on it is the one that sends, and this one says so.
        lock.unlink()
        with lock.open("w", encoding="ascii") as other:
            assert try_lock(other.fileno())
            refused = await guard.send(guard.request())
            assert refused.state is OrderState.NOT_SUBMITTED
            assert "another process took it" in guard.manager.components["right to send"]


async def test_a_closed_gate_still_reads(desk: Desk) -> None:
    async with an_outlet(desk, dry_run=True) as outlet:
        look_up = LookUpOrder(
            client_order_id="a", custom_tag="bs-a", account_id=desk.account, since_utc_us=0
        )
        audit = AuditAccount(reason="a test", account_id=desk.account, since_utc_us=0)
        looked_up, audited = await outlet.answers(look_up, audit)

    assert isinstance(looked_up, OrderLookedUp)
    assert looked_up.complete
    assert isinstance(audited, AccountAudited)
    assert audited.positions == ()


async def test_every_change_comes_back_with_the_venue_s_answer(desk: Desk) -> None:
    async with an_outlet(desk) as outlet:
        (placed,) = await outlet.answers(outlet.place())
        assert isinstance(placed, PlaceAnswered)
        number = placed.broker_order_id
        assert number is not None
        modified, cancelled, again = await outlet.answers(
            ModifyOrder(account_id=desk.account, broker_order_id=number, quantity=1),
            CancelOrder(account_id=desk.account, broker_order_id=number, reason="a test"),
            CancelOrder(account_id=desk.account, broker_order_id=number, reason="a test"),
        )

    assert isinstance(modified, ModifyAnswered)
    assert isinstance(cancelled, CancelAnswered)
    assert isinstance(again, CancelAnswered)
    assert [modified.answer, cancelled.answer] == [Answer.YES, Answer.YES]
    assert again.answer is not Answer.YES
    assert [(row["id"], row["size"], row["status"]) for row in desk.orders()] == [
        (number, 1, "CANCELLED")
    ]


async def test_a_lost_answer_is_unknown_and_nothing_is_sent_again(desk: Desk) -> None:
    async with an_outlet(desk) as outlet:
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        (placed,) = await outlet.answers(outlet.place())

    assert isinstance(placed, PlaceAnswered)
    assert placed.answer is Answer.UNKNOWN
    assert len(desk.orders()) == 1


async def test_an_alert_needs_neither_gate_nor_gateway(desk: Desk) -> None:
    async with an_outlet(desk, dry_run=True, holds=lambda: False) as outlet:
        alert = RaiseAlert(severity=Severity.WARNING, code="A_TEST", message="hear me")
        outlet.dispatcher.dispatch(alert)

        assert outlet.alerts == [alert]
        assert outlet.dispatcher.under_way == 0


async def test_the_end_waits_for_nothing_that_is_under_way(desk: Desk) -> None:
    async with an_outlet(desk) as outlet:
        desk.mischief("Order/place", FaultKind.DELAY_REQUEST, delay_ms=600_000)
        outlet.dispatcher.dispatch(outlet.place())
        await until(lambda: desk.strikes(FaultKind.DELAY_REQUEST) == 1, "the request is under way")
        assert outlet.dispatcher.under_way == 1
        await outlet.dispatcher.close()

        assert outlet.dispatcher.under_way == 0
        assert outlet.facts == []
        assert desk.orders() == []


# -- limits --------------------------------------------------------------------------------------


async def test_reads_and_entries_beyond_the_limit_are_answered_and_not_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core asks again by its own deadlines; an entry is proven not to have left."""
    monkeypatch.setattr(dispatch, "ORDINARY_MAX", 2)
    async with an_outlet(desk) as outlet:
        desk.mischief("Order/search", FaultKind.DELAY_RESPONSE, delay_ms=600_000, count=None)
        look_up = LookUpOrder(
            client_order_id="a", custom_tag="bs-a", account_id=desk.account, since_utc_us=0
        )
        audit = AuditAccount(reason="a test", account_id=desk.account, since_utc_us=0)
        for _ in range(2):
            outlet.dispatcher.dispatch(look_up)
        assert outlet.facts == []
        for command in (look_up, audit, outlet.place()):
            outlet.dispatcher.dispatch(command)
        looked_up, audited, placed = outlet.facts

        assert isinstance(looked_up, OrderLookedUp)
        assert (looked_up.complete, looked_up.client_order_id) == (False, "a")
        assert isinstance(audited, AccountAudited)
        assert (audited.positions, audited.live_orders) == (None, None)
        assert isinstance(placed, PlaceAnswered)
        assert placed.answer is Answer.NOT_SENT
        assert "2 requests" in placed.message
        assert outlet.dispatcher.under_way == 2
        assert desk.orders() == []


async def test_what_cuts_risk_is_sent_however_much_is_under_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "ORDINARY_MAX", 0)
    async with an_outlet(desk) as outlet:
        placed, cancelled, closed = await outlet.answers(
            outlet.place(reduces_risk=True),
            CancelOrder(account_id=desk.account, broker_order_id=1, reason="a test"),
            ClosePosition(account_id=desk.account, contract_id=outlet.contract_id, reason="a test"),
        )

        assert isinstance(placed, PlaceAnswered)
        assert placed.answer is Answer.YES
        assert isinstance(cancelled, CancelAnswered)
        assert cancelled.answer is Answer.NO
        assert isinstance(closed, PositionCloseAnswered)
        assert closed.answer is Answer.NO
        assert outlet.faults == []


async def test_the_same_cancel_is_under_way_a_few_times_at_most(desk: Desk) -> None:
    async with an_outlet(desk) as outlet:
        desk.mischief("Order/cancel", FaultKind.DELAY_RESPONSE, delay_ms=600_000, count=None)
        for number in (1, 2):
            for _ in range(SAME_CANCEL_MAX + 5):
                outlet.dispatcher.dispatch(
                    CancelOrder(account_id=desk.account, broker_order_id=number, reason="a test")
                )

        assert outlet.dispatcher.under_way == 2 * SAME_CANCEL_MAX
        assert outlet.facts == []


async def test_a_cancel_that_waits_for_calls_keeps_none_back_that_may_use_every_call(
    desk: Desk,
) -> None:
    """Repeats leave calls to reads, and wait for them; a liquidation's own cancel does not."""
    cancel = CancelOrder(account_id=desk.account, broker_order_id=1, reason="a test")
    async with an_outlet(desk) as outlet:
        desk.mischief("Order/cancel", FaultKind.DELAY_RESPONSE, delay_ms=600_000, count=None)
        for _ in range(SAME_CANCEL_MAX + 5):
            outlet.dispatcher.dispatch(replace(cancel, repeats=True))
        outlet.dispatcher.dispatch(replace(cancel, reduces_risk=True))

        assert outlet.dispatcher.under_way == SAME_CANCEL_MAX + 1


async def test_changes_beyond_the_limit_leave_their_orders_as_they_are(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MODIFIES_MAX", 1)
    async with an_outlet(desk) as outlet:
        desk.mischief("Order/modify", FaultKind.DELAY_RESPONSE, delay_ms=600_000, count=None)
        for number in (1, 2):
            outlet.dispatcher.dispatch(
                ModifyOrder(account_id=desk.account, broker_order_id=number, quantity=1)
            )
        (modified,) = outlet.facts

        assert isinstance(modified, ModifyAnswered)
        assert (modified.broker_order_id, modified.answer) == (2, Answer.NOT_SENT)


async def test_that_requests_are_kept_back_is_told_once_and_when_it_is_over(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "ORDINARY_MAX", 4)
    async with an_outlet(desk) as outlet:
        look_up = LookUpOrder(
            client_order_id="a", custom_tag="bs-a", account_id=desk.account, since_utc_us=0
        )
        for _ in range(7):
            outlet.dispatcher.dispatch(look_up)
        assert ["LookUpOrder" in fault for fault in outlet.faults] == [True]
        await until(lambda: outlet.dispatcher.under_way == 0, "every look-up came back")

        assert outlet.faults[1:] == [""]
        assert [fact.complete for fact in outlet.facts] == [False] * 3 + [True] * 4  # type: ignore[union-attr]
        assert (await outlet.answers(look_up))[0].complete  # type: ignore[union-attr]
