"""One lifecycle, one pre-trade pipeline, one place to embed.

Starting is recovering: lock, journal, replay, then the broker's truth, then ACTIVE. There is no
other start-up path. Everything that a bot or an operator asks for goes through here; the desks of
``guard_life`` do it.
"""

import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial
from typing import Self

from backstop.adapters.alert_courier import Delivery
from backstop.adapters.clock import SystemClock
from backstop.adapters.log import Redactor
from backstop.app.alert_desk import AlertDesk
from backstop.app.audit_reading import AuditReading
from backstop.app.bot_desk import BotDesk
from backstop.app.bot_hubs import BotHub
from backstop.app.codec import recordable
from backstop.app.commit_waits import CommitWaits
from backstop.app.component_health import ComponentHealth
from backstop.app.correlation_protection_system import CorrelationProtectionSystem
from backstop.app.daemon_thread import in_daemon_thread
from backstop.app.disaster_recovery_system import DisasterRecoverySystem
from backstop.app.execution_verification_system import ExecutionVerificationSystem
from backstop.app.guard_life import GuardLife
from backstop.app.loop import DecisionLoop
from backstop.app.notes import log_note
from backstop.app.order_desk import OrderDesk
from backstop.app.order_records import OrderRecords
from backstop.app.quote_board import QuoteBoard
from backstop.app.recovery_review import RecoveryReport
from backstop.app.set_up import of_guard
from backstop.app.watch_link import WatchLink, WatchReport
from backstop.app.wiring import Parts
from backstop.app.wish_checks import check_strategy
from backstop.config.secret import Secret
from backstop.config.settings import Settings, refuse_split_gateway
from backstop.core.book import Book
from backstop.core.execution_verdict import Verification
from backstop.core.exposure_snapshot import ExposureSnapshot
from backstop.core.guardrails import Assessment
from backstop.core.liquidation import Liquidation
from backstop.core.step import Decision, Note
from backstop.core.trading_state import TradingState
from backstop.domain.events import AlertChannelUnreached, StrategySaved
from backstop.domain.order import OrderRequest
from backstop.domain.set_up import SetUp
from backstop.domain.standing_latch import StandingLatch
from backstop.domain.watch_alert import WatchAlert
from backstop.errors import SetupError, UnknownOrderError
from backstop.ports import Clock

NOT_STARTED = "The guard was not started: call initialize() first."
STARTED = "The guard is started already: close it first."


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
        self.latches_before: tuple[StandingLatch, ...] = ()  # likewise: of the guard before us
        self.alerts_before: tuple[WatchAlert, ...] = ()  # likewise: of the watchdog, without one
        self.comes_back = False  # likewise: at once, in place of a guard that failed
        self.on_begun: Callable[[], None] = lambda: None  # hears once it can be asked
        self.bot_hubs: tuple[BotHub, ...] = ()  # set by whoever puts a gateway in front of us
        self.hosted_strategies: set[str] = set()  # names; set by whoever hosts them
        self._on_note = on_note
        self._life: GuardLife | None = None  # stays after the end: what was known can be read
        self._is_open = False
        self._closing = AsyncExitStack()
        self._health = ComponentHealth(self.note)
        self.alert_desk = AlertDesk(
            urls=settings.alert_urls,
            account=str(settings.account_id),
            clock=self.clock,
            on_fault=self._health.reporter("alerts"),
            redact=self.redactor.redact,
            on_unreached=self._channel_unreached,
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
        guard keeps trying and stays in STARTING. Where the gateway is slow, the guard can be asked
        before: ``on_begun`` says when.

        Raises:
            SetupError: settings, state folder, keys, or another guard on the account; also when it
                is started already.
            LoginRefusedError: the gateway refuses the credentials.
        """
        if self._is_open:
            raise SetupError(STARTED)
        refuse_split_gateway(self.settings)
        self._is_open = True
        self._health.begin_anew()
        try:
            self._life = life = GuardLife(
                self.settings,
                clock=self.clock,
                quotes=self.quotes,
                closing=self._closing,
                health=self._health,
                alert_desk=self.alert_desk,
                redactor=self.redactor,
                on_note=self.note,
                comes_back=self.comes_back,
            )
            life.take_over(self.latches_before)
            life.take_note(self.alerts_before)
            await life.connect(on_begun=self.on_begun)
        except BaseException as error:
            # A start that is cancelled is one that a person did not want to wait for.
            await self.close(by_person=not isinstance(error, Exception))
            raise

    async def failed(self) -> None:
        """Wait for ever, or raise what ended one of the guard's own tasks."""
        await self._started().failed()

    async def close(self, *, by_person: bool = True) -> None:
        """Stop taking wishes, write everything down, give the right to send back.

        Orders and protective legs stay at the venue. ``by_person`` False: something went wrong,
        and the next start treats it as a crash.

        Raises:
            JournalError: the disk did not take the rest in time; all else is closed all the same.
        """
        try:
            if self._is_open and self._life is not None:
                await self._life.end(by_person=by_person)
        finally:  # also when there is no time left: the state is what the next start needs
            self._is_open = False
            await self._closing.aclose()

    # -- orders ----------------------------------------------------------------------------------

    def validate_order(self, request: OrderRequest) -> Assessment | None:
        """Judge an order without doing anything; None when no contract goes by its symbol.

        A kill file of the last quarter of a second may not be known yet: ``what_if`` looks for it.

        Raises:
            DomainError: a member of the request is not what its type says.
        """
        return self._started().orders.validate(request)

    async def what_if(self, request: OrderRequest) -> Assessment | None:
        """Judge an order as ``submit_order`` would now, looking for a kill file like it.

        Errors as of ``validate_order``.
        """
        return await self._started().orders.what_if(request)

    async def submit_order(self, request: OrderRequest) -> Decision:
        """Ask for an order; an accepted one is returned when the venue answered, or did not.

        Raises:
            DomainError: a member of the request is not what its type says; nothing was sent.
            JournalError: the intent could not be made durable; nothing was sent.
        """
        return await self._started().orders.submit(request)

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
        """
        return await self._started().orders.register(
            request, custom_tag=custom_tag, broker_order_id=broker_order_id
        )

    async def order_changed(self, client_order_id: str) -> None:
        """Wait until something about an order has changed, on record."""
        await self.decisions.order_changed(client_order_id)

    async def cancel_order(self, client_order_id: str, *, reason: str) -> Decision:
        """Ask the venue to cancel an order, and again until it is over or the venue says no.

        What comes of it shows in the order.
        """
        return await self._started().orders.cancel(client_order_id, reason=reason)

    async def modify_order(
        self,
        client_order_id: str,
        *,
        quantity: int | None,
        limit_price: Decimal | int | None,
        stop_price: Decimal | int | None,
    ) -> Decision:
        """Ask the venue to change an order; returned when it answered, or did not.

        Prices go to the tick as for a new order. What the venue refuses is NOT_POSSIBLE, with its
        words; what it took and does not show yet is in the order's ``change``.

        Raises:
            DomainError: a price is no exact number; nothing was done.
        """
        return await self._started().orders.modify(
            client_order_id, quantity=quantity, limit_price=limit_price, stop_price=stop_price
        )

    async def change_leg(self, broker_order_id: int, *, price: Decimal | int | None) -> Decision:
        """Ask the venue to move a leg of a bracket to ``price``, or with None to cancel it.

        Raises:
            DomainError: the price is no exact number; nothing was done.
        """
        return await self._started().orders.change_leg(broker_order_id, price=price)

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
        """Return the signed proof of an order's fills as JSON, None while there is none.

        It may read the disk; ``order_records.proof`` does so beside the event loop.
        """
        return self.order_records.proof_at_once(client_order_id)

    def save_strategy(self, strategy_id: str, state: dict[str, str | int | None]) -> None:
        """Record what a strategy needs to go on after a restart, if it changed.

        Raises:
            DomainError: the state holds something else than whole numbers, text and None, or more
                than goes on record; or no strategy can go by the name.
        """
        check_strategy(strategy_id)
        if self.book.strategy_states.get(strategy_id) != state:
            saved = StrategySaved(utc_us=self.clock.utc_us(), strategy_id=strategy_id, state=state)
            self.decisions.put(recordable(saved))

    # -- positions -------------------------------------------------------------------------------

    async def add_position(
        self,
        symbol: str,
        quantity: int,
        *,
        stop_price: Decimal | int,
        take_profit_price: Decimal | int | None = None,
    ) -> Decision:
        """Record where a position that the broker shows is to be taken out, and put that in place.

        As ``DisasterRecoverySystem.add_position``, which says what each argument means.
        """
        return await self.disaster_recovery.add_position(
            symbol, quantity, stop_price=stop_price, take_profit_price=take_profit_price
        )

    async def protect_position(
        self,
        symbol: str,
        *,
        stop_price: Decimal | int | None = None,
        take_profit_price: Decimal | int | None = None,
    ) -> Decision:
        """Give a position a stop and a target; a level that is None stays as it is.

        Raises:
            DomainError: a price is no exact number; nothing was done.
            JournalError: it could not be made durable, and nothing was sent.
        """
        return await self._started().protection.protect(
            symbol, stop_price=stop_price, take_profit_price=take_profit_price
        )

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
            DomainError: nobody is named, or no reason is; nothing was done.
            JournalError: it could not be made durable, and nothing was sent.
        """
        return await self._started().operator.close_position(
            symbol, quantity=quantity, reason=reason, operator=operator
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

    # -- the operator's acts ---------------------------------------------------------------------

    async def halt(self, *, reason: str, operator: str) -> Decision:
        """Block new exposure until a person resumes; exits stay possible.

        Raises:
            DomainError: nobody is named, or no reason is; nothing was done.
        """
        return await self._started().operator.halt(reason=reason, operator=operator)

    async def resume(self, *, reason: str, operator: str) -> Decision:
        """Lift what a person or a machine latched.

        Refused while the kill file is there, which would latch again at once, while an order is
        UNKNOWN, a liquidation is not flat, or the record is not sound.

        Raises:
            DomainError: nobody is named, or no reason is; nothing was done.
        """
        return await self._started().operator.resume(reason=reason, operator=operator)

    async def change_limits(
        self,
        *,
        daily_loss: Decimal | int | None = None,
        trailing_loss: Decimal | int | None = None,
        max_position: Decimal | int | None = None,
        reason: str = "",
        operator: str = "",
    ) -> Decision:
        """Change limits of the account, in dollars and minis; to loosen one takes a person.

        Raises:
            DomainError: no limit is named, one is no exact number, or what is said of who asks and
                why is no such text; nothing was done.
        """
        return await self._started().operator.change_limits(
            daily_loss=daily_loss,
            trailing_loss=trailing_loss,
            max_position=max_position,
            reason=reason,
            operator=operator,
        )

    async def liquidate(self, *, reason: str, operator: str, symbol: str | None = None) -> Decision:
        """Take the account flat, or the contract that ``symbol`` stands for; ``liquidation`` tells.

        Raises:
            DomainError: nobody is named, or no reason is; nothing was done.
            JournalError: it could not be made durable, and something of it was held back.
        """
        return await self._started().operator.liquidate(
            reason=reason, operator=operator, symbol=symbol
        )

    def liquidation(self, liquidation_id: str) -> Liquidation | None:
        """Return a liquidation or a close as it stands; None when none goes by the name."""
        return self.book.liquidations.get(liquidation_id)

    async def acknowledge_alert(self, alert_id: int, *, operator: str) -> Decision:
        """Note that a person has read an alert; it lifts no latch.

        Raises:
            DomainError: nobody is named; nothing was done.
        """
        return await self._started().operator.acknowledge_alert(alert_id, operator=operator)

    def deliveries(self, alert_id: int) -> tuple[Delivery, ...]:
        """Return what became of an alert on each channel that was tried."""
        return self.alert_desk.deliveries.get(alert_id, ())

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
        return self.decisions.book

    @property
    def decisions(self) -> DecisionLoop:
        """The loop that decides and records; raises SetupError before the start."""
        return self.parts.loop

    @property
    def parts(self) -> Parts:
        """What the guard is made of, for those who measure it."""
        return self._started().parts

    @property
    def order_records(self) -> OrderRecords:
        """Orders by their names, also finished ones that the book has let go of."""
        return self._started().records

    @property
    def order_desk(self) -> OrderDesk:
        """Where a gateway in this process asks for the orders of its bots."""
        return self._started().orders

    @property
    def bots(self) -> BotDesk:
        """Where bots register, say that they live, and sign off."""
        return self._started().bots

    @property
    def audit(self) -> AuditReading:
        """Answers about the audit log, from what is durable."""
        return self.parts.reading

    @property
    def gateway_host(self) -> str:
        """The host of the gateway that it trades at, with the port where one is given."""
        return self.settings.gateway_host

    @property
    def settings_warnings(self) -> tuple[str, ...]:
        """What of its settings and of its state folder a person should hear of, in sentences."""
        found = () if self._life is None else self._life.parts.state.openings
        unreached = self.alert_desk.unreached
        return (*self.settings.warnings, *(it.told for it in found), *unreached)

    @property
    def components(self) -> dict[str, str]:
        """What is not well, by component; empty when everything is."""
        return self._health.faults if self._life is None else self._life.faults

    def set_up(self) -> SetUp:
        """Return what the guard knows of its clock, disk, login, hubs, data and gates."""
        return of_guard(self)

    @property
    def recovery(self) -> RecoveryReport | None:
        """What was different when this guard began; None before the account was read."""
        return None if self._life is None else self._life.parts.review.report

    @property
    def watch(self) -> WatchReport | None:
        """How the watch over this process stands; None when nobody was to watch it."""
        return None if self.watch_link is None else self.watch_link.report()

    @property
    def is_running(self) -> bool:
        """There is a book to ask; before that everything but ``initialize`` raises."""
        return self._life is not None

    @property
    def steps(self) -> int:
        """Facts handled since the start: work done, the pulse of the decision loop."""
        return 0 if self._life is None else self._life.parts.loop.steps

    @property
    def journal_seq(self) -> int:
        """Number of the newest record, which may not be on disk yet."""
        return self.decisions.journal_seq

    @property
    def commit_waits(self) -> CommitWaits:
        """How long records waited for the disk, since the start."""
        return self.parts.trail.commit_waits

    def now_ns(self) -> int:
        """Return monotonic time as the book counts it."""
        return self.clock.monotonic_ns()

    async def user_hub_connected(self) -> None:
        """Wait until the user hub is connected and subscribed."""
        await self._started().until(lambda: self.book.links.user_up)

    async def account_read(self) -> None:
        """Wait until the user hub is connected and the account has been read completely since."""
        await self._started().account_read()

    async def reached(self, state: TradingState) -> None:
        """Wait until the trading state is ``state``."""
        await self._started().until(lambda: self.book.trading_state(self.now_ns()) is state)

    def fault_reporter(self, component: str) -> Callable[[str], None]:
        """Return what a part beside the guard tells its fault to; empty: it is well again."""
        return self._health.reporter(component)

    def note(self, note: Note) -> None:
        """Write one line to the log and to whoever listens."""
        log_note(note, seq=self.steps)
        if self._on_note is not None:
            self._on_note(note)

    def _channel_unreached(self, channel: int, service: str, reason: str) -> None:
        if self._life is not None:
            self._life.parts.loop.put(
                AlertChannelUnreached(
                    utc_us=self.clock.utc_us(), channel=channel, service=service, reason=reason
                )
            )

    def _started(self) -> GuardLife:
        if self._life is None:
            raise SetupError(NOT_STARTED)
        return self._life
