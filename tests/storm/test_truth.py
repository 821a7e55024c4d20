"""What was held before a trade that whoever acted need not have heard of."""

from decimal import Decimal

from tests.core.builders import MES

from backstop.adapters.projectx.wire import TradeRow
from backstop.adapters.projectx_server.venue import UserEvent
from backstop.storm.truth import Truth

BUY, SELL = 0, 1


def traded(truth: Truth, number: int, side: int) -> None:
    row = TradeRow(
        id=number,
        account_id=42,
        contract_id=MES,
        creation_timestamp="2026-03-11T14:00:00+00:00",
        price=Decimal(5000),
        side=side,
        size=1,
        order_id=100,
    )
    truth.hear(UserEvent(target="GatewayUserTrade", account_id=42, action=1, data=row))


def test_what_was_held_lately_ends_where_the_news_get_too_old() -> None:
    now_s = [100.0]
    truth = Truth(lambda: now_s[0])
    traded(truth, 1, SELL)
    now_s[0] = 110.0
    traded(truth, 2, BUY)

    assert truth.held_of_late(MES) == {-1, 0}
    assert truth.held_of_late(MES, since_s=110.0) == {-1, 0}
    assert truth.held_of_late(MES, since_s=110.1) == {0}
