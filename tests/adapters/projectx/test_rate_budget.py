import asyncio

import pytest
from tests.adapters.projectx.conftest import ManualClock

from backstop.adapters.projectx.rate_budget import (
    BARS_MAX,
    CALLS_MAX,
    CALLS_WINDOW_NS,
    FEELER_NS,
    SLICE_NS,
    WINDOW_MARGIN_NS,
    BudgetSpentError,
    RateBudget,
)
from backstop.domain.call_purpose import CallPurpose

SECOND_NS = 1_000_000_000
CUT_RISK = CallPurpose.CUT_RISK


def a_budget(clock: ManualClock, *, reserve: int = 20) -> RateBudget:
    return RateBudget(
        clock=clock, kept=lambda it: 0 if it.is_urgent else reserve, sleep=clock.sleep
    )


async def spend(
    budget: RateBudget,
    clock: ManualClock,
    calls: int,
    *,
    purpose: CallPurpose = CallPurpose.ORDINARY,
) -> None:
    for _ in range(calls):
        await budget.acquire(deadline_ns=clock.now_ns, purpose=purpose)


async def test_ordinary_calls_leave_the_reserve_to_urgent_ones() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=20)
    await spend(budget, clock, CALLS_MAX - 20)

    assert budget.spare() == 0
    with pytest.raises(BudgetSpentError, match="20 are kept"):
        await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS)
    await spend(budget, clock, 20, purpose=CUT_RISK)
    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS, purpose=CUT_RISK)


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
    await spend(budget, clock, CALLS_MAX)

    await budget.acquire(deadline_ns=clock.now_ns + 90 * SECOND_NS)

    assert clock.slept_s == [61.0]  # the gateway's minute and the margin


async def test_waiting_beyond_the_deadline_is_refused_at_once() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=0)
    await spend(budget, clock, CALLS_MAX)

    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns + 10 * SECOND_NS)

    assert clock.slept_s == []


async def test_a_pause_after_a_429_is_told_as_one() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=20)
    budget.refused(retry_after_s=30.0)

    with pytest.raises(BudgetSpentError, match=r"429 .* waits 30\.0 s more"):
        await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS)


async def test_room_for_several_calls_is_waited_for_and_takes_none() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=0)
    await spend(budget, clock, CALLS_MAX - 3)
    purpose = CallPurpose.PROVE

    await budget.room_for(3, purpose=purpose, deadline_ns=clock.now_ns)
    with pytest.raises(BudgetSpentError):
        await budget.room_for(4, purpose=purpose, deadline_ns=clock.now_ns + SECOND_NS)
    await budget.room_for(4, purpose=purpose, deadline_ns=clock.now_ns + 90 * SECOND_NS)

    assert clock.slept_s == [61.0]
    assert budget.left() == CALLS_MAX


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


@pytest.mark.parametrize("purpose", [CUT_RISK, CallPurpose.PROVE])
async def test_a_429_pauses_everybody_and_urgent_calls_for_less(purpose: CallPurpose) -> None:
    clock = ManualClock()
    budget = a_budget(clock)

    budget.refused()

    assert budget.spare() == 0
    await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS, purpose=purpose)
    assert clock.slept_s == [0.25]
    budget.answered()
    await budget.acquire(deadline_ns=clock.now_ns + 10 * SECOND_NS)
    assert clock.slept_s == [0.25, 1.75]


async def test_what_is_asked_again_waits_after_refusals_no_longer_than_its_own_pace() -> None:
    """A cancel may have got no other answer than a 429, and its order must not outlive that."""
    clock = ManualClock()
    budget = a_budget(clock)
    for _ in range(5):
        budget.refused()

    await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS, purpose=CallPurpose.REPEAT)
    assert clock.slept_s == [8.0]


@pytest.mark.parametrize(("told_s", "left_s"), [(None, []), (60.0, [52.0])])
async def test_an_answer_ends_the_long_pause_unless_the_gateway_named_it(
    told_s: float | None, left_s: list[float]
) -> None:
    """Else the account stays unread while the gateway takes calls again."""
    clock = ManualClock()
    budget = a_budget(clock)
    for _ in range(5):
        budget.refused(retry_after_s=told_s)
    clock.now_ns += 8 * SECOND_NS
    urgent = await budget.acquire(deadline_ns=clock.now_ns, purpose=CUT_RISK)
    budget.answered(urgent)

    await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS)
    assert clock.slept_s == left_s


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


async def test_calls_that_were_under_way_together_are_refused_once() -> None:
    clock = ManualClock()
    budget = a_budget(clock)
    permits = [await budget.acquire(deadline_ns=clock.now_ns) for _ in range(5)]
    clock.now_ns += SECOND_NS // 100
    for permit in permits[:4]:
        budget.refused(permit=permit)
    budget.answered(permits[4])  # it left before the first refusal: that says nothing about now

    await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS)
    assert clock.slept_s == [2.0]
    later = await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS)
    budget.refused(permit=later)
    await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS)
    assert clock.slept_s[-1] == 5.0, "that one left afterwards: it is the second in a row"


async def test_after_a_429_one_call_feels_its_way_and_what_cuts_risk_waits_for_none() -> None:
    """All that wait would leave in one moment, and be refused together."""
    clock = ManualClock()
    budget = a_budget(clock)
    budget.refused()
    feeler = await budget.acquire(deadline_ns=clock.now_ns + 60 * SECOND_NS)
    felt_ns = clock.now_ns

    await budget.acquire(deadline_ns=clock.now_ns, purpose=CUT_RISK)
    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns)
    with pytest.raises(BudgetSpentError):
        await budget.acquire(deadline_ns=clock.now_ns, purpose=CallPurpose.PROVE)
    await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS)
    assert clock.now_ns == felt_ns + FEELER_NS
    budget.answered(feeler)
    await spend(budget, clock, 5)


async def test_each_purpose_leaves_what_is_kept_from_it() -> None:
    clock = ManualClock()
    kept = {
        CallPurpose.CUT_RISK: 0,
        CallPurpose.PROVE: 10,
        CallPurpose.ORDINARY: 20,
        CallPurpose.REPEAT: 50,
    }
    budget = RateBudget(clock=clock, kept=kept.__getitem__, sleep=clock.sleep)
    for purpose in (CallPurpose.REPEAT, CallPurpose.ORDINARY, CallPurpose.PROVE, CUT_RISK):
        await spend(budget, clock, budget.left() - kept[purpose], purpose=purpose)
        with pytest.raises(BudgetSpentError, match=f"{kept[purpose]} are kept"):
            await budget.acquire(deadline_ns=clock.now_ns + SECOND_NS, purpose=purpose)
    assert budget.left() == 0


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
    budget = RateBudget(clock=clock, kept=lambda _: kept[-1], sleep=clock.sleep)
    await spend(budget, clock, CALLS_MAX - 30)
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
    await budget.acquire(deadline_ns=clock.now_ns, purpose=CUT_RISK)


async def test_many_waiting_callers_never_overdraw_the_window() -> None:
    clock = ManualClock()
    budget = a_budget(clock, reserve=0)
    await spend(budget, clock, CALLS_MAX - 1)

    results = await asyncio.gather(
        *(budget.acquire(deadline_ns=clock.now_ns + SECOND_NS) for _ in range(5)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, BudgetSpentError) for result in results) == 4


# -- the calls of the process before ---------------------------------------------------------------


async def test_a_process_counts_the_calls_of_the_one_before_for_as_long_as_the_gateway_does() -> (
    None
):
    """The gateway counts by user: a guard that comes back has no two hundred calls anew."""
    clock = ManualClock()
    before = a_budget(clock)
    for _ in range(5):
        await spend(before, clock, 10)
        clock.now_ns += 10 * SECOND_NS
    after = a_budget(clock)

    after.inherit(before.made(), until_ns=clock.now_ns)

    assert after.left() == before.left() == CALLS_MAX - 50
    for _ in range(14):
        clock.now_ns += SLICE_NS
        assert after.left() <= before.left() <= after.left() + 10
    assert after.left() == CALLS_MAX
    await spend(after, clock, 3)
    assert after.left() == CALLS_MAX - 3


async def test_no_call_of_another_process_is_forgotten_before_the_gateway_forgets_it() -> None:
    clock = ManualClock()
    before, after = a_budget(clock), a_budget(clock)
    await spend(before, clock, 1)
    clock.now_ns += SLICE_NS - 1
    after.inherit(before.made(), until_ns=clock.now_ns)

    clock.now_ns += CALLS_WINDOW_NS + WINDOW_MARGIN_NS - 1
    assert before.left() == CALLS_MAX
    assert after.left() == CALLS_MAX - 1
    clock.now_ns += 1
    assert after.left() == CALLS_MAX


async def test_what_one_process_tells_the_next_covers_the_whole_window() -> None:
    clock = ManualClock()
    before = a_budget(clock)
    await spend(before, clock, CALLS_MAX - 20)
    clock.now_ns += CALLS_WINDOW_NS + WINDOW_MARGIN_NS - 1

    assert sum(before.made()) == before.made()[-1] == CALLS_MAX - 20
    clock.now_ns += 1
    assert sum(before.made()) == 0


async def test_more_calls_than_there_are_at_all_are_none_left() -> None:
    clock = ManualClock()
    budget = a_budget(clock)
    await spend(budget, clock, 5)

    budget.inherit((10**9, 10**9), until_ns=clock.now_ns)

    assert budget.left() == 0
