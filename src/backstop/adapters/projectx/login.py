"""Logging in: the two bodies of ``Auth``, what their answers mean, and how long a token lives."""

import base64
from enum import IntEnum

import msgspec
from msgspec import Struct

from backstop.adapters.projectx.transport import HttpReply
from backstop.adapters.projectx.wire import UNREADABLE
from backstop.errors import GatewayAnswerError

FORBIDDEN = frozenset({401, 403})
"""Statuses that say no to whoever asks, and not to what is asked."""


class LoginCode(IntEnum):
    """``errorCode`` of ``Auth/loginKey``."""

    SUCCESS = 0
    USER_NOT_FOUND = 1
    PASSWORD_VERIFICATION_FAILED = 2
    INVALID_CREDENTIALS = 3
    APP_NOT_FOUND = 4
    APP_VERIFICATION_FAILED = 5
    INVALID_DEVICE = 6
    AGREEMENTS_NOT_SIGNED = 7
    UNKNOWN_ERROR = 8
    API_SUBSCRIPTION_NOT_FOUND = 9
    API_KEY_AUTHENTICATION_DISABLED = 10


_LOGIN_WORDS = {
    LoginCode.USER_NOT_FOUND: "UserNotFound: check TOPSTEPX_USERNAME",
    LoginCode.PASSWORD_VERIFICATION_FAILED: "PasswordVerificationFailed",
    LoginCode.INVALID_CREDENTIALS: "InvalidCredentials: check TOPSTEPX_USERNAME (the platform "
    "login, not the e-mail address) and TOPSTEPX_API_KEY",
    LoginCode.APP_NOT_FOUND: "AppNotFound",
    LoginCode.APP_VERIFICATION_FAILED: "AppVerificationFailed",
    LoginCode.INVALID_DEVICE: "InvalidDevice",
    LoginCode.AGREEMENTS_NOT_SIGNED: "AgreementsNotSigned: log in to the platform and complete "
    "the agreements",
    LoginCode.UNKNOWN_ERROR: "UnknownError",
    LoginCode.API_SUBSCRIPTION_NOT_FOUND: "ApiSubscriptionNotFound: the API subscription must be "
    "bought and linked",
    LoginCode.API_KEY_AUTHENTICATION_DISABLED: "ApiKeyAuthenticationDisabled: the firm has "
    "switched API keys off",
}


class LoginBody(Struct, kw_only=True, rename="camel"):
    """The body of ``Auth/loginKey``."""

    user_name: str
    api_key: str


class TokenAnswer(Struct, kw_only=True, rename="camel"):
    """The answer of both calls."""

    success: bool
    error_code: int
    error_message: str | None = None
    token: str | None = None  # of loginKey
    new_token: str | None = None  # of validate


class _Claims(Struct):
    exp: float | None = None


_IS_IT_ONE = "Check that TOPSTEPX_API_URL is the root of a ProjectX gateway."
"""Advice for the first call of all, which a wrong address meets."""

_OK = 200


def answer_of(reply: HttpReply, *, call: str) -> TokenAnswer:
    """Return what the gateway said; raises GatewayAnswerError when it makes no sense."""
    if reply.status != _OK:
        raise GatewayAnswerError(f"{call}: the gateway answered HTTP {reply.status}. {_IS_IT_ONE}")
    try:
        return msgspec.json.decode(reply.body, type=TokenAnswer)
    except UNREADABLE:
        # Neither the body nor the decoder's words: they may quote a token.
        raise GatewayAnswerError(
            f"{call}: the answer is not what the API promises. {_IS_IT_ONE}"
        ) from None


def refusal(answer: TokenAnswer, *, secret: str) -> str:
    """Return why a login was refused, in words; ``secret`` is struck out of the gateway's own."""
    if answer.success and answer.error_code == 0:
        return f"The gateway accepted the login and gave no token. {_IS_IT_ONE}"
    try:
        words = _LOGIN_WORDS.get(LoginCode(answer.error_code), "no reason given")
    except ValueError:
        words = "a reason that this version does not know"
    message = (answer.error_message or "").replace(secret, "***")[:300]
    said = f' The gateway says: "{message}".' if message else ""
    return f"The gateway refused the login with code {answer.error_code}, {words}.{said}"


def token_expiry_s(token: str) -> float | None:
    """Return the ``exp`` claim (seconds since 1970) of a JWT; None when it cannot be read."""
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        expiry_s = msgspec.json.decode(payload, type=_Claims).exp
    except UNREADABLE:
        return None
    return expiry_s if expiry_s is not None and 0 < expiry_s < _EXPIRY_MAX_S else None


_JWT_PARTS = 3
_EXPIRY_MAX_S = 4_102_444_800  # the year 2100
