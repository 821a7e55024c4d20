"""The disk of a running guard becomes full while it holds a position, and has room again later.

The kernel refuses for real: it lets no file of the guard's process grow beyond a limit.
"""

import asyncio
import json
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}

LARGEST_FILE_BYTES = 64 * 1024
"""Less than the log of the record has already, more than every other file."""

ENTRY = {"symbol": "MES", "side": "BUY", "type": "MARKET", "stop_loss_price": "5000"}

LINUX = ["linux"] if sys.platform == "linux" else []
"""Only there can one process limit another."""


@contextmanager
def full_disk(process_id: int) -> Iterator[None]:
    """Let no file of the process grow."""
    before = resource.prlimit(process_id, resource.RLIMIT_FSIZE)
    resource.prlimit(process_id, resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it was killed meanwhile
            resource.prlimit(process_id, resource.RLIMIT_FSIZE, before)


def recorded(state_folder: Path) -> list[dict[str, Any]]:
    uri = f"{(state_folder / 'audit.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        rows = database.execute("SELECT seq, payload FROM Journal WHERE kind = 'event'")
        return [json.loads(payload) | {"seq": seq} for seq, payload in rows]


async def approved(guard: Any, order: dict[str, Any]) -> tuple[int, Any]:
    """Send an order once nothing speaks against it any more."""
    async with asyncio.timeout(30):
        while (await guard.ask("POST", "/v1/orders/validate", order))[1]["denials"]:  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.02)
    return await guard.ask("POST", "/v1/orders", order)  # type: ignore[no-any-return]


@pytest.mark.parametrize("platform", LINUX)
async def test_an_exit_goes_out_on_a_full_disk_and_every_record_is_there_in_the_end(
    bench: Any, platform: str
) -> None:
    assert platform
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await guard.active()
        await guard.ask("POST", "/v1/orders", ENTRY | {"client_order_id": "held", "quantity": 2})
        await guard.until("/v1/orders/held", lambda said: said["state"] == "FILLED")
        (process_id,) = guard.processes("guard")

        with full_disk(process_id):
            refused = [
                await guard.ask(
                    "POST", "/v1/orders", ENTRY | {"client_order_id": name, "quantity": 1}
                )
                for name in ("more", "even-more")
            ]
            stopped = await guard.until(
                "/v1/status", lambda said: said["trading_state"] == "REDUCING"
            )
            status, _ = await guard.ask(
                "POST",
                "/v1/orders",
                {
                    "client_order_id": "exit",
                    "symbol": "MES",
                    "side": "SELL",
                    "quantity": 2,
                    "type": "MARKET",
                },
            )
            await guard.until("/v1/orders/exit", lambda said: said["state"] == "FILLED")
            _, unhealthy = await guard.ask("GET", "/v1/health")
            sent = [row["customTag"] for row in (await venue.truth())["orders"] if not row["leg"]]

        await guard.active()
        _, alerts = await guard.ask("GET", "/v1/alerts")
        again = await approved(guard, ENTRY | {"client_order_id": "later", "quantity": 1})
        truth = await venue.truth()
        await guard.stop()

    assert [status for status, _ in refused] == [503, 503]
    assert "JOURNAL_FAILED" in json.dumps(stopped)
    assert "audit.db" in json.dumps(unhealthy)
    assert status == 201
    assert len(sent) == 2, "the entry and the exit: nothing that was refused"
    assert again[0] == 201, again
    codes = [alert["code"] for alert in alerts["alerts"]]
    assert {"JOURNAL_FAILED", "JOURNAL_RECOVERED"} <= set(codes)

    verified = await bench.call("audit", "verify", "--json")
    assert verified.code == 0, verified.out + verified.err
    facts = recorded(bench.folder / "state")
    (failed,) = [fact for fact in facts if fact["kind"] == "JournalFailed"]
    (recovered,) = [fact for fact in facts if fact["kind"] == "JournalRecovered"]
    asked = [
        fact["request"]["client_order_id"] for fact in facts if fact["kind"] == "OrderRequested"
    ]
    assert asked == ["held", "more", "even-more", "exit", "later"]
    assert recovered["first_seq"] < failed["seq"] <= recovered["last_seq"] < recovered["seq"]
    assert recovered["began_utc_us"] < recovered["utc_us"]
    assert recovered["decisions"] == sum(
        recovered["first_seq"] <= fact["seq"] <= recovered["last_seq"] for fact in facts
    )
    (outage,) = json.loads(verified.out)["outages"]
    assert (outage["first_seq"], outage["last_seq"]) == (
        recovered["first_seq"],
        recovered["last_seq"],
    )
    trades = {fact["trade"]["trade_id"] for fact in facts if fact["kind"] == "TradeReported"}
    assert {trade["id"] for trade in truth["trades"]} <= trades


async def listening(guard: Any) -> None:
    """Wait until the next guard answers, where the one before did."""
    async with asyncio.timeout(30):
        while True:
            with suppress(OSError):
                await guard.ask("GET", "/v1/health")
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("platform", LINUX)
async def test_what_a_person_halted_while_the_disk_took_nothing_outlives_a_kill(
    bench: Any, platform: str
) -> None:
    """No disk has it. The watchdog does, and tells the guard that it starts next."""
    assert platform
    async with bench.venue(), bench.guard(**SENDING) as guard:
        await guard.active()
        (process_id,) = guard.processes("guard")
        with full_disk(process_id):
            halted, _ = await guard.ask(
                "POST", "/v1/halt", {"reason": "the news", "operator": "eve"}
            )
            os.kill(process_id, signal.SIGKILL)
            async with asyncio.timeout(30):
                while process_id in guard.processes("guard"):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
        await listening(guard)
        status = await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")
        resumed, _ = await guard.ask(
            "POST", "/v1/resume", {"reason": "the news are out", "operator": "eve"}
        )
        await guard.active()

    assert halted == 200
    assert "halted by eve: the news" in json.dumps(status["reasons"])
    assert resumed == 200
    facts = recorded(bench.folder / "state")
    assert "HaltRequested" not in {fact["kind"] for fact in facts}
    assert [fact["latches"][0]["cause"] for fact in facts if "latches" in fact] == ["the news"]
