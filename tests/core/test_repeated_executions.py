"""A strategy that executes the same thing again and again has to wait."""

from tests.core.builders import Guard, a_guard_start, a_policy, replayed

from backstop.core.policy import MILLISECOND_NS
from backstop.core.repeated_executions import WINDOW_NS
from backstop.core.step import Decision, DecisionKind
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import DenialCode
from backstop.domain.order import Side

LIMIT = 3
WINDOW_MS = WINDOW_NS // MILLISECOND_NS


def a_guard() -> Guard:
    return Guard(policy=a_policy(max_repeated_executions=LIMIT, duplicate_window_ns=0)).start()


def executed(guard: Guard, number: int, **changes: object) -> None:
    """Have order ``number`` of the strategy filled, in two parts."""
    name, side = f"n{number}", changes.get("side", Side.BUY)
    guard.working(100 + number, client_order_id=name, **changes)
    for part in range(2):
        guard.trade(trade_id=10 * number + part, broker_order_id=100 + number, side=side)
    guard.row(
        broker_order_id=100 + number,
        status=BrokerStatus.FILLED,
        side=side,
        filled_quantity=2,
    )


def codes(decision: Decision) -> list[DenialCode]:
    return [denial.code for denial in decision.denials]


def submit(guard: Guard, **changes: object) -> Decision:
    guard.audit(after_ms=1)
    return guard.submit(client_order_id=f"next-{len(guard.history)}", **changes)  # type: ignore[arg-type]


def test_after_so_many_executions_within_a_minute_the_next_entry_waits() -> None:
    guard = a_guard()
    for number in range(1, LIMIT):
        executed(guard, number)
    assert submit(guard).kind is DecisionKind.ACCEPTED
    executed(guard, LIMIT)

    refused = submit(guard)

    assert codes(refused) == [DenialCode.REPEATED_EXECUTION]
    assert (refused.denials[0].value, refused.denials[0].limit) == ("4", "3")
    assert "is taken in 60 s" in refused.denials[0].message


def test_an_order_that_fills_in_parts_is_one_execution() -> None:
    guard = a_guard()
    executed(guard, 1)

    assert [len(times) for times in guard.book.executions.values()] == [1]


def test_the_other_side_another_strategy_and_an_exit_do_not_wait() -> None:
    guard = a_guard()
    for number in range(1, LIMIT + 1):
        executed(guard, number)
    guard.position_row(6)

    assert submit(guard, side=Side.SELL, quantity=6).kind is DecisionKind.ACCEPTED
    assert codes(submit(guard, strategy_id="other", quantity=3)) == []
    assert codes(submit(guard)) == [DenialCode.REPEATED_EXECUTION]


def test_after_a_minute_the_strategy_may_go_on_and_nothing_is_kept() -> None:
    guard = a_guard()
    for number in range(1, LIMIT + 1):
        executed(guard, number)
    (times_ns,) = guard.book.executions.values()
    guard.now_ns = times_ns[0] + WINDOW_NS - 3 * MILLISECOND_NS  # a read and the order take two
    assert codes(submit(guard)) == [DenialCode.REPEATED_EXECUTION]

    guard.now_ns += 2 * MILLISECOND_NS

    assert codes(submit(guard)) == []
    guard.now_ns += WINDOW_NS
    executed(guard, 9, side=Side.SELL)
    assert list(guard.book.executions) == ["SELL CON.F.US.MES.Z26 "]


def test_what_is_kept_of_one_strategy_is_bounded() -> None:
    guard = a_guard()
    for number in range(1, LIMIT + 3):
        guard.working(100 + number, client_order_id=f"n{number}")
    for number in range(1, LIMIT + 3):
        guard.trade(trade_id=number, broker_order_id=100 + number)

    assert [len(times) for times in guard.book.executions.values()] == [LIMIT]


def test_a_new_process_counts_anew_and_a_replay_decides_the_same() -> None:
    guard = a_guard()
    for number in range(1, LIMIT + 1):
        executed(guard, number)
    submit(guard)
    guard.feed(a_guard_start(utc_us=guard.utc_us))

    book, steps = replayed(guard.policy, guard.history)

    assert guard.book.executions == {}
    assert steps == guard.steps
    assert book == guard.book
