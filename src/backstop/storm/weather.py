"""What goes wrong, and when: disasters drawn from the seed, one after the other, until it is over.

Calls and events go wrong one by one through the simulator's own fault rules; what strikes a whole
connection, process, disk or clock, or comes from other people, is here.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from backstop.adapters.projectx.wire import WireOrderType
from backstop.errors import BackstopError, JournalError
from backstop.simulator.fault_rules import NOW, FaultKind, FaultRule, HubName, seeded_rules
from backstop.simulator.faults import ActiveRule
from backstop.storm.disasters import Disasters
from backstop.storm.late_news import LateNews
from backstop.storm.plan import Weather
from backstop.storm.struck import Storm
from backstop.storm.venue import ACCOUNT_ID, SYMBOLS

OTHER_FAULTS: Final = (
    FaultRule(on="Order/v2/query", act=FaultKind.EMPTY_LIST, count=None),
    FaultRule(on="Order/search", act=FaultKind.EMPTY_LIST, count=None),
    FaultRule(on="Trade/search", act=FaultKind.EMPTY_LIST, count=None),
    FaultRule(on="Position/searchOpen", act=FaultKind.EMPTY_LIST, count=None),
    FaultRule(on="any_call", act=FaultKind.HTTP_ERROR, http_status=429, count=None),
    FaultRule(on="Order/place", act=FaultKind.DELAY_REQUEST, delay_ms=9_500, count=None),
    FaultRule(on="Position/closeContract", act=FaultKind.LOSE_RESPONSE, count=None),
)
"""What ``seeded_rules`` lacks: stale and empty pictures, 429, orders that arrive after all."""


SILENCE: Final = tuple(
    FaultRule(on=f"GatewayUser{noun}", act=FaultKind.DROP_EVENT, count=None)
    for noun in ("Order", "Trade", "Position")
)
"""No event of the account comes, and the connection looks sound."""

UNHEARD_S: Final = 1.0
"""Longer than all events of one trade take."""

NEXT_ORDER_S: Final = 30.0
"""How long an order is waited for that gets lost."""

LISTS_LAG_S: Final = 12.0
"""Shorter than what is waited for before an order counts as never arrived."""

LOST_S: Final = (5.0, 30.0)
"""Likewise: for so long nobody says that an order has arrived. After 20 s a bot behind the gateway
is told that nobody knows."""


class StormWeather:
    """Lets disasters happen until it is told that it is over."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        plan = storm.plan
        acts: list[Callable[[], object]] = []
        if plan.has(Weather.GATEWAY):
            acts += [self._kill_tokens, self._skew_clock, self._garbage]
            acts += [*(3 * [self._lose_an_order]), self._lag_lists]
        if plan.has(Weather.NETWORK):
            acts += [self._drop_hubs, self._mute_hub, self._freeze_hub, self._cut, self._logout]
            acts += [self._freeze_quotes]
        if plan.has(Weather.CRASH):
            acts += [
                self._kill,
                self._kill,
                self._kill_soon,
                self._power_cut,
                self._power_cut,
                self._freeze,
            ]
            acts += [self._suspend, self._step_clock, self._kill_at_order, self._kill_at_order]
            acts += [self._kill_halted, self._kill_halted]
        if plan.has(Weather.DISK):
            acts += [self._full_disk, self._broken_disk, self._slow_disk]
        if plan.has(Weather.OTHERS):
            acts += [self._manual_trade, self._manual_trade, self._second_bot, self._close_by_hand]
            acts += [self._bust, self._bust, self._overfill, self._lock_account, self._refuse_stops]
            acts += [self._unheard_trade]
        self._acts = [*acts, *Disasters(storm).all_of_them(), *LateNews(storm).all_of_them()]

    def begin(self) -> None:
        """Put the rules for single calls and events in force."""
        plan = self._storm.plan
        self._storm.venue.lag(positions_s=plan.positions_lag_s, lists_s=plan.lists_lag_s)
        if plan.hits_calls:
            rules = seeded_rules(plan.intensity)
            extra = [_with(rule, plan.intensity) for rule in OTHER_FAULTS]
            self._storm.venue.faults.add([*rules, *extra])

    async def run(self) -> None:
        """Let one disaster follow the other, until cancelled."""
        if not self._acts:
            return
        storm = self._storm
        while True:
            await asyncio.sleep(storm.chance.expovariate(1 / storm.plan.every_s))
            act = storm.chance.choice(self._acts)
            storm.story.tell("storm", act.__name__.removeprefix("_"))
            storm.disturb()
            done = act()
            if asyncio.iscoroutine(done):
                await done
            storm.disturb()

    def end(self) -> None:
        """Let nothing go wrong any more."""
        storm = self._storm
        storm.venue.faults.heal()
        storm.venue.faults.at_next_order = None
        storm.network.mend()
        storm.host.thaw()
        storm.host.let_down()
        disk = storm.machine.simulated_disk
        disk.recover()
        disk.on_order = None
        storm.machine.clock.ahead_us = 0
        storm.venue.lock(locked=False)
        storm.venue.end_halts()
        storm.venue.lag(positions_s=0.0, lists_s=0.0)
        storm.disturb()

    # -- the gateway -----------------------------------------------------------------------------

    def _now(self, act: FaultKind, **details: object) -> None:
        self._storm.venue.faults.add([FaultRule(on=NOW, act=act, **details)])  # type: ignore[arg-type]

    def _some_hub(self) -> HubName:
        return self._storm.chance.choice(tuple(HubName))

    def _some_ms(self, most_s: float = 120.0) -> int:
        return int(self._storm.chance.uniform(200, most_s * 1000))

    async def _with_rules(self, rules: list[FaultRule], for_s: float) -> None:
        """Have more rules in force for a while."""
        faults = self._storm.venue.faults
        added = faults.add(rules)
        await asyncio.sleep(for_s)
        faults.take_back(added)

    async def _lose_an_order(self) -> None:
        """The next order arrives, and for a while nobody says so: no answer, no event, no list."""
        storm, faults = self._storm, self._storm.venue.faults
        lost = FaultRule(on="Order/place", act=FaultKind.LOSE_RESPONSE)
        added: list[ActiveRule] = []
        placed = asyncio.Event()
        lost_s = storm.chance.uniform(*LOST_S)

        def lose() -> None:
            storm.venue.lag(positions_s=storm.plan.positions_lag_s, lists_s=lost_s)
            added.extend(faults.add([lost, *SILENCE]))
            placed.set()

        faults.at_next_order = lose
        with suppress(TimeoutError):
            async with asyncio.timeout(NEXT_ORDER_S):
                await placed.wait()
        faults.at_next_order = None
        if placed.is_set():
            await asyncio.sleep(lost_s)
            faults.take_back(added)
            storm.venue.lag(positions_s=storm.plan.positions_lag_s, lists_s=storm.plan.lists_lag_s)

    async def _lag_lists(self) -> None:
        """Events are lost for a moment, and what they told of is in no list for a while."""
        storm = self._storm
        storm.venue.lag(positions_s=storm.plan.positions_lag_s, lists_s=LISTS_LAG_S)
        await self._with_rules([*SILENCE], storm.chance.uniform(1.0, 10.0))
        await asyncio.sleep(LISTS_LAG_S)
        storm.venue.lag(positions_s=storm.plan.positions_lag_s, lists_s=storm.plan.lists_lag_s)

    def _kill_tokens(self) -> None:
        self._now(FaultKind.KILL_TOKENS, drop=self._storm.chance.random() < 0.5)  # noqa: PLR2004

    def _skew_clock(self) -> None:
        skew_s = self._storm.chance.choice((-30.0, -3.0, 3.0, 30.0))
        self._now(FaultKind.SKEW_CLOCK, skew_s=skew_s, for_ms=self._some_ms())

    def _garbage(self) -> None:
        act = self._storm.chance.choice((FaultKind.HUB_GARBAGE, FaultKind.HUB_UNKNOWN_TYPE))
        self._now(act, hub=self._some_hub())

    def _drop_hubs(self) -> None:
        acts = (FaultKind.HUB_RESET, FaultKind.HUB_END, FaultKind.HUB_CLOSE)
        self._now(self._storm.chance.choice(acts), hub=self._some_hub())

    def _mute_hub(self) -> None:
        self._now(FaultKind.HUB_MUTE, hub=self._some_hub(), for_ms=self._some_ms())

    def _freeze_hub(self) -> None:
        self._now(FaultKind.HUB_FREEZE, hub=self._some_hub(), for_ms=self._some_ms())

    def _logout(self) -> None:
        self._now(FaultKind.LOGOUT, hub=self._some_hub(), for_ms=self._some_ms())

    def _freeze_quotes(self) -> None:
        self._now(FaultKind.FREEZE_QUOTES, for_ms=self._some_ms())

    async def _cut(self) -> None:
        """Cut the cable for up to two minutes."""
        self._storm.network.cut()
        await asyncio.sleep(self._storm.chance.uniform(0.5, 120.0))
        self._storm.network.mend()

    # -- the machine -----------------------------------------------------------------------------

    def _down_s(self) -> float:
        return self._storm.chance.choice((0.5, 1.5, 5.0, 20.0, 90.0))

    def _kill(self) -> None:
        self._storm.host.kill(
            down_s=self._down_s(), runs=self._storm.chance.choice((0, 1, 7, 50, 400))
        )

    def _kill_soon(self) -> None:
        """Kill it right after the next trade: between the evidence and the act."""
        storm = self._storm
        before = storm.truth.on_trade
        runs = storm.chance.randint(1, 60)

        def then(trade: object, position: int) -> None:
            before(trade, position)  # type: ignore[arg-type]
            storm.truth.on_trade = before
            storm.host.kill(down_s=1.0, runs=runs)

        storm.truth.on_trade = then

    def _kill_at_order(self) -> None:
        """Kill it when the next order is on the disk: before, while or after it is sent."""
        runs = self._storm.chance.choice((0, 0, 2, 6, 20))
        self._storm.machine.simulated_disk.on_order = partial(
            self._storm.host.kill, down_s=1.0, runs=runs
        )

    async def _kill_halted(self) -> None:
        """Kill it a moment after a person has halted it."""
        host = self._storm.host
        guard, process = host.guard, host.process
        if guard is None or process is None or host.is_frozen:
            return

        async def halt() -> None:
            with suppress(BackstopError):
                await guard.halt(reason="a bad feeling", operator="storm operator")

        self._storm.machine.inside(process, halt)
        await asyncio.sleep(2.0)
        host.kill(down_s=1.0)

    async def _power_cut(self) -> None:
        self._storm.host.kill_all(down_s=self._down_s() + 20.0)
        self._storm.machine.power_cut()

    async def _freeze(self) -> None:
        """Stop the process, as a debugger, a swapping machine or a signal does."""
        self._storm.host.freeze()
        await asyncio.sleep(self._storm.chance.choice((0.5, 3.0, 12.0)))
        self._storm.host.thaw()

    async def _suspend(self) -> None:
        """Close the lid."""
        seconds = self._storm.chance.choice((5.0, 30.0, 200.0))
        self._storm.host.freeze_all()
        await asyncio.sleep(seconds)
        self._storm.machine.clock.slept(seconds)
        self._storm.host.slept(seconds)
        self._storm.host.thaw()

    def _step_clock(self) -> None:
        """Set the time of day."""
        self._storm.machine.clock.ahead_us = self._storm.chance.choice(
            (-3_600_000_000, -4_000_000, 2_000_000, 9_000_000, 3_600_000_000)
        )

    # -- the disk --------------------------------------------------------------------------------

    async def _full_disk(self) -> None:
        disk = self._storm.machine.simulated_disk
        disk.is_full = True
        await asyncio.sleep(2.0)
        self._close_something()
        await asyncio.sleep(self._storm.chance.uniform(0.5, 60.0))
        disk.recover()

    def _close_something(self) -> None:
        """Have a bot close a position just now: no disk may hold it open."""
        storm = self._storm
        guard, process = storm.host.guard, storm.host.process
        held = [contract_id for contract_id, _ in storm.truth.open_positions()]
        if guard is None or process is None or storm.host.is_frozen or not held:
            return
        symbol = guard.book.symbol_of(storm.chance.choice(held))

        async def close() -> None:
            try:
                await guard.close_position(symbol)
            except JournalError as error:
                storm.broke("exits pass", f"a close of {symbol} was kept back: {error}")

        storm.machine.inside(process, close)

    async def _broken_disk(self) -> None:
        disk = self._storm.machine.simulated_disk
        disk.fails_sync = True
        await asyncio.sleep(self._storm.chance.uniform(0.1, 20.0))
        disk.recover()

    async def _slow_disk(self) -> None:
        disk = self._storm.machine.simulated_disk
        disk.slow_s = self._storm.chance.choice((0.05, 0.5, 4.0))
        await asyncio.sleep(self._storm.chance.uniform(1.0, 60.0))
        disk.recover()

    # -- other people ----------------------------------------------------------------------------

    def _order_by_hand(self, contract_id: str, side: int, size: int) -> None:
        outcome = self._storm.venue.exchange.place_manual(
            ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=side, size=size
        )
        if outcome.order_id is not None:
            self._storm.foreign.add(outcome.order_id)

    def _some_contract(self) -> str:
        return self._storm.venue.contract_ids[self._storm.chance.choice(SYMBOLS)]

    def _manual_trade(self) -> None:
        chance = self._storm.chance
        self._order_by_hand(self._some_contract(), chance.randint(0, 1), chance.randint(1, 2))

    def _close_by_hand(self) -> None:
        """A person closes a position on the firm's page."""
        held = [*self._storm.truth.open_positions()]
        if held:
            contract_id, quantity = self._storm.chance.choice(held)
            self._order_by_hand(contract_id, 1 if quantity > 0 else 0, abs(quantity))

    async def _second_bot(self) -> None:
        """Another program trades the account a few times."""
        contract_id = self._some_contract()
        for _ in range(self._storm.chance.randint(1, 4)):
            self._order_by_hand(contract_id, self._storm.chance.randint(0, 1), 1)
            await asyncio.sleep(self._storm.chance.uniform(0.01, 2.0))

    def _bust(self) -> None:
        """The exchange takes a trade back."""
        trades = [*self._storm.truth.trades]
        if trades:
            self._storm.venue.exchange.bust_trade(self._storm.chance.choice(trades[-5:]))

    def _overfill(self) -> None:
        """The venue fills more than was asked for."""
        filled = [row.id for row in self._storm.truth.orders.values() if row.status == 2]  # noqa: PLR2004
        if filled:
            self._storm.venue.exchange.overfill(self._storm.chance.choice(filled[-5:]), 1)

    async def _refuse_stops(self) -> None:
        """Refuse every order for a while, and have somebody open a position just then."""
        refused = FaultRule(
            on="Order/place", act=FaultKind.ERROR_CODE, code=2, message="rejected", count=None
        )
        self._manual_trade()
        await self._with_rules([refused], self._storm.chance.uniform(3.0, 40.0))

    async def _unheard_trade(self) -> None:
        """Somebody trades, and no event tells of it: only a read of the account does."""
        self._manual_trade()
        await self._with_rules([*SILENCE], UNHEARD_S)

    async def _lock_account(self) -> None:
        """The firm forbids trading for a while."""
        self._storm.venue.lock(locked=True)
        await asyncio.sleep(self._storm.chance.uniform(1.0, 60.0))
        self._storm.venue.lock(locked=False)


def _with(rule: FaultRule, probability: float) -> FaultRule:
    return FaultRule(
        on=rule.on,
        act=rule.act,
        count=None,
        probability=probability,
        delay_ms=rule.delay_ms,
        http_status=rule.http_status,
    )
