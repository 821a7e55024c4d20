"""Section C: the record against the venue. Lines that other stories play are marked there."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.acceptance.scenarios.stage import alerts, flat, later, net, protected, recorded
from tests.app.desk import Desk, Guard, JumpingClock, a_desk, a_venue, until

from backstop.adapters.contract_expiry import contract_ends
from backstop.domain.order import Side
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

START_UTC_US = int(datetime(2026, 12, 2, 16, tzinfo=UTC).timestamp()) * 1_000_000
"""A Wednesday morning in Chicago, two weeks before the month ends that is traded then."""

MINUTE_US = 60_000_000
STEP_S = 30.0
STEPS = 40
PLACED_MAX = 3
"""Stops that are tried in a month that takes none: the first, and its repair."""
CLOSED_MAX = 6
"""Closes that are tried there, some of whose answers are lost as the clock jumps: after them it is
a person's turn."""


class DatedClock(JumpingClock):
    """A clock that stands at a moment of the calendar when it is made, and goes on from there."""

    def __init__(self, utc_us: int) -> None:
        super().__init__()
        self._from = (utc_us, self.monotonic_ns())

    def utc_us(self) -> int:
        utc_us, began_ns = self._from
        return utc_us + (self.monotonic_ns() - began_ns) // 1000


def a_dated_venue(*, settles: bool = False) -> Simulator:
    config = a_venue(speed=1.0, settle_on_expiry=settles).config
    return Simulator(replace(config, start_us=START_UTC_US))


# -- C9 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("C9")
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("seen", ["before the end", "after the end"])
async def test_a_month_that_ends_is_left_before_and_not_traded_in_a_loop_after(
    tmp_path: Path, seen: str, side: Side
) -> None:
    async with a_dated_venue() as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard(BACKSTOP_CALENDAR="cme", clock=DatedClock(START_UTC_US)) as guard:
            await guard.enter(side, 2)
            await protected(desk, 2 * side.sign)
            await guard.agrees()
            instrument = guard.instrument("MES")
        (end,) = contract_ends([instrument])
        if seen == "before the end":
            clock = DatedClock(end.flat_by_utc_us + MINUTE_US)
            async with desk.guard(BACKSTOP_CALENDAR="cme", clock=clock, ready=False) as guard:
                await flat(desk)
                await guard.agrees()
                assert alerts(guard).count("POSITION_PAST_ITS_TIME") == 1
                assert guard.book.latches == ()
            return
        await _held_beyond_the_end(desk, instrument.contract_id, 2 * side.sign)


async def _later_and_read(guard: Guard, clock: JumpingClock, seconds: float) -> None:
    """Let time pass, and the account be read once more."""
    read_ns = guard.book.audit.complete_ns
    later(guard, clock, seconds)
    await until(lambda: guard.book.audit.complete_ns > read_ns, "a read")


async def _held_beyond_the_end(desk: Desk, contract_id: str, held: int) -> None:
    """Let the month end at a venue that does not settle it, and twenty minutes pass."""
    clock = JumpingClock()
    async with desk.guard(clock=clock, ready=False) as guard:
        await until(lambda: guard.book.recovered, "recovered")
        placed = len(recorded(desk, "PlaceOrder"))
        desk.venue.exchange.expire_contract(contract_id)
        for _ in range(STEPS):
            await _later_and_read(guard, clock, STEP_S)
        await until(lambda: "LIQUIDATION_ESCALATED" in alerts(guard), lambda: alerts(guard))

        assert (net(desk), guard.position()) == (held, held)
        assert "LIQUIDATION_FLAT" not in alerts(guard)
        assert len(recorded(desk, "PlaceOrder")) - placed <= PLACED_MAX
        assert len(recorded(desk, "ClosePosition")) <= CLOSED_MAX
        assert alerts(guard).count("CONTRACT_EXPIRED") == 1


@pytest.mark.parametrize("side", Side)
async def test_a_position_that_the_venue_settles_at_the_end_is_nobody_else_s_trading(
    tmp_path: Path, side: Side
) -> None:
    async with a_dated_venue(settles=True) as venue:
        desk = a_desk(venue, tmp_path)
        clock = JumpingClock()
        async with desk.guard(clock=clock) as guard:
            await guard.enter(side, 2)
            await protected(desk, 2 * side.sign)
            await guard.agrees()
            venue.exchange.expire_contract(guard.instrument("MES").contract_id)
            await flat(desk)
            await until(lambda: not guard.position(), "flat")
            for _ in range(STEPS):
                if "CONTRACT_EXPIRED" in alerts(guard):
                    break
                await _later_and_read(guard, clock, 2.0)

            assert alerts(guard).count("CONTRACT_EXPIRED") == 1
            assert "EXTERNAL_POSITION" not in alerts(guard)
            assert guard.book.latches == ()
