"""The venue's clock is read from the ``Date`` of real answers, and nothing else passes for it."""

import time
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import hdrs, web
from tests.adapters.projectx.conftest import OK, ScriptedApi, SystemClock

from backstop.adapters.projectx.transport import CLOCK_READINGS_MAX, Transport
from backstop.domain.clock import DATE_RESOLUTION_US, ClockReading

PATH = "/api/Account/search"
US_PER_S = 1_000_000


class Told:
    """What a transport told of the venue's clock, newest last."""

    def __init__(self) -> None:
        self.looks: list[tuple[ClockReading, ...]] = []

    def __call__(self, readings: tuple[ClockReading, ...]) -> None:
        self.looks.append(readings)


async def asked(
    api: ScriptedApi,
    clock: SystemClock,
    *dates: str | None,
    set_ahead_us: tuple[int, ...] = (),
) -> tuple[Transport, Told]:
    """Make one exchange for each date that the answer is to bear; None: it bears none.

    ``set_ahead_us`` is how far our wall clock is ahead before each of them.
    """
    wanted = iter(dates)

    async def answer(_request: web.Request, _body: Any) -> web.StreamResponse:
        response = web.json_response(OK)
        date = next(wanted)
        if date is not None:
            response.headers[hdrs.DATE] = date
        else:
            # The server adds one of its own to an answer without: an empty one is as good as none.
            response.headers[hdrs.DATE] = ""
        return response

    api.answer(PATH, answer)
    told = Told()
    async with Transport(api.url, clock=clock, on_clock=told) as transport:
        for number in range(len(dates)):
            if set_ahead_us:
                clock.skew_us = set_ahead_us[number]
            await transport.exchange(
                PATH, b"{}", headers={}, deadline_ns=clock.monotonic_ns() + 10 * 10**9
            )
        return transport, told


@pytest.mark.parametrize("ahead_s", [0, 1200, -1200])
async def test_the_bounds_hold_the_venues_true_time(
    api: ScriptedApi, clock: SystemClock, ahead_s: int
) -> None:
    before_ns = clock.monotonic_ns()
    true_us = time.time_ns() // 1000 + ahead_s * US_PER_S

    _, told = await asked(api, clock, formatdate(true_us / US_PER_S, usegmt=True))

    ((reading,),) = told.looks
    then_us = true_us + (reading.read_ns - before_ns) // 1000
    assert reading.earliest_utc_us <= then_us
    assert reading.latest_utc_us >= true_us
    assert reading.latest_utc_us - reading.earliest_utc_us >= DATE_RESOLUTION_US
    assert reading.earliest_utc_us == true_us - true_us % US_PER_S


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "",
        "now",
        "2026-11-22T10:00:00Z",
        "Sun, 32 Nov 2026 10:00:00 GMT",
        "Sun, 22 Nov 99999 10:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Sun, 22 Nov 2026 10:00:00 +99999999",
    ],
)
async def test_three_answers_without_a_usable_date_say_that_nobody_knows(
    api: ScriptedApi, clock: SystemClock, nonsense: str | None
) -> None:
    transport, told = await asked(api, clock, *([nonsense] * CLOCK_READINGS_MAX))

    assert told.looks == [()]
    assert transport.clock_readings == ()
    assert transport.venue_clock_offset_ms is None


async def test_one_answer_without_a_date_takes_nothing_away(
    api: ScriptedApi, clock: SystemClock
) -> None:
    good = formatdate(usegmt=True)

    _, told = await asked(api, clock, good, None, "nonsense", None)

    assert [len(readings) for readings in told.looks] == [1, 1, 1, 0]


async def test_only_the_newest_answers_count(api: ScriptedApi, clock: SystemClock) -> None:
    dates = [formatdate(1_790_000_000 + number, usegmt=True) for number in range(5)]

    _, told = await asked(api, clock, *dates)

    newest = [reading.earliest_utc_us // US_PER_S for reading in told.looks[-1]]
    assert newest == [1_790_000_002, 1_790_000_003, 1_790_000_004]


async def test_a_step_of_our_clock_moves_the_offset_at_once_and_no_bound(
    api: ScriptedApi, clock: SystemClock
) -> None:
    good = formatdate(usegmt=True)
    transport, told = await asked(api, clock, good, good, set_ahead_us=(0, 0))
    clock.skew_us = 1200 * US_PER_S

    offset_ms = transport.venue_clock_offset_ms

    assert offset_ms is not None
    assert -1_202_500 < offset_ms < -1_197_500
    assert told.looks[-1] == transport.clock_readings
