"""What a status page says of the hours of the markets."""

from tests.core.builders import MES, START_US, Guard, a_policy

from backstop.domain.events import SessionsScheduled
from backstop.domain.session import ContractEnd, MarketGroup, Session
from backstop.entrypoints.http.hours_view import market_hours_view

HOUR_US = 3_600_000_000


def a_guard() -> Guard:
    return Guard(policy=a_policy(keeps_hours=True, symbols=("MES", "CL"))).start()


def test_a_market_shows_its_session_and_when_it_has_to_be_left() -> None:
    guard = a_guard()
    session = Session(
        group=MarketGroup.EQUITY,
        trade_date="2026-09-21",
        opens_utc_us=START_US - HOUR_US,
        closes_utc_us=START_US + HOUR_US,
        entries_until_utc_us=START_US,
        flat_by_utc_us=START_US + HOUR_US // 2,
    )
    end = ContractEnd(
        contract_id=MES,
        last_date="2026-12-18",
        entries_until_utc_us=START_US + 100 * HOUR_US,
        flat_by_utc_us=START_US + 120 * HOUR_US,
    )
    guard.feed(SessionsScheduled(utc_us=guard.utc_us, sessions=(session,), contract_ends=(end,)))

    view = market_hours_view(guard.book)

    assert view.enforced
    (mes,) = view.markets  # the gateway has no CL
    assert mes.symbol == "MES"
    assert (mes.opens, mes.closes) == ("2026-09-21T13:13:20.000000Z", "2026-09-21T15:13:20.000000Z")
    assert mes.entries_until == "2026-09-21T14:13:20.000000Z"
    assert mes.flat_by == "2026-09-21T14:43:20.000000Z"
    assert mes.contract_left_by == "2026-09-26T14:13:20.000000Z"
    assert mes.no_entries == "flat before the session ends"
    assert mes.no_position is None


def test_hours_that_nobody_knows_are_shown_as_such() -> None:
    (mes,) = market_hours_view(a_guard().book).markets

    assert (mes.opens, mes.closes, mes.contract_left_by) == (None, None, None)
