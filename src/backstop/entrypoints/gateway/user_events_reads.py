"""What a bot reads never runs ahead of what it is told: the guard learns from the read first.

The broker's answer may show a fill whose message to the guard is still on its way, or was lost. A
bot that has read of it would then hear the steps that led there, as if they came after. So what an
answer shows and the book does not know becomes a fact like any other, and the answer waits until
that is on disk: by then its events have left.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

from backstop.adapters.projectx import translate
from backstop.adapters.projectx.wire import (
    OrderRow,
    PositionRow,
    QueryBody,
    TradeRow,
    WirePositionType,
)
from backstop.adapters.projectx_server.json_rows import encode, rest_row
from backstop.app.loop import DecisionLoop
from backstop.core.book import Book
from backstop.core.known_rows import row_is_known
from backstop.core.positions import SNAPSHOT_LAG_NS
from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.domain.events import Fact, OrderReported, Source, TradeReported
from backstop.entrypoints.gateway.held_rows import (
    completed,
    is_within,
    orders_held,
    orders_proven,
    trades_held,
    trades_proven,
)
from backstop.entrypoints.gateway.upstream_reads import Upstream, UpstreamReads
from backstop.entrypoints.gateway.user_events import UserEvents
from backstop.entrypoints.gateway.user_events_rows import held_order
from backstop.errors import GatewayAnswerError
from backstop.ports import Clock

LEARNT_MAX: Final = 200
"""Rows of one answer that become facts; more are history, and on no way to the guard."""

POSITIONS_WAIT_S: Final = 1.0
"""How long an answer waits for the guard to agree on positions. A snapshot proves nothing by
itself, so it is not learnt from; the messages that explain it take milliseconds."""

UNREAD_US: Final = 300_000_000
"""How far back something can be news for a guard that has read nothing of the account yet."""

MARGIN_US: Final = 60_000_000
"""How far before the end of what the guard has read: messages and reads overtake each other."""

_LOOK_S: Final = 0.01


class LearningReads:
    """Holds answers back until the guard knows what they say."""

    def __init__(self, loop: DecisionLoop, events: UserEvents, *, clock: Clock) -> None:
        """Teach the guard of ``loop``; ``events`` follow it."""
        self._loop = loop
        self._events = events
        self._clock = clock
        self._newest_listed: BrokerTrade | None = None

    def proven_orders(self, start_us: int, end_us: int | None) -> frozenset[int]:
        """Return numbers of orders that a sound list of the window shows, however it lags."""
        proven = orders_proven(self._loop.book, start_us, self._settled(end_us))
        return frozenset(number for number, _ in proven)

    def proven_trades(self, start_us: int | None, end_us: int | None) -> frozenset[int]:
        """Return numbers of trades that a sound list of the window shows, however it lags."""
        end_us = self._settled(end_us)
        proven = trades_proven(self._loop.book, start_us, end_us)
        held = frozenset(number for number, _ in proven)
        newest = self._newest_listed  # a book without positions may have let go of every trade
        if newest is None or not is_within(newest.created_utc_us, start_us, end_us):
            return held
        return held | {newest.trade_id}

    def proven_positions(self) -> frozenset[str]:
        """Return contracts of which a sound list of positions shows one, however it lags."""
        until_ns = self._clock.monotonic_ns() - SNAPSHOT_LAG_NS
        return frozenset(
            view.contract_id
            for view in self._loop.book.positions.values()
            if view.quantity and view.is_settled and view.evidence_ns <= until_ns
        )

    async def orders(
        self,
        rows: Sequence[OrderRow],
        *,
        held: Callable[[Book, AbstractSet[int]], Mapping[int, OrderRow]] = lambda _book, _shown: {},
    ) -> Sequence[OrderRow]:
        """Return ``rows``, which the broker has answered, when their events have left.

        With them what is ``held`` of the same window, where the broker's list lags behind.
        """
        whole = completed(rows, held(self._loop.book, _numbers(rows)), newest_first=False)
        await self._learn(self._unknown_orders(rows))
        return whole

    async def trades(
        self,
        rows: Sequence[TradeRow],
        *,
        held: Callable[[Book, AbstractSet[int]], Mapping[int, TradeRow]] = lambda _book, _shown: {},
    ) -> Sequence[TradeRow]:
        """Return ``rows`` when their events have left, with what is ``held`` likewise.

        A trade whose order nobody has heard of is left out: its event comes with that order.
        """
        self._remember(rows)
        whole = completed(rows, held(self._loop.book, _numbers(rows)), newest_first=True)
        await self._learn(self._unknown_trades(rows))
        return [row for row in whole if not self._events.is_held_back(row.id)]

    async def positions(self, rows: Sequence[PositionRow]) -> Sequence[PositionRow]:
        """Return ``rows`` when bots were told of these positions, or could not be in time."""
        read = {row.contract_id: _signed(row) for row in rows}
        with suppress(TimeoutError):
            async with asyncio.timeout(POSITIONS_WAIT_S):
                while self._events.net_positions() != read:  # noqa: ASYNC110 - it changes in steps
                    await asyncio.sleep(_LOOK_S)
        await self._loop.recorded()
        return rows

    async def told(self) -> None:
        """Return when what the book shows now is on disk and its events have left."""
        await self._loop.recorded()

    async def _learn(self, facts: Iterable[Fact]) -> None:
        # Put, not asked: what nobody waits for is held while it cannot be judged, and all of it
        # shares a commit. What the disk does not take is told all the same, once it was handled.
        news = list(facts)[-LEARNT_MAX:]
        for fact in news:
            self._loop.put(fact)
        if news:
            await self._loop.caught_up()
        await self._loop.recorded()

    def _unknown_orders(self, rows: Sequence[OrderRow]) -> Iterable[Fact]:
        book, since_us = self._loop.book, self._since_us()
        for row in sorted(rows, key=lambda row: row.id):
            held = held_order(book, row.id)
            if held is None and row.id <= (book.forgotten_order_id or 0):
                continue
            told = self._translated(row)
            if told is None or row_is_known(held, told):
                continue
            if held is None and not told.status.is_live and told.created_utc_us < since_us:
                continue  # history: the guard has read past it, and had no need of it
            yield OrderReported(utc_us=self._clock.utc_us(), order=told, source=Source.REST)

    def _unknown_trades(self, rows: Sequence[TradeRow]) -> Iterable[Fact]:
        book, since_us = self._loop.book, self._since_us()
        for row in sorted(rows, key=lambda row: row.id):
            held = book.trades.get(row.id)
            if held is None and row.id <= (book.forgotten_trade_id or 0):
                continue
            if held is not None and (held.voided or not row.voided):
                continue
            with suppress(GatewayAnswerError):
                trade = translate.broker_trade(encode(rest_row(row)))
                # That a trade was taken back is news at any age, as long as it counts here.
                if held is not None or trade.created_utc_us >= since_us:
                    utc_us = self._clock.utc_us()
                    yield TradeReported(utc_us=utc_us, trade=trade, source=Source.REST)

    def _remember(self, rows: Sequence[TradeRow]) -> None:
        row = max(rows, key=lambda row: row.id, default=None)
        known = self._newest_listed
        if row is not None and (known is None or row.id > known.trade_id):
            with suppress(GatewayAnswerError):
                self._newest_listed = translate.broker_trade(encode(rest_row(row)))

    def _settled(self, end_us: int | None) -> int:
        """Return the end of the part of a window in which the guard can miss nothing any more."""
        since_us = self._since_us()
        return since_us if end_us is None else min(end_us, since_us)

    def _since_us(self) -> int:
        """Return the venue's time since when something may have happened that the guard missed."""
        read_to_us = self._loop.book.audit.cursor_utc_us
        return (read_to_us or self._clock.utc_us() - UNREAD_US) - MARGIN_US

    def _translated(self, row: OrderRow) -> BrokerOrder | None:
        try:
            return translate.broker_order(encode(rest_row(row)))
        except GatewayAnswerError:
            return None  # no row that the guard could believe; the bot may make of it what it can


class ToldReads(UpstreamReads):
    """The broker's answers about the account, once bots were told of what is in them."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        learning: "LearningReads",
        clock: Clock,
        known: Callable[[], int],
    ) -> None:
        """Ask ``upstream`` as UpstreamReads does; ``learning`` holds the answers back."""
        super().__init__(upstream, proven=learning, clock=clock, known=known)
        self._learning = learning

    async def told(self) -> None:
        """Return when what the guard knows now is on disk and its events have left."""
        await self._learning.told()

    async def orders(
        self, account_id: int, start_us: int, end_us: int | None
    ) -> Sequence[OrderRow]:
        """Return orders of any status in the window."""
        return await self._learning.orders(
            await super().orders(account_id, start_us, end_us),
            held=lambda book, shown: orders_held(book, start_us, end_us, shown=shown),
        )

    async def open_orders(self, account_id: int) -> Sequence[OrderRow]:
        """Return orders in status 1."""
        return await self._learning.orders(await super().open_orders(account_id))

    async def order(self, account_id: int, order_id: int) -> OrderRow | None:
        """Return one order."""
        row = await super().order(account_id, order_id)
        await self._learning.orders(() if row is None else (row,))
        return row

    async def query_orders(self, body: QueryBody) -> tuple[Sequence[OrderRow], int]:
        """Return a page of orders, and how many there are in all."""
        rows, total = await super().query_orders(body)
        return await self._learning.orders(rows), total

    async def positions(self, account_id: int) -> Sequence[PositionRow]:
        """Return open positions."""
        return await self._learning.positions(await super().positions(account_id))

    async def trades(
        self, account_id: int, start_us: int | None, end_us: int | None
    ) -> Sequence[TradeRow]:
        """Return trades in the window."""
        return await self._learning.trades(
            await super().trades(account_id, start_us, end_us),
            held=lambda book, shown: trades_held(book, start_us, end_us, shown=shown),
        )


def _numbers(rows: Iterable[OrderRow | TradeRow]) -> frozenset[int]:
    return frozenset(row.id for row in rows)


def _signed(row: PositionRow) -> int:
    return -row.size if row.type == WirePositionType.SHORT else row.size
