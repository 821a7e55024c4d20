"""Proofs of real orders, checked by the stand-alone verifier in a process of its own."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.app.desk import Desk, Guard, audited

from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


def verified(bundle: bytes, guard: Guard, folder: Path) -> subprocess.CompletedProcess[str]:
    """Check ``bundle`` as somebody does who has only the file and the public key."""
    file = folder / "bundle.json"
    file.write_bytes(bundle)
    key = guard.manager.settings.state_folder / "keys" / "audit.pub"
    return subprocess.run(
        [sys.executable, "-m", "backstop.verifier.backstop_verify", file, "--key", key],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


async def test_a_proof_says_what_the_exchange_says_and_verifies_offline(
    desk: Desk, tmp_path: Path
) -> None:
    async with desk.guard() as guard:
        order = await guard.enter(quantity=3)
        await guard.agrees()
        bundle = await guard.proof(order.client_order_id)
        checked = verified(bundle, guard, tmp_path)

    trades = [row for row in desk.truth()["trades"] if row["accountId"] == desk.account]
    said: dict[str, Any] = json.loads(bundle)["proof"]
    assert checked.returncode == 0, checked.stderr
    assert len(trades) > 1
    assert [(fill["fill_id"], fill["quantity"]) for fill in said["fills"]] == [
        (str(trade["id"]), trade["quantity"]) for trade in trades
    ]
    assert {Decimal(fill["price"]) for fill in said["fills"]} == {
        Decimal(trade["price"]) for trade in trades
    }


async def test_one_changed_byte_is_found(desk: Desk, tmp_path: Path) -> None:
    async with desk.guard() as guard:
        order = await guard.enter(quantity=2)
        bundle = await guard.proof(order.client_order_id)
        price = str(desk.truth()["trades"][-1]["price"]).encode()
        assert price in bundle
        changed = bundle.replace(price, price[:-1] + (b"1" if price[-1:] != b"1" else b"2"))
        checked = verified(changed, guard, tmp_path)

        assert len(changed) == len(bundle)
        assert checked.returncode == 1
        assert "TAMPERED" in checked.stderr


async def test_a_proof_is_the_same_after_a_restart(desk: Desk, tmp_path: Path) -> None:
    async with desk.guard() as guard:
        order = await guard.enter()
        before = await guard.proof(order.client_order_id)
    async with desk.guard() as guard:
        after = await guard.proof(order.client_order_id)
        checked = verified(after, guard, tmp_path)

        assert after == before
        assert checked.returncode == 0


async def test_what_was_not_filled_has_no_proof(desk: Desk) -> None:
    async with desk.guard() as guard:
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        await guard.manager.cancel_order(resting.client_order_id, reason="enough")
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)

        assert guard.manager.execution_proof(resting.client_order_id) is None
        assert guard.manager.execution_proof("nobody") is None


async def test_a_proof_after_a_lost_answer_has_the_same_weight(desk: Desk, tmp_path: Path) -> None:
    async with desk.guard() as guard:
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        order = await guard.enter(Side.SELL)
        await guard.agrees()
        bundle = await guard.proof(order.client_order_id)

        assert verified(bundle, guard, tmp_path).returncode == 0
        assert str(order.broker_order_id) in bundle.decode()


async def test_a_voided_trade_makes_a_new_proof_and_the_old_one_stays_in_the_record(
    desk: Desk, tmp_path: Path
) -> None:
    async with desk.guard() as guard:
        order = await guard.enter(quantity=2)
        old = await guard.proof(order.client_order_id)
        desk.venue.exchange.bust_trade(order.fills[0].trade_id)
        await guard.agrees()
        new = await guard.proof(order.client_order_id)
        checked = verified(new, guard, tmp_path)

    recorded = audited(
        desk.folder / "state", "SELECT payload FROM Journal WHERE kind = 'proof' ORDER BY seq"
    )
    assert new != old
    assert checked.returncode == 0, checked.stderr
    assert old in {payload for (payload,) in recorded}
