"""Others trade on the guarded account, told against the exchange's own truth.

The others are real: a session of their own with the gateway, or the firm itself. Every story asks
what stands at the exchange, what the guard believes, what it lets through and what it says.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tests.app.desk import API_KEY, USER, Desk, Guard, JumpingClock, a_desk, a_venue, until

from backstop.adapters.projectx.wire import WireOrderType, WireSide
from backstop.core.external_trading import ATTRIBUTION_NS
from backstop.core.policy import SECOND_NS
from backstop.core.step import DecisionKind
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUY, SELL = WireSide.BID, WireSide.ASK
WAIT_S = ATTRIBUTION_NS / SECOND_NS


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


@dataclass
class Stranger:
    """Somebody with a session of their own on the same account."""

    desk: Desk
    session: aiohttp.ClientSession
    token: str

    async def call(self, path: str, **body: Any) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        body["accountId"] = self.desk.account
        url = f"{self.desk.venue.url}/api/{path}"
        async with self.session.post(url, json=body, headers=headers) as answer:
            told: Mapping[str, Any] = await answer.json()
        assert told["success"], told
        return told

    async def order(
        self,
        contract_id: str,
        side: WireSide,
        size: int,
        kind: WireOrderType = WireOrderType.MARKET,
        **members: Any,
    ) -> int:
        """Place an order and return its number."""
        told = await self.call(
            "Order/place",
            contractId=contract_id,
            type=int(kind),
            side=int(side),
            size=size,
            **members,
        )
        number: int = told["orderId"]
        return number


@asynccontextmanager
async def a_stranger(desk: Desk) -> AsyncIterator[Stranger]:
    async with aiohttp.ClientSession() as session:
        login = {"userName": USER, "apiKey": API_KEY}
        async with session.post(f"{desk.venue.url}/api/Auth/loginKey", json=login) as answer:
            token = (await answer.json())["token"]
        yield Stranger(desk, session, token)


def positions(desk: Desk) -> list[int]:
    return [
        row["quantity"] for row in desk.truth()["positions"] if row["accountId"] == desk.account
    ]


def working(desk: Desk) -> list[Mapping[str, Any]]:
    """Return every order of the account that works at the exchange, legs included."""
    return [
        row
        for row in desk.truth()["orders"]
        if row["accountId"] == desk.account and row["status"] == "OPEN"
    ]


def kinds(guard: Guard) -> list[LatchKind]:
    return [latch.kind for latch in guard.book.latches]


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.manager.now_ns())


def told(guard: Guard, code: str) -> list[str]:
    return [it.message for it in guard.book.alerts.alerts.values() if it.code == code]


async def frozen(guard: Guard) -> None:
    """Wait until entries are frozen for a person."""
    await until(lambda: LatchKind.EXTERNAL in kinds(guard), lambda: guard.book.external)


async def waits_over(guard: Guard, clock: JumpingClock) -> None:
    """Wait until nothing is left whose owner is to be found."""
    clock.jump(WAIT_S)
    external = guard.book.external
    await until(lambda: not external.sightings and not external.in_doubt, lambda: external)


def objections(guard: Guard, side: Side, quantity: int) -> list[str]:
    """Return why an entry would be refused now."""
    assessment = guard.manager.validate_order(guard.request(side, quantity))
    assert assessment is not None
    return [denial.code for denial in assessment.denials]


async def resumed(guard: Guard) -> None:
    decision = await guard.manager.resume(reason="I have looked", operator="ann")
    assert decision.kind is DecisionKind.ACCEPTED, decision.message


# -- positions -------------------------------------------------------------------------------------


@pytest.mark.scenario("C4")
async def test_a_person_who_adds_contracts_freezes_entries_until_acknowledged(desk: Desk) -> None:
    async with desk.guard(DEFAULT_STOP_TICKS=400) as guard, a_stranger(desk) as human:
        await guard.enter(quantity=1)
        contract_id = guard.instrument("MES").contract_id
        number = await human.order(contract_id, BUY, 3)
        await until(lambda: guard.position() == 4, guard.position)
        await frozen(guard)

        assert positions(desk) == [4]
        assert state(guard) is TradingState.REDUCING
        (alert,) = told(guard, "EXTERNAL_POSITION")
        protected = "working stops cover all of it"
        for words in ("MES", "bought 3", str(number), "without a tag", "+4 now", protected):
            assert words in alert
        refused = await guard.manager.submit_order(guard.request())
        assert [denial.code for denial in refused.denials] == ["STATE_REDUCING"]
        await until(lambda: guard.book.stop_cover(contract_id, 4) == 4, lambda: working(desk))
        stops = [row["size"] for row in working(desk) if row["type"] == "STOP"]
        assert sum(stops) == 4, "the total is protected, not only what the bot bought"

        await resumed(guard)
        await guard.ready()
        await guard.agrees()


async def test_exits_pass_while_entries_are_frozen(desk: Desk) -> None:
    async with desk.guard() as guard, a_stranger(desk) as human:
        await human.order(guard.instrument("MES").contract_id, BUY, 2)
        await frozen(guard)
        await guard.enter(Side.SELL, 2, protected=False)
        await until(lambda: positions(desk) == [], lambda: positions(desk))
        await guard.holds(0)


async def test_a_person_who_closes_the_position_of_a_bot_is_not_traded_against(desk: Desk) -> None:
    async with desk.guard() as guard, a_stranger(desk) as human:
        await guard.enter(quantity=2)
        await human.call("Position/closeContract", contractId=guard.instrument("MES").contract_id)
        await frozen(guard)

        assert positions(desk) == []
        await guard.holds(0)
        assert "flat now" in told(guard, "EXTERNAL_POSITION")[0]
        refused = await guard.manager.submit_order(guard.request())
        assert refused.kind is DecisionKind.REFUSED


async def test_policy_flatten_takes_what_others_bought_off_again(desk: Desk) -> None:
    async with desk.guard(EXTERNAL_POSITION_POLICY="flatten") as guard, a_stranger(desk) as human:
        await human.order(guard.instrument("MES").contract_id, BUY, 3)
        await frozen(guard)
        await until(lambda: positions(desk) == [], lambda: positions(desk))
        await until(lambda: not guard.book.liquidating, lambda: guard.book.liquidations)

        assert sorted(kinds(guard)) == [LatchKind.EXTERNAL, LatchKind.LIQUIDATION]
        assert len(told(guard, "EXTERNAL_POSITION")) == 1, "our own close is nobody else's"
        await resumed(guard)
        await guard.ready()


async def test_policy_alert_touches_nothing_of_others(desk: Desk) -> None:
    settings = {"EXTERNAL_POSITION_POLICY": "alert", "DEFAULT_STOP_TICKS": 400}
    async with desk.guard(**settings) as guard, a_stranger(desk) as human:
        await human.order(guard.instrument("MES").contract_id, BUY, 3)
        await frozen(guard)

        assert "nothing of it is touched" in told(guard, "EXTERNAL_POSITION")[0]
        assert positions(desk) == [3]
        assert working(desk) == []


async def test_what_others_traded_while_no_guard_was_running_is_found_at_the_start(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=1)
        contract_id = guard.instrument("MES").contract_id
        await guard.agrees()
    async with a_stranger(desk) as human:
        await human.order(contract_id, BUY, 2)
        await until(lambda: positions(desk) == [3], lambda: positions(desk))
    async with desk.guard(ready=False) as guard:
        await until(lambda: guard.book.recovered, "recovered")
        assert state(guard) is TradingState.REDUCING, "not one entry before it is known whose it is"
        await frozen(guard)

        assert guard.position() == 3
        await guard.agrees()


@pytest.mark.scenario("C1")
async def test_a_position_that_no_trade_explains_is_believed_protected_and_frozen(
    desk: Desk,
) -> None:
    """The venue says three, the record two, and the list of trades is empty for now."""
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        contract_id = guard.instrument("MES").contract_id
        await guard.agrees()
    async with a_stranger(desk) as human:
        await human.order(contract_id, BUY, 1)
        await until(lambda: positions(desk) == [3], lambda: positions(desk))
    desk.mischief("Trade/search", FaultKind.EMPTY_LIST, count=None)
    async with desk.guard(ready=False, DEFAULT_STOP_TICKS=400) as guard:
        await until(lambda: guard.book.recovered, "recovered")
        assert guard.position() == 3
        assert state(guard) is TradingState.REDUCING
        assert len(told(guard, "POSITION_ADJUSTED")) == 1
        await until(lambda: guard.book.stop_cover(contract_id, 3) >= 3, lambda: working(desk))
        await frozen(guard)
        assert "show +1 that no trade explains" in told(guard, "EXTERNAL_POSITION")[0]

        desk.venue.faults.heal()
        await guard.agrees()
        assert guard.position() == 3, "the real trade takes the place of the adjustment"
        assert guard.book.position(contract_id).adjustment == 0


async def test_a_lost_state_folder_does_not_make_old_orders_silently_ours(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.enter(quantity=2)
        await guard.agrees()
    rmtree(desk.folder / "state")
    async with desk.guard(ready=False) as guard:
        await frozen(guard)

        assert guard.position() == 2
        assert order.custom_tag in told(guard, "EXTERNAL_POSITION")[0]
        assert "does not know" in told(guard, "EXTERNAL_POSITION")[0]
        assert len(desk.orders()) == 1


async def test_a_freeze_survives_a_restart(desk: Desk) -> None:
    async with desk.guard() as guard, a_stranger(desk) as human:
        await human.order(guard.instrument("MES").contract_id, BUY, 1)
        await frozen(guard)
    async with desk.guard(ready=False) as guard:
        await until(lambda: guard.book.recovered, "recovered")

        assert kinds(guard) == [LatchKind.EXTERNAL]
        assert state(guard) is TradingState.REDUCING


# -- what is ours, however it looks ----------------------------------------------------------------


async def test_our_own_trading_freezes_nothing(desk: Desk) -> None:
    """Entries, bracket legs, exits, a close by the venue: all of them ours."""
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(quantity=2)
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: guard.book.stop_cover(contract_id, 2) == 2, "a stop for both")
        guard.move_market(-450)
        await until(lambda: guard.position() == 0, guard.position)
        # Back to where the guard was told it is all the time: an entry far below would have its
        # stop where the market comes back to.
        guard.move_market(0)
        # And while a leg of the position before works, an entry is refused.
        await until(lambda: not objections(guard, Side.SELL, 3), lambda: working(desk))
        await guard.enter(Side.SELL, 3)
        decision = await guard.manager.close_position(
            "MES", quantity=1, reason="less", operator="ann"
        )
        assert decision.kind is DecisionKind.ACCEPTED
        await until(lambda: guard.position() == -2, guard.position)
        await until(lambda: not guard.book.liquidating, lambda: guard.book.liquidations)
        await guard.manager.close_position("MES", reason="enough", operator="ann")
        await until(lambda: guard.position() == 0, guard.position)
        await until(lambda: not guard.book.liquidating, lambda: guard.book.liquidations)
        await guard.agrees()
        await waits_over(guard, clock)

        assert kinds(guard) == []
        assert told(guard, "EXTERNAL_POSITION") == []
        await guard.ready()


async def test_an_order_whose_answer_was_lost_is_never_taken_for_somebody_elses(
    desk: Desk,
) -> None:
    """The hub tells of the fill at once; only reads that fail for a while could say whose it is."""
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        desk.mischief("GatewayUserOrder", FaultKind.DROP_EVENT, count=None)
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        for call in ("Order/search", "Order/searchOpen", "Order/v2/query"):
            desk.mischief(call, FaultKind.HTTP_ERROR, http_status=503, count=None)
        order = await guard.send(guard.request(quantity=2))
        assert order.state is OrderState.UNKNOWN
        await until(lambda: guard.position() == 2, guard.position)
        clock.jump(WAIT_S)
        await until(
            lambda: (
                Condition.FILL_UNATTRIBUTED
                in guard.book.readiness(guard.manager.now_ns()).conditions
            ),
            lambda: guard.book.external,
        )
        assert kinds(guard) == []

        desk.venue.faults.heal()
        await guard.reaches(order.client_order_id, OrderState.FILLED)
        await waits_over(guard, clock)
        await guard.ready()

        assert kinds(guard) == []
        assert len(desk.orders()) == 1


async def test_the_firm_that_closes_a_position_is_told_as_the_firm(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(quantity=2)
        desk.venue.exchange.liquidate_account(desk.account, "daily loss")
        await until(lambda: positions(desk) == [], lambda: positions(desk))
        await until(lambda: guard.position() == 0, guard.position)
        await waits_over(guard, clock)

        assert len(told(guard, "FIRM_LIQUIDATION")) == 1
        assert told(guard, "EXTERNAL_POSITION") == []
        assert kinds(guard) == []
        conditions = guard.book.readiness(guard.manager.now_ns()).conditions
        assert Condition.ACCOUNT_CANNOT_TRADE in conditions


# -- orders ----------------------------------------------------------------------------------------


@pytest.mark.scenario("C5")
async def test_three_orders_of_another_bot_are_a_second_trader_and_stay_where_they_are(
    desk: Desk,
) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard, a_stranger(desk) as bot:
        contract_id = guard.instrument("MES").contract_id
        quote = guard.manager.quotes.reference(contract_id)
        assert quote is not None
        assert quote.bid is not None
        limit = float(quote.bid - 100)
        numbers = [
            await bot.order(
                contract_id,
                BUY,
                1,
                WireOrderType.LIMIT,
                limitPrice=limit,
                customTag=f"otherbot-{desk.account}-{number}",
            )
            for number in range(3)
        ]
        await until(lambda: len(guard.book.external.sightings) == 3, lambda: guard.book.external)
        await waits_over(guard, clock)

        assert kinds(guard) == [LatchKind.EXTERNAL]
        assert "otherbot" in guard.book.state_reasons(guard.manager.now_ns())[0]
        assert len(told(guard, "SECOND_TRADER")) == 1
        assert len(told(guard, "EXTERNAL_ORDER")) == 3
        assert sorted(row["id"] for row in working(desk)) == sorted(numbers)


@pytest.mark.parametrize(("policy", "stays"), [("protect", False), ("alert", True)])
async def test_an_order_of_others_that_could_turn_the_position_around_is_cancelled(
    desk: Desk, policy: str, *, stays: bool
) -> None:
    clock = JumpingClock()
    settings = {"EXTERNAL_POSITION_POLICY": policy, "clock": clock}
    async with desk.guard(**settings) as guard, a_stranger(desk) as human:
        await guard.enter(quantity=1)
        contract_id = guard.instrument("MES").contract_id
        quote = guard.manager.quotes.reference(contract_id)
        assert quote is not None
        assert quote.ask is not None
        target = {"limitPrice": float(quote.ask + 100)}
        number = await human.order(contract_id, SELL, 2, WireOrderType.LIMIT, **target)
        await until(lambda: number in guard.book.external.sightings, lambda: guard.book.external)
        await waits_over(guard, clock)
        assert len(told(guard, "EXTERNAL_ORDER")) == 1

        if stays:
            await guard.agrees()
            assert number in [row["id"] for row in working(desk)]
        else:
            await until(
                lambda: number not in [row["id"] for row in working(desk)], lambda: working(desk)
            )
            assert len(told(guard, "EXTERNAL_ORDER_CANCELLED")) == 1
        assert positions(desk) == [1]
        assert OrderType.STOP in {row.type for row in guard.book.working_stops(contract_id, 1)}
