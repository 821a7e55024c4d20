"""The right to talk to the gateway: log in, renew in time, renew once when refused.

The gateway gives a token (JWT) that is good for 24 hours and serves REST and both hubs. Renewal
goes through ``Auth/validate`` long before the end, because an expired token is refused there too.
However many callers need a token at once, one renewal runs and all wait for it. A second login can
evict the first one's hubs, so a login happens only when there is no other way.

A login that the gateway refuses is not repeated for a while: hammering a refused key locks it out.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
from msgspec import Struct

from backstop.adapters.projectx.login import (
    FORBIDDEN,
    LoginBody,
    answer_of,
    refusal,
    token_expiry_s,
)
from backstop.adapters.projectx.rate_budget import RateBudget
from backstop.adapters.projectx.transport import HttpReply, Transport
from backstop.domain.call_purpose import CallPurpose
from backstop.errors import GatewayError, LoginRefusedError
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

DOUBT_PAUSE_S = 300
"""A call that is forbidden for good must not renew the token, and rebuild the hubs, for ever."""

CALL_TIMEOUT_S = 8
_KEEP_FRESH_CHECK_S = 30
_NS_PER_S = 1_000_000_000
_US_PER_S = 1_000_000


class RevealsSecret(Protocol):
    """A value that prints as stars and gives its content only when asked."""

    def reveal(self) -> str:
        """Return the secret."""


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


class Refusal(Struct, frozen=True, kw_only=True):
    """The gateway does not let us in any more, or only with the spare key."""

    reason: str
    spare_works: bool


class Session:
    """The one token of a user, shared by REST and both hubs.

    When the key is refused, a spare one is tried: with it exits are possible. Whether anything else
    is, others decide: they are told of every change of being let in.

    Attributes:
        spare_key: tried when the key, or the token it gave, is refused.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        budget: RateBudget,
        clock: Clock,
        user_name: str,
        api_key: RevealsSecret | None = None,
        token: RevealsSecret | None = None,
        spare_key: RevealsSecret | None = None,
        on_access: Callable[[Refusal | None], None] | None = None,
    ) -> None:
        """Take an API key, or a ready token, or both (then the key is for later logins).

        ``on_access`` hears a refusal, and None when the key itself is accepted again.
        """
        if api_key is None and token is None:
            raise LoginRefusedError("There is neither an API key nor a token to log in with.")
        self._transport = transport
        self._budget = budget
        self._clock = clock
        self._user_name = user_name
        self._api_key = api_key
        self.spare_key = spare_key
        self._on_access = on_access
        self._told: Refusal | None = None
        self._token = None if token is None else self._timed(token.reveal())
        self._is_given = token is not None  # by the operator, or it succeeds one that was
        self._refused_token = False
        self._in_doubt = False  # the token met a 403, and no renewal has shown yet what that means
        self._next_doubt_ns = 0
        self._renewal: asyncio.Task[BearerToken] | None = None
        self._refusal = ""
        self._resting: set[str] = set()  # ways in that are not tried before the next login
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
        is_due = self._in_doubt or self._is_due(held, RENEW_AT_THE_LATEST_S)
        if is_due and now_ns >= self._next_renewal_ns:
            try:
                return await self._renewed(urgent=urgent)
            except GatewayError:
                if self._refused_token:
                    raise
                # The old token still works: a failed renewal must not stop an order.
                return held
        return held

    def refuse(self, token: BearerToken) -> None:
        """Note that the gateway answered 401 to ``token``: the next caller renews, once."""
        if token is self._token:
            self._refused_token = True

    @property
    def is_in_doubt(self) -> bool:
        """The next caller renews, and so learns whether a 403 was about us or about the call."""
        return self._in_doubt

    def doubt(self, token: BearerToken) -> None:
        """Note that the gateway answered 403 to ``token``.

        A revoked key and a call that is not ours to make look the same; a renewal tells them apart.
        Until it has, the token is used on: an exit must not wait for it.
        """
        now_ns = self._clock.monotonic_ns()
        if token is self._token and now_ns >= self._next_doubt_ns:
            self._in_doubt = True
            self._next_doubt_ns = now_ns + DOUBT_PAUSE_S * _NS_PER_S

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

    async def adopt_key(self, api_key: RevealsSecret) -> None:
        """Go on with a changed key: log in with it, and only then leave the token that is in use.

        Raises:
            LoginRefusedError: the gateway refuses it; the key before stays in use.
            GatewayError: the gateway could not be asked.
        """
        while self._renewal is not None and not self._renewal.done():
            await asyncio.wait({self._renewal})
        self._renewal = asyncio.create_task(self._adopted(api_key))
        self._renewal.add_done_callback(_note_failure)
        await asyncio.shield(self._renewal)

    async def _adopted(self, api_key: RevealsSecret) -> BearerToken:
        fresh = await self._logged_in(api_key, urgent=True)
        self._api_key = api_key
        self._token, self._is_given = fresh, False
        self._refused_token = self._in_doubt = False
        self._resting.clear()
        self._tell(None)
        return fresh

    def adopt_token(self, token: RevealsSecret) -> None:
        """Go on with a changed token of the operator's; the next call shows whether it is good.

        A renewal that is under way for the one before does not replace it.
        """
        self._token, self._is_given = self._timed(token.reveal()), True
        self._refused_token = False
        # Who was told of a refusal hears that it is over once the gateway has renewed this one.
        self._in_doubt = self._told is not None
        self._next_renewal_ns = 0
        self._resting.clear()

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
            if self._token is not None and self._token is not held:
                return self._token
            # A 403 here too: it was about us.
            self._refused_token |= fresh is None and self._in_doubt
        if fresh is None:
            fresh = await self._log_in(urgent=urgent)
            if self._token is not None and self._token is not held:
                return self._token
            self._is_given = False
        elif self._is_given:
            self._tell(None)
        self._token = fresh
        self._refused_token = self._in_doubt = False
        self._next_renewal_ns = 0
        return fresh

    async def _validate(self, held: BearerToken, *, urgent: bool) -> BearerToken | None:
        """Return the token's successor, or None when the gateway no longer accepts it."""
        reply = await self._call("/api/Auth/validate", b"{}", held.headers(), urgent=urgent)
        if reply.status in FORBIDDEN:
            return None
        answer = answer_of(reply, call="Auth/validate")
        if not answer.success or answer.error_code != 0 or not answer.new_token:
            return None
        return self._timed(answer.new_token)

    async def _log_in(self, *, urgent: bool) -> BearerToken:
        """Return a token that a key gave: ours, or else the spare one."""
        if self._clock.monotonic_ns() >= self._next_login_ns:
            self._resting.clear()
            self._refusal = ""
            if self._api_key is None:
                self._refusal = (
                    "The gateway does not accept TOPSTEPX_JWT any more, and there is no API key "
                    "to log in with. Set TOPSTEPX_API_KEY, or a new TOPSTEPX_JWT."
                )
        for way, key in self._ways_in():
            if way in self._resting:
                continue
            try:
                fresh = await self._logged_in(key, urgent=urgent)
            except LoginRefusedError as error:
                self._rest_logins(way, REFUSED_PAUSE_S)
                self._refusal = f"{self._refusal} {error}".strip()
                continue
            is_spare = way == _SPARE
            if is_spare:
                self._tell(Refusal(reason=self._refusal, spare_works=True))
            else:
                self._tell(None)
            self._rest_logins(way, LOGIN_PAUSE_S)
            if not is_spare:
                self._refusal = "The gateway refuses a token that it has just given."
            return fresh
        self._tell(Refusal(reason=self._refusal, spare_works=False))
        raise LoginRefusedError(self._refusal)

    def _ways_in(self) -> Iterator[tuple[str, RevealsSecret]]:
        if self._api_key is not None:
            yield _FIRST, self._api_key
        if self.spare_key is not None:
            yield _SPARE, self.spare_key

    async def _logged_in(self, api_key: RevealsSecret, *, urgent: bool) -> BearerToken:
        """Return the token that ``api_key`` gives; raises LoginRefusedError."""
        key = api_key.reveal()
        body = msgspec.json.encode(LoginBody(user_name=self._user_name, api_key=key))
        reply = await self._call("/api/Auth/loginKey", body, {}, urgent=urgent)
        if reply.status in FORBIDDEN:
            raise LoginRefusedError(f"The gateway refused the login with HTTP {reply.status}.")
        answer = answer_of(reply, call="Auth/loginKey")
        if answer.success and answer.error_code == 0 and answer.token:
            return self._timed(answer.token)
        raise LoginRefusedError(refusal(answer, secret=key))

    def _rest_logins(self, way: str, pause_s: int) -> None:
        """Try ``way`` no more within the next ``pause_s``: a refused key would be locked out."""
        self._resting.add(way)
        self._next_login_ns = self._clock.monotonic_ns() + pause_s * _NS_PER_S

    def _tell(self, told: Refusal | None) -> None:
        """Say whether we are let in, when that has changed."""
        known = self._told
        if (told is None) == (known is None) and (
            told is None or known is None or told.spare_works == known.spare_works
        ):
            return
        self._told = told
        if self._on_access is not None:
            self._on_access(told)

    async def _call(
        self, path: str, body: bytes, headers: dict[str, str], *, urgent: bool
    ) -> HttpReply:
        deadline_ns = self._clock.monotonic_ns() + CALL_TIMEOUT_S * _NS_PER_S
        purpose = CallPurpose.CUT_RISK if urgent else CallPurpose.ORDINARY
        permit = await self._budget.acquire(deadline_ns=deadline_ns, purpose=purpose)
        reply = await self._transport.exchange(
            path, body, headers=headers, deadline_ns=deadline_ns, on_unsent=permit.give_back
        )
        if reply.status == _TOO_MANY:
            self._budget.refused(retry_after_s=reply.retry_after_s, permit=permit)
        else:
            self._budget.answered(permit)
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


_TOO_MANY = 429
_FIRST = "the key"
_SPARE = "the spare key"


def _note_failure(renewal: asyncio.Task[BearerToken]) -> None:
    """Look at a failure that every waiting caller may have given up on."""
    if not renewal.cancelled():
        renewal.exception()
