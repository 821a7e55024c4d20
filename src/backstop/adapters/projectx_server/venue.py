"""What stands behind the ProjectX surface: the port that the REST and hub servers call.

The simulator's exchange is one venue; the protective gateway will be another. All times are
microseconds since 1970 UTC. Result codes are the per-endpoint numbers of the API.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

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


class Venue(Protocol):
    """The backend of a ProjectX surface. Calls are synchronous and quick; events go to the sink."""

    def subscribe(self, sink: EventSink) -> None:
        """Send every later event to ``sink``, in order, as it happens."""

    def accounts(self, user: str, *, only_active: bool) -> Sequence[AccountRow]:
        """Return the accounts of ``user``."""

    def owns(self, user: str, account_id: int) -> bool:
        """Tell whether ``account_id`` exists and belongs to ``user``."""

    def contracts(self) -> Sequence[ContractRow]:
        """Return every contract, expired months included."""

    def bars(self, body: BarsBody) -> tuple[int, list[BarRow]]:
        """Return (code, bars newest first)."""

    def place(self, body: PlaceBody) -> Outcome:
        """Accept or reject one order; rejected orders are stored and get an id as well."""

    def modify(self, body: ModifyBody) -> Outcome:
        """Change a working order."""

    def cancel(self, account_id: int, order_id: int) -> Outcome:
        """Cancel a working or suspended order."""

    def orders(self, account_id: int, start_us: int, end_us: int | None) -> list[OrderRow]:
        """Return orders of any status created in the window, ascending by id."""

    def open_orders(self, account_id: int) -> list[OrderRow]:
        """Return orders in status 1 only."""

    def order(self, account_id: int, order_id: int) -> OrderRow | None:
        """Return one order."""

    def query_orders(self, body: QueryBody) -> tuple[list[OrderRow], int]:
        """Return (page of at most 100 rows, total count) of the filtered orders."""

    def positions(self, account_id: int) -> list[PositionRow]:
        """Return open positions; a flat contract has no row."""

    def close_position(self, account_id: int, contract_id: str) -> Outcome:
        """Close a position by a market order without tag."""

    def partial_close(self, account_id: int, contract_id: str, size: int) -> Outcome:
        """Close part of a position by a market order without tag."""

    def trades(self, account_id: int, start_us: int | None, end_us: int | None) -> list[TradeRow]:
        """Return half-turn trades in the window, newest first."""

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
        """Return what a new subscriber of ``target`` gets at once (depth: reset and levels)."""
