"""The calls by which a person stops new exposure and lets it through again."""

from fastapi import FastAPI, Request
from msgspec import Struct
from starlette.responses import Response

from backstop.core.book import Book
from backstop.core.step import DecisionKind
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.utc import utc_text
from backstop.entrypoints.http.answers import json_answer
from backstop.entrypoints.http.bodies import read_body
from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.models import Body
from backstop.entrypoints.http.openapi import described
from backstop.entrypoints.http.people import UNNAMED_OPERATOR, Operator, Reason


class HaltBody(Body, frozen=True, kw_only=True):
    """Why new exposure is to stop, and who says so."""

    reason: Reason
    operator: Operator = UNNAMED_OPERATOR


class ResumeBody(Body, frozen=True, kw_only=True):
    """Why new exposure may be taken on again, and who answers for it."""

    reason: Reason
    operator: Operator


class LatchView(Struct, frozen=True, kw_only=True):
    """A block that only a person lifts.

    ``halts`` says that resting entries are cancelled as well; without it new ones are refused.
    ``symbol`` and ``contract_id`` are null for a latch of the whole account.
    """

    kind: LatchKind
    halts: bool
    cause: str
    operator: str
    since: str
    symbol: str | None
    contract_id: str | None


class TradingStateView(Struct, frozen=True, kw_only=True):
    """What is let through now, and why not more; ``latches`` wait for a person."""

    trading_state: TradingState
    reasons: tuple[str, ...]
    latches: tuple[LatchView, ...]


LATCH_SHAPES: tuple[type[Struct], ...] = (HaltBody, ResumeBody, TradingStateView)

_ERRORS = (401, 403, 413, 503)


def add_latch_routes(api: FastAPI, guard: Guard) -> None:
    """Add the calls to ``api``."""

    @api.post(
        "/v1/halt",
        **described(body=HaltBody, answers={200: TradingStateView}, errors=_ERRORS),
    )
    async def halt(request: Request) -> Response:
        """Refuse entries and cancel resting ones until somebody resumes; exits stay possible."""
        body = await read_body(request, HaltBody)
        await guard.halt(reason=body.reason, operator=body.operator)
        return json_answer(trading_state_view(guard))

    @api.post(
        "/v1/resume",
        **described(body=ResumeBody, answers={200: TradingStateView}, errors=(*_ERRORS, 409)),
    )
    async def resume(request: Request) -> Response:
        """Lift every latch, frozen entries included; conditions lift by themselves."""
        body = await read_body(request, ResumeBody)
        decision = await guard.resume(reason=body.reason, operator=body.operator)
        if decision.kind is not DecisionKind.ACCEPTED:
            raise ApiError(409, ErrorCode.NOT_POSSIBLE, f"not resumed: {decision.message}")
        return json_answer(trading_state_view(guard))


def trading_state_view(guard: Guard) -> TradingStateView:
    """Return what is let through now."""
    book, now_ns = guard.book, guard.now_ns()
    return TradingStateView(
        trading_state=book.trading_state(now_ns),
        reasons=book.state_reasons(now_ns),
        latches=latch_views(book),
    )


def latch_views(book: Book) -> tuple[LatchView, ...]:
    """Return every latch, the oldest first."""
    return tuple(
        LatchView(
            kind=latch.kind,
            halts=latch.kind.halts,
            cause=latch.cause,
            operator=latch.operator,
            since=utc_text(latch.utc_us),
            symbol=None if latch.contract_id is None else book.symbol_of(latch.contract_id),
            contract_id=latch.contract_id,
        )
        for latch in book.latches
    )
