"""Reads what an account has traded since it began, where its floor depends on it.

The gateway keeps no history of balances. All trades together tell it, if they are all still there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from backstop.app.trading_days import trade_date
from backstop.core.account_rules.standing import history_wanted
from backstop.core.book import Book
from backstop.domain.broker import BrokerAccount, BrokerTrade
from backstop.domain.events import AccountHistoryRead, TradedDay
from backstop.errors import GatewayError
from backstop.ports import Clock, FactSink

FROM_UTC_US = 946_684_800_000_000
"""The year 2000: no account of any gateway is older."""

TRIES = 3
"""Reads that do not add up: a trade between the two reads looks like a history with a hole."""

AGAIN_S = 1.0
LOOK_S = 2.0
"""Pauses between two tries, and between two looks at whether a history is wanted."""


class AccountHistory:
    """Reads the history at the start, and after days that nobody saw."""

    def __init__(
        self,
        *,
        book: Book,
        clock: Clock,
        sink: FactSink,
        read_account: Callable[[], Awaitable[BrokerAccount]],
        read_trades: Callable[[int], Awaitable[tuple[BrokerTrade, ...]]],
        account_read: Callable[[], Awaitable[None]],
        on_fault: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            book: the guard's knowledge; read only.
            clock: for the times of facts.
            sink: takes the history.
            read_account: returns the account as it is now.
            read_trades: returns all trades since a time in microseconds.
            account_read: returns once the guard knows the account.
            on_fault: is told why the history cannot be read, and with an empty text that it can.
        """
        self._book = book
        self._clock = clock
        self._sink = sink
        self._read_account = read_account
        self._read_trades = read_trades
        self._account_read = account_read
        self._on_fault = on_fault

    async def run(self) -> None:
        """Read whenever it is wanted, once for each trading day, until cancelled."""
        await self._account_read()
        told = ""
        while True:
            day = self._book.trade_date
            if day and told != day and history_wanted(self._book) and await self._has_read(day):
                told = day
            await asyncio.sleep(LOOK_S)

    async def _has_read(self, day: str) -> bool:
        try:
            for tries in range(TRIES):
                history = await self._read(day)
                if self._adds_up(history) or tries == TRIES - 1:
                    self._sink(history)
                    break
                await asyncio.sleep(AGAIN_S)
        except GatewayError as error:
            self._on_fault(str(error))
            return False
        self._on_fault("")
        return True

    async def _read(self, day: str) -> AccountHistoryRead:
        trades = await self._read_trades(FROM_UTC_US)
        account = await self._read_account()
        return AccountHistoryRead(
            utc_us=self._clock.utc_us(),
            trade_date=day,
            balance_micros=account.balance_micros,
            days=days_of(trades),
        )

    def _adds_up(self, history: AccountHistoryRead) -> bool:
        limits = self._book.account_limits
        starting = None if limits is None else limits.starting_balance_micros
        return starting is not None and history.balance_micros == starting + sum(
            day.net_micros for day in history.days
        )


def days_of(trades: Iterable[BrokerTrade]) -> tuple[TradedDay, ...]:
    """Return what ``trades`` brought on each trading day, oldest first; voided ones, nothing."""
    nets: dict[str, int] = {}
    for trade in trades:
        if not trade.voided:
            net_micros = (trade.profit_and_loss_micros or 0) - trade.fees_micros
            day = trade_date(trade.created_utc_us)
            nets[day] = nets.get(day, 0) + net_micros - trade.commissions_micros
    return tuple(TradedDay(trade_date=day, net_micros=nets[day]) for day in sorted(nets))
