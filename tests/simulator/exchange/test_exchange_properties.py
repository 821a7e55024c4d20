"""What holds whatever is sent, in whatever order, under whatever switches."""

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulator.exchange.conftest import (
    ACCOUNT,
    BUY,
    JOIN_ASK,
    JOIN_BID,
    LIMIT,
    MARKET,
    MNQ,
    OTHER_ACCOUNT,
    STOP,
    TRAIL,
    World,
    default_config,
)

from backstop.adapters.projectx.wire import ModifyBody
from backstop.simulator.accounts import Net, divide_half_even, net_fill
from backstop.simulator.exchange_config import (
    LegsOnFlat,
    LegsOnPartialEntry,
    MarketRemainder,
    PartialFill,
    Reversal,
    SiblingOnPartialLeg,
)
from backstop.simulator.records import NANOTICKS

TICK = Decimal("0.25")
BASE = 84_000  # ticks: 21 000 points

accounts = st.sampled_from([ACCOUNT, OTHER_ACCOUNT])
near_ticks = st.integers(-30, 30)

orders = st.fixed_dictionaries(
    {
        "type": st.sampled_from([LIMIT, MARKET, STOP, TRAIL, JOIN_BID, JOIN_ASK]),
        "side": st.integers(0, 1),
        "size": st.integers(0, 6),
        "ticks": near_ticks,
        "sl": st.none() | st.integers(3, 20),
        "tp": st.none() | st.integers(3, 20),
        "account": accounts,
    }
)
acts = st.one_of(
    orders.map(lambda order: ("place", order)),
    st.tuples(st.just("quote"), st.tuples(near_ticks, st.integers(0, 5), st.booleans())),
    st.tuples(st.just("wait"), st.integers(0, 40_000)),
    st.tuples(st.just("cancel"), st.tuples(accounts, st.integers(0, 30))),
    st.tuples(st.just("modify"), st.tuples(accounts, st.integers(0, 30), near_ticks)),
    st.tuples(st.just("close"), accounts),
    st.tuples(st.just("partial"), st.tuples(accounts, st.integers(0, 4))),
    st.tuples(st.just("bust"), st.integers(0, 30)),
    st.tuples(st.just("liquidate"), accounts),
    st.tuples(st.just("session"), st.booleans()),
)
switches = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1_000),
        "partial_fill": st.sampled_from(PartialFill),
        "market_remainder": st.sampled_from(MarketRemainder),
        "legs_on_flat": st.sampled_from(LegsOnFlat),
        "legs_on_partial_entry": st.sampled_from(LegsOnPartialEntry),
        "sibling_on_partial_leg": st.sampled_from(SiblingOnPartialLeg),
        "reversal": st.sampled_from(Reversal),
        "close_is_reduce_only": st.booleans(),
        "show_pending_cancellation": st.booleans(),
        "modify_suspended_leg": st.booleans(),
    }
)


def price(ticks: int) -> str:
    return str((BASE + ticks) * TICK)


def act(world: World, kind: str, detail: Any) -> None:
    exchange = world.exchange
    match kind:
        case "place":
            place(world, **detail)
        case "quote":
            ticks, size, traded = detail
            exchange.on_quote(
                MNQ,
                Decimal(price(ticks)),
                Decimal(price(ticks + 1)),
                size,
                size,
                Decimal(price(ticks)) if traded else None,
                size,
            )
        case "wait":
            world.wait(detail)
        case "cancel":
            account, index = detail
            rows = exchange.orders(account, 0, None)
            if rows:
                exchange.cancel(account, rows[index % len(rows)].id)
        case "modify":
            account, index, ticks = detail
            rows = exchange.orders(account, 0, None)
            if rows:
                level = Decimal(price(ticks))
                body = ModifyBody(
                    account_id=account,
                    order_id=rows[index % len(rows)].id,
                    size=index % 7,
                    limit_price=level,
                    stop_price=level,
                    trail_price=level,
                )
                exchange.modify(body)
        case "close":
            exchange.close_position(detail, MNQ)
        case "partial":
            account, size = detail
            exchange.partial_close(account, MNQ, size)
        case "bust":
            trades = exchange.trades(ACCOUNT, None, None)
            if trades:
                exchange.bust_trade(trades[detail % len(trades)].id)
        case "liquidate":
            exchange.liquidate_account(detail, "property")
            exchange.set_can_trade(detail, True)
        case "session":
            exchange.set_market_open(None, detail)
        case _:
            raise AssertionError(kind)


def place(
    world: World,
    *,
    type: int,  # noqa: A002 - the wire's name
    side: int,
    size: int,
    ticks: int,
    sl: int | None,
    tp: int | None,
    account: int,
) -> None:
    sign = 1 if side == BUY else -1
    world.place(
        type,
        side,
        size,
        limit=price(ticks),
        stop=price(ticks),
        trail=price(ticks),
        sl=None if sl is None else -sign * sl,
        tp=None if tp is None else sign * tp,
        account=account,
    )


def check(world: World) -> None:
    """Check the books against each other."""
    truth: Any = world.exchange.truth()
    nets: dict[int, int] = defaultdict(int)
    results: dict[int, int] = defaultdict(int)
    filled: dict[int, int] = defaultdict(int)
    for trade in truth["trades"]:
        filled[trade["orderId"]] += abs(trade["quantity"])
        if trade["voided"]:
            continue
        nets[trade["accountId"]] += trade["quantity"]
        results[trade["accountId"]] += (
            (trade["pnlMicros"] or 0) - trade["feesMicros"] - trade["commissionsMicros"]
        )
    for account in truth["accounts"]:
        account_id = account["id"]
        assert world.net(account=account_id) == nets[account_id]
        assert account["balanceMicros"] == 50_000_000_000 + results[account_id]
    for order in truth["orders"]:
        assert order["fillVolume"] == filled[order["id"]]
        if order["status"] == "REJECTED":
            assert order["fillVolume"] == 0
        else:
            assert 0 <= order["fillVolume"] <= order["size"]
            assert (order["status"] == "FILLED") == (order["fillVolume"] == order["size"])
    for name in ("orders", "trades"):
        ids = [row["id"] for row in truth[name]]
        assert ids == sorted(set(ids))
        assert all(one > 2**31 for one in ids)


@settings(max_examples=150, deadline=None)
@given(config=switches, history=st.lists(acts, max_size=40))
def test_the_books_agree_with_each_other_after_every_act(
    config: dict[str, Any], history: list[tuple[str, Any]]
) -> None:
    """Position = Σ trades; balance = start + Σ results less costs; fills stay within orders."""
    world = World(default_config(**config))
    world.quote(price(0))
    for kind, detail in history:
        act(world, kind, detail)
        check(world)
    world.exchange.set_market_open(None, True)
    world.settle()
    check(world)

    # With nothing left to happen, what REST shows is the truth.
    for account in (ACCOUNT, OTHER_ACCOUNT):
        shown = sum(
            row.size if row.type == 1 else -row.size for row in world.exchange.positions(account)
        )
        assert shown == world.net(account=account)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    stop_ticks=st.integers(4, 20),
    target_ticks=st.integers(4, 20),
    sells=st.booleans(),
    walk=st.lists(st.tuples(near_ticks, st.integers(0, 20_000)), max_size=30),
)
def test_with_an_immediate_cancel_never_both_legs_fill(
    seed: int, stop_ticks: int, target_ticks: int, *, sells: bool, walk: list[tuple[int, int]]
) -> None:
    world = World(default_config(seed=seed, sibling_cancel_us=(0, 0)))
    world.quote(price(0))
    sign = -1 if sells else 1
    world.accepted(MARKET, int(sells), 2, sl=-sign * stop_ticks, tp=sign * target_ticks)
    for ticks, pause_us in walk:
        world.wait(pause_us)
        world.quote(price(ticks))
    world.settle()

    truth: Any = world.exchange.truth()
    filled_legs = [row for row in truth["orders"] if row["leg"] and row["fillVolume"]]
    assert len(filled_legs) <= 1
    assert world.net() in (0, 2 * sign)


@settings(max_examples=50, deadline=None)
@given(config=switches, history=st.lists(acts, max_size=30))
def test_equal_configs_and_equal_calls_give_equal_events(
    config: dict[str, Any], history: list[tuple[str, Any]]
) -> None:
    def told() -> tuple[list[Any], list[int]]:
        world = World(default_config(**config))
        world.quote(price(0))
        for kind, detail in history:
            act(world, kind, detail)
        world.settle()
        return world.events, world.times_us

    assert told() == told()


@given(
    fills=st.lists(
        st.tuples(st.sampled_from([1, -1]), st.integers(1, 20), st.integers(-500, 500)),
        min_size=1,
    )
)
def test_realised_and_open_result_add_up_to_the_cash_of_all_fills(
    fills: list[tuple[int, int, int]],
) -> None:
    """Whatever was closed against which average, in all no tick is made or lost."""
    net = Net()
    realised = cash = steps = 0
    for sign, size, ticks in fills:
        netted = net_fill(net, sign=sign, size=size, price_ticks=ticks)
        net = netted.net
        realised += netted.gain_nanoticks
        cash -= sign * size * ticks * NANOTICKS
        steps += size + abs(net.quantity)

    invested = net.quantity * net.average_nanoticks
    # Each average is rounded once, by at most half a billionth of a tick per contract held.
    assert abs(realised - (cash + invested)) <= steps


@given(dividend=st.integers(-(10**20), 10**20), divisor=st.integers(1, 10**10))
def test_rounding_is_to_the_nearest_and_ties_go_to_the_even_one(
    dividend: int, divisor: int
) -> None:
    assert divide_half_even(dividend, divisor) == round(Fraction(dividend, divisor))
    assert divide_half_even(divisor * (2 * dividend + 1), 2 * divisor) == round(
        Fraction(2 * dividend + 1, 2)
    )
