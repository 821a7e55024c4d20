"""What else bots meet at the gateway: their session, their rate, nonsense, and what reads cost."""

import asyncio
import io
from pathlib import Path

import pytest
from tests.app.desk import Desk, until
from tests.entrypoints.gateway.bots import LIMIT, WIDE, Bot, Front, far_limit, in_front
from tests.entrypoints.gateway.hearing import on_hub

from backstop.adapters.projectx_server.config import HubTimings
from backstop.adapters.projectx_server.signalr import MessageType
from backstop.entrypoints.gateway.server import CALLS
from backstop.entrypoints.gateway.upstream_reads import CALLS_LEFT

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_wrong_key_and_a_stranger_hear_the_same(front: Front, bot: Bot) -> None:
    wrong = await bot.call("Auth/loginKey", userName=bot.name, apiKey=bot.key + "x")
    stranger = await bot.call("Auth/loginKey", userName="nobody", apiKey=bot.key)
    shouted = await bot.call("Auth/loginKey", userName=bot.name.upper(), apiKey=bot.key)

    assert wrong == stranger
    assert (wrong["success"], wrong["errorCode"], wrong["token"]) == (False, 3, None)
    assert shouted["success"] is True
    assert front.guard.manager.components.get("bots") is None


async def test_a_removed_bot_is_out_at_once_and_its_old_token_stays_so(
    front: Front, bot: Bot
) -> None:
    gone = await front.bot("gone")
    assert front.credentials.remove("gone") is True

    assert (await gone.post("Order/searchOpen", {"accountId": gone.account})).status == 401
    assert (await gone.log_in())["errorCode"] == 3
    # Somebody else may have the name later, and not the session.
    front.credentials.add("gone", WIDE, utc_s=0)
    assert (await gone.post("Order/searchOpen", {"accountId": gone.account})).status == 401
    assert (await bot.open_orders()) == []


async def test_the_hubs_of_a_removed_bot_end_before_its_next_ping(front: Front) -> None:
    gone, other = await front.bot("listens"), await front.bot("listens-on")
    waits_for_no_ping_s = HubTimings().ping_interval_s / 3
    async with (
        on_hub(gone, "user") as user,
        on_hub(gone, "market") as market,
        on_hub(other, "user") as stays,
    ):
        assert front.credentials.remove(gone.name) is True

        async with asyncio.timeout(waits_for_no_ping_s):
            ends = [(await hub.ended())[-1]["type"] for hub in (user, market)]
        assert ends == [MessageType.CLOSE, MessageType.CLOSE]
        assert (await stays.invoke("SubscribeAccounts"))["result"] is None


async def test_while_the_file_of_bots_is_broken_nobody_is_let_in(front: Front, bot: Bot) -> None:
    folder: Path = front.guard.manager.settings.state_folder
    kept = (folder / "bots.json").read_bytes()
    (folder / "bots.json").write_bytes(b"{")
    try:
        assert (await bot.post("Order/searchOpen", {"accountId": bot.account})).status == 401
        assert "cannot be used" in front.guard.manager.components["bots"]
    finally:
        (folder / "bots.json").write_bytes(kept)
    assert (await bot.open_orders()) == []
    assert "bots" not in front.guard.manager.components


async def test_another_account_is_not_the_bots(front: Front, bot: Bot) -> None:
    elsewhere = await bot.call("Order/searchOpen", accountId=bot.account + 1)
    placed = await bot.call(
        "Order/place", accountId=1, contractId=bot.contract, type=2, side=0, size=1
    )

    assert elsewhere["errorCode"] == 1
    assert placed["errorCode"] == 1
    assert front.true_position() == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"accountId": "7"}', b"\xff\xfe", b'{"accountId": 1e99}']
)
async def test_nonsense_is_a_problem_of_who_sent_it(front: Front, bot: Bot, body: bytes) -> None:
    for path in ("Order/place", "Order/searchOpen", "Position/closeContract"):
        answer = await bot.http.post(
            f"{bot.url}/api/{path}",
            data=body,
            headers={"Authorization": f"Bearer {bot.token}", "Content-Type": "application/json"},
        )
        assert answer.status == 400, (path, answer.status)
    assert (await bot.open_orders()) == []
    assert front.true_position() == 0


async def test_a_body_without_end_is_not_read(bot: Bot) -> None:
    answer = await bot.http.post(
        f"{bot.url}/api/Order/place",
        data=io.BytesIO(b" " * (2 * 1024 * 1024)),
        headers={"Authorization": f"Bearer {bot.token}", "Content-Type": "application/json"},
    )

    assert answer.status == 413
    assert (await bot.open_orders()) == []


async def test_a_bot_that_asks_too_much_hears_429_and_still_gets_out(
    front: Front, bot: Bot
) -> None:
    neighbour = await front.bot("calm")
    resting = await bot.place(kind=LIMIT, limitPrice=far_limit(front))

    statuses = [
        (await bot.post("Order/searchOpen", {"accountId": bot.account})).status
        for _ in range(CALLS.calls)
    ]
    refused = await bot.post("Order/searchOpen", {"accountId": bot.account})
    cancelled = await bot.ask("Order/cancel", orderId=resting["orderId"])

    assert statuses.count(429) > 0
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert cancelled["success"] is True
    await until(lambda: front.truth_of(resting["orderId"])["status"] == "CANCELLED", "cancelled")
    assert isinstance(await neighbour.open_orders(), list)


async def test_reads_that_are_passed_on_leave_the_guard_what_it_needs(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot, other = await front.bot(), await front.bot("other")
        budget = front.guard.manager.parts.gateway.budget
        since = [f"2020-01-01T00:{minute:02}:{second:02}Z" for minute in range(4)
                 for second in range(60)]  # fmt: skip

        statuses = [
            (await bot.post(
                "Order/search", {"accountId": bot.account, "startTimestamp": it}
            )).status
            for it in since[:199]
        ]  # fmt: skip

        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert budget.left() >= CALLS_LEFT
        assert (await other.place())["success"] is True
        await until(lambda: len(front.true_stops()) == 1, "the stop")


async def test_the_same_question_is_asked_once(front: Front, bot: Bot) -> None:
    others = [await front.bot(f"same-{number}") for number in range(4)]
    body = {"contractId": bot.contract, "live": False, "startTime": "2026-01-01T00:00:00Z",
            "endTime": "2026-01-02T00:00:00Z", "unit": 2, "unitNumber": 1, "limit": 10,
            "includePartialBar": False}  # fmt: skip
    seen = len(front.desk.venue.faults.applied)
    front.desk.venue.faults.heal()

    listed = await asyncio.gather(
        *(it.call("Contract/available", live=False) for it in (bot, *others))
    )
    bars = await asyncio.gather(*(it.call("History/retrieveBars", **body) for it in others))

    assert len(front.desk.venue.faults.applied) == seen
    assert all(it["contracts"] == listed[0]["contracts"] for it in listed)
    assert all(it["bars"] == bars[0]["bars"] for it in bars)
    known = {it["id"] for it in listed[0]["contracts"]}
    assert bot.contract in known
    one = await bot.call("Contract/searchById", contractId=bot.contract)
    missing = await bot.call("Contract/searchById", contractId="CON.F.US.NOPE.Z26")
    assert one["contract"]["id"] == bot.contract
    assert missing["errorCode"] == 1
