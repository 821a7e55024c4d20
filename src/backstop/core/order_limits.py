"""How large one order may be, and how far from the market its price: numbers that no hand means.

What a finger or a loop gets wrong: a notional in the quantity field, a price of another contract, a
digit too many. The limits count per order, whatever the account may hold.
"""

from backstop.core.policy import Policy
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.numbers import money, plain
from backstop.domain.order import OrderIntent, OrderType, Side
from backstop.domain.quote import Quote

PPM = 1_000_000

FAR_TIMES = 10
"""How many collars away a price may be that has to be reached first: a wrong digit is farther."""


def size_denials(
    intent: OrderIntent, entry_ticks: int | None, instrument: Instrument, policy: Policy
) -> tuple[Denial, ...]:
    """Return why an order is too large: in contracts, or in what they are worth."""
    most, quantity = policy.max_order_quantity, intent.quantity
    denials: list[Denial] = []
    if quantity > most:
        denials.append(
            Denial.of_quantity(
                DenialCode.SIZE_TOO_LARGE,
                f"{quantity} contracts in one order; {most} are allowed",
                quantity=quantity,
                passes=most,
            )
        )
    limit_micros = policy.max_order_notional_micros
    if limit_micros is None or entry_ticks is None:
        return tuple(denials)
    each_micros = entry_ticks * instrument.tick_value_micros
    if quantity * each_micros > limit_micros:
        value, limit = str(money(quantity * each_micros)), str(money(limit_micros))
        denials.append(
            Denial(
                code=DenialCode.NOTIONAL_TOO_LARGE,
                message=f"{quantity} {intent.symbol} are worth {value} dollars; one order may be "
                f"worth {limit}",
                value=value,
                limit=limit,
                max_quantity=limit_micros // each_micros,
            )
        )
    return tuple(denials)


def collar_denials(
    intent: OrderIntent, instrument: Instrument, reference: Quote | None, policy: Policy
) -> tuple[Denial, ...]:
    """Return why the price that an entry names is too far from its market.

    Where a price costs money the collar is narrow: a limit through the market, a stop that is
    triggered at once. A price that has to be reached first is harmless, and may be far.
    """
    level_ticks = level_of(intent)
    if policy.price_collar_ppm is None or level_ticks is None:
        return ()
    touch = None if reference is None else reference.touch(intent.side)
    if touch is None:
        return ()
    near = abs(touch) * policy.price_collar_ppm / PPM
    # Which way the price costs money: up for a limit to buy and for a stop to sell.
    up = (intent.type is OrderType.LIMIT) is (intent.side is Side.BUY)
    below, above = (near * FAR_TIMES, near) if up else (near, near * FAR_TIMES)
    if -below <= instrument.price(level_ticks) - touch <= above:
        return ()
    low = instrument.rounded_ticks(touch - below, Rounding.UP)
    high = instrument.rounded_ticks(touch + above, Rounding.DOWN)
    price = _price(instrument, level_ticks)
    allowed = f"{_price(instrument, low)} to {_price(instrument, high)}"
    return (
        Denial(
            code=DenialCode.PRICE_COLLAR,
            message=f"{price} is too far from the market of {instrument.symbol} at {plain(touch)}; "
            f"{allowed} is allowed",
            value=price,
            limit=allowed,
        ),
    )


def level_of(intent: OrderIntent) -> int | None:
    """Return the price in ticks that an order names itself; None for a market order."""
    return intent.limit_ticks if intent.type.has_limit else intent.stop_ticks


def _price(instrument: Instrument, ticks: int) -> str:
    return str(plain(instrument.price(ticks)))
