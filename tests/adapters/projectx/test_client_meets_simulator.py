"""The client side against the whole simulator: both ends of the wire, nothing scripted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace
from tests.adapters.projectx.conftest import SystemClock, running, until

from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.projectx.hubs import ProjectXHubs
from backstop.config.secret import Secret
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
)
from backstop.domain.events import (
    Answer,
    Fact,
    Hub,
    HubConnected,
    OrderReported,
    PayloadRejected,
    PositionReported,
    TradeReported,
)
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderType, Side
from backstop.domain.quote import Quote
from backstop.simulator.process import PRACTICE_ACCOUNT_ID, Simulator, SimulatorConfig

HOUR_US = 3_600_000_000


class Desk:
    """A connected client: gateway, hubs, and all that was heard."""

    def __init__(self, gateway: ProjectXGateway, mes: Instrument) -> None:
        self.gateway = gateway
        self.mes = mes
        self.facts: list[Fact] = []
        self.quotes: list[Quote] = []
        self.orders_made = 0

    def of(self, kind: type) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def an_order(self, **changes: Any) -> PlaceOrder:
        self.orders_made += 1
        members: dict[str, Any] = {
            "client_order_id": f"bot-{self.orders_made}",
            "custom_tag": f"bs-{self.orders_made}",
            "account_id": PRACTICE_ACCOUNT_ID,
            "contract_id": self.mes.contract_id,
            "type": OrderType.MARKET,
            "side": Side.BUY,
            "quantity": 1,
        }
        return PlaceOrder(**{**members, **changes})

    def latest(self, broker_order_id: int) -> BrokerStatus | None:
        rows = [fact.order for fact in self.of(OrderReported)]
        mine = [row.status for row in rows if row.broker_order_id == broker_order_id]
        return mine[-1] if mine else None


@asynccontextmanager
async def a_desk() -> AsyncIterator[Desk]:
    """Everything connected to a fresh simulator, with quotes flowing."""
    clock = SystemClock()
    config = SimulatorConfig(user="trader77", api_key="k1", seed=7)
    async with (
        Simulator(config) as simulator,
        ProjectXGateway(
            api_url=simulator.url, user_name="trader77", api_key=Secret("k1"), clock=clock
        ) as gateway,
    ):
        instruments = await gateway.instruments()
        mes = next(one for one in instruments if one.symbol == "MES" and one.active)
        desk = Desk(gateway, mes)
        hubs = ProjectXHubs(
            user_hub_url=f"{simulator.url}/hubs/user",
            market_hub_url=f"{simulator.url}/hubs/market",
            tokens=gateway.session,
            clock=clock,
            account_id=PRACTICE_ACCOUNT_ID,
            contract_ids=[mes.contract_id],
            sink=desk.facts.append,
            quotes=lambda quote, _arrived_ns: desk.quotes.append(quote),
        )
        async with running(hubs.run()):
            await until(lambda: {fact.hub for fact in desk.of(HubConnected)} == set(Hub))
            await until(lambda: desk.quotes and desk.quotes[-1].touch(Side.BUY) is not None)
            yield desk


async def test_a_bracketed_market_order_is_told_filled_and_protected() -> None:
    async with a_desk() as desk:
        order = desk.an_order(stop_loss_offset_ticks=-40, take_profit_offset_ticks=80)
        answered = await desk.gateway.place_order(order)
        assert answered.answer is Answer.YES
        entry = answered.broker_order_id
        assert entry is not None

        def legs() -> dict[str | None, BrokerStatus]:
            rows = [fact.order for fact in desk.of(OrderReported)]
            return {row.custom_tag: row.status for row in rows if row.parent_order_id == entry}

        opened = {"bs-1-SL": BrokerStatus.OPEN, "bs-1-TP": BrokerStatus.OPEN}
        await until(lambda: desk.latest(entry) is BrokerStatus.FILLED and legs() == opened)
        await until(lambda: desk.of(PositionReported) and desk.of(TradeReported))
        assert desk.of(TradeReported)[0].trade.broker_order_id == entry
        assert desk.of(PositionReported)[-1].position.quantity == 1

        audited = await desk.gateway.audit_account(
            AuditAccount(reason="test", account_id=PRACTICE_ACCOUNT_ID, since_utc_us=0)
        )
        assert audited.fault == ""
        assert audited.positions is not None
        assert [position.quantity for position in audited.positions] == [1]
        assert audited.live_orders is not None
        assert {row.custom_tag for row in audited.live_orders} == set(opened)
        assert desk.of(PayloadRejected) == []


async def test_a_resting_order_is_found_moved_and_cancelled() -> None:
    async with a_desk() as desk:
        last = desk.quotes[-1].touch(Side.BUY)
        assert last is not None
        tick = desk.mes.tick_size
        price = last - last % tick - 200 * tick
        order = desk.an_order(type=OrderType.LIMIT, limit_price=price)
        answered = await desk.gateway.place_order(order)
        order_id = answered.broker_order_id
        assert order_id is not None

        found = await desk.gateway.look_up_order(
            LookUpOrder(
                client_order_id=order.client_order_id,
                custom_tag=order.custom_tag,
                account_id=PRACTICE_ACCOUNT_ID,
                since_utc_us=answered.utc_us,
            )
        )
        assert found.complete
        assert {row.broker_order_id for row in found.orders} == {order_id}

        modify = ModifyOrder(
            account_id=PRACTICE_ACCOUNT_ID, broker_order_id=order_id, limit_price=price - tick
        )
        assert (await desk.gateway.modify_order(modify)).answer is Answer.YES
        cancel = CancelOrder(
            account_id=PRACTICE_ACCOUNT_ID, broker_order_id=order_id, reason="test"
        )
        assert (await desk.gateway.cancel_order(cancel)).answer is Answer.YES
        await until(lambda: desk.latest(order_id) is BrokerStatus.CANCELLED)
        prices = [fact.order.limit_price for fact in desk.of(OrderReported)]
        assert prices[-1] == price - tick


async def test_a_second_use_of_a_tag_is_refused_as_such() -> None:
    async with a_desk() as desk:
        order = desk.an_order()
        first = await desk.gateway.place_order(order)
        second = await desk.gateway.place_order(replace(order, client_order_id="bot-again"))

        assert first.answer is Answer.YES
        assert (second.answer, second.tag_in_use) == (Answer.NO, True)


async def test_history_comes_oldest_first() -> None:
    async with a_desk() as desk:
        now_utc_us = SystemClock().utc_us()
        bars = await desk.gateway.bars(
            desk.mes.contract_id,
            start_utc_us=now_utc_us - 96 * HOUR_US,  # reaches over a weekend
            end_utc_us=now_utc_us,
            unit=2,
            number=5,
            limit=50,
        )

        assert len(bars) == 50
        times = [bar.utc_us for bar in bars]
        assert times == sorted(set(times))
        assert all(bar.close % desk.mes.tick_size == 0 for bar in bars)


async def test_many_orders_are_looked_up_for_the_calls_of_one() -> None:
    async with a_desk() as desk:
        last = desk.quotes[-1].touch(Side.BUY)
        assert last is not None
        tick = desk.mes.tick_size
        price = last - last % tick - 200 * tick
        orders = [desk.an_order(type=OrderType.LIMIT, limit_price=price) for _ in range(5)]
        answers = [await desk.gateway.place_order(it) for it in orders]
        left = desk.gateway.budget.left()

        found = await asyncio.gather(
            *(
                desk.gateway.look_up_order(
                    LookUpOrder(
                        client_order_id=order.client_order_id,
                        custom_tag=order.custom_tag,
                        account_id=PRACTICE_ACCOUNT_ID,
                        since_utc_us=answer.utc_us,
                    )
                )
                for order, answer in zip(orders, answers, strict=True)
            )
        )

        assert left - desk.gateway.budget.left() == 3
        assert all(it.complete for it in found)
        shown = [{row.broker_order_id for row in it.orders} for it in found]
        assert shown == [{answer.broker_order_id} for answer in answers]
