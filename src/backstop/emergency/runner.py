"""One liquidation by a process of its own: the guard's own core, without the guard around it.

It decides as a guard would, for it runs the same fold: what the record tells, then what the broker
says, then one fact after the other until two fresh reads have proven that nothing is left. No hub
is needed; the account is read again and again.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from msgspec import Struct

from backstop import __version__
from backstop.adapters.lock import AccountLock
from backstop.adapters.machine import machine
from backstop.config.settings import Settings
from backstop.core.book import Book
from backstop.core.clock_readings import is_clock_news
from backstop.core.engine import condensed, next_deadline_ns, step
from backstop.core.liquidation import FINISHED, Liquidation, Remaining
from backstop.core.liquidation_scope import contract_for, remaining, would_send
from backstop.core.policy import Policy
from backstop.core.step import Step
from backstop.domain.commands import AuditAccount, CancelOrder, ClosePosition, RaiseAlert
from backstop.domain.events import (
    AccountAudited,
    AccountReported,
    Fact,
    GuardStarted,
    InstrumentsLoaded,
    LiquidationRequested,
    Source,
    StopKind,
    TimerFired,
    VenueClockRead,
)
from backstop.domain.external import ExternalPositionPolicy
from backstop.emergency.broker import Broker, logged_in
from backstop.emergency.record import recorded
from backstop.emergency.requests import Asked, Requests
from backstop.emergency.spool import Spool, read_spool, set_aside, spool_places
from backstop.errors import GatewayError, SetupError
from backstop.ports import Clock

READS_MAX = 5
"""Attempts of a dry run to read the account; nothing depends on them but what is shown."""

DRY_RUN_LOGIN_S = 10.0
"""How long a dry run tries to be let in: without an answer it shows what the record tells."""

LOOK_BACK_US = 24 * 3600 * 1_000_000


class Wanted(Struct, frozen=True, kw_only=True):
    """What is asked for; ``symbol`` None: the whole account."""

    reason: str
    operator: str
    symbol: str | None = None


class Ended(Struct, frozen=True, kw_only=True):
    """How it stands at the end.

    Attributes:
        flat: proven by two fresh reads.
        sends: False for a dry run: nothing was sent.
        known: the account was read; otherwise ``remaining`` is what the record says, at best.
        state: of the liquidation; empty when none was begun.
        liquidation_id: likewise.
        remaining: what is left, as far as it is known.
        would_send: in a dry run, what would have been sent.
        symbols: the root of each contract that is named.
        why: why it ended without being flat; empty otherwise.
        notes: what did not work as it should, and was done without.
    """

    flat: bool
    sends: bool
    known: bool
    state: str = ""
    liquidation_id: str = ""
    remaining: tuple[Remaining, ...] = ()
    would_send: tuple[CancelOrder | ClosePosition, ...] = ()
    symbols: dict[str, str]
    why: str = ""
    notes: tuple[str, ...] = ()


def policy_of(settings: Settings) -> Policy:
    """Return the rules of a process that only takes flat: it protects nothing and opens nothing."""
    return Policy(
        account_id=settings.account_id,
        dry_run=settings.dry_run,
        execute=settings.execute,
        observe_only=not settings.critical_system_enable,
        symbols=settings.symbols,
        execution_timeout_ns=settings.execution_timeout_ns,
        external_position_policy=ExternalPositionPolicy.ALERT,
        protects=False,
        archives=True,
    )


class EmergencyLiquidation:
    """One run; the caller holds the right to send and says when it has to end."""

    def __init__(
        self,
        settings: Settings,
        wanted: Wanted,
        *,
        lock: AccountLock,
        clock: Clock,
        ends_ns: int,
        say: Callable[[str], None],
        alert: Callable[[RaiseAlert], None],
    ) -> None:
        """Prepare; nothing is read and nothing sent yet.

        Args:
            settings: with credentials.
            wanted: what to take flat, for whom, and why.
            lock: the right to send.
            clock: time.
            ends_ns: when it has to be over, flat or not; monotonic.
            say: takes a line for people, at once.
            alert: takes what people have to be told wherever they are; it must not block.
        """
        self._settings = settings
        self._wanted = wanted
        self._lock = lock
        self._clock = clock
        self._ends_ns = ends_ns
        self._say = say
        self._alert = alert
        self._policy = policy_of(settings)
        self._notes: list[str] = []
        self._facts: asyncio.Queue[Fact] = asyncio.Queue()
        self._requests: Requests | None = None
        self._early: list[Asked] = []  # asked for before there was a broker
        self._run_id = ""
        self._known = False
        self._shown: tuple[object, ...] = ()
        self._spool: Spool | None = None
        self._book = Book(policy=self._policy)

    @property
    def _left_s(self) -> float:
        return max(0.0, (self._ends_ns - self._clock.monotonic_ns()) / 1e9)

    async def run(self) -> Ended:
        """Take it flat, or say what is left when the time is over.

        Raises:
            SetupError: there is no such contract; nothing was sent.
        """
        self._restore()
        try:
            self._begin()
            self._request_if_named()
            broker = await self._logged_in()
            if isinstance(broker, str):
                if not self._policy.sends:
                    self._request(self._contract())  # what the record tells is shown
                return self._ended(broker)
            try:
                return await self._with(broker)
            finally:
                if self._requests is not None:
                    await self._requests.close()
                await broker.gateway.close()
        finally:
            if self._spool is not None:
                self._spool.close()

    def from_record(self, why: str) -> Ended:
        """Say what the record tells, in a dry run that must not log in."""
        self._restore()
        self._begin()
        self._request(self._contract())
        return self._ended(why)

    # -- what is known before anybody is asked -------------------------------------------------

    def _restore(self) -> None:
        places = spool_places(self._settings.state_folder, self._lock.path)
        spooled = read_spool(places)
        found = recorded(self._settings.state_folder, spooled, self._policy)
        self._book = found.book
        if found.fault:
            self._note(f"The record of {self._settings.state_folder} cannot be used: {found.fault}")
            self._note("It goes on without: the broker says what there is.")
        if found.owner:
            self._note(
                f"{self._settings.state_folder} holds the record of account {found.owner}, not of "
                f"{self._settings.account_id}: nothing of it is used, nothing is put there."
            )
            self._note("It goes on without: the broker says what there is.")
            self._note("Set BACKSTOP_STATE_DIR to the folder of this account the next time.")
            places = places[1:]  # beside the lock, a guard of this account finds it from any folder
        if spooled.digest and spooled.digest == found.book.emergency_digest:
            set_aside(spooled)
        if self._policy.sends:
            self._spool = Spool(places)
            self._spool.put(
                self._policy,
                monotonic_ns=self._clock.monotonic_ns(),
                utc_us=self._clock.utc_us(),
            )
            self._tell_spool()

    def _begin(self) -> None:
        settings = self._settings
        self._fold(
            GuardStarted(
                utc_us=self._clock.utc_us(),
                boot_id=machine().boot_id(),
                process_id=machine().process_id,
                account_id=settings.account_id,
                gateway_host=urlsplit(settings.api_url).netloc,
                version=__version__,
                stop=StopKind.UNKNOWN,
            )
        )

    def _request_if_named(self) -> None:
        """Put the latch on before anybody is asked, where it is clear what is meant."""
        symbol = self._wanted.symbol
        contract_id = None if symbol is None else contract_for(self._book, symbol)
        if self._policy.sends and (symbol is None or contract_id is not None):
            self._request(contract_id)

    def _request(self, contract_id: str | None) -> None:
        result = self._fold(
            LiquidationRequested(
                utc_us=self._clock.utc_us(),
                reason=self._wanted.reason,
                operator=self._wanted.operator,
                contract_id=contract_id,
            )
        )
        decision = result.decision
        self._run_id = "" if decision is None else decision.liquidation_id or ""

    async def _logged_in(self) -> Broker | str:
        """Return the broker, or why there is none."""
        limit_s = self._left_s if self._policy.sends else min(self._left_s, DRY_RUN_LOGIN_S)
        try:
            async with asyncio.timeout(limit_s):
                return await logged_in(
                    self._settings, clock=self._clock, sink=self._facts.put_nowait, say=self._say
                )
        except GatewayError as error:
            return str(error)
        except TimeoutError:
            return f"the gateway at {self._settings.api_url} did not let us in in time"

    # -- with the broker -----------------------------------------------------------------------

    async def _with(self, broker: Broker) -> Ended:
        if self._policy.sends:
            self._connect(broker)
        utc_us = self._clock.utc_us()
        self._fold(InstrumentsLoaded(utc_us=utc_us, instruments=broker.instruments))
        self._fold(AccountReported(utc_us=utc_us, account=broker.account, source=Source.REST))
        if not self._run_id:
            await self._read(broker)
            self._request(self._contract())
        if not self._policy.sends:
            return self._ended("")
        await self._loop()
        return self._ended("" if self._is_over else "the time is over")

    def _connect(self, broker: Broker) -> None:
        """Let requests leave from here on; what was asked for before leaves now."""
        self._requests = Requests(
            broker.gateway,
            clock=self._clock,
            sink=self._facts.put_nowait,
            may_send=self._lock.keeps,
            say=self._note,
        )
        for request in self._early:
            self._requests.send(request)
        self._early.clear()

    async def _read(self, broker: Broker) -> None:
        """Read the account once, as well as that is possible."""
        request = AuditAccount(
            reason="liquidation",
            account_id=self._policy.account_id,
            since_utc_us=broker.gateway.venue_utc_us() - LOOK_BACK_US,
            urgent=True,
        )
        fault = "the time is over"
        with suppress(TimeoutError):
            async with asyncio.timeout(self._left_s):
                for _ in range(READS_MAX):
                    audit = await broker.gateway.audit_account(request)
                    self._fold(audit)
                    if not (fault := audit.fault):
                        return
        self._note(f"The account could not be read in full: {fault}")

    def _contract(self) -> str | None:
        """Return the contract that is meant; raises SetupError for one that nobody knows."""
        symbol = self._wanted.symbol
        if symbol is None:
            return None
        contract_id = contract_for(self._book, symbol)
        if contract_id is None:
            known = ", ".join(sorted(self._book.contract_of)) or "none"
            raise SetupError(
                f"--symbol {symbol}: the gateway has no such contract, and nothing was sent. "
                f"It has: {known}."
            )
        return contract_id

    @property
    def _run(self) -> Liquidation:
        return self._book.liquidations[self._run_id]

    @property
    def _is_over(self) -> bool:
        return self._run.state in FINISHED

    async def _loop(self) -> None:
        """Fold what comes, and the time, until it is flat or the time is over."""
        self._show()
        while not self._is_over and self._left_s:
            due_ns = next_deadline_ns(self._book) or self._ends_ns
            wait_s = max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9)
            try:
                async with asyncio.timeout(min(wait_s, self._left_s)):
                    fact = await self._facts.get()
            except TimeoutError:
                fact = TimerFired(utc_us=self._clock.utc_us())
            self._fold(fact)
            self._show()

    def _fold(self, fact: Fact) -> Step:
        """Decide by one fact: on disk first, then the decision, then what follows from it."""
        if isinstance(fact, VenueClockRead) and not is_clock_news(self._book, fact):
            return Step()
        if isinstance(fact, AccountAudited):
            fact = condensed(self._book, fact)
            self._known = self._known or (
                fact.positions is not None and fact.live_orders is not None
            )
        now_ns = self._clock.monotonic_ns()
        if self._spool is not None:
            self._spool.put(fact, monotonic_ns=now_ns, utc_us=fact.utc_us)
            self._tell_spool()
        result = step(self._book, fact, now_ns)
        for command in result.commands:
            if isinstance(command, RaiseAlert):
                self._say(f"{command.code}: {command.message}")
                self._alert(command)
            elif self._requests is not None:
                self._requests.send(command)
            else:
                self._early.append(command)
        return result

    # -- words ---------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._say(text)

    def _tell_spool(self) -> None:
        if self._spool is not None and self._spool.fault:
            fault, self._spool.fault = self._spool.fault, ""
            self._note(f"Not everything is on record: {fault}. It goes on.")

    def _show(self) -> None:
        run = self._run
        left = remaining(self._book, run)
        now = (run.state, len(left))
        if now != self._shown:
            self._shown = now
            self._say(f"{run.state:<10} {len(left)} left")

    def _ended(self, why: str) -> Ended:
        run = self._book.liquidations.get(self._run_id)
        left = () if run is None else remaining(self._book, run)
        planned = () if run is None or run.sends else would_send(self._book, run)
        return Ended(
            flat=run is not None and run.sends and run.state in FINISHED,
            sends=self._policy.sends,
            known=self._known,
            state="" if run is None else str(run.state),
            liquidation_id=self._run_id,
            remaining=left,
            would_send=planned,
            symbols=_symbols(self._book, [*left, *planned]),
            why=why,
            notes=tuple(self._notes),
        )


def _symbols(
    book: Book, named: Sequence[Remaining | CancelOrder | ClosePosition]
) -> dict[str, str]:
    contracts = [it.contract_id for it in named if not isinstance(it, CancelOrder)]
    return {contract_id: book.symbol_of(contract_id) for contract_id in contracts}
