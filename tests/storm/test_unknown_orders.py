"""Orders of unknown fate at a whole guard: what it costs to find out about several at once."""

import asyncio
from collections import Counter

from tests.storm.test_processes import play

from backstop.adapters.projectx_server.interference import Call
from backstop.core.book import AUDIT_INTERVAL_NS
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.simulator.fault_rules import FaultKind, FaultRule
from backstop.storm.world import World

APART_S = 0.7
"""Between two orders: no look at one falls by itself together with a look at another."""

MINUTE_S = 60.0

SEARCH = "Trade/search"
"""A call of every search for an order, and of every read of the account."""

READ_ALONE = "Position/searchOpen"
"""A call of a read of the account alone."""

AUDIT_INTERVAL_S = AUDIT_INTERVAL_NS // 1_000_000_000


async def lost_orders(world: World, count: int) -> list[str]:
    """Have a bot send entries that never arrive, one after another; return their names."""
    guard = world.host.guard
    assert guard is not None
    world.venue.faults.add([FaultRule(on="Order/place", act=FaultKind.RESET_BEFORE, count=None)])
    names = []
    for number in range(count):
        quote = guard.quotes.reference(world.venue.contract_ids["MES"])
        assert quote is not None
        assert quote.bid is not None
        request = OrderRequest(
            client_order_id=f"lost-{number}",
            symbol="MES",
            side=Side.BUY,
            quantity=1,
            type=OrderType.LIMIT,
            limit_price=quote.bid - 20 - number,
            stop_loss_price=quote.bid - 40 - number,
        )
        decision = await guard.submit_order(request)
        assert decision.order is not None, decision
        names.append(decision.order.client_order_id)
        await asyncio.sleep(APART_S)
    return names


def a_minute_of(count: int) -> Counter[str]:
    """Return the calls of a minute in which so many orders are of unknown fate."""
    calls: Counter[str] = Counter()

    async def story(world: World) -> None:
        faults, before = world.venue.faults, world.venue.faults.on_call

        def counted(call: Call) -> None:
            calls[call.endpoint] += 1
            before(call)

        faults.on_call = counted
        names = await lost_orders(world, count)
        await asyncio.sleep(MINUTE_S - count * APART_S)
        faults.on_call = before
        guard = world.host.guard
        assert guard is not None
        await asyncio.sleep(30)
        assert {guard.book.orders[it].state for it in names} <= {OrderState.NOT_SUBMITTED}

    play(story)
    return calls


def test_several_orders_of_unknown_fate_are_searched_together() -> None:
    """Each by itself, they took 140 calls of the minute, and of 12 reads of the account 7 came."""
    one, five = a_minute_of(1), a_minute_of(5)

    assert five[READ_ALONE] >= one[READ_ALONE] >= MINUTE_S // AUDIT_INTERVAL_S
    searches = {count: calls[SEARCH] - calls[READ_ALONE] for count, calls in ((1, one), (5, five))}
    assert searches[5] <= 2 * searches[1]
