"""Reads that alone say that a position is gone: its stop stays, and its level is remembered."""

from decimal import Decimal

import pytest
from tests.core.builders import MES, a_policy, a_position, a_quote, a_request, replayed
from tests.core.protection_world import LOST, TOLD, World

from backstop.core.policy import SECOND_NS
from backstop.core.step import DecisionKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import CancelOrder, ClosePosition, ModifyOrder, RaiseAlert
from backstop.domain.denial import DenialCode
from backstop.domain.events import HaltRequested, LegChangeRequested, OrderRequested
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.order import OrderType, Side

MARKET, LIMIT, STOP = 2, 1, 4
FOR_EVER = 1_000_000


def holding(quantity: int = 3, **policy: object) -> World:
    """Return a world long with a stop at 4990 and a target at 5020, some time after the fill."""
    world = World(policy=a_policy(protects=True, **policy)).start()
    world.enter(quantity=quantity, stop=4990, take_profit_price=Decimal(5020))
    world.wait(6_000)
    world.naked_ns = 0
    return world


def believed(world: World) -> int:
    return world.book.position(MES).quantity


def alerts(world: World) -> list[str]:
    return [it.code for it in world.sent_of(RaiseAlert)]


def show_nothing(world: World, reads: int = FOR_EVER) -> None:
    """Have the next lists of positions come back empty, whatever is held."""
    left = iter(range(reads))
    world.shown = lambda rows: rows if next(left, None) is None else ()


def test_two_empty_lists_in_a_row_cost_no_stop() -> None:
    world = holding(default_stop_ticks=200)
    show_nothing(world, 2)
    world.run_until(lambda: believed(world) == 0, "two empty lists were believed")
    world.wait(20_000)

    assert believed(world) == 3
    assert world.stops() == [(3, Decimal(4990))]
    assert world.targets() == [(3, Decimal(5020))]
    assert world.naked_ns == 0
    assert not world.sent_of(CancelOrder)


@pytest.mark.parametrize("lost", [1, 2])
def test_two_lists_that_show_too_few_make_no_stop_smaller(lost: int) -> None:
    """A manual sale that no trade tells of is found; a wrong picture takes nothing away."""
    world = holding()
    world.shown = lambda rows: tuple(a_position(row.quantity - lost) for row in rows)
    world.run_until(lambda: believed(world) == 3 - lost, "two reads were believed")
    world.shown = lambda rows: rows
    world.wait(20_000)

    assert believed(world) == 3
    assert world.stops() == [(3, Decimal(4990))]
    assert world.naked_ns == 0
    assert not world.sent_of(ModifyOrder)


def test_while_reads_alone_speak_no_entry_is_let_in_and_a_person_is_told() -> None:
    world = holding()
    show_nothing(world, 2)
    world.run_until(lambda: believed(world) == 0, "two empty lists were believed")

    request = a_request(client_order_id="late", stop_loss_price=Decimal(4990))
    decision = world.decide(
        OrderRequested(utc_us=world.guard.utc_us, request=request, reference=a_quote())
    )
    assert decision.kind is DecisionKind.REFUSED
    assert DenialCode.PROTECTION_LEFTOVER in {it.code for it in decision.denials}
    told = [it for it in world.sent_of(RaiseAlert) if it.code == AlertCode.POSITION_ADJUSTED]
    assert "Its stops stay" in told[-1].message


@pytest.mark.parametrize("policy", ExternalPositionPolicy)
@pytest.mark.parametrize("lists", [2, 40])
def test_what_is_there_again_was_traded_by_nobody(
    lists: int, policy: ExternalPositionPolicy
) -> None:
    world = holding(external_position_policy=policy)
    show_nothing(world)
    world.run_until(lambda: believed(world) == 0, "empty lists were believed")
    world.wait(200 * lists)
    gone = bool(world.book.position(MES).taken_ns == 0)
    before = alerts(world).count(AlertCode.EXTERNAL_POSITION)
    world.shown = lambda rows: rows
    world.wait(20_000)

    assert gone is (lists > 2)
    assert alerts(world).count(AlertCode.EXTERNAL_POSITION) == before
    assert world.position() == 3
    assert world.stops() == [(3, Decimal(4990))]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_stop_that_went_with_a_list_that_stayed_empty_comes_back_at_its_level(
    *, restarts: bool
) -> None:
    world = holding(default_stop_ticks=200)
    show_nothing(world)
    world.run_until(lambda: not world.stops(), "a later read said the same: the stop is gone")
    assert world.guard.now_ns >= world.book.position(MES).agreed_ns
    if restarts:
        world.restart()
    world.naked_ns = 0
    world.shown = lambda rows: rows
    world.run_until(lambda: bool(world.stops()), "the stop is back", limit_ms=7_000)
    shown_ns = world.naked_ns
    world.wait(5_000)

    assert believed(world) == 3
    assert world.stops() == [(3, Decimal(4990))], "not at a new distance"
    assert world.targets() == [(3, Decimal(5020))]
    assert shown_ns


def test_a_position_that_came_back_beyond_its_stop_is_taken_flat() -> None:
    world = holding(default_stop_ticks=200)
    show_nothing(world)
    world.run_until(lambda: not world.stops(), "the stop is gone")
    world.quote(4980)
    world.shown = lambda rows: rows
    world.run_until(lambda: world.position() == 0, "it is closed", limit_ms=10_000)

    assert world.sent_of(ClosePosition)


def test_the_stop_stays_until_a_later_read_and_leaves_when_that_agrees() -> None:
    world = holding()
    show_nothing(world)
    world.run_until(lambda: believed(world) == 0, "two empty lists were believed")
    since_ns = world.guard.now_ns
    world.run_until(lambda: not world.stops(), "the stop is gone")

    assert 4 * SECOND_NS < world.guard.now_ns - since_ns < 12 * SECOND_NS


def test_a_level_that_was_set_aside_is_not_for_a_position_that_a_trade_opened() -> None:
    world = holding()
    show_nothing(world)
    world.run_until(lambda: not world.stops(), "the stop is gone")
    world.manual(MARKET, Side.SELL, 3)
    world.shown = lambda rows: rows
    world.wait(15_000)
    assert (world.position(), believed(world)) == (0, 0)
    world.manual(MARKET, Side.BUY, 3)
    world.wait(5_000)

    assert world.stops() == []


@pytest.mark.parametrize("word", ["trade", "row"])
def test_what_something_else_says_too_takes_the_stop_away_at_once(word: str) -> None:
    world = holding()
    world.tell = lambda what: TOLD if word.title() in what or what == "GatewayUserOrder" else LOST
    if word == "row":
        world.tell = lambda what: TOLD if what == "GatewayUserPosition" else LOST
    world.manual(MARKET, Side.SELL, 3)
    world.run_until(lambda: not working_stops(world), "swept", limit_ms=3_000)


def working_stops(world: World) -> list[int]:
    return [
        row["id"] for row in world.orders() if row["status"] == "OPEN" and row["type"] == "STOP"
    ]


def test_a_bot_cannot_take_the_only_stop_away_while_reads_alone_speak() -> None:
    world = holding()
    show_nothing(world)
    world.run_until(lambda: believed(world) == 0, "two empty lists were believed")
    (stop,) = world.book.working_stops(MES, 1)
    asked = LegChangeRequested(utc_us=world.guard.utc_us, broker_order_id=stop.broker_order_id)
    decision = world.decide(asked)
    world.wait(1_000)
    world.shown = lambda rows: rows
    world.wait(6_000)

    assert decision.kind is DecisionKind.REFUSED
    assert world.stops() == [(3, Decimal(4990))]
    assert world.naked_ns == 0


def test_a_halt_leaves_a_stop_of_the_bot_alone_while_reads_alone_speak() -> None:
    world = holding()
    tighter = Decimal(4992)
    world.enter(Side.SELL, 3, stop=None, type=OrderType.STOP, stop_price=tighter)
    world.wait(9_000)
    assert world.stops() == [(3, tighter)], "it has taken the place of the leg"
    world.naked_ns = 0
    show_nothing(world)
    world.run_until(lambda: believed(world) == 0, "two empty lists were believed")
    world.decide(HaltRequested(utc_us=world.guard.utc_us, reason="enough", operator="Jo"))
    world.wait(500)
    world.shown = lambda rows: rows
    world.wait(6_000)

    assert world.stops() == [(3, tighter)]
    assert world.naked_ns == 0


def test_a_stop_that_fills_while_reads_alone_speak_closes_what_they_took_away() -> None:
    world = holding()
    show_nothing(world, 2)
    world.run_until(lambda: believed(world) == 0, "two empty lists were believed")
    sent = len(world.sent)
    world.quote(4985)
    world.wait(15_000)

    assert (world.position(), believed(world)) == (0, 0)
    kinds = {type(it) for it in world.sent[sent:]}
    assert ClosePosition not in kinds
    assert not world.placed()


def test_the_same_events_lead_to_the_same_book() -> None:
    world = holding()
    show_nothing(world, 4)
    world.wait(20_000)

    book, _ = replayed(world.policy, world.guard.history)
    assert book == world.book
