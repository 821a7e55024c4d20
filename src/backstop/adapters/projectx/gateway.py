"""The broker as the application sees it: commands in, facts out (``ports.Gateway``)."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

from backstop.adapters.projectx import translate
from backstop.adapters.projectx.broken_lists import BrokenLists, UnreadableRowsError
from backstop.adapters.projectx.rate_budget import BudgetSpentError, RateBudget
from backstop.adapters.projectx.rest import LIVE_STATUSES, ProjectXRest, RestTimings
from backstop.adapters.projectx.session import Refusal, RevealsSecret, Session
from backstop.adapters.projectx.shared_search import Listed, SharedSearch, Wanted
from backstop.adapters.projectx.transport import HttpReply, Transport
from backstop.adapters.projectx.verdict import Change, close_refusal, place_rejection
from backstop.adapters.projectx.wire import BarsBody, WireOrderStatus
from backstop.domain.broker import BrokerAccount, BrokerOrder, BrokerTrade
from backstop.domain.call_purpose import CallPurpose
from backstop.domain.clock import ClockReading
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
)
from backstop.domain.events import (
    AccountAudited,
    CancelAnswered,
    LoginAccepted,
    LoginRefused,
    ModifyAnswered,
    OrderLookedUp,
    PayloadRejected,
    PlaceAnswered,
    PositionCloseAnswered,
    Source,
    VenueClockRead,
)
from backstop.domain.instrument import Instrument
from backstop.domain.order import LEG_SUFFIXES
from backstop.errors import GatewayAnswerError, GatewayError
from backstop.ports import Clock, FactSink

AUDIT_CALLS = 4
"""What one picture of the account takes where each list fits on a page."""

LOOK_UP_MARGIN_US = 300_000_000
"""A look-up starts five minutes before the request: the two clocks may differ by minutes."""

_Part = TypeVar("_Part")


class ProjectXGateway:
    """One account at a ProjectX gateway; use as an async context manager.

    Attributes:
        budget: the call limits, for ``left()`` and for saying what the reserve is.
        session: the token, shared with the hubs; its ``keep_fresh`` belongs into a task.
    """

    def __init__(
        self,
        *,
        api_url: str,
        user_name: str,
        clock: Clock,
        api_key: RevealsSecret | None = None,
        token: RevealsSecret | None = None,
        spare_key: RevealsSecret | None = None,
        sink: FactSink | None = None,
        strike: Callable[[bytes], bytes] = bytes,
        timings: RestTimings | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare; nothing is sent before the first call.

        Args:
            api_url: root of the REST API, without ``/api``.
            user_name: the platform login.
            clock: monotonic time for deadlines, UTC for the records.
            api_key: of the user; or a ready ``token``, or both.
            token: a JWT that replaces the login until it ends.
            spare_key: tried when the key is refused.
            sink: where rows that break their schema, and refusals of the key, are reported.
            strike: takes secrets out of answers before anything else sees them.
            timings: deadlines of calls.
            tls: trust in other authorities than the system's.

        Raises:
            SettingError: ``api_url`` cannot be used.
            LoginRefusedError: neither key nor token.
        """
        self._clock = clock
        self._sink = sink
        self._broken_lists = None if sink is None else BrokenLists(clock=clock, sink=sink)
        self._transport = Transport(api_url, clock=clock, tls=tls, on_clock=self._tell_clock)
        self.budget = RateBudget(clock=clock)
        self.session = Session(
            transport=self._transport,
            budget=self.budget,
            clock=clock,
            user_name=user_name,
            api_key=api_key,
            token=token,
            spare_key=spare_key,
            on_access=self._tell_access,
        )
        self._rest = ProjectXRest(
            transport=self._transport,
            session=self.session,
            budget=self.budget,
            clock=clock,
            timings=timings,
            strike=strike,
        )
        self._searches = SharedSearch(self._search)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; requests on their way end with an unknown outcome."""
        await self._searches.close()
        await self.session.close()
        await self._transport.close()

    @property
    def venue_clock_offset_ms(self) -> int | None:
        """The gateway's wall clock minus ours now (median of three answers); None: not known."""
        return self._transport.venue_clock_offset_ms

    @property
    def clock_readings(self) -> tuple[ClockReading, ...]:
        """What the last answers said of the venue's time, at most three, oldest first."""
        return self._transport.clock_readings

    def venue_utc_us(self) -> int:
        """Return what time it is at the venue, as well as its answers said; else our own time."""
        return self._clock.utc_us() + (self.venue_clock_offset_ms or 0) * 1000

    def _tell_access(self, refusal: Refusal | None) -> None:
        if self._sink is None:
            return
        utc_us = self._clock.utc_us()
        if refusal is None:
            self._sink(LoginAccepted(utc_us=utc_us))
            return
        self._sink(
            LoginRefused(utc_us=utc_us, reason=refusal.reason, spare_works=refusal.spare_works)
        )

    def _tell_clock(self, readings: tuple[ClockReading, ...]) -> None:
        if self._sink is not None:
            self._sink(VenueClockRead(utc_us=self._clock.utc_us(), readings=readings))

    # -- changes ---------------------------------------------------------------------------------

    async def place_order(self, command: PlaceOrder, *, urgent: bool = False) -> PlaceAnswered:
        """Send one order, once; what is urgent or reduces risk may use the reserve of calls."""
        body = translate.place_body(command)
        purpose = _change_purpose(urgent=urgent or command.reduces_risk)
        verdict = await self._rest.change(Change.PLACE, body, purpose=purpose)
        return PlaceAnswered(
            utc_us=self._clock.utc_us(),
            client_order_id=command.client_order_id,
            answer=verdict.answer,
            broker_order_id=verdict.order_id,
            code=verdict.code,
            message=verdict.message,
            tag_in_use=verdict.tag_in_use,
            rejection=place_rejection(verdict),
            raw=verdict.raw,
        )

    async def cancel_order(self, command: CancelOrder, *, urgent: bool = True) -> CancelAnswered:
        """Cancel one order, once."""
        body = {"accountId": command.account_id, "orderId": command.broker_order_id}
        purpose = _change_purpose(urgent=urgent, repeats=command.repeats)
        verdict = await self._rest.change(Change.CANCEL, body, purpose=purpose)
        return CancelAnswered(
            utc_us=self._clock.utc_us(),
            broker_order_id=command.broker_order_id,
            answer=verdict.answer,
            code=verdict.code,
            message=verdict.message,
        )

    async def modify_order(self, command: ModifyOrder, *, urgent: bool = True) -> ModifyAnswered:
        """Change one order, once."""
        body = translate.modify_body(command)
        purpose = _change_purpose(urgent=urgent, repeats=command.repeats)
        verdict = await self._rest.change(Change.MODIFY, body, purpose=purpose)
        return ModifyAnswered(
            utc_us=self._clock.utc_us(),
            broker_order_id=command.broker_order_id,
            answer=verdict.answer,
            code=verdict.code,
            message=verdict.message,
        )

    async def close_position(
        self, command: ClosePosition, *, urgent: bool = True
    ) -> PositionCloseAnswered:
        """Close a position, or a part of it, at the market, once; it opens none."""
        body = {"accountId": command.account_id, "contractId": command.contract_id}
        change = Change.CLOSE
        if command.quantity is not None:
            change, body = Change.PARTIAL_CLOSE, body | {"size": command.quantity}
        purpose = _change_purpose(urgent=urgent)
        verdict = await self._rest.change(change, body, purpose=purpose)
        return PositionCloseAnswered(
            utc_us=self._clock.utc_us(),
            contract_id=command.contract_id,
            answer=verdict.answer,
            refusal=close_refusal(change, verdict),
            code=verdict.code,
            message=verdict.message,
        )

    # -- reads -----------------------------------------------------------------------------------

    async def look_up_order(self, command: LookUpOrder, *, urgent: bool = False) -> OrderLookedUp:
        """Search one order by its tag in order search, every status and the trades.

        The answer holds the order and its bracket legs as each read shows them (so the same order
        may come twice), and the trades of all of them. An order that is asked for by its number
        is found however old it is, with its trades since it was created. Look-ups that are asked
        for together share one search, which is sent after each of them was asked for.
        """
        purpose = _read_purpose(urgent=urgent or command.urgent, repeats=command.repeats)
        sent_ns = self._clock.monotonic_ns()
        numbered = await self._numbered(command, purpose=purpose)
        since_utc_us = command.since_utc_us
        if isinstance(numbered, BrokerOrder):
            since_utc_us = min(since_utc_us, numbered.created_utc_us)
        listed = await self._searches.listed(
            Wanted(
                account_id=command.account_id,
                since_utc_us=since_utc_us - LOOK_UP_MARGIN_US,
                purpose=purpose,
            )
        )
        rows = (
            *((numbered,) if isinstance(numbered, BrokerOrder) else ()),
            *(_or_none(listed.orders) or ()),
            *(_or_none(listed.query) or ()),
        )
        found = tuple(row for row in rows if _is_sought(row, command))
        ids = {order.broker_order_id for order in found} | {command.broker_order_id}
        fault = _faults(
            number=numbered, orders=listed.orders, query=listed.query, trades=listed.trades
        )
        return OrderLookedUp(
            utc_us=self._clock.utc_us(),
            client_order_id=command.client_order_id,
            sent_ns=sent_ns,
            complete=not fault,
            since_utc_us=listed.since_utc_us,
            orders=found,
            trades=tuple(
                trade for trade in _or_none(listed.trades) or () if trade.broker_order_id in ids
            ),
            fault=fault,
        )

    async def _search(self, wanted: Wanted) -> Listed:
        account_id, since_utc_us = wanted.account_id, wanted.since_utc_us
        purpose = wanted.purpose
        orders, query, trades = await asyncio.gather(
            self._listed(
                "Order/search", self._rest.orders_since(account_id, since_utc_us, purpose=purpose)
            ),
            self._listed(
                "Order/v2/query",
                self._rest.query_orders(
                    account_id, tuple(WireOrderStatus), since_utc_us=since_utc_us, purpose=purpose
                ),
            ),
            self._listed(
                "Trade/search", self._rest.trades_since(account_id, since_utc_us, purpose=purpose)
            ),
        )
        return Listed(since_utc_us=since_utc_us, orders=orders, query=query, trades=trades)

    async def _numbered(
        self, command: LookUpOrder, *, purpose: CallPurpose
    ) -> BrokerOrder | GatewayError | None:
        if command.broker_order_id is None:
            return None
        read = self._rest.order(command.account_id, command.broker_order_id, purpose=purpose)
        return await _part(read)

    async def audit_account(self, command: AuditAccount, *, urgent: bool = False) -> AccountAudited:
        """Read orders, live orders, trades and positions at once; a part that failed is None.

        Nothing is read while there are not the calls for all of it: a picture with a part missing
        proves nothing, and its calls are those that the next one would need.
        """
        account_id, since_utc_us = command.account_id, command.since_utc_us
        purpose = _read_purpose(urgent=urgent or command.urgent)
        try:
            await self._rest.room_for(AUDIT_CALLS, purpose=purpose)
        except BudgetSpentError as error:
            return AccountAudited(
                utc_us=self._clock.utc_us(),
                reason=command.reason,
                sent_ns=self._clock.monotonic_ns(),
                orders=None,
                live_orders=None,
                trades=None,
                positions=None,
                fault=str(error),
            )
        sent_ns = self._clock.monotonic_ns()
        orders, live, trades, positions = await asyncio.gather(
            self._listed(
                "Order/search", self._rest.orders_since(account_id, since_utc_us, purpose=purpose)
            ),
            self._listed(
                "Order/v2/query",
                self._rest.query_orders(account_id, LIVE_STATUSES, purpose=purpose),
            ),
            self._listed(
                "Trade/search", self._rest.trades_since(account_id, since_utc_us, purpose=purpose)
            ),
            self._listed("Position/searchOpen", self._rest.positions(account_id, purpose=purpose)),
        )
        return AccountAudited(
            utc_us=self._clock.utc_us(),
            reason=command.reason,
            sent_ns=sent_ns,
            orders=_or_none(orders),
            live_orders=_or_none(live),
            trades=_or_none(trades),
            positions=_or_none(positions),
            fault=_faults(orders=orders, live_orders=live, trades=trades, positions=positions),
        )

    async def _listed(self, target: str, read: Awaitable[_Part]) -> _Part | GatewayError:
        """Return a list, or how it failed; what it still says then is told row by row."""
        part = await _part(read)
        if isinstance(part, UnreadableRowsError) and self._broken_lists is not None:
            self._broken_lists.tell(target, part)
        return part

    async def trades_since(self, account_id: int, since_utc_us: int) -> tuple[BrokerTrade, ...]:
        """Return every trade since ``since_utc_us`` that the gateway still shows."""
        return await self._rest.trades_since(account_id, since_utc_us)

    async def instruments(self) -> tuple[Instrument, ...]:
        """Return every contract that the gateway offers; an odd row is reported and left out."""
        return await self._rest.instruments(self._reject_contract)

    async def instrument(self, contract_id: str) -> Instrument | None:
        """Return one contract, also of a month that is not listed any more; None: there is none."""
        return await self._rest.instrument(contract_id)

    async def account(self, wanted: int | str) -> BrokerAccount:
        """Return the account with the id or name ``wanted``.

        Raises:
            GatewayAnswerError: there is none, or only an inactive one; names those that exist.
        """
        text = str(wanted).strip()
        active = await self._rest.accounts(only_active=True)
        for account in active:
            if text in {str(account.account_id), account.name}:
                return account
        existing = ", ".join(f"{account.account_id} ({account.name})" for account in active)
        raise GatewayAnswerError(
            f"The gateway has no active account {text!r} for this user, so nothing will be sent. "
            f"Its active accounts: {existing or 'none'}. Set TOPSTEPX_ACCOUNT_ID to one of them."
        )

    async def bars(
        self,
        contract_id: str,
        *,
        start_utc_us: int,
        end_utc_us: int,
        unit: int,
        number: int,
        limit: int,
    ) -> tuple[translate.HistoryBar, ...]:
        """Return finished history bars of one contract, oldest first.

        Args:
            contract_id: the gateway's id of the contract month.
            start_utc_us: begin of the window, microseconds since 1970 UTC.
            end_utc_us: its end; the newest ``limit`` bars of the window come.
            unit: 1 second, 2 minute, 3 hour, 4 day, 5 week, 6 month.
            number: units in one bar.
            limit: at most 20 000.
        """
        return await self._rest.bars(
            BarsBody(
                contract_id=contract_id,
                live=False,
                start_time=translate.timestamp(start_utc_us),
                end_time=translate.timestamp(end_utc_us),
                unit=unit,
                unit_number=number,
                limit=limit,
                include_partial_bar=False,
            )
        )

    async def passed_on(
        self, path: str, body: object, *, bars: bool = False, leave: int = 0
    ) -> HttpReply:
        """Make one reading call for somebody else; ``ProjectXRest.passed_on`` says how."""
        return await self._rest.passed_on(path, body, bars=bars, leave=leave)

    def _reject_contract(self, row: translate.Row, fault: GatewayAnswerError) -> None:
        if self._sink is not None:
            self._sink(
                PayloadRejected(
                    utc_us=self._clock.utc_us(),
                    source=Source.REST,
                    target="Contract/available",
                    fault=str(fault),
                    raw=translate.rejected_text(row),
                )
            )


def _change_purpose(*, urgent: bool, repeats: bool = False) -> CallPurpose:
    if repeats:
        return CallPurpose.REPEAT
    return CallPurpose.CUT_RISK if urgent else CallPurpose.ORDINARY


def _read_purpose(*, urgent: bool, repeats: bool = False) -> CallPurpose:
    if not urgent:
        return CallPurpose.ORDINARY
    return CallPurpose.REPEAT if repeats else CallPurpose.PROVE


def _is_sought(order: BrokerOrder, command: LookUpOrder) -> bool:
    """Say whether a row is of the order that is looked up, or of a leg of it."""
    number, tag = command.broker_order_id, command.custom_tag
    if number is not None and number in {order.broker_order_id, order.parent_order_id}:
        return True
    return bool(tag) and order.custom_tag in {tag, *(tag + suffix for suffix in LEG_SUFFIXES)}


async def _part(read: Awaitable[_Part]) -> _Part | GatewayError:
    """Return what a read gives, or how it failed: the other parts still count."""
    try:
        return await read
    except GatewayError as error:
        return error


def _or_none(part: tuple[_Part, ...] | GatewayError) -> tuple[_Part, ...] | None:
    return None if isinstance(part, GatewayError) else part


def _faults(**parts: object) -> str:
    """Name the parts that failed and why, or return the empty text."""
    return "; ".join(
        f"{name}: {part}" for name, part in parts.items() if isinstance(part, GatewayError)
    )
