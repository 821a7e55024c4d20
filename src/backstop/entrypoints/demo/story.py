"""The scripted story of the demo: every kind of order, and every kind of bad luck, verified.

It is a strategy like any other: it only talks to the manager. The mischief it orders goes to the
simulator, beside the guard's back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.orchestrator_agent import StrategyState
from backstop.app.quote_board import QuoteBoard
from backstop.core.step import DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.core.volatility import VolatilityOrigin
from backstop.domain.instrument import Instrument
from backstop.domain.order import TERMINAL_STATES, OrderRequest, OrderState, OrderType, Side
from backstop.domain.quote import Quote
from backstop.errors import BackstopError
from backstop.simulator.fault_rules import FaultKind, FaultRule, HubName
from backstop.simulator.faults import FaultPlan

SETTLE_LIMIT_S = 20.0
"""How long one order of the story may take to its end; the market decides about some of them."""

ATTEMPT_LIMIT_S = 6.0
"""How long an order may wait for the market before the story tries a nearer price."""

ATTEMPTS_MAX = 5
"""Prices tried for one order of the story."""

HISTORY_LIMIT_S = 40.0
"""How long the market's history may take to be read: on a busy machine it is the longest wait."""

POLL_S = 0.05

STOP_TICKS = 600
"""Distance of the stops: far enough that the market does not end the story early."""

PAUSE_S = 0.5
"""Between two sentences, for somebody who watches; a log needs none."""


class StoryFailedError(BackstopError):
    """The story could not be told to its end."""


class Story:
    """Places some sixteen orders in MES and MNQ; ends flat."""

    def __init__(
        self, faults: FaultPlan, *, say: Callable[[str], None], pause_s: float = PAUSE_S
    ) -> None:
        self.refused = 0
        self.failure: StoryFailedError | None = None
        self._faults = faults
        self._say = say
        self._pause_s = pause_s
        self._count = 0

    @property
    def name(self) -> str:
        """The strategy's id on its orders."""
        return "story"

    def snapshot(self) -> StrategyState:
        """Return what must survive a restart: nothing, a story is told once."""
        return {}

    def restore(self, state: StrategyState) -> None:
        """Begin anew."""

    async def run(self, manager: CriticalSystemManager, quotes: QuoteBoard) -> None:
        """Tell the story; a failure is kept for whoever compares the books."""
        try:
            await self._tell(manager, quotes)
        except StoryFailedError as failure:
            self.failure = failure

    async def _tell(self, manager: CriticalSystemManager, quotes: QuoteBoard) -> None:
        self._manager, self._quotes = manager, quotes
        await self._first_quotes("MES", "MNQ", "NQ")
        await self._until(
            self._volatility_is_measured, "the market's history is read", limit_s=HISTORY_LIMIT_S
        )
        await self._market_orders()
        await self._limit_orders()
        await self._bad_luck()
        await self._refusals()
        await self._stop_orders()
        await self._go_flat("MES")
        await self._go_flat("MNQ")

    async def mischief_for_ever(self, pause_s: float) -> None:
        """Let something go wrong every now and then, until cancelled."""
        rules = (
            FaultRule(on="Order/place", act=FaultKind.LOSE_RESPONSE),
            FaultRule(on="GatewayUserTrade", act=FaultKind.DUPLICATE_EVENT),
            FaultRule(on="now", act=FaultKind.HUB_RESET, hub=HubName.USER),
            FaultRule(on="GatewayUserTrade", act=FaultKind.DROP_EVENT),
            FaultRule(on="GatewayUserOrder", act=FaultKind.REORDER_EVENT, delay_ms=200),
        )
        while True:
            for rule in rules:
                await asyncio.sleep(pause_s)
                self._mischief(rule)

    async def end_flat(self, manager: CriticalSystemManager) -> None:
        """Take everything off that is still on."""
        self._manager, self._quotes = manager, manager.quotes
        self._faults.heal()
        await self._user_hub_back()
        for symbol in ("MES", "MNQ"):
            await self._go_flat(symbol)

    # -- chapters ------------------------------------------------------------------------------

    async def _market_orders(self) -> None:
        await self._tells("a market order with stop and target")
        await self._filled(await self._entry("MES", Side.BUY, 1, OrderType.MARKET))
        await self._tells("another one, and its trade will be told three times")
        self._mischief(
            FaultRule(on="GatewayUserTrade", act=FaultKind.DUPLICATE_EVENT, copies=2, delay_ms=20)
        )
        await self._filled(await self._entry("MNQ", Side.SELL, 1, OrderType.MARKET))

    async def _limit_orders(self) -> None:
        await self._tells("a limit order for three, filled in parts")
        await self._fills(partial(self._entry, "MES", Side.BUY, 3, OrderType.LIMIT), ticks=2)
        await self._tells("a limit order at the touch")
        await self._fills(partial(self._entry, "MNQ", Side.SELL, 1, OrderType.LIMIT), ticks=0)
        await self._tells("a limit order far away, cancelled again")
        resting = await self._entry("MES", Side.BUY, 1, OrderType.LIMIT, ticks=-400)
        await self._manager.cancel_order(resting.client_order_id, reason="the story says so")
        await self._settled(resting.client_order_id, {OrderState.CANCELLED})
        await self._tells("a limit order that takes one contract off")
        await self._fills(partial(self._exit, "MES", 1, OrderType.LIMIT), ticks=2)

    async def _bad_luck(self) -> None:
        await self._tells("an order whose answer gets lost after it was accepted")
        self._mischief(FaultRule(on="Order/place", act=FaultKind.LOSE_RESPONSE))
        await self._filled(await self._entry("MNQ", Side.SELL, 1, OrderType.MARKET))
        await self._tells("an order whose user hub drops while it fills")
        self._mischief(FaultRule(on="GatewayUserOrder", act=FaultKind.DROP_EVENT, count=3))
        self._mischief(FaultRule(on="GatewayUserTrade", act=FaultKind.DROP_EVENT))
        order = await self._entry("MES", Side.BUY, 1, OrderType.MARKET)
        self._mischief(FaultRule(on="now", act=FaultKind.HUB_RESET, hub=HubName.USER))
        await self._filled(order)
        await self._user_hub_back()

    async def _refusals(self) -> None:
        await self._tells("a bet too big for the risk budget: refused")
        await self._refused(self._request("NQ", Side.BUY, 20, OrderType.MARKET))
        await self._tells("an entry without a stop: refused")
        bare = self._request("MES", Side.BUY, 1, OrderType.MARKET)
        await self._refused(
            OrderRequest(
                client_order_id=bare.client_order_id,
                symbol=bare.symbol,
                side=bare.side,
                quantity=bare.quantity,
                type=bare.type,
                strategy_id=self.name,
            )
        )

    async def _stop_orders(self) -> None:
        await self._tells("a stop order as an entry, just above the market")
        await self._fills(partial(self._entry, "MES", Side.BUY, 1, OrderType.STOP), ticks=2)
        await self._tells("a stop order takes one MNQ off")
        await self._fills(partial(self._exit, "MNQ", 1, OrderType.STOP), ticks=4)
        await self._tells("a trailing stop follows the market and takes one MES off")
        await self._fills(partial(self._exit, "MES", 1, OrderType.TRAILING_STOP), ticks=4)
        await self._tells("a market order takes one MES off")
        await self._filled(await self._exit("MES", 1, OrderType.MARKET))

    async def _go_flat(self, symbol: str) -> None:
        await self._tells(f"flat in {symbol}")
        for _ in range(5):
            position = self._position(symbol)
            if position == 0:
                break
            await self._filled(await self._exit(symbol, abs(position), OrderType.MARKET))
        await self._until(
            lambda: self._position(symbol) == 0 and not self._legs(symbol),
            f"{symbol} is flat and has no leg left",
        )

    # -- orders --------------------------------------------------------------------------------

    async def _entry(
        self, symbol: str, side: Side, quantity: int, kind: OrderType, *, ticks: int = 0
    ) -> TrackedOrder:
        return await self._accepted(self._request(symbol, side, quantity, kind, ticks=ticks))

    async def _exit(
        self, symbol: str, quantity: int, kind: OrderType, *, ticks: int = 0
    ) -> TrackedOrder:
        if self._position(symbol) == 0:
            # The market reached a stop or a target before the story did.
            await self._filled(await self._entry(symbol, Side.BUY, quantity, OrderType.MARKET))
        side = Side.SELL if self._position(symbol) > 0 else Side.BUY
        return await self._accepted(
            self._request(symbol, side, quantity, kind, ticks=ticks, protected=False)
        )

    def _request(
        self,
        symbol: str,
        side: Side,
        quantity: int,
        kind: OrderType,
        *,
        ticks: int = 0,
        protected: bool = True,
    ) -> OrderRequest:
        """Return an order ``ticks`` better (for limits: worse for us, to fill) than the touch."""
        instrument, quote = self._instrument(symbol), self._quote(symbol)
        touch = quote.touch(side) or Decimal(0)
        level = touch + side.sign * ticks * instrument.tick_size
        if kind is OrderType.TRAILING_STOP:
            level = (quote.last or touch) + side.sign * ticks * instrument.tick_size
        self._count += 1
        # Each order a little different: equal ones within a second would be refused as doubles.
        away = side.sign * (STOP_TICKS + self._count) * instrument.tick_size
        entry = touch if kind is OrderType.MARKET else level
        return OrderRequest(
            client_order_id=f"story-{self._count:02d}",
            symbol=symbol,
            side=side,
            quantity=quantity,
            type=kind,
            limit_price=level if kind is OrderType.LIMIT else None,
            stop_price=level if kind in {OrderType.STOP, OrderType.TRAILING_STOP} else None,
            stop_loss_price=entry - away if protected else None,
            take_profit_price=entry + 2 * away if protected else None,
            strategy_id=self.name,
        )

    async def _tells(self, sentence: str) -> None:
        self._say(sentence)
        await asyncio.sleep(self._pause_s)

    async def _accepted(self, request: OrderRequest) -> TrackedOrder:
        decision = await self._manager.submit_order(request)
        if decision.kind is not DecisionKind.ACCEPTED or decision.order is None:
            why = "; ".join(denial.message for denial in decision.denials) or decision.message
            raise StoryFailedError(f"{request.client_order_id} was refused: {why}")
        return decision.order

    async def _refused(self, request: OrderRequest) -> None:
        decision = await self._manager.submit_order(request)
        if decision.kind is not DecisionKind.REFUSED:
            raise StoryFailedError(f"{request.client_order_id} should have been refused")
        self.refused += 1
        await self._tells("   " + "; ".join(denial.message for denial in decision.denials))

    async def _fills(self, place: Callable[..., Awaitable[TrackedOrder]], *, ticks: int) -> None:
        """Place orders, each near the market of its moment, until one is filled.

        A stop that the market ran past on its way is refused, and the next one stands twice as far
        off; an order that the market leaves behind is cancelled. They are orders like any other,
        and the books must agree on them.
        """
        for _ in range(ATTEMPTS_MAX):
            order = await place(ticks=ticks)
            ended = await self._ended(order.client_order_id)
            if ended.fills:
                return
            if ended.state is OrderState.REJECTED:
                ticks *= 2
            await self._tells(f"   that one is {ended.state}: another, at the market of now")
        raise StoryFailedError(f"the market filled none of {ATTEMPTS_MAX} orders")

    async def _ended(self, client_order_id: str) -> TrackedOrder:
        """Return the order once it is finished; one that the market leaves waiting is cancelled."""
        orders = self._manager.book.orders
        with suppress(TimeoutError):
            async with asyncio.timeout(ATTEMPT_LIMIT_S):
                while not orders[client_order_id].is_terminal:  # noqa: ASYNC110 - as below
                    await asyncio.sleep(POLL_S)
        if not orders[client_order_id].is_terminal:
            await self._manager.cancel_order(client_order_id, reason="the market went away")
            await self._settled(client_order_id, set(TERMINAL_STATES))
        return orders[client_order_id]

    async def _filled(self, order: TrackedOrder) -> None:
        await self._settled(order.client_order_id, {OrderState.FILLED})

    async def _settled(self, client_order_id: str, states: set[OrderState]) -> None:
        await self._until(
            lambda: self._manager.book.orders[client_order_id].state in states,
            f"{client_order_id} is {' or '.join(sorted(states))}",
        )

    # -- the world -----------------------------------------------------------------------------

    def _mischief(self, rule: FaultRule) -> None:
        self._faults.add([rule])

    async def _user_hub_back(self) -> None:
        await self._until(
            lambda: not self._manager.book.state_reasons(self._manager.now_ns()),
            "entries are possible again",
        )

    async def _first_quotes(self, *symbols: str) -> None:
        for symbol in symbols:
            contract_id = self._instrument(symbol).contract_id
            await self._until(
                lambda contract_id=contract_id: (  # type: ignore[misc]
                    self._quotes.reference(contract_id) is not None
                ),
                f"{symbol} is quoted",
            )

    def _volatility_is_measured(self) -> bool:
        """Say whether history was read: until then the stress values leave little room."""
        estimate = self._manager.book.estimate
        return estimate is not None and not any(
            volatility.origin == VolatilityOrigin.STRESS_MISSING
            for volatility in estimate.volatilities
        )

    def _instrument(self, symbol: str) -> Instrument:
        instrument = self._manager.book.instrument_for(symbol)
        if instrument is None:
            raise StoryFailedError(f"the gateway has no contract for {symbol}")
        return instrument

    def _quote(self, symbol: str) -> Quote:
        quote = self._quotes.reference(self._instrument(symbol).contract_id)
        if quote is None:
            raise StoryFailedError(f"{symbol} is not quoted")
        return quote

    def _position(self, symbol: str) -> int:
        return self._manager.book.position(self._instrument(symbol).contract_id).quantity

    def _legs(self, symbol: str) -> int:
        contract_id = self._instrument(symbol).contract_id
        return sum(leg.owner is not None for leg in self._manager.book.live_legs(contract_id))

    async def _until(
        self, is_true: Callable[[], bool], what: str, *, limit_s: float = SETTLE_LIMIT_S
    ) -> None:
        try:
            async with asyncio.timeout(limit_s):
                while not is_true():  # noqa: ASYNC110 - many things may make it true
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise StoryFailedError(f"not within {limit_s:g} s: {what}") from None
