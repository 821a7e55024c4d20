"""What is held without a stop on record is closed, or a person is told; it is never just left."""

from decimal import Decimal

from msgspec.structs import replace
from tests.core.builders import MES, a_policy
from tests.core.protection_world import LOST, TOLD, Delivery, Request, World

from backstop.core.liquidation_scope import unfinished
from backstop.core.policy import MILLISECOND_NS
from backstop.core.protection_situation import is_being_closed, situation
from backstop.core.trading_state import LatchKind, TradingState
from backstop.core.unprotected import DECLARE_NS, DOUBT_LIMIT_NS, opened_by_what_closes
from backstop.domain.commands import ClosePosition, Command, ModifyOrder, PlaceOrder, RaiseAlert
from backstop.domain.events import LiquidationRequested
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.order import Side

MARKET = 2
DECLARE_MS = DECLARE_NS // MILLISECOND_NS
DOUBT_MS = DOUBT_LIMIT_NS // MILLISECOND_NS


def a_world(**changes: object) -> World:
    return World(policy=a_policy(protects=True, **changes)).start()


def codes(world: World) -> list[str]:
    return [alert.code for alert in world.sent_of(RaiseAlert)]


def kinds(world: World) -> set[LatchKind]:
    return {latch.kind for latch in world.book.latches}


def _held_with_an_exit_and_its_stop_crossing(world: World) -> None:
    """Hold 2, and have the market reach their stop while a bot's exit is on its way."""
    world.enter(quantity=2, stop=4990)
    world.wait(200)
    world.exit(2)
    world.quote(4985)


# -- what an exit opened ---------------------------------------------------------------------------


def test_a_late_row_of_a_flat_position_does_not_excuse_what_an_exit_opened() -> None:
    """The row says flat for a moment while stop and exit have both filled."""
    world = a_world()
    rows = iter([4, 60, 90, 120])  # the last words about the position come late, and one by one
    world.enter(quantity=2, stop=4990)
    world.wait(200)
    world.tell = lambda target: (
        Delivery(copies_ms=(next(rows, 1),)) if target == "GatewayUserPosition" else TOLD
    )
    world.exit(2)
    world.quote(4985)
    world.wait(3_000)

    assert "STOP_OPENED_POSITION" in codes(world)
    assert (world.position(), world.stops()) == (0, [])


def test_what_an_exit_opened_is_closed_when_only_reads_tell_of_it() -> None:
    """The hub is silent about all of it: the trades come out of a read, and in one step."""
    world = a_world()
    world.enter(quantity=2, stop=4990)
    world.wait(200)
    world.tell = lambda _: LOST
    world.exit(2)
    world.quote(4985)
    world.wait(15_000)

    assert (world.position(), world.stops()) == (0, [])


def test_the_trades_of_a_position_tell_whether_something_that_closes_opened_it() -> None:
    world = a_world()
    world.enter(quantity=2, stop=4990)
    world.wait(200)
    assert not opened_by_what_closes(world.book, situation(world.book, MES))

    world.exit(2)
    world.quote(4985)
    world.run_until(lambda: world.book.position(MES).ledger < 0, "both have filled")
    assert opened_by_what_closes(world.book, situation(world.book, MES))


def test_what_an_exit_opened_is_closed_when_the_entry_is_the_last_to_be_told() -> None:
    """No step shows the exit open anything: only all of the trades together do."""
    world = a_world()
    told = iter([LOST])  # the trade of the entry; a read finds it when all is over
    world.tell = lambda target: next(told, TOLD) if target == "GatewayUserTrade" else TOLD
    world.enter(Side.SELL, 1, stop=5010)
    world.wait(30)
    world.tell = lambda target: LOST if target == "GatewayUserPosition" else TOLD
    world.enter(Side.BUY, 1, stop=None)
    world.quote(5015)
    world.wait(15_000)

    assert (world.position(), world.stops()) == (0, [])


def test_what_an_exit_opened_is_closed_where_others_positions_are_left_alone() -> None:
    world = a_world(external_position_policy=ExternalPositionPolicy.ALERT)
    world.tell = lambda target: LOST if target == "GatewayUserTrade" else TOLD
    _held_with_an_exit_and_its_stop_crossing(world)
    world.wait(15_000)

    assert (world.position(), world.stops()) == (0, [])


# -- what nobody can say ---------------------------------------------------------------------------


def test_an_external_position_without_a_default_is_told_once_and_freezes_entries() -> None:
    world = a_world()
    world.manual(MARKET, Side.BUY, 3)
    world.wait(3 * DECLARE_MS)

    assert world.position() == 3
    assert codes(world).count("EXTERNAL_POSITION") == 1
    assert "POSITION_UNPROTECTED" not in codes(world), "one word about one thing"
    assert kinds(world) == {LatchKind.EXTERNAL}
    assert not world.sent_of(ClosePosition)


def test_an_entry_without_a_stop_is_declared_where_a_stop_is_required_now() -> None:
    """It was let through by settings that are not those of this process."""
    world = a_world()
    world.enter(quantity=2, stop=None)
    world.wait(2 * DECLARE_MS)
    assert not world.book.latches, "its trader chose it"

    world.restart()
    world.book.policy = replace(world.book.policy, stop_required=True)
    world.wait(2 * DECLARE_MS)

    assert codes(world).count("POSITION_UNPROTECTED") == 1
    assert kinds(world) == {LatchKind.UNPROTECTED}
    assert world.book.trading_state(world.guard.now_ns) is TradingState.REDUCING
    assert not world.book.protection.is_urgent, "what was told needs no calls kept in reserve"


def test_where_the_policy_is_flatten_what_nobody_claims_is_closed_and_not_just_told() -> None:
    """As a position that is back because the exchange took its exit's trade back."""
    world = a_world(external_position_policy=ExternalPositionPolicy.FLATTEN)
    world.enter(quantity=2, stop=None)
    world.wait(200)
    assert world.position() == 2
    world.restart()
    world.book.policy = replace(world.book.policy, stop_required=True)
    world.wait(2 * DECLARE_MS)

    assert world.position() == 0
    assert "POSITION_NAKED" in codes(world)
    assert "POSITION_UNPROTECTED" not in codes(world)


def test_a_declared_position_is_protected_as_soon_as_somebody_says_where() -> None:
    world = a_world()
    world.manual(MARKET, Side.BUY, 3)
    world.wait(2 * DECLARE_MS)
    world.protect(stop=4990)
    world.wait(1_000)

    assert world.stops() == [(3, Decimal(4990))]


def test_witnesses_that_differ_for_long_are_told_of_and_freeze_entries() -> None:
    """A row says flat, trades say two, no stop works, and the account cannot be read."""
    world = a_world()
    world.enter(quantity=2, stop=4990)
    world.wait(200)
    world.reads_fail = True
    world.tell = lambda target: LOST if target == "GatewayUserTrade" else TOLD
    world.manual(MARKET, Side.SELL, 2)
    world.wait(10)
    world.take_away()
    world.wait(2 * DOUBT_MS)

    assert codes(world).count("POSITION_UNPROTECTED") == 1
    assert LatchKind.UNPROTECTED in kinds(world)

    world.reads_fail = False
    world.wait(10_000)
    assert (world.position(), world.stops()) == (0, [])


def test_witnesses_that_differ_for_a_moment_are_nothing_to_tell() -> None:
    world = a_world()
    world.tell = lambda target: Delivery(copies_ms=(300,)) if target == "GatewayUserTrade" else TOLD
    world.enter(quantity=2, stop=4990)
    world.wait(DOUBT_MS)

    assert codes(world) == []
    assert world.stops() == [(2, Decimal(4990))]


# -- a close that is refused -----------------------------------------------------------------------


def _refuses_closes(command: Command) -> Request:
    return Request(refused="not now") if isinstance(command, ClosePosition) else Request()


def _liquidate(world: World) -> None:
    world.decide(LiquidationRequested(utc_us=world.guard.utc_us, operator="ann", reason="enough"))


def test_a_stop_that_goes_while_its_close_is_refused_is_put_back() -> None:
    """A stop stays until its position is closed; and the close is asked for again."""
    world = a_world()
    world.enter(quantity=2, stop=4990)
    world.wait(200)
    world.request = _refuses_closes
    _liquidate(world)
    world.wait(2_000)
    world.take_away()
    world.wait(4_000)

    assert is_being_closed(world.book, MES)
    assert world.stops() == [(2, Decimal(4990))]
    asked = len(world.sent_of(ClosePosition))
    world.wait(10_000)
    assert len(world.sent_of(ClosePosition)) > asked

    world.request = lambda _: Request()
    world.wait(60_000)
    assert (world.position(), world.stops()) == (0, [])
    assert not unfinished(world.book)


def test_no_stop_is_placed_beside_a_close_that_may_be_filling() -> None:
    world = a_world()
    world.enter(quantity=2, stop=4990)
    world.wait(200)
    world.request = lambda it: (
        Request(answered=False) if isinstance(it, ClosePosition) else Request()
    )
    _liquidate(world)
    world.wait(60_000)

    assert (world.position(), world.placed()) == (0, [])


def test_a_venue_that_refuses_stops_and_closes_is_not_flooded() -> None:
    world = a_world()
    world.enter(quantity=2, stop=4990)
    world.wait(200)
    world.request = lambda it: (
        Request(refused="not now")
        if isinstance(it, ClosePosition | ModifyOrder | PlaceOrder)
        else Request()
    )
    world.take_away()
    world.wait(60_000)
    tries = len(world.placed())
    world.request = _refuses_closes
    world.wait(70_000)

    assert 1 < tries < 10
    assert world.stops() == [(2, Decimal(4990))], "the first one that it takes"
