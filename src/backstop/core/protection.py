"""Keeps the protective legs of bracket orders where the trader wants them.

The venue measures legs from the fill, so a leg can stand off the asked level: it is moved there.
A leg outlives its position when the position is closed some other way: it is cancelled, for it
would open a new one.
"""

from backstop.core.book import VenueOrder, Wake
from backstop.core.evidence import ask_for_audit
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.positions import Knowledge, PositionView
from backstop.core.step import Tag, Workbench
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ModifyOrder
from backstop.domain.instrument import Instrument
from backstop.domain.order import LegRole

ORPHAN_SETTLE_NS = 250 * MILLISECOND_NS
"""The venue cancels the sibling of a filled leg by itself within some 15 ms: let it."""

ASK_AGAIN_NS = 2 * SECOND_NS
"""How long a request about a leg may take before it is made again."""


def watch_contract(work: Workbench, contract_id: str) -> None:
    """Look at the legs of one contract after something about it changed."""
    book = work.book
    view = book.positions.get(contract_id)
    if view is None:
        return
    _time_nakedness(work, contract_id)
    instrument = book.instruments.get(contract_id)
    if not book.policy.sends:
        return
    for leg in book.live_legs(contract_id):
        if leg.owner is None or leg.row.status is not BrokerStatus.OPEN:
            continue
        if view.quantity == 0 and view.ledger == 0:
            book.wake(Wake.ORPHANS, work.now_ns + ORPHAN_SETTLE_NS)
        elif instrument is not None:
            _align(work, leg, instrument)


def sweep_orphans(work: Workbench) -> None:
    """Cancel working legs of contracts that trades and rows agree to be flat."""
    book = work.book
    if not book.woken(Wake.ORPHANS, work.now_ns):
        return
    for leg in book.live_venue_orders():
        view = book.positions.get(leg.row.contract_id)
        if leg.owner is None or leg.row.status is not BrokerStatus.OPEN or view is None:
            continue
        if view.quantity or view.ledger:
            continue
        book.wake(Wake.ORPHANS, work.now_ns + ASK_AGAIN_NS)
        if not _is_orphan(work, leg.owner, view):
            # Its entry may have filled while the trade is on the way: read, and look again.
            ask_for_audit(work)
            continue
        if _may_ask(work, leg):
            work.note(
                Tag.ORDER,
                "orphaned_leg_cancelled",
                broker_order_id=leg.row.broker_order_id,
                owner=leg.owner,
            )
            work.commands.append(
                CancelOrder(
                    account_id=leg.row.account_id,
                    broker_order_id=leg.row.broker_order_id,
                    reason="its position is closed",
                )
            )


def _is_orphan(work: Workbench, owner: str, view: PositionView) -> bool:
    """Say whether a leg has nothing left to protect; ``view`` says that its contract is flat.

    Flat from before the entry filled proves nothing: either the trades of the entry are complete
    and closed again, or reads sent since the last event agree.
    """
    if view.knowledge is not Knowledge.KNOWN:
        return False
    entry = work.book.orders.get(owner)
    counted = (
        entry is not None and entry.is_terminal and bool(entry.fills) and not entry.lacks_trades
    )
    return counted or view.is_proven


def _align(work: Workbench, leg: VenueOrder, instrument: Instrument) -> None:
    """Move a leg that the venue measured from the fill to the level that was asked for."""
    entry = work.book.orders.get(leg.owner or "")
    if entry is None:
        return
    intent = entry.intent
    if leg.role is LegRole.STOP_LOSS:
        asked, stands = intent.stop_loss_ticks, leg.row.stop_price
    else:
        asked, stands = intent.take_profit_ticks, leg.row.limit_price
    if asked is None or stands is None:
        return
    wanted = instrument.price(asked)
    if leg.row.broker_order_id in work.book.aligned:
        return
    # Once, when it first stands: later moves are the trader's own.
    work.book.aligned[leg.row.broker_order_id] = None
    if stands == wanted:
        return
    stop = leg.role is LegRole.STOP_LOSS
    work.commands.append(
        ModifyOrder(
            account_id=leg.row.account_id,
            broker_order_id=leg.row.broker_order_id,
            stop_price=wanted if stop else None,
            limit_price=None if stop else wanted,
            reason="the leg follows the asked level, not the fill",
        )
    )


def _may_ask(work: Workbench, leg: VenueOrder) -> bool:
    asked = work.book.asked
    last_ns = asked.get(leg.row.broker_order_id)
    if last_ns is not None and work.now_ns - last_ns < ASK_AGAIN_NS:
        return False
    asked[leg.row.broker_order_id] = work.now_ns
    return True


def _time_nakedness(work: Workbench, contract_id: str) -> None:
    book = work.book
    view = book.positions[contract_id]
    naked = abs(view.quantity) > book.stop_cover(contract_id, view.quantity)
    if naked == bool(view.naked_since_ns):
        return
    since_ns = work.now_ns if naked else 0
    book.positions[contract_id] = view.naked_since(since_ns)
