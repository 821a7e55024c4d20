"""The calls that are kept for what cuts risk, and the entries that are refused for their sake."""

import pytest
from tests.core.builders import MES, NQ, Guard, a_quote, a_request
from tests.core.liquidation_world import Fate, World

from backstop.core.call_budget import RESERVE_MAX, RESERVE_WHILE_LIQUIDATING, call_reserve
from backstop.core.closed_market import TRIES
from backstop.core.liquidation import LiquidationState
from backstop.core.policy import SECOND_NS
from backstop.core.pre_trade import judge
from backstop.core.step import Decision
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, CloseRefusal, OrderRequested
from backstop.domain.order import OrderType, Side


def wish(guard: Guard, spare_calls: int | None, **members: object) -> Decision:
    event = OrderRequested(
        utc_us=guard.utc_us,
        request=a_request(**members),
        reference=a_quote(),
        spare_calls=spare_calls,
    )
    decision = guard.feed(event).decision
    assert decision is not None
    return decision


def test_twenty_calls_are_kept_for_an_account_without_anything() -> None:
    assert call_reserve(Guard().start().book) == 20


def test_each_position_keeps_three_more_and_each_order_that_can_fill_one() -> None:
    guard = Guard().start()
    guard.trade(quantity=2)
    guard.trade(trade_id=8, contract_id=NQ, side=Side.SELL)
    assert call_reserve(guard.book) == 26
    guard.submit(type=OrderType.LIMIT, limit_price=a_quote().bid)
    guard.row(broker_order_id=300)
    guard.row(broker_order_id=301)
    guard.row(broker_order_id=301, status=BrokerStatus.CANCELLED)

    assert call_reserve(guard.book) == 28
    guard.position_row(0, contract_id=NQ)
    assert call_reserve(guard.book) == 28, "its trades still say otherwise"
    guard.trade(trade_id=9, contract_id=NQ)
    assert call_reserve(guard.book) == 25


def test_the_reserve_leaves_calls_to_read_the_account_with() -> None:
    guard = Guard().start()
    for number in range(RESERVE_MAX):
        guard.row(broker_order_id=300 + number)

    assert call_reserve(guard.book) == RESERVE_MAX


# -- while something is being liquidated -----------------------------------------------------------


def kept_for(world: World, seconds: int) -> set[int]:
    """Return every reserve that there is during the next ``seconds``."""
    end_ns = world.guard.now_ns + seconds * SECOND_NS
    kept = set()
    while world.guard.now_ns < end_ns:
        world.turn(end_ns)
        kept.add(call_reserve(world.guard.book))
    return kept


def test_while_a_liquidation_can_get_on_nearly_all_calls_are_kept_for_it() -> None:
    world = World(fates=[Fate(answer=Answer.UNKNOWN, arrives=False)] * 30).hold(2).start()
    world.liquidate()

    assert kept_for(world, 60) == {RESERVE_WHILE_LIQUIDATING}


def test_a_liquidation_that_waits_for_its_market_leaves_calls_to_read_the_account_with() -> None:
    world = World(market_open=False).hold(2).start()
    before = call_reserve(world.guard.book)
    name = world.liquidate()
    assert call_reserve(world.guard.book) == RESERVE_WHILE_LIQUIDATING
    world.run(lambda: world.liquidation(name).told_closed)

    waiting = kept_for(world, 60)
    assert before <= min(waiting)
    assert max(waiting) <= RESERVE_MAX
    world.market_open = True
    assert RESERVE_WHILE_LIQUIDATING in kept_for(world, 10)
    assert world.flat(name)


def test_a_close_that_is_refused_again_and_again_keeps_no_calls_from_the_account() -> None:
    rejected = Fate(answer=Answer.NO, refusal=CloseRefusal.REJECTED)
    world = World(fates=[rejected] * 100).hold(2).start()
    world.liquidate()
    world.run(lambda: world.guard.book.closes[MES].refusals >= TRIES, limit_s=120)

    assert max(kept_for(world, 60)) <= RESERVE_MAX


@pytest.mark.parametrize("held", [0, 2])
def test_orders_that_the_venue_does_not_end_keep_no_calls_from_the_account_for_ever(
    held: int,
) -> None:
    """A market order that is pending in a closed market: it is waited for, closed or not."""
    kept_alive = Fate(answer=Answer.UNKNOWN, arrives=False)
    world = World(cancel_fates=[kept_alive] * 200)
    if held:
        world.hold(held)
    world.start()
    world.order(Side.SELL, 2, OrderType.MARKET, status=BrokerStatus.PENDING)
    world.run(lambda: bool(world.guard.book.live_venue), limit_s=20)
    name = world.liquidate()
    assert call_reserve(world.guard.book) == RESERVE_WHILE_LIQUIDATING
    world.run(lambda: world.liquidation(name).state is LiquidationState.ESCALATED, limit_s=120)

    assert max(kept_for(world, 60)) <= RESERVE_MAX
    assert world.sent_of(CancelOrder), "it is tried all the time"


def test_what_else_can_be_closed_meanwhile_has_all_calls() -> None:
    world = World(market_open=False).hold(2).start()
    name = world.liquidate()
    world.run(lambda: world.liquidation(name).told_closed)
    world.guard.position_row(1, contract_id=NQ)

    assert call_reserve(world.guard.book) == RESERVE_WHILE_LIQUIDATING


def test_a_month_that_takes_no_orders_keeps_no_calls_from_the_account() -> None:
    ended = Fate(answer=Answer.NO, refusal=CloseRefusal.ENDED)
    world = World(fates=[ended] * 5).hold(2).start()
    world.liquidate()
    world.run(lambda: world.guard.book.closes[MES].told_ended, limit_s=60)

    assert max(kept_for(world, 60)) <= RESERVE_MAX


# -- entries that are refused for their sake -------------------------------------------------------


@pytest.mark.parametrize(
    ("spare_calls", "refused"), [(200, False), (21, False), (20, True), (0, True)]
)
def test_an_entry_is_refused_that_would_use_a_call_of_the_reserve(
    spare_calls: int, *, refused: bool
) -> None:
    guard = Guard().start()
    decision = wish(guard, spare_calls)

    codes = [denial.code for denial in decision.denials]
    assert codes == ([DenialCode.RATE_BUDGET_LOW] if refused else [])
    if refused:
        assert (decision.denials[0].value, decision.denials[0].limit) == (str(spare_calls), "20")


def test_an_exit_may_use_the_last_call() -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.trade(quantity=2, broker_order_id=77)

    assert wish(guard, 0, side=Side.SELL).denials == ()


def test_what_is_not_known_about_the_calls_refuses_nothing() -> None:
    """Records from before the calls were counted are judged as they were."""
    assert wish(Guard().start(), None).denials == ()


def test_a_what_if_counts_the_calls_too() -> None:
    guard = Guard().start()

    asked = OrderRequested(
        utc_us=guard.utc_us, request=a_request(), reference=a_quote(), spare_calls=1
    )
    found = judge(guard.book, asked, now_ns=guard.now_ns)

    assert found is not None
    assert [denial.code for denial in found.denials] == [DenialCode.RATE_BUDGET_LOW]
    assert guard.book.position(MES).quantity == 0
