"""What the sender of an order has to hear before it leaves, where the guard does not send it.

What is registered is followed whatever it is, and sending it is not in our hands. So what would
refuse it, were it ours to send, is said instead: the trading state, the calendar, the price collar.
"""

from backstop.core.market_hours import hours_denials
from backstop.core.order_limits import collar_denials
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import TradingState
from backstop.domain.quote import Quote


def sender_warning(work: Workbench, order: TrackedOrder, reference: Quote | None) -> str:
    """Return why ``order`` should not be sent now; empty when it may be, and for exits.

    ``reference`` is the market at the registration; without it no collar is judged.
    """
    book, contract_id = work.book, order.intent.contract_id
    if order.is_terminal or book.is_exit(order):
        return ""
    state = book.trading_state(work.now_ns, contract_id)
    reasons = []
    if state is not TradingState.ACTIVE:
        why = "; ".join(book.state_reasons(work.now_ns, contract_id))
        reasons.append(f"trading is {state} ({why})")
    instrument = book.instruments.get(contract_id)
    if instrument is not None:
        denials = (
            *hours_denials(book.hours, instrument, book.policy, work.utc_us),
            *collar_denials(order.intent, instrument, reference, book.policy),
        )
        reasons += [f"{denial.code}: {denial.message}" for denial in denials]
    if not reasons:
        return ""
    halted = state is TradingState.HALTED and book.policy.sends
    then = "and is cancelled as soon as the venue shows it" if halted else "wherever it stands"
    return (
        f"{'; '.join(reasons)}: do not send an entry now. "
        f"{order.client_order_id} is followed all the same, {then}."
    )
