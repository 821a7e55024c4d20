"""Negotiated connection ids: what ``negotiate`` gives out and what a socket may claim."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

IDS_MAX = 4096  # remembered ids; the oldest are forgotten and then count as never given out


class Claim(Enum):
    """What a socket gets for the ``id`` in its address."""

    OPEN = "open"
    IN_USE = "in use"  # 409
    GONE = "gone"  # 404: spent, expired, or the public half of a pair


class _State(Enum):
    WAITING = "waiting"
    LIVE = "live"
    SPENT = "spent"
    PUBLIC = "public"


class Negotiated(Struct, frozen=True, kw_only=True):
    """Ids of one negotiation; ``claim_id`` is what the socket has to show."""

    connection_id: str
    claim_id: str


class _Given(Struct, kw_only=True):
    state: _State
    connection_id: str
    expires_s: float  # on the monotonic clock


class Negotiations:
    """Every id given out and not forgotten yet.

    Ids age by the machine's clock and not by the venue's, which may run a thousand times as fast:
    a client takes its real time between the negotiation and the socket.
    """

    def __init__(self, *, life_s: float, monotonic_s: Callable[[], float]) -> None:
        self._life_s = life_s
        self._monotonic_s = monotonic_s
        self._given: OrderedDict[str, _Given] = OrderedDict()

    def negotiate(self, version: int) -> Negotiated:
        """Give out ids: version 0 has one for everything, version 1 a public and a secret one."""
        connection_id = secrets.token_urlsafe(16)
        claim_id = connection_id if version == 0 else secrets.token_urlsafe(16)
        if claim_id != connection_id:
            self._remember(connection_id, connection_id, _State.PUBLIC)
        self._remember(claim_id, connection_id, _State.WAITING)
        return Negotiated(connection_id=connection_id, claim_id=claim_id)

    def claim(self, claim_id: str | None) -> tuple[Claim, str]:
        """Return whether a socket may open, and its connection id.

        No id, and an id that nobody gave out, open like a skipped negotiation: raw clients make
        up ids of their own.
        """
        given = None if claim_id is None else self._given.get(claim_id)
        if given is None:
            return Claim.OPEN, secrets.token_urlsafe(16)
        if given.state is _State.LIVE:
            return Claim.IN_USE, given.connection_id
        if given.state is not _State.WAITING or self._monotonic_s() >= given.expires_s:
            return Claim.GONE, given.connection_id
        given.state = _State.LIVE
        return Claim.OPEN, given.connection_id

    def release(self, claim_id: str | None) -> None:
        """Note that the socket of ``claim_id`` has ended: the id opens nothing any more."""
        given = None if claim_id is None else self._given.get(claim_id)
        if given is not None:
            given.state = _State.SPENT

    def _remember(self, claim_id: str, connection_id: str, state: _State) -> None:
        expires_s = self._monotonic_s() + self._life_s
        self._given[claim_id] = _Given(
            state=state, connection_id=connection_id, expires_s=expires_s
        )
        if len(self._given) > IDS_MAX:
            self._given.popitem(last=False)
