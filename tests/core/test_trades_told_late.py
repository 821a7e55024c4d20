"""A list of trades that lags: rows and reads tell of an entry and its exit, trades much later.

Reads move the ledger by both, and what they add and take away cancels out. Neither the rows nor the
trades count once more, in whatever order they come.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, a_policy, a_quote, a_request
from tests.core.protection_world import LOST, TOLD, World

from backstop.core.awaited_fills import evident_quantity
from backstop.core.guardrails import Assessment
from backstop.core.pre_trade import judge
from backstop.domain.commands import ClosePosition, PlaceOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import LegChangeRequested, OrderRequested
from backstop.domain.order import Side

STEP_MS = 50


@dataclass
class LateTrades(World):
    """A world in which no trade is pushed, and reads show one only ``late_ms`` after it was made.

    ``believed`` are the positions, with the fills that rows tell of, that the guard has believed in
    since the last exit.
    """

    late_ms: int = 0

    def _trades(self) -> tuple[Any, ...]:
        shown_us = self.guard.utc_us - self.late_ms * 1000
        return tuple(it for it in super()._trades() if it.created_utc_us <= shown_us)

    def believes(self, ms: int) -> set[tuple[int, int]]:
        """Let time pass; return what was believed of the position, and about to be of it."""
        found = set()
        for _ in range(ms // STEP_MS):
            self.wait(STEP_MS)
            view = self.book.position(MES)
            found.add((view.quantity, evident_quantity(self.book, view)))
        return found


def holding(quantity: int, *, late_ms: int, rows: bool = True) -> LateTrades:
    """Return a world with a position that reads have found; ``rows``: the hub told of it too."""
    world = LateTrades(policy=a_policy(protects=True, stop_required=True, default_stop_ticks=20))
    world.start()
    world.wait(2_000)
    world.late_ms = late_ms
    silent = {"GatewayUserTrade"} if rows else {"GatewayUserTrade", "GatewayUserPosition"}
    world.tell = lambda target: LOST if target in silent else TOLD
    world.enter(quantity=quantity, stop=4990)
    world.wait(12_000)
    view = world.book.position(MES)
    assert (view.quantity, view.traded, view.adjustment) == (quantity, 0, quantity)
    return world


def stop_out(world: World) -> None:
    """Have the stop fill, and the market come back: another one would rest at the venue."""
    world.quote(4990)
    world.wait(100)
    world.quote(5000)


def sell(world: World) -> None:
    """Have the bot sell what it has."""
    world.exit(2)


EXITS = {"stopped": stop_out, "sold": sell}


@pytest.mark.parametrize("exit_", EXITS)
def test_the_row_of_an_entry_that_was_closed_again_opens_nothing(exit_: str) -> None:
    """A stop for contracts that nobody holds would open a position when it fills."""
    world = holding(2, late_ms=3_600_000)
    EXITS[exit_](world)
    world.wait(12_000)
    placed = len(world.sent_of(PlaceOrder))
    believed = world.believes(60_000)

    assert believed == {(0, 0)}
    assert len(world.sent_of(PlaceOrder)) == placed
    assert world.sent_of(ClosePosition) == []
    assert all(row["status"] != "OPEN" for row in world.orders())


@pytest.mark.parametrize("exit_", EXITS)
def test_the_trades_of_both_come_one_after_the_other_and_move_nothing(exit_: str) -> None:
    world = holding(2, late_ms=45_000)
    EXITS[exit_](world)
    world.wait(12_000)
    believed = world.believes(60_000)

    view = world.book.position(MES)
    assert believed == {(0, 0)}
    assert (view.traded, view.adjustment, view.adjusted_both_ways) == (0, 0, 0)


@pytest.mark.parametrize("late_ms", [45_000, 3_600_000])
@pytest.mark.parametrize("rows", [True, False])
def test_what_is_left_after_an_exit_keeps_its_stop(late_ms: int, *, rows: bool) -> None:
    world = holding(3, late_ms=late_ms, rows=rows)
    world.exit(2)
    world.wait(12_000)
    world.naked_ns = 0
    believed = world.believes(90_000)

    assert believed == {(1, 1)}
    assert world.stops() == [(1, Decimal(4990))]
    assert world.naked_ns == 0


def test_a_bot_cannot_take_the_stop_of_what_is_left_away() -> None:
    """The exit has closed its contracts, although no trade shows it: it closes nothing more."""
    world = holding(3, late_ms=3_600_000)
    world.exit(2)
    world.wait(12_000)
    (stop,) = (row["id"] for row in world.orders() if row["status"] == "OPEN")
    wish = LegChangeRequested(utc_us=world.guard.utc_us, broker_order_id=stop)

    assert [it.code for it in world.decide(wish).denials] == [DenialCode.PROTECTION_REQUIRED]


def filled_unheard(exit_: str) -> LateTrades:
    """Return a world in which an entry and its exit filled, and only their rows have told of it."""
    world = LateTrades(policy=a_policy(protects=True, stop_required=True, default_stop_ticks=20))
    world.start()
    world.wait(2_000)
    world.late_ms, world.reads_fail = 20_000, True
    world.tell = lambda target: TOLD if target == "GatewayUserOrder" else LOST
    world.enter(quantity=2, stop=4990)
    world.wait(4_000)
    EXITS[exit_](world)
    world.wait(2_000)
    world.reads_fail = False
    return world


@pytest.mark.parametrize("exit_", EXITS)
def test_what_came_and_went_between_two_reads_is_held_by_nobody(exit_: str) -> None:
    """Reads agree with the trades that are known, none, and have both of those that are not."""
    world = filled_unheard(exit_)
    world.wait(5_000)
    believed = world.believes(60_000)

    assert believed == {(0, 0)}
    assert len(world.sent_of(PlaceOrder)) == (2 if exit_ == "sold" else 1)
    view = world.book.position(MES)
    assert (view.traded, view.adjustment, view.adjusted_both_ways) == (0, 0, 0)


def holding_known(quantity: int) -> LateTrades:
    """Return a world with a position whose trades are known; none is told from now on."""
    world = LateTrades(policy=a_policy(protects=True, stop_required=True))
    world.start()
    world.enter(quantity=quantity, stop=4990)
    world.wait(6_000)
    world.late_ms = 3_600_000
    world.tell = lambda target: LOST if target == "GatewayUserTrade" else TOLD
    return world


def judged(world: World, quantity: int) -> Assessment:
    wish = OrderRequested(
        utc_us=world.guard.utc_us,
        request=a_request(client_order_id="out", side=Side.SELL, quantity=quantity),
        reference=a_quote(),
    )
    assessment = judge(world.book, wish, now_ns=world.guard.now_ns)
    assert assessment is not None
    return assessment


def test_what_reads_left_of_a_position_can_be_sold_although_the_trade_before_is_missing() -> None:
    """An exit that has filled by its row, and that reads have counted, closes nothing more."""
    world = holding_known(3)
    world.exit(2)
    world.run_until(lambda: world.book.position(MES).adjustment == -2, "reads have counted it")
    world.run_until(lambda: judged(world, 1).reducing, "what is left can be sold", limit_ms=15_000)

    assert not judged(world, 1).denials
    assert not judged(world, 2).reducing


def test_an_exit_whose_fill_no_read_has_counted_still_counts() -> None:
    """Somebody else closed what reads have counted."""
    world = holding_known(5)
    world.manual(2, Side.SELL, 2)
    world.run_until(lambda: world.book.position(MES).adjustment == -2, "reads have counted it")
    world.reads_fail = True
    world.tell = lambda target: TOLD if target == "GatewayUserOrder" else LOST
    world.exit(2)
    world.wait(100)

    assert (world.position(), world.book.position(MES).quantity) == (1, 3)
    assert judged(world, 1).reducing
    assert not judged(world, 2).reducing


def test_a_late_trade_does_not_move_what_rows_have_said_long_after_it() -> None:
    """The hub told of the whole position each time; the trades of an add and of the close are late.

    The guard took a flat account for long, and gave it a stop.
    """
    world = holding_known(2)
    world.reads_fail, world.late_ms = True, 5_000
    world.enter(quantity=3, stop=4990)
    world.wait(6_000)
    world.manual(2, Side.SELL, 5)
    world.wait(20)
    view = world.book.position(MES)
    assert (view.quantity, view.traded) == (0, 2)
    world.reads_fail = False
    placed = len(world.sent_of(PlaceOrder))
    believed = {held for held, _ in world.believes(30_000)}

    assert believed == {0}
    assert len(world.sent_of(PlaceOrder)) == placed
