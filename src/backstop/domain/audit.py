"""The rows of the specification's two audit tables, as the core wants them to stand."""

from msgspec import Struct


class AuditRow(Struct, frozen=True, kw_only=True):
    """One row of the specification's ``OrderAudit`` table, as the core wants it to stand."""

    order_id: str
    client_order_id: str | None
    submitted_utc_us: int
    symbol: str
    side: str
    quantity: int
    price: str | None
    status: str
    execution_proof: str | None = None
    replaces_order_id: str | None = None  # the provisional id (client order id) this row had


class FillRow(Struct, frozen=True, kw_only=True):
    """One row of the specification's ``FillAudit`` table; also the key that makes it once."""

    fill_id: str
    order_id: str
    fill_utc_us: int
    price: str
    quantity: int
    commission: str
    voided: bool = False
