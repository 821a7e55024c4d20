"""The numbers of an order: are they possible, and on which tick do its prices lie?"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from msgspec.structs import replace

from backstop.core.policy import Policy
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import (
    PRICE_DECIMALS_MAX,
    PRICE_LIMIT_TICKS,
    Instrument,
    Rounding,
)
from backstop.domain.numbers import plain
from backstop.domain.order import OrderIntent, OrderRequest, OrderType
from backstop.domain.wish_terms import QUANTITY_MAX, is_bounded

OFFSET_TICKS_MAX = 100_000
"""No contract moves so far from one session to the next; a larger number is a level, no offset."""


def number_faults(request: OrderRequest, instrument: Instrument) -> tuple[Denial, ...]:
    """Return what is wrong with the quantity and the prices of ``request``, all of it."""
    faults: list[Denial] = [*quantity_faults(request.quantity)]
    type_ = request.type
    if (request.limit_price is not None) is not type_.has_limit:
        faults.append(_misplaced("limit_price", request.limit_price, type_))
    if (request.stop_price is not None) is not type_.has_stop:
        faults.append(_misplaced("stop_price", request.stop_price, type_))
    for name, price in zip(_PRICE_NAMES, _prices(request), strict=True):
        if price is not None and not _is_price(price, instrument):
            faults.append(_no_price(name, price, instrument))
    faults.extend(_offset_faults(request))
    return tuple(faults)


def quantity_faults(quantity: int) -> tuple[Denial, ...]:
    """Return what is wrong with a number of contracts that somebody asks for."""
    if 1 <= quantity <= QUANTITY_MAX:
        return ()
    allowed = f"1 to {QUANTITY_MAX}"
    return (
        Denial(
            code=DenialCode.QUANTITY_INVALID,
            message=f"quantity is {quantity}; it must be a whole number, {allowed}",
            value=str(quantity),
            limit=allowed,
            max_quantity=QUANTITY_MAX,
        ),
    )


def countable(request: OrderRequest) -> OrderRequest:
    """Return ``request`` with a quantity that can be calculated with, where its own is none.

    So that the other rules can be asked about it all the same.
    """
    if abs(request.quantity) <= QUANTITY_MAX:
        return request
    return replace(request, quantity=QUANTITY_MAX if request.quantity > 0 else -QUANTITY_MAX)


def _offset_faults(request: OrderRequest) -> Iterator[Denial]:
    """Yield what is wrong with legs that are asked for by their offsets from the fill."""
    for name, price, offset in (
        ("stop_loss", request.stop_loss_price, request.stop_loss_offset_ticks),
        ("take_profit", request.take_profit_price, request.take_profit_offset_ticks),
    ):
        if offset is None:
            continue
        if price is not None:
            yield Denial(
                code=DenialCode.PRICE_UNEXPECTED,
                message=f"give {name}_price or {name}_offset_ticks, not both",
                value=str(price),
                max_quantity=0,
            )
        if abs(offset) > OFFSET_TICKS_MAX:
            yield Denial(
                code=DenialCode.PRICE_INVALID,
                message=f"{name}_offset_ticks is {offset}; no leg lies so far from its entry",
                value=str(offset),
                limit=str(OFFSET_TICKS_MAX),
                max_quantity=0,
            )


def _misplaced(name: str, price: Decimal | None, type_: OrderType) -> Denial:
    """Refuse a price that its type of order lacks, or takes none of."""
    if price is None:
        return Denial(
            code=DenialCode.PRICE_MISSING,
            message=f"a {type_} order needs {name}",
            max_quantity=0,
        )
    return Denial(
        code=DenialCode.PRICE_UNEXPECTED,
        message=f"a {type_} order takes no {name}",
        value=str(price),
        max_quantity=0,
    )


def level_faults(ticks: int, instrument: Instrument) -> tuple[Denial, ...]:
    """Return what keeps a level in whole ticks from being a price of ``instrument``."""
    price = instrument.price(ticks)
    return () if _is_price(price, instrument) else (_no_price("price", price, instrument),)


def tickless_faults(
    prices: Mapping[str, Decimal | None], instrument: Instrument
) -> tuple[Denial, ...]:
    """Return which of ``prices``, by their names, no tick can be found for: NaN, or far too large.

    Looked at before they are rounded, which has no answer for them.
    """
    return tuple(
        _no_price(name, price, instrument)
        for name, price in prices.items()
        if price is not None and not _has_ticks(price, instrument)
    )


def off_tick_faults(request: OrderRequest, instrument: Instrument) -> tuple[Denial, ...]:
    """Return the prices of ``request`` that lie between two ticks; its numbers are possible.

    For an order that we do not send: there is nothing that we could round.
    """
    return tuple(
        Denial(
            code=DenialCode.TICK_UNALIGNED,
            message=f"{name} {price} is not a multiple of the tick size of {instrument.symbol}",
            value=str(price),
            limit=str(instrument.tick_size),
            max_quantity=0,
        )
        for name, price in zip(_PRICE_NAMES, _prices(request), strict=True)
        if price is not None and price % instrument.tick_size
    )


def _no_price(name: str, price: Decimal, instrument: Instrument) -> Denial:
    allowed = f"above 0, at most {plain(PRICE_LIMIT_TICKS * instrument.tick_size)}"
    return Denial(
        code=DenialCode.PRICE_INVALID,
        message=f"{name} {price} is not a price of {instrument.symbol}: {allowed}, with at most "
        f"{PRICE_DECIMALS_MAX} decimals",
        value=str(price),
        limit=allowed,
        max_quantity=0,
    )


def _is_price(price: Decimal, instrument: Instrument) -> bool:
    """Say whether a number can be a price: finite, above zero, and not absurdly large or fine."""
    return _has_ticks(price, instrument) and price > 0


def _has_ticks(price: Decimal, instrument: Instrument) -> bool:
    """Say whether a number can be put into ticks at all, below zero included."""
    if not is_bounded(price):
        return False
    if price in instrument.known_levels:
        return True
    return not _is_fine(price) and abs(price) <= PRICE_LIMIT_TICKS * instrument.tick_size


def _is_fine(price: Decimal) -> bool:
    """Say whether a finite number has more decimals than a price may; zeros at its end are none."""
    _, digits, exponent = price.as_tuple()
    beyond = -PRICE_DECIMALS_MAX - exponent if isinstance(exponent, int) else 0
    return beyond > 0 and any(digits[-beyond:])


_PRICE_NAMES = ("limit_price", "stop_price", "stop_loss_price", "take_profit_price")


def _prices(request: OrderRequest) -> tuple[Decimal | None, ...]:
    return (
        request.limit_price,
        request.stop_price,
        request.stop_loss_price,
        request.take_profit_price,
    )


_ROUNDINGS = ((Rounding.UP, Rounding.DOWN), (Rounding.DOWN, Rounding.UP))
"""Of a sell, and of a buy: how a limit is rounded, and how a level that is to be reached first."""


def on_the_tick(request: OrderRequest, instrument: Instrument, policy: Policy) -> OrderIntent:
    """Round every price to a tick, never to one that is worse for the trader than asked."""
    passive, later = _ROUNDINGS[request.side.sign > 0]
    limit, stop = request.limit_price, request.stop_price
    stop_loss, take_profit = request.stop_loss_price, request.take_profit_price
    ticks = instrument.rounded_ticks
    return OrderIntent(
        client_order_id=request.client_order_id,
        account_id=policy.account_id,
        contract_id=instrument.contract_id,
        symbol=instrument.symbol,
        side=request.side,
        quantity=request.quantity,
        type=request.type,
        limit_ticks=None if limit is None else ticks(limit, passive),
        # A stop never triggers before the asked price is reached.
        stop_ticks=None if stop is None else ticks(stop, later),
        # Towards the entry: the loss may be smaller than asked for, never larger.
        stop_loss_ticks=None if stop_loss is None else ticks(stop_loss, later),
        # A limit on the other side: passive there.
        take_profit_ticks=None if take_profit is None else ticks(take_profit, later),
        strategy_id=request.strategy_id,
    )
