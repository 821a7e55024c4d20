"""Protective orders leave with their position, and keep new entries out while they work."""

from decimal import Decimal

import pytest
from tests.core.builders import MES, a_policy, a_quote, a_request
from tests.core.protection_world import LOST, TOLD, Request, World

from backstop.core.leftovers import ORPHAN_SETTLE_NS, leftover_denials, leftovers
from backstop.core.policy import MILLISECOND_NS
from backstop.core.step import DecisionKind
from backstop.domain.commands import CancelOrder, ClosePosition, RaiseAlert
from backstop.domain.denial import DenialCode
from backstop.domain.events import OrderRequested
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
    first = [True]

    def tell(target: str) -> object:
        if target == "GatewayUserTrade" and first.pop() if first else False:
            return type(TOLD)(copies_ms=(100,))
        return LOST if target == "GatewayUserPosition" else TOLD

    world.tell = tell  # type: ignore[assignment]
    world.enter(stop=4990)
    world.wait(60)
    world.quote(4989)
    world.wait(3_000)

    assert world.position() == 0
    codes = [alert.code for alert in world.sent_of(RaiseAlert)]
    assert "STOP_OPENED_POSITION" not in codes
    assert world.sent_of(ClosePosition) == []


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
