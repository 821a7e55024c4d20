"""The numbers of an order: are they possible, and on which tick do its prices lie?"""

from collections.abc import Mapping
from decimal import Decimal

from backstop.core.policy import Policy
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.numbers import plain
from backstop.domain.order import OrderIntent, OrderRequest, OrderType, Side

PRICE_LIMIT_TICKS = 1_000_000_000
"""No contract trades this far from zero; a larger number is a wrong unit, not a price."""

PRICE_DECIMALS_MAX = 18
"""The finest tick has seven decimals; a double printed in full has no more than this."""

QUANTITY_MAX = 2**31 - 1
"""The venue's size is a 32-bit number; the limits that matter are far below."""

_PRICES_OF_TYPE = {
    # type: (limit price belongs to it, stop price belongs to it)
    OrderType.MARKET: (False, False),
    OrderType.LIMIT: (True, False),
    OrderType.STOP: (False, True),
    OrderType.TRAILING_STOP: (False, True),
}


def number_faults(request: OrderRequest, instrument: Instrument) -> tuple[Denial, ...]:
    """Return what is wrong with the quantity and the prices of ``request``, all of it."""
    faults: list[Denial] = []
    if not 1 <= request.quantity <= QUANTITY_MAX:
        allowed = f"1 to {QUANTITY_MAX}"
        faults.append(
            Denial(
                code=DenialCode.QUANTITY_INVALID,
                message=f"quantity is {request.quantity}; it must be a whole number, {allowed}",
                value=str(request.quantity),
                limit=allowed,
                max_quantity=QUANTITY_MAX,
            )
        )
    wants_limit, wants_stop = _PRICES_OF_TYPE[request.type]
    for name, price, wanted in (
        ("limit_price", request.limit_price, wants_limit),
        ("stop_price", request.stop_price, wants_stop),
    ):
        if wanted and price is None:
            faults.append(
                Denial(
                    code=DenialCode.PRICE_MISSING,
                    message=f"a {request.type} order needs {name}",
                    max_quantity=0,
                )
            )
        if not wanted and price is not None:
            faults.append(
                Denial(
                    code=DenialCode.PRICE_UNEXPECTED,
                    message=f"a {request.type} order takes no {name}",
                    value=str(price),
                    max_quantity=0,
                )
            )
    for name, price in _named_prices(request):
        if not _is_price(price, instrument):
            faults.append(_no_price(name, price, instrument))
    return tuple(faults)


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
        for name, price in _named_prices(request)
        if price % instrument.tick_size
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
    if not price.is_finite():
        return False
    exponent = price.as_tuple().exponent
    fine = isinstance(exponent, int) and exponent < -PRICE_DECIMALS_MAX
    # Compared, not divided: a quotient can leave the range of a Decimal.
    return not fine and abs(price) <= PRICE_LIMIT_TICKS * instrument.tick_size


def _named_prices(request: OrderRequest) -> list[tuple[str, Decimal]]:
    named = (
        ("limit_price", request.limit_price),
        ("stop_price", request.stop_price),
        ("stop_loss_price", request.stop_loss_price),
        ("take_profit_price", request.take_profit_price),
    )
    return [(name, price) for name, price in named if price is not None]


def on_the_tick(request: OrderRequest, instrument: Instrument, policy: Policy) -> OrderIntent:
    """Round every price to a tick, never to one that is worse for the trader than asked."""
    buying = request.side is Side.BUY
    passive = Rounding.DOWN if buying else Rounding.UP

    def ticks(price: Decimal | None, rounding: Rounding) -> int | None:
        return None if price is None else instrument.rounded_ticks(price, rounding)

    return OrderIntent(
        client_order_id=request.client_order_id,
        account_id=policy.account_id,
        contract_id=instrument.contract_id,
        symbol=instrument.symbol,
        side=request.side,
        quantity=request.quantity,
        type=request.type,
        limit_ticks=ticks(request.limit_price, passive),
        # A stop never triggers before the asked price is reached.
        stop_ticks=ticks(request.stop_price, Rounding.UP if buying else Rounding.DOWN),
        # Towards the entry: the loss may be smaller than asked for, never larger.
        stop_loss_ticks=ticks(request.stop_loss_price, Rounding.UP if buying else Rounding.DOWN),
        # A limit on the other side: passive there.
        take_profit_ticks=ticks(
            request.take_profit_price, Rounding.UP if buying else Rounding.DOWN
        ),
        strategy_id=request.strategy_id,
    )
