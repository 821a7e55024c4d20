"""The exposure that decisions keep up to date, beside the one that is made from scratch."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.builders import MES, NQ, Guard, a_policy, a_position, an_instrument

from backstop.app.exposure_limits import exposure_limits
from backstop.core.correlation_protection import check_order
from backstop.core.estimate_age import correlation_view
from backstop.core.noted import CHANGES_KEPT, ChangeLog, Noted
from backstop.core.portfolio import exposure_denials, exposures
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import (
    FamilyVolatility,
    InstrumentsLoaded,
    PairCorrelation,
    PositionReported,
    RiskEstimated,
    Source,
)
from backstop.domain.order import OrderIntent, OrderType, Side
from backstop.domain.quote import Mark

CL = "CON.F.US.CLE.Z26"
MNQ = "CON.F.US.MNQ.Z26"
ROOTS = {MES: "MES", NQ: "NQ", MNQ: "MNQ", CL: "CL"}
TICK_VALUES = {MES: 1_250_000, NQ: 5_000_000, MNQ: 500_000, CL: 10_000_000}
LIMITS = exposure_limits(
    risk_budget=Decimal(10_000),
    max_correlation_exposure=Decimal("0.7"),
    es_nq_max_combined_exposure=Decimal(5000),
    max_directional_share=Decimal("0.5"),
)


def a_guard() -> Guard:
    guard = Guard(policy=a_policy(exposure_limits=LIMITS, symbols=tuple(ROOTS.values())))
    return guard.start(
        *(
            an_instrument(
                contract_id=contract_id,
                symbol=ROOTS[contract_id],
                name=f"{ROOTS[contract_id]}Z6",
                tick_value_micros=tick_value,
                tick_size=Decimal("0.01") if contract_id == CL else Decimal("0.25"),
            )
            for contract_id, tick_value in TICK_VALUES.items()
        )
    )


def an_estimate(guard: Guard, es_nq: float | None, sigma_ppm: int) -> RiskEstimated:
    pairs = () if es_nq is None else ((("ES", "NQ"), es_nq), (("CL", "ES"), -es_nq / 2))
    return RiskEstimated(
        utc_us=guard.utc_us,
        volatilities=(
            FamilyVolatility(family="ES", sigma_ppm=sigma_ppm, origin="MEASURED"),
            FamilyVolatility(family="NQ", sigma_ppm=2 * sigma_ppm, origin="MEASURED"),
        ),
        correlations=tuple(
            PairCorrelation(first=first, second=second, origin="MEASURED", value=value)
            for (first, second), value in pairs
        ),
    )


def an_order(contract_id: str, side: Side, quantity: int) -> OrderIntent:
    return OrderIntent(
        client_order_id="c",
        account_id=42,
        contract_id=contract_id,
        symbol=ROOTS[contract_id],
        side=side,
        quantity=quantity,
        type=OrderType.MARKET,
    )


contracts = st.sampled_from(sorted(ROOTS))
acts = st.one_of(
    st.tuples(st.just("hold"), contracts, st.integers(-4, 4)),
    st.tuples(st.just("told"), contracts, st.integers(1, 4)),
    st.tuples(st.just("price"), contracts, st.sampled_from([None, 60, 5000, 5001, 21_000])),
    st.tuples(st.just("estimate"), st.sampled_from([None, -0.9, 0.0, 0.9]), st.just(9_000)),
    st.tuples(st.just("rename"), contracts, st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from([60, 90_000])),
)


@settings(deadline=None)
@given(st.lists(st.tuples(acts, contracts, st.sampled_from(Side), st.integers(1, 20))))
def test_an_order_gets_the_same_answer_as_from_scratch_whatever_happened_before(
    script: list[tuple[tuple[str, object, int], str, Side, int]],
) -> None:
    guard = a_guard()
    prices: dict[str, Decimal] = {MES: Decimal(5000), NQ: Decimal(21_000)}
    for (act, what, amount), contract_id, side, quantity in script:
        match act, what:
            case "hold", str():
                row = a_position(amount, contract_id=what, average_price=Decimal(5000))
                fact = PositionReported(utc_us=guard.utc_us, position=row, source=Source.HUB)
                guard.feed(fact)
            case "told", str():
                number = 300 + len(guard.history)
                guard.row(
                    broker_order_id=number,
                    contract_id=what,
                    side=side,
                    quantity=amount,
                    filled_quantity=amount,
                    status=BrokerStatus.FILLED,
                )
            case "price", str():
                prices.pop(what, None)
                if amount is not None:
                    prices[what] = Decimal(amount)
            case "estimate", (None | float()) as es_nq:
                guard.feed(an_estimate(guard, es_nq, amount))
            case "rename", str():
                instrument = an_instrument(contract_id=what, symbol=ROOTS[what])
                guard.feed(InstrumentsLoaded(utc_us=guard.utc_us, instruments=(instrument,)))
            case _:
                guard.now_ns += amount * 1_000_000_000
        marks = tuple(Mark(contract_id=name, price=price) for name, price in prices.items())
        order, book, utc_us = an_order(contract_id, side, quantity), guard.book, guard.utc_us

        kept = exposure_denials(book, order, marks, utc_us)

        assert kept == check_order(
            exposures(book, marks, utc_us, candidate=contract_id),
            correlation_view(book.estimate, utc_us),
            LIMITS,
            symbol=order.symbol,
            side=side,
            quantity=quantity,
        )


def test_a_price_that_moved_counts_in_the_next_decision() -> None:
    guard = a_guard()
    guard.feed(an_estimate(guard, None, 9_000))
    row = a_position(1, contract_id=MES, average_price=Decimal(5000))
    guard.feed(PositionReported(utc_us=guard.utc_us, position=row, source=Source.HUB))
    order = an_order(MES, Side.BUY, 1)

    def answered(price: int) -> tuple[Denial, ...]:
        marks = (Mark(contract_id=MES, price=Decimal(price)),)
        return exposure_denials(guard.book, order, marks, guard.utc_us)

    before, at_a_far_price = answered(5000), answered(500_000)

    assert before == answered(5000) == ()
    assert {it.code for it in at_a_far_price} >= {DenialCode.GROSS_EXPOSURE}


def test_a_price_that_is_gone_counts_no_more() -> None:
    guard = a_guard()
    guard.feed(an_estimate(guard, None, 9_000))
    marks = tuple(Mark(contract_id=it, price=Decimal(5000)) for it in ROOTS)
    order = an_order(CL, Side.BUY, 1)
    before = exposure_denials(guard.book, order, marks, guard.utc_us)

    (after,) = exposure_denials(guard.book, order, marks[:-1], guard.utc_us)

    assert all("not known" not in it.message for it in before)
    assert "The risk of CL is not known" in after.message


def test_a_reader_is_told_of_what_changed_since_he_looked_and_of_nothing_twice() -> None:
    log, noted = ChangeLog(), Noted({"A": 0})
    noted.noted_in(log)
    assert log.since(-1) is None  # whoever never looked knows nothing of it
    seen = log.version
    assert log.since(seen) == []

    noted["A"] = 1
    noted["B"] = 1
    noted["A"] = 2
    assert log.since(seen) == ["A", "B"]
    seen = log.version
    del noted["A"]
    noted.pop("B")
    noted.setdefault("C", 1)
    noted.update(D=1)
    noted["E"] = 1
    noted.popitem()
    assert log.since(seen) == ["E", "D", "C", "B", "A"]
    assert log.since(log.version) == []


def test_what_is_cleared_all_at_once_is_looked_at_anew() -> None:
    log, noted = ChangeLog(), Noted({"A": 0})
    noted.noted_in(log)
    seen = log.version

    noted.clear()

    assert log.since(seen) is None
    assert log.since(log.version) == []


def test_contracts_that_nobody_asks_about_do_not_pile_up() -> None:
    log = ChangeLog()
    for number in range(CHANGES_KEPT + 1):
        log.note(str(number))

    assert log.since(0) is None
    kept = log.since(1)
    assert kept is not None
    assert (len(kept), kept[0], kept[-1]) == (CHANGES_KEPT, str(CHANGES_KEPT), "1")
