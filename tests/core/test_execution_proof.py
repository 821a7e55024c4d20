"""The execution proof: what it says, that its sums are exact, that its bytes are one."""

import hashlib
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backstop.core.execution_proof import (
    ProofFill,
    ProofOrder,
    execution_proof,
    signed_bundle,
    signed_bytes,
)
from backstop.domain.order import OrderState, OrderType, Side
from backstop.errors import InvariantError


def a_fill(fill_id: int, price: str = "5000.25", quantity: int = 1, **members: Any) -> ProofFill:
    values: dict[str, Any] = {
        "fill_id": fill_id,
        "price": Decimal(price),
        "quantity": quantity,
        "utc_us": 1_762_093_801_000_000,
        "fees_micros": 370_000,
        "raw": '{"id":1}',
    }
    return ProofFill(**(values | members))


ORDER = ProofOrder(
    client_order_id="c-1",
    custom_tag="bs-abc",
    broker_order_ids=(3_400_000_001,),
    account_id=42,
    contract_id="CON.F.US.MES.Z25",
    symbol="MES",
    side=Side.BUY,
    type=OrderType.MARKET,
    quantity=3,
    state=OrderState.FILLED,
    intended_utc_us=1_762_093_800_000_000,
    reference_price=Decimal("5000.00"),
    tick_size=Decimal("0.25"),
    max_slippage_ticks=Decimal(2),
    journal_seq=17,
    fills=(a_fill(2, "5000.50", 2), a_fill(1, "5000.25", 1, commissions_micros=250_000)),
)


def test_the_document_is_the_documented_one() -> None:
    """Pinned: a proof that was saved once must be readable for ever."""
    raw_sha256 = hashlib.sha256(b'{"id":1}').hexdigest()

    assert execution_proof(ORDER) == {
        "format": "backstop.execution-proof.v1",
        "order": {
            "client_order_id": "c-1",
            "custom_tag": "bs-abc",
            "broker_order_ids": ["3400000001"],
            "account_id": "42",
            "contract_id": "CON.F.US.MES.Z25",
            "symbol": "MES",
            "side": "BUY",
            "type": "MARKET",
            "quantity": 3,
            "limit_price": None,
            "stop_price": None,
            "state": "FILLED",
            "intended_time": "2025-11-02T14:30:00.000000Z",
        },
        "fills": [
            {
                "fill_id": "1",
                "price": "5000.25",
                "quantity": 1,
                "time": "2025-11-02T14:30:01.000000Z",
                "fees": "0.37",
                "commissions": "0.25",
                "voided": False,
                "raw_sha256": raw_sha256,
            },
            {
                "fill_id": "2",
                "price": "5000.5",
                "quantity": 2,
                "time": "2025-11-02T14:30:01.000000Z",
                "fees": "0.37",
                "commissions": "0",
                "voided": False,
                "raw_sha256": raw_sha256,
            },
        ],
        "totals": {
            "filled_quantity": 3,
            "fees": "0.74",
            "commissions": "0.25",
            "commission": "0.99",
        },
        "average_price": {
            "numerator": "60005",
            "denominator": "12",
            "decimal": "5000.416666666",
        },
        "slippage": {
            "reference_price": "5000",
            "tick_size": "0.25",
            "ticks": {"numerator": "5", "denominator": "3", "decimal": "1.666666666"},
            "max_ticks": "2",
            "breach": False,
        },
        "journal": {"seq": 17},
    }


def test_a_better_price_is_negative_slippage_on_either_side() -> None:
    better_buy = replace(ORDER, reference_price=Decimal("5001.00"), fills=(a_fill(1, "5000.50"),))
    better_sale = replace(better_buy, side=Side.SELL, reference_price=Decimal(5000))

    for order in (better_buy, better_sale):
        slippage = execution_proof(order)["slippage"]
        assert isinstance(slippage, dict)
        assert slippage["ticks"] == {"numerator": "-2", "denominator": "1", "decimal": "-2"}


@pytest.mark.parametrize(("allowed", "breach"), [("1.66", True), ("1.67", False)])
def test_a_breach_is_judged_by_the_exact_slippage(allowed: str, *, breach: bool) -> None:
    """Five thirds of a tick: neither rounding nor a float decides."""
    slippage = execution_proof(replace(ORDER, max_slippage_ticks=Decimal(allowed)))["slippage"]

    assert isinstance(slippage, dict)
    assert (slippage["max_ticks"], slippage["breach"]) == (allowed, breach)


def test_slippage_of_exactly_the_limit_is_no_breach() -> None:
    at_the_limit = replace(ORDER, fills=(a_fill(1, "5000.50"),))
    slippage = execution_proof(at_the_limit)["slippage"]

    assert isinstance(slippage, dict)
    assert (slippage["ticks"]["decimal"], slippage["breach"]) == ("2", False)


def test_without_a_reference_there_is_no_slippage() -> None:
    """No number is made up, and the proof says that there is none, and why."""
    order = replace(ORDER, reference_price=None, unmeasured="nobody knew the market")

    assert execution_proof(order)["slippage"] == {
        "reference_price": None,
        "reference": "UNKNOWN",
        "why": "nobody knew the market",
    }


def test_each_fill_counts_from_its_own_level_when_the_order_was_moved_between_them() -> None:
    """5000.25 from 5000 is one tick; two at 5000.50 from 5001 are two better: minus one in all."""
    fills = (
        a_fill(1, "5000.25", 1, reference_price=Decimal(5000)),
        a_fill(2, "5000.50", 2, reference_price=Decimal(5001)),
    )
    slippage = execution_proof(replace(ORDER, reference_price=None, fills=fills))["slippage"]

    assert isinstance(slippage, dict)
    assert slippage["reference_prices"] == {"1": "5000", "2": "5001"}
    assert "reference_price" not in slippage
    assert slippage["ticks"]["decimal"] == "-1"
    assert slippage["breach"] is False


def test_an_order_without_fills_proves_that_it_has_none() -> None:
    document = execution_proof(replace(ORDER, state=OrderState.CANCELLED, fills=()))

    assert document["fills"] == []
    assert document["average_price"] is None
    assert document["slippage"] is None
    assert document["totals"] == {
        "filled_quantity": 0,
        "fees": "0",
        "commissions": "0",
        "commission": "0",
    }


def test_a_voided_trade_is_shown_and_counts_nothing() -> None:
    document = execution_proof(replace(ORDER, fills=(*ORDER.fills, a_fill(9, "1", 5, voided=True))))
    plain = execution_proof(ORDER)

    fills = document["fills"]
    assert isinstance(fills, list)
    assert [fill["voided"] for fill in fills] == [False, False, True]
    assert document["totals"] == plain["totals"]
    assert document["average_price"] == plain["average_price"]


def test_a_trade_cannot_be_counted_twice() -> None:
    with pytest.raises(InvariantError, match="counts trade 2 twice"):
        execution_proof(replace(ORDER, fills=(*ORDER.fills, a_fill(2))))


def test_a_trade_without_quantity_is_no_trade() -> None:
    with pytest.raises(InvariantError, match="has quantity 0, not a positive one"):
        execution_proof(replace(ORDER, fills=(a_fill(1, quantity=0),)))


fills = st.lists(
    st.builds(
        a_fill,
        fill_id=st.integers(1, 2**63 - 1),
        price=st.decimals(-50, 200_000, places=6, allow_nan=False).map(str),
        quantity=st.integers(1, 1000),
    ),
    max_size=8,
    unique_by=lambda fill: fill.fill_id,
)


@given(fills=fills, seed=st.randoms())
def test_the_bytes_do_not_depend_on_the_order_of_arrival(fills: list[ProofFill], seed: Any) -> None:
    shuffled = [*fills]
    seed.shuffle(shuffled)

    assert signed_bytes(execution_proof(replace(ORDER, fills=tuple(fills)))) == signed_bytes(
        execution_proof(replace(ORDER, fills=tuple(shuffled)))
    )


@given(fills=fills)
def test_the_average_is_exact(fills: list[ProofFill]) -> None:
    average: Any = execution_proof(replace(ORDER, fills=tuple(fills)))["average_price"]
    quantity = sum(fill.quantity for fill in fills)

    if quantity == 0:
        assert average is None
    else:
        exact = Fraction(int(average["numerator"]), int(average["denominator"]))
        assert exact * quantity == sum(Fraction(fill.price) * fill.quantity for fill in fills)


def test_the_bundle_carries_the_proof_and_who_signed_it() -> None:
    proof = execution_proof(ORDER)
    bundle = signed_bundle(proof, key_id="k-1", signature=b"\x00\xff")

    assert bundle == {
        "proof": proof,
        "signature": {"algorithm": "Ed25519", "key_id": "k-1", "value_base64": "AP8="},
    }
    assert json.loads(json.dumps(bundle)) == bundle
