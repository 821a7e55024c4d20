"""Levels that somebody asks for, and what the venue's bracket mode refuses."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, a_policy, a_position, a_quote, an_instrument
from tests.core.protection_world import LOST, TOLD, Request, World

from backstop.core.leftovers import ASK_AGAIN_NS
from backstop.core.policy import MILLISECOND_NS
from backstop.core.protection_situation import is_in_place
from backstop.core.protection_wishes import levels_in_ticks
from backstop.core.step import Decision, DecisionKind
from backstop.domain.commands import ModifyOrder, PlaceOrder, RaiseAlert
from backstop.domain.denial import DenialCode
from backstop.domain.events import HaltRequested, PositionReported, ProtectionRequested, Source
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.exchange_config import BracketMode

MARKET = 2
AGAIN_MS = ASK_AGAIN_NS // MILLISECOND_NS


def holding(side: Side = Side.BUY, **changes: Any) -> World:
    world = World().start()
    sign = side.sign
    members: dict[str, Any] = {"take_profit_price": Decimal(5000 + 20 * sign)} | changes
    world.enter(side, 2, stop=5000 - 10 * sign, **members)
    world.wait(500)
    world.naked_ns = world.surplus_ns = 0
    return world


# -- moves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
def test_working_orders_are_moved_in_place(side: Side) -> None:
    world = holding(side)
    decision = world.protect(stop=5000 - 5 * side.sign, target=5000 + 30 * side.sign)
    world.wait(100)

    assert decision.kind is DecisionKind.ACCEPTED
    assert world.stops() == [(2, Decimal(5000 - 5 * side.sign))]
    assert world.targets() == [(2, Decimal(5000 + 30 * side.sign))]
    assert (world.naked_ns, world.surplus_ns) == (0, 0)
    assert world.placed() == []


@pytest.mark.parametrize("levels", [{"stop": 4995}, {"target": 5030}])
def test_a_level_that_is_not_named_stays(levels: dict[str, Any]) -> None:
    world = holding()
    world.protect(**levels)
    world.wait(100)

    assert world.stops() == [(2, Decimal(levels.get("stop", 4990)))]
    assert world.targets() == [(2, Decimal(levels.get("target", 5020)))]


def test_levels_that_are_asked_for_before_the_legs_are_heard_of_hold_for_them() -> None:
    world = World().start()
    world.enter(stop=4990, take_profit_price=Decimal(5020))
    world.run_until(lambda: world.guard.position() == 2, "the fill")
    assert world.protect(stop=4994, target=5030).kind is DecisionKind.ACCEPTED
    world.wait(1_000)

    assert world.stops() == [(2, Decimal(4994))]
    assert world.targets() == [(2, Decimal(5030))]
    assert world.placed() == []


def with_our_stop_on_its_way() -> World:
    """Return a world in which somebody bought two by hand, and our stop at 4990 has just left."""
    world = World(policy=a_policy(protects=True, default_stop_ticks=40)).start()
    world.manual(MARKET, Side.BUY, 2)
    world.run_until(lambda: world.placed() != [], "our stop")
    return world


@pytest.mark.parametrize("passed_ms", [0, 6])
@pytest.mark.parametrize("lost", [False, True])
def test_a_level_that_is_asked_for_while_our_stop_is_on_its_way_holds_for_it(
    passed_ms: int, *, lost: bool
) -> None:
    world = with_our_stop_on_its_way()
    if lost:  # what the hub would tell of it: a read finds it
        world.tell = lambda _: LOST
    world.wait(passed_ms)
    assert world.protect(stop=4993).kind is DecisionKind.ACCEPTED
    world.wait(100)
    world.tell = lambda _: TOLD
    world.wait(5_000)

    assert world.stops() == [(2, Decimal(4993))]
    assert len(world.placed()) == 1
    world.move(world.orders()[-1]["id"], stop=4991)
    world.wait(1_000)
    assert world.stops() == [(2, Decimal(4991))], "a later move is the trader's own"


def test_a_target_that_is_asked_for_while_one_of_ours_is_on_its_way_holds_for_it() -> None:
    world = with_our_stop_on_its_way()
    world.wait(1_000)
    world.protect(target=5020)
    world.run_until(lambda: len(world.placed()) == 2, "our target")
    world.protect(target=5030)
    world.wait(5_000)

    assert world.targets() == [(2, Decimal(5030))]


@pytest.mark.parametrize(("level", "passes"), [(4985, False), (4990, True), (4993, True)])
def test_while_entries_are_refused_a_stop_that_is_on_its_way_is_not_moved_away_either(
    level: int, *, passes: bool
) -> None:
    """It may stand already. No entry is let in as long as the position is naked."""
    world = with_our_stop_on_its_way()

    decision = world.protect(stop=level)
    world.wait(5_000)

    codes = [] if passes else [DenialCode.STATE_REDUCING]
    assert [it.code for it in decision.denials] == codes
    assert world.stops() == [(2, Decimal(level if passes else 4990))]


def test_a_position_without_a_stop_gets_one_at_once() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(10_000)
    world.protect(stop=4990, target=5020)
    world.wait(100)

    assert world.stops() == [(2, Decimal(4990))]
    world.wait(500)
    assert world.targets() == [(2, Decimal(5020))]
    assert [it.type for it in world.placed()] == [OrderType.STOP, OrderType.LIMIT]


def test_what_was_asked_for_is_what_is_put_back_also_after_a_restart() -> None:
    world = holding()
    world.protect(stop=4996)
    world.wait(100)
    world.restart()
    world.wait(1_000)
    world.take_away()
    world.wait(1_000)

    assert world.stops() == [(2, Decimal(4996))]


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("lost", [True, False])
def test_a_move_that_a_crash_cut_off_is_still_what_was_asked_for(*, left: bool, lost: bool) -> None:
    """It left or it did not; the stop still works, or somebody took it away meanwhile."""
    world = holding()
    world.request = lambda _: Request(arrives=left, answered=False)
    world.tell = lambda _: LOST
    world.protect(stop=4995, target=5030)
    world.wait(10)
    world.request = lambda _: Request()
    world.tell = lambda _: TOLD
    world.restart_after(world.take_away if lost else lambda: None)
    world.wait(5_000)

    assert world.stops() == [(2, Decimal(4995))]
    assert [ticks for _, ticks in world.targets()] == [Decimal(5030)]


def test_a_later_move_by_the_trader_counts_more_than_what_was_asked_for() -> None:
    world = holding()
    world.protect(stop=4996)
    world.wait(100)
    (leg,) = [row for row in world.orders() if row["leg"] == "STOP_LOSS"]
    world.move(leg["id"], stop=4992)
    world.wait(100)
    world.take_away()
    world.wait(1_000)

    assert world.stops() == [(2, Decimal(4992))]


def test_a_later_move_of_a_stop_that_we_placed_counts_too() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_000)
    world.protect(stop=4990)
    world.wait(1_000)
    (ours,) = world.placed()
    number = world.book.orders[ours.client_order_id].broker_order_id
    assert number is not None
    world.move(number, stop=4993)
    world.wait(100)
    world.exchange.cancel(42, number)
    world.wait(1_000)

    assert world.stops() == [(2, Decimal(4993))]


def test_a_trailing_stop_is_replaced_by_one_at_the_asked_level() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    world.enter(Side.SELL, 2, stop=None, type=OrderType.TRAILING_STOP, stop_price=Decimal(4990))
    world.wait(1_000)
    assert world.placed() == [], "the venue trails it: it is cover"
    world.naked_ns = 0
    world.protect(stop=4985)
    world.wait(1_000)

    assert (2, Decimal(4985)) in world.stops()
    assert world.naked_ns == 0


def test_a_move_that_the_venue_refuses_leaves_the_stop_where_it_stands() -> None:
    world = holding()
    world.request = lambda command: Request(
        refused="Invalid stop price" if isinstance(command, ModifyOrder) else ""
    )
    world.protect(stop=4996)
    world.wait(3 * AGAIN_MS)

    assert world.stops() == [(2, Decimal(4990))]
    assert len(world.sent_of(ModifyOrder)) == 1
    (alert,) = world.sent_of(RaiseAlert)
    assert alert.code == "LEG_NOT_ALIGNED"
    assert world.book.protection.refusals == {MES: "Invalid stop price"}

    world.take_away()
    world.wait(1_000)
    assert world.stops() == [(2, Decimal(4990))], "the record says what stood, not what was asked"


def test_a_leg_that_ended_before_it_was_moved_is_no_refused_move() -> None:
    """The market runs through the stop while its move is under way: the venue says no to that."""
    world = holding()
    world.request = lambda command: Request(ms=20 if isinstance(command, ModifyOrder) else 5)
    world.protect(stop=4996)
    world.wait(10)
    world.quote(4989)
    world.wait(3_000)

    assert world.position() == 0
    assert len(world.sent_of(ModifyOrder)) == 1
    assert "LEG_NOT_ALIGNED" not in {alert.code for alert in world.sent_of(RaiseAlert)}
    assert world.book.protection.changes == {}


def test_a_refused_move_of_a_stop_that_we_placed_is_off_the_record_too() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    world.protect(stop=4990)
    world.wait(1_000)
    world.request = lambda command: Request(
        refused="Invalid stop price" if isinstance(command, ModifyOrder) else ""
    )
    world.protect(stop=4996)
    world.wait(1_000)
    (ours,) = world.placed()
    number = world.book.orders[ours.client_order_id].broker_order_id
    assert number is not None
    world.exchange.cancel(42, number)
    world.wait(1_000)

    assert world.stops() == [(2, Decimal(4990))]


def test_a_move_without_an_answer_is_asked_for_again() -> None:
    world = holding()
    fates = [Request(arrives=False)]
    world.request = lambda command: (
        fates.pop() if isinstance(command, ModifyOrder) and fates else Request()
    )
    world.protect(stop=4996)
    world.wait(3 * AGAIN_MS)

    assert world.stops() == [(2, Decimal(4996))]


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "levels", "code"),
    [
        (Side.BUY, {"stop": 5000}, DenialCode.BRACKET_STOP_SIDE),
        (Side.BUY, {"stop": 4999.75}, DenialCode.BRACKET_STOP_SIDE),
        (Side.BUY, {"target": 4999}, DenialCode.BRACKET_TARGET_SIDE),
        (Side.SELL, {"stop": 4995}, DenialCode.BRACKET_STOP_SIDE),
        (Side.SELL, {"target": 5000}, DenialCode.BRACKET_TARGET_SIDE),
        (Side.BUY, {"stop": -10}, DenialCode.PRICE_INVALID),
    ],
)
def test_a_level_on_the_wrong_side_of_the_market_is_refused_before_it_is_sent(
    side: Side, levels: dict[str, float], code: DenialCode
) -> None:
    world = holding(side)
    before = len(world.sent)
    decision = world.protect(**levels)

    assert decision.kind is DecisionKind.REFUSED
    assert [denial.code for denial in decision.denials] == [code]
    assert len(world.sent) == before
    world.wait(500)
    assert len(world.stops()) == 1


def test_without_a_market_price_the_venue_decides_and_what_works_stays() -> None:
    world = holding()
    decision = world.protect(stop=5001, reference=None)
    world.wait(500)

    assert decision.kind is DecisionKind.ACCEPTED
    assert world.stops() == [(2, Decimal(4990))]


@pytest.mark.parametrize("reference", [None, a_quote(last=None), a_quote(bid=None)])
def test_a_quote_that_lacks_a_part_is_used_for_the_rest(reference: Any) -> None:
    world = holding()

    assert world.protect(stop=4995, reference=reference).kind is DecisionKind.ACCEPTED


def test_a_flat_contract_takes_no_protection() -> None:
    world = World().start()
    decision = world.protect(stop=4990)

    assert decision.kind is DecisionKind.NOT_POSSIBLE
    assert "flat" in decision.message


def test_a_contract_that_nobody_knows_takes_none_either() -> None:
    world = World().start()
    wish = ProtectionRequested(utc_us=world.guard.utc_us, contract_id="CON.X", stop_ticks=1)

    assert world.decide(wish).kind is DecisionKind.UNKNOWN_SYMBOL


def test_a_closed_gate_refuses_and_says_so() -> None:
    world = World(policy=a_policy(protects=True, dry_run=True)).start()
    world.manual(MARKET, Side.BUY, 2)
    world.wait(1_000)
    decision = world.protect(stop=4990)

    assert decision.kind is DecisionKind.REFUSED
    assert [denial.code for denial in decision.denials] == [DenialCode.GATE_DRY_RUN]
    assert world.sent_of(PlaceOrder) == []


# -- a bot's own stop ------------------------------------------------------------------------------


@pytest.mark.parametrize(("stop_required", "kept"), [(False, []), (True, [(2, Decimal(4990))])])
def test_a_bot_may_take_its_stop_away_only_where_positions_may_go_without(
    *, stop_required: bool, kept: list[Any]
) -> None:
    world = World(policy=a_policy(protects=True)).start()
    world.enter(stop=None)
    world.wait(1_100)
    name = world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(4990))
    world.wait(1_000)
    assert world.stops() == [(2, Decimal(4990))]
    world.book.policy = a_policy(protects=True, stop_required=stop_required)
    world.cancel(name)
    world.wait(3_000)

    assert world.stops() == kept
    assert world.position() == 2


# -- the bracket mode of the account ---------------------------------------------------------------


def test_entries_that_the_bracket_mode_refuses_are_not_retried_and_a_person_is_told_once() -> None:
    world = World(account={"bracket_mode": BracketMode.POSITION}).start()
    first = world.enter(stop=4990)
    world.wait(1_500)
    second = world.enter(stop=4990)
    world.wait(1_500)

    assert {world.book.orders[name].state for name in (first, second)} == {OrderState.REJECTED}
    assert len(world.sent_of(PlaceOrder)) == 2
    assert world.position() == 0
    (alert,) = world.sent_of(RaiseAlert)
    assert alert.code == "BRACKETS_REFUSED"
    assert "Auto OCO" in alert.message


def test_when_the_mode_was_changed_the_next_refusal_is_told_again() -> None:
    world = World(account={"bracket_mode": BracketMode.POSITION}).start()
    world.enter(stop=4990)
    world.wait(1_500)
    assert world.exchange.set_bracket_mode(42, BracketMode.AUTO_OCO)
    world.enter(stop=4990)
    world.wait(1_500)
    assert world.position() == 2
    assert not world.book.protection.brackets_refused
    world.exit(2)
    world.wait(3_000)
    assert world.exchange.set_bracket_mode(42, BracketMode.POSITION)
    world.enter(stop=4990)
    world.wait(1_500)

    codes = [alert.code for alert in world.sent_of(RaiseAlert)]
    assert codes == ["BRACKETS_REFUSED", "BRACKETS_REFUSED"]


# -- away from the market --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "stop", "kind"),
    [
        (Side.BUY, 4995, DecisionKind.ACCEPTED),
        (Side.BUY, 4985, DecisionKind.REFUSED),
        (Side.SELL, 5005, DecisionKind.ACCEPTED),
        (Side.SELL, 5015, DecisionKind.REFUSED),
    ],
)
def test_while_entries_are_refused_a_stop_moves_only_towards_the_market(
    side: Side, stop: int, kind: DecisionKind
) -> None:
    world = holding(side)
    world.feed(HaltRequested(utc_us=world.guard.utc_us, reason="news", operator="ann"))
    decision = world.protect(stop=stop)

    assert decision.kind is kind
    assert {denial.code for denial in decision.denials} <= {DenialCode.STATE_HALTED}


@pytest.mark.parametrize(("stop", "kind"), [(4985, "REFUSED"), (4995, "ACCEPTED")])
def test_contracts_without_a_stop_are_no_licence_to_move_the_stop_of_the_others_away(
    stop: int, kind: str
) -> None:
    world = World().start()
    world.enter(stop=4990, quantity=1)
    world.wait(1_100)
    world.feed(HaltRequested(utc_us=world.guard.utc_us, reason="news", operator="ann"))
    world.manual(MARKET, Side.BUY, 1)
    world.wait(20)
    assert world.cover() < world.position()

    assert world.protect(stop=stop).kind == kind


def test_a_naked_position_may_have_any_stop_in_every_state() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    world.feed(HaltRequested(utc_us=world.guard.utc_us, reason="news", operator="ann"))

    assert world.protect(stop=4980).kind is DecisionKind.ACCEPTED
    world.wait(1_000)
    assert world.stops() == [(2, Decimal(4980))], "a halt leaves it alone"


# -- prices to the tick ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "stop", "target", "ticks"),
    [
        (2, "4990.10", "5020.10", (19961, 20081)),
        (-2, "5010.10", "4980.10", (20040, 19920)),
        (2, None, "5020", (None, 20080)),
        (2, "4990", None, (19960, None)),
    ],
)
def test_levels_are_rounded_so_that_nothing_is_worse_than_asked(
    position: int, stop: str | None, target: str | None, ticks: tuple[int | None, int | None]
) -> None:
    levels = levels_in_ticks(
        an_instrument(),
        position,
        None if stop is None else Decimal(stop),
        None if target is None else Decimal(target),
    )

    assert levels == ticks


@pytest.mark.parametrize("price", ["NaN", "Infinity"])
def test_what_is_no_number_is_no_level(price: str) -> None:
    refused = levels_in_ticks(an_instrument(), 1, Decimal(price), None)

    assert isinstance(refused, Decision)
    assert [denial.code for denial in refused.denials] == [DenialCode.PRICE_INVALID]


def test_what_was_asked_for_is_in_place_when_the_venue_shows_it() -> None:
    world = holding()
    assert is_in_place(world.book, MES)
    world.protect(stop=4995, target=5030)
    assert not is_in_place(world.book, MES)
    world.wait(100)

    assert is_in_place(world.book, MES)
    world.exit(2)
    world.wait(1_000)
    assert is_in_place(world.book, MES), "nothing is asked for a flat contract"


# -- targets ---------------------------------------------------------------------------------------


def with_our_target() -> World:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    world.protect(stop=4990, target=5020)
    world.wait(1_100)
    assert world.targets() == [(2, Decimal(5020))]
    return world


def test_no_target_is_placed_before_the_stops_are_complete() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    world.request = lambda command: Request(arrives=not isinstance(command, PlaceOrder))
    world.protect(stop=4990, target=5020)
    world.wait(900)

    assert [it.type for it in world.placed()] == [OrderType.STOP]


def test_a_row_that_no_trade_explains_brings_a_stop_and_no_target() -> None:
    """One too many would open the opposite as soon as the price is there."""
    world = with_our_target()
    world.reads_fail = True
    row = a_position(4)
    world.feed(PositionReported(utc_us=world.guard.utc_us, position=row, source=Source.HUB))
    world.wait(3_000)
    assert world.cover() == 4
    assert world.targets() == [(2, Decimal(5020))]

    world.reads_fail = False
    world.wait(10_000)
    assert (world.targets(), world.cover()) == ([(2, Decimal(5020))], 2)


def test_a_target_of_ours_that_its_owner_takes_away_stays_away() -> None:
    world = with_our_target()
    (target,) = [it for it in world.placed() if it.type is OrderType.LIMIT]
    number = world.book.orders[target.client_order_id].broker_order_id
    assert number is not None
    world.exchange.cancel(42, number)
    world.wait(10_000)

    assert world.targets() == []
    assert world.stops() == [(2, Decimal(4990))]


def test_a_target_that_the_venue_refuses_is_told_and_not_tried_for_ever() -> None:
    world = World(switches={"price_collar_ticks": 200}).start()
    world.enter(stop=None)
    world.wait(1_100)
    world.protect(stop=4990, target=5100)
    world.wait(10_000)

    assert world.targets() == []
    assert len([it for it in world.placed() if it.type is OrderType.LIMIT]) == 1
    assert [alert.code for alert in world.sent_of(RaiseAlert)] == ["TARGET_REJECTED"]
    assert world.stops() == [(2, Decimal(4990))]


def test_a_target_of_ours_shrinks_with_the_position() -> None:
    world = with_our_target()
    world.exit(1)
    world.wait(1_000)

    assert world.targets() == [(1, Decimal(5020))]
    assert world.stops() == [(1, Decimal(4990))]


def test_an_exit_of_a_bot_is_not_refused_because_of_our_target() -> None:
    world = with_our_target()
    world.exit(2)
    world.wait(1_000)

    assert world.position() == 0
    assert [row["status"] for row in world.orders() if row["status"] == "OPEN"] == []
