"""What the demo proved: the guard's records against the exchange's own truth."""

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.execution_verdict import Verdict
from backstop.domain.order import TAG_PREFIX

PROOF_CHECK_LIMIT_S = 20
"""For the stand-alone verifier to check one proof."""

REJECTED = "REJECTED"
"""The exchange's word for an order that it refused."""


class Summary(Struct, frozen=True, kw_only=True):
    """The demo's result; ``faults_found`` is empty when every count agrees.

    ``verified`` counts the orders proven by the broker's trades; ``breaches`` are those among them
    with more slippage than allowed.

    ``positions`` is what is left, by symbol; ``audit_rows`` the rows of both audit tables.
    """

    orders: int
    fills: int
    verified: int
    breaches: int
    proofs_verified: int
    refused: int
    positions: dict[str, int]
    audit_rows: int
    seconds: float
    data: str
    faults_found: tuple[str, ...]


async def summarise(
    manager: CriticalSystemManager,
    truth: Mapping[str, Any],
    *,
    refused: int,
    seconds: float,
    data: str,
) -> Summary:
    """Compare every order, fill and position of the guard with ``truth``."""
    ours = _our_orders(truth)
    found: list[str] = []
    verdicts = {Verdict.VERIFIED: 0, Verdict.BREACH: 0}
    proofs = 0
    for row in ours:
        client_order_id = manager.book.client_of_tag.get(row["customTag"])
        if client_order_id is None:
            found.append(f"the exchange has order {row['id']}, the guard does not know it")
            continue
        verification = await manager.verify_execution(
            client_order_id, expected_quantity=int(row["fillVolume"])
        )
        if verification is None or verification.verdict not in verdicts:
            found.append(f"{client_order_id} is not verified: {verification}")
            continue
        verdicts[verification.verdict] += 1
        if row["fillVolume"]:
            fault = _proof_fault(manager, client_order_id)
            proofs += not fault
            found.extend([fault] if fault else [])
    known = {order.broker_order_id for order in manager.book.orders.values()}
    found.extend(
        f"the guard believes in order {number}, the exchange has none"
        for number in sorted(known - {None} - {row["id"] for row in truth["orders"]}, key=str)
    )
    state_folder = manager.settings.state_folder
    order_rows, audited = _audited(state_folder / AUDIT_DATABASE)
    found.extend(_trade_faults(_happened(truth), audited))
    positions = _positions(manager)
    found.extend(_position_faults(manager, truth))
    return Summary(
        orders=len(ours),
        fills=len(audited),
        verified=sum(verdicts.values()),
        breaches=verdicts[Verdict.BREACH],
        proofs_verified=proofs,
        refused=refused,
        positions=positions,
        audit_rows=order_rows + len(audited),
        seconds=round(seconds, 1),
        data=data,
        faults_found=tuple(found),
    )


def _our_orders(truth: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the orders that the exchange accepted from us; legs are its own making."""
    return [
        row
        for row in truth["orders"]
        if (row.get("customTag") or "").startswith(TAG_PREFIX)
        and not row.get("parentOrderId")
        and row["status"] != REJECTED
    ]


class _Fill(Struct, frozen=True, kw_only=True):
    """What both sides must say alike of one trade."""

    order_id: str
    quantity: int
    price: Decimal
    voided: bool


def _happened(truth: Mapping[str, Any]) -> dict[str, _Fill]:
    return {
        str(trade["id"]): _Fill(
            order_id=str(trade["orderId"]),
            quantity=abs(trade["quantity"]),
            price=Decimal(trade["price"]),
            voided=trade["voided"],
        )
        for trade in truth["trades"]
    }


def _audited(path: Path) -> tuple[int, dict[str, _Fill]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        (orders,) = database.execute("SELECT count(*) FROM OrderAudit").fetchone()
        rows = database.execute(
            "SELECT FillId, OrderId, FillQuantity, FillPrice, Voided FROM FillAudit"
        )
        fills = {
            fill_id: _Fill(
                order_id=order_id,
                quantity=quantity,
                price=Decimal(str(price)),
                voided=bool(voided),
            )
            for fill_id, order_id, quantity, price, voided in rows
        }
    return int(orders), fills


def _trade_faults(happened: Mapping[str, _Fill], audited: Mapping[str, _Fill]) -> list[str]:
    return [
        f"trade {number}: the exchange has {happened.get(number)}, FillAudit {audited.get(number)}"
        for number in sorted({*happened, *audited})
        if happened.get(number) != audited.get(number)
    ]


def _proof_fault(manager: CriticalSystemManager, client_order_id: str) -> str:
    """Have the stand-alone verifier check one proof, in a process of its own."""
    bundle = manager.execution_proof(client_order_id)
    if bundle is None:
        return f"{client_order_id} was filled and has no proof"
    public_key = manager.settings.state_folder / "keys" / "audit.pub"
    with tempfile.TemporaryDirectory(prefix="backstop-proof-") as folder:
        file = Path(folder) / "bundle.json"
        file.write_bytes(bundle)
        done = subprocess.run(  # noqa: S603 - our own module, our own files
            [sys.executable, "-m", "backstop.verifier.backstop_verify", file, "--key", public_key],
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            timeout=PROOF_CHECK_LIMIT_S,
        )
    if done.returncode == 0:
        return ""
    return f"the proof of {client_order_id} does not verify: {done.stderr.strip()}"


def _positions(manager: CriticalSystemManager) -> dict[str, int]:
    book = manager.book
    return {
        book.instruments[contract_id].symbol: view.quantity
        for contract_id, view in sorted(book.positions.items())
    }


def _position_faults(manager: CriticalSystemManager, truth: Mapping[str, Any]) -> list[str]:
    account_id = manager.book.policy.account_id
    true: dict[str, int] = {
        row["contractId"]: row["quantity"]
        for row in truth["positions"]
        if row["accountId"] == account_id
    }
    believed = {
        contract_id: view.quantity
        for contract_id, view in manager.book.positions.items()
        if view.quantity
    }
    if true == believed:
        return []
    return [f"positions differ: the exchange has {true}, the guard believes {believed}"]
