"""What counts as slippage, told in front of a real venue: levels that move, and stops that slip."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from tests.app.desk import Desk, Guard, a_desk, a_venue, until
from tests.app.own_bot import an_own_bot

from backstop.core.execution_verdict import Verdict
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.exchange_config import PartialFill
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILLED = OrderState.FILLED


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue(partial_fill=PartialFill.BY_LIQUIDITY) as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


def told(guard: Guard, code: str) -> list[str]:
    return [it.message for it in guard.book.alerts.alerts.values() if it.code == code]


def offer(guard: Guard, price: Decimal, size: int) -> None:
    """Offer ``size`` contracts of MES at ``price`` for a moment."""
    contract = guard.instrument("MES")
    bid = price - contract.tick_size
    guard.venue.exchange.on_quote(contract.contract_id, bid, price, 500, size)


async def test_a_limit_that_is_moved_between_two_fills_has_not_slipped_also_after_a_restart(
    desk: Desk,
) -> None:
    """One contract at the first level, one ten points lower: each was filled where it stood."""
    async with desk.guard() as guard:
        request = guard.request(Side.BUY, 2, OrderType.LIMIT, ticks=-200)
        first = request.limit_price
        assert first is not None
        name = request.client_order_id
        await guard.send(request)
        await until(lambda: desk.orders()[0]["status"] == "OPEN", desk.orders)
        offer(guard, first, 1)
        await guard.reaches(name, OrderState.PARTIALLY_FILLED)
        lower = first - 10
        await guard.manager.modify_order(name, quantity=None, limit_price=lower, stop_price=None)
        await until(lambda: _stands_at(guard, name, lower), lambda: guard.book.orders[name])

    async with desk.guard(ready=False) as guard:
        await until(lambda: guard.book.recovered, "recovered")
        offer(guard, lower, 1)
        order = await guard.reaches(name, FILLED)
        proof = json.loads(await guard.proof(name))["proof"]

        assert [fill.price for fill in order.fills] == [first, lower]
        assert told(guard, "SLIPPAGE_BREACH") == []
        assert list(proof["slippage"]["reference_prices"].values()) == [
            f"{first.normalize():f}",
            f"{lower.normalize():f}",
        ]
        assert (proof["slippage"]["ticks"]["decimal"], proof["slippage"]["breach"]) == ("0", False)


def _stands_at(guard: Guard, name: str, price: Decimal) -> bool:
    row = guard.book.orders[name].venue
    return row is not None and row.limit_price == price


async def test_a_stop_of_a_bracket_that_slips_far_reduces_until_a_person_resumes(
    desk: Desk,
) -> None:
    """Its level was 100 points away and the market opens below it: only the leg has slipped."""
    async with desk.guard(SLIPPAGE_BREACHES_TO_REDUCE=1) as guard:
        entry = await guard.enter(quantity=1)
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: guard.book.stop_cover(contract_id, 1) == 1, "its stop")
        guard.move_market(-900)
        await until(lambda: bool(guard.book.latches), lambda: guard.book.breaches)

        (message,) = told(guard, "SLIPPAGE_BREACH")
        assert f"of {entry.client_order_id})" in message
        assert "stop-loss" in message
        assert [latch.kind for latch in guard.book.latches] == [LatchKind.SLIPPAGE]
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.REDUCING
        assert len(told(guard, "SLIPPAGE_REDUCING")) == 1


async def test_a_trailing_stop_is_measured_from_where_the_venue_had_taken_it(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=1)
        request = guard.request(Side.SELL, 1, OrderType.TRAILING_STOP, ticks=60, protected=False)
        begun = request.stop_price
        assert begun is not None
        name = request.client_order_id
        await guard.send(request)
        await guard.reaches(name, OrderState.WORKING)
        guard.move_market(200)
        await until(lambda: _trailed_to(guard, name) > begun, lambda: guard.book.orders[name])
        guard.move_market(-300)
        order = await guard.reaches(name, FILLED)
        verification = await guard.manager.verify_execution(name)

        assert verification is not None
        assert verification.slippage_ticks is not None
        last = order.levels_seen.seen[-1].price
        assert last > begun
        paid = order.fills[0].price
        assert verification.slippage_ticks == (last - paid) / Decimal("0.25")
        assert verification.verdict is Verdict.BREACH


def _trailed_to(guard: Guard, name: str) -> Decimal:
    seen = guard.book.orders[name].levels_seen.seen
    return seen[-1].price if seen else Decimal(0)


async def test_a_market_order_registered_after_it_traded_has_an_unknown_reference(
    desk: Desk,
) -> None:
    """Proof and audit row say UNKNOWN, for the quote of now would be measured from its own fill."""
    async with desk.guard() as guard, an_own_bot(desk) as bot:
        request = guard.request(quantity=1, protected=False)
        number = await bot.place(request, tag=None)
        await until(lambda: desk.orders()[0]["status"] == "FILLED", desk.orders)
        await guard.manager.register_pending_order(request, broker_order_id=number)
        name = request.client_order_id
        await guard.reaches(name, FILLED)
        verification = await guard.manager.verify_execution(name)
        slippage = json.loads(await guard.proof(name))["proof"]["slippage"]

        assert verification is not None
        assert verification.verdict is Verdict.VERIFIED
        assert verification.slippage_ticks is None
        assert "UNKNOWN" in verification.reason
        assert (slippage["reference_price"], slippage["reference"]) == (None, "UNKNOWN")
        assert "before it was registered" in slippage["why"]
