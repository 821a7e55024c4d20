"""Merges the sparse quotes of the market hub and knows the age of each contract's data.

The hub sends only the members that changed: an absent one stands as it was, a null one is gone.
After a drop everything is forgotten, because a bid from before the gap beside an ask from after it
would look like a fresh quote.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from backstop.adapters.projectx import translate
from backstop.adapters.projectx.wire import UNREADABLE
from backstop.domain.quote import Quote
from backstop.errors import GatewayAnswerError, GatewayError

CONTRACTS_MAX = 64
"""The gateway offers about 50 products; months of the past make room for those that follow."""

_NS_PER_MS = 1_000_000


class _QuoteRow(Struct, rename="camel"):
    best_bid: Decimal | UnsetType | None = UNSET
    best_ask: Decimal | UnsetType | None = UNSET
    last_price: Decimal | UnsetType | None = UNSET
    contract: str | None = None


class _TradeRow(Struct, rename="camel"):
    price: Decimal
    timestamp: str
    contract_id: str | None = None


_decode_quote = msgspec.json.Decoder(_QuoteRow).decode
_decode_trades = msgspec.json.Decoder(list[_TradeRow | None] | _TradeRow).decode


class QuoteBook:
    """The last quote of every subscribed contract, and when its data came (monotonic ns)."""

    def __init__(self) -> None:
        self._quotes: dict[str, Quote] = {}
        self._heard_ns: dict[str, int] = {}

    @property
    def contract_ids(self) -> tuple[str, ...]:
        """The contracts in the book."""
        return tuple(self._quotes)

    def add(self, contract_id: str) -> None:
        """Begin to keep ``contract_id``.

        Raises:
            GatewayError: the book is full.
        """
        if self.lacks_room_for(contract_id):
            raise GatewayError(
                f"The market of {contract_id} is not heard: the guard hears {CONTRACTS_MAX} "
                "contracts, and each of them is traded, held or ordered. Name fewer symbols in "
                "BACKSTOP_INSTRUMENTS. Entries in it are refused; exits go on."
            )
        self._quotes.setdefault(contract_id, Quote(contract_id=contract_id))

    def lacks_room_for(self, contract_id: str) -> bool:
        """Tell whether ``contract_id`` can only be kept when another one is let go of."""
        return contract_id not in self._quotes and len(self._quotes) >= CONTRACTS_MAX

    def silent_longest(self, contract_ids: Iterable[str]) -> str | None:
        """Return the one of them that was not heard for longest, or never; None: there is none."""
        return min(contract_ids, key=lambda it: self._heard_ns.get(it, 0), default=None)

    def remove(self, contract_id: str) -> None:
        """Keep ``contract_id`` no longer."""
        self._quotes.pop(contract_id, None)
        self._heard_ns.pop(contract_id, None)

    def forget(self) -> None:
        """Drop all prices, for a new connection; the ages run on."""
        self._quotes = {contract_id: Quote(contract_id=contract_id) for contract_id in self._quotes}

    def has(self, contract_id: str) -> bool:
        """Tell whether the contract is kept."""
        return contract_id in self._quotes

    def note_data(self, contract_id: str, now_ns: int) -> None:
        """Note that data of the contract came."""
        self._heard_ns[contract_id] = now_ns

    def data_age_ms(self, contract_id: str, now_ns: int) -> int | None:
        """Return how long ago data of the contract came; None: never."""
        heard_ns = self._heard_ns.get(contract_id)
        return None if heard_ns is None else (now_ns - heard_ns) // _NS_PER_MS

    def merge_quote(self, contract_id: str, row: Raw) -> Quote:
        """Return the quote after ``row``; raises GatewayAnswerError when it makes no sense."""
        try:
            wire = _decode_quote(row)
            if wire.contract not in {None, contract_id}:
                raise GatewayAnswerError(f"quote of {wire.contract} sent for {contract_id}")
            old = self._quotes[contract_id]
            quote = Quote(
                contract_id=contract_id,
                bid=_merged(old.bid, wire.best_bid, member="bestBid"),
                ask=_merged(old.ask, wire.best_ask, member="bestAsk"),
                last=_merged(old.last, wire.last_price, member="lastPrice"),
            )
        except UNREADABLE as error:
            raise GatewayAnswerError(f"quote row: {error}") from error
        self._quotes[contract_id] = quote
        return quote

    def merge_trades(self, contract_id: str, rows: Raw) -> Quote | None:
        """Return the quote after the newest of ``rows`` (a list or one trade); None: no trade."""
        try:
            decoded = _decode_trades(rows)
            listed = decoded if isinstance(decoded, list) else [decoded]
            trades = [trade for trade in listed if trade is not None]
            if not trades:
                return None
            # The order within a list is not documented; of equal times the later entry counts.
            newest = max(reversed(trades), key=lambda trade: translate.utc_us(trade.timestamp))
            if newest.contract_id not in {None, contract_id}:
                raise GatewayAnswerError(f"trade of {newest.contract_id} sent for {contract_id}")
            price = translate.checked_number("price", newest.price)
        except UNREADABLE as error:
            raise GatewayAnswerError(f"market trade row: {error}") from error
        quote = msgspec.structs.replace(self._quotes[contract_id], last=price)
        self._quotes[contract_id] = quote
        return quote


def _merged(old: Decimal | None, new: Decimal | UnsetType | None, *, member: str) -> Decimal | None:
    if isinstance(new, UnsetType):
        return old
    return None if new is None else translate.checked_number(member, new)
