"""The state of one account, and the questions that others ask of it."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import ACCOUNT, MES, NQ, Guard, a_row

from backstop.core.book import AUDIT_STALE_NS, MARKET_LINK_GRACE_NS
from backstop.core.trading_state import TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, Hub, HubConnected, HubLost
from backstop.domain.order import OrderType, Side

SELL_STOP = {"side": Side.SELL, "type": OrderType.STOP}


def state(guard: Guard, *, later_ns: int = 0) -> tuple[TradingState, tuple[str, ...]]:
    now_ns = guard.now_ns + later_ns
    return guard.book.trading_state(now_ns), guard.book.state_reasons(now_ns)


def lose(guard: Guard, hub: Hub) -> None:
    guard.feed(HubLost(utc_us=guard.utc_us, hub=hub, generation=1, reason="gone"))


# -- conditions ------------------------------------------------------------------------------------


def test_a_healthy_account_is_active() -> None:
    assert state(Guard().start()) == (TradingState.ACTIVE, ())


def test_nothing_is_traded_before_the_contracts_are_known() -> None:
    assert state(Guard())[0] is TradingState.STARTING


def test_a_lost_user_hub_blocks_until_the_account_was_read_after_its_return() -> None:
    guard = Guard().start()
    lose(guard, Hub.USER)
    assert state(guard) == (TradingState.REDUCING, ("USER_HUB_LOST",))

    guard.feed(HubConnected(utc_us=guard.utc_us, hub=Hub.USER, generation=2))
    assert state(guard) == (TradingState.REDUCING, ("USER_HUB_LOST",))

    guard.audit()
    assert state(guard) == (TradingState.ACTIVE, ())


def test_a_lost_market_hub_blocks_after_a_grace() -> None:
    guard = Guard().start()
    lose(guard, Hub.MARKET)
    lose(guard, Hub.MARKET)

    assert state(guard, later_ns=MARKET_LINK_GRACE_NS - 10_000_000)[0] is TradingState.ACTIVE
    assert state(guard, later_ns=MARKET_LINK_GRACE_NS + 1) == (
        TradingState.REDUCING,
        ("MARKET_HUB_LOST",),
    )


def test_an_account_that_could_not_be_read_for_long_is_stale() -> None:
    guard = Guard().start()

    assert state(guard, later_ns=AUDIT_STALE_NS)[0] is TradingState.ACTIVE
    assert state(guard, later_ns=AUDIT_STALE_NS + 1)[1] == ("ACCOUNT_STALE",)


def test_an_account_that_may_not_trade_does_not() -> None:
    guard = Guard().start()
    guard.account(can_trade=False)
    guard.account(can_trade=True, account_id=ACCOUNT + 1)

    assert state(guard)[1] == ("ACCOUNT_CANNOT_TRADE",)


# -- lookups ---------------------------------------------------------------------------------------


def test_a_contract_goes_by_its_root_and_by_its_id() -> None:
    book = Guard().start().book

    assert book.instrument_for("MES") == book.instrument_for(MES) == book.instruments[MES]
    assert book.instrument_for("CL") is None


def test_exits_are_our_unfinished_orders_against_the_position() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=5)
    guard.position_row(5)
    limit: dict[str, Any] = {
        "type": OrderType.LIMIT,
        "limit_price": Decimal(5010),
        "side": Side.SELL,
    }
    guard.working(100, quantity=2, **limit)
    guard.submit(client_order_id="c2", quantity=1, **limit)
    guard.answer(Answer.UNKNOWN, client_order_id="c2")
    guard.submit(client_order_id="c3", symbol="NQ", side=Side.SELL, quantity=1)
    guard.row(broker_order_id=300, side=Side.SELL, parent_order_id=100)

    assert guard.book.open_exits(MES, 5) == 3
    assert guard.book.open_exits(MES, -5) == 0
    assert guard.book.open_exits(MES, 0) == 0
    assert [order.client_order_id for order in guard.book.live_orders()] == ["c1", "c2", "c3"]


@pytest.mark.parametrize(
    ("changes", "exits", "told_filled"),
    [
        ({}, 2, 0),
        ({"filled_quantity": 1}, 1, 1),
        ({"type": None}, 2, 0),
        ({"status": BrokerStatus.PENDING_CANCELLATION}, 2, 0),
        ({"type": OrderType.STOP}, 0, 0),
        ({"status": BrokerStatus.SUSPENDED}, 0, 0),
        ({"status": BrokerStatus.CANCELLED}, 0, 0),
        ({"side": Side.BUY}, 0, 0),
        ({"contract_id": NQ}, 0, 0),
    ],
)
def test_an_exit_of_somebody_else_leaves_less_to_close(
    changes: dict[str, object], exits: int, told_filled: int
) -> None:
    """Two exits of the whole position, one of them not ours, would flip it.

    What its row says has filled closes as well, although the trade is still on its way.
    """
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=3)
    guard.row(**({"broker_order_id": 300, "side": Side.SELL, "type": OrderType.LIMIT} | changes))
    closable = 3 - exits - told_filled
    why = DenialCode.POSITION_IN_QUESTION if told_filled else DenialCode.POSITION_FLIP

    assert guard.book.open_exits(MES, 3) == exits
    too_many = guard.submit(side=Side.SELL, quantity=closable + 1)
    assert too_many.denials[0].code is why
    assert too_many.denials[0].max_quantity == closable
    assert guard.submit(side=Side.SELL, quantity=closable).denials == ()


@pytest.mark.parametrize(
    ("changes", "cover"),
    [
        ({}, 2),
        ({"filled_quantity": 1}, 1),
        ({"type": OrderType.TRAILING_STOP}, 2),
        ({"status": BrokerStatus.SUSPENDED}, 0),
        ({"status": BrokerStatus.PENDING}, 0),
        ({"status": BrokerStatus.CANCELLED}, 0),
        ({"side": Side.BUY}, 0),
        ({"type": OrderType.LIMIT}, 0),
        ({"contract_id": NQ}, 0),
    ],
)
def test_only_a_working_stop_on_the_right_side_and_contract_covers(
    changes: dict[str, object], cover: int
) -> None:
    guard = Guard().start()
    guard.row(**(SELL_STOP | changes))

    assert guard.book.stop_cover(MES, 3) == cover


def test_a_stop_that_we_placed_ourselves_covers_as_well() -> None:
    guard = Guard().start()
    guard.working(side=Side.BUY, type=OrderType.STOP, stop_price=Decimal(5010))
    assert guard.book.stop_cover(MES, -2) == 0, "accepted is not working"

    guard.row(type=OrderType.STOP)

    assert guard.book.stop_cover(MES, -2) == 2


def test_working_rows_are_ours_the_legs_and_those_of_others() -> None:
    guard = Guard().start()
    guard.working()
    guard.row()
    guard.row(broker_order_id=300)
    guard.row(broker_order_id=301, contract_id=NQ)
    guard.row(broker_order_id=302, status=BrokerStatus.FILLED)

    assert [row.broker_order_id for row in guard.book.working_rows()] == [100, 300, 301]
    assert [row.broker_order_id for row in guard.book.working_rows(NQ)] == [301]
    assert [leg.row.broker_order_id for leg in guard.book.live_legs(MES)] == [300]
    assert a_row().status.is_live
