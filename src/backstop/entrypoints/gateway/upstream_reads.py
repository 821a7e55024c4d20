"""Reads that the guard cannot answer by itself: passed on within the call budget, and shared.

The guard comes first: what it keeps for cutting risk and what it needs to read the account is never
spent here, and a bot whose call has no room hears 429, as from the gateway. The same question is
asked once: whoever asks it meanwhile waits for that answer, and it stays good for a moment while
nothing new has become known.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from backstop.adapters.projectx.rate_budget import BudgetSpentError
from backstop.adapters.projectx.transport import HttpReply
from backstop.adapters.projectx.wire import (
    UNREADABLE,
    BarsBody,
    ContractRow,
    OrderRow,
    PositionRow,
    QueryBody,
    TradeRow,
)
from backstop.adapters.projectx.wire_rows import rest_time
from backstop.adapters.projectx_server.venue import VenueBusyError, VenueSilentError
from backstop.entrypoints.gateway.whole_lists import WholeLists
from backstop.errors import GatewayError
from backstop.ports import Clock

CALLS_LEFT = 60
"""Calls of the window that are left to the guard above its reserve: it reads the account with 48 a
minute, and looks for orders."""

BARS_LEFT = 12
"""The guard asks for the history of each family that it trades, every five minutes."""

FRESH_NS = 1_000_000_000
"""How long an answer is good while nothing new is known: bots that poll cost one call a second."""

CONTRACTS_FRESH_NS = 600_000_000_000
"""The list of contracts changes on the days on which months roll."""

BARS_FRESH_NS = 2_000_000_000
"""A bar grows with each trade; several bots that ask for the same ones get the same."""

ANSWERS_KEPT = 64
KEPT_BYTES_MAX = 256 * 1024
"""A longer answer, of thousands of bars or orders, is not kept: 64 of them would fill memory."""

CONTRACTS_KEPT = 256
BUSY_FOR_S = 1
"""What ``Retry-After`` says: by then some call has left the window."""

_OK, _TOO_MANY = 200, 429

_LISTS = frozenset(
    {
        "/api/Contract/available",
        "/api/Order/search",
        "/api/Order/searchOpen",
        "/api/Order/v2/query",
        "/api/Position/searchOpen",
        "/api/Trade/search",
    }
)
"""What is asked for by its number may be refused because it does not exist; a list never is."""


class Upstream(Protocol):
    """The real gateway; ``ProjectXGateway`` is one."""

    async def passed_on(
        self, path: str, body: object, *, bars: bool = False, leave: int = 0
    ) -> HttpReply:
        """Make one reading call; raises GatewayError."""


class Proven(Protocol):
    """What lists of the account must show; ``LearningReads`` knows it from the guard."""

    def proven_orders(self, start_us: int, end_us: int | None) -> frozenset[int]:
        """Return numbers of orders that a sound list of the window shows."""

    def proven_trades(self, start_us: int | None, end_us: int | None) -> frozenset[int]:
        """Return numbers of trades that a sound list of the window shows."""

    def proven_positions(self) -> frozenset[str]:
        """Return contracts of which a sound list of positions shows one."""


class _Envelope(Struct, kw_only=True, rename="camel"):
    success: bool = False
    error_code: int = 0
    orders: list[OrderRow] | None = None
    order: OrderRow | None = None
    positions: list[PositionRow] | None = None
    trades: list[TradeRow] | None = None
    contracts: list[ContractRow] | None = None
    contract: ContractRow | None = None
    total_count: int | None = None
    bars: Raw = Raw(b"null")


class _Answer(Struct, frozen=True, kw_only=True):
    envelope: _Envelope
    size: int  # bytes


class _Kept(Struct, frozen=True, kw_only=True):
    answer: _Envelope
    known: int  # what was known when it was asked for
    until_ns: int


class UpstreamReads:
    """Reads for all bots together."""

    def __init__(
        self, upstream: Upstream, *, proven: Proven, clock: Clock, known: Callable[[], int]
    ) -> None:
        """Ask ``upstream``.

        Args:
            upstream: the real gateway.
            proven: what its lists are held against.
            clock: says how old an answer is.
            known: grows whenever something about the account became known.
        """
        self._upstream = upstream
        self._proven = proven
        self._clock = clock
        self._known = known
        self._kept: OrderedDict[tuple[str, bytes], _Kept] = OrderedDict()
        self._asking: dict[tuple[str, bytes, int], asyncio.Task[_Answer]] = {}
        self._contracts: OrderedDict[str, ContractRow] = OrderedDict()
        self._whole = WholeLists(clock)

    async def close(self) -> None:
        """Let go of the questions that are under way."""
        for task in tuple(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    # -- contracts and bars ----------------------------------------------------------------------

    async def contracts(self) -> Sequence[ContractRow]:
        """Return the contracts that the gateway lists."""
        answer = await self._ask(
            "/api/Contract/available", {"live": False}, fresh_ns=CONTRACTS_FRESH_NS, lasting=True
        )
        return answer.contracts or ()

    async def contract(self, contract_id: str) -> ContractRow | None:
        """Return one contract, also one that has expired."""
        for row in await self.contracts():
            if row.id == contract_id:
                return row
        held = self._contracts.get(contract_id)
        if held is not None:
            return held
        answer = await self._ask("/api/Contract/searchById", {"contractId": contract_id})
        if answer.contract is not None:
            self._contracts[contract_id] = answer.contract
            if len(self._contracts) > CONTRACTS_KEPT:
                self._contracts.popitem(last=False)
        return answer.contract

    async def bars(self, body: BarsBody) -> tuple[int, Raw]:
        """Return (code, bars as the gateway wrote them)."""
        answer = await self._ask(
            "/api/History/retrieveBars", body, fresh_ns=BARS_FRESH_NS, bars=True, lasting=True
        )
        return answer.error_code, answer.bars

    # -- the account -----------------------------------------------------------------------------

    async def orders(
        self, account_id: int, start_us: int, end_us: int | None
    ) -> Sequence[OrderRow]:
        """Return orders of any status in the window."""
        body = _window(account_id, start_us, end_us)
        proven = self._proven.proven_orders(start_us, end_us)
        return (await self._ask("/api/Order/search", body, proven=proven)).orders or ()

    async def open_orders(self, account_id: int) -> Sequence[OrderRow]:
        """Return orders in status 1."""
        answer = await self._ask("/api/Order/searchOpen", {"accountId": account_id})
        return answer.orders or ()

    async def order(self, account_id: int, order_id: int) -> OrderRow | None:
        """Return one order."""
        body = {"accountId": account_id, "orderId": order_id}
        return (await self._ask("/api/Order/searchById", body)).order

    async def query_orders(self, body: QueryBody) -> tuple[Sequence[OrderRow], int]:
        """Return a page of orders, and how many there are in all."""
        answer = await self._ask("/api/Order/v2/query", body)
        rows = answer.orders or ()
        return rows, len(rows) if answer.total_count is None else answer.total_count

    async def positions(self, account_id: int) -> Sequence[PositionRow]:
        """Return open positions."""
        answer = await self._ask(
            "/api/Position/searchOpen",
            {"accountId": account_id},
            proven=self._proven.proven_positions(),
        )
        return answer.positions or ()

    async def trades(
        self, account_id: int, start_us: int | None, end_us: int | None
    ) -> Sequence[TradeRow]:
        """Return trades in the window."""
        body = _window(account_id, start_us, end_us)
        proven = self._proven.proven_trades(start_us, end_us)
        return (await self._ask("/api/Trade/search", body, proven=proven)).trades or ()

    # -- one call --------------------------------------------------------------------------------

    async def _ask(
        self,
        path: str,
        body: object,
        *,
        fresh_ns: int = FRESH_NS,
        bars: bool = False,
        lasting: bool = False,
        proven: frozenset[object] = frozenset(),
    ) -> _Envelope:
        """Return the answer; what is ``lasting`` does not age by what becomes known."""
        known = 0 if lasting else self._known()
        question = msgspec.json.encode(body)
        kept = self._kept.get((path, question))
        now_ns = self._clock.monotonic_ns()
        if kept is not None and kept.known == known and now_ns < kept.until_ns:
            return kept.answer
        key = (path, question, known)
        asking = self._asking.get(key)
        if asking is None:
            call = partial(self._call, path, body, bars=bars)
            whole = self._whole.read(path, call, proven=proven, shown=_names)
            asking = self._asking[key] = asyncio.create_task(whole)
            asking.add_done_callback(lambda it: self._answered(key, it))
        # One bot that goes away must not take the answer from the others.
        answer = await asyncio.shield(asking)
        if answer.envelope.success and answer.size <= KEPT_BYTES_MAX:
            self._kept[path, question] = _Kept(
                answer=answer.envelope, known=known, until_ns=now_ns + fresh_ns
            )
            self._kept.move_to_end((path, question))
            if len(self._kept) > ANSWERS_KEPT:
                self._kept.popitem(last=False)
        return answer.envelope

    def _answered(self, key: tuple[str, bytes, int], asking: asyncio.Task[_Answer]) -> None:
        self._asking.pop(key, None)
        if not asking.cancelled():
            asking.exception()  # whoever asked may be gone: nobody else is to be told

    async def _call(self, path: str, body: object, *, bars: bool) -> _Answer:
        leave = BARS_LEFT if bars else CALLS_LEFT
        try:
            reply = await self._upstream.passed_on(path, body, bars=bars, leave=leave)
        except BudgetSpentError:
            raise VenueBusyError(BUSY_FOR_S) from None
        except GatewayError as error:
            raise VenueSilentError from error
        if reply.status == _TOO_MANY:
            raise VenueBusyError(BUSY_FOR_S)
        if reply.status != _OK:
            raise VenueSilentError
        try:
            envelope = msgspec.json.decode(reply.body, type=_Envelope)
        except UNREADABLE as error:
            raise VenueSilentError from error
        if path in _LISTS and not (envelope.success and envelope.error_code == 0):
            raise VenueSilentError  # as an empty list it would say that nothing is there
        return _Answer(envelope=envelope, size=len(reply.body))


def _names(answer: _Answer) -> frozenset[object]:
    """Return what tells rows apart: the number of an order or a trade, a position's contract."""
    envelope = answer.envelope
    rows = (*(envelope.orders or ()), *(envelope.trades or ()))
    held = (row.contract_id for row in envelope.positions or () if row.size)
    return frozenset((*(row.id for row in rows), *held))


def _window(account_id: int, start_us: int | None, end_us: int | None) -> dict[str, Any]:
    times = {"startTimestamp": start_us, "endTimestamp": end_us}
    given = {name: rest_time(us) for name, us in times.items() if us is not None}
    return {"accountId": account_id, **given}
