"""Legs stand where they were asked for, and leave with their position."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import (
    MES,
    START_US,
    Guard,
    a_guard_start,
    a_policy,
    a_position,
    a_row,
)

from backstop.core.book import Wake
from backstop.core.engine import next_deadline_ns
from backstop.core.leftovers import ASK_AGAIN_NS, ORPHAN_SETTLE_NS
from backstop.core.policy import SECOND_NS
from backstop.core.protection_changes import END_TOLD_NS
from backstop.core.protection_record import Episode
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import AuditAccount, CancelOrder, ModifyOrder
from backstop.domain.events import Answer, Hub, HubLost, ModifyAnswered
from backstop.domain.order import OrderType, Side

STOP = {
    "broker_order_id": 101,
    "parent_order_id": 100,
    "side": Side.SELL,
    "type": OrderType.STOP,
    "stop_price": Decimal(4990),
}
TARGET = STOP | {
    "broker_order_id": 102,
    "type": OrderType.LIMIT,
    "stop_price": None,
    "limit_price": Decimal(5020),
}


def a_protected_guard(**policy: Any) -> Guard:
    """Return a guard long 2 MES from 5000 with a stop at 4990 and a target at 5020."""
    guard = Guard(policy=a_policy(**policy)).start()
    guard.working(stop_loss_price=Decimal(4990), take_profit_price=Decimal(5020))
    guard.trade(quantity=2)
    guard.position_row(2)
    guard.row(**STOP)
    guard.row(**TARGET)
    return guard


# -- where legs stand ------------------------------------------------------------------------------


def test_a_leg_measured_from_the_fill_is_moved_to_the_asked_level() -> None:
    guard = Guard().start()
    guard.working(stop_loss_price=Decimal(4990), take_profit_price=Decimal(5020))
    guard.position_row(2)
    guard.row(**STOP | {"stop_price": Decimal("4990.50")})
    guard.row(**TARGET | {"limit_price": Decimal("5020.50")})

    stop, target = guard.commands_of(ModifyOrder)
    assert (stop.broker_order_id, stop.stop_price, stop.limit_price) == (101, Decimal(4990), None)
    assert (target.broker_order_id, target.limit_price) == (102, Decimal(5020))


def test_a_leg_that_stands_right_is_left_alone() -> None:
    assert a_protected_guard().commands_of(ModifyOrder) == []


@pytest.mark.parametrize("restarts", [False, True])
def test_a_stop_that_the_trader_moved_stays_where_it_was_moved_to(*, restarts: bool) -> None:
    guard = a_protected_guard()
    if restarts:
        guard.feed(a_guard_start(utc_us=guard.utc_us))
    guard.row(**STOP | {"stop_price": Decimal(4995), "updated_utc_us": guard.utc_us})

    assert guard.commands_of(ModifyOrder) == []


@pytest.mark.parametrize(
    "leg",
    [
        STOP | {"stop_price": None},
        STOP | {"status": BrokerStatus.SUSPENDED, "stop_price": Decimal(1)},
        STOP | {"parent_order_id": None, "stop_price": Decimal(1)},
    ],
    ids=["without a price yet", "not open yet", "somebody else's"],
)
def test_only_an_open_leg_of_ours_with_a_price_is_moved(leg: dict[str, Any]) -> None:
    guard = Guard().start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.position_row(2)
    guard.row(**leg)

    assert guard.commands_of(ModifyOrder) == []


def test_a_leg_that_was_not_asked_for_has_no_level_to_stand_on() -> None:
    guard = Guard().start()
    guard.working()
    guard.position_row(2)
    guard.row(**STOP)

    assert guard.commands_of(ModifyOrder) == []


def test_a_leg_whose_entry_is_forgotten_stays_where_it_is() -> None:
    guard = Guard().start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.row(**STOP | {"stop_price": Decimal(4989)})
    guard.book.orders.clear()
    guard.book.live.clear()

    guard.position_row(2)

    assert guard.commands_of(ModifyOrder) == []


def test_legs_of_a_contract_that_is_not_loaded_are_left_alone() -> None:
    guard = Guard().start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.row(**STOP | {"contract_id": "CON.OLD", "stop_price": Decimal(1)})

    guard.position_row(2, contract_id="CON.OLD")

    assert guard.commands_of(ModifyOrder) == []


# -- legs without a position -----------------------------------------------------------------------


def closed(guard: Guard) -> None:
    guard.trade(trade_id=8, broker_order_id=900, side=Side.SELL, quantity=2)
    guard.position_row(0)


def wait(guard: Guard, pause_ns: int) -> None:
    guard.now_ns += pause_ns
    guard.timer(after_ms=0)


def test_a_leg_that_outlives_its_position_is_cancelled_after_a_breath() -> None:
    guard = a_protected_guard()
    closed(guard)
    assert guard.commands_of(CancelOrder) == [], "the venue cancels siblings by itself"
    assert next_deadline_ns(guard.book) <= guard.now_ns + ORPHAN_SETTLE_NS

    wait(guard, ORPHAN_SETTLE_NS)

    assert [it.broker_order_id for it in guard.commands_of(CancelOrder)] == [101, 102]


def test_a_cancel_that_is_not_heeded_is_asked_for_again_in_time() -> None:
    guard = a_protected_guard()
    closed(guard)
    wait(guard, ORPHAN_SETTLE_NS)
    guard.row(**STOP | {"updated_utc_us": guard.utc_us})
    wait(guard, ASK_AGAIN_NS // 2)
    assert len(guard.commands_of(CancelOrder)) == 2

    wait(guard, ASK_AGAIN_NS)

    assert len(guard.commands_of(CancelOrder)) == 4


def test_legs_that_the_venue_cancelled_itself_need_no_cancel() -> None:
    guard = a_protected_guard()
    closed(guard)
    guard.row(**STOP | {"status": BrokerStatus.CANCELLED})
    guard.row(**TARGET | {"status": BrokerStatus.CANCELLED})
    wait(guard, ORPHAN_SETTLE_NS)

    assert guard.commands_of(CancelOrder) == []
    assert Wake.ORPHANS not in guard.book.wakes


def test_the_legs_of_a_position_stay() -> None:
    guard = a_protected_guard()
    guard.book.wakes[Wake.ORPHANS] = guard.now_ns
    wait(guard, SECOND_NS)

    assert guard.commands_of(CancelOrder) == []


def test_a_position_that_came_back_meanwhile_keeps_its_legs() -> None:
    guard = a_protected_guard()
    closed(guard)
    guard.trade(trade_id=9, broker_order_id=901, quantity=2)
    wait(guard, ORPHAN_SETTLE_NS)

    assert guard.commands_of(CancelOrder) == []


def test_legs_of_strangers_are_not_swept() -> None:
    guard = a_protected_guard()
    guard.row(**STOP | {"broker_order_id": 300, "parent_order_id": None})
    closed(guard)
    wait(guard, ORPHAN_SETTLE_NS)

    assert 300 not in [it.broker_order_id for it in guard.commands_of(CancelOrder)]


def test_a_stop_whose_entry_has_just_filled_is_not_taken_for_an_orphan() -> None:
    """Flat for an hour; the entry fills, its leg opens, and the trade is lost on the way."""
    guard = Guard().start()
    guard.audit()
    guard.position_row(0)
    guard.audit(after_ms=2000)
    guard.audit(after_ms=2000)
    assert guard.book.position(MES).is_proven
    guard.working(stop_loss_price=Decimal(4990))
    guard.row(**STOP)

    wait(guard, ORPHAN_SETTLE_NS)

    assert guard.commands_of(CancelOrder) == []
    assert guard.book.audit.asked or guard.commands_of(AuditAccount), "read it, and look again"


def test_an_orphan_whose_entry_never_filled_goes_after_two_fresh_reads() -> None:
    guard = Guard().start()
    guard.position_row(0)
    guard.working(stop_loss_price=Decimal(4990))
    guard.row(**STOP)
    live = (a_row(), a_row(**STOP))
    guard.audit(after_ms=1000, live_orders=live)
    wait(guard, ASK_AGAIN_NS)
    assert guard.commands_of(CancelOrder) == []

    guard.audit(after_ms=1000, live_orders=live)
    wait(guard, ASK_AGAIN_NS)

    assert [it.broker_order_id for it in guard.commands_of(CancelOrder)] == [101]


def test_what_is_stale_sweeps_nothing() -> None:
    guard = a_protected_guard()
    closed(guard)
    guard.feed(HubLost(utc_us=guard.utc_us, hub=Hub.USER, generation=1, reason="gone"))
    wait(guard, ORPHAN_SETTLE_NS)

    assert guard.commands_of(CancelOrder) == []


def test_dry_run_moves_and_cancels_nothing() -> None:
    guard = a_protected_guard()
    guard.book.policy = a_policy(dry_run=True)
    guard.book.aligned.clear()
    guard.row(**STOP | {"stop_price": Decimal(4980), "updated_utc_us": guard.utc_us})
    closed(guard)
    wait(guard, ORPHAN_SETTLE_NS)

    assert guard.commands_of(ModifyOrder) == []
    assert guard.commands_of(CancelOrder) == []


# -- naked time ------------------------------------------------------------------------------------


def test_a_position_is_naked_from_its_first_evidence_until_a_stop_covers_it() -> None:
    guard = Guard().start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.trade(quantity=2)
    since_ns = guard.now_ns
    assert guard.book.position(MES).naked_since_ns == since_ns

    guard.row(**STOP | {"quantity": 1})
    assert guard.book.position(MES).naked_since_ns == since_ns, "one of two is not cover"
    guard.row(**STOP | {"quantity": 2, "updated_utc_us": guard.utc_us})

    assert guard.book.position(MES).naked_since_ns == 0


def test_after_a_restart_naked_time_counts_anew() -> None:
    guard = Guard().start()
    guard.trade(quantity=2)
    guard.feed(a_guard_start(utc_us=guard.utc_us), after_ms=60_000)

    assert guard.book.position(MES).naked_since_ns == guard.now_ns


def test_a_position_read_at_last_is_watched_as_well() -> None:
    guard = Guard().start()
    guard.audit(after_ms=2000, positions=(a_position(2),))
    guard.audit(after_ms=2000, positions=(a_position(2),))

    assert guard.book.position(MES).naked_since_ns == guard.now_ns


def test_no_entry_while_a_position_that_a_start_finds_bare_lacks_its_stop() -> None:
    guard = Guard(policy=a_policy(protects=True)).start()
    guard.working(quantity=2, stop_loss_price=Decimal(4990))
    guard.trade(quantity=2)
    guard.row(**STOP | {"quantity": 2, "updated_utc_us": guard.utc_us})
    guard.feed(a_guard_start(utc_us=guard.utc_us), after_ms=1_000)
    guard.connect()
    gone = {"quantity": 2, "status": BrokerStatus.CANCELLED, "updated_utc_us": guard.utc_us}
    while not guard.book.recovered:
        guard.audit(positions=(a_position(2),), orders=(a_row(**STOP | gone),))

    assert "STOP_MISSING" in guard.book.state_reasons(guard.now_ns)


def test_since_when_a_position_is_bare_is_noted_by_the_read_that_confirms_it() -> None:
    def episode() -> Episode:
        return guard.book.protection.record(MES).episode

    guard = Guard(policy=a_policy(protects=True)).start()
    guard.working(stop_loss_price=Decimal(4990))
    sent_ns = guard.now_ns
    guard.trade(quantity=2)
    lacking_ns = episode().wanted_ns
    assert lacking_ns

    guard.audit(after_ms=1, sent_ns=sent_ns, positions=(a_position(2),))
    assert not episode().bare_since_ns, "it was sent before the fill"
    guard.audit(after_ms=1, positions=None)
    assert not episode().bare_since_ns, "a part of it is missing"
    guard.audit(after_ms=300, positions=(a_position(2),))
    assert episode().bare_since_ns == lacking_ns

    guard.row(**STOP | {"quantity": 2, "updated_utc_us": guard.utc_us})
    assert not episode().bare_since_ns


def test_no_entry_while_a_position_that_a_read_has_confirmed_lacks_its_stop() -> None:
    def lacks() -> bool:
        return "STOP_MISSING" in guard.book.state_reasons(guard.now_ns)

    guard = Guard(policy=a_policy(protects=True)).start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.trade(quantity=2)
    assert not lacks(), "the stop of a fresh fill may be on its way"

    guard.audit(after_ms=2000, positions=(a_position(2),))
    assert lacks(), "it was not among what the venue has"

    guard.row(**STOP | {"quantity": 1})
    assert lacks(), "one of two is not cover"
    guard.row(**STOP | {"quantity": 2, "updated_utc_us": guard.utc_us})
    assert not lacks()


@pytest.mark.parametrize(
    ("answer", "moves", "alerts"),
    [(Answer.YES, 1, 0), (Answer.NO, 1, 1), (Answer.UNKNOWN, 2, 0), (Answer.NOT_SENT, 2, 0)],
)
def test_a_leg_is_moved_again_unless_the_venue_answered(
    answer: Answer, moves: int, alerts: int
) -> None:
    guard = Guard().start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.position_row(2)
    off = STOP | {"stop_price": Decimal("4990.50")}
    guard.row(**off)
    guard.feed(ModifyAnswered(utc_us=guard.utc_us, broker_order_id=101, answer=answer))
    wait(guard, END_TOLD_NS)
    guard.row(**off, updated_utc_us=START_US + 5_000_000)

    assert len(guard.commands_of(ModifyOrder)) == moves
    assert guard.alerts().count("LEG_NOT_ALIGNED") == alerts
