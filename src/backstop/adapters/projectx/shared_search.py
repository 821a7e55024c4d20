"""One search of an account for every look-up that is asked for in the same moment.

The lists are the same whichever order is sought in them. Five orders whose answers were lost, each
searched by itself, would take most of a minute's calls from the reads of the account.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.domain.call_purpose import CallPurpose
from backstop.errors import GatewayError

SHARED_WITHIN_US = 3_600_000_000
"""Searches that begin farther apart are made each by itself: one that reaches back for days reads
many pages, and may fail because they are too many."""

_MOST_URGENT_FIRST = tuple(CallPurpose)


class Wanted(Struct, frozen=True, kw_only=True):
    """What a look-up, or all that share a search, want to be listed."""

    account_id: int
    since_utc_us: int
    purpose: CallPurpose


class Listed(Struct, frozen=True, kw_only=True):
    """What the venue lists since a time of its own; each part is whole, or says how it failed."""

    since_utc_us: int
    orders: tuple[BrokerOrder, ...] | GatewayError
    query: tuple[BrokerOrder, ...] | GatewayError
    trades: tuple[BrokerTrade, ...] | GatewayError


class _Search:
    """A search that has not begun: who wants something may still join it."""

    def __init__(self, wanted: Wanted) -> None:
        self._first = wanted
        self.wanted = wanted
        self.listed: asyncio.Task[Listed]

    def takes(self, wanted: Wanted) -> bool:
        apart_us = abs(wanted.since_utc_us - self._first.since_utc_us)
        return wanted.account_id == self._first.account_id and apart_us <= SHARED_WITHIN_US

    def join(self, wanted: Wanted) -> None:
        self.wanted = Wanted(
            account_id=wanted.account_id,
            since_utc_us=min(self.wanted.since_utc_us, wanted.since_utc_us),
            purpose=min(self.wanted.purpose, wanted.purpose, key=_MOST_URGENT_FIRST.index),
        )


class SharedSearch:
    """Makes searches; those that are wanted in one turn of the event loop are made as one.

    One that has begun takes nobody in: what it shows may be of before a look-up was asked for, and
    would prove something about an order that was sent after it.
    """

    def __init__(self, read: Callable[[Wanted], Coroutine[Any, Any, Listed]]) -> None:
        """Prepare; ``read`` makes a search, and says of each part how it failed."""
        self._read = read
        self._not_begun: list[_Search] = []
        self._tasks: set[asyncio.Task[Listed]] = set()

    async def listed(self, wanted: Wanted) -> Listed:
        """Return at least what is ``wanted``, read after this was called."""
        search = next((it for it in self._not_begun if it.takes(wanted)), None)
        if search is None:
            search = self._planned(wanted)
        search.join(wanted)
        # Whoever gives up waiting leaves the search to the others.
        return await asyncio.shield(search.listed)

    async def close(self) -> None:
        """Break off what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _planned(self, wanted: Wanted) -> _Search:
        search = _Search(wanted)
        self._not_begun.append(search)
        # Its first step comes after those of all tasks that are ready now.
        search.listed = asyncio.create_task(self._made(search), name="shared search")
        self._tasks.add(search.listed)
        search.listed.add_done_callback(self._tasks.discard)
        return search

    async def _made(self, search: _Search) -> Listed:
        self._not_begun.remove(search)
        return await self._read(search.wanted)
