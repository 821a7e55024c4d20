"""The market goes on record at the first sight of an order that did not ask, and only then."""

from decimal import Decimal

import pytest
from tests.core.bot_world import a_watching_policy
from tests.core.builders import MES, NQ, START_US, Guard, a_policy, a_quote, a_row, a_trade

from backstop.adapters.clock import SystemClock
from backstop.app.market_notes import MarketNotes
from backstop.app.quote_board import QuoteBoard
from backstop.core.policy import Policy
from backstop.domain.events import (
    AccountAudited,
    Fact,
    MarketNoted,
    OrderReported,
    Source,
    TimerFired,
    TradeReported,
)

STRANGER = 900


def reported(**changes: object) -> OrderReported:
    row = a_row(broker_order_id=STRANGER, **changes)
    return OrderReported(utc_us=START_US, order=row, source=Source.HUB)


def traded() -> TradeReported:
    trade = a_trade(broker_order_id=STRANGER)
    return TradeReported(utc_us=START_US, trade=trade, source=Source.HUB)


def read() -> AccountAudited:
    return AccountAudited(
        utc_us=START_US,
        reason="test",
        sent_ns=1,
        orders=None,
        live_orders=(a_row(broker_order_id=STRANGER),),
        trades=None,
        positions=None,
    )


def noted(guard: Guard, fact: Fact) -> MarketNoted | None:
    clock = SystemClock()
    board = QuoteBoard(clock)
    board.put(a_quote(), clock.monotonic_ns())
    price = Decimal(21000)
    board.put(a_quote(contract_id=NQ, bid=price, ask=price, last=price), clock.monotonic_ns())
    return MarketNotes(quotes=board, clock=clock).before(guard.book, fact)


def watching(policy: Policy | None = None) -> Guard:
    return Guard(policy=policy or a_watching_policy()).start()


@pytest.mark.parametrize("fact", [reported(), traded(), read()])
def test_an_order_that_nobody_has_heard_of_brings_its_market(fact: Fact) -> None:
    found = noted(watching(), fact)

    assert found is not None
    assert [it.contract_id for it in found.references] == [MES]
    assert {it.contract_id: it.price for it in found.marks} == {MES: 5000, NQ: 21000}


def test_what_is_known_already_and_what_is_no_order_brings_none() -> None:
    guard = watching()
    guard.row(broker_order_id=STRANGER)

    assert noted(guard, reported(filled_quantity=1)) is None
    assert noted(guard, TimerFired(utc_us=START_US)) is None


def test_a_gatekeeper_notes_nothing() -> None:
    assert noted(watching(a_policy()), reported()) is None
