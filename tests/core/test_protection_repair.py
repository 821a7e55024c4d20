"""Too few stops: what lacks is placed, and what cannot be protected in time is closed."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import ACCOUNT, MES, NQ, a_policy
from tests.core.protection_world import LOST, REQUEST_MS, TOLD, Delivery, Request, World

from backstop.core.leftovers import leftover_denials
from backstop.core.liquidation import LiquidationState
from backstop.core.naked_time import NAKED_LIMIT_NS
from backstop.core.policy import MILLISECOND_NS, Policy
from backstop.core.protection_repair import (
    READ_AGAIN_NS,
    READ_WAIT_NS,
    REPAIRS_MAX,
    SETTLE_NS,
)
from backstop.core.protection_situation import Protection, protection_of
from backstop.core.protection_targets import QUIET_NS
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import (
    AuditAccount,
    ClosePosition,
    Command,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
    RaiseAlert,
)
from backstop.domain.events import LiquidationRequested
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.exchange_config import (
    BracketMode,
    LegPastMarket,
    LegsOnPartialEntry,
    LegsOnPartialExit,
    MarketRemainder,
    PartialFill,
)

MARKET, STOP = 2, 4
LIMIT_MS = NAKED_LIMIT_NS // MILLISECOND_NS
ONE_READ_MS = 3 * REQUEST_MS
"""There, back, and a bit."""

READS_MAX = 2 + (SETTLE_NS + READ_WAIT_NS) // READ_AGAIN_NS
"""Until a stop is placed unseen; and what follows from that one."""


def a_protecting_policy(**changes: Any) -> Policy:
    return a_policy(protects=True, **changes)


def codes(world: World) -> list[str]:
    return [alert.code for alert in world.sent_of(RaiseAlert)]


def legs_refused(**switches: Any) -> World:
    """Return a world whose stop legs are refused when the market has passed them."""
    return World(switches={"leg_past_market": LegPastMarket.REJECT, **switches}).start()


# -- the venue protects by itself ------------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
def test_a_bracket_that_works_in_time_is_all_there_is(side: Side) -> None:
    world = World().start()
    away = -10 * side.sign
    world.enter(side, 2, stop=5000 + away)
    world.wait(3_000)

    assert world.stops() == [(2, Decimal(5000 + away))]
    assert world.placed() == []
    assert world.sent_of(ClosePosition) == []
    assert protection_of(world.book, MES) is Protection.PROTECTED


@pytest.mark.parametrize("slices", [1, 3])
def test_an_entry_that_fills_in_parts_is_covered_part_by_part(slices: int) -> None:
    world = World(switches={"partial_fill": PartialFill.SLICES, "fill_slices": slices}).start()
    world.enter(quantity=3, stop=4990)
    world.wait(3_000)

    assert world.stops() == [(3, Decimal(4990))]
    assert world.placed() == []


def test_a_bracket_that_only_a_read_shows_is_not_doubled() -> None:
    """The hub loses every order event: reading the account comes before a second stop."""
    world = World()
    world.start()
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.enter(stop=4990)
    world.wait(900)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.placed() == []
    assert protection_of(world.book, MES) is Protection.PROTECTED


def test_reads_that_fail_are_paced_while_a_stop_of_the_venue_may_be_coming() -> None:
    """The venue counts our calls, and what it refused a moment ago it refuses again."""
    world = World().start()
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.reads_fail = True
    before = len(world.sent_of(AuditAccount))
    world.enter(stop=4990)
    world.wait(LIMIT_MS)
    reads = len(world.sent_of(AuditAccount)) - before

    assert len(world.placed()) == 1, "unseen, once the time for looking is over"
    assert 2 <= reads <= READS_MAX, reads


def test_a_read_that_fails_once_is_repeated_before_a_stop_is_placed_unseen() -> None:
    world = World().start()
    world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    world.reads_fail = True
    world.enter(stop=4990)
    before = len(world.sent_of(AuditAccount))
    while len(world.sent_of(AuditAccount)) == before:
        world.wait(1)
    world.wait(ONE_READ_MS)
    world.reads_fail = False
    world.wait(LIMIT_MS)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.placed() == []


# -- the venue does not ----------------------------------------------------------------------------


def test_a_stop_that_somebody_took_away_is_put_back_where_it_was() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(LIMIT_MS)

    assert world.stops() == [(2, Decimal(4990))]
    (placed,) = world.placed()
    assert (placed.type, placed.side, placed.quantity) == (OrderType.STOP, Side.SELL, 2)
    assert placed.reduces_risk
    assert world.naked_ns < NAKED_LIMIT_NS
    assert world.book.position(MES).naked_since_ns == 0


def test_the_name_and_the_tag_of_a_stop_follow_from_the_record() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(LIMIT_MS)
    (placed,) = world.placed()

    world.restart()
    world.wait(2_000)

    order = world.book.orders[placed.client_order_id]
    assert order.custom_tag == placed.custom_tag
    assert order.client_order_id.startswith(f"protect:{MES}:")
    assert world.placed() == [placed], "a replay makes the same, and sends nothing"
    assert world.stops() == [(2, Decimal(4990))]


@pytest.mark.parametrize("lost", ["PlaceAnswered", "OrderReported"])
def test_a_stop_of_ours_that_is_heard_of_one_way_only_is_not_placed_again(lost: str) -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    if lost == "OrderReported":
        world.tell = lambda target: LOST if target == "GatewayUserOrder" else TOLD
    else:
        world.request = lambda _: Request(answered=False)
    world.take_away()
    world.wait(9_000)  # without a word of the hub the next audit finds it

    assert len(world.placed()) == 1
    assert world.stops() == [(2, Decimal(4990))]
    assert world.sent_of(ClosePosition) == []


def test_a_partial_entry_whose_legs_wait_for_all_of_it_is_covered_meanwhile() -> None:
    world = World(
        switches={
            "legs_on_partial_entry": LegsOnPartialEntry.WAIT_FOR_ALL,
            "partial_fill": PartialFill.BY_LIQUIDITY,
            "market_remainder": MarketRemainder.WAIT,
        }
    ).start()
    world.quote(5000, size=1)
    world.enter(quantity=3, stop=4990, type=OrderType.LIMIT, limit_price=Decimal(5000))
    world.wait(2_000)
    assert world.position() == 1
    assert world.stops() == [(1, Decimal(4990))], "a stop of our own"

    world.quote(5000, size=500)
    world.wait(2_000)

    assert world.position() == 3
    assert world.stops() == [(3, Decimal(4990))], "the leg took over, ours is gone"


def test_a_bracket_that_a_partial_exit_drops_is_put_back() -> None:
    world = World(switches={"legs_on_partial_exit": LegsOnPartialExit.CANCEL}).start()
    world.enter(quantity=3, stop=4990, take_profit_price=Decimal(5020))
    world.wait(500)
    world.exit(1)
    world.wait(LIMIT_MS)

    assert world.position() == 2
    assert world.stops() == [(2, Decimal(4990))]
    assert world.targets() == []
    world.wait(QUIET_NS // MILLISECOND_NS)
    assert world.targets() == [(2, Decimal(5020))]
    assert world.naked_ns < NAKED_LIMIT_NS


# -- scaling in ------------------------------------------------------------------------------------


def test_each_entry_keeps_its_own_level_and_together_they_cover() -> None:
    world = World().start()
    world.enter(quantity=2, stop=4990)
    world.wait(1_100)
    world.enter(quantity=1, stop=4995)
    world.wait(1_000)

    assert world.stops() == [(1, Decimal(4995)), (2, Decimal(4990))]
    assert world.placed() == []


def test_what_lacks_after_scaling_in_gets_the_level_of_the_entry_that_lost_its_stop() -> None:
    world = World().start()
    world.enter(quantity=2, stop=4990)
    world.wait(1_100)
    world.enter(quantity=1, stop=4995)
    world.wait(1_000)
    older, _ = world.book.protection.record(MES).active_lots
    assert world.exchange.cancel(ACCOUNT, older.legs[0].broker_order_id).code == 0
    world.wait(LIMIT_MS)

    assert world.stops() == [(1, Decimal(4995)), (2, Decimal(4990))]
    (placed,) = world.placed()
    assert placed.quantity == 2


def test_an_addition_whose_stop_cannot_be_proven_is_closed_and_the_rest_stays() -> None:
    world = legs_refused()
    world.enter(quantity=2, stop=4980)
    world.wait(1_100)
    assert world.stops() == [(2, Decimal(4980))]
    world.enter(quantity=1, stop=4995)
    world.wait(16)
    world.quote(4990)  # past the stop of the addition before it works
    world.wait(4_000)

    assert world.position() == 2
    assert world.stops() == [(2, Decimal(4980))]
    (close,) = world.sent_of(ClosePosition)
    assert close.quantity == 1
    assert "STOP_REJECTED" in codes(world)


# -- closed instead --------------------------------------------------------------------------------


def test_a_stop_that_is_refused_because_the_market_is_past_it_closes_the_position_at_once() -> None:
    world = legs_refused()
    world.enter(quantity=2, stop=4990)
    world.wait(16)
    assert world.position() == 2
    world.quote(4980)
    world.wait(200)

    assert world.position() == 0
    assert [close.quantity for close in world.sent_of(ClosePosition)] == [None]
    assert codes(world).count("STOP_REJECTED") == 1
    assert world.book.latches == (), "a close, not a liquidation: nobody is asked to resume"
    world.wait(60_000)
    assert [row for row in world.orders() if row["status"] == "OPEN"] == []


def test_a_stop_of_ours_that_is_refused_closes_the_position_at_once() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(10)
    world.quote(4985)
    world.wait(400)

    assert len(world.placed()) == 1
    assert world.position() == 0
    assert "STOP_REJECTED" in codes(world)


def no_stop_arrives(command: Command) -> Request:
    lost = isinstance(command, PlaceOrder) and command.client_order_id.startswith("protect:")
    return Request(arrives=not lost, answered=not lost)


def test_what_stays_naked_for_a_second_is_closed_and_the_time_is_told() -> None:
    world = World().start()
    world.request = no_stop_arrives
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(LIMIT_MS - 50)
    assert world.position() == 2, "until then a stop may still be proven"
    world.wait(300)

    assert world.position() == 0
    assert len(world.placed()) == 1, "of unknown fate: it is not sent again"
    (alert,) = [it for it in world.sent_of(RaiseAlert) if it.code == "POSITION_NAKED"]
    assert "1000 ms" in alert.message
    assert world.naked_ns >= NAKED_LIMIT_NS
    assert world.book.protection.naked_max_ns >= NAKED_LIMIT_NS


def test_a_close_does_not_wait_for_a_stop_of_unknown_fate() -> None:
    """What it was to protect is gone: it is looked up on, and no entry is let in meanwhile."""
    world = World().start()
    world.request = no_stop_arrives
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(LIMIT_MS + 2_000)
    (placed,) = world.placed()
    (run,) = world.book.liquidations.values()

    assert world.position() == 0
    assert world.book.orders[placed.client_order_id].state is OrderState.UNKNOWN
    assert run.state is LiquidationState.FLAT
    (denial,) = leftover_denials(world.book, MES)
    assert placed.client_order_id in denial.message
    look_ups = [
        it for it in world.sent_of(LookUpOrder) if it.client_order_id == placed.client_order_id
    ]
    assert look_ups
    assert all(it.urgent for it in look_ups), "it may use the reserve: a position may be naked"

    world.wait(60_000)

    assert world.book.orders[placed.client_order_id].state is OrderState.NOT_SUBMITTED
    assert leftover_denials(world.book, MES) == ()
    assert "LIQUIDATION_ESCALATED" not in codes(world)


def test_a_stop_that_comes_to_light_after_the_close_is_cancelled() -> None:
    world = World().start()
    world.request = lambda command: Request(ms=3_000 if command in world.placed() else 5)
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(LIMIT_MS + 1_000)
    assert world.position() == 0

    world.wait(4_000)

    assert len(world.placed()) == 1
    assert [row for row in world.orders() if row["status"] == "OPEN"] == []


def test_a_liquidation_waits_for_the_fate_of_a_stop() -> None:
    """Only a close ends without it: FLAT after a liquidation says that nothing can come back."""
    world = World().start()
    world.request = no_stop_arrives
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(500)
    wish = LiquidationRequested(utc_us=world.guard.utc_us, reason="enough", operator="ann")
    name = world.decide(wish).liquidation_id
    world.wait(10_000)

    assert world.position() == 0
    assert world.book.liquidations[name].state is not LiquidationState.FLAT
    world.wait(60_000)
    assert world.book.liquidations[name].state is LiquidationState.FLAT


def test_a_stop_that_stays_pending_counts_as_naked() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.distort = lambda row: (
        replace(row, status=BrokerStatus.PENDING)
        if row.status is BrokerStatus.OPEN and row.parent_order_id is None
        else row
    )
    world.take_away()
    world.wait(1_500)

    assert len(world.placed()) == 1
    assert world.position() == 0
    assert "POSITION_NAKED" in codes(world)


def test_a_request_that_never_left_is_made_again() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    leaving = iter([False, False])
    world.request = lambda _: Request(leaves=next(leaving, True))
    world.take_away()
    world.wait(LIMIT_MS)

    assert len(world.placed()) == 3
    assert world.stops() == [(2, Decimal(4990))]
    assert world.sent_of(ClosePosition) == []


def test_somebody_who_keeps_taking_the_stops_away_is_not_fought_for_ever() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    for _ in range(2 * REPAIRS_MAX):
        for row in world.orders():
            if row["status"] == "OPEN" and row["type"] == "STOP":
                world.exchange.cancel(ACCOUNT, row["id"])
        world.wait(400)
        if not world.position():
            break

    assert world.position() == 0
    assert len(world.placed()) == REPAIRS_MAX


# -- a position of unknown origin ------------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
def test_a_position_of_somebody_else_gets_the_default_stop(side: Side) -> None:
    world = World(policy=a_protecting_policy(default_stop_ticks=40)).start()
    world.manual(MARKET, side, 3)
    world.wait(LIMIT_MS)

    price = world.book.position(MES).average_price
    assert price is not None
    assert world.stops() == [(3, price - 10 * side.sign)]
    assert world.naked_ns < NAKED_LIMIT_NS


@pytest.mark.parametrize(("side", "stop"), [(Side.BUY, "4991.75"), (Side.SELL, "5008.25")])
def test_the_default_stop_is_rounded_so_that_the_loss_is_never_larger(
    side: Side, stop: str
) -> None:
    world = World(policy=a_protecting_policy(default_stop_ticks=34)).start()
    world.quote(5000)
    world.manual(MARKET, side, 2)
    world.wait(20)
    world.quote("5000.25")
    world.manual(MARKET, side, 1)
    world.wait(LIMIT_MS)

    assert [level for _, level in world.stops()] == [Decimal(stop)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"default_stop_ticks": 40, "external_position_policy": ExternalPositionPolicy.ALERT},
    ],
    ids=["no default", "alert only"],
)
def test_without_a_level_nothing_is_invented(changes: dict[str, Any]) -> None:
    world = World(policy=a_protecting_policy(**changes)).start()
    world.manual(MARKET, Side.BUY, 3)
    world.wait(5_000)

    assert world.position() == 3
    assert world.placed() == []
    assert world.sent_of(ClosePosition) == []
    assert protection_of(world.book, MES) is Protection.UNPROTECTED
    assert world.book.position(MES).naked_since_ns, "it is naked all the same, and says so"


def test_contracts_that_somebody_adds_to_a_position_are_covered_too() -> None:
    world = World().start()
    world.enter(quantity=2, stop=4990)
    world.wait(500)
    world.manual(MARKET, Side.BUY, 3)
    world.wait(LIMIT_MS)

    assert world.position() == 5
    assert sum(number for number, _ in world.stops()) == 5
    assert {level for _, level in world.stops()} == {Decimal(4990)}


def test_contracts_of_somebody_else_are_left_alone_where_he_wants_to_be_told_only() -> None:
    policy = a_protecting_policy(external_position_policy=ExternalPositionPolicy.ALERT)
    world = World(policy=policy).start()
    world.enter(quantity=2, stop=4990)
    world.wait(500)
    world.manual(MARKET, Side.BUY, 3)
    world.wait(5_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.position() == 5


def test_an_entry_that_may_go_without_a_stop_gets_none() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(5_000)

    assert (world.position(), world.stops(), world.placed()) == (2, [], [])
    assert protection_of(world.book, MES) is Protection.UNPROTECTED


# -- what others placed ----------------------------------------------------------------------------


def test_a_stop_of_somebody_else_counts_and_is_put_back_when_it_goes() -> None:
    world = World().start()
    world.manual(MARKET, Side.BUY, 2)
    world.wait(20)
    number = world.manual(STOP, Side.SELL, 2, stop_price=Decimal(4985))
    world.wait(3_000)
    assert world.placed() == [], "it is there: no second one"
    world.exchange.cancel(ACCOUNT, number)
    world.wait(LIMIT_MS)

    assert world.stops() == [(2, Decimal(4985))]
    assert len(world.placed()) == 1


@pytest.mark.parametrize("side", Side)
def test_the_platform_s_own_stop_for_a_position_counts(side: Side) -> None:
    """Position Brackets: the venue puts a stop beside each position, and follows it by itself."""
    world = World(account={"bracket_mode": BracketMode.POSITION, "position_stop_ticks": 40}).start()
    world.enter(side, 2, stop=None)
    world.wait(1_500)
    world.enter(side, 1, stop=None)
    world.wait(1_500)

    assert [number for number, _ in world.stops()] == [3]
    assert world.placed() == []
    assert world.sent_of(ModifyOrder) == []


def test_a_stop_in_another_contract_is_no_cover() -> None:
    world = World(policy=a_protecting_policy(default_stop_ticks=40)).start()
    world.manual(MARKET, Side.BUY, 2)
    world.manual(STOP, Side.SELL, 2, stop_price=Decimal(20_900), contract_id=NQ)
    world.wait(LIMIT_MS)

    assert sum(number for number, _ in world.stops()) == 2


# -- restarts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("down_ms", [10, 5_000])
def test_a_stop_that_still_works_after_a_restart_is_adopted(down_ms: int) -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.restart(down_ms=down_ms)
    world.wait(5_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.placed() == []


def test_a_stop_that_went_away_meanwhile_is_put_back_within_two_seconds() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.restart(down_ms=10)
    world.wait(2_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert len(world.placed()) == 1
    assert world.sent_of(ClosePosition) == []


@pytest.mark.parametrize("after_ms", [1, 8, 12, 20, 40])
def test_a_restart_anywhere_in_an_entry_ends_with_one_stop(after_ms: int) -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(after_ms)
    world.restart(down_ms=100)
    world.wait(8_000)

    assert world.position() in {0, 2}
    assert sum(number for number, _ in world.stops()) == world.position()


def test_after_a_restart_nothing_is_placed_before_the_account_was_read() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(20)
    world.reads_fail = True
    world.restart(down_ms=10)
    world.wait(3_000)
    assert world.placed() == []
    assert world.sent_of(ClosePosition) == []
    assert codes(world).count("POSITION_NAKED") == 1
    assert len(world.sent_of(AuditAccount)) > 2

    world.reads_fail = False
    world.run_until(lambda: bool(world.stops()), "a stop", limit_ms=40_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.sent_of(ClosePosition) == []


# -- nothing is sent -------------------------------------------------------------------------------


def test_a_dry_run_says_what_it_would_place_and_places_nothing() -> None:
    policy = a_protecting_policy(default_stop_ticks=40, dry_run=True)
    world = World(policy=policy).start()
    world.manual(MARKET, Side.BUY, 2)
    world.wait(5_000)

    notes = [note for result in world.guard.steps for note in result.notes]
    (withheld,) = [note for note in notes if note.name == "protection_withheld"]
    assert withheld.fields["would_place"] == "2 at 4990.00"
    assert {type(it) for it in world.sent} <= {AuditAccount, RaiseAlert}


def test_a_guard_whose_recovery_is_switched_off_only_watches() -> None:
    world = World(policy=a_policy(protects=False, default_stop_ticks=40)).start()
    world.manual(MARKET, Side.BUY, 2)
    world.wait(5_000)

    assert world.placed() == []
    assert world.sent_of(ClosePosition) == []
    assert world.book.position(MES).naked_since_ns


# -- standstills -----------------------------------------------------------------------------------


def test_a_guard_that_stood_still_hears_what_waits_before_it_closes_anything() -> None:
    """Frozen for half a minute right after a fill: the stop works, and the word of it waits."""
    world = World().start()
    world.tell = lambda _: Delivery(copies_ms=(30_100,))
    world.enter(stop=4990)
    world.wait(16)
    assert world.position() == 2
    world.tell = lambda _: TOLD
    world.wait(30_000, hears=False)
    world.wait(5_000)

    assert world.position() == 2
    assert world.sent_of(ClosePosition) == []
    assert world.stops() == [(2, Decimal(4990))]


def test_reads_about_a_naked_position_may_use_the_calls_that_are_kept_in_reserve() -> None:
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    before = len(world.sent_of(AuditAccount))
    world.take_away()
    world.wait(LIMIT_MS)
    during = world.sent_of(AuditAccount)[before:]
    world.wait(10_000)

    assert during[0].urgent
    assert not world.sent_of(AuditAccount)[-1].urgent
