"""Searches: windows, order, paging, time formats, and the shapes of recorded rows."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from tests.simulator.exchange.conftest import (
    ACCOUNT,
    BUY,
    LIMIT,
    MARKET,
    MNQ,
    NQ,
    OTHER_ACCOUNT,
    START_US,
    USER,
    World,
    default_config,
)

from backstop.adapters.projectx.wire import (
    BarRow,
    BarsBody,
    OrderRow,
    QueryBody,
    QueryFilter,
)
from backstop.adapters.projectx_server.binding import to_utc_us
from backstop.adapters.projectx_server.venue import MarketEvent, Venue
from backstop.simulator import rows
from backstop.simulator.exchange import Exchange

MakeWorld = Callable[..., World]


def ask(world: World, **members: Any) -> tuple[list[OrderRow], int]:
    page = {name: members.pop(name) for name in list(members) if name.startswith(("page", "sort"))}
    return world.exchange.query_orders(
        QueryBody(filter=QueryFilter(account_id=ACCOUNT, **members), **page)
    )


def bars_body(contract_id: str) -> BarsBody:
    return BarsBody(
        contract_id=contract_id,
        live=False,
        start_time="2026-10-02T14:00:00Z",
        end_time="2026-10-02T15:00:00Z",
        unit=2,
        unit_number=1,
        limit=10,
        include_partial_bar=False,
    )


def test_the_exchange_is_a_venue() -> None:
    venue: Venue = Exchange(default_config())

    assert [row.id for row in venue.accounts(USER, only_active=False)] == [ACCOUNT, OTHER_ACCOUNT]


def test_user_names_do_not_tell_upper_from_lower_case(world: World) -> None:
    assert world.exchange.owns("tRADER77", ACCOUNT)
    assert not world.exchange.owns("somebody", ACCOUNT)
    assert not world.exchange.owns(USER, 5)
    assert list(world.exchange.accounts("somebody", only_active=True)) == []


@pytest.mark.parametrize(
    ("us", "rest", "six_digits"),
    [
        (0, "1970-01-01T00:00:00+00:00", "1970-01-01T00:00:00.000000"),
        (1_786_922_762_156_730, "2026-08-16T23:26:02.15673+00:00", "2026-08-16T23:26:02.156730"),
        (1_786_922_762_400_600, "2026-08-16T23:26:02.4006+00:00", "2026-08-16T23:26:02.400600"),
        (1_786_922_762_000_012, "2026-08-16T23:26:02.000012+00:00", "2026-08-16T23:26:02.000012"),
    ],
)
def test_rest_times_are_the_hubs_seven_digits_cut_to_six_and_trimmed(
    us: int, rest: str, six_digits: str
) -> None:
    hub = rows.hub_time(us)

    assert rows.rest_time(us) == rest
    assert re.fullmatch(re.escape(six_digits) + r"[1-9]\+00:00", hub)
    assert to_utc_us(rest) == to_utc_us(hub) == us


@pytest.mark.parametrize(
    ("value", "text"),
    [("29547.00", "29547"), ("29547.50", "29547.5"), ("0.0000005", "5E-7"), ("-30.0", "-30")],
)
def test_prices_are_written_in_their_shortest_form(value: str, text: str) -> None:
    assert str(rows.shortest(Decimal(value))) == text


def test_the_position_row_names_the_contract_with_a_two_digit_year(world: World) -> None:
    world.accepted(MARKET, BUY, contract_id=NQ)
    world.settle()

    assert world.exchange.positions(ACCOUNT)[0].contract_display_name == "NQZ26"


def test_order_search_is_ascending_and_its_window_includes_both_ends(world: World) -> None:
    ids = []
    for _ in range(4):
        ids.append(world.accepted(LIMIT, BUY, limit="21000"))
        world.wait(1_000_000)

    found = world.exchange.orders(ACCOUNT, START_US + 1_000_000, START_US + 2_000_000)

    assert [row.id for row in found] == ids[1:3]
    assert [row.id for row in world.exchange.orders(ACCOUNT, 0, None)] == sorted(ids)
    assert world.exchange.orders(5, 0, None) == []


def test_trade_search_is_newest_first(world: World) -> None:
    for _ in range(3):
        world.accepted(MARKET, BUY)
        world.settle()

    found = [row.id for row in world.exchange.trades(ACCOUNT, None, None)]

    assert found == sorted(found, reverse=True)
    assert len(found) == 3
    assert world.exchange.trades(ACCOUNT, world.exchange.now_us, None) == []
    assert world.exchange.trades(5, None, None) == []


def test_open_orders_are_those_in_status_one_only(world: World) -> None:
    limit_id = world.accepted(LIMIT, BUY, limit="21000", sl=-40, tp=80)
    world.accepted(MARKET, BUY)

    assert [row.id for row in world.exchange.open_orders(ACCOUNT)] == [limit_id]
    assert world.exchange.open_orders(5) == []
    _, total = ask(world, statuses=[1, 6, 7, 8])
    assert total == 4


def test_the_query_pages_by_rows_and_never_gives_more_than_a_hundred(world: World) -> None:
    ids = [world.accepted(LIMIT, BUY, limit="21000") for _ in range(120)]

    first, total = ask(world, page_size=500)
    rest, _ = ask(world, page_size=500, page_offset=100)
    last, _ = ask(world, page_size=1, sort_direction=1)
    by_time, _ = ask(world, page_size=3, sort_by=0)

    assert total == 120
    assert [row.id for row in first + rest] == ids
    assert [row.id for row in last] == ids[-1:]
    assert [row.id for row in by_time] == ids[:3]
    assert ask(world, page_size=0) == ([], 120)


def test_the_query_filters_by_status_and_time_and_ignores_the_contract_as_measured(
    make_world: MakeWorld,
) -> None:
    for ignores in (True, False):
        world = make_world(query_ignores_contract=ignores)
        world.accepted(LIMIT, BUY, limit="21000")
        world.wait(2_000_000)
        late = world.accepted(LIMIT, BUY, limit="21000", contract_id=NQ)

        assert ask(world, contract_id=NQ)[1] == (2 if ignores else 1)
        after = rows.rest_time(START_US + 1_000_000)
        assert [row.id for row in ask(world, created_after=after)[0]] == [late]
        assert late not in [row.id for row in ask(world, created_before=after)[0]]
        assert ask(world, statuses=[3])[1] == 0
        assert ask(world, statuses=[])[1] == 2
    with pytest.raises(ValueError, match="soon"):
        ask(world, created_after="soon")


def test_a_query_for_an_unknown_account_is_empty(world: World) -> None:
    assert world.exchange.query_orders(QueryBody(filter=QueryFilter(account_id=5))) == ([], 0)


def test_an_order_is_found_only_in_its_own_account(world: World) -> None:
    order_id = world.accepted(LIMIT, BUY, limit="21000")

    assert world.exchange.order(OTHER_ACCOUNT, order_id) is None
    assert world.exchange.order(ACCOUNT, 1) is None


def test_without_a_history_there_are_no_bars_and_no_snapshots(world: World) -> None:
    assert world.exchange.bars(bars_body(MNQ)) == (0, [])
    assert world.exchange.bars(bars_body("CON.F.US.XX.Z26")) == (1, [])
    assert world.exchange.market_snapshot("GatewayDepth", MNQ) == []


def test_bars_and_snapshots_come_from_the_history_as_of_now() -> None:
    class History:
        def bars(self, body: BarsBody, now_us: int) -> tuple[int, list[BarRow]]:
            del body
            one = Decimal(1)
            return 0, [BarRow(t=rows.rest_time(now_us), o=one, h=one, l=one, c=one, v=1)]

        def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
            return [MarketEvent(target=target, contract_id=contract_id, data=[])]

    exchange = Exchange(default_config(), history=History())
    exchange.advance(START_US + 1_000_000)

    code, bars = exchange.bars(bars_body(MNQ))

    assert (code, bars[0].t) == (0, rows.rest_time(START_US + 1_000_000))
    assert exchange.market_snapshot("GatewayDepth", MNQ)[0].contract_id == MNQ


def test_market_events_reach_the_same_sinks() -> None:
    exchange = Exchange(default_config())
    seen: list[object] = []
    exchange.subscribe(seen.append)
    event = MarketEvent(target="GatewayQuote", contract_id=MNQ, data={})

    exchange.publish(event)

    assert seen == [event]
