"""What stands behind the ProjectX surface: the port that the REST and hub servers call.

The simulator's exchange is one venue, the protective gateway's guard another. The exchange answers
at once; the guard has to wait for its record and for the broker, so every answer may be awaited.
All times are microseconds since 1970 UTC. Result codes are the per-endpoint numbers of the API.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar, cast

from msgspec import Raw, Struct

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

_T = TypeVar("_T")

Answer: TypeAlias = _T | Awaitable[_T]
"""What a venue answers: the thing itself, or something to wait for."""


async def settled(answer: Answer[_T]) -> _T:
    """Return what a venue answers; one that answers at once is not waited for."""
    if inspect.isawaitable(answer):
        return await cast("Awaitable[_T]", answer)
    return answer


class VenueBusyError(Exception):
    """The venue takes no such call now: it is answered 429, and nothing was done."""

    def __init__(self, retry_after_s: int | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("no call to spare")


class VenueSilentError(Exception):
    """The venue cannot be asked now: it is answered 503, and nothing was done."""


class Outcome(Struct, frozen=True, kw_only=True):
    """Answer of a call that changes something: ``code`` 0 is success."""

    code: int = 0
    message: str | None = None
    order_id: int | None = None  # only for place; set also when the order was rejected


class UserEvent(Struct, frozen=True, kw_only=True):
    """One push on the user hub: ``{"action": action, "data": data}`` to the account's group."""

    target: str  # GatewayUserOrder | GatewayUserTrade | GatewayUserPosition | GatewayUserAccount
    account_id: int
    action: int
    data: OrderRow | TradeRow | PositionRow | AccountRow


class MarketEvent(Struct, frozen=True, kw_only=True):
    """One push on the market hub: arguments ``(contract_id, data)`` to the contract's group."""

    target: str  # GatewayQuote | GatewayTrade | GatewayDepth
    contract_id: str
    data: object  # JSON-able: a sparse dict for quotes, a list of dicts for trades and depth


EventSink = Callable[[UserEvent | MarketEvent], None]


class Desk(Protocol):
    """What one user may ask of a venue; an account that is named is one that the user owns."""

    def contracts(self) -> Answer[Sequence[ContractRow]]:
        """Return every contract that is listed, expired months perhaps among them."""

    def contract(self, contract_id: str) -> Answer[ContractRow | None]:
        """Return one contract, also one that has expired."""

    def bars(self, body: BarsBody) -> Answer[tuple[int, Sequence[BarRow] | Raw]]:
        """Return (code, bars newest first); bars that came as JSON text may stay so."""

    def place(self, body: PlaceBody) -> Answer[Outcome]:
        """Accept or reject one order."""

    def modify(self, body: ModifyBody) -> Answer[Outcome]:
        """Change a working order."""

    def cancel(self, account_id: int, order_id: int) -> Answer[Outcome]:
        """Cancel a working or suspended order."""

    def orders(
        self, account_id: int, start_us: int, end_us: int | None
    ) -> Answer[Sequence[OrderRow]]:
        """Return orders of any status created in the window, ascending by id."""

    def open_orders(self, account_id: int) -> Answer[Sequence[OrderRow]]:
        """Return orders in status 1 only."""

    def order(self, account_id: int, order_id: int) -> Answer[OrderRow | None]:
        """Return one order."""

    def query_orders(self, body: QueryBody) -> Answer[tuple[Sequence[OrderRow], int]]:
        """Return (page of at most 100 rows, total count) of the filtered orders."""

    def positions(self, account_id: int) -> Answer[Sequence[PositionRow]]:
        """Return open positions; a flat contract has no row."""

    def close_position(self, account_id: int, contract_id: str) -> Answer[Outcome]:
        """Close a position by a market order without tag."""

    def partial_close(self, account_id: int, contract_id: str, size: int) -> Answer[Outcome]:
        """Close part of a position by a market order without tag."""

    def trades(
        self, account_id: int, start_us: int | None, end_us: int | None
    ) -> Answer[Sequence[TradeRow]]:
        """Return half-turn trades in the window, newest first."""


class Venue(Protocol):
    """The backend of a ProjectX surface; events go to the sink."""

    def subscribe(self, sink: EventSink) -> None:
        """Send every later event to ``sink``, in order, as it happens."""

    def desk(self, user: str) -> Desk:
        """Return where ``user``, who is logged in, asks."""

    def accounts(self, user: str, *, only_active: bool) -> Sequence[AccountRow]:
        """Return the accounts of ``user``; never awaited, for hubs ask too."""

    def owns(self, user: str, account_id: int) -> bool:
        """Tell whether ``account_id`` exists and belongs to ``user``."""

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
        """Return what a new subscriber of ``target`` gets at once (depth: reset and levels)."""
