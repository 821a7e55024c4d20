"""The workbench on which one step is put together."""

from msgspec.structs import replace
from tests.core.builders import START_NS, START_US, a_policy, a_row, a_trade, an_order

from backstop.core.engine import new_book
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.order import OrderState


def a_workbench() -> Workbench:
    return Workbench(book=new_book(a_policy()), now_ns=START_NS, utc_us=START_US)


def test_keeping_an_order_indexes_it_and_says_what_changed() -> None:
    work = a_workbench()
    order = an_order(OrderState.WORKING, broker_order_id=100, venue_message="fine")
    work.keep(order)

    assert work.book.orders == {"c1": order}
    assert work.book.client_of_broker_id == {100: "c1"}
    assert list(work.book.live) == ["c1"]
    (note,) = work.notes
    assert note.tag is Tag.ORDER
    assert note.fields == {
        "client_order_id": "c1",
        "state": "WORKING",
        "filled_quantity": 0,
        "quantity": 2,
        "broker_order_id": 100,
        "venue_message": "fine",
    }


def test_keeping_the_same_order_again_is_no_change() -> None:
    work = a_workbench()
    work.keep(an_order())
    work.touched_orders.clear()
    work.keep(an_order())

    assert work.touched_orders == {}


def test_an_order_that_lost_its_number_no_longer_goes_by_it() -> None:
    work = a_workbench()
    work.keep(an_order(OrderState.REJECTED, broker_order_id=101))
    work.keep(an_order(OrderState.UNKNOWN))

    assert work.book.client_of_broker_id == {}
    assert list(work.book.live) == ["c1"]


def test_a_finished_order_is_no_longer_live_and_not_asked_about() -> None:
    work = a_workbench()
    working = an_order(OrderState.WORKING, broker_order_id=100)
    work.keep(working)
    work.book.cancel_asked_ns[100] = START_NS
    work.keep(replace(working, state=OrderState.CANCELLED))

    assert work.book.live == {}
    assert work.book.cancel_asked_ns == {}
    assert work.notes[-1].fields["from_state"] == "WORKING"


def test_a_proof_is_due_when_every_fill_is_proven() -> None:
    work = a_workbench()
    partly = an_order(OrderState.PARTIALLY_FILLED, broker_order_id=100, fills=(a_trade(),))
    work.keep(partly)
    assert work.proofs_due == {}

    work.keep(replace(partly, state=OrderState.CANCELLED))

    assert list(work.proofs_due) == ["c1"]


def test_a_proof_waits_for_trades_that_the_venue_counted() -> None:
    work = a_workbench()
    counted = a_row(status=BrokerStatus.CANCELLED, filled_quantity=2)
    lacking = an_order(OrderState.CANCELLED, venue=counted, fills=(a_trade(),))
    work.keep(lacking)
    assert work.proofs_due == {}

    work.keep(replace(lacking, fills=(a_trade(quantity=2),)))

    assert list(work.proofs_due) == ["c1"]


def test_a_late_trade_of_a_finished_order_makes_a_new_proof() -> None:
    work = a_workbench()
    cancelled = an_order(OrderState.CANCELLED, broker_order_id=100, fills=(a_trade(),))
    work.keep(cancelled)
    work.proofs_due.clear()
    work.keep(replace(cancelled, venue_message="cancelled by hand"))
    assert work.proofs_due == {}, "the same fills need no second proof"

    both = (a_trade(), a_trade(trade_id=8))
    work.keep(replace(cancelled, state=OrderState.FILLED, fills=both))

    assert list(work.proofs_due) == ["c1"]


def test_an_alert_is_a_command_and_a_line_in_the_log() -> None:
    work = a_workbench()
    work.alert(Severity.CRITICAL, AlertCode.OVERFILL, "too much")
    work.alert(Severity.WARNING, AlertCode.CONTRADICTION, "odd")

    assert [command.code for command in work.commands if isinstance(command, RaiseAlert)] == [
        "OVERFILL",
        "CONTRADICTION",
    ]
    assert [note.tag for note in work.notes] == [Tag.CRITICAL, Tag.CRITICAL_SYSTEM]
