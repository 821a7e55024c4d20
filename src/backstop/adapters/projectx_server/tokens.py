"""Bearer tokens of the gateway: JWT-shaped, HS256, valid for 24 hours, several at a time."""

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Final

import msgspec
from msgspec import Struct

REVOKED_MAX = 10_000  # remembered revocations; older tokens have expired long before
_HEADER: Final = {"alg": "HS256", "typ": "JWT"}


class Session(Struct, frozen=True, kw_only=True):
    """What a valid token says.

    Attributes:
        user: whose it is.
        token_id: its own id.
        expires_s: until when it is good, in seconds since 1970.
        mark: of the credentials that it was issued for.
    """

    user: str
    token_id: str
    expires_s: int
    mark: str = ""


class _Claims(Struct, frozen=True, kw_only=True):
    sub: str
    jti: str
    iat: int
    nbf: int
    exp: int
    iss: str = "ProjectX"
    aud: str = "ProjectX"
    mark: str = ""


class TokenIssuer:
    """Issues, checks and revokes tokens; ``now_us`` is the venue's time.

    ``mark`` gives what a token of a user carries, and is asked again at each check: a token with
    another one is no longer good. No time says so, because the time of day may be set back.
    ``first`` is the number of the first token.
    """

    def __init__(
        self,
        signing_key: bytes,
        *,
        life_s: int,
        now_us: Callable[[], int],
        mark: Callable[[str], str | None] | None = None,
        first: int = 1,
    ) -> None:
        self._signing_key = signing_key
        self._life_s = life_s
        self._now_us = now_us
        self._mark = mark or _unmarked
        self._numbers = count(first)
        self._revoked: OrderedDict[str, None] = OrderedDict()
        self._not_before: dict[str, int] = {}

    def issue(self, user: str) -> str:
        """Return a new token of ``user``; earlier ones stay valid."""
        now_s = self._now_us() // 1_000_000
        claims = _Claims(
            sub=user,
            jti=f"{next(self._numbers):08x}",
            iat=now_s,
            nbf=now_s,
            exp=now_s + self._life_s,
            mark=self._mark(user) or "",
        )
        signed = f"{_base64url(msgspec.json.encode(_HEADER))}.{_base64url(_encode(claims))}"
        return f"{signed}.{self._signature(signed)}"

    def session_of(self, token: str) -> Session | None:
        """Return the session of ``token``, or None: malformed, forged, expired or revoked."""
        signed, _, signature = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(self._signature(signed), signature):
            return None
        try:
            claims = msgspec.json.decode(_unbase64url(signed.partition(".")[2]), type=_Claims)
        except (msgspec.MsgspecError, binascii.Error):
            return None
        session = Session(
            user=claims.sub, token_id=claims.jti, expires_s=claims.exp, mark=claims.mark
        )
        return session if self.is_valid(session) else None

    def is_valid(self, session: Session) -> bool:
        """Tell whether the session has neither expired nor been revoked."""
        if session.token_id in self._revoked:
            return False
        if int(session.token_id, 16) < self._not_before.get(session.user, 0):
            return False
        if self._mark(session.user) != session.mark:
            return False
        return self._now_us() // 1_000_000 < session.expires_s

    def revoke(self, session: Session) -> None:
        """End one token."""
        self._revoked[session.token_id] = None
        if len(self._revoked) > REVOKED_MAX:
            self._revoked.popitem(last=False)

    def revoke_all(self, user: str) -> None:
        """End every token that ``user`` has now; a later login works."""
        self._not_before[user] = next(self._numbers)

    def _signature(self, signed: str) -> str:
        digest = hmac.new(self._signing_key, signed.encode(), hashlib.sha256).digest()
        return _base64url(digest)


def _unmarked(user: str) -> str:
    del user
    return ""


def _encode(claims: _Claims) -> bytes:
    return msgspec.json.encode(claims)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
