"""``backstop liquidate`` with no guard at work, told on the exchange's own truth."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.acceptance.conftest import PATIENCE_S

from backstop.adapters.clock import SystemClock
from backstop.config.settings import Settings
from backstop.core.policy import SECOND_NS
from backstop.emergency.right_to_send import lock_of_account
from backstop.emergency.runner import EmergencyLiquidation, Wanted
from backstop.emergency.spool import spool_places
from backstop.simulator.contracts import listings
from backstop.simulator.sessions import trade_date

ACCOUNT_ID = 31_004_502
SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}
NOBODY = {"BACKSTOP_LISTEN": "127.0.0.1:1"}
LOOK_S = 0.02


def entry(symbol: str, *, quantity: int, stop: str, target: str) -> dict[str, Any]:
    return {
        "client_order_id": f"entry-{symbol}",
        "symbol": symbol,
        "side": "BUY",
        "quantity": quantity,
        "type": "MARKET",
        "stop_loss_price": stop,
        "take_profit_price": target,
    }


MES = entry("MES", quantity=2, stop="5000", target="9000")
MNQ = entry("MNQ", quantity=1, stop="15000", target="30000")


async def bought_by_hand(bench: Any, venue: Any, symbol: str, quantity: int = 1) -> None:
    """Have somebody else buy at the platform."""
    contract_id = next(
        listing.active.id
        for listing in listings(trade_date((await venue.truth())["nowUs"]))
        if listing.active.id.split(".")[3] == symbol
    )
    order = {
        "account_id": ACCOUNT_ID,
        "contract_id": contract_id,
        "type": 2,
        "side": 0,
        "size": quantity,
    }
    async with bench.session.post(f"{venue.url}/_simulator/manual-order", json=order) as answer:
        assert (await answer.json())["order_id"]


async def trading(guard: Any, *orders: dict[str, Any]) -> None:
    """Have the guard buy, and wait until its stops work."""
    await guard.active()
    for order in orders:
        status, said = await guard.ask("POST", "/v1/orders", order)
        assert status == 201, said
        await guard.until(
            f"/v1/orders/{order['client_order_id']}", lambda said: said["state"] == "FILLED"
        )
    await guard.until(
        "/v1/positions",
        lambda said: sum(bool(row["stop"]) for row in said["positions"]) >= len(orders),
    )


async def truly(venue: Any, is_true: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(2 * PATIENCE_S):
        while not is_true(truth := await venue.truth()):  # noqa: ASYNC110 - other processes decide
            await asyncio.sleep(LOOK_S)
    return truth


def held(truth: Any) -> list[int]:
    return sorted(row["quantity"] for row in truth["positions"] if row["quantity"])


def working(truth: Any) -> list[Any]:
    return [
        row for row in truth["orders"] if row["status"] not in {"FILLED", "CANCELLED", "REJECTED"}
    ]


def never_turned_round(truth: Any) -> bool:
    """Say whether no contract was ever sold that had not been bought before."""
    running: dict[str, int] = {}
    for row in sorted(truth["trades"], key=lambda row: row["id"]):
        running[row["contractId"]] = running.get(row["contractId"], 0) + row["quantity"]
        if running[row["contractId"]] < 0:
            return False
    return bool(running)


# -- nothing else running --------------------------------------------------------------------------


async def test_with_no_guard_at_work_the_account_is_taken_flat_and_stays_latched(
    bench: Any,
) -> None:
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await trading(guard, MES, MNQ)
            await guard.kill()
        await bought_by_hand(bench, venue, "EP")
        before = await truly(venue, lambda truth: len(held(truth)) == 3)
        done = await bench.call("liquidate", "--yes", "--reason", "fire", **SENDING, **NOBODY)
        truth = await venue.truth()
        async with bench.guard(**SENDING) as guard:
            status = await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")
            refused, _ = await guard.ask("POST", "/v1/orders", {**MES, "client_order_id": "new"})
            _, listed = await guard.ask("GET", "/v1/liquidations")
            assert await guard.stop() == 0
        verified = await bench.call("audit", "verify")
        async with bench.guard(**SENDING) as guard:  # and the file is not folded in twice
            await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")
            _, again = await guard.ask("GET", "/v1/liquidations")
            assert await guard.stop() == 0

    assert held(before) == [1, 1, 2]
    assert working(before)
    assert done.code == 0, done
    assert "FLAT: two fresh reads show nothing left." in done.out
    assert held(truth) == []
    assert working(truth) == []
    assert refused == 422
    assert any("fire" in reason for reason in status["reasons"]), status["reasons"]
    assert [(row["state"], row["causes"]) for row in listed["liquidations"]] == [("FLAT", ["fire"])]
    assert again["liquidations"] == listed["liquidations"]
    assert verified.code == 0, verified
    assert list((bench.folder / "state").glob("emergency-*.recorded"))


async def test_one_contract_alone_is_taken_flat_and_the_others_keep_their_stops(bench: Any) -> None:
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await trading(guard, MES, MNQ)
            await guard.kill()
        done = await bench.call("liquidate", "--yes", "--symbol", "mnq", **SENDING, **NOBODY)
        truth = await venue.truth()
        unknown = await bench.call("liquidate", "--yes", "--symbol", "XYZ", **SENDING, **NOBODY)

    assert done.code == 0, done
    assert held(truth) == [2]
    assert len(working(truth)) == 2
    assert unknown.code == 2, unknown
    assert "XYZ" in unknown.err


async def test_a_state_folder_that_never_was_one_is_no_obstacle_and_json_says_how_it_ended(
    bench: Any,
) -> None:
    async with bench.venue() as venue:
        await bought_by_hand(bench, venue, "MES", 3)
        done = await bench.call("liquidate", "--yes", "--json", **SENDING, **NOBODY)
        truth = await venue.truth()
        async with bench.guard(**SENDING) as guard:
            await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")

    said = json.loads(done.out)
    assert done.code == 0, done
    assert (said["flat"], said["state"], said["remaining"]) == (True, "FLAT", [])
    assert held(truth) == []


async def test_a_close_whose_answer_is_late_is_not_asked_for_twice(bench: Any) -> None:
    """Two closes under way at once sell twice what is held."""
    close = "Position/closeContract"
    late = {"on": close, "act": "delay_response", "delay_ms": 1500, "count": None}
    async with bench.venue() as venue:
        await bought_by_hand(bench, venue, "MES", 2)
        await bought_by_hand(bench, venue, "MNQ", 1)
        await truly(venue, lambda truth: held(truth) == [1, 2])
        control = f"{venue.url}/_simulator/faults"
        async with bench.session.post(control, json=late) as answer:
            assert answer.ok, await answer.text()
        done = await bench.call("liquidate", "--yes", **SENDING, **NOBODY)
        async with bench.session.get(control) as answer:
            (rule,) = (await answer.json())["rules"]
        truth = await venue.truth()

    assert done.code == 0, done
    assert rule["matched"] == 2  # one for each position
    assert held(truth) == []
    assert never_turned_round(truth)


# -- what is broken does not hold it up ------------------------------------------------------------


async def test_a_damaged_record_is_named_and_the_account_is_taken_flat_all_the_same(
    bench: Any,
) -> None:
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await trading(guard, MES)
            await guard.kill()
        for path in (bench.folder / "state").glob("audit.db*"):
            path.write_bytes(b"\0" * path.stat().st_size)
        done = await bench.call("liquidate", "--yes", **SENDING, **NOBODY)
        truth = await venue.truth()

    assert done.code == 0, done
    assert "cannot be used" in done.out
    assert held(truth) == []
    assert working(truth) == []


async def test_the_record_of_another_account_is_left_alone_and_the_latch_is_kept_elsewhere(
    bench: Any,
) -> None:
    other = {"TOPSTEPX_ACCOUNT_ID": "31004501"}
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await trading(guard, MES)
            assert await guard.stop() == 0
        before = sorted((bench.folder / "state").rglob("*"))
        done = await bench.call("liquidate", "--yes", **SENDING, **NOBODY, **other)
        assert done.code == 0, done
        after = sorted((bench.folder / "state").rglob("*"))
        truth = await venue.truth()
        own = {"BACKSTOP_STATE_DIR": str(bench.folder / "other")}
        async with bench.guard(**SENDING, **other, **own) as guard:
            await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")
            assert await guard.stop() == 0

    assert "the record of account 31004502, not of 31004501" in done.out
    assert "Set BACKSTOP_STATE_DIR to the folder of this account" in done.out
    assert [it for it in after if it.name.startswith("emergency-")] == []
    assert [it for it in before if it not in after] == []
    assert held(truth) == [2]


async def test_a_folder_that_takes_nothing_is_named_and_the_latch_is_kept_elsewhere(
    bench: Any,
) -> None:
    state = bench.folder / "state"
    async with bench.venue() as venue:
        await bought_by_hand(bench, venue, "MES")
        lock = lock_of_account(urlsplit(venue.url).netloc, ACCOUNT_ID)
        place, _ = spool_places(state, lock.path)
        place.mkdir(parents=True)  # no file can be written in its place
        state.chmod(0o700)
        done = await bench.call("liquidate", "--yes", **SENDING, **NOBODY)
        truth = await venue.truth()
        place.rmdir()
        async with bench.guard(**SENDING) as guard:
            await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")

    assert done.code == 0, done
    assert "Not everything is on record" in done.out
    assert held(truth) == []


async def test_killed_in_the_middle_and_run_again_it_is_flat_and_never_turned_round(
    bench: Any,
) -> None:
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await trading(guard, MES, MNQ)
            await guard.kill()
        for _ in range(3):
            process = await bench.start("liquidate", "--yes", **SENDING, **NOBODY)
            async with asyncio.timeout(PATIENCE_S):
                line = b"?"
                while line and not line.startswith((b"CLOSING", b"VERIFYING")):
                    line = await process.stdout.readline()
            process.kill()
            await process.communicate()
        done = await bench.call("liquidate", "--yes", **SENDING, **NOBODY)
        truth = await venue.truth()
        async with bench.guard(**SENDING) as guard:
            await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")
            _, listed = await guard.ask("GET", "/v1/liquidations")
            assert await guard.stop() == 0
        verified = await bench.call("audit", "verify")

    assert done.code == 0, done
    assert held(truth) == []
    assert working(truth) == []
    assert never_turned_round(truth)
    assert {row["state"] for row in listed["liquidations"]} == {"FLAT"}
    assert verified.code == 0, verified


# -- the watchdog ----------------------------------------------------------------------------------


async def test_a_guard_that_does_not_come_back_is_replaced_by_a_liquidation(bench: Any) -> None:
    limits = {"crashes_max": 1, "pauses_ns": [600 * SECOND_NS]}
    hastily = ["--limits", json.dumps(limits), "--spare", "no"]
    short = {"EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES": "0.05"}
    async with bench.venue() as venue, bench.guard(hastily=hastily, **SENDING, **short) as guard:
        await trading(guard, MES, MNQ)
        await guard.until(
            "/v1/status",
            lambda said: (
                (said["heartbeats"]["watchdog"] or {}).get("process_id") == guard.process.pid
            ),
        )
        for process_id in guard.processes("guard"):
            os.kill(process_id, signal.SIGKILL)
        truth = await truly(venue, lambda truth: not held(truth) and not working(truth))
        status = await answered(guard, lambda said: said["trading_state"] == "HALTED")
        _, listed = await guard.ask("GET", "/v1/liquidations")

    assert never_turned_round(truth)
    assert any("no sound guard" in reason for reason in status["reasons"]), status["reasons"]
    (run,) = listed["liquidations"]
    assert (run["state"], run["requests"][0]["operator"]) == ("FLAT", "watchdog")


async def answered(guard: Any, is_true: Callable[[Any], bool]) -> Any:
    """Ask for the status until it is what is waited for; a guard that is away is asked again."""
    async with asyncio.timeout(2 * PATIENCE_S):
        while True:
            with suppress(aiohttp.ClientError):
                _, said = await guard.ask("GET", "/v1/status")
                if is_true(said):
                    return said
            await asyncio.sleep(LOOK_S)


# -- a guard that lives and is silent --------------------------------------------------------------


async def test_a_guard_that_does_not_answer_is_stopped_first(bench: Any) -> None:
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await trading(guard, MES)
        silent = guard.processes("guard")[0]
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        os.kill(silent, signal.SIGSTOP)
        done = await bench.call("liquidate", "--yes", **SENDING, **at)
        truth = await venue.truth()
        guards = guard.processes("guard")

    assert done.code == 0, done
    assert f"process {silent}" in done.out
    assert silent not in guards
    assert held(truth) == []
    assert working(truth) == []


async def test_a_guard_that_answers_and_does_not_know_us_is_left_alone(bench: Any) -> None:
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await trading(guard, MES)
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        other = {"BACKSTOP_API_TOKEN": "another-token-0123456789"}
        done = await bench.call("liquidate", "--yes", **{**SENDING, **at, **other})
        truth = await venue.truth()
        assert len(guard.processes("guard")) == 1

    assert done.code == 2, done
    assert held(truth) == [2]


# -- the end of its time ---------------------------------------------------------------------------


async def test_at_the_end_of_its_time_it_says_what_is_left_and_a_repeat_goes_on(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(bench.folder))
    clock = SystemClock()
    async with bench.venue() as venue:
        await bought_by_hand(bench, venue, "MES", 2)
        await truly(venue, lambda truth: held(truth) == [2])
        settings = Settings.load(environment=bench.environment(SENDING))
        host = urlsplit(settings.api_url).netloc
        with lock_of_account(host, ACCOUNT_ID) as lock:
            run = EmergencyLiquidation(
                settings,
                Wanted(reason="fire", operator="ann"),
                lock=lock,
                clock=clock,
                ends_ns=clock.monotonic_ns() + SECOND_NS // 2,
                say=lambda _text: None,
                alert=lambda _alert: None,
            )
            ended = await run.run()
        done = await bench.call("liquidate", "--yes", "--json", **SENDING, **NOBODY)
        truth = await venue.truth()

    assert not ended.flat
    assert ended.why
    assert ended.sends
    said = json.loads(done.out)
    assert (done.code, said["flat"], held(truth)) == (0, True, [])
    assert said["id"] == ended.liquidation_id


# -- nothing is sent -------------------------------------------------------------------------------


async def test_in_dry_run_it_says_first_that_nothing_was_sent_and_then_what_is_open(
    bench: Any,
) -> None:
    async with bench.venue() as venue:
        await bought_by_hand(bench, venue, "MES", 2)
        done = await bench.call("liquidate", "--yes", **NOBODY)
        truth = await venue.truth()

    assert done.code == 1, done
    assert done.out.startswith("DRY RUN: NOTHING WAS SENT.")
    assert "+2" in done.out
    assert "would have sent: close CON.F.US.MES." in done.out
    assert "DRY_RUN=0 EXECUTE=1 backstop liquidate --yes" in done.out
    assert held(truth) == [2]
    assert list(bench.folder.glob("**/emergency-*")) == []


async def test_in_dry_run_without_a_gateway_it_shows_what_the_record_tells(bench: Any) -> None:
    async with bench.venue(), bench.guard(**SENDING) as guard:
        await trading(guard, MES)
        await guard.kill()
    done = await bench.call("liquidate", "--yes", **NOBODY)

    assert done.code == 1, done
    assert done.out.startswith("DRY RUN: NOTHING WAS SENT.")
    assert "The account could not be read" in done.out
    assert "+2" in done.out
    assert "would have sent: close CON.F.US.MES." in done.out


async def test_in_dry_run_a_silent_guard_is_not_stopped(bench: Any) -> None:
    async with bench.venue(), bench.guard() as guard:
        await guard.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")
        silent = guard.processes("guard")[0]
        at = {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}
        os.kill(silent, signal.SIGSTOP)
        done = await bench.call("liquidate", "--yes", **at)
        os.kill(silent, signal.SIGCONT)
        assert silent in guard.processes("guard")

    assert done.code == 1, done
    assert done.out.startswith("DRY RUN: NOTHING WAS SENT.")


async def test_half_a_gateway_on_this_machine_and_missing_credentials_are_2(
    bench: Any,
) -> None:
    far = {
        "TOPSTEPX_API_URL": "http://127.0.0.1:1",
        "TOPSTEPX_USER_HUB_URL": "https://gateway.example/hubs/user",
    }
    live = await bench.call("liquidate", "--yes", **SENDING, **NOBODY, **far)
    nameless = await bench.call(
        "liquidate", "--yes", **SENDING, **NOBODY, TOPSTEPX_API_KEY="", TOPSTEPX_USERNAME=""
    )

    assert (live.code, nameless.code) == (2, 2)
    assert "gateway.example" in live.err
    assert "TOPSTEPX_API_KEY" in nameless.err
    assert "what is open stays open" in nameless.err


# -- keys ------------------------------------------------------------------------------------------


async def test_a_refused_key_makes_room_for_the_emergency_key(bench: Any) -> None:
    async with bench.venue() as venue:
        await bought_by_hand(bench, venue, "MES")
        good = bench.environment({})["TOPSTEPX_API_KEY"]
        wrong = {"TOPSTEPX_API_KEY": "wrong-key-0123456789"}
        refused = await bench.call("liquidate", "--yes", **SENDING, **NOBODY, **wrong)
        spare = {**wrong, "TOPSTEPX_EMERGENCY_API_KEY": good}
        done = await bench.call("liquidate", "--yes", **SENDING, **NOBODY, **spare)
        truth = await venue.truth()

    assert refused.code == 1, refused
    assert "NOT FLAT" in refused.out
    assert "backstop liquidate --yes" in refused.out
    assert done.code == 0, done
    assert held(truth) == []
