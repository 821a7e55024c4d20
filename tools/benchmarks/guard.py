"""A guard as it is shipped, in front of a measured venue.

Nothing is switched off and no limit of the client is lifted but those that a setting names: the
shipped call budget of 200 a minute is in force.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from backstop.adapters.log import LogFormat, Redactor, configure_logging
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.settings import Settings
from backstop.core.execution_verdict import Verdict
from backstop.core.trading_state import TradingState
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.entrypoints.lean_start import all_is_loaded
from benchmarks.venue import API_KEY, USER, free_account

READY_LIMIT_S = 60.0
ORDER_LIMIT_S = 20.0
LOOK_S = 0.005
SYMBOL = "MES"

AMPLE = 1_000_000_000
"""A budget that no order of these reaches: the rules are evaluated, and let all pass."""


def side(number: int) -> Side:
    """Buy and sell in turns, so that the account ends as flat as it began."""
    return Side.SELL if number % 2 else Side.BUY


async def filled(
    guard: CriticalSystemManager, client_order_id: str, side: Side, *, quantity: int
) -> None:
    """Submit one market order and wait until its fill is verified; raise if it is not."""
    decision = await guard.submit_order(
        OrderRequest(
            client_order_id=client_order_id,
            symbol=SYMBOL,
            side=side,
            quantity=quantity,
            type=OrderType.MARKET,
        )
    )
    if decision.order is None:
        raise RuntimeError(f"order {client_order_id} was refused: {decision.denials}")
    verification = await guard.verify_execution(client_order_id, timeout_s=ORDER_LIMIT_S)
    if verification is None or verification.verdict is not Verdict.VERIFIED:
        raise RuntimeError(f"order {client_order_id} was not verified: {verification}")


@asynccontextmanager
async def a_guard(
    url: str, folder: Path, **changes: object
) -> AsyncIterator[CriticalSystemManager]:
    """Run a guard on an account of its own, with state and log in ``folder``.

    It is ACTIVE and has heard of the market.
    """
    settings = Settings.hermetic(
        TOPSTEPX_API_URL=url,
        TOPSTEPX_USERNAME=USER,
        TOPSTEPX_API_KEY=API_KEY,
        TOPSTEPX_ACCOUNT_ID=free_account(url),
        BACKSTOP_STATE_DIR=folder,
        BACKSTOP_CALENDAR="always-open",
        STALE_QUOTE_MS=30_000,
        DRY_RUN=False,
        EXECUTE=True,
        STOP_REQUIRED=False,
        ALLOW_FLIP=True,
        MAX_ORDERS_PER_SECOND=1000,
        DUPLICATE_WINDOW_MS=0,
        MAX_REPEATED_EXECUTIONS=10_000,
        MAX_SLIPPAGE_TICKS=1000,
        RISK_BUDGET=AMPLE,
        ES_NQ_MAX_COMBINED_EXPOSURE=AMPLE,
        **changes,
    )
    with (folder / "guard.log").open("a", encoding="utf-8") as log:
        guard = CriticalSystemManager.from_settings(settings)
        configure_logging(
            session_id=guard.session_id,
            redactor=Redactor(),
            log_format=LogFormat.JSON,
            stream=log,
        )
        async with guard:
            async with asyncio.timeout(READY_LIMIT_S):
                await guard.reached(TradingState.ACTIVE)
                while not _is_quoted(guard):  # noqa: ASYNC110 - a state, not an event
                    await asyncio.sleep(LOOK_S)
            all_is_loaded()  # as ``backstop run`` has it
            yield guard


def _is_quoted(guard: CriticalSystemManager) -> bool:
    instrument = guard.book.instrument_for(SYMBOL)
    quote = None if instrument is None else guard.quotes.reference(instrument.contract_id)
    return quote is not None and None not in {quote.bid, quote.ask, quote.last}
