"""A mad caller is slowed down, and nobody who makes the account safer is."""

from typing import Any

import pytest

from backstop.entrypoints.http import pace
from backstop.entrypoints.http.pace import Pace, takes_risk_away
from backstop.errors import GuardBusyError


def test_an_allowance_is_used_up_and_grows_again() -> None:
    now_s = [0.0]
    allowance = Pace(lambda: now_s[0])

    at_once = [allowance.allows() for _ in range(pace.CALLS_AT_ONCE + 1)]
    now_s[0] += 10 / pace.CALLS_PER_S
    later = [allowance.allows() for _ in range(11)]
    now_s[0] += 3600
    rested = [allowance.allows() for _ in range(pace.CALLS_AT_ONCE + 1)]

    assert at_once == [True] * pace.CALLS_AT_ONCE + [False]
    assert later == [True] * 10 + [False]
    assert rested == at_once


@pytest.mark.parametrize(
    ("call", "always"),
    [
        ("POST /v1/halt", True),
        ("POST /v1/liquidate", True),
        ("POST /v1/positions/MES/close", True),
        ("DELETE /v1/orders/a%2Fb", True),
        ("PUT /v1/positions/MES/protection", True),
        ("POST /v1/resume", False),
        ("POST /v1/orders", False),
        ("POST /v1/halt/more", False),
        ("GET /v1/liquidate", False),
        ("DELETE /v1/bots/a", False),
    ],
)
def test_what_makes_the_account_safer_is_always_answered(call: str, *, always: bool) -> None:
    method, _, path = call.partition(" ")

    assert takes_risk_away(method, path) is always


async def test_a_mad_caller_is_told_and_can_still_halt(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "CALLS_AT_ONCE", 5)
    monkeypatch.setattr(pace, "CALLS_PER_S", 0)
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        answers = [await caller.ask("GET", "/v1/positions") for _ in range(6)]
        async with caller.session.get(f"{caller.url}/v1/positions") as refused:
            again_s = refused.headers["Retry-After"]
        halted, _ = await caller.ask("POST", "/v1/halt", json={"reason": "mad", "operator": "ann"})
        resumed, _ = await caller.ask(
            "POST", "/v1/resume", json={"reason": "calm", "operator": "ann"}
        )

    assert [status for status, _ in answers] == [200] * 5 + [429]
    assert answers[-1][1]["error"]["code"] == "TOO_MANY_CALLS"
    assert again_s == "1"
    assert (halted, resumed) == (200, 429)
    assert guard.book.latches


async def test_a_flood_that_the_guard_refuses_is_no_broken_disk(desk: Any) -> None:
    guard = desk.guard()
    guard.failure = GuardBusyError(256, 256, "in all")
    async with (
        desk.calling(guard) as caller,
        caller.session.post(f"{caller.url}/v1/orders", json=desk.body()) as refused,
    ):
        error = (await refused.json())["error"]

    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert error["code"] == "TOO_MANY_CALLS"
    assert error["message"].startswith("256 wishes in all wait for a decision")


async def test_strangers_do_not_use_up_the_operators_allowance(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "CALLS_AT_ONCE", 5)
    monkeypatch.setattr(pace, "CALLS_PER_S", 0)
    wrong = {"Authorization": "Bearer wrong"}
    async with desk.calling(desk.guard()) as caller:
        strangers = [(await caller.ask("POST", "/v1/halt", headers=wrong))[0] for _ in range(7)]
        own, _ = await caller.ask("GET", "/v1/positions")

    assert strangers == [401] * 5 + [429] * 2
    assert own == 200
