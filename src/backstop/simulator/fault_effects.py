"""What one fault does to one call or one event, as values; deciding and doing is elsewhere."""

from msgspec import structs

from backstop.adapters.projectx.wire import OrderRow, WireOrderStatus
from backstop.adapters.projectx_server.interference import Event, ReplacedAnswer, Reset, Treatment
from backstop.adapters.projectx_server.venue import UserEvent
from backstop.simulator.fault_rules import FaultKind, FaultRule

_PENDING_CODES = {
    "Order/place": 6,
    "Order/modify": 4,
    "Order/cancel": 4,
    "Position/closeContract": 6,
    "Position/partialCloseContract": 7,
}
_WEB_PAGE = (
    b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>"
    b"<body><center><h1>502 Bad Gateway</h1></center></body></html>"
)


def treatment_of(rule: FaultRule, endpoint: str) -> Treatment:
    """Return what a call fault asks of the server."""
    match rule.act:
        case FaultKind.DELAY_REQUEST:
            return Treatment(delay_before_ms=rule.delay_ms)
        case FaultKind.DELAY_RESPONSE:
            return Treatment(delay_after_ms=rule.delay_ms)
        case FaultKind.LOSE_RESPONSE:
            return Treatment(delay_after_ms=rule.delay_ms, reset=Reset.AFTER)
        case FaultKind.RESET_BEFORE:
            return Treatment(delay_before_ms=rule.delay_ms, reset=Reset.BEFORE)
        case FaultKind.RESET_MID_BODY:
            return Treatment(reset=Reset.MID_BODY)
        case FaultKind.HTTP_ERROR:
            answer = ReplacedAnswer(
                status=rule.http_status or 503, retry_after_s=rule.retry_after_s
            )
            return Treatment(
                reaches_venue=rule.accepted, delay_after_ms=rule.delay_ms, answer=answer
            )
        case FaultKind.HTML_BODY:
            answer = ReplacedAnswer(status=rule.http_status or 200, body=_WEB_PAGE)
            return Treatment(
                reaches_venue=rule.accepted, delay_after_ms=rule.delay_ms, answer=answer
            )
        case FaultKind.CUT_JSON:
            return Treatment(cut_body=True)
        case FaultKind.MISSING_ORDER_ID:
            return Treatment(omit_order_id=True)
        case FaultKind.PENDING:
            code = _PENDING_CODES.get(endpoint, 1) if rule.code is None else rule.code
            return Treatment(code=code, venue_acts_after_ms=rule.delay_ms)
        case FaultKind.EMPTY_LIST:
            return Treatment(empty_lists=True)
        case _:  # FaultKind.ERROR_CODE
            return Treatment(
                reaches_venue=rule.accepted,
                code=1 if rule.code is None else rule.code,
                message=rule.message,
            )


def older_status(event: Event) -> Event | None:
    """Return the same order as it stood before, to be told after the newer truth."""
    if not isinstance(event, UserEvent) or not isinstance(event.data, OrderRow):
        return None
    has_ended = event.data.status in {
        WireOrderStatus.FILLED,
        WireOrderStatus.CANCELLED,
        WireOrderStatus.EXPIRED,
        WireOrderStatus.REJECTED,
    }
    older = structs.replace(
        event.data,
        status=WireOrderStatus.OPEN if has_ended else WireOrderStatus.PENDING,
        fill_volume=0,
        filled_price=None,
    )
    return structs.replace(event, action=1, data=older)
