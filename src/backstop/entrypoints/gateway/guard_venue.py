"""The guard as the venue behind a ProjectX surface: what each bot asks, and who answers it.

Orders and closes go through the guard. Reads come from what the guard knows where it knows all of
it for certain, else from the broker. What is true of the account is shown to every bot of it.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Raw
from msgspec.structs import replace

from backstop.adapters.projectx.wire import (
    AccountRow,
    BarsBody,
    ContractRow,
    ModifyBody,
    OrderRow,
    PlaceBody,
    PositionRow,
    QueryBody,
    TradeRow,
    WireOrderStatus,
)
from backstop.adapters.projectx.wire_rows import account_row
from backstop.adapters.projectx_server.venue import (
    EventSink,
    MarketEvent,
    Outcome,
    VenueSilentError,
)
from backstop.core.book import Book
from backstop.domain.bot import BotLimits
from backstop.domain.order import TAG_PREFIX, OrderState
from backstop.entrypoints.gateway.bot_closes import BotCloses, CloseGuard
from backstop.entrypoints.gateway.bot_logins import BotLogins
from backstop.entrypoints.gateway.bot_orders import BotOrders, OrderGuard
from backstop.entrypoints.gateway.shown import past_tag, shown_order, shown_tag
from backstop.entrypoints.gateway.user_events_reads import ToldReads
from backstop.entrypoints.gateway.venue_answers import VenueAnswers
from backstop.errors import JournalError


class Guarding(OrderGuard, CloseGuard, Protocol):
    """What the venue needs of a guard; ``CriticalSystemManager`` is one."""


_NOTHING = BotLimits(quantity_max=0, orders_max=0, entries_per_second_max=0)
"""What a bot may enter that was removed while it asked."""

_NOBODY_KNOWS = frozenset({OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN})


class Events(Protocol):
    """What the guard's steps bring to bots."""

    def subscribe(self, sink: EventSink) -> None:
        """Send every later event to ``sink``, in order."""

    def position_rows(self) -> list[PositionRow]:
        """Return the open positions as bots were told of them."""


class GuardVenue:
    """One guarded account, for every bot that has credentials."""

    def __init__(
        self,
        guard: Guarding,
        *,
        logins: BotLogins,
        reads: ToldReads,
        answers: VenueAnswers,
        events: Events,
    ) -> None:
        """Answer for ``guard``; market data goes past here, from the broker's hub to ours."""
        self._guard = guard
        self._logins = logins
        self._reads = reads
        self._answers = answers
        self._events = events

    def subscribe(self, sink: EventSink) -> None:
        """Send every later event to ``sink``."""
        self._events.subscribe(sink)

    def desk(self, user: str) -> "BotDesk":
        """Return where the bot ``user`` asks."""
        orders = BotOrders(
            self._guard,
            user,
            self._logins.limits(user) or _NOTHING,
            answers=self._answers,
        )
        return BotDesk(
            self._guard,
            orders=orders,
            closes=BotCloses(self._guard, user, answers=self._answers),
            reads=self._reads,
            events=self._events,
        )

    def accounts(self, user: str, *, only_active: bool) -> Sequence[AccountRow]:
        """Return the guarded account, the only one that there is for bots."""
        del user, only_active
        account = self._guard.book.account
        return [] if account is None else [account_row(account)]

    def owns(self, user: str, account_id: int) -> bool:
        """Tell whether ``account_id`` is the guarded account."""
        del user
        return account_id == self._guard.book.policy.account_id

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
        """Return nothing: the broker's own snapshot is passed on."""
        del target, contract_id
        return []


class BotDesk:
    """What one bot asks of the guarded account."""

    def __init__(
        self,
        guard: OrderGuard,
        *,
        orders: BotOrders,
        closes: BotCloses,
        reads: ToldReads,
        events: Events,
    ) -> None:
        self._guard = guard
        self._orders = orders
        self._closes = closes
        self._reads = reads
        self._events = events

    # -- changes ---------------------------------------------------------------------------------

    async def place(self, body: PlaceBody) -> Outcome:
        """Have the guard judge and send one order."""
        return await self._orders.place(body)

    async def modify(self, body: ModifyBody) -> Outcome:
        """Change an order of the bot."""
        return await self._orders.modify(body)

    async def cancel(self, account_id: int, order_id: int) -> Outcome:
        """Cancel an order of the bot."""
        del account_id
        return await self._orders.cancel(order_id)

    async def close_position(self, account_id: int, contract_id: str) -> Outcome:
        """Close a position, whoever opened it."""
        del account_id
        return await self._closes.close(contract_id)

    async def partial_close(self, account_id: int, contract_id: str, size: int) -> Outcome:
        """Close part of a position."""
        del account_id
        return await self._closes.partial_close(contract_id, size)

    # -- reads -----------------------------------------------------------------------------------

    async def contracts(self) -> Sequence[ContractRow]:
        """Return the contracts that the gateway lists."""
        return await self._reads.contracts()

    async def contract(self, contract_id: str) -> ContractRow | None:
        """Return one contract, also one that has expired."""
        return await self._reads.contract(contract_id)

    async def bars(self, body: BarsBody) -> tuple[int, Raw]:
        """Return (code, bars newest first)."""
        return await self._reads.bars(body)

    async def open_orders(self, account_id: int) -> Sequence[OrderRow]:
        """Return orders in status 1: from the guard while it knows every order."""
        book = self._guard.book
        if not _knows_all(book, self._guard.now_ns()):
            return await self._named(await self._reads.open_orders(account_id))
        rows = [shown_order(book, row) for row in book.working_rows()]
        await self._reads.told()
        is_open = [row for row in rows if row.status == WireOrderStatus.OPEN]
        return sorted(is_open, key=lambda row: row.id)

    async def positions(self, account_id: int) -> Sequence[PositionRow]:
        """Return open positions: from the guard while each of them is certain."""
        book = self._guard.book
        rows = self._events.position_rows()
        held = {
            view.contract_id: abs(view.quantity)
            for view in book.positions.values()
            if view.quantity or not view.is_settled
        }
        settled = all(view.is_settled for view in book.positions.values())
        if (
            settled
            and _knows_all(book, self._guard.now_ns())
            and {row.contract_id: row.size for row in rows} == held
        ):
            await self._reads.told()
            return rows
        return await self._reads.positions(account_id)

    async def orders(
        self, account_id: int, start_us: int, end_us: int | None
    ) -> Sequence[OrderRow]:
        """Return orders of any status created in the window."""
        return await self._named(await self._reads.orders(account_id, start_us, end_us))

    async def order(self, account_id: int, order_id: int) -> OrderRow | None:
        """Return one order."""
        row = await self._reads.order(account_id, order_id)
        return None if row is None else (await self._named([row]))[0]

    async def query_orders(self, body: QueryBody) -> tuple[Sequence[OrderRow], int]:
        """Return (page of orders, total count)."""
        rows, total = await self._reads.query_orders(body)
        return await self._named(rows), total

    async def trades(
        self, account_id: int, start_us: int | None, end_us: int | None
    ) -> Sequence[TradeRow]:
        """Return trades in the window."""
        return await self._reads.trades(account_id, start_us, end_us)

    async def _named(self, rows: Sequence[OrderRow]) -> list[OrderRow]:
        """Return the broker's rows under the tags that their senders gave."""
        return [_with_tag(row, await self._tag(row)) for row in rows]

    async def _tag(self, row: OrderRow) -> str | None:
        tag = shown_tag(self._guard.book, row.custom_tag)
        if tag is None or tag != row.custom_tag or not tag.startswith(TAG_PREFIX):
            return tag
        # An order that the book has let go of: the archive knows it by its number.
        try:
            order = await self._guard.order_records.named(str(row.id))
        except JournalError as error:
            raise VenueSilentError from error
        if order is None or order.custom_tag != tag:
            return tag
        return past_tag(order.client_order_id, tag, own=order.role is not None)


def _with_tag(row: OrderRow, tag: str | None) -> OrderRow:
    # A copy: the row itself is shared with whoever else asked.
    return replace(row, custom_tag=tag)


def _knows_all(book: Book, now_ns: int) -> bool:
    """Say whether the guard knows every order of the account now, as far as anybody can."""
    sound = book.recovered and book.links.user_up and book.account_stale_ns(now_ns) is None
    read = book.audit.complete_sent_ns >= book.links.user_since_ns
    return sound and read and not any(it.state in _NOBODY_KNOWS for it in book.live_orders())
