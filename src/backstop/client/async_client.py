"""The guard of ``backstop run`` from an asyncio program: each call a method, each answer typed."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Self, TypedDict

from msgspec.structs import fields

from backstop.client.answers import (
    Account,
    Alert,
    Alerts,
    Bots,
    BotSeen,
    Closing,
    Exposure,
    Judgement,
    Liquidation,
    Order,
    Orders,
    Position,
    Positions,
    Recorded,
    Status,
    TradingStateSeen,
    Verification,
)
from backstop.client.bot import BotLine
from backstop.client.connection import Connection, escaped
from backstop.client.errors import GuardCallError
from backstop.client.event_stream import recorded
from backstop.domain.order import OrderRequest

DEFAULT_URL = "http://127.0.0.1:8720"
TIMEOUT_S = 15.0
"""One attempt; the guard itself waits up to 10 s for the venue's answer to an order."""

VERIFY_TIMEOUT_S = 10
ORDER_PAUSE_S = 0.05

FINAL_STATES = frozenset({"FILLED", "CANCELLED", "REJECTED", "EXPIRED", "NOT_SUBMITTED"})
"""Nothing more comes of an order in one of these."""


class AsyncClient:
    """Calls one guard; use with ``async with``.

    Every method raises ``DeniedError`` when the guard's rules refuse, ``GuardCallError`` for
    another no of the guard, and ``GuardSilentError`` when it does not answer.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str,
        certificate: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._connection = Connection(
            url, token=token, certificate=certificate, timeout_s=timeout_s
        )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return a client for ``BACKSTOP_URL`` with the token ``BACKSTOP_API_TOKEN``.

        ``BACKSTOP_URL`` is this machine's default address where it is not set. A guard that speaks
        TLS is checked against ``BACKSTOP_TLS_CERT``, if that is set.

        Raises:
            GuardCallError: there is no token.
        """
        return cls(**place_from(environment))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connection back."""
        await self._connection.close()

    # -- what is true ----------------------------------------------------------------------------

    async def status(self) -> Status:
        """Return the whole guard at one moment."""
        return await self._connection.call("GET", "/v1/status", Status)

    async def positions(self) -> tuple[Position, ...]:
        """Return every position that is not known to be flat."""
        return (await self._connection.call("GET", "/v1/positions", Positions)).positions

    async def orders(self, *, state: str | None = None, limit: int = 100) -> tuple[Order, ...]:
        """Return at most ``limit`` orders, newest first."""
        chosen = "" if state is None else f"&state={escaped(state)}"
        path = f"/v1/orders?limit={limit}{chosen}"
        return (await self._connection.call("GET", path, Orders)).orders

    async def order(self, client_order_id: str) -> Order:
        """Return one order."""
        return await self._connection.call("GET", _order(client_order_id), Order)

    async def bots(self) -> tuple[BotSeen, ...]:
        """Return every registered bot."""
        return (await self._connection.call("GET", "/v1/bots", Bots)).bots

    async def exposure(self) -> Exposure:
        """Return risk dollars against every limit of correlation protection."""
        return await self._connection.call("GET", "/v1/exposure", Exposure)

    async def account(self) -> Account:
        """Return the day's result and what may still be lost."""
        return await self._connection.call("GET", "/v1/account", Account)

    async def alerts(self, *, only_open: bool = False, limit: int = 100) -> tuple[Alert, ...]:
        """Return at most ``limit`` alerts, newest first."""
        path = f"/v1/alerts?limit={limit}&open={str(only_open).lower()}"
        return (await self._connection.call("GET", path, Alerts)).alerts

    async def acknowledge_alert(self, alert_id: int, *, operator: str) -> Alert:
        """Say that a person has read an alert; it lifts no latch and re-arms nothing."""
        path = f"/v1/alerts/{alert_id}/ack?operator={escaped(operator)}"
        return await self._connection.call("POST", path, Alert)

    # -- orders ----------------------------------------------------------------------------------

    async def validate(self, request: OrderRequest) -> Judgement:
        """Have an order judged as if it were submitted now; nothing is sent."""
        return await self._connection.call(
            "POST", "/v1/orders/validate", Judgement, _members(request)
        )

    async def submit(self, request: OrderRequest) -> Order:
        """Submit an order and return it when the venue answered, or its silence became UNKNOWN.

        The ``client_order_id`` names one order for ever, so a call that is not answered is made
        again by itself: the guard sends it once. An equal order submitted again is the same one.

        Raises:
            DeniedError: nothing was sent; also in dry run, with the code GATE_DRY_RUN.
            GuardCallError: the name belongs to an order with another content (CONFLICT).
            GuardSilentError: it may be live; submit it again under the same name.
        """
        return await self._connection.call(
            "POST", "/v1/orders", Order, _members(request), about=request.client_order_id
        )

    async def modify(
        self,
        client_order_id: str,
        *,
        quantity: int | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
    ) -> Order:
        """Ask the venue to lower the quantity or to move a price of a working order."""
        body = {"quantity": quantity, "limit_price": limit_price, "stop_price": stop_price}
        return await self._connection.call(
            "PATCH", _order(client_order_id), Order, body, about=client_order_id
        )

    async def cancel(self, client_order_id: str) -> Order:
        """Ask the venue to cancel an order; what comes of it shows in the order."""
        return await self._connection.call(
            "DELETE", _order(client_order_id), Order, repeatable=False, about=client_order_id
        )

    async def finished(self, client_order_id: str, *, timeout_s: float = TIMEOUT_S) -> Order:
        """Return an order once nothing more comes of it.

        Raises:
            TimeoutError: it is not finished; it goes on.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                order = await self.order(client_order_id)
                if order.state in FINAL_STATES:
                    return order
                await asyncio.sleep(ORDER_PAUSE_S)

    async def verify(
        self,
        client_order_id: str,
        *,
        expected_quantity: int | None = None,
        max_slippage_ticks: Decimal | None = None,
        timeout_s: int = VERIFY_TIMEOUT_S,
    ) -> Verification:
        """Wait for the evidence about an execution and judge it."""
        body = {
            "expected_quantity": expected_quantity,
            "max_slippage_ticks": max_slippage_ticks,
            "timeout_s": timeout_s,
        }
        return await self._connection.call(
            "POST",
            f"{_order(client_order_id)}/verify",
            Verification,
            body,
            timeout_s=timeout_s + TIMEOUT_S,
        )

    async def proof(self, client_order_id: str) -> bytes:
        """Return the signed proof of an order's fills: what ``backstop-verify`` reads."""
        return await self._connection.call("GET", f"{_order(client_order_id)}/proof", bytes)

    # -- positions -------------------------------------------------------------------------------

    async def close_position(self, symbol: str, *, quantity: int | None = None) -> Closing:
        """Close a position, or ``quantity`` contracts of it, at the market; never flips it."""
        return await self._connection.call(
            "POST",
            f"/v1/positions/{escaped(symbol)}/close",
            Closing,
            {"quantity": quantity},
            # Asked twice for a part, the second one would close another part.
            repeatable=quantity is None,
        )

    async def protect_position(
        self,
        symbol: str,
        *,
        stop_price: Decimal | None = None,
        take_profit_price: Decimal | None = None,
    ) -> Position:
        """Give a position a stop and a target; a level that is None stays as it is."""
        body = {"stop_price": stop_price, "take_profit_price": take_profit_price}
        return await self._connection.call(
            "PUT", f"/v1/positions/{escaped(symbol)}/protection", Position, body
        )

    # -- the operator's acts ---------------------------------------------------------------------

    async def halt(self, *, reason: str, operator: str) -> TradingStateSeen:
        """Stop new exposure until a person resumes; exits stay possible."""
        body = {"reason": reason, "operator": operator}
        return await self._connection.call("POST", "/v1/halt", TradingStateSeen, body)

    async def resume(self, *, reason: str, operator: str) -> TradingStateSeen:
        """Let new exposure through again; refused while something is in doubt."""
        body = {"reason": reason, "operator": operator}
        return await self._connection.call("POST", "/v1/resume", TradingStateSeen, body)

    async def liquidate(
        self, *, reason: str, operator: str, symbol: str | None = None
    ) -> Liquidation:
        """Take the account, or one contract, flat; a second call joins the first."""
        body = {"reason": reason, "operator": operator, "symbol": symbol}
        return await self._connection.call("POST", "/v1/liquidate", Liquidation, body)

    async def liquidation(self, liquidation_id: str) -> Liquidation:
        """Return a liquidation or a close as it stands."""
        path = f"/v1/liquidations/{escaped(liquidation_id)}"
        return await self._connection.call("GET", path, Liquidation)

    # -- over time -------------------------------------------------------------------------------

    def bot(
        self,
        bot_id: str,
        *,
        policy: str = "STOP_ENTRIES",
        heartbeat_timeout_ms: int = 10_000,
        flatten_after_ms: int | None = None,
    ) -> BotLine:
        """Return the line of a bot to its guard; its orders carry ``bot_id`` as strategy_id.

        Args:
            bot_id: its name.
            policy: what its silence leads to: KEEP_PROTECTION, STOP_ENTRIES or FLATTEN.
            heartbeat_timeout_ms: without a heartbeat for this long it is silent.
            flatten_after_ms: with FLATTEN, when its share of each position is closed.
        """
        return BotLine(
            self._connection,
            bot_id,
            policy=policy,
            heartbeat_timeout_ms=heartbeat_timeout_ms,
            flatten_after_ms=flatten_after_ms,
        )

    def events(self, *, after_seq: int | None = None) -> AsyncIterator[Recorded]:
        """Yield every record after ``after_seq``, or from now on, each once; see event_stream."""
        return recorded(self._connection, after_seq=after_seq)


class _Place(TypedDict):
    url: str
    token: str
    certificate: Path | None


def place_from(environment: Mapping[str, str]) -> _Place:
    """Return where the guard is that ``environment`` names; errors as ``from_env``."""
    token = environment.get("BACKSTOP_API_TOKEN", "")
    if not token:
        raise GuardCallError(
            401,
            "TOKEN_REQUIRED",
            "set BACKSTOP_API_TOKEN to the guard's token; where none was set for it, the guard "
            "keeps one in the file api_token of its state folder",
        )
    certificate = environment.get("BACKSTOP_TLS_CERT")
    return _Place(
        url=environment.get("BACKSTOP_URL") or DEFAULT_URL,
        token=token,
        certificate=Path(certificate) if certificate else None,
    )


def _order(client_order_id: str) -> str:
    return f"/v1/orders/{escaped(client_order_id)}"


def _members(request: OrderRequest) -> dict[str, Any]:
    """Return what was asked for, and no member that was left as it is."""
    return {
        field.name: value
        for field in fields(request)
        if (value := getattr(request, field.name)) != field.default
    }
