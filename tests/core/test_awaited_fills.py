"""Fills that a row tells of and no trade has shown: they count once, whoever else tells of them."""

from tests.core.builders import MES, START_US, Guard, a_policy, a_position, a_row, a_trade

from backstop.core.awaited_fills import evident_quantity
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.order import OrderType, Side

ENTRY, EXIT = 100, 300


def an_exit(**changes: object) -> BrokerOrder:
    """Return the row of somebody's sale of 2, filled."""
    members: dict[str, object] = {
        "broker_order_id": EXIT,
        "status": BrokerStatus.FILLED,
        "type": OrderType.LIMIT,
        "side": Side.SELL,
        "quantity": 2,
        "filled_quantity": 2,
        "updated_utc_us": START_US + 200_000,
    }
    return a_row(**(members | changes))


def holding_three() -> Guard:
    guard = Guard(policy=a_policy(default_stop_ticks=20)).start()
    guard.working(quantity=3)
    guard.trade(quantity=3)
    guard.position_row(3)
    guard.row(status=BrokerStatus.FILLED, quantity=3, filled_quantity=3)
    return guard


def evident(guard: Guard) -> int:
    return evident_quantity(guard.book, guard.book.position(MES))


def reads_say_one(guard: Guard, **parts: object) -> None:
    """Let two reads show 1 contract, the row of the exit, and not its trade."""
    for after_ms in (1_500, 400):
        guard.audit(after_ms=after_ms, orders=(an_exit(),), positions=(a_position(1),), **parts)


def test_a_fill_that_only_its_row_tells_of_counts_before_its_trade() -> None:
    guard = holding_three()
    guard.audit(orders=(an_exit(),), positions=(a_position(3),))
    assert evident(guard) == 1


def test_a_fill_that_reads_have_counted_is_not_awaited_as_well() -> None:
    """Two reads moved the ledger by it: 1 is held, and the stop of that 1 has to stay."""
    guard = holding_three()
    reads_say_one(guard)
    assert guard.book.position(MES).quantity == 1
    assert evident(guard) == 1


def test_its_trade_comes_late_and_changes_nothing() -> None:
    guard = holding_three()
    reads_say_one(guard)
    guard.trade(
        trade_id=8,
        broker_order_id=EXIT,
        side=Side.SELL,
        quantity=2,
        created_utc_us=START_US + 200_000,
    )
    assert guard.book.position(MES).quantity == 1
    assert evident(guard) == 1


def test_a_fill_after_those_reads_is_awaited() -> None:
    guard = holding_three()
    reads_say_one(guard)
    later = an_exit(broker_order_id=301, quantity=1, filled_quantity=1, updated_utc_us=guard.utc_us)
    guard.audit(after_ms=500, orders=(later,), positions=(a_position(1),))
    assert evident(guard) == 0


def test_a_fill_of_the_other_side_is_no_part_of_what_reads_moved() -> None:
    guard = holding_three()
    reads_say_one(guard)
    bought = an_exit(broker_order_id=301, side=Side.BUY, quantity=1, filled_quantity=1)
    guard.audit(after_ms=500, orders=(bought,), positions=(a_position(1),))
    assert evident(guard) == 2


def test_of_two_fills_that_reads_counted_in_part_the_rest_is_awaited() -> None:
    guard = holding_three()
    another = an_exit(broker_order_id=301, quantity=1, filled_quantity=1)
    for after_ms in (1_500, 400):
        guard.audit(
            after_ms=after_ms,
            orders=(an_exit(), another),
            positions=(a_position(1),),
            trades=(a_trade(quantity=3),),
        )
    assert evident(guard) == 0


def test_an_exit_that_is_told_later_than_its_entry_is_not_awaited_alone() -> None:
    """Reads have both: to await the younger one a moment longer would be to believe it alone."""
    guard = Guard().start()
    guard.working(quantity=2)
    guard.row(status=BrokerStatus.FILLED, quantity=2, filled_quantity=2)
    told = []
    for after_ms in (2_000, 300, 300, 300, 300, 5_000):
        guard.audit(after_ms=after_ms, orders=(an_exit(),))
        told.append(evident(guard))

    assert told == [0, 0, 0, 0, 0, 0]
    assert guard.book.protection.awaited == {}


def test_an_entry_that_is_looked_at_again_is_not_awaited_beside_an_older_adjustment() -> None:
    """Reads have moved the ledger by another sale: that says nothing about this one."""
    guard = holding_three()
    guard.working(broker_order_id=301, client_order_id="c2", quantity=2)
    reads_say_one(guard)
    for after_ms in (1_500, 400):
        guard.audit(after_ms=after_ms, positions=(a_position(1),))
    assert guard.book.protection.awaited == {}
    now_us = guard.utc_us
    sold = an_exit(broker_order_id=302, updated_utc_us=now_us)
    guard.row(
        broker_order_id=301,
        status=BrokerStatus.FILLED,
        quantity=2,
        filled_quantity=2,
        updated_utc_us=now_us,
    )
    for after_ms in (100, 1_500, 400):
        guard.audit(after_ms=after_ms, orders=(sold,), positions=(a_position(1),))
    assert guard.book.protection.awaited == {}

    for _ in range(8):
        guard.until_due()
        assert evident(guard) == 1
    assert 301 in guard.book.protection.awaited
