"""The calls that are kept for what cuts risk, and the entries that are refused for their sake."""

import pytest
from tests.core.builders import MES, NQ, Guard, a_quote, a_request
from tests.core.liquidation_world import Fate, World

from backstop.adapters.projectx.gateway import AUDIT_CALLS
from backstop.core.call_budget import (
    ACTS_PER_POSITION,
    READS_OF_CLOSE,
    RESERVE_MAX,
    RESERVE_WHILE_LIQUIDATING,
    call_reserve,
    calls_kept,
)
from backstop.core.closed_market import TRIES
from backstop.core.liquidation import CloseAttempt, LiquidationState
from backstop.core.policy import SECOND_NS
from backstop.core.positions import SNAPSHOT_LAG_NS
from backstop.core.pre_trade import judge
from backstop.core.step import Decision
from backstop.domain.broker import BrokerStatus
from backstop.domain.call_purpose import CallPurpose
from backstop.domain.commands import AuditAccount, CancelOrder, ClosePosition, Command
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, CloseRefusal, CloseRequested, OrderRequested
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


def kept_from_reads(world: World) -> int:
    return calls_kept(world.guard.book, CallPurpose.PROVE, now_ns=world.guard.now_ns)


class ShortOfCalls(World):
    """A venue that takes only ``left`` calls more, as the guard counts them."""

    left = 10**6

    def receive(self, command: Command) -> None:
        match command:
            case AuditAccount() if self.left - AUDIT_CALLS < kept_from_reads(self):
                self.failed_reads = [True]
            case AuditAccount():
                self.left -= AUDIT_CALLS
            case ClosePosition():
                assert self.left, "no call is left to close with"
                self.left -= 1
            case _:
                pass
        super().receive(command)


@pytest.mark.parametrize("others", [0, 5, 20])
def test_a_close_of_unknown_fate_is_made_again_with_the_calls_that_were_kept_for_it(
    others: int,
) -> None:
    """Reads tell whether it may be; to keep calls for it from them would be to keep them idle."""
    world = ShortOfCalls(fates=[Fate(answer=Answer.UNKNOWN, arrives=False)])
    world.hold(2, stop=False)
    for number in range(others):
        world.hold(1, f"CON.F.US.X{number}.Z26")
    world.start()
    world.left = kept_from_reads(world) + 1  # a call for the first close
    world.liquidate(MES)

    world.run(lambda: not world.positions[MES], limit_s=10)

    assert not world.positions[MES]
    assert not world.doubled
    assert world.left > others, "to protect or close what is held beside it"


def wait_for_an_unknown_close(world: World) -> CloseAttempt:
    closes = world.guard.book.closes
    world.run(lambda: MES in closes and closes[MES].answer is Answer.UNKNOWN, limit_s=20)
    return closes[MES]


def test_only_a_read_that_can_tell_takes_of_what_is_kept_for_the_close() -> None:
    """One that is sent right after the close may show the account as it was before."""
    world = World(fates=[Fate(answer=Answer.UNKNOWN, arrives=False)]).hold(2).start()
    before = kept_from_reads(world)
    world.liquidate()
    close = wait_for_an_unknown_close(world)
    assert kept_from_reads(world) == before

    world.guard.now_ns = close.answered_ns + SNAPSHOT_LAG_NS
    assert kept_from_reads(world) == before - READS_OF_CLOSE
    world.run(lambda: world.guard.book.closes[MES].times > 1)
    assert kept_from_reads(world) == before


def test_the_close_of_a_part_is_not_made_again_and_takes_nothing_of_what_is_kept() -> None:
    world = World(fates=[Fate(answer=Answer.UNKNOWN, arrives=False)]).hold(2).start()
    before = kept_from_reads(world)
    world.feed(
        CloseRequested(
            utc_us=world.guard.utc_us, contract_id=MES, reason="out", operator="bot", quantity=1
        )
    )
    close = wait_for_an_unknown_close(world)

    world.guard.now_ns = close.answered_ns + SNAPSHOT_LAG_NS
    assert close.needs_look
    assert kept_from_reads(world) == before


def test_at_a_start_nearly_every_call_is_there_to_log_in_and_to_read_the_account_with() -> None:
    """The process before may have left few, and nobody knows what to do with what was kept."""
    world = World().hold(2).start()
    name = world.liquidate()
    world.restart()
    book, now_ns = world.guard.book, world.guard.now_ns

    assert not world.liquidation(name).is_finished
    for purpose in (CallPurpose.ORDINARY, CallPurpose.PROVE):
        assert calls_kept(book, purpose, now_ns=now_ns) == ACTS_PER_POSITION
    assert calls_kept(book, CallPurpose.REPEAT, now_ns=now_ns) > ACTS_PER_POSITION


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
