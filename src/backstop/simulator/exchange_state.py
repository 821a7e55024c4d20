"""Everything the exchange knows, with the few acts that all its parts share.

Clock, randomness and event sinks live here too: the clock is what the owner last said, randomness
is one seeded generator, and events go to the sinks in the order in which they happen.
"""

from decimal import Decimal
from random import Random

from backstop.adapters.projectx_server.venue import EventSink, MarketEvent, UserEvent
from backstop.domain.numbers import MICROS
from backstop.simulator import rows
from backstop.simulator.agenda import Action, Agenda
from backstop.simulator.exchange_config import (
    AccountSpec,
    ContractSpec,
    ExchangeConfig,
    LatencyRange,
)
from backstop.simulator.records import (
    Account,
    Holding,
    Market,
    Order,
    Trade,
)

ADDED = 0
"""Hub action seen with trades."""
UPDATED = 1
"""Hub action seen with accounts, orders and positions, new and changed."""
REMOVED = 2
"""Hub action seen with positions when they close."""

MAX_FOREIGN_IDS = 4
"""Most ids that other customers of the venue take between two of ours."""

CHILD_GAP_CHANCE = 0.05
"""How often the ids of an entry and its legs are not consecutive ("usually" they are)."""


class ExchangeState:
    """The books, the clock and the generator of one exchange."""

    def __init__(self, config: ExchangeConfig) -> None:
        self.config = config
        self.now_us = config.start_us
        self.agenda = Agenda()
        self.accounts = {spec.id: _account(spec) for spec in config.accounts}
        self.markets = {spec.row.id: _market(spec, config) for spec in config.contracts}
        self.orders: dict[int, Order] = {}
        self.trades: dict[int, Trade] = {}
        self.holdings: dict[tuple[int, str], Holding] = {}
        self.legs: dict[int, tuple[Order, ...]] = {}  # by the id of their entry
        self._random = Random(config.seed)  # noqa: S311 - replayable, nothing secret is drawn
        self._sinks: list[EventSink] = []
        self._last_order_id = config.first_order_id
        self._last_trade_id = config.first_trade_id
        self._last_position_id = config.first_position_id

    # --- time and chance ---

    def draw(self, bounds: tuple[int, int]) -> int:
        """Return a whole number between ``bounds``, both included."""
        return self._random.randint(*bounds)

    def later(self, delay: LatencyRange, action: Action) -> None:
        """Do ``action`` after a delay drawn from ``delay``; at once when that is zero."""
        self.at(self.now_us + self.draw(delay), action)

    def at(self, due_us: int, action: Action) -> None:
        """Do ``action`` at ``due_us``; at once when that is not in the future."""
        if due_us <= self.now_us:
            action()
        else:
            self.agenda.plan(due_us, action)

    # --- ids: increasing over the whole venue, shared with customers we do not see ---

    def next_order_id(self, *, of_leg: bool = False) -> int:
        """Return a new order id; those of legs usually follow their entry's directly."""
        alone = of_leg and self._random.random() >= CHILD_GAP_CHANCE
        self._last_order_id += 1 if alone else 1 + self._random.randint(0, MAX_FOREIGN_IDS)
        return self._last_order_id

    def next_trade_id(self) -> int:
        """Return a new trade id."""
        self._last_trade_id += 1 + self._random.randint(0, MAX_FOREIGN_IDS)
        return self._last_trade_id

    def next_position_id(self) -> int:
        """Return a new position row id."""
        self._last_position_id += 1 + self._random.randint(0, MAX_FOREIGN_IDS)
        return self._last_position_id

    # --- events ---

    def subscribe(self, sink: EventSink) -> None:
        """Send every later event to ``sink``."""
        self._sinks.append(sink)

    def emit(self, event: UserEvent | MarketEvent) -> None:
        """Push ``event`` to each sink, in the order in which they subscribed."""
        for sink in self._sinks:
            sink(event)

    def emit_order(self, order: Order) -> None:
        """Push the present state of ``order``."""
        row = rows.hub_order(
            self.markets[order.contract_id],
            order,
            legs_keep_offset=self.config.legs_keep_offset,
        )
        self.emit(
            UserEvent(
                target="GatewayUserOrder", account_id=order.account_id, action=UPDATED, data=row
            )
        )

    def emit_trade(self, trade: Trade, *, action: int = ADDED) -> None:
        """Push ``trade``."""
        row = rows.hub_trade(self.markets[trade.contract_id], trade)
        self.emit(
            UserEvent(
                target="GatewayUserTrade", account_id=trade.account_id, action=action, data=row
            )
        )

    def emit_account(self, account: Account) -> None:
        """Push the present state of ``account``."""
        self.emit(
            UserEvent(
                target="GatewayUserAccount",
                account_id=account.spec.id,
                action=UPDATED,
                data=rows.account(account),
            )
        )

    # --- look-ups ---

    def holding(self, account_id: int, contract_id: str) -> Holding:
        """Return the net position record, a flat one where there was never any."""
        key = (account_id, contract_id)
        if key not in self.holdings:
            self.holdings[key] = Holding(account_id=account_id, contract_id=contract_id)
        return self.holdings[key]

    def live_orders(self, account_id: int, contract_id: str | None = None) -> list[Order]:
        """Return the orders of an account that can still fill, in order of acceptance."""
        live = (self.orders[order_id] for order_id in self.accounts[account_id].live_order_ids)
        return [order for order in live if contract_id in (None, order.contract_id)]

    def add_order(self, order: Order) -> None:
        """File a new order."""
        account = self.accounts[order.account_id]
        self.orders[order.id] = order
        account.order_ids.append(order.id)
        if order.is_live:
            account.live_order_ids[order.id] = None
        if order.tag is not None:
            account.tags.add(order.tag)

    def retire(self, order: Order) -> None:
        """Take an order that ended out of its queue and out of the live ones."""
        self.markets[order.contract_id].book.pop(order.id, None)
        self.accounts[order.account_id].live_order_ids.pop(order.id, None)


def _account(spec: AccountSpec) -> Account:
    return Account(
        spec=spec,
        balance_micros=micros(spec.starting_balance),
        can_trade=spec.can_trade,
        bracket_mode=spec.bracket_mode,
        tags=set(),
        order_ids=[],
        trade_ids=[],
        live_order_ids={},
    )


def _market(spec: ContractSpec, config: ExchangeConfig) -> Market:
    return Market(
        spec=spec,
        tick_size=spec.row.tick_size,
        tick_value_micros=micros(spec.row.tick_value),
        fee_micros=micros(spec.fee),
        commission_micros=micros(spec.commission),
        is_open=config.market_open,
        is_active=spec.row.active_contract,
        book={},
    )


def micros(dollars: Decimal) -> int:
    """Return dollars as integer micros; digits beyond the sixth are cut off."""
    return int(dollars * MICROS)
