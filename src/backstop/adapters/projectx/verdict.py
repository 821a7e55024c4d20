"""What an HTTP answer to a changing call proves. Pure.

Only two answers prove that the gateway refused: its own envelope with a number that means a
refusal at this endpoint, and the 400 problem of its request binder, before which no handler ran.
Only an envelope without any contradiction proves that it accepted. Everything else (timeouts,
401, 403, 404, 429, 5xx, HTML, cut JSON, numbers this version does not know) is UNKNOWN, although
for some of them it is likely that nothing happened: another machine in front of the gateway can
give the same answer after the order went through, and an order that is wrongly taken as absent is
sent twice. An UNKNOWN order is looked up by its tag instead.
"""

from enum import StrEnum

import msgspec
from msgspec import Struct

from backstop.adapters.projectx.transport import HttpReply
from backstop.adapters.projectx.wire import UNREADABLE
from backstop.domain.events import Answer, CloseRefusal
from backstop.domain.order import Rejection

MESSAGE_CHARS_MAX = 500
RAW_CHARS_MAX = 4_096


class Change(StrEnum):
    """The calls that change something; the value is the path."""

    PLACE = "/api/Order/place"
    CANCEL = "/api/Order/cancel"
    MODIFY = "/api/Order/modify"
    CLOSE = "/api/Position/closeContract"
    PARTIAL_CLOSE = "/api/Position/partialCloseContract"


REFUSALS = {
    Change.PLACE: {
        1: "AccountNotFound",
        2: "OrderRejected",
        3: "InsufficientFunds",
        4: "AccountViolation",
        5: "OutsideTradingHours",
        8: "ContractNotFound",
        9: "ContractNotActive",
        10: "AccountRejected",
    },
    Change.CANCEL: {1: "AccountNotFound", 2: "OrderNotFound", 3: "Rejected", 6: "AccountRejected"},
    Change.MODIFY: {
        1: "AccountNotFound",
        2: "OrderNotFound",
        3: "Rejected",
        6: "AccountRejected",
        7: "ContractNotFound",
    },
    Change.CLOSE: {
        1: "AccountNotFound",
        2: "PositionNotFound",
        3: "ContractNotFound",
        4: "ContractNotActive",
        5: "OrderRejected",
        8: "AccountRejected",
    },
    Change.PARTIAL_CLOSE: {
        1: "AccountNotFound",
        2: "PositionNotFound",
        3: "ContractNotFound",
        4: "ContractNotActive",
        5: "InvalidCloseSize",
        6: "OrderRejected",
        9: "AccountRejected",
    },
}
"""``errorCode`` numbers that prove a refusal, per endpoint: the same number means other things
elsewhere. Left out: "pending" and "unknown error" (6 and 7 on place and close, 7 and 8 on partial
close, 4 and 5 on cancel and modify)."""

_CLOSE_REFUSALS = {
    "PositionNotFound": CloseRefusal.NO_POSITION,
    "OrderRejected": CloseRefusal.REJECTED,
    "InvalidCloseSize": CloseRefusal.SIZE,
    "ContractNotActive": CloseRefusal.ENDED,
}


_PASSING_WORDS = (
    "not in an active trading status",  # the market is closed, or the firm's day is over
    "without a last price",  # nothing has traded yet
    "invalid symbol",  # no quote yet
)
"""In the gateway's words, lower case: what refuses an order for the moment only."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What is proven about one changing call."""

    answer: Answer
    order_id: int | None = None
    code: int | None = None
    message: str = ""
    tag_in_use: bool = False
    raw: str = ""


class _Envelope(Struct, kw_only=True, rename="camel"):
    success: bool
    error_code: int
    error_message: str | None = None
    order_id: int | None = None


class _Problem(Struct, kw_only=True):
    status: int
    title: str = ""
    errors: dict[str, list[str]] = {}


_OK = 200
_BAD_REQUEST = 400
_ORDER_ID_MAX = 2**63 - 1

_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode


def judge(change: Change, reply: HttpReply) -> Verdict:
    """Return what ``reply`` proves about the request that it answers."""
    raw = reply.body[: RAW_CHARS_MAX * 4].decode("utf-8", errors="replace")[:RAW_CHARS_MAX]
    if reply.status == _BAD_REQUEST:
        return _judge_problem(reply.body, raw=raw)
    if reply.status != _OK:
        return Verdict(
            answer=Answer.UNKNOWN,
            message=f"HTTP {reply.status}, which does not prove what happened to the request",
            raw=raw,
        )
    try:
        envelope = _decode_envelope(reply.body)
    except UNREADABLE:
        return Verdict(
            answer=Answer.UNKNOWN,
            message="HTTP 200 with a body that is not the answer of this endpoint",
            raw=raw,
        )
    return _judge_envelope(change, envelope, raw=raw)


def not_sent(reason: str) -> Verdict:
    """Return the verdict on a request of which no byte left this machine."""
    return Verdict(answer=Answer.NOT_SENT, message=reason[:MESSAGE_CHARS_MAX])


def unanswered(reason: str) -> Verdict:
    """Return the verdict on a request that may have arrived and got no complete answer."""
    return Verdict(answer=Answer.UNKNOWN, message=reason[:MESSAGE_CHARS_MAX])


def close_refusal(change: Change, verdict: Verdict) -> CloseRefusal | None:
    """Return what a refused close call was refused for; None when it was not refused.

    One number stands for every rejected order, and a closed market is told without a word: only
    words could say that it is, or that it is something else.
    """
    if verdict.answer is not Answer.NO:
        return None
    word = REFUSALS[change].get(verdict.code or 0, "")
    if word == "OrderRejected" and verdict.message == word:
        return CloseRefusal.UNSTATED
    if word == "OrderRejected" and _is_passing(verdict.message):
        return CloseRefusal.NOT_NOW
    return _CLOSE_REFUSALS.get(word, CloseRefusal.NOT_POSSIBLE)


def place_rejection(verdict: Verdict) -> Rejection | None:
    """Return what kind of no a refused order got; None when it was not refused.

    Closed markets were recorded under the catch-all code, so words decide before numbers. What this
    version does not know counts as lasting: to try that again by chance helps nobody.
    """
    if verdict.answer is not Answer.NO:
        return None
    word = REFUSALS[Change.PLACE].get(verdict.code or 0, "")
    if word == "OutsideTradingHours" or _is_passing(verdict.message):
        return Rejection.TRANSIENT
    if word == "OrderRejected" and verdict.message == word:
        return Rejection.UNSTATED  # the catch-all, and not a word beside it
    return Rejection.PERMANENT


def _is_passing(message: str) -> bool:
    said = message.casefold()
    return any(words in said for words in _PASSING_WORDS)


def problem_text(body: bytes) -> str | None:
    """Return what a 400 problem says, or None when ``body`` is no such problem."""
    try:
        problem = _decode_problem(body)
    except UNREADABLE:
        return None
    if problem.status != _BAD_REQUEST:
        return None
    faults = [f"{member}: {' '.join(texts)}" for member, texts in problem.errors.items()]
    return ("; ".join(faults) or problem.title or "bad request")[:MESSAGE_CHARS_MAX]


def _judge_problem(body: bytes, *, raw: str) -> Verdict:
    text = problem_text(body)
    if text is None:
        return Verdict(
            answer=Answer.UNKNOWN, message="HTTP 400 that the gateway did not write", raw=raw
        )
    return Verdict(answer=Answer.NO, message=f"the gateway could not read it: {text}", raw=raw)


def _judge_envelope(change: Change, envelope: _Envelope, *, raw: str) -> Verdict:
    code = envelope.error_code
    said = (envelope.error_message or "")[:MESSAGE_CHARS_MAX]
    order_id = _order_id(envelope.order_id)
    if envelope.success and code == 0:
        if change is Change.PLACE and order_id is None:
            return Verdict(
                answer=Answer.UNKNOWN, code=code, message="accepted, but without order id", raw=raw
            )
        return Verdict(answer=Answer.YES, order_id=order_id, code=code, message=said, raw=raw)
    word = REFUSALS[change].get(code)
    if envelope.success or word is None:
        return Verdict(
            answer=Answer.UNKNOWN,
            order_id=order_id,
            code=code,
            message=f"success={envelope.success} with code {code} proves nothing. {said}".rstrip(),
            raw=raw,
        )
    return Verdict(
        answer=Answer.NO,
        order_id=order_id,
        code=code,
        message=said or word,
        tag_in_use=change is Change.PLACE and _is_tag_in_use(said),
        raw=raw,
    )


def _order_id(number: int | None) -> int | None:
    return number if number is not None and 0 < number <= _ORDER_ID_MAX else None


def _is_tag_in_use(message: str) -> bool:
    """Recognise the refusal of a second use of a tag, however it is worded around these words."""
    words = message.casefold()
    return "custom tag" in words and "in use" in words
