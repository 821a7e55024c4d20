"""A bot with a session of its own at the simulated exchange, and a guard that only looks on."""

from decimal import Decimal
from typing import Any

from tests.core.builders import ACCOUNT, MES, NQ, a_policy, a_quote
from tests.core.protection_world import World

from backstop.adapters.projectx.wire import (
    Bracket,
    ModifyBody,
    PlaceBody,
    WireOrderType,
    WireSide,
)
from backstop.core.drop_copy import strange_contracts
from backstop.core.policy import SECOND_NS, Policy
from backstop.domain.commands import CancelOrder, ClosePosition, ModifyOrder, PlaceOrder, RaiseAlert
from backstop.domain.events import Fact, MarketNoted
from backstop.domain.external import BreachPolicy, GuardMode
from backstop.domain.order import Side
from backstop.domain.quote import Mark

GRACE_MS = 1000
STOP_TICKS = 40

_ACTS = (PlaceOrder, CancelOrder, ModifyOrder, ClosePosition)


def a_watching_policy(**changes: Any) -> Policy:
    members: dict[str, Any] = {
        "mode": GuardMode.DROP_COPY,
        "breach_policy": BreachPolicy.CANCEL,
        "bot_grace_ns": GRACE_MS * SECOND_NS // 1000,
        "default_stop_ticks": STOP_TICKS,
        "stop_required": True,
        "protects": True,
    }
    return a_policy(**(members | changes))


class BotWorld(World):
    """The guard notes the market of what it has not heard of, as the process around it does."""

    @classmethod
    def begun(cls, *, switches: dict[str, Any] | None = None, **policy: Any) -> "BotWorld":
        world = cls(policy=a_watching_policy(**policy), switches=switches or {})
        world.start()
        return world

    def feed(self, fact: Fact) -> None:
        contracts = strange_contracts(self.book, fact)
        if contracts:
            last = self.last
            quote = a_quote(bid=last - Decimal("0.25"), ask=last, last=last)
            super().feed(
                MarketNoted(
                    utc_us=self.guard.utc_us,
                    references=(quote,) if MES in contracts else (),
                    marks=(
                        Mark(contract_id=MES, price=last),
                        Mark(contract_id=NQ, price=Decimal(21000)),
                    ),
                )
            )
        super().feed(fact)

    # -- what the bot does -----------------------------------------------------------------------

    def bot(
        self,
        side: Side = Side.BUY,
        quantity: int = 2,
        *,
        limit: float | None = None,
        stop: float | None = None,
        bracket_ticks: tuple[int, int] | None = None,
        contract_id: str = MES,
        tag: str | None = None,
    ) -> int:
        """Have the bot send an order with its own session; returns its number."""
        kind = WireOrderType.MARKET
        if limit is not None:
            kind = WireOrderType.LIMIT
        elif stop is not None:
            kind = WireOrderType.STOP
        loss, profit = bracket_ticks or (0, 0)
        outcome = self.exchange.place(
            PlaceBody(
                account_id=ACCOUNT,
                contract_id=contract_id,
                type=int(kind),
                side=int(WireSide.BID if side is Side.BUY else WireSide.ASK),
                size=quantity,
                limit_price=None if limit is None else Decimal(str(limit)),
                stop_price=None if stop is None else Decimal(str(stop)),
                custom_tag=tag,
                stop_loss_bracket=Bracket(ticks=-side.sign * loss, type=4) if loss else None,
                take_profit_bracket=Bracket(ticks=side.sign * profit, type=1) if profit else None,
            )
        )
        assert outcome.code == 0, outcome.message
        assert outcome.order_id is not None
        return outcome.order_id

    def bot_moves(self, number: int, **changes: Any) -> None:
        body = ModifyBody(account_id=ACCOUNT, order_id=number, **changes)
        assert self.exchange.modify(body).code == 0

    def bot_cancels(self, number: int) -> None:
        assert self.exchange.cancel(ACCOUNT, number).code == 0

    # -- what came of it -------------------------------------------------------------------------

    def acts(self) -> list[Any]:
        """Return every request of the guard that changes something at the venue."""
        return [it for it in self.sent if isinstance(it, _ACTS)]

    def told(self, code: str = "ORDER_OUTSIDE_LIMITS") -> list[RaiseAlert]:
        return [it for it in self.guard.commands_of(RaiseAlert) if it.code == code]

    def alerts(self) -> list[str]:
        return [str(it.code) for it in self.guard.commands_of(RaiseAlert)]

    def working(self) -> list[int]:
        """Return the numbers of what works at the exchange."""
        return sorted(row["id"] for row in self.orders() if row["status"] == "OPEN")
