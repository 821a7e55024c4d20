"""What the credentials of a bot permit: judged on the record, for entries alone."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import (
    Guard,
    a_guard_start,
    a_policy,
    a_quote,
    a_request,
    replayed,
)

from backstop.core.policy import MILLISECOND_NS
from backstop.core.step import Decision, DecisionKind
from backstop.domain.bot import BotLimits
from backstop.domain.denial import DenialCode
from backstop.domain.events import Hub, HubConnected, ModifyRequested, OrderRequested
from backstop.domain.order import OrderType, Side

WIDE = BotLimits(quantity_max=50, orders_max=50, entries_per_second_max=50)


def a_guard() -> Guard:
    return Guard(policy=a_policy(duplicate_window_ns=0, max_orders_per_second=100)).start()


def asked(guard: Guard, limits: BotLimits | None, *, after_ms: int = 1, **changes: Any) -> Decision:
    """Have bot alpha ask for a limit order that rests, unless ``changes`` say otherwise."""
    members = {
        "strategy_id": "alpha",
        "quantity": 1,
        "type": OrderType.LIMIT,
        "limit_price": Decimal(4990),
    } | changes
    guard.now_ns += after_ms * MILLISECOND_NS
    wish = OrderRequested(
        utc_us=guard.utc_us,
        request=a_request(**members),
        reference=a_quote(),
        bot_limits=limits,
    )
    decision = guard.feed(wish, after_ms=0).decision
    assert decision is not None
    return decision


def codes(decision: Decision) -> list[DenialCode]:
    return [denial.code for denial in decision.denials]


@pytest.mark.parametrize(
    ("limits", "code", "value", "limit"),
    [
        (BotLimits(quantity_max=2), DenialCode.BOT_QUANTITY_TOO_LARGE, "3", "2"),
        (BotLimits(symbols=("NQ",)), DenialCode.BOT_INSTRUMENT_NOT_ALLOWED, "MES", "NQ"),
        (BotLimits(orders_max=0), DenialCode.BOT_ORDERS_TOO_MANY, "0", "0"),
        (BotLimits(entries_per_second_max=0), DenialCode.BOT_RATE_TOO_HIGH, "1", "0"),
    ],
)
def test_each_limit_has_a_refusal_of_its_own_that_says_value_and_limit(
    limits: BotLimits, code: DenialCode, value: str, limit: str
) -> None:
    decision = asked(a_guard(), limits, quantity=3)

    assert decision.kind is DecisionKind.REFUSED
    (denial,) = decision.denials
    assert (denial.code, denial.value, denial.limit) == (code, value, limit)


def test_who_has_no_credentials_is_held_to_no_limit_of_a_bot() -> None:
    assert asked(a_guard(), None, quantity=50).kind is DecisionKind.ACCEPTED


def test_an_exit_is_held_to_no_limit_of_the_bot() -> None:
    guard = a_guard()
    guard.position_row(3)

    none = BotLimits(quantity_max=0, orders_max=0, entries_per_second_max=0, symbols=("NQ",))
    decision = asked(
        guard, none, side=Side.SELL, quantity=3, type=OrderType.MARKET, limit_price=None
    )

    assert decision.kind is DecisionKind.ACCEPTED


def test_orders_of_others_and_finished_ones_do_not_count() -> None:
    guard = a_guard()
    two = BotLimits(orders_max=2, entries_per_second_max=50)
    for number, bot in enumerate(("alpha", "beta", "alpha")):
        limits = two if bot == "alpha" else WIDE
        named = {"client_order_id": f"n{number}", "strategy_id": bot}
        assert asked(guard, limits, **named).kind is DecisionKind.ACCEPTED

    assert codes(asked(guard, two, client_order_id="third")) == [DenialCode.BOT_ORDERS_TOO_MANY]
    assert asked(guard, WIDE, client_order_id="b", strategy_id="beta").order is not None


def test_the_pace_is_that_of_one_second_and_of_one_bot() -> None:
    guard = a_guard()
    two = BotLimits(orders_max=50, entries_per_second_max=2)
    for number in range(2):
        assert asked(guard, two, client_order_id=f"n{number}").kind is DecisionKind.ACCEPTED
    assert asked(guard, two, client_order_id="b", strategy_id="beta").order is not None

    assert codes(asked(guard, two, client_order_id="soon")) == [DenialCode.BOT_RATE_TOO_HIGH]
    assert asked(guard, two, after_ms=1_000, client_order_id="later").order is not None


def test_a_restart_gives_a_bot_no_new_share_of_the_second() -> None:
    guard = a_guard()
    two = BotLimits(orders_max=50, entries_per_second_max=2)
    for number in range(2):
        asked(guard, two, client_order_id=f"n{number}")
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    for hub in (Hub.MARKET, Hub.USER):
        guard.feed(HubConnected(utc_us=guard.utc_us, hub=hub, generation=1))
    guard.audit(after_ms=200)

    soon = asked(guard, two, client_order_id="soon")
    later = asked(guard, two, after_ms=1_000, client_order_id="later")

    assert DenialCode.BOT_RATE_TOO_HIGH in codes(soon)
    assert DenialCode.BOT_RATE_TOO_HIGH not in codes(later)


@pytest.mark.parametrize("set_back_s", [3_602, 2])
def test_a_clock_that_was_set_back_locks_no_bot_out(set_back_s: int) -> None:
    guard = a_guard()
    one = BotLimits(orders_max=50, entries_per_second_max=1)
    asked(guard, one, client_order_id="before")
    entered_us = guard.utc_us
    guard.now_ns += 2_000_000_000

    # Set back by as much as has passed, it says the same as at the entry before.
    set_back = OrderRequested(
        utc_us=entered_us + (2 - set_back_s) * 1_000_000,
        request=a_request(
            client_order_id="after",
            strategy_id="alpha",
            type=OrderType.LIMIT,
            limit_price=Decimal(4990),
        ),
        reference=a_quote(),
        bot_limits=one,
    )

    decision = guard.feed(set_back).decision
    assert decision is not None
    assert decision.kind is DecisionKind.ACCEPTED


def test_a_move_to_more_risk_is_held_to_the_limits_and_counts_in_the_pace() -> None:
    guard = a_guard()
    one = BotLimits(orders_max=1, entries_per_second_max=2)
    guard.working(
        101,
        client_order_id="c1",
        strategy_id="alpha",
        quantity=1,
        type=OrderType.LIMIT,
        limit_price=Decimal(4990),
    )

    def moved(limits: BotLimits, level: int) -> Decision:
        wish = ModifyRequested(
            utc_us=guard.utc_us,
            client_order_id="c1",
            limit_ticks=level * 4,
            reference=a_quote(),
            bot_limits=limits,
        )
        decision = guard.feed(wish).decision
        assert decision is not None
        return decision

    assert moved(one, 4991).kind is DecisionKind.ACCEPTED, "it does not count beside itself"
    assert codes(moved(one, 4992)) == [DenialCode.BOT_RATE_TOO_HIGH]
    assert codes(moved(BotLimits(symbols=("NQ",)), 4992)) == [DenialCode.BOT_INSTRUMENT_NOT_ALLOWED]
    assert moved(BotLimits(symbols=("NQ",)), 4989).kind is DecisionKind.ACCEPTED, "less risk"


def test_the_record_decides_alike_a_second_time() -> None:
    guard = a_guard()
    one = BotLimits(orders_max=50, entries_per_second_max=1)
    for number in range(3):
        asked(guard, one, client_order_id=f"n{number}")

    _, steps = replayed(guard.policy, guard.history)

    assert [it.decision for it in steps] == [it.decision for it in guard.steps]
