"""An order of ours does not trade with another one of ours."""

from decimal import Decimal

import pytest
from tests.core.builders import MES, NQ, Guard, a_policy, a_quote

from backstop.core.step import Decision, DecisionKind
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, ModifyRequested
from backstop.domain.order import OrderType, Side


def a_guard() -> Guard:
    return Guard(policy=a_policy(prevents_self_trades=True)).start()


def codes(decision: Decision) -> list[DenialCode]:
    return [denial.code for denial in decision.denials]


def resting(guard: Guard, side: Side, price: str) -> None:
    guard.working(side=side, type=OrderType.LIMIT, limit_price=Decimal(price))


@pytest.mark.parametrize(
    ("own", "own_price", "side", "limit", "refused"),
    [
        (Side.SELL, "5010", Side.BUY, "5009.75", False),
        (Side.SELL, "5010", Side.BUY, "5010", True),
        (Side.SELL, "5010", Side.BUY, "5011", True),
        (Side.BUY, "4990", Side.SELL, "4990.25", False),
        (Side.BUY, "4990", Side.SELL, "4990", True),
        (Side.BUY, "4990", Side.BUY, "4991", False),
    ],
)
def test_a_price_that_meets_our_own_order_is_refused(
    own: Side, own_price: str, side: Side, limit: str, *, refused: bool
) -> None:
    guard = a_guard()
    resting(guard, own, own_price)

    decision = guard.submit(
        client_order_id="c2", side=side, type=OrderType.LIMIT, limit_price=Decimal(limit)
    )

    assert codes(decision) == ([DenialCode.SELF_TRADE] if refused else [])
    if refused:
        (denial,) = decision.denials
        assert "c1" in denial.message
        assert (denial.value, denial.limit) == (limit, own_price)


def test_a_market_order_meets_what_rests_at_the_touch() -> None:
    guard = a_guard()
    resting(guard, Side.SELL, "5000")

    assert codes(guard.submit(client_order_id="c2")) == [DenialCode.SELF_TRADE]


def test_a_market_order_passes_what_rests_behind_the_touch() -> None:
    guard = a_guard()
    resting(guard, Side.SELL, "5000.25")

    assert guard.submit(client_order_id="c2").kind is DecisionKind.ACCEPTED


def test_an_order_whose_fate_is_unknown_may_rest() -> None:
    guard = a_guard()
    guard.submit(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5000))
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)

    assert DenialCode.SELF_TRADE in codes(guard.submit(client_order_id="c2"))


def test_the_price_to_which_an_order_was_moved_counts() -> None:
    guard = a_guard()
    resting(guard, Side.SELL, "5000")
    guard.row(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5020))

    assert guard.submit(client_order_id="c2").kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize(
    ("status", "refused"), [(BrokerStatus.OPEN, True), (BrokerStatus.SUSPENDED, False)]
)
def test_what_somebody_else_placed_on_the_account_counts_once_it_rests(
    status: BrokerStatus, *, refused: bool
) -> None:
    guard = a_guard()
    guard.row(
        broker_order_id=500,
        status=status,
        side=Side.SELL,
        type=OrderType.LIMIT,
        limit_price=Decimal(5000),
    )

    decision = guard.submit(client_order_id="c2")

    assert (DenialCode.SELF_TRADE in codes(decision)) is refused


def test_another_contract_is_another_market() -> None:
    guard = a_guard()
    resting(guard, Side.SELL, "5000")

    decision = guard.submit(
        quote=a_quote(contract_id=NQ), symbol="NQ", client_order_id="c2", quantity=1
    )

    assert decision.kind is DecisionKind.ACCEPTED


def test_an_exit_is_never_refused_for_it() -> None:
    guard = a_guard()
    guard.position_row(2)
    resting(guard, Side.BUY, "4999.75")

    decision = guard.submit(client_order_id="c2", side=Side.SELL, quantity=2)

    assert decision.kind is DecisionKind.ACCEPTED
    assert guard.position(MES) == 2


def test_an_entry_is_not_moved_into_our_own_order() -> None:
    guard = a_guard()
    resting(guard, Side.SELL, "5010")
    guard.working(101, client_order_id="c2", type=OrderType.LIMIT, limit_price=Decimal(4990))

    def moved(ticks: int) -> Decision:
        result = guard.feed(
            ModifyRequested(
                utc_us=guard.utc_us,
                client_order_id="c2",
                limit_ticks=ticks,
                reference=a_quote(),
            )
        )
        assert result.decision is not None
        return result.decision

    assert codes(moved(20_040)) == [DenialCode.SELF_TRADE]
    assert moved(20_039).kind is DecisionKind.ACCEPTED


def test_records_of_before_it_was_looked_at_are_judged_as_they_were() -> None:
    guard = Guard().start()
    resting(guard, Side.SELL, "5000")

    assert guard.submit(client_order_id="c2").kind is DecisionKind.ACCEPTED
