"""What could fill at the worst while a row tells of a fill and its trade is late."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.builders import (
    MES,
    NQ,
    START_US,
    Guard,
    a_policy,
    a_position,
    a_quote,
    a_request,
    a_row,
)

from backstop.app.exposure_limits import exposure_limits
from backstop.core.account_rules.standing import ranges_of
from backstop.core.fillable import Fillable, contracts_in_reach, reach, reach_of
from backstop.core.portfolio import exposure_denials
from backstop.core.step import DecisionKind
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, FamilyVolatility, OrderRequested, RiskEstimated
from backstop.domain.order import LegRole, OrderIntent, OrderType, Side
from backstop.domain.quote import Mark

ENTRY, STOP, OTHER = 100, 101, 300
MARKS = (Mark(contract_id=MES, price=Decimal(5000)),)
LIMITS = exposure_limits(
    risk_budget=Decimal(5_000),
    max_correlation_exposure=Decimal("0.5"),
    es_nq_max_combined_exposure=Decimal(2_500),
    max_directional_share=Decimal("0.5"),
)


def a_stop(guard: Guard, **changes: object) -> None:
    """Let the row of the entry's stop, over 2 contracts, come in."""
    tag = f"{guard.order().custom_tag}-SL"
    members: dict[str, object] = {
        "broker_order_id": STOP,
        "type": OrderType.STOP,
        "side": Side.SELL,
        "stop_price": Decimal(4990),
        "custom_tag": tag,
    }
    guard.row(**(members | changes))


def holding_two() -> Guard:
    """Return a guard long 2 that a stop covers."""
    guard = Guard(policy=a_policy(exposure_limits=LIMITS)).start()
    volatility = FamilyVolatility(family="ES", sigma_ppm=10_000, origin="MEASURED")
    guard.feed(RiskEstimated(utc_us=guard.utc_us, volatilities=(volatility,), correlations=()))
    wish = OrderRequested(
        utc_us=guard.utc_us,
        request=a_request(stop_loss_price=Decimal(4990)),
        reference=a_quote(),
        marks=MARKS,
    )
    guard.feed(wish)
    guard.dispatch()
    guard.answer(Answer.YES, ENTRY)
    a_stop(guard)
    guard.trade(quantity=2)
    guard.position_row(2)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    return guard


def a_fill(guard: Guard, **changes: object) -> BrokerOrder:
    """Return the row of somebody's market order over 2 contracts, sold."""
    members: dict[str, object] = {
        "broker_order_id": OTHER,
        "status": BrokerStatus.FILLED,
        "side": Side.SELL,
        "filled_quantity": 2,
        "updated_utc_us": guard.utc_us,
    }
    return a_row(**(members | changes))


def told(guard: Guard, **changes: object) -> None:
    """Tell of somebody's fill by its row alone."""
    row = a_fill(guard, **changes)
    guard.row(**{name: getattr(row, name) for name in row.__struct_fields__})


def denied(guard: Guard, side: Side, quantity: int) -> set[DenialCode]:
    order = OrderIntent(
        client_order_id="n",
        account_id=42,
        contract_id=MES,
        symbol="MES",
        side=side,
        quantity=quantity,
        type=OrderType.MARKET,
    )
    found = exposure_denials(guard.book, order, MARKS, guard.utc_us)
    return {it.code for it in found}


def test_a_stop_counts_when_a_row_says_that_its_position_was_closed() -> None:
    """It could fill before it is taken away, and then it opens what it was to close."""
    guard = holding_two()
    assert reach_of(guard.book, MES) == (2, 2)

    told(guard)
    assert reach_of(guard.book, MES) == (-2, 2)

    guard.trade(trade_id=8, broker_order_id=OTHER, side=Side.SELL, quantity=2)
    assert reach_of(guard.book, MES) == (-2, 0)

    a_stop(guard, status=BrokerStatus.CANCELLED)
    assert reach_of(guard.book, MES) == (0, 0)


def test_so_it_does_when_an_exit_of_ours_has_filled() -> None:
    guard = holding_two()
    guard.working(OTHER, client_order_id="x", side=Side.SELL)
    assert reach_of(guard.book, MES) == (0, 2)

    told(guard)
    assert reach_of(guard.book, MES) == (-2, 2)


def test_a_stop_that_filled_itself_is_not_counted_twice() -> None:
    guard = holding_two()
    a_stop(guard, status=BrokerStatus.FILLED, filled_quantity=2)
    assert reach_of(guard.book, MES) == (0, 2)


@pytest.mark.parametrize(("by_guard", "most"), [(False, 0), (True, 3)])
def test_an_entry_explains_its_own_legs_and_no_stop_that_the_guard_placed(
    *, by_guard: bool, most: int
) -> None:
    """The entry may have filled and been closed long since, and every word of it be lost."""
    entry = Fillable(contract_id=MES, side=Side.SELL, quantity=3, role=None, is_ours=True)
    stop = replace(entry, side=Side.BUY, role=LegRole.STOP_LOSS, is_ours=by_guard)

    assert reach((entry, stop), (0,)) == (-3, most)
    assert reach((entry, stop), (-3,)) == (-6, -3)


@pytest.mark.parametrize("filled", [1, 5])
def test_what_filled_of_an_entry_of_ours_counts_once(filled: int) -> None:
    guard = Guard().start()
    guard.working(ENTRY, quantity=5, stop_loss_price=Decimal(4990))
    a_stop(guard, quantity=5, status=BrokerStatus.SUSPENDED)
    status = BrokerStatus.FILLED if filled == 5 else BrokerStatus.OPEN

    guard.row(quantity=5, filled_quantity=filled, status=status)

    assert reach_of(guard.book, MES) == (0, 5)


@pytest.mark.parametrize(("filled", "status"), [(1, BrokerStatus.OPEN), (2, BrokerStatus.FILLED)])
def test_what_filled_of_an_order_of_somebody_else_counts(filled: int, status: BrokerStatus) -> None:
    """Its row has less left to fill than before, and nothing is held by any trade."""
    guard = Guard().start()
    told(guard, contract_id=NQ, side=Side.BUY, filled_quantity=filled, status=status)

    assert reach_of(guard.book, NQ) == (0, 2)
    assert list(contracts_in_reach(guard.book)) == [NQ]
    assert ranges_of(guard.book)[NQ].high == 2


def test_while_rows_and_trades_differ_what_the_trades_will_add_up_to_counts() -> None:
    """The row of the position has one of the two fills, and no trade is here."""
    guard = holding_two()
    told(guard)
    guard.position_row(1)
    assert reach_of(guard.book, MES) == (-2, 2)


def test_a_fill_that_reads_have_counted_is_not_counted_again() -> None:
    guard = holding_two()
    told(guard)
    for after_ms in (1_500, 400):
        guard.audit(after_ms=after_ms, orders=(a_fill(guard, updated_utc_us=START_US),))
    assert guard.position() == 0
    assert reach_of(guard.book, MES) == (-2, 0)


def test_a_fill_that_late_reads_know_nothing_of_counts_no_more() -> None:
    guard = holding_two()
    told(guard)
    live = tuple(it.row for it in guard.book.live_legs(MES))
    for after_ms in (1_500, 400):
        guard.audit(after_ms=after_ms, live_orders=live, positions=(a_position(2),))
    assert reach_of(guard.book, MES) == (2, 2)


def test_so_it_is_when_reads_had_proven_the_position_long_before() -> None:
    guard = holding_two()
    live = tuple(it.row for it in guard.book.live_legs(MES))
    for after_ms in (1_500, 400, 5_000):
        guard.audit(after_ms=after_ms, live_orders=live, positions=(a_position(2),))
    told(guard)
    assert reach_of(guard.book, MES) == (-2, 2)
    assert denied(guard, Side.SELL, 12)

    for after_ms in (1_500, 400):
        guard.audit(after_ms=after_ms, live_orders=live, positions=(a_position(2),))
    assert reach_of(guard.book, MES) == (2, 2)
    assert not denied(guard, Side.SELL, 12)


def test_an_order_is_refused_for_the_stop_of_a_position_that_is_closed_by_its_row() -> None:
    """A contract comes to 250 risk dollars: 10 may be short, and the stop could be 2 of them."""
    guard = holding_two()
    assert denied(guard, Side.SELL, 12) == set()

    told(guard)
    assert denied(guard, Side.SELL, 8) == set()
    assert DenialCode.CORRELATION_EXPOSURE in denied(guard, Side.SELL, 9)

    for after_ms in (1_500, 400):
        live = tuple(it.row for it in guard.book.live_legs(MES))
        guard.audit(after_ms=after_ms, live_orders=live, positions=(a_position(2),))
    assert denied(guard, Side.SELL, 12) == set()


def test_an_exit_is_not_refused_for_what_a_row_tells_of() -> None:
    """Half of the position is closed by a row; the other half may be closed by anybody."""
    guard = holding_two()
    told(guard, quantity=1, filled_quantity=1)

    decision = guard.submit(client_order_id="x", side=Side.SELL, quantity=1)

    assert decision.kind is DecisionKind.ACCEPTED
    assert decision.order is not None
    assert decision.order.reduces_risk
