"""A position in a month of a root that the gateway does not list: after a roll, or from elsewhere.

Everything goes by the contract's id: its stop, its limits, its close. The venue of these tests
takes orders for the month before the listed one, as a venue does for some days after a roll.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from tests.acceptance.scenarios.stage import levels
from tests.app.desk import Desk, Guard, until
from tests.app.market import trade_at

from backstop.core.step import DecisionKind
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUY, SELL, MARKET = 0, 1, 2
PRICE = Decimal(6000)


@pytest.fixture
def before(desk: Desk) -> Iterator[str]:
    """Return the id of the month before the listed one; the venue takes no order for it yet."""
    (contract_id,) = (it.previous.id for it in desk.venue.listings if it.product.code == "MES")
    yield contract_id
    market = desk.venue.exchange._state.markets[contract_id]
    market.is_active = market.is_open = False


@asynccontextmanager
async def a_guard(desk: Desk, before: str) -> AsyncIterator[Guard]:
    """Run a guard that has read the list, and then have the venue trade the month before."""
    async with desk.guard(DEFAULT_STOP_TICKS=100) as guard:
        market = desk.venue.exchange._state.markets[before]
        market.is_active = market.is_open = True
        trade_at(desk.venue, before, PRICE)
        yield guard


async def by_hand(desk: Desk, guard: Guard, contract_id: str, side: int, size: int) -> None:
    """Trade on the firm's web page, and wait until the guard knows."""
    held = guard.book.position(contract_id).quantity
    desk.venue.exchange.place_manual(desk.account, contract_id, type=MARKET, side=side, size=size)
    signed = size if side == BUY else -size
    await until(
        lambda: guard.book.position(contract_id).quantity == held + signed,
        lambda: guard.book.position(contract_id),
    )


def stops(desk: Desk, contract_id: str) -> int:
    return sum(
        row["size"] - row["fillVolume"]
        for row in desk.truth()["orders"]
        if (row["accountId"], row["contractId"]) == (desk.account, contract_id)
        and row["type"] == "STOP"
        and row["status"] == "OPEN"
    )


def held(desk: Desk) -> dict[str, int]:
    return {
        row["contractId"]: row["quantity"]
        for row in desk.truth()["positions"]
        if row["accountId"] == desk.account and row["quantity"]
    }


async def test_it_is_asked_for_by_its_id_and_gets_its_stop_and_its_price(
    desk: Desk, before: str
) -> None:
    async with a_guard(desk, before) as guard:
        assert before not in guard.book.instruments
        await by_hand(desk, guard, before, BUY, 2)
        await until(lambda: stops(desk, before) == 2, "its stop")
        await until(lambda: _is_heard(desk, guard, before), "its market")

        assert guard.book.contract_of["MES"] != before
        assert guard.book.symbol_of(before) == "MES"


def _is_heard(desk: Desk, guard: Guard, contract_id: str) -> bool:
    trade_at(desk.venue, contract_id, PRICE + 1)
    return guard.manager.quotes.reference(contract_id) is not None


async def test_both_months_of_a_root_are_protected_limited_and_closed_each_by_its_id(
    desk: Desk, before: str
) -> None:
    async with a_guard(desk, before) as guard:
        await guard.enter(quantity=1)
        listed = guard.instrument("MES").contract_id
        await by_hand(desk, guard, before, BUY, 2)
        await until(lambda: stops(desk, before) == 2, "the stop of the month before")
        await until(lambda: stops(desk, listed) == 1, "the stop of the listed month")
        exposure = guard.manager.exposure()
        counted = {it.contract_id: it.quantity for it in exposure.roots}
        moved = await guard.manager.protect_position(
            before, stop_price=PRICE - 20, take_profit_price=None
        )
        await until(lambda: PRICE - 20 in levels(desk), lambda: (moved, levels(desk)))
        closed = await guard.manager.close_position(before, reason="rolled", operator="eve")
        await until(lambda: held(desk) == {listed: 1}, lambda: held(desk))

        assert counted == {listed: 1, before: 2}
        assert moved.kind is DecisionKind.ACCEPTED
        assert closed.kind is DecisionKind.ACCEPTED
        assert stops(desk, listed) == 1
        await until(lambda: stops(desk, before) == 0, "no stop outlives its position")


async def test_a_liquidation_of_one_month_leaves_the_other_and_one_of_the_account_neither(
    desk: Desk, before: str
) -> None:
    async with a_guard(desk, before) as guard:
        await guard.enter(quantity=1)
        listed = guard.instrument("MES").contract_id
        await by_hand(desk, guard, before, BUY, 2)
        await until(lambda: stops(desk, before) == 2, "its stop")
        await guard.manager.liquidate(reason="the old month", operator="eve", symbol=before)
        await until(lambda: held(desk) == {listed: 1}, lambda: held(desk))
        assert stops(desk, listed) == 1

        await guard.manager.liquidate(reason="all", operator="eve")
        await until(lambda: held(desk) == {}, lambda: held(desk))
        await until(lambda: not guard.book.liquidating, "the end")


async def test_a_root_means_the_month_that_is_held_when_the_order_closes_it(
    desk: Desk, before: str
) -> None:
    """Else an exit that names the root would open a position in the month that is listed."""
    async with a_guard(desk, before) as guard:
        await by_hand(desk, guard, before, BUY, 2)
        await until(lambda: stops(desk, before) == 2, "its stop")
        await guard.manager.submit_order(
            OrderRequest(
                client_order_id="exit",
                symbol="MES",
                side=Side.SELL,
                quantity=2,
                type=OrderType.MARKET,
            )
        )
        await until(lambda: held(desk) == {}, lambda: held(desk))


async def test_a_contract_that_the_gateway_does_not_tell_of_is_named_and_asked_for_again(
    desk: Desk, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstop.app.contract_watch.ASK_AGAIN_S", 0.2)
    desk.mischief("Contract/searchById", FaultKind.ERROR_CODE, code=1, message="no such", count=2)
    async with a_guard(desk, before) as guard:
        await by_hand(desk, guard, before, BUY, 1)
        await until(lambda: "contracts" in guard.manager.components, "the fault")
        assert before in guard.manager.components["contracts"]
        await until(lambda: stops(desk, before) == 1 or not held(desk), "its stop, or flat")
        await until(lambda: "contracts" not in guard.manager.components, "no fault")
