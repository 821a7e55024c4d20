"""Executions outside the tolerance are told one by one, counted by session, and then reduce."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, START_US, Guard, a_policy, a_position, a_row, replayed

from backstop.core.book import ORDERS_KEPT
from backstop.core.execution_verdict import slippage_ticks
from backstop.core.slippage_breaches import BREACHES_KEPT
from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.core.step import DecisionKind
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.events import (
    Answer,
    ModifyAnswered,
    ModifyRequested,
    ResumeRequested,
    TradingDayBegan,
)
from backstop.domain.order import OrderState, OrderType, Side

MONDAY, TUESDAY = "2026-10-05", "2026-10-06"


def day(guard: Guard, trade_date: str) -> None:
    guard.feed(TradingDayBegan(utc_us=guard.utc_us, trade_date=trade_date))


def a_guard(**policy: Any) -> Guard:
    guard = Guard(policy=a_policy(duplicate_window_ns=0, **policy)).start()
    day(guard, MONDAY)
    return guard


def execute(guard: Guard, number: int, price: str = "5001", **changes: Any) -> None:
    """Buy 1 MES at the market, 5000 offered, and pay ``price`` for it."""
    guard.working(1000 + number, client_order_id=f"c{number}", quantity=1, **changes)
    guard.trade(trade_id=number, broker_order_id=1000 + number, price=Decimal(price))
    assert guard.state(f"c{number}") is OrderState.FILLED


def resume(guard: Guard) -> None:
    event = ResumeRequested(utc_us=guard.utc_us, reason="seen", operator="ann")
    decision = guard.feed(event).decision
    assert decision is not None
    assert decision.kind is DecisionKind.ACCEPTED


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.now_ns)


def kinds(guard: Guard) -> list[LatchKind]:
    return [latch.kind for latch in guard.book.latches]


# -- one execution ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "price", "breach"),
    [
        (Side.BUY, "5000.50", False),  # 2 ticks: the limit itself
        (Side.BUY, "5000.75", True),
        (Side.BUY, "4990", False),  # better than asked
        (Side.SELL, "4999.25", False),  # the bid was 4999.75
        (Side.SELL, "4999", True),
        (Side.SELL, "5010", False),
    ],
)
def test_more_adverse_ticks_than_allowed_are_a_breach(
    side: Side, price: str, *, breach: bool
) -> None:
    guard = a_guard()
    guard.working(side=side, quantity=1)
    guard.trade(side=side, price=Decimal(price))

    assert guard.state() is OrderState.FILLED
    assert (guard.alerts() == ["SLIPPAGE_BREACH"]) is breach
    assert state(guard) is TradingState.ACTIVE


def test_the_average_of_all_fills_is_judged_exactly() -> None:
    """Ticks of 2, 2 and 3: seven thirds are above 2 although two of three fills are not."""
    guard = a_guard()
    guard.working(quantity=3)
    for number, price in enumerate(("5000.50", "5000.50", "5000.75")):
        assert guard.alerts() == []
        guard.trade(trade_id=number, price=Decimal(price))

    assert guard.alerts() == ["SLIPPAGE_BREACH"]


def test_the_alert_names_the_order_its_price_and_what_comes_next() -> None:
    guard = a_guard()
    execute(guard, 1)
    (alert,) = guard.commands_of(RaiseAlert)

    assert alert.severity is Severity.WARNING
    words = ("c1", "BUY 1 MES", "4 adverse ticks", "2 allowed", "from 5000", "1 of this", "at 3")
    for word in words:
        assert word in alert.message


def test_an_order_is_judged_when_it_is_complete_not_before() -> None:
    guard = a_guard()
    guard.working(quantity=2)
    guard.trade(price=Decimal(5010))
    assert guard.alerts() == []

    guard.row(status=BrokerStatus.CANCELLED, filled_quantity=1)

    assert guard.state() is OrderState.CANCELLED
    assert guard.alerts() == ["SLIPPAGE_BREACH"]


def test_a_breach_waits_for_trades_that_the_venue_counted() -> None:
    guard = a_guard()
    guard.working(quantity=2)
    guard.row(status=BrokerStatus.CANCELLED, filled_quantity=2)
    guard.trade(price=Decimal(5010))
    assert guard.alerts() == []

    guard.trade(trade_id=8, price=Decimal(5010))

    assert guard.alerts() == ["SLIPPAGE_BREACH"]


def test_without_a_reference_nothing_is_judged() -> None:
    guard = a_guard()
    guard.submit(side=Side.BUY, type=OrderType.TRAILING_STOP, stop_price=Decimal(5010), quantity=1)
    guard.trade(broker_order_id=100, price=Decimal(6000))
    guard.row(status=BrokerStatus.FILLED, custom_tag=guard.order().custom_tag, quantity=1)

    assert guard.state() is OrderState.FILLED
    assert guard.alerts() == []


def test_an_order_counts_once_however_often_its_evidence_changes() -> None:
    guard = a_guard(slippage_breaches_to_reduce=2)
    execute(guard, 1)
    for status in (BrokerStatus.OPEN, BrokerStatus.FILLED):
        guard.row(broker_order_id=1001, status=status, quantity=1, updated_utc_us=guard.utc_us)
    guard.audit(orders=(a_row(broker_order_id=1001, quantity=1, status=BrokerStatus.FILLED),))

    assert guard.alerts() == ["SLIPPAGE_BREACH"]
    assert kinds(guard) == []


# -- the count -------------------------------------------------------------------------------------


def test_three_breaches_in_a_session_let_only_exits_pass_until_a_person_resumes() -> None:
    guard = a_guard()
    for number in (1, 2):
        execute(guard, number)
    assert state(guard) is TradingState.ACTIVE

    execute(guard, 3)

    assert kinds(guard) == [LatchKind.SLIPPAGE]
    assert state(guard) is TradingState.REDUCING
    assert guard.alerts() == [*["SLIPPAGE_BREACH"] * 3, "SLIPPAGE_REDUCING"]
    assert guard.commands_of(RaiseAlert)[-1].severity is Severity.CRITICAL
    guard.position_row(3)
    refused = guard.submit(client_order_id="entry")
    assert [denial.code for denial in refused.denials] == ["STATE_REDUCING"]
    exit_ = guard.submit(client_order_id="exit", side=Side.SELL, quantity=3)
    assert exit_.kind is DecisionKind.ACCEPTED
    resume(guard)
    assert state(guard) is TradingState.ACTIVE


def test_the_setting_says_how_many() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    execute(guard, 1)

    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_breach_while_reduced_is_told_and_latches_nothing_more() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    guard.submit(client_order_id="c9", quantity=1)
    execute(guard, 1)
    guard.dispatch("c9")
    guard.row(broker_order_id=1009, custom_tag=guard.order("c9").custom_tag, quantity=1)
    guard.trade(trade_id=9, broker_order_id=1009, price=Decimal(5001))

    assert guard.alerts().count("SLIPPAGE_BREACH") == 2
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_new_trading_day_counts_anew_and_lifts_nothing() -> None:
    guard = a_guard()
    for number in (1, 2):
        execute(guard, number)
    day(guard, TUESDAY)
    for number in (3, 4):
        execute(guard, number)
    assert kinds(guard) == []

    execute(guard, 5)
    assert kinds(guard) == [LatchKind.SLIPPAGE]
    day(guard, MONDAY)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_the_same_trading_day_told_again_does_not_forget_the_count() -> None:
    """Every start of a guard tells it."""
    guard = a_guard()
    for number in (1, 2):
        execute(guard, number)
    guard.connect()
    day(guard, MONDAY)
    guard.audit(positions=(a_position(2),))
    execute(guard, 3)

    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_what_a_person_resumed_after_does_not_count_again() -> None:
    guard = a_guard(slippage_breaches_to_reduce=2)
    for number in (1, 2):
        execute(guard, number)
    resume(guard)
    execute(guard, 3)
    assert kinds(guard) == []

    execute(guard, 4)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_the_latch_of_a_count_survives_a_replay() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    execute(guard, 1)
    book, _ = replayed(guard.policy, guard.history)

    assert book.latches == guard.book.latches != ()
    assert book.breaches == guard.book.breaches


# -- what the venue takes back ---------------------------------------------------------------------


def test_a_voided_trade_takes_its_breach_back() -> None:
    guard = a_guard()
    for number in (1, 2):
        execute(guard, number)
    guard.trade(trade_id=2, broker_order_id=1002, price=Decimal(5001), voided=True)
    execute(guard, 3)
    assert kinds(guard) == []

    execute(guard, 4)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_void_that_leaves_a_good_average_takes_the_breach_back() -> None:
    guard = a_guard()
    guard.working(quantity=2)
    guard.trade(trade_id=7, price=Decimal(5000))
    guard.trade(trade_id=8, price=Decimal(5005))
    assert list(guard.book.breaches) == ["c1"]

    guard.trade(trade_id=8, price=Decimal(5005), voided=True)
    assert list(guard.book.breaches) == []
    assert "slippage_breach_taken_back" in [note.name for note in guard.steps[-1].notes]


def test_a_breach_that_is_taken_back_leaves_the_latch_to_a_person() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    execute(guard, 1)
    guard.trade(trade_id=1, broker_order_id=1001, price=Decimal(5001), voided=True)

    assert list(guard.book.breaches) == []
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_void_of_yesterdays_trade_does_not_touch_todays_count() -> None:
    guard = a_guard()
    execute(guard, 1)
    day(guard, TUESDAY)
    for number in (2, 3):
        execute(guard, number)
    guard.trade(trade_id=1, broker_order_id=1001, price=Decimal(5001), voided=True)
    execute(guard, 4)

    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_a_breach_counts_although_its_order_has_left_the_book() -> None:
    guard = a_guard(slippage_breaches_to_reduce=2)
    execute(guard, 1)
    order = guard.order("c1")
    for number in range(ORDERS_KEPT):
        guard.book.orders[f"filler-{number}"] = order
    guard.timer()
    assert "c1" not in guard.book.orders

    execute(guard, 2)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_only_so_many_breaches_are_remembered() -> None:
    guard = a_guard()
    guard.book.breaches = {f"old-{number}": MONDAY for number in range(BREACHES_KEPT)}
    execute(guard, 1)

    assert len(guard.book.breaches) == BREACHES_KEPT
    assert list(guard.book.breaches)[-1] == "c1"
    assert "old-0" not in guard.book.breaches


# -- what a person has seen, and what an earlier day saw -------------------------------------------


def told_as_filled(guard: Guard, quantity: int) -> None:
    """Have the venue say that c1 ended: then also what is left after a void is all of it."""
    row = {"broker_order_id": 1001, "quantity": quantity, "filled_quantity": quantity}
    guard.row(**row, status=BrokerStatus.FILLED)


@pytest.mark.parametrize("by", ["resume", "day"])
def test_an_old_breach_that_is_counted_again_does_not_count_as_new(by: str) -> None:
    """c1 has a second, good trade that makes its average good; both are voided and back in turn."""
    guard = a_guard(slippage_breaches_to_reduce=1 if by == "resume" else 3)
    guard.working(1001, client_order_id="c1", quantity=2)
    guard.trade(trade_id=1, broker_order_id=1001, price=Decimal(5010))
    guard.trade(trade_id=2, broker_order_id=1001, price=Decimal(4980))
    told_as_filled(guard, 2)
    assert guard.book.breaches == {}
    execute(guard, 3)
    if by == "resume":
        resume(guard)
    else:
        day(guard, TUESDAY)

    guard.trade(trade_id=2, broker_order_id=1001, price=Decimal(4980), voided=True)

    assert "does not count" in guard.commands_of(RaiseAlert)[-1].message
    assert kinds(guard) == []
    assert guard.book.breaches["c1"] is None


def test_a_breach_taken_back_and_told_again_after_a_resume_stays_consumed() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    guard.working(1001, client_order_id="c1", quantity=3)
    guard.trade(trade_id=1, broker_order_id=1001, price=Decimal(5010))
    guard.trade(trade_id=2, broker_order_id=1001, price=Decimal(4990))
    guard.trade(trade_id=3, broker_order_id=1001, price=Decimal(5005))
    told_as_filled(guard, 3)
    assert kinds(guard) == [LatchKind.SLIPPAGE]
    resume(guard)
    guard.trade(trade_id=1, broker_order_id=1001, price=Decimal(5010), voided=True)
    assert guard.book.breaches == {}

    guard.trade(trade_id=2, broker_order_id=1001, price=Decimal(4990), voided=True)

    assert guard.book.breaches == {"c1": None}
    assert kinds(guard) == []
    execute(guard, 4)
    assert kinds(guard) == [LatchKind.SLIPPAGE]


def test_what_was_consumed_survives_a_replay_and_a_checkpoint() -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    execute(guard, 1)
    resume(guard)
    book, _ = replayed(guard.policy, guard.history)
    thawed = restored(decoded(encoded(captured(guard.book))))

    assert guard.book.breaches_seen_to == 1
    assert book.breaches_seen_to == thawed.breaches_seen_to == 1
    assert book.breaches == thawed.breaches == {"c1": None}


# -- levels that move between fills ----------------------------------------------------------------


def limit_row(guard: Guard, price: str, filled: int, **changes: Any) -> None:
    members = {"type": OrderType.LIMIT, "limit_price": Decimal(price), "quantity": 2}
    guard.row(**members, filled_quantity=filled, updated_utc_us=guard.utc_us, **changes)


def move(guard: Guard, price: str) -> None:
    ticks = guard.book.instruments[MES].price_ticks(Decimal(price))
    asked = ModifyRequested(utc_us=guard.utc_us, client_order_id="c1", limit_ticks=ticks)
    decision = guard.feed(asked).decision
    assert decision is not None
    assert decision.kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize("told", ["rows", "only the last row", "only what was asked"])
def test_a_limit_that_is_moved_between_two_fills_has_not_slipped(told: str) -> None:
    """One at 5000, then the bid goes down to 4990 and gets the other: from 4990 the first looks 40
    ticks bad."""
    guard = a_guard()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(5000), quantity=2)
    limit_row(guard, "5000", 0)
    guard.trade(trade_id=1, price=Decimal(5000), created_utc_us=guard.utc_us)
    if told == "rows":
        limit_row(guard, "5000", 1)
    move(guard, "4990")
    if told == "rows":
        limit_row(guard, "4990", 1)
    guard.trade(trade_id=2, price=Decimal(4990), created_utc_us=guard.utc_us)
    if told != "only what was asked":
        limit_row(guard, "4990", 2, status=BrokerStatus.FILLED)

    assert guard.state() is OrderState.FILLED
    assert guard.alerts() == []
    slippage = slippage_ticks(guard.order(), guard.book.instruments[MES])
    assert slippage is not None
    assert slippage == 0 if told == "rows" else slippage <= 0


def test_a_stop_moved_while_it_fills_is_a_breach_only_against_every_level_it_could_have_met() -> (
    None
):
    """A sell stop went from 4990 to 4995; 4991 is good from 4990 and bad from 4995."""
    for price, breach in (("4991", False), ("4985", True)):
        guard = a_guard()
        stop = {"type": OrderType.STOP, "side": Side.SELL, "quantity": 1}
        guard.working(**stop, stop_price=Decimal(4990))
        guard.row(**stop, stop_price=Decimal(4990), updated_utc_us=guard.utc_us)
        filled_utc_us = guard.utc_us
        moved = {**stop, "stop_price": Decimal(4995), "filled_quantity": 1}
        guard.row(**moved, status=BrokerStatus.FILLED, updated_utc_us=filled_utc_us + 5)
        guard.trade(side=Side.SELL, price=Decimal(price), created_utc_us=filled_utc_us + 1)

        assert guard.state() is OrderState.FILLED
        assert ("SLIPPAGE_BREACH" in guard.alerts()) is breach


def test_a_move_that_the_venue_refused_excuses_nothing() -> None:
    guard = a_guard()
    guard.working(type=OrderType.STOP, stop_price=Decimal(5010), quantity=1)
    guard.row(type=OrderType.STOP, stop_price=Decimal(5010), quantity=1)
    ticks = guard.book.instruments[MES].price_ticks(Decimal(5020))
    guard.feed(ModifyRequested(utc_us=guard.utc_us, client_order_id="c1", stop_ticks=ticks))
    guard.feed(
        ModifyAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=Answer.NO, message="no")
    )
    guard.trade(price=Decimal(5020), created_utc_us=guard.utc_us)

    assert guard.alerts() == ["SLIPPAGE_BREACH"]


def test_levels_survive_a_replay_and_a_checkpoint() -> None:
    guard = a_guard()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(5000), quantity=2)
    limit_row(guard, "5000", 0)
    move(guard, "4990")
    limit_row(guard, "4995", 0)
    book, _ = replayed(guard.policy, guard.history)
    thawed = restored(decoded(encoded(captured(guard.book))))

    levels = guard.order().levels_seen
    assert [it.price for it in levels.seen] == [Decimal(5000), Decimal(4995)]
    assert [it.price for it in levels.asked] == [Decimal(4990)]
    assert book.orders["c1"].levels_seen == thawed.orders["c1"].levels_seen == levels


# -- legs of brackets, and trailing stops ----------------------------------------------------------


def with_bracket(guard: Guard, kind: OrderType = OrderType.STOP) -> dict[str, Any]:
    """Buy 1 MES at 5000 with a stop at 4990; returns the stop's row as it works."""
    guard.working(quantity=1, stop_loss_price=Decimal(4990))
    tag = guard.order().custom_tag
    leg: dict[str, Any] = {
        "broker_order_id": 101,
        "parent_order_id": 100,
        "custom_tag": f"{tag}-SL",
        "type": kind,
        "side": Side.SELL,
        "quantity": 1,
    }
    guard.row(**leg, status=BrokerStatus.SUSPENDED)
    guard.trade(trade_id=1, price=Decimal(5000))
    guard.position_row(1)
    working = {**leg, "stop_price": Decimal(4990)}
    guard.row(**working, updated_utc_us=guard.utc_us)
    assert "SLIPPAGE_BREACH" not in guard.alerts()
    return working


def stopped_out(guard: Guard, leg: dict[str, Any], price: str, **changes: Any) -> None:
    guard.trade(
        trade_id=2,
        broker_order_id=101,
        side=Side.SELL,
        price=Decimal(price),
        created_utc_us=guard.utc_us,
    )
    ended = {"status": BrokerStatus.FILLED, "filled_quantity": 1, "updated_utc_us": guard.utc_us}
    guard.row(**(leg | ended | changes))


@pytest.mark.parametrize(("price", "breach"), [("4989.50", False), ("4980", True)])
def test_a_stop_leg_that_slips_beyond_its_level_counts(price: str, *, breach: bool) -> None:
    guard = a_guard(slippage_breaches_to_reduce=1)
    stopped_out(guard, with_bracket(guard), price)

    alerts = [it for it in guard.commands_of(RaiseAlert) if it.code == "SLIPPAGE_BREACH"]
    assert (len(alerts) == 1) is breach
    assert (LatchKind.SLIPPAGE in kinds(guard)) is breach
    for alert in alerts:
        for word in ("SELL 1 MES", "stop-loss 101 of c1", "40 adverse ticks", "from 4990"):
            assert word in alert.message


def test_a_leg_is_judged_whichever_of_its_trade_and_its_end_comes_first() -> None:
    guard = a_guard()
    leg = with_bracket(guard)
    ended = {"status": BrokerStatus.FILLED, "filled_quantity": 1}
    guard.row(**(leg | ended), updated_utc_us=guard.utc_us)
    assert "SLIPPAGE_BREACH" not in guard.alerts()
    guard.trade(
        trade_id=2,
        broker_order_id=101,
        side=Side.SELL,
        price=Decimal(4980),
        created_utc_us=guard.utc_us,
    )
    assert guard.alerts().count("SLIPPAGE_BREACH") == 1

    guard.trade(trade_id=2, broker_order_id=101, side=Side.SELL, price=Decimal(4980), voided=True)
    assert guard.book.breaches == {}


def test_a_leg_that_was_moved_up_to_the_market_is_measured_from_there() -> None:
    guard = a_guard()
    leg = with_bracket(guard)
    guard.row(**(leg | {"stop_price": Decimal(4998)}), updated_utc_us=guard.utc_us)
    guard.timer()
    stopped_out(guard, leg | {"stop_price": Decimal(4998)}, "4996")

    assert guard.alerts().count("SLIPPAGE_BREACH") == 1


def test_an_order_of_somebody_else_is_not_our_execution() -> None:
    guard = a_guard()
    theirs = {"broker_order_id": 500, "type": OrderType.STOP, "stop_price": Decimal(5010)}
    guard.row(**theirs, quantity=1)
    guard.trade(trade_id=5, broker_order_id=500, price=Decimal(5050), created_utc_us=guard.utc_us)
    guard.row(**theirs, quantity=1, status=BrokerStatus.FILLED, filled_quantity=1)

    assert "SLIPPAGE_BREACH" not in guard.alerts()


@pytest.mark.parametrize(("price", "breach"), [("4994.50", False), ("4990", True)])
def test_a_trailing_stop_is_measured_from_where_the_venue_had_taken_it(
    price: str, *, breach: bool
) -> None:
    """It began at 4980 and was taken to 4995: 4990 is five points worse, not ten better."""
    guard = a_guard()
    trailing = {"type": OrderType.TRAILING_STOP, "side": Side.SELL, "quantity": 1}
    guard.working(**trailing, stop_price=Decimal(4980))
    created_utc_us = guard.utc_us
    for level in ("4980", "4988", "4995"):
        guard.row(**trailing, stop_price=Decimal(level), updated_utc_us=created_utc_us)
    guard.trade(side=Side.SELL, price=Decimal(price), created_utc_us=guard.utc_us)

    assert guard.state() is OrderState.FILLED
    assert ("SLIPPAGE_BREACH" in guard.alerts()) is breach


def test_a_trailing_leg_is_measured_from_where_the_venue_had_taken_it() -> None:
    guard = a_guard()
    leg = with_bracket(guard, OrderType.TRAILING_STOP)
    guard.row(**(leg | {"stop_price": Decimal(4997)}), updated_utc_us=START_US)
    stopped_out(guard, leg | {"stop_price": Decimal(4997)}, "4992")

    assert guard.alerts().count("SLIPPAGE_BREACH") == 1
