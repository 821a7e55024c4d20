"""The calls by which bots say that they live, and the list of those that do."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import FastAPI, Request
from msgspec import Meta, Struct
from starlette.responses import Response

from backstop.app.bot_desk import BotReport
from backstop.core.step import Decision, DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.bot import BotPolicy, BotState, BotTerms
from backstop.domain.utc import utc_text
from backstop.entrypoints.http.answers import json_answer
from backstop.entrypoints.http.bodies import read_body
from backstop.entrypoints.http.errors import ApiError, ErrorCode, echo
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.models import Body
from backstop.entrypoints.http.openapi import described

BOT_ID_LENGTH_MAX = 64
"""As long as a ``strategy_id`` may be, for that is where an order carries it."""

HEARTBEAT_TIMEOUT_MS = 10_000
"""What a bot gets that does not say how often it beats."""

HEARTBEAT_TIMEOUT_MS_MIN = 1_000
"""Below it the scheduling of a busy machine looks like the death of a bot."""

SILENCE_MS_MAX = 24 * 3_600_000
"""Who is away for longer than a day signs off."""

PROGRESS_MAX = 2**53
"""Every reader of JSON keeps whole numbers up to it exactly."""

_TimeoutMs = Annotated[
    int,
    Meta(
        ge=HEARTBEAT_TIMEOUT_MS_MIN,
        le=SILENCE_MS_MAX,
        description="ms without a heartbeat after which the bot is silent, "
        f"{HEARTBEAT_TIMEOUT_MS_MIN} to {SILENCE_MS_MAX}",
    ),
]
_FlattenMs = Annotated[
    int,
    Meta(
        ge=HEARTBEAT_TIMEOUT_MS_MIN,
        le=SILENCE_MS_MAX,
        description="ms without a heartbeat after which its share of each position is closed, "
        f"more than heartbeat_timeout_ms and at most {SILENCE_MS_MAX}",
    ),
]


class RegisterBotBody(Body, frozen=True, kw_only=True):
    """What a bot's silence is to lead to; ``flatten_after_ms`` goes with FLATTEN and no other."""

    policy: Annotated[BotPolicy, Meta(description="KEEP_PROTECTION, STOP_ENTRIES or FLATTEN")] = (
        BotPolicy.STOP_ENTRIES
    )
    heartbeat_timeout_ms: _TimeoutMs = HEARTBEAT_TIMEOUT_MS
    flatten_after_ms: _FlattenMs | None = None

    def check(self) -> None:
        """Refuse terms that contradict each other."""
        flattens = self.policy is BotPolicy.FLATTEN
        if flattens != (self.flatten_after_ms is not None):
            raise ApiError(
                422,
                ErrorCode.MISSING_MEMBER if flattens else ErrorCode.INVALID_VALUE,
                f"flatten_after_ms goes with the policy FLATTEN and no other; got {self.policy}",
                field="flatten_after_ms",
            )
        if self.flatten_after_ms is not None and self.flatten_after_ms <= self.heartbeat_timeout_ms:
            raise ApiError(
                422,
                ErrorCode.INVALID_VALUE,
                "flatten_after_ms must be more than heartbeat_timeout_ms "
                f"({self.heartbeat_timeout_ms}); got {self.flatten_after_ms}",
                field="flatten_after_ms",
            )

    def terms(self) -> BotTerms:
        """Return them in the guard's own terms."""
        return BotTerms(
            policy=self.policy,
            heartbeat_timeout_ms=self.heartbeat_timeout_ms,
            flatten_after_ms=self.flatten_after_ms,
        )


class HeartbeatBody(Body, frozen=True, kw_only=True):
    """A sign of life. ``progress`` changes as the bot's work goes on: the same twice is frozen."""

    progress: (
        Annotated[
            int,
            Meta(ge=0, le=PROGRESS_MAX, description=f"a whole number, 0 to {PROGRESS_MAX}"),
        ]
        | None
    ) = None


class BotView(Struct, frozen=True, kw_only=True):
    """One bot; ``heartbeat_age_ms`` is null where none came since the guard started.

    ``silent_since`` is null while it is ALIVE.
    """

    bot_id: str
    state: BotState
    policy: BotPolicy
    heartbeat_timeout_ms: int
    flatten_after_ms: int | None
    heartbeat_age_ms: int | None
    silent_since: str | None
    registered: str


class BotList(Struct, frozen=True, kw_only=True):
    """Every registered bot, in the order of registration."""

    bots: tuple[BotView, ...]


class HeartbeatView(Struct, frozen=True, kw_only=True):
    """What a bot learns from its heartbeat: how the guard sees it, and what is let through."""

    bot: BotView
    trading_state: TradingState
    reasons: tuple[str, ...]


BOT_SHAPES: tuple[type[Struct], ...] = (RegisterBotBody, HeartbeatBody, BotList, HeartbeatView)

_ERRORS = (401, 403)


def add_bot_routes(api: FastAPI, guard: Guard) -> None:
    """Add the calls to ``api``."""

    @api.get("/v1/bots", **described(answers={200: BotList}, errors=_ERRORS))
    async def bots() -> Response:
        """List the registered bots with the age of their newest heartbeat."""
        return json_answer(BotList(bots=bot_views(guard.bots.report())))

    @api.put(
        "/v1/bots/{bot_id}",
        **described(
            body=RegisterBotBody,
            answers={200: HeartbeatView},
            errors=(*_ERRORS, 409, 413, 503),
        ),
    )
    async def register(bot_id: str, request: Request) -> Response:
        """Register a bot, or begin anew; its orders carry the name as ``strategy_id``."""
        name = _checked_name(unquote(bot_id))
        body = await read_body(request, RegisterBotBody, empty=RegisterBotBody())
        decision = await guard.bots.register(name, body.terms())
        if decision.kind is DecisionKind.NOT_POSSIBLE:
            raise ApiError(409, ErrorCode.NOT_POSSIBLE, decision.message)
        return json_answer(_heartbeat_view(guard, name))

    @api.post(
        "/v1/bots/{bot_id}/heartbeat",
        **described(
            body=HeartbeatBody,
            answers={200: HeartbeatView},
            errors=(*_ERRORS, 404, 413),
        ),
    )
    async def heartbeat(bot_id: str, request: Request) -> Response:
        """Say that a bot lives; who was given up has to register again."""
        name = unquote(bot_id)
        body = await read_body(request, HeartbeatBody, empty=HeartbeatBody())
        if not guard.bots.beat(name, progress=body.progress):
            raise _unknown_bot(name)
        return json_answer(_heartbeat_view(guard, name))

    @api.delete(
        "/v1/bots/{bot_id}",
        **described(answers={200: BotList}, errors=(*_ERRORS, 404, 503)),
    )
    async def sign_off(bot_id: str) -> Response:
        """Look after a bot no more; its orders, positions and stops stay as they are."""
        name = unquote(bot_id)
        decision: Decision = await guard.bots.sign_off(name)
        if decision.kind is DecisionKind.UNKNOWN_BOT:
            raise _unknown_bot(name)
        return json_answer(BotList(bots=bot_views(guard.bots.report())))


def bot_views(reports: tuple[BotReport, ...]) -> tuple[BotView, ...]:
    """Return bots as the interface shows them."""
    return tuple(_view(report) for report in reports)


def _view(report: BotReport) -> BotView:
    bot = report.bot
    return BotView(
        bot_id=bot.bot_id,
        state=bot.state,
        policy=bot.terms.policy,
        heartbeat_timeout_ms=bot.terms.heartbeat_timeout_ms,
        flatten_after_ms=bot.terms.flatten_after_ms,
        heartbeat_age_ms=report.heartbeat_age_ms,
        silent_since=None if bot.silent_utc_us is None else utc_text(bot.silent_utc_us),
        registered=utc_text(bot.registered_utc_us),
    )


def _heartbeat_view(guard: Guard, name: str) -> HeartbeatView:
    report = next((it for it in guard.bots.report() if it.bot.bot_id == name), None)
    if report is None:
        raise _unknown_bot(name)  # somebody signed it off in this very moment
    now_ns = guard.now_ns()
    return HeartbeatView(
        bot=_view(report),
        trading_state=guard.book.trading_state(now_ns),
        reasons=guard.book.state_reasons(now_ns),
    )


def _checked_name(name: str) -> str:
    if not (0 < len(name) <= BOT_ID_LENGTH_MAX and name.isprintable()):
        raise ApiError(
            422,
            ErrorCode.INVALID_VALUE,
            f"bot_id must be 1 to {BOT_ID_LENGTH_MAX} printable characters; got {echo(name)}",
            field="bot_id",
        )
    return name


def _unknown_bot(name: str) -> ApiError:
    return ApiError(
        404,
        ErrorCode.UNKNOWN_BOT,
        f"no bot goes by {echo(name)}: register it with PUT /v1/bots/{{bot_id}}; GET /v1/bots "
        "lists them",
        field="bot_id",
    )
