"""Orders of others are told once, stay unless they could flip the position, and name their bot."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from tests.core.builders import Guard, a_policy, a_position, a_row

from backstop.core.book import CANCEL_AGAIN_NS
from backstop.core.engine import next_deadline_ns
from backstop.core.foreign_orders import (
    CANCELS_UNTIL_TOLD,
    TAGGED_KEPT,
    prefix_of,
)
from backstop.core.policy import SECOND_NS
from backstop.core.step import DecisionKind
from backstop.core.trading_state import LatchKind
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import CancelOrder, RaiseAlert, Severity
from backstop.domain.events import ResumeRequested
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.order import OrderType, Side

FOREIGN = 900


def kinds(guard: Guard) -> list[LatchKind]:
    return [latch.kind for latch in guard.book.latches]


def alerts(guard: Guard, code: str) -> list[RaiseAlert]:
    return [alert for alert in guard.commands_of(RaiseAlert) if alert.code == code]


def cancelled(guard: Guard) -> list[int]:
    return [command.broker_order_id for command in guard.commands_of(CancelOrder)]


def foreign(guard: Guard, **changes: Any) -> BrokerOrder:
    """Somebody else's sell limit for 3 MES at 5010 begins to work."""
    members: dict[str, Any] = {
        "broker_order_id": FOREIGN,
        "side": Side.SELL,
        "quantity": 3,
        "type": OrderType.LIMIT,
        "limit_price": Decimal(5010),
        "created_utc_us": guard.utc_us,
        "updated_utc_us": guard.utc_us,
    }
    row = a_row(**(members | changes))
    guard.row(**(members | changes))
    return row


def wait(guard: Guard, *rows: BrokerOrder, seconds: float = 5) -> None:
    """Let time pass until a read of the account shows ``rows`` and what is believed to be held."""
    held = guard.position()
    guard.audit(
        after_ms=int(seconds * 1000),
        live_orders=rows,
        positions=(a_position(held),) if held else (),
    )


def holding(quantity: int = 2, **policy: Any) -> Guard:
    guard = Guard(policy=a_policy(**policy)).start()
    guard.working(quantity=quantity)
    guard.trade(quantity=quantity)
    return guard


# -- told once, and left alone ---------------------------------------------------------------------


def test_a_working_order_of_somebody_else_is_told_once_and_stays() -> None:
    guard = Guard().start()
    row = foreign(guard, custom_tag="otherbot-7")
    assert alerts(guard, "EXTERNAL_ORDER") == []
    for _ in range(3):
        wait(guard, row)

    (alert,) = alerts(guard, "EXTERNAL_ORDER")
    assert alert.severity is Severity.WARNING
    for word in ("SELL 3 MES LIMIT at 5010", "order 900", "otherbot-7", "exposure"):
        assert word in alert.message
    assert (cancelled(guard), kinds(guard)) == ([], [])


def test_an_order_with_an_unknown_tag_of_backstop_is_told_as_one() -> None:
    guard = Guard().start()
    row = foreign(guard, custom_tag="bs-" + "a" * 26)
    wait(guard, row)

    assert "does not know" in alerts(guard, "EXTERNAL_ORDER")[0].message


def test_a_row_that_comes_after_its_first_trades_is_told_as_well() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=FOREIGN)
    wait(guard)
    foreign(guard, side=Side.BUY, filled_quantity=1)

    assert len(alerts(guard, "EXTERNAL_POSITION")) == 1
    assert len(alerts(guard, "EXTERNAL_ORDER")) == 1


def test_our_own_orders_and_legs_are_never_told_as_foreign() -> None:
    guard = Guard().start()
    order = guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    rows = (
        a_row(custom_tag=order.custom_tag),
        a_row(broker_order_id=101, custom_tag=order.custom_tag + "-SL", side=Side.SELL),
        a_row(broker_order_id=102, parent_order_id=100, side=Side.SELL),
    )
    for _ in range(3):
        wait(guard, *rows)

    assert guard.alerts() == []


def test_an_order_that_is_gone_before_its_time_is_not_told() -> None:
    guard = Guard().start()
    foreign(guard)
    foreign(guard, status=BrokerStatus.CANCELLED)
    wait(guard)

    assert guard.alerts() == []


# -- what could turn the position around -----------------------------------------------------------


def test_more_than_the_position_on_the_other_side_is_cancelled() -> None:
    guard = holding()
    row = foreign(guard)
    assert cancelled(guard) == []
    wait(guard, row)

    assert cancelled(guard) == [FOREIGN]
    assert "could turn the position of +2 around" in (
        alerts(guard, "EXTERNAL_ORDER_CANCELLED")[0].message
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": 2},
        {"quantity": 3, "filled_quantity": 1},
        {"quantity": 3, "side": Side.BUY},
        {"quantity": 3, "status": BrokerStatus.SUSPENDED},
    ],
)
def test_what_can_at_most_close_the_position_stays(changes: dict[str, Any]) -> None:
    guard = holding()
    row = foreign(guard, **changes)
    for _ in range(3):
        wait(guard, row)

    assert len(alerts(guard, "EXTERNAL_ORDER")) == 1
    assert cancelled(guard) == []


def test_an_order_stays_while_there_is_no_position() -> None:
    guard = Guard().start()
    row = foreign(guard, quantity=50)
    for _ in range(3):
        wait(guard, row)

    assert cancelled(guard) == []


def test_an_order_becomes_too_large_when_the_position_shrinks() -> None:
    guard = holding()
    row = foreign(guard, quantity=2)
    wait(guard, row)
    assert cancelled(guard) == []

    guard.trade(trade_id=8, broker_order_id=950, side=Side.SELL)

    assert guard.position() == 1
    assert cancelled(guard) == [FOREIGN]


def test_exits_of_ours_leave_less_for_others_to_close() -> None:
    guard = holding()
    exit_ = {"side": Side.SELL, "quantity": 1, "type": OrderType.LIMIT}
    guard.working(101, client_order_id="exit", limit_price=Decimal(5020), **exit_)
    row = foreign(guard, quantity=2)
    ours = a_row(broker_order_id=101, custom_tag=guard.order("exit").custom_tag, **exit_)
    wait(guard, row, ours)

    assert cancelled(guard) == [FOREIGN]


def test_of_several_orders_those_beyond_the_position_are_cancelled() -> None:
    guard = holding()
    rows = [foreign(guard, broker_order_id=number, quantity=1) for number in (901, 902, 903)]
    wait(guard, *rows)

    assert cancelled(guard) == [903]


def test_a_stop_and_a_target_of_somebody_else_exclude_each_other() -> None:
    guard = holding()
    target = foreign(guard, quantity=2)
    stop = foreign(
        guard, broker_order_id=901, quantity=2, type=OrderType.STOP, stop_price=Decimal(4990)
    )
    for _ in range(3):
        wait(guard, target, stop)

    assert cancelled(guard) == []


def test_a_stop_that_the_position_needs_is_not_cancelled_however_large() -> None:
    """Without it nothing would protect: that is worse than too much protection."""
    guard = holding()
    big = foreign(guard, type=OrderType.STOP, stop_price=Decimal(4990))
    wait(guard, big)
    assert cancelled(guard) == []

    fitting = foreign(
        guard, broker_order_id=901, quantity=2, type=OrderType.STOP, stop_price=Decimal(4990)
    )
    wait(guard, big, fitting)
    assert set(cancelled(guard)) == {FOREIGN}


def test_a_stop_is_needed_while_the_newest_list_lacks_the_other_one() -> None:
    """That one may be gone already."""
    guard = holding()
    stop: dict[str, Any] = {"type": OrderType.STOP, "stop_price": Decimal(4990)}
    fitting = foreign(guard, broker_order_id=901, quantity=2, **stop)
    wait(guard)
    big = foreign(guard, **stop)
    wait(guard, big)
    assert cancelled(guard) == []

    wait(guard, big, fitting)
    assert set(cancelled(guard)) == {FOREIGN}


@pytest.mark.parametrize(
    "policy", [{"external_position_policy": ExternalPositionPolicy.ALERT}, {"execute": False}]
)
def test_nothing_is_cancelled_where_the_policy_or_the_gate_forbids_it(
    policy: dict[str, Any],
) -> None:
    guard = holding()
    guard.book.policy = a_policy(**policy)
    row = foreign(guard)
    for _ in range(3):
        wait(guard, row)

    assert len(alerts(guard, "EXTERNAL_ORDER")) == 1
    assert cancelled(guard) == []


def test_a_cancel_without_effect_is_repeated_ever_more_slowly_and_told() -> None:
    guard = holding()
    row = foreign(guard)
    wait(guard, row)
    asked_ns = [guard.now_ns]
    while len(asked_ns) <= CANCELS_UNTIL_TOLD + 4:
        before = len(cancelled(guard))
        guard.book.audit.due_ns = guard.book.audit.requested_ns = 0
        guard.now_ns = next_deadline_ns(guard.book)
        guard.timer(after_ms=0)
        if len(cancelled(guard)) > before:
            asked_ns.append(guard.now_ns)

    pauses = [later - earlier for earlier, later in pairwise(asked_ns)]
    assert pauses[:5] == [CANCEL_AGAIN_NS << doublings for doublings in range(5)]
    assert pauses[-1] == pauses[-2] == 64 * SECOND_NS
    (told,) = alerts(guard, "EXTERNAL_ORDER_STAYS")
    assert told.severity is Severity.CRITICAL
    assert len(alerts(guard, "EXTERNAL_ORDER_CANCELLED")) == 1


def test_a_cancel_that_works_ends_it() -> None:
    guard = holding()
    row = foreign(guard)
    wait(guard, row)
    foreign(guard, status=BrokerStatus.CANCELLED)
    wait(guard, seconds=60)

    assert cancelled(guard) == [FOREIGN]
    assert guard.book.external.working == {}


# -- a second trader -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "prefix"),
    [
        ("otherbot-7", "otherbot"),
        ("g1:000042", "g1"),
        ("mm_9-3", "mm"),
        ("averylongnameofabot-1", "averylongnameofabot"),
        ("550e8400e29b41d4", "550e8400"),
        ("-lead-1", "-lead-1"),
        ("ab", "ab"),
        ("x" * 100 + "-1", "x" * 32),
    ],
)
def test_what_a_tag_begins_with_names_its_program(tag: str, prefix: str) -> None:
    assert prefix_of(tag) == prefix


def tagged(guard: Guard, number: int, tag: str | None, **changes: Any) -> None:
    """An order of another program comes and goes without a fill."""
    foreign(
        guard,
        broker_order_id=number,
        custom_tag=tag,
        status=BrokerStatus.CANCELLED,
        **changes,
    )


def test_three_orders_of_one_program_within_an_hour_are_a_second_trader() -> None:
    guard = Guard().start()
    for number in (901, 902):
        tagged(guard, number, f"otherbot-{number}")
        wait(guard, seconds=20 * 60)
    assert kinds(guard) == []

    tagged(guard, 903, "otherbot-903")
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]
    assert guard.book.latches[0].cause == "second trader suspected: orders tagged otherbot"
    (alert,) = alerts(guard, "SECOND_TRADER")
    assert alert.severity is Severity.CRITICAL
    assert "otherbot" in alert.message


def test_three_orders_in_more_than_an_hour_are_none() -> None:
    guard = Guard().start()
    for number in (901, 902, 903):
        tagged(guard, number, f"otherbot-{number}")
        wait(guard, seconds=31 * 60)

    assert kinds(guard) == []


@pytest.mark.parametrize(
    "tags",
    [
        (None, None, None),
        ("a-1", "b-1", "c-1"),
        ("a-1", "a-1-SL", "a-1-TP"),
    ],
)
def test_people_different_programs_and_legs_are_no_second_trader(
    tags: tuple[str | None, ...],
) -> None:
    guard = Guard().start()
    for number, tag in enumerate(tags, start=901):
        tagged(guard, number, tag)
    for _ in range(2):
        wait(guard)

    assert kinds(guard) == []


@pytest.mark.parametrize("status", [BrokerStatus.OPEN, BrokerStatus.CANCELLED])
def test_one_order_counts_once_however_often_its_row_changes(status: BrokerStatus) -> None:
    guard = Guard().start()
    for _ in range(4):
        row = foreign(guard, custom_tag="otherbot-7", status=status, updated_utc_us=guard.utc_us)
        wait(guard, *(row,) * status.is_live)

    assert alerts(guard, "SECOND_TRADER") == []


def test_orders_from_before_the_first_guard_are_no_second_trader() -> None:
    guard = Guard().start()
    for number in (901, 902, 903):
        tagged(guard, number, "otherbot-1", created_utc_us=guard.utc_us - 60_000_000)
    wait(guard)

    assert kinds(guard) == []


def test_a_second_guard_on_the_account_is_a_second_trader() -> None:
    guard = Guard().start()
    for number in (901, 902, 903):
        tagged(guard, number, "bs-" + str(number) * 8)
    wait(guard)

    assert "another guard" in alerts(guard, "SECOND_TRADER")[0].message


def test_after_a_resume_a_program_is_counted_anew() -> None:
    guard = Guard().start()
    for number in (901, 902, 903):
        tagged(guard, number, "otherbot-1")
    wait(guard)
    event = ResumeRequested(utc_us=guard.utc_us, reason="it is mine", operator="ann")
    decision = guard.feed(event).decision
    assert decision is not None
    assert decision.kind is DecisionKind.ACCEPTED
    for number in (904, 905):
        tagged(guard, number, "otherbot-1")
    wait(guard)
    assert kinds(guard) == []

    tagged(guard, 906, "otherbot-1")
    wait(guard)
    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_only_so_many_orders_of_programs_are_remembered() -> None:
    guard = Guard().start()
    for number in range(TAGGED_KEPT + 10):
        tagged(guard, 901 + number, f"{number:08}")
    wait(guard)

    assert len(guard.book.external.tagged) == TAGGED_KEPT
