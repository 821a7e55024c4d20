"""The second question: once the faults stop, does everything come right, and in time?"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from backstop.adapters.projectx.wire import WireOrderStatus
from backstop.app.audit_verification import verify_record
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.state_layout import AUDIT_DATABASE
from backstop.core.book import Book
from backstop.domain.order import OrderState
from backstop.errors import BackstopError
from backstop.storm.truth import Truth

SETTLE_S: Final = 240.0
"""From the last fault until everything must have come right: a proof that an order never arrived
takes 30 s after its deadline and two reads; a hub that was evicted waits for a minute."""

UNSETTLED: Final = frozenset({OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN})


def differences(guard: CriticalSystemManager | None, truth: Truth) -> list[str]:
    """Return what has not come right yet; nothing when all has."""
    if guard is None:
        return ["no guard runs"]
    book = guard.book
    if not book.recovered:
        return [f"not recovered: {'; '.join(book.state_reasons(guard.now_ns()))}"]
    return [*_orders(book, truth), *_positions(book, truth)]


def _orders(book: Book, truth: Truth) -> Iterator[str]:
    for order in book.live_orders():
        if order.state in UNSETTLED:
            yield f"order {order.client_order_id} is {order.state}"
    believed = {row.broker_order_id for row in book.working_rows()}
    for order_id in sorted(believed ^ truth.live.keys()):
        who = "the guard" if order_id in believed else "the exchange"
        yield f"order {order_id} works for {who} alone"
    for row in truth.live.values():
        is_leg = (row.custom_tag or "").endswith(("-SL", "-TP"))
        if (
            is_leg
            and row.status == WireOrderStatus.OPEN
            and not truth.positions.get(row.contract_id)
        ):
            yield f"leg {row.id} works, and {row.contract_id} is flat"
    if book.liquidating:
        yield "a liquidation is under way"


def _positions(book: Book, truth: Truth) -> Iterator[str]:
    true = dict(truth.open_positions())
    believed = {it.contract_id: it.quantity for it in book.positions.values() if it.quantity}
    if true != believed:
        yield f"positions: true {true}, believed {believed}"
    for contract_id, quantity in true.items():
        naked = truth.uncovered(contract_id)
        if naked:
            yield f"{naked} of {quantity} {contract_id} are naked"


def record_faults(state_folder: Path, truth: Truth) -> list[str]:
    """Return what is wrong with the record of a guard that has stopped; nothing when it holds."""
    faults = []
    try:
        verify_record(state_folder)
    except BackstopError as error:
        faults.append(f"audit verify: {error}")
    uri = f"{(state_folder / AUDIT_DATABASE).as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        written = {
            int(fill): (int(order), quantity)
            for fill, order, quantity in database.execute(
                "SELECT FillId, OrderId, FillQuantity FROM FillAudit WHERE NOT Voided"
            )
        }
    true = {it.id: (it.order_id, it.size) for it in truth.trades.values()}
    faults += [
        f"fill {trade_id}: true {true.get(trade_id)}, written {written.get(trade_id)}"
        for trade_id in sorted(true.keys() | written.keys())
        if true.get(trade_id) != written.get(trade_id)
    ]
    return faults
