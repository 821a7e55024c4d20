"""Market, limit, stop, trailing and join orders from the user's side."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from tests.simulator.exchange.conftest import (
    ACCOUNT,
    BUY,
    JOIN_ASK,
    JOIN_BID,
    LIMIT,
    MARKET,
    MNQ,
    OTHER_ACCOUNT,
    SELL,
    STOP,
    TRAIL,
    World,
    default_config,
)

from backstop.adapters.projectx.wire import ModifyBody
from backstop.simulator.exchange_config import ClosedMarketCode, MarketRemainder, PartialFill

MakeWorld = Callable[..., World]


def test_a_market_buy_tells_order_pending_order_filled_trade_position_account(
    world: World,
) -> None:
    world.accepted(MARKET, BUY, 2, tag="g1")
    world.settle()

    assert world.story() == ["Order(6)", "Order(2)", "Trade", "Position", "Account"]


def test_a_market_buy_fills_at_the_offer_six_to_nine_milliseconds_later(world: World) -> None:
    placed_us = world.exchange.now_us
    order_id = world.accepted(MARKET, BUY, 2)

    world.settle()

    assert 6_000 <= world.times_us[1] - placed_us <= 9_000
    assert world.times_us[3] - world.times_us[2] == 4_000
    row = world.row(order_id)
    assert (row.status, row.fill_volume, row.filled_price) == (2, 2, Decimal("21010.25"))


def test_a_market_order_fills_at_the_market_of_its_arrival(world: World) -> None:
    order_id = world.accepted(MARKET, SELL)
    world.quote("21000")

    world.settle()

    assert world.row(order_id).filled_price == Decimal(21000)


def test_rest_does_not_move_the_update_time_when_an_order_fills_but_the_hub_does(
    world: World,
) -> None:
    order_id = world.accepted(MARKET, BUY)
    world.settle()

    row = world.row(order_id)
    filled = world.hub_rows("GatewayUserOrder")[-1]
    assert row.update_timestamp == row.creation_timestamp
    assert filled.update_timestamp > filled.creation_timestamp


def test_a_limit_order_rests_open_and_fills_at_its_price_when_the_offer_comes_to_it(
    world: World,
) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21005")
    world.settle()
    assert world.row(order_id).status == 1

    world.quote("21004", "21004.5")

    row = world.row(order_id)
    assert (row.status, row.filled_price) == (2, Decimal(21005))
    assert world.story()[:3] == ["Order(1)", "Order(2)", "Trade"]


def test_a_trade_at_the_limit_does_not_fill_it_and_one_beyond_does(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21005")
    world.settle()

    world.quote("21005", "21005.25", last="21005")
    assert world.row(order_id).status == 1
    world.quote("21005", "21005.25", last="21004.75")

    assert world.row(order_id).status == 2


def test_a_trade_from_before_an_order_does_not_fill_it(world: World) -> None:
    world.quote("21008", "21009", last="21000")
    order_id = world.accepted(LIMIT, BUY, limit="21005")
    world.settle()

    assert world.row(order_id).status == 1


def test_a_marketable_limit_order_fills_at_once_at_the_better_touch(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21020")
    world.settle()

    assert world.row(order_id).filled_price == Decimal("21010.25")


def test_a_sell_stop_fires_on_the_last_price_and_slips_at_most_two_ticks(
    make_world: MakeWorld,
) -> None:
    slips = set()
    for seed in range(20):
        world = make_world(seed=seed)
        order_id = world.accepted(STOP, SELL, stop="21005")
        world.settle()
        world.quote("21005", last="21005.25")
        assert world.row(order_id).status == 1
        world.quote("21005", last="21005")
        row = world.row(order_id)
        assert row.status == 2
        assert row.filled_price is not None
        slips.add((Decimal(21005) - row.filled_price) / Decimal("0.25"))

    assert slips == {0, 1, 2}


def test_a_gap_through_a_stop_fills_at_the_new_market(world: World) -> None:
    order_id = world.accepted(STOP, SELL, stop="21005")
    world.settle()

    world.quote("20950", "20951", last="20950")

    assert world.row(order_id).filled_price == Decimal(20950)


def test_a_stop_without_any_trade_fires_on_the_touch() -> None:
    world = World(default_config(stop_slippage_ticks=(0, 0)))
    world.exchange.on_quote(MNQ, Decimal(100), Decimal(101), 5, 5)
    order_id = world.accepted(STOP, BUY, stop="102")
    world.settle()

    world.exchange.on_quote(MNQ, Decimal("101.75"), Decimal(102), 5, 5)

    assert world.row(order_id).filled_price == Decimal(102)


def test_a_trailing_stop_keeps_the_distance_from_the_last_price_and_reads_back_as_distance(
    make_world: MakeWorld,
) -> None:
    world = make_world(stop_slippage_ticks=(0, 0))
    order_id = world.accepted(TRAIL, SELL, trail="21000.00")
    world.settle()
    row = world.row(order_id)
    assert (row.trail_distance, row.trail_price) == (40, Decimal(10))

    world.quote("21030")
    world.quote("21021")
    assert (world.row(order_id).status, world.row(order_id).stop_price) == (1, Decimal(21020))
    world.quote("21020")

    assert (world.row(order_id).status, world.row(order_id).filled_price) == (2, Decimal(21020))


def test_a_trailing_stop_can_tell_each_move_when_asked_to(make_world: MakeWorld) -> None:
    world = make_world(trailing_move_events=True)
    world.accepted(TRAIL, SELL, trail="21000")
    world.settle()
    world.events.clear()

    world.quote("21012")
    world.quote("21011")

    assert [row.stop_price for row in world.hub_rows("GatewayUserOrder")] == [Decimal(21002)]


def test_a_trailing_stop_follows_what_happened_before_it_arrived(world: World) -> None:
    order_id = world.accepted(TRAIL, SELL, trail="21000")
    world.quote("21030")
    world.settle()

    assert world.row(order_id).stop_price == Decimal(21020)


@pytest.mark.parametrize(
    ("kind", "side", "price"), [(JOIN_BID, BUY, "21010"), (JOIN_ASK, SELL, "21010.25")]
)
def test_join_orders_rest_at_the_touch(world: World, kind: int, side: int, price: str) -> None:
    order_id = world.accepted(kind, side)
    world.settle()

    row = world.row(order_id)
    assert (row.status, row.type, row.limit_price) == (1, kind, Decimal(price))


def test_a_large_market_order_walks_the_book_one_tick_at_a_time(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY)
    world.quote("21010", size=2)
    order_id = world.accepted(MARKET, BUY, 5)
    world.settle()

    trades = world.exchange.trades(ACCOUNT, None, None)
    assert [(trade.size, trade.price) for trade in reversed(trades)] == [
        (2, Decimal("21010.25")),
        (2, Decimal("21010.5")),
        (1, Decimal("21010.75")),
    ]
    assert [row.status for row in world.hub_rows("GatewayUserOrder")] == [6, 1, 1, 2]
    assert world.row(order_id).filled_price == Decimal("21010.45")


def test_each_quote_brings_fresh_depth_at_its_touch(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY)
    world.quote("21010", size=1)
    world.accepted(MARKET, BUY, 3)
    world.settle()
    world.quote("21010", size=1)
    world.accepted(MARKET, BUY, 1)
    world.settle()

    assert world.exchange.trades(ACCOUNT, None, None)[0].price == Decimal("21010.25")


def test_where_nothing_is_displayed_nothing_fills(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY)
    world.quote("21010", size=0, last_size=0)
    order_id = world.accepted(MARKET, BUY)
    world.settle()
    assert world.row(order_id).status == 6

    world.quote("21010", size=1)

    assert world.row(order_id).status == 2


def test_the_rest_of_a_market_order_can_wait_for_the_next_quote(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY, market_remainder=MarketRemainder.WAIT)
    world.quote("21010", size=2)
    order_id = world.accepted(MARKET, BUY, 3)
    world.settle()
    assert (world.row(order_id).status, world.row(order_id).fill_volume) == (1, 2)

    world.quote("21011", size=2)

    assert (world.row(order_id).status, world.row(order_id).fill_volume) == (2, 3)


def test_a_protected_market_order_rests_as_a_limit_order_at_its_bound(
    make_world: MakeWorld,
) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY, market_protection_ticks=1)
    world.quote("21010", size=2)
    order_id = world.accepted(MARKET, BUY, 5)
    world.settle()
    row = world.row(order_id)

    assert (row.status, row.type, row.fill_volume) == (1, LIMIT, 4)
    assert row.limit_price == Decimal("21010.5")
    world.quote("21011", size=2)
    assert world.row(order_id).fill_volume == 4
    world.quote("21010.25", size=2)
    assert (world.row(order_id).status, world.row(order_id).fill_volume) == (2, 5)


def test_a_close_is_protected_too_and_what_rests_can_be_cancelled(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY, market_protection_ticks=0)
    world.quote("21010", size=5)
    world.accepted(MARKET, BUY, 3)
    world.settle()
    world.quote("21010", size=1)
    world.exchange.close_position(ACCOUNT, MNQ)
    world.settle()
    (left,) = world.exchange.open_orders(ACCOUNT)
    world.exchange.cancel(ACCOUNT, left.id)
    world.settle()
    world.quote("21010", size=5)
    world.exchange.close_position(ACCOUNT, MNQ)
    world.settle()

    assert (left.type, left.custom_tag, left.fill_volume) == (LIMIT, None, 1)
    assert world.exchange.positions(ACCOUNT) == []


def test_orders_share_the_liquidity_by_price_and_then_by_time(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY, market_remainder=MarketRemainder.WAIT)
    first = world.accepted(LIMIT, BUY, 2, limit="21005")
    world.settle()
    second = world.accepted(LIMIT, BUY, 2, limit="21005", account=OTHER_ACCOUNT)
    world.settle()
    better = world.accepted(LIMIT, BUY, 1, limit="21006")
    world.settle()

    world.quote("21004", "21005", size=4, last="21006")

    assert world.row(better).fill_volume == 1
    assert world.row(first).fill_volume == 2
    assert world.row(second, account=OTHER_ACCOUNT).fill_volume == 1


def test_a_changed_order_goes_to_the_end_of_the_queue(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY, market_remainder=MarketRemainder.WAIT)
    first = world.accepted(LIMIT, BUY, 1, limit="21005")
    world.settle()
    second = world.accepted(LIMIT, BUY, 1, limit="21005")
    world.settle()
    third = world.accepted(LIMIT, BUY, 1, limit="21005")
    world.settle()
    world.exchange.modify(ModifyBody(account_id=ACCOUNT, order_id=first, size=2))
    world.settle()
    # An order at a better price arrives last and is served first.
    best = world.accepted(LIMIT, BUY, 1, limit="21005.25")
    world.settle()

    filled = []
    for _ in range(5):
        world.quote("21004", "21005", size=1, last="21006")
        filled.append(world.exchange.trades(ACCOUNT, None, None)[0].order_id)

    assert filled == [best, second, third, first, first]


def test_trades_beyond_the_limit_fill_no_more_than_traded(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY)
    order_id = world.accepted(LIMIT, BUY, 5, limit="21005")
    world.settle()

    world.quote("21005", "21005.25", last="21004.75", last_size=3)

    assert (world.row(order_id).status, world.row(order_id).fill_volume) == (1, 3)


def test_an_order_can_fill_in_slices(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.SLICES, fill_slices=3)
    world.accepted(MARKET, BUY, 7)
    world.settle()

    sizes = [trade.size for trade in reversed(world.exchange.trades(ACCOUNT, None, None))]
    assert sizes == [3, 3, 1]
    assert world.net() == 7


def test_quotes_between_two_slices_fill_nothing(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.SLICES, slice_gap_us=5_000)
    order_id = world.accepted(MARKET, BUY, 4)
    world.wait(9_000)
    world.quote("21011")
    assert world.row(order_id).fill_volume == 2

    world.settle()

    assert world.row(order_id).fill_volume == 4


def test_a_cancelled_order_ends_in_status_three_with_a_moved_update_time(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21000")
    world.settle()

    assert world.exchange.cancel(ACCOUNT, order_id).code == 0
    world.settle()

    row = world.row(order_id)
    assert row.status == 3
    assert row.update_timestamp is not None
    assert row.update_timestamp > row.creation_timestamp
    world.quote("20990")
    assert world.net() == 0


def test_a_fill_can_win_against_an_accepted_cancel(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21005")
    world.settle()

    assert world.exchange.cancel(ACCOUNT, order_id).code == 0
    world.quote("21004")
    world.settle()

    assert world.row(order_id).status == 2
    assert world.story().count("Order(3)") == 0


def test_a_cancel_can_show_status_seven_on_its_way(make_world: MakeWorld) -> None:
    world = make_world(show_pending_cancellation=True)
    order_id = world.accepted(LIMIT, BUY, limit="21000")
    world.settle()
    world.exchange.cancel(ACCOUNT, order_id)
    assert world.row(order_id).status == 7
    world.settle()

    assert world.story() == ["Order(1)", "Order(7)", "Order(3)"]


def test_a_partly_filled_order_keeps_its_fill_when_cancelled(make_world: MakeWorld) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY)
    order_id = world.accepted(LIMIT, BUY, 5, limit="21005")
    world.settle()
    world.quote("21004", "21005", size=2, last="21006")
    world.exchange.cancel(ACCOUNT, order_id)
    world.settle()

    assert (world.row(order_id).status, world.row(order_id).fill_volume) == (3, 2)
    assert world.net() == 2


def test_cancel_answers_name_what_is_wrong(world: World) -> None:
    order_id = world.accepted(MARKET, BUY)
    assert world.exchange.cancel(999, order_id).code == 1
    assert world.exchange.cancel(ACCOUNT, 1).code == 2
    assert world.exchange.cancel(OTHER_ACCOUNT, order_id).code == 2
    assert world.exchange.cancel(ACCOUNT, order_id).code == 4
    world.settle()
    assert world.exchange.cancel(ACCOUNT, order_id).code == 5


def test_modify_moves_the_price_keeps_the_id_and_can_fill(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21000")
    world.settle()

    body = ModifyBody(account_id=ACCOUNT, order_id=order_id, limit_price=Decimal(21008), size=3)
    assert world.exchange.modify(body).code == 0
    world.settle()
    row = world.row(order_id)
    assert (row.id, row.status, row.limit_price, row.size) == (order_id, 1, Decimal(21008), 3)
    world.quote("21007")

    assert world.row(order_id).status == 2
    assert world.net() == 3


def test_until_a_change_takes_effect_the_old_terms_can_fill(world: World) -> None:
    order_id = world.accepted(STOP, SELL, stop="21005")
    world.settle()
    body = ModifyBody(account_id=ACCOUNT, order_id=order_id, stop_price=Decimal(20000))
    assert world.exchange.modify(body).code == 0

    world.quote("21004")
    world.settle()

    assert (world.row(order_id).status, world.row(order_id).stop_price) == (2, Decimal(21005))


def test_changes_take_effect_in_the_order_they_were_asked_and_keep_each_other(
    make_world: MakeWorld,
) -> None:
    for seed in range(10):
        world = make_world(seed=seed, resting_us=(0, 5_000))
        order_id = world.accepted(LIMIT, BUY, limit="21000")
        world.settle()
        for level in (Decimal(21001), Decimal(21002)):
            world.exchange.modify(
                ModifyBody(account_id=ACCOUNT, order_id=order_id, limit_price=level)
            )
        world.exchange.modify(ModifyBody(account_id=ACCOUNT, order_id=order_id, size=4))
        world.settle()

        row = world.row(order_id)
        assert (row.limit_price, row.size) == (Decimal(21002), 4)


def test_a_change_of_size_that_the_fills_have_overtaken_has_no_effect(
    make_world: MakeWorld,
) -> None:
    world = make_world(partial_fill=PartialFill.BY_LIQUIDITY)
    order_id = world.accepted(LIMIT, BUY, 5, limit="21005")
    world.settle()
    assert (
        world.exchange.modify(ModifyBody(account_id=ACCOUNT, order_id=order_id, size=2)).code == 0
    )
    world.quote("21004", "21005.25", size=3, last="21004", last_size=3)
    world.settle()

    row = world.row(order_id)
    assert (row.status, row.size, row.fill_volume) == (1, 5, 3)


def test_a_limit_moved_through_the_market_fills_at_the_market(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21000")
    world.settle()
    world.exchange.modify(
        ModifyBody(account_id=ACCOUNT, order_id=order_id, limit_price=Decimal(21050))
    )
    world.quote("21009")
    world.settle()

    assert world.row(order_id).filled_price == Decimal("21009.25")


def test_what_is_left_of_a_stop_fills_at_the_market_of_its_time(make_world: MakeWorld) -> None:
    world = make_world(
        partial_fill=PartialFill.BY_LIQUIDITY,
        market_remainder=MarketRemainder.WAIT,
        stop_slippage_ticks=(2, 2),
    )
    world.accepted(STOP, SELL, 2, stop="21005")
    world.settle()
    world.quote("21005", size=1)
    world.quote("21030", size=1)

    trades = world.exchange.trades(ACCOUNT, None, None)
    assert [trade.price for trade in reversed(trades)] == [Decimal("21004.5"), Decimal(21030)]


def test_modify_answers_name_what_is_wrong(world: World) -> None:
    limit_id = world.accepted(LIMIT, BUY, limit="21000")
    stop_id = world.accepted(STOP, SELL, stop="21000")
    market_id = world.accepted(MARKET, BUY)

    def code(account: int, order_id: int, **changes: Decimal | int) -> tuple[int, str | None]:
        body = ModifyBody(account_id=account, order_id=order_id, **changes)  # type: ignore[arg-type]
        outcome = world.exchange.modify(body)
        return outcome.code, outcome.message

    assert code(999, limit_id) == (1, None)
    assert code(ACCOUNT, 1) == (2, None)
    assert code(ACCOUNT, market_id) == (4, None)
    assert code(ACCOUNT, limit_id, limit_price=Decimal("21000.1")) == (
        3,
        "Invalid limit price. Price is not aligned to tick size.",
    )
    assert code(ACCOUNT, stop_id, stop_price=Decimal(21020)) == (3, "Invalid stop price")
    assert code(ACCOUNT, stop_id, stop_price=Decimal("21000.1")) == (
        3,
        "Invalid stop price. Price is not aligned to tick size.",
    )
    assert code(ACCOUNT, limit_id, size=0)[0] == 3
    world.settle()
    assert code(ACCOUNT, market_id) == (3, None)


def test_a_distance_sent_as_trail_level_to_modify_is_accepted_and_gives_an_absurd_trail(
    world: World,
) -> None:
    order_id = world.accepted(TRAIL, SELL, trail="21000")
    world.settle()

    body = ModifyBody(account_id=ACCOUNT, order_id=order_id, trail_price=Decimal(10))

    assert world.exchange.modify(body).code == 0
    world.settle()
    assert world.row(order_id).trail_distance == 84_000


def test_a_market_order_waits_through_a_closed_market(world: World) -> None:
    order_id = world.accepted(MARKET, BUY)
    world.exchange.set_market_open(MNQ, False)
    world.settle()
    assert world.row(order_id).status == 6

    world.exchange.set_market_open(None, True)

    assert world.row(order_id).status == 2


def test_a_closed_market_fills_no_resting_order(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21005")
    world.settle()
    world.exchange.set_market_open(None, False)

    world.quote("21000")
    assert world.row(order_id).status == 1
    world.exchange.set_market_open(None, True)

    assert world.row(order_id).status == 2


@pytest.mark.parametrize("code", list(ClosedMarketCode))
def test_a_closed_market_rejects_new_orders_with_the_chosen_code(
    make_world: MakeWorld, code: ClosedMarketCode
) -> None:
    world = make_world(closed_market_code=code)
    world.exchange.set_market_open(None, False)

    outcome = world.place(MARKET, BUY)

    assert outcome.code == code
    assert outcome.message == (
        "Trading is currently unavailable. The instrument is not in an active trading status."
    )


def test_an_order_of_the_web_page_has_no_tag(world: World) -> None:
    outcome = world.exchange.place_manual(ACCOUNT, MNQ, type=MARKET, side=BUY, size=3)
    world.settle()

    assert outcome.order_id is not None
    assert world.row(outcome.order_id).custom_tag is None
    assert world.net() == 3


def test_time_never_goes_back(world: World) -> None:
    now_us = world.exchange.now_us
    world.exchange.advance(now_us - 1)

    assert world.exchange.now_us == now_us


def test_equal_seeds_give_equal_stories_and_other_seeds_do_not(make_world: MakeWorld) -> None:
    def told(seed: int) -> list[object]:
        world = make_world(seed=seed)
        world.accepted(MARKET, BUY, sl=-40, tp=80)
        world.settle()
        return [(event, at) for event, at in zip(world.events, world.times_us, strict=True)]

    assert told(1) == told(1)
    assert told(1) != told(2)
