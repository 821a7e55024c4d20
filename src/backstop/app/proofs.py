"""Signed execution proofs, made in the step that completes the evidence of an order."""

from typing import Protocol

import msgspec

from backstop.core.audit_trail import order_row
from backstop.core.book import Book
from backstop.core.execution_proof import (
    ProofFill,
    ProofOrder,
    execution_proof,
    signed_bundle,
    signed_bytes,
)
from backstop.core.execution_verdict import fill_references, why_unmeasured
from backstop.core.order_trades import trades_of_order
from backstop.core.tracked_order import TrackedOrder, final_quantity, levels
from backstop.domain.audit import AuditRow
from backstop.domain.instrument import Instrument


class Signer(Protocol):
    """A key that can sign."""

    key_id: str

    def sign(self, message: bytes) -> bytes:
        """Return the signature over ``message``."""


class ProofMaker:
    """Builds and signs the proof of an order from the book's evidence."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def make(self, book: Book, client_order_id: str, *, journal_seq: int) -> bytes:
        """Return the signed bundle as JSON; ``journal_seq`` is the record that completed it."""
        proof = proof_document(book, client_order_id, journal_seq=journal_seq)
        signature = self._signer.sign(signed_bytes(proof))
        return msgspec.json.encode(
            signed_bundle(proof, key_id=self._signer.key_id, signature=signature)
        )


def proof_document(book: Book, client_order_id: str, *, journal_seq: int) -> dict[str, object]:
    """Return what the evidence in ``book`` proves of an order; ``journal_seq`` completed it."""
    order = book.orders[client_order_id]
    instrument = book.instruments[order.intent.contract_id]
    return execution_proof(_proof_order(book, order, instrument, journal_seq=journal_seq))


def with_proof(
    book: Book, rows: tuple[AuditRow, ...], client_order_id: str, bundle: bytes
) -> tuple[AuditRow, ...]:
    """Return ``rows`` with the order's row carrying its proof."""
    order = book.orders[client_order_id]
    instrument = book.instruments[order.intent.contract_id]
    proven = order_row(order, instrument, execution_proof=bundle.decode())
    return (*(row for row in rows if row.order_id != proven.order_id), proven)


def _proof_order(
    book: Book, order: TrackedOrder, instrument: Instrument, *, journal_seq: int
) -> ProofOrder:
    intent = order.intent
    limit_price, stop_price = levels(order, instrument)
    levels_met = fill_references(order)
    measured_from = (
        {}
        if levels_met is None
        else dict(zip((fill.trade_id for fill in order.fills), levels_met, strict=True))
    )
    return ProofOrder(
        client_order_id=order.client_order_id,
        custom_tag=order.custom_tag,
        broker_order_ids=() if order.broker_order_id is None else (order.broker_order_id,),
        account_id=intent.account_id,
        contract_id=intent.contract_id,
        symbol=intent.symbol,
        side=intent.side,
        type=intent.type,
        quantity=final_quantity(order),
        limit_price=limit_price,
        stop_price=stop_price,
        state=order.state,
        intended_utc_us=order.requested_utc_us,
        unmeasured=why_unmeasured(order),
        tick_size=instrument.tick_size,
        max_slippage_ticks=book.policy.max_slippage_ticks,
        journal_seq=journal_seq,
        fills=tuple(
            ProofFill(
                fill_id=trade.trade_id,
                price=trade.price,
                quantity=trade.quantity,
                utc_us=trade.created_utc_us,
                fees_micros=trade.fees_micros,
                commissions_micros=trade.commissions_micros,
                raw=trade.raw,
                voided=trade.voided,
                reference_price=measured_from.get(trade.trade_id),
            )
            for trade in trades_of_order(book, order)
        ),
    )
