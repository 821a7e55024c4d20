"""Section H: state and recovery. Lines that other stories play in full are marked there."""

import asyncio
import json
from typing import Any

import pytest
from tests.acceptance.scenarios.stage import flat, net, protected, silence
from tests.app.desk import Desk, JumpingClock, audited, until

from backstop.domain.order import Side

PATIENCE_S = 30
LOOK_S = 0.02
SET_BACK_US = 180_000_000
SENDING = {"DRY_RUN": "0", "EXECUTE": "1", "MAX_ORDERS_PER_SECOND": "100"}
ENTRY = {
    "symbol": "MES",
    "side": "BUY",
    "quantity": 1,
    "type": "MARKET",
    "stop_loss_price": "5500",
}
TORN_BYTES = 3_000
"""Less than a page of the database: the end of the log is in the middle of one."""


async def holding(guard: Any) -> None:
    """Hold one contract with a stop."""
    await guard.active()
    status, said = await guard.ask("POST", "/v1/orders", {**ENTRY, "client_order_id": "entry-1"})
    assert status == 201, said
    await guard.until("/v1/positions", lambda said: any(it["stop"] for it in said["positions"]))


def working_stops(truth: Any) -> list[Any]:
    return [it for it in truth["orders"] if it["type"] == "STOP" and it["status"] == "OPEN"]


def protects(said: Any, quantity: int) -> bool:
    """Say whether ``quantity`` is held, and stops cover all of it."""
    held = [
        (it["quantity"], sum(stop["quantity"] for stop in it["stops"])) for it in said["positions"]
    ]
    return held == [(quantity, quantity)]


# -- H2 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("H2")
async def test_a_journal_whose_end_is_torn_is_used_up_to_there_and_the_venue_tells_the_rest(
    bench: Any,
) -> None:
    log = bench.folder / "state" / "audit.db-wal"
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await holding(guard)
            await guard.kill()
        whole = log.read_bytes()
        log.write_bytes(whole[:-TORN_BYTES])
        records = audited(bench.folder / "state", "SELECT seq FROM Journal")
        async with bench.guard(**SENDING) as guard:
            await guard.until("/v1/positions", lambda said: protects(said, 1))
            await guard.stop()
        truth = await venue.truth()
        told = await bench.call("audit", "verify", "--json")

    assert [seq for (seq,) in records] == list(range(1, len(records) + 1)), "no hole before the end"
    assert told.code == 0, told.out + told.err
    assert json.loads(told.out)["fills"] == len(truth["trades"]) == 1
    assert len(working_stops(truth)) == 1


# -- H7 ------------------------------------------------------------------------------------------


class SetBackClock(JumpingClock):
    """The time of day was set back; elapsed time goes on."""

    def utc_us(self) -> int:
        return super().utc_us() - SET_BACK_US


@pytest.mark.scenario("H7")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_wall_clock_that_was_set_back_hides_no_trade_and_delays_no_timer(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=3)
        await protected(desk, 3)
        await guard.agrees()
        contract_id = guard.instrument("MES").contract_id
    desk.venue.exchange.place_manual(desk.account, contract_id, type=2, side=1, size=1)
    await until(lambda: net(desk) == 2, lambda: net(desk))
    async with desk.guard(clock=SetBackClock(), ready=False) as guard:
        await until(lambda: guard.position() == 2, guard.position)
        await guard.agrees()
        await protected(desk, 2)
        silence(desk)  # so that only its timers can tell what became of the exit
        await guard.enter(Side.SELL, 2, protected=False)
        await flat(desk)
        await guard.agrees()
    numbers = [seq for (seq,) in audited(desk.folder / "state", "SELECT seq FROM Journal")]
    assert numbers == list(range(1, len(numbers) + 1))


# -- H9 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("H9")
@pytest.mark.parametrize("ended", ["in good order", "killed"])
async def test_no_entry_before_the_account_was_read_however_the_last_process_ended(
    bench: Any, ended: str
) -> None:
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await holding(guard)
            await (guard.kill() if ended == "killed" else guard.stop())
        (stop,) = working_stops(await venue.truth())
        await cancelled_by_hand(venue, stop["id"])
        async with bench.guard(**SENDING) as guard:
            entry = await knocked(guard)
            held = sum(it["quantity"] for it in (await venue.truth())["positions"])
            await guard.until("/v1/positions", lambda said: protects(said, held))
            truth = await venue.truth()

    # On a slow machine a stop may come too late, and then the position is closed.
    first = [it for it in truth["orders"] if stop["id"] < it["id"] < entry and it["side"] == "ASK"]
    assert first, "what nobody looked after is protected, or closed, before anything else"
    assert stop["id"] not in [it["id"] for it in working_stops(truth)]


async def cancelled_by_hand(venue: Any, number: int) -> None:
    """Cancel an order on another screen."""
    login = {"userName": "bench-user", "apiKey": "bench-key-0123456789"}
    async with venue.session.post(f"{venue.url}/api/Auth/loginKey", json=login) as answer:
        token = (await answer.json())["token"]
    body = {"accountId": 31_004_502, "orderId": number}
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{venue.url}/api/Order/cancel"
    async with venue.session.post(url, json=body, headers=headers) as answer:
        assert (await answer.json())["success"]


async def knocked(guard: Any) -> int:
    """Send entries, as a bot would that waits for nobody, until one is let in; return its id."""
    async with asyncio.timeout(PATIENCE_S):
        for number in range(10_000):
            name = f"again-{number}"
            status, _ = await guard.ask("POST", "/v1/orders", {**ENTRY, "client_order_id": name})
            if status == 201:
                said = await guard.until(
                    f"/v1/orders/{name}", lambda said: said["state"] == "FILLED"
                )
                return int(said["broker_order_id"])
            await asyncio.sleep(LOOK_S)
    raise AssertionError("never let in")
