"""What the guard was told: every trade of a contract in its book, and since when."""

from decimal import Decimal

import pytest
from tests.core.builders import MES, a_policy, a_trade

from backstop.adapters.projectx.wire import TradeRow
from backstop.adapters.projectx_server.venue import UserEvent
from backstop.core.engine import new_book
from backstop.core.positions import PositionView
from backstop.storm.told import Told, may_be_held, shown_of_late
from backstop.storm.truth import NEWS_S, Truth

BUY, SELL = 0, 1


class Scene:
    """A truth, a book and a clock in the test's hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.truth = Truth(lambda: self.now_s)
        self.told = Told(self.truth, lambda: self.now_s)
        self.book = new_book(a_policy())

    def trade(self, number: int, side: int = BUY, *, voided: bool = False) -> None:
        row = TradeRow(
            id=number,
            account_id=42,
            contract_id=MES,
            creation_timestamp="2026-03-11T14:00:00+00:00",
            price=Decimal(5000),
            side=side,
            size=1,
            voided=voided,
            order_id=100,
        )
        self.truth.hear(UserEvent(target="GatewayUserTrade", account_id=42, action=1, data=row))

    def tell(self, number: int, *, voided: bool = False) -> None:
        self.book.trades[number] = a_trade(trade_id=number, voided=voided)

    def look(self, *, after_s: float = 1.0) -> None:
        self.now_s += after_s
        self.told.look(self.book)

    def since_s(self) -> float | None:
        return self.told.since_s(MES)

    def may_be_held(self) -> set[int]:
        return set(may_be_held(self.truth, self.book, MES))


def test_a_contract_that_never_traded_is_known() -> None:
    assert Scene().told.was_complete(MES, 0.0)


def test_all_is_told_from_the_look_on_that_finds_every_trade_in_the_book() -> None:
    scene = Scene()
    scene.trade(1)
    scene.trade(2)
    scene.tell(2)
    scene.look()
    assert scene.since_s() is None
    scene.tell(1)
    scene.look()
    scene.look()
    assert scene.since_s() == 102.0
    assert not scene.told.was_complete(MES, 101.9)


def test_a_new_trade_is_untold_before_anybody_looks() -> None:
    scene = Scene()
    scene.trade(1)
    scene.tell(1)
    scene.look()
    scene.now_s += 0.1
    scene.trade(2)
    assert scene.since_s() is None


def test_a_trade_that_was_taken_back_has_to_be_told_as_such() -> None:
    scene = Scene()
    scene.trade(1)
    scene.tell(1)
    scene.now_s += 1
    scene.trade(1, voided=True)
    scene.look()
    assert scene.since_s() is None
    scene.tell(1, voided=True)
    scene.look()
    assert scene.since_s() == scene.now_s
    assert scene.truth.held_of_late(MES) == {0, 1}


def test_a_guard_that_forgot_in_a_crash_has_to_be_told_again() -> None:
    scene = Scene()
    scene.trade(1)
    scene.tell(1)
    scene.look()
    scene.told.look(None)
    assert scene.since_s() is None
    scene.book = new_book(a_policy())
    scene.look()
    assert scene.since_s() is None


def test_old_news_are_forgotten_once_they_were_told_and_not_before() -> None:
    scene = Scene()
    scene.trade(1)
    scene.trade(2, SELL)
    scene.look(after_s=NEWS_S + 1)
    assert scene.truth.held_of_late(MES) == {0, 1}
    scene.tell(1)
    scene.tell(2)
    scene.look()
    assert scene.truth.held_of_late(MES) == {0}
    assert scene.told.was_complete(MES, 0.0)


# -- what may be held by all that was told ---------------------------------------------------------


def test_what_may_be_held_is_what_was_before_the_first_trade_that_was_not_told_and_since() -> None:
    scene = Scene()
    for number, side in ((1, BUY), (2, BUY), (3, SELL), (4, SELL), (5, SELL)):
        scene.trade(number, side)
    scene.tell(1)
    scene.tell(2)
    scene.tell(4)

    assert scene.may_be_held() == {2, 1, 0, -1}
    scene.tell(3)
    assert scene.may_be_held() == {0, -1}
    scene.tell(5)
    assert scene.may_be_held() == {-1}


def test_what_was_never_held_of_a_contract_is_nothing() -> None:
    assert Scene().may_be_held() == {0}


# -- what a row shows that came late ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "since_s", "shown"),
    [(1, 100.0, 1), (1, 102.5, 0), (-1, 100.0, 0), (2, 100.0, 0), (0, 100.0, 0)],
    ids=["held of late", "held before that", "the other side", "more", "as the trades say"],
)
def test_a_row_that_comes_after_the_trades_shows_what_was_held_and_nothing_else(
    row: int, since_s: float, shown: int
) -> None:
    scene = Scene()
    for number, side in ((1, BUY), (2, SELL)):
        scene.now_s += 1.0
        scene.trade(number, side)
    scene.book.positions[MES] = PositionView(contract_id=MES, quantity=row)

    assert shown_of_late(scene.truth, scene.book, MES, since_s=since_s) == shown
