"""Each way in which an account can differ from the book: its class, its evidence, its act."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import (
    ACCOUNT,
    MES,
    NQ,
    START_US,
    Guard,
    a_policy,
    a_position,
    a_row,
    a_trade,
    an_instrument,
    an_nq_instrument,
)
from tests.core.test_state_checkpoint import in_order

from backstop.core.disaster_recovery import (
    ACTS,
    TAKEN_AWAY,
    Difference,
    Downtime,
    RecoveryPlan,
    recovery_plan,
)
from backstop.core.policy import SECOND_NS
from backstop.core.recovery_rehearsal import AccountPicture, Act, PlannedAct
from backstop.core.state_checkpoint import captured, restored
from backstop.domain.broker import BrokerAccount, BrokerStatus
from backstop.domain.events import Answer, OrderReported, Source, StopKind
from backstop.domain.order import OrderType, Side

CRASH = Downtime(stop=StopKind.CRASH, ms=5_000)
THRESHOLD_MS = 60_000
STOP_ID, TARGET_ID = 101, 102


def an_account(**changes: Any) -> BrokerAccount:
    members: dict[str, Any] = {
        "account_id": ACCOUNT,
        "name": "50K",
        "balance_micros": 50_000_000_000,
        "can_trade": True,
        "simulated": True,
    }
    return BrokerAccount(**(members | changes))


def a_picture(**changes: Any) -> AccountPicture:
    members: dict[str, Any] = {
        "utc_us": START_US + 60_000_000,
        "account": an_account(),
        "positions": (),
        "live_orders": (),
        "orders": (),
        "trades": (),
        "instruments": (an_instrument(), an_nq_instrument()),
    }
    return AccountPicture(**(members | changes))


def a_stop(**changes: Any) -> Any:
    members: dict[str, Any] = {
        "broker_order_id": STOP_ID,
        "parent_order_id": 100,
        "side": Side.SELL,
        "type": OrderType.STOP,
        "stop_price": Decimal(4990),
    }
    return a_row(**(members | changes))


def a_guard(**policy: Any) -> Guard:
    return Guard(policy=a_policy(archives=True, protects=True, **policy)).start()


def long_two(**policy: Any) -> Guard:
    """Return a guard that is long two MES, bought by order 100, with a stop at 4990."""
    guard = a_guard(**policy)
    guard.working(stop_loss_price=Decimal(4990))
    guard.feed(OrderReported(utc_us=guard.utc_us, order=a_stop(), source=Source.HUB))
    guard.trade(quantity=2)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.position_row(2)
    guard.audit(positions=(a_position(2),), live_orders=(a_stop(),))
    return guard


def plan(guard: Guard, picture: AccountPicture, downtime: Downtime = CRASH) -> RecoveryPlan:
    before = in_order(guard.book)
    made = recovery_plan(
        guard.book,
        picture,
        downtime=downtime,
        liquidate_after_ms=THRESHOLD_MS,
        now_ns=guard.now_ns + 5 * SECOND_NS,
    )
    assert in_order(guard.book) == before, "the book was touched"
    return made


def differences(made: RecoveryPlan) -> list[Difference]:
    return [finding.difference for finding in made.findings]


def acts(made: RecoveryPlan, contract_id: str = MES) -> list[Act]:
    return [act.act for act in acts_of(made, contract_id)]


def acts_of(made: RecoveryPlan, contract_id: str = MES) -> tuple[PlannedAct, ...]:
    return next(it.acts for it in made.symbols if it.contract_id == contract_id)


def evidence(made: RecoveryPlan, difference: Difference) -> str:
    return next(it.evidence for it in made.findings if it.difference is difference)


# -- nothing is different ------------------------------------------------------------------------


def test_a_position_whose_stop_still_works_is_kept_as_it_is() -> None:
    made = plan(long_two(), a_picture(positions=(a_position(2),), live_orders=(a_stop(),)))

    assert made.findings == ()
    (adopted,) = acts_of(made)
    assert adopted == PlannedAct(
        act=Act.ADOPT_STOP,
        quantity=2,
        price="4990",
        broker_order_id=STOP_ID,
        reason="it works at the venue",
    )
    assert [(it.symbol, it.before, it.quantity) for it in made.symbols] == [("MES", 2, 2)]
    assert not made.liquidates


def test_a_flat_account_without_orders_needs_nothing() -> None:
    made = plan(a_guard(), a_picture())

    assert (made.findings, made.symbols, made.unread) == ((), (), ())


# -- positions -----------------------------------------------------------------------------------


def test_a_position_that_its_stop_closed_is_told_with_the_trade() -> None:
    fill = a_trade(
        trade_id=50, broker_order_id=STOP_ID, side=Side.SELL, quantity=2, price=Decimal(4989)
    )
    stopped = a_stop(status=BrokerStatus.FILLED, filled_quantity=2)
    made = plan(long_two(), a_picture(orders=(stopped,), trades=(fill,)))

    assert differences(made) == [Difference.CLOSED_WHILE_AWAY, Difference.MISSING_FILLS]
    told = evidence(made, Difference.CLOSED_WHILE_AWAY)
    assert told == "+2 before, +0 now; trade 50: sold 2 @ 4989 by order 101"
    assert made.findings[0].act == ACTS[Difference.CLOSED_WHILE_AWAY]
    assert acts(made) == [Act.NOTHING]


def test_a_stop_that_outlived_its_position_is_cancelled() -> None:
    close = a_trade(trade_id=50, broker_order_id=900, side=Side.SELL, quantity=2)
    made = plan(
        long_two(),
        a_picture(
            trades=(close,),
            orders=(
                a_row(
                    broker_order_id=900,
                    side=Side.SELL,
                    status=BrokerStatus.FILLED,
                    filled_quantity=2,
                ),
            ),
            live_orders=(a_stop(),),
        ),
    )

    assert Difference.CLOSED_WHILE_AWAY in differences(made)
    (cancel,) = acts_of(made)
    assert (cancel.act, cancel.broker_order_id) == (Act.CANCEL_ORDER, STOP_ID)


@pytest.mark.parametrize(
    ("size", "follows"),
    [
        (1, PlannedAct(act=Act.CHANGE_ORDER, quantity=1, broker_order_id=STOP_ID)),
        (3, PlannedAct(act=Act.PLACE_STOP, quantity=1, price="4990")),
    ],
)
def test_another_size_is_followed_by_the_stop(size: int, follows: PlannedAct) -> None:
    made = plan(long_two(), a_picture(positions=(a_position(size),), live_orders=(a_stop(),)))

    assert differences(made) == [Difference.SIZE_CHANGED]
    told = evidence(made, Difference.SIZE_CHANGED)
    assert told == f"+2 before, {size:+d} now; no trade explains it"
    adopted, then = acts_of(made)
    assert adopted.act is Act.ADOPT_STOP
    assert replace(then, reason="") == follows


def test_a_stop_that_works_is_kept_although_one_that_no_list_has_seems_to_cover_as_well() -> None:
    """The target of another entry filled, and the venue took its stop away with it."""
    guard = long_two()
    guard.working(200, client_order_id="c2", quantity=1, stop_loss_price=Decimal(4995))
    guard.row(
        broker_order_id=201,
        parent_order_id=200,
        quantity=1,
        side=Side.SELL,
        type=OrderType.STOP,
        stop_price=Decimal(4995),
    )
    guard.trade(trade_id=8, broker_order_id=200)
    guard.position_row(3)
    filled = a_trade(trade_id=9, broker_order_id=202, side=Side.SELL, price=Decimal(5010))
    made = plan(
        guard,
        a_picture(positions=(a_position(2),), live_orders=(a_stop(),), trades=(filled,)),
    )

    assert Difference.MISSING_ORDER in differences(made)
    assert [(it.act, it.broker_order_id) for it in acts_of(made)] == [(Act.ADOPT_STOP, STOP_ID)]


def test_a_position_that_was_turned_round_loses_the_stop_of_the_wrong_side() -> None:
    made = plan(long_two(), a_picture(positions=(a_position(-1),), live_orders=(a_stop(),)))

    assert differences(made) == [Difference.SIZE_CHANGED]
    assert (acts_of(made)[0].act, acts_of(made)[0].broker_order_id) == (Act.CANCEL_ORDER, STOP_ID)


def test_a_position_that_nothing_explains_is_somebody_elses() -> None:
    made = plan(a_guard(), a_picture(positions=(a_position(-1, contract_id=NQ),)))

    assert differences(made) == [Difference.UNKNOWN_POSITION]
    assert made.findings[0].symbol == "NQ"
    assert "EXTERNAL_POSITION_POLICY" in made.findings[0].act
    assert acts(made, NQ) == [Act.ASK_A_PERSON]


def test_a_position_without_a_record_gets_the_default_stop() -> None:
    guard = a_guard(default_stop_ticks=40)
    made = plan(guard, a_picture(positions=(a_position(1),)))

    (stop,) = acts_of(made)
    assert (stop.act, stop.quantity, stop.price) == (Act.PLACE_STOP, 1, "4990")


def test_an_entry_that_filled_while_nobody_looked_is_no_unknown_position() -> None:
    guard = a_guard()
    order = guard.working(stop_loss_price=Decimal(4990))
    filled = a_row(status=BrokerStatus.FILLED, filled_quantity=2, custom_tag=order.custom_tag)
    made = plan(
        guard,
        a_picture(
            positions=(a_position(2),),
            orders=(filled,),
            trades=(a_trade(quantity=2),),
            live_orders=(a_stop(),),
        ),
    )

    assert differences(made) == [Difference.MISSING_FILLS]
    assert acts(made) == [Act.ADOPT_STOP]


def test_the_recorded_stop_is_put_back_when_it_is_gone() -> None:
    gone = a_stop(status=BrokerStatus.CANCELLED)
    made = plan(long_two(), a_picture(positions=(a_position(2),), orders=(gone,)))

    (stop,) = acts_of(made)
    assert (stop.act, stop.quantity, stop.price) == (Act.PLACE_STOP, 2, "4990")


def test_a_market_past_the_recorded_stop_is_no_market_for_a_stop() -> None:
    gone = a_stop(status=BrokerStatus.CANCELLED)
    picture = a_picture(positions=(a_position(2),), orders=(gone,), prices={MES: Decimal("4985.5")})
    (close,) = acts_of(plan(long_two(), picture))

    assert (close.act, close.quantity) == (Act.CLOSE_PAST_STOP, 2)
    assert "4985.5" in close.reason


def test_the_firm_closed_the_position_and_the_account() -> None:
    fill = a_trade(trade_id=50, broker_order_id=700, side=Side.SELL, quantity=2)
    row = a_row(broker_order_id=700, side=Side.SELL, status=BrokerStatus.FILLED, filled_quantity=2)
    cancelled = a_stop(status=BrokerStatus.CANCELLED)
    made = plan(
        long_two(),
        a_picture(account=an_account(can_trade=False), orders=(row, cancelled), trades=(fill,)),
    )

    assert differences(made)[0] is Difference.FORCED_LIQUIDATION
    assert "order 700" in made.findings[0].evidence


@pytest.mark.parametrize("listed", [(), (an_instrument(active=False),)])
def test_a_contract_that_is_traded_no_more_is_expired(listed: tuple[Any, ...]) -> None:
    instruments = (an_nq_instrument(), *listed)
    still_there = plan(long_two(), a_picture(positions=(a_position(2),), instruments=instruments))
    gone = plan(long_two(), a_picture(instruments=instruments))

    assert Difference.CONTRACT_EXPIRED in differences(still_there)
    assert differences(gone)[0] is Difference.CONTRACT_EXPIRED


# -- orders --------------------------------------------------------------------------------------


def test_a_working_order_of_somebody_else_is_named() -> None:
    other = a_row(broker_order_id=900, type=OrderType.LIMIT, limit_price=Decimal("4950.25"))
    made = plan(a_guard(), a_picture(live_orders=(other,)))

    assert differences(made) == [Difference.UNKNOWN_ORDER]
    assert evidence(made, Difference.UNKNOWN_ORDER) == (
        "order 900: BUY 2 LIMIT @ 4950.25, OPEN, no tag"
    )


def test_a_leg_that_came_up_while_nobody_looked_is_ours() -> None:
    guard = long_two()
    target = a_row(
        broker_order_id=TARGET_ID,
        parent_order_id=100,
        side=Side.SELL,
        type=OrderType.LIMIT,
        limit_price=Decimal(5010),
    )
    made = plan(guard, a_picture(positions=(a_position(2),), live_orders=(a_stop(), target)))

    assert made.findings == ()


def test_an_order_that_no_list_has_is_looked_up() -> None:
    guard = a_guard()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4950))
    made = plan(guard, a_picture())

    assert differences(made) == [Difference.MISSING_ORDER]
    assert evidence(made, Difference.MISSING_ORDER) == "c1 (order 100) was WORKING; no list has it"
    assert acts(made) == [Act.LOOK_UP]


def test_an_order_whose_end_the_venue_tells_is_not_missing() -> None:
    guard = a_guard()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4950))
    ended = a_row(status=BrokerStatus.CANCELLED)

    assert plan(guard, a_picture(orders=(ended,))).findings == ()


def test_a_stop_that_somebody_ended_while_its_position_is_open_is_missing() -> None:
    ended = a_stop(status=BrokerStatus.CANCELLED)
    made = plan(long_two(), a_picture(positions=(a_position(2),), orders=(ended,)))

    assert differences(made) == [Difference.MISSING_ORDER]
    assert evidence(made, Difference.MISSING_ORDER) == (
        "order 101: SELL 2 STOP @ 4990, CANCELLED, no tag; the position is +2"
    )
    assert made.findings[0].act == TAKEN_AWAY
    assert acts(made) == [Act.PLACE_STOP]


@pytest.mark.parametrize("status", [BrokerStatus.FILLED, BrokerStatus.OPEN])
def test_a_stop_that_filled_or_works_is_not(status: BrokerStatus) -> None:
    row = a_stop(status=status)
    made = plan(long_two(), a_picture(positions=(a_position(2),), orders=(row,)))

    assert Difference.MISSING_ORDER not in differences(made)


def test_a_stop_that_ended_with_its_position_is_not_missing() -> None:
    ended = a_stop(status=BrokerStatus.CANCELLED)
    made = plan(long_two(), a_picture(orders=(ended,)))

    assert differences(made) == [Difference.CLOSED_WHILE_AWAY]


def test_the_stop_of_a_lot_whose_target_filled_is_not_missing_although_more_is_held() -> None:
    guard = long_two()
    target = a_row(
        broker_order_id=TARGET_ID,
        parent_order_id=100,
        side=Side.SELL,
        type=OrderType.LIMIT,
        limit_price=Decimal(5010),
    )
    guard.feed(OrderReported(utc_us=guard.utc_us, order=target, source=Source.HUB))
    rows = (a_stop(status=BrokerStatus.CANCELLED), replace(target, status=BrokerStatus.FILLED))
    made = plan(guard, a_picture(positions=(a_position(1),), orders=rows))

    assert differences(made) == [Difference.SIZE_CHANGED]


def test_a_stop_that_we_asked_to_end_is_not_missing() -> None:
    guard = long_two()
    guard.book.cancel_asked_ns[STOP_ID] = guard.now_ns
    ended = a_stop(status=BrokerStatus.CANCELLED)

    assert plan(guard, a_picture(positions=(a_position(2),), orders=(ended,))).findings == ()


def test_an_order_of_somebody_else_is_not_said_to_freeze_anything() -> None:
    assert "frozen until a person" not in ACTS[Difference.UNKNOWN_ORDER]


def test_an_unanswered_order_is_found_by_its_tag_or_is_missing() -> None:
    guard = a_guard()
    order = guard.submit(type=OrderType.LIMIT, limit_price=Decimal(4950)).order
    assert order is not None
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    row = a_row(custom_tag=order.custom_tag, type=OrderType.LIMIT)

    assert plan(guard, a_picture(orders=(row,), live_orders=(row,))).findings == ()
    lost = plan(guard, a_picture())
    assert differences(lost) == [Difference.MISSING_ORDER]
    assert f"tag {order.custom_tag}" in evidence(lost, Difference.MISSING_ORDER)


# -- what could not be read, and whose account it is ---------------------------------------------


def test_nothing_is_concluded_from_what_could_not_be_read() -> None:
    made = plan(long_two(), a_picture(positions=None, live_orders=None, orders=None, trades=None))

    assert made.findings == ()
    assert made.unread == ("positions", "live_orders", "orders", "trades")
    assert [(it.symbol, it.before, it.quantity) for it in made.symbols] == [("MES", 2, None)]
    assert not made.liquidates


def test_another_account_stops_everything() -> None:
    shown = plan(long_two(), a_picture(account=None, other_accounts=("43 (100K)",)))
    mixed = plan(long_two(), a_picture(positions=(a_position(2, account_id=43),)))

    for made in (shown, mixed):
        assert differences(made) == [Difference.WRONG_ACCOUNT]
        assert "43" in made.findings[0].evidence
        assert all(it.acts == () for it in made.symbols)


# -- downtime ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("downtime", "liquidates"),
    [
        (Downtime(stop=StopKind.CRASH, ms=THRESHOLD_MS + 1), True),
        (Downtime(stop=StopKind.CRASH, ms=THRESHOLD_MS), False),
        (Downtime(stop=StopKind.CRASH, ms=None), False),
        (Downtime(stop=StopKind.CLEAN, ms=10 * THRESHOLD_MS), False),
        (Downtime(stop=StopKind.FIRST), False),
    ],
)
def test_an_account_left_alone_for_too_long_is_taken_flat(
    downtime: Downtime, *, liquidates: bool
) -> None:
    picture = a_picture(positions=(a_position(2),), live_orders=(a_stop(),))
    made = plan(long_two(), picture, downtime)

    assert made.liquidates is liquidates
    assert (acts(made) == [Act.LIQUIDATE]) is liquidates


def test_nothing_is_left_to_liquidate_on_a_flat_account() -> None:
    late = Downtime(stop=StopKind.CRASH, ms=10 * THRESHOLD_MS)

    assert not plan(a_guard(), a_picture(), late).liquidates


def test_the_plan_is_the_same_for_a_book_from_a_checkpoint() -> None:
    guard = long_two()
    picture = a_picture(positions=(a_position(1),), live_orders=(a_stop(),))
    first = plan(guard, picture)
    guard.book = restored(captured(guard.book))

    assert plan(guard, picture) == first


def test_every_difference_has_an_act() -> None:
    assert set(ACTS) == set(Difference)
