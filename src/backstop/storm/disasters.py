"""What happens to processes as a whole, and what the exchange, the firm and other people do.

Each act is one disaster; ``StormWeather`` draws them and lets one follow the other.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final

from backstop.adapters.projectx.wire import PlaceBody, WireOrderType
from backstop.simulator.fault_rules import NOW, FaultKind, FaultRule
from backstop.storm.plan import Weather
from backstop.storm.struck import Storm
from backstop.storm.venue import ACCOUNT_ID, SYMBOLS

GAP_TICKS: Final = 250
"""Farther than any bot's stop."""

FROZEN_S: Final = 14.0
"""Longer than a watchdog, and a guard, wait for each other."""

KEY_REFUSED: Final = FaultRule(
    on="Auth/loginKey", act=FaultKind.ERROR_CODE, code=3, message="the key was revoked", count=None
)


class Disasters:
    """The acts of one storm."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        self._numbers = count(1)

    def all_of_them(self) -> list[Callable[[], object]]:
        """Return those that belong to the weather."""
        plan, acts = self._storm.plan, list[Callable[[], object]]()
        if plan.has(Weather.GATEWAY):
            acts += [self._hide_clock, self._refuse_key]
        if plan.has(Weather.CRASH):
            acts += [self._kill_watchdog, self._freeze_watchdog, self._freeze_for_long]
            acts += [self._crash_loop]
        if plan.has(Weather.OTHERS):
            acts += [self._firm_liquidates, self._halt_market, self._gap, self._order_by_hand]
            acts += [self._order_by_hand, self._cancel_by_hand, self._third_program, self._away]
        return acts

    # -- processes -------------------------------------------------------------------------------

    def _kill_watchdog(self) -> None:
        self._storm.host.kill_watchdog()

    async def _freeze_watchdog(self) -> None:
        """Stop the watchdog for so long that its guard takes another one."""
        host = self._storm.host
        host.freeze_watchdog()
        await asyncio.sleep(self._storm.chance.choice((1.0, FROZEN_S)))
        host.thaw()

    async def _freeze_for_long(self) -> None:
        """Stop the guard for so long that its watchdog kills it."""
        host = self._storm.host
        host.freeze()
        await asyncio.sleep(FROZEN_S)
        host.thaw()

    async def _crash_loop(self) -> None:
        """Have each guard die soon after its start, for longer than an account is left alone."""
        host, chance = self._storm.host, self._storm.chance
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + chance.choice((8.0, 75.0))
        while loop.time() < ends_s:
            host.kill(down_s=0.0)
            await asyncio.sleep(chance.uniform(0.5, 2.0))

    # -- the gateway -----------------------------------------------------------------------------

    async def _hide_clock(self) -> None:
        """No answer says what time it is there."""
        for_ms = self._storm.chance.randint(20_000, 90_000)
        self._now(FaultRule(on=NOW, act=FaultKind.HIDE_CLOCK, for_ms=for_ms))

    async def _refuse_key(self) -> None:
        """The firm takes the key for revoked, for a while."""
        faults = self._storm.venue.faults
        seconds = self._storm.chance.uniform(5.0, 40.0)
        self._storm.venue.shut_out(seconds)
        added = faults.add([KEY_REFUSED])
        self._now(FaultRule(on=NOW, act=FaultKind.KILL_TOKENS))
        await asyncio.sleep(seconds)
        faults.take_back(added)

    def _now(self, rule: FaultRule) -> None:
        self._storm.venue.faults.add([rule])

    # -- the exchange and the firm -----------------------------------------------------------------

    async def _firm_liquidates(self) -> None:
        """The firm closes everything, and locks the account for a while."""
        venue = self._storm.venue
        for order_id in venue.liquidate():
            self._storm.foreign.add(order_id)
        await asyncio.sleep(self._storm.chance.uniform(5.0, 60.0))
        venue.lock(locked=False)

    async def _halt_market(self) -> None:
        """The exchange halts one contract."""
        contract_id = self._some_contract()
        self._storm.venue.halt(contract_id, halted=True)
        await asyncio.sleep(self._storm.chance.uniform(5.0, 60.0))
        self._storm.venue.gap(GAP_TICKS // 4)
        self._storm.venue.halt(contract_id, halted=False)

    def _gap(self) -> None:
        """A market jumps, through whatever stops there are."""
        self._storm.venue.gap(GAP_TICKS)

    # -- other people ------------------------------------------------------------------------------

    def _some_contract(self) -> str:
        return self._storm.venue.contract_ids[self._storm.chance.choice(SYMBOLS)]

    def _place(self, body: PlaceBody) -> None:
        outcome = self._storm.venue.exchange.place_by_others(body)
        if outcome.order_id is not None:
            self._storm.foreign.add(outcome.order_id)

    def _some_order(self, *, tag: str | None) -> PlaceBody:
        """Return an order of any type, near the market or far from it."""
        storm, chance = self._storm, self._storm.chance
        contract_id = self._some_contract()
        bid, tick = storm.venue.touch(contract_id)
        side = chance.randint(0, 1)
        away = chance.choice((2, 8, 60)) * tick * (1 if side == 0 else -1)
        kind = chance.choice((WireOrderType.LIMIT, WireOrderType.STOP, WireOrderType.STOP))
        return PlaceBody(
            account_id=ACCOUNT_ID,
            contract_id=contract_id,
            type=kind,
            side=side,
            size=chance.randint(1, 3),
            limit_price=bid - away if kind is WireOrderType.LIMIT else None,
            stop_price=bid + away if kind is WireOrderType.STOP else None,
            custom_tag=tag,
        )

    def _order_by_hand(self) -> None:
        """A person has an order work on the firm's page."""
        self._place(self._some_order(tag=None))

    async def _third_program(self) -> None:
        """Another program, with tags of its own, places a few orders."""
        for _ in range(self._storm.chance.randint(1, 4)):
            self._place(self._some_order(tag=f"other-{next(self._numbers)}"))
            await asyncio.sleep(self._storm.chance.uniform(0.01, 2.0))

    def _cancel_by_hand(self) -> None:
        """A person cancels something on the firm's page, a stop perhaps."""
        live = sorted(self._storm.truth.live)
        if live:
            self._storm.venue.exchange.cancel_by_others(ACCOUNT_ID, self._storm.chance.choice(live))

    async def _away(self) -> None:
        """While nobody guards, people and the firm go on."""
        storm, chance = self._storm, self._storm.chance
        storm.host.kill(down_s=chance.uniform(5.0, 40.0))
        await asyncio.sleep(1.0)
        for _ in range(chance.randint(1, 3)):
            act = chance.choice(
                (
                    self._trade_by_hand,
                    self._close_by_hand,
                    self._order_by_hand,
                    self._cancel_by_hand,
                )
            )
            act()
        if chance.random() < 0.3:  # noqa: PLR2004 - one in three
            await self._firm_liquidates()

    def _trade_by_hand(self) -> None:
        self._market(self._some_contract(), self._storm.chance.choice((-1, 1, 2)))

    def _close_by_hand(self) -> None:
        held = [*self._storm.truth.open_positions()]
        if held:
            contract_id, quantity = self._storm.chance.choice(held)
            self._market(contract_id, -quantity)

    def _market(self, contract_id: str, quantity: int) -> None:
        self._place(
            PlaceBody(
                account_id=ACCOUNT_ID,
                contract_id=contract_id,
                type=WireOrderType.MARKET,
                side=0 if quantity > 0 else 1,
                size=abs(quantity),
            )
        )
