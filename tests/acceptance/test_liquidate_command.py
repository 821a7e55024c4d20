"""``backstop liquidate`` against real processes: flat and 0, or the truth and 1."""

import asyncio
import os
import signal
from typing import Any

from tests.acceptance.conftest import PATIENCE_S, PROGRAM

from backstop.simulator.contracts import listings
from backstop.simulator.sessions import trade_date

ACCOUNT_ID = 31_004_502
MES = "CON.F.US.MES."
SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}
ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "5000",
}


async def bought_by_hand(bench: Any, venue: Any) -> None:
    """Have somebody else buy two: the guard itself sends nothing."""
    contract_id = next(
        listing.active.id
        for listing in listings(trade_date((await venue.truth())["nowUs"]))
        if listing.active.id.startswith(MES)
    )
    order = {
        "account_id": ACCOUNT_ID,
        "contract_id": contract_id,
        "type": 2,
        "side": 0,
        "size": 2,
    }
    async with bench.session.post(f"{venue.url}/_simulator/manual-order", json=order) as answer:
        assert (await answer.json())["order_id"]


async def test_liquidate_ends_with_0_once_the_account_is_proven_flat(bench: Any) -> None:
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await guard.active()
        assert (await guard.ask("POST", "/v1/orders", ENTRY))[0] == 201
        await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        done = await bench.call("liquidate", "--yes", "--reason", "fire", **at)
        truth = await venue.truth()
        _, status = await guard.ask("GET", "/v1/status")
        _, listed = await guard.ask("GET", "/v1/liquidations")

    assert done.code == 0, done
    assert "FLAT" in done.out
    assert [row for row in truth["positions"] if row["quantity"]] == []
    assert {row["status"] for row in truth["orders"]} <= {"FILLED", "CANCELLED"}
    assert status["trading_state"] == "HALTED"
    assert listed["liquidations"][0]["causes"] == ["fire"]


async def test_liquidate_says_why_nothing_gets_closed(bench: Any) -> None:
    """The words of the venue, and what no stop covers, decide what a person does meanwhile."""
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await guard.active()
        await bought_by_hand(bench, venue)
        await guard.until("/v1/positions", lambda said: bool(said["positions"]))
        rule = {"on": "Position/closeContract", "act": "error_code", "code": 2, "count": 3}
        async with bench.session.post(
            f"{venue.url}/_simulator/faults", json={**rule, "message": "not now"}
        ) as answer:
            assert answer.status < 300
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        done = await bench.call("liquidate", "--yes", "--reason", "fire", **at)

    assert done.code == 0, done
    (closing,) = (it for it in done.out.splitlines() if "not now" in it)
    assert closing.startswith("CLOSING")
    assert "NO stop works for +2" in closing


async def test_liquidate_in_dry_run_ends_with_1_and_says_first_that_nothing_was_sent(
    bench: Any,
) -> None:
    async with bench.venue() as venue, bench.guard() as guard:
        await guard.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")
        await bought_by_hand(bench, venue)
        await guard.until("/v1/positions", lambda said: bool(said["positions"]))
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        done = await bench.call("liquidate", "--yes", **at)
        truth = await venue.truth()

    assert done.code == 1, done
    assert done.out.startswith("DRY RUN: NOTHING WAS SENT.")
    assert "position" in done.out
    assert "DRY_RUN=0 EXECUTE=1 backstop liquidate" in done.out
    assert [row["quantity"] for row in truth["positions"] if row["quantity"]] == [2]


async def test_liquidate_without_anybody_to_ask_is_2(bench: Any) -> None:
    at = {"BACKSTOP_LISTEN": "127.0.0.1:1", "TOPSTEPX_API_URL": "http://127.0.0.1:1"}
    unsure = await bench.call("liquidate", **SENDING, **at)

    assert unsure.code == 2
    assert "--yes" in unsure.err


async def test_in_dry_run_nobody_is_asked_for_there_is_nothing_to_regret(bench: Any) -> None:
    async with bench.venue(), bench.guard() as guard:
        await guard.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        asked = await bench.call("liquidate", **at)
        assert await guard.stop() == 0
        alone = await bench.call("liquidate", BACKSTOP_LISTEN="127.0.0.1:1")

    for done in (asked, alone):
        assert done.code == 1, done
        assert done.out.startswith("DRY RUN: NOTHING WAS SENT.")


async def test_a_guard_that_falls_silent_in_the_middle_is_replaced(bench: Any) -> None:
    """It has begun and nobody restarts it: who waited for it stops it and goes on."""
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await guard.active()
        assert (await guard.ask("POST", "/v1/orders", ENTRY))[0] == 201
        await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")
        await guard.until("/v1/positions", lambda said: bool(said["positions"][0]["stop"]))
        await _market(bench, venue, is_open=False)
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        waiting = asyncio.create_task(bench.call("liquidate", "--yes", **SENDING, **at))
        await guard.until("/v1/liquidations", lambda said: bool(said["liquidations"]))
        silent = guard.processes("watchdog") + guard.processes("guard")
        for process_id in silent:
            os.kill(process_id, signal.SIGSTOP)
        await _market(bench, venue, is_open=True)
        done = await waiting
        truth = await venue.truth()
        for process_id in guard.processes("watchdog"):
            os.kill(process_id, signal.SIGCONT)

    assert done.code == 0, done
    assert "The guard stopped answering." in done.err
    assert [row for row in truth["positions"] if row["quantity"]] == []
    assert {row["status"] for row in truth["orders"]} <= {"FILLED", "CANCELLED", "REJECTED"}


async def test_where_only_a_silent_guard_could_do_it_a_person_hears_at_once_what_would(
    bench: Any,
) -> None:
    """The keys that send are turned where the guard was started, and not in this terminal."""
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await guard.active()
        assert (await guard.ask("POST", "/v1/orders", ENTRY))[0] == 201
        await guard.until("/v1/positions", lambda said: bool(said["positions"]))
        await _market(bench, venue, is_open=False)
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        waiting = await bench.start("liquidate", "--yes", **at)
        await guard.until("/v1/liquidations", lambda said: bool(said["liquidations"]))
        for process_id in guard.processes("watchdog") + guard.processes("guard"):
            os.kill(process_id, signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE_S):
            said = (await waiting.stderr.readline()).decode()
        await _market(bench, venue, is_open=True)
        for process_id in guard.processes("watchdog") + guard.processes("guard"):
            os.kill(process_id, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_S):
            out, _ = await waiting.communicate()

    assert "The guard has stopped answering." in said
    assert "DRY_RUN=0 EXECUTE=1 backstop liquidate --yes" in said
    assert waiting.returncode == 0, out
    assert b"FLAT: " in out, "it came back"


async def _market(bench: Any, venue: Any, *, is_open: bool) -> None:
    body = {"open": is_open}
    async with bench.session.post(f"{venue.url}/_simulator/market", json=body) as answer:
        assert answer.status == 200


async def typed(bench: Any, answer: bytes, **settings: str) -> tuple[int | None, str]:
    """Run the command at a terminal where somebody answers its question."""
    terminal, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "liquidate",
        cwd=bench.folder,
        env=bench.environment(settings),
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        os.write(terminal, answer)
        async with asyncio.timeout(PATIENCE_S):
            out, _ = await process.communicate()
    finally:
        os.close(terminal)
        os.close(theirs)
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode()


async def test_a_person_who_says_no_and_an_unknown_symbol_change_nothing(bench: Any) -> None:
    async with bench.venue(), bench.guard(**SENDING) as guard:
        await guard.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        code, said = await typed(bench, b"n\n", **at)
        done = await bench.call("liquidate", "--yes", "--symbol", "XYZ", **at)
        _, status = await guard.ask("GET", "/v1/status")

    assert code == 1, said
    assert "positions: none known" in said
    assert "Nothing was done." in said
    assert done.code == 2, done
    assert "XYZ" in done.err
    assert status["trading_state"] == "ACTIVE"
