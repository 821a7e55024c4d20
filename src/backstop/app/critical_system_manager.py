"""One lifecycle, one pre-trade pipeline, one place to embed.

Starting is recovering: lock, journal, replay, then the broker's truth, then ACTIVE. There is no
other start-up path. Everything that a bot or an operator asks for goes through here.
"""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial
from typing import Self

from backstop.adapters.alert_courier import Delivery
from backstop.adapters.clock import SystemClock
from backstop.adapters.log import Redactor
from backstop.adapters.projectx.rate_budget import RateBudget
from backstop.app.alert_desk import AlertDesk
from backstop.app.audit_reading import AuditReading
from backstop.app.audit_trail import AuditTrail
from backstop.app.bot_desk import BotDesk
from backstop.app.broker_link import BrokerLink
from backstop.app.codec import recordable
from backstop.app.commit_waits import CommitWaits
from backstop.app.component_health import ComponentHealth
from backstop.app.correlation_protection_system import CorrelationProtectionSystem
from backstop.app.daemon_thread import in_daemon_thread
from backstop.app.disaster_recovery_system import DisasterRecoverySystem
from backstop.app.execution_verification_system import ExecutionVerificationSystem
from backstop.app.guard_tasks import GuardTasks
from backstop.app.loop import DecisionLoop
from backstop.app.notes import log_note
from backstop.app.order_records import OrderRecords
from backstop.app.protection_desk import ProtectionDesk
from backstop.app.quote_board import QuoteBoard
from backstop.app.recovery_review import RecoveryReport, RecoveryReview
from backstop.app.state_layout import AUDIT_DATABASE
from backstop.app.state_opening import OpenedState
from backstop.app.watch_link import WatchLink, WatchReport
from backstop.app.wiring import Outlets, wired
from backstop.config.secret import Secret
from backstop.config.settings import Settings, refuse_live_gateway
from backstop.core.account_rules.limits import TENTHS
from backstop.core.book import Book
from backstop.core.execution_verification import REPLY_LIMIT_NS, Verification
from backstop.core.exposure_snapshot import ExposureSnapshot
from backstop.core.guardrails import Assessment
from backstop.core.liquidation import Liquidation
from backstop.core.liquidation_scope import contract_for
from backstop.core.order_numbers import tickless_faults
from backstop.core.pre_trade import judge
from backstop.core.step import Decision, DecisionKind, Note, Tag
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import TradingState
from backstop.domain.commands import Severity
from backstop.domain.events import (
    AlertAcknowledged,
    CancelRequested,
    CloseRequested,
    HaltRequested,
    LimitsChangeRequested,
    LiquidationRequested,
    ModifyRequested,
    OrderRegistered,
    OrderRequested,
    ResumeRequested,
    StrategySaved,
)
from backstop.domain.instrument import Rounding
from backstop.domain.numbers import micros
from backstop.domain.order import OrderRequest, OrderState, Side
from backstop.domain.quote import Quote
from backstop.errors import (
    GatewayAnswerError,
    GatewayUnreachableError,
    JournalError,
    SetupError,
    UnknownOrderError,
)
from backstop.ports import Clock

FIRST_CONTACT_LIMIT_S = 10.0
"""How long the start waits to hear whether the credentials are good."""

NOT_STARTED = "The guard was not started: call initialize() first."

STATE_CHECK_S = 0.02
"""Pause between looks at a state that no single order owns."""


class CriticalSystemManager:
    """Guards one account; use as an async context manager."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        on_note: Callable[[Note], None] | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.quotes = QuoteBoard(self.clock)
        self.session_id = uuid.uuid4().hex[:12]
        self.execution_verification = ExecutionVerificationSystem(guard=self)
        self.disaster_recovery = DisasterRecoverySystem(guard=self)
        self.correlation_protection = CorrelationProtectionSystem(guard=self)
        self.redactor = Redactor()  # strikes secrets out of whatever this guard lets out
        for secret in settings.secrets:
            self.redactor.register(secret)
        self.watch_link: WatchLink | None = None  # set by whoever starts us under a watchdog
        self._on_note = on_note
        self._loop: DecisionLoop | None = None
        self._bots: BotDesk | None = None
        self._budget: RateBudget | None = None
        self._trail: AuditTrail | None = None
        self._reading: AuditReading | None = None
        self._records: OrderRecords | None = None
        self._state: OpenedState | None = None
        self._review: RecoveryReview | None = None
        self._tasks: GuardTasks | None = None
        self._closing = AsyncExitStack()
        self._health = ComponentHealth(self.note)
        self.alert_desk = AlertDesk(
            urls=settings.alert_urls,
            account=str(settings.account_id),
            clock=self.clock,
            on_fault=self._health.reporter("alerts"),
            redact=self.redactor.redact,
        )

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        clock: Clock | None = None,
        on_note: Callable[[Note], None] | None = None,
    ) -> Self:
        """Return a manager that is not started yet."""
        return cls(settings, clock=clock, on_note=on_note)

    @classmethod
    def from_env(cls) -> Self:
        """Return a manager for the settings of the environment and of ``.env.local``."""
        return cls(Settings.load())

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Ctrl-C and a cancelled task are a person's wish; whatever else ends a bot is a crash.
        await self.close(by_person=kind is None or not issubclass(kind, Exception))

    # -- lifecycle -------------------------------------------------------------------------------

    async def initialize(self) -> None:
        """Take the right to send, recover the book, and begin to connect.

        Returns once the gateway accepted the credentials, or could not be reached yet: then the
        guard keeps trying and stays in STARTING.

        Raises:
            SetupError: settings, state folder, keys, or another guard on the account.
            LoginRefusedError: the gateway refuses the credentials.
        """
        refuse_live_gateway(self.settings)
        try:
            await self._start()
        except BaseException:
            await self.close(by_person=False)
            raise

    async def _start(self) -> None:
        parts = wired(
            self.settings,
            clock=self.clock,
            quotes=self.quotes,
            closing=self._closing,
            outlets=Outlets(
                note=self.note,
                alert=self.alert_desk.put,
                fault=self._health.reporter,
                say_fault=self._health.say,
                strike=self.redactor.redact_bytes,
            ),
        )
        self._loop, self._trail, self._reading = parts.loop, parts.trail, parts.reading
        self._state, self._review = parts.state, parts.review
        self._records = OrderRecords(
            parts.loop,
            past=parts.state.past,
            database=self.settings.state_folder / AUDIT_DATABASE,
        )
        self._budget = parts.gateway.budget
        self._bots = BotDesk(parts.loop, clock=self.clock)
        self._say_doubts()
        await self._first_contact(parts.link)
        self._tasks = GuardTasks(
            parts,
            settings=self.settings,
            clock=self.clock,
            health=self._health,
            alert_desk=self.alert_desk,
            bots=self.bots,
            quotes=self.quotes,
            account_read=self.account_read,
            on_secret=self.redactor.register,
        )

    def _say_doubts(self) -> None:
        for doubt in self.settings.warnings:
            self.note(
                Note(
                    tag=Tag.CRITICAL_SYSTEM,
                    name="setting_in_doubt",
                    fields={"message": doubt},
                    severity=Severity.WARNING,
                )
            )

    async def _first_contact(self, link: BrokerLink) -> None:
        """Hear whether the credentials are good; an unreachable gateway is tried on later."""
        try:
            async with asyncio.timeout(FIRST_CONTACT_LIMIT_S):
                await link.greet()
        except GatewayAnswerError as error:
            raise SetupError(str(error)) from error
        except (GatewayUnreachableError, TimeoutError) as error:
            self._health.reporter("gateway")(str(error) or "no answer from the gateway yet")

    async def failed(self) -> None:
        """Wait for ever, or raise what ended one of the guard's own tasks."""
        if self._tasks is None:
            raise SetupError(NOT_STARTED)
        await self._tasks.wait()

    async def close(self, *, by_person: bool = True) -> None:
        """Stop taking wishes, write everything down, give the right to send back.

        Orders and protective legs stay at the venue. ``by_person`` False: something went wrong,
        and the next start treats it as a crash.

        Raises:
            JournalError: the disk did not take the rest in time; all else is closed all the same.
        """
        if self._tasks is not None:
            by_person = by_person and not self._tasks.have_ended
            await self._tasks.cancel()
            self._tasks = None
        if self._state is not None:
            self._state.clean_stop = by_person
        await self._closing.aclose()

    # -- wishes ----------------------------------------------------------------------------------

    def validate_order(self, request: OrderRequest) -> Assessment | None:
        """Judge an order without doing anything; None when no contract goes by its symbol.

        Raises:
            DomainError: a member of the request is not what its type says.
        """
        return judge(self.book, recordable(self._wish(request)), now_ns=self.now_ns())

    def _wish(self, request: OrderRequest) -> OrderRequested:
        """Return the wish for an order with the market that its decision is based on."""
        return OrderRequested(
            utc_us=self.clock.utc_us(),
            request=request,
            reference=self._reference(request.symbol),
            marks=self.quotes.marks(),
            spare_calls=None if self._budget is None else self._budget.left(),
        )

    def _reference(self, symbol: str) -> Quote | None:
        """Return the market of a symbol's contract, as far as it is known now."""
        instrument = self.book.instrument_for(symbol)
        return None if instrument is None else self.quotes.reference(instrument.contract_id)

    async def submit_order(self, request: OrderRequest) -> Decision:
        """Ask for an order; an accepted one is returned when the venue answered, or did not.

        Raises:
            DomainError: a member of the request is not what its type says; nothing was sent.
            JournalError: the intent could not be made durable; nothing was sent.
        """
        await self._protection().leftovers_gone(request)
        decision = await self._running().decide(self._wish(request))
        if decision.kind is not DecisionKind.ACCEPTED or decision.order is None:
            return decision
        order = await self._until_answered(decision.order)
        return Decision(
            kind=decision.kind,
            order=order,
            assessment=decision.assessment,
            denials=decision.denials,
            message=decision.message,
        )

    async def register_pending_order(
        self,
        request: OrderRequest,
        *,
        custom_tag: str | None = None,
        broker_order_id: int | None = None,
    ) -> Decision:
        """Follow an order that the bot sends itself, and never send it.

        ``ExecutionVerificationSystem.add_pending_order`` says how; ``submit_order`` is for orders
        that the guard is to send.

        Raises:
            DomainError: a member of the request is not what its type says.
            JournalError: it is not on disk: do not send an entry.
        """
        return await self._running().decide(
            OrderRegistered(
                utc_us=self.clock.utc_us(),
                request=request,
                custom_tag=custom_tag,
                broker_order_id=broker_order_id,
                reference=self._reference(request.symbol),
            )
        )

    async def cancel_order(self, client_order_id: str, *, reason: str) -> Decision:
        """Ask the venue to cancel an order; what comes of it shows in the order."""
        return await self._running().decide(
            CancelRequested(
                utc_us=self.clock.utc_us(), client_order_id=client_order_id, reason=reason
            )
        )

    async def modify_order(
        self,
        client_order_id: str,
        *,
        quantity: int | None,
        limit_price: Decimal | None,
        stop_price: Decimal | None,
    ) -> Decision:
        """Ask the venue to change an order; prices go to the tick as for a new order."""
        order = self.book.orders.get(client_order_id)
        limit_ticks = stop_ticks = reference = None
        if order is not None:
            instrument = self.book.instruments[order.intent.contract_id]
            reference = self.quotes.reference(instrument.contract_id)
            asked = {"limit_price": limit_price, "stop_price": stop_price}
            faults = tickless_faults(asked, instrument)
            if faults:
                return Decision(kind=DecisionKind.REFUSED, order=order, denials=faults)
            buying = order.intent.side is Side.BUY
            passive = Rounding.DOWN if buying else Rounding.UP
            away = Rounding.UP if buying else Rounding.DOWN
            if limit_price is not None:
                limit_ticks = instrument.rounded_ticks(limit_price, passive)
            if stop_price is not None:
                stop_ticks = instrument.rounded_ticks(stop_price, away)
        return await self._running().decide(
            ModifyRequested(
                utc_us=self.clock.utc_us(),
                client_order_id=client_order_id,
                quantity=quantity,
                limit_ticks=limit_ticks,
                stop_ticks=stop_ticks,
                reference=reference,
                marks=self.quotes.marks(),
            )
        )

    def save_strategy(self, strategy_id: str, state: dict[str, str | int | None]) -> None:
        """Record what a strategy needs to go on after a restart, if it changed.

        Raises:
            DomainError: the state holds something else than whole numbers, text and None.
        """
        if self.book.strategy_states.get(strategy_id) != state:
            saved = StrategySaved(utc_us=self.clock.utc_us(), strategy_id=strategy_id, state=state)
            self._running().put(recordable(saved))

    async def halt(self, *, reason: str, operator: str) -> Decision:
        """Block new exposure until a person resumes; exits stay possible."""
        return await self._running().decide(
            HaltRequested(utc_us=self.clock.utc_us(), reason=reason, operator=operator)
        )

    async def change_limits(
        self,
        *,
        daily_loss: Decimal | None = None,
        trailing_loss: Decimal | None = None,
        max_position: Decimal | None = None,
        reason: str = "",
        operator: str = "",
    ) -> Decision:
        """Change limits of the account, in dollars and minis; to loosen one takes a person."""
        return await self._running().decide(
            LimitsChangeRequested(
                utc_us=self.clock.utc_us(),
                daily_loss_micros=None if daily_loss is None else micros(daily_loss),
                trailing_loss_micros=None if trailing_loss is None else micros(trailing_loss),
                max_position_tenths=None if max_position is None else int(max_position * TENTHS),
                reason=reason,
                operator=operator,
            )
        )

    def deliveries(self, alert_id: int) -> tuple[Delivery, ...]:
        """Return what became of an alert on each channel that was tried."""
        return self.alert_desk.deliveries.get(alert_id, ())

    async def acknowledge_alert(self, alert_id: int, *, operator: str) -> Decision:
        """Note that a person has read an alert; it lifts no latch."""
        return await self._running().decide(
            AlertAcknowledged(utc_us=self.clock.utc_us(), alert_id=alert_id, operator=operator)
        )

    async def liquidate(self, *, reason: str, operator: str, symbol: str | None = None) -> Decision:
        """Take the account flat, or the contract that ``symbol`` stands for; ``liquidation`` tells.

        Raises:
            JournalError: it could not be made durable, and something of it was held back.
        """
        contract_id = None if symbol is None else contract_for(self.book, symbol)
        if symbol is not None and contract_id is None:
            return Decision(kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract: {symbol}")
        return await self._running().decide(
            LiquidationRequested(
                utc_us=self.clock.utc_us(),
                reason=reason,
                operator=operator,
                contract_id=contract_id,
            )
        )

    def liquidation(self, liquidation_id: str) -> Liquidation | None:
        """Return a liquidation or a close as it stands; None when none goes by the name."""
        return self.book.liquidations.get(liquidation_id)

    async def close_position(
        self,
        symbol: str,
        *,
        quantity: int | None = None,
        reason: str = "asked for",
        operator: str = "bot",
    ) -> Decision:
        """Close a position, or ``quantity`` contracts of it, at the market; never flips it.

        Raises:
            JournalError: it could not be made durable, and nothing was sent.
        """
        contract_id = contract_for(self.book, symbol)
        if contract_id is None:
            return Decision(kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract: {symbol}")
        return await self._running().decide(
            CloseRequested(
                utc_us=self.clock.utc_us(),
                contract_id=contract_id,
                reason=reason,
                operator=operator,
                quantity=quantity,
            )
        )

    async def protect_position(
        self,
        symbol: str,
        *,
        stop_price: Decimal | None = None,
        take_profit_price: Decimal | None = None,
    ) -> Decision:
        """Give a position a stop and a target; a level that is None stays as it is.

        Raises:
            JournalError: it could not be made durable, and nothing was sent.
        """
        return await self._protection().protect(
            symbol, stop_price=stop_price, take_profit_price=take_profit_price
        )

    async def add_position(
        self,
        symbol: str,
        quantity: int,
        *,
        stop_price: Decimal,
        take_profit_price: Decimal | None = None,
    ) -> Decision:
        """Record where a position that the broker shows is to be taken out, and put that in place.

        As ``DisasterRecoverySystem.add_position``, which says what each argument means.
        """
        return await self.disaster_recovery.add_position(
            symbol, quantity, stop_price=stop_price, take_profit_price=take_profit_price
        )

    async def update_exposure(
        self, symbol: str, quantity: int, *, timeout_s: float | None = None
    ) -> ExposureSnapshot:
        """Return the exposure once the broker shows a position of ``quantity``.

        As ``CorrelationProtectionSystem.update_exposure``, which says what each argument means.
        """
        return await self.correlation_protection.update_exposure(
            symbol, quantity, timeout_s=timeout_s
        )

    def exposure(self) -> ExposureSnapshot:
        """Return everything that is held and could fill, in risk dollars, with its limits."""
        return self.correlation_protection.snapshot()

    def _protection(self) -> ProtectionDesk:
        return ProtectionDesk(self._running(), quotes=self.quotes, clock=self.clock)

    async def resume(self, *, reason: str, operator: str) -> Decision:
        """Lift what a person or a machine latched; refused while an order is UNKNOWN."""
        return await self._running().decide(
            ResumeRequested(utc_us=self.clock.utc_us(), reason=reason, operator=operator)
        )

    # -- evidence --------------------------------------------------------------------------------

    async def verify_execution(
        self,
        client_order_id: str,
        *,
        expected_quantity: int | None = None,
        max_slippage_ticks: Decimal | None = None,
        timeout_s: float | None = None,
    ) -> Verification | None:
        """Wait for the evidence about an order and judge it; None for an unknown order.

        As ``ExecutionVerificationSystem.verify_execution``, which says what each argument means.
        """
        try:
            return await self.execution_verification.verify_execution(
                client_order_id, expected_quantity, max_slippage_ticks, timeout_s=timeout_s
            )
        except UnknownOrderError:
            return None

    def execution_proof(self, client_order_id: str) -> bytes | None:
        """Return the signed proof of an order's fills as JSON, None while there is none."""
        return self.order_records.proof(client_order_id)

    @property
    def order_records(self) -> OrderRecords:
        """Orders by their names, also finished ones that the book has let go of."""
        if self._records is None:
            raise SetupError(NOT_STARTED)
        return self._records

    async def _until_answered(self, order: TrackedOrder) -> TrackedOrder:
        """Return the order once the venue answered for it, or its silence became UNKNOWN."""
        name, unanswered = order.client_order_id, {OrderState.INTENDED, OrderState.SENT}
        try:
            async with asyncio.timeout(2 * REPLY_LIMIT_NS / 1e9):
                while self.book.orders.get(name, order).state in unanswered:
                    await self._running().order_changed(name)
        except (TimeoutError, JournalError):
            pass  # the order says by its state that it is not answered
        await self._running().recorded()
        return self.order_records.named(name) or order

    # -- credentials -----------------------------------------------------------------------------

    async def get_credential(self, name: str, *, default: str | None = None) -> Secret:
        """Return a credential, or ``default`` where no source has it; a vault may take seconds.

        Raises:
            CredentialError: names each source asked and its reason, never a value.
        """
        ask = partial(self.settings.credentials.get_credential, name, default=default)
        return self._known(await in_daemon_thread(ask, name="credentials"))

    async def try_get_credential(self, name: str) -> Secret | None:
        """Return a credential; None when no source has it. Errors likewise."""
        ask = partial(self.settings.credentials.try_get_credential, name)
        found = await in_daemon_thread(ask, name="credentials")
        return None if found is None else self._known(found)

    def _known(self, secret: Secret) -> Secret:
        """Have a secret that was handed out struck out of whatever this guard lets out."""
        self.redactor.register(secret)
        return secret

    # -- what is true ----------------------------------------------------------------------------

    @property
    def book(self) -> Book:
        """The guard's knowledge; read only for everybody but the decision loop."""
        return self._running().book

    @property
    def decisions(self) -> DecisionLoop:
        """The loop that decides and records; raises SetupError before the start."""
        return self._running()

    @property
    def components(self) -> dict[str, str]:
        """What is not well, by component; empty when everything is."""
        health = self._health.faults
        if self._trail is not None:
            health |= self._trail.faults
        if self._state is not None and self._state.past.fault is not None:
            health["past orders"] = self._state.past.fault
        if self._loop is not None and self._loop.failure is not None:
            health["journal"] = self._loop.failure
        return health

    @property
    def audit(self) -> AuditReading:
        """Answers about the audit log, from what is durable."""
        if self._reading is None:
            raise SetupError(NOT_STARTED)
        return self._reading

    @property
    def journal_seq(self) -> int:
        """Number of the newest record, which may not be on disk yet."""
        return self._running().journal_seq

    @property
    def commit_waits(self) -> CommitWaits:
        """How long records waited for the disk, since the start."""
        if self._trail is None:
            raise SetupError(NOT_STARTED)
        return self._trail.commit_waits

    @property
    def bots(self) -> BotDesk:
        """Where bots register, say that they live, and sign off."""
        if self._bots is None:
            raise SetupError(NOT_STARTED)
        return self._bots

    @property
    def recovery(self) -> RecoveryReport | None:
        """What was different when this guard began; None before the account was read."""
        return None if self._review is None else self._review.report

    @property
    def is_running(self) -> bool:
        """There is a book to ask; before that everything but ``initialize`` raises."""
        return self._loop is not None

    @property
    def watch(self) -> WatchReport | None:
        """How the watch over this process stands; None when nobody was to watch it."""
        return None if self.watch_link is None else self.watch_link.report()

    @property
    def steps(self) -> int:
        """Facts handled since the start: work done, the pulse of the decision loop."""
        return 0 if self._loop is None else self._loop.steps

    def now_ns(self) -> int:
        """Return monotonic time as the book counts it."""
        return self.clock.monotonic_ns()

    async def user_hub_connected(self) -> None:
        """Wait until the user hub is connected and subscribed."""
        await self._until(lambda: self.book.links.user_up)
        await self._running().recorded()

    async def account_read(self) -> None:
        """Wait until the user hub is connected and the account has been read completely since."""
        await self._until(lambda: self.book.links.user_up and self.book.recovered)
        await self._running().recorded()

    async def reached(self, state: TradingState) -> None:
        """Wait until the trading state is ``state``."""
        await self._until(lambda: self.book.trading_state(self.now_ns()) is state)
        await self._running().recorded()

    async def _until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            if self._tasks is not None and self._tasks.have_ended:
                await self._tasks.wait()
            await asyncio.sleep(STATE_CHECK_S)

    # -- outlets ---------------------------------------------------------------------------------

    def note(self, note: Note) -> None:
        """Write one line to the log and to whoever listens."""
        log_note(note, seq=self.steps)
        if self._on_note is not None:
            self._on_note(note)

    def _running(self) -> DecisionLoop:
        if self._loop is None:
            raise SetupError(NOT_STARTED)
        return self._loop
