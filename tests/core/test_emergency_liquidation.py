"""Taking the account flat: every rule alone, then whatever a venue may do to it."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from tests.core.builders import MES, NQ, Guard, a_policy, an_instrument
from tests.core.liquidation_world import READ_WAITS_MS, Fate, World

from backstop.core.book import Wake
from backstop.core.closing import EXIT_WAIT_NS
from backstop.core.emergency_liquidation import begin, unfinished
from backstop.core.liquidation import (
    LIQUIDATION_TRANSITIONS,
    LIQUIDATIONS_KEPT,
    LiquidationState,
)
from backstop.core.liquidation_escalation import ESCALATE_NS, REPEAT_NS
from backstop.core.liquidation_scope import contract_for, remaining, would_send
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.step import DecisionKind, Workbench
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    LookUpOrder,
    RaiseAlert,
)
from backstop.domain.events import (
    AlertAcknowledged,
    Answer,
    CloseRefusal,
    CloseRequested,
    LiquidationRequested,
    OrderReported,
    PositionCloseAnswered,
    ResumeRequested,
    Source,
)
from backstop.domain.order import OrderState, OrderType, Side

UNKNOWN = Fate(answer=Answer.UNKNOWN)
LOST = Fate(answer=Answer.UNKNOWN, arrives=False)
GOLD = "CON.F.US.GCE.Z26"


def flat_after(world: World, name: str, *, limit_s: int = 60) -> None:
    """Let a run come to its end, which has to be the truth."""
    world.run(lambda: world.flat(name), limit_s=limit_s)

    assert world.liquidation(name).state is LiquidationState.FLAT
    assert world.holds == []
    assert world.doubled == []
    assert world.naked == []


def closes(world: World) -> int:
    return len(world.sent_of(ClosePosition))


def told(world: World, code: str) -> int:
    """Return how often a person was told, reminders aside."""
    alerts = [it for it in world.guard.commands if isinstance(it, RaiseAlert)]
    return sum(it.code == code and not it.repeat for it in alerts)


# -- the plain way ---------------------------------------------------------------------------------


def test_a_position_is_closed_and_then_its_stop_is_cancelled() -> None:
    world = World().hold(2).start()
    name = world.liquidate()
    flat_after(world, name)

    acts = [it for it in world.sent if isinstance(it, ClosePosition | CancelOrder)]
    assert [type(it) for it in acts] == [ClosePosition, CancelOrder]
    assert acts[0].quantity is None  # type: ignore[union-attr]


def test_the_latch_is_on_before_anything_else_and_stays_after_it_is_flat() -> None:
    world = World().hold(2).start()
    name = world.liquidate()
    latches = world.guard.book.latches
    flat_after(world, name)

    assert [(it.kind, it.contract_id) for it in latches] == [(LatchKind.LIQUIDATION, None)]
    assert world.guard.book.latches == latches
    assert world.guard.book.trading_state(world.guard.now_ns) is TradingState.HALTED


def test_entries_of_ours_and_of_others_are_cancelled_before_the_position_is_closed() -> None:
    world = World().hold(2)
    foreign = world.order(Side.BUY, 1, OrderType.LIMIT)
    world.start()
    world.liquidate()
    acts = [it for it in world.sent if isinstance(it, ClosePosition | CancelOrder)]

    assert isinstance(acts[0], CancelOrder)
    assert acts[0].broker_order_id == foreign
    assert isinstance(acts[1], ClosePosition)


def test_a_resting_exit_of_ours_makes_way_for_the_close() -> None:
    """Both together could sell four of two."""
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=2)
    guard.position_row(2)
    guard.working(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5010))
    guard.row(type=OrderType.LIMIT, side=Side.SELL, custom_tag=guard.order().custom_tag)
    liquidation_of(guard)

    kinds = [type(it) for it in guard.steps[-1].commands if not isinstance(it, RaiseAlert)]
    assert kinds == [CancelOrder, ClosePosition]


def liquidation_of(guard: Guard, contract_id: str | None = None, **changes: Any) -> str:
    members: dict[str, Any] = {"reason": "enough", "operator": "ann", "contract_id": contract_id}
    result = guard.feed(LiquidationRequested(utc_us=guard.utc_us, **(members | changes)))
    assert result.decision is not None
    assert result.decision.liquidation_id is not None
    return result.decision.liquidation_id


def test_every_live_status_is_cancelled_in_the_end() -> None:
    world = World().hold(1)
    for status in (
        BrokerStatus.OPEN,
        BrokerStatus.PENDING,
        BrokerStatus.PENDING_CANCELLATION,
        BrokerStatus.SUSPENDED,
        BrokerStatus.UNRECOGNISED,
    ):
        world.order(Side.SELL, 1, OrderType.LIMIT, status=status)
    flat_after(world.start(), world.liquidate())

    assert len(world.sent_of(CancelOrder)) == 6  # the stop as well


def test_a_position_in_a_symbol_that_is_not_configured_is_closed_as_well() -> None:
    world = World().hold(-3, GOLD).start()
    flat_after(world, world.liquidate())

    assert GOLD not in world.guard.book.instruments
    assert [it.contract_id for it in world.sent_of(ClosePosition)] == [GOLD]


def test_twenty_positions_are_closed_with_one_request_each() -> None:
    world = World()
    for number in range(20):
        world.hold(1 + number % 3, f"CON.F.US.X{number}.Z26")
    world.start()
    reads = len(world.sent_of(AuditAccount))
    flat_after(world, world.liquidate())
    calls = 40 + 4 * (len(world.sent_of(AuditAccount)) - reads)

    assert closes(world) == 20
    assert calls < 140, "more calls than a minute has"


def test_an_account_that_is_flat_already_is_flat_only_after_two_reads() -> None:
    world = World().start()
    reads = len(world.sent_of(AuditAccount))
    name = world.liquidate()

    assert world.liquidation(name).state is LiquidationState.VERIFYING
    flat_after(world, name)
    assert len(world.sent_of(AuditAccount)) == reads + 2


def test_reads_that_were_sent_before_the_last_event_prove_nothing() -> None:
    guard = Guard().start()
    name = liquidation_of(guard)
    begun_ns = guard.now_ns
    guard.now_ns += SECOND_NS
    guard.row(broker_order_id=55, status=BrokerStatus.CANCELLED)
    for after_ms in (300, 600):
        guard.audit(sent_ns=begun_ns + after_ms * MILLISECOND_NS)

    assert guard.book.liquidations[name].state is LiquidationState.VERIFYING
    guard.audit()
    guard.audit()
    assert guard.book.liquidations[name].state is LiquidationState.FLAT


# -- one close at a time ---------------------------------------------------------------------------


def test_no_second_close_leaves_while_the_answer_to_the_first_is_awaited() -> None:
    silence = Fate(answer=Answer.UNKNOWN, arrives=False, answer_ms=7_900)
    world = World(fates=[silence]).hold(2).start()
    name = world.liquidate()
    world.run(lambda: False, limit_s=8)

    assert closes(world) == 1
    flat_after(world, name)
    assert closes(world) == 2


def test_no_second_close_leaves_while_the_order_of_the_first_is_live() -> None:
    world = World(fates=[Fate(fill_ms=900)]).hold(2).start()
    flat_after(world, world.liquidate())

    assert closes(world) == 1


@pytest.mark.parametrize("fill_ms", [3, 400, 900])
def test_a_close_without_an_answer_is_not_repeated_before_two_later_reads(fill_ms: int) -> None:
    world = World(fates=[Fate(answer=Answer.UNKNOWN, fill_ms=fill_ms)]).hold(2).start()
    flat_after(world, world.liquidate())

    assert closes(world) == 1


def test_a_close_that_never_arrived_is_sent_again() -> None:
    world = World(fates=[LOST]).hold(2).start()
    begun_ns = world.guard.now_ns
    flat_after(world, world.liquidate())

    assert closes(world) == 2
    assert world.guard.now_ns - begun_ns < 5 * SECOND_NS


def test_a_close_of_which_no_byte_left_is_sent_again_after_the_pause() -> None:
    world = World(fates=[Fate(answer=Answer.NOT_SENT)] * 3).hold(2).start()
    flat_after(world, world.liquidate())

    assert closes(world) == 4


def test_the_pauses_between_closes_grow_up_to_five_seconds() -> None:
    world = World(fates=[Fate(answer=Answer.NOT_SENT)] * 9).hold(2).start()
    sent_ns: list[int] = []
    world.liquidate()
    while closes(world) < 9:
        before = closes(world)
        world.run(lambda: closes(world) > before, limit_s=20)  # noqa: B023 - run at once
        sent_ns.append(world.guard.now_ns)
    pauses_ms = [(later - earlier) // MILLISECOND_NS for earlier, later in pairwise(sent_ns)]

    assert pauses_ms == sorted(pauses_ms)
    assert 400 <= pauses_ms[0] <= 1_100
    assert pauses_ms[-1] <= 5_500


def test_an_exit_of_ours_in_doubt_holds_the_close_up_for_five_seconds_at_most() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=2)
    guard.position_row(2)
    guard.submit(side=Side.SELL)
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    liquidation_of(guard)
    begun_ns = guard.now_ns

    assert guard.state() is OrderState.UNKNOWN
    assert guard.commands_of(ClosePosition) == []
    while not guard.commands_of(ClosePosition):
        guard.until_due()
        if any(isinstance(it, AuditAccount) for it in guard.steps[-1].commands):
            guard.audit(positions=None)
    assert EXIT_WAIT_NS <= guard.now_ns - begun_ns <= EXIT_WAIT_NS + 5 * SECOND_NS
    assert all(it.urgent for it in guard.commands_of(LookUpOrder)[1:])


def test_an_exit_that_a_bot_sends_counts_what_is_being_closed_already() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=2)
    guard.position_row(2)
    liquidation_of(guard)
    decision = guard.submit(side=Side.SELL, quantity=1)

    assert decision.kind is DecisionKind.REFUSED


# -- when the close does not do all of it ----------------------------------------------------------


def test_a_close_that_rests_is_cancelled_after_a_second_and_the_rest_closed() -> None:
    world = World(fates=[Fate(fills=1)]).hold(2).start()
    name = world.liquidate()
    flat_after(world, name)
    sold = sum(it.quantity for it in world.trades if it.side is Side.SELL)

    assert sold == 2
    assert closes(world) == 2


def test_a_remainder_that_shows_as_a_limit_order_is_recognised_by_its_number() -> None:
    """The exchange turns what does not fill at once into a limit order."""
    world = World(fates=[Fate(fills=0, fill_ms=1)]).hold(2).start()
    name = world.liquidate()
    (number,) = [key for key, row in world.orders.items() if row.type is OrderType.MARKET]
    row = world.orders[number]
    world.orders[number] = replace(row, type=OrderType.LIMIT, status=BrokerStatus.OPEN)
    flat_after(world, name)

    assert world.sent_of(CancelOrder)[0].broker_order_id == number
    assert closes(world) == 2


def test_a_position_that_came_out_on_the_other_side_is_closed_as_well_within_a_second() -> None:
    world = World(fates=[Fate(fill_ms=8)]).hold(2).start()
    (stop,) = world.orders
    name = world.liquidate()
    world.fill(stop, 1)  # the stop was there at the same moment
    world.run(lambda: world.positions[MES] == -1, limit_s=5)
    flipped_ns = world.guard.now_ns
    world.run(lambda: not world.positions[MES], limit_s=5)

    assert world.guard.now_ns - flipped_ns <= SECOND_NS
    flat_after(world, name)
    assert world.guard.alerts().count("LIQUIDATION_FLIPPED") == 1


def test_no_position_is_evidence_but_no_proof() -> None:
    world = World(fates=[Fate(answer=Answer.NO, refusal=CloseRefusal.NO_POSITION)]).hold(2).start()
    flat_after(world, world.liquidate())

    assert closes(world) == 2


# -- a market that is closed -----------------------------------------------------------------------


def test_a_closed_market_is_told_once_and_waited_for_with_the_stop_in_place() -> None:
    world = World(market_open=False).hold(2).start()
    name = world.liquidate()
    world.run(lambda: False, limit_s=300)

    assert world.liquidation(name).state is LiquidationState.CLOSING
    assert told(world, "MARKET_CLOSED_WHILE_LIQUIDATING") == 1
    assert told(world, "LIQUIDATION_ESCALATED") == 0
    assert [it.status for it in world.orders.values() if it.type is OrderType.STOP] == [
        BrokerStatus.OPEN
    ]
    assert any(it.quantity == 2 for it in remaining(world.guard.book, world.liquidation(name)))
    world.market_open = True
    flat_after(world, name, limit_s=10)


def test_a_market_that_stays_closed_is_asked_every_five_seconds_and_not_more_often() -> None:
    world = World(market_open=False).hold(2).start()
    world.liquidate()
    world.run(lambda: False, limit_s=30)
    before, reads = closes(world), len(world.sent_of(AuditAccount))
    world.run(lambda: False, limit_s=60)

    assert 9 <= closes(world) - before <= 13
    assert closes(world) - before + 4 * (len(world.sent_of(AuditAccount)) - reads) <= 100


# -- a person is called ----------------------------------------------------------------------------


def test_a_run_that_gets_nowhere_calls_a_person_and_goes_on_trying() -> None:
    world = World(fates=[LOST] * 30).hold(2).start()
    name = world.liquidate()
    begun_ns = world.guard.now_ns
    world.run(lambda: world.liquidation(name).state is LiquidationState.ESCALATED, limit_s=60)
    before = closes(world)
    world.run(lambda: False, limit_s=20)

    assert world.guard.now_ns - begun_ns <= ESCALATE_NS + 25 * SECOND_NS
    assert closes(world) > before
    assert world.liquidation(name).state is LiquidationState.ESCALATED
    world.fates.clear()
    flat_after(world, name)


def escalations(world: World) -> list[RaiseAlert]:
    alerts = [it for it in world.guard.commands if isinstance(it, RaiseAlert)]
    return [it for it in alerts if it.code == "LIQUIDATION_ESCALATED"]


REJECTED = Fate(answer=Answer.NO, refusal=CloseRefusal.REJECTED, words="risk check failed")
UNSTATED = Fate(answer=Answer.NO, refusal=CloseRefusal.UNSTATED, words="OrderRejected")


def test_a_rejection_without_a_word_is_told_at_once_and_calls_a_person_after_30_seconds() -> None:
    """So the venue tells of a halt as well; that is over in some seconds."""
    world = World(fates=[UNSTATED] * 60).hold(2).start()
    name, begun_ns = world.liquidate(), world.guard.now_ns
    world.run(lambda: bool(told(world, "MARKET_CLOSED_WHILE_LIQUIDATING")), limit_s=2)
    world.run(lambda: bool(escalations(world)), limit_s=60)

    assert ESCALATE_NS <= world.guard.now_ns - begun_ns <= ESCALATE_NS + 2 * SECOND_NS
    assert told(world, "MARKET_CLOSED_WHILE_LIQUIDATING") == 1
    world.fates.clear()
    flat_after(world, name, limit_s=10)


def test_a_close_that_is_rejected_for_whatever_reason_calls_a_person_after_30_seconds() -> None:
    world = World(fates=[REJECTED] * 60).hold(2).start()
    name, begun_ns = world.liquidate(), world.guard.now_ns
    world.run(lambda: bool(escalations(world)), limit_s=60)
    before = closes(world)

    assert ESCALATE_NS <= world.guard.now_ns - begun_ns <= ESCALATE_NS + 2 * SECOND_NS
    assert told(world, "MARKET_CLOSED_WHILE_LIQUIDATING") == 0
    (call,) = escalations(world)
    assert "risk check failed" in call.message
    assert "Stops work for all that is held" in call.message
    assert world.liquidation(name).venue_said == "risk check failed"
    world.run(lambda: False, limit_s=30)
    assert closes(world) - before >= 5
    world.fates.clear()
    flat_after(world, name, limit_s=10)


def test_a_person_is_told_that_no_stop_works_and_is_called_again() -> None:
    world = World(fates=[REJECTED] * 90).hold(2, stop=False).start()
    world.liquidate()
    world.run(lambda: len(escalations(world)) > 1, limit_s=120)

    assert all("NO stop works for +2" in it.message for it in escalations(world))


def test_a_stop_for_a_part_is_told_as_that() -> None:
    world = World(fates=[REJECTED] * 90).hold(3, stop=False)
    world.order(Side.SELL, 1, OrderType.STOP)
    world.start().liquidate()
    world.run(lambda: bool(escalations(world)), limit_s=60)

    assert "stops work for only 1 of +3" in escalations(world)[0].message


@pytest.mark.parametrize("stop", [True, False])
def test_what_is_told_of_stops_in_a_closed_market_was_looked_at(*, stop: bool) -> None:
    world = World(market_open=False).hold(2, stop=stop).start()
    world.liquidate()
    world.run(lambda: bool(told(world, "MARKET_CLOSED_WHILE_LIQUIDATING")), limit_s=60)
    alerts = [it for it in world.guard.commands if isinstance(it, RaiseAlert)]
    (message,) = (it.message for it in alerts if it.code == "MARKET_CLOSED_WHILE_LIQUIDATING")

    assert ("NO stop works for +2" in message) is not stop


@pytest.mark.parametrize("fate", [REJECTED, UNSTATED])
def test_a_halt_that_the_venue_calls_a_rejection_is_over_before_anybody_is_called(
    fate: Fate,
) -> None:
    """A velocity halt lasts some seconds: the close works within ten of its end."""
    world = World(fates=[fate] * 5).hold(2).start()
    flat_after(world, world.liquidate(), limit_s=20)

    assert escalations(world) == []


def test_the_call_is_repeated_until_somebody_has_read_it_which_lifts_nothing() -> None:
    world = World(fates=[LOST] * 99).hold(2).start()
    name = world.liquidate()
    world.run(lambda: bool(escalations(world)), limit_s=60)
    world.run(lambda: False, limit_s=2 * REPEAT_NS // SECOND_NS + 5)
    told = len(escalations(world))
    world.feed(
        AlertAcknowledged(
            utc_us=world.guard.utc_us, alert_id=escalations(world)[0].alert_id, operator="ann"
        )
    )
    world.run(lambda: False, limit_s=3 * REPEAT_NS // SECOND_NS)

    assert told == 3
    assert len(escalations(world)) == told
    assert len({it.alert_id for it in escalations(world)}) == 1
    assert world.guard.book.latches
    assert not world.flat(name)


def test_reads_that_fail_call_a_person_and_never_end_flat() -> None:
    world = World().hold(2).start()
    world.failed_reads = [True] * 200
    name = world.liquidate()
    world.run(lambda: world.flat(name), limit_s=100)

    assert world.positions[MES] == 0
    assert world.liquidation(name).state is LiquidationState.ESCALATED
    world.failed_reads.clear()
    flat_after(world, name)


def test_an_order_that_the_venue_shows_nowhere_does_not_hold_it_up_for_ever() -> None:
    world = World()
    number = world.order(Side.BUY, 1, OrderType.LIMIT)
    world.start()
    world.hidden[number] = None
    flat_after(world, world.liquidate(), limit_s=120)

    assert "ORDER_VANISHED" in world.guard.alerts()


def cancel_times_s(world: World, number: int, *, for_s: int) -> list[float]:
    """Return when cancels of an order left within ``for_s``, in seconds since now."""
    start_ns, times_ns = world.guard.now_ns, list[int]()
    sent = len(world.sent)

    def noted() -> bool:
        nonlocal sent
        for command in world.sent[sent:]:
            if isinstance(command, CancelOrder) and command.broker_order_id == number:
                times_ns.append(world.guard.now_ns)
        sent = len(world.sent)
        return False

    world.run(noted, limit_s=for_s)
    return [(it - start_ns) / SECOND_NS for it in times_ns]


def an_order_that_stays(fate: Fate, *, is_ours: bool = False) -> tuple[World, int]:
    """Return a world that liquidates and cannot read; ``fate`` is that of every cancel."""
    world = World()
    number = 0 if is_ours else world.order(Side.BUY, 1, OrderType.LIMIT)
    world.start()
    number = an_entry_of_ours(world) if is_ours else number
    world.cancel_fates = [fate] * 100
    world.no_calls_to_read = True
    world.liquidate()
    return world, number


def an_entry_of_ours(world: World) -> int:
    """Let an entry of ours rest at the venue; returns its number there."""
    number = world.order(Side.BUY, 1, OrderType.LIMIT)
    order = world.guard.submit(
        type=OrderType.LIMIT, limit_price=Decimal(4900), quantity=1, stop_loss_price=Decimal(4890)
    ).order
    assert order is not None
    world.orders[number] = replace(world.orders[number], custom_tag=order.custom_tag)
    world.guard.dispatch()
    world.guard.answer(Answer.YES, number)
    row = world.orders[number]
    world.guard.feed(OrderReported(utc_us=world.guard.utc_us, order=row, source=Source.HUB))
    return number


def test_an_order_of_which_no_read_tells_is_cancelled_ever_less_often() -> None:
    """If it is gone, the venue says nothing clear however often it is asked; a read ends that.

    Cancels go before reads: they must not take each call that comes free.
    """
    world, number = an_order_that_stays(LOST)

    times_s = cancel_times_s(world, number, for_s=100)

    assert times_s == [2.0, 6.0, 14.0, 30.0, 50.0, 70.0, 90.0]


def test_a_cancel_that_never_left_puts_off_no_other() -> None:
    world, number = an_order_that_stays(Fate(answer=Answer.NOT_SENT))

    assert cancel_times_s(world, number, for_s=9) == [2.0, 4.0, 6.0, 8.0]


def test_a_cancel_that_only_repeats_puts_off_none_that_may_use_every_call() -> None:
    """What a halt asks again every two seconds leaves calls to reads, and does not leave for long.

    The liquidation's own cancel of that entry comes due all the same.
    """
    world, number = an_order_that_stays(LOST, is_ours=True)
    sent = len(world.sent)

    times_s = cancel_times_s(world, number, for_s=59)

    cancels = [it for it in world.sent[sent:] if isinstance(it, CancelOrder)]
    own_s = [at for at, it in zip(times_s, cancels, strict=True) if it.reduces_risk]
    assert own_s == [2.0, 6.0, 14.0, 30.0, 50.0]
    assert any(it.repeats for it in cancels), "the halt asks again too"
    assert len(set(times_s)) == len(times_s), "what both ask for at once is one request"


def test_an_order_that_a_read_shows_as_it_was_is_cancelled_with_that_read() -> None:
    world, number = an_order_that_stays(LOST)
    cancel_times_s(world, number, for_s=31)

    world.no_calls_to_read = False
    times_s = cancel_times_s(world, number, for_s=READ_WAITS_MS // 1000 + 2)

    assert len(times_s) == 1, "its pause alone would last 15 s more"


def test_an_entry_of_ours_in_doubt_keeps_it_from_being_over() -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    name = liquidation_of(guard)
    for _ in range(8):
        guard.audit()

    assert guard.book.liquidations[name].state is LiquidationState.VERIFYING
    (left,) = remaining(guard.book, guard.book.liquidations[name])
    assert (left.kind, left.client_order_id, left.status) == ("INTENT", "c1", "UNKNOWN")
    guard.now_ns += 60 * SECOND_NS
    guard.look_up()
    guard.now_ns += 6 * SECOND_NS
    guard.look_up()
    assert guard.state() is OrderState.NOT_SUBMITTED
    guard.audit()
    guard.audit()
    assert guard.book.liquidations[name].state is LiquidationState.FLAT


# -- who asks, and who asks again ------------------------------------------------------------------


def test_whoever_asks_again_joins_the_run_and_adds_a_cause() -> None:
    world = World(fates=[LOST] * 9).hold(2).start()
    name = world.liquidate()
    again = liquidation_of(world.guard, reason="the drawdown too", operator="risk")
    also = liquidation_of(world.guard, MES, reason="and MES", operator="bob")
    same = liquidation_of(world.guard, reason="the drawdown too", operator="risk")

    assert {name, again, also, same} == {name}
    assert [it.text for it in world.liquidation(name).causes] == [
        "the operator says so",
        "the drawdown too",
        "and MES",
    ]


def test_a_run_for_one_contract_is_widened_to_the_account() -> None:
    world = World(fates=[LOST]).hold(2).hold(1, NQ).start()
    name = world.liquidate(MES)
    assert world.liquidate() == name
    flat_after(world, name)

    assert world.liquidation(name).contract_id is None
    assert {it.contract_id for it in world.guard.book.latches} == {MES, None}


def test_the_liquidation_of_one_contract_leaves_the_others_alone() -> None:
    world = World().hold(2).hold(1, NQ).start()
    name = world.liquidate(MES)
    world.run(lambda: world.flat(name), limit_s=20)
    book, now_ns = world.guard.book, world.guard.now_ns

    assert world.liquidation(name).state is LiquidationState.FLAT
    assert world.positions == {MES: 0, NQ: 1}
    assert len([it for it in world.orders.values() if it.status.is_live]) == 1
    assert book.trading_state(now_ns, MES) is TradingState.HALTED
    assert book.trading_state(now_ns, NQ) is not TradingState.HALTED


def test_two_contracts_are_two_runs() -> None:
    world = World().hold(2).hold(1, NQ).start()
    first, second = world.liquidate(MES), world.liquidate(NQ)

    assert first != second
    flat_after(world, first)
    flat_after(world, second)


def test_a_machine_closes_a_position_without_a_latch_and_leaves_the_orders_of_others() -> None:
    world = World().hold(2, stop=False)
    foreign = world.order(Side.BUY, 1, OrderType.LIMIT)
    world.start()
    guard = world.guard
    work = Workbench(book=guard.book, now_ns=guard.now_ns, utc_us=guard.utc_us)
    run = begin(work, cause="no stop is to be had", operator="protection", contract_id=MES,
                latches=False)  # fmt: skip
    world.run(lambda: world.flat(run.liquidation_id), limit_s=20)

    assert world.liquidation(run.liquidation_id).state is LiquidationState.FLAT
    assert world.holds == [str(foreign)]
    assert LatchKind.LIQUIDATION not in {latch.kind for latch in guard.book.latches}


def test_a_liquidation_takes_a_close_over_that_runs_already() -> None:
    world = World(fates=[LOST]).hold(2).start()
    world.feed(CloseRequested(utc_us=world.guard.utc_us, contract_id=MES, reason="out",
                              operator="bot"))  # fmt: skip
    (name,) = world.guard.book.liquidations
    assert world.liquidate(MES) == name
    flat_after(world, name)

    assert world.liquidation(name).latches
    assert world.guard.book.latches


def test_nothing_is_due_any_more_when_it_is_over() -> None:
    world = World().hold(2).start()
    flat_after(world, world.liquidate())

    assert Wake.LIQUIDATION not in world.guard.book.wakes
    assert world.guard.book.closes == {}


def test_resume_is_refused_until_it_is_flat() -> None:
    world = World(fates=[LOST]).hold(2).start()
    name = world.liquidate()

    def resumed() -> DecisionKind:
        result = world.guard.feed(
            ResumeRequested(utc_us=world.guard.utc_us, reason="all clear", operator="ann")
        )
        assert result.decision is not None
        return result.decision.kind

    assert unfinished(world.guard.book)
    assert resumed() is DecisionKind.NOT_POSSIBLE
    flat_after(world, name)
    assert unfinished(world.guard.book) == ()
    assert resumed() is DecisionKind.ACCEPTED
    assert world.guard.book.latches == ()


def test_old_runs_are_forgotten_and_running_ones_never() -> None:
    guard = Guard().start()
    first = liquidation_of(guard, MES)
    for number in range(LIQUIDATIONS_KEPT + 5):
        name = liquidation_of(guard, f"CON.F.US.X{number}.Z26")
        guard.audit()
        guard.audit()
        assert guard.book.liquidations[name].is_finished
        if number == 0:
            guard.trade(broker_order_id=900)

    assert len(guard.book.liquidations) <= LIQUIDATIONS_KEPT
    assert first in guard.book.liquidations or not guard.book.liquidating


# -- the gate is closed ----------------------------------------------------------------------------


def test_in_dry_run_nothing_is_sent_and_it_says_what_would_have_been() -> None:
    world = World(guard=Guard(policy=a_policy(dry_run=True))).hold(2)
    entry = world.order(Side.BUY, 1, OrderType.LIMIT)
    world.start()
    name = world.liquidate()
    world.run(lambda: False, limit_s=30)
    run = world.liquidation(name)
    planned = would_send(world.guard.book, run)

    assert closes(world) == 0
    assert world.sent_of(CancelOrder) == []
    assert (run.state, run.sends) == (LiquidationState.LATCHED, False)
    assert world.guard.alerts().count("LIQUIDATION_NOT_SENT") == 1
    assert [type(it) for it in planned] == [CancelOrder, ClosePosition, CancelOrder]
    assert planned[0].broker_order_id == entry  # type: ignore[union-attr]
    assert {it.kind for it in remaining(world.guard.book, run)} == {"POSITION", "ORDER"}
    assert world.liquidate() == name
    assert unfinished(world.guard.book) == ()


def test_each_rehearsal_has_an_id_of_its_own() -> None:
    """One lasts until a person resumes: whoever asks again before that joins it."""
    world = World(guard=Guard(policy=a_policy(dry_run=True))).hold(2).start()
    first = world.liquidate()
    guard = world.guard
    ended_utc_us = guard.utc_us
    guard.feed(ResumeRequested(utc_us=ended_utc_us, reason="rehearsed", operator="eve"))
    second = world.liquidate()

    assert second != first
    assert world.liquidate() == second
    assert world.liquidation(first).ended_utc_us == ended_utc_us
    assert world.liquidation(second).ended_utc_us is None
    assert guard.alerts().count("LIQUIDATION_NOT_SENT") == 2
    assert closes(world) == 0


def test_a_run_of_a_process_that_sent_waits_in_one_that_does_not() -> None:
    world = World(fates=[LOST] * 9).hold(2).start()
    name = world.liquidate()
    world.run(lambda: False, limit_s=3)
    world.restart()
    world.guard.book.policy = a_policy(dry_run=True)
    before = closes(world)
    world.run(lambda: False, limit_s=20)

    assert closes(world) == before
    assert unfinished(world.guard.book)
    assert not world.flat(name)


# -- a crash in the middle -------------------------------------------------------------------------


def test_a_new_process_reads_before_it_closes_anything() -> None:
    world = World(fates=[Fate(fill_ms=700, answer_ms=60_000)]).hold(2).start()
    name = world.liquidate()
    world.run(lambda: False, limit_s=0)
    world.restart()

    assert world.liquidation(name).reads_first
    assert closes(world) == 1
    flat_after(world, name)
    assert closes(world) == 1


def test_a_request_that_still_travels_when_its_process_dies_is_waited_for() -> None:
    travelling = Fate(answer=Answer.UNKNOWN, arrive_ms=1_300, fill_ms=50, answer_ms=60_000)
    world = World(fates=[travelling]).hold(2).start()
    name = world.liquidate()
    world.restart()
    flat_after(world, name)

    assert closes(world) == 1


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("fates", [[], [LOST], [UNKNOWN], [Fate(fills=1)], [Fate(fill_ms=900)]])
def test_a_crash_at_every_step_is_survived(fates: list[Fate], told: bool) -> None:  # noqa: FBT001 - a case
    """Also with all that was under way lost: what was sent in the last step may not have left."""
    whole = World(fates=list(fates)).hold(2).hold(-1, NQ).start()
    before = len(whole.guard.history)
    name = whole.liquidate()
    flat_after(whole, name)
    steps = len(whole.guard.history) - before

    for killed_after in range(1, steps):
        world = World(fates=list(fates)).hold(2).hold(-1, NQ).start()
        name = world.liquidate()
        while len(world.guard.history) - before < killed_after and not world.flat(name):
            world.turn(world.guard.now_ns + SECOND_NS)
        world.restart(told=told)
        flat_after(world, name)


# -- whatever happens ------------------------------------------------------------------------------

ANSWERS = st.sampled_from([Answer.YES, Answer.UNKNOWN, Answer.NO, Answer.NOT_SENT])
FATES = st.builds(
    Fate,
    answer=ANSWERS,
    arrives=st.booleans(),
    arrive_ms=st.sampled_from([0, 40, 900]),
    refusal=st.sampled_from(
        [
            CloseRefusal.NOT_NOW,
            CloseRefusal.UNSTATED,
            CloseRefusal.REJECTED,
            CloseRefusal.NO_POSITION,
        ]
    ),
    answer_ms=st.sampled_from([1, 20, 300, 7_900]),
    fill_ms=st.sampled_from([1, 5, 120, 700]),
    fills=st.sampled_from([None, 0, 1]),
)
MISCHIEF = st.lists(
    st.tuples(
        st.sampled_from(["stop", "entry", "restart", "halt", "open", "again", "foreign"]),
        st.integers(0, 4_000),
    ),
    max_size=6,
)


class Trouble(Struct, frozen=True, kw_only=True):
    """Everything that goes wrong in one run, in its order."""

    fates: list[Fate]
    cancels: list[Fate]
    lost: list[bool]
    failed: list[bool]
    mischief: list[tuple[str, int]]


TROUBLE = st.builds(
    Trouble,
    fates=st.lists(FATES, max_size=6),
    cancels=st.lists(FATES, max_size=6),
    lost=st.lists(st.booleans(), max_size=30),
    failed=st.lists(st.booleans(), max_size=6),
    mischief=MISCHIEF,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trouble=TROUBLE, quantity=st.sampled_from([-3, -1, 1, 2]))
def test_whatever_the_venue_does_it_ends_flat_once_and_never_closes_twice_at_a_time(
    trouble: Trouble, quantity: int
) -> None:
    """Never two closes under way, never FLAT while the venue holds something, and always an end."""
    world = World().hold(quantity).start()
    (stop,) = world.orders
    resting = world.order(Side.BUY, 1, OrderType.LIMIT)
    world.fates, world.cancel_fates = list(trouble.fates), list(trouble.cancels)
    world.lost_events, world.failed_reads = list(trouble.lost), list(trouble.failed)
    name = world.liquidate()
    for what, after_ms in trouble.mischief:
        until_ns = world.guard.now_ns + after_ms * MILLISECOND_NS
        while world.guard.now_ns < until_ns:
            world.turn(until_ns)
            check(world, name)
        if not world.flat(name):
            do(world, what, stop, resting)
    world.market_open = True
    while not world.flat(name) and world.guard.now_ns < until_far(world):
        world.turn(until_far(world))
        check(world, name)

    assert world.flat(name), (world.holds, world.liquidation(name))
    assert world.naked == []


def until_far(world: World) -> int:
    return world.guard.history[0][1] + 600 * SECOND_NS


def check(world: World, name: str) -> None:
    run = world.liquidation(name)
    before = world.seen.setdefault(name, run.state)
    assert run.state is before or run.state in LIQUIDATION_TRANSITIONS[before]
    world.seen[name] = run.state
    assert world.doubled == []
    if world.flat(name):
        assert world.holds == []


def do(world: World, what: str, stop: int, resting: int) -> None:
    match what:
        case "stop":
            world.fill(stop, 1)
        case "entry":
            world.fill(resting)
        case "restart":
            world.restart()
        case "halt":
            world.market_open = False
        case "open":
            world.market_open = True
        case "again":
            world.liquidate()
        case _:
            world.order(Side.SELL, 1, OrderType.LIMIT)


def test_a_symbol_stands_for_the_month_that_is_held() -> None:
    guard = Guard().start(an_instrument(), an_instrument(contract_id="OLD", active=False))
    assert contract_for(guard.book, "MES") == MES
    guard.trade(contract_id="OLD")
    guard.position_row(1, contract_id="OLD")

    assert contract_for(guard.book, "MES") == "OLD"
    assert contract_for(guard.book, MES) == MES
    assert contract_for(guard.book, "OLD") == "OLD"
    assert contract_for(guard.book, "ABC") is None


def test_an_answer_to_a_close_that_nobody_asked_for_changes_nothing() -> None:
    guard = Guard().start()
    guard.feed(PositionCloseAnswered(utc_us=guard.utc_us, contract_id=MES, answer=Answer.YES))

    assert guard.book.closes == {}
