"""Section I: orders that no hand means, and orders that are each all right and together are not."""

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.acceptance.scenarios.stage import later, net, protected, room, working
from tests.app.desk import Desk, Guard, JumpingClock, until

from backstop.core.step import DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.errors import SetupFaults
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


def codes(decision: object) -> list[DenialCode]:
    return [denial.code for denial in getattr(decision, "denials", ())]


# -- I1 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I1")
async def test_a_notional_in_the_quantity_field_meets_a_cap_that_no_setting_lifts(
    desk: Desk,
) -> None:
    async with desk.guard(MAX_ORDER_QUANTITY=100_000) as guard:
        decision = await guard.manager.submit_order(guard.request(Side.BUY, 58_000_000))

    assert codes(decision)[:2] == [DenialCode.SIZE_TOO_LARGE, DenialCode.NOTIONAL_TOO_LARGE]
    assert decision.denials[0].max_quantity == 100_000
    assert desk.orders() == []
    with pytest.raises(SetupFaults, match="58000000 is outside what is allowed"):
        desk.settings(MAX_ORDER_QUANTITY=58_000_000)


# -- I3 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I3")
async def test_the_eleventh_entry_of_a_second_waits_and_an_exit_does_not(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        later(guard, clock, 2)
        entries = [guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-300 - n) for n in range(11)]
        out = guard.request(Side.SELL, 2, protected=False)

        *decided, closed = await asyncio.gather(
            *(guard.manager.submit_order(request) for request in (*entries, out))
        )

        refused = [it for it in decided if it.kind is DecisionKind.REFUSED]
        assert len(decided) - len(refused) == 10
        assert [codes(it) for it in refused] == [[DenialCode.RATE_TOO_HIGH]]
        assert (refused[0].denials[0].value, refused[0].denials[0].limit) == ("11", "10")
        assert closed.kind is DecisionKind.ACCEPTED
        await until(lambda: net(desk) == 0, lambda: desk.truth()["positions"])


# -- I8 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I8")
async def test_the_mini_where_the_micro_was_meant_is_not_on_the_list(desk: Desk) -> None:
    async with desk.guard("MNQ", BACKSTOP_INSTRUMENTS="MES,MNQ") as guard:
        meant = guard.request(Side.BUY, 10, symbol="MNQ")
        typed = OrderRequest(
            client_order_id="ten-times",
            symbol="NQ",
            side=Side.BUY,
            quantity=10,
            type=OrderType.MARKET,
            stop_loss_price=meant.stop_loss_price,
        )

        decision = await guard.manager.submit_order(typed)

    assert codes(decision)[0] is DenialCode.INSTRUMENT_NOT_ALLOWED
    assert (decision.denials[0].value, decision.denials[0].limit) == ("NQ", "MES,MNQ")
    assert desk.orders() == []


# -- I9 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I9")
async def test_a_buy_that_would_meet_our_own_resting_sell_is_not_sent(desk: Desk) -> None:
    async with desk.guard() as guard:
        resting = await guard.send(guard.request(Side.SELL, 1, OrderType.LIMIT, ticks=-40))
        crossing = guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=60)

        decision = await guard.manager.submit_order(crossing)

        assert codes(decision) == [DenialCode.SELF_TRADE]
        assert resting.client_order_id in decision.denials[0].message
        assert [it["id"] for it in desk.orders()] == [resting.broker_order_id]
        await guard.manager.cancel_order(resting.client_order_id, reason="in the way")
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        after = await guard.manager.submit_order(crossing)
        assert after.kind is DecisionKind.ACCEPTED


# -- I11 -----------------------------------------------------------------------------------------


def half_and_more(guard: Guard, most: int, *, ticks: int) -> OrderRequest:
    """Return a resting buy of more than half of what the account may still hold."""
    return guard.request(Side.BUY, most // 2 + 1, OrderType.LIMIT, ticks=ticks)


@pytest.mark.scenario("I11")
async def test_of_two_strategies_that_only_fit_alone_exactly_one_passes(desk: Desk) -> None:
    async with desk.guard(ES_NQ_MAX_COMBINED_EXPOSURE=Decimal(10_000)) as guard:
        most = room(guard)
        wishes = [
            replace(half_and_more(guard, most, ticks=-300 - n), strategy_id=f"strategy-{n}")
            for n in range(2)
        ]
        what_if = [guard.manager.validate_order(wish) for wish in wishes]
        assert all(it is not None and not it.denials for it in what_if), "each is all right alone"

        decided = await asyncio.gather(*(guard.manager.submit_order(wish) for wish in wishes))

        (passed,) = [it for it in decided if it.kind is DecisionKind.ACCEPTED]
        (refused,) = [it for it in decided if it.kind is DecisionKind.REFUSED]
        assert codes(refused) == [DenialCode.ES_NQ_COMBINED_EXPOSURE]
        assert refused.denials[0].max_quantity == most - (most // 2 + 1)
        assert len(working(desk)) == 1
        assert passed.order is not None
        await guard.manager.cancel_order(passed.order.client_order_id, reason="room for another")
        await guard.reaches(passed.order.client_order_id, OrderState.CANCELLED)
        # One that the venue refuses has taken no room either.
        desk.mischief("Order/place", FaultKind.ERROR_CODE, code=2, message="not today")
        denied = half_and_more(guard, most, ticks=-310)
        await guard.manager.submit_order(denied)
        await guard.reaches(denied.client_order_id, OrderState.REJECTED)
        again = await guard.manager.submit_order(half_and_more(guard, most, ticks=-311))
        assert again.kind is DecisionKind.ACCEPTED
        assert len(working(desk)) == 1
