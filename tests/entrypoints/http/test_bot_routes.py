"""Bots over the interface: registered, heard, missed, given up, signed off."""

from typing import Any

import pytest

from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.errors import JournalError

ALPHA = "/v1/bots/alpha"


def let_pass(guard: Any, seconds: int) -> None:
    """Let time pass under looks as the guard makes them."""
    for _ in range(seconds * 2):
        guard.clock_ns += SECOND_NS // 2
        guard.bots.look()


async def test_a_registered_bot_is_listed_with_the_age_of_its_heartbeat(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        status, body = await caller.ask("PUT", ALPHA, json={"heartbeat_timeout_ms": 5_000})
        assert (status, body["bot"]["state"], body["trading_state"]) == (200, "ALIVE", "ACTIVE")
        assert body["bot"]["policy"] == "STOP_ENTRIES"

        guard.clock_ns += 1_500 * MILLISECOND_NS
        status, body = await caller.ask("GET", "/v1/bots")
        (bot,) = body["bots"]
        assert (bot["bot_id"], bot["heartbeat_age_ms"]) == ("alpha", 1_500)

        status, body = await caller.ask("POST", f"{ALPHA}/heartbeat")
        assert (status, body["bot"]["heartbeat_age_ms"]) == (200, 0)
        _, body = await caller.ask("GET", "/v1/status")
        assert [it["bot_id"] for it in body["heartbeats"]["bots"]] == ["alpha"]


async def test_a_silent_bot_is_refused_entries_and_its_heartbeat_brings_it_back(
    desk: Any,
) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("PUT", ALPHA, json={"heartbeat_timeout_ms": 5_000})
        let_pass(guard, 6)
        guard.become_active()  # the account was read meanwhile
        status, body = await caller.ask("POST", "/v1/orders", json=desk.body(strategy_id="alpha"))
        assert status == 422
        assert [it["code"] for it in body["denials"]] == ["BOT_SILENT"]
        _, body = await caller.ask("GET", "/v1/bots")
        assert body["bots"][0]["state"] == "SILENT"
        assert body["bots"][0]["silent_since"] is not None

        _, body = await caller.ask("POST", f"{ALPHA}/heartbeat")
        assert body["bot"]["state"] == "ALIVE"
        status, _ = await caller.ask("POST", "/v1/orders", json=desk.body(strategy_id="alpha"))
        assert status == 201


async def test_heartbeats_leave_no_trace_in_the_record_and_equal_registrations_neither(
    desk: Any,
) -> None:
    guard = desk.guard()
    facts = []
    feed = guard.feed
    guard.feed = lambda fact: facts.append(type(fact).__name__) or feed(fact)
    async with desk.calling(guard) as caller:
        for _ in range(3):
            await caller.ask("PUT", ALPHA, json={})
            for _ in range(5):
                await caller.ask("POST", f"{ALPHA}/heartbeat", json={"progress": 1})
                guard.bots.look()

    assert facts == ["BotRegistered"]


async def test_other_terms_are_a_new_registration(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("PUT", ALPHA, json={"heartbeat_timeout_ms": 5_000})
        _, body = await caller.ask(
            "PUT", ALPHA, json={"policy": "FLATTEN", "flatten_after_ms": 60_000}
        )

    assert (body["bot"]["policy"], body["bot"]["flatten_after_ms"]) == ("FLATTEN", 60_000)


async def test_who_was_given_up_stays_so_until_it_registers_again(desk: Any) -> None:
    guard = desk.guard()
    terms = {"policy": "FLATTEN", "heartbeat_timeout_ms": 1_000, "flatten_after_ms": 3_000}
    async with desk.calling(guard) as caller:
        await caller.ask("PUT", ALPHA, json=terms)
        let_pass(guard, 4)
        _, body = await caller.ask("POST", f"{ALPHA}/heartbeat")
        assert body["bot"]["state"] == "GIVEN_UP"

        _, body = await caller.ask("PUT", ALPHA, json=terms)
        assert body["bot"]["state"] == "ALIVE"


async def test_a_bot_that_nobody_registered_is_unknown(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        for method, path in (("POST", f"{ALPHA}/heartbeat"), ("DELETE", ALPHA)):
            status, body = await caller.ask(method, path)
            assert (status, body["error"]["code"]) == (404, "UNKNOWN_BOT")


async def test_a_bot_that_signs_off_is_listed_no_more(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        await caller.ask("PUT", ALPHA, json={})
        status, body = await caller.ask("DELETE", ALPHA)

    assert (status, body["bots"]) == (200, [])


@pytest.mark.parametrize(
    ("terms", "code", "field"),
    [
        ({"policy": "FLATTEN"}, "MISSING_MEMBER", "flatten_after_ms"),
        ({"flatten_after_ms": 20_000}, "INVALID_VALUE", "flatten_after_ms"),
        (
            {"policy": "FLATTEN", "heartbeat_timeout_ms": 5_000, "flatten_after_ms": 5_000},
            "INVALID_VALUE",
            "flatten_after_ms",
        ),
        ({"heartbeat_timeout_ms": 999}, "INVALID_VALUE", "heartbeat_timeout_ms"),
        ({"heartbeat_timeout_ms": 1.5}, "INVALID_VALUE", "heartbeat_timeout_ms"),
        ({"policy": "PRAY"}, "INVALID_VALUE", "policy"),
        ({"timeout": 5}, "UNKNOWN_MEMBER", "timeout"),
    ],
)
async def test_terms_that_make_no_sense_are_refused_by_name(
    desk: Any, terms: dict[str, object], code: str, field: str
) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, body = await caller.ask("PUT", ALPHA, json=terms)
        assert (status, body["error"]["code"], body["error"]["field"]) == (422, code, field)
        _, body = await caller.ask("GET", "/v1/bots")

    assert body["bots"] == []


@pytest.mark.parametrize("name", ["x" * 65, "a%00b"])
async def test_a_name_that_no_order_could_carry_is_refused(desk: Any, name: str) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, body = await caller.ask("PUT", f"/v1/bots/{name}", json={})

    assert (status, body["error"]["field"]) == (422, "bot_id")


async def test_a_registration_that_is_not_on_disk_is_none(desk: Any) -> None:
    guard = desk.guard()
    guard.failure = JournalError("the disk is full.")
    async with desk.calling(guard) as caller:
        status, body = await caller.ask("PUT", ALPHA, json={})

    assert (status, body["error"]["code"]) == (503, "RECORD_UNAVAILABLE")


async def test_after_a_start_of_the_guard_no_heartbeat_came_yet(desk: Any) -> None:
    before = desk.guard()
    async with desk.calling(before) as caller:
        await caller.ask("PUT", ALPHA, json={})
    guard = desk.guard()
    guard.book.bots.update(before.book.bots)
    guard.bots.look()
    async with desk.calling(guard) as caller:
        _, body = await caller.ask("GET", "/v1/bots")

    assert body["bots"][0]["heartbeat_age_ms"] is None
