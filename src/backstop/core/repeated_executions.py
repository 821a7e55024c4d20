"""A strategy that executes the same thing again and again is stopped before it costs the account.

A rate limit sees orders; a loop that enters, is filled and enters again stays below it all day. So
executions of one strategy, in one contract and on one side, are counted over a minute.
"""

from collections import Counter

from backstop.core.book import Book
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.order import Side

WINDOW_NS = 60 * SECOND_NS
"""A strategy for people is done within a minute; a loop is not."""


def count_executions(work: Workbench) -> None:
    """Remember, once, each order of ours that began to fill in this step."""
    book = work.book
    limit = book.policy.max_repeated_executions
    if limit is None or not work.new_trades:
        return
    filled = Counter(trade.broker_order_id for trade in work.new_trades.values())
    for broker_order_id, trades in filled.items():
        order = book.orders.get(book.client_of_broker_id.get(broker_order_id, ""))
        if order is None or order.role is not None or len(order.fills) != trades:
            continue
        intent = order.intent
        count_execution(work, intent.contract_id, intent.side, strategy_id=intent.strategy_id)
    for key in [it for it in book.executions if not _within(book, it, work.now_ns)]:
        del book.executions[key]


def count_execution(
    work: Workbench, contract_id: str, side: Side, *, strategy_id: str | None = None
) -> None:
    """Remember that an order begins to fill now; ``strategy_id`` None: of nobody who is named."""
    book, limit = work.book, work.book.policy.max_repeated_executions
    if limit is None:
        return
    key = execution_key(strategy_id, contract_id, side)
    book.executions[key] = (*_within(book, key, work.now_ns), work.now_ns)[-limit:]


def repetition_denials(
    book: Book, *, strategy_id: str | None, contract_id: str, side: Side, now_ns: int
) -> tuple[Denial, ...]:
    """Return why a strategy has to wait with one more entry of the same kind."""
    limit = book.policy.max_repeated_executions
    if limit is None or not book.executions:
        return ()
    key = execution_key(strategy_id, contract_id, side)
    if len(book.executions.get(key, ())) < limit:
        return ()
    times_ns = _within(book, key, now_ns)
    if len(times_ns) < limit:
        return ()
    wait_s = -(-(times_ns[-limit] + WINDOW_NS - now_ns) // SECOND_NS)
    who = "the strategy" if strategy_id is None else f"strategy {strategy_id}"
    return (
        Denial(
            code=DenialCode.REPEATED_EXECUTION,
            message=f"{who} has executed {len(times_ns)} {side} orders in {contract_id} within a "
            f"minute; the next one is taken in {wait_s} s",
            value=str(len(times_ns) + 1),
            limit=str(limit),
        ),
    )


def execution_key(strategy_id: str | None, contract_id: str, side: Side) -> str:
    """Return what executions are counted by."""
    return " ".join((side, contract_id, strategy_id or ""))


def _within(book: Book, key: str, now_ns: int) -> tuple[int, ...]:
    """Return the times of the newest executions that still count, oldest first."""
    return tuple(it for it in book.executions.get(key, ()) if now_ns - it < WINDOW_NS)
