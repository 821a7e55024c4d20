"""A bot with a session of its own trades beside a guard that only looks on (drop-copy mode).

Bot and guard have a login each, over real sockets; what is true is what the exchange says.
"""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from tests.acceptance.own_session import SELL, OwnBot, held, numbers, own_bot, working
from tests.app.desk import Desk, Guard, a_desk, a_venue, audited, until

from backstop.core.step import DecisionKind
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.order import OrderType, Side
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

STOP_TICKS = 400
WATCHING = {"BACKSTOP_MODE": "drop-copy", "DEFAULT_STOP_TICKS": STOP_TICKS}


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue() as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


def told(guard: Guard, code: str = "ORDER_OUTSIDE_LIMITS") -> list[str]:
    return [it.message for it in guard.book.alerts.alerts.values() if it.code == code]


def codes(guard: Guard) -> list[str]:
    return [it.code for it in guard.book.alerts.alerts.values()]


def contract(guard: Guard, symbol: str = "MES") -> str:
    return guard.instrument(symbol).contract_id


def below(guard: Guard, points: int = 100, symbol: str = "MES") -> float:
    """Return a price below the market."""
    quote = guard.manager.quotes.reference(contract(guard, symbol))
    assert quote is not None
    assert quote.bid is not None
    return float(quote.bid - points)


async def judged(guard: Guard, *orders: int) -> None:
    """Wait until the guard has judged ``orders``."""
    await until(
        lambda: all(it in guard.book.drop_copy.judged for it in orders),
        lambda: guard.book.drop_copy,
    )


async def bracketed(bot: OwnBot, guard: Guard, size: int = 1) -> int:
    """Have the bot enter with a bracket, and wait until the guard has taken that in."""
    before = held(bot.desk)
    number = await bot.order(contract(guard), size=size, bracket_ticks=STOP_TICKS)
    await until(lambda: held(bot.desk) != before, lambda: held(bot.desk))
    await judged(guard, number)
    return number


async def test_a_bot_trades_freely_and_every_order_of_it_is_on_record(desk: Desk) -> None:
    async with desk.guard(**WATCHING) as guard, own_bot(desk) as bot:
        number = await bracketed(bot, guard, size=2)
        resting = await bot.limit(contract(guard), below(guard), customTag=f"mine-{desk.account}")
        await judged(guard, resting)
        await bot.call("Position/closeContract", contractId=contract(guard))
        await until(lambda: held(desk) == [], lambda: held(desk))
        await bot.cancel(resting)
        await until(lambda: working(desk) == [], lambda: working(desk))
        await guard.agrees()

        assert codes(guard) == []
        assert guard.book.latches == ()
        assert guard.book.orders == {}, "the guard itself has sent nothing"
        await guard.ready()
        rows = audited(
            desk.folder / "state", "SELECT OrderId, ClientOrderId, Status FROM OrderAudit"
        )
        truth = [row["id"] for row in desk.truth()["orders"] if row["accountId"] == desk.account]
        assert sorted(int(order) for order, _, _ in rows) == sorted(truth)
        assert {client for _, client, _ in rows} == {None}
        assert (str(number), None, "FILLED") in rows


async def test_an_order_that_breaks_a_limit_is_cancelled_and_named_and_the_others_stay(
    desk: Desk,
) -> None:
    async with desk.guard(**WATCHING, MAX_ORDER_QUANTITY=3) as guard, own_bot(desk) as bot:
        good = await bot.limit(contract(guard), below(guard), 3)
        bad = await bot.limit(contract(guard), below(guard), 4, customTag=f"big-{desk.account}")
        await until(lambda: numbers(working(desk)) == [good], lambda: working(desk))

        (alert,) = told(guard)
        for words in ("SIZE_TOO_LARGE", str(bad), f"big-{desk.account}", "cancelled"):
            assert words in alert
        assert guard.book.latches == ()


async def test_what_a_bot_should_not_have_bought_is_closed_again_and_nothing_else(
    desk: Desk,
) -> None:
    settings = {"DROP_COPY_BREACH_POLICY": "flatten", "ES_NQ_MAX_COMBINED_EXPOSURE": 6000}
    async with desk.guard(**(WATCHING | settings)) as guard, own_bot(desk) as bot:
        await bracketed(bot, guard, size=2)
        assert told(guard) == []
        number = await bot.order(contract(guard), size=20)
        await judged(guard, number)
        await until(lambda: held(desk) == [2], lambda: held(desk))
        await until(lambda: not guard.book.liquidating, lambda: guard.book.liquidations)
        await until(
            lambda: sum(row["size"] for row in working(desk, "STOP")) == 2, lambda: working(desk)
        )
        await guard.agrees()

        assert "ES_NQ_COMBINED_EXPOSURE" in told(guard)[0]
        assert held(desk) == [2]


async def test_a_position_without_a_stop_gets_one_until_the_bot_brings_its_own(
    desk: Desk,
) -> None:
    async with desk.guard(**WATCHING) as guard, own_bot(desk) as bot:
        number = await bot.order(contract(guard), size=2)
        await until(lambda: len(working(desk, "STOP")) == 1, lambda: working(desk))
        (ours,) = working(desk, "STOP")
        assert ours["size"] == 2
        assert ours["customTag"].startswith("bs-")
        (alert,) = told(guard)
        assert "STOP_REQUIRED" in alert
        assert str(number) in alert

        own = await bot.stop(contract(guard), below(guard, 80), 2)
        await until(lambda: numbers(working(desk)) == [own], lambda: working(desk))
        await guard.agrees()
        assert held(desk) == [2]


async def test_a_stop_that_the_bot_moves_and_replaces_is_followed_and_not_fought(
    desk: Desk,
) -> None:
    async with desk.guard(**WATCHING, DROP_COPY_GRACE_MS=5000) as guard, own_bot(desk) as bot:
        await bot.order(contract(guard), size=2)
        first = await bot.stop(contract(guard), below(guard, 100), 2)
        await bot.call("Order/modify", orderId=first, stopPrice=below(guard, 90))
        await bot.cancel(first)
        await until(lambda: working(desk) == [], lambda: working(desk))
        second = await bot.stop(contract(guard), below(guard, 80), 2)
        third = await bot.stop(contract(guard), below(guard, 70), 2)
        await until(lambda: third in guard.book.venue_orders, lambda: guard.book.venue_orders)
        await bot.cancel(second)
        await guard.agrees()

        assert numbers(working(desk)) == [third]
        assert guard.book.orders == {}
        assert guard.book.protection.changes == {}


async def test_a_halt_takes_entries_away_and_leaves_what_protects(desk: Desk) -> None:
    async with desk.guard(**WATCHING) as guard, own_bot(desk) as bot:
        await bracketed(bot, guard)
        legs = numbers(working(desk))
        entry = await bot.limit(contract(guard), below(guard))
        await judged(guard, entry)
        await guard.manager.halt(reason="enough", operator="ann")
        await until(lambda: numbers(working(desk)) == legs, lambda: working(desk))
        later = await bot.limit(contract(guard), below(guard))
        await until(lambda: numbers(working(desk)) == legs, lambda: working(desk))
        await judged(guard, later)

        assert held(desk) == [1]
        assert "STATE_HALTED" in told(guard)[0]


async def test_a_lost_day_stays_closed_whatever_the_bot_opens(desk: Desk) -> None:
    async with desk.guard(**WATCHING, MAX_DAILY_LOSS=50) as guard, own_bot(desk) as bot:
        await until(lambda: guard.book.trade_date, "a trading day")
        await bot.order(contract(guard), size=3, bracket_ticks=STOP_TICKS)
        await until(lambda: guard.position() == 3, guard.position)
        await until(lambda: guard.book.stop_cover(contract(guard), 3) == 3, lambda: working(desk))
        guard.move_market(-STOP_TICKS - 50)
        await until(lambda: "DAILY_LOSS_REACHED" in codes(guard), lambda: codes(guard))
        await until(lambda: held(desk) == [], lambda: held(desk))
        await until(lambda: not guard.book.liquidating, lambda: guard.book.liquidations)
        await guard.agrees()
        await bot.order(contract(guard))
        await until(
            lambda: any("DAILY_LOSS_LOCKED" in it for it in told(guard)),
            lambda: (told(guard), guard.book.drop_copy, guard.book.external),
        )
        await until(lambda: held(desk) == [], lambda: held(desk))


async def test_no_entry_goes_through_the_guard_and_exits_do(desk: Desk) -> None:
    async with desk.guard(**WATCHING) as guard, own_bot(desk) as bot:
        await bracketed(bot, guard, size=2)
        refused = await guard.manager.submit_order(guard.request(kind=OrderType.LIMIT, ticks=-100))
        assert refused.kind is DecisionKind.REFUSED
        assert "MODE_DROP_COPY" in [it.code for it in refused.denials]

        await guard.enter(Side.SELL, 1, protected=False)
        await until(lambda: held(desk) == [1], lambda: held(desk))
        await guard.manager.close_position("MES", reason="enough", operator="ann")
        await until(lambda: held(desk) == [], lambda: held(desk))


async def test_a_liquidation_takes_what_the_bot_has_and_keeps_it_flat(desk: Desk) -> None:
    async with desk.guard(**WATCHING) as guard, own_bot(desk) as bot:
        await bracketed(bot, guard)
        await bot.limit(contract(guard), below(guard))
        await guard.manager.liquidate(reason="out", operator="ann")
        await until(lambda: (held(desk), working(desk)) == ([], []), lambda: working(desk))
        await until(lambda: not guard.book.liquidating, lambda: guard.book.liquidations)
        before = len(guard.book.liquidations)
        await bot.order(contract(guard), SELL)
        await until(lambda: len(guard.book.liquidations) > before, "another liquidation")
        await until(lambda: not guard.book.liquidating, lambda: guard.book.liquidations)

        assert (held(desk), working(desk)) == ([], [])
        assert {it.kind for it in guard.book.latches} == {LatchKind.LIQUIDATION}


async def test_what_the_hub_does_not_tell_is_found_by_reads_judged_and_protected(
    desk: Desk,
) -> None:
    async with desk.guard(**WATCHING, MAX_ORDER_QUANTITY=3) as guard, own_bot(desk) as bot:
        for event in ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition"):
            desk.mischief(event, FaultKind.DROP_EVENT, count=None)
        await bot.order(contract(guard), size=2)
        bad = await bot.limit(contract(guard), below(guard), 4)
        await until(lambda: bad not in numbers(working(desk)), lambda: working(desk))
        await until(
            lambda: sum(row["size"] for row in working(desk, "STOP")) == 2, lambda: working(desk)
        )

        assert any("SIZE_TOO_LARGE" in it for it in told(guard))
        assert held(desk) == [2]


async def test_what_the_bot_did_while_no_guard_ran_is_judged_at_the_start(desk: Desk) -> None:
    async with desk.guard(**WATCHING) as guard, own_bot(desk) as bot:
        await bracketed(bot, guard)
        contract_id, price = contract(guard), below(guard)
        await guard.agrees()
    async with own_bot(desk) as bot:
        bad = await bot.limit(contract_id, price, 4)
    async with desk.guard(**WATCHING, MAX_ORDER_QUANTITY=3) as guard:
        await until(lambda: bad not in numbers(working(desk)), lambda: working(desk))
        await guard.agrees()

        assert held(desk) == [1]
        assert [str(bad) in it for it in told(guard)] == [True]
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.ACTIVE
        assert len(working(desk)) == 2, "its stop and its target are as the bot left them"


async def test_in_dry_run_all_is_said_and_nothing_is_sent(desk: Desk) -> None:
    async with (
        desk.guard(**WATCHING, MAX_ORDER_QUANTITY=3, DRY_RUN=True) as guard,
        own_bot(desk) as bot,
    ):
        bad = await bot.limit(contract(guard), below(guard), 4)
        await judged(guard, bad)
        await until(lambda: told(guard), lambda: codes(guard))

        assert "nothing is sent" in told(guard)[0]
        assert numbers(working(desk)) == [bad]


async def test_a_market_order_is_measured_from_the_touch_that_it_came_to(desk: Desk) -> None:
    async with desk.guard(**WATCHING) as guard, own_bot(desk) as bot:
        number = await bracketed(bot, guard)
        touch = guard.book.drop_copy.judged[number].touch

        assert isinstance(touch, Decimal)
