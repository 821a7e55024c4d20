import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.adapters.projectx_server.tokens import TokenIssuer

START_US = 1_790_951_467_600_836
DAY_S = 86_400


class Issuer:
    def __init__(self) -> None:
        self.now_us = START_US
        self.tokens = TokenIssuer(b"secret", life_s=DAY_S, now_us=lambda: self.now_us)


def test_a_token_is_a_jwt_whose_expiry_a_client_can_read() -> None:
    token = Issuer().tokens.issue("Trader77")

    header, claims, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["alg"] == "HS256"
    assert decoded["exp"] == START_US // 1_000_000 + DAY_S
    assert signature


def test_two_tokens_of_the_same_moment_differ_and_both_work() -> None:
    issuer = Issuer().tokens

    first, second = issuer.issue("a"), issuer.issue("a")

    assert first != second
    assert issuer.session_of(first) is not None
    assert issuer.session_of(second) is not None


def test_a_token_dies_24_hours_after_its_issue() -> None:
    issuer = Issuer()
    token = issuer.tokens.issue("a")

    issuer.now_us = (START_US // 1_000_000 + DAY_S) * 1_000_000 - 1
    assert issuer.tokens.session_of(token) is not None
    issuer.now_us += 1
    assert issuer.tokens.session_of(token) is None


def test_revoking_one_token_leaves_the_others_alive() -> None:
    issuer = Issuer().tokens
    first, second = issuer.issue("a"), issuer.issue("a")
    session = issuer.session_of(first)
    assert session is not None

    issuer.revoke(session)

    assert issuer.session_of(first) is None
    assert issuer.session_of(second) is not None


def test_revoking_all_of_a_user_spares_other_users_and_later_logins() -> None:
    issuer = Issuer().tokens
    old, foreign = issuer.issue("a"), issuer.issue("b")

    issuer.revoke_all("a")

    assert issuer.session_of(old) is None
    assert issuer.session_of(foreign) is not None
    assert issuer.session_of(issuer.issue("a")) is not None


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_with_one_changed_letter_is_refused(part: int) -> None:
    issuer = Issuer().tokens
    parts = issuer.issue("a").split(".")
    parts[part] = ("A" if parts[part][0] != "A" else "B") + parts[part][1:]

    assert issuer.session_of(".".join(parts)) is None


def test_a_token_of_another_gateway_is_refused() -> None:
    other = TokenIssuer(b"other secret", life_s=DAY_S, now_us=lambda: START_US)

    assert Issuer().tokens.session_of(other.issue("a")) is None


@given(st.text())
def test_any_text_is_refused_without_a_crash(text: str) -> None:
    assert Issuer().tokens.session_of(text) is None
