"""What the sender of an order has to hear before it leaves, where the guard does not send it.

What is registered is followed whatever it is: to refuse to follow an order that is on its way would
only hide it. So what would refuse it, were it ours to send, is said instead: the trading state, and
every rule of the pipeline, those of the account and of exposure included. The stop is not among
them, for who sends orders himself may protect them himself; nor is the age of a market that the
guard needs for its own orders alone.
"""

from msgspec.structs import replace

from backstop.core.entry_gate import STATE_DENIALS
from backstop.core.pre_trade import judge
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.events import OrderRegistered, OrderRequested

_NOT_SAID = STATE_DENIALS | {
    DenialCode.MODE_DROP_COPY,
    DenialCode.STOP_REQUIRED,
    DenialCode.STALE_REFERENCE,
    DenialCode.STALE_ACCOUNT,
    DenialCode.STALE_VALUATION,
}


def sender_warning(work: Workbench, order: TrackedOrder, event: OrderRegistered) -> str:
    """Return why ``order`` should not be sent now; empty when it may be, and for exits.

    ``event`` has the market at the registration; without it no price is judged.
    """
    book, contract_id = work.book, order.intent.contract_id
    if order.is_terminal or not order.open_quantity or book.is_exit(order):
        return ""
    state = book.trading_state(work.now_ns, contract_id)
    reasons = []
    if state is not TradingState.ACTIVE:
        why = "; ".join(book.state_reasons(work.now_ns, contract_id))
        reasons.append(f"trading is {state} ({why})")
    wish = OrderRequested(
        utc_us=work.utc_us,
        request=replace(order.request, symbol=contract_id, quantity=order.open_quantity),
        reference=event.reference,
        marks=event.marks,
    )
    assessment = judge(book, wish, now_ns=work.now_ns, instead_of=order)
    denials = () if assessment is None else assessment.denials
    reasons += [f"{it.code}: {it.message}" for it in denials if it.code not in _NOT_SAID]
    if not reasons:
        return ""
    halted = state is TradingState.HALTED and book.policy.sends
    then = "and is cancelled as soon as the venue shows it" if halted else "wherever it stands"
    return (
        f"{'; '.join(reasons)}: do not send an entry now. "
        f"{order.client_order_id} is followed all the same, {then}."
    )
