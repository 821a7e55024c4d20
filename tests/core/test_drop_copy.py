"""A bot trades by itself: its orders are judged afterwards, at the exchange's own truth."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.bot_world import GRACE_MS, STOP_TICKS, BotWorld, a_watching_policy
from tests.core.builders import MES, NQ, Guard, a_request, a_row, replayed
from tests.core.protection_world import LOST, TOLD, Delivery, Request

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.book import Wake
from backstop.core.drop_copy import LEGS_NS
from backstop.core.policy import MILLISECOND_NS
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.commands import (
    CancelOrder,
    ClosePosition,
    Command,
    Severity,
)
from backstop.domain.events import (
    HaltRequested,
    Hub,
    LiquidationRequested,
    OrderRequested,
    SessionEvicted,
)
from backstop.domain.external import BreachPolicy, ExternalPositionPolicy
from backstop.domain.hub_contest import EVICTIONS_MAX
from backstop.domain.order import OrderType, Side

SETTLED_MS = 3 * GRACE_MS
"""Long after everything that has a deadline had its time."""


def halt(world: BotWorld) -> None:
    world.decide(HaltRequested(utc_us=world.guard.utc_us, reason="enough", operator="ann"))


# -- the normal case -------------------------------------------------------------------------------


def test_a_bot_that_stays_within_the_limits_is_left_alone() -> None:
    world = BotWorld.begun()
    world.bot(bracket_ticks=(STOP_TICKS, STOP_TICKS), tag="abot-1")
    world.wait(SETTLED_MS)
    world.bot(Side.SELL, 1)
    world.wait(SETTLED_MS)

    assert world.alerts() == []
    assert world.book.latches == ()
    assert world.book.trading_state(world.guard.now_ns) is TradingState.ACTIVE
    assert (world.position(), world.guard.position()) == (1, 1)


def test_every_order_and_every_fill_of_the_bot_is_on_record() -> None:
    world = BotWorld.begun()
    number = world.bot(bracket_ticks=(STOP_TICKS, STOP_TICKS), tag="abot-1")
    world.wait(SETTLED_MS)
    rows = {row.order_id: row for step in world.guard.steps for row in step.order_rows}
    fills = [row for step in world.guard.steps for row in step.fill_rows]

    assert rows[str(number)].client_order_id is None
    assert (rows[str(number)].status, rows[str(number)].quantity) == ("FILLED", 2)
    assert len(rows) == 3
    assert sum(it.quantity for it in fills if it.order_id == str(number)) == 2


def test_the_bracket_of_the_bot_is_its_protection_and_nothing_is_added() -> None:
    world = BotWorld.begun()
    world.bot(bracket_ticks=(20, 30))
    world.wait(SETTLED_MS)

    assert world.acts() == []
    assert world.stops() == [(2, Decimal(4995))]


def test_nothing_wakes_the_guard_for_an_order_that_was_judged_before_its_time() -> None:
    """Its look was put off while the account was not read; the read judges it at once."""
    guard = Guard(policy=a_watching_policy()).connect()
    row = a_row(broker_order_id=900, custom_tag="by hand")
    guard.audit(positions=None, orders=(row,), live_orders=(row,))
    guard.timer(after_ms=LEGS_NS // MILLISECOND_NS + 1)
    assert 900 in guard.book.drop_copy.waiting
    for _ in range(2):
        guard.audit(orders=(row,), live_orders=(row,))

    assert 900 in guard.book.drop_copy.judged
    assert Wake.DROP_COPY not in guard.book.wakes


# -- what a limit would have refused ---------------------------------------------------------------


def test_a_resting_order_that_breaks_a_limit_is_told_by_name_and_cancelled() -> None:
    world = BotWorld.begun(max_order_quantity=3)
    number = world.bot(quantity=4, limit=4990, tag="abot-7")
    world.wait(SETTLED_MS)
    (alert,) = world.told()

    for words in ("SIZE_TOO_LARGE", f"Order {number}", "abot-7", "BUY 4 MES LIMIT at 4990"):
        assert words in alert.message
    assert alert.severity is Severity.WARNING
    assert [it.broker_order_id for it in world.sent_of(CancelOrder)] == [number]
    assert world.working() == []
    assert world.book.latches == ()


def test_what_is_filled_already_is_told_gravely_and_protected() -> None:
    world = BotWorld.begun(max_order_quantity=3)
    world.bot(quantity=4)
    world.wait(SETTLED_MS)

    assert [it.severity for it in world.told() if "SIZE_TOO_LARGE" in it.message] == [
        Severity.CRITICAL
    ]
    assert world.position() == 4
    assert world.stops() == [(4, Decimal(5000) - STOP_TICKS * Decimal("0.25"))]


def test_policy_alert_touches_no_order() -> None:
    world = BotWorld.begun(max_order_quantity=3, breach_policy=BreachPolicy.ALERT)
    number = world.bot(quantity=4, limit=4990)
    world.wait(SETTLED_MS)

    assert [it.severity for it in world.told()] == [Severity.CRITICAL]
    assert world.acts() == []
    assert world.working() == [number]


def test_policy_flatten_closes_what_the_order_made_and_nothing_else() -> None:
    world = BotWorld.begun(max_order_quantity=3, breach_policy=BreachPolicy.FLATTEN)
    world.bot(quantity=2, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)
    world.bot(quantity=4)
    world.wait(SETTLED_MS)

    assert [it.quantity for it in world.sent_of(ClosePosition)] == [4]
    assert world.position() == 2
    assert world.cover() == 2
    assert world.book.latches == ()


def test_policy_flatten_goes_on_when_the_order_goes_on_filling() -> None:
    world = BotWorld.begun(max_order_quantity=3, breach_policy=BreachPolicy.FLATTEN)
    world.request = _never_cancelled
    number = world.bot(quantity=4, limit=4990)
    world.wait(SETTLED_MS)
    world.quote(4990, size=1)
    world.quote(4989, size=1)
    world.wait(SETTLED_MS)

    assert world.position() == 0
    assert number in world.book.drop_copy.judged


def _never_cancelled(command: Command) -> Request:
    return Request(arrives=not isinstance(command, CancelOrder))


def test_dry_run_says_what_it_would_do_and_sends_nothing() -> None:
    world = BotWorld.begun(max_order_quantity=3, dry_run=True)
    number = world.bot(quantity=4, limit=4990)
    world.bot(quantity=1)
    world.wait(SETTLED_MS)

    assert "nothing is sent" in world.told()[0].message
    assert world.acts() == []
    assert world.working() == [number]


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"duplicate_window_ns": 10**9}, "DUPLICATE_ORDER"),
        ({"max_orders_per_second": 1}, "RATE_TOO_HIGH"),
        ({"max_repeated_executions": 1}, "REPEATED_EXECUTION"),
    ],
)
def test_what_comes_twice_or_too_fast_is_found(policy: dict[str, Any], code: str) -> None:
    others: dict[str, Any] = {"duplicate_window_ns": 0}
    world = BotWorld.begun(**(others | policy))
    first = world.bot(quantity=1, bracket_ticks=(40, 40))
    world.wait(300)
    second = world.bot(quantity=1, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)
    (alert,) = world.told()

    assert code in alert.message
    assert f"Order {second} " in alert.message
    assert f"Order {first} " not in alert.message


@pytest.mark.parametrize(("quantity", "findings"), [(2, 0), (3, 1)])
@pytest.mark.parametrize("limit", [None, 4990])
def test_an_order_counts_once_beside_what_it_has_made_already(
    quantity: int, findings: int, *, limit: float | None
) -> None:
    """When it is judged it rests, or is filled and in the position: it is not added to itself."""
    world = BotWorld.begun(account_limits=AccountLimits(max_position_tenths=2))
    world.bot(quantity=quantity, limit=limit, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)

    assert ["POSITION_TOO_LARGE" in it.message for it in world.told()] == [True] * findings


@pytest.mark.parametrize(("quantity", "findings"), [(2, 0), (3, 1)])
def test_so_it_does_while_only_its_row_tells_of_its_fill(quantity: int, findings: int) -> None:
    world = BotWorld.begun(account_limits=AccountLimits(max_position_tenths=2))
    world.tell = lambda target: TOLD if target == "GatewayUserOrder" else LOST
    number = world.bot(quantity=quantity, bracket_ticks=(40, 40))
    world.run_until(lambda: number in world.book.drop_copy.judged, "judged")
    assert number in world.book.protection.awaited
    world.wait(SETTLED_MS)

    assert ["POSITION_TOO_LARGE" in it.message for it in world.told()] == [True] * findings


def test_the_legs_of_an_entry_that_rests_are_no_position_the_other_way() -> None:
    """One micro, and one mini that counts as ten of them: eleven tenths, and no more."""
    world = BotWorld.begun(account_limits=AccountLimits(max_position_tenths=11))
    world.bot(quantity=1, limit=4990, bracket_ticks=(40, 40))
    world.wait(300)
    world.bot(quantity=1, limit=20900, contract_id=NQ)
    world.wait(SETTLED_MS)

    assert world.told() == []


def test_an_exit_is_no_finding_however_large_it_is_and_whatever_else_closes() -> None:
    world = BotWorld.begun(max_order_quantity=2)
    for _ in range(2):
        world.bot(quantity=2, bracket_ticks=(40, 40))
        world.wait(SETTLED_MS)
    world.bot(Side.SELL, 4)
    world.wait(SETTLED_MS)

    assert world.told() == []
    assert world.position() == 0


def test_an_order_that_turns_the_position_around_is_found_out() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2, bracket_ticks=(400, 400))
    world.wait(SETTLED_MS)
    number = world.bot(Side.SELL, 5)
    world.wait(SETTLED_MS)

    assert [f"Order {number} " in it.message for it in world.told()][:1] == [True]
    assert "POSITION_FLIP" in world.told()[0].message


def test_an_order_that_its_owner_makes_larger_is_judged_anew() -> None:
    world = BotWorld.begun(max_order_quantity=3)
    number = world.bot(quantity=2, limit=4990)
    world.wait(SETTLED_MS)
    assert world.told() == []
    world.bot_moves(number, size=4)
    world.wait(SETTLED_MS)

    assert len(world.told()) == 1
    assert world.working() == []


def test_an_order_that_its_owner_moves_is_no_double_of_itself() -> None:
    world = BotWorld.begun(duplicate_window_ns=60 * 10**9)
    number = world.bot(quantity=2, limit=4990)
    world.wait(300)
    world.bot_moves(number, limit_price=Decimal(4991))
    world.wait(SETTLED_MS)

    assert world.told() == []
    assert world.working() == [number]


@pytest.mark.parametrize("late", ["GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition"])
def test_whatever_is_told_last_the_finding_is_the_same(late: str) -> None:
    world = BotWorld.begun(max_order_quantity=3)
    world.tell = lambda target: Delivery(copies_ms=(60 if target == late else 1,))
    world.bot(quantity=3, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)
    assert world.told() == []
    world.bot(quantity=4, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)

    assert ["SIZE_TOO_LARGE" in it.message for it in world.told()] == [True]


def test_an_order_that_only_a_read_tells_of_is_judged_too() -> None:
    world = BotWorld.begun(max_order_quantity=3)
    world.tell = lambda _: LOST
    world.bot(quantity=4, limit=4990)
    world.run_until(lambda: bool(world.told()), "told")
    world.run_until(lambda: world.working() == [], "cancelled")


def test_an_order_that_waits_for_its_judgement_is_judged_by_the_next_process() -> None:
    world = BotWorld.begun(max_order_quantity=3)
    world.bot(quantity=4, limit=4990)
    world.wait(LEGS_NS / MILLISECOND_NS / 2)
    assert world.told() == []
    world.restart()
    world.run_until(lambda: bool(world.told()), "told")
    world.run_until(lambda: world.working() == [], "cancelled")


def test_a_replay_finds_the_same() -> None:
    world = BotWorld.begun(max_order_quantity=3, breach_policy=BreachPolicy.FLATTEN)
    world.bot(quantity=4, bracket_ticks=(40, 40))
    world.bot(quantity=1, limit=4990)
    world.wait(SETTLED_MS)
    book, steps = replayed(world.policy, world.guard.history)

    assert steps == world.guard.steps
    assert book == world.book


def test_what_the_guard_lets_be_is_the_same_afterwards() -> None:
    """An order is judged as if it were not there: the book must not remember that."""
    world = BotWorld.begun()
    world.bot(quantity=2, bracket_ticks=(40, 40))
    world.wait(LEGS_NS / MILLISECOND_NS - 20)
    before = dict(world.book.positions), dict(world.book.venue_orders)
    assert world.book.drop_copy.waiting
    world.wait(40)

    assert not world.book.drop_copy.waiting
    assert (dict(world.book.positions), dict(world.book.venue_orders)) == before


# -- slippage --------------------------------------------------------------------------------------


def test_a_market_order_is_measured_from_the_touch_at_its_first_sight() -> None:
    world = BotWorld.begun(slippage_breaches_to_reduce=1, max_order_quantity=50)
    world.quote(5000, size=1)
    world.exchange.on_quote(MES, Decimal("4999.75"), Decimal(5002), 500, 500, Decimal(5000), 1, 0)
    number = world.bot(quantity=1, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)

    assert [f"order {number} of the bot" in it.message for it in world.told("SLIPPAGE_BREACH")] == [
        True
    ]
    assert [it.kind for it in world.book.latches] == [LatchKind.SLIPPAGE]


# -- stops -----------------------------------------------------------------------------------------


def test_a_position_without_a_stop_gets_the_default_one_after_the_grace() -> None:
    world = BotWorld.begun()
    number = world.bot(quantity=2)
    world.wait(GRACE_MS - 50)
    assert world.acts() == []
    world.wait(200)

    assert world.stops() == [(2, Decimal(4990))]
    assert world.position() == 2
    assert len(world.told()) == 1
    assert "STOP_REQUIRED" in world.told()[0].message
    assert str(number) in world.told()[0].message


def test_a_stop_of_the_bot_within_the_grace_is_enough() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2)
    world.wait(GRACE_MS - 200)
    world.bot(Side.SELL, 2, stop=4985)
    world.wait(SETTLED_MS)

    assert (world.acts(), world.alerts()) == ([], [])
    assert world.stops() == [(2, Decimal(4985))]


def test_a_stop_of_the_bot_that_comes_late_takes_the_place_of_ours() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2)
    world.wait(GRACE_MS + 200)
    assert world.stops() == [(2, Decimal(4990))]
    late = world.bot(Side.SELL, 2, stop=4985)
    world.wait(300)

    assert world.working() == [late]
    assert world.surplus_ns < 100 * MILLISECOND_NS


def test_a_bot_may_put_one_stop_in_the_place_of_another_either_way_round() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2)
    first = world.bot(Side.SELL, 2, stop=4985)
    world.wait(SETTLED_MS)
    second = world.bot(Side.SELL, 2, stop=4990)
    world.wait(GRACE_MS - 200)
    world.bot_cancels(first)
    world.wait(SETTLED_MS)
    world.bot_cancels(second)
    world.wait(GRACE_MS - 200)
    third = world.bot(Side.SELL, 2, stop=4992)
    world.wait(SETTLED_MS)

    assert (world.acts(), world.alerts()) == ([], [])
    assert world.working() == [third]


def test_two_stops_of_the_bot_do_not_stay_beside_each_other() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2)
    first = world.bot(Side.SELL, 2, stop=4995)
    world.wait(SETTLED_MS)
    second = world.bot(Side.SELL, 2, stop=4985)
    world.wait(SETTLED_MS)

    assert [it.broker_order_id for it in world.sent_of(CancelOrder)] == [first]
    assert world.working() == [second], "the newest is how a bot moves its stop"


def test_a_bot_that_trails_its_stop_is_followed_and_not_fought() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2)
    stop = world.bot(Side.SELL, 2, stop=4985)
    for level in range(4986, 4995):
        world.wait(400)
        world.bot_moves(stop, stop_price=Decimal(level))
    world.wait(SETTLED_MS)

    assert (world.acts(), world.alerts()) == ([], [])
    assert world.stops() == [(2, Decimal(4994))]


def test_a_stop_that_the_bot_takes_away_is_put_back_where_it_stood() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2)
    stop = world.bot(Side.SELL, 2, stop=4985)
    world.wait(SETTLED_MS)
    world.bot_cancels(stop)
    world.wait(SETTLED_MS)

    assert world.stops() == [(2, Decimal(4985))]


def test_without_a_default_stop_a_person_is_told_and_nothing_is_frozen() -> None:
    world = BotWorld.begun(default_stop_ticks=None)
    world.bot(quantity=2)
    world.wait(10_000)

    assert len(world.told("POSITION_UNPROTECTED")) == 1
    assert world.book.latches == ()
    assert world.position() == 2


def test_policy_flatten_closes_what_has_no_stop_in_time() -> None:
    world = BotWorld.begun(external_position_policy=ExternalPositionPolicy.FLATTEN)
    world.bot(quantity=2)
    world.wait(GRACE_MS)
    assert world.position() == 2
    world.wait(SETTLED_MS)

    assert world.position() == 0
    assert "STOP_REQUIRED" in world.told()[0].message


def test_policy_alert_leaves_positions_stops_and_legs_as_they_are() -> None:
    world = BotWorld.begun(external_position_policy=ExternalPositionPolicy.ALERT)
    world.bot(quantity=2)
    stop = world.bot(Side.SELL, 2, stop=4985)
    world.wait(SETTLED_MS)
    world.bot(Side.SELL, 2, stop=4980)
    world.wait(SETTLED_MS)
    world.bot_cancels(stop)
    world.wait(10_000)

    assert world.acts() == []


def test_legs_that_outlive_their_position_are_swept_when_the_bot_does_not() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)
    world.bot(Side.SELL, 2)
    world.wait(GRACE_MS // 2)
    assert world.acts() == []
    world.run_until(lambda: world.working() == [], "swept", limit_ms=20_000)

    assert world.position() == 0


def test_two_targets_may_overlap_for_a_moment_and_not_for_long() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2)
    stop = world.bot(Side.SELL, 2, stop=4985)
    first = world.bot(Side.SELL, 2, limit=5010)
    world.wait(SETTLED_MS)
    assert world.acts() == []
    second = world.bot(Side.SELL, 2, limit=5011)
    world.wait(GRACE_MS - 200)
    assert world.acts() == []
    world.wait(SETTLED_MS)

    assert [it.broker_order_id for it in world.sent_of(CancelOrder)] == [second]
    assert world.working() == [stop, first]


# -- halted, and taken flat ------------------------------------------------------------------------


def test_a_halt_cancels_the_entries_of_the_bot_and_leaves_its_exits() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2)
    stop = world.bot(Side.SELL, 2, stop=4985)
    target = world.bot(Side.SELL, 2, limit=5010)
    adds = world.bot(quantity=1, limit=4990)
    elsewhere = world.bot(Side.SELL, 1, stop=20900, contract_id=NQ)
    world.wait(SETTLED_MS)
    assert world.acts() == []
    halt(world)
    world.wait(SETTLED_MS)

    assert {it.broker_order_id for it in world.sent_of(CancelOrder)} == {adds, elsewhere}
    assert world.working() == [stop, target]
    assert world.position() == 2


def test_an_entry_that_comes_while_halted_is_cancelled_and_named() -> None:
    world = BotWorld.begun(breach_policy=BreachPolicy.ALERT)
    halt(world)
    number = world.bot(quantity=1, limit=4990)
    world.wait(SETTLED_MS)

    assert world.working() == []
    assert "STATE_HALTED" in world.told()[0].message
    assert str(number) in world.told("EXTERNAL_ORDER_CANCELLED")[0].message


def test_a_stop_of_a_position_that_nobody_has_told_of_yet_is_not_cancelled() -> None:
    world = BotWorld.begun()
    halt(world)
    world.tell = lambda target: Delivery(copies_ms=(1 if target == "GatewayUserOrder" else 600,))
    world.bot(quantity=2)
    stop = world.bot(Side.SELL, 2, stop=4985)
    world.wait(SETTLED_MS)

    assert world.working() == [stop]
    assert world.sent_of(CancelOrder) == []
    assert [str(stop) in it.message for it in world.told()] == [False]


def test_what_is_opened_after_a_liquidation_is_taken_flat_again() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)
    world.decide(LiquidationRequested(utc_us=world.guard.utc_us, reason="out", operator="ann"))
    world.run_until(lambda: not world.book.liquidating, "flat")
    assert (world.position(), world.working()) == (0, [])
    world.bot(quantity=1)
    world.wait(100)
    world.run_until(lambda: not world.book.liquidating, "flat again")

    assert world.position() == 0


# -- through the guard itself ----------------------------------------------------------------------


def test_an_entry_through_the_guard_is_refused_and_an_exit_passes() -> None:
    world = BotWorld.begun()
    world.bot(quantity=2, bracket_ticks=(40, 40))
    world.wait(SETTLED_MS)
    entry = a_request(
        client_order_id="e",
        type=OrderType.LIMIT,
        limit_price=Decimal(4990),
        stop_loss_price=Decimal(4980),
    )
    refused = world.decide(OrderRequested(utc_us=world.guard.utc_us, request=entry))
    way_out = a_request(client_order_id="x", side=Side.SELL, quantity=1)
    world.decide(OrderRequested(utc_us=world.guard.utc_us, request=way_out))
    world.wait(SETTLED_MS)

    assert "MODE_DROP_COPY" in [it.code for it in refused.denials]
    assert world.position() == 1
    assert world.cover() == 1


# -- the session -----------------------------------------------------------------------------------


def test_a_user_hub_that_is_taken_each_time_is_told_once_it_is_left_alone() -> None:
    world = BotWorld.begun()
    for generation in range(1, EVICTIONS_MAX + 1):
        assert world.told("SESSION_CONTESTED") == []
        world.feed(
            SessionEvicted(
                utc_us=world.guard.utc_us, hub=Hub.USER, generation=generation, message=""
            )
        )

    assert len(world.told("SESSION_EVICTED")) == EVICTIONS_MAX
    (alert,) = world.told("SESSION_CONTESTED")
    assert alert.severity is Severity.CRITICAL
    assert "TOPSTEPX_JWT" in alert.message


def test_while_the_hub_is_left_alone_reads_protect_what_the_bot_opens() -> None:
    world = BotWorld.begun()
    world.feed(
        SessionEvicted(utc_us=world.guard.utc_us, hub=Hub.USER, generation=1, message="taken")
    )
    world.tell = lambda _: LOST
    world.bot(quantity=2)
    world.run_until(lambda: world.cover() == 2, "protected", limit_ms=20_000)

    assert world.position() == 2
