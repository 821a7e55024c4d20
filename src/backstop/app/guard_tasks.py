"""The tasks of a running guard: what it cannot do without ends it, what else fails is named.

A guard that protects must not end because the hours of the market could not be worked out. So a
component that fails halts: entries stop until a person resumes, while exits, stops and liquidation
go on. It is not started again beside the others: nobody knows what it left half done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from backstop.app.account_history import AccountHistory
from backstop.app.alert_desk import AlertDesk
from backstop.app.bot_desk import BotDesk
from backstop.app.component_health import ComponentHealth
from backstop.app.contract_watch import ContractWatch
from backstop.app.credential_rotation import CredentialRotation
from backstop.app.last_failure import LastFailure
from backstop.app.market_sessions import MarketSessions
from backstop.app.notes import failure_text
from backstop.app.position_pricing import PositionPricing
from backstop.app.quote_board import QuoteBoard
from backstop.app.standstill import StandstillWatch
from backstop.app.trading_days import TradingDays
from backstop.app.wiring import Parts
from backstop.config.credential_manager import API_KEY, EMERGENCY_API_KEY, JWT
from backstop.config.secret import Secret
from backstop.config.settings import Settings
from backstop.domain.events import HaltRequested
from backstop.ports import Clock, MachineClock

OPERATOR = "guard"
"""Who halts when a component fails, for the record."""

VITAL = frozenset({"decision loop", "broker link"})
"""Without the one nothing is decided, without the other nothing of the account is heard of: then
the process ends, and whoever watches it starts another one."""

ACCOUNT_FIRST_S = 5.0
"""How long the market's history waits for the account to be read at the start."""


END_LIMIT_S = 0.5
"""How long the tasks may take to end: a venue that does not answer the end of a connection must not
take the time in which the state is written."""


class GuardTasks:
    """Runs what keeps a guard going, as one task group."""

    def __init__(
        self,
        parts: Parts,
        *,
        settings: Settings,
        clock: Clock,
        health: ComponentHealth,
        alert_desk: AlertDesk,
        bots: BotDesk,
        quotes: QuoteBoard,
        account_read: Callable[[], Awaitable[None]],
        on_secret: Callable[[Secret], None],
    ) -> None:
        """Begin; nothing is waited for here."""
        self._parts = parts
        self._health = health
        self._account_read = account_read
        self._clock = clock
        book, put = parts.loop.book, parts.loop.put
        self._last_failure = LastFailure(settings.state_folder, loop=parts.loop, clock=clock)
        rotation = CredentialRotation(
            manager=settings.credentials,
            session=parts.gateway.session,
            held={
                API_KEY: settings.api_key,
                JWT: settings.token,
                EMERGENCY_API_KEY: settings.emergency_api_key,
            },
            is_refused=lambda: book.links.login_refused,
            may_change=lambda: not book.liquidating,
            on_secret=on_secret,
            on_fault=health.reporter("credentials"),
        )
        self._runs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "decision loop": parts.loop.run,
            "last failure": self._last_failure.run,
            "audit checkpoints": parts.trail.run,
            "state": parts.persistence.run,
            "record check": parts.record_check.run,
            "past orders": parts.state.mended_past(parts.loop).run,
            "broker link": parts.link.run,
            "alert desk": alert_desk.run,
            "bots": bots.run,
            "session": partial(parts.gateway.session.keep_fresh, lambda: not book.liquidating),
            "credentials": rotation.run,
            "trading days": TradingDays(clock=clock, sink=put).run,
            "position pricing": PositionPricing(
                book=book, quotes=quotes, clock=clock, sink=put
            ).run,
            "account history": AccountHistory(
                book=book,
                clock=clock,
                sink=put,
                read_account=partial(parts.gateway.account, settings.account_id),
                read_trades=partial(parts.gateway.trades_since, settings.account_id),
                account_read=account_read,
                on_fault=health.reporter("account history"),
            ).run,
            "market sessions": MarketSessions(
                clock=clock,
                sink=put,
                instruments=lambda: tuple(book.instruments.values()),
                entries_until=settings.entries_until,
                flat_by=settings.flat_by,
            ).run,
            "contracts": partial(
                ContractWatch(
                    parts.gateway,
                    book=book,
                    clock=clock,
                    sink=put,
                    hear=parts.link.hear,
                    on_fault=health.reporter("contracts"),
                ).run,
                parts.link.greeted,
            ),
            "kill file": parts.kill_file.run,
            "market risk": self._follow_risk,
        }
        if isinstance(clock, MachineClock):
            standstill = StandstillWatch(clock, on_standstill=quotes.distrust)
            parts.loop.before_turn = standstill.look
            self._runs["standstill"] = partial(standstill.run, parts.loop.nudge)
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    @property
    def have_ended(self) -> bool:
        """Nothing runs any more; ``wait`` says why."""
        return self._task.done()

    async def wait(self) -> None:
        """Wait for ever, or raise what ended one of the tasks."""
        await asyncio.shield(self._task)

    async def cancel(self) -> None:
        """End all of them; one that is slow to say good-bye does so beside what follows."""
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=END_LIMIT_S)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name, run in self._runs.items():
                work = run() if name in VITAL else self._contained(name, run)
                tasks.create_task(work, name=name)

    async def _contained(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a component that the guard can do without, and halt when it fails."""
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the guard
            what = failure_text(error)
            self._health.reporter(name)(f"it has failed: {what}. Start the guard anew")
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{name} failed", "exception": error}  # with its stack
            )
            self._parts.loop.put(
                HaltRequested(
                    utc_us=self._clock.utc_us(),
                    reason=f"{name} has failed ({what}): exits go on; start the guard anew",
                    operator=OPERATOR,
                )
            )

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A bot around a guard that failed may wait for nothing, so it is said at once."""
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._health.guard_failed(failure_text(failure))
            self._last_failure.note(failure)

    async def _follow_risk(self) -> None:
        link = self._parts.link
        await link.greeted()
        self._health.reporter("gateway")("")
        with suppress(TimeoutError):
            # The account comes first: to read months of bars would hold up hubs and positions.
            async with asyncio.timeout(ACCOUNT_FIRST_S):
                await self._account_read()
        await self._parts.risk.run(link.instruments)
