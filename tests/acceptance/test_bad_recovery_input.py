"""What recovery and liquidation cannot use, as a person sees it at the terminal who starts them.

Each is named, with what is true now and what to do; a plan never shows a traceback.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_format import file_content

ACCOUNT_ID = 31_004_502
SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}
NOBODY = {"BACKSTOP_LISTEN": "127.0.0.1:1"}
ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 1,
    "type": "MARKET",
    "stop_loss_price": "5500",
}


async def left_behind(bench: Any) -> None:
    """Hold a protected position that nobody guards any more."""
    async with bench.guard(**SENDING) as guard:
        await guard.active()
        status, said = await guard.ask("POST", "/v1/orders", ENTRY)
        assert status == 201, said
        await guard.until(
            "/v1/positions", lambda said: said["positions"] and said["positions"][0]["stop"]
        )
        assert await guard.stop() == 0


def rewritten(folder: Path, **changes: Any) -> None:
    """Write every generation anew as another program, or another machine, would have."""
    for found in tuple(StateFiles(folder).generations(ACCOUNT_ID)):
        assert found.checkpoint is not None
        assert found.heartbeat is not None
        boot_id = changes.get("boot_id", found.heartbeat.boot_id)
        content = file_content(
            replace(found.checkpoint, **changes), replace(found.heartbeat, boot_id=boot_id)
        )
        found.path.write_bytes(content)


# -- the state folder ------------------------------------------------------------------------------


async def test_the_state_of_another_version_is_named_and_the_record_read_instead(
    bench: Any,
) -> None:
    async with bench.venue():
        await left_behind(bench)
        rewritten(bench.folder / "state", software="99.0")
        told = await bench.call("recover", "--dry-run", **SENDING)

    assert told.code == 0, told.err
    assert "Backstop 99.0 wrote it" in told.out
    assert "the journal is read instead" in told.out
    assert re.search(r"MES +\+1 +\+1", told.out), "what is held is known all the same"
    assert "by a person" in told.out, "an upgrade is no crash, however long it took"


async def test_the_state_of_another_boot_says_that_the_downtime_is_by_the_time_of_day(
    bench: Any,
) -> None:
    """A copy on another machine, or a power cut: monotonic times of then mean nothing now."""
    async with bench.venue():
        await left_behind(bench)
        rewritten(bench.folder / "state", boot_id="another boot", machine="another machine")
        told = await bench.call("recover", "--dry-run", **SENDING)
        planned = json.loads((await bench.call("recover", "--dry-run", "--json", **SENDING)).out)

    assert told.code == 0, told.err
    assert "by the time of day" in told.out
    assert planned["plan"]["wall_clock"]


# -- the threshold ---------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", ["0", "-1", "0.001", "soon", "NaN", "2000"])
async def test_a_threshold_that_is_none_is_refused_before_the_gateway_is_contacted(
    bench: Any, minutes: str
) -> None:
    unusable = {"EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES": minutes}
    refused = await bench.call("run", TOPSTEPX_API_URL="http://127.0.0.1:1", **unusable)

    assert (refused.code, refused.out) == (2, "")
    assert "EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES" in refused.err
    assert "0.01 to 1440" in refused.err, "the allowed range"
    assert "Traceback" not in refused.err


# -- a liquidation that nobody hears of, or that cannot log in -------------------------------------


@asynccontextmanager
async def a_service() -> AsyncIterator[tuple[str, list[str]]]:
    """Run a service that takes alerts; yields its address and the titles that it was told."""
    heard: list[str] = []

    async def take(request: web.Request) -> web.Response:
        heard.append((await request.json())["title"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/alerts", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"json://127.0.0.1:{runner.addresses[0][1]}/alerts", heard
    finally:
        await runner.cleanup()


async def test_a_liquidation_without_a_guard_tells_people_itself(bench: Any) -> None:
    async with bench.venue() as venue, a_service() as (url, heard):
        await left_behind(bench)
        done = await bench.call("liquidate", "--yes", **SENDING, **NOBODY, BACKSTOP_ALERT_URLS=url)
        truth = await venue.truth()

    assert done.code == 0, done
    assert truth["positions"] == []
    for code in ("LIQUIDATION_BEGUN", "LIQUIDATION_FLAT"):
        assert any(code in title for title in heard), heard
    assert "ALERT NOT DELIVERED" not in done.out


async def test_an_alert_address_that_nobody_answers_at_is_named_and_hinders_nothing(
    bench: Any,
) -> None:
    nowhere = "json://127.0.0.1:1/alerts?token=hush-hush"
    async with bench.venue() as venue:
        await left_behind(bench)
        done = await bench.call(
            "liquidate", "--yes", **SENDING, **NOBODY, BACKSTOP_ALERT_URLS=nowhere
        )
        tried = await bench.call("alerts", "test", BACKSTOP_ALERT_URLS=nowhere)
        truth = await venue.truth()

    assert done.code == 0, done
    assert truth["positions"] == []
    assert "FLAT: two fresh reads" in done.out
    assert "ALERT NOT DELIVERED: channel 1 (json)" in done.out
    assert "backstop alerts test" in done.out
    assert tried.code == 1, tried
    assert "hush" not in done.out + done.err + tried.out + tried.err


async def test_a_channel_that_nobody_answers_at_is_told_at_the_start_by_the_other(
    bench: Any,
) -> None:
    async with bench.venue(), a_service() as (url, heard):
        both = f"json://127.0.0.1:1/alerts?token=hush-hush {url}"
        async with bench.guard(**SENDING, BACKSTOP_ALERT_URLS=both) as guard:
            said = await guard.until("/v1/alerts", lambda said: bool(said["alerts"]))
            _, status = await guard.ask("GET", "/v1/status")
            await guard.until(
                "/v1/alerts",
                lambda said: any(it["delivered"] for it in said["alerts"][0]["deliveries"]),
            )
            assert await guard.stop() == 0

    assert [it["code"] for it in said["alerts"]] == ["ALERT_CHANNEL_UNREACHED"]
    assert "channel 1 (json) cannot be reached: Connection refused" in said["alerts"][0]["message"]
    assert "backstop alerts test" in said["alerts"][0]["message"]
    assert any("channel 1 (json)" in it for it in status["gates"]["warnings"])
    assert status["heartbeats"]["faults"].keys() <= {"alerts"}
    assert any("ALERT_CHANNEL_UNREACHED" in title for title in heard)
    assert "hush" not in json.dumps((said, status))


async def test_an_only_channel_that_nobody_answers_at_keeps_no_guard_from_being_ready(
    bench: Any,
) -> None:
    async with bench.venue(), bench.guard(BACKSTOP_ALERT_URLS="json://127.0.0.1:1/") as guard:
        said = await guard.until("/v1/alerts", lambda said: bool(said["alerts"]))
        await guard.active()
        status, health = await guard.ask("GET", "/v1/health")

    assert [it["code"] for it in said["alerts"]] == ["ALERT_CHANNEL_UNREACHED"]
    assert (status, health["status"]) == (200, "OK"), health


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ("discrod://hush/hush", "address 1 of 1 has the scheme discrod://"),
        ("json://127.0.0.1:1/a hush-hush", "address 2 of 2 has no scheme"),
    ],
)
async def test_an_alert_address_that_is_none_is_refused_before_anything_runs(
    bench: Any, urls: str, words: str
) -> None:
    refused = await bench.call("run", BACKSTOP_ALERT_URLS=urls)

    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err
    assert "nobody is called by it" in refused.err
    assert "json://HOST:PORT/PATH" in refused.err, "what is allowed"
    assert "hush" not in refused.err
    assert not (bench.folder / "state").exists()


async def test_an_alert_address_that_is_none_hinders_no_liquidation_and_no_halt(
    bench: Any,
) -> None:
    slip = {"BACKSTOP_ALERT_URLS": "discrod://hush/hush"}
    async with bench.venue() as venue:
        await left_behind(bench)
        done = await bench.call("liquidate", "--yes", **SENDING, **NOBODY, **slip)
        truth = await venue.truth()
        halted = await bench.call("halt", "--reason", "a slip elsewhere", **NOBODY, **slip)

    assert done.code == 0, done
    assert truth["positions"] == []
    assert "scheme discrod://" in done.err
    assert "It is done without" in done.err
    assert "hush" not in done.out + done.err
    assert "No guard answers" in halted.err or "BACKSTOP_ALERT_URLS" not in halted.err, halted


async def test_a_liquidation_that_is_not_let_in_says_what_stays_open_and_calls_people(
    bench: Any,
) -> None:
    async with bench.venue() as venue, a_service() as (url, heard):
        await left_behind(bench)
        refused = await bench.call(
            "liquidate",
            "--yes",
            **SENDING,
            **NOBODY,
            BACKSTOP_ALERT_URLS=url,
            TOPSTEPX_API_KEY="wrong-key-0123456789",
        )
        truth = await venue.truth()

    assert refused.code == 1, refused
    assert "NOT FLAT" in refused.out
    assert re.search(r"position +MES +\+1", refused.out), refused.out
    assert "backstop liquidate --yes" in refused.out
    assert [row["quantity"] for row in truth["positions"]] == [1]
    assert any("LIQUIDATION_NOT_FLAT" in title for title in heard), heard


async def test_a_liquidation_without_credentials_says_what_is_missing_and_what_stays_open(
    bench: Any,
) -> None:
    refused = await bench.call("liquidate", "--yes", **SENDING, **NOBODY, TOPSTEPX_API_KEY="")

    assert refused.code == 2, refused
    assert "TOPSTEPX_API_KEY" in refused.err
    assert "stops that work at the venue stay" in refused.err
    assert "repeat the command" in refused.err
    assert "Traceback" not in refused.err
