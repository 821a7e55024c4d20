"""Net positions and realised results: how one fill changes them, in integers throughout."""

from collections.abc import Iterable

from msgspec import Struct

from backstop.simulator.records import NANOTICKS, Trade


class Net(Struct, frozen=True, kw_only=True):
    """A net position: signed quantity and its average price in billionths of a tick."""

    quantity: int = 0
    average_nanoticks: int = 0


class Netted(Struct, frozen=True, kw_only=True):
    """What one fill made of a net position; ``closed`` is the quantity it took off."""

    net: Net
    closed: int
    gain_nanoticks: int  # of the closed part, over all its contracts; negative for a loss


def net_fill(before: Net, *, sign: int, size: int, price_ticks: int) -> Netted:
    """Book a fill into ``before``.

    Adding re-averages, reducing keeps the average, going through flat starts a new average at the
    price of the fill; a flat position keeps the last average, which its closing event still shows.

    Args:
        before: the position before the fill.
        sign: +1 for a buy, -1 for a sell.
        size: contracts, positive.
        price_ticks: price of the fill.
    """
    fill_nanoticks = price_ticks * NANOTICKS
    quantity = before.quantity + sign * size
    if before.quantity * sign >= 0:
        held = abs(before.quantity)
        cost = held * before.average_nanoticks + size * fill_nanoticks
        average = divide_half_even(cost, held + size)
        return Netted(
            net=Net(quantity=quantity, average_nanoticks=average), closed=0, gain_nanoticks=0
        )
    closed = min(size, abs(before.quantity))
    gain = -sign * closed * (fill_nanoticks - before.average_nanoticks)
    average = fill_nanoticks if size > closed else before.average_nanoticks
    return Netted(
        net=Net(quantity=quantity, average_nanoticks=average), closed=closed, gain_nanoticks=gain
    )


def pnl_micros(netted: Netted, tick_value_micros: int) -> int | None:
    """Return the gross result of the closed part, rounded half to even; None if none closed."""
    if not netted.closed:
        return None
    return divide_half_even(netted.gain_nanoticks * tick_value_micros, NANOTICKS)


def replayed(trades: Iterable[Trade], tick_value_micros: int) -> tuple[Net, dict[int, int | None]]:
    """Book ``trades`` of one account and contract again from flat, without the voided ones.

    A void changes what later fills opened and closed, so their results are computed anew.

    Returns:
        The position and the gross result of each trade by id; voided trades are left out.
    """
    net = Net()
    results: dict[int, int | None] = {}
    for trade in trades:
        if trade.voided:
            continue
        netted = net_fill(net, sign=trade.sign, size=trade.size, price_ticks=trade.price_ticks)
        results[trade.id] = pnl_micros(netted, tick_value_micros)
        net = netted.net
    return net, results


def divide_half_even(dividend: int, divisor: int) -> int:
    """Return ``dividend / divisor`` rounded to the nearest integer, ties to the even one."""
    quotient, rest = divmod(dividend, divisor)
    doubled = 2 * rest
    if doubled > divisor or (doubled == divisor and quotient % 2):
        return quotient + 1
    return quotient
