"""A bot's day over the HTTP interface: a real guard in front of a simulated venue."""

import stat
from pathlib import Path
from typing import Any

from tests.app.silent_gateway import a_silent_gateway

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}

ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "5000.10",
    "take_profit_price": "7999.90",
}


def is_covered(said: Any) -> bool:
    """Say whether all of ENTRY is held, and its legs stand where they were asked for.

    The venue puts them at a distance from the fill; the guard moves them if that was elsewhere.
    """
    rows = said["positions"]
    if not rows or rows[0]["quantity"] != 2:
        return False
    legs = (rows[0]["stop"], rows[0]["target"])
    return [leg and leg["price"] for leg in legs] == ["5000.25", "8000"]


def read_with_mode(path: Path) -> tuple[str, int]:
    return path.read_text().strip(), stat.S_IMODE(path.stat().st_mode)


async def test_an_order_is_filled_protected_verified_and_proven(bench: Any) -> None:
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await guard.active()

        status, record = await guard.ask("POST", "/v1/orders", ENTRY)
        assert status == 201
        record = await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")
        said = await guard.until("/v1/positions", is_covered)
        status, verdict = await guard.ask("POST", "/v1/orders/entry-1/verify", {"timeout_s": 10})
        proof_status, proof = await guard.ask("GET", "/v1/orders/entry-1/proof")
        truth = await venue.truth()

    (position,) = said["positions"]
    (trade, *_) = truth["trades"]
    assert record["broker_order_id"] == truth["orders"][0]["id"]
    assert record["fills"][0]["fill_id"] == trade["id"]
    assert position["stop"]["quantity"] == 2
    assert position["knowledge"] == "KNOWN"
    assert (status, verdict["filled_quantity"]) == (200, 2)
    assert verdict["verdict"] in {"VERIFIED", "BREACH"}
    assert proof_status == 200
    assert "entry-1" in str(proof)


async def test_health_is_good_once_the_account_is_read_and_the_hubs_are_up(bench: Any) -> None:
    async with bench.venue(), bench.guard() as guard:
        said = await guard.until("/v1/health", lambda body: body["status"] == "OK")
        status, _ = await guard.ask("GET", "/v1/health")

    assert (status, said["reasons"]) == (200, [])


async def test_who_asks_is_answered_while_a_gateway_that_took_the_call_says_nothing(
    bench: Any, unused_tcp_port: int
) -> None:
    async with (
        a_silent_gateway() as gateway,
        bench.starting(unused_tcp_port, TOPSTEPX_API_URL=gateway.url) as guard,
    ):
        status, said = await guard.first_answer("/v1/health")
        halted, _ = await guard.ask("POST", "/v1/halt", {"reason": "wait", "operator": "Ada"})
        waited_for_the_gateway = gateway.hung_up.is_set()
        code = await guard.stop()

    assert (status, said["trading_state"], halted) == (503, "STARTING", 200)
    assert said["reasons"]
    assert not waited_for_the_gateway
    assert code == 0


async def test_a_dry_run_says_what_it_would_send_and_sends_nothing(bench: Any) -> None:
    async with bench.venue() as venue, bench.guard() as guard:
        await guard.active()

        status, body = await guard.ask("POST", "/v1/orders", ENTRY)
        truth = await venue.truth()

    assert "DRY RUN: NOTHING IS SENT" in guard.banner
    assert (status, [denial["code"] for denial in body["denials"]]) == (422, ["GATE_DRY_RUN"])
    assert body["would_send"]["quantity"] == 2
    assert truth["orders"] == []


async def test_a_working_order_is_moved_and_cancelled_at_the_venue(bench: Any) -> None:
    wish = {**ENTRY, "type": "LIMIT", "limit_price": "5600", "client_order_id": "rest-1"}
    async with bench.venue() as venue, bench.guard(**SENDING) as guard:
        await guard.active()
        assert (await guard.ask("POST", "/v1/orders", wish))[0] == 201

        status, _ = await guard.ask("PATCH", "/v1/orders/rest-1", {"limit_price": "5500"})
        assert status == 200
        await guard.until(
            "/v1/status", lambda said: said["working_orders"][0]["limit_price"] == "5500"
        )
        assert (await guard.ask("DELETE", "/v1/orders/rest-1"))[0] == 200
        await guard.until("/v1/orders/rest-1", lambda said: said["state"] == "CANCELLED")
        truth = await venue.truth()

    assert {order["status"] for order in truth["orders"]} == {"CANCELLED"}


async def test_orders_are_known_again_after_a_stop_and_a_start(bench: Any) -> None:
    async with bench.venue():
        async with bench.guard(**SENDING) as guard:
            await guard.active()
            await guard.ask("POST", "/v1/orders", ENTRY)
            before = await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")
            await guard.until("/v1/positions", is_covered)
            assert await guard.stop() == 0

        async with bench.guard(**SENDING) as guard:
            await guard.active()
            _, after = await guard.ask("GET", "/v1/orders/entry-1")
            said = await guard.until("/v1/positions", is_covered)
            repeat, _ = await guard.ask("POST", "/v1/orders", ENTRY)

    assert after["fills"] == before["fills"]
    assert said["positions"][0]["naked_ms"] == 0
    assert repeat == 200


async def test_a_token_is_made_when_none_is_given_and_is_needed(bench: Any) -> None:
    async with bench.venue(), bench.guard(BACKSTOP_API_TOKEN="") as guard:
        kept = bench.folder / "state" / "api_token"
        token, mode = read_with_mode(kept)
        refused, _ = await guard.ask("GET", "/v1/status")
        headers = {"Authorization": f"Bearer {token}"}
        async with bench.session.get(f"{guard.url}/v1/status", headers=headers) as answer:
            taken = answer.status

    assert (refused, taken) == (401, 200)
    assert mode == 0o600
    assert str(kept) in guard.banner


async def test_the_page_opens_at_the_address_that_the_guard_prints(bench: Any) -> None:
    async with bench.venue():
        async with bench.guard(BACKSTOP_API_TOKEN="") as guard:
            page = next(line for line in guard.banner.splitlines() if line.startswith("Page"))
            address, _, token = page.split()[1].partition("#token=")
            async with bench.session.get(address) as answer:
                shown, kind = answer.status, answer.content_type
            headers = {"Authorization": f"Bearer {token}"}
            async with bench.session.get(f"{guard.url}/v1/status", headers=headers) as answer:
                taken = answer.status
        async with bench.guard() as guard:
            of_the_operator = guard.banner

    assert (shown, kind, taken) == (200, "text/html", 200)
    assert "Page" in of_the_operator
    assert "#" not in of_the_operator
