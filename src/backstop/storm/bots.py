"""Bots that want anything at any time: what a person's strategy may ever ask of the guard."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

from msgspec.structs import replace

from backstop.adapters.projectx.wire import PlaceBody
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.positions import PositionView
from backstop.core.step import Decision, DecisionKind
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.errors import BackstopError
from backstop.storm.drawn_orders import DrawnOrders, as_sent
from backstop.storm.operators import OPERATOR
from backstop.storm.story import Story
from backstop.storm.venue import SYMBOLS

MICROS: Final = ("MES", "MNQ")

TOO_MANY: Final = 45
"""Micros: more than any account of the storm may hold, and fewer than one order may have."""

FAR_TICKS: Final = 100
"""So far from the market an order rests for a while."""

IMPATIENT_S: Final = 2.0
"""How soon a bot wants something again that has heard no answer."""

_WISHES: Final = (
    ("enter", 30),
    ("burst", 8),
    ("lean", 4),
    ("exit", 14),
    ("cancel", 12),
    ("change", 8),
    ("close", 6),
    ("protect", 6),
    ("again", 4),
    ("double", 3),
    ("run_wild", 2),
    ("nonsense", 8),
    ("send_itself", 3),
    ("save", 3),
    ("operate", 2),
)


class Bot:
    """One strategy; it goes on over restarts of the guard."""

    def __init__(
        self,
        name: str,
        chance: Random,
        *,
        pause_s: float,
        story: Story,
        wants: Callable[[], bool],
        on_refused_exit: Callable[[str], None],
        on_decision: Callable[[Decision], None],
        sends_itself: Callable[[PlaceBody], None] | None,
        old_month: str,
    ) -> None:
        """Prepare.

        Args:
            name: its orders bear it.
            chance: draws what it wants.
            pause_s: mean pause between two wishes.
            story: hears of them.
            wants: says whether it wants anything at all.
            on_refused_exit: hears of an exit that nothing spoke against and that was refused.
            on_decision: hears of every decision.
            sends_itself: sends an order past the guard; None: it does not do that.
            old_month: a contract that is known and not traded any more.
        """
        self._on_decision = on_decision
        self._sends_itself = sends_itself
        self._name = name
        self._on_refused_exit = on_refused_exit
        self._chance = chance
        self._pause_s = pause_s
        self._story = story
        self._wants = wants
        self._orders = DrawnOrders(name, chance, old_month=old_month)
        self._newest: OrderRequest | None = None

    async def run(self, guard: CriticalSystemManager) -> None:
        """Want something now and then, until cancelled."""
        while True:
            pause_s = IMPATIENT_S if self._is_in_doubt(guard) else self._pause_s
            await asyncio.sleep(self._chance.expovariate(1 / pause_s))
            if not self._wants():
                continue
            (wish,) = self._chance.choices(
                [name for name, _ in _WISHES], [weight for _, weight in _WISHES]
            )
            if self._is_in_doubt(guard):
                wish = "insist"
            elif self._chance.random() < 0.5 and _somebody_is_in_doubt(guard):  # noqa: PLR2004 - a coin
                wish = "fill_up"
            try:
                decision = await getattr(self, f"_{wish}")(guard)
            except BackstopError as error:
                self._story.tell(self._name, wish, failed=type(error).__name__)
                if wish == "close" and guard.is_running and guard.decisions.failure is not None:
                    self._on_refused_exit(f"a close was kept back by the disk: {error}")
                continue
            if decision is not None:
                self._tell(wish, decision)

    def _tell(self, wish: str, decision: Decision) -> None:
        self._on_decision(decision)
        order = decision.order
        self._story.tell(
            self._name,
            wish,
            decision=decision.kind,
            order="-" if order is None else order.client_order_id,
            state="-" if order is None else order.state,
            denials=",".join(str(denial.code) for denial in decision.denials),
        )

    # -- wishes ------------------------------------------------------------------------------

    async def _enter(self, guard: CriticalSystemManager) -> Decision | None:
        request = self._orders.request(guard, self._chance.choice(tuple(Side)))
        if request is None:
            return None
        self._newest = request
        return await guard.submit_order(request)

    async def _burst(self, guard: CriticalSystemManager) -> Decision | None:
        """Ask for several entries at once: each alone may pass, and all together may not."""
        requests = [
            self._orders.request(
                guard,
                self._chance.choice(tuple(Side)),
                symbol=self._chance.choice(MICROS),
                quantity=self._chance.randint(2, 8),
            )
            for _ in range(4)
        ]
        wanted = [guard.submit_order(request) for request in requests if request is not None]
        decisions = await asyncio.gather(*wanted, return_exceptions=True)
        for decision in decisions:
            if isinstance(decision, Decision):
                self._tell("burst", decision)
        return None

    async def _again(self, guard: CriticalSystemManager) -> Decision | None:
        """Send the newest wish once more, as a client does that heard no answer."""
        return None if self._newest is None else await guard.submit_order(self._newest)

    async def _double(self, guard: CriticalSystemManager) -> Decision | None:
        """Want the same twice at once, each time under another name."""
        request = self._orders.request(guard, self._chance.choice(tuple(Side)))
        if request is None:
            return None
        self._tell("double", await guard.submit_order(request))
        return await guard.submit_order(replace(request, client_order_id=self._orders.new_name()))

    async def _run_wild(self, guard: CriticalSystemManager) -> Decision | None:
        """Want a dozen small things within a second, as a loop does that never waits."""
        for place in range(12):
            request = self._orders.request(
                guard, self._chance.choice(tuple(Side)), symbol=MICROS[place % 2], quantity=1
            )
            if request is not None:
                self._tell("run_wild", await guard.submit_order(request))
        return None

    async def _send_itself(self, guard: CriticalSystemManager) -> Decision | None:
        """Register an order and send it past the guard, as a bot with a session of its own."""
        request = self._orders.request(guard, self._chance.choice(tuple(Side)), quantity=1)
        if request is None or self._sends_itself is None:
            return None
        tag = f"{self._name}:{request.client_order_id}"
        instrument = guard.book.instruments[guard.book.contract_of[request.symbol]]
        lies = self._chance.random()
        if lies < 0.2 and request.limit_price is not None:  # noqa: PLR2004 - one in five
            request = replace(request, limit_price=request.limit_price + instrument.tick_size / 2)
        decision = await guard.register_pending_order(request, custom_tag=tag)
        if decision.kind is DecisionKind.ACCEPTED:
            self._sends_itself(
                as_sent(
                    request,
                    account_id=guard.settings.account_id,
                    contract_id=instrument.contract_id,
                    size=2 if lies > 0.9 else 1,  # noqa: PLR2004 - one in ten is another order
                    tag=tag,
                )
            )
        return decision

    def _is_in_doubt(self, guard: CriticalSystemManager) -> bool:
        """Say whether nobody knows what became of the newest wish."""
        name = "" if self._newest is None else self._newest.client_order_id
        order = guard.book.orders.get(name)
        return order is not None and order.state is OrderState.UNKNOWN

    async def _insist(self, guard: CriticalSystemManager) -> Decision | None:
        """Want the same once more, and all there is room for, as if the first had never arrived."""
        if self._newest is None:
            return None
        self._newest = replace(self._newest, client_order_id=self._orders.new_name())
        self._tell("insist", await guard.submit_order(self._newest))
        return await self._fill_up(guard, self._newest.side)

    async def _lean(self, guard: CriticalSystemManager) -> Decision | None:
        """Rest an order far away, then want all there is room for on the other side of it."""
        side, symbol = self._chance.choice(tuple(Side)), self._chance.choice(MICROS)
        request = self._orders.request(
            guard, side, symbol=symbol, quantity=self._chance.randint(3, 12)
        )
        if request is None or request.stop_loss_price is None:
            return None
        tick = guard.book.instruments[guard.book.contract_of[symbol]].tick_size
        far = request.stop_loss_price - side.sign * FAR_TICKS * tick
        rests = replace(
            request,
            type=OrderType.LIMIT,
            limit_price=far,
            stop_price=None,
            stop_loss_price=far - side.sign * FAR_TICKS * tick,
            take_profit_price=None,
        )
        self._tell("lean", await guard.submit_order(rests))
        return await self._fill_up(guard, side.opposite, symbol)

    async def _fill_up(
        self, guard: CriticalSystemManager, side: Side | None = None, symbol: str | None = None
    ) -> Decision | None:
        """Want too much, and then as much as the refusal says that there is room for."""
        side = side or self._chance.choice(tuple(Side))
        symbol = symbol or self._chance.choice(MICROS)
        request = self._orders.request(guard, side, symbol=symbol, quantity=TOO_MANY)
        if request is None:
            return None
        decision = await guard.submit_order(request)
        rooms = [it.max_quantity for it in decision.denials]
        most = min((it for it in rooms if it is not None), default=0)
        if decision.kind is not DecisionKind.REFUSED or not most or None in rooms:
            return decision
        self._tell("fill_up", decision)
        name = self._orders.new_name()
        return await guard.submit_order(replace(request, client_order_id=name, quantity=most))

    async def _exit(self, guard: CriticalSystemManager) -> Decision | None:
        held = [view for view in guard.book.positions.values() if view.quantity]
        if not held:
            return None
        view = self._chance.choice(held)
        symbol = guard.book.symbol_of(view.contract_id)
        side = Side.SELL if view.quantity > 0 else Side.BUY
        quantity = self._chance.randint(1, abs(view.quantity))
        request = self._orders.request(
            guard, side, symbol=symbol, quantity=quantity, protected=False
        )
        if request is None:
            return None
        alone = _nothing_else_closes(guard, view)
        decision = await guard.submit_order(request)
        # Somebody else may have wanted the same in the same moment, and come first.
        now = guard.book.position(view.contract_id)
        alone = alone and now.quantity == view.quantity and _nothing_else_closes(guard, now)
        if alone and decision.kind is DecisionKind.REFUSED and request.type is OrderType.MARKET:
            codes = ",".join(str(denial.code) for denial in decision.denials)
            self._on_refused_exit(f"{side} {quantity} of {view.quantity} {symbol}: {codes}")
        return decision

    async def _cancel(self, guard: CriticalSystemManager) -> Decision | None:
        live = [*guard.book.live]
        if not live:
            return None
        return await guard.cancel_order(self._chance.choice(live), reason="a change of mind")

    async def _change(self, guard: CriticalSystemManager) -> Decision | None:
        live = [*guard.book.live]
        if not live:
            return None
        name = self._chance.choice(live)
        intent = guard.book.orders[name].intent
        quote = guard.quotes.reference(intent.contract_id)
        if quote is None or quote.bid is None:
            return None
        tick = guard.book.instruments[intent.contract_id].tick_size
        away = self._chance.randint(1, 40) * tick * intent.side.sign
        return await guard.modify_order(
            name,
            quantity=self._chance.choice((None, None, 1, 2, 3)),
            limit_price=quote.bid - away if intent.limit_ticks is not None else None,
            stop_price=quote.bid + away if intent.stop_ticks is not None else None,
        )

    async def _close(self, guard: CriticalSystemManager) -> Decision | None:
        symbol = self._chance.choice(SYMBOLS)
        return await guard.close_position(symbol, quantity=self._chance.choice((None, None, 1)))

    async def _protect(self, guard: CriticalSystemManager) -> Decision | None:
        symbol = self._chance.choice(SYMBOLS)
        instrument = guard.book.instrument_for(symbol)
        if instrument is None:
            return None
        view = guard.book.position(instrument.contract_id)
        quote = guard.quotes.reference(instrument.contract_id)
        if not view.quantity or quote is None or quote.bid is None:
            return None
        sign = 1 if view.quantity > 0 else -1
        away = self._chance.randint(8, 80) * instrument.tick_size * sign
        return await guard.protect_position(
            symbol,
            stop_price=quote.bid - away,
            take_profit_price=quote.bid + away if self._chance.random() < 0.5 else None,  # noqa: PLR2004
        )

    async def _nonsense(self, guard: CriticalSystemManager) -> Decision | None:
        """Ask for what must be refused."""
        request = self._orders.request(guard, self._chance.choice(tuple(Side)))
        if request is None:
            return None
        return await guard.submit_order(self._orders.odd(guard, request))

    async def _save(self, guard: CriticalSystemManager) -> Decision | None:
        guard.save_strategy(self._name, {"wishes": self._chance.randint(0, 9)})
        return None

    async def _operate(self, guard: CriticalSystemManager) -> Decision | None:
        """A person halts, resumes, liquidates, acknowledges."""
        act = self._chance.choice(("halt", "resume", "resume", "resume", "liquidate", "ack"))
        match act:
            case "halt":
                return await guard.halt(reason="lunch", operator=OPERATOR)
            case "resume":
                return await guard.resume(reason="back", operator=OPERATOR)
            case "liquidate":
                symbol = self._chance.choice((None, *SYMBOLS))
                return await guard.liquidate(reason="enough", operator=OPERATOR, symbol=symbol)
            case _:
                return await guard.acknowledge_alert(1, operator=OPERATOR)


def _somebody_is_in_doubt(guard: CriticalSystemManager) -> bool:
    return any(it.state is OrderState.UNKNOWN for it in guard.book.live_orders())


def _nothing_else_closes(guard: CriticalSystemManager, view: PositionView) -> bool:
    """Say whether an exit of the whole position is one that nothing can speak against."""
    return (
        view.is_settled
        and not guard.book.open_exits(view.contract_id, view.quantity)
        and not guard.book.liquidating
    )
