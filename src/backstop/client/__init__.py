"""A typed client for the guard of ``backstop run``.

``Client`` waits for each answer and suits a bot that is a plain loop; ``AsyncClient`` is the same
for asyncio. Both come from one implementation on aiohttp, which the guard itself uses.
"""

from backstop.client.answers import (
    Account,
    Alert,
    BotSeen,
    Closing,
    Exposure,
    Fill,
    Heartbeat,
    Judgement,
    LimitReading,
    Liquidation,
    Order,
    Position,
    Recorded,
    Status,
    TradingStateSeen,
    Verification,
)
from backstop.client.async_client import AsyncClient
from backstop.client.bot import BotLine
from backstop.client.errors import Denial, DeniedError, GuardCallError, GuardSilentError
from backstop.client.sync_client import Client, SyncBotLine

__all__ = [
    "Account",
    "Alert",
    "AsyncClient",
    "BotLine",
    "BotSeen",
    "Client",
    "Closing",
    "Denial",
    "DeniedError",
    "Exposure",
    "Fill",
    "GuardCallError",
    "GuardSilentError",
    "Heartbeat",
    "Judgement",
    "LimitReading",
    "Liquidation",
    "Order",
    "Position",
    "Recorded",
    "Status",
    "SyncBotLine",
    "TradingStateSeen",
    "Verification",
]
