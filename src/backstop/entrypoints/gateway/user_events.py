"""User-hub events for bots, made of what the guard knows: each thing once, and in one order.

The broker's own stream loses events, doubles them, and mixes up their order. The guard's book does
not: it takes each fact in whichever way it comes, pushed or read. So a bot hears what the book has
learnt, step by step: an order before its trades, those before the position that they lead to.

What a step brought is noted right after it, while the book stands exactly so, and leaves when the
step is on disk. A read of the book whose answer waits for the disk (``DecisionLoop.recorded``,
after the rows were taken) is therefore never followed by an event that is older than it.

Nothing is kept for a bot that is away: it subscribes anew and reads, as at the gateway itself.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from backstop.adapters.projectx.wire import OrderRow, PositionRow, WirePositionType
from backstop.adapters.projectx.wire_rows import account_row, position_row, trade_row
from backstop.adapters.projectx_server.venue import EventSink, UserEvent
from backstop.core.book import Book
from backstop.core.past import decoded_entry
from backstop.domain.broker import BrokerAccount, BrokerPosition, BrokerTrade
from backstop.domain.events import (
    AccountAudited,
    AccountReported,
    Fact,
    OrderLookedUp,
    OrderReported,
    PastRecalled,
    PlaceAnswered,
    PositionReported,
    Source,
    TradeReported,
)
from backstop.entrypoints.gateway.shown import shown_order
from backstop.entrypoints.gateway.user_events_rows import held_order, with_proven_fills

ADDED, UPDATED, REMOVED = 0, 1, 2
"""Actions as they were seen: with trades; with accounts, orders and positions; with closed ones."""

ORDERLESS_MAX = 1_000
"""Trades that wait for their order at once; one more goes without it. Its read is under way."""


class _ToldPosition(Struct, frozen=True, kw_only=True):
    """What bots were told of a position; without a row they were told nothing since the start."""

    quantity: int
    row: BrokerPosition | None = None


class UserEvents:
    """Turns the steps of the guard into events; follows its decision loop.

    The loop says ``stepped`` for every fact and ``released`` for what is on disk. ``on_gap`` is
    called when a fact could not be told: whoever listens has to read anew.
    """

    def __init__(self, book: Book) -> None:
        """Take all that the book holds for known to everybody: make it right after the replay."""
        self._book = book
        self.on_gap: Callable[[], None] = lambda: None
        self._sinks: list[EventSink] = []
        self._ready: deque[tuple[int, list[UserEvent]]] = deque()
        self._orders: dict[int, tuple[object, ...]] = {}  # what was told, by number
        self._trades: dict[int, BrokerTrade] = dict(book.trades)
        self._orderless: dict[int, int] = {}  # trades that wait for their order -> since when
        self._rows: dict[str, BrokerPosition] = {}  # the newest row of each contract
        self._positions = {
            view.contract_id: _ToldPosition(quantity=view.quantity)
            for view in book.positions.values()
        }
        self._account: BrokerAccount | None = book.account
        # A book that never read its account learns its past first: that is no news for anybody.
        knows_something = book.orders or book.venue_orders or book.trades or book.positions
        self._learns_the_past = not book.recovered and not knows_something
        for number in (*book.client_of_broker_id, *book.venue_orders):
            row = self._order_row(number)
            if row is not None:
                self._orders[number] = _essence(row)

    def subscribe(self, sink: EventSink) -> None:
        """Send every later event to ``sink``, in order."""
        self._sinks.append(sink)

    def is_held_back(self, trade_id: int) -> bool:
        """Say whether a trade that is known will be told together with its order, and not yet."""
        return trade_id in self._orderless

    def position_rows(self) -> list[PositionRow]:
        """Return the open positions as bots were told of them, or would have been."""
        return [
            position_row(told.row)
            for told in self._positions.values()
            if told.row is not None and told.quantity
        ]

    def net_positions(self) -> dict[str, int]:
        """Return the open positions that bots were told of, signed, by contract."""
        told = self._positions.items()
        return {contract_id: it.quantity for contract_id, it in told if it.quantity}

    # -- following the decision loop -------------------------------------------------------------

    def stepped(self, fact: Fact, number: int) -> None:
        """Note what the fact of step ``number`` changed, while the book stands as it left it."""
        try:
            events = list(self._events(fact))
        except Exception:
            self.on_gap()
            raise
        is_past = self._learns_the_past and isinstance(fact, AccountAudited | OrderLookedUp)
        if events and not is_past:
            self._ready.append((number, events))
        if isinstance(fact, AccountAudited) and _is_complete(fact):
            self._learns_the_past = False
        self._let_go()

    def released(self, number: int) -> None:
        """Send what the steps up to ``number`` brought: a sink that fails holds up no other.

        Raises:
            ExceptionGroup: what sinks raised, after everything was sent to all of them.
        """
        failures: list[Exception] = []
        while self._ready and self._ready[0][0] <= number:
            _, events = self._ready.popleft()
            for event in events:
                failures += self._sent(event)
        if failures:
            self.on_gap()
            raise ExceptionGroup("events did not reach everybody", failures)

    def _sent(self, event: UserEvent) -> Iterator[Exception]:
        """Send one event to all sinks; yields what those raised that fail."""
        for sink in self._sinks:
            try:
                sink(event)
            except Exception as error:  # noqa: BLE001 - told once the others have theirs
                yield error

    def _events(self, fact: Fact) -> Iterator[UserEvent]:
        match fact:
            case OrderReported():
                yield from self._news(orders=(fact.order.broker_order_id,))
            case PlaceAnswered() if fact.broker_order_id is not None:
                yield from self._news(orders=(fact.broker_order_id,))
            case TradeReported():
                yield from self._news(trades=(fact.trade,))
            case PositionReported() if self._is_ours(fact.position.account_id):
                self._rows[fact.position.contract_id] = fact.position
                yield from self._position(fact.position.contract_id)
            case AccountReported():
                yield from self._money(fact)
            case OrderLookedUp():
                orders = (row.broker_order_id for row in fact.orders)
                yield from self._news(orders=orders, trades=fact.trades)
            case AccountAudited():
                yield from self._audited(fact)
            case PastRecalled():
                self._were_told(fact)
            case _:
                return

    def _is_ours(self, account_id: int) -> bool:
        return account_id == self._book.policy.account_id

    def _news(
        self, *, orders: Iterable[int] = (), trades: Iterable[BrokerTrade] = ()
    ) -> Iterator[UserEvent]:
        """Yield what is new of these orders and trades, then of the positions they lead to."""
        waited: list[BrokerTrade] = []
        for number in dict.fromkeys(orders):
            yield from self._order(number)
            told = self._book.trades_of.get(number, ())
            waited += [self._book.trades[it] for it in told if it in self._orderless]
        told_now = sorted((*waited, *trades), key=lambda trade: trade.trade_id)
        for trade in told_now:
            yield from self._trade(trade.trade_id)
        for contract_id in dict.fromkeys(trade.contract_id for trade in told_now):
            yield from self._position(contract_id)

    def _audited(self, audit: AccountAudited) -> Iterator[UserEvent]:
        for row in audit.positions or ():
            view = self._book.positions.get(row.contract_id)
            # A read that is older than what was pushed since says nothing.
            if view is not None and self._is_ours(row.account_id):
                shown = (view.quantity, view.average_price)
                if shown == (row.quantity, row.average_price):
                    self._rows[row.contract_id] = row
        rows = (*(audit.orders or ()), *(audit.live_orders or ()))
        yield from self._news(
            orders=(row.broker_order_id for row in rows), trades=audit.trades or ()
        )
        if audit.orders is not None and audit.trades is not None:
            # A complete read that began later does not know their orders either: no use to wait.
            late = [it for it, since_ns in self._orderless.items() if since_ns < audit.sent_ns]
            for trade_id in late:
                yield from self._trade(trade_id, waits=False)
        for contract_id in list(self._book.positions):
            yield from self._position(contract_id)

    # -- orders ----------------------------------------------------------------------------------

    def _order(self, number: int) -> Iterator[UserEvent]:
        row = self._order_row(number)
        if row is None:
            return
        essence = _essence(row)
        if self._orders.get(number) == essence:
            return
        self._orders[number] = essence
        yield UserEvent(
            target="GatewayUserOrder", account_id=row.account_id, action=UPDATED, data=row
        )

    def _order_row(self, number: int) -> OrderRow | None:
        held = held_order(self._book, number)
        return (
            None if held is None else with_proven_fills(self._book, shown_order(self._book, held))
        )

    # -- trades ----------------------------------------------------------------------------------

    def _trade(self, trade_id: int, *, waits: bool = True) -> Iterator[UserEvent]:
        trade, told = self._book.trades.get(trade_id), self._trades.get(trade_id)
        if trade is None or (told is not None and _traded(told) == _traded(trade)):
            return
        yield from self._order(trade.broker_order_id)
        lacks_order = told is None and trade.broker_order_id not in self._orders
        if waits and lacks_order and self._has_room(trade_id):
            self._orderless.setdefault(trade_id, self._known_since_ns(trade))
            return
        self._orderless.pop(trade_id, None)
        self._trades[trade_id] = trade
        yield UserEvent(
            target="GatewayUserTrade",
            account_id=trade.account_id,
            action=ADDED if told is None else UPDATED,
            data=trade_row(trade),
        )

    def _has_room(self, trade_id: int) -> bool:
        return trade_id in self._orderless or len(self._orderless) < ORDERLESS_MAX

    def _known_since_ns(self, trade: BrokerTrade) -> int:
        """Return when the trade was known, at the latest: reads that were sent later show more."""
        view = self._book.positions.get(trade.contract_id)
        return 0 if view is None else view.evidence_ns

    # -- positions -------------------------------------------------------------------------------

    def _position(self, contract_id: str) -> Iterator[UserEvent]:
        """Yield what is new of a position, once its trades and its row say the same."""
        view = self._book.positions.get(contract_id)
        if view is None or not view.is_agreed or self._awaits_trades(contract_id):
            return
        if view.in_question:
            return  # nobody knows whether it is closed; what is read of the venue says what it says
        told = self._positions.get(contract_id, _ToldPosition(quantity=0))
        row = self._rows.get(contract_id)
        if view.quantity == 0:
            self._positions[contract_id] = _ToldPosition(quantity=0)
            if told.quantity and told.row is not None:
                yield _closed(told.row, by=row)
            return
        if row is None or row.quantity != view.quantity:
            return  # its row is on the way; the next read brings it otherwise
        self._positions[contract_id] = _ToldPosition(quantity=row.quantity, row=row)
        if told.row is None:
            if told.quantity == row.quantity:
                return  # as the process before this one left it
        elif _held(told.row) == _held(row):
            return
        elif told.quantity and told.row.position_id != row.position_id:
            yield _closed(told.row, by=None)
        yield _shown(row, UPDATED)

    def _awaits_trades(self, contract_id: str) -> bool:
        return any(
            (trade := self._book.trades.get(trade_id)) is not None
            and trade.contract_id == contract_id
            for trade_id in self._orderless
        )

    # -- the account -----------------------------------------------------------------------------

    def _money(self, fact: AccountReported) -> Iterator[UserEvent]:
        account = self._book.account
        if account is None or account == self._account or fact.account != account:
            return
        before, self._account = self._account, account
        if before is None and fact.source is Source.REST:
            return  # the greeting at the start
        yield UserEvent(
            target="GatewayUserAccount",
            account_id=account.account_id,
            action=UPDATED,
            data=account_row(account),
        )

    # -- what was told ---------------------------------------------------------------------------

    def _were_told(self, recalled: PastRecalled) -> None:
        """Take what the archive gave back for known: it left the book long after it was told."""
        for text in recalled.entries:
            past = decoded_entry(text)
            for trade in past.trades:
                self._trades.setdefault(trade.trade_id, trade)
            numbers = [held.row.broker_order_id for held in past.venue_orders]
            if past.order is not None and past.order.broker_order_id is not None:
                numbers.append(past.order.broker_order_id)
            for number in numbers:
                row = self._order_row(number)
                if row is not None:
                    self._orders.setdefault(number, _essence(row))

    def _let_go(self) -> None:
        """Forget what the book has forgotten, in batches: what comes back is told as known."""
        book = self._book
        if len(self._trades) > 2 * len(book.trades) + ORDERLESS_MAX:
            self._trades = {key: it for key, it in self._trades.items() if key in book.trades}
        if len(self._orders) > 2 * (len(book.orders) + len(book.venue_orders)) + ORDERLESS_MAX:
            self._orders = {
                number: essence
                for number, essence in self._orders.items()
                if number in book.client_of_broker_id or number in book.venue_orders
            }


def _is_complete(audit: AccountAudited) -> bool:
    return None not in {audit.orders, audit.live_orders, audit.trades, audit.positions}


def _essence(row: OrderRow) -> tuple[object, ...]:
    """Return what makes an order another one than before.

    Times and texts differ by the way it came, and so does the last digit of an average price.
    """
    return (
        row.status,
        row.size,
        row.fill_volume,
        row.limit_price,
        row.stop_price,
        row.custom_tag,
    )


def _traded(trade: BrokerTrade) -> tuple[object, ...]:
    """Return what makes a trade another one; that its costs are learnt later is no second trade."""
    return (
        trade.voided,
        trade.broker_order_id,
        trade.contract_id,
        trade.side,
        trade.quantity,
        trade.price,
    )


def _held(row: BrokerPosition) -> tuple[object, ...]:
    return (row.position_id, row.quantity, row.average_price)


def _shown(row: BrokerPosition, action: int) -> UserEvent:
    return UserEvent(
        target="GatewayUserPosition",
        account_id=row.account_id,
        action=action,
        data=position_row(row),
    )


def _closed(told: BrokerPosition, *, by: BrokerPosition | None) -> UserEvent:
    """Return the event that ends a position: with the row that said so, if there was one."""
    if by is not None and by.quantity == 0 and by.position_id == told.position_id:
        return _shown(by, REMOVED)
    row = replace(position_row(told), type=int(WirePositionType.UNDEFINED), size=0)
    return UserEvent(
        target="GatewayUserPosition", account_id=told.account_id, action=REMOVED, data=row
    )
