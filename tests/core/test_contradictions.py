"""After the venue contradicted itself, entries wait for a person; exits do not."""

from tests.core.builders import MES, Guard

from backstop.core.step import DecisionKind
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.events import ResumeRequested
from backstop.domain.order import Side


def an_overfilled() -> Guard:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=3)
    return guard


def test_an_overfill_freezes_entries_until_somebody_resumes() -> None:
    guard = an_overfilled()
    refused = guard.submit(client_order_id="c2", quantity=1)
    state = guard.book.trading_state(guard.now_ns)
    guard.feed(ResumeRequested(utc_us=guard.utc_us, operator="Ann", reason="compared"))

    assert DenialCode.STATE_REDUCING in {denial.code for denial in refused.denials}
    assert state is TradingState.REDUCING
    assert guard.book.latches == ()


def test_the_latch_says_what_was_found() -> None:
    (latch,) = an_overfilled().book.latches

    assert latch.kind is LatchKind.CONTRADICTION
    assert latch.contract_id is None
    assert "asked for 2 contracts and 3 were filled" in latch.cause


def test_exits_of_an_overfilled_position_pass() -> None:
    guard = an_overfilled()
    exit_ = guard.submit(client_order_id="c2", side=Side.SELL, quantity=3, stop_loss_price=None)

    assert guard.position(MES) == 3
    assert exit_.kind is DecisionKind.ACCEPTED
