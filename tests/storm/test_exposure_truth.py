"""Exposure by the exchange's book: other code than the guard's, and the same answers."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from backstop.adapters.projectx.wire import OrderRow, PlaceBody, WireOrderType
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.simulator.fault_rules import FaultKind, FaultRule
from backstop.storm.exposure_truth import (
    FAMILIES,
    POINT_VALUES,
    SHOWN_S,
    ExposureWatch,
    Limits,
)
from backstop.storm.mutations import Mutation, planted
from backstop.storm.plan import Weather, plan_of
from backstop.storm.rules.scene import SETTLED_S
from backstop.storm.seed_run import run_seed, simulated
from backstop.storm.terms import Hours, terms_of
from backstop.storm.venue import ACCOUNT_ID
from backstop.storm.world import World

NO_ORDERS = Mutation(
    name="count what is held, and no order",
    weather=Weather.CALM,
    module="core.fillable",
    old="        quantity=order.open_quantity,\n",
    new="        quantity=0,\n",
)


def test_a_planted_bug_breaks_a_limit_in_the_eyes_of_the_exchange() -> None:
    with planted(NO_ORDERS):
        found = run_seed(1219, hours=0.02, first_fault=True)
    assert {it.rule for it in found.violations} == {"within limits"}
    assert "dollars" in found.violations[0].text


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

    assert broken_in(story) == broken


@pytest.mark.parametrize("type_", [OrderType.LIMIT, OrderType.MARKET], ids=["works", "has filled"])
@pytest.mark.parametrize(
    ("exit_is_later", "broken"), [(True, set()), (False, {"within limits"})], ids=["later", "known"]
)
def test_an_exit_that_was_let_pass_after_an_entry_and_arrives_before_it_could_not_be_known(
    *, exit_is_later: bool, broken: set[str], type_: OrderType
) -> None:
    """A short position in the S&P hedges what is bought of the Nasdaq, and is bought back."""

    async def story(world: World) -> None:
        guard = guard_of(world)
        await send(world, Side.SELL)
        judge = a_watch(world, es_nq=risk_of_one(world, "MNQ") * 0.97)
        entry = request(world, "MNQ", Side.BUY, OrderType.LIMIT, with_stop=True)
        leaves = request(world, "MES", Side.BUY, type_, with_stop=False)
        for it in (entry, leaves) if exit_is_later else (leaves, entry):
            decision = await guard.submit_order(it)
            assert not decision.denials, decision.denials
            judge.decided(it.client_order_id)
        await asyncio.sleep(HELD_S)
        entry_row = row_of(world, entry)
        del world.truth.live[entry_row.id]  # as if it had not arrived yet
        judge.on_place(
            PlaceBody(
                account_id=ACCOUNT_ID,
                contract_id=entry_row.contract_id,
                type=WireOrderType.LIMIT,
                side=0,
                size=1,
                custom_tag=entry_row.custom_tag,
            )
        )
        assert judge.looked == 1

    assert broken_in(story) == broken


def broken_in(story: Callable[[World], Awaitable[None]]) -> set[str]:
    """Let a story happen to a guard on a calm day, and return the rules that it breaks."""

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
    return {it.rule for it in world.safety.violations}


def a_watch(world: World, *, es_nq: float | None = None) -> ExposureWatch:
    """Return a judge whose limits no contract keeps; with ``es_nq`` that is the only one."""
    others = 1.0 if es_nq is None else math.inf
    return ExposureWatch(
        world.truth,
        limits=Limits(correlated=others, es_nq=es_nq or 1.0, one_side=others, gross=others),
        bars=world.venue.history.families,
        guard=lambda: world.host.guard,
        broke=world.safety.break_rule,
    )


def guard_of(world: World) -> CriticalSystemManager:
    guard = world.host.guard
    assert guard is not None
    return guard


def risk_of_one(world: World, symbol: str) -> float:
    """Return the risk dollars of one contract by what the guard measured."""
    family = FAMILIES[symbol]
    sigma = {it.family: it.sigma_ppm / 1e6 for it in guard_of(world).exposure().volatilities}
    return POINT_VALUES[symbol] * world.venue.history.families[family].price * sigma[family]


def request(
    world: World, symbol: str, side: Side, type_: OrderType, *, with_stop: bool
) -> OrderRequest:
    """Return one contract; what is no market order is far from the market."""
    bid, tick = world.venue.touch(world.venue.contract_ids[symbol])
    return OrderRequest(
        client_order_id=f"bot-{symbol}-{side}",
        symbol=symbol,
        side=side,
        quantity=1,
        type=type_,
        limit_price=bid - 40 * tick if type_ is OrderType.LIMIT else None,
        stop_loss_price=bid - 80 * tick if with_stop else None,
    )


def row_of(world: World, asked: OrderRequest) -> OrderRow:
    tag = guard_of(world).book.orders[asked.client_order_id].custom_tag
    (row,) = (it for it in world.truth.live.values() if it.custom_tag == tag)
    return row


async def send(world: World, side: Side) -> None:
    opens = side is Side.BUY
    asked = request(world, "MES", side, OrderType.MARKET, with_stop=opens)
    decision = await guard_of(world).submit_order(asked)
    assert not decision.denials, decision.denials


async def placed_by_the_guard(guard: CriticalSystemManager) -> TrackedOrder:
    """Wait for the stop that the guard places itself."""
    for _ in range(200):
        found = [it for it in guard.book.orders.values() if it.role is not None]
        if found:
            return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError("the guard has placed no stop within 2 s")
