"""The simulated exchange: the venue behind the local gateway.

Pure and seeded: it reads no clock and does no I/O. The owner says what time it is with
``advance`` before each call and asks ``next_event_us`` when something is due by itself, so it can
run on real time or on a virtual clock. The same config and the same calls give the same events.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Protocol, Self

from backstop.adapters.projectx.wire import (
    AccountRow,
    BarRow,
    BarsBody,
    ContractRow,
    ModifyBody,
    OrderRow,
    PlaceBody,
    PositionRow,
    QueryBody,
    TradeRow,
)
from backstop.adapters.projectx_server.venue import EventSink, MarketEvent, Outcome
from backstop.simulator import rows
from backstop.simulator.close_desk import CloseDesk
from backstop.simulator.codes import SearchCode
from backstop.simulator.exchange_config import BracketMode, ExchangeConfig
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.firm import Firm
from backstop.simulator.ledger import Ledger
from backstop.simulator.order_calls import OrderCalls
from backstop.simulator.order_desk import OrderDesk
from backstop.simulator.order_reads import OrderReads
from backstop.simulator.records import Account, Market
from backstop.simulator.truth import truth


class MarketHistory(Protocol):
    """What an exchange does not know by itself: bars, and what a new market subscriber gets."""

    def bars(self, body: BarsBody, now_us: int) -> tuple[int, list[BarRow]]:
        """Return (code, bars newest first) as of ``now_us``."""

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
        """Return what a new subscriber of ``target`` gets at once."""


class Exchange:
    """Accounts, markets and orders of one simulated firm; implements ``Venue``."""

    def __init__(self, config: ExchangeConfig, *, history: MarketHistory | None = None) -> None:
        self._config = config
        self._history = history
        self._state = ExchangeState(config)
        ledger = Ledger(self._state)
        self._desk = OrderDesk(self._state, ledger)
        self._firm = Firm(self._state, self._desk, ledger)
        self._reads = OrderReads(self._state)
        self._calls = OrderCalls(self._state, self._desk)
        self._closes = CloseDesk(self._state, self._desk)
        for spec in config.contracts:
            if spec.expiry_us is not None:
                self._state.agenda.plan(spec.expiry_us, partial(self.expire_contract, spec.row.id))

    # --- the owner's side: time, quotes, sessions ---

    @property
    def now_us(self) -> int:
        """The present, microseconds since 1970 UTC, as the owner last said."""
        return self._state.now_us

    def advance(self, now_us: int) -> None:
        """Move the clock to ``now_us`` and let everything happen that is due by then.

        Each thing happens at its own due time. An earlier ``now_us`` than the present is taken
        as the present: the exchange's time never goes back.
        """
        state = self._state
        while (due := state.agenda.pop_due(now_us)) is not None:
            due_us, action = due
            state.now_us = max(state.now_us, due_us)
            action()
        state.now_us = max(state.now_us, now_us)

    def next_event_us(self) -> int | None:
        """Return when the next thing happens by itself, None when nothing is planned."""
        return self._state.agenda.next_due_us()

    def on_quote(  # noqa: PLR0917 - called for each tick of a feed, in the order of its columns
        self,
        contract_id: str,
        bid: Decimal,
        ask: Decimal,
        bid_size: int,
        ask_size: int,
        last: Decimal | None = None,
        last_size: int = 0,
        last_side: int | None = None,
    ) -> None:
        """Take over a new top of the book and fill what it fills.

        Args:
            contract_id: a contract of the config.
            bid: best bid in points.
            ask: best offer in points.
            bid_size: contracts at the best bid.
            ask_size: contracts at the best offer.
            last: price of a trade that came with this quote; None: no trade, the last one stays.
            last_size: contracts of that trade.
            last_side: aggressor of that trade, 0 buy, 1 sell.
        """
        market = self._state.markets[contract_id]
        market.bid, market.ask = bid, ask
        market.bid_size = market.bid_left = bid_size
        market.ask_size = market.ask_left = ask_size
        market.bid_levels = market.ask_levels = 0
        if last is not None:
            market.last, market.last_size, market.last_side = last, last_size, last_side
            market.through_left = last_size
        if market.book:
            self._desk.look(market, with_trade=last is not None)

    def set_market_open(self, contract_id: str | None, is_open: bool) -> None:  # noqa: FBT001 - the state itself
        """Open or close one market, or all of them with None; expired months stay closed."""
        for market in self._markets(contract_id):
            market.is_open = is_open and market.is_active
            if market.book:
                self._desk.look(market, with_trade=False)

    def publish(self, event: MarketEvent) -> None:
        """Push a market event of the owner's feed to the same sinks as the user events."""
        self._state.emit(event)

    # --- the firm's side ---

    def liquidate_account(self, account_id: int, reason: str) -> list[int]:
        """Lock the account, cancel all its orders and close all its positions by market orders.

        Returns:
            The ids of the closing orders, which carry no tag.
        """
        return self._firm.liquidate(account_id, reason)

    def set_can_trade(self, account_id: int, can_trade: bool) -> None:  # noqa: FBT001 - the state itself
        """Lock an account or free it again."""
        self._firm.lock(account_id, can_trade=can_trade)

    def bust_trade(self, trade_id: int) -> None:
        """Void a trade and correct position, balance and the results of later trades."""
        self._firm.bust(trade_id)

    def overfill(self, order_id: int, size: int) -> None:
        """Fill ``size`` contracts of a filled order beyond what it asked for, at the touch."""
        self._firm.overfill(order_id, size)

    def expire_contract(self, contract_id: str) -> None:
        """End a contract month now: orders expire, positions settle at the last price."""
        self._firm.expire(contract_id)

    def place_manual(
        self,
        account_id: int,
        contract_id: str,
        *,
        type: int,  # noqa: A002 - the wire's name
        side: int,
        size: int,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trail_price: Decimal | None = None,
    ) -> Outcome:
        """Place an order as the firm's web page does: without a tag."""
        return self.place(
            PlaceBody(
                account_id=account_id,
                contract_id=contract_id,
                type=type,
                side=side,
                size=size,
                limit_price=limit_price,
                stop_price=stop_price,
                trail_price=trail_price,
            )
        )

    def set_bracket_mode(self, account_id: int, mode: BracketMode) -> bool:
        """Switch an account's bracket mode; refused (False) while it has positions or orders."""
        account = self._state.accounts[account_id]
        held = any(
            holding.quantity
            for (owner_id, _), holding in self._state.holdings.items()
            if owner_id == account_id
        )
        if held or account.live_order_ids:
            return False
        account.bracket_mode = mode
        return True

    def truth(self) -> dict[str, object]:
        """Return everything as it really is, JSON-able, for tests: no lag, nothing hidden."""
        return truth(self._state, liquidations=self._firm.liquidations)

    # --- Venue: reads ---

    def subscribe(self, sink: EventSink) -> None:
        """Send every later event to ``sink``, in order, as it happens."""
        self._state.subscribe(sink)

    def desk(self, user: str) -> Self:
        """Return the exchange itself: what one user may ask is looked at by ``owns``."""
        del user
        return self

    def accounts(self, user: str, *, only_active: bool) -> Sequence[AccountRow]:
        """Return the accounts of ``user``; user names do not tell upper from lower case.

        A locked account stays active: ``canTrade`` false is how its owner learns of it. All
        accounts of the simulator are active.
        """
        del only_active
        return [rows.account(account) for account in self._accounts_of(user)]

    def owns(self, user: str, account_id: int) -> bool:
        """Tell whether ``account_id`` exists and belongs to ``user``."""
        return any(account.spec.id == account_id for account in self._accounts_of(user))

    def contracts(self) -> Sequence[ContractRow]:
        """Return every contract, expired months included."""
        return [rows.contract(market) for market in self._state.markets.values()]

    def contract(self, contract_id: str) -> ContractRow | None:
        """Return one contract, also one that has expired."""
        market = self._state.markets.get(contract_id)
        return None if market is None else rows.contract(market)

    def bars(self, body: BarsBody) -> tuple[int, list[BarRow]]:
        """Return (code, bars newest first); without a history there are none."""
        if body.contract_id not in self._state.markets:
            return SearchCode.NOT_FOUND, []
        if self._history is None:
            return SearchCode.SUCCESS, []
        return self._history.bars(body, self._state.now_us)

    def orders(self, account_id: int, start_us: int, end_us: int | None) -> list[OrderRow]:
        """Return orders of any status created in the window, ascending by id."""
        return self._reads.orders(account_id, start_us, end_us)

    def open_orders(self, account_id: int) -> list[OrderRow]:
        """Return orders in status 1 only."""
        return self._reads.open_orders(account_id)

    def order(self, account_id: int, order_id: int) -> OrderRow | None:
        """Return one order."""
        return self._reads.order(account_id, order_id)

    def query_orders(self, body: QueryBody) -> tuple[list[OrderRow], int]:
        """Return (page of at most 100 rows, total count) of the filtered orders.

        Raises:
            ValueError: a time in the filter is not ISO-8601.
        """
        return self._reads.query(body)

    def positions(self, account_id: int) -> list[PositionRow]:
        """Return open positions; a flat contract has no row."""
        return self._reads.positions(account_id)

    def trades(self, account_id: int, start_us: int | None, end_us: int | None) -> list[TradeRow]:
        """Return half-turn trades in the window, newest first."""
        return self._reads.trades(account_id, start_us, end_us)

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
        """Return what a new subscriber gets at once; without a history nothing."""
        if self._history is None:
            return []
        return self._history.market_snapshot(target, contract_id)

    # --- Venue: acts ---

    def place(self, body: PlaceBody) -> Outcome:
        """Accept or reject one order; rejected orders are stored and get an id as well."""
        return self._calls.place(body)

    def modify(self, body: ModifyBody) -> Outcome:
        """Change a working order."""
        return self._calls.modify(body)

    def cancel(self, account_id: int, order_id: int) -> Outcome:
        """Cancel a working or suspended order; success means accepted, a fill may come first."""
        return self._calls.cancel(account_id, order_id)

    def close_position(self, account_id: int, contract_id: str) -> Outcome:
        """Close a position by a market order without tag."""
        return self._closes.close(account_id, contract_id)

    def partial_close(self, account_id: int, contract_id: str, size: int) -> Outcome:
        """Close part of a position by a market order without tag."""
        return self._closes.partial_close(account_id, contract_id, size)

    # --- helpers ---

    def _markets(self, contract_id: str | None) -> list[Market]:
        if contract_id is None:
            return list(self._state.markets.values())
        return [self._state.markets[contract_id]]

    def _accounts_of(self, user: str) -> list[Account]:
        name = user.casefold()
        return [
            account
            for account in self._state.accounts.values()
            if account.spec.user.casefold() == name
        ]
