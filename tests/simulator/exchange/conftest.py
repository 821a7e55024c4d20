"""One account, three contracts and a recorder of events around a real exchange."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from backstop.adapters.projectx.wire import Bracket, ContractRow, OrderRow, PlaceBody
from backstop.adapters.projectx_server.venue import MarketEvent, Outcome, UserEvent
from backstop.simulator.exchange import Exchange
from backstop.simulator.exchange_config import AccountSpec, ContractSpec, ExchangeConfig

ACCOUNT = 31004502
OTHER_ACCOUNT = 31004503
USER = "Trader77"
MNQ = "CON.F.US.MNQ.Z26"
NQ = "CON.F.US.ENQ.Z26"
OLD_MNQ = "CON.F.US.MNQ.U26"
START_US = 1_790_950_265_156_730

LIMIT, MARKET, STOP_LIMIT, STOP, TRAIL, JOIN_BID, JOIN_ASK = 1, 2, 3, 4, 5, 6, 7
BUY, SELL = 0, 1


def contract(contract_id: str, name: str, tick_value: str, *, active: bool = True) -> ContractRow:
    return ContractRow(
        id=contract_id,
        name=name,
        description=name,
        tick_size=Decimal("0.25"),
        tick_value=Decimal(tick_value),
        active_contract=active,
        symbol_id="F.US." + contract_id.split(".")[3],
    )


def default_config(**switches: Any) -> ExchangeConfig:
    """Return a config with two accounts of one user; ``switches`` override anything."""
    settings: dict[str, Any] = {
        "seed": 7,
        "start_us": START_US,
        "accounts": (
            AccountSpec(
                id=ACCOUNT,
                name="PRAC-V2-1-1",
                user=USER,
                starting_balance=Decimal(50000),
            ),
            AccountSpec(
                id=OTHER_ACCOUNT,
                name="PRAC-V2-1-2",
                user=USER,
                starting_balance=Decimal(50000),
            ),
        ),
        "contracts": (
            ContractSpec(row=contract(MNQ, "MNQZ6", "0.5")),
            ContractSpec(row=contract(NQ, "NQZ6", "5"), fee=Decimal("1.40")),
            ContractSpec(row=contract(OLD_MNQ, "MNQU6", "0.5", active=False)),
        ),
    }
    return ExchangeConfig(**(settings | switches))


class World:
    """An exchange, its owner's clock, and everything it pushed."""

    def __init__(self, config: ExchangeConfig) -> None:
        self.exchange = Exchange(config)
        self.events: list[UserEvent] = []
        self.times_us: list[int] = []
        self.exchange.subscribe(self._record)

    def _record(self, event: UserEvent | MarketEvent) -> None:
        assert isinstance(event, UserEvent)
        self.events.append(event)
        self.times_us.append(self.exchange.now_us)

    def quote(
        self,
        bid: str,
        ask: str | None = None,
        *,
        last: str | None = None,
        size: int = 100,
        last_size: int = 100,
        contract_id: str = MNQ,
    ) -> None:
        """Quote the market; the ask defaults to one tick above the bid, the last to the bid."""
        bid_price = Decimal(bid)
        ask_price = bid_price + Decimal("0.25") if ask is None else Decimal(ask)
        last_price = bid_price if last is None else Decimal(last)
        self.exchange.on_quote(
            contract_id, bid_price, ask_price, size, size, last_price, last_size, 0
        )

    def place(
        self,
        type: int,  # noqa: A002 - the wire's name
        side: int,
        size: int = 1,
        *,
        limit: str | None = None,
        stop: str | None = None,
        trail: str | None = None,
        tag: str | None = None,
        sl: int | None = None,
        sl_type: int = STOP,
        tp: int | None = None,
        tp_type: int = LIMIT,
        account: int = ACCOUNT,
        contract_id: str = MNQ,
    ) -> Outcome:
        return self.exchange.place(
            PlaceBody(
                account_id=account,
                contract_id=contract_id,
                type=type,
                side=side,
                size=size,
                limit_price=None if limit is None else Decimal(limit),
                stop_price=None if stop is None else Decimal(stop),
                trail_price=None if trail is None else Decimal(trail),
                custom_tag=tag,
                stop_loss_bracket=None if sl is None else Bracket(ticks=sl, type=sl_type),
                take_profit_bracket=None if tp is None else Bracket(ticks=tp, type=tp_type),
            )
        )

    def accepted(self, type: int, side: int, size: int = 1, **rest: Any) -> int:  # noqa: A002 - the wire's name
        """Place an order that must be accepted and return its id."""
        outcome = self.place(type, side, size, **rest)
        assert outcome.code == 0, outcome
        assert outcome.order_id is not None
        return outcome.order_id

    def settle(self) -> None:
        """Let everything happen that is planned."""
        while (due_us := self.exchange.next_event_us()) is not None:
            self.exchange.advance(due_us)

    def wait(self, duration_us: int) -> None:
        self.exchange.advance(self.exchange.now_us + duration_us)

    def row(self, order_id: int, *, account: int = ACCOUNT) -> OrderRow:
        row = self.exchange.order(account, order_id)
        assert row is not None
        return row

    def legs(self, entry_id: int) -> tuple[OrderRow, OrderRow]:
        """Return (stop loss, take profit) of an entry."""
        found = [
            row for row in self.exchange.orders(ACCOUNT, 0, None) if row.parent_order_id == entry_id
        ]
        stop, target = found
        return stop, target

    def hub_rows(self, target: str) -> list[Any]:
        return [event.data for event in self.events if event.target == target]

    def story(self) -> list[str]:
        """Return the events as short words: ``Order(6)``, ``Trade``, ``Position``, ``Account``."""
        words = []
        for event in self.events:
            word = event.target.removeprefix("GatewayUser")
            if isinstance(event.data, OrderRow):
                word += f"({event.data.status})"
            words.append(word)
        return words

    def net(self, *, account: int = ACCOUNT, contract_id: str = MNQ) -> int:
        """Return the true signed position."""
        rows: Any = self.exchange.truth()["positions"]
        for row in rows:
            if (row["accountId"], row["contractId"]) == (account, contract_id):
                return int(row["quantity"])
        return 0

    def balance(self, account: int = ACCOUNT) -> Decimal:
        return next(
            row.balance
            for row in self.exchange.accounts(USER, only_active=True)
            if row.id == account
        )


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Return a factory of worlds quoted at 21010.00 / 21010.25, last 21010.00."""

    def make(**switches: Any) -> World:
        world = World(default_config(**switches))
        world.quote("21010")
        world.quote("21010", contract_id=NQ)
        return world

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
