"""An unmodified bot changes its base URL and is protected: real processes, the venue's truth."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from tests.acceptance.conftest import ACCOUNT_ID, PATIENCE_S, Bench, RunningGuard, Venue

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.config.secret import Secret
from backstop.domain.commands import AuditAccount, ClosePosition, PlaceOrder
from backstop.domain.events import AccountAudited, Answer, PlaceAnswered
from backstop.domain.order import OrderType, Side

SENDS = {"DRY_RUN": "0", "EXECUTE": "1"}
LIVE = {"OPEN", "PENDING", "SUSPENDED"}


@dataclass
class OwnBot:
    """A bot with our own client of the ProjectX API: it has an address, a name and a key."""

    client: ProjectXGateway
    contract: str

    async def place(
        self, tag: str, *, side: Side = Side.BUY, size: int = 1, stop: int | None = 40
    ) -> PlaceAnswered:
        return await self.client.place_order(
            PlaceOrder(
                client_order_id=tag,
                custom_tag=tag,
                account_id=ACCOUNT_ID,
                contract_id=self.contract,
                type=OrderType.MARKET,
                side=side,
                quantity=size,
                stop_loss_offset_ticks=None if stop is None else -side.sign * stop,
            )
        )

    async def read(self) -> AccountAudited:
        """Return the account as the bot sees it."""
        since_us = SystemClock().utc_us() - 3_600_000_000
        return await self.client.audit_account(
            AuditAccount(reason="test", account_id=ACCOUNT_ID, since_utc_us=since_us)
        )

    async def reads(self, is_true: Callable[[AccountAudited], bool]) -> AccountAudited:
        """Read the account until it shows what is waited for."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                read = await self.read()
                if not read.fault and is_true(read):
                    return read
                await asyncio.sleep(0.2)


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def key_of(bench: Bench, name: str, *options: str) -> str:
    made = await bench.call("bots", "add", name, "--json", *options)
    assert made.code == 0, made.err
    return str(json.loads(made.out)["key"])


async def answering(bench: Bench, port: int) -> None:
    """Wait until the gateway answers."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(aiohttp.ClientError):
                async with bench.session.get(f"http://127.0.0.1:{port}/api/Status/ping"):
                    return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def bot_at(bench: Bench, port: int, name: str, key: str) -> AsyncIterator[OwnBot]:
    await answering(bench, port)
    client = ProjectXGateway(
        api_url=f"http://127.0.0.1:{port}",
        user_name=name,
        api_key=Secret(key),
        clock=SystemClock(),
    )
    async with client:
        listed = await client.instruments()
        contract = next(it.contract_id for it in listed if it.symbol == "MES")
        yield OwnBot(client, contract)


async def true_orders(venue: Venue, *, stops: bool = False) -> list[Any]:
    """Return the live orders of the account, or of them the stops, as the exchange has them."""
    return [
        row
        for row in (await venue.truth())["orders"]
        if row["accountId"] == ACCOUNT_ID
        and row["status"] in LIVE
        and (not stops or row["type"] == "STOP")
    ]


async def true_position(venue: Venue) -> int:
    rows = (await venue.truth())["positions"]
    return sum(row["quantity"] for row in rows if row["accountId"] == ACCOUNT_ID)


async def comes_true(venue: Venue, is_true: Callable[[int, list[Any]], bool]) -> list[Any]:
    """Wait for a position and its stops at the exchange; returns the stops."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            position, stops = await true_position(venue), await true_orders(venue, stops=True)
            if is_true(position, stops):
                return stops
            await asyncio.sleep(0.05)


def protects_one(position: int, stops: list[Any]) -> bool:
    """Say whether one contract is held, and its stop has a price: a suspended leg has none."""
    return position == 1 and len(stops) == 1 and stops[0]["stopPrice"] is not None


def in_place(stops: list[Any]) -> list[tuple[int, str]]:
    return sorted((row["id"], row["stopPrice"]) for row in stops)


async def kill_guard(guard: RunningGuard) -> None:
    """kill -9 of the guard alone, and wait until another process guards."""
    (before,) = guard.processes("guard")
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        while before in (now := guard.processes("guard")) or not now:  # noqa: ASYNC110 - of others
            await asyncio.sleep(0.02)


async def test_a_bot_trades_through_the_guard_and_survives_its_death(bench: Bench) -> None:
    """It keeps its session, its position keeps its stop, and no tag makes two orders."""
    port = a_free_port()
    options = ("--gateway", f"127.0.0.1:{port}")
    async with bench.venue() as venue:
        key = await key_of(bench, "alpha")
        async with (
            bench.guard(options=options, **SENDS) as guard,
            bot_at(bench, port, "alpha", key) as bot,
        ):
            await guard.active()

            entered = await bot.place("entry-1")
            assert (entered.answer, entered.code) == (Answer.YES, 0), entered
            stops = await comes_true(venue, protects_one)
            read = await bot.reads(
                lambda it: bool(it.positions) and bool(it.live_orders) and bool(it.trades)
            )
            assert read.orders is not None
            assert entered.broker_order_id in {row.broker_order_id for row in read.orders}
            assert "entry-1" in {row.custom_tag for row in read.orders}
            bare = await bot.place("bare", stop=None)
            assert bare.answer is Answer.NO
            assert bare.message.startswith("STOP_REQUIRED: ")

            await kill_guard(guard)
            assert in_place(await true_orders(venue, stops=True)) == in_place(stops)
            await answering(bench, port)
            await guard.active()

            # The same session goes on: its token is still good, and the tag is still taken.
            again = await bot.place("entry-1")
            assert (again.answer, again.tag_in_use) == (Answer.NO, True), again
            seen = await bot.reads(lambda it: bool(it.live_orders))
            assert seen.live_orders is not None
            assert "entry-1-SL" in {row.custom_tag for row in seen.live_orders}
            assert in_place(await true_orders(venue, stops=True)) == in_place(stops)

            closed = await bot.client.close_position(
                ClosePosition(account_id=ACCOUNT_ID, contract_id=bot.contract, reason="test")
            )
            assert closed.answer is Answer.YES, closed
            await comes_true(venue, lambda held, found: held == 0 and not found)
            assert await true_orders(venue) == []
            rows = (await venue.truth())["orders"]
            (entry,) = (it for it in rows if it["id"] == entered.broker_order_id)
            entries = [it for it in rows if it["customTag"] and it["side"] == entry["side"]]
            assert entries == [entry]
            assert await guard.stop() == 0


async def test_a_place_call_that_the_guard_dies_in_is_one_order_however_often_it_is_repeated(
    bench: Bench,
) -> None:
    port = a_free_port()
    async with bench.venue() as venue:
        key = await key_of(bench, "repeats")
        async with (
            bench.guard(BACKSTOP_GATEWAY=f"127.0.0.1:{port}", **SENDS) as guard,
            bot_at(bench, port, "repeats", key) as bot,
        ):
            await guard.active()
            # Neither the answer nor an event tells the guard what became of the order.
            events = ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition")
            faults = [
                {"on": "Order/place", "act": "delay_response", "delay_ms": 60_000},
                *({"on": event, "act": "drop_event", "count": None} for event in events),
            ]
            control = f"{venue.url}/_simulator/faults"
            async with bench.session.post(control, json=faults) as said:
                assert said.status == 200, await said.text()

            placing = asyncio.create_task(bot.place("in-flight"))
            await comes_true(venue, lambda held, found: held == 1 and len(found) == 1)
            await kill_guard(guard)
            async with bench.session.delete(control) as said:
                assert said.status == 200
            lost = await placing
            assert lost.answer is Answer.UNKNOWN, lost

            await answering(bench, port)
            await guard.active()
            again = await bot.place("in-flight")
            assert (again.answer, again.tag_in_use) == (Answer.NO, True), again
            read = await bot.reads(lambda it: bool(it.live_orders))
            assert read.live_orders is not None
            assert {row.custom_tag for row in read.live_orders} == {"in-flight-SL"}
            assert await true_position(venue) == 1
            assert len(await true_orders(venue, stops=True)) == 1


async def test_in_dry_run_a_bot_hears_so_and_nothing_is_sent(bench: Bench) -> None:
    port = a_free_port()
    async with bench.venue() as venue:
        key = await key_of(bench, "careful")
        async with (
            bench.guard(BACKSTOP_GATEWAY=f"127.0.0.1:{port}") as guard,
            bot_at(bench, port, "careful", key) as bot,
        ):
            await guard.active()

            answer = await bot.place("never")

            assert (answer.answer, answer.code) == (Answer.NO, 2)
            assert answer.message.startswith("GATE_DRY_RUN: ")
            assert (await bot.read()).fault == ""
            assert await true_orders(venue) == []


async def test_a_bot_may_do_what_its_credentials_say_until_they_are_revoked(
    bench: Bench,
) -> None:
    port = a_free_port()
    async with bench.venue() as venue:
        key = await key_of(bench, "small", "--max-quantity", "1", "--instruments", "MES")
        listed = json.loads((await bench.call("bots", "list", "--json")).out)["bots"]
        assert [(it["name"], it["max_quantity"]) for it in listed] == [("small", 1)]
        kept = bench.folder / "state" / "bots.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert key not in kept.read_text(encoding="utf-8")
        async with (
            bench.guard(BACKSTOP_GATEWAY=f"127.0.0.1:{port}", **SENDS) as guard,
            bot_at(bench, port, "small", key) as bot,
        ):
            await guard.active()
            large = await bot.place("large", size=2)
            assert large.message.startswith("BOT_QUANTITY_TOO_LARGE: ")
            assert (await bot.place("fits")).answer is Answer.YES
            await comes_true(venue, lambda held, found: held == 1 and len(found) == 1)

            assert (await bench.call("bots", "remove", "small")).code == 0
            revoked = await bot.read()
            assert revoked.positions is None
            assert await true_position(venue) == 1
            assert len(await true_orders(venue, stops=True)) == 1


@pytest.mark.parametrize("address", ["0.0.0.0:8721", "[::]:8721"])
async def test_other_machines_are_spoken_to_only_behind_tls(bench: Bench, address: str) -> None:
    async with bench.venue():
        refused = await bench.call("run", "--gateway", address)

    assert refused.code == 2
    assert "BACKSTOP_GATEWAY" in refused.err
    assert "BACKSTOP_TLS_CERT" in refused.err
    assert "Traceback" not in refused.err


async def test_two_bots_trade_side_by_side_and_close_for_each_other(bench: Bench) -> None:
    port = a_free_port()
    async with bench.venue() as venue:
        keys = [await key_of(bench, name) for name in ("first", "second")]
        async with (
            bench.guard(BACKSTOP_GATEWAY=f"127.0.0.1:{port}", **SENDS) as guard,
            bot_at(bench, port, "first", keys[0]) as first,
            bot_at(bench, port, "second", keys[1]) as second,
        ):
            await guard.active()
            assert (await first.place("one")).answer is Answer.YES
            assert (await second.place("two", stop=44)).answer is Answer.YES
            stops = await comes_true(venue, lambda held, found: held == 2 and len(found) == 2)
            assert sum(Decimal(row["size"]) for row in stops) == 2

            closed = await second.client.close_position(
                ClosePosition(account_id=ACCOUNT_ID, contract_id=second.contract, reason="test")
            )

            assert closed.answer is Answer.YES, closed
            await comes_true(venue, lambda held, found: held == 0 and not found)
