"""A trade that is taken back while nobody listens: the position tells of it, a read finds it."""

from tests.core.builders import MES, Guard, a_policy, a_position, a_trade

from backstop.core.book import FIRST_LOOK_BACK_US
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import AuditAccount
from backstop.domain.order import Side

FIRST, SECOND = 7, 8


def a_guard_whose_position_lacks_one() -> Guard:
    """Return a guard that knows of two trades of one contract each, and reads that say 1."""
    guard = Guard(policy=a_policy(default_stop_ticks=20)).start()
    guard.working(quantity=2)
    for number in (FIRST, SECOND):
        guard.trade(trade_id=number)
    guard.row(status=BrokerStatus.FILLED, quantity=2, filled_quantity=2)
    guard.position_row(2)
    for after_ms in (3_000, 400):
        guard.audit(after_ms=after_ms, positions=(a_position(1),))
    assert guard.book.position(MES).adjustment == -1
    return guard


def test_an_unexplained_position_is_looked_for_in_the_trades_of_a_day() -> None:
    guard = a_guard_whose_position_lacks_one()
    while not (reads := guard.commands_of(AuditAccount)):
        guard.until_due()
    assert reads[-1].since_utc_us <= guard.utc_us - FIRST_LOOK_BACK_US


def test_what_is_found_takes_the_fill_back_and_moves_no_position() -> None:
    guard = a_guard_whose_position_lacks_one()
    taken_back = a_trade(trade_id=FIRST, voided=True)
    guard.audit(trades=(a_trade(trade_id=SECOND), taken_back), positions=(a_position(1),))
    view = guard.book.position(MES)
    assert (view.quantity, view.adjustment) == (1, 0)
    assert guard.book.trades[FIRST].voided
    assert guard.book.trades[SECOND].side is Side.BUY
