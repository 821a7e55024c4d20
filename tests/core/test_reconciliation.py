"""What complete reads of the account say, and what incomplete ones do not."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import (
    MES,
    START_US,
    Guard,
    a_guard_start,
    a_position,
    a_row,
    a_trade,
)

from backstop.core.book import FIRST_LOOK_BACK_US, UNLISTED_READS_MAX
from backstop.core.reconciliation import condensed
from backstop.core.trading_state import TradingState
from backstop.core.venue_clock import LOOK_BACK_US
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import AuditAccount, LookUpOrder
from backstop.domain.events import AccountAudited, Answer, Hub, HubLost
from backstop.domain.order import OrderState, OrderType, Side


def an_audit(guard: Guard, **parts: Any) -> AccountAudited:
    members: dict[str, Any] = {
        "orders": (),
        "live_orders": (),
        "trades": (),
        "positions": (),
        "sent_ns": guard.now_ns,
    }
    return AccountAudited(utc_us=guard.utc_us, reason="test", **(members | parts))


# -- complete or not -------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["orders", "live_orders", "trades", "positions"])
def test_a_part_that_could_not_be_read_proves_nothing(part: str) -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.trade(quantity=2)
    before = guard.book.audit.complete_sent_ns

    for _ in range(3):
        guard.audit(after_ms=2000, **({"positions": (a_position(2),)} | {part: None}))

    assert guard.position() == 2
    assert guard.book.audit.complete_sent_ns == before
    assert "audit_incomplete" in [note.name for note in guard.steps[-1].notes]


def test_one_audit_books_orders_trades_and_positions() -> None:
    guard = Guard().start()
    order = guard.working()
    guard.audit(
        orders=(a_row(status=BrokerStatus.FILLED, filled_quantity=2, custom_tag=order.custom_tag),),
        trades=(a_trade(quantity=2),),
        positions=(a_position(2),),
    )

    assert guard.state() is OrderState.FILLED
    assert guard.position() == 2
    assert guard.book.position(MES).is_settled, "its own positions count as one look"


# -- recovery --------------------------------------------------------------------------------------


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.now_ns)


def test_a_new_process_recovers_only_by_a_read_after_the_hub_is_up() -> None:
    guard = Guard().start()
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    guard.audit()
    assert state(guard) is TradingState.RECOVERING

    guard.start()

    assert state(guard) is TradingState.ACTIVE


def test_it_does_not_recover_while_a_position_is_in_doubt() -> None:
    """Long since Monday: the trades of the last day alone say short."""
    guard = Guard().connect()
    today = (a_trade(side=Side.SELL),)

    guard.audit(trades=today, positions=(a_position(1),))
    assert (guard.position(), state(guard)) == (1, TradingState.RECOVERING)

    guard.audit(after_ms=1500, trades=today, positions=(a_position(1),))
    assert (guard.position(), guard.book.recovered) == (1, True)


def test_positions_are_stale_after_the_user_hub_was_lost_until_they_are_read() -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.trade(quantity=2)
    guard.feed(HubLost(utc_us=guard.utc_us, hub=Hub.USER, generation=1, reason="gone"))
    assert guard.book.position(MES).knowledge == "STALE"

    guard.audit(positions=(a_position(2),))

    assert guard.book.position(MES).knowledge == "KNOWN"


# -- how far a read reaches ------------------------------------------------------------------------


def next_audit(guard: Guard) -> AuditAccount:
    while True:
        for command in guard.until_due().commands:
            if isinstance(command, AuditAccount):
                return command


def test_without_a_cursor_a_whole_trading_day_is_read() -> None:
    command = next_audit(Guard().start())

    assert abs(command.since_utc_us - (START_US - FIRST_LOOK_BACK_US - LOOK_BACK_US)) < 10_000_000


def test_the_cursor_follows_the_venues_clock_and_overlaps() -> None:
    """A clock of ours that is minutes ahead must not make the reads miss trades."""
    guard = Guard().start()
    venue_us = START_US - 300_000_000
    guard.trade(created_utc_us=venue_us)
    guard.audit(positions=(a_position(1),))

    assert next_audit(guard).since_utc_us == venue_us - LOOK_BACK_US


def test_an_absurd_time_of_the_venue_does_not_move_the_cursor_beyond_now() -> None:
    guard = Guard().start()
    guard.trade(created_utc_us=START_US * 2)
    guard.audit(positions=(a_position(1),))

    assert guard.book.audit.cursor_utc_us <= guard.utc_us


def test_the_cursor_waits_for_trades_that_are_missing() -> None:
    guard = Guard().start()
    guard.working()
    row = a_row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.audit(orders=(row,))
    assert guard.book.audit.cursor_utc_us == 0
    assert guard.book.audit.asked

    guard.audit(trades=(a_trade(quantity=2),), positions=(a_position(2),))

    assert guard.book.audit.cursor_utc_us == START_US


# -- orders that are missing from the list of live ones --------------------------------------------


def test_a_working_order_that_no_list_shows_is_searched_by_its_tag() -> None:
    guard = Guard().start()
    order = guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    guard.audit()

    (command,) = guard.commands_of(LookUpOrder)
    assert command.custom_tag == order.custom_tag
    assert guard.state() is OrderState.WORKING, "absence proves nothing"


@pytest.mark.parametrize(
    "why", ["listed", "no number yet", "finished at the venue", "sent after the read"]
)
def test_only_a_working_order_that_should_be_listed_is_searched(why: str) -> None:
    guard = Guard().start()
    if why == "no number yet":
        guard.submit()
    else:
        guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    if why == "finished at the venue":
        guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    before = len(guard.commands_of(LookUpOrder))
    sent_ns = guard.order().sent_ns if why == "sent after the read" else guard.now_ns
    guard.audit(sent_ns=sent_ns, live_orders=(a_row(),) if why == "listed" else ())

    assert len(guard.commands_of(LookUpOrder)) == before


def a_guard_with_a_leg() -> Guard:
    guard = Guard().start()
    guard.working()
    guard.row(
        broker_order_id=101,
        parent_order_id=100,
        side=Side.SELL,
        type=OrderType.STOP,
        created_utc_us=START_US - 7_200_000_000,
    )
    guard.trade(quantity=2)
    guard.position_row(2)
    return guard


def test_a_leg_that_no_list_shows_is_read_from_its_creation_on() -> None:
    """The stop was cancelled while the hub was away: a read from the cursor on misses that."""
    guard = a_guard_with_a_leg()
    guard.audit(positions=(a_position(2),))

    command = next_audit(guard)
    assert command.since_utc_us <= START_US - 7_200_000_000
    ended = replace(guard.book.venue_orders[101].row, status=BrokerStatus.CANCELLED)
    guard.audit(orders=(ended,), positions=(a_position(2),))

    assert guard.book.live_venue == {}
    assert guard.book.stop_cover(MES, 2) == 0


def test_a_leg_that_vanished_for_good_is_told_once_and_no_longer_sought() -> None:
    guard = a_guard_with_a_leg()
    for _ in range(UNLISTED_READS_MAX + 3):
        guard.audit(after_ms=2000, positions=(a_position(2),))

    assert guard.alerts().count("ORDER_VANISHED") == 1
    assert guard.book.audit.reach_back_utc_us == 0
    assert 101 in guard.book.live_venue, "absence proves nothing"


def test_a_stop_that_vanished_for_good_covers_nothing_until_it_is_listed_again() -> None:
    """Nothing says that it is gone; what nobody shows must not count as protection either."""
    guard = a_guard_with_a_leg()
    leg = guard.book.venue_orders[101].row
    for _ in range(UNLISTED_READS_MAX):
        guard.audit(after_ms=2000, positions=(a_position(2),))
        assert guard.book.stop_cover(MES, 2) == 2, "still sought"
        assert not guard.book.position(MES).naked_since_ns
    guard.audit(after_ms=2000, positions=(a_position(2),))

    assert guard.book.stop_cover(MES, 2) == 0
    assert guard.book.position(MES).naked_since_ns == guard.now_ns
    guard.audit(live_orders=(leg,), positions=(a_position(2),))
    assert guard.book.stop_cover(MES, 2) == 2
    assert not guard.book.position(MES).naked_since_ns


def test_a_stop_of_ours_that_vanished_for_good_covers_nothing_and_still_counts() -> None:
    guard = Guard().start()
    guard.trade(quantity=2, broker_order_id=77)
    guard.position_row(2)
    stop = {"side": Side.SELL, "type": OrderType.STOP, "stop_price": Decimal(4990)}
    guard.working(**stop)
    guard.row(**stop)
    for _ in range(UNLISTED_READS_MAX):
        guard.audit(after_ms=130_000, positions=(a_position(2),))
    assert guard.book.stop_cover(MES, 2) == 2, "still sought"
    guard.audit(after_ms=130_000, positions=(a_position(2),))

    assert guard.alerts().count("ORDER_VANISHED") == 1
    assert guard.book.stop_cover(MES, 2) == 0
    assert guard.book.position(MES).naked_since_ns == guard.now_ns
    assert guard.order().open_quantity == 2
    guard.audit(live_orders=(a_row(**stop),), positions=(a_position(2),))
    assert guard.book.stop_cover(MES, 2) == 2


def test_a_leg_that_is_listed_again_is_no_longer_missed() -> None:
    guard = a_guard_with_a_leg()
    leg = guard.book.venue_orders[101].row
    guard.audit(positions=(a_position(2),))
    assert guard.book.unlisted == {101: 1}

    guard.audit(live_orders=(leg,), positions=(a_position(2),))

    assert guard.book.unlisted == {}


def test_an_order_without_creation_time_is_sought_a_day_back() -> None:
    guard = Guard().start()
    guard.row(broker_order_id=300, created_utc_us=0, updated_utc_us=0)
    guard.audit()

    assert guard.book.audit.reach_back_utc_us == guard.utc_us - FIRST_LOOK_BACK_US


# -- searches --------------------------------------------------------------------------------------


def test_what_a_search_finds_is_booked() -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    row = a_row(status=BrokerStatus.FILLED, filled_quantity=2, custom_tag=guard.order().custom_tag)
    guard.look_up(orders=(row,), trades=(a_trade(quantity=2),))

    assert guard.state() is OrderState.FILLED
    assert guard.position() == 2


def test_a_search_that_finds_a_fill_without_trades_has_the_account_read() -> None:
    guard = Guard().start()
    guard.submit()
    guard.answer(Answer.UNKNOWN)
    row = a_row(status=BrokerStatus.FILLED, filled_quantity=2, custom_tag=guard.order().custom_tag)
    guard.look_up(orders=(row,))

    assert guard.state() is OrderState.WORKING
    assert guard.book.audit.asked


def test_a_search_for_an_order_that_is_forgotten_changes_nothing() -> None:
    guard = Guard().start()

    assert guard.look_up("nobody").changed_orders == ()


# -- what a lasting journal needs ------------------------------------------------------------------


def test_known_rows_and_trades_are_left_out_and_pictures_stay_whole() -> None:
    guard = Guard().start()
    guard.working()
    guard.row(raw="{}")
    guard.row(broker_order_id=300, raw="{}")
    guard.trade()
    new = a_row(broker_order_id=400, raw="{}")
    known, foreign = a_row(raw="{}"), a_row(broker_order_id=300, raw="{}")

    lean = condensed(
        guard.book,
        an_audit(
            guard,
            orders=(known, foreign, new),
            live_orders=(known, foreign, new),
            trades=(a_trade(), a_trade(trade_id=8)),
            positions=(a_position(1),),
        ),
    )

    assert lean.orders == (new,)
    assert lean.live_orders == (replace(known, raw=""), replace(foreign, raw=""), new)
    assert (lean.trades, lean.known_trades) == ((a_trade(trade_id=8),), 1)
    assert condensed(guard.book, lean).known_trades == 1
    assert lean.positions == (a_position(1),)


def test_a_void_is_kept_until_it_is_known() -> None:
    guard = Guard().start()
    guard.trade()
    void = a_trade(voided=True)

    assert condensed(guard.book, an_audit(guard, trades=(void,))).trades == (void,)
    guard.trade(voided=True)
    assert condensed(guard.book, an_audit(guard, trades=(void,))).trades == ()


def test_what_could_not_be_read_stays_unread() -> None:
    guard = Guard().start()
    blind = an_audit(guard, orders=None, live_orders=None, trades=None)

    assert condensed(guard.book, blind) == blind


@pytest.mark.parametrize(
    ("change", "is_news"),
    [
        ({"updated_utc_us": START_US + 1}, False),
        ({"status": BrokerStatus.OPEN}, False),
        ({"filled_quantity": 2}, True),
    ],
)
def test_a_finished_order_may_still_have_news(change: dict[str, Any], *, is_news: bool) -> None:
    """A fill that raced the cancel shows as a larger quantity on a row that had ended."""
    guard = Guard().start()
    guard.working()
    ended = a_row(status=BrokerStatus.CANCELLED, filled_quantity=1)
    guard.row(status=BrokerStatus.CANCELLED, filled_quantity=1)

    lean = condensed(guard.book, an_audit(guard, orders=(replace(ended, **change),)))

    assert bool(lean.orders) is is_news


def test_an_order_that_no_list_shows_is_searched_ever_more_slowly_and_told_of_once() -> None:
    """Each search costs calls of the budget; the order counts as live all the while."""
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    minutes = 10
    for _ in range(minutes * 12):
        guard.audit(after_ms=5000)

    assert len(guard.commands_of(LookUpOrder)) <= minutes // 2 + 6
    assert guard.alerts().count("ORDER_VANISHED") == 1
    assert guard.state() is OrderState.WORKING, "absence proves nothing"


def test_a_search_begins_anew_after_the_order_was_listed() -> None:
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    guard.audit()
    assert guard.book.missing["c1"].times == 1

    guard.audit(live_orders=(a_row(type=OrderType.LIMIT, limit_price=Decimal(4990)),))

    assert guard.book.missing == {}


def test_trades_of_one_read_are_booked_in_the_order_in_which_they_happened() -> None:
    """The venue lists the newest first; a position that never was must not be told."""
    guard = Guard().start()
    newest_first = (
        a_trade(trade_id=9, broker_order_id=301, side=Side.SELL),
        a_trade(trade_id=8, broker_order_id=300),
    )
    result = guard.audit(trades=newest_first)

    booked = [note.fields["trade_id"] for note in result.notes if note.name == "trade_booked"]
    assert booked == [8, 9]
