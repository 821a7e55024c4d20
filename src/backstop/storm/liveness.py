"""The second question: once the faults stop, does everything come right, and in time?"""

from collections.abc import Callable, Iterator
from typing import Final

from backstop.adapters.projectx.wire import WireOrderStatus
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.book import Book
from backstop.domain.order import OrderState
from backstop.storm.truth import Truth

SETTLE_S: Final = 240.0
"""From the last fault until everything must have come right: a proof that an order never arrived
takes 30 s after its deadline and two reads; a hub that was evicted waits for a minute."""

UNSETTLED: Final = frozenset({OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN})


def differences(
    guard: CriticalSystemManager | None,
    truth: Truth,
    *,
    acts: bool = True,
    trades: Callable[[str], bool] = lambda _contract_id: True,
) -> list[str]:
    """Return what has not come right yet; nothing when all has.

    Args:
        guard: the one that runs.
        truth: the exchange's.
        acts: its orders may leave, and the venue takes them.
        trades: says whether a contract's market is open: what needs one waits for it.
    """
    if guard is None:
        return ["no guard runs"]
    book = guard.book
    if not book.recovered:
        return [f"not recovered: {'; '.join(book.state_reasons(guard.now_ns()))}"]
    left = [*_orders(book, truth), *_positions(book, truth)]
    if acts:
        left += _what_takes_acts(book, truth, trades)
    return left


def _orders(book: Book, truth: Truth) -> Iterator[str]:
    for order in book.live_orders():
        if order.state in UNSETTLED:
            yield f"order {order.client_order_id} is {order.state}"
    believed = {row.broker_order_id for row in book.working_rows()}
    for order_id in sorted(believed ^ truth.live.keys()):
        who = "the guard" if order_id in believed else "the exchange"
        yield f"order {order_id} works for {who} alone"


def _what_takes_acts(book: Book, truth: Truth, trades: Callable[[str], bool]) -> Iterator[str]:
    for row in truth.live.values():
        is_leg = (row.custom_tag or "").endswith(("-SL", "-TP"))
        if (
            is_leg
            and row.status == WireOrderStatus.OPEN
            and not truth.positions.get(row.contract_id)
        ):
            yield f"leg {row.id} works, and {row.contract_id} is flat"
    held = dict(truth.open_positions())
    # It waits for what works as well: an order that is pending when its market closes stays that.
    awaited = {*held, *(row.contract_id for row in truth.live.values())}
    if book.liquidating and all(map(trades, awaited)):
        yield "a liquidation is under way"
    for contract_id, quantity in held.items():
        naked = truth.uncovered(contract_id)
        if naked and trades(contract_id):
            yield f"{naked} of {quantity} {contract_id} are naked"


def _positions(book: Book, truth: Truth) -> Iterator[str]:
    true = dict(truth.open_positions())
    believed = {it.contract_id: it.quantity for it in book.positions.values() if it.quantity}
    if true != believed:
        yield f"positions: true {true}, believed {believed}"
