"""The execution proof: one order, its fills, what they add up to, and where it is on record.

The document is built from evidence only, holds no float, and has exactly one byte form (canonical
JSON), which is what gets signed. Ids, prices, money and fractions are text; a fraction is exact,
its ``decimal`` is for people and is cut after nine places.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct

from backstop.core import canonical_json
from backstop.core.checkpoint import SignatureCheck
from backstop.core.key_rotation import key_name
from backstop.domain.numbers import average, decimal_text, fraction_text, money
from backstop.domain.order import OrderState, OrderType, Side
from backstop.domain.utc import utc_text
from backstop.errors import InvariantError

FORMAT = "backstop.execution-proof.v1"
"""Names the shape of the document; part of what is signed, so no other document fits it."""

SIGNATURE_ALGORITHM = "Ed25519"


class ProofFill(Struct, frozen=True, kw_only=True):
    """One trade of the venue.

    Attributes:
        fill_id: the venue's trade id.
        price: points, as the venue states it.
        quantity: contracts, positive.
        utc_us: when the venue says it happened.
        fees_micros: fees of this trade, millionths of a dollar.
        commissions_micros: commissions of this trade, millionths of a dollar.
        raw: the payload as it was received; only its SHA-256 goes into the proof.
        voided: the venue took this trade back; it is shown and counts nothing.
        reference_price: what its slippage counts from, in points, where that is not what the order
            says for all of its fills.
    """

    fill_id: int
    price: Decimal
    quantity: int
    utc_us: int
    fees_micros: int
    commissions_micros: int = 0
    raw: str = ""
    voided: bool = False
    reference_price: Decimal | None = None


class ProofOrder(Struct, frozen=True, kw_only=True):
    """What one order was, what became of it, and what its price is measured against.

    Attributes:
        broker_order_ids: every id of the venue under which it was traded, in the order of sight.
        limit_price: points; None for an order without one, and so ``stop_price``.
        intended_utc_us: when the intent became durable, before anything was sent.
        reference_price: what slippage counts from, in points, for each fill that names no other
            one; None when nothing is known.
        unmeasured: why it is unknown what slippage counts from, where it is.
        tick_size: points in one tick.
        max_slippage_ticks: adverse ticks above which the execution is a breach.
        journal_seq: the journal record up to which this is the whole evidence.
    """

    client_order_id: str
    custom_tag: str
    broker_order_ids: tuple[int, ...]
    account_id: int
    contract_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    state: OrderState
    intended_utc_us: int
    reference_price: Decimal | None = None
    unmeasured: str = ""
    tick_size: Decimal
    max_slippage_ticks: Decimal
    journal_seq: int
    fills: tuple[ProofFill, ...] = ()


def execution_proof(order: ProofOrder) -> dict[str, object]:
    """Return the proof document of ``order``; ``canonical_json.encode`` gives the bytes to sign.

    Raises:
        InvariantError: a trade is there twice, or has no positive quantity.
    """
    fills = sorted(order.fills, key=lambda fill: fill.fill_id)
    _check(order, fills)
    counted = [fill for fill in fills if not fill.voided]
    fees_micros = sum(fill.fees_micros for fill in counted)
    commissions_micros = sum(fill.commissions_micros for fill in counted)
    average_price = average((fill.price, fill.quantity) for fill in counted)
    return {
        "format": FORMAT,
        "order": {
            "client_order_id": order.client_order_id,
            "custom_tag": order.custom_tag,
            "broker_order_ids": [str(number) for number in order.broker_order_ids],
            "account_id": str(order.account_id),
            "contract_id": order.contract_id,
            "symbol": order.symbol,
            "side": order.side.value,
            "type": order.type.value,
            "quantity": order.quantity,
            "limit_price": decimal_text(order.limit_price),
            "stop_price": decimal_text(order.stop_price),
            "state": order.state.value,
            "intended_time": utc_text(order.intended_utc_us),
        },
        "fills": [_fill_document(fill) for fill in fills],
        "totals": {
            "filled_quantity": sum(fill.quantity for fill in counted),
            "fees": _money_text(fees_micros),
            "commissions": _money_text(commissions_micros),
            "commission": _money_text(fees_micros + commissions_micros),
        },
        "average_price": None if average_price is None else _fraction_document(average_price),
        "slippage": _slippage_document(order, counted),
        "journal": {"seq": order.journal_seq},
    }


def signed_bundle(proof: dict[str, object], *, key_id: str, signature: bytes) -> dict[str, object]:
    """Return the document that travels: ``proof`` and the signature over its canonical bytes."""
    return {
        "proof": proof,
        "signature": {
            "algorithm": SIGNATURE_ALGORITHM,
            "key_id": key_id,
            "value_base64": b64encode(signature).decode("ascii"),
        },
    }


def signed_bytes(proof: dict[str, object]) -> bytes:
    """Return the bytes of ``proof`` that a signature covers."""
    return canonical_json.encode(proof)


def proof_fault(
    bundle: bytes, *, proof: dict[str, object], public_key: bytes, check: SignatureCheck
) -> str | None:
    """Say what is wrong with a recorded bundle that must hold ``proof``; None when it is right.

    Args:
        bundle: the JSON as it was recorded.
        proof: the document that the evidence leads to.
        public_key: the 32 bytes of the key that must have signed.
        check: checks one signature.
    """
    try:
        held = json.loads(bundle)
        document, signature = held["proof"], held["signature"]
        value = b64decode(signature["value_base64"], validate=True)
        signer = signature["key_id"]
    except (ValueError, KeyError, TypeError):
        return "it is no signed proof"
    if signer != key_name(public_key):
        return f"key {signer} signed it, where key {key_name(public_key)} was in use"
    if document != json.loads(signed_bytes(proof)):
        return "it says something else than the evidence before it"
    if not check(public_key, value, signed_bytes(proof)):
        return "its signature does not fit"
    return None


def _check(order: ProofOrder, fills: list[ProofFill]) -> None:
    for earlier, later in pairwise(fills):
        if earlier.fill_id == later.fill_id:
            raise InvariantError(
                f"Order {order.client_order_id} counts trade {later.fill_id} twice."
            )
    for fill in fills:
        if fill.quantity <= 0:
            raise InvariantError(
                f"Trade {fill.fill_id} of order {order.client_order_id} has quantity "
                f"{fill.quantity}, not a positive one."
            )


def _fill_document(fill: ProofFill) -> dict[str, object]:
    return {
        "fill_id": str(fill.fill_id),
        "price": decimal_text(fill.price),
        "quantity": fill.quantity,
        "time": utc_text(fill.utc_us),
        "fees": _money_text(fill.fees_micros),
        "commissions": _money_text(fill.commissions_micros),
        "voided": fill.voided,
        "raw_sha256": hashlib.sha256(fill.raw.encode()).hexdigest(),
    }


def _slippage_document(order: ProofOrder, fills: list[ProofFill]) -> dict[str, object] | None:
    """Adverse ticks from the references to the fills; negative is better than the reference.

    A level that was moved between two fills gives each of them its own reference.
    """
    if not fills:
        return None
    own = [(fill, fill.reference_price or order.reference_price) for fill in fills]
    known = [(fill, level) for fill, level in own if level is not None]
    if len(known) < len(fills):
        # No number stands where none is known; the words say that this was no oversight.
        return {"reference_price": None, "reference": "UNKNOWN", "why": order.unmeasured}
    paid = average((fill.price, fill.quantity) for fill in fills) or Fraction(0)
    asked = average((level, fill.quantity) for fill, level in known) or Fraction(0)
    ticks = (paid - asked) * order.side.sign / Fraction(order.tick_size)
    levels = {str(fill.fill_id): decimal_text(level) for fill, level in known}
    measured_from: dict[str, object] = {"reference_price": decimal_text(known[0][1])}
    if len(set(levels.values())) > 1:
        measured_from = {"reference_prices": levels}
    return {
        **measured_from,
        "tick_size": decimal_text(order.tick_size),
        "ticks": _fraction_document(ticks),
        "max_ticks": decimal_text(order.max_slippage_ticks),
        "breach": ticks > Fraction(order.max_slippage_ticks),
    }


def _fraction_document(value: Fraction) -> dict[str, object]:
    return {
        "numerator": str(value.numerator),
        "denominator": str(value.denominator),
        "decimal": fraction_text(value),
    }


@lru_cache(maxsize=256)  # every fill of an order costs the same
def _money_text(amount_micros: int) -> str:
    return f"{money(amount_micros):f}"
