"""Section L, and H where it is about time: clocks that are wrong, step, stand still, or are absent.

The guard's own clocks move as a test says; the venue's is real, and shows itself as ``Date``.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tests.acceptance.scenarios.stage import (
    alerts,
    cut_off,
    later,
    restored,
    searched,
    silence,
    stop_legs,
    struck,
)
from tests.app.desk import (
    API_KEY,
    USER,
    Desk,
    Guard,
    JumpingClock,
    a_desk,
    a_venue,
    until,
)

from backstop.adapters.projectx.wire import WireOrderType, WireSide
from backstop.core.execution_verification import ABSENCE_MIN_AGE_NS, REPLY_LIMIT_NS
from backstop.core.external_trading import ATTRIBUTION_NS
from backstop.core.policy import SECOND_NS
from backstop.core.step import DecisionKind
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState, Side
from backstop.entrypoints.http.status import status_view
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

SKEW_S = 1200
LIMIT = {"CLOCK_OFFSET_MAX_SECONDS": 5}
EITHER_WAY = pytest.mark.parametrize("skew_s", [SKEW_S, -SKEW_S], ids=["ahead", "behind"])


class SetClock(JumpingClock):
    """The machine's clocks, with a time of day that somebody sets."""

    def __init__(self, ahead_s: float = 0) -> None:
        super().__init__()
        self.ahead_s = ahead_s

    def utc_us(self) -> int:
        return super().utc_us() + int(self.ahead_s * 1_000_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue(speed=1) as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


def conditions(guard: Guard) -> tuple[Condition, ...]:
    return guard.book.readiness(guard.manager.now_ns()).conditions


async def blocked(guard: Guard, *, by_clock: bool) -> None:
    """Wait until the clocks block entries, or until they do not; each read of the account looks."""
    await until(
        lambda: (Condition.CLOCK_OFFSET in conditions(guard)) is by_clock,
        lambda: (conditions(guard), guard.book.venue_clock),
    )


def note_names(guard: Guard) -> list[str]:
    return [note.name for note in guard.notes]


async def round_trip(desk: Desk, guard: Guard) -> None:
    """Somebody buys and sells a contract with a session of their own."""
    contract_id, before = guard.instrument("MES").contract_id, _filled(desk)
    async with aiohttp.ClientSession() as session:

        async def call(path: str, token: str = "", **body: Any) -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            url = f"{desk.venue.url}/api/{path}"
            async with session.post(url, json=body, headers=headers) as answer:
                said: dict[str, Any] = await answer.json()
                return said

        token = (await call("Auth/loginKey", userName=USER, apiKey=API_KEY))["token"]
        for number, side in enumerate((WireSide.BID, WireSide.ASK), start=before + 1):
            order = {"type": int(WireOrderType.MARKET), "side": int(side), "size": 1}
            account = {"accountId": desk.account, "contractId": contract_id}
            assert (await call("Order/place", token, **account, **order))["success"]
            await until(lambda least=number: _filled(desk) >= least, lambda: _filled(desk))  # type: ignore[misc]


def _filled(desk: Desk) -> int:
    return sum(abs(trade["quantity"]) for trade in _trades(desk))


def _trades(desk: Desk) -> list[Any]:
    return [it for it in desk.truth()["trades"] if it["accountId"] == desk.account]


# -- L3: too far apart, and steps ------------------------------------------------------------------


@pytest.mark.scenario("L3")
@EITHER_WAY
async def test_clocks_too_far_apart_block_entries_and_no_exit_until_they_agree(
    desk: Desk, skew_s: int
) -> None:
    clock = SetClock()
    async with desk.guard(clock=clock, **LIMIT) as guard:
        await guard.enter(quantity=2)
        due_ns = dict(guard.book.wakes)
        clock.ahead_s = skew_s
        await blocked(guard, by_clock=True)

        refused = await guard.manager.submit_order(guard.request(quantity=1))
        assert {it.code for it in refused.denials} >= {
            DenialCode.STATE_REDUCING,
            DenialCode.CLOCK_OFFSET,
        }
        await guard.enter(Side.SELL, quantity=1, protected=False)
        await guard.holds(1)
        assert "CLOCK_OFFSET" in alerts(guard)
        assert "clock_stepped" in note_names(guard)
        for what, when_ns in due_ns.items():
            assert guard.book.wakes.get(what, when_ns) >= when_ns, "no deadline moved"

        clock.ahead_s = 0
        await blocked(guard, by_clock=False)
        await guard.ready("MES")
        await guard.enter(quantity=1)
        await guard.agrees()


async def test_the_offset_is_shown_and_the_limit_is_a_setting(desk: Desk) -> None:
    desk.mischief("now", FaultKind.SKEW_CLOCK, skew_s=-4)
    async with desk.guard(ready=False, CLOCK_OFFSET_MAX_SECONDS=1) as guard:
        await blocked(guard, by_clock=True)

        shown = status_view(guard.manager).clock
        assert shown.offset_ms is not None
        assert -5_600 < shown.offset_ms < -2_400
        assert (shown.limit_ms, shown.blocks_entries) == (1000, True)
        assert guard.book.trading_state(guard.manager.now_ns()) is not TradingState.ACTIVE


@EITHER_WAY
async def test_a_wrong_clock_hides_no_round_trip_of_others(desk: Desk, skew_s: int) -> None:
    """Nothing is held afterwards: only the times of its trades say that it happened just now."""
    clock = SetClock(skew_s)
    async with desk.guard(clock=clock) as guard:
        await round_trip(desk, guard)
        await until(lambda: len(guard.book.trades) == 2, lambda: guard.book.trades)
        later(guard, clock, ATTRIBUTION_NS / SECOND_NS + 1)
        await until(
            lambda: any(it.kind is LatchKind.EXTERNAL for it in guard.book.latches),
            lambda: guard.book.external,
        )

        assert guard.position() == 0


@EITHER_WAY
async def test_a_clock_that_steps_under_an_unanswered_order_makes_no_second_one(
    desk: Desk, skew_s: int
) -> None:
    clock = SetClock()
    async with desk.guard(clock=clock) as guard:
        silence(desk)
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        sent = await guard.manager.submit_order(guard.request())
        assert sent.order is not None
        name = sent.order.client_order_id
        clock.ahead_s = skew_s
        await until(lambda: struck(desk, FaultKind.LOSE_RESPONSE, "Order/place") == 1, "lost")

        await guard.reaches(name, OrderState.FILLED)
        assert [row["customTag"] for row in desk.orders()] == [guard.book.orders[name].custom_tag]
        await until(lambda: stop_legs(desk) == 1, lambda: desk.truth()["orders"])
        await guard.agrees()


# -- the venue does not say what time it is --------------------------------------------------------


async def test_without_a_date_an_order_that_is_not_found_stays_unknown_until_there_is_one(
    desk: Desk,
) -> None:
    clock = SetClock()
    async with desk.guard(clock=clock) as guard:
        desk.mischief("now", FaultKind.HIDE_CLOCK)
        await until(lambda: "CLOCK_UNKNOWN" in alerts(guard), lambda: guard.book.venue_clock)
        desk.mischief("Order/place", FaultKind.RESET_BEFORE)
        sent = await guard.manager.submit_order(guard.request())
        assert sent.order is not None
        name = sent.order.client_order_id
        await guard.reaches(name, OrderState.UNKNOWN)
        later(guard, clock, (REPLY_LIMIT_NS + ABSENCE_MIN_AGE_NS) / SECOND_NS)
        await searched(guard, name, clock, times=4)

        assert guard.book.orders[name].state is OrderState.UNKNOWN
        assert status_view(guard.manager).clock.offset_ms is None

        desk.venue.faults.heal()
        desk.venue.faults.add(desk.venue.config.faults)
        await until(lambda: bool(guard.book.venue_clock.readings), "the time is known")
        await searched(guard, name, clock, times=4)
        assert guard.book.orders[name].state is OrderState.NOT_SUBMITTED
        assert desk.orders() == []


# -- H7: the wall clock between two processes, and a computer that sleeps -------------------------


@EITHER_WAY
async def test_a_wall_clock_that_was_set_between_two_processes_skips_nothing(
    desk: Desk, skew_s: int
) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=1)
        await guard.agrees()
    clock = SetClock(skew_s)
    async with desk.guard(clock=clock) as guard:
        await round_trip(desk, guard)
        await guard.enter(Side.SELL, quantity=1, protected=False)
        await guard.agrees()
        assert guard.position() == 0
        assert len(guard.book.trades) == len(_trades(desk))


async def test_an_hours_sleep_of_the_computer_is_over_for_every_deadline_at_once(
    desk: Desk,
) -> None:
    """The elapsed clock counts it; the venue's time goes on meanwhile, and ours with it."""
    clock = SetClock()
    async with desk.guard(clock=clock) as guard:
        order = await guard.enter(quantity=1)
        await until(lambda: stop_legs(desk) == 1, "the stop is at the exchange")
        await guard.agrees()
        audits = guard.book.audit.complete_sent_ns
        cut_off(desk)
        later(guard, clock, 3600)
        clock.ahead_s = 3600
        assert Condition.ACCOUNT_STALE in conditions(guard), "nothing of before is believed"
        refused = await guard.manager.submit_order(guard.request(client_order_id="asleep"))
        assert refused.kind is DecisionKind.REFUSED

        restored(desk)
        await guard.ready("MES")
        assert guard.book.audit.complete_sent_ns > audits
        assert guard.book.orders[order.client_order_id].state is OrderState.FILLED
        await until(lambda: stop_legs(desk) == 1, lambda: guard.notes[-40:])
        await guard.agrees()
