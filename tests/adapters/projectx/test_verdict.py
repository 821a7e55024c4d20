import json
from typing import Any

import pytest

from backstop.adapters.projectx.transport import HttpReply
from backstop.adapters.projectx.verdict import Change, close_refusal, judge, place_rejection
from backstop.domain.events import Answer, CloseRefusal
from backstop.domain.order import Rejection


def reply(body: Any, *, status: int = 200) -> HttpReply:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status=status, body=text)


def envelope(code: int, **members: Any) -> dict[str, Any]:
    return {"success": code == 0, "errorCode": code, "errorMessage": None, **members}


def test_an_accepted_order_is_a_yes_with_its_id() -> None:
    verdict = judge(Change.PLACE, reply(envelope(0, orderId=3501000101)))

    assert (verdict.answer, verdict.order_id, verdict.code) == (Answer.YES, 3501000101, 0)


@pytest.mark.parametrize("change", [Change.CANCEL, Change.MODIFY])
def test_cancel_and_modify_need_no_order_id(change: Change) -> None:
    assert judge(change, reply(envelope(0))).answer is Answer.YES


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (Change.PLACE, (1, 2, 3, 4, 5, 8, 9, 10)),
        (Change.CANCEL, (1, 2, 3, 6)),
        (Change.MODIFY, (1, 2, 3, 6, 7)),
        (Change.CLOSE, (1, 2, 3, 4, 5, 8)),
        (Change.PARTIAL_CLOSE, (1, 2, 3, 4, 5, 6, 9)),
    ],
)
def test_exactly_the_refusal_numbers_of_an_endpoint_are_a_no(
    change: Change, codes: tuple[int, ...]
) -> None:
    """Pending, unknown error and numbers of a later version prove nothing."""
    proven = {
        code for code in range(1, 40) if judge(change, reply(envelope(code))).answer is Answer.NO
    }
    others = {judge(change, reply(envelope(code))).answer for code in set(range(1, 40)) - proven}

    assert proven == set(codes)
    assert others == {Answer.UNKNOWN}


@pytest.mark.parametrize(
    ("change", "code", "refusal"),
    [
        (Change.CLOSE, 2, CloseRefusal.NO_POSITION),
        (Change.CLOSE, 5, CloseRefusal.UNSTATED),
        (Change.CLOSE, 4, CloseRefusal.ENDED),
        (Change.PARTIAL_CLOSE, 4, CloseRefusal.ENDED),
        (Change.CLOSE, 8, CloseRefusal.NOT_POSSIBLE),
        (Change.PARTIAL_CLOSE, 2, CloseRefusal.NO_POSITION),
        (Change.PARTIAL_CLOSE, 5, CloseRefusal.SIZE),
        (Change.PARTIAL_CLOSE, 6, CloseRefusal.UNSTATED),
        (Change.PARTIAL_CLOSE, 9, CloseRefusal.NOT_POSSIBLE),
        (Change.PARTIAL_CLOSE, 7, None),
        (Change.CLOSE, 0, None),
    ],
)
def test_the_same_number_refuses_a_close_and_a_partial_close_for_other_reasons(
    change: Change, code: int, refusal: CloseRefusal | None
) -> None:
    assert close_refusal(change, judge(change, reply(envelope(code)))) is refusal


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (
            "Trading is currently unavailable. The instrument is not in an active trading status.",
            CloseRefusal.NOT_NOW,
        ),
        ("Cannot place an order without a last price.", CloseRefusal.NOT_NOW),
        ("risk check failed", CloseRefusal.REJECTED),
        (None, CloseRefusal.UNSTATED),
        ("", CloseRefusal.UNSTATED),
    ],
)
@pytest.mark.parametrize(("change", "code"), [(Change.CLOSE, 5), (Change.PARTIAL_CLOSE, 6)])
def test_a_rejected_close_is_for_a_closed_market_by_its_words_alone(
    change: Change, code: int, words: str | None, refusal: CloseRefusal
) -> None:
    verdict = judge(change, reply(envelope(code, errorMessage=words)))

    assert close_refusal(change, verdict) is refusal


def test_a_rejected_order_keeps_its_id_code_and_words() -> None:
    words = "Invalid stop loss ticks (40). Ticks should be less than zero when longing."
    verdict = judge(Change.PLACE, reply(envelope(2, orderId=3501000102, errorMessage=words)))

    assert verdict.answer is Answer.NO
    assert (verdict.order_id, verdict.code, verdict.message) == (3501000102, 2, words)
    assert not verdict.tag_in_use


@pytest.mark.parametrize(
    ("code", "words", "rejection"),
    [
        (2, "Not enough margin.", Rejection.PERMANENT),
        (2, "Invalid price. Price is outside allowed range.", Rejection.PERMANENT),
        (2, "words of a later version", Rejection.PERMANENT),
        (8, None, Rejection.PERMANENT),
        (
            2,
            "Trading is currently unavailable. The instrument is not in an active trading status.",
            Rejection.TRANSIENT,
        ),
        (2, "Cannot trail without a last price", Rejection.TRANSIENT),
        (2, "Invalid symbol", Rejection.TRANSIENT),
        (5, None, Rejection.TRANSIENT),
        (2, None, Rejection.UNSTATED),
        (0, None, None),
        (6, None, None),
    ],
)
def test_the_kind_of_a_no_follows_from_words_and_number(
    code: int, words: str | None, rejection: Rejection | None
) -> None:
    verdict = judge(Change.PLACE, reply(envelope(code, orderId=7, errorMessage=words)))

    assert place_rejection(verdict) is rejection


def test_what_the_gateway_could_not_read_is_refused_for_good() -> None:
    body = {"status": 400, "title": "One or more validation errors occurred.", "errors": {}}

    assert place_rejection(judge(Change.PLACE, reply(body, status=400))) is Rejection.PERMANENT


def test_a_tag_in_use_proves_that_an_earlier_request_arrived() -> None:
    words = "Specified custom tag is already in use: custom tag should be unique per account"
    verdict = judge(Change.PLACE, reply(envelope(2, errorMessage=words)))

    assert (verdict.answer, verdict.tag_in_use) == (Answer.NO, True)


@pytest.mark.parametrize(
    "body",
    [
        envelope(0),  # no order id
        envelope(0, orderId=None),
        envelope(0, orderId=0),
        envelope(0, orderId="3501000101"),
        {"success": True, "errorCode": 2, "orderId": 1},
        {"success": False, "errorCode": 0, "orderId": 1},
        {"success": True, "orderId": 1},
        {"errorCode": 0, "orderId": 1},
        {"success": 1, "errorCode": 0, "orderId": 1},
        [],
        None,
        b"",
        b'{"orderId":1,"success":true,"errorCode":',
        b'{"orderId":1,"success":true,"errorCode":0} trailing',
        b"<html>504 Gateway Time-out</html>",
        b"\xff\xfe\x00",
    ],
)
def test_an_answer_that_is_not_whole_proves_nothing(body: Any) -> None:
    assert judge(Change.PLACE, reply(body)).answer is Answer.UNKNOWN


@pytest.mark.parametrize("change", list(Change))
@pytest.mark.parametrize(
    "status", [201, 204, 301, 302, 401, 403, 404, 405, 408, 413, 429, 500, 503]
)
def test_no_other_status_proves_anything_even_with_a_perfect_body(
    change: Change, status: int
) -> None:
    verdict = judge(change, reply(envelope(0, orderId=1), status=status))

    assert verdict.answer is Answer.UNKNOWN
    assert str(status) in verdict.message


def test_a_request_that_did_not_bind_is_a_no_that_says_why() -> None:
    fault = "The JSON value could not be converted to System.Int32."
    problem = {"title": "One or more", "status": 400, "errors": {"$.accountId": [fault]}}

    verdict = judge(Change.PLACE, reply(problem, status=400))

    assert verdict.answer is Answer.NO
    assert "$.accountId" in verdict.message
    assert fault in verdict.message


@pytest.mark.parametrize("body", [b"<html>Bad Request</html>", b"", b"{}", b'{"status":500}'])
def test_a_400_that_the_gateway_did_not_write_proves_nothing(body: bytes) -> None:
    assert judge(Change.PLACE, reply(body, status=400)).answer is Answer.UNKNOWN


def test_what_is_kept_of_an_answer_is_bounded() -> None:
    verdict = judge(Change.PLACE, reply(b"x" * 1_000_000, status=502))

    assert len(verdict.raw) == 4_096
