"""Orders that a bot sends itself: followed from their registration on, and never placed by us."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import (
    ACCOUNT,
    MES,
    NQ,
    START_US,
    Guard,
    a_guard_start,
    a_policy,
    a_quote,
    a_request,
    a_row,
    a_trade,
    replayed,
)

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.execution_verdict import Verdict, verify
from backstop.core.execution_verification import (
    ABSENCE_MIN_AGE_NS,
    ABSENCE_MIN_GAP_NS,
    REPLY_LIMIT_NS,
)
from backstop.core.policy import MILLISECOND_NS
from backstop.core.portfolio import holdings
from backstop.core.registered_orders import TAG_LENGTH_MAX
from backstop.core.step import Decision, DecisionKind, Step
from backstop.core.trading_state import TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, LookUpOrder, PlaceOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, HaltRequested, OrderRegistered
from backstop.domain.order import TAG_PREFIX, OrderState, OrderType, Side

TAG = "bot-1"
LONG_AFTER_MS = (REPLY_LIMIT_NS + ABSENCE_MIN_AGE_NS) // MILLISECOND_NS
LATER_MS = ABSENCE_MIN_GAP_NS // MILLISECOND_NS


def registering(guard: Guard, **members: Any) -> Step:
    """Register buy 2 MES at the market under TAG, unless ``members`` say otherwise."""
    told: dict[str, Any] = {"custom_tag": TAG, "broker_order_id": None, "reference": a_quote()}
    told |= {name: members.pop(name) for name in tuple(members) if name in told}
    return guard.feed(OrderRegistered(utc_us=guard.utc_us, request=a_request(**members), **told))


def register(guard: Guard, **members: Any) -> Decision:
    decision = registering(guard, **members).decision
    assert decision is not None
    return decision


def a_dry_guard() -> Guard:
    return Guard(policy=a_policy(dry_run=True, execute=False)).start()


def states(guard: Guard, name: str = "c1") -> list[OrderState]:
    return [step.to_state for step in guard.order(name).transitions]


# -- followed from the first moment ----------------------------------------------------------------


def test_a_registered_order_counts_as_sent_and_is_never_placed_by_us() -> None:
    guard = a_dry_guard()
    step = registering(guard)

    assert step.decision is not None
    assert step.decision.kind is DecisionKind.ACCEPTED
    assert step.decision.order == guard.order()
    assert (guard.state(), guard.order().registered) == (OrderState.SENT, True)
    assert guard.order().custom_tag == TAG
    (row,) = step.order_rows
    assert (row.client_order_id, row.status, row.order_id) == ("c1", "SENT", "c1")
    guard.until_due()
    assert [it.custom_tag for it in guard.commands_of(LookUpOrder)] == [TAG]
    assert guard.commands_of(PlaceOrder) == []


def test_it_counts_in_the_exposure_at_its_worst_case() -> None:
    guard = a_dry_guard()
    register(guard, quantity=3)

    (held,) = holdings(guard.book, ())

    assert (held.symbol, held.pending_buys, held.pending_sells) == ("MES", 3, 0)


def test_its_rows_and_trades_are_found_by_its_tag_and_prove_it() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.row(custom_tag=TAG)
    guard.trade(quantity=2)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)

    assert states(guard) == [OrderState.SENT, OrderState.WORKING, OrderState.FILLED]
    assert (guard.order().broker_order_id, guard.position()) == (100, 2)
    assert "c1" in {name for it in guard.steps for name in it.proofs_due}
    assert guard.book.venue_orders == {}


def test_slippage_counts_from_the_market_at_the_registration() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.row(custom_tag=TAG)
    guard.trade(quantity=2, price=Decimal(5001))
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)

    found = verify(
        guard.order(),
        guard.book.instruments[MES],
        expected_quantity=2,
        max_slippage_ticks=Decimal(2),
    )

    assert guard.order().reference_price == Decimal(5000)
    assert (found.verdict, found.slippage_ticks) == (Verdict.BREACH, 4)


@pytest.mark.parametrize("known_by", ["its number", "its row", "its trade"])
def test_a_market_order_registered_after_it_was_sent_has_no_reference_and_says_so(
    known_by: str,
) -> None:
    """The quote of the registration is from after the fill: it would make up a slippage."""
    guard = a_dry_guard()
    long_ago_us = guard.utc_us - 60_000_000
    if known_by == "its number":
        register(guard, custom_tag=None, broker_order_id=100)
    else:
        register(guard)
    made_us = long_ago_us if known_by == "its row" else 0  # a row may lack its time
    traded_us = long_ago_us if known_by == "its trade" else guard.utc_us
    guard.row(custom_tag=TAG, created_utc_us=made_us)
    guard.trade(quantity=2, price=Decimal(5001), created_utc_us=traded_us)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2, created_utc_us=made_us)

    found = verify(
        guard.order(),
        guard.book.instruments[MES],
        expected_quantity=2,
        max_slippage_ticks=Decimal(2),
    )

    assert (found.verdict, found.slippage_ticks) == (Verdict.VERIFIED, None)
    assert "reference price is UNKNOWN: it was sent before it was registered" in found.reason
    assert "SLIPPAGE_BREACH" not in guard.alerts()


def test_a_quote_of_the_registration_holds_for_an_order_that_the_venue_made_right_after() -> None:
    """Its clock may be a little behind ours: that makes no order older than its registration."""
    guard = a_dry_guard()
    register(guard)
    behind_us = guard.utc_us - 900_000
    guard.row(custom_tag=TAG, created_utc_us=behind_us, updated_utc_us=behind_us)
    guard.trade(quantity=2, price=Decimal(5001), created_utc_us=behind_us)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2, created_utc_us=behind_us)

    assert guard.alerts() == ["SLIPPAGE_BREACH"]


@pytest.mark.parametrize(("after_ms", "measured"), [(-5, False), (5, True)])
def test_whether_it_was_sent_before_is_told_by_the_clock_of_the_venue(
    after_ms: int, *, measured: bool
) -> None:
    """Where its time of the registration is known, ours does not matter: it is an hour ahead."""
    guard = a_dry_guard()
    register(guard)
    hour_us = 3600 * 1_000_000
    at_venue_us = guard.utc_us - hour_us
    guard.book.orders["c1"] = replace(guard.order(), venue_from_us=at_venue_us)
    made_us = at_venue_us + after_ms * 1000
    guard.row(custom_tag=TAG, created_utc_us=made_us, updated_utc_us=made_us)
    guard.trade(quantity=2, price=Decimal(5001), created_utc_us=made_us)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2, created_utc_us=made_us)

    assert ("SLIPPAGE_BREACH" in guard.alerts()) is measured


def test_where_it_stood_before_it_was_registered_by_its_number_counts() -> None:
    guard = a_dry_guard()
    limit = {"type": OrderType.LIMIT, "quantity": 1}
    guard.row(**limit, limit_price=Decimal(5010), updated_utc_us=START_US)
    guard.row(**limit, limit_price=Decimal(4990), updated_utc_us=START_US + 100)
    guard.trade(price=Decimal(5010), created_utc_us=START_US + 50)
    register(
        guard,
        custom_tag=None,
        broker_order_id=100,
        **limit,
        limit_price=Decimal(4990),
    )
    guard.row(
        **limit,
        limit_price=Decimal(4990),
        status=BrokerStatus.FILLED,
        filled_quantity=1,
        updated_utc_us=START_US + 100,
    )

    assert guard.state() is OrderState.FILLED
    assert [it.price for it in guard.order().levels_seen.seen] == [Decimal(5010), Decimal(4990)]
    assert "SLIPPAGE_BREACH" not in guard.alerts()


def test_a_second_equal_order_within_the_window_is_a_duplicate_of_it() -> None:
    guard = Guard().start()
    register(guard)

    refused = guard.submit(client_order_id="c2")

    assert [denial.code for denial in refused.denials] == [DenialCode.DUPLICATE_ORDER]


def test_an_exit_that_was_registered_is_no_entry_and_leaves_less_to_close() -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.trade(quantity=2, broker_order_id=77)
    register(guard, side=Side.SELL, quantity=2)

    assert len(guard.book.entries) == 0
    assert guard.submit(client_order_id="c2", side=Side.SELL, quantity=1).denials


# -- what was told before the registration ---------------------------------------------------------


def test_an_order_that_was_seen_before_it_was_registered_is_taken_over() -> None:
    guard = a_dry_guard()
    guard.row(custom_tag=TAG)
    guard.trade(quantity=1)
    assert 100 in guard.book.venue_orders
    step = registering(guard)

    assert guard.state() is OrderState.PARTIALLY_FILLED
    assert guard.order().filled_quantity == 1
    assert guard.book.venue_orders == {}
    assert guard.position() == 1
    (row,) = step.order_rows
    assert (row.order_id, row.client_order_id, row.status) == ("100", "c1", "PARTIALLY_FILLED")


def test_an_order_known_by_its_number_is_taken_over_with_its_trades() -> None:
    guard = a_dry_guard()
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.trade(quantity=2)
    decision = register(guard, custom_tag=None, broker_order_id=100)

    assert decision.kind is DecisionKind.ACCEPTED
    assert (guard.state(), guard.order().filled_quantity) == (OrderState.FILLED, 2)
    assert guard.order().custom_tag == ""
    assert guard.position() == 2


def test_trades_alone_are_enough_to_take_an_order_over() -> None:
    guard = a_dry_guard()
    guard.trade(quantity=1)
    register(guard, custom_tag=None, broker_order_id=100)

    assert (guard.state(), guard.order().filled_quantity) == (OrderState.PARTIALLY_FILLED, 1)


def test_the_legs_of_a_registered_entry_are_legs_whatever_its_tag_looks_like() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.row(custom_tag=TAG)
    guard.row(
        broker_order_id=101,
        custom_tag=f"{TAG}-SL",
        side=Side.SELL,
        type=OrderType.STOP,
        stop_price=Decimal(4990),
    )

    assert guard.book.venue_orders[101].owner == "c1"


# -- silence ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [{}, {"custom_tag": None, "broker_order_id": 100}])
def test_an_order_that_never_appears_is_unknown_until_two_late_reads_lack_it(
    told: dict[str, Any],
) -> None:
    guard = a_dry_guard()
    register(guard, **told)
    guard.look_up()
    guard.look_up()
    assert guard.state() is OrderState.SENT, "early reads prove nothing"
    while guard.state() is OrderState.SENT:
        guard.until_due()
    assert guard.state() is OrderState.UNKNOWN
    assert guard.order().open_quantity == 2

    guard.timer(after_ms=LONG_AFTER_MS)
    guard.look_up()
    guard.look_up()
    assert guard.state() is OrderState.UNKNOWN, "two reads at once are one"
    guard.timer(after_ms=LATER_MS)
    guard.look_up(complete=False)
    assert guard.state() is OrderState.UNKNOWN, "an incomplete read proves nothing"
    guard.look_up()

    assert guard.state() is OrderState.NOT_SUBMITTED
    assert guard.commands_of(PlaceOrder) == []
    guard.row(custom_tag=TAG)
    assert guard.state() is OrderState.WORKING, "seen later, it is there"


def test_a_number_that_was_only_told_is_looked_up_by_that_number() -> None:
    guard = a_dry_guard()
    register(guard, custom_tag=None, broker_order_id=100)
    guard.until_due()

    (asked,) = guard.commands_of(LookUpOrder)

    assert (asked.broker_order_id, asked.custom_tag) == (100, "")
    assert not guard.order().is_shown


def test_a_new_process_does_not_know_whether_it_was_sent() -> None:
    guard = a_dry_guard()
    register(guard)
    register(guard, client_order_id="c2", custom_tag=None, broker_order_id=100)
    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert {guard.state("c1"), guard.state("c2")} == {OrderState.UNKNOWN}
    assert guard.order("c2").broker_order_id == 100
    guard.row(status=BrokerStatus.OPEN)
    assert guard.state("c2") is OrderState.WORKING


def test_a_replay_of_the_record_follows_the_same_orders() -> None:
    guard = a_dry_guard()
    register(guard)
    register(guard, client_order_id="c2", custom_tag=None, broker_order_id=100)
    guard.trade()

    book, steps = replayed(guard.policy, guard.history)

    assert book.orders == guard.book.orders
    assert steps == guard.steps


# -- the same again, and what is not the same ------------------------------------------------------


def test_the_same_registration_again_is_the_same_order() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.row(custom_tag=TAG)

    again = register(guard)

    assert again.kind is DecisionKind.REPEATED
    assert again.order == guard.order()
    assert guard.state() is OrderState.WORKING


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"quantity": 1}, "quantity is 2 there, and 1 here"),
        ({"custom_tag": "bot-2"}, "custom_tag is bot-1 there, and bot-2 here"),
        (
            {"custom_tag": None, "broker_order_id": 7},
            "custom_tag is bot-1 there, and unset here",
        ),
    ],
)
def test_another_registration_under_the_same_name_is_a_conflict(
    changes: dict[str, Any], differs: str
) -> None:
    guard = a_dry_guard()
    register(guard)

    other = register(guard, **changes)

    assert other.kind is DecisionKind.CONFLICT
    assert other.message == f"c1 is registered with another body: {differs}"
    assert guard.order().custom_tag == TAG


def test_the_number_can_be_told_later() -> None:
    guard = a_dry_guard()
    guard.row()
    register(guard)
    again = register(guard, broker_order_id=100)

    assert again.kind is DecisionKind.REPEATED
    assert (guard.state(), guard.order().broker_order_id) == (OrderState.WORKING, 100)
    assert guard.book.venue_orders == {}
    assert register(guard, broker_order_id=100).kind is DecisionKind.REPEATED
    other = register(guard, broker_order_id=101)
    assert other.kind is DecisionKind.CONFLICT
    assert "broker_order_id is 100 there, and 101 here" in other.message


@pytest.mark.parametrize("sends", [False, True])
def test_what_is_registered_while_halted_is_followed_and_its_sender_is_warned(
    *, sends: bool
) -> None:
    guard = Guard(policy=a_policy(dry_run=not sends, execute=sends)).start()
    assert register(guard, client_order_id="before", custom_tag="bot-0").message == ""
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="the news", operator="ann"))

    first, again = register(guard), register(guard)

    assert (first.kind, again.kind) == (DecisionKind.ACCEPTED, DecisionKind.REPEATED)
    for decision in (first, again):
        assert decision.trading_state is TradingState.HALTED
        assert "trading is HALTED (halted by ann: the news)" in decision.message
        assert "do not send an entry now" in decision.message
        assert ("cancelled" in decision.message) is sends


def test_an_exit_that_is_registered_while_halted_needs_no_warning() -> None:
    guard = a_dry_guard()
    guard.position_row(2)
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="the news", operator="ann"))

    decision = register(guard, side=Side.SELL)

    assert (decision.trading_state, decision.message) == (TradingState.HALTED, "")


def test_an_entry_outside_its_hours_is_followed_and_its_sender_is_warned() -> None:
    guard = Guard(policy=a_policy(keeps_hours=True)).start()

    first, again = register(guard), register(guard)

    assert (first.kind, again.kind) == (DecisionKind.ACCEPTED, DecisionKind.REPEATED)
    for decision in (first, again):
        assert decision.trading_state is TradingState.ACTIVE
        assert "SESSION_UNKNOWN: nobody knows when MES trades" in decision.message
        assert "do not send an entry now" in decision.message


def test_an_entry_far_from_the_market_is_followed_and_its_sender_is_warned() -> None:
    guard = Guard(policy=a_policy(price_collar_ppm=10_000)).start()
    far: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(6000)}

    decision = register(guard, **far)

    assert decision.kind is DecisionKind.ACCEPTED
    assert "PRICE_COLLAR: 6000 is too far from the market of MES" in decision.message
    near = register(
        guard,
        client_order_id="c2",
        custom_tag="bot-2",
        type=OrderType.LIMIT,
        limit_price=Decimal(4999),
    )
    assert near.message == ""


def test_an_entry_that_the_rules_of_the_account_forbid_is_followed_and_its_sender_hears_why() -> (
    None
):
    """To refuse to follow it would only hide it: whether it is sent is not in our hands."""
    rules = AccountLimits(max_position_tenths=2)
    guard = Guard(policy=a_policy(account_limits=rules, max_order_quantity=3)).start()

    within = register(guard)
    beyond = register(guard, client_order_id="c2", custom_tag="bot-2", quantity=4)

    assert (within.kind, within.message) == (DecisionKind.ACCEPTED, "")
    assert beyond.kind is DecisionKind.ACCEPTED
    assert "POSITION_TOO_LARGE: with everything that could fill, 0.6 minis" in beyond.message
    assert "SIZE_TOO_LARGE: 4 contracts in one order; 3 are allowed" in beyond.message
    assert guard.order("c2").open_quantity == 4
    refused = guard.submit(client_order_id="c3", quantity=1)
    assert "POSITION_TOO_LARGE" in [it.code for it in refused.denials], "and it counts"


def test_a_sender_hears_that_an_entry_could_lose_more_than_the_day_has_left() -> None:
    """It counts already, but nobody has sent it: it is no order that another one replaces."""
    rules = AccountLimits(daily_loss_micros=100_000_000)  # 2 MES over 10 points lose that
    guard = Guard(policy=a_policy(account_limits=rules)).start()
    members = {"type": OrderType.LIMIT, "limit_price": Decimal(5000)}

    near = register(guard, **members, stop_loss_price=Decimal(4998))
    far = register(
        guard,
        **members,
        client_order_id="c2",
        custom_tag="bot-2",
        stop_loss_price=Decimal(4990),
    )

    assert near.message == ""
    assert "DAILY_LOSS_BUFFER" in far.message


def test_an_exit_outside_its_hours_needs_no_warning() -> None:
    guard = Guard(policy=a_policy(keeps_hours=True)).start()
    guard.position_row(2)

    assert register(guard, side=Side.SELL).message == ""


def test_a_number_told_after_the_proof_of_absence_reopens_the_order() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.timer(after_ms=LONG_AFTER_MS)
    guard.look_up()
    guard.timer(after_ms=LATER_MS)
    guard.look_up()
    assert guard.state() is OrderState.NOT_SUBMITTED

    assert register(guard, broker_order_id=100).kind is DecisionKind.REPEATED

    assert guard.state() is OrderState.UNKNOWN
    assert guard.commands_of(LookUpOrder)[-1].broker_order_id == 100


def test_a_name_is_for_an_order_that_we_place_or_for_one_that_its_owner_sends() -> None:
    guard = Guard().start()
    guard.submit()
    taken = register(guard, custom_tag=guard.order().custom_tag)
    register(guard, client_order_id="c2")
    wished = guard.submit(client_order_id="c2")

    assert taken.kind is DecisionKind.CONFLICT
    assert "placed by the guard" in taken.message
    assert wished.kind is DecisionKind.CONFLICT
    assert "its owner sends" in wished.message
    assert len(guard.commands_of(PlaceOrder)) == 1


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "kind", "why"),
    [
        ({"custom_tag": None}, DecisionKind.NOT_POSSIBLE, "neither a tag nor"),
        ({"custom_tag": ""}, DecisionKind.NOT_POSSIBLE, "neither a tag nor"),
        ({"custom_tag": TAG_PREFIX + "x"}, DecisionKind.NOT_POSSIBLE, "given by Backstop"),
        ({"custom_tag": " bot"}, DecisionKind.NOT_POSSIBLE, "no white space around it"),
        ({"custom_tag": "x" * (TAG_LENGTH_MAX + 1)}, DecisionKind.NOT_POSSIBLE, "at most"),
        ({"symbol": "CL"}, DecisionKind.UNKNOWN_SYMBOL, "no contract goes by CL"),
        ({"custom_tag": "mine"}, DecisionKind.CONFLICT, "tag mine belongs to order first"),
        ({"broker_order_id": 50}, DecisionKind.CONFLICT, "order 50 of the venue is order first"),
        ({"broker_order_id": 51}, DecisionKind.CONFLICT, "the STOP_LOSS of order first"),
        ({"custom_tag": "mine-SL"}, DecisionKind.CONFLICT, "the STOP_LOSS of order first"),
        ({"broker_order_id": 60}, DecisionKind.CONFLICT, "order 60 of the venue is SELL 1"),
        ({"custom_tag": "theirs"}, DecisionKind.CONFLICT, "order 60 of the venue is SELL 1"),
        ({"broker_order_id": 70}, DecisionKind.CONFLICT, "has the tag another"),
        ({"broker_order_id": 80}, DecisionKind.CONFLICT, f"has traded BUY {NQ}"),
    ],
)
def test_what_cannot_be_followed_is_refused_and_leaves_no_trace(
    members: dict[str, Any], kind: DecisionKind, why: str
) -> None:
    guard = a_dry_guard()
    register(guard, client_order_id="first", custom_tag="mine", quantity=1)
    guard.row(broker_order_id=50, custom_tag="mine", quantity=1)
    guard.row(broker_order_id=51, custom_tag="mine-SL", side=Side.SELL, type=OrderType.STOP)
    guard.row(broker_order_id=60, custom_tag="theirs", side=Side.SELL, quantity=1)
    guard.row(broker_order_id=70, custom_tag="another")
    guard.trade(trade_id=8, broker_order_id=80, contract_id=NQ)
    known = dict(guard.book.orders)

    refused = register(guard, **members)

    assert refused.kind is kind
    assert why in refused.message
    assert guard.book.orders == known
    assert TAG not in guard.book.client_of_tag


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"quantity": 0}, DenialCode.QUANTITY_INVALID),
        ({"type": OrderType.LIMIT}, DenialCode.PRICE_MISSING),
        ({"type": OrderType.LIMIT, "limit_price": Decimal("NaN")}, DenialCode.PRICE_INVALID),
        ({"type": OrderType.LIMIT, "limit_price": Decimal("5000.1")}, DenialCode.TICK_UNALIGNED),
        ({"stop_loss_price": Decimal("4990.3")}, DenialCode.TICK_UNALIGNED),
    ],
)
def test_an_order_that_no_venue_would_take_is_refused(
    members: dict[str, Any], code: DenialCode
) -> None:
    """What we do not send we cannot round."""
    guard = a_dry_guard()

    refused = register(guard, **members)

    assert refused.kind is DecisionKind.REFUSED
    assert [denial.code for denial in refused.denials] == [code]
    assert guard.book.orders == {}


# -- the venue shows another order than the one that was registered --------------------------------


def test_a_tag_that_turns_out_to_be_another_order_refutes_the_registration() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.row(custom_tag=TAG, side=Side.SELL)
    guard.row(custom_tag=TAG, side=Side.SELL, updated_utc_us=START_US + 1)

    assert guard.state() is OrderState.NOT_SUBMITTED
    assert "order 100 at the venue is SELL 2" in guard.order().venue_message
    assert guard.book.venue_orders[100].owner is None, "it counts as somebody else's"
    assert guard.alerts().count("ORDER_MISREGISTERED") == 1
    found = verify(
        guard.order(),
        guard.book.instruments[MES],
        expected_quantity=2,
        max_slippage_ticks=Decimal(2),
    )
    assert found.verdict is Verdict.REFUTED
    assert "SELL 2" in found.reason


def test_a_number_that_turns_out_to_be_another_order_refutes_the_registration() -> None:
    guard = a_dry_guard()
    register(guard, custom_tag=None, broker_order_id=100)
    guard.trade(contract_id=NQ)

    assert guard.state() is OrderState.NOT_SUBMITTED
    assert guard.order().fills == ()
    assert guard.order().broker_order_id is None
    assert guard.position(NQ) == 1
    guard.trade(trade_id=8, contract_id=NQ)
    assert guard.position(NQ) == 2
    assert guard.alerts().count("ORDER_MISREGISTERED") == 1


def test_the_order_that_was_registered_stays_when_another_one_takes_its_tag() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.row(custom_tag=TAG)
    guard.row(custom_tag=TAG, broker_order_id=101, side=Side.SELL)

    assert (guard.state(), guard.order().broker_order_id) == (OrderState.WORKING, 100)
    assert guard.book.venue_orders[101].owner is None


@pytest.mark.parametrize(
    "told", [{"custom_tag": TAG}, {"custom_tag": None, "broker_order_id": 100}]
)
def test_a_venue_that_contradicts_itself_about_one_order_is_believed_at_first(
    told: dict[str, Any],
) -> None:
    guard = a_dry_guard()
    register(guard, **told)
    guard.row(custom_tag=TAG)
    guard.row(custom_tag=TAG, side=Side.SELL)
    guard.trade(side=Side.SELL)

    assert (guard.state(), guard.order().broker_order_id) == (OrderState.WORKING, 100)
    assert guard.order().fills == ()
    assert guard.book.venue_orders == {}
    assert guard.alerts().count("CONTRADICTION") == 2


def test_a_voided_trade_shows_an_order_as_well() -> None:
    guard = a_dry_guard()
    guard.trade(voided=True)
    register(guard, custom_tag=None, broker_order_id=100)
    assert guard.state() is OrderState.WORKING
    guard.row(side=Side.SELL)

    assert (guard.state(), guard.order().broker_order_id) == (OrderState.WORKING, 100)
    assert guard.alerts() == ["CONTRADICTION"]


def test_an_answer_to_a_request_that_was_not_ours_proves_nothing() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.answer(Answer.YES, 100)

    assert (guard.state(), guard.order().broker_order_id) == (OrderState.SENT, None)
    assert "CONTRADICTION" in guard.alerts()


# -- a halt ----------------------------------------------------------------------------------------


def test_a_halt_cancels_a_registered_entry_once_the_venue_has_shown_it() -> None:
    """A number that was only told may be that of another order: that one is left alone."""
    guard = Guard().start()
    register(guard, type=OrderType.LIMIT, limit_price=Decimal(4990))
    register(guard, client_order_id="c2", custom_tag=None, broker_order_id=100)
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="news", operator="Ada"))
    assert guard.book.trading_state(guard.now_ns) is TradingState.HALTED
    assert guard.commands_of(CancelOrder) == []

    guard.row(broker_order_id=200, custom_tag=TAG, type=OrderType.LIMIT)

    assert [it.broker_order_id for it in guard.commands_of(CancelOrder)] == [200]


def test_an_order_that_is_not_of_this_account_is_not_taken_over() -> None:
    guard = a_dry_guard()
    register(guard)
    guard.row(custom_tag=TAG, account_id=ACCOUNT + 1)

    assert guard.state() is OrderState.SENT
    assert a_row().account_id == a_trade().account_id == ACCOUNT
