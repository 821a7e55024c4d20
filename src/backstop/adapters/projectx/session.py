"""The right to talk to the gateway: log in, renew in time, renew once when refused.

The gateway gives a token (JWT) that is good for 24 hours and serves REST and both hubs. Renewal
goes through ``Auth/validate`` long before the end, because an expired token is refused there too.
However many callers need a token at once, one renewal runs and all wait for it. A second login can
evict the first one's hubs, so a login happens only when there is no other way.

A login that the gateway refuses is not repeated for a while: hammering a refused key locks it out.
"""

import asyncio
import base64
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

import msgspec
from msgspec import Struct

from backstop.adapters.projectx.rate_budget import RateBudget
from backstop.adapters.projectx.transport import HttpReply, Transport
from backstop.adapters.projectx.wire import UNREADABLE
from backstop.errors import GatewayAnswerError, GatewayError, LoginRefusedError
from backstop.ports import Clock

RENEW_BEFORE_S = 3_600
"""How long before its end ``keep_fresh`` renews a token."""

RENEW_AT_THE_LATEST_S = 1_800
"""How long before its end a caller renews the token itself."""

TOKEN_LIFE_S = 86_400
"""What the gateway documents; used for a token whose end cannot be read."""

REFUSED_PAUSE_S = 30
RENEWAL_PAUSE_S = 30
"""How long a failed renewal rests while the old token is still good."""

LOGIN_PAUSE_S = 10
"""A token that is refused this soon after its login is not cured by another login."""

CALL_TIMEOUT_S = 8
_KEEP_FRESH_CHECK_S = 30
_NS_PER_S = 1_000_000_000
_US_PER_S = 1_000_000


class RevealsSecret(Protocol):
    """A value that prints as stars and gives its content only when asked."""

    def reveal(self) -> str:
        """Return the secret."""


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


class BearerToken:
    """One token and the monotonic time of its end; prints as stars."""

    __slots__ = ("_text", "ends_ns", "life_ns")

    def __init__(self, text: str, *, ends_ns: int, life_ns: int) -> None:
        self._text = text
        self.ends_ns = ends_ns
        self.life_ns = life_ns

    def reveal(self) -> str:
        """Return the token's text."""
        return self._text

    def headers(self) -> dict[str, str]:
        """Return the header that carries the token; it never goes into an address."""
        return {"Authorization": f"Bearer {self._text}"}

    def __repr__(self) -> str:
        return "BearerToken(***)"


class _LoginBody(Struct, kw_only=True, rename="camel"):
    user_name: str
    api_key: str


class _TokenAnswer(Struct, kw_only=True, rename="camel"):
    success: bool
    error_code: int
    error_message: str | None = None
    token: str | None = None  # of loginKey
    new_token: str | None = None  # of validate


class _Claims(Struct):
    exp: float | None = None


class Session:
    """The one token of a user, shared by REST and both hubs."""

    def __init__(
        self,
        *,
        transport: Transport,
        budget: RateBudget,
        clock: Clock,
        user_name: str,
        api_key: RevealsSecret | None = None,
        token: RevealsSecret | None = None,
    ) -> None:
        """Take an API key, or a ready token, or both (then the key is for later logins)."""
        if api_key is None and token is None:
            raise LoginRefusedError("There is neither an API key nor a token to log in with.")
        self._transport = transport
        self._budget = budget
        self._clock = clock
        self._user_name = user_name
        self._api_key = api_key
        self._token = None if token is None else self._timed(token.reveal())
        self._refused_token = False
        self._renewal: asyncio.Task[BearerToken] | None = None
        self._refusal = ""
        self._next_login_ns = 0
        self._next_renewal_ns = 0

    async def token(self, *, urgent: bool = False) -> BearerToken:
        """Return a token that is good for now; log in or renew first where needed.

        Raises:
            LoginRefusedError: the gateway says no.
            GatewayUnreachableError: the gateway could not be asked.
            GatewayAnswerError: its answer makes no sense.
        """
        held = self._token
        if held is None or self._refused_token or self._left_ns(held) <= 0:
            return await self._renewed(urgent=urgent)
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._next_renewal_ns and self._is_due(held, RENEW_AT_THE_LATEST_S):
            try:
                return await self._renewed(urgent=urgent)
            except GatewayError:
                # The old token still works: a failed renewal must not stop an order.
                return held
        return held

    def refuse(self, token: BearerToken) -> None:
        """Note that the gateway answered 401 to ``token``: the next caller renews, once."""
        if token is self._token:
            self._refused_token = True

    async def keep_fresh(self, may_renew: Callable[[], bool] = lambda: True) -> None:
        """Renew in good time, for ever; ``may_renew`` says no while a liquidation runs."""
        while True:
            await asyncio.sleep(_KEEP_FRESH_CHECK_S)
            await self.renew_if_due(may_renew)

    async def renew_if_due(self, may_renew: Callable[[], bool] = lambda: True) -> bool:
        """Renew when less than ``RENEW_BEFORE_S`` is left; tell whether a new token is there.

        A failure is not an error yet: the next check tries again, long before the end.
        """
        held = self._token
        if held is None or not self._is_due(held, RENEW_BEFORE_S) or not may_renew():
            return False
        try:
            return await self._renewed(urgent=False) is not held
        except GatewayError:
            return False

    async def close(self) -> None:
        """Stop a renewal that is on its way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _renewed(self, *, urgent: bool) -> BearerToken:
        """Return the token of the one renewal that runs, started here when none does."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(urgent=urgent))
            self._renewal.add_done_callback(_note_failure)
        # Shielded: a caller that gives up must not take the token away from the others.
        return await asyncio.shield(self._renewal)

    async def _renew(self, *, urgent: bool) -> BearerToken:
        held = self._token
        self._next_renewal_ns = self._clock.monotonic_ns() + RENEWAL_PAUSE_S * _NS_PER_S
        fresh = None
        if held is not None and self._left_ns(held) > 0:
            fresh = await self._validate(held, urgent=urgent)
        if fresh is None:
            fresh = await self._log_in(urgent=urgent)
        self._token = fresh
        self._refused_token = False
        self._next_renewal_ns = 0
        return fresh

    async def _validate(self, held: BearerToken, *, urgent: bool) -> BearerToken | None:
        """Return the token's successor, or None when the gateway no longer accepts it."""
        reply = await self._call("/api/Auth/validate", b"{}", held.headers(), urgent=urgent)
        if reply.status == _UNAUTHORIZED:
            return None
        answer = _answer_of(reply, call="Auth/validate")
        if not answer.success or answer.error_code != 0 or not answer.new_token:
            return None
        return self._timed(answer.new_token)

    async def _log_in(self, *, urgent: bool) -> BearerToken:
        if self._api_key is None:
            raise LoginRefusedError(
                "The gateway does not accept TOPSTEPX_JWT any more, and there is no API key to "
                "log in with. Set TOPSTEPX_API_KEY, or a new TOPSTEPX_JWT."
            )
        if self._clock.monotonic_ns() < self._next_login_ns:
            raise LoginRefusedError(self._refusal)
        key = self._api_key.reveal()
        body = msgspec.json.encode(_LoginBody(user_name=self._user_name, api_key=key))
        reply = await self._call("/api/Auth/loginKey", body, {}, urgent=urgent)
        answer = _answer_of(reply, call="Auth/loginKey")
        if answer.success and answer.error_code == 0 and answer.token:
            self._rest_logins(LOGIN_PAUSE_S, "The gateway refuses a token that it has just given.")
            return self._timed(answer.token)
        self._rest_logins(REFUSED_PAUSE_S, _refusal(answer, secret=key))
        raise LoginRefusedError(self._refusal)

    def _rest_logins(self, pause_s: int, reason: str) -> None:
        """Answer ``reason`` to every wish for a login within the next ``pause_s``."""
        self._next_login_ns = self._clock.monotonic_ns() + pause_s * _NS_PER_S
        self._refusal = reason

    async def _call(
        self, path: str, body: bytes, headers: dict[str, str], *, urgent: bool
    ) -> HttpReply:
        deadline_ns = self._clock.monotonic_ns() + CALL_TIMEOUT_S * _NS_PER_S
        await self._budget.acquire(deadline_ns=deadline_ns, urgent=urgent)
        reply = await self._transport.exchange(path, body, headers=headers, deadline_ns=deadline_ns)
        if reply.status == _TOO_MANY:
            self._budget.refused(retry_after_s=reply.retry_after_s)
        else:
            self._budget.answered()
        return reply

    def _timed(self, text: str) -> BearerToken:
        """Put a token's end on the monotonic clock, by the gateway's wall clock where known.

        The claims are not verified: they only tell when to renew.
        """
        offset_us = (self._transport.venue_clock_offset_ms or 0) * 1000
        expiry_s = token_expiry_s(text)
        life_ns = TOKEN_LIFE_S * _NS_PER_S
        if expiry_s is not None:
            venue_us = self._clock.utc_us() + offset_us
            life_ns = int(expiry_s * _US_PER_S - venue_us) * 1000
        ends_ns = self._clock.monotonic_ns() + life_ns
        return BearerToken(text, ends_ns=ends_ns, life_ns=life_ns)

    def _left_ns(self, token: BearerToken) -> int:
        return token.ends_ns - self._clock.monotonic_ns()

    def _is_due(self, token: BearerToken, before_s: int) -> bool:
        # A token that lives shorter than usual is renewed at the half of its life.
        before_ns = min(before_s * _NS_PER_S, token.life_ns // 2)
        return self._left_ns(token) <= before_ns


_IS_IT_ONE = "Check that TOPSTEPX_API_URL is the root of a ProjectX gateway."
"""Advice for the first call of all, which a wrong address meets."""

_UNAUTHORIZED = 401
_TOO_MANY = 429
_OK = 200


def _answer_of(reply: HttpReply, *, call: str) -> _TokenAnswer:
    if reply.status != _OK:
        raise GatewayAnswerError(f"{call}: the gateway answered HTTP {reply.status}. {_IS_IT_ONE}")
    try:
        return msgspec.json.decode(reply.body, type=_TokenAnswer)
    except UNREADABLE:
        # Neither the body nor the decoder's words: they may quote a token.
        raise GatewayAnswerError(
            f"{call}: the answer is not what the API promises. {_IS_IT_ONE}"
        ) from None


def _note_failure(renewal: asyncio.Task[BearerToken]) -> None:
    """Look at a failure that every waiting caller may have given up on."""
    if not renewal.cancelled():
        renewal.exception()


def _refusal(answer: _TokenAnswer, *, secret: str) -> str:
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
