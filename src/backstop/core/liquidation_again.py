"""A liquidation that was over begins again where a position that it took for gone is there again.

Lists of positions can stay empty for longer than a proof of flat takes. As long as its latch stands
the account was to be flat, so what comes back is closed. What others trade by themselves meanwhile
is none of it: their trades tell of that, and it follows the policy for positions of others.
"""

from backstop.core.book import Book
from backstop.core.expected_closes import is_claimed_close
from backstop.core.liquidation import Cause, Liquidation
from backstop.core.liquidation_register import put_on_record
from backstop.core.liquidation_scope import unfinished
from backstop.core.positions import PositionView
from backstop.core.step import Workbench
from backstop.core.trading_state import Latch, LatchKind


def begin_again(work: Workbench) -> None:
    """Begin to close what is held again, of the contracts that this step touched."""
    book = work.book
    if not book.policy.sends or not any(it.kind is LatchKind.LIQUIDATION for it in book.latches):
        return
    for contract_id in work.touched_contracts:
        view = book.position(contract_id)
        if not view.quantity or not view.is_settled:
            continue
        if any(run.covers(contract_id) and not run.is_partial for run in unfinished(book)):
            continue
        before = _newest_over(book, contract_id)
        if before is not None and _is_back(book, view, before):
            _begin(work, view, before)


def _newest_over(book: Book, contract_id: str) -> Liquidation | None:
    """Return the newest liquidation that took a contract flat, if its latch stands."""
    runs = (run for run in reversed(book.liquidations.values()) if run.latches and run.is_finished)
    newest = next((run for run in runs if run.covers(contract_id)), None)
    if newest is None:
        return None
    stands = any(it.binds(contract_id) and _is_its_latch(it, newest) for it in book.latches)
    return newest if stands else None


def _is_its_latch(latch: Latch, run: Liquidation) -> bool:
    """Say whether a latch is older than the end of ``run``, or of one of its causes.

    One that came later, such as that of a rehearsal, does not say that anything was taken flat: a
    person had resumed, and what is held was entered since. The causes are for a clock that jumped.
    """
    if latch.kind is not LatchKind.LIQUIDATION:
        return False
    asked = Cause(text=latch.cause, operator=latch.operator, utc_us=latch.utc_us)
    return run.ended_utc_us is None or latch.utc_us <= run.ended_utc_us or asked in run.causes


def _is_back(book: Book, view: PositionView, before: Liquidation) -> bool:
    """Say whether more is held than others have traded since."""
    if before.newest_trade_id is None:
        return False  # on record from a version that did not note it
    if (book.forgotten_trade_id or 0) > before.newest_trade_id:
        return False  # what left the book since may be what others bought: nobody can tell any more
    since = (
        trade.side.sign * trade.quantity
        for trade in book.trades.values()
        if trade.contract_id == view.contract_id
        and trade.trade_id > before.newest_trade_id
        and not trade.voided
        and _is_of_others(book, trade.broker_order_id)
    )
    return (view.quantity - sum(since)) * view.quantity > 0


def _is_of_others(book: Book, broker_order_id: int) -> bool:
    held = book.venue_orders.get(broker_order_id)
    ours = broker_order_id in book.client_of_broker_id or is_claimed_close(book, broker_order_id)
    return not ours and (held is None or held.owner is None)


def _begin(work: Workbench, view: PositionView, before: Liquidation) -> None:
    cause = Cause(
        text=f"{view.quantity:+d} {view.contract_id} are there again, and {before.liquidation_id} "
        f"had found it flat ({before.causes[0].text})",
        operator=before.causes[0].operator,
        utc_us=work.utc_us,
    )
    put_on_record(work, cause, before.contract_id, latches=True)
