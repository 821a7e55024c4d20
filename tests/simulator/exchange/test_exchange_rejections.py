"""What the gateway refuses, in its own words, and what a refused order leaves behind."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from tests.simulator.exchange.conftest import (
    ACCOUNT,
    BUY,
    JOIN_BID,
    LIMIT,
    MARKET,
    MNQ,
    NQ,
    OLD_MNQ,
    OTHER_ACCOUNT,
    SELL,
    STOP,
    STOP_LIMIT,
    TRAIL,
    USER,
    World,
    default_config,
)

from backstop.simulator.exchange_config import AccountSpec, BracketMode, DuplicateTag
from backstop.simulator.place_rules import MAX_LIVE_ORDERS_PER_ACCOUNT, MAX_TAG_LENGTH

MakeWorld = Callable[..., World]


def test_a_rejected_order_exists_with_status_five_and_tells_so_without_a_reason(
    world: World,
) -> None:
    placed_us = world.exchange.now_us
    outcome = world.place(LIMIT, BUY, limit="21000.10", tag="t1")
    world.settle()

    assert outcome.code == 2
    assert outcome.order_id is not None
    row = world.row(outcome.order_id)
    assert (row.status, row.fill_volume, row.custom_tag) == (5, 0, "t1")
    assert row.limit_price == Decimal("21000.10")
    assert world.story() == ["Order(5)"]
    assert 2_000 <= world.times_us[0] - placed_us <= 2_400
    assert row.update_timestamp is not None
    assert row.update_timestamp > row.creation_timestamp


REJECTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"type": MARKET, "side": BUY, "sl": 40},
        "Invalid stop loss ticks (40). Ticks should be less than zero when longing.",
    ),
    (
        {"type": MARKET, "side": BUY, "tp": -30},
        "Invalid take profit ticks (-30). Ticks should be greater than zero when longing.",
    ),
    (
        {"type": MARKET, "side": SELL, "sl": -40},
        "Invalid stop loss ticks (-40). Ticks should be greater than zero when going short.",
    ),
    (
        {"type": MARKET, "side": SELL, "tp": 30},
        "Invalid take profit ticks (30). Ticks should be less than zero when going short.",
    ),
    (
        {"type": MARKET, "side": BUY, "sl": -1},
        "Invalid stop loss ticks (-1). Price should be at least 4 ticks away.",
    ),
    (
        {"type": MARKET, "side": BUY, "sl": 0},
        "Invalid stop loss ticks (0). Price should be at least 4 ticks away.",
    ),
    (
        {"type": MARKET, "side": SELL, "tp": -3},
        "Invalid take profit ticks (-3). Price should be at least 4 ticks away.",
    ),
    (
        {"type": MARKET, "side": BUY, "sl": -40, "sl_type": LIMIT},
        "Invalid stop loss type (Limit)",
    ),
    (
        {"type": MARKET, "side": BUY, "tp": 40, "tp_type": STOP},
        "Invalid take profit type (Stop)",
    ),
    (
        {"type": LIMIT, "side": BUY, "limit": "21000.1"},
        "Invalid limit price. Price is not aligned to tick size.",
    ),
    (
        {"type": LIMIT, "side": BUY},
        "Invalid limit price. Price is not aligned to tick size.",
    ),
    (
        {"type": STOP, "side": SELL, "stop": "21000.1"},
        "Invalid stop price. Price is not aligned to tick size.",
    ),
    (
        {"type": TRAIL, "side": SELL, "trail": "21000.1"},
        "Invalid trail price. Price is not aligned to tick size.",
    ),
    ({"type": TRAIL, "side": SELL}, "Trail Distance not set."),
    (
        {"type": TRAIL, "side": SELL, "trail": "40"},
        "Trail Distance exceeds maximum (1000)",
    ),
    (
        {"type": STOP, "side": SELL, "stop": "21020"},
        "Invalid price. Price is outside allowed range.",
    ),
    (
        {"type": STOP, "side": BUY, "stop": "21000"},
        "Invalid price. Price is outside allowed range.",
    ),
    ({"type": STOP_LIMIT, "side": BUY}, "Invalid order type (StopLimit)"),
    ({"type": 99, "side": BUY}, "Invalid order type (99)"),
    ({"type": MARKET, "side": 7}, "Invalid order side (7)"),
    (
        {"type": MARKET, "side": BUY, "size": 0},
        "Invalid size (0). Size should be from 1 to 10000.",
    ),
]


@pytest.mark.parametrize(("order", "message"), REJECTIONS)
def test_a_refusal_says_why_in_the_recorded_words(
    world: World, order: dict[str, Any], message: str
) -> None:
    outcome = world.place(**order)
    world.settle()

    assert (outcome.code, outcome.message) == (2, message)
    assert outcome.order_id is not None
    assert world.row(outcome.order_id).status == 5
    assert world.net() == 0


@pytest.mark.parametrize("price", ["NaN", "sNaN", "Infinity", "-Infinity", "1e40", "-1e40"])
def test_what_is_not_a_price_is_refused_like_one_off_the_tick(world: World, price: str) -> None:
    for outcome in (
        world.place(LIMIT, BUY, limit=price),
        world.place(STOP, BUY, stop=price),
        world.place(TRAIL, BUY, trail=price),
    ):
        assert outcome.code == 2
        assert outcome.message is not None
        assert outcome.message.endswith("Price is not aligned to tick size.")


def test_the_longest_trail_is_a_thousand_ticks(world: World) -> None:
    assert world.place(TRAIL, SELL, trail="20760").code == 0
    assert world.place(TRAIL, SELL, trail="20759.75").code == 2


def test_brackets_in_position_bracket_mode_are_rejected(world: World) -> None:
    assert world.exchange.set_bracket_mode(ACCOUNT, BracketMode.POSITION)

    outcome = world.place(MARKET, BUY, sl=-40)

    assert outcome.message == (
        "Brackets cannot be used with Position Brackets. You must enable Auto OCO Brackets."
    )
    assert world.place(MARKET, BUY).code == 0


def test_the_bracket_mode_changes_only_without_orders_and_positions(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21000")
    assert not world.exchange.set_bracket_mode(ACCOUNT, BracketMode.POSITION)
    world.exchange.cancel(ACCOUNT, order_id)
    world.settle()
    world.accepted(MARKET, BUY)
    world.settle()
    assert not world.exchange.set_bracket_mode(ACCOUNT, BracketMode.POSITION)
    world.exchange.close_position(ACCOUNT, MNQ)
    world.settle()

    assert world.exchange.set_bracket_mode(ACCOUNT, BracketMode.POSITION)


def test_a_tag_is_unique_per_account_for_ever_also_after_cancel_and_reject(world: World) -> None:
    filled = world.accepted(MARKET, BUY, tag="filled")
    cancelled = world.accepted(LIMIT, BUY, limit="21000", tag="cancelled")
    rejected = world.place(LIMIT, BUY, limit="21000.1", tag="rejected")
    world.settle()
    world.exchange.cancel(ACCOUNT, cancelled)
    world.settle()
    assert rejected.code == 2
    assert world.row(filled).status == 2

    for tag in ("filled", "cancelled", "rejected"):
        again = world.place(MARKET, BUY, tag=tag)
        assert again.code == 2
        assert again.message == (
            "Specified custom tag is already in use: custom tag should be unique per account"
        )
    assert world.place(MARKET, BUY, tag="filled", account=OTHER_ACCOUNT).code == 0


def test_a_tag_has_a_greatest_length(world: World) -> None:
    assert world.place(MARKET, BUY, tag="t" * MAX_TAG_LENGTH).code == 0
    assert world.place(MARKET, BUY, tag="t" * (MAX_TAG_LENGTH + 1)).code == 2


def test_a_tag_of_a_bracket_leg_is_used_too(world: World) -> None:
    world.accepted(MARKET, BUY, tag="g", sl=-40)

    assert world.place(MARKET, BUY, tag="g-SL").code == 2


@pytest.mark.parametrize(
    ("switch", "rows"), [(DuplicateTag.WITHOUT_TAG, 1), (DuplicateTag.WITH_TAG, 2)]
)
def test_one_order_bears_a_tag_unless_the_switch_says_otherwise(
    make_world: MakeWorld, switch: DuplicateTag, rows: int
) -> None:
    world = make_world(duplicate_tag=switch)
    world.accepted(LIMIT, BUY, limit="21000", tag="t")
    world.place(LIMIT, BUY, limit="21000", tag="t")

    tagged = [row for row in world.exchange.orders(ACCOUNT, 0, None) if row.custom_tag == "t"]
    assert len(tagged) == rows


def test_trading_without_a_price_is_refused() -> None:
    world = World(default_config())

    assert world.place(MARKET, BUY).message == "Invalid symbol"
    assert world.place(JOIN_BID, BUY).message == "Invalid symbol"
    assert world.place(TRAIL, SELL, trail="21000").message == "Cannot trail without a last price"
    world.exchange.on_quote(MNQ, Decimal(21010), Decimal(21011), 1, 1)
    assert world.place(TRAIL, SELL, trail="21000").message == "Cannot trail without a last price"
    assert world.place(MARKET, BUY).code == 0


def test_unknown_accounts_and_contracts_have_their_codes_and_leave_no_order(world: World) -> None:
    no_account = world.place(MARKET, BUY, account=5)
    no_contract = world.place(MARKET, BUY, contract_id="CON.F.US.XX.Z26")

    assert (no_account.code, no_account.order_id) == (1, None)
    assert (no_contract.code, no_contract.order_id) == (8, None)


def test_an_expired_month_is_not_active(world: World) -> None:
    assert world.place(MARKET, BUY, contract_id=OLD_MNQ).code == 9


def test_a_locked_account_is_refused_as_in_violation_but_can_close(world: World) -> None:
    world.accepted(MARKET, BUY)
    world.settle()
    world.exchange.set_can_trade(ACCOUNT, False)

    assert world.place(MARKET, BUY).code == 4
    assert world.exchange.close_position(ACCOUNT, MNQ).code == 0
    world.settle()
    assert world.net() == 0
    world.exchange.set_can_trade(ACCOUNT, True)
    assert world.place(MARKET, BUY).code == 0


def test_the_number_of_live_orders_has_a_limit(world: World) -> None:
    for _ in range(MAX_LIVE_ORDERS_PER_ACCOUNT):
        world.accepted(LIMIT, BUY, limit="20000")

    assert world.place(LIMIT, BUY, limit="20000").code == 2


def test_the_number_of_orders_kept_has_a_limit(make_world: MakeWorld) -> None:
    world = make_world(max_orders_per_account=2)
    world.accepted(MARKET, BUY)
    world.place(MARKET, BUY, 0)

    outcome = world.place(MARKET, BUY)

    assert (outcome.code, outcome.order_id) == (7, None)
    assert len(world.exchange.orders(ACCOUNT, 0, None)) == 2


def test_the_firms_position_limit_counts_working_orders_and_lets_exits_through(
    make_world: MakeWorld,
) -> None:
    account = AccountSpec(
        id=ACCOUNT, name="X", user=USER, starting_balance=Decimal(50000), max_position=5
    )
    world = make_world(accounts=(account,))
    world.accepted(MARKET, BUY, 3)
    world.settle()
    world.accepted(LIMIT, BUY, 2, limit="21000")

    assert world.place(MARKET, BUY, 1).code == 2
    assert world.place(MARKET, SELL, 3).code == 0
    assert world.place(MARKET, BUY, 5, contract_id=NQ).code == 0


def test_without_the_switch_no_position_limit_is_enforced(world: World) -> None:
    assert world.place(MARKET, BUY, 500).code == 0


def test_a_price_collar_refuses_far_prices_when_it_is_set(make_world: MakeWorld) -> None:
    world = make_world(price_collar_ticks=100)

    assert world.place(LIMIT, BUY, limit="20985").code == 0
    far = world.place(LIMIT, BUY, limit="20984.75")
    assert far.message == "Invalid price. Price is outside allowed range."


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"follower": True}, "Follower accounts cannot cancel orders"),
        ({"simulated": False}, "Live accounts not supported"),
    ],
)
def test_some_kinds_of_accounts_cannot_cancel(
    make_world: MakeWorld, kind: dict[str, Any], message: str
) -> None:
    account = AccountSpec(id=ACCOUNT, name="X", user=USER, starting_balance=Decimal(0), **kind)
    world = make_world(accounts=(account,))
    order_id = world.accepted(LIMIT, BUY, limit="21000")

    outcome = world.exchange.cancel(ACCOUNT, order_id)

    assert (outcome.code, outcome.message) == (6, message)
