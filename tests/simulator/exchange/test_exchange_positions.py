"""Netting, results, balances, close calls, and what the firm does on its own."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from tests.simulator.exchange.conftest import (
    ACCOUNT,
    BUY,
    LIMIT,
    MARKET,
    MNQ,
    NQ,
    OLD_MNQ,
    SELL,
    START_US,
    USER,
    World,
    contract,
)

from backstop.adapters.projectx.wire import PositionRow, TradeRow
from backstop.simulator.exchange_config import AccountSpec, ContractSpec, Reversal

MakeWorld = Callable[..., World]


def fill(world: World, side: int, size: int, price: str, **rest: Any) -> TradeRow:
    """Fill a market order at exactly ``price`` and return its newest trade."""
    world.quote(price, price, contract_id=rest.get("contract_id", MNQ))
    world.accepted(MARKET, side, size, **rest)
    world.settle()
    return world.exchange.trades(ACCOUNT, None, None)[0]


def position(world: World) -> PositionRow:
    (row,) = world.exchange.positions(ACCOUNT)
    return row


def test_a_round_trip_books_gross_profit_on_the_closing_trade_and_fees_on_both(
    world: World,
) -> None:
    opening = fill(world, BUY, 1, "21010.25")
    closing = fill(world, SELL, 1, "21013.5")

    assert (opening.profit_and_loss, opening.fees) == (None, Decimal("0.36"))
    assert (closing.profit_and_loss, closing.fees) == (Decimal("6.5"), Decimal("0.36"))
    assert world.balance() == Decimal(50000) + Decimal("6.5") - 2 * Decimal("0.61")


def test_commissions_show_on_the_hub_only(world: World) -> None:
    trade = fill(world, BUY, 2, "21010")
    (hub_trade,) = world.hub_rows("GatewayUserTrade")

    assert hub_trade.commissions == Decimal("0.5")
    assert not isinstance(trade.commissions, Decimal)


def test_fees_belong_to_the_contract(world: World) -> None:
    assert fill(world, BUY, 2, "21010", contract_id=NQ).fees == Decimal("2.8")


def test_scaling_in_averages_and_scaling_out_keeps_the_average(world: World) -> None:
    fill(world, BUY, 1, "21010")
    first = position(world)
    fill(world, BUY, 2, "21013")
    assert (position(world).size, position(world).average_price) == (3, Decimal(21012))
    trade = fill(world, SELL, 1, "21014")

    row = position(world)
    assert (row.id, row.creation_timestamp) == (first.id, first.creation_timestamp)
    assert (row.type, row.size, row.average_price) == (1, 2, Decimal(21012))
    assert trade.profit_and_loss == Decimal(4)


def test_an_average_between_ticks_books_results_to_the_micro(world: World) -> None:
    fill(world, BUY, 2, "21010")
    fill(world, BUY, 1, "21010.25")
    assert position(world).average_price == Decimal("21010.08333333325")

    trade = fill(world, SELL, 3, "21010.25")

    assert trade.profit_and_loss == Decimal(1)


def test_a_short_position_has_type_two_and_a_positive_size(world: World) -> None:
    fill(world, SELL, 3, "21010")

    assert (position(world).type, position(world).size) == (2, 3)
    assert fill(world, BUY, 3, "21015").profit_and_loss == Decimal(-30)


def test_a_close_is_told_with_action_two_type_zero_size_zero_and_its_average(
    world: World,
) -> None:
    fill(world, BUY, 2, "21010")
    row_id = position(world).id
    fill(world, SELL, 2, "21020")

    closed = [event for event in world.events if event.target == "GatewayUserPosition"][-1]
    assert isinstance(closed.data, PositionRow)
    assert closed.action == 2
    assert (closed.data.id, closed.data.type, closed.data.size) == (row_id, 0, 0)
    assert closed.data.average_price == Decimal(21010)
    assert world.exchange.positions(ACCOUNT) == []


def test_each_time_a_position_opens_its_row_is_new(world: World) -> None:
    fill(world, BUY, 1, "21010")
    first = position(world)
    fill(world, SELL, 1, "21010")
    fill(world, BUY, 1, "21010")

    assert position(world).id > first.id


@pytest.mark.parametrize("reversal", list(Reversal))
def test_a_fill_through_flat_is_one_trade_with_the_result_of_what_it_closed(
    make_world: MakeWorld, reversal: Reversal
) -> None:
    world = make_world(reversal=reversal)
    fill(world, BUY, 1, "21010")
    first = position(world)
    world.events.clear()
    trade = fill(world, SELL, 3, "21012")

    row = position(world)
    assert (trade.size, trade.profit_and_loss) == (3, Decimal(4))
    assert (row.type, row.size, row.average_price) == (2, 2, Decimal(21012))
    actions = [event.action for event in world.events if event.target == "GatewayUserPosition"]
    if reversal is Reversal.NEW_ROW:
        assert actions == [2, 1]
        assert row.id > first.id
    else:
        assert actions == [1]
        assert row.id == first.id


def test_the_position_row_lags_the_trade(world: World) -> None:
    world.accepted(MARKET, BUY)
    world.wait(9_000)
    assert world.net() == 1
    assert world.exchange.positions(ACCOUNT) == []

    world.wait(4_000)

    assert len(world.exchange.positions(ACCOUNT)) == 1


def test_no_position_row_overtakes_an_earlier_one(make_world: MakeWorld) -> None:
    world = make_world(position_row_us=(0, 50_000), market_fill_us=(100, 100))
    for size in range(1, 15):
        world.accepted(MARKET, BUY)
        world.wait(1_000)
        assert world.net() == size
    world.settle()

    assert [row.size for row in world.hub_rows("GatewayUserPosition")] == list(range(1, 15))
    assert position(world).size == 14


def test_close_contract_sends_an_untagged_market_order_that_fills_in_three_to_four_ms(
    world: World,
) -> None:
    fill(world, BUY, 2, "21010")
    world.events.clear()
    world.times_us.clear()
    asked_us = world.exchange.now_us

    assert world.exchange.close_position(ACCOUNT, MNQ).code == 0
    world.settle()

    orders = world.hub_rows("GatewayUserOrder")
    assert [(row.status, row.type, row.custom_tag, row.size) for row in orders] == [
        (6, MARKET, None, 2),
        (2, MARKET, None, 2),
    ]
    assert 3_000 <= world.times_us[1] - asked_us <= 4_000
    assert world.net() == 0


def test_close_contract_answers_name_what_is_wrong(world: World) -> None:
    close = world.exchange.close_position
    assert close(5, MNQ).code == 1
    assert close(ACCOUNT, MNQ).code == 2
    assert close(ACCOUNT, "CON.F.US.XX.Z26").code == 3
    fill(world, BUY, 1, "21010")
    assert close(ACCOUNT, MNQ).code == 0
    assert close(ACCOUNT, MNQ).code == 6
    world.settle()
    assert close(ACCOUNT, MNQ).code == 2
    assert world.net() == 0


def test_a_close_in_a_closed_market_is_rejected_and_leaves_a_rejected_order(
    world: World,
) -> None:
    fill(world, BUY, 2, "21010")
    world.exchange.set_market_open(None, False)

    whole = world.exchange.close_position(ACCOUNT, MNQ)
    part = world.exchange.partial_close(ACCOUNT, MNQ, 1)
    world.settle()

    assert (whole.code, whole.message) == (5, None)
    assert (part.code, part.message) == (6, None)
    assert [row.status for row in world.exchange.orders(ACCOUNT, 0, None)][-2:] == [5, 5]
    assert world.net() == 2


def test_partial_close_answers_name_what_is_wrong(world: World) -> None:
    close = world.exchange.partial_close
    assert close(5, MNQ, 1).code == 1
    assert close(ACCOUNT, MNQ, 1).code == 2
    assert close(ACCOUNT, "CON.F.US.XX.Z26", 1).code == 3
    fill(world, SELL, 3, "21010")
    assert close(ACCOUNT, MNQ, 0).code == 5
    assert close(ACCOUNT, MNQ, 4).code == 5
    assert close(ACCOUNT, MNQ, 2).code == 0
    assert close(ACCOUNT, MNQ, 2).code == 7
    world.settle()
    assert world.net() == -1


def test_a_close_leaves_out_what_a_partial_close_is_closing_already(world: World) -> None:
    fill(world, BUY, 3, "21010")
    assert world.exchange.partial_close(ACCOUNT, MNQ, 1).code == 0
    assert world.exchange.close_position(ACCOUNT, MNQ).code == 0
    world.settle()

    assert world.net() == 0


def test_an_expired_month_does_not_trade_again_when_the_session_opens(
    make_world: MakeWorld,
) -> None:
    world = make_world(settle_on_expiry=False)
    fill(world, BUY, 1, "21010")
    world.exchange.expire_contract(MNQ)
    world.exchange.liquidate_account(ACCOUNT, "risk")
    world.exchange.set_market_open(None, True)
    world.settle()

    assert world.net() == 1


def test_a_month_that_is_no_longer_active_cannot_be_closed(make_world: MakeWorld) -> None:
    world = make_world(settle_on_expiry=False)
    fill(world, BUY, 1, "21010")
    world.exchange.expire_contract(MNQ)

    assert world.exchange.close_position(ACCOUNT, MNQ).code == 4
    assert world.exchange.partial_close(ACCOUNT, MNQ, 1).code == 4
    assert world.net() == 1


def test_a_brokerage_account_cannot_close_in_part(make_world: MakeWorld) -> None:
    account = AccountSpec(
        id=ACCOUNT, name="X", user=USER, starting_balance=Decimal(0), simulated=False
    )
    world = make_world(accounts=(account,))
    fill(world, BUY, 2, "21010")

    assert world.exchange.partial_close(ACCOUNT, MNQ, 1).code == 9
    assert world.exchange.close_position(ACCOUNT, MNQ).code == 0


@pytest.mark.parametrize(("reduce_only", "net"), [(False, -2), (True, 0)])
def test_a_close_that_races_an_exit_goes_through_flat_unless_the_switch_says_otherwise(
    make_world: MakeWorld, *, reduce_only: bool, net: int
) -> None:
    world = make_world(close_is_reduce_only=reduce_only)
    fill(world, BUY, 2, "21010")
    world.accepted(LIMIT, SELL, 2, limit="21020")
    world.settle()

    world.exchange.close_position(ACCOUNT, MNQ)
    world.quote("21020", last="21020")
    world.settle()

    assert world.net() == net


def test_a_liquidation_locks_cancels_and_closes_without_a_tag(world: World) -> None:
    entry_id = world.accepted(MARKET, BUY, 2, tag="g", sl=-40, tp=80)
    world.accepted(LIMIT, BUY, limit="21000")
    fill(world, SELL, 1, "21010", contract_id=NQ)
    world.events.clear()

    closing = world.exchange.liquidate_account(ACCOUNT, "daily loss limit")
    world.settle()

    assert world.events[0].target == "GatewayUserAccount"
    assert [row.can_trade for row in world.exchange.accounts(USER, only_active=True)] == [
        False,
        True,
    ]
    assert [row.status for row in world.legs(entry_id)] == [3, 3]
    assert [
        (world.row(order_id).custom_tag, world.row(order_id).status) for order_id in closing
    ] == [(None, 2), (None, 2)]
    assert world.exchange.open_orders(ACCOUNT) == []
    assert (world.net(), world.net(contract_id=NQ)) == (0, 0)
    assert world.place(MARKET, BUY).code == 4
    liquidations: Any = world.exchange.truth()["liquidations"]
    assert liquidations[0]["reason"] == "daily loss limit"


def test_a_liquidation_in_a_closed_market_happens_at_the_reopen(world: World) -> None:
    fill(world, BUY, 2, "21010")
    world.exchange.set_market_open(None, False)
    world.exchange.liquidate_account(ACCOUNT, "risk")
    world.settle()
    assert world.net() == 2

    world.exchange.set_market_open(None, True)
    world.settle()

    assert world.net() == 0


def test_a_busted_opening_trade_takes_position_and_fees_back(world: World) -> None:
    trade = fill(world, BUY, 2, "21010")
    world.events.clear()
    world.exchange.bust_trade(trade.id)
    world.exchange.bust_trade(trade.id)
    world.settle()

    assert world.story() == ["Trade", "Position", "Account"]
    assert world.hub_rows("GatewayUserTrade")[0].voided
    assert world.exchange.trades(ACCOUNT, None, None)[0].voided
    assert world.net() == 0
    assert world.exchange.positions(ACCOUNT) == []
    assert world.balance() == Decimal(50000)


def test_a_busted_entry_of_a_closed_round_trip_leaves_its_exit_as_an_open_position(
    world: World,
) -> None:
    entry = fill(world, BUY, 1, "21010")
    fill(world, SELL, 1, "21020")
    world.exchange.bust_trade(entry.id)
    world.settle()

    row = position(world)
    assert (row.type, row.size, row.average_price) == (2, 1, Decimal(21020))
    assert world.exchange.trades(ACCOUNT, None, None)[0].profit_and_loss is None
    assert world.balance() == Decimal(50000) - Decimal("0.61")


def test_a_bust_between_two_adds_restores_the_average(world: World) -> None:
    fill(world, BUY, 1, "21010")
    second = fill(world, BUY, 1, "21030")
    assert position(world).average_price == Decimal(21020)
    world.exchange.bust_trade(second.id)
    world.settle()

    assert (position(world).size, position(world).average_price) == (1, Decimal(21010))


def test_an_overfill_is_a_trade_more_of_the_same_order(world: World) -> None:
    trade = fill(world, BUY, 3, "21010")
    world.events.clear()
    world.exchange.overfill(trade.order_id, 1)
    world.settle()

    assert world.story() == ["Order(2)", "Trade", "Position", "Account"]
    assert [(row.order_id, row.size) for row in world.exchange.trades(ACCOUNT, None, None)] == [
        (trade.order_id, 1),
        (trade.order_id, 3),
    ]
    row = world.row(trade.order_id)
    assert (row.size, row.fill_volume, row.status) == (3, 4, 2)
    assert world.net() == 4


def test_only_a_filled_order_can_be_overfilled(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21000")
    world.exchange.overfill(order_id, 1)
    world.settle()

    assert (world.row(order_id).fill_volume, world.net()) == (0, 0)


def test_an_expiring_month_expires_its_orders_and_settles_its_positions(
    make_world: MakeWorld,
) -> None:
    expiry_us = START_US + 60_000_000
    month = ContractSpec(row=contract(MNQ, "MNQZ6", "0.5"), expiry_us=expiry_us)
    other = ContractSpec(row=contract(NQ, "NQZ6", "5"))
    world = make_world(contracts=(month, other))
    world.accepted(MARKET, BUY, 2)
    limit_id = world.accepted(LIMIT, BUY, limit="21000")
    world.exchange.advance(expiry_us - 1)
    world.quote("21011")
    assert world.exchange.next_event_us() == expiry_us

    world.settle()

    assert world.row(limit_id).status == 4
    assert world.net() == 0
    assert world.exchange.trades(ACCOUNT, None, None)[0].price == Decimal(21011)
    active = {row.id: row.active_contract for row in world.exchange.contracts()}
    assert active == {MNQ: False, NQ: True}
    assert world.place(MARKET, BUY).code == 9
    world.exchange.set_market_open(None, True)
    assert world.place(MARKET, BUY).code == 9


def test_an_inactive_month_is_listed(world: World) -> None:
    assert OLD_MNQ in {row.id for row in world.exchange.contracts()}
