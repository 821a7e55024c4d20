"""What is answered to a command that never left names the command, and that it did not leave."""

import pytest

from backstop.domain.commands import CancelOrder, Change, ClosePosition, ModifyOrder, PlaceOrder
from backstop.domain.events import (
    Answer,
    CancelAnswered,
    ModifyAnswered,
    PlaceAnswered,
    PositionCloseAnswered,
)
from backstop.domain.not_sent import ChangeAnswered, not_sent
from backstop.domain.order import OrderType, Side

UTC_US = 1_790_000_000_000_000
NO = Answer.NOT_SENT
WHY = "the gate is closed"
MES = "CON.F.US.MES.Z26"

PLACE = PlaceOrder(
    client_order_id="c1",
    custom_tag="bs-1",
    account_id=42,
    contract_id=MES,
    type=OrderType.MARKET,
    side=Side.BUY,
    quantity=1,
)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (PLACE, PlaceAnswered(utc_us=UTC_US, client_order_id="c1", answer=NO, message=WHY)),
        (
            CancelOrder(account_id=42, broker_order_id=7, reason="late"),
            CancelAnswered(utc_us=UTC_US, broker_order_id=7, answer=NO, message=WHY),
        ),
        (
            ModifyOrder(account_id=42, broker_order_id=7, quantity=1),
            ModifyAnswered(utc_us=UTC_US, broker_order_id=7, answer=NO, message=WHY),
        ),
        (
            ClosePosition(account_id=42, contract_id=MES, reason="late"),
            PositionCloseAnswered(utc_us=UTC_US, contract_id=MES, answer=NO, message=WHY),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_command_has_its_own_answer(command: Change, answer: ChangeAnswered) -> None:
    assert not_sent(command, utc_us=UTC_US, message=WHY) == answer
