"""A book for the trial of a limit: flat, read, with one contract and nothing else in it."""

from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.policy import SECOND_NS, Policy
from backstop.core.positions import Knowledge, PositionView
from backstop.domain.denial import DenialCode
from backstop.domain.events import OrderRequested
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.domain.quote import Mark, Quote
from backstop.domain.session import GROUP_OF_FAMILY

NOW_NS = 1_000 * SECOND_NS
UTC_US = 1_790_000_000_000_000
"""The moment of a trial: any will do, for nothing of it comes from a clock."""

DAY = "2026-09-21"
CONTRACT = "CON.F.TRIAL"
PRICE = Decimal(5000)
TICK = Decimal("0.25")
TICK_VALUE_MICROS = 1_250_000


class Trial(Struct, frozen=True, kw_only=True):
    """An order that breaks one limit: what the book is like, and the code that must refuse it.

    ``limit`` is what people call it: the setting, or the rule where there is none.
    """

    limit: str
    code: DenialCode
    policy: Policy
    wish: OrderRequested
    prepare: Callable[[Book], None]


def trial_book(policy: Policy) -> Book:
    """Return the book in which an order is tried."""
    book = Book(policy=policy)
    symbol = trial_symbol(policy)
    book.instruments[CONTRACT] = Instrument(
        contract_id=CONTRACT,
        symbol=symbol,
        name=symbol,
        tick_size=TICK,
        tick_value_micros=TICK_VALUE_MICROS,
    )
    book.contract_of[symbol] = CONTRACT
    book.recovered = book.links.user_up = book.links.market_up = True
    book.audit.complete_ns = book.audit.complete_sent_ns = NOW_NS
    book.trade_date = DAY
    return book


def trial_symbol(policy: Policy) -> str:
    """Return the root that is tried: of those allowed, one whose hours are known if there is.

    Where nothing is allowed, any will do: it is refused for that.
    """
    candidates = policy.symbols or tuple(GROUP_OF_FAMILY)
    known = (it for it in candidates if it in GROUP_OF_FAMILY)
    return next(known, candidates[0])


def an_order(**changes: object) -> OrderRequested:
    """Return an order for one contract at the market's own price, with a stop and a target."""
    request = OrderRequest(
        client_order_id="trial",
        symbol=CONTRACT,
        side=Side.BUY,
        quantity=1,
        type=OrderType.LIMIT,
        limit_price=PRICE,
        stop_loss_price=PRICE - 1000,
        take_profit_price=PRICE + 1000,
    )
    quote = Quote(contract_id=CONTRACT, bid=PRICE, ask=PRICE, last=PRICE)
    return OrderRequested(
        utc_us=UTC_US,
        request=replace(request, **changes),
        reference=quote,
        marks=(Mark(contract_id=CONTRACT, price=PRICE),),
    )


def holding(quantity: int) -> Callable[[Book], None]:
    """Return what lets a book hold ``quantity`` signed contracts."""

    def prepare(book: Book) -> None:
        book.positions[CONTRACT] = PositionView(
            contract_id=CONTRACT,
            quantity=quantity,
            traded=quantity,
            average_price=PRICE,
            knowledge=Knowledge.KNOWN,
        )

    return prepare


def as_it_is(book: Book) -> None:
    """Leave the book as it is."""
