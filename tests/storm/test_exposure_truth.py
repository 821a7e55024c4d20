"""Exposure by the exchange's book: other code than the guard's, and the same answers."""

import asyncio
import math
from decimal import Decimal
from random import Random

import pytest
from msgspec.structs import replace

from backstop.adapters.projectx.wire import PlaceBody, WireOrderType
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.bars import Bar
from backstop.core.correlation_estimator import CorrelationEstimator
from backstop.core.tracked_order import TrackedOrder
from backstop.core.volatility import VolatilityEstimator
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.simulator.fault_rules import FaultKind, FaultRule
from backstop.simulator.sessions import trade_date
from backstop.storm.exposure_truth import SHOWN_S, ExposureWatch, Limits, rho_of, sigma_of
from backstop.storm.history import BAR_US, SESSIONS, Close, past_of
from backstop.storm.mutations import Mutation, planted
from backstop.storm.plan import Weather, plan_of
from backstop.storm.rules.scene import SETTLED_S
from backstop.storm.seed_run import run_seed, simulated
from backstop.storm.terms import QUIET_US, Hours, terms_of
from backstop.storm.venue import ACCOUNT_ID
from backstop.storm.world import World

PRICES = {"ES": 24_000, "NQ": 84_000}
TICK = Decimal("0.25")


def bars(family: str, closes: list[Close]) -> list[Bar]:
    return [
        Bar(
            family=family,
            contract_id=family,
            trade_date=trade_date(it.open_us).isoformat(),
            start_utc_us=it.open_us,
            close=it.ticks * TICK,
        )
        for it in closes
    ]


@pytest.mark.parametrize("seed", range(3))
def test_volatility_and_correlation_are_what_the_guard_makes_of_the_same_bars(seed: int) -> None:
    past = past_of(Random(seed), PRICES, QUIET_US)  # noqa: S311 - repeatable
    guards = VolatilityEstimator.seeded("ES", bars("ES", past["ES"])).volatility(QUIET_US)
    own = sigma_of(past["ES"], QUIET_US)
    assert own is not None
    assert guards.sigma_ppm / 1e6 >= own * 0.999  # it may count more, and never less

    together = [*bars("ES", past["ES"]), *bars("NQ", past["NQ"])]
    view = CorrelationEstimator.seeded(PRICES, together).view(QUIET_US)
    measured = view.correlation("ES", "NQ").value
    rho = rho_of(past["ES"], past["NQ"], None)
    assert measured is not None
    assert rho is not None
    assert math.isclose(measured, rho, abs_tol=1e-9)


def test_the_past_leads_to_the_price_at_the_beginning_and_has_whole_sessions() -> None:
    past = past_of(Random(1), PRICES, QUIET_US)  # noqa: S311 - repeatable
    assert {family: closes[-1].ticks for family, closes in past.items()} == PRICES
    assert len({trade_date(it.open_us) for it in past["ES"]}) == SESSIONS
    assert all(it.open_us % BAR_US == 0 for it in past["ES"])


HALF_THE_VOLATILITY = Mutation(
    name="count half of the volatility",
    weather=Weather.CALM,
    module="core.volatility",
    old="            self._session_variance += step * step\n",
    new="            self._session_variance += step * step / 4\n",
)
NO_ORDERS = Mutation(
    name="count what is held, and no order",
    weather=Weather.CALM,
    module="core.fillable",
    old="        quantity=order.open_quantity,\n",
    new="        quantity=0,\n",
)


@pytest.mark.parametrize(
    ("bug", "seed", "hours"),
    [(HALF_THE_VOLATILITY, 20, 0.02), (NO_ORDERS, 1219, 0.02)],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_planted_bug_breaks_a_limit_in_the_eyes_of_the_exchange(
    bug: Mutation, seed: int, hours: float
) -> None:
    with planted(bug):
        found = run_seed(seed, hours=hours, first_fault=True)
    assert {it.rule for it in found.violations} == {"within limits"}
    assert "dollars" in found.violations[0].text or "volatility" in found.violations[0].text


# -- a stop for what a late row shows --------------------------------------------------------------

SEED = 20
NEVER_S = 1e9
HELD_S = 0.4
LATE_MS = 1000
"""A row comes so late: after the trade that closed what it shows."""

LONG_AGO_S = SHOWN_S + LATE_MS / 1000 + HELD_S


@pytest.mark.parametrize(
    ("kind", "size", "ago_s", "broken"),
    [
        (WireOrderType.STOP, 1, 0.0, set()),
        (WireOrderType.STOP, 2, 0.0, {"within limits"}),
        (WireOrderType.LIMIT, 1, 0.0, {"within limits"}),
        (WireOrderType.STOP, 1, LONG_AGO_S, {"within limits"}),
    ],
    ids=["a stop of it", "a larger stop", "a target", "held long ago"],
)
def test_a_stop_of_what_a_late_row_shows_opens_nothing_as_far_as_anybody_could_know(
    kind: WireOrderType, size: int, ago_s: float, broken: set[str]
) -> None:
    """Bought and sold again; the row of what was bought comes last, and is protected."""

    async def story(world: World) -> None:
        late = FaultRule(
            on="GatewayUserPosition", act=FaultKind.DELAY_EVENT, delay_ms=LATE_MS, count=None
        )
        world.venue.faults.add([late])
        contract_id = world.venue.contract_ids["MES"]
        await send(world, Side.BUY)
        await asyncio.sleep(HELD_S)
        await send(world, Side.SELL)
        stop = await placed_by_the_guard(guard_of(world))
        assert guard_of(world).book.position(contract_id).ledger == 0
        assert world.truth.positions[contract_id] == 0

        news = world.truth.news[contract_id]
        for _ in range(len(news)):
            news.append(news.popleft()._replace(at_s=world.now_s() - ago_s))
        judge = a_watch(world)
        judge.decided(stop.client_order_id)
        judge.on_place(
            PlaceBody(
                account_id=ACCOUNT_ID,
                contract_id=contract_id,
                type=kind,
                side=1,
                size=size,
                custom_tag=stop.custom_tag,
            )
        )

    async def act(world: World) -> None:
        await world.begin()
        await asyncio.sleep(SETTLED_S + 1.0)
        await story(world)

    settings = {"DRY_RUN": False, "EXECUTE": True, "DEFAULT_STOP_TICKS": 60}
    terms = replace(
        terms_of(SEED, stops_are_needed=True),
        hours=Hours.QUIET,
        settings={**settings, "BACKSTOP_CALENDAR": "always-open"},
    )
    world = simulated(replace(plan_of(SEED), pause_s=NEVER_S), act, terms=terms)
    assert {it.rule for it in world.safety.violations} == broken


def a_watch(world: World) -> ExposureWatch:
    """Return a judge whose limits no contract keeps."""
    return ExposureWatch(
        world.truth,
        limits=Limits(correlated=1.0, es_nq=1.0, one_side=1.0, gross=1.0),
        bars=world.venue.history.families,
        guard=lambda: world.host.guard,
        up_s=lambda: 0.0,
        reads_fail=False,
        broke=world.safety.break_rule,
    )


def guard_of(world: World) -> CriticalSystemManager:
    guard = world.host.guard
    assert guard is not None
    return guard


async def send(world: World, side: Side) -> None:
    bid, tick = world.venue.touch(world.venue.contract_ids["MES"])
    request = OrderRequest(
        client_order_id=f"bot-{side}",
        symbol="MES",
        side=side,
        quantity=1,
        type=OrderType.MARKET,
        stop_loss_price=bid - 80 * tick if side is Side.BUY else None,
    )
    decision = await guard_of(world).submit_order(request)
    assert not decision.denials, decision.denials


async def placed_by_the_guard(guard: CriticalSystemManager) -> TrackedOrder:
    """Wait for the stop that the guard places itself."""
    for _ in range(200):
        found = [it for it in guard.book.orders.values() if it.role is not None]
        if found:
            return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError("the guard has placed no stop within 2 s")
