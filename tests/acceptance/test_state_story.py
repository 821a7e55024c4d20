"""The state on disk as the only memory: guards that are killed, folders that were spoilt.

Real processes and kill -9; what is right is what the exchange says.
"""

import asyncio
import json
import random
import sqlite3
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

SENDING = {
    "DRY_RUN": "0",
    "EXECUTE": "1",
    "RISK_BUDGET": "1000000",
    "ES_NQ_MAX_COMBINED_EXPOSURE": "1000000",
    "MAX_ORDERS_PER_SECOND": "100",
    "DUPLICATE_WINDOW_MS": "0",
}
USER, API_KEY, ACCOUNT_ID = "bench-user", "bench-key-0123456789", 31_004_502
PATIENCE_S = 30
THREE_SECONDS_MS = 3_000
LIVES = 4
SEED = 20261122


def an_entry(name: str) -> dict[str, Any]:
    return {
        "client_order_id": name,
        "symbol": "MES",
        "side": "BUY",
        "quantity": 1,
        "type": "MARKET",
        "stop_loss_price": "5500",
    }


async def at_the_venue(venue: Any, path: str, body: dict[str, Any]) -> Any:
    """Do something at the venue as the owner of the account would, on another screen."""
    login = {"userName": USER, "apiKey": API_KEY}
    async with venue.session.post(f"{venue.url}/api/Auth/loginKey", json=login) as answer:
        token = (await answer.json())["token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with venue.session.post(venue.url + path, json=body, headers=headers) as answer:
        said = await answer.json()
    assert said["success"], said
    return said


async def placed(venue: Any) -> list[Any]:
    """Return the orders that somebody placed; legs are the venue's making."""
    return [row for row in (await venue.truth())["orders"] if row["leg"] is None]


async def position_at(venue: Any) -> int:
    rows = (await venue.truth())["positions"]
    return sum(int(row["quantity"]) for row in rows)


def recorded(state_folder: Path, statement: str) -> list[tuple[Any, ...]]:
    uri = f"{(state_folder / 'audit.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        return database.execute(statement).fetchall()


def state_of(bench: Any) -> Any:
    return json.loads((bench.folder / "state" / "trading_state.json").read_text())


# -- killed at any moment ------------------------------------------------------------------------


class Bot:
    """Asks for one order after the other, and remembers what it was told."""

    def __init__(self) -> None:
        self.begun = 0
        self._enough = (0, asyncio.Event())
        self.told: dict[str, Any] = {}  # by client order id: what the guard answered
        self._names = (f"entry-{number}" for number in count())

    async def trade(self, guard: Any) -> None:
        for name in self._names:
            self.begun += 1
            orders, enough = self._enough
            if self.begun >= orders:
                enough.set()
            status, record = await guard.ask("POST", "/v1/orders", an_entry(name))
            assert status == 201, record
            self.told[name] = record

    async def trade_until_killed(self, guard: Any, *, orders: int, turns: int) -> None:
        """Trade, and have the guard killed in the middle: after so many orders and a bit."""
        self._enough = (self.begun + orders, asyncio.Event())
        trading = asyncio.create_task(self.trade(guard))
        async with asyncio.timeout(PATIENCE_S):
            await self._enough[1].wait()
            for _ in range(turns):
                await asyncio.sleep(0)
        await guard.kill()
        with suppress(aiohttp.ClientError):
            await trading


async def test_whatever_a_bot_was_told_is_true_after_kills_at_any_moment(bench: Any) -> None:
    chance = random.Random(SEED)  # noqa: S311 - the same moments every time
    bot = Bot()
    async with bench.venue() as venue:
        for _ in range(LIVES):
            async with bench.guard(**SENDING) as guard:
                await guard.active()
                await knows_everything(bot, guard)
                await bot.trade_until_killed(
                    guard, orders=chance.randint(1, 6), turns=chance.randint(0, 300)
                )
        async with bench.guard(**SENDING) as guard:
            await guard.active()
            await knows_everything(bot, guard)
            await agrees(bench, venue, guard)
        checked = await bench.call("audit", "verify")

    assert len(bot.told) >= LIVES
    assert checked.code == 0, checked.out


async def knows_everything(bot: Bot, guard: Any) -> None:
    """No decision that was answered is lost, and none is made a second time."""
    for name, told in bot.told.items():
        status, known = await guard.ask("GET", f"/v1/orders/{name}")
        assert status == 200, known
        assert known["custom_tag"] == told["custom_tag"]
        assert known["broker_order_id"] == told["broker_order_id"]
        status, again = await guard.ask("POST", "/v1/orders", an_entry(name))
        assert (status, again["broker_order_id"]) == (200, told["broker_order_id"])
    if bot.told:
        _, said = await guard.ask("GET", "/v1/status")
        recovery = said["recovery"]
        assert recovery["source"].startswith("trading_state")
        assert recovery["plan"]["stop"] == "CRASH"
        assert recovery["plan"]["downtime_ms"] < PATIENCE_S * 1000


async def agrees(bench: Any, venue: Any, guard: Any) -> None:
    """Orders, fills, position and stops are those of the exchange."""
    orders = await placed(venue)
    tags = [row["customTag"] for row in orders]
    assert len(tags) == len(set(tags)), "an intent stands at the venue twice"
    held = await position_at(venue)
    await guard.until(
        "/v1/positions",
        lambda said: (
            [row["quantity"] for row in said["positions"]] == [held]
            and sum(stop["quantity"] for stop in said["positions"][0]["stops"]) == held
        ),
    )
    truth = {str(trade["id"]) for trade in (await venue.truth())["trades"]}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            rows = recorded(bench.folder / "state", "SELECT FillId FROM FillAudit")
            if len(rows) >= len(truth):
                break
            await asyncio.sleep(0.02)
    assert sorted(fill for (fill,) in rows) == sorted(truth)


async def test_a_file_that_the_kill_left_torn_costs_nothing(bench: Any) -> None:
    bot = Bot()
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await guard.active()
            await bot.trade_until_killed(guard, orders=3, turns=0)
        current = bench.folder / "state" / "trading_state.json"
        torn = current.read_bytes()[:700]
        current.write_bytes(torn)

        async with bench.guard(**SENDING) as guard:
            await guard.active()
            _, said = await guard.ask("GET", "/v1/status")
            assert said["recovery"]["source"] == "trading_state.backup.json"
            for name in bot.told:
                assert (await guard.ask("GET", f"/v1/orders/{name}"))[0] == 200
            await agrees(bench, venue, guard)
        kept = list((bench.folder / "state").glob("trading_state-*.bad"))
        assert [path.read_bytes() for path in kept] == [torn]


# -- who stopped it ------------------------------------------------------------------------------


async def test_a_stop_by_a_person_is_no_crash(bench: Any) -> None:
    async with bench.venue():
        async with bench.guard() as guard:
            await guard.active()
            assert await guard.stop() == 0
        assert state_of(bench)["state"]["clean_stop"] is True
        async with bench.guard() as guard:
            await guard.active()
            _, said = await guard.ask("GET", "/v1/status")
            assert said["recovery"]["plan"]["stop"] == "CLEAN"
            assert state_of(bench)["state"]["clean_stop"] is False
            await guard.kill()
        async with bench.guard() as guard:
            await guard.active()
            _, said = await guard.ask("GET", "/v1/status")
            assert said["recovery"]["plan"]["stop"] == "CRASH"


# -- the plan ------------------------------------------------------------------------------------


async def test_the_plan_names_each_symbol_and_the_start_does_it(bench: Any) -> None:
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await guard.active()
            await guard.ask("POST", "/v1/orders", an_entry("entry-1"))
            await guard.until(
                "/v1/positions", lambda said: said["positions"] and said["positions"][0]["stop"]
            )
            listen = guard.url.removeprefix("http://")
            living = await bench.call("recover", "--dry-run", "--json", BACKSTOP_LISTEN=listen)
            hidden = await bench.call("recover", "--dry-run", **SENDING)
            await guard.kill()
        assert json.loads(living.out)["guard"] == "RUNNING"
        assert [it["act"] for it in json.loads(living.out)["now"]["symbols"][0]["acts"]] == [
            "ADOPT_STOP"
        ]
        assert hidden.code == 2
        assert "Nothing was contacted" in hidden.err

        kept = await bench.call("recover", "--dry-run", **SENDING)
        assert kept.code == 0, kept.err
        assert "MES" in kept.out
        assert "ADOPT_STOP" in kept.out
        contract = (await venue.truth())["positions"][0]["contractId"]
        body = {"accountId": ACCOUNT_ID, "contractId": contract}
        await at_the_venue(venue, "/api/Position/closeContract", body)
        files = {it: it.read_bytes() for it in (bench.folder / "state").glob("*.json")}

        told = await bench.call("recover", "--dry-run", **SENDING)
        planned = json.loads((await bench.call("recover", "--dry-run", "--json", **SENDING)).out)
        assert {it: it.read_bytes() for it in files} == files, "a dry run wrote something"
        assert "CLOSED_WHILE_AWAY" in told.out
        assert "CANCEL_ORDER" in told.out
        plan = planned["plan"]
        assert plan["stop"] == "CRASH"
        assert [(it["symbol"], it["before"], it["quantity"]) for it in plan["symbols"]] == [
            ("MES", 1, 0)
        ]

        async with bench.guard(**SENDING) as guard:
            said = await guard.until("/v1/status", lambda said: said["recovery"])
            found = {it["difference"] for it in said["recovery"]["plan"]["findings"]}
            assert found == {it["difference"] for it in plan["findings"]}
            # And it does what it said: no leg outlives the position.
            await guard.until("/v1/status", lambda said: not said["working_orders"])
        working = [row for row in (await venue.truth())["orders"] if row["status"] == "OPEN"]
        assert working == []


async def test_an_account_left_alone_for_too_long_is_named_and_then_taken_flat(bench: Any) -> None:
    """Guard and watchdog die together, as in a power cut: the next start has to decide."""
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await guard.active()
            await guard.ask("POST", "/v1/orders", an_entry("entry-1"))
            await guard.until(
                "/v1/positions", lambda said: said["positions"] and said["positions"][0]["stop"]
            )
            await guard.kill()
        three_seconds = {"EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES": "0.05", **SENDING}
        async with asyncio.timeout(PATIENCE_S):
            told = await bench.call("recover", "--dry-run", **three_seconds)
            while "LIQUIDATE" not in told.out:
                assert told.code == 0, told.err
                told = await bench.call("recover", "--dry-run", **three_seconds)
        assert "EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES" in told.out
        assert await position_at(venue) == 1, "to look changes nothing"

        async with bench.guard(**three_seconds) as guard:
            said = await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")
            assert any("no guard for" in reason for reason in said["reasons"]), said["reasons"]
            _, listed = await guard.ask("GET", "/v1/liquidations")
            (run,) = listed["liquidations"]
            await guard.until(f"/v1/liquidations/{run['id']}", lambda said: said["state"] == "FLAT")
        truth = await venue.truth()
    assert truth["positions"] == []
    assert [row for row in truth["orders"] if row["status"] == "OPEN"] == []


async def _plan(bench: Any, **settings: str) -> Any:
    told = await bench.call("recover", "--dry-run", "--json", **settings)
    assert told.code == 0, told.err
    return json.loads(told.out)["plan"]


async def test_a_clean_stop_is_no_downtime_however_long_it_lasts(bench: Any) -> None:
    threshold = {"EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES": "0.05", **SENDING}
    async with bench.venue() as venue:
        async with bench.guard(**threshold) as guard:
            await guard.active()
            await guard.ask("POST", "/v1/orders", an_entry("entry-1"))
            await guard.until(
                "/v1/positions", lambda said: said["positions"] and said["positions"][0]["stop"]
            )
            assert await guard.stop() == 0
        async with asyncio.timeout(PATIENCE_S):
            plan = await _plan(bench, **threshold)
            while (plan["downtime_ms"] or 0) <= THREE_SECONDS_MS:
                plan = await _plan(bench, **threshold)
        assert (plan["stop"], plan["liquidates"]) == ("CLEAN", False)

        async with bench.guard(**threshold) as guard:
            said = await guard.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")
            _, listed = await guard.ask("GET", "/v1/liquidations")
        assert (listed["liquidations"], said["positions"][0]["quantity"]) == ([], 1)
        assert await position_at(venue) == 1


# -- what must not start -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "settings", "words"),
    [
        (lambda folder: folder.chmod(0o777), {}, "mode 0777"),
        (lambda _folder: None, {"TOPSTEPX_ACCOUNT_ID": "31004503"}, "account 31004502"),
    ],
)
async def test_a_folder_that_cannot_be_relied_on_is_refused_with_what_to_do(
    bench: Any, spoil: Any, settings: dict[str, str], words: str
) -> None:
    async with bench.venue():
        async with bench.guard() as guard:
            await guard.active()
            assert await guard.stop() == 0
        spoil(bench.folder / "state")
        started = await bench.call("run", **settings)
        planned = await bench.call("recover", "--dry-run", **settings)

    for refused in (started, planned):
        assert refused.code == 2, refused
        assert words in refused.err
        assert "Traceback" not in refused.err


async def test_recovery_is_nothing_that_a_person_does(bench: Any) -> None:
    refused = await bench.call("recover")

    assert refused.code == 2
    assert "backstop run" in refused.err
