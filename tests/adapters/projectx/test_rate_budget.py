import asyncio

import pytest
from tests.adapters.projectx.conftest import ManualClock

from backstop.adapters.projectx.rate_budget import (
    BARS_MAX,
    CALLS_MAX,
    BudgetSpentError,
    RateBudget,
)

SECOND_NS = 1_000_000_000


def a_budget(clock: ManualClock, *, reserve: int = 20) -> RateBudget:
    return RateBudget(clock=clock, reserve=lambda: reserve, sleep=clock.sleep)


async def spend(budget: RateBudget, clock: ManualClock, calls: int, *, urgent: bool) -> None:
    for _ in range(calls):
        await budget.acquire(deadline_ns=clock.now_ns, urgent=urgent)


async def test_ordinary_calls_leave_the_reserve_to_urgent_ones() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=20)
    await spend(budget, clock, CALLS_MAX - 20, urgent=False)

    assert budget.spare() == 0
    with pytest.raises(BudgetSpentError, match="20 are kept"):
        await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS)
    await spend(budget, clock, 20, urgent=True)
    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS, urgent=True)


async def test_no_window_of_a_minute_ever_holds_more_calls_than_the_gateway_allows() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=0)
    sent_ns = []
    for index in range(700):
        clock.now_ns += (index % 7) * SECOND_NS // 40
        await budget.acquire(deadline_ns=clock.now_ns + 120 * SECOND_NS)
        sent_ns.append(clock.now_ns)

    for first, after in zip(sent_ns, sent_ns[CALLS_MAX:], strict=False):
        assert after - first >= 60 * SECOND_NS


async def test_a_waiting_call_goes_as_soon_as_the_window_has_moved() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=0)
    await spend(budget, clock, CALLS_MAX, urgent=False)

    await budget.acquire(deadline_ns=clock.now_ns + 90 * SECOND_NS)

    assert clock.slept_s == [61.0]  # the gateway's minute and the margin


async def test_waiting_beyond_the_deadline_is_refused_at_once() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=0)
    await spend(budget, clock, CALLS_MAX, urgent=False)

    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns + 10 * SECOND_NS)

    assert clock.slept_s == []


async def test_bars_have_a_window_of_their_own() -> None:
    clock = ManualClock()
    budget = a_budget(clock)
    for _ in range(BARS_MAX):
        await budget.acquire(deadline_ns=clock.now_ns, bars=True)

    assert budget.spare() == CALLS_MAX - 20
    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns, bars=True)


async def test_a_call_that_never_left_is_given_back() -> None:
    clock = ManualClock()
    budget = a_budget(clock)
    permit = await budget.acquire(deadline_ns=clock.now_ns)

    permit.give_back()

    assert budget.spare() == CALLS_MAX - 20


async def test_a_429_pauses_everybody_and_urgent_calls_for_less() -> None:
    clock = ManualClock()
    budget = a_budget(clock)

    budget.refused()

    assert budget.spare() == 0
    await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS, urgent=True)
    assert clock.slept_s == [0.25]
    await budget.acquire(deadline_ns=clock.now_ns + 10 * SECOND_NS)
    assert clock.slept_s == [0.25, 1.75]


async def test_refusals_in_a_row_pause_longer_until_an_answer_comes() -> None:
    clock = ManualClock()
    budget = a_budget(clock)
    budget.refused()
    budget.refused()
    await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS)
    assert clock.slept_s == [5.0]

    budget.answered()
    budget.refused()
    await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS)
    assert clock.slept_s == [5.0, 2.0]


async def test_retry_after_is_obeyed_within_reason() -> None:
    clock = ManualClock()
    budget = a_budget(clock)
    budget.refused(retry_after_s=7)
    await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS)
    assert clock.slept_s == [7.0]

    budget.refused(retry_after_s=86_400)
    await budget.acquire(deadline_ns=clock.now_ns + 600 * SECOND_NS)
    assert clock.slept_s[-1] == 120.0


async def test_the_reserve_is_asked_for_at_every_call() -> None:
    """Positions and orders come and go while calls wait."""
    clock = ManualClock()
    kept = [20]
    budget = RateBudget(clock=clock, reserve=lambda: kept[-1], sleep=clock.sleep)
    await spend(budget, clock, CALLS_MAX - 30, urgent=False)
    assert (budget.left(), budget.spare()) == (30, 10)

    kept.append(30)
    assert (budget.left(), budget.spare()) == (30, 0)
    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS)
    budget.refused(retry_after_s=5)
    assert budget.left() == 0


async def test_a_reserve_beyond_the_whole_budget_stops_ordinary_calls_only() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=CALLS_MAX + 50)

    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns + 600 * SECOND_NS)
    await budget.acquire(deadline_ns=clock.now_ns, urgent=True)


async def test_many_waiting_callers_never_overdraw_the_window() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=0)
    await spend(budget, clock, CALLS_MAX - 1, urgent=False)

    results = await asyncio.gather(
        *(budget.acquire(deadline_ns=clock.now_ns + SECOND_NS) for _ in range(5)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, BudgetSpentError) for result in results) == 4
