"""The rules of an account: the day's loss, the floor, how much may be held, and pauses."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.account_world import (
    DAY,
    DOLLAR,
    FIFTY,
    NEXT_DAY,
    a_guard,
    buy,
    change,
    codes,
    day,
    denial,
    history,
    limits,
    now,
    price,
    quiet,
    result,
    resume,
    tell_balance,
    trade,
    wish,
)
from tests.core.builders import MES, Guard, a_guard_start, a_position

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.account_rules.standing import FloorOrigin, tenths_of
from backstop.core.engine import new_book, step
from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.core.step import DecisionKind
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ClosePosition
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer
from backstop.domain.order import OrderType, Side
from backstop.errors import DomainError

DAILY = limits(daily_loss_micros=1_000 * DOLLAR)
TRAILING = limits(trailing_loss_micros=2_000 * DOLLAR)


def conditions(guard: Guard) -> tuple[Condition, ...]:
    return guard.book.readiness(guard.now_ns).conditions


def closed(guard: Guard) -> list[str]:
    return [command.contract_id for command in guard.commands_of(ClosePosition)]


# -- what is counted -------------------------------------------------------------------------------


def test_the_day_is_what_was_realised_what_is_open_and_the_costs() -> None:
    guard = a_guard(limits(daily_loss_micros=2_000 * DOLLAR))
    result(guard, 1, -700, fees=12)
    buy(guard, 10, 2, 5000)
    price(guard, 4969)

    standing = now(guard)
    assert (standing.realised_micros, standing.open_micros) == (-712 * DOLLAR, -310 * DOLLAR)
    assert standing.day_micros == -1_022 * DOLLAR
    assert standing.day_left_micros == 978 * DOLLAR


def test_a_short_loses_as_the_market_rises() -> None:
    guard = a_guard(DAILY)
    buy(guard, 1, 2, 5000, side=Side.SELL)
    price(guard, 5010)

    assert now(guard).open_micros == -100 * DOLLAR


def test_a_fill_is_valued_before_the_venue_has_told_the_average() -> None:
    guard = a_guard(DAILY)
    trade(guard, 1, quantity=2, price=Decimal(5000))
    price(guard, 4990)
    assert now(guard).open_micros == -100 * DOLLAR

    trade(guard, 2, quantity=2, price=Decimal(5010))
    assert now(guard).open_micros == -300 * DOLLAR
    guard.position_row(4, average_price=Decimal(5005))
    assert now(guard).open_micros == -300 * DOLLAR
    trade(
        guard,
        3,
        quantity=1,
        side=Side.SELL,
        price=Decimal(4990),
        profit_and_loss_micros=-75 * DOLLAR,
    )
    assert now(guard).day_micros == -300 * DOLLAR
    guard.position_row(3, average_price=Decimal(5005))
    assert now(guard).day_micros == -300 * DOLLAR


def test_a_position_that_turns_costs_what_it_turned_at() -> None:
    guard = a_guard(DAILY)
    buy(guard, 1, 2, 5000)
    trade(
        guard,
        2,
        quantity=3,
        side=Side.SELL,
        price=Decimal(5010),
        profit_and_loss_micros=100 * DOLLAR,
    )
    price(guard, 5000)

    assert guard.position() == -1
    assert now(guard).open_micros == 50 * DOLLAR


def test_the_average_of_a_position_that_is_gone_says_nothing_of_the_next() -> None:
    guard = a_guard(DAILY)
    buy(guard, 1, 2, 5000)
    trade(guard, 2, quantity=2, side=Side.SELL, price=Decimal(5000), profit_and_loss_micros=0)
    trade(guard, 3, quantity=1, price=Decimal(4900))
    price(guard, 4900)

    assert now(guard).open_micros == 0


def test_a_voided_trade_and_late_costs_change_the_day() -> None:
    guard = a_guard(DAILY)
    result(guard, 1, -300)
    trade(guard, 2, side=Side.SELL, voided=True)
    assert now(guard).realised_micros == 0
    result(guard, 5, -100)
    trade(guard, 6, side=Side.SELL, profit_and_loss_micros=-100 * DOLLAR, commissions_micros=DOLLAR)
    assert now(guard).realised_micros == -101 * DOLLAR


def test_yesterdays_trades_are_not_of_this_day() -> None:
    guard = a_guard(DAILY)
    result(guard, 1, -300)
    day(guard, NEXT_DAY)
    assert now(guard).realised_micros == 0
    trade(
        guard, 9, profit_and_loss_micros=-50 * DOLLAR, created_utc_us=guard.utc_us - 3_600_000_000
    )
    assert now(guard).realised_micros == 0
    result(guard, 11, -20)
    assert now(guard).realised_micros == -20 * DOLLAR


def test_trades_that_leave_the_book_stay_in_the_day() -> None:
    guard = a_guard(limits(daily_loss_micros=100_000 * DOLLAR))
    for number in range(100):
        order = 9000 + 2 * number
        guard.row(
            broker_order_id=order,
            status=BrokerStatus.FILLED,
            side=Side.BUY,
            quantity=1,
            filled_quantity=1,
            created_utc_us=guard.utc_us,
            updated_utc_us=guard.utc_us,
        )
        trade(guard, 2 * number + 1, broker_order_id=order, profit_and_loss_micros=-DOLLAR)
        guard.audit(after_ms=200_000)

    assert len(guard.book.trades) < 100
    assert now(guard).realised_micros == -100 * DOLLAR


# -- the day's loss --------------------------------------------------------------------------------


def a_losing_day() -> Guard:
    guard = a_guard(DAILY)
    result(guard, 1, -700, fees=12)
    buy(guard, 10, 2, 5000)
    return guard


def test_the_limit_of_the_day_locks_closes_and_cancels() -> None:
    guard = a_guard(DAILY)
    resting = {"type": OrderType.LIMIT, "limit_price": Decimal(4900)}
    wish(guard, client_order_id="e", quantity=1, stop_loss_price=Decimal(4890), **resting)
    guard.dispatch("e")
    guard.answer(Answer.YES, 101, client_order_id="e")
    guard.row(broker_order_id=101, quantity=1, **resting)
    result(guard, 1, -700, fees=12)
    buy(guard, 10, 2, 5000)
    price(guard, "4971.25")
    assert conditions(guard) == ()
    price(guard, 4969)

    assert conditions(guard) == (Condition.DAILY_LOSS_LOCK,)
    assert guard.book.latches == ()
    assert closed(guard) == [MES]
    assert [it.broker_order_id for it in guard.commands_of(CancelOrder)] == [101]
    assert guard.alerts().count("DAILY_LOSS_REACHED") == 1
    assert "-1022" in guard.book.account_rules.lock_cause


def test_the_limit_is_reached_at_the_very_amount() -> None:
    guard = a_guard(DAILY)
    result(guard, 1, -999)
    assert conditions(guard) == ()
    result(guard, 3, -1)
    assert conditions(guard) == (Condition.DAILY_LOSS_LOCK,)


def test_a_locked_day_refuses_entries_and_passes_exits() -> None:
    guard = a_losing_day()
    price(guard, 4969)
    refused = wish(guard, 4969)
    assert denial(refused, DenialCode.DAILY_LOSS_LOCKED).max_quantity == 0
    assert DenialCode.STATE_REDUCING in codes(refused)

    held = a_losing_day()
    tell_balance(held, FIFTY, can_trade=False)  # nothing of ours is on its way then
    price(held, 4969)
    passed = wish(held, 4969, client_order_id="out", side=Side.SELL, quantity=2)
    assert passed.kind is DecisionKind.ACCEPTED


def test_the_lock_lifts_when_the_next_day_begins_and_not_when_the_price_comes_back() -> None:
    guard = a_losing_day()
    price(guard, 4969)
    price(guard, 5100)
    assert Condition.DAILY_LOSS_LOCK in conditions(guard)
    assert resume(guard).kind is DecisionKind.ACCEPTED
    assert Condition.DAILY_LOSS_LOCK in conditions(guard), "no person lifts it"

    guard.trade(trade_id=20, broker_order_id=900, quantity=2, side=Side.SELL)
    guard.position_row(0)
    day(guard, NEXT_DAY)
    assert conditions(guard) == ()
    assert now(guard).day_left_micros == 1_000 * DOLLAR


def test_what_fills_after_the_lock_is_closed_as_well() -> None:
    guard = a_guard(DAILY)
    result(guard, 1, -1_000)
    assert closed(guard) == []
    buy(guard, 10, 1, 5000)

    assert closed(guard) == [MES]


def test_the_lock_survives_a_restart_and_a_checkpoint() -> None:
    guard = a_losing_day()
    price(guard, 4969)
    book = restored(decoded(encoded(captured(guard.book))))
    assert book.account_rules == guard.book.account_rules
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    day(guard, DAY)

    assert Condition.DAILY_LOSS_LOCK in conditions(guard)


def test_a_replay_of_the_day_ends_in_the_same_account() -> None:
    guard = a_losing_day()
    price(guard, 4969)
    change(guard, daily_loss_micros=500 * DOLLAR)
    again = new_book(guard.policy)
    for event, at_ns, _ in guard.history:
        step(again, event, at_ns)

    assert again.account_rules == guard.book.account_rules
    assert again.latches == guard.book.latches


def test_nothing_is_closed_while_the_gate_is_shut() -> None:
    guard = a_guard(DAILY, dry_run=True)
    buy(guard, 1, 2, 5000)
    price(guard, 4800)

    assert Condition.DAILY_LOSS_LOCK in conditions(guard)
    assert closed(guard) == []


# -- the floor -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("best", "floor"), [(50_000, 48_000), (50_500, 48_500), (52_100, 50_000), (49_000, 48_000)]
)
def test_the_floor_follows_the_best_close_up_to_the_starting_balance(best: int, floor: int) -> None:
    guard = a_guard(TRAILING, balance=best * DOLLAR)
    history(guard, best * DOLLAR, ("2026-09-18", best * DOLLAR - FIFTY))

    found = now(guard).floor
    assert found is not None
    assert (found.micros, found.origin) == (floor * DOLLAR, FloorOrigin.TRADES)


def test_a_peak_within_the_day_does_not_move_the_floor_and_its_close_does() -> None:
    guard = a_guard(TRAILING)
    history(guard, FIFTY)
    result(guard, 1, 1_500)
    result(guard, 3, -1_000)
    floor = now(guard).floor
    assert floor is not None
    assert floor.micros == 48_000 * DOLLAR

    day(guard, NEXT_DAY)
    floor = now(guard).floor
    assert floor is not None
    assert floor.micros == 48_500 * DOLLAR


def test_the_account_at_its_floor_is_taken_flat_and_latched() -> None:
    guard = a_guard(replace(TRAILING, high_close_micros=52_100 * DOLLAR), balance=50_090 * DOLLAR)
    buy(guard, 1, 2, 5000)
    price(guard, "4991.25")
    assert guard.book.latches == ()
    price(guard, 4990)

    kinds = {latch.kind for latch in guard.book.latches}
    assert kinds == {LatchKind.DRAWDOWN, LatchKind.LIQUIDATION}
    assert guard.book.trading_state(guard.now_ns) is TradingState.HALTED
    assert closed(guard) == [MES]
    assert "49990" in guard.book.latches[0].cause


def test_a_drawdown_is_still_there_after_a_restart_and_after_a_resume() -> None:
    guard = a_guard(replace(TRAILING, high_close_micros=52_100 * DOLLAR), balance=49_990 * DOLLAR)
    assert LatchKind.DRAWDOWN in {it.kind for it in guard.book.latches}
    assert resume(guard).kind is DecisionKind.ACCEPTED
    assert LatchKind.DRAWDOWN in {it.kind for it in guard.book.latches}
    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert LatchKind.DRAWDOWN in {it.kind for it in guard.book.latches}


def test_a_history_with_a_hole_makes_the_strictest_floor_and_says_how_to_set_it() -> None:
    guard = a_guard(TRAILING, balance=51_000 * DOLLAR)
    history(guard, 51_000 * DOLLAR, ("2026-09-18", 400 * DOLLAR))

    floor = now(guard).floor
    assert floor is not None
    assert (floor.micros, floor.origin) == (FIFTY, FloorOrigin.ASSUMED)
    (alert,) = [
        it for it in guard.book.alerts.alerts.values() if it.code == "ACCOUNT_FLOOR_ASSUMED"
    ]
    assert "ACCOUNT_HIGH_CLOSE" in alert.message


def test_an_assumed_floor_refuses_entries_and_liquidates_nothing() -> None:
    guard = a_guard(TRAILING, balance=49_500 * DOLLAR)
    history(guard, 49_500 * DOLLAR)
    assert guard.book.latches == ()

    refused = wish(guard, stop_loss_price=Decimal(4990))
    assert "ACCOUNT_HIGH_CLOSE" in denial(refused, DenialCode.MAX_LOSS_BUFFER).message


def test_a_day_that_ended_while_nobody_looked_is_read_again() -> None:
    guard = a_guard(TRAILING)
    history(guard, FIFTY)
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    guard.connect()
    tell_balance(guard, 51_500 * DOLLAR)
    day(guard, NEXT_DAY)
    assert guard.book.account_rules.history_due
    guard.audit()

    floor = now(guard).floor
    assert floor is not None
    assert floor.micros == 49_500 * DOLLAR


# -- the balance -----------------------------------------------------------------------------------


def test_the_balance_is_carried_on_by_trades_before_the_venue_tells_it() -> None:
    guard = a_guard(TRAILING)
    result(guard, 1, -700, fees=12)

    assert now(guard).balance_micros == 49_288 * DOLLAR
    quiet(guard, 49_288 * DOLLAR)
    assert now(guard).balance_micros == 49_288 * DOLLAR


def test_a_balance_that_moves_without_a_trade_is_believed_once_all_is_quiet() -> None:
    guard = a_guard(TRAILING)
    quiet(guard)
    tell_balance(guard, 49_000 * DOLLAR)
    assert now(guard).balance_micros == FIFTY
    quiet(guard)

    assert now(guard).balance_micros == 49_000 * DOLLAR


def test_an_old_balance_does_not_take_a_trade_back() -> None:
    guard = a_guard(TRAILING)
    result(guard, 1, 300)
    quiet(guard)

    assert now(guard).balance_micros == 50_300 * DOLLAR


# -- what may still be lost ------------------------------------------------------------------------


def test_an_order_whose_loss_does_not_fit_into_what_is_left_is_refused() -> None:
    """150 left; 20 ticks of 4 MES, 2 ticks of slippage and fees, and 60 pending: 175.60."""
    rules = limits(daily_loss_micros=1_000 * DOLLAR, fees_micros=1_400_000)
    guard = a_guard(rules)
    result(guard, 1, -850)
    first = wish(
        guard, client_order_id="a", quantity=2, type=OrderType.LIMIT,
        limit_price=Decimal(4990), stop_loss_price=Decimal("4985.0"),
    )  # fmt: skip
    assert first.kind is DecisionKind.ACCEPTED, first
    pending = 2 * (20 + 2) * 1_250_000 + 2 * 1_400_000
    order = {"quantity": 4, "stop_loss_price": Decimal(4995)}
    refused = denial(wish(guard, **order), DenialCode.DAILY_LOSS_BUFFER)

    asked = 4 * (20 + 2) * 1_250_000 + 4 * 1_400_000
    assert asked == 115_600_000
    assert Decimal(str(refused.value)) * DOLLAR == asked + pending
    assert Decimal(str(refused.limit)) == 150
    assert refused.max_quantity == 3


@pytest.mark.parametrize("left", [150, 500, 29])
def test_the_largest_quantity_of_a_refusal_is_exact(left: int) -> None:
    rules = limits(daily_loss_micros=1_000 * DOLLAR, fees_micros=1_400_000)
    guard = a_guard(rules)
    result(guard, 1, left - 1_000)
    order = {"quantity": 40, "stop_loss_price": Decimal(4995)}
    most = denial(wish(guard, **order), DenialCode.DAILY_LOSS_BUFFER).max_quantity
    assert most is not None

    assert DenialCode.DAILY_LOSS_BUFFER in codes(wish(guard, **(order | {"quantity": most + 1})))
    if most:
        passed = wish(guard, **(order | {"quantity": most}))
        assert DenialCode.DAILY_LOSS_BUFFER not in codes(passed)


@pytest.mark.parametrize(("left", "passes"), [(110, False), (111, True)])
def test_an_order_that_would_lose_all_that_is_left_is_refused(left: int, passes: bool) -> None:  # noqa: FBT001 - a parameter of the test
    guard = a_guard(DAILY)
    result(guard, 1, left - 1_000)
    decided = wish(guard, quantity=4, stop_loss_price=Decimal(4995))

    assert (DenialCode.DAILY_LOSS_BUFFER not in codes(decided)) is passes


def test_what_an_open_position_may_still_lose_counts_down_to_its_stop() -> None:
    guard = a_guard(DAILY)
    buy(guard, 1, 2, 5000, broker_order_id=700)
    guard.row(
        broker_order_id=800, type=OrderType.STOP, side=Side.SELL, stop_price=Decimal(4950),
        status=BrokerStatus.OPEN, quantity=2,
    )  # fmt: skip
    order = {"quantity": 10, "stop_loss_price": Decimal(4990)}
    refused = denial(wish(guard, **order), DenialCode.DAILY_LOSS_BUFFER)

    assert Decimal(str(refused.value)) == 2 * (200 + 2) * Decimal("1.25") + 10 * 42 * Decimal(
        "1.25"
    )


def test_without_a_fresh_price_of_what_is_held_entries_wait_and_exits_pass() -> None:
    guard = a_guard(DAILY)
    buy(guard, 1, 2, 5000)
    refused = wish(guard, age_ms=60_000, stop_loss_price=Decimal(4990))
    assert denial(refused, DenialCode.STALE_VALUATION).max_quantity == 0

    out = wish(guard, age_ms=60_000, client_order_id="out", side=Side.SELL, quantity=2)
    assert out.kind is DecisionKind.ACCEPTED


def test_an_order_without_a_stop_counts_with_a_day_of_stress() -> None:
    guard = a_guard(DAILY)
    refused = denial(wish(guard, quantity=1), DenialCode.DAILY_LOSS_BUFFER)

    assert Decimal(str(refused.value)) == Decimal(5000) * 5 * Decimal("0.055")


def test_an_order_that_could_lose_nothing_is_refused_when_nothing_is_left() -> None:
    """No slippage, no fees, and a stop on the wrong side: a quotient by zero is no answer."""
    guard = a_guard(DAILY, max_slippage_ticks=Decimal(0))
    result(guard, 1, -1_000)
    decided = wish(guard, quantity=2, stop_loss_price=Decimal(5005))

    assert DenialCode.BRACKET_STOP_SIDE in codes(decided)
    assert denial(decided, DenialCode.DAILY_LOSS_BUFFER).max_quantity == 0


# -- how much may be held --------------------------------------------------------------------------


def test_everything_that_could_fill_counts_towards_the_largest_position() -> None:
    """Position 3, working 2, unknown 1 and a limit of 6 (0.6 minis): nothing more may be bought."""
    guard = a_guard(limits(max_position_tenths=6))
    buy(guard, 1, 3, 5000, broker_order_id=700)
    guard.working(101, client_order_id="w", type=OrderType.LIMIT, limit_price=Decimal(4990))
    guard.row(broker_order_id=101, type=OrderType.LIMIT, limit_price=Decimal(4990))
    wish(guard, client_order_id="u", quantity=1, type=OrderType.LIMIT, limit_price=Decimal(4991))
    guard.dispatch("u")
    guard.answer(Answer.UNKNOWN, client_order_id="u")

    refused = denial(wish(guard, quantity=1), DenialCode.POSITION_TOO_LARGE)
    assert (refused.value, refused.limit, refused.max_quantity) == ("0.7", "0.6", 0)
    flip = wish(guard, client_order_id="f", side=Side.SELL, quantity=4)
    assert DenialCode.POSITION_FLIP in codes(flip)
    out = wish(guard, client_order_id="o", side=Side.SELL, quantity=3)
    assert out.kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize(("limit", "most"), [(4, 4), (6, 6)])
def test_the_largest_quantity_fills_the_position_exactly(limit: int, most: int) -> None:
    guard = a_guard(limits(max_position_tenths=limit))
    refused = denial(wish(guard, quantity=9), DenialCode.POSITION_TOO_LARGE)

    assert refused.max_quantity == most
    assert DenialCode.POSITION_TOO_LARGE not in codes(wish(guard, quantity=most))


def test_an_order_that_turns_a_position_is_held_to_the_limit_by_what_it_opens() -> None:
    """Ten short where three are allowed: ten are bought back, and three of the rest may be held."""
    guard = a_guard(limits(max_position_tenths=3), allow_flip=True)
    buy(guard, 1, 10, 5000, side=Side.SELL)
    refused = denial(wish(guard, quantity=20), DenialCode.POSITION_TOO_LARGE)

    assert (refused.value, refused.limit, refused.max_quantity) == ("1", "0.3", 13)
    assert DenialCode.POSITION_TOO_LARGE in codes(wish(guard, quantity=14))
    assert DenialCode.POSITION_TOO_LARGE not in codes(wish(guard, quantity=13))


@pytest.mark.parametrize(
    ("symbol", "tenths"), [("ES", 10), ("MES", 1), ("ZN", 10), ("6E", 10), ("M6E", 1), ("XX", 10)]
)
def test_a_micro_is_a_tenth_of_a_mini(symbol: str, tenths: int) -> None:
    assert tenths_of(symbol) == tenths


# -- pauses ----------------------------------------------------------------------------------------


def stopped_out(guard: Guard, number: int, net: int = -50) -> None:
    stop = 600 + number
    guard.row(broker_order_id=stop, type=OrderType.STOP, side=Side.SELL, stop_price=Decimal(4990))
    result(guard, 10 * number, net, broker_order_id=stop)


COOLING = limits(cool_down_after_stops=2, cool_down_ns=60_000_000_000)


def test_losing_stops_in_a_row_make_entries_wait_and_the_wait_ends_by_itself() -> None:
    guard = a_guard(COOLING)
    stopped_out(guard, 1)
    assert conditions(guard) == ()
    stopped_out(guard, 2)
    assert conditions(guard) == (Condition.COOL_DOWN,)
    assert denial(wish(guard), DenialCode.COOL_DOWN).value == "2"

    guard.now_ns += 61_000_000_000
    assert Condition.COOL_DOWN not in conditions(guard)


def test_a_winner_between_two_stops_begins_anew() -> None:
    guard = a_guard(COOLING)
    stopped_out(guard, 1)
    result(guard, 50, 10)
    stopped_out(guard, 2)

    assert conditions(guard) == ()


def test_the_pause_is_as_long_after_a_restart() -> None:
    guard = a_guard(COOLING)
    stopped_out(guard, 1)
    stopped_out(guard, 2)
    guard.feed(a_guard_start(utc_us=guard.utc_us + 30_000_000))
    record = guard.book.account_rules

    assert 29_000_000_000 <= record.cool_until_ns - guard.now_ns <= 30_000_000_000


# -- the firm --------------------------------------------------------------------------------------


def test_the_firms_own_liquidation_ends_the_day_and_is_not_fought() -> None:
    guard = a_guard(DAILY)
    buy(guard, 1, 2, 5000, broker_order_id=700)
    guard.audit(after_ms=6_000, positions=(a_position(2),))
    tell_balance(guard, FIFTY, can_trade=False)
    guard.row(broker_order_id=900, side=Side.SELL, status=BrokerStatus.FILLED, filled_quantity=2)
    trade(
        guard,
        9,
        broker_order_id=900,
        side=Side.SELL,
        quantity=2,
        profit_and_loss_micros=-2_000 * DOLLAR,
    )
    guard.position_row(0)
    for _ in range(3):
        guard.audit(after_ms=6_000)
        guard.timer(after_ms=6_000)
    assert "FIRM_LIQUIDATION" in guard.alerts()
    tell_balance(guard, 48_000 * DOLLAR, can_trade=True)

    assert Condition.FIRM_LIQUIDATED in conditions(guard)
    assert DenialCode.FIRM_LIQUIDATED in codes(wish(guard))
    day(guard, NEXT_DAY)
    assert Condition.FIRM_LIQUIDATED not in conditions(guard)


def test_nothing_is_closed_against_a_firm_that_closes_it_itself() -> None:
    guard = a_guard(DAILY)
    buy(guard, 1, 2, 5000)
    tell_balance(guard, FIFTY, can_trade=False)
    price(guard, 4800)

    assert Condition.DAILY_LOSS_LOCK in conditions(guard)
    assert closed(guard) == []


# -- changes ---------------------------------------------------------------------------------------


def test_to_tighten_is_immediate_and_takes_no_name() -> None:
    guard = a_guard(DAILY)
    result(guard, 1, -600)
    assert change(guard, daily_loss_micros=500 * DOLLAR).kind is DecisionKind.ACCEPTED

    assert conditions(guard) == (Condition.DAILY_LOSS_LOCK,)


@pytest.mark.parametrize(("operator", "reason"), [("", ""), ("ann", " "), ("", "why not")])
def test_to_loosen_takes_a_person_and_a_reason(operator: str, reason: str) -> None:
    guard = a_guard(DAILY)
    refused = change(guard, operator=operator, reason=reason, daily_loss_micros=2_000 * DOLLAR)

    assert refused.kind is DecisionKind.NOT_POSSIBLE
    assert "name and a reason" in refused.message
    assert now(guard).day_left_micros == 1_000 * DOLLAR


def test_what_was_loosened_is_told_and_lifts_no_lock() -> None:
    guard = a_guard(DAILY)
    result(guard, 1, -1_000)
    done = change(guard, operator="ann", reason="agreed", daily_loss_micros=2_000 * DOLLAR)

    assert done.kind is DecisionKind.ACCEPTED
    assert "LIMIT_LOOSENED" in guard.alerts()
    assert now(guard).day_left_micros == 1_000 * DOLLAR
    assert Condition.DAILY_LOSS_LOCK in conditions(guard)


def test_a_change_holds_until_the_setting_itself_is_another() -> None:
    guard = a_guard(DAILY)
    change(guard, daily_loss_micros=500 * DOLLAR)
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    assert now(guard).limits.daily_loss_micros == 500 * DOLLAR
    rules = limits(daily_loss_micros=800 * DOLLAR)
    guard.book.policy = replace(guard.book.policy, account_limits=rules)

    assert now(guard).limits.daily_loss_micros == 800 * DOLLAR


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"daily_loss_micros": 0},
        {"max_position_tenths": -1},
        {"daily_loss_micros": FIFTY + 1},
        {"trailing_loss_micros": FIFTY + 1},
    ],
)
def test_a_limit_that_is_none_is_refused(wanted: dict[str, int]) -> None:
    guard = a_guard(DAILY)

    assert change(guard, operator="ann", reason="x", **wanted).kind is DecisionKind.NOT_POSSIBLE


@pytest.mark.parametrize("name", ["daily_loss_micros", "max_position_tenths", "high_close_micros"])
@pytest.mark.parametrize("value", [0, -1])
def test_limits_are_above_zero(name: str, value: int) -> None:
    with pytest.raises(DomainError, match=name):
        limits(**{name: value})


def test_a_trailing_loss_needs_the_balance_that_it_counts_from() -> None:
    with pytest.raises(DomainError, match="began with"):
        AccountLimits(trailing_loss_micros=1)


def test_an_account_without_rules_is_refused_nothing() -> None:
    guard = Guard().start()
    guard.book.policy = replace(guard.policy, account_limits=None)

    assert wish(guard, quantity=50).kind is DecisionKind.ACCEPTED
