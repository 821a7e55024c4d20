"""The program as its users start it: good starts, refused starts, and reading beside a guard."""

import asyncio
import json
import socket
import sys
from typing import Any

import pytest

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}

NAMED_FAULTS = [
    ({"TOPSTEPX_API_KEY": "", "TOPSTEPX_USERNAME": ""}, ["TOPSTEPX_API_KEY", "TOPSTEPX_USERNAME"]),
    ({"MAX_CORRELATION_EXPOSURE": "much"}, ["MAX_CORRELATION_EXPOSURE", "much"]),
    ({"BACKSTOP_LISTEN": "0.0.0.0:0", "BACKSTOP_API_TOKEN": "t" * 20}, ["BACKSTOP_LISTEN", "TLS"]),
    ({"BACKSTOP_LISTEN": "0.0.0.0:0", "BACKSTOP_API_TOKEN": "t"}, ["BACKSTOP_LISTEN", "guessed"]),
]


async def test_a_guard_is_read_by_every_reading_verb(bench: Any) -> None:
    async with bench.venue(), bench.guard(**SENDING) as guard:
        await guard.active()
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        body = {
            "client_order_id": "entry-1",
            "symbol": "MES",
            "side": "BUY",
            "quantity": 1,
            "type": "MARKET",
            "stop_loss_price": "5000",
        }
        assert (await guard.ask("POST", "/v1/orders", body))[0] == 201
        await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")

        status = await bench.call("status", "--json", **at)
        positions = await bench.call("positions", "--json", **at)
        exposure = await bench.call("exposure", "--json", **at)
        table = await bench.call("exposure", **at)
        # Another stop than the order above has: an equal one would count as its duplicate.
        order = ("MES", "BUY", "1", "--stop-loss", "5100")
        good = await bench.call("validate", *order, **at)
        bad = await bench.call("validate", "MES", "BUY", "1", **at)
        orders = await bench.call("audit", "orders", "--json")
        shown = await bench.call("audit", "show", "entry-1", "--json")

    for call in (status, positions, exposure, table, good, orders, shown):
        assert call.code == 0, call
    assert bad.code == 1, bad
    assert json.loads(status.out)["trading_state"] == "ACTIVE"
    assert json.loads(positions.out)["positions"][0]["quantity"] == 1
    assert json.loads(exposure.out)["roots"][0]["symbol"] == "MES"
    assert set(json.loads(exposure.out)["matrix"]) == {"ES", "NQ"}
    assert "ES_NQ_COMBINED" in table.out
    assert "ES/NQ" in table.out
    assert json.loads(orders.out)["orders"]
    assert json.loads(shown.out)["order"]["Status"] == "FILLED"
    assert json.loads(shown.out)["fills"][0]["FillQuantity"] == 1


async def test_sigterm_ends_the_guard_with_0_and_leaves_the_stop_at_the_venue(bench: Any) -> None:
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await guard.active()
        body = {
            "client_order_id": "entry-1",
            "symbol": "MES",
            "side": "BUY",
            "quantity": 1,
            "type": "MARKET",
            "stop_loss_price": "5000",
        }
        await guard.ask("POST", "/v1/orders", body)
        await guard.until(
            "/v1/positions", lambda said: said["positions"] and said["positions"][0]["stop"]
        )

        code = await guard.stop()
        truth = await venue.truth()

    assert code == 0
    assert [order["status"] for order in truth["orders"] if order["leg"]] == ["OPEN"]


@pytest.mark.parametrize(("settings", "named"), NAMED_FAULTS)
async def test_an_unusable_set_up_is_named_before_the_gateway_is_contacted(
    bench: Any, settings: dict[str, str], named: list[str]
) -> None:
    contacts: list[object] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        contacts.append(reader)
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await bench.call("run", TOPSTEPX_API_URL=f"http://127.0.0.1:{port}", **settings)

    assert (outcome.code, outcome.out) == (2, "")
    assert all(word in outcome.err for word in named)
    assert "Traceback" not in outcome.err
    assert contacts == []


async def test_a_port_in_use_is_named(bench: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = await bench.call(
            "run",
            BACKSTOP_LISTEN=f"127.0.0.1:{port}",
            TOPSTEPX_API_URL="http://127.0.0.1:9",
        )

    assert (outcome.code, outcome.out) == (2, "")
    assert f"port {port} on 127.0.0.1 is in use" in outcome.err


async def test_a_refused_login_is_told_with_its_reason(bench: Any) -> None:
    async with bench.venue():
        outcome = await bench.call("run", TOPSTEPX_API_KEY="a-key-that-is-not-right")

    assert (outcome.code, outcome.out) == (2, "")
    assert "TOPSTEPX_API_KEY" in outcome.err
    assert "a-key-that-is-not-right" not in outcome.err
    assert "Traceback" not in outcome.err


NOT_SURELY_HERE = "0.0.0.0"  # noqa: S104 - it is connected to, never bound
"""Leads to this machine and to nobody else, and counts as a real gateway all the same."""


async def test_who_sends_to_a_real_gateway_reads_it_large_with_every_door_that_is_open(
    bench: Any,
) -> None:
    far = {"TOPSTEPX_API_URL": f"https://{NOT_SURELY_HERE}:1"}
    async with bench.guard(**SENDING, **far, CORRELATION_PROTECTION_ENABLE="0") as guard:
        lines = guard.banner.splitlines()
        told = await bench.call("status", BACKSTOP_LISTEN=guard.url.removeprefix("http://"))
        _, status = await guard.ask("GET", "/v1/status")

    large = next(it for it in lines if it.startswith("SENDING"))
    host = far["TOPSTEPX_API_URL"].removeprefix("https://")
    assert large == f"SENDING: REAL ORDERS GO TO {host}, ACCOUNT 31004502"
    bar = "=" * len(large)
    assert lines[lines.index(large) - 1] == lines[lines.index(large) + 1] == bar
    warnings = [it.removeprefix("WARNING ") for it in lines if it.startswith("WARNING ")]
    assert [it for it in warnings if it.startswith("BACKSTOP_CALENDAR=always-open")]
    assert [it for it in warnings if it.startswith("CORRELATION_PROTECTION_ENABLE=0")]
    assert large in told.out
    for warning in warnings:
        assert warning in told.out
    assert status["gates"]["warnings"] == warnings
    assert (status["gates"]["gateway"], status["gates"]["real"]) == (host, True)


async def test_half_a_gateway_elsewhere_is_2(bench: Any) -> None:
    split = {
        "TOPSTEPX_API_URL": "http://127.0.0.1:1",
        "TOPSTEPX_USER_HUB_URL": "https://gateway.invalid/hubs/user",
    }
    outcome = await bench.call("run", **split, **SENDING)

    assert (outcome.code, outcome.out) == (2, "")
    assert "TOPSTEPX_USER_HUB_URL is gateway.invalid" in outcome.err


async def test_a_second_guard_on_the_account_is_refused(bench: Any) -> None:
    async with bench.venue(), bench.guard():
        outcome = await bench.call("run", BACKSTOP_STATE_DIR=str(bench.folder / "other"))

    assert (outcome.code, outcome.out) == (2, "")
    assert "Traceback" not in outcome.err


async def test_a_secret_is_not_taken_from_the_command_line(bench: Any) -> None:
    outcome = await bench.call("run", "--set", "TOPSTEPX_API_KEY=from-the-command-line")

    assert outcome.code == 2
    assert "from-the-command-line" not in outcome.err


async def test_the_command_line_beats_the_environment(bench: Any) -> None:
    outcome = await bench.call(
        "run",
        "--set",
        "BACKSTOP_LISTEN=nowhere",
        TOPSTEPX_API_URL="http://127.0.0.1:9",
    )

    assert outcome.code == 2
    assert "from the command line" in outcome.err


async def test_the_guard_is_armed_without_the_web_framework() -> None:
    """What the guard does not load before it is armed cannot delay its return after a crash."""
    program = (
        "import sys, backstop.entrypoints.daemon;"
        "print([name for name in ('typer', 'fastapi', 'uvicorn', 'pydantic', 'starlette')"
        " if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    assert out.decode().strip() == "[]"
