"""The calendar in the pipeline: when entries are taken, and what is left in time."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import (
    MES,
    NQ,
    START_US,
    Guard,
    a_policy,
    a_position,
    a_quote,
    a_request,
    an_instrument,
    an_nq_instrument,
    replayed,
)

from backstop.core.hours_kept import CLOSER
from backstop.core.pre_trade import judge
from backstop.core.step import Decision, DecisionKind
from backstop.core.trading_state import LatchKind
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ClosePosition
from backstop.domain.denial import DenialCode
from backstop.domain.events import ModifyRequested, OrderRequested, SessionsScheduled
from backstop.domain.order import OrderType, Side
from backstop.domain.session import ContractEnd, MarketGroup, Session

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
OPENS_US, CLOSES_US = START_US - HOUR_US, START_US + HOUR_US


def a_session(**changes: Any) -> Session:
    members: dict[str, Any] = {
        "group": MarketGroup.EQUITY,
        "trade_date": "2026-09-21",
        "opens_utc_us": OPENS_US,
        "closes_utc_us": CLOSES_US,
    }
    return Session(**(members | changes))


NEXT = a_session(
    trade_date="2026-09-22",
    opens_utc_us=CLOSES_US + HOUR_US,
    closes_utc_us=CLOSES_US + 24 * HOUR_US,
)


def an_end(**changes: Any) -> ContractEnd:
    members: dict[str, Any] = {
        "contract_id": MES,
        "last_date": "2026-09-21",
        "entries_until_utc_us": START_US - MINUTE_US,
        "flat_by_utc_us": START_US + 30 * MINUTE_US,
    }
    return ContractEnd(**(members | changes))


def plan(guard: Guard, *sessions: Session, ends: tuple[ContractEnd, ...] = ()) -> None:
    guard.feed(
        SessionsScheduled(
            utc_us=guard.utc_us, sessions=sessions or (a_session(), NEXT), contract_ends=ends
        )
    )


def a_guard(**policy: Any) -> Guard:
    return Guard(policy=a_policy(keeps_hours=True, **policy)).start()


def codes(decision: Decision) -> list[DenialCode]:
    return [denial.code for denial in decision.denials]


# -- entries ---------------------------------------------------------------------------------------


def test_an_open_market_takes_entries() -> None:
    guard = a_guard()
    plan(guard)

    assert guard.submit().kind is DecisionKind.ACCEPTED


def test_without_a_schedule_no_market_counts_as_open() -> None:
    decision = a_guard().submit()

    assert codes(decision) == [DenialCode.SESSION_UNKNOWN]
    assert "not been read yet" in decision.denials[0].message


def test_a_market_without_hours_in_the_calendar_counts_as_closed() -> None:
    silver = an_instrument(contract_id="CON.F.US.SIE.Z26", symbol="SI")
    guard = Guard(policy=a_policy(keeps_hours=True, symbols=("SI",))).start(silver)
    plan(guard)

    decision = guard.submit(quote=a_quote(contract_id=silver.contract_id), symbol="SI")

    assert codes(decision) == [DenialCode.SESSION_UNKNOWN]
    assert "no hours for SI" in decision.denials[0].message


def test_a_day_beyond_the_calendar_counts_as_closed() -> None:
    guard = a_guard()
    plan(guard, a_session(group=MarketGroup.METALS))

    decision = guard.submit()

    assert codes(decision) == [DenialCode.SESSION_UNKNOWN]
    assert "install a newer one" in decision.denials[0].message


def test_a_closed_market_refuses_entries_and_says_when_it_opens() -> None:
    guard = a_guard()
    plan(guard, NEXT)

    decision = guard.submit()

    assert codes(decision) == [DenialCode.SESSION_CLOSED]
    assert decision.denials[0].limit == "2026-09-21T16:13:20.000000Z"


@pytest.mark.parametrize(
    ("after_us", "refused"),
    [
        (-1, DenialCode.SESSION_CLOSED),
        (0, None),
        (2 * HOUR_US - 1, None),
        (2 * HOUR_US, DenialCode.SESSION_CLOSED),
        (3 * HOUR_US - 1, DenialCode.SESSION_CLOSED),
        (3 * HOUR_US, None),
    ],
)
def test_a_session_is_open_from_its_first_moment_to_before_its_last(
    after_us: int, refused: DenialCode | None
) -> None:
    guard = a_guard()
    plan(guard)
    asked = OrderRequested(utc_us=OPENS_US + after_us, request=a_request(), reference=a_quote())

    found = judge(guard.book, asked, now_ns=guard.now_ns)

    assert found is not None
    assert [it.code for it in found.denials] == ([] if refused is None else [refused])


def test_an_exit_passes_whatever_the_calendar_says() -> None:
    guard = a_guard()
    plan(guard)
    guard.position_row(2)
    plan(guard, NEXT)

    assert guard.submit(side=Side.SELL, quantity=2).kind is DecisionKind.ACCEPTED


def test_records_of_before_there_was_a_calendar_are_judged_as_they_were() -> None:
    guard = Guard().start()
    plan(guard, NEXT)

    assert guard.submit().kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize(("before_us", "refused"), [(1, False), (0, True)])
def test_before_a_session_is_left_entries_are_refused(before_us: int, *, refused: bool) -> None:
    guard = a_guard()
    until_us = START_US + MINUTE_US
    plan(guard, a_session(entries_until_utc_us=until_us))
    asked = OrderRequested(utc_us=until_us - before_us, request=a_request(), reference=a_quote())

    found = judge(guard.book, asked, now_ns=guard.now_ns)

    assert found is not None
    assert [it.code for it in found.denials] == [DenialCode.SESSION_FLAT_BY] * refused


def test_in_its_last_session_a_month_takes_no_entries_and_others_do() -> None:
    guard = a_guard()
    plan(guard, ends=(an_end(),))

    assert codes(guard.submit()) == [DenialCode.EXPIRY_NEAR]
    other = guard.submit(quote=a_quote(contract_id=NQ), symbol="NQ", client_order_id="c2")
    assert other.kind is DecisionKind.ACCEPTED


def test_the_price_of_an_entry_is_not_moved_in_a_closed_market() -> None:
    guard = a_guard()
    plan(guard)
    guard.working(type=OrderType.LIMIT, limit_price=a_quote().bid)
    plan(guard, NEXT)

    moved = guard.feed(
        ModifyRequested(
            utc_us=guard.utc_us, client_order_id="c1", limit_ticks=20_000, reference=a_quote()
        )
    ).decision

    assert moved is not None
    assert codes(moved) == [DenialCode.SESSION_CLOSED]


# -- what is left in time --------------------------------------------------------------------------


def leaving(**changes: Any) -> Session:
    deadlines = {
        "entries_until_utc_us": START_US + 5 * MINUTE_US,
        "flat_by_utc_us": START_US + 10 * MINUTE_US,
    }
    return a_session(**(deadlines | changes))


def held(guard: Guard) -> None:
    """Hold 2 MES; the account is read again and again and shows them."""
    guard.position_row(2)


def audits(guard: Guard, *, minutes: int, **parts: Any) -> None:
    for _ in range(minutes * 6):
        guard.audit(after_ms=10_000, **parts)


def test_a_position_is_closed_at_its_time_and_not_before() -> None:
    guard = a_guard()
    plan(guard, leaving(), NEXT)
    held(guard)
    audits(guard, minutes=9, positions=(a_position(2),))
    assert guard.commands_of(ClosePosition) == []

    audits(guard, minutes=2, positions=(a_position(2),))

    closes = guard.commands_of(ClosePosition)
    assert {it.contract_id for it in closes} == {MES}
    assert "POSITION_PAST_ITS_TIME" in guard.alerts()
    (run,) = guard.book.liquidations.values()
    assert run.causes[0].operator == CLOSER
    assert not run.latches
    assert [it.kind for it in guard.book.latches] == [LatchKind.EXTERNAL], "not by the calendar"


def test_the_core_wakes_by_itself_to_close_it() -> None:
    guard = a_guard()
    plan(guard, leaving(), NEXT)
    held(guard)
    guard.book.audit.due_ns = 0  # nobody reads the account meanwhile
    for _ in range(6):
        guard.until_due()
        if guard.commands_of(ClosePosition):
            break

    assert guard.utc_us >= START_US + 10 * MINUTE_US
    assert guard.commands_of(ClosePosition)


def test_a_resting_entry_is_cancelled_and_the_exit_of_a_position_stays() -> None:
    guard = a_guard()
    plan(guard, leaving(), NEXT)
    guard.working(100, type=OrderType.LIMIT, limit_price=a_quote().bid)
    row = {"type": OrderType.LIMIT, "limit_price": a_quote().bid}
    guard.row(**row)
    guard.audit(after_ms=5 * 60_000, live_orders=(_row(guard),))

    assert [it.broker_order_id for it in guard.commands_of(CancelOrder)] == [100]
    assert guard.submit(client_order_id="c9").kind is DecisionKind.REFUSED


def _row(guard: Guard) -> Any:
    venue = guard.order().venue
    assert venue is not None
    assert venue.status is BrokerStatus.OPEN
    return venue


def test_after_the_close_nothing_is_sent_until_the_next_session() -> None:
    guard = a_guard()
    plan(guard, leaving(closes_utc_us=START_US - 1), NEXT)
    held(guard)
    audits(guard, minutes=2, positions=(a_position(2),))

    assert guard.commands_of(ClosePosition) == []


def test_a_position_that_nobody_closed_in_time_is_told_of_once() -> None:
    guard = a_guard()
    plan(guard, replace(NEXT, flat_by_utc_us=NEXT.closes_utc_us - HOUR_US))
    held(guard)
    audits(guard, minutes=2, positions=(a_position(2),))

    assert guard.alerts().count("POSITION_HELD_OVER") == 1
    assert guard.commands_of(ClosePosition) == []


def test_a_position_that_may_be_held_over_is_nobodys_concern() -> None:
    guard = a_guard()
    plan(guard, NEXT)
    held(guard)
    audits(guard, minutes=1, positions=(a_position(2),))

    assert "POSITION_HELD_OVER" not in guard.alerts()


def test_a_month_is_left_before_it_ends() -> None:
    guard = a_guard()
    plan(guard, ends=(an_end(flat_by_utc_us=START_US + MINUTE_US),))
    held(guard)
    guard.position_row(1, contract_id=NQ, position_id=10)
    both = (a_position(2), a_position(1, contract_id=NQ, position_id=10))
    audits(guard, minutes=2, positions=both)

    assert {it.contract_id for it in guard.commands_of(ClosePosition)} == {MES}


def test_a_month_that_has_to_be_left_waits_for_its_market_to_open() -> None:
    guard = a_guard()
    plan(guard, NEXT, ends=(an_end(flat_by_utc_us=START_US - MINUTE_US),))
    held(guard)
    audits(guard, minutes=1, positions=(a_position(2),))
    assert guard.commands_of(ClosePosition) == []

    guard.now_ns += 2 * HOUR_US * 1000
    audits(guard, minutes=1, positions=(a_position(2),))

    assert guard.commands_of(ClosePosition)


def test_in_dry_run_nothing_is_closed() -> None:
    guard = a_guard(dry_run=True)
    plan(guard, leaving(flat_by_utc_us=START_US), NEXT)
    held(guard)
    audits(guard, minutes=1, positions=(a_position(2),))

    assert guard.commands_of(ClosePosition) == []
    assert guard.book.liquidations == {}


def test_a_replay_closes_at_the_same_moment() -> None:
    guard = a_guard()
    plan(guard, leaving(), NEXT)
    held(guard)
    audits(guard, minutes=12, positions=(a_position(2),))

    book, steps = replayed(guard.policy, guard.history)

    assert steps == guard.steps
    assert book == guard.book


# -- fresh to the second ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "busy", "age_ms", "refused"),
    [
        ("MES", True, 2_001, True),
        ("MES", True, 2_000, False),
        ("MES", False, 2_001, False),
        ("MES", False, 30_001, True),
        ("CL", True, 2_001, False),
    ],
)
def test_quotes_of_the_busiest_markets_are_old_sooner(
    symbol: str, *, busy: bool, age_ms: int, refused: bool
) -> None:
    crude = an_instrument(contract_id="CL", symbol="CL")
    policy = a_policy(busy_quote_ns=2_000_000_000, symbols=("MES", "CL"))
    guard = Guard(policy=policy).start(an_instrument(), an_nq_instrument(), crude)
    window = {"busy_from_utc_us": OPENS_US, "busy_until_utc_us": CLOSES_US if busy else OPENS_US}
    energy = a_session(group=MarketGroup.ENERGY, **window)
    plan(guard, a_session(**window), energy)
    instrument = guard.book.instrument_for(symbol)
    assert instrument is not None

    quote = replace(a_quote(contract_id=instrument.contract_id), age_ms=age_ms)
    decision = guard.submit(quote=quote, symbol=symbol)

    assert codes(decision) == ([DenialCode.STALE_REFERENCE] if refused else [])
