"""The same client for programs that are not asyncio: each call waits for its answer.

It is the asynchronous one in a thread of its own, so there is one way in which calls are made.
Safe to be used by several threads.
"""

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

from backstop.client.answers import (
    Account,
    Alert,
    BotSeen,
    Closing,
    Exposure,
    Heartbeat,
    Judgement,
    Liquidation,
    Order,
    Position,
    Recorded,
    Status,
    TradingStateSeen,
    Verification,
)
from backstop.client.async_client import (
    DEFAULT_URL,
    TIMEOUT_S,
    VERIFY_TIMEOUT_S,
    AsyncClient,
    place_from,
)
from backstop.client.bot import BotLine
from backstop.domain.order import OrderRequest
from backstop.portal import Portal


class SyncBotLine:
    """As ``BotLine``, for a loop that is not asyncio; use with ``with``."""

    def __init__(self, line: BotLine, portal: Portal) -> None:
        self._line = line
        self._portal = portal

    @property
    def bot_id(self) -> str:
        """The bot's name: the ``strategy_id`` of its orders."""
        return self._line.bot_id

    def register(self) -> BotSeen:
        """Have the guard look after the bot, from now on or again."""
        return self._portal.run(self._line.register())

    def beat(self, *, progress: int | None = None, now: bool = False) -> Heartbeat | None:
        """Say that the bot lives, if that is due; call it wherever the bot's loop goes round."""
        return self._portal.run(self._line.beat(progress=progress, now=now))

    def sign_off(self) -> None:
        """Have the guard look after the bot no more."""
        self._portal.run(self._line.sign_off())

    def __enter__(self) -> Self:
        self.register()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.sign_off()


class Client:
    """Calls one guard and waits for each answer; use with ``with``. Errors as ``AsyncClient``."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str,
        certificate: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._client = AsyncClient(url, token=token, certificate=certificate, timeout_s=timeout_s)
        self._portal = Portal("backstop-client")

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return a client as ``AsyncClient.from_env`` does."""
        return cls(**place_from(environment))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give connection and thread back; a second time does nothing."""
        if not self._portal.is_closed:
            self._portal.run(self._client.close())
            self._portal.close()

    def status(self) -> Status:
        """Return the whole guard at one moment."""
        return self._portal.run(self._client.status())

    def positions(self) -> tuple[Position, ...]:
        """Return every position that is not known to be flat."""
        return self._portal.run(self._client.positions())

    def orders(self, *, state: str | None = None, limit: int = 100) -> tuple[Order, ...]:
        """Return at most ``limit`` orders, newest first."""
        return self._portal.run(self._client.orders(state=state, limit=limit))

    def order(self, client_order_id: str) -> Order:
        """Return one order."""
        return self._portal.run(self._client.order(client_order_id))

    def bots(self) -> tuple[BotSeen, ...]:
        """Return every registered bot."""
        return self._portal.run(self._client.bots())

    def exposure(self) -> Exposure:
        """Return risk dollars against every limit of correlation protection."""
        return self._portal.run(self._client.exposure())

    def account(self) -> Account:
        """Return the day's result and what may still be lost."""
        return self._portal.run(self._client.account())

    def alerts(self, *, only_open: bool = False, limit: int = 100) -> tuple[Alert, ...]:
        """Return at most ``limit`` alerts, newest first."""
        return self._portal.run(self._client.alerts(only_open=only_open, limit=limit))

    def acknowledge_alert(self, alert_id: int, *, operator: str) -> Alert:
        """Say that a person has read an alert; it lifts no latch and re-arms nothing."""
        return self._portal.run(self._client.acknowledge_alert(alert_id, operator=operator))

    def validate(self, request: OrderRequest) -> Judgement:
        """Have an order judged as if it were submitted now; nothing is sent."""
        return self._portal.run(self._client.validate(request))

    def submit(self, request: OrderRequest) -> Order:
        """Submit an order, once however often it is asked; see ``AsyncClient.submit``."""
        return self._portal.run(self._client.submit(request))

    def modify(
        self,
        client_order_id: str,
        *,
        quantity: int | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
    ) -> Order:
        """Ask the venue to lower the quantity or to move a price of a working order."""
        return self._portal.run(
            self._client.modify(
                client_order_id, quantity=quantity, limit_price=limit_price, stop_price=stop_price
            )
        )

    def cancel(self, client_order_id: str) -> Order:
        """Ask the venue to cancel an order; what comes of it shows in the order."""
        return self._portal.run(self._client.cancel(client_order_id))

    def finished(self, client_order_id: str, *, timeout_s: float = TIMEOUT_S) -> Order:
        """Return an order once nothing more comes of it; raises TimeoutError before that."""
        return self._portal.run(self._client.finished(client_order_id, timeout_s=timeout_s))

    def verify(
        self,
        client_order_id: str,
        *,
        expected_quantity: int | None = None,
        max_slippage_ticks: Decimal | None = None,
        timeout_s: int = VERIFY_TIMEOUT_S,
    ) -> Verification:
        """Wait for the evidence about an execution and judge it."""
        return self._portal.run(
            self._client.verify(
                client_order_id,
                expected_quantity=expected_quantity,
                max_slippage_ticks=max_slippage_ticks,
                timeout_s=timeout_s,
            )
        )

    def proof(self, client_order_id: str) -> bytes:
        """Return the signed proof of an order's fills."""
        return self._portal.run(self._client.proof(client_order_id))

    def close_position(self, symbol: str, *, quantity: int | None = None) -> Closing:
        """Close a position, or ``quantity`` contracts of it, at the market; never flips it."""
        return self._portal.run(self._client.close_position(symbol, quantity=quantity))

    def protect_position(
        self,
        symbol: str,
        *,
        stop_price: Decimal | None = None,
        take_profit_price: Decimal | None = None,
    ) -> Position:
        """Give a position a stop and a target; a level that is None stays as it is."""
        return self._portal.run(
            self._client.protect_position(
                symbol, stop_price=stop_price, take_profit_price=take_profit_price
            )
        )

    def halt(self, *, reason: str, operator: str) -> TradingStateSeen:
        """Stop new exposure until a person resumes; exits stay possible."""
        return self._portal.run(self._client.halt(reason=reason, operator=operator))

    def resume(self, *, reason: str, operator: str) -> TradingStateSeen:
        """Let new exposure through again; refused while something is in doubt."""
        return self._portal.run(self._client.resume(reason=reason, operator=operator))

    def liquidate(self, *, reason: str, operator: str, symbol: str | None = None) -> Liquidation:
        """Take the account, or one contract, flat; a second call joins the first."""
        return self._portal.run(
            self._client.liquidate(reason=reason, operator=operator, symbol=symbol)
        )

    def liquidation(self, liquidation_id: str) -> Liquidation:
        """Return a liquidation or a close as it stands."""
        return self._portal.run(self._client.liquidation(liquidation_id))

    def bot(
        self,
        bot_id: str,
        *,
        policy: str = "STOP_ENTRIES",
        heartbeat_timeout_ms: int = 10_000,
        flatten_after_ms: int | None = None,
    ) -> SyncBotLine:
        """Return the line of a bot to its guard; arguments as ``AsyncClient.bot``."""
        line = self._client.bot(
            bot_id,
            policy=policy,
            heartbeat_timeout_ms=heartbeat_timeout_ms,
            flatten_after_ms=flatten_after_ms,
        )
        return SyncBotLine(line, self._portal)

    def events(self, *, after_seq: int | None = None) -> Iterator[Recorded]:
        """Yield every record after ``after_seq``, or from now on, each once."""
        return self._portal.iterate(self._client.events(after_seq=after_seq))
