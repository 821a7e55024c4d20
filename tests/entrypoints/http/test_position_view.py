"""How far a caller may trust a position that the interface shows."""

from decimal import Decimal

from tests.core.builders import ACCOUNT, MES, Guard

from backstop.core.book import AUDIT_STALE_NS
from backstop.core.positions import Knowledge
from backstop.domain.broker import BrokerPosition
from backstop.domain.events import PositionReported, Source
from backstop.entrypoints.http.position_view import position_rows


def a_long_guard() -> Guard:
    guard = Guard().start()
    position = BrokerPosition(
        position_id=1, account_id=ACCOUNT, contract_id=MES, quantity=1, average_price=Decimal(5990)
    )
    for _ in range(2):
        guard.feed(PositionReported(utc_us=guard.utc_us, position=position, source=Source.HUB))
        guard.audit(positions=(position,))
    return guard


def test_a_position_of_an_account_that_could_not_be_read_for_long_is_stale() -> None:
    guard = a_long_guard()
    read_ns = guard.book.audit.complete_ns
    assert guard.book.position(MES).knowledge is Knowledge.KNOWN

    (fresh,) = position_rows(guard.book, now_ns=read_ns + AUDIT_STALE_NS)
    (stale,) = position_rows(guard.book, now_ns=read_ns + AUDIT_STALE_NS + 1)

    assert (fresh.quantity, fresh.knowledge) == (1, Knowledge.KNOWN)
    assert (stale.quantity, stale.knowledge) == (1, Knowledge.STALE)


def test_flat_contracts_are_not_listed_because_the_account_was_not_read() -> None:
    guard = Guard().start()

    assert position_rows(guard.book, now_ns=guard.now_ns + 10 * AUDIT_STALE_NS) == ()
