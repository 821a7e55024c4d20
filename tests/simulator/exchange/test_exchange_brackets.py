"""Bracket legs: suspended, released, one cancels the other, and what is left when flat."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from tests.simulator.exchange.conftest import (
    ACCOUNT,
    BUY,
    LIMIT,
    MARKET,
    MNQ,
    SELL,
    STOP,
    TRAIL,
    World,
)

from backstop.adapters.projectx.wire import ModifyBody, OrderRow, QueryBody, QueryFilter
from backstop.simulator.exchange_config import (
    LegsOnFlat,
    LegsOnPartialEntry,
    MarketRemainder,
    PartialFill,
    SiblingOnCancel,
    SiblingOnPartialLeg,
)

MakeWorld = Callable[..., World]
NO_SLIP = (0, 0)


def test_a_bracketed_market_order_shows_stop_entry_target_with_one_creation_time(
    world: World,
) -> None:
    entry_id = world.accepted(MARKET, SELL, tag="g1", sl=80, tp=-120)

    stop, entry, target = world.hub_rows("GatewayUserOrder")
    assert world.story() == ["Order(8)", "Order(6)", "Order(8)"]
    assert stop.creation_timestamp == entry.creation_timestamp == target.creation_timestamp
    assert entry.id == entry_id < stop.id < target.id
    assert (stop.custom_tag, target.custom_tag) == ("g1-SL", "g1-TP")
    assert (stop.parent_order_id, target.parent_order_id) == (entry_id, entry_id)
    assert target.linked_order_id == stop.id
    assert (stop.type, stop.side, target.type, target.side) == (STOP, BUY, LIMIT, BUY)
    assert (stop.stop_price, target.limit_price) == (None, None)
    assert (stop.trail_distance, stop.trail_price) == (80, Decimal(20))
    assert (target.trail_distance, target.trail_price) == (-120, Decimal(-30))


def test_legs_work_seventeen_to_thirty_two_milliseconds_after_a_market_entry(
    make_world: MakeWorld,
) -> None:
    firsts = set()
    for seed in range(12):
        world = make_world(seed=seed)
        placed_us = world.exchange.now_us
        entry_id = world.accepted(MARKET, BUY, tag="g", sl=-40, tp=80)
        world.settle()
        stop, target = world.legs(entry_id)
        assert (stop.status, stop.stop_price) == (1, Decimal("21000.25"))
        assert (target.status, target.limit_price) == (1, Decimal("21030.25"))
        released = [
            (event.data.custom_tag, at_us - placed_us)
            for event, at_us in zip(world.events, world.times_us, strict=True)
            if isinstance(event.data, OrderRow) and event.data.status == 1
        ]
        assert all(17_000 <= after_us <= 32_000 for _, after_us in released)
        firsts.add(released[0][0])

    assert firsts == {"g-SL", "g-TP"}


def test_hub_rows_of_legs_keep_their_offset_and_rest_rows_of_working_legs_lack_it(
    make_world: MakeWorld,
) -> None:
    for keep in (True, False):
        world = make_world(legs_keep_offset=keep)
        entry_id = world.accepted(MARKET, BUY, tag="g", sl=-40)
        world.settle()
        hub_leg = world.hub_rows("GatewayUserOrder")[-1]
        assert hub_leg.custom_tag == "g-SL"
        assert (hub_leg.trail_distance == -40) is keep
        rest_leg = next(row for row in world.exchange.open_orders(ACCOUNT))
        assert rest_leg.parent_order_id == entry_id
        assert rest_leg.trail_distance is rest_leg.linked_order_id  # both left out


def test_suspended_legs_show_only_in_queries_that_ask_for_status_eight(world: World) -> None:
    entry_id = world.accepted(LIMIT, BUY, limit="21000", sl=-40, tp=80)
    world.settle()

    assert [row.id for row in world.exchange.open_orders(ACCOUNT)] == [entry_id]
    body = QueryBody(filter=QueryFilter(account_id=ACCOUNT, statuses=[8]))
    rows, total = world.exchange.query_orders(body)
    assert (len(rows), total) == (2, 2)
    assert {row.trail_distance for row in rows} == {-40, 80}


def test_legs_of_a_limit_entry_sleep_until_it_fills(world: World) -> None:
    entry_id = world.accepted(LIMIT, BUY, limit="21000", sl=-40, tp=80)
    world.settle()
    assert [row.status for row in world.legs(entry_id)] == [8, 8]

    world.quote("20999")
    world.settle()

    stop, target = world.legs(entry_id)
    assert (stop.status, stop.stop_price) == (1, Decimal(20990))
    assert (target.status, target.limit_price) == (1, Decimal(21020))


def test_legs_of_an_untagged_entry_have_no_tag(world: World) -> None:
    entry_id = world.accepted(MARKET, BUY, sl=-40, tp=80)

    assert [row.custom_tag for row in world.legs(entry_id)] == [None, None]


def test_the_target_fills_at_its_price_and_the_stop_is_cancelled_a_little_later(
    world: World,
) -> None:
    entry_id = world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.settle()
    world.quote("21040")
    filled_us = world.exchange.now_us
    stop, target = world.legs(entry_id)
    assert (stop.status, target.status, target.filled_price) == (1, 2, Decimal("21030.25"))

    world.settle()

    stop, _ = world.legs(entry_id)
    cancelled_at = world.times_us[world.story().index("Order(3)")]
    assert stop.status == 3
    assert 11_000 <= cancelled_at - filled_us <= 14_000
    assert world.net() == 0


def test_the_stop_fills_with_slippage_and_the_target_is_cancelled(world: World) -> None:
    entry_id = world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.settle()
    world.quote("21000.25")
    world.settle()

    stop, target = world.legs(entry_id)
    assert (stop.status, target.status) == (2, 3)
    assert stop.filled_price is not None
    assert 0 <= Decimal("21000.25") - stop.filled_price <= Decimal("0.5")


def test_both_legs_can_fill_before_the_sibling_is_cancelled(world: World) -> None:
    world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.settle()

    world.quote("21000")
    world.quote("21040")
    world.settle()

    assert world.net() == -1


def test_cancelling_the_entry_cancels_its_suspended_legs(world: World) -> None:
    entry_id = world.accepted(LIMIT, BUY, limit="21000", sl=-40, tp=80)
    world.settle()
    world.exchange.cancel(ACCOUNT, entry_id)
    world.settle()

    assert world.row(entry_id).status == 3
    assert [row.status for row in world.legs(entry_id)] == [3, 3]


@pytest.mark.parametrize(
    ("switch", "sibling_status"), [(SiblingOnCancel.KEEP, 1), (SiblingOnCancel.CANCEL, 3)]
)
def test_a_leg_cancelled_by_hand_leaves_its_sibling_unless_the_switch_says_otherwise(
    make_world: MakeWorld, switch: SiblingOnCancel, sibling_status: int
) -> None:
    world = make_world(sibling_on_manual_cancel=switch)
    entry_id = world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.settle()
    stop, _ = world.legs(entry_id)
    world.exchange.cancel(ACCOUNT, stop.id)
    world.settle()

    stop, target = world.legs(entry_id)
    assert (stop.status, target.status) == (3, sibling_status)


@pytest.mark.parametrize(
    ("switch", "leg_status", "later_net"),
    [(LegsOnFlat.KEEP, 1, -1), (LegsOnFlat.AUTO_CANCEL, 3, 0)],
)
def test_legs_outlive_a_close_and_open_a_naked_position_unless_the_switch_says_otherwise(
    make_world: MakeWorld, switch: LegsOnFlat, leg_status: int, later_net: int
) -> None:
    world = make_world(legs_on_flat=switch)
    entry_id = world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.settle()
    world.exchange.close_position(ACCOUNT, MNQ)
    world.settle()
    assert world.net() == 0
    assert [row.status for row in world.legs(entry_id)] == [leg_status, leg_status]

    world.quote("20990")
    world.settle()

    assert world.net() == later_net


def test_a_sweep_after_flat_spares_the_legs_of_a_waiting_entry(make_world: MakeWorld) -> None:
    world = make_world(legs_on_flat=LegsOnFlat.AUTO_CANCEL)
    waiting = world.accepted(LIMIT, BUY, limit="20900", sl=-40, tp=80)
    world.accepted(MARKET, BUY)
    world.settle()
    world.exchange.close_position(ACCOUNT, MNQ)
    world.settle()

    assert [row.status for row in world.legs(waiting)] == [8, 8]


def test_a_sweep_does_not_touch_a_position_that_was_opened_again(make_world: MakeWorld) -> None:
    world = make_world(legs_on_flat=LegsOnFlat.AUTO_CANCEL, legs_on_flat_us=(90_000, 90_000))
    world.accepted(MARKET, BUY)
    world.settle()
    world.exchange.close_position(ACCOUNT, MNQ)
    world.wait(5_000)
    entry_id = world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.settle()

    assert [row.status for row in world.legs(entry_id)] == [1, 1]


def test_moving_one_leg_leaves_the_other_alone(world: World) -> None:
    entry_id = world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.settle()
    stop, target = world.legs(entry_id)
    body = ModifyBody(account_id=ACCOUNT, order_id=stop.id, stop_price=Decimal(21005))
    assert world.exchange.modify(body).code == 0
    world.settle()

    moved, other = world.legs(entry_id)
    assert (moved.id, moved.stop_price) == (stop.id, Decimal(21005))
    assert other == target


@pytest.mark.parametrize("allowed", [False, True])
def test_a_suspended_leg_can_be_modified_only_with_the_switch(
    make_world: MakeWorld, *, allowed: bool
) -> None:
    world = make_world(modify_suspended_leg=allowed)
    entry_id = world.accepted(LIMIT, BUY, limit="21000", sl=-40)
    (stop,) = [r for r in world.exchange.orders(ACCOUNT, 0, None) if r.parent_order_id == entry_id]

    body = ModifyBody(account_id=ACCOUNT, order_id=stop.id, stop_price=Decimal(20995))
    assert world.exchange.modify(body).code == (0 if allowed else 3)
    world.settle()
    world.quote("20999")
    world.settle()

    assert world.row(stop.id).stop_price == Decimal(20995 if allowed else 20990)


def test_legs_cover_what_a_partial_entry_filled_and_grow_with_it(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY, market_remainder=MarketRemainder.WAIT)
    entry_id = world.accepted(LIMIT, BUY, 5, limit="21005", sl=-40, tp=80)
    world.settle()

    world.quote("21004", "21005", size=2, last="21006")
    world.settle()
    assert [(row.status, row.size) for row in world.legs(entry_id)] == [(1, 2), (1, 2)]
    world.quote("21004", "21005", size=2, last="21006")
    world.settle()
    assert [(row.status, row.size) for row in world.legs(entry_id)] == [(1, 4), (1, 4)]
    world.exchange.cancel(ACCOUNT, entry_id)
    world.settle()

    assert [(row.status, row.size) for row in world.legs(entry_id)] == [(1, 4), (1, 4)]


def test_legs_can_wait_for_the_whole_entry_and_are_released_when_the_rest_is_cancelled(
    make_world: MakeWorld,
) -> None:
    world = make_world(
        partial_fill=PartialFill.BY_LIQUIDITY,
        legs_on_partial_entry=LegsOnPartialEntry.WAIT_FOR_ALL,
    )
    entry_id = world.accepted(LIMIT, BUY, 5, limit="21005", sl=-40, tp=80)
    world.settle()
    world.quote("21004", "21005", size=2, last="21006")
    world.settle()
    assert [row.status for row in world.legs(entry_id)] == [8, 8]

    world.exchange.cancel(ACCOUNT, entry_id)
    world.settle()

    assert [(row.status, row.size) for row in world.legs(entry_id)] == [(1, 2), (1, 2)]


@pytest.mark.parametrize(
    ("switch", "sibling_size"), [(SiblingOnPartialLeg.REDUCE, 2), (SiblingOnPartialLeg.KEEP, 3)]
)
def test_a_partly_filled_leg_shrinks_its_sibling_unless_the_switch_says_otherwise(
    make_world: MakeWorld, switch: SiblingOnPartialLeg, sibling_size: int
) -> None:
    world = make_world(
        partial_fill=PartialFill.BY_LIQUIDITY,
        market_remainder=MarketRemainder.WAIT,
        sibling_on_partial_leg=switch,
    )
    entry_id = world.accepted(MARKET, BUY, 3, sl=-40, tp=80)
    world.settle()
    world.quote("21030.25", "21030.5", last="21030", size=1)
    world.settle()

    stop, target = world.legs(entry_id)
    assert (target.status, target.fill_volume) == (1, 1)
    assert (stop.status, stop.size) == (1, sibling_size)


def test_a_leg_released_after_its_sibling_filled_in_part_covers_only_the_rest(
    make_world: MakeWorld,
) -> None:
    later_releases = 0
    for seed in range(12):
        world = make_world(
            seed=seed,
            partial_fill=PartialFill.BY_LIQUIDITY,
            market_remainder=MarketRemainder.WAIT,
            bracket_activation_us=(17_000, 170_000),
            sibling_cancel_us=(0, 0),
        )
        entry_id = world.accepted(MARKET, BUY, 3, sl=-40, tp=80)
        while world.legs(entry_id)[1].status == 8:
            due_us = world.exchange.next_event_us()
            assert due_us is not None
            world.exchange.advance(due_us)
        later_releases += world.legs(entry_id)[0].status == 8
        world.quote("21030.25", "21030.5", last="21030", size=1)
        world.settle()
        stop, target = world.legs(entry_id)
        assert (target.fill_volume, stop.status, stop.size) == (1, 1, 2)

    assert later_releases > 0


def test_a_leg_whose_enlarged_sibling_has_closed_everything_is_never_released(
    make_world: MakeWorld,
) -> None:
    for seed in range(12):
        world = make_world(
            seed=seed,
            partial_fill=PartialFill.BY_LIQUIDITY,
            market_remainder=MarketRemainder.WAIT,
            bracket_activation_us=(17_000, 170_000),
            sibling_cancel_us=(0, 0),
            resting_us=(0, 0),
        )
        entry_id = world.accepted(MARKET, BUY, 2, sl=-40, tp=80)
        while world.legs(entry_id)[1].status == 8:
            due_us = world.exchange.next_event_us()
            assert due_us is not None
            world.exchange.advance(due_us)
        stop, target = world.legs(entry_id)
        world.exchange.modify(ModifyBody(account_id=ACCOUNT, order_id=target.id, size=9))
        world.quote("21030.25", "21030.5", last="21030", size=2)
        world.settle()

        assert world.net() == 0
        assert world.row(stop.id).status == 3


def test_one_quote_that_reaches_both_legs_fills_one_of_them_under_immediate_cancel(
    make_world: MakeWorld,
) -> None:
    world = make_world(sibling_cancel_us=(0, 0))
    entry_id = world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.settle()
    world.quote("21040", last="20990")

    assert sorted(row.status for row in world.legs(entry_id)) == [2, 3]
    assert world.net() == 0


def test_a_trailing_stop_leg_starts_at_its_offset_and_follows(make_world: MakeWorld) -> None:
    world = make_world(stop_slippage_ticks=NO_SLIP)
    world.accepted(MARKET, BUY, sl=-40, sl_type=TRAIL)
    world.settle()
    (leg,) = world.exchange.open_orders(ACCOUNT)
    assert (leg.type, leg.stop_price) == (TRAIL, Decimal("21000.25"))

    world.quote("21050")
    world.quote("21040")

    assert world.row(leg.id).filled_price == Decimal(21040)
    assert world.net() == 0


def test_a_stop_leg_that_the_market_has_passed_when_it_is_released_fills_at_once(
    world: World,
) -> None:
    world.accepted(MARKET, BUY, sl=-40, tp=80)
    world.wait(10_000)
    world.quote("20980")
    world.settle()

    assert world.net() == 0
    assert world.exchange.trades(ACCOUNT, None, None)[0].price == Decimal(20980)


def test_ids_of_entry_and_legs_usually_follow_each_other(world: World) -> None:
    consecutive = 0
    for _ in range(100):
        entry_id = world.accepted(LIMIT, BUY, limit="20000", sl=-40, tp=80)
        stop, target = world.legs(entry_id)
        assert entry_id < stop.id < target.id
        consecutive += target.id == entry_id + 2

    assert 50 < consecutive < 100


def test_a_suspended_leg_whose_cancel_is_under_way_is_not_released(make_world: MakeWorld) -> None:
    world = make_world(show_pending_cancellation=True, cancel_us=(90_000, 90_000))
    entry_id = world.accepted(MARKET, BUY, 2, sl=-40, tp=80)
    stop, _ = world.legs(entry_id)
    world.exchange.cancel(ACCOUNT, stop.id)
    world.wait(50_000)
    assert world.row(stop.id).status == 7
    assert world.row(stop.id).size == 2

    world.settle()

    assert [row.status for row in world.legs(entry_id)] == [3, 1]
