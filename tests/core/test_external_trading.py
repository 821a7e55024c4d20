"""What others trade counts at once, is named within seconds, and freezes entries for a person."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import (
    MES,
    NQ,
    START_US,
    Guard,
    a_policy,
    a_position,
    a_request,
    a_row,
    a_trade,
    replayed,
)
from tests.core.protection_world import World

from backstop.core.engine import next_deadline_ns
from backstop.core.expected_closes import CLOSES_KEPT, close_expected
from backstop.core.external_trading import (
    ATTRIBUTION_NS,
    FOREIGN_KEPT,
    SIGHTINGS_KEPT,
)
from backstop.core.policy import SECOND_NS
from backstop.core.step import DecisionKind, Workbench
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import ClosePosition, RaiseAlert, Severity
from backstop.domain.events import (
    Answer,
    CloseRequested,
    OrderRegistered,
    PositionCloseAnswered,
    ResumeRequested,
)
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.order import OrderState, OrderType, Side

HUMAN = 900
"""The number of an order that nobody placed through Backstop."""


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.now_ns)


def conditions(guard: Guard) -> tuple[Condition, ...]:
    return guard.book.readiness(guard.now_ns).conditions


def kinds(guard: Guard) -> list[LatchKind]:
    return [latch.kind for latch in guard.book.latches]


def alerts(guard: Guard, code: str = "EXTERNAL_POSITION") -> list[RaiseAlert]:
    return [alert for alert in guard.commands_of(RaiseAlert) if alert.code == code]


def human(guard: Guard, quantity: int = 3, number: int = HUMAN, **changes: Any) -> None:
    """Somebody buys at the market by hand: a row without a tag, then its trade."""
    done = {"status": BrokerStatus.FILLED, "quantity": quantity, "filled_quantity": quantity}
    made = {"broker_order_id": number, "created_utc_us": guard.utc_us}
    guard.row(**(done | made | {"updated_utc_us": guard.utc_us} | changes))
    bought = {"trade_id": number, "quantity": quantity}
    guard.trade(**(bought | made | {k: v for k, v in changes.items() if k in {"side", "price"}}))


def wait(guard: Guard, *, seconds: float = 5, **parts: Any) -> None:
    """Let time pass until a read of the account shows what is believed, and nothing of ours."""
    held = guard.position()
    positions = (a_position(held),) if held else ()
    guard.audit(after_ms=int(seconds * 1000), **({"positions": positions} | parts))


def resume(guard: Guard) -> DecisionKind:
    event = ResumeRequested(utc_us=guard.utc_us, reason="seen", operator="ann")
    decision = guard.feed(event).decision
    assert decision is not None
    return decision.kind


# -- a fill of somebody else -----------------------------------------------------------------------


def test_a_foreign_fill_counts_at_once_and_freezes_entries_when_it_stays_foreign() -> None:
    guard = Guard().start()
    human(guard)
    assert guard.position() == 3
    assert (state(guard), kinds(guard)) == (TradingState.ACTIVE, [])

    wait(guard)

    assert (state(guard), kinds(guard)) == (TradingState.REDUCING, [LatchKind.EXTERNAL])
    refused = guard.submit(client_order_id="entry")
    assert [denial.code for denial in refused.denials] == ["STATE_REDUCING"]
    assert guard.submit(side=Side.SELL, quantity=3).kind is DecisionKind.ACCEPTED


def test_the_alert_names_contract_quantity_order_and_tag() -> None:
    guard = Guard().start()
    human(guard, custom_tag="otherbot-7")
    wait(guard)
    (alert,) = alerts(guard)

    assert alert.severity is Severity.CRITICAL
    for word in ("MES", "bought 3 at 5000", "order 900", "otherbot-7", "+3 now", "resumes"):
        assert word in alert.message
    assert "MES was traded by somebody else" in guard.book.state_reasons(guard.now_ns)[0]
    assert guard.book.latches[0].operator == "backstop"


def test_an_order_without_a_tag_is_told_as_one() -> None:
    guard = Guard().start()
    human(guard)
    wait(guard)

    assert "by hand, or by the platform" in alerts(guard)[0].message


def test_nothing_is_said_before_its_time_although_the_account_was_read() -> None:
    guard = Guard().start()
    human(guard)
    wait(guard, seconds=4.9)
    assert kinds(guard) == []

    guard.timer(after_ms=200)
    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_the_judgement_comes_by_itself() -> None:
    guard = Guard().start()
    human(guard)
    wait(guard, seconds=1)
    seen_ns = guard.book.external.sightings[HUMAN].seen_ns
    guard.book.audit.due_ns = 0
    while not kinds(guard):
        assert next_deadline_ns(guard.book) <= seen_ns + ATTRIBUTION_NS
        guard.until_due()

    assert guard.now_ns == seen_ns + ATTRIBUTION_NS


def test_only_a_read_that_was_sent_later_decides() -> None:
    guard = Guard().start()
    sent_ns = guard.now_ns
    human(guard)
    wait(guard, seconds=6, sent_ns=sent_ns)
    assert (kinds(guard), conditions(guard)) == ([], (Condition.FILL_UNATTRIBUTED,))
    assert state(guard) is TradingState.REDUCING

    wait(guard, seconds=0.3)
    assert (kinds(guard), conditions(guard)) == ([LatchKind.EXTERNAL], ())


def test_a_failed_read_accuses_nobody() -> None:
    guard = Guard().start()
    human(guard)
    for _ in range(3):
        wait(guard, seconds=3, orders=None)

    assert (kinds(guard), conditions(guard)) == ([], (Condition.FILL_UNATTRIBUTED,))


def test_a_voided_fill_of_somebody_else_leaves_nothing_to_say() -> None:
    guard = Guard().start()
    human(guard)
    guard.trade(trade_id=HUMAN, broker_order_id=HUMAN, quantity=3, voided=True)
    wait(guard)

    assert (kinds(guard), alerts(guard)) == ([], [])


def test_each_foreign_order_is_told_once_and_freezes_once() -> None:
    guard = Guard().start()
    human(guard)
    wait(guard)
    human(guard, number=901)
    human(guard, number=902, quantity=1)
    guard.trade(trade_id=903, broker_order_id=902, quantity=1)
    wait(guard)

    assert [alert.severity for alert in alerts(guard)] == [Severity.CRITICAL] + [
        Severity.WARNING
    ] * 2
    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_what_goes_on_after_a_resume_freezes_again_at_once() -> None:
    guard = Guard().start()
    human(guard)
    wait(guard)
    assert resume(guard) is DecisionKind.ACCEPTED
    assert state(guard) is TradingState.ACTIVE

    guard.trade(trade_id=950, broker_order_id=HUMAN, quantity=1)

    assert kinds(guard) == [LatchKind.EXTERNAL]
    assert alerts(guard)[-1].severity is Severity.CRITICAL
    assert "known not to be Backstop's" in alerts(guard)[-1].message


def test_somebody_who_closes_our_position_by_hand_freezes_entries_too() -> None:
    """Otherwise the bot would open again what a person has just closed."""
    guard = Guard().start()
    guard.working(quantity=2)
    guard.trade(quantity=2)
    human(guard, quantity=2, side=Side.SELL)
    wait(guard)

    assert guard.position() == 0
    assert kinds(guard) == [LatchKind.EXTERNAL]
    assert "flat now" in alerts(guard)[0].message


# -- what is ours after all ------------------------------------------------------------------------


def test_a_fill_that_overtakes_the_answer_to_its_request_is_ours() -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.trade(quantity=2)
    guard.answer(Answer.YES, 100)
    wait(guard)

    assert (kinds(guard), conditions(guard)) == ([], ())


def test_while_an_order_of_ours_is_of_unknown_fate_its_fill_is_nobody_elses() -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    guard.trade(quantity=2)
    for _ in range(4):
        wait(guard, seconds=2)
    assert guard.state() is OrderState.UNKNOWN
    assert (kinds(guard), conditions(guard)) == ([], (Condition.FILL_UNATTRIBUTED,))

    guard.row(custom_tag=guard.order().custom_tag, status=BrokerStatus.FILLED, filled_quantity=2)

    assert guard.state() is OrderState.FILLED
    assert (kinds(guard), conditions(guard)) == ([], ())


@pytest.mark.parametrize("changes", [{"side": Side.SELL}, {"contract_id": NQ}])
def test_an_order_of_unknown_fate_explains_only_what_it_could_be(changes: dict[str, Any]) -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    guard.trade(broker_order_id=HUMAN, **changes)
    held = a_position(guard.position(NQ), contract_id=NQ), a_position(guard.position())
    wait(guard, positions=tuple(row for row in held if row.quantity))

    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_a_row_with_another_tag_is_foreign_whatever_is_unknown() -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    human(guard, quantity=2, custom_tag="otherbot-7")
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_a_bracket_leg_that_fills_is_ours() -> None:
    guard = Guard().start()
    order = guard.working(quantity=1)
    guard.trade()
    leg = {"broker_order_id": 101, "custom_tag": order.custom_tag + "-SL", "side": Side.SELL}
    guard.row(**leg, type=OrderType.STOP, stop_price=Decimal(4990), quantity=1)
    guard.trade(trade_id=8, broker_order_id=101, side=Side.SELL)
    wait(guard)

    assert guard.position() == 0
    assert (kinds(guard), alerts(guard)) == ([], [])


def test_an_order_that_a_bot_registers_in_time_is_not_foreign() -> None:
    guard = Guard().start()
    human(guard, quantity=2, custom_tag="mybot-1")
    request = a_request(client_order_id="sent by the bot")
    guard.feed(
        OrderRegistered(utc_us=guard.utc_us, request=request, custom_tag="mybot-1"), after_ms=4000
    )
    wait(guard)

    assert guard.state("sent by the bot") is OrderState.FILLED
    assert (kinds(guard), alerts(guard)) == ([], [])


def test_an_order_that_a_bot_registers_too_late_freezes_no_second_time() -> None:
    guard = Guard().start()
    row = {"broker_order_id": HUMAN, "quantity": 2, "custom_tag": "mybot-1"}
    guard.row(**row)
    guard.trade(trade_id=HUMAN, broker_order_id=HUMAN)
    wait(guard, live_orders=(a_row(**row),))
    assert kinds(guard) == [LatchKind.EXTERNAL]
    request = a_request(client_order_id="sent by the bot")
    guard.feed(OrderRegistered(utc_us=guard.utc_us, request=request, custom_tag="mybot-1"))
    resume(guard)
    guard.trade(trade_id=950, broker_order_id=HUMAN)
    for _ in range(2):
        wait(guard)

    assert kinds(guard) == []
    assert len(alerts(guard)) == 1


def test_a_tag_of_backstop_that_the_record_does_not_know_is_not_silently_ours() -> None:
    """The state folder was lost, or another guard trades the account."""
    guard = Guard().start()
    human(guard, custom_tag="bs-" + "a" * 26)
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]
    assert "a tag of Backstop's that this record does not know" in alerts(guard)[0].message


def test_an_order_that_stands_twice_is_told_as_what_it_is() -> None:
    guard = Guard().start()
    tag = guard.working().custom_tag
    guard.row(custom_tag=tag)
    human(guard, quantity=2, custom_tag=tag)
    wait(guard, live_orders=(a_row(custom_tag=tag),))

    assert kinds(guard) == [LatchKind.EXTERNAL]
    assert "that of order c1, which is another order" in alerts(guard)[0].message


# -- closes that we asked for ----------------------------------------------------------------------


def holding(quantity: int = 3) -> Guard:
    guard = Guard().start()
    guard.working(quantity=quantity)
    guard.trade(quantity=quantity)
    return guard


def expect_close(guard: Guard, quantity: int | None) -> None:
    close_expected(Workbench(guard.book, guard.now_ns, guard.utc_us), MES, quantity)


@pytest.mark.parametrize("quantity", [None, 3])
def test_the_market_order_of_a_close_of_ours_is_ours(quantity: int | None) -> None:
    guard = holding()
    expect_close(guard, quantity)
    human(guard, side=Side.SELL)
    wait(guard)

    assert guard.position() == 0
    assert (kinds(guard), alerts(guard)) == ([], [])


def test_a_close_of_which_only_trades_are_told_is_ours_as_well() -> None:
    guard = holding()
    expect_close(guard, 3)
    for trade_id in (901, 902, 903):
        guard.trade(trade_id=trade_id, broker_order_id=HUMAN, side=Side.SELL)
    wait(guard)

    assert guard.position() == 0
    assert (kinds(guard), alerts(guard)) == ([], [])


def test_a_close_that_takes_several_orders_is_ours_up_to_its_quantity() -> None:
    guard = holding()
    expect_close(guard, 3)
    human(guard, 2, number=901, side=Side.SELL)
    human(guard, 1, number=902, side=Side.SELL)
    wait(guard)
    assert kinds(guard) == []

    human(guard, 1, number=903, side=Side.SELL)
    wait(guard)
    assert kinds(guard) == [LatchKind.EXTERNAL]


@pytest.mark.parametrize(
    "changes",
    [
        {"side": Side.BUY},
        {"side": Side.SELL, "custom_tag": "otherbot-1"},
        {"side": Side.SELL, "type": OrderType.LIMIT},
        {"side": Side.SELL, "parent_order_id": 5},
        {"side": Side.SELL, "contract_id": NQ},
    ],
)
def test_what_is_no_close_of_ours_is_not_taken_for_one(changes: dict[str, Any]) -> None:
    guard = holding()
    expect_close(guard, None)
    human(guard, **changes)
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]


@pytest.mark.parametrize(("seconds", "frozen"), [(59, False), (61, True)])
def test_only_an_order_that_comes_soon_is_the_close(seconds: int, *, frozen: bool) -> None:
    guard = holding()
    expect_close(guard, 3)
    guard.now_ns += seconds * SECOND_NS - 1_000_000
    human(guard, side=Side.SELL)
    wait(guard)

    assert bool(kinds(guard)) is frozen


def test_an_order_that_was_there_before_is_not_the_close() -> None:
    guard = holding()
    guard.row(broker_order_id=950, custom_tag="otherbot-1")
    expect_close(guard, 3)
    human(guard, side=Side.SELL)
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]


@pytest.mark.parametrize("answer", Answer)
def test_a_close_that_the_venue_refused_explains_nothing(answer: Answer) -> None:
    guard = holding()
    event = CloseRequested(utc_us=guard.utc_us, contract_id=MES, reason="enough", operator="ann")
    guard.feed(event)
    guard.audit(positions=(a_position(3),))
    assert len(guard.commands_of(ClosePosition)) == 1
    guard.feed(PositionCloseAnswered(utc_us=guard.utc_us, contract_id=MES, answer=answer))
    human(guard, side=Side.SELL)
    wait(guard)

    assert bool(kinds(guard)) is (answer in {Answer.NO, Answer.NOT_SENT})


def test_one_close_of_everything_leads_to_one_order() -> None:
    guard = holding()
    expect_close(guard, None)
    human(guard, 3, number=901, side=Side.SELL)
    human(guard, 1, number=902, side=Side.SELL)
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]
    assert "902" in alerts(guard)[0].message


def test_closes_are_remembered_across_a_restart_and_only_so_many() -> None:
    guard = holding()
    expect_close(guard, 3)
    guard.connect()
    human(guard, side=Side.SELL)
    wait(guard, seconds=6)
    wait(guard, seconds=6)
    assert kinds(guard) == []

    for _ in range(2 * CLOSES_KEPT):
        expect_close(guard, 1)
    assert len(guard.book.external.closes) == CLOSES_KEPT
    guard.now_ns += 61 * SECOND_NS
    guard.timer()
    assert guard.book.external.closes == (), "what led to nothing explains nothing any more"


@pytest.mark.parametrize(("seconds", "frozen"), [(30, False), (61, True)])
def test_a_restart_brings_no_close_back_that_was_over_with_a_part_of_it_done(
    seconds: int, *, frozen: bool
) -> None:
    """Else an order of a stranger in the minute after would pass for the rest of it."""
    guard = holding()
    expect_close(guard, 3)
    human(guard, 1, number=901, side=Side.SELL)
    guard.now_ns += seconds * SECOND_NS
    guard.timer()
    guard.connect()
    human(guard, 2, number=902, side=Side.SELL)
    for _ in range(3):
        wait(guard)

    assert bool(kinds(guard)) is frozen


def test_the_firm_s_own_liquidation_is_told_as_what_it_is() -> None:
    """The account is locked: it cannot trade, so nothing is latched that a person must lift."""
    guard = holding()
    guard.account(can_trade=False)
    human(guard, side=Side.SELL)
    wait(guard)

    assert kinds(guard) == []
    assert alerts(guard) == []
    (alert,) = alerts(guard, "FIRM_LIQUIDATION")
    assert alert.severity is Severity.CRITICAL
    assert "sold 3" in alert.message


def test_the_firm_may_close_in_several_trades() -> None:
    guard = holding()
    guard.account(can_trade=False)
    human(guard, 2, side=Side.SELL)
    wait(guard)
    guard.trade(trade_id=950, broker_order_id=HUMAN, side=Side.SELL)

    assert kinds(guard) == []


def test_a_locked_account_that_somebody_else_enlarges_is_not_the_firm_s_doing() -> None:
    guard = holding()
    guard.account(can_trade=False)
    human(guard)
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]


# -- positions that no trade explains --------------------------------------------------------------


def unexplained(guard: Guard, quantity: int = 3) -> None:
    """Two fresh reads show a position that no trade led to."""
    for _ in range(2):
        guard.audit(after_ms=1500, positions=(a_position(quantity),))
    assert guard.position() == quantity


def test_a_position_that_no_trade_explains_blocks_entries_at_once_and_latches_later() -> None:
    guard = Guard().start()
    unexplained(guard)
    assert (kinds(guard), conditions(guard)) == ([], (Condition.FILL_UNATTRIBUTED,))

    wait(guard)

    assert (kinds(guard), conditions(guard)) == ([LatchKind.EXTERNAL], ())
    (alert,) = alerts(guard)
    assert "show +3 that no trade explains" in alert.message
    assert alert.severity is Severity.CRITICAL


def test_a_trade_that_explains_the_position_in_time_leaves_nothing_to_say() -> None:
    """The real trade takes the place of the adjustment; position and guard stay as they are."""
    guard = Guard().start()
    guard.working()
    guard.audit(after_ms=1500, live_orders=(a_row(),), positions=(a_position(2),))
    guard.audit(after_ms=1500, live_orders=(a_row(),), positions=(a_position(2),))
    assert conditions(guard) == (Condition.FILL_UNATTRIBUTED,)
    guard.trade(quantity=2)
    guard.timer()

    assert guard.position() == 2
    assert (kinds(guard), alerts(guard), conditions(guard)) == ([], [], ())


def test_an_order_of_ours_that_lacks_its_trades_may_still_explain_it() -> None:
    guard = Guard().start()
    guard.working()
    row = a_row(filled_quantity=2)
    for _ in range(4):
        guard.audit(after_ms=3000, live_orders=(row,), positions=(a_position(2),))
    assert (kinds(guard), conditions(guard)) == ([], (Condition.FILL_UNATTRIBUTED,))

    guard.trade(quantity=2)
    guard.timer()
    assert (kinds(guard), conditions(guard)) == ([], ())


def test_a_second_adjustment_is_judged_for_itself() -> None:
    guard = Guard().start()
    unexplained(guard)
    wait(guard)
    resume(guard)
    unexplained(guard, 2)
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]
    assert "show -1 that no trade explains" in alerts(guard)[-1].message


# -- starts ----------------------------------------------------------------------------------------


LONG_AGO = START_US - 3600 * 1_000_000


def test_what_others_traded_before_the_first_start_and_closed_is_the_past() -> None:
    guard = Guard().connect()
    past = {"broker_order_id": HUMAN, "created_utc_us": LONG_AGO}
    trades = (
        a_trade(trade_id=1, **past),
        a_trade(trade_id=2, side=Side.SELL, **past | {"broker_order_id": 901}),
    )
    guard.audit(trades=trades)
    assert state(guard) is TradingState.ACTIVE

    for _ in range(3):
        wait(guard)
    assert (kinds(guard), alerts(guard)) == ([], [])


def test_a_position_of_others_at_the_first_start_blocks_entries_at_once() -> None:
    guard = Guard().connect()
    trades = (a_trade(quantity=3, broker_order_id=HUMAN, created_utc_us=LONG_AGO),)
    guard.audit(trades=trades, positions=(a_position(3),))
    assert guard.book.recovered
    assert state(guard) is TradingState.REDUCING

    wait(guard)
    assert kinds(guard) == [LatchKind.EXTERNAL]


def test_what_others_traded_while_no_guard_was_running_is_found_at_the_next_start() -> None:
    guard = holding(2)
    guard.now_ns += 600 * SECOND_NS
    away_us = guard.utc_us
    guard.connect()
    trade = a_trade(trade_id=8, broker_order_id=HUMAN, quantity=3, created_utc_us=away_us)
    guard.audit(trades=(trade,), positions=(a_position(5),))
    assert state(guard) is TradingState.REDUCING

    wait(guard)
    assert (guard.position(), kinds(guard)) == (5, [LatchKind.EXTERNAL])


def test_our_own_orders_freeze_nothing_after_a_restart() -> None:
    guard = Guard().start()
    tag = guard.working(quantity=2).custom_tag
    guard.connect()
    row = a_row(status=BrokerStatus.FILLED, filled_quantity=2, custom_tag=tag)
    guard.audit(orders=(row,), trades=(a_trade(quantity=2),), positions=(a_position(2),))
    for _ in range(3):
        wait(guard)

    assert (state(guard), kinds(guard)) == (TradingState.ACTIVE, [])


def test_a_freeze_holds_across_a_restart_and_a_replay() -> None:
    guard = Guard().start()
    human(guard)
    wait(guard)
    guard.connect()
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]
    book, _ = replayed(guard.policy, guard.history)
    assert (book.latches, book.external) == (guard.book.latches, guard.book.external)


def test_a_wait_that_a_restart_interrupts_begins_anew_and_ends() -> None:
    guard = Guard().start()
    human(guard)
    guard.now_ns = SECOND_NS  # another boot: monotonic time is young again
    guard.connect()
    wait(guard, seconds=1)
    assert kinds(guard) == []

    wait(guard, seconds=5)
    assert kinds(guard) == [LatchKind.EXTERNAL]


# -- what the policy does --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({}, ("EXTERNAL_POSITION_POLICY=protect", "DEFAULT_STOP_TICKS is not set", "PUT /v1")),
        ({"default_stop_ticks": 40}, ("gets one 40 ticks away",)),
        ({"external_position_policy": ExternalPositionPolicy.ALERT}, ("nothing of it is touched",)),
        ({"dry_run": True}, ("nothing is sent",)),
    ],
)
def test_the_alert_says_what_the_policy_does(
    policy: dict[str, Any], words: tuple[str, ...]
) -> None:
    guard = Guard(policy=a_policy(**policy)).start()
    human(guard)
    wait(guard)

    assert kinds(guard) == [LatchKind.EXTERNAL]
    for word in words:
        assert word in alerts(guard)[0].message


def test_the_alert_says_what_protects_contracts_that_were_added_to_ours() -> None:
    """Nothing is made up for them: the stop of the entry goes on for all of the position."""
    world = World(policy=a_policy(protects=True)).start()
    world.enter(quantity=2, stop=4990)
    world.wait(500)
    world.manual(2, Side.BUY, 1)
    world.wait(9_000)

    assert sum(quantity for quantity, _ in world.stops()) == 3
    (alert,) = alerts(world.guard)
    assert "DEFAULT_STOP_TICKS" not in alert.message
    assert "working stops cover all of it" in alert.message
    assert "at 4990" in alert.message


def test_the_alert_says_what_is_on_record_for_contracts_that_no_stop_covers_yet() -> None:
    world = World(policy=a_policy(protects=True)).start()
    world.enter(quantity=2, stop=4990)
    world.wait(500)
    world.book.policy = a_policy(protects=True, execute=False)
    world.manual(2, Side.BUY, 1)
    world.wait(9_000)

    assert "gets one at the level on record (1 at 4990)" in alerts(world.guard)[0].message


def test_policy_flatten_takes_the_contract_flat() -> None:
    guard = Guard(policy=a_policy(external_position_policy=ExternalPositionPolicy.FLATTEN)).start()
    human(guard)
    wait(guard)
    wait(guard, seconds=1)

    assert sorted(kinds(guard)) == [LatchKind.EXTERNAL, LatchKind.LIQUIDATION]
    assert guard.book.latches[-1].contract_id == MES
    closes = guard.commands_of(ClosePosition)
    assert [close.contract_id for close in closes] == [MES]
    assert "taken flat" in alerts(guard)[0].message
    human(guard, number=905, side=Side.SELL)  # what the close leads to
    for _ in range(3):
        wait(guard)
    assert len(alerts(guard)) == 1, "our own close is nobody else's"


@pytest.mark.parametrize("policy", [ExternalPositionPolicy.PROTECT, ExternalPositionPolicy.ALERT])
def test_no_other_policy_closes_anything(policy: ExternalPositionPolicy) -> None:
    guard = Guard(policy=a_policy(external_position_policy=policy)).start()
    human(guard)
    for _ in range(3):
        wait(guard)

    assert guard.commands_of(ClosePosition) == []


# -- bounds ----------------------------------------------------------------------------------------


def test_very_many_orders_without_an_owner_are_judged_before_their_time() -> None:
    guard = Guard().start()
    for number in range(1000, 1000 + SIGHTINGS_KEPT + 1):
        guard.trade(trade_id=number, broker_order_id=number)

    assert len(guard.book.external.sightings) == SIGHTINGS_KEPT
    assert kinds(guard) == [LatchKind.EXTERNAL]
    assert "order 1000 " in alerts(guard)[0].message


def test_only_so_many_orders_of_others_are_remembered() -> None:
    guard = Guard().start()
    for number in range(1000, 1000 + FOREIGN_KEPT + SIGHTINGS_KEPT + 5):
        guard.trade(trade_id=number, broker_order_id=number)
    wait(guard)

    assert len(guard.book.external.foreign) == FOREIGN_KEPT
