"""From a decision of the guard to an HTTP answer: status, and a body in a published shape."""

import msgspec
from msgspec import Struct
from starlette.responses import Response

from backstop.core.book import Book
from backstop.core.guardrails import Assessment
from backstop.core.step import Decision, DecisionKind
from backstop.core.trading_state import TradingState
from backstop.core.wishes import place_command
from backstop.domain.commands import PlaceOrder
from backstop.domain.denial import Denial, DenialCode
from backstop.entrypoints.http.decision_view import RoundedPrices, rounded_prices
from backstop.entrypoints.http.errors import ApiError, ErrorCode, echo
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.order_view import order_record

GATE_CODES = frozenset(
    {DenialCode.GATE_DRY_RUN, DenialCode.GATE_EXECUTE, DenialCode.GATE_OBSERVE_ONLY}
)


class RefusedOrder(Struct, frozen=True, kw_only=True):
    """Why an order was refused. ``would_send`` is the request that only the gate kept back."""

    denials: tuple[Denial, ...]
    rounded: RoundedPrices | None = None
    r_multiple: str | None = None
    would_send: PlaceOrder | None = None


def json_answer(body: Struct, status: int = 200) -> Response:
    """Return ``body`` as JSON; Decimals are text, never floats."""
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def submitted(guard: Guard, symbol: str, decision: Decision) -> Response:
    """Return the answer to a new order."""
    book = guard.book
    match decision.kind:
        case DecisionKind.ACCEPTED if decision.order is not None:
            return json_answer(order_record(book, decision.order), 201)
        case DecisionKind.REPEATED if decision.order is not None:
            return json_answer(order_record(book, decision.order))
        case DecisionKind.REFUSED:
            return json_answer(_refused(book, decision), 422)
        case DecisionKind.UNKNOWN_SYMBOL:
            denials = starting_denials(guard, symbol)
            if not denials:
                raise unknown_symbol(book, symbol)
            return json_answer(RefusedOrder(denials=denials), 422)
        case _:
            raise _impossible(decision, decision.message)


def changed(book: Book, client_order_id: str, decision: Decision) -> Response:
    """Return the answer to a cancel or a change: the order as it stands, or why not."""
    match decision.kind:
        case DecisionKind.ACCEPTED | DecisionKind.REPEATED:
            return json_answer(order_record(book, book.orders[client_order_id]))
        case DecisionKind.UNKNOWN_ORDER:
            raise unknown_order(client_order_id)
        case DecisionKind.REFUSED:
            return json_answer(_refused(book, decision), 422)
        case _:
            raise _impossible(decision, decision.message)


def unknown_order(client_order_id: str) -> ApiError:
    """Return the error for a name that no order goes by."""
    return ApiError(
        404,
        ErrorCode.UNKNOWN_ORDER,
        f"no order goes by {echo(client_order_id)}; GET /v1/orders lists them",
        field="client_order_id",
    )


def unknown_symbol(book: Book, symbol: str) -> ApiError:
    """Return the error for a symbol that no contract goes by."""
    symbols = book.policy.symbols
    slip = ", which is in BACKSTOP_INSTRUMENTS" if symbol in symbols else ""
    known = [it for it in symbols if book.instrument_for(it) is not None]
    return ApiError(
        422,
        ErrorCode.UNKNOWN_SYMBOL,
        f"no contract of the gateway goes by {echo(symbol)}{slip}. "
        f"Allowed: {', '.join(known) or 'none is known yet'}",
        field="symbol",
    )


def starting_denials(guard: Guard, symbol: str) -> tuple[Denial, ...]:
    """Return the refusal of a symbol that is allowed but whose contract is not loaded yet."""
    book = guard.book
    state = book.trading_state(guard.now_ns())
    if book.instruments or symbol not in book.policy.symbols or state is TradingState.ACTIVE:
        return ()
    code = DenialCode.STATE_HALTED if state is TradingState.HALTED else DenialCode.STATE_STARTING
    why = "; ".join(book.state_reasons(guard.now_ns()))
    return (Denial(code=code, message=f"no new exposure while {state}: {why}", max_quantity=0),)


def _refused(book: Book, decision: Decision) -> RefusedOrder:
    assessment = decision.assessment
    if assessment is None:
        return RefusedOrder(denials=decision.denials)
    return RefusedOrder(
        denials=decision.denials,
        rounded=rounded_prices(book, assessment),
        r_multiple=assessment.r_multiple,
        would_send=_would_send(book, assessment, decision.denials),
    )


def _would_send(
    book: Book, assessment: Assessment, denials: tuple[Denial, ...]
) -> PlaceOrder | None:
    if any(denial.code not in GATE_CODES for denial in denials):
        return None
    return place_command(assessment, book.instruments[assessment.intent.contract_id])


def _impossible(decision: Decision, message: str) -> ApiError:
    if decision.kind is DecisionKind.CONFLICT:
        return ApiError(409, ErrorCode.CONFLICT, message, field="client_order_id")
    return ApiError(409, ErrorCode.NOT_POSSIBLE, message)
