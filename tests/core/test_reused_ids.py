"""An order id that the venue gives to a second order: the tag says whose a row is."""

from decimal import Decimal

import pytest
from tests.core.builders import START_US, Guard, a_policy, a_row, a_trade

from backstop.app.proofs import proof_document
from backstop.core import forgetting
from backstop.core.reused_ids import REUSED_IDS_KEPT
from backstop.core.state_checkpoint import captured, restored
from backstop.core.trading_state import LatchKind
from backstop.domain.broker import BrokerStatus
from backstop.domain.events import Answer
from backstop.domain.order import LegRole, OrderState, OrderType, Side

SECOND_US = START_US + 60_000_000
"""When the venue made the second order of the same id."""


def a_guard_with_a_filled_order() -> Guard:
    """Order 100 is ``c1``, and filled; ``c2`` was sent, and its answer names 100 again."""
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=2)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    assert guard.state() is OrderState.FILLED
    guard.submit(client_order_id="c2", quantity=1)
    guard.dispatch("c2")
    return guard


def second_row(guard: Guard, **changes: object) -> None:
    members: dict[str, object] = {
        "custom_tag": guard.order("c2").custom_tag,
        "quantity": 1,
        "status": BrokerStatus.PENDING,
        "created_utc_us": SECOND_US,
        "updated_utc_us": SECOND_US,
    }
    guard.row(**(members | changes))


def test_a_row_belongs_to_the_order_of_its_tag_and_the_old_one_stays() -> None:
    guard = a_guard_with_a_filled_order()
    first = guard.order()
    second_row(guard)
    guard.trade(trade_id=8, quantity=1, created_utc_us=SECOND_US)

    assert guard.order() == first
    assert guard.state("c2") is OrderState.FILLED
    assert [fill.trade_id for fill in guard.order("c2").fills] == [8]
    assert guard.position() == 3


def test_what_is_told_of_the_old_one_later_does_not_take_the_id_back() -> None:
    guard = Guard().start()
    guard.submit()
    guard.answer(Answer.NOT_SENT, 100)
    guard.submit(client_order_id="c2", quantity=1)
    guard.dispatch("c2")
    second_row(guard)
    guard.trade(trade_id=8, quantity=1)
    guard.answer(Answer.YES)

    assert guard.order().fills == ()
    assert [fill.trade_id for fill in guard.order("c2").fills] == [8]
    assert guard.book.client_of_broker_id[100] == "c2"
    guard.trade(trade_id=8, quantity=1, voided=True)
    assert guard.order("c2").fills == ()


def test_a_trade_that_came_ahead_of_the_row_goes_to_the_second_order() -> None:
    guard = a_guard_with_a_filled_order()
    first = guard.order()
    guard.trade(trade_id=8, quantity=1, created_utc_us=SECOND_US)
    second_row(guard)

    assert guard.order() == first
    assert [fill.trade_id for fill in guard.order("c2").fills] == [8]


def test_a_cancelled_order_keeps_what_it_got_also_when_the_clock_went_back() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=1, created_utc_us=SECOND_US + 5)
    guard.row(status=BrokerStatus.CANCELLED, filled_quantity=1)
    assert guard.state() is OrderState.CANCELLED
    first = guard.order()
    guard.submit(client_order_id="c2", quantity=1)
    guard.dispatch("c2")
    guard.trade(trade_id=8, quantity=1, created_utc_us=SECOND_US)
    second_row(guard)

    assert guard.order().fills == first.fills
    assert [fill.trade_id for fill in guard.order("c2").fills] == [8]


def test_an_order_that_trades_alone_have_filled_keeps_them_all() -> None:
    """No row said yet how many contracts it got; it is FILLED, so it got all of them."""
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=2)
    guard.submit(client_order_id="c2", quantity=1)
    guard.dispatch("c2")
    second_row(guard)

    assert (guard.state(), guard.order().filled_quantity) == (OrderState.FILLED, 2)
    assert guard.order("c2").fills == ()


# -- what is told of the first order's trades after its id went to the second --------------------


def a_guard_with_two_filled_orders() -> Guard:
    """Trade 7, of 2 contracts, is of ``c1``; trade 8, of one, is of ``c2``, which has the id."""
    guard = a_guard_with_a_filled_order()
    second_row(guard)
    guard.trade(trade_id=8, quantity=1, created_utc_us=SECOND_US)
    return guard


def counted(guard: Guard, client_order_id: str = "c1") -> int:
    """Return the contracts that count for an order: they must be those of unvoided trades."""
    order = guard.order(client_order_id)
    assert all(fill == guard.book.trades[fill.trade_id] for fill in order.fills)
    return order.filled_quantity


def test_a_trade_of_the_first_order_that_is_taken_back_no_longer_counts_for_it() -> None:
    guard = a_guard_with_two_filled_orders()
    guard.trade(quantity=2, voided=True)

    assert (counted(guard), guard.order().voided_quantity) == (0, 2)
    assert guard.state() is OrderState.CANCELLED
    assert (counted(guard, "c2"), guard.position()) == (1, 1)


def test_one_read_can_give_the_id_away_and_take_a_trade_back() -> None:
    """The trades that were told under the id first were of the other side: they prove nothing."""
    guard = Guard().start()
    guard.submit()
    guard.answer(Answer.NO, 100)
    for trade_id in (1, 2):
        guard.trade(trade_id=trade_id, side=Side.SELL)
    guard.submit(client_order_id="c2")
    guard.audit(
        live_orders=(
            a_row(status=BrokerStatus.NONE, quantity=1),
            a_row(status=BrokerStatus.NONE, quantity=1, custom_tag=guard.order("c2").custom_tag),
        ),
        trades=(a_trade(trade_id=1, voided=True),),
    )

    assert (counted(guard), counted(guard, "c2")) == (0, 0)
    assert guard.position() == -1


def test_a_trade_of_the_first_order_that_a_read_tells_otherwise_counts_as_it_is_told() -> None:
    guard = a_guard_with_two_filled_orders()
    guard.audit(trades=(a_trade(quantity=2, price=Decimal(5001)),))
    assert guard.order().average_price == 5001

    guard.audit(trades=(a_trade(quantity=2, price=Decimal(5001), broker_order_id=300),))
    assert (counted(guard), counted(guard, "c2")) == (0, 1)
    assert guard.book.trades_of[300] == (7,)
    assert guard.book.kept_trades == {}


def test_the_costs_of_a_trade_of_the_first_order_are_learnt() -> None:
    guard = a_guard_with_two_filled_orders()
    guard.trade(quantity=2, commissions_micros=740_000)

    assert [fill.commissions_micros for fill in guard.order().fills] == [740_000]
    assert counted(guard, "c2") == 1


def test_a_late_row_of_the_first_order_takes_neither_the_id_nor_a_trade_back() -> None:
    guard = a_guard_with_two_filled_orders()
    guard.row(
        custom_tag=guard.order().custom_tag,
        status=BrokerStatus.FILLED,
        filled_quantity=2,
        updated_utc_us=START_US + 9,
    )
    guard.trade(trade_id=8, quantity=1, created_utc_us=SECOND_US, voided=True)

    assert guard.book.client_of_broker_id[100] == "c2"
    assert (counted(guard), counted(guard, "c2")) == (2, 0)


def test_the_proof_of_each_order_lists_its_own_trades() -> None:
    guard = a_guard_with_two_filled_orders()

    def fills(client_order_id: str) -> list[object]:
        document = proof_document(guard.book, client_order_id, journal_seq=1)
        listed = document["fills"]
        assert isinstance(listed, list)
        return [fill["fill_id"] for fill in listed]

    assert (fills("c1"), fills("c2")) == (["7"], ["8"])


@pytest.mark.parametrize("archives", [True, False])
def test_the_first_order_leaves_the_book_with_its_trades_and_the_second_stays(
    monkeypatch: pytest.MonkeyPatch,
    archives: bool,  # noqa: FBT001 - a parameter of the case
) -> None:
    guard = a_guard_with_two_filled_orders()
    guard.book.policy = a_policy(archives=archives)
    guard.trade(quantity=2, voided=True)
    guard.book.audit.cursor_utc_us = SECOND_US
    monkeypatch.setattr(forgetting, "FINISHED_KEPT", 1)
    monkeypatch.setattr(forgetting, "STILL_READ_US", 0)
    monkeypatch.setattr(forgetting, "ORDERS_KEPT", 1)
    monkeypatch.setattr(forgetting, "TRADES_KEPT", 1)
    for _ in range(2):
        guard.timer()

    assert list(guard.book.orders) == ["c2"]
    assert (guard.book.client_of_broker_id, guard.book.kept_trades) == ({100: "c2"}, {})
    assert list(guard.book.trades) == [8]
    guard.trade(trade_id=8, quantity=1, created_utc_us=SECOND_US, voided=True)
    assert counted(guard, "c2") == 0


def test_whose_a_trade_is_outlives_the_process() -> None:
    guard = a_guard_with_two_filled_orders()
    guard.book = restored(captured(guard.book))
    guard.trade(quantity=2, voided=True)

    assert (counted(guard), counted(guard, "c2")) == (0, 1)


def test_an_answer_with_a_used_id_proves_nothing_until_the_row_comes() -> None:
    guard = a_guard_with_a_filled_order()
    guard.answer(Answer.YES, 100, client_order_id="c2")
    assert guard.state("c2") is OrderState.UNKNOWN

    second_row(guard)

    assert guard.state("c2") is OrderState.WORKING


def test_a_person_is_told_and_entries_are_frozen() -> None:
    guard = a_guard_with_a_filled_order()
    second_row(guard)
    second_row(guard, status=BrokerStatus.OPEN)

    assert guard.alerts().count("ORDER_ID_REUSED") == 1
    assert [latch.kind for latch in guard.book.latches] == [LatchKind.CONTRADICTION]


def test_of_two_live_orders_under_one_id_nothing_is_booked() -> None:
    guard = Guard().start()
    guard.working()
    first = guard.order()
    guard.submit(client_order_id="c2", quantity=1)
    guard.dispatch("c2")
    second_row(guard)

    assert guard.order() == first
    assert guard.order("c2").broker_order_id is None
    assert "ORDER_ID_REUSED" in guard.alerts()
    for _ in range(3):
        second_row(guard)
    assert guard.alerts().count("ORDER_ID_REUSED") == 1, "a person is told once of each id"
    assert guard.book.counters.contradictions == 4


def test_only_so_many_reused_ids_are_remembered() -> None:
    guard = a_guard_with_a_filled_order()
    guard.book.reused_ids = dict.fromkeys(range(1000, 1000 + REUSED_IDS_KEPT))
    second_row(guard)

    assert len(guard.book.reused_ids) == REUSED_IDS_KEPT
    assert list(guard.book.reused_ids)[-1] == 100


def test_a_leg_belongs_to_the_entry_of_its_tag() -> None:
    guard = a_guard_with_a_filled_order()
    leg = a_row(
        broker_order_id=201,
        parent_order_id=100,
        custom_tag=guard.order("c2").custom_tag + "-SL",
        side=Side.SELL,
        type=OrderType.STOP,
        status=BrokerStatus.SUSPENDED,
    )
    guard.row(**{name: getattr(leg, name) for name in leg.__struct_fields__})

    held = guard.book.venue_orders[201]
    assert (held.owner, held.role) == ("c2", LegRole.STOP_LOSS)


def test_a_refused_twin_of_the_same_tag_is_no_second_order() -> None:
    guard = a_guard_with_a_filled_order()
    guard.row(broker_order_id=300, status=BrokerStatus.REJECTED)

    assert guard.book.latches == ()
