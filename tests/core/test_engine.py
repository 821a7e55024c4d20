"""One event in, one step out."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import (
    MES,
    NQ,
    Guard,
    a_guard_start,
    a_position,
    a_row,
    a_trade,
    an_instrument,
)

from backstop.core import forgetting
from backstop.core.book import LATCHES_KEPT
from backstop.core.engine import next_deadline_ns
from backstop.core.execution_verification import PENDING_POLL_NS
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import AuditAccount, LookUpOrder, PlaceOrder
from backstop.domain.events import (
    Answer,
    CancelAnswered,
    HaltRequested,
    Hub,
    HubConnected,
    HubLost,
    InstrumentsLoaded,
    ModifyAnswered,
    PayloadRejected,
    ResumeRequested,
    RiskEstimated,
    SessionEvicted,
    Source,
)
from backstop.domain.order import OrderState, OrderType, Side

# -- the whole way ---------------------------------------------------------------------------------


def test_an_order_lives_from_wish_to_fill() -> None:
    guard = Guard().start()
    order = guard.working()
    guard.row(custom_tag=order.custom_tag)
    guard.row(custom_tag=order.custom_tag, status=BrokerStatus.FILLED, filled_quantity=2)
    result = guard.trade(quantity=2)
    guard.position_row(2)

    assert [it.to_state for it in guard.order().transitions] == [
        OrderState.SENT,
        OrderState.WORKING,
        OrderState.FILLED,
    ]
    assert result.proofs_due == ("c1",)
    assert [row.status for row in result.order_rows] == ["FILLED"]
    assert [row.fill_id for row in result.fill_rows] == ["7"]


def test_six_orders_whose_answers_were_lost_are_found_and_none_is_sent_again() -> None:
    guard = Guard().start()
    for number in range(6):
        name = f"c{number}"
        guard.submit(client_order_id=name, side=Side.SELL, quantity=number + 1)
        guard.dispatch(name)
        guard.answer(Answer.UNKNOWN, client_order_id=name)
        guard.look_up(name, complete=False, fault="name resolution failed")
    states = [order.state for order in guard.book.orders.values()]
    assert states == [OrderState.UNKNOWN] * 6
    assert sum(order.open_quantity for order in guard.book.live_orders()) == 21

    for number, order in enumerate(list(guard.book.orders.values())):
        row = a_row(
            broker_order_id=200 + number,
            custom_tag=order.custom_tag,
            side=Side.SELL,
            quantity=number + 1,
            status=BrokerStatus.FILLED,
            filled_quantity=number + 1,
        )
        trade = a_trade(
            trade_id=number,
            broker_order_id=200 + number,
            side=Side.SELL,
            quantity=number + 1,
        )
        guard.look_up(order.client_order_id, orders=(row,), trades=(trade,))

    assert [order.state for order in guard.book.orders.values()] == [OrderState.FILLED] * 6
    assert guard.position() == -21
    assert len(guard.commands_of(PlaceOrder)) == 6


def test_a_cancel_without_answer_and_a_fill_end_filled() -> None:
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990), quantity=1)
    guard.feed(CancelAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=Answer.UNKNOWN))
    assert guard.book.audit.asked, "silence about a cancel has the account read"

    guard.trade()

    assert guard.state() is OrderState.FILLED


@pytest.mark.parametrize("kind", [CancelAnswered, ModifyAnswered])
def test_an_accepted_change_proves_nothing_yet(kind: Any) -> None:
    guard = Guard().start()
    guard.working()
    before = guard.order()
    guard.feed(kind(utc_us=guard.utc_us, broker_order_id=100, answer=Answer.YES))

    assert guard.order() == before
    assert not guard.book.audit.asked


def test_an_answer_for_an_order_nobody_asked_for_is_reported() -> None:
    guard = Guard().start()
    guard.answer(Answer.YES, 100, client_order_id="nobody")
    guard.dispatch("nobody")

    assert guard.alerts() == ["CONTRADICTION"]


def test_a_payload_that_broke_its_schema_is_counted_and_told() -> None:
    guard = Guard().start()
    guard.feed(
        PayloadRejected(
            utc_us=guard.utc_us, source=Source.HUB, target="GatewayUserOrder", fault="x", raw="{"
        )
    )

    assert guard.book.counters.rejected_payloads == 1
    assert guard.alerts() == ["PAYLOAD_REJECTED"]


# -- deadlines -------------------------------------------------------------------------------------


def test_nothing_is_due_in_an_empty_book() -> None:
    assert next_deadline_ns(Guard().book) == 0


def test_an_order_without_answer_is_looked_up_at_its_time() -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    assert next_deadline_ns(guard.book) == guard.now_ns + PENDING_POLL_NS

    guard.until_due()

    assert [it.client_order_id for it in guard.commands_of(LookUpOrder)] == ["c1"]


# -- hubs ------------------------------------------------------------------------------------------


def test_a_new_connection_has_the_account_read_at_once() -> None:
    guard = Guard().start()
    result = guard.feed(HubConnected(utc_us=guard.utc_us, hub=Hub.USER, generation=2))

    assert [type(command) for command in result.commands] == [AuditAccount]


def test_a_read_from_before_the_connection_does_not_hold_up_the_one_after_it() -> None:
    guard = Guard().start()
    guard.until_due()
    result = guard.feed(HubConnected(utc_us=guard.utc_us, hub=Hub.USER, generation=2))

    assert [type(command) for command in result.commands] == [AuditAccount]


@pytest.mark.parametrize(
    ("hub", "waits_for"), [(Hub.USER, "account has been read"), (Hub.MARKET, "prices are heard")]
)
def test_an_eviction_says_of_its_hub_what_entries_wait_for(hub: Hub, waits_for: str) -> None:
    guard = Guard().start()
    guard.feed(SessionEvicted(utc_us=guard.utc_us, hub=hub, generation=1, message="bye"))

    (alert,) = guard.book.alerts.alerts.values()
    assert f"on the {hub.lower()} hub" in alert.message
    assert waits_for in alert.message
    (lost,) = (note for note in guard.steps[-1].notes if note.name == "hub_lost")
    assert lost.fields["reason"] == "bye"


def test_an_evicted_session_alarms_and_blocks_entries() -> None:
    guard = Guard().start()
    guard.feed(SessionEvicted(utc_us=guard.utc_us, hub=Hub.USER, generation=1, message="bye"))

    assert guard.alerts() == ["SESSION_EVICTED"]
    assert guard.book.trading_state(guard.now_ns) is TradingState.REDUCING


def test_a_roll_moves_the_root_to_the_new_month_and_keeps_the_old_contract() -> None:
    guard = Guard().start()
    fresh = an_instrument(contract_id="CON.F.US.MES.H27", name="MESH7")
    gone = an_instrument(active=False)
    guard.feed(InstrumentsLoaded(utc_us=guard.utc_us, instruments=(gone, fresh)))

    assert guard.book.instrument_for("MES") == fresh
    assert guard.book.instrument_for(MES) == gone


def test_an_estimate_is_kept() -> None:
    guard = Guard().start()
    estimate = RiskEstimated(utc_us=guard.utc_us, volatilities=(), correlations=())
    guard.feed(estimate)

    assert guard.book.estimate == estimate


# -- restart ---------------------------------------------------------------------------------------


def test_a_restart_makes_what_was_under_way_unknown_and_asks_when_the_gateway_is_there() -> None:
    guard = Guard().start()
    guard.submit()
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="lunch", operator="ann"))
    result = guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert guard.state() is OrderState.UNKNOWN
    assert result.commands == (), "nothing can be asked before the gateway is reached"
    assert next_deadline_ns(guard.book) > guard.now_ns
    assert guard.book.latches, "a restart lifts no latch"
    guard.until_due()
    assert len(guard.commands_of(LookUpOrder)) == 1
    assert len(guard.commands_of(PlaceOrder)) == 1


def test_monotonic_times_of_another_boot_mean_nothing() -> None:
    """After a reboot the clock begins anew: old times must not look like the future."""
    guard = Guard(now_ns=9 * 10**18).start()
    guard.position_row(2)
    guard.position_row(0, contract_id=NQ)
    guard.trade(quantity=2)
    guard.now_ns = 1_000_000_000
    guard.start()
    guard.audit(positions=())
    guard.audit(after_ms=1500, positions=())

    assert guard.position() == 0


@pytest.mark.parametrize(("down_ms", "held"), [(400, 3), (1_500, 2)])
def test_reads_right_after_a_quick_restart_may_lack_what_was_told_before_it(
    down_ms: int, held: int
) -> None:
    guard = Guard().start()
    guard.trade(quantity=2)
    guard.position_row(2)
    for after_ms in (1_500, 300):
        guard.audit(after_ms=after_ms, positions=(a_position(2),))
    guard.trade(trade_id=8, quantity=1)
    start = a_guard_start(utc_us=guard.utc_us, downtime_ms=down_ms)
    guard.feed(start, after_ms=down_ms)
    for after_ms in (200, 300):
        guard.audit(after_ms=after_ms, positions=(a_position(2),))
    assert guard.position() == held

    for after_ms in (1_100, 300):
        guard.audit(after_ms=after_ms, positions=(a_position(2),))
    assert guard.position() == 2


def test_entries_of_another_boot_count_for_no_rate_and_no_duplicate() -> None:
    guard = Guard(now_ns=9 * 10**18).start()
    guard.submit()
    guard.answer(Answer.NO, 100)
    guard.now_ns = 1_000_000_000
    guard.start()

    assert guard.submit(client_order_id="c2").denials == ()


# -- latches ---------------------------------------------------------------------------------------


def halt(guard: Guard, reason: str = "lunch") -> Any:
    return guard.feed(HaltRequested(utc_us=guard.utc_us, reason=reason, operator="ann"))


def resume(guard: Guard, reason: str = "back", operator: str = "ann") -> Any:
    wish = ResumeRequested(utc_us=guard.utc_us, reason=reason, operator=operator)
    decision = guard.feed(wish).decision
    assert decision is not None
    return decision


def test_a_halt_holds_until_a_person_resumes() -> None:
    guard = Guard().start()
    assert halt(guard).decision.kind is DecisionKind.ACCEPTED
    assert guard.book.trading_state(guard.now_ns) is TradingState.HALTED

    assert resume(guard).kind is DecisionKind.ACCEPTED
    assert guard.book.trading_state(guard.now_ns) is TradingState.ACTIVE


def test_the_same_halt_again_is_one_latch_and_one_alarm() -> None:
    guard = Guard().start()
    halt(guard)
    assert halt(guard).decision.kind is DecisionKind.ACCEPTED
    for number in range(LATCHES_KEPT + 5):
        halt(guard, f"reason {number}")

    assert len(guard.book.latches) == LATCHES_KEPT
    assert guard.book.latches[0].cause == "lunch"


def test_nobody_resumes_while_an_order_is_unknown() -> None:
    guard = Guard().start()
    guard.submit()
    guard.answer(Answer.UNKNOWN)
    halt(guard)

    decision = resume(guard)

    assert decision.kind is DecisionKind.NOT_POSSIBLE
    assert "c1" in decision.message
    assert guard.book.latches
    guard.answer(Answer.NOT_SENT)
    assert resume(guard).kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize(("reason", "operator"), [(" ", "ann"), ("back", "")])
def test_a_resume_takes_a_name_and_a_reason(reason: str, operator: str) -> None:
    guard = Guard().start()
    halt(guard)

    assert resume(guard, reason, operator).kind is DecisionKind.NOT_POSSIBLE
    assert guard.book.latches


# -- rows of the audit tables ----------------------------------------------------------------------


def test_every_fill_has_its_order_in_the_same_step() -> None:
    guard = Guard().start()
    guard.working()
    guard.row(broker_order_id=300)
    overfill = guard.trade(trade_id=1, quantity=2)
    foreign = guard.trade(trade_id=2, broker_order_id=300)
    stranger = guard.trade(trade_id=3, broker_order_id=400)
    more = guard.trade(trade_id=4, broker_order_id=400, quantity=2, contract_id="CON.OLD")
    twice = guard.trade(trade_id=2, broker_order_id=300, voided=True)

    for result in (overfill, foreign, stranger, more, twice):
        orders = [row.order_id for row in result.order_rows]
        assert [fill.order_id in orders for fill in result.fill_rows] == [True]
    assert stranger.order_rows[0].client_order_id is None
    assert (more.order_rows[0].quantity, more.order_rows[0].symbol) == (3, "CON.OLD")
    assert foreign.order_rows[0].status == "PARTIALLY_FILLED"


def test_a_void_before_its_trade_still_names_our_order() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=2)
    guard.trade(trade_id=8, voided=True)
    result = guard.steps[-1]

    assert [row.client_order_id for row in result.order_rows] == ["c1"]


def test_a_row_that_turns_out_to_be_ours_is_written_once_as_ours() -> None:
    guard = Guard().start()
    guard.submit()
    guard.row()
    result = guard.answer(Answer.YES, 100)

    assert [row.client_order_id for row in result.order_rows] == ["c1"]
    assert result.order_rows[0].replaces_order_id == "c1"


# -- bounds ----------------------------------------------------------------------------------------


def test_finished_orders_are_forgotten_oldest_first_and_living_ones_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forgetting, "ORDERS_KEPT", 3)
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    for number in range(2, 7):
        guard.submit(client_order_id=f"c{number}", quantity=number)
        guard.answer(Answer.NO, 100 + number, client_order_id=f"c{number}")

    assert list(guard.book.orders) == ["c1", "c5", "c6"]
    assert len(guard.book.client_of_tag) == len(guard.book.client_of_broker_id) == 3
    monkeypatch.setattr(forgetting, "ORDERS_KEPT", 0)
    guard.timer()
    assert list(guard.book.orders) == ["c1"]


def test_finished_orders_of_others_are_forgotten_and_living_ones_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forgetting, "VENUE_ORDERS_KEPT", 2)
    guard = Guard().start()
    guard.row(broker_order_id=300)
    for number in range(301, 305):
        guard.row(broker_order_id=number, status=BrokerStatus.FILLED)

    assert list(guard.book.venue_orders) == [300, 304]
    monkeypatch.setattr(forgetting, "VENUE_ORDERS_KEPT", 0)
    guard.timer()
    assert list(guard.book.venue_orders) == [300]


def test_a_forgotten_trade_is_never_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "TRADES_KEPT", 2)
    guard = Guard().start()
    for number in range(1, 6):
        guard.trade(trade_id=number, broker_order_id=500 + number % 2)
    assert list(guard.book.trades) == [4, 5]
    assert guard.book.trades_of == {500: (4,), 501: (5,)}
    guard.trade(trade_id=6, broker_order_id=502)
    assert guard.book.trades_of == {501: (5,), 502: (6,)}

    guard.trade(trade_id=2, broker_order_id=500)

    assert guard.position() == 6
    assert guard.book.counters.duplicate_trades == 1


def test_the_trades_of_an_order_that_is_held_are_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forgetting, "TRADES_KEPT", 2)
    guard = Guard().start()
    guard.working()
    guard.trade(trade_id=1)
    for number in range(2, 9):
        guard.trade(trade_id=number, broker_order_id=500)
    guard.row(status=BrokerStatus.CANCELLED, filled_quantity=1)

    assert guard.order().filled_quantity == 1
    assert 1 in guard.book.trades
    assert len(guard.book.trades) <= 3


def test_the_user_hub_may_be_lost_before_it_was_ever_up() -> None:
    guard = Guard()
    guard.feed(HubLost(utc_us=guard.utc_us, hub=Hub.USER, generation=1, reason="no"))
    guard.feed(HubLost(utc_us=guard.utc_us, hub=Hub.MARKET, generation=1, reason="no"))

    assert guard.book.trading_state(guard.now_ns) is TradingState.STARTING


def test_an_answer_that_names_another_order_of_ours_proves_nothing() -> None:
    guard = Guard().start()
    guard.working(broker_order_id=100)
    guard.submit(client_order_id="c2", quantity=1)
    guard.dispatch("c2")
    guard.answer(Answer.YES, 100, client_order_id="c2")
    guard.trade(broker_order_id=100)

    assert guard.state("c2") is OrderState.UNKNOWN
    assert guard.order("c2").fills == ()
    assert len(guard.order("c1").fills) == 1
    assert "CONTRADICTION" in guard.alerts()
