"""The account and its limits through a real server: what stands, and who may loosen it."""

from typing import Any

import pytest
from msgspec.structs import replace

from backstop.core.account_rules.limits import AccountLimits

DOLLAR = 1_000_000


def a_guard(desk: Any) -> Any:
    guard = desk.guard()
    limits = AccountLimits(
        starting_balance_micros=50_000 * DOLLAR,
        daily_loss_micros=1_000 * DOLLAR,
        trailing_loss_micros=2_000 * DOLLAR,
        high_close_micros=50_500 * DOLLAR,
        max_position_tenths=50,
    )
    guard.book.policy = replace(guard.book.policy, account_limits=limits)
    return guard


async def test_the_account_shows_what_may_still_be_lost(desk: Any) -> None:
    async with desk.calling(a_guard(desk)) as caller:
        status, body = await caller.ask("GET", "/v1/account")
        _, shown = await caller.ask("GET", "/v1/status")

    assert status == 200
    assert shown["account"] == body
    assert (body["daily_loss_limit"], body["daily_loss_remaining"]) == ("1000", "1000")
    assert (body["floor"]["floor"], body["floor"]["origin"]) == ("48500", "OPERATOR")
    assert (body["position"], body["max_position"]) == ("0", "5")
    assert body["changed_limits"] == []


async def test_to_tighten_takes_no_name_and_to_loosen_takes_one(desk: Any) -> None:
    async with desk.calling(a_guard(desk)) as caller:
        tighter, body = await caller.ask(
            "PATCH", "/v1/account/limits", json={"daily_loss": "400.50", "max_position": "0.3"}
        )
        assert (tighter, body["daily_loss_limit"], body["max_position"]) == (200, "400.5", "0.3")
        refused, error = await caller.ask("PATCH", "/v1/account/limits", json={"daily_loss": "900"})
        assert (refused, error["error"]["code"]) == (409, "NOT_POSSIBLE")
        assert "name and a reason" in error["error"]["message"]
        named = {"daily_loss": "900", "operator": "Ann", "reason": "agreed with the desk"}
        looser, body = await caller.ask("PATCH", "/v1/account/limits", json=named)

    assert (looser, body["daily_loss_limit"]) == (200, "900")
    change = next(it for it in body["changed_limits"] if it["limit"] == "MAX_DAILY_LOSS")
    assert (change["operator"], change["reason"]) == ("Ann", "agreed with the desk")


@pytest.mark.parametrize("field", ["daily_loss", "trailing_loss", "max_position"])
@pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity", "1e30", "much"])
async def test_a_limit_that_is_none_is_refused_with_what_is_allowed(
    desk: Any, field: str, value: str
) -> None:
    async with desk.calling(a_guard(desk)) as caller:
        status, body = await caller.ask("PATCH", "/v1/account/limits", json={field: value})

    assert (status, body["error"]["field"]) == (422, field)
    assert "1000000000" in body["error"]["message"] or "100000" in body["error"]["message"]


async def test_a_change_of_nothing_is_refused(desk: Any) -> None:
    async with desk.calling(a_guard(desk)) as caller:
        status, body = await caller.ask("PATCH", "/v1/account/limits", json={})

    assert (status, body["error"]["code"]) == (422, "MISSING_MEMBER")
    assert "daily_loss, trailing_loss and max_position" in body["error"]["message"]


@pytest.mark.parametrize("field", ["operator", "reason"])
async def test_who_asks_and_why_are_said_in_words_or_not_at_all(desk: Any, field: str) -> None:
    async with desk.calling(a_guard(desk)) as caller:
        blank = {"daily_loss": "900", field: "  "}
        status, answer = await caller.ask("PATCH", "/v1/account/limits", json=blank)

    error = answer["error"]
    assert (status, error["code"], error["field"]) == (422, "INVALID_VALUE", field)
