"""What one bot believes: made of what it has read, and of the events since, as clients do it."""

from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from backstop.adapters.projectx.wire import WirePositionType
from backstop.storm.truth import LIVE

Row = dict[str, Any]

TOLD_MAX: Final = 20_000
"""Events that are remembered; a dense hour has some hundred."""


class Fault(Struct, frozen=True, kw_only=True):
    """Something that a bot was told and must not have been."""

    rule: str
    text: str


class Picture:
    """Orders, trades and positions as one bot has them.

    Attributes:
        is_whole: it has read everything since it connected.
    """

    def __init__(self) -> None:
        self.is_whole = False
        self._orders: dict[int, Row] = {}
        self._trades: dict[int, Row] = {}
        self._positions: dict[str, int] = {}
        self._moved: set[str] = set()  # contracts whose position was pushed since it connected
        self._told: dict[tuple[Any, ...], None] = {}  # trades as they were told, over connections

    def begin(self) -> None:
        """Forget what was believed: a new connection begins, and what came meanwhile is unknown."""
        self.is_whole = False
        self._orders, self._trades, self._positions = {}, {}, {}
        self._moved = set()

    def read(self, orders: list[Row], trades: list[Row], positions: list[Row]) -> None:
        """Take what was read; events that came since the connection began are newer."""
        for row in orders:
            held = self._orders.get(row["id"])
            if held is None or not _is_older(row, held):
                self._orders[row["id"]] = row
        for row in trades:
            self._trades.setdefault(row["id"], row)
            self._remember(row)
        for row in positions:
            if row["contractId"] not in self._moved:
                self._positions[row["contractId"]] = _signed(row)
        self.is_whole = True

    def hear(self, target: str, row: Row) -> list[Fault]:
        """Take one event, and return what is wrong with it."""
        match target:
            case "GatewayUserOrder":
                return self._order(row)
            case "GatewayUserTrade":
                return self._trade(row)
            case "GatewayUserPosition":
                self._moved.add(row["contractId"])
                self._positions[row["contractId"]] = _signed(row)
                return []
            case _:
                return []  # of the account: its balance is no matter here

    def live_orders(self) -> set[int]:
        """Return the numbers of the orders that can still fill."""
        return {number for number, row in self._orders.items() if row["status"] in LIVE}

    def live_rows(self) -> list[Row]:
        """Return the orders that can still fill, oldest first."""
        return [row for _, row in sorted(self._orders.items()) if row["status"] in LIVE]

    def trades(self) -> set[int]:
        """Return the numbers of the trades that count."""
        return {number for number, row in self._trades.items() if not row.get("voided")}

    def positions(self) -> dict[str, int]:
        """Return what is held, signed, by contract."""
        return {contract_id: held for contract_id, held in self._positions.items() if held}

    def ids_by_tag(self) -> dict[str, set[int]]:
        """Return the numbers of the orders that each tag stands for."""
        found: dict[str, set[int]] = {}
        for number, row in self._orders.items():
            if row.get("customTag"):
                found.setdefault(row["customTag"], set()).add(number)
        return found

    def _order(self, row: Row) -> list[Fault]:
        held = self._orders.get(row["id"])
        self._orders[row["id"]] = row
        if held is not None and _essence(held) == _essence(row):
            return [Fault(rule="told once", text=f"order {row['id']} came again as it was")]
        return []

    def _trade(self, row: Row) -> list[Fault]:
        faults = []
        if _key(row) in self._told:
            faults.append(Fault(rule="told once", text=f"trade {row['id']} came again as it was"))
        if self.is_whole and row["orderId"] not in self._orders:
            text = f"trade {row['id']} came before its order {row['orderId']}"
            faults.append(Fault(rule="told in order", text=text))
        self._remember(row)
        self._trades[row["id"]] = row
        return faults

    def _remember(self, row: Row) -> None:
        self._told[_key(row)] = None
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]


def _key(row: Row) -> tuple[Any, ...]:
    return row["id"], bool(row.get("voided")), row["size"], Decimal(row["price"])


def _essence(row: Row) -> tuple[Any, ...]:
    """Return what makes an order another one than before."""
    names = ("status", "size", "fillVolume", "limitPrice", "stopPrice", "customTag")
    return tuple(row.get(name) for name in names)


def _is_older(row: Row, held: Row) -> bool:
    """Say whether a row that was read shows less than one that was pushed."""
    if (held["status"] in LIVE) != (row["status"] in LIVE):
        return row["status"] in LIVE
    return (row.get("fillVolume") or 0) <= (held.get("fillVolume") or 0)


def _signed(row: Row) -> int:
    size = int(row["size"])
    return -size if row["type"] == WirePositionType.SHORT else size
