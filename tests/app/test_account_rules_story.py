"""The account's rules through the simulator: what the guard reckons is what the venue holds."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.app.desk import Desk, Guard, audited, until
from tests.app.market import trade_at

from backstop.adapters.projectx_server.venue import MarketEvent
from backstop.core.account_rules.standing import FloorOrigin, Standing, standing
from backstop.core.step import DecisionKind
from backstop.core.trading_state import Condition
from backstop.domain.denial import DenialCode
from backstop.domain.order import Side
from backstop.entrypoints.http.account_view import AccountView, account_view

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOLLAR = 1_000_000
BALANCE = 150_000


def now(guard: Guard) -> Standing:
    limits = guard.book.account_limits
    assert limits is not None
    return standing(guard.book, limits)


def conditions(guard: Guard) -> tuple[Condition, ...]:
    return guard.book.readiness(guard.manager.now_ns()).conditions


def balance_micros(desk: Desk) -> int:
    """Return the account's balance as the exchange has it."""
    (row,) = [it for it in desk.truth()["accounts"] if it["id"] == desk.account]
    return int(row["balanceMicros"])


async def test_realised_open_and_fees_come_to_the_venues_balance(desk: Desk) -> None:
    async with desk.guard(MAX_DAILY_LOSS=100_000) as guard:
        for side in (Side.BUY, Side.SELL):
            await guard.enter(side, 2)
            await guard.send(guard.request(side.opposite, 2, protected=False))
            await until(lambda: guard.position() == 0, guard.position)
        await guard.agrees()
        await until(
            lambda: now(guard).balance_micros == balance_micros(desk),
            lambda: (now(guard), balance_micros(desk)),
        )

        assert now(guard).open_micros == 0
        assert now(guard).realised_micros == balance_micros(desk) - BALANCE * DOLLAR
        assert now(guard).realised_micros < 0, "there are fees at least"


@pytest.mark.parametrize("price", ["0", "1"])
async def test_one_print_that_the_touch_contradicts_closes_nothing(desk: Desk, price: str) -> None:
    async with desk.guard(MAX_DAILY_LOSS=3_000) as guard:
        await guard.enter(quantity=2)
        await guard.holds(2)
        contract_id = guard.instrument("MES").contract_id
        data = {"symbol": contract_id, "lastPrice": Decimal(price)}
        bad = MarketEvent(target="GatewayQuote", contract_id=contract_id, data=data)
        seen: set[Decimal | None] = set()

        def is_seen() -> bool:
            desk.venue.exchange.publish(bad)  # until it is the newest for once when we look
            quote = guard.manager.quotes.reference(contract_id)
            seen.add(None if quote is None else quote.last)
            return Decimal(price) in seen

        await until(is_seen, lambda: seen)
        await guard.agrees()

        assert Condition.DAILY_LOSS_LOCK not in conditions(guard)
        assert guard.position() == 2


async def test_a_new_state_folder_reads_the_day_from_the_venues_records(
    desk: Desk, tmp_path: Path
) -> None:
    async with desk.guard(MAX_DAILY_LOSS=100_000) as guard:
        await guard.enter(quantity=2)
        await guard.send(guard.request(Side.SELL, 2, protected=False))
        await until(lambda: guard.position() == 0, guard.position)
        await guard.agrees()
        seen = guard.book.account_rules.day
    another = tmp_path / "another"
    async with desk.guard(ready=False, BACKSTOP_STATE_DIR=another, MAX_DAILY_LOSS=100_000) as guard:
        await until(
            lambda: guard.book.account_rules.day.gross_micros == seen.gross_micros,
            lambda: (guard.book.account_rules.day, seen),
        )
        await guard.manager.account_read()

        # The lists of the venue do not state commissions: only its hub does.
        assert guard.book.account_rules.day.trades == seen.trades
        assert now(guard).balance_micros == balance_micros(desk)


async def test_a_profile_finds_its_floor_in_complete_trades(desk: Desk) -> None:
    async with desk.guard(BACKSTOP_PROFILE="topstep-150k", FLAT_BY="15:59") as guard:
        await until(lambda: guard.book.account_rules.history_complete, "the history")
        floor = now(guard).floor

        assert floor is not None
        assert (floor.micros, floor.origin) == (145_500 * DOLLAR, FloorOrigin.TRADES)


async def test_an_account_of_another_size_gets_the_strictest_floor_and_says_so(
    desk: Desk,
) -> None:
    async with desk.guard(BACKSTOP_PROFILE="topstep-50k", FLAT_BY="15:59") as guard:
        codes = [it.code for it in guard.book.alerts.alerts.values()]
        await until(
            lambda: (
                "ACCOUNT_FLOOR_ASSUMED" in [it.code for it in guard.book.alerts.alerts.values()]
            ),
            lambda: codes,
        )
        floor = now(guard).floor

        assert floor is not None
        assert (floor.micros, floor.origin) == (50_000 * DOLLAR, FloorOrigin.ASSUMED)


async def test_a_price_that_moves_is_on_record_before_anything_follows_from_it(
    desk: Desk,
) -> None:
    async with desk.guard(MAX_DAILY_LOSS=2_000) as guard:
        await guard.enter(quantity=2)
        await guard.manager.change_limits(daily_loss=Decimal(100))
        instrument = guard.instrument("MES")
        average = guard.book.position(instrument.contract_id).average_price
        assert average is not None

        def locked() -> bool:
            price = average - 60 * instrument.tick_size
            trade_at(desk.venue, instrument.contract_id, price)
            return guard.book.account_rules.locked_on == guard.book.trade_date

        await until(locked, lambda: now(guard))
        await until(lambda: guard.position() == 0, guard.position)
        conditions = guard.book.readiness(guard.manager.now_ns()).conditions
        refused = await guard.manager.submit_order(guard.request(Side.BUY, 1))

    assert Condition.DAILY_LOSS_LOCK in conditions
    assert DenialCode.DAILY_LOSS_LOCKED in [it.code for it in refused.denials]
    assert audited(
        desk.folder / "state",
        "SELECT COUNT(*) FROM Journal"
        " WHERE json_extract(CAST(payload AS TEXT), '$.kind') = 'PositionsPriced'",
    ) > [(0,)]


async def test_what_is_open_is_shown_at_its_price_without_any_limit(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        instrument = guard.instrument("MES")
        average = guard.book.position(instrument.contract_id).average_price
        assert average is not None

        def shown() -> AccountView:
            return account_view(guard.book, now_ns=guard.manager.now_ns())

        def follows_the_market() -> bool:
            trade_at(desk.venue, instrument.contract_id, average - 4 * instrument.tick_size)
            return not shown().unpriced and Decimal(shown().open) != 0

        await until(follows_the_market, shown)


async def test_a_limit_is_changed_while_it_runs_and_stays_so(desk: Desk) -> None:
    async with desk.guard(MAX_DAILY_LOSS=1_000) as guard:
        refused = await guard.manager.change_limits(daily_loss=Decimal(2_000))
        assert refused.kind is DecisionKind.NOT_POSSIBLE
        for finer in ({"max_position": Decimal("1.57")}, {"daily_loss": Decimal("NaN")}):
            cut = await guard.manager.change_limits(**finer, reason="x", operator="ann")
            assert cut.kind is DecisionKind.NOT_POSSIBLE
            assert str(next(iter(finer.values()))) in cut.message
        done = await guard.manager.change_limits(daily_loss=Decimal(500))
        assert done.kind is DecisionKind.ACCEPTED
    async with desk.guard(MAX_DAILY_LOSS=1_000) as guard:
        assert now(guard).limits.daily_loss_micros == 500 * DOLLAR
