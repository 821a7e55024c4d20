"""The answer to a command of which no byte has left this machine."""

from backstop.domain.commands import CancelOrder, Change, ClosePosition, ModifyOrder, PlaceOrder
from backstop.domain.events import (
    Answer,
    CancelAnswered,
    ModifyAnswered,
    PlaceAnswered,
    PositionCloseAnswered,
)

ChangeAnswered = PlaceAnswered | CancelAnswered | ModifyAnswered | PositionCloseAnswered


def not_sent(command: Change, *, utc_us: int, message: str) -> ChangeAnswered:
    """Return what is answered to ``command``: it was not sent, for the reason in ``message``."""
    answer = Answer.NOT_SENT
    match command:
        case PlaceOrder(client_order_id=order):
            return PlaceAnswered(
                utc_us=utc_us, client_order_id=order, answer=answer, message=message
            )
        case CancelOrder(broker_order_id=number):
            return CancelAnswered(
                utc_us=utc_us, broker_order_id=number, answer=answer, message=message
            )
        case ModifyOrder(broker_order_id=number):
            return ModifyAnswered(
                utc_us=utc_us, broker_order_id=number, answer=answer, message=message
            )
        case ClosePosition(contract_id=contract):
            return PositionCloseAnswered(
                utc_us=utc_us, contract_id=contract, answer=answer, message=message
            )
