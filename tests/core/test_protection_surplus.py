"""Too many stops or targets: they shrink to the position, and no gap opens meanwhile."""

from decimal import Decimal

import pytest
from tests.core.builders import ACCOUNT, MES, Guard, a_policy, a_position
from tests.core.protection_world import LOST, REQUEST_MS, TOLD, Delivery, Request, World

from backstop.core.engine import next_deadline_ns
from backstop.core.execution_verification import REPLY_LIMIT_NS
from backstop.core.leftovers import ASK_AGAIN_NS, ORPHAN_SETTLE_NS
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.step import DecisionKind
from backstop.domain.commands import (
    CancelOrder,
    ClosePosition,
    Command,
    ModifyOrder,
    PlaceOrder,
    RaiseAlert,
)
from backstop.domain.denial import DenialCode
from backstop.domain.events import (
    HaltRequested,
    LegChangeRequested,
    ModifyRequested,
    ResumeRequested,
)
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.exchange_config import (
    LegsOnPartialEntry,
    LegsOnPartialExit,
    MarketRemainder,
    PartialFill,
    SiblingOnCancel,
    SiblingOnPartialLeg,
)

MARKET, LIMIT, STOP = 2, 1, 4
AGAIN_MS = ASK_AGAIN_NS // MILLISECOND_NS


def holding(quantity: int = 3, **switches: object) -> World:
    """Return a world long with a stop at 4990 and a target at 5020."""
    world = World(switches=dict(switches)).start()
    world.enter(quantity=quantity, stop=4990, take_profit_price=Decimal(5020))
    world.wait(500)
    world.naked_ns = world.surplus_ns = 0
    return world


@pytest.mark.parametrize("by", ["a bot", "the web page"])
def test_stop_and_target_follow_a_position_that_gets_smaller(by: str) -> None:
    world = holding()
    if by == "a bot":
        world.exit(1)
    else:
        world.manual(MARKET, Side.SELL, 1)
    world.wait(1_000)

    assert world.position() == 2
    assert world.stops() == [(2, Decimal(4990))]
    assert world.targets() == [(2, Decimal(5020))]
    assert world.naked_ns == 0
    assert world.surplus_ns < 500 * MILLISECOND_NS


@pytest.mark.parametrize("sibling", SiblingOnPartialLeg)
def test_a_stop_that_fills_in_part_leaves_a_stop_and_a_target_for_the_rest(
    sibling: SiblingOnPartialLeg,
) -> None:
    world = holding(
        sibling_on_partial_leg=sibling,
        partial_fill=PartialFill.BY_LIQUIDITY,
        market_remainder=MarketRemainder.WAIT,
    )
    world.quote(4990, size=1)
    world.wait(20)
    world.quote(5000, size=0)
    world.wait(1_000)

    assert world.position() == 2
    assert world.stops() == [(2, Decimal(4990))], "what is left of it goes on"
    assert world.targets() == [(2, Decimal(5020))]
    assert world.placed() == []


def test_a_leg_that_cannot_shrink_is_replaced_before_it_goes() -> None:
    world = holding(resize_leg=False)
    world.exit(1)
    world.wait(4_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.targets() == [(2, Decimal(5020))]
    assert world.naked_ns == 0, "the new one works before the old one is cancelled"
    assert [it.quantity for it in world.placed() if it.type is OrderType.STOP] == [2]


def test_a_target_whose_stop_had_to_be_replaced_comes_back() -> None:
    world = holding(resize_leg=False, sibling_on_manual_cancel=SiblingOnCancel.CANCEL)
    world.exit(1)
    world.wait(4_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.targets() == [(2, Decimal(5020))]
    assert world.naked_ns == 0


def test_a_change_that_the_venue_says_yes_to_and_forgets_is_made_by_another_order() -> None:
    world = holding()
    world.request = lambda command: (
        Request(forgotten=True) if isinstance(command, ModifyOrder) else Request()
    )
    world.exit(1)
    world.wait(3 * AGAIN_MS)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.naked_ns == 0


def test_a_change_that_was_said_yes_to_and_is_shown_by_nothing_brings_no_second_stop() -> None:
    """Silence does not say that it was forgotten: two stops would turn the position around."""
    world = holding()
    world.exit(1)
    world.run_until(lambda: bool(world.sent_of(ModifyOrder)), "the stop is to shrink")
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.reads_fail = True
    world.wait(10 * AGAIN_MS)
    asked = len(world.sent_of(ModifyOrder))

    assert world.stops() == [(2, Decimal(4990))]
    assert world.placed() == []

    world.reads_fail = False
    world.wait(3 * AGAIN_MS)
    assert (world.stops(), world.placed()) == ([(2, Decimal(4990))], [])
    assert len(world.sent_of(ModifyOrder)) == asked <= 2, "a stop and a target"
    assert not world.book.protection.changes


def test_a_move_that_was_said_yes_to_and_is_shown_by_nothing_is_not_asked_for_again_and_again() -> (
    None
):
    world = holding()
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.reads_fail = True
    world.protect(stop=4995)
    world.wait(10 * AGAIN_MS)

    assert world.stops() == [(3, Decimal(4995))]
    assert len(world.sent_of(ModifyOrder)) == 1

    world.reads_fail = False
    world.wait(3 * AGAIN_MS)
    assert not world.book.protection.changes
    assert len(world.sent_of(ModifyOrder)) == 1


REFUSED = Request(refused="the order is being processed")
FORGOTTEN = Request(forgotten=True)
NEVER_ARRIVES = Request(arrives=False, answered=False)


def with_a_successor_of_unknown_fate(resize: Request) -> World:
    """Return a world of 2 contracts and a stop of 3; the one that is to take over never arrived.

    ``resize`` is what becomes of requests to make that stop smaller.
    """
    world = holding()
    resizes(world, resize)
    world.exit(1)
    unknown = OrderState.UNKNOWN
    orders = world.book.orders
    world.run_until(lambda: any(it.state is unknown for it in orders.values()), "it is UNKNOWN")
    assert world.stops() == [(3, Decimal(4990))]
    return world


def resizes(world: World, resize: Request) -> None:
    """Let no order of the guard arrive, and ``resize`` become of what is to make one smaller."""
    (stop,) = (row["id"] for row in world.orders() if row["leg"] == "STOP_LOSS")

    def fate(command: Command) -> Request:
        if isinstance(command, PlaceOrder):
            return NEVER_ARRIVES if command.client_order_id.startswith("protect:") else Request()
        resized = isinstance(command, ModifyOrder) and command.broker_order_id == stop
        return resize if resized else Request()

    world.request = fate


@pytest.mark.parametrize("resize", [REFUSED, FORGOTTEN])
def test_a_stop_whose_successor_may_never_come_is_asked_again_to_shrink(resize: Request) -> None:
    world = with_a_successor_of_unknown_fate(resize)
    resizes(world, Request())
    world.exit(1)
    world.wait(8_000)

    assert world.stops() == [(1, Decimal(4990))], "its successor is of unknown fate still"
    assert any(it.state is OrderState.UNKNOWN for it in world.book.orders.values())
    world.request = lambda _: Request()
    world.wait(60_000)
    assert world.stops() == [(1, Decimal(4990))]
    assert (world.position(), world.naked_ns) == (1, 0)


def test_what_refuses_to_shrink_is_asked_now_and_then() -> None:
    world = with_a_successor_of_unknown_fate(REFUSED)
    asked = len(world.sent_of(ModifyOrder))
    world.wait(30_000)

    assert 2 <= len(world.sent_of(ModifyOrder)) - asked <= 7
    assert world.stops() == [(3, Decimal(4990))]
    assert world.naked_ns == 0


@pytest.mark.parametrize("fate", [Request(answered=False), Request(leaves=False)])
def test_a_change_without_an_answer_is_asked_for_again(fate: Request) -> None:
    world = holding()
    fates = [fate]
    world.request = lambda command: (
        fates.pop() if isinstance(command, ModifyOrder) and fates else Request()
    )
    world.exit(1)
    world.wait(3 * AGAIN_MS)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.placed() == []


def test_a_stop_of_ours_goes_when_the_leg_works_at_last() -> None:
    world = World(
        switches={
            "legs_on_partial_entry": LegsOnPartialEntry.WAIT_FOR_ALL,
            "partial_fill": PartialFill.BY_LIQUIDITY,
            "market_remainder": MarketRemainder.WAIT,
        }
    ).start()
    world.quote(5000, size=1)
    world.enter(quantity=2, stop=4990, type=OrderType.LIMIT, limit_price=Decimal(5000))
    world.wait(1_000)
    (ours,) = world.placed()
    world.quote(5000, size=500)
    world.wait(500)

    number = world.book.orders[ours.client_order_id].broker_order_id
    assert [it.broker_order_id for it in world.sent_of(CancelOrder)] == [number]
    assert world.stops() == [(2, Decimal(4990))]


def test_a_stop_of_somebody_else_that_could_turn_the_position_around_shrinks() -> None:
    world = holding(2)
    world.manual(STOP, Side.SELL, 3, stop_price=Decimal(4980))
    world.wait(3_000)

    assert sum(number for number, _ in world.stops()) == 2


@pytest.mark.parametrize("level", [4980, 4995])
@pytest.mark.parametrize("quantity", [1, 2, 3])
def test_a_stop_of_somebody_else_never_takes_the_place_of_the_approved_one(
    level: int, quantity: int
) -> None:
    world = holding(2)
    number = world.manual(STOP, Side.SELL, quantity, stop_price=Decimal(level))
    world.wait(8_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.targets() == [(2, Decimal(5020))]
    assert world.placed() == []
    assert world.naked_ns == 0
    (told,) = (
        it for it in world.guard.commands_of(RaiseAlert) if it.code == "EXTERNAL_ORDER_CANCELLED"
    )
    assert str(number) in told.message


def test_a_stop_that_somebody_placed_while_no_guard_ran_goes_and_ours_stays() -> None:
    world = holding(2)

    def by_hand() -> None:
        world.manual(STOP, Side.SELL, 2, stop_price=Decimal(4980))

    world.restart_after(by_hand)
    world.wait(3_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.naked_ns == 0


def test_a_stop_of_somebody_else_that_is_gone_is_no_level_for_an_entry_of_ours() -> None:
    world = holding(2)
    number = world.manual(STOP, Side.SELL, 2, stop_price=Decimal(4980))
    world.wait(100)
    world.exchange.cancel(ACCOUNT, number)
    world.take_away()
    world.wait(3_000)

    assert world.stops() == [(2, Decimal(4990))]


def test_a_stop_beside_the_one_that_the_settings_made_up_takes_its_place() -> None:
    """Nobody asked for that level; who opened the position by hand says where it ends."""
    world = World(policy=a_policy(protects=True, default_stop_ticks=40)).start()
    world.manual(MARKET, Side.BUY, 2)
    world.wait(1_500)
    assert world.stops() == [(2, Decimal(4990))]
    world.manual(STOP, Side.SELL, 2, stop_price=Decimal(4995))
    world.wait(1_500)
    assert world.stops() == [(2, Decimal(4995))]
    assert world.naked_ns < 2 * SECOND_NS


def test_a_wider_stop_beside_the_one_that_the_settings_made_up_goes() -> None:
    world = World(policy=a_policy(protects=True, default_stop_ticks=40)).start()
    world.manual(MARKET, Side.BUY, 2)
    world.wait(1_500)
    world.manual(STOP, Side.SELL, 2, stop_price=Decimal(4980))
    world.wait(1_500)

    assert world.stops() == [(2, Decimal(4990))]


def test_under_policy_alert_neither_stop_is_touched() -> None:
    policy = a_policy(protects=True, external_position_policy=ExternalPositionPolicy.ALERT)
    world = World(policy=policy).start()
    world.enter(quantity=2, stop=4990)
    world.wait(500)
    world.manual(STOP, Side.SELL, 2, stop_price=Decimal(4980))
    world.wait(8_000)

    assert world.stops() == [(2, Decimal(4980)), (2, Decimal(4990))]
    assert world.sent_of(CancelOrder) == []
    assert world.sent_of(ModifyOrder) == []


def test_a_stop_that_may_be_a_leg_of_an_order_without_an_answer_is_no_surplus() -> None:
    """The leg of an entry is told before its answer: its number says nothing yet."""
    guard = a_guard_with_a_leg(1)
    guard.submit(client_order_id="c2", quantity=1, stop_loss_price=Decimal(4990))
    guard.row(
        broker_order_id=201,
        parent_order_id=200,
        side=Side.SELL,
        type=OrderType.STOP,
        stop_price=Decimal(4990),
        quantity=1,
    )
    pass_time(guard, 4)

    assert guard.commands_of(CancelOrder) == []


def test_a_bot_s_own_stop_takes_the_place_of_the_leg() -> None:
    """A bot moves its stop by placing another one: the leg makes room, nothing is doubled."""
    world = holding(2)
    world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(4996))
    world.wait(3_000)

    assert world.stops() == [(2, Decimal(4996))]
    assert world.naked_ns == 0


def halted(world: World) -> World:
    world.decide(HaltRequested(utc_us=world.guard.utc_us, reason="enough", operator="Jo"))
    return world


def test_what_would_be_cut_in_another_state_waits_until_the_cut_of_this_one_is_shown() -> None:
    """A stop of a bot's makes the leg smaller; in a halt the leg would be the one that stays."""
    world = holding(2)
    world.enter(Side.SELL, 1, stop=None, type=OrderType.STOP, stop_price=Decimal(4980))
    world.wait(100)
    late = Delivery(copies_ms=(400,))
    world.tell = lambda target: late if target == "GatewayUserOrder" else TOLD
    world.run_until(lambda: bool(world.sent_of(ModifyOrder)), "the leg is to be smaller")
    halted(world)
    world.wait(5_000)

    assert world.stops() == [(1, Decimal(4980)), (1, Decimal(4990))]
    assert world.naked_ns == 0


@pytest.mark.parametrize(("level", "stays"), [(4980, 4990), (4996, 4996)])
@pytest.mark.parametrize("kind", ["halted", "reducing"])
def test_in_no_state_that_refuses_entries_does_a_wider_stop_take_the_place_of_the_nearer_one(
    kind: str, level: int, stays: int
) -> None:
    world = holding(2)
    if kind == "halted":
        halted(world)
    else:
        world.book.links.login_refused = True
    world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(level))
    world.wait(3_000)

    assert world.stops() == [(2, Decimal(stays))]
    assert world.naked_ns == 0


def test_nor_does_one_of_a_bot_take_the_place_of_the_one_that_the_settings_made_up() -> None:
    world = World(policy=a_policy(protects=True, default_stop_ticks=40)).start()
    world.manual(MARKET, Side.BUY, 2)
    world.wait(1_500)
    halted(world)
    world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(4980))
    world.wait(3_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.naked_ns < 2 * SECOND_NS


def test_once_entries_are_let_in_again_a_wider_stop_takes_the_place() -> None:
    world = halted(holding(2))
    resumed = ResumeRequested(utc_us=world.guard.utc_us, reason="seen", operator="Jo")
    assert world.decide(resumed).kind is DecisionKind.ACCEPTED
    world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(4980))
    world.wait(3_000)

    assert world.stops() == [(2, Decimal(4980))]


def test_a_bot_cannot_take_the_nearer_stop_away_because_a_wider_one_covers_too() -> None:
    world = halted(holding(2))
    (leg,) = world.book.working_stops(MES, 2)
    world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(4980))
    world.wait(100)
    assert len(world.stops()) == 2
    asked = LegChangeRequested(utc_us=world.guard.utc_us, broker_order_id=leg.broker_order_id)
    refused = world.decide(asked)
    world.wait(3_000)

    assert [it.code for it in refused.denials] == [DenialCode.STATE_HALTED]
    assert world.stops() == [(2, Decimal(4990))]


def test_a_bot_takes_the_wider_stop_away_in_any_state() -> None:
    world = holding(2)
    world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(4996))
    world.wait(100)
    (leg, _) = sorted(world.book.working_stops(MES, 2), key=lambda row: row.broker_order_id)
    halted(world)
    asked = LegChangeRequested(utc_us=world.guard.utc_us, broker_order_id=leg.broker_order_id)
    decision = world.decide(asked)
    world.wait(3_000)

    assert decision.kind is DecisionKind.ACCEPTED, decision
    assert world.stops() == [(2, Decimal(4996))]


def test_an_entry_that_is_meant_to_turn_the_position_around_is_no_cover() -> None:
    world = World(policy=a_policy(protects=True, allow_flip=True)).start()
    world.enter(quantity=2, stop=4990)
    world.wait(1_100)
    world.enter(Side.SELL, 5, stop=5000, type=OrderType.STOP, stop_price=Decimal(4994))
    world.wait(3_000)

    assert (2, Decimal(4990)) in world.stops()
    assert world.sent_of(CancelOrder) == []


def test_nothing_is_cut_while_a_trade_may_be_on_its_way() -> None:
    """A leg grows with its entry; the trade and the position's row are late: it is no surplus."""
    world = World(switches={"partial_fill": PartialFill.SLICES, "fill_slices": 2}).start()
    late = {"GatewayUserTrade", "GatewayUserPosition"}
    world.enter(quantity=2, stop=4990)
    world.run_until(lambda: world.guard.position() == 1, "the first of two fills")
    world.tell = lambda target: LOST if target in late else TOLD
    world.reads_fail = True
    world.wait(700)
    assert world.position() == 2
    assert world.guard.position() == 1
    world.reads_fail = False
    world.wait(7_000)

    assert world.guard.position() == 2
    assert world.stops() == [(2, Decimal(4990))]
    assert world.sent_of(ModifyOrder) == []
    assert world.sent_of(CancelOrder) == []


def test_a_stop_is_not_put_back_for_contracts_whose_exit_is_only_known_by_its_row() -> None:
    """The target filled, its trade is lost, and the venue cancels the stop: nothing is naked."""
    world = holding(2)
    lost = {"GatewayUserTrade", "GatewayUserPosition"}
    world.tell = lambda target: LOST if target in lost else TOLD
    world.reads_fail = True
    world.quote(5021)
    world.wait(3_000)
    assert world.position() == 0
    assert world.guard.position() == 2
    assert world.placed() == []
    world.reads_fail = False
    world.wait(7_000)

    assert world.guard.position() == 0
    assert world.placed() == []
    assert world.sent_of(ClosePosition) == []


def test_a_cut_that_the_venue_shows_is_asked_for_once() -> None:
    world = holding()
    world.exit(1)
    world.wait(3 * AGAIN_MS)

    assert len(world.sent_of(ModifyOrder)) == 2, "the stop and the target"
    assert world.book.protection.changes == {}


def test_a_cut_that_was_asked_for_before_a_restart_is_asked_for_again_at_once() -> None:
    world = holding()
    world.request = lambda command: Request(arrives=not isinstance(command, ModifyOrder))
    world.exit(1)
    world.run_until(lambda: any(it.quantity for it in world.sent_of(ModifyOrder)), "the cut")
    world.request = lambda _: Request()
    world.restart(down_ms=10)
    world.wait(AGAIN_MS // 2)

    assert world.stops() == [(2, Decimal(4990))]


def a_guard_with_a_leg(quantity: int) -> Guard:
    """Return a guard long 1 of an entry of 2, whose stop leg covers ``quantity``."""
    guard = Guard(policy=a_policy(protects=True)).start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.trade(quantity=1)
    guard.position_row(1)
    guard.row(
        broker_order_id=101,
        parent_order_id=100,
        side=Side.SELL,
        type=OrderType.STOP,
        stop_price=Decimal(4990),
        quantity=quantity,
    )
    return guard


def pass_time(guard: Guard, seconds: int) -> None:
    """Let the core's own deadlines pass; nothing that it asks for is answered."""
    end_ns = guard.now_ns + seconds * SECOND_NS
    while (due_ns := next_deadline_ns(guard.book)) and due_ns <= end_ns:
        guard.now_ns = max(guard.now_ns, due_ns)
        guard.timer(after_ms=0)


def test_a_leg_that_covers_more_than_its_entry_is_known_to_have_filled_is_no_surplus() -> None:
    """The second fill's trade is lost, and so is its row: only the leg tells of it."""
    guard = a_guard_with_a_leg(2)
    pass_time(guard, 10)

    assert guard.commands_of(ModifyOrder) == []
    assert guard.commands_of(CancelOrder) == []


def test_reads_that_agree_make_it_one() -> None:
    guard = a_guard_with_a_leg(2)
    leg = guard.book.venue_orders[101].row
    for _ in range(3):
        guard.audit(after_ms=2_000, positions=(a_position(1),), live_orders=(leg,))
    pass_time(guard, 3)

    assert [it.quantity for it in guard.commands_of(ModifyOrder)][:1] == [1]


@pytest.mark.parametrize("side", Side)
def test_legs_of_an_order_that_turned_the_position_around_are_cut_without_waiting_for_reads(
    side: Side,
) -> None:
    """The venue makes them for the whole order; a part of it closed what was held before."""
    policy = a_policy(protects=True, allow_flip=True)
    switches = {"partial_fill": PartialFill.SLICES, "resize_leg": False}
    world = World(policy=policy, switches=switches).start()
    sign = side.sign
    world.enter(side, 1, stop=5000 - sign * 10)
    world.wait(500)
    for _ in range(6):  # reads that settle nothing are repeated ever more slowly
        world.manual(STOP, side.opposite, 2, stop_price=Decimal(5000 - sign * 20))
        world.wait(300)
        world.take_away()
        world.wait(300)
    world.surplus_ns = 0
    world.enter(
        side.opposite, 2, stop=5000 + sign * 10, take_profit_price=Decimal(5000 - sign * 20)
    )
    world.wait(3_000)

    assert world.position() == -sign
    assert world.stops() == [(1, Decimal(5000 + sign * 10))]
    assert [quantity for quantity, _ in world.targets()] == [1]
    assert world.surplus_ns < SECOND_NS


@pytest.mark.parametrize("side", Side)
def test_an_exit_that_came_too_late_and_opened_the_other_side_is_undone(side: Side) -> None:
    """The stop fires while the exit is on its way: together they are twice the position."""
    world = World(policy=a_policy(protects=True, default_stop_ticks=40)).start()
    sign = side.sign
    world.enter(side, 2, stop=5000 - sign * 10)
    world.wait(500)
    world.request = lambda _: Request(ms=200)
    world.enter(side.opposite, 2, stop=None)
    world.request = lambda _: Request()
    world.wait(50)
    world.quote(5000 - sign * 10)
    world.run_until(lambda: world.position() == -2 * sign, "the other side")
    world.wait(3_000)

    assert world.position() == 0
    assert world.guard.alerts().count("STOP_OPENED_POSITION") == 1
    assert world.stops() == []


def test_a_bot_s_stop_stays_one_where_turns_are_allowed_and_the_position_shrank() -> None:
    """It was let through as a stop for all; somebody else's exit overtook it."""
    world = World(policy=a_policy(protects=True, allow_flip=True)).start()
    world.enter(Side.BUY, 4, stop=4990)
    world.wait(500)
    world.request = lambda _: Request(ms=100)
    world.enter(Side.SELL, 4, stop=None, type=OrderType.STOP, stop_price=Decimal(4992))
    world.manual(MARKET, Side.SELL, 1)
    world.request = lambda _: Request()
    world.wait(8_000)

    assert world.position() == 3
    assert sum(quantity for quantity, _ in world.stops()) == 3


def test_nothing_is_cut_while_a_bot_takes_a_stop_away() -> None:
    """Both would go, and together they are more than what is too much."""
    world = holding(3)
    own = world.enter(Side.SELL, 1, stop=None, type=OrderType.STOP, stop_price=Decimal(4985))
    world.wait(ORPHAN_SETTLE_NS // MILLISECOND_NS - 50)
    world.request = lambda command: Request(ms=200 if isinstance(command, CancelOrder) else 5)
    assert world.cancel(own).kind is DecisionKind.ACCEPTED
    world.wait(1_000)

    assert world.stops() == [(3, Decimal(4990))]
    assert world.naked_ns == 0


def test_a_stop_that_does_not_go_after_all_is_too_much_again() -> None:
    world = holding(3)
    own = world.enter(Side.SELL, 1, stop=None, type=OrderType.STOP, stop_price=Decimal(4985))
    world.wait(ORPHAN_SETTLE_NS // MILLISECOND_NS - 50)
    world.request = lambda command: Request(leaves=not isinstance(command, CancelOrder))
    assert world.cancel(own).kind is DecisionKind.ACCEPTED
    world.request = lambda _: Request()
    world.wait(REPLY_LIMIT_NS // MILLISECOND_NS + 1_000)

    assert sum(quantity for quantity, _ in world.stops()) == 3
    assert world.naked_ns == 0


def test_a_bot_cannot_take_away_the_stop_for_which_another_one_is_being_cut() -> None:
    world = World(policy=a_policy(protects=True, stop_required=True)).start()
    world.enter(quantity=3, stop=4990)
    world.wait(500)
    own = world.enter(Side.SELL, 1, stop=None, type=OrderType.STOP, stop_price=Decimal(4985))
    world.wait(100)
    world.request = lambda _: Request(ms=200)
    world.run_until(lambda: bool(world.sent_of(ModifyOrder)), "the cut")
    world.naked_ns = 0

    assert world.cancel(own).kind is DecisionKind.REFUSED
    world.wait(1_000)

    assert sum(quantity for quantity, _ in world.stops()) == 3
    assert world.naked_ns == 0


def test_nothing_is_cut_while_a_bot_makes_a_stop_smaller() -> None:
    """Each would be enough for itself: together they are more than what is too much."""
    world = holding(3)
    own = world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(4985))
    world.wait(500)
    assert sorted(world.stops()) == [(1, Decimal(4990)), (2, Decimal(4985))]
    world.request = lambda it: Request(ms=600 if isinstance(it, ModifyOrder) else 5)
    world.enter(Side.SELL, 1, stop=None)
    world.wait(5)
    wish = ModifyRequested(utc_us=world.guard.utc_us, client_order_id=own, quantity=1)
    assert world.decide(wish).kind is DecisionKind.ACCEPTED
    world.wait(2_000)

    assert sum(quantity for quantity, _ in world.stops()) == 2
    assert world.naked_ns == 0


def test_what_became_too_many_just_now_waits_although_others_were_before() -> None:
    """The venue takes it away by itself, or a fill is on its way that needs it."""
    settle_ms = ORPHAN_SETTLE_NS // MILLISECOND_NS
    world = World().start()
    for stop in (4990, 4985, 4980):
        world.enter(quantity=1, stop=stop)
    world.wait(500)
    world.exit(1)
    world.wait(settle_ms - 50)
    world.exit(1)
    world.wait(settle_ms - 50)
    assert world.sent_of(CancelOrder) == []

    world.wait(200)
    assert world.stops() == [(1, Decimal(4990))]


def test_no_other_stop_is_cut_for_one_that_was_asked_to_go_and_may_be_gone() -> None:
    """Its cancel worked, and nothing tells so: the stops that are left are needed, each of them."""
    world = World(policy=a_policy(protects=True)).start()
    world.enter(quantity=1, stop=4990)
    world.wait(500)
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.request = lambda it: Request(answered=not isinstance(it, CancelOrder))
    world.enter(Side.SELL, 1, stop=None, type=OrderType.STOP, stop_price=Decimal(4985))
    world.run_until(lambda: world.stops() == [(1, Decimal(4985))], "the leg is gone")
    world.reads_fail = True
    world.tell = lambda _: TOLD
    world.enter(quantity=1, stop=4980)
    world.wait(200)
    world.naked_ns = 0
    world.wait(REPLY_LIMIT_NS // MILLISECOND_NS + 5_000)

    assert (world.position(), world.naked_ns) == (2, 0)


def test_no_stop_is_cut_for_one_whose_trade_says_that_it_has_filled() -> None:
    """Its row tells of it later, or never: by the trade it is no stop any more."""
    world = World().start()
    world.enter(quantity=1, stop=4990)
    world.enter(quantity=1, stop=4980)
    world.wait(500)
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.reads_fail = True
    world.naked_ns = 0
    world.quote(4988)
    world.wait(5_000)

    assert world.position() == world.guard.position() == 1
    assert world.stops() == [(1, Decimal(4980))]
    assert world.naked_ns == 0


def whose_target_fills_while_no_guard_runs() -> World:
    """Return a world that was long 2 in two entries; with the target its nearer stop went, too."""
    world = World().start()
    world.enter(quantity=1, stop=4990, take_profit_price=Decimal(5010))
    world.enter(quantity=1, stop=4985)
    world.wait(500)
    world.reads_reach_back = False
    world.naked_ns = 0
    world.restart_after(lambda: world.quote(5011))
    world.run_until(lambda: world.book.recovered, "recovered")
    assert world.stops() == [(1, Decimal(4985))]
    assert world.book.stop_cover(MES, 1) == 2, "nobody said yet that the other one is gone"
    return world


@pytest.mark.parametrize("reads_fail", [False, True])
def test_no_stop_that_a_list_shows_is_cut_for_one_that_it_lacks(*, reads_fail: bool) -> None:
    """What the list lacks may be gone: until that is known it makes nothing too many."""
    world = whose_target_fills_while_no_guard_runs()
    world.reads_fail = reads_fail
    world.wait(5_000)

    assert world.stops() == [(1, Decimal(4985))]
    assert world.sent_of(CancelOrder) == []
    assert (world.position(), world.naked_ns) == (1, 0)


def test_a_stop_that_is_listed_again_makes_others_too_many_again() -> None:
    world = World().start()
    near, _ = (world.enter(quantity=1, stop=stop) for stop in (4990, 4985))
    world.wait(500)
    world.reads_fail = True
    world.book.unlisted[leg_of(world, near)] = 1
    world.exit(1)
    world.wait(5_000)
    assert world.stops() == [(1, Decimal(4985)), (1, Decimal(4990))]

    world.reads_fail = False
    world.wait(10_000)
    assert world.stops() == [(1, Decimal(4990))], "the other one loses more"


def test_what_is_too_many_without_a_stop_that_a_list_lacks_is_cut() -> None:
    world = World().start()
    near, _ = (world.enter(quantity=1, stop=stop) for stop in (4990, 4985))
    world.wait(500)
    world.reads_fail = True
    world.book.unlisted[leg_of(world, near)] = 1
    world.manual(STOP, Side.SELL, 3, stop_price=Decimal(4980))
    world.wait(5_000)

    assert world.stops() == [(1, Decimal(4980)), (1, Decimal(4985)), (1, Decimal(4990))]


def leg_of(world: World, owner: str) -> int:
    """Return the number of the leg of an entry."""
    legs = (number for number, it in world.book.venue_orders.items() if it.owner == owner)
    return next(legs)


def with_a_stop_of_ours_beside_a_leg(**switches: object) -> World:
    """Return a world long 2: a stop of the guard's at 4990 for one, a leg at 4985 for the other."""
    world = World(switches=dict(switches)).start()
    world.enter(quantity=1, stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(1_000)
    world.enter(quantity=1, stop=4985, take_profit_price=Decimal(5010))
    world.wait(5_000)
    assert world.stops() == [(1, Decimal(4985)), (1, Decimal(4990))]
    world.naked_ns = world.surplus_ns = 0
    return world


def test_no_stop_of_ours_makes_room_for_the_leg_that_goes_with_a_target() -> None:
    """The venue takes the sibling away in a moment; until then it looks like one too many."""
    world = with_a_stop_of_ours_beside_a_leg()
    world.quote(5011)
    world.wait(5_000)

    assert (world.position(), world.stops()) == (1, [(1, Decimal(4990))])
    assert world.naked_ns == 0


def test_nor_for_one_that_goes_with_a_part_of_the_position() -> None:
    world = with_a_stop_of_ours_beside_a_leg(legs_on_partial_exit=LegsOnPartialExit.CANCEL)
    world.exit(1)
    world.wait(5_000)

    assert (world.position(), world.stops()) == (1, [(1, Decimal(4990))])
    assert world.naked_ns == 0


def test_it_goes_in_a_moment_when_the_leg_stays() -> None:
    world = with_a_stop_of_ours_beside_a_leg()
    world.exit(1)
    world.wait(5_000)

    assert (world.position(), world.stops()) == (1, [(1, Decimal(4985))])
    assert world.naked_ns == 0
    assert world.surplus_ns < 2 * ORPHAN_SETTLE_NS


def test_what_reads_proved_before_an_exit_was_told_is_no_proof_after_it() -> None:
    """Of an exit only its row is told: the leg that went with it still looks like a stop."""
    world = with_a_stop_of_ours_beside_a_leg(legs_on_partial_exit=LegsOnPartialExit.CANCEL)
    world.wait(10_000)
    assert world.book.position(MES).is_proven
    world.reads_fail = True
    world.tell = lambda target: TOLD if target == "GatewayUserOrder" else LOST
    world.exit(1)
    world.run_until(lambda: bool(world.book.protection.awaited), "its row")
    world.tell = lambda _: LOST
    world.wait(2_000)
    assert world.stops() == [(1, Decimal(4990))]

    world.reads_fail = False
    world.wait(10_000)
    assert (world.position(), world.guard.position()) == (1, 1)
    assert world.stops() == [(1, Decimal(4990))]
    assert world.naked_ns == 0


def test_a_leg_whose_end_was_not_told_takes_over_from_no_other() -> None:
    world = World().start()
    world.enter(quantity=1, stop=4990, take_profit_price=Decimal(5010))
    world.enter(quantity=1, stop=4985)
    world.wait(5_000)
    assert world.stops() == [(1, Decimal(4985)), (1, Decimal(4990))]
    world.naked_ns = 0
    world.reads_fail = True
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.quote(5011)
    world.wait(3_000)
    assert world.guard.position() == world.position() == 1
    world.reads_fail = False
    world.wait(5_000)

    assert world.stops() == [(1, Decimal(4985))]
    assert world.naked_ns == 0


@pytest.mark.parametrize("sibling", SiblingOnCancel)
def test_a_target_that_goes_takes_no_stop_with_it_that_is_needed(sibling: SiblingOnCancel) -> None:
    """The venue may take the stop of a bracket away with its target, and the other way round."""
    world = World(switches={"sibling_on_manual_cancel": sibling}).start()
    for quantity, stop, target in ((7, 4980, 5010), (1, 4985, 5020), (3, 4990, 5030)):
        world.enter(quantity=quantity, stop=stop, take_profit_price=Decimal(target))
        world.wait(500)
    world.wait(5_000)
    assert (world.position(), world.cover()) == (11, 11)
    world.naked_ns = world.surplus_ns = 0

    world.exit(9)
    world.wait(5_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.targets() == [(2, Decimal(5030))]
    assert world.naked_ns == 0
    assert world.surplus_ns < 2 * ORPHAN_SETTLE_NS


def test_nor_one_whose_stop_is_not_cut_before_a_read_shows_the_others() -> None:
    """A part is sold, and somebody takes the other bracket away; only the sale is told."""
    world = World(switches={"sibling_on_manual_cancel": SiblingOnCancel.CANCEL}).start()
    near, _ = (
        world.enter(quantity=1, stop=stop, take_profit_price=Decimal(target))
        for stop, target in ((4990, 5010), (4985, 5020))
    )
    world.wait(5_000)
    world.naked_ns = 0
    world.reads_fail = True
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.exit(1)
    world.run_until(lambda: world.position() == 1, "sold")
    assert world.exchange.cancel(ACCOUNT, leg_of(world, near)).code == 0
    world.wait(3_000)
    assert world.guard.position() == world.position() == 1
    assert world.stops() == [(1, Decimal(4985))]
    world.reads_fail = False
    world.wait(5_000)

    assert world.stops() == [(1, Decimal(4985))]
    assert world.naked_ns == 0


@pytest.mark.parametrize("back", [False, True])
def test_a_move_that_never_leaves_holds_no_cut_back(*, back: bool) -> None:
    """While the disk takes nothing a stop is not moved further away, but it may become smaller."""
    world = holding()
    is_move = lambda it: isinstance(it, ModifyOrder) and it.stop_price is not None  # noqa: E731
    kept = Request(leaves=False)
    world.request = lambda it: kept if is_move(it) else Request()
    world.protect(stop=4985)
    world.wait(100)
    world.exit(2)
    world.wait(5_000)

    assert world.stops() == [(1, Decimal(4990))]
    assert world.surplus_ns < 2 * ORPHAN_SETTLE_NS + REQUEST_MS * MILLISECOND_NS
    if back:
        world.request = lambda _: Request()
    world.wait(10_000)
    assert world.stops() == [(1, Decimal(4985 if back else 4990))]
    assert len(world.sent_of(PlaceOrder)) == 2, "the entry and the exit: no stop takes its place"
    assert world.naked_ns == 0
