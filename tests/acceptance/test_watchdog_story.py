"""Guard and watchdog as real processes: whichever dies or freezes, the account is guarded again."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from backstop.core.watch_facts import SECOND_NS, Limits

PATIENCE_S = 30
LOOK_S = 0.02

VENUE = ("simulate", "--user", "bench-user", "--api-key", "bench-key-0123456789", "--history", "5")

ENTRY = {"symbol": "MES", "side": "BUY", "quantity": 1, "type": "MARKET", "stop_loss_price": "5000"}


@pytest.fixture(scope="module")
def venue_url() -> Iterator[str]:
    """Run one venue for all stories: none of them trades."""
    program = Path(sys.executable).with_name("backstop")
    with subprocess.Popen([program, *VENUE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        yield first.split()[4]
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.fixture(autouse=True)
def at_the_venue(bench: Any, venue_url: str) -> None:
    bench.settings["TOPSTEPX_API_URL"] = venue_url


def hastily(*, spare: str = "no", **limits: Any) -> list[str]:
    """Return options of a watchdog that loses its patience sooner."""
    return ["--limits", json.dumps(limits), "--spare", spare]


async def until(is_true: Callable[[], Any]) -> Any:
    """Look again until something is there; returns it."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := is_true()):  # noqa: ASYNC110 - other processes decide
            await asyncio.sleep(LOOK_S)
    return found


async def told(guard: Any, path: str, is_true: Callable[[Any], bool]) -> Any:
    """Ask until the answer is what is waited for; a guard that is away is asked again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(aiohttp.ClientError):
                _, said = await guard.ask("GET", path)
                if is_true(said):
                    return said
            await asyncio.sleep(LOOK_S)


async def active(guard: Any) -> Any:
    return await told(guard, "/v1/status", lambda said: said["trading_state"] == "ACTIVE")


async def one(guard: Any, verb: str, *, but: int = 0) -> int:
    """Return the process with this verb that is not the one before."""
    found = await until(lambda: [it for it in guard.processes(verb) if it != but])
    return int(found[0])


def dumps(bench: Any, what: str) -> list[Any]:
    folder = bench.folder / "state" / "crash"
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob(f"*Z-{what.lower()}-*.json"))
    ]


async def dump(bench: Any, what: str, is_it: Callable[[Any], bool] = bool) -> Any:
    """Return the first dump of a kind that is the one: on a busy machine there may be others."""
    return (await until(lambda: [it for it in dumps(bench, what) if is_it(it)]))[0]


# -- deaths ----------------------------------------------------------------------------------------


async def test_a_killed_guard_is_back_at_its_address_and_the_watchdog_is_the_same(
    bench: Any,
) -> None:
    async with bench.guard() as guard:
        before = await one(guard, "guard")
        os.kill(before, signal.SIGKILL)
        after = await one(guard, "guard", but=before)
        said = await active(guard)
        found = await dump(bench, "DIED")
        _, board = await guard.ask("GET", "/v1/alerts")

    assert before != after
    assert "GUARD_RESTARTED" in {it["code"] for it in board["alerts"]}, "it can be read there"
    assert said["heartbeats"]["watchdog"]["process_id"] == guard.process.pid
    assert said["heartbeats"]["watchdog"]["guard_restarts"] == 1
    assert found["process_id"] == before
    assert "exit code -9" in found["why"]
    assert any("GuardStarted" in record for record in found["records"])


async def test_a_folder_that_was_opened_meanwhile_holds_up_no_guard_that_comes_back(
    bench: Any,
) -> None:
    folder = bench.folder / "state"
    async with bench.guard() as guard:
        await active(guard)
        before = await one(guard, "guard")
        folder.chmod(0o777)
        os.kill(before, signal.SIGKILL)
        await one(guard, "guard", but=before)
        await active(guard)
        said = await told(
            guard,
            "/v1/alerts",
            lambda said: any(it["code"] == "STATE_FOLDER_OPEN" for it in said["alerts"]),
        )

    (alert,) = [it for it in said["alerts"] if it["code"] == "STATE_FOLDER_OPEN"]
    assert alert["severity"] == "CRITICAL"
    assert f"{folder} had mode 0777" in alert["message"]
    assert folder.stat().st_mode & 0o777 == 0o755


async def test_both_are_recognised_by_their_command_lines_and_the_guard_listens(
    bench: Any,
) -> None:
    async with bench.guard() as guard:
        watchdogs, guards = guard.processes("watchdog"), guard.processes("guard")
        port = guard.url.rpartition(":")[2]

        assert watchdogs == [guard.process.pid]
        assert len(guards) == 1
        assert [it for it in (*watchdogs, *guards) if listens(it, int(port))] == guards


def listens(process_id: int, port: int) -> bool:
    """Say whether a process holds the socket that listens at ``port``."""
    listening = {
        row.split()[9]
        for row in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        if row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A"
    }
    held = set()
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(OSError):
            held.add(str(descriptor.readlink()).removeprefix("socket:[").rstrip("]"))
    return bool(held & listening)


@pytest.mark.scenario("G5")
async def test_without_its_watchdog_a_guard_refuses_entries_until_there_is_another(
    bench: Any,
) -> None:
    async with bench.guard() as guard:
        await active(guard)
        before = await one(guard, "guard")
        os.kill(guard.process.pid, signal.SIGKILL)

        said = await told(guard, "/v1/health", lambda said: "WATCHDOG_LOST" in said["reasons"])
        _, judged = await guard.ask("POST", "/v1/orders/validate", ENTRY)
        _, alerts = await guard.ask("GET", "/v1/alerts")
        assert said["status"] == "NOT_READY"
        assert judged["decision"] == "DENIED"
        assert "WATCHDOG_LOST" in {alert["code"] for alert in alerts["alerts"]}

        another = await one(guard, "watchdog", but=guard.process.pid)
        back = await active(guard)
        assert back["heartbeats"]["watchdog"]["process_id"] == another
        assert await one(guard, "guard") == before

        os.kill(another, signal.SIGTERM)
        await until(lambda: not guard.processes("guard") and not guard.processes("watchdog"))


async def test_a_stop_that_finds_the_second_watchdog_still_loading_is_not_lost(bench: Any) -> None:
    async with bench.guard() as guard:
        await active(guard)
        os.kill(guard.process.pid, signal.SIGKILL)
        os.kill(await one(guard, "watchdog", but=guard.process.pid), signal.SIGTERM)

        await until(lambda: not guard.processes("guard") and not guard.processes("watchdog"))


async def test_the_second_watchdog_restarts_the_guard_like_the_first(bench: Any) -> None:
    async with bench.guard(hastily=hastily()) as guard:
        first = await one(guard, "guard")
        os.kill(guard.process.pid, signal.SIGKILL)
        watchdog = await one(guard, "watchdog", but=guard.process.pid)
        await told(guard, "/v1/status", lambda said: _watchdog(said) == watchdog)
        os.kill(first, signal.SIGKILL)
        second = await one(guard, "guard", but=first)
        said = await active(guard)

    assert first != second
    assert said["heartbeats"]["watchdog"]["process_id"] == watchdog


def _watchdog(status: Any) -> Any:
    """Return the process that the guard last heard a beat of; None before the first."""
    return status["heartbeats"]["watchdog"]["process_id"]


async def test_a_guard_that_dies_while_its_second_watchdog_is_loaded_is_back_at_its_address(
    bench: Any,
) -> None:
    async with bench.guard(hastily=hastily()) as guard:
        first = await one(guard, "guard")
        os.kill(guard.process.pid, signal.SIGKILL)
        watchdog = await one(guard, "watchdog", but=guard.process.pid)
        os.kill(first, signal.SIGKILL)
        said = await active(guard)

        assert _watchdog(said) == watchdog
        assert guard.processes("watchdog") == [watchdog]


async def test_after_a_power_cut_nothing_is_left_and_a_new_run_guards(bench: Any) -> None:
    async with bench.guard() as guard:
        await active(guard)
        await guard.kill()
        await until(lambda: not guard.processes("guard") and not guard.processes("watchdog"))
    async with bench.guard() as guard:
        assert (await active(guard))["trading_state"] == "ACTIVE"


async def test_a_loaded_spare_takes_over(bench: Any) -> None:
    async with bench.guard(hastily=hastily(spare="0")) as guard:
        before, spare = await one(guard, "guard"), await one(guard, "spare")
        os.kill(before, signal.SIGKILL)

        assert await one(guard, "guard", but=before) == spare
        await active(guard)
        assert await guard.stop() == 0


# -- freezes ---------------------------------------------------------------------------------------

FROZEN_SOON = {"stale_ns": SECOND_NS, "frozen_ns": 3 * SECOND_NS}


async def test_a_stopped_guard_is_killed_and_started_again(bench: Any) -> None:
    async with bench.guard(hastily=hastily(**FROZEN_SOON)) as guard:
        await active(guard)
        before = await one(guard, "guard")
        os.kill(before, signal.SIGSTOP)
        after = await one(guard, "guard", but=before)
        await active(guard)
        stale = await dump(bench, "STALE", lambda it: "stopped" in it["state"]["process"])
        frozen = await dump(bench, "FROZEN")

    assert after != before
    assert "no pulse" in stale["why"]
    assert frozen["process_id"] == before


async def test_a_guard_that_goes_on_in_time_is_left_alone(bench: Any) -> None:
    patient = hastily(stale_ns=SECOND_NS // 2, frozen_ns=60 * SECOND_NS)
    async with bench.guard(hastily=patient) as guard:
        await active(guard)
        before = await one(guard, "guard")
        os.kill(before, signal.SIGSTOP)
        await dump(bench, "STALE", lambda it: "stopped" in it["state"]["process"])
        os.kill(before, signal.SIGCONT)
        said = await active(guard)

        assert await one(guard, "guard") == before
        assert said["heartbeats"]["watchdog"]["guard_restarts"] == 0


BLOCKS_ITS_LOOP = """
import os, signal, sys, threading, time

def lie(line):
    pulse = (b'{"kind":"Pulse","turns":1,"steps":9,"journal_seq":9,"audit_age_ms":1,'
             b'"holdings":"NONE","stall_ms_max":0}\\n')
    while True:
        os.write(line, pulse)
        time.sleep(0.1)

def block_the_loop(*_):
    line = int(sys.argv[sys.argv.index("--line") + 1])
    threading.Thread(target=lie, args=(line,), daemon=True).start()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass

signal.signal(signal.SIGUSR2, block_the_loop)
"""
"""Loaded into every process of the run: what a bug could do to a guard."""


@pytest.mark.scenario("G3")
async def test_a_busy_loop_is_found_out_although_a_thread_goes_on_sending_pulses(
    bench: Any,
) -> None:
    (bench.folder / "sitecustomize.py").write_text(BLOCKS_ITS_LOOP, encoding="utf-8")
    settings = {"PYTHONPATH": str(bench.folder)}
    async with bench.guard(hastily=hastily(**FROZEN_SOON), **settings) as guard:
        await active(guard)
        before = await one(guard, "guard")
        os.kill(before, signal.SIGUSR2)
        after = await one(guard, "guard", but=before)
        await active(guard)
        await dump(bench, "STALE", lambda it: "block_the_loop" in str(it["stacks"]))
        frozen = await dump(bench, "FROZEN")

    assert after != before
    assert frozen["process_id"] == before


async def test_a_watchdog_that_stands_still_is_missed_and_welcome_when_it_goes_on(
    bench: Any,
) -> None:
    async with bench.guard() as guard:
        await active(guard)
        os.kill(guard.process.pid, signal.SIGSTOP)
        await told(guard, "/v1/health", lambda said: "WATCHDOG_LOST" in said["reasons"])
        os.kill(guard.process.pid, signal.SIGCONT)
        said = await active(guard)

        assert guard.processes("watchdog") == [guard.process.pid]
        assert said["heartbeats"]["watchdog"]["guard_restarts"] == 0


# -- crash loops and ends --------------------------------------------------------------------------


async def test_a_guard_that_dies_again_and_again_is_started_with_pauses_and_never_given_up(
    bench: Any,
) -> None:
    loops = hastily(crashes_max=2, pauses_ns=[SECOND_NS])
    async with bench.guard(hastily=loops) as guard:
        last = 0
        for _ in range(3):
            last = await one(guard, "guard", but=last)
            os.kill(last, signal.SIGKILL)
        await one(guard, "guard", but=last)
        said = await active(guard)

    assert said["heartbeats"]["watchdog"]["guard_restarts"] == 3


async def test_a_stop_during_a_pause_ends_with_0(bench: Any) -> None:
    loops = hastily(crashes_max=1, pauses_ns=[600 * SECOND_NS])
    async with bench.guard(hastily=loops) as guard:
        os.kill(await one(guard, "guard"), signal.SIGKILL)
        await until(lambda: not guard.processes("guard"))

        assert await guard.stop() == 0


@contextmanager
def beginning_with(number: signal.Signals, action: signal.Handlers) -> Iterator[None]:
    """Let programs that are started inside begin as on a terminal, or as under ``nohup``.

    These tests may themselves run under ``nohup`` or in the background, and hand it down.
    """
    before = signal.signal(number, action)
    try:
        yield
    finally:
        signal.signal(number, before)


async def test_under_nohup_the_end_of_the_terminal_stops_nothing(bench: Any) -> None:
    with beginning_with(signal.SIGHUP, signal.SIG_IGN):
        async with bench.guard() as guard:
            for number in [guard.process.pid, await one(guard, "guard")]:
                os.kill(number, signal.SIGHUP)

            status, _ = await guard.ask("GET", "/v1/status")
            assert status == 200
            assert await guard.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_to_stop_ends_every_process_with_0(
    bench: Any, number: signal.Signals
) -> None:
    with beginning_with(number, signal.SIG_DFL):
        async with bench.guard() as guard:
            guard.process.send_signal(number)
            async with asyncio.timeout(PATIENCE_S):
                code = await guard.process.wait()

            assert code == 0
            assert not any(map(guard.processes, ("guard", "watchdog", "spare")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_that_all_are_told_ends_with_0_and_alarms_nobody(
    bench: Any, number: signal.Signals
) -> None:
    """Ctrl-C in a terminal, and a service manager that tells every process of the service."""
    with beginning_with(number, signal.SIG_DFL):
        process = await bench.start("run", BACKSTOP_ALERT_URLS="json://127.0.0.1:1/")
        try:
            async with asyncio.timeout(PATIENCE_S):
                while b"ALERT_CHANNEL_UNREACHED" not in (line := await process.stderr.readline()):
                    assert line, "it ended before its courier had said anything"
                os.killpg(process.pid, number)
                _, said = await process.communicate()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    assert process.returncode == 0
    assert b"courier" not in said
    assert b"Traceback" not in said


async def test_a_guard_that_is_told_to_stop_by_itself_is_back_while_a_position_is_open(
    bench: Any,
) -> None:
    """The signal of a person who takes the wrong process, or of a system short of memory."""
    async with bench.venue(), bench.guard(DRY_RUN="0", EXECUTE="1") as guard:
        await guard.active()
        assert (await guard.ask("POST", "/v1/orders", {**ENTRY, "client_order_id": "e-1"}))[
            0
        ] == 201
        await told(guard, "/v1/positions", lambda said: said["positions"])
        before = await one(guard, "guard")
        os.kill(before, signal.SIGTERM)
        said = await told(
            guard,
            "/v1/status",
            lambda said: said["trading_state"] == "ACTIVE" and _restarts(said) == 1,
        )
        assert await one(guard, "guard") != before
        assert [row["quantity"] for row in said["positions"]] == [1]
        _, listed = await guard.ask("GET", "/v1/liquidations")
        assert listed["liquidations"] == [], "a clean stop is no downtime"
        assert await guard.stop() == 0


def _restarts(said: Any) -> int:
    restarts: int = (said["heartbeats"]["watchdog"] or {}).get("guard_restarts", 0)
    return restarts


async def test_a_guard_of_a_flat_account_that_is_told_to_stop_ends_its_watchdog(
    bench: Any,
) -> None:
    async with bench.venue(), bench.guard() as guard:
        await guard.active()
        os.kill(await one(guard, "guard"), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await guard.process.wait() == 0


async def test_a_guard_that_does_not_stop_is_ended_in_time(bench: Any) -> None:
    (bench.folder / "sitecustomize.py").write_text(BLOCKS_ITS_LOOP, encoding="utf-8")
    async with bench.guard(PYTHONPATH=str(bench.folder)) as guard:
        os.kill(await one(guard, "guard"), signal.SIGUSR2)

        assert await guard.stop() == 0
        assert guard.processes("guard") == []


# -- an account that was left alone ----------------------------------------------------------------


async def test_an_account_that_was_left_alone_for_too_long_is_taken_flat(bench: Any) -> None:
    loops = hastily(crashes_max=1, pauses_ns=[600 * SECOND_NS])
    sending = {"DRY_RUN": "0", "EXECUTE": "1", "EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES": "0.05"}
    async with bench.venue() as venue, bench.guard(hastily=loops, **sending) as guard:
        await guard.active()
        assert (await guard.ask("POST", "/v1/orders", {**ENTRY, "client_order_id": "e-1"}))[
            0
        ] == 201
        await told(guard, "/v1/positions", lambda said: said["positions"])
        await told(guard, "/v1/status", lambda said: _watchdog(said) == guard.process.pid)
        os.kill(await one(guard, "guard"), signal.SIGKILL)

        async with asyncio.timeout(2 * PATIENCE_S):
            while (await venue.truth())["positions"]:  # noqa: ASYNC110 - other processes decide
                await asyncio.sleep(LOOK_S)
        said = await told(guard, "/v1/status", lambda said: said["trading_state"] == "HALTED")

    assert any("no sound guard" in reason for reason in said["reasons"])


async def test_people_hear_of_a_guard_that_died(bench: Any) -> None:
    heard: list[str] = []

    async def take(request: web.Request) -> web.Response:
        heard.append((await request.json())["title"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/alerts", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"json://127.0.0.1:{runner.addresses[0][1]}/alerts"
    async with bench.guard(hastily=hastily(), BACKSTOP_ALERT_URLS=url) as guard:
        os.kill(await one(guard, "guard"), signal.SIGKILL)
        await until(lambda: any("GUARD_RESTARTED" in title for title in heard))
    await runner.cleanup()


# -- systemd ---------------------------------------------------------------------------------------


async def test_a_service_manager_hears_when_the_account_is_guarded_and_when_not(
    bench: Any,
) -> None:
    address, heard = bench.folder / "notify", []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.setblocking(False)

        async def listen() -> None:
            while True:
                heard.append(await asyncio.get_running_loop().sock_recv(manager, 4096))

        listening = asyncio.create_task(listen())
        async with bench.guard(NOTIFY_SOCKET=str(address)) as guard:
            await until(lambda: b"READY=1" in heard and b"WATCHDOG=1" in heard)
            assert b"STOPPING=1" not in heard
            await guard.stop()
            await until(lambda: b"STOPPING=1" in heard)
        listening.cancel()


def test_the_limits_that_stories_shorten_are_those_that_are_promised() -> None:
    limits = Limits()

    assert (limits.stale_ns, limits.frozen_ns) == (2 * SECOND_NS, 10 * SECOND_NS)
    assert (limits.crashes_max, limits.crash_window_ns) == (5, 60 * SECOND_NS)
