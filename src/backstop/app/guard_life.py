"""One life of a guard: everything that exists from its start to its end.

The order is the point. First the right to send and the record, then what the record tells, then
the gateway, and only then the tasks that keep it going. What fails on the way is closed by whoever
asked.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from backstop.adapters.log import Redactor
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.alert_desk import AlertDesk
from backstop.app.bot_desk import BotDesk
from backstop.app.component_health import ComponentHealth
from backstop.app.guard_tasks import GuardTasks
from backstop.app.operator_desk import OperatorDesk
from backstop.app.order_desk import OrderDesk
from backstop.app.order_records import OrderRecords
from backstop.app.protection_desk import ProtectionDesk
from backstop.app.quote_board import QuoteBoard
from backstop.app.wiring import Outlets, wired
from backstop.config.settings import Settings
from backstop.core.step import Note, Tag
from backstop.domain.commands import Severity
from backstop.domain.events import LatchesHandedOver, WatchAlertsHandedOver
from backstop.domain.standing_latch import StandingLatch
from backstop.domain.watch_alert import WatchAlert
from backstop.errors import GatewayAnswerError, GatewayUnreachableError, SetupError
from backstop.ports import Clock

FIRST_CONTACT_LIMIT_S = 10.0
"""How long the start waits to hear whether the credentials are good."""

FIRST_WORD_S = 0.5
"""After so long without a word of the gateway the guard decides without it: what a person wants,
and whether it is ready, must not wait for one that takes connections and says nothing."""

STATE_CHECK_S = 0.02
"""Pause between looks at a state that no single order owns."""


class GuardLife:
    """The parts of a started guard, and the desks at which it is asked.

    Attributes:
        parts: what it is made of.
        orders: where bots ask for orders.
        operator: where people act.
        protection: where positions are given stops and targets.
        records: orders by their names, also finished ones.
        bots: where bots register and say that they live.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        quotes: QuoteBoard,
        closing: AsyncExitStack,
        health: ComponentHealth,
        alert_desk: AlertDesk,
        redactor: Redactor,
        on_note: Callable[[Note], None],
        comes_back: bool = False,
    ) -> None:
        """Take the right to send and replay the record; nothing is contacted yet.

        What was opened is closed by ``closing``, also when this raises. ``comes_back``: in place
        of a guard that failed a moment ago.

        Raises:
            SetupError: settings, state folder, keys, or another guard on the account.
        """
        self._settings = settings
        self._clock = clock
        self._quotes = quotes
        self._health = health
        self._alert_desk = alert_desk
        self._redactor = redactor
        self._note = on_note
        self._tasks: GuardTasks | None = None
        self.parts = parts = wired(
            settings,
            clock=clock,
            quotes=quotes,
            closing=closing,
            outlets=Outlets(
                note=on_note,
                alert=alert_desk.put,
                fault=health.reporter,
                say_fault=health.say,
                strike=redactor.redact_bytes,
            ),
            comes_back=comes_back,
        )
        self.bots = BotDesk(parts.loop, clock=clock)
        self.records = OrderRecords(
            parts.loop, past=parts.state.past, database=settings.state_folder / AUDIT_DATABASE
        )
        closing.callback(self.records.close)
        self.protection = ProtectionDesk(parts.loop, quotes=quotes, clock=clock)
        self.operator = OperatorDesk(parts.loop, kill_file=parts.kill_file, clock=clock)
        self.orders = OrderDesk(
            parts.loop,
            quotes=quotes,
            clock=clock,
            budget=parts.gateway.budget,
            records=self.records,
            protection=self.protection,
            kill_file=parts.kill_file,
        )

    def take_over(self, latches: Sequence[StandingLatch]) -> None:
        """Latch what the guard before this one had latched, and may not have got on record."""
        if latches:
            self.parts.loop.begin(
                LatchesHandedOver(utc_us=self._clock.utc_us(), latches=tuple(latches))
            )

    def take_note(self, alerts: Sequence[WatchAlert]) -> None:
        """Put on record what the watchdog told people while there was no guard."""
        if alerts:
            self.parts.loop.begin(
                WatchAlertsHandedOver(utc_us=self._clock.utc_us(), alerts=tuple(alerts))
            )

    async def connect(self, *, on_begun: Callable[[], None]) -> None:
        """Begin, and hear whether the credentials are good; an unreachable gateway is tried on.

        ``on_begun`` is called once it decides upon what comes.

        Raises:
            LoginRefusedError: the gateway refuses the credentials.
            SetupError: the account is not there, or what answers is no gateway.
        """
        self._say_doubts()
        contact = self.parts.link.begin()
        await asyncio.wait({contact}, timeout=FIRST_WORD_S)
        if not contact.done():
            self._go_on()
            on_begun()
            await asyncio.wait({contact}, timeout=FIRST_CONTACT_LIMIT_S - FIRST_WORD_S)
        try:
            if contact.done():
                contact.result()
            else:
                self._health.reporter("gateway")("no answer from the gateway yet")
        except GatewayAnswerError as error:
            raise SetupError(str(error)) from error
        except GatewayUnreachableError as error:
            self._health.reporter("gateway")(str(error))
        if self._tasks is None:
            self._go_on()
            on_begun()

    def _say_doubts(self) -> None:
        for doubt in self._settings.warnings:
            self._note(
                Note(
                    tag=Tag.CRITICAL_SYSTEM,
                    name="setting_in_doubt",
                    fields={"message": doubt},
                    severity=Severity.WARNING,
                )
            )

    def _go_on(self) -> None:
        """Begin everything that keeps the guard going."""
        self._tasks = GuardTasks(
            self.parts,
            settings=self._settings,
            clock=self._clock,
            health=self._health,
            alert_desk=self._alert_desk,
            bots=self.bots,
            quotes=self._quotes,
            account_read=self.account_read,
            on_secret=self._redactor.register,
        )

    async def end(self, *, by_person: bool) -> None:
        """End what keeps it going, and say whether the next start follows a crash.

        That is said first: whatever is slow to end, the last state tells the truth about this stop.
        """
        tasks = self._tasks
        self.parts.state.begin_to_close()
        self.parts.state.clean_stop = by_person and (tasks is None or not tasks.have_ended)
        if tasks is not None:
            await tasks.cancel()
            self._tasks = None
        await self.parts.link.close()

    async def failed(self) -> None:
        """Wait for ever, or raise what ended one of the guard's own tasks."""
        if self._tasks is None:
            raise SetupError("The guard has ended: call initialize() again.")
        await self._tasks.wait()

    @property
    def faults(self) -> dict[str, str]:
        """What is not well, by component; empty when everything is."""
        faults = self._health.faults | self.parts.trail.faults
        if self.parts.state.past.fault is not None:
            faults["past orders"] = self.parts.state.past.fault
        if self.parts.loop.failure is not None:
            faults["journal"] = self.parts.loop.failure
        return faults

    async def account_read(self) -> None:
        """Wait until the user hub is connected and the account has been read completely since."""
        book = self.parts.loop.book
        await self.until(lambda: book.links.user_up and book.recovered)

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait until ``is_true`` and on record; raises what ended the guard if that comes first."""
        while not is_true():
            if self._tasks is not None and self._tasks.have_ended:
                await self._tasks.wait()
            await asyncio.sleep(STATE_CHECK_S)
        await self.parts.loop.recorded()
