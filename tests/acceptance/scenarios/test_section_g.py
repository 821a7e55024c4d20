"""Section G: freezes and stale data. Lines that other stories play in full are marked there."""

import asyncio
import os
import signal
from typing import Any

import pytest
from tests.acceptance.scenarios.stage import later, net, protected, recorded, restored, silence
from tests.app.desk import PATIENCE_S, Desk, Guard, JumpingClock, until

from backstop.adapters.projectx_server.hub import Group
from backstop.adapters.projectx_server.hub_connection import HubConnection
from backstop.core.step import DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.events import Hub
from backstop.domain.order import OrderState, Side
from backstop.simulator.fault_rules import FaultKind, HubName

LONG_S = 3_600.0
"""Longer than any limit on the age of data."""


def objections(guard: Guard, symbol: str, side: Side = Side.BUY) -> set[DenialCode]:
    """Return why an entry would be refused now."""
    quote = guard.manager.quotes.reference(guard.instrument(symbol).contract_id)
    if quote is None or quote.touch(side) is None:
        return {DenialCode.STALE_REFERENCE}  # after a break the sides come one by one
    assessment = guard.manager.validate_order(guard.request(side, symbol=symbol))
    assert assessment is not None
    return {denial.code for denial in assessment.denials}


def stale(guard: Guard, symbol: str) -> bool:
    return DenialCode.STALE_REFERENCE in objections(guard, symbol)


async def trades_again(guard: Guard, symbol: str) -> None:
    await until(lambda: not objections(guard, symbol), lambda: objections(guard, symbol))


# -- G1 ------------------------------------------------------------------------------------------


def feeds(desk: Desk, contract_id: str) -> list[tuple[HubConnection, Group]]:
    """Return the market subscriptions of one contract that the venue serves now."""
    connections = desk.venue.server.market_hub.connections
    return [(it, group) for it in connections for group in it.groups if contract_id in group]


@pytest.mark.scenario("G1")
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("how", ["the venue forgets the subscription", "the feed stands still"])
async def test_one_contract_that_falls_silent_stops_its_own_entries_only(
    desk: Desk, how: str
) -> None:
    async with desk.guard("MNQ", STALE_QUOTE_MS=2_000) as guard:
        await guard.enter(symbol="MNQ")
        contract_id = guard.instrument("MNQ").contract_id
        forgets = how == "the venue forgets the subscription"
        if forgets:
            for connection, group in feeds(desk, contract_id):
                desk.venue.server.market_hub.leave(connection, group)
        else:
            desk.mischief(
                "now", FaultKind.FREEZE_QUOTES, contract=contract_id.split(".")[3], name="still"
            )
        await until(lambda: stale(guard, "MNQ"), "no entries without fresh quotes")
        assert not stale(guard, "MES")
        await guard.enter(symbol="MES")
        leaving = await guard.manager.submit_order(
            guard.request(Side.SELL, symbol="MNQ", protected=False)
        )
        assert leaving.kind is DecisionKind.ACCEPTED, leaving.denials
        assert leaving.order is not None
        await guard.reaches(leaving.order.client_order_id, OrderState.FILLED)
        assert net(desk) == 1

        if not forgets:
            desk.venue.faults.heal()
        await trades_again(guard, "MNQ")
        assert feeds(desk, contract_id), "it was subscribed again"


# -- G2 ------------------------------------------------------------------------------------------


AUDIT_HELD_MS = 20_000


def looked_up(desk: Desk) -> set[str]:
    return {fact["client_order_id"] for fact in recorded(desk, "OrderLookedUp")}


@pytest.mark.scenario("G2")
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("told", ["the answer comes", "no answer comes"])
async def test_an_order_under_a_silent_user_stream_is_read_for_itself(
    desk: Desk, told: str
) -> None:
    async with desk.guard() as guard:
        silence(desk)
        # A read of the whole account takes longer than this story, so only its own can tell.
        desk.mischief(
            "Position/searchOpen",
            FaultKind.DELAY_RESPONSE,
            delay_ms=AUDIT_HELD_MS,
            count=None,
            name="audit",
        )
        if told == "no answer comes":
            desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        order = await guard.send(guard.request(quantity=2))
        filled = await guard.reaches(order.client_order_id, OrderState.FILLED)

        assert guard.book.links.market_up
        assert guard.book.links.user_up
        await until(
            lambda: order.client_order_id in looked_up(desk), "it did not wait for the audit"
        )
        restored(desk, "audit")
        restored(desk, "silence")
        assert filled.filled_quantity == net(desk) == 2
        assert len(desk.orders()) == 1
        await protected(desk, 2)


# -- G4 ------------------------------------------------------------------------------------------

STALLS_ITS_LOOP = """
import signal, time

signal.signal(signal.SIGUSR2, lambda *_: time.sleep(0.4))
"""
"""Loaded into every process of the run: a pause as a collection or a slow disk makes it."""

NOTICED_MS = 100
"""Of the 400: a pause may begin in the middle of the 250 ms between two pulses."""


@pytest.mark.scenario("G4")
async def test_a_short_stall_is_a_figure_and_nothing_else(bench: Any) -> None:
    (bench.folder / "sitecustomize.py").write_text(STALLS_ITS_LOOP, encoding="utf-8")
    async with bench.venue(), bench.guard(PYTHONPATH=str(bench.folder)) as guard:
        await guard.active()
        (before,) = guard.processes("guard")
        os.kill(before, signal.SIGUSR2)
        said = await guard.until(
            "/v1/status",
            lambda said: said["heartbeats"]["event_loop_stall_ms_max"] >= NOTICED_MS,
        )

        assert said["trading_state"] == "ACTIVE"
        assert said["heartbeats"]["watchdog"]["guard_restarts"] == 0
        assert guard.processes("guard") == [before]
        _, alerts = await guard.ask("GET", "/v1/alerts")
        codes = {alert["code"] for alert in alerts["alerts"]}
        assert not codes & {"WATCHDOG_LOST", "GUARD_RESTARTED", "GUARD_KILLED"}


# -- G6 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("G6")
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("hub", [HubName.MARKET, HubName.BOTH])
async def test_connections_that_answer_pings_and_say_nothing_are_not_believed(
    desk: Desk, hub: HubName
) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock, STALE_QUOTE_MS=2_000) as guard:
        await guard.enter()
        desk.mischief("now", FaultKind.HUB_MUTE, hub=hub)
        before = len(recorded(desk, "HubConnected"))
        later(guard, clock, LONG_S)
        assert stale(guard, "MES"), "what came an hour ago is no price"
        leaving = await guard.manager.submit_order(guard.request(Side.SELL, protected=False))
        assert leaving.kind is DecisionKind.ACCEPTED, leaving.denials
        await until(lambda: net(desk) == 0, lambda: net(desk))

        async with asyncio.timeout(PATIENCE_S):
            await until(
                lambda: (
                    Hub.MARKET in {fact["hub"] for fact in recorded(desk, "HubConnected")[before:]}
                ),
                "a new connection",
            )
        await trades_again(guard, "MES")
        await guard.agrees()
