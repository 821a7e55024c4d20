"""A trade that the venue tells in two ways.

Its number counts once, whatever is told of it. The reads of the account are the venue's own books,
what the hub pushes is a message about them: so what a read says stands, whichever came first, and a
person is told, because somebody's books are wrong.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core import positions
from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerTrade
from backstop.domain.commands import Severity
from backstop.domain.numbers import plain


def tell_restated(work: Workbench, held: BrokerTrade, told: BrokerTrade, *, stands: bool) -> None:
    """Tell a person; ``stands``: what was told now counts, and no longer what was told before."""
    kept, other = (told, held) if stands else (held, told)
    work.book.counters.contradictions += 1
    work.alert(
        Severity.CRITICAL,
        AlertCode.TRADE_RESTATED,
        f"The venue tells trade {held.trade_id} in two ways: {_words(kept)}, which counts, and "
        f"{_words(other)}. Compare orders and trades with the venue's own list.",
    )


def restate(work: Workbench, held: BrokerTrade, told: BrokerTrade, *, seen_ns: int) -> BrokerTrade:
    """Let ``told``, of a read that was sent at ``seen_ns``, take the place of ``held``."""
    book, number = work.book, held.trade_id
    costs = max(held.commissions_micros, told.commissions_micros)
    trade = replace(told, commissions_micros=costs)
    work.count(trade)
    if held.broker_order_id != trade.broker_order_id:
        book.kept_trades.pop(number, None)
        before = book.trades_of.get(held.broker_order_id, ())
        book.trades_of[held.broker_order_id] = tuple(it for it in before if it != number)
        after = book.trades_of.get(trade.broker_order_id, ())
        book.trades_of[trade.broker_order_id] = (*after, number)
    for contract_id, contracts in _moves(held, trade):
        book.positions[contract_id] = positions.after_trade(
            book.position(contract_id),
            contracts,
            traded_utc_us=trade.created_utc_us,
            now_ns=seen_ns,
            corrects=True,
        )
        work.touched_contracts[contract_id] = None
    return trade


def _moves(held: BrokerTrade, trade: BrokerTrade) -> Iterator[tuple[str, int]]:
    """Yield by how many signed contracts each position has to change."""
    before, after = held.side.sign * held.quantity, trade.side.sign * trade.quantity
    if held.contract_id != trade.contract_id:
        yield held.contract_id, -before
        yield trade.contract_id, after
    elif after != before:
        yield trade.contract_id, after - before


def _words(trade: BrokerTrade) -> str:
    return (
        f"{trade.side} {trade.quantity} {trade.contract_id} at {plain(trade.price):f} of order "
        f"{trade.broker_order_id}"
    )
