"""The whole pipeline: every reason at once and in its order, and the short way of an exit."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.builders import MES, Guard, a_policy, a_quote, a_request

from backstop.app.exposure_limits import exposure_limits
from backstop.core.account_rules.limits import AccountLimits
from backstop.core.pre_trade import judge
from backstop.core.step import DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.events import HaltRequested, Hub, HubLost, OrderRequested
from backstop.domain.order import OrderType, Side
from backstop.domain.quote import Mark

TICK = Decimal("0.25")

STRICTEST: dict[str, Any] = {
    "symbols": ("NQ",),
    "keeps_hours": True,
    "unprotected": ("DISASTER_RECOVERY_ENABLE",),
    "max_order_quantity": 1,
    "max_order_notional_micros": 1,
    "price_collar_ppm": 1,
    "prevents_self_trades": True,
    "max_repeated_executions": 1,
    "max_orders_per_second": 1,
    "duplicate_window_ns": 3_600_000_000_000,
    "min_r_multiple": Decimal(1000),
    "stop_required": True,
    "stale_quote_ns": 1_000_000,
    "exposure_limits": exposure_limits(
        risk_budget=Decimal("0.01"),
        max_correlation_exposure=Decimal("0.01"),
        es_nq_max_combined_exposure=Decimal("0.01"),
        max_directional_share=Decimal("0.01"),
        max_gross_exposure=Decimal("0.01"),
    ),
}
"""Each limit so tight that no entry passes it."""


def everything_is_wrong(held: int = 0) -> Guard:
    """Return a guard that holds ``held`` MES and works two more, in the worst of moments."""
    loose = a_policy(duplicate_window_ns=0)
    guard = Guard(policy=loose).start()
    for number in (1, 2):
        side = Side.SELL if held < 0 else Side.BUY
        guard.working(100 + number, client_order_id=f"n{number}", side=side, quantity=1)
    guard.position_row(held)
    guard.working(
        103,
        client_order_id="resting",
        side=Side.SELL if held <= 0 else Side.BUY,
        type=OrderType.LIMIT,
        limit_price=Decimal(5001) if held <= 0 else Decimal(4999),
    )
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="rain", operator="ann"))
    guard.feed(
        HubLost(utc_us=guard.utc_us, hub=Hub.MARKET, generation=1, reason="gone"), after_ms=1
    )
    guard.book.policy = replace(loose, **STRICTEST)
    return guard


@pytest.mark.parametrize("dry_run", [False, True])
def test_all_reasons_come_at_once_and_in_the_order_of_the_rules(*, dry_run: bool) -> None:
    guard = everything_is_wrong()
    guard.book.policy = replace(guard.book.policy, dry_run=dry_run)
    guard.book.executions["BUY CON.F.US.MES.Z26 "] = (guard.now_ns,)
    asked = OrderRequested(
        utc_us=guard.utc_us,
        request=a_request(
            client_order_id="late",
            quantity=1_000,
            type=OrderType.LIMIT,
            limit_price=Decimal(6000),
            take_profit_price=Decimal(5990),
        ),
        reference=a_quote(age_ms=60_000),
        spare_calls=0,
    )

    found = judge(guard.book, asked, now_ns=guard.now_ns)

    assert found is not None
    assert [it.code for it in found.refusals] == [
        DenialCode.STATE_HALTED,
        DenialCode.STATE_UNPROTECTED,
        *([DenialCode.GATE_DRY_RUN] if dry_run else []),
        DenialCode.INSTRUMENT_NOT_ALLOWED,
        DenialCode.SESSION_UNKNOWN,
        DenialCode.BRACKET_TARGET_SIDE,
        DenialCode.STOP_REQUIRED,
        DenialCode.SIZE_TOO_LARGE,
        DenialCode.NOTIONAL_TOO_LARGE,
        DenialCode.PRICE_COLLAR,
        DenialCode.RATE_TOO_HIGH,
        DenialCode.RATE_BUDGET_LOW,
        DenialCode.SELF_TRADE,
        DenialCode.REPEATED_EXECUTION,
        DenialCode.STALE_REFERENCE,
        DenialCode.CORRELATION_EXPOSURE,
    ]
    for denial in found.refusals:
        assert denial.message


@settings(deadline=None)
@given(
    held=st.integers(1, 100),
    side=st.sampled_from(Side),
    share=st.floats(0, 1),
    type_=st.sampled_from(OrderType),
    price=st.decimals("0.25", "100000", places=2),
    age_ms=st.integers(0, 10**9),
)
def test_what_only_reduces_is_refused_by_no_limit(
    *, held: int, side: Side, share: float, type_: OrderType, price: Decimal, age_ms: int
) -> None:
    guard = everything_is_wrong(-side.sign * held)
    prices: dict[str, Any] = {}
    if type_ is OrderType.LIMIT:
        prices["limit_price"] = price
    elif type_ is not OrderType.MARKET:
        prices["stop_price"] = price
    position = abs(guard.position())

    decision = guard.submit(
        quote=a_quote(age_ms=age_ms),
        client_order_id="out",
        side=side,
        quantity=max(1, int(position * share)),
        type=type_,
        **prices,
    )

    assert decision.kind is DecisionKind.ACCEPTED, decision.denials
    assert decision.assessment is not None
    assert decision.assessment.reducing


def test_one_contract_more_than_the_position_is_no_exit() -> None:
    guard = everything_is_wrong(3)

    decision = guard.submit(client_order_id="out", side=Side.SELL, quantity=4)

    assert DenialCode.POSITION_FLIP in [it.code for it in decision.denials]
    assert decision.assessment is not None
    assert not decision.assessment.reducing


@pytest.mark.parametrize(
    ("numbers", "faults", "others"),
    [
        (
            {"quantity": -5},
            [DenialCode.QUANTITY_INVALID],
            [DenialCode.BRACKET_TARGET_SIDE, DenialCode.STOP_REQUIRED, DenialCode.PRICE_COLLAR],
        ),
        (
            {"limit_price": Decimal("NaN")},
            [DenialCode.PRICE_INVALID],
            [DenialCode.STOP_REQUIRED, DenialCode.SIZE_TOO_LARGE],
        ),
        (
            {"quantity": 0, "limit_price": None, "stop_price": Decimal(1)},
            [
                DenialCode.QUANTITY_INVALID,
                DenialCode.PRICE_MISSING,
                DenialCode.PRICE_UNEXPECTED,
            ],
            [DenialCode.STOP_REQUIRED],
        ),
    ],
)
def test_numbers_that_are_none_hide_nothing_that_can_be_said_without_them(
    numbers: dict[str, Any], faults: list[DenialCode], others: list[DenialCode]
) -> None:
    """A bot that is told only of its typing mistake would mend it, and hear of the halt then."""
    guard = everything_is_wrong()
    asked = {
        "client_order_id": "late",
        "quantity": 1_000,
        "type": OrderType.LIMIT,
        "limit_price": Decimal(6000),
        "take_profit_price": Decimal(5990),
    } | numbers

    decision = guard.submit(**asked)

    read = [it.code for it in decision.denials]
    before = [
        DenialCode.STATE_HALTED,
        DenialCode.STATE_UNPROTECTED,
        DenialCode.INSTRUMENT_NOT_ALLOWED,
        DenialCode.SESSION_UNKNOWN,
    ]
    assert read[: len(before)] == before
    assert read[len(before) :][: len(faults)] == faults
    after = read[len(before) + len(faults) :]
    assert after[: len(others)] == others
    assert DenialCode.RATE_TOO_HIGH in after
    unsaid = {DenialCode.NOTIONAL_TOO_LARGE, DenialCode.R_MULTIPLE_TOO_LOW}
    assert not unsaid & set(after)


def test_an_exit_hears_of_its_numbers_alone() -> None:
    guard = everything_is_wrong(3)

    decision = guard.submit(
        client_order_id="out", side=Side.SELL, quantity=3, limit_price=Decimal(5000)
    )

    assert [it.code for it in decision.denials] == [DenialCode.PRICE_UNEXPECTED]


# -- the largest quantity that would pass --------------------------------------------------------


def test_every_refusal_says_the_largest_quantity_and_an_equal_order_has_none() -> None:
    guard = everything_is_wrong()

    decision = guard.submit(client_order_id="n1 again", quantity=1)

    largest = {it.code: it.max_quantity for it in decision.denials}
    assert largest.pop(DenialCode.DUPLICATE_ORDER) is None
    assert set(largest.values()) == {0}
    assert {DenialCode.STATE_HALTED, DenialCode.RATE_TOO_HIGH} <= largest.keys()


def test_what_closes_and_no_more_passes_what_refuses_the_whole_order() -> None:
    guard = everything_is_wrong(3)

    decision = guard.submit(client_order_id="out", side=Side.SELL, quantity=4)

    assert {it.max_quantity for it in decision.denials} == {3}


rules = st.fixed_dictionaries(
    {},
    optional={
        "symbols": st.just(("NQ",)),
        "unprotected": st.just(("DISASTER_RECOVERY_ENABLE",)),
        "max_order_quantity": st.integers(1, 30),
        "max_order_notional_micros": st.integers(1, 20 * 25_000_000_000),
        "price_collar_ppm": st.integers(1, 5000),
        "max_orders_per_second": st.integers(1, 3),
        "min_r_multiple": st.sampled_from([Decimal(1), Decimal(3)]),
        "stop_required": st.booleans(),
        "allow_flip": st.booleans(),
        "prevents_self_trades": st.booleans(),
        "account_limits": st.builds(
            AccountLimits,
            max_position_tenths=st.none() | st.integers(1, 30),
            daily_loss_micros=st.none() | st.integers(1, 3_000_000_000),
        ),
        "exposure_limits": st.builds(
            exposure_limits,
            risk_budget=st.just(Decimal(10_000)),
            max_correlation_exposure=st.just(Decimal("0.7")),
            es_nq_max_combined_exposure=st.integers(1, 5000).map(Decimal),
            max_directional_share=st.just(Decimal(1)),
            max_gross_exposure=st.integers(1, 5000).map(Decimal),
        ),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    rules=rules,
    held=st.integers(-6, 6),
    side=st.sampled_from(Side),
    quantity=st.integers(1, 60),
    limit_price=st.integers(4950 * 4, 5050 * 4).map(lambda ticks: Decimal(ticks) / 4),
    stop_ticks=st.none() | st.integers(4, 80),
    target_ticks=st.none() | st.integers(4, 80),
    dry_run=st.booleans(),
)
def test_the_largest_quantity_of_a_refusal_passes_its_rule_and_one_more_does_not(
    *,
    rules: dict[str, Any],
    held: int,
    side: Side,
    quantity: int,
    limit_price: Decimal,
    stop_ticks: int | None,
    target_ticks: int | None,
    dry_run: bool,
) -> None:
    guard = Guard(policy=a_policy(duplicate_window_ns=0)).start()
    guard.working(101, client_order_id="resting", type=OrderType.LIMIT, limit_price=Decimal(4960))
    guard.position_row(held)
    guard.book.policy = replace(guard.book.policy, dry_run=dry_run, **rules)

    def refusals(contracts: int) -> dict[DenialCode, int | None]:
        away = side.sign * TICK
        asked = OrderRequested(
            utc_us=guard.utc_us,
            request=a_request(
                client_order_id="late",
                side=side,
                quantity=contracts,
                type=OrderType.LIMIT,
                limit_price=limit_price,
                stop_loss_price=None if stop_ticks is None else limit_price - away * stop_ticks,
                take_profit_price=None
                if target_ticks is None
                else limit_price + away * target_ticks,
            ),
            reference=a_quote(),
            marks=(Mark(contract_id=MES, price=Decimal(5000)),),
        )
        found = judge(guard.book, asked, now_ns=guard.now_ns)
        assert found is not None
        return {it.code: it.max_quantity for it in found.refusals}

    for code, largest in refusals(quantity).items():
        assert largest is not None
        assert largest < quantity
        if largest:
            assert code not in refusals(largest)
        assert code in refusals(largest + 1)
