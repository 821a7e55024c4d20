"""Section I: what an account may lose, hold and do when its day is over."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.acceptance.scenarios.stage import flat, net, protected, working
from tests.app.desk import LARGEST_FILE_BYTES, Desk, Guard, full_disk, until
from tests.app.market import trade_at

from backstop.app.trading_days import trade_date
from backstop.core.account_rules.standing import Standing, standing
from backstop.core.step import Decision, DecisionKind
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import TradingDayBegan
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.errors import JournalError
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_US = 24 * 3600 * 1_000_000
DOLLAR = 1_000_000
TICK = Decimal("0.25")
OTHER_RULES = {"BACKSTOP_PROFILE": "none", "ACCOUNT_STARTING_BALANCE": 150_000}


def now(guard: Guard) -> Standing:
    limits = guard.book.account_limits
    assert limits is not None
    return standing(guard.book, limits)


def conditions(guard: Guard) -> tuple[Condition, ...]:
    return guard.book.readiness(guard.manager.now_ns()).conditions


def latches(guard: Guard) -> set[LatchKind]:
    return {latch.kind for latch in guard.book.latches}


def entered_at(guard: Guard) -> Decimal:
    average = guard.book.position(guard.instrument("MES").contract_id).average_price
    assert average is not None
    return average


async def market_at(
    guard: Guard, desk: Desk, price: Decimal, is_true: Callable[[], bool], what: str
) -> None:
    """Let the market of MES trade at one price until something has come of it."""
    contract_id = guard.instrument("MES").contract_id

    def moved() -> bool:
        if is_true():
            return True
        trade_at(desk.venue, contract_id, price)
        return False

    await until(moved, lambda: f"{what}: {now(guard)}")


def denial(decision: Decision, code: DenialCode) -> Denial:
    (found,) = [it for it in decision.denials if it.code is code]
    return found


def resting(guard: Guard, quantity: int, *, ticks: int, risk_ticks: int) -> OrderRequest:
    """Return a buy that rests below the market, with its stop so many ticks further down."""
    wish = guard.request(Side.BUY, quantity, OrderType.LIMIT, ticks=ticks, protected=False)
    assert wish.limit_price is not None
    return replace(wish, stop_loss_price=wish.limit_price - risk_ticks * TICK)


# -- I2 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I2")
async def test_what_is_held_working_and_unknown_counts_together(desk: Desk) -> None:
    async with desk.guard(MAX_POSITION="0.6") as guard:
        await guard.enter(quantity=3)
        await protected(desk, 3)
        await guard.send(guard.request(Side.BUY, 2, OrderType.LIMIT, ticks=-300))
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        lists = ("Order/search", "Order/searchOpen", "Order/v2/query", "GatewayUserOrder")
        for call in lists[:3]:
            desk.mischief(call, FaultKind.HTTP_ERROR, http_status=503, count=None)
        desk.mischief(lists[3], FaultKind.DROP_EVENT, count=None)
        lost = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-301))
        assert lost.state is OrderState.UNKNOWN

        more = await guard.manager.submit_order(guard.request(Side.BUY, 1))
        too_far = await guard.manager.submit_order(guard.request(Side.SELL, 4, protected=False))
        out = guard.manager.validate_order(guard.request(Side.SELL, 3, protected=False))

        refused = denial(more, DenialCode.POSITION_TOO_LARGE)
        assert (refused.value, refused.limit, refused.max_quantity) == ("0.7", "0.6", 0)
        assert DenialCode.POSITION_FLIP in [it.code for it in too_far.denials]
        assert out is not None
        assert out.reducing
        assert out.denials == ()


# -- I4 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I4")
async def test_realised_open_and_fees_reach_the_limit_of_the_day_together(desk: Desk) -> None:
    async with desk.guard(MAX_DAILY_LOSS=5_000) as guard:
        await guard.enter(quantity=1)
        await guard.send(guard.request(Side.SELL, 1, protected=False))
        await until(lambda: guard.position() == 0, guard.position)
        await guard.enter(quantity=2)
        await protected(desk, 2)
        await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-500))
        down = entered_at(guard) - 60 * TICK  # 150 dollars of two contracts
        realised = Decimal(now(guard).realised_micros) / DOLLAR
        assert realised < 0
        limit = 150 - realised  # each part alone is within it
        await guard.manager.change_limits(daily_loss=limit)
        assert Condition.DAILY_LOSS_LOCK not in conditions(guard)

        await market_at(
            guard, desk, down, lambda: Condition.DAILY_LOSS_LOCK in conditions(guard), "a lock"
        )
        await flat(desk)
        await guard.agrees()

        assert guard.book.latches == ()
        refused = await guard.manager.submit_order(guard.request(Side.BUY, 1))
        assert denial(refused, DenialCode.DAILY_LOSS_LOCKED).max_quantity == 0
        later_us = guard.manager.clock.utc_us() + 4 * DAY_US
        guard.manager.decisions.put(
            TradingDayBegan(
                utc_us=guard.manager.clock.utc_us(),
                trade_date=trade_date(later_us),
                began_utc_us=later_us,
            )
        )
        await guard.ready("MES")
        assert now(guard).day_micros == 0


# -- I5 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I5")
async def test_a_drawdown_is_still_one_after_a_restart_and_counts_from_the_same_high(
    desk: Desk,
) -> None:
    rules = OTHER_RULES | {"MAX_TRAILING_LOSS": 2_000, "ACCOUNT_HIGH_CLOSE": 150_000}
    async with desk.guard(**rules) as guard:
        await guard.enter(quantity=1)
        await protected(desk, 1)
        await guard.manager.change_limits(trailing_loss=Decimal(100))
        down = entered_at(guard) - 100 * TICK
        await market_at(guard, desk, down, lambda: LatchKind.DRAWDOWN in latches(guard), "a latch")
        await flat(desk)
        before = now(guard).floor
    async with desk.guard(ready=False, **rules) as guard:
        await guard.manager.account_read()

        assert LatchKind.DRAWDOWN in latches(guard)
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.HALTED
        assert now(guard).floor == before
        assert before is not None
        assert before.micros == 149_900 * DOLLAR


# -- I6 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I6")
async def test_the_floor_follows_closes_not_peaks_and_locks_at_the_start(desk: Desk) -> None:
    rules = OTHER_RULES | {"MAX_TRAILING_LOSS": 2_000}
    async with desk.guard(**rules, ACCOUNT_HIGH_CLOSE=150_500) as guard:
        await guard.enter(quantity=1)
        await protected(desk, 1)
        floor = now(guard).floor
        assert floor is not None
        assert floor.micros == 148_500 * DOLLAR
        up, down = entered_at(guard) + 200 * TICK, entered_at(guard) - 8 * TICK
        await market_at(
            guard, desk, up, lambda: now(guard).open_micros >= 200 * DOLLAR, "a peak of the day"
        )
        assert now(guard).floor == floor
    async with desk.guard(ready=False, **rules, ACCOUNT_HIGH_CLOSE=152_100) as guard:
        await guard.manager.account_read()
        floor = now(guard).floor
        assert floor is not None
        assert floor.micros == 150_000 * DOLLAR, "locked at the starting balance"
        await market_at(guard, desk, down, lambda: LatchKind.DRAWDOWN in latches(guard), "a breach")
        await flat(desk)


# -- I7 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("I7")
async def test_an_order_and_what_is_pending_must_fit_into_what_is_left(desk: Desk) -> None:
    settings = {"MAX_DAILY_LOSS": 150, "FEES_PER_CONTRACT": "1.40", "MAX_SLIPPAGE_TICKS": 2}
    async with desk.guard(**settings) as guard:
        await guard.send(resting(guard, 2, ticks=-200, risk_ticks=20))
        wish = resting(guard, 4, ticks=-210, risk_ticks=20)

        refused = await guard.manager.submit_order(wish)

        found = denial(refused, DenialCode.DAILY_LOSS_BUFFER)
        each = 22 * Decimal("1.25") + Decimal("1.40")
        assert each * 4 == Decimal("115.6")
        assert (Decimal(str(found.value)), found.limit) == (6 * each, "150")
        assert found.max_quantity == 3
        assert len(working(desk)) == 1
        smaller = replace(wish, quantity=3, client_order_id="smaller")
        passed = await guard.manager.submit_order(smaller)
        assert passed.kind is DecisionKind.ACCEPTED


# -- I10 -----------------------------------------------------------------------------------------


@pytest.mark.scenario("I10")
async def test_while_nothing_can_be_recorded_entries_are_denied_and_exits_pass(
    desk: Desk,
) -> None:
    async with desk.guard(MAX_DAILY_LOSS=5_000) as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        log = desk.folder / "state" / "audit.db-wal"
        await until(lambda: log.stat().st_size > LARGEST_FILE_BYTES, "a log of some size")
        out = guard.request(Side.SELL, 2, protected=False)
        with full_disk(guard):
            with pytest.raises(JournalError):
                await guard.manager.submit_order(guard.request(Side.BUY, 1))
            await asyncio.gather(guard.manager.submit_order(out), return_exceptions=True)
            await until(lambda: net(desk) == 0, lambda: net(desk))

        assert sum(row["side"] == "BID" for row in desk.orders()) == 1
