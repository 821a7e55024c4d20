"""Keeps what is known of contracts true: months that are held, and months that come to be listed.

A gateway lists one month of each root. A position in another one, held over a roll or opened
elsewhere, can only be given a stop once its tick size is known, and counts at its price only while
that is heard. So what is held and is not listed is asked for by its id, and its market is joined.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from backstop.core.book import Book
from backstop.domain.events import InstrumentsLoaded
from backstop.domain.instrument import Instrument
from backstop.errors import GatewayError
from backstop.ports import Clock, FactSink

LOOK_S = 0.25
"""Pause between looks at what is held: a position must not be without a stop for a second."""

ASK_AGAIN_S = 30.0
"""Pause before a contract that the gateway would not tell of is asked for again."""

LIST_S = 900.0
"""Pause between reads of the list: a roll is known a quarter of an hour after it."""

_LIST, _MARKET = "list", "market"
"""What may fail besides the asking for a contract, which goes by its id."""


def is_wanted(book: Book, contract_id: str) -> bool:
    """Say whether a market has to be heard: it is held or ordered, or the month that is traded."""
    instrument = book.instruments.get(contract_id)
    if instrument is not None and instrument.symbol in book.policy.symbols:
        is_traded = book.contract_of.get(instrument.symbol) == contract_id
    else:
        is_traded = False
    at_risk = (book.positions.held, book.live.contracts(), book.live_venue.contracts())
    return is_traded or any(contract_id in it for it in at_risk)


class ContractSource(Protocol):
    """Where contracts are read."""

    async def instruments(self) -> tuple[Instrument, ...]:
        """Return every contract that is listed now."""

    async def instrument(self, contract_id: str) -> Instrument | None:
        """Return one, listed or not; None: there is none of that id."""


class ContractWatch:
    """Looks at what is held, and reads the list now and then; ``run`` it."""

    def __init__(
        self,
        source: ContractSource,
        *,
        book: Book,
        clock: Clock,
        sink: FactSink,
        hear: Callable[[Iterable[str]], Awaitable[None]],
        on_fault: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is asked.

        Args:
            source: of contracts.
            book: says what is held, and what is known.
            clock: for records.
            sink: takes what is found.
            hear: joins the market of contracts.
            on_fault: is told what cannot be read or heard, and with an empty text that all can.
        """
        self._source = source
        self._book = book
        self._clock = clock
        self._sink = sink
        self._hear = hear
        self._on_fault = on_fault
        self._seen = -1  # the version of the book's change log that was looked at
        self._heard: set[str] = set()
        self._ask_s: dict[str, float] = {}  # contract -> when it may be asked for again
        self._list_s: float | None = None
        self._faults: dict[str, str] = {}  # by contract that is asked for, and by work; empty: well

    async def run(self, greeted: Callable[[], Awaitable[None]]) -> None:
        """Look until cancelled, once ``greeted`` has ended: the list is there then."""
        await greeted()
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Do once what there is to do."""
        now_s = asyncio.get_running_loop().time()
        if self._book.changed.version != self._seen or self._ask_s or self._faults.get(_MARKET):
            self._seen = self._book.changed.version
            await self._look_at_what_is_held(now_s)
        if self._list_s is None:
            self._list_s = now_s + LIST_S  # what is listed now is known from the greeting
        if now_s >= self._list_s:
            self._faults[_LIST] = fault = await _fault_of(self._read_list())
            self._list_s = now_s + (ASK_AGAIN_S if fault else LIST_S)
        self._on_fault("; ".join(filter(None, self._faults.values())))

    async def _look_at_what_is_held(self, now_s: float) -> None:
        book = self._book
        held = tuple(view.contract_id for view in book.positions.values() if view.quantity)
        named = (*held, *(row.contract_id for row in book.working_rows()))
        unknown = dict.fromkeys(it for it in named if it not in book.instruments)
        for contract_id in self._ask_s.keys() - unknown.keys():
            del self._ask_s[contract_id]
            self._faults.pop(contract_id, None)
        for contract_id in unknown:
            if now_s >= self._ask_s.get(contract_id, now_s):
                self._ask_s[contract_id] = now_s + ASK_AGAIN_S
                self._faults[contract_id] = await _fault_of(self._ask(contract_id))
        self._faults[_MARKET] = await _fault_of(self._join(held))

    async def _ask(self, contract_id: str) -> None:
        found = await self._source.instrument(contract_id)
        if found is None:
            raise GatewayError(
                f"the gateway knows no contract {contract_id}, and the account has it"
            )
        self._tell((found,), listed=False)

    async def _join(self, held: tuple[str, ...]) -> None:
        self._heard.intersection_update(held)  # what nobody holds may be let go of meanwhile
        fresh = [it for it in held if it in self._book.instruments and it not in self._heard]
        if fresh:
            await self._hear(fresh)
            self._heard.update(fresh)

    async def _read_list(self) -> None:
        book = self._book
        listed = await self._source.instruments()
        news = tuple(it for it in listed if book.instruments.get(it.contract_id) != it)
        if news:
            self._tell(news, listed=True)
        # Also what is no news: there may have been no room for it before.
        traded = (it for it in listed if it.active and it.symbol in book.policy.symbols)
        await self._hear([it.contract_id for it in traded])

    def _tell(self, instruments: tuple[Instrument, ...], *, listed: bool) -> None:
        self._sink(
            InstrumentsLoaded(utc_us=self._clock.utc_us(), instruments=instruments, listed=listed)
        )


async def _fault_of(work: Awaitable[None]) -> str:
    """Return why the gateway did not do ``work``; empty: it did."""
    try:
        await work
    except GatewayError as error:
        return str(error)
    return ""
