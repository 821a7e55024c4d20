"""Protective orders leave with their position, and keep new entries out while they work."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import MES, Guard, a_policy, a_position, a_quote, a_request, a_row
from tests.core.protection_world import LOST, TOLD, Delivery, Request, World

from backstop.core.leftovers import ORPHAN_SETTLE_NS, leftover_denials, leftovers
from backstop.core.policy import MILLISECOND_NS
from backstop.core.protection_situation import Protection, protection_of
from backstop.core.step import DecisionKind
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ClosePosition, ModifyOrder, RaiseAlert
from backstop.domain.denial import DenialCode
from backstop.domain.events import OrderRequested, PositionReported, Source
from backstop.domain.order import OrderType, Side

MARKET, LIMIT, STOP = 2, 1, 4
SETTLE_MS = ORPHAN_SETTLE_NS // MILLISECOND_NS


def holding(quantity: int = 2) -> World:
    world = World().start()
    world.enter(quantity=quantity, stop=4990, take_profit_price=Decimal(5020))
    world.wait(1_100)
    return world


def working(world: World) -> list[int]:
    return [row["id"] for row in world.orders() if row["status"] == "OPEN"]


def test_legs_of_a_closed_position_are_cancelled() -> None:
    world = holding()
    world.exit(2)
    world.wait(SETTLE_MS + 100)

    assert working(world) == []
    assert len(world.sent_of(CancelOrder)) == 2


def test_a_leg_is_not_moved_any_more_once_its_position_is_closed() -> None:
    """A move that nobody answered is asked again only for what still protects something."""
    world = holding()
    fates = {
        ModifyOrder: Request(answered=False, arrives=False),
        CancelOrder: Request(forgotten=True),
    }
    world.request = lambda it: fates.get(type(it), Request())
    world.protect(stop=4995)
    world.exit(2)
    world.wait(100)
    assert world.position() == 0
    moves = len(world.sent_of(ModifyOrder))
    world.wait(10_000)

    assert len(world.sent_of(ModifyOrder)) == moves > 0
    assert len(world.sent_of(CancelOrder)) > 0
    world.request = lambda _: Request()
    world.wait(10_000)
    assert working(world) == []


def test_stops_and_targets_that_we_placed_leave_with_the_position() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    world.protect(stop=4990, target=5020)
    world.wait(1_100)
    assert len(working(world)) == 2
    world.exit(2)
    world.wait(SETTLE_MS + 100)

    assert working(world) == []


@pytest.mark.parametrize("who", ["somebody else", "a bot"])
def test_a_stop_of_others_that_covered_the_position_leaves_with_it(who: str) -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    if who == "a bot":
        world.enter(Side.SELL, 2, stop=None, type=OrderType.STOP, stop_price=Decimal(4990))
    else:
        world.manual(STOP, Side.SELL, 2, stop_price=Decimal(4990))
    world.wait(1_100)
    world.exit(2)
    world.wait(SETTLE_MS + 100)

    assert working(world) == []


@pytest.mark.parametrize("row", [1, 5])
def test_one_late_row_of_the_position_takes_no_stop_away(row: int) -> None:
    """Trades say short, an old row says long: the stop is no leftover, and its level is kept."""
    world = World().start()
    world.enter(Side.SELL, 3, stop=5010)
    world.wait(1_100)
    world.tell = lambda _: LOST
    stale = PositionReported(utc_us=world.guard.utc_us, position=a_position(row), source=Source.HUB)
    world.feed(stale)
    world.wait(SETTLE_MS + 500)

    assert world.stops() == [(3, Decimal(5010))]
    assert world.sent_of(CancelOrder) == []
    world.tell = lambda _: TOLD
    world.wait(10_000)
    assert world.stops() == [(3, Decimal(5010))]
    (lot,) = world.book.protection.record(MES).active_lots
    assert (lot.sign, lot.stop_ticks) == (-1, 5010 * 4)


def a_leg_that_works(guard: Guard) -> dict[str, Any]:
    """Have an entry accepted and its stop opened by a fill that is not told; return its row."""
    guard.start()
    guard.position_row(0)
    guard.audit(after_ms=2_000)
    entry = guard.working(
        stop_loss_price=Decimal(4990), limit_price=Decimal(5000), type=OrderType.LIMIT
    )
    leg: dict[str, Any] = {
        "broker_order_id": 101,
        "parent_order_id": 100,
        "custom_tag": f"{entry.custom_tag}-SL",
        "type": OrderType.STOP,
        "side": Side.SELL,
        "stop_price": Decimal(4990),
    }
    guard.row(status=BrokerStatus.SUSPENDED, **leg)
    guard.row(**leg)
    return leg


def test_reads_that_may_be_older_than_the_fill_take_no_leg_away() -> None:
    """The trades are late, and so are the lists of positions: both say that nothing is held."""
    guard = Guard()
    listed = (a_row(**a_leg_that_works(guard)),)
    for _ in range(3):
        guard.audit(live_orders=listed, after_ms=300)
        guard.timer()
    assert guard.commands_of(CancelOrder) == []

    for _ in range(3):
        guard.audit(live_orders=listed, after_ms=2_100)
        guard.timer()
    assert {it.broker_order_id for it in guard.commands_of(CancelOrder)} == {101}


def test_while_a_read_shows_a_position_its_stop_stays() -> None:
    """Trades and rows say that nothing is held; one read says otherwise, and may be right."""
    world = holding()
    view = replace(world.book.position(MES), quantity=0, traded=0, adjustment=0)
    for differing, disowned in ((2, 0), (-1, 2), (None, 2)):
        world.book.positions[MES] = replace(view, differing=differing)
        assert len(list(leftovers(world.book, MES))) == disowned


@pytest.mark.parametrize("is_heard", [False, True])
def test_a_leg_stays_while_the_exit_that_it_would_replace_may_have_filled_unheard(
    *, is_heard: bool
) -> None:
    """One bot's exit and another's entry sold the same contract: the second sale opened a short."""
    guard = Guard(policy=a_policy(protects=True, allow_flip=True)).start()
    guard.working(quantity=1, stop_loss_price=Decimal(4990))
    guard.trade(quantity=1)
    guard.row(status=BrokerStatus.FILLED, quantity=1, filled_quantity=1)
    guard.working(
        150,
        client_order_id="exit",
        side=Side.SELL,
        quantity=1,
        type=OrderType.LIMIT,
        limit_price=Decimal(5000),
    )
    guard.working(
        200,
        client_order_id="c2",
        side=Side.SELL,
        quantity=1,
        stop_loss_price=Decimal(5010),
    )
    sold: dict[str, Any] = {"side": Side.SELL, "quantity": 1}
    guard.trade(trade_id=12, broker_order_id=200, **sold)
    guard.row(broker_order_id=200, status=BrokerStatus.FILLED, filled_quantity=1, **sold)
    leg: dict[str, Any] = {
        "broker_order_id": 201,
        "parent_order_id": 200,
        "side": Side.BUY,
        "quantity": 1,
        "type": OrderType.STOP,
        "stop_price": Decimal(5010),
    }
    guard.row(**leg)
    assert guard.position() == 0, "as it looks"
    if is_heard:
        guard.row(broker_order_id=150, status=BrokerStatus.CANCELLED, **sold)
    for _ in range(2):
        guard.timer(after_ms=300)

    cancelled = [it.broker_order_id for it in guard.commands_of(CancelOrder)]
    assert cancelled == ([201] if is_heard else [150]), "else the exit goes, with nothing to close"


def test_an_order_of_somebody_else_that_never_protected_anything_stays() -> None:
    world = holding()
    number = world.manual(STOP, Side.BUY, 1, stop_price=Decimal(5050))
    world.exit(2)
    world.wait(3_000)

    assert working(world) == [number]


def test_while_a_leftover_works_no_new_entry_is_let_in() -> None:
    world = holding()
    world.request = lambda command: Request(arrives=not isinstance(command, CancelOrder))
    world.exit(2)
    world.wait(1_000)
    assert len(list(leftovers(world.book, MES))) == 2

    request = a_request(client_order_id="next", stop_loss_price=Decimal(4990))
    wish = OrderRequested(utc_us=world.guard.utc_us, request=request, reference=a_quote())
    decision = world.decide(wish)
    assert decision.kind is DecisionKind.REFUSED
    assert [denial.code for denial in decision.denials] == [DenialCode.PROTECTION_LEFTOVER]

    world.request = lambda _: Request()
    world.wait(5_000)
    assert leftover_denials(world.book, MES) == ()
    again = a_request(client_order_id="again", stop_loss_price=Decimal(4990))
    wish = OrderRequested(utc_us=world.guard.utc_us, request=again, reference=a_quote())
    assert world.decide(wish).kind is DecisionKind.ACCEPTED


def test_a_guard_without_protection_refuses_nothing_because_of_it() -> None:
    world = holding()
    world.exit(2)
    world.wait(50)
    assert leftover_denials(world.book, MES)
    world.book.policy = a_policy(protects=False)

    assert leftover_denials(world.book, MES) == ()


def test_a_target_that_fills_unlinked_takes_its_stop_along_before_that_opens_a_short() -> None:
    """Nobody listens when the target fills; the first act afterwards is to cancel the stop."""
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    world.protect(stop=4990, target=5020)
    world.wait(1_100)
    world.restart_after(lambda: world.quote(5021), down_ms=3_000)
    assert world.position() == 0
    world.run_until(lambda: not working(world), "the stop is gone", limit_ms=2_000)
    world.quote(4980)
    world.wait(2_000)

    assert world.position() == 0


def test_a_stop_that_fired_after_the_target_leaves_a_position_that_is_closed() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(1_100)
    world.protect(stop=4990, target=5020)
    world.wait(1_100)

    def both_fill() -> None:
        world.quote(5021)
        world.wait(100, hears=False)
        world.quote(4980)

    world.restart_after(both_fill, down_ms=3_000)
    assert world.position() == -2
    world.wait(5_000)

    assert world.position() == 0
    codes = [alert.code for alert in world.sent_of(RaiseAlert)]
    assert codes.count("STOP_OPENED_POSITION") == 1
    assert len(world.sent_of(ClosePosition)) == 1


def test_a_stop_whose_trade_overtakes_the_entry_s_is_no_reason_to_close() -> None:
    """Told in the wrong order for a moment, it looks as if the stop had opened a short."""
    world = World().start()
    late = [True]
    world.tell = lambda target: (
        Delivery(copies_ms=(100,))
        if target == "GatewayUserTrade" and late and late.pop()
        else (LOST if target == "GatewayUserPosition" else TOLD)
    )
    world.distort = lambda row: (
        replace(row, status=BrokerStatus.PENDING, filled_quantity=0)
        if row.type is OrderType.MARKET
        else row
    )
    world.enter(stop=4990)
    world.wait(60)
    world.quote(4989)
    world.run_until(lambda: world.guard.position() == -2, "as it looks for a moment")
    world.distort = lambda row: row
    world.wait(3_000)

    assert (world.position(), world.guard.position()) == (0, 0)
    codes = [alert.code for alert in world.sent_of(RaiseAlert)]
    assert "STOP_OPENED_POSITION" not in codes
    assert world.sent_of(ClosePosition) == []


def test_a_stop_that_is_told_after_the_next_entry_opened_nothing() -> None:
    """The trade of the old stop comes last; what is held is what the new entry opened."""
    guard = Guard(policy=a_policy(protects=True, allow_flip=True)).start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.trade(quantity=2)
    leg: dict[str, Any] = {
        "broker_order_id": 101,
        "parent_order_id": 100,
        "side": Side.SELL,
        "type": OrderType.STOP,
        "stop_price": Decimal(4990),
    }
    guard.row(**leg)
    guard.working(
        200,
        client_order_id="c2",
        side=Side.SELL,
        quantity=3,
        stop_loss_price=Decimal(5010),
    )
    guard.trade(trade_id=12, broker_order_id=200, side=Side.SELL, quantity=1)
    guard.trade(trade_id=10, broker_order_id=101, side=Side.SELL, quantity=2)
    assert guard.position() == -1
    guard.timer(after_ms=300)

    assert "STOP_OPENED_POSITION" not in guard.alerts()
    assert guard.commands_of(ClosePosition) == []


def test_a_flip_takes_the_old_stop_away_and_keeps_the_new_one() -> None:
    world = World(policy=a_policy(protects=True, allow_flip=True)).start()
    world.enter(quantity=2, stop=4990)
    world.wait(1_100)
    world.enter(Side.SELL, 3, stop=5010)
    world.wait(3_000)

    assert world.position() == -1
    assert world.stops() == [(1, Decimal(5010))]
    sells = [row for row in world.orders() if row["status"] == "OPEN" and row["side"] == "ASK"]
    assert sells == []

    world.take_away()
    world.wait(1_000)
    assert world.stops() == [(1, Decimal(5010))], "what turned the position around gave it its stop"


def test_a_position_that_turned_around_twice_has_no_level_of_the_first() -> None:
    world = World().start()
    world.enter(quantity=2, stop=4990)
    world.wait(500)
    world.manual(MARKET, Side.SELL, 3)
    world.wait(1_000)
    world.manual(MARKET, Side.BUY, 3)
    world.wait(2_000)

    assert world.position() == 2
    assert world.placed() == []
    assert protection_of(world.book, MES) is Protection.UNPROTECTED


def test_a_restart_in_the_middle_of_a_flip_ends_with_one_stop_on_the_new_side() -> None:
    world = World(policy=a_policy(protects=True, allow_flip=True)).start()
    world.enter(quantity=2, stop=4990)
    world.wait(1_100)
    world.enter(Side.SELL, 3, stop=5010)
    world.wait(14)
    world.restart()
    world.wait(8_000)

    assert world.position() == -1
    assert world.stops() == [(1, Decimal(5010))]
