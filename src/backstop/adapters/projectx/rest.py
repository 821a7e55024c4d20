"""The REST calls of the gateway: changes are sent once, reads are repeated within a deadline.

A change is judged and never repeated, whatever happens (``verdict.py``). A read has no effect, so
it is repeated with growing, jittered pauses until its deadline; it returns everything it was asked
for or raises, because half a list looks like an answer and is not one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from backstop.adapters.machine import machine
from backstop.adapters.projectx import translate
from backstop.adapters.projectx.broken_lists import UnreadableRowsError
from backstop.adapters.projectx.rate_budget import Permit, RateBudget
from backstop.adapters.projectx.session import BearerToken, Session
from backstop.adapters.projectx.transport import HttpReply, NothingSentError, Transport
from backstop.adapters.projectx.verdict import (
    Change,
    Verdict,
    judge,
    not_sent,
    problem_text,
    unanswered,
)
from backstop.adapters.projectx.wire import (
    UNREADABLE,
    BarsBody,
    QueryBody,
    QueryFilter,
    WireOrderStatus,
)
from backstop.domain.broker import BrokerAccount, BrokerOrder, BrokerPosition, BrokerTrade
from backstop.domain.call_purpose import CallPurpose
from backstop.domain.instrument import Instrument
from backstop.errors import GatewayAnswerError, GatewayError, GatewayUnreachableError
from backstop.ports import Clock

LIVE_STATUSES = (
    WireOrderStatus.OPEN,
    WireOrderStatus.PENDING,
    WireOrderStatus.PENDING_CANCELLATION,
    WireOrderStatus.SUSPENDED,
)
"""1, 6, 7 and 8: what ``Order/searchOpen`` hides is exactly what a safety layer must see."""

PAGE_ROWS = 100
"""The gateway never gives more rows of ``v2/query``, whatever is asked."""

ROWS_BETWEEN_BREATHS = 32
"""Rows that are translated before other tasks get a turn: about a millisecond."""

BARS_BETWEEN_BREATHS = 500
"""Likewise; bars are decoded many at a time."""

PAGES_MAX = 50
"""5000 orders in one picture: far above any account, and 50 of the 200 calls a minute."""

BARS_MAX = 20_000
"""The gateway's limit for one call of ``retrieveBars``."""

_PICTURES_MAX = 3  # how often a picture whose rows moved is taken again
_ATTEMPTS_MAX = 5
_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
_NS_PER_S = 1_000_000_000
_ORDER_NOT_FOUND = 1  # of Order/searchById
_CONTRACT_NOT_FOUND = 1  # of Contract/searchById
_OK, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN = 200, 400, 401, 403
_TOO_MANY, _SERVER_ERROR = 429, 500

_encode = msgspec.json.Encoder(decimal_format="number").encode
"""Prices go out as JSON numbers: the gateway's binder refuses strings."""

_Fact = TypeVar("_Fact")


class RestTimings(Struct, frozen=True, kw_only=True):
    """Deadlines of whole calls, waiting for the call budget included."""

    change_s: float = 8.0
    read_s: float = 10.0
    attempt_s: float = 4.0  # of a read: a dead connection must leave time for another attempt
    bars_s: float = 40.0
    bars_attempt_s: float = 20.0  # two megabytes, which a slow line takes this long for


class _Answer(Struct, kw_only=True, rename="camel"):
    """The envelope of every read; the payload members are filled as the endpoint has them."""

    success: bool
    error_code: int
    error_message: str | None = None
    accounts: list[Raw] | None = None
    order: Raw = Raw(b"null")
    contract: Raw = Raw(b"null")
    contracts: list[Raw] | None = None
    orders: list[Raw] | None = None
    trades: list[Raw] | None = None
    positions: list[Raw] | None = None
    bars: list[Raw] | None = None  # up to 20 000 rows
    total_count: int | None = None


class _RefusedError(GatewayAnswerError):
    """The gateway understood a read and said no; ``code`` is its own number for why."""

    def __init__(self, path: str, code: int, said: str) -> None:
        self.code = code
        super().__init__(f"{path}: refused with code {code}. {said}".rstrip())


class _RowsMovedError(GatewayAnswerError):
    """Orders entered or left a paged picture while it was being taken."""


class _PassingFaultError(GatewayError):
    """A read failed in a way that may be gone at the next attempt; ``cause`` tells the caller."""

    def __init__(self, cause: GatewayError) -> None:
        self.cause = cause
        super().__init__(str(cause))


class ProjectXRest:
    """The gateway's REST API for one user."""

    def __init__(
        self,
        *,
        transport: Transport,
        session: Session,
        budget: RateBudget,
        clock: Clock,
        timings: RestTimings | None = None,
        strike: Callable[[bytes], bytes] = bytes,
        jitter: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._session = session
        self._budget = budget
        self._clock = clock
        self._timings = timings or RestTimings()
        self._strike = strike
        self._jitter = jitter or machine().dice.random
        self._sleep = sleep

    # -- changes: sent once ----------------------------------------------------------------------

    async def change(
        self, change: Change, body: object, *, purpose: CallPurpose = CallPurpose.ORDINARY
    ) -> Verdict:
        """Send one changing request, once, and judge its answer; never raises GatewayError."""
        deadline_ns = self._deadline_ns(self._timings.change_s)
        try:
            # A token or a place in the budget that cannot be had in time means: nothing was sent.
            async with asyncio.timeout(self._timings.change_s):
                token = await self._session.token(urgent=purpose.is_urgent)
                permit = await self._budget.acquire(deadline_ns=deadline_ns, purpose=purpose)
        except TimeoutError:
            return not_sent("nothing was sent: no session within the deadline")
        except GatewayError as error:
            return not_sent(f"nothing was sent: {error}")
        try:
            reply = await self._exchange(change, body, token, permit, deadline_ns=deadline_ns)
        except NothingSentError as error:
            return not_sent(f"nothing was sent: {error}")
        except GatewayError as error:
            return unanswered(f"it may have arrived: {error}")
        return judge(change, reply)

    # -- reads: whole or an error ----------------------------------------------------------------

    async def accounts(self, *, only_active: bool = True) -> tuple[BrokerAccount, ...]:
        """Return the accounts of the user."""
        answer = await self._read("/api/Account/search", {"onlyActiveAccounts": only_active})
        return await _rows("accounts", answer.accounts, translate.broker_account)

    async def instruments(
        self, on_rejected: Callable[[Raw, GatewayAnswerError], None]
    ) -> tuple[Instrument, ...]:
        """Return the contracts of the simulated data subscription; hand over rows that are none.

        One odd contract must not take the others away, so it does not make the read fail.
        """
        answer = await self._read("/api/Contract/available", {"live": False})
        instruments = []
        for row in _present("contracts", answer.contracts):
            try:
                instruments.append(translate.instrument(row))
            except GatewayAnswerError as error:
                on_rejected(row, error)
        return tuple(instruments)

    async def instrument(self, contract_id: str) -> Instrument | None:
        """Return one contract, also of a month that is not listed any more; None: there is none."""
        body = {"contractId": contract_id}
        try:
            answer = await self._read("/api/Contract/searchById", body)
        except _RefusedError as refused:
            if refused.code == _CONTRACT_NOT_FOUND:
                return None
            raise
        return translate.instrument(answer.contract)

    async def orders_since(
        self, account_id: int, since_utc_us: int, *, purpose: CallPurpose = CallPurpose.ORDINARY
    ) -> tuple[BrokerOrder, ...]:
        """Return the orders of any status since ``since_utc_us`` (``Order/search``)."""
        answer = await self._read(
            "/api/Order/search", _since(account_id, since_utc_us), purpose=purpose
        )
        return await _rows("orders", answer.orders, translate.broker_order)

    async def order(
        self, account_id: int, broker_order_id: int, *, purpose: CallPurpose = CallPurpose.ORDINARY
    ) -> BrokerOrder | None:
        """Return one order, whatever its age and status; None: the gateway says there is none."""
        body = {"accountId": account_id, "orderId": broker_order_id}
        try:
            answer = await self._read("/api/Order/searchById", body, purpose=purpose)
        except _RefusedError as refused:
            if refused.code == _ORDER_NOT_FOUND:
                return None
            raise
        return translate.broker_order(answer.order)

    async def trades_since(
        self, account_id: int, since_utc_us: int, *, purpose: CallPurpose = CallPurpose.ORDINARY
    ) -> tuple[BrokerTrade, ...]:
        """Return the half-turn trades since ``since_utc_us``."""
        answer = await self._read(
            "/api/Trade/search", _since(account_id, since_utc_us), purpose=purpose
        )
        return await _rows("trades", answer.trades, translate.broker_trade)

    async def positions(
        self, account_id: int, *, purpose: CallPurpose = CallPurpose.ORDINARY
    ) -> tuple[BrokerPosition, ...]:
        """Return the open positions; a flat contract has no row."""
        answer = await self._read(
            "/api/Position/searchOpen", {"accountId": account_id}, purpose=purpose
        )
        return await _rows("positions", answer.positions, translate.broker_position)

    async def query_orders(
        self,
        account_id: int,
        statuses: Sequence[WireOrderStatus],
        *,
        since_utc_us: int | None = None,
        purpose: CallPurpose = CallPurpose.ORDINARY,
    ) -> tuple[BrokerOrder, ...]:
        """Return every order in one of ``statuses`` (``v2/query``), all pages or an error.

        ``pageOffset`` counts rows. Each page begins with the last row of the page before: when an
        order left the picture meanwhile the rows have moved up, the overlap does not match, and
        the picture is refused instead of missing an order.
        """
        query = QueryBody(
            filter=QueryFilter(
                account_id=account_id,
                statuses=[int(status) for status in statuses],
                created_after=None if since_utc_us is None else translate.timestamp(since_utc_us),
            ),
            page_size=PAGE_ROWS,
        )
        for _ in range(_PICTURES_MAX - 1):
            with suppress(_RowsMovedError):
                return await self._query(query, purpose=purpose)
        return await self._query(query, purpose=purpose)

    async def _query(self, query: QueryBody, *, purpose: CallPurpose) -> tuple[BrokerOrder, ...]:
        orders: list[BrokerOrder] = []
        total = 0
        for _ in range(PAGES_MAX):
            query.page_offset = max(0, len(orders) - 1)
            answer = await self._read("/api/Order/v2/query", query, purpose=purpose)
            page = await _rows("orders", answer.orders, translate.broker_order)
            total = _joined(orders, page, stated=answer.total_count)
            if len(orders) == total:
                return tuple(orders)
        raise GatewayAnswerError(
            f"v2/query: {total} orders, more than the {PAGES_MAX * PAGE_ROWS} that are read."
        )

    async def bars(self, body: BarsBody) -> tuple[translate.HistoryBar, ...]:
        """Return history bars, oldest first, each open time once."""
        answer = await self._read("/api/History/retrieveBars", body, bars=True)
        rows = _present("bars", answer.bars)
        by_time: dict[int, translate.HistoryBar] = {}
        for first in range(0, len(rows), BARS_BETWEEN_BREATHS):
            some = translate.history_bars(
                b"[%b]" % b",".join(rows[first : first + BARS_BETWEEN_BREATHS])
            )
            by_time.update((bar.utc_us, bar) for bar in some)
            await asyncio.sleep(0)
        return tuple(by_time[utc_us] for utc_us in sorted(by_time))

    async def room_for(self, calls: int, *, purpose: CallPurpose) -> None:
        """Wait until so many reads may leave together, no longer than one may take.

        Raises:
            BudgetSpentError: they may not.
        """
        deadline_ns = self._deadline_ns(self._timings.read_s)
        await self._budget.room_for(calls, purpose=purpose, deadline_ns=deadline_ns)

    async def passed_on(self, path: str, body: object, *, bars: bool, leave: int) -> HttpReply:
        """Make one call for somebody else and return its answer as it is, whatever it says.

        It never waits for the call budget, and takes nothing of the reserve nor of the ``leave``
        calls above it.

        Raises:
            BudgetSpentError: no call is to spare.
            GatewayUnreachableError: there was no whole answer.
        """
        now_ns = self._clock.monotonic_ns()
        permit = await self._budget.acquire(deadline_ns=now_ns, bars=bars, leave=leave)
        limit_s = self._timings.bars_attempt_s if bars else self._timings.attempt_s
        deadline_ns = self._deadline_ns(limit_s)
        try:
            async with asyncio.timeout(self._timings.attempt_s):
                token = await self._session.token()
        except TimeoutError:
            permit.give_back()
            raise GatewayUnreachableError(f"{path}: no session within the deadline.") from None
        except GatewayError:
            permit.give_back()
            raise
        return await self._exchange(path, body, token, permit, deadline_ns=deadline_ns)

    async def _read(
        self,
        path: str,
        body: object,
        *,
        purpose: CallPurpose = CallPurpose.ORDINARY,
        bars: bool = False,
    ) -> _Answer:
        """Ask until an answer makes sense, at most ``_ATTEMPTS_MAX`` times, within the deadline."""
        timings = self._timings
        deadline_ns = self._deadline_ns(timings.bars_s if bars else timings.read_s)
        attempt = 0
        while True:
            try:
                async with asyncio.timeout((deadline_ns - self._clock.monotonic_ns()) / _NS_PER_S):
                    return await self._ask(
                        path, body, purpose=purpose, bars=bars, deadline_ns=deadline_ns
                    )
            except TimeoutError:
                raise GatewayUnreachableError(f"{path}: no answer within the deadline.") from None
            except _PassingFaultError as passing:
                attempt += 1
                pause_s = _PAUSES_S[min(attempt, len(_PAUSES_S)) - 1] * (0.5 + self._jitter())
                resumes_ns = self._clock.monotonic_ns() + int(pause_s * _NS_PER_S)
                if attempt == _ATTEMPTS_MAX or resumes_ns >= deadline_ns:
                    raise passing.cause from None
                await self._sleep(pause_s)

    async def _ask(
        self, path: str, body: object, *, purpose: CallPurpose, bars: bool, deadline_ns: int
    ) -> _Answer:
        try:
            # Before the call is counted: without a token none leaves, and who asks again and again
            # while the gateway lets nobody in must not spend what an exit needs when it does.
            token = await self._session.token(urgent=purpose.is_urgent)
        except GatewayUnreachableError as error:
            raise _PassingFaultError(error) from None
        permit = await self._budget.acquire(deadline_ns=deadline_ns, purpose=purpose, bars=bars)
        limit_s = self._timings.bars_attempt_s if bars else self._timings.attempt_s
        attempt_ends_ns = min(deadline_ns, self._deadline_ns(limit_s))
        try:
            reply = await self._exchange(path, body, token, permit, deadline_ns=attempt_ends_ns)
        except GatewayUnreachableError as error:
            raise _PassingFaultError(error) from None
        if reply.status == _FORBIDDEN and self._session.is_in_doubt:
            raise _PassingFaultError(GatewayAnswerError(f"{path}: HTTP 403."))
        return _understood(path, reply)

    async def _exchange(
        self, path: str, body: object, token: BearerToken, permit: Permit, *, deadline_ns: int
    ) -> HttpReply:
        """Make one HTTP exchange and tell session and budget what they learn from it."""
        reply = await self._transport.exchange(
            path,
            _encode(body),
            headers=token.headers(),
            deadline_ns=deadline_ns,
            on_unsent=permit.give_back,
        )
        if reply.status == _UNAUTHORIZED:
            self._session.refuse(token)
        if reply.status == _FORBIDDEN:
            self._session.doubt(token)
        if reply.status == _TOO_MANY:
            self._budget.refused(retry_after_s=reply.retry_after_s, permit=permit)
        else:
            self._budget.answered(permit)
        # An answer is kept as evidence; one that repeats what we sent must not keep our secrets.
        return replace(reply, body=self._strike(reply.body))

    def _deadline_ns(self, timeout_s: float) -> int:
        return self._clock.monotonic_ns() + int(timeout_s * _NS_PER_S)


def _understood(path: str, reply: HttpReply) -> _Answer:
    """Return the envelope, or raise: passing faults as such, lasting ones as they are."""
    if reply.status in {_UNAUTHORIZED, _TOO_MANY} or reply.status >= _SERVER_ERROR:
        raise _PassingFaultError(GatewayUnreachableError(f"{path}: HTTP {reply.status}."))
    if reply.status != _OK:
        said = problem_text(reply.body) if reply.status == _BAD_REQUEST else None
        raise GatewayAnswerError(f"{path}: HTTP {reply.status}. {said or ''}".rstrip())
    try:
        answer = msgspec.json.decode(reply.body, type=_Answer)
    except UNREADABLE as error:
        fault = GatewayAnswerError(f"{path}: the answer is not what the API promises: {error}.")
        raise _PassingFaultError(fault) from None
    if not answer.success or answer.error_code != 0:
        said = (answer.error_message or "")[:500]
        raise _RefusedError(path, answer.error_code, said)
    return answer


def _present(member: str, rows: list[Raw] | None) -> list[Raw]:
    """Return the list; a missing one is a fault, because it would look like an empty one."""
    if rows is None:
        raise GatewayAnswerError(f"The answer has no list {member!r}.")
    return rows


async def _rows(
    member: str, rows: list[Raw] | None, translated: Callable[[Raw], _Fact]
) -> tuple[_Fact, ...]:
    """Translate every row; one that cannot be read makes the whole picture incomplete.

    Others get their turn between: the trades of a busy minute take half a second to translate, and
    an exit must not wait for it.

    Raises:
        UnreadableRowsError: such a row is there; it holds what the others state.
    """
    facts: list[_Fact] = []
    rejected: list[tuple[Raw, GatewayAnswerError]] = []
    for number, row in enumerate(_present(member, rows), start=1):
        try:
            facts.append(translated(row))
        except GatewayAnswerError as fault:
            rejected.append((row, fault))
        if number % ROWS_BETWEEN_BREATHS == 0:
            await asyncio.sleep(0)
    if rejected:
        raise UnreadableRowsError(facts, rejected)
    return tuple(facts)


def _joined(
    orders: list[BrokerOrder],
    page: tuple[BrokerOrder, ...],
    *,
    stated: int | None,
) -> int:
    """Append ``page`` to ``orders`` and return the total, or raise when they do not fit.

    The total may move while later rows come and go; rows that were read already may not.
    """
    if stated is None or stated < 0:
        raise GatewayAnswerError("v2/query: no total count, so nothing says that it is complete.")
    fresh = page
    if orders:
        if not page or page[0].broker_order_id != orders[-1].broker_order_id:
            raise _RowsMovedError("v2/query: the rows moved while they were being read.")
        fresh = page[1:]
    known = {order.broker_order_id for order in orders}
    orders.extend(fresh)
    if len({order.broker_order_id for order in fresh} - known) != len(fresh):
        raise GatewayAnswerError("v2/query: an order came twice.")
    if len(orders) > stated or (not fresh and len(orders) < stated):
        raise GatewayAnswerError(f"v2/query: {len(orders)} rows came, {stated} were announced.")
    return stated


def _since(account_id: int, since_utc_us: int) -> dict[str, object]:
    return {"accountId": account_id, "startTimestamp": translate.timestamp(since_utc_us)}
