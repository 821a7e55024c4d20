"""A refused key: entries blocked and a person paged at once; exits go on where they can."""

import pytest
from tests.core.builders import Guard, a_guard_start

from backstop.core.step import DecisionKind
from backstop.core.trading_state import Condition
from backstop.domain.commands import RaiseAlert
from backstop.domain.events import LoginAccepted, LoginRefused
from backstop.domain.order import Side

BARE = {"limit_price": None, "stop_loss_price": None, "take_profit_price": None}


def refuse(guard: Guard, *, spare_works: bool) -> None:
    guard.feed(LoginRefused(utc_us=guard.utc_us, reason="code 3.", spare_works=spare_works))


@pytest.mark.parametrize("spare_works", [True, False])
def test_a_refused_key_blocks_entries_and_pages_once(*, spare_works: bool) -> None:
    guard = Guard().start()

    refuse(guard, spare_works=spare_works)

    assert Condition.LOGIN_REFUSED in guard.book.readiness(guard.now_ns).conditions
    assert guard.alerts().count("LOGIN_REFUSED") == 1


def test_a_key_that_is_accepted_again_lifts_the_condition() -> None:
    guard = Guard().start()
    refuse(guard, spare_works=False)

    guard.feed(LoginAccepted(utc_us=guard.utc_us))

    assert Condition.LOGIN_REFUSED not in guard.book.readiness(guard.now_ns).conditions


def test_the_page_says_what_is_open_and_whether_exits_can_leave() -> None:
    guard = Guard().start()
    guard.position_row(1)

    refuse(guard, spare_works=False)
    refuse(guard, spare_works=True)

    told = [it.message for it in guard.commands_of(RaiseAlert) if it.code == "LOGIN_REFUSED"]
    assert "1 position open" in told[0]
    assert "no exit either" in told[0]
    assert "exits, stops and liquidation leave with it" in told[1]


def test_an_entry_is_refused_and_an_exit_passes() -> None:
    guard = Guard().start()
    guard.position_row(1)
    refuse(guard, spare_works=True)

    assert guard.submit(client_order_id="entry").kind is DecisionKind.REFUSED
    out = guard.submit(client_order_id="exit", side=Side.SELL, quantity=1, **BARE)
    assert out.kind is DecisionKind.ACCEPTED


def test_the_next_process_hears_for_itself() -> None:
    guard = Guard().start()
    refuse(guard, spare_works=False)

    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert not guard.book.links.login_refused
