"""Risk dollars, room and correlations as callers of the interface see them."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from backstop.app.exposure_limits import exposure_limits
from backstop.domain.broker import BrokerPosition
from backstop.domain.events import (
    FamilyVolatility,
    PairCorrelation,
    PositionReported,
    RiskEstimated,
    Source,
)
from backstop.domain.quote import Mark

LIMITS = exposure_limits(
    risk_budget=Decimal(10_000),
    max_correlation_exposure=Decimal("0.7"),
    es_nq_max_combined_exposure=Decimal(5000),
    max_directional_share=Decimal("0.5"),
)


def a_guard(desk: Any, *, quantity: int) -> Any:
    guard = desk.guard()
    guard.book.policy = replace(
        guard.book.policy, exposure_limits=LIMITS, symbols=("ES", "NQ", "CL")
    )
    guard.marks = (Mark(contract_id=desk.ES.contract_id, price=Decimal(6000)),)
    guard.feed(
        RiskEstimated(
            utc_us=desk.UTC_US,
            volatilities=(
                FamilyVolatility(
                    family="ES", sigma_ppm=10_000, origin="MEASURED", as_of_utc_us=desk.UTC_US
                ),
            ),
            correlations=(
                PairCorrelation(
                    first="ES",
                    second="NQ",
                    origin="MEASURED",
                    value=0.91234,
                    aligned_bars=300,
                    as_of_utc_us=desk.UTC_US - 120_000_000,
                ),
            ),
        )
    )
    position = BrokerPosition(
        position_id=1,
        account_id=4711,
        contract_id=desk.ES.contract_id,
        quantity=quantity,
        average_price=Decimal(5990),
    )
    guard.feed(PositionReported(utc_us=desk.UTC_US, position=position, source=Source.HUB))
    return guard


async def test_exposure_shows_risk_dollars_per_root_and_the_room_of_every_limit(desk: Any) -> None:
    async with desk.calling(a_guard(desk, quantity=-1)) as caller:
        status, said = await caller.ask("GET", "/v1/exposure")

    assert status == 200
    assert said["roots"] == [
        {
            "symbol": "ES",
            "contract_id": desk.ES.contract_id,
            "family": "ES",
            "quantity": -1,
            "contract_risk": "3000.00",
            "risk": "-3000.00",
            "worst_long": "0.00",
            "worst_short": "3000.00",
        }
    ]
    assert {(it["limit"], it["subject"]): it["headroom"] for it in said["limits"]} == {
        ("CORRELATION", "ES"): "4000.00",
        ("ES_NQ_COMBINED", "ES"): "2000.00",
        ("DIRECTIONAL", "LONG"): "10000.00",
        ("DIRECTIONAL", "SHORT"): "7000.00",
        ("GROSS", "ALL"): "17000.00",
    }
    sigma = {it["family"]: (it["sigma_percent"], it["origin"]) for it in said["volatilities"]}
    assert sigma == {
        "CL": ("15", "STRESS_MISSING"),
        "ES": ("1", "MEASURED"),
        "NQ": ("6", "STRESS_MISSING"),
    }
    assert (said["enforced"], said["unpriced"]) == (True, [])


async def test_a_limit_that_the_market_has_broken_has_less_than_no_room(desk: Any) -> None:
    async with desk.calling(a_guard(desk, quantity=2)) as caller:
        _, said = await caller.ask("GET", "/v1/exposure")

    (combined,) = [it for it in said["limits"] if it["limit"] == "ES_NQ_COMBINED"]
    assert (combined["headroom"], combined["breached"]) == ("-1000.00", True)


async def test_every_limit_is_shown_with_all_its_room_while_nothing_is_held(desk: Any) -> None:
    async with desk.calling(a_guard(desk, quantity=0)) as caller:
        _, said = await caller.ask("GET", "/v1/exposure")

    shown = [(it["limit"], it["subject"]) for it in said["limits"]]
    assert shown == [
        ("CORRELATION", "ALL"),
        ("ES_NQ_COMBINED", "ALL"),
        ("DIRECTIONAL", "LONG"),
        ("DIRECTIONAL", "SHORT"),
        ("GROSS", "ALL"),
    ]
    assert all(it["headroom"] == it["allowed"] and it["value"] == "0.00" for it in said["limits"])
    assert {it["limit"]: it["allowed"] for it in said["limits"]}["CORRELATION"] == "7000.00"


async def test_without_limits_risk_is_shown_and_nothing_is_enforced(desk: Any) -> None:
    guard = a_guard(desk, quantity=1)
    guard.book.policy = replace(guard.book.policy, exposure_limits=None)
    async with desk.calling(guard) as caller:
        _, said = await caller.ask("GET", "/v1/exposure")

    assert (said["enforced"], said["limits"]) == (False, [])
    assert said["roots"][0]["risk"] == "3000.00"


async def test_the_matrix_has_every_pair_from_both_ends_with_origin_and_age(desk: Any) -> None:
    async with desk.calling(a_guard(desk, quantity=1)) as caller:
        status, said = await caller.ask("GET", "/v1/correlations")

    assert status == 200
    measured = {"value": "0.9123", "origin": "MEASURED", "age_s": 120, "aligned_bars": 300}
    unknown = {"value": None, "origin": "MISSING", "age_s": None, "aligned_bars": 0}
    assert said["matrix"] == {
        "CL": {"ES": unknown, "NQ": unknown},
        "ES": {"CL": unknown, "NQ": measured},
        "NQ": {"CL": unknown, "ES": measured},
    }
