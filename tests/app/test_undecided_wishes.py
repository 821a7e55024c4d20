"""A flood of wishes: what is too much is refused at once, and what cuts risk has room."""

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace
from tests.app.desk import Desk, Guard

from backstop.app.undecided_wishes import (
    MAX_UNDECIDED,
    MAX_UNDECIDED_CUTS,
    MAX_UNDECIDED_OF_ONE,
)
from backstop.core.step import Decision, DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.errors import GuardBusyError

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOOD = 2000
OF_FACTS = 200
"""What else is decided while a full line is: rows of orders, reads, deadlines."""


def entries(guard: Guard, *names: str | None) -> list[OrderRequest]:
    """Return very many resting entries, of these strategies in turn, larger than is allowed."""
    request = guard.request(Side.BUY, 1000, OrderType.LIMIT, ticks=-300)
    return [
        replace(request, client_order_id=f"flood-{number}", strategy_id=names[number % len(names)])
        for number in range(FLOOD)
    ]


async def asked(guard: Guard, requests: list[OrderRequest]) -> Counter[str]:
    """Ask for all of them at once; return how often each kind of answer came."""
    answers = await asyncio.gather(
        *(guard.manager.submit_order(request) for request in requests), return_exceptions=True
    )
    return Counter(
        it.kind.value if isinstance(it, Decision) else type(it).__name__ for it in answers
    )


async def test_a_flood_of_entries_is_refused_and_an_exit_is_decided_in_the_midst_of_it(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.holds(2)
        flood = asyncio.create_task(asked(guard, entries(guard, "a", "b", "c")))
        await asyncio.sleep(0)
        before = guard.manager.steps
        out = guard.request(Side.SELL, 1, protected=False)
        leaving = asyncio.create_task(guard.manager.submit_order(out))
        closed = await guard.manager.close_position("MES", quantity=1)
        decision = await leaving
        between = guard.manager.steps - before
        answers = await flood

        assert [closed.kind, decision.kind] == [DecisionKind.ACCEPTED, DecisionKind.ACCEPTED]
        assert between <= MAX_UNDECIDED + OF_FACTS
        assert answers["GuardBusyError"] + answers[DecisionKind.REFUSED] == FLOOD
        assert 0 < answers[DecisionKind.REFUSED] <= MAX_UNDECIDED
        await guard.holds(0)
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.ACTIVE


async def test_one_strategy_in_an_endless_loop_leaves_room_for_the_others(desk: Desk) -> None:
    async with desk.guard() as guard:
        flood = [
            asyncio.create_task(guard.manager.submit_order(it)) for it in entries(guard, "wild")
        ]
        of_another = asyncio.create_task(
            guard.manager.submit_order(
                replace(guard.request(kind=OrderType.LIMIT, ticks=-300), strategy_id="calm")
            )
        )
        answers = await asyncio.gather(*flood, return_exceptions=True)
        (error,) = {str(it) for it in answers if isinstance(it, GuardBusyError)}

        assert f"{MAX_UNDECIDED_OF_ONE} wishes of strategy 'wild' wait" in error
        assert "was not decided" in error
        assert (await of_another).kind is DecisionKind.ACCEPTED


async def test_what_was_refused_for_the_flood_may_be_asked_again(desk: Desk) -> None:
    async with desk.guard() as guard:
        requests = entries(guard, None)
        first = await asked(guard, requests)
        again = await guard.manager.submit_order(requests[-1])

        assert first["GuardBusyError"]
        assert again.kind is DecisionKind.REFUSED  # by its size: it was judged


async def test_a_flood_of_cancels_has_an_end_too_and_a_halt_passes_it(desk: Desk) -> None:
    async with desk.guard() as guard:
        flood = [
            asyncio.create_task(guard.manager.cancel_order(f"n-{number}", reason="all of it"))
            for number in range(FLOOD)
        ]
        halting = asyncio.create_task(guard.manager.halt(reason="a flood", operator="Ada"))
        answers = await asyncio.gather(*flood, return_exceptions=True)
        kinds = Counter(type(it).__name__ for it in answers)

        assert kinds == {
            "Decision": MAX_UNDECIDED_CUTS,
            "GuardBusyError": FLOOD - MAX_UNDECIDED_CUTS,
        }
        assert (await halting).kind is DecisionKind.ACCEPTED
