"""Closes by the venue on our request, and orders of others, as the audit tables show them."""

from decimal import Decimal

import pytest
from tests.app.desk import Desk, audited, until

from backstop.app.audit_verification import verify_record
from backstop.core.step import DecisionKind
from backstop.domain.order import Side

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_close_shows_what_it_was_filled_at(desk: Desk) -> None:
    """Its row has no client id, as no order of ours was placed, and the price of its fills."""
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 3)
        closed = await guard.manager.close_position("MES", reason="out", operator="Ann")
        assert closed.kind is DecisionKind.ACCEPTED
        await until(lambda: guard.position() == 0, "the position to be closed")
        await guard.agrees()
    folder = desk.folder / "state"

    rows = audited(
        folder,
        "SELECT OrderId, Side, Quantity, Price FROM OrderAudit"
        " WHERE ClientOrderId IS NULL AND Status = 'FILLED'",
    )
    assert len(rows) == 1
    ((order_id, side, quantity, price),) = rows
    fills = audited(
        folder, "SELECT FillPrice, FillQuantity FROM FillAudit WHERE OrderId = ?", order_id
    )
    paid = sum(Decimal(str(at)) * number for at, number in fills)
    assert (side, quantity) == ("SELL", 3)
    assert sum(number for _, number in fills) == 3
    assert abs(Decimal(str(price)) - paid / 3) < Decimal("0.000001")
    verify_record(folder)
