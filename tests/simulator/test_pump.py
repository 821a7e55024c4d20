"""The pump: what is due by itself happens at its time, whatever the feed does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

from backstop.adapters.projectx_server.venue import MarketEvent, UserEvent
from backstop.simulator.clock import SimulatorClock
from backstop.simulator.contracts import listings
from backstop.simulator.exchange_config import AccountSpec, ContractSpec, ExchangeConfig
from backstop.simulator.feed import FeedItem, make_drives
from backstop.simulator.live_exchange import LiveExchange
from backstop.simulator.market_events import MarketEvents
from backstop.simulator.pump import LOOK_ITEMS_MAX, Pump
from backstop.simulator.sessions import HOUR_US
from backstop.simulator.sources import Calendar

_LIMIT_S = 40
_START_US = 1_795_000_000_000_000
_LISTED = [each for each in listings(date(2026, 11, 18)) if each.product.code == "MES"]
_MES = _LISTED[0].active
_DRIVES = make_drives(_LISTED, seed=1, start_us=_START_US, calendar=Calendar.ALWAYS_OPEN)


def an_item(time_us: int, *, ask: str = "6000.25") -> FeedItem:
    return FeedItem(
        time_us=time_us,
        contract_id=_MES.id,
        bid=Decimal("6000.00"),
        ask=Decimal(ask),
        bid_size=5,
        ask_size=5,
        last=Decimal("6000.00"),
        last_size=1,
    )


class Stopwatch:
    """Nanoseconds that pass only when told to."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def a_market(
    items: list[FeedItem], *, elapsed_ns: Callable[[], int] | None = None
) -> tuple[Pump, LiveExchange]:
    clock = (
        SimulatorClock(start_us=_START_US, speed=1)
        if elapsed_ns is None
        else SimulatorClock(start_us=_START_US, speed=1, elapsed_ns=elapsed_ns)
    )
    pump = Pump(
        iter(items),
        clock=clock,
        events=MarketEvents(_DRIVES),
        calendar=Calendar.ALWAYS_OPEN,
        wanted=lambda _name, _id: False,
        wait_s_max=3_600.0,  # nothing here may depend on looking now and then
    )
    pump_exchange = LiveExchange(
        ExchangeConfig(
            seed=1,
            start_us=_START_US,
            accounts=(AccountSpec(id=1, name="A", user="u", starting_balance=Decimal(1000)),),
            contracts=(ContractSpec(row=_MES),),
        ),
        history=None,
        before=pump.look,
        after=pump.soon,
    )
    pump.attach(pump_exchange)
    return pump, pump_exchange


@asynccontextmanager
async def running(pump: Pump) -> AsyncIterator[None]:
    task = asyncio.create_task(pump.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_fill_does_not_wait_for_the_next_quote() -> None:
    pump, exchange = a_market([an_item(_START_US), an_item(_START_US + HOUR_US)])
    filled = asyncio.Event()

    def hear(event: UserEvent | MarketEvent) -> None:
        if event.target == "GatewayUserTrade":
            filled.set()

    exchange.subscribe(hear)
    async with running(pump):
        await asyncio.sleep(0)  # the pump has looked, and sleeps until the next quote
        exchange.place_manual(1, _MES.id, type=2, side=0, size=1)
        async with asyncio.timeout(_LIMIT_S):
            await filled.wait()


def test_one_look_plays_no_more_than_its_share() -> None:
    stopwatch = Stopwatch()
    items = [an_item(_START_US + each) for each in range(LOOK_ITEMS_MAX + 10)]
    pump, exchange = a_market([*items, an_item(_START_US + HOUR_US)], elapsed_ns=stopwatch)
    stopwatch.ns += 1_000_000_000  # the machine slept

    assert not pump.look()
    assert (pump.items_played, exchange.now_us) == (
        LOOK_ITEMS_MAX,
        items[LOOK_ITEMS_MAX - 1].time_us,
    )
    assert pump.look()
    assert (pump.items_played, exchange.now_us) == (len(items), _START_US + 1_000_000)


def test_a_listener_that_asks_back_finds_the_moment_of_its_event() -> None:
    stopwatch = Stopwatch()
    pump, exchange = a_market(
        [an_item(_START_US), an_item(_START_US + HOUR_US)], elapsed_ns=stopwatch
    )
    pump.look()
    exchange.place_manual(1, _MES.id, type=2, side=0, size=1)
    heard: dict[str, int] = {}

    def hear(event: UserEvent | MarketEvent) -> None:
        exchange.positions(1)
        heard.setdefault(event.target, exchange.now_us - _START_US)

    exchange.subscribe(hear)
    stopwatch.ns += 1_000_000_000
    pump.look()

    assert 6_000 <= heard["GatewayUserTrade"] <= 9_000
    assert exchange.now_us == _START_US + 1_000_000


def test_a_fill_gets_the_price_of_its_own_moment() -> None:
    stopwatch = Stopwatch()
    later = [an_item(_START_US + 50_000, ask="6100.00"), an_item(_START_US + HOUR_US)]
    pump, exchange = a_market([an_item(_START_US), *later], elapsed_ns=stopwatch)
    pump.look()
    exchange.place_manual(1, _MES.id, type=2, side=0, size=1)

    stopwatch.ns += 1_000_000_000
    pump.look()

    assert [trade.price for trade in exchange.trades(1, None, None)] == [Decimal("6000.25")]
