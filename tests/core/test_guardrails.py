"""The pre-trade pipeline: what is refused, with which code, and what always passes."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.builders import a_policy, a_quote, a_request, an_instrument

from backstop.core.guardrails import (
    Assessment,
    Circumstances,
    Exposure,
    assess,
    freshness_denials,
)
from backstop.core.order_brackets import MIN_BRACKET_TICKS
from backstop.core.trading_state import TradingState
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import PRICE_DECIMALS_MAX, PRICE_LIMIT_TICKS
from backstop.domain.order import OrderType, Side

TICK = Decimal("0.25")


def around(**changes: Any) -> Circumstances:
    members: dict[str, Any] = {
        "trading_state": TradingState.ACTIVE,
        "state_reasons": (),
        "instrument": an_instrument(),
        "reference": a_quote(),
        "exposure": Exposure(),
        "look_alike": None,
        "recent_entries": 0,
    }
    return Circumstances(**(members | changes))


def judged(
    around_it: Circumstances | None = None, policy: dict[str, Any] | None = None, **request: Any
) -> Assessment:
    """Judge by the rules that need no book: the first of the pipeline, and how fresh things are."""
    asked, rules = a_request(**request), a_policy(**(policy or {}))
    held = around_it or around()
    assessment = assess(asked, held, rules)
    if assessment.reducing:
        return assessment
    late = freshness_denials(asked.side, held, rules)
    return replace(assessment, denials=(*assessment.denials, *late))


def codes(assessment: Assessment) -> list[DenialCode]:
    return [denial.code for denial in assessment.denials]


def test_a_plain_order_passes() -> None:
    assessment = judged()

    assert assessment.denials == ()
    assert assessment.gate is None
    assert not assessment.reducing
    assert assessment.entry_ticks == 20_000


def test_an_account_that_was_not_read_for_too_long_is_stale() -> None:
    assessment = judged(around(account_stale_ms=15_001))

    assert codes(assessment) == [DenialCode.STALE_ACCOUNT]
    assert (assessment.denials[0].value, assessment.denials[0].limit) == ("15001", "15000")


# -- the gate --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"observe_only": True}, DenialCode.GATE_OBSERVE_ONLY),
        ({"dry_run": True}, DenialCode.GATE_DRY_RUN),
        ({"execute": False}, DenialCode.GATE_EXECUTE),
    ],
)
def test_a_closed_gate_stands_apart_from_the_judgement(
    policy: dict[str, Any], code: DenialCode
) -> None:
    """Dry run says what it would have sent: the order itself is approved."""
    assessment = judged(policy=policy)

    assert assessment.denials == ()
    assert assessment.gate is not None
    assert assessment.gate.code is code


# -- state and list --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (TradingState.STARTING, DenialCode.STATE_STARTING),
        (TradingState.RECOVERING, DenialCode.STATE_RECOVERING),
        (TradingState.REDUCING, DenialCode.STATE_REDUCING),
        (TradingState.HALTED, DenialCode.STATE_HALTED),
    ],
)
def test_no_new_exposure_in_any_state_but_active(state: TradingState, code: DenialCode) -> None:
    assessment = judged(around(trading_state=state, state_reasons=("lunch", "rain")))

    assert codes(assessment) == [code]
    assert "lunch; rain" in assessment.denials[0].message
    assert "no reason recorded" in judged(around(trading_state=state)).denials[0].message


def test_entries_without_a_component_need_an_explicit_yes() -> None:
    off = {"unprotected": ("DISASTER_RECOVERY_ENABLE",)}

    assert codes(judged(policy=off)) == [DenialCode.STATE_UNPROTECTED]
    assert codes(judged(policy=off | {"allow_unprotected": True})) == []


def test_an_instrument_off_the_list_is_refused() -> None:
    assert codes(judged(policy={"symbols": ("NQ",)})) == [DenialCode.INSTRUMENT_NOT_ALLOWED]


def test_a_month_that_the_venue_does_not_trade_is_refused() -> None:
    old = around(instrument=an_instrument(active=False))

    assert codes(judged(old)) == [DenialCode.INSTRUMENT_NOT_ACTIVE]


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", [0, -1, -(2**70), 2**31, 2**70])
def test_a_quantity_that_no_order_can_have_is_refused(quantity: int) -> None:
    denial, *others = judged(quantity=quantity).denials

    assert denial.code is DenialCode.QUANTITY_INVALID
    assert [it.code for it in others] == [DenialCode.SIZE_TOO_LARGE] * (quantity > 0)
    assert denial.max_quantity == 2**31 - 1
    assert denial.message.startswith(f"quantity is {quantity}; ")
    assert (denial.value, denial.limit) == (str(quantity), "1 to 2147483647")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"type": OrderType.LIMIT}, DenialCode.PRICE_MISSING),
        ({"type": OrderType.STOP}, DenialCode.PRICE_MISSING),
        ({"type": OrderType.TRAILING_STOP}, DenialCode.PRICE_MISSING),
        ({"type": OrderType.MARKET, "limit_price": Decimal(5000)}, DenialCode.PRICE_UNEXPECTED),
        ({"type": OrderType.MARKET, "stop_price": Decimal(5000)}, DenialCode.PRICE_UNEXPECTED),
    ],
)
def test_each_type_takes_its_own_prices(request_: dict[str, Any], code: DenialCode) -> None:
    assert codes(judged(**request_)) == [code]


@pytest.mark.parametrize(
    "price",
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        Decimal(0),
        Decimal(-5000),
        Decimal("9E999999"),
        Decimal("1E-999999"),
        (PRICE_LIMIT_TICKS + 1) * TICK,
        Decimal(5000) + Decimal(10) ** -(PRICE_DECIMALS_MAX + 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("member", ["limit_price", "stop_loss_price", "take_profit_price"])
def test_what_cannot_be_a_price_is_refused(member: str, price: Decimal) -> None:
    request: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(5000)}

    (denial,) = judged(**(request | {member: price})).denials
    assert denial.code is DenialCode.PRICE_INVALID
    assert denial.message.startswith(f"{member} {price} is not a price of MES: above 0, at most ")
    assert denial.limit == "above 0, at most 250000000"


def test_the_largest_price_is_still_one() -> None:
    assessment = judged(type=OrderType.LIMIT, limit_price=PRICE_LIMIT_TICKS * TICK)

    assert codes(assessment) == []


def test_zeros_at_the_end_of_a_price_are_no_decimals() -> None:
    fine = Decimal("5000." + "0" * (PRICE_DECIMALS_MAX + 5))

    for _ in range(2):  # also once its ticks are remembered
        assessment = judged(type=OrderType.LIMIT, limit_price=fine)
        assert codes(assessment) == []
        assert assessment.intent.limit_ticks == 20_000


# -- rounding --------------------------------------------------------------------------------------

_PRICES = st.decimals(
    min_value="0.25", max_value="100000", allow_nan=False, allow_infinity=False, places=18
)


@given(price=_PRICES, side=st.sampled_from(Side))
def test_a_limit_is_never_rounded_to_a_worse_price_than_asked(price: Decimal, side: Side) -> None:
    intent = judged(type=OrderType.LIMIT, side=side, limit_price=price).intent

    assert intent.limit_ticks is not None
    rounded = an_instrument().price(intent.limit_ticks)
    assert (rounded - price) * side.sign <= 0
    assert abs(rounded - price) < TICK


@given(price=_PRICES, side=st.sampled_from(Side))
def test_a_stop_never_triggers_before_the_asked_price(price: Decimal, side: Side) -> None:
    intent = judged(type=OrderType.STOP, side=side, stop_price=price).intent

    assert intent.stop_ticks is not None
    rounded = an_instrument().price(intent.stop_ticks)
    assert (rounded - price) * side.sign >= 0
    assert abs(rounded - price) < TICK


@given(stop=_PRICES, target=_PRICES, side=st.sampled_from(Side))
def test_rounding_never_makes_a_loss_larger_nor_a_gain_smaller(
    stop: Decimal, target: Decimal, side: Side
) -> None:
    intent = judged(side=side, stop_loss_price=stop, take_profit_price=target).intent

    assert intent.stop_loss_ticks is not None
    assert intent.take_profit_ticks is not None
    rounded_stop = an_instrument().price(intent.stop_loss_ticks)
    rounded_target = an_instrument().price(intent.take_profit_ticks)
    assert (rounded_stop - stop) * side.sign >= 0
    assert (rounded_target - target) * side.sign >= 0
    assert max(abs(rounded_stop - stop), abs(rounded_target - target)) < TICK


@given(
    entry=st.integers(19_000, 21_000),
    risk=st.integers(MIN_BRACKET_TICKS, 400),
    reward=st.integers(MIN_BRACKET_TICKS, 400),
    off=st.decimals(min_value="0", max_value="0.24", places=2),
    side=st.sampled_from(Side),
)
def test_the_r_multiple_is_that_of_the_rounded_prices(
    entry: int, risk: int, reward: int, off: Decimal, side: Side
) -> None:
    """A stop a bit further away is rounded towards the entry: the risk is in whole ticks."""
    instrument = an_instrument()
    assessment = judged(
        type=OrderType.LIMIT,
        side=side,
        limit_price=instrument.price(entry),
        stop_loss_price=instrument.price(entry - side.sign * risk) - side.sign * off,
        take_profit_price=instrument.price(entry + side.sign * reward) - side.sign * off,
    )

    assert (assessment.risk_ticks, assessment.reward_ticks) == (risk, reward)
    assert assessment.r_multiple is not None
    assert abs(Decimal(assessment.r_multiple) - Decimal(reward) / risk) <= Decimal("0.0001")


def test_a_stop_and_a_target_on_the_wrong_sides_make_no_r_multiple() -> None:
    crossed = judged(stop_loss_price=Decimal(5010), take_profit_price=Decimal(4980))

    assert crossed.r_multiple is None
    assert DenialCode.BRACKET_STOP_SIDE in {it.code for it in crossed.denials}


@pytest.mark.parametrize("request_", [{}, {"stop_loss_price": Decimal(4990)}])
def test_without_stop_and_target_there_is_no_r_multiple(request_: dict[str, Any]) -> None:
    assert judged(**request_).r_multiple is None


# -- brackets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "stop", "target", "expected"),
    [
        (Side.BUY, "4999", "5001", []),
        (Side.BUY, "5000", "5001", [DenialCode.BRACKET_STOP_SIDE]),
        (Side.BUY, "5001", "5001", [DenialCode.BRACKET_STOP_SIDE]),
        (Side.BUY, "4999", "4999", [DenialCode.BRACKET_TARGET_SIDE]),
        (Side.BUY, "4999.25", "5001", [DenialCode.BRACKET_TOO_CLOSE]),
        (Side.BUY, "4999", "5000.75", [DenialCode.BRACKET_TOO_CLOSE]),
        (Side.SELL, "5000.75", "4998.75", []),
        (Side.SELL, "4999", "4998.75", [DenialCode.BRACKET_STOP_SIDE]),
    ],
)
def test_protective_legs_lie_on_their_sides_and_far_enough_away(
    side: Side, stop: str, target: str, expected: list[DenialCode]
) -> None:
    assessment = judged(side=side, stop_loss_price=Decimal(stop), take_profit_price=Decimal(target))

    assert codes(assessment) == expected


@pytest.mark.parametrize(("target", "passes"), [("5004", True), ("5003.75", False)])
def test_a_reward_too_small_for_its_risk_is_refused(*, target: str, passes: bool) -> None:
    assessment = judged(
        policy={"min_r_multiple": Decimal(2)},
        stop_loss_price=Decimal(4998),
        take_profit_price=Decimal(target),
    )

    assert codes(assessment) == ([] if passes else [DenialCode.R_MULTIPLE_TOO_LOW])


def test_the_r_rule_leaves_a_stop_on_the_wrong_side_to_its_own_rule() -> None:
    assessment = judged(
        policy={"min_r_multiple": Decimal(2)},
        stop_loss_price=Decimal(5002),
        take_profit_price=Decimal(5004),
    )

    assert codes(assessment) == [DenialCode.BRACKET_STOP_SIDE]


def test_an_entry_needs_a_stop() -> None:
    assert codes(judged(policy={"stop_required": True})) == [DenialCode.STOP_REQUIRED]


@pytest.mark.parametrize(("side", "level"), [(Side.BUY, 19_980), (Side.SELL, 20_019)])
def test_the_default_stop_stands_on_the_losing_side(side: Side, level: int) -> None:
    policy = {"stop_required": True, "default_stop_ticks": 20}
    assessment = judged(policy=policy, side=side)

    assert codes(assessment) == []
    assert assessment.intent.stop_loss_ticks == level


def test_an_asked_stop_is_kept_where_a_default_exists() -> None:
    assessment = judged(policy={"default_stop_ticks": 20}, stop_loss_price=Decimal(4990))

    assert assessment.intent.stop_loss_ticks == 19_960


def test_a_default_stop_cannot_be_measured_from_nothing() -> None:
    policy = {"stop_required": True, "default_stop_ticks": 20}
    assessment = judged(around(reference=None), policy=policy)

    assert DenialCode.STOP_REQUIRED in codes(assessment)
    assert assessment.entry_ticks is None


@pytest.mark.parametrize("type_", [OrderType.STOP, OrderType.TRAILING_STOP])
def test_a_stop_entry_is_expected_at_its_trigger(type_: OrderType) -> None:
    assert judged(type=type_, stop_price=Decimal(5010)).entry_ticks == 20_040


# -- size, repetition, reference -------------------------------------------------------------------


def test_a_size_above_the_limit_is_refused_with_what_would_pass() -> None:
    assessment = judged(policy={"max_order_quantity": 5}, quantity=6)

    assert codes(assessment) == [DenialCode.SIZE_TOO_LARGE]
    assert assessment.denials[0].max_quantity == 5
    assert codes(judged(policy={"max_order_quantity": 5}, quantity=5)) == []


def test_an_equal_order_inside_the_window_is_refused() -> None:
    assert codes(judged(around(look_alike="c0"))) == [DenialCode.DUPLICATE_ORDER]


@pytest.mark.parametrize(("recent", "passes"), [(9, True), (10, False)])
def test_the_eleventh_entry_within_a_second_is_refused(*, recent: int, passes: bool) -> None:
    assessment = judged(around(recent_entries=recent))

    assert codes(assessment) == ([] if passes else [DenialCode.RATE_TOO_HIGH])


@pytest.mark.parametrize(
    "reference",
    [
        None,
        a_quote(bid=None, ask=None, last=None),
        a_quote(ask=None, last=None),
        a_quote(age_ms=30_001),
    ],
    ids=["none", "empty", "no ask for a buyer", "old"],
)
def test_an_entry_needs_a_fresh_price(reference: Any) -> None:
    assessment = judged(around(reference=reference))

    assert codes(assessment) == [DenialCode.STALE_REFERENCE]


def test_a_seller_needs_a_bid_or_a_last_price() -> None:
    """Without the price a stop cannot be measured, and the entry would go out bare."""
    no_bid = around(reference=a_quote(bid=None, last=None))
    assessment = judged(no_bid, side=Side.SELL, stop_loss_price=Decimal(5010))

    assert codes(assessment) == [DenialCode.STALE_REFERENCE]
    assert codes(judged(around(reference=a_quote(bid=None)), side=Side.SELL)) == []


def test_every_rule_that_refuses_is_named_in_the_order_of_the_pipeline() -> None:
    everything = around(
        trading_state=TradingState.HALTED, look_alike="c0", recent_entries=99, reference=None
    )
    assessment = judged(
        everything,
        policy={"symbols": (), "stop_required": True, "max_order_quantity": 1},
        type=OrderType.LIMIT,
        limit_price=Decimal(5000),
    )

    assert codes(assessment) == [
        DenialCode.STATE_HALTED,
        DenialCode.INSTRUMENT_NOT_ALLOWED,
        DenialCode.STOP_REQUIRED,
        DenialCode.SIZE_TOO_LARGE,
        DenialCode.DUPLICATE_ORDER,
        DenialCode.RATE_TOO_HIGH,
        DenialCode.STALE_REFERENCE,
    ]


# -- what reduces ----------------------------------------------------------------------------------

_PRICE_OF_TYPE = {
    OrderType.MARKET: {},
    OrderType.LIMIT: {"limit_price": Decimal(5000)},
    OrderType.STOP: {"stop_price": Decimal(5000)},
    OrderType.TRAILING_STOP: {"stop_price": Decimal(5000)},
}


@given(
    position=st.integers(-20, 20).filter(bool),
    exits=st.integers(0, 20),
    quantity=st.integers(1, 25),
    state=st.sampled_from(TradingState),
    type_=st.sampled_from(OrderType),
    data=st.data(),
)
def test_what_reduces_is_refused_by_nothing_but_its_numbers(
    *,
    position: int,
    exits: int,
    quantity: int,
    state: TradingState,
    type_: OrderType,
    data: st.DataObject,
) -> None:
    """Halted, stale, unlisted, too large, too fast, unprotected: an exit passes all the same."""
    hostile = around(
        trading_state=state,
        instrument=an_instrument(active=False),
        reference=None,
        exposure=Exposure(position=position, exits=exits),
        look_alike="c0",
        recent_entries=99,
    )
    side = Side.SELL if position > 0 else Side.BUY
    assessment = judged(
        hostile,
        policy={
            "symbols": (),
            "max_order_quantity": 1,
            "stop_required": True,
            "unprotected": ("X",),
            "allow_flip": data.draw(st.booleans()),
        },
        side=side,
        quantity=quantity,
        type=type_,
        stop_loss_price=data.draw(st.none() | st.just(Decimal(1))),
        **_PRICE_OF_TYPE[type_],
    )

    fits = quantity <= abs(position) - exits
    assert assessment.reducing is fits
    assert (assessment.denials == ()) is fits
    if fits:
        assert assessment.intent.stop_loss_ticks is None, "a leg would open a position of its own"


def test_bad_numbers_and_the_gate_hold_an_exit_as_well() -> None:
    long = around(exposure=Exposure(position=2))

    assert codes(judged(long, side=Side.SELL, quantity=0)) == [DenialCode.QUANTITY_INVALID]
    gated = judged(long, policy={"dry_run": True}, side=Side.SELL)
    assert gated.reducing
    assert gated.gate is not None


@pytest.mark.parametrize(("quantity", "expected"), [(3, []), (4, [DenialCode.POSITION_FLIP])])
def test_an_order_beyond_the_position_is_a_flip(quantity: int, expected: list[DenialCode]) -> None:
    long = around(exposure=Exposure(position=3))
    assessment = judged(long, side=Side.SELL, quantity=quantity)

    assert codes(assessment) == expected
    if expected:
        assert assessment.denials[0].max_quantity == 3


def test_exits_under_way_leave_nothing_to_close_twice() -> None:
    closing = around(exposure=Exposure(position=3, exits=5))
    assessment = judged(closing, side=Side.SELL, quantity=1)

    assert codes(assessment) == [DenialCode.POSITION_FLIP]
    assert assessment.denials[0].max_quantity == 0


def test_an_allowed_flip_is_judged_as_an_entry() -> None:
    long = around(exposure=Exposure(position=3))
    flip = {"allow_flip": True, "stop_required": True}

    assert codes(judged(long, policy=flip, side=Side.SELL, quantity=4)) == [
        DenialCode.STOP_REQUIRED
    ]


def test_adding_to_a_position_is_no_flip() -> None:
    assert codes(judged(around(exposure=Exposure(position=3)), quantity=4)) == []


def test_refusals_stand_in_the_order_of_the_rules_state_before_gate_before_the_rest() -> None:
    state, gate, size = (
        Denial(code=code, message="")
        for code in (DenialCode.STATE_HALTED, DenialCode.GATE_DRY_RUN, DenialCode.SIZE_TOO_LARGE)
    )
    refused = replace(judged(), denials=(state, size), gate=gate)

    assert refused.refusals == (state, gate, size)
