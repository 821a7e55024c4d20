"""What the operator of a ProjectX surface may set; what is unknown of the real one is a switch."""

from enum import StrEnum

from msgspec import Struct, field

from backstop.adapters.projectx_server.logins import Logins
from backstop.adapters.projectx_server.rate_limit import RateLimit


class TokenExpiryOnHub(StrEnum):
    """What becomes of an open hub connection when its token expires: not publicly known."""

    KEEP = "keep"
    DROP = "drop"


class HubTimings(Struct, frozen=True, kw_only=True):
    """Times of the hub protocol; the defaults are the framework's.

    Attributes:
        ping_interval_s: time between two pings of a hub.
        client_timeout_s: longest silence of a client; armed by its first ping.
        handshake_timeout_s: what a client gets for the handshake.
        close_wait_s: what a client gets to answer a close frame, or to read at all.
        negotiated_life_s: how long a negotiated id waits for its socket.
    """

    ping_interval_s: float = 15.0
    client_timeout_s: float = 30.0
    handshake_timeout_s: float = 15.0
    close_wait_s: float = 2.0
    negotiated_life_s: float = 15.0


class ServerConfig(Struct, frozen=True, kw_only=True):
    """Settings of one surface.

    Attributes:
        users: API key by user name; names match without regard to case.
        logins: who may log in instead of ``users``; None: those.
        apps: verify key by app id, for the withdrawn ``loginApp``; empty: no app is registered.
        signing_key: secret of the tokens; None makes a random one per process.
        first_token: number of the first token: a surface that goes on with the signing key of an
            earlier process must not give out numbers of that one again.
        token_life_s: how long a token is good.
        general_limit: calls of one user in a window, all but bars; None for no limit.
        bars_limit: the same for calls that ask for bars.
        exits_limit: the same for cancels and closes, which then do not count with the others;
            None: they do, as at the real gateway.
        retry_after: whether a 429 carries ``Retry-After``.
        live_data: whether ``live: true`` finds contracts; simulated accounts get an empty list.
        refuse_handshake_version_0: whether version 0 is refused as one report says.
        resubscribe_doubles: whether subscribing twice on a connection doubles its events.
        logout_older_connections: whether a new user-hub connection sends ``GatewayLogout`` to the
            user's older ones, as field reports say.
        token_expiry_on_hub: whether an open hub connection outlives its token.
    """

    users: dict[str, str] = field(default_factory=dict)
    logins: Logins | None = None
    apps: dict[str, str] = field(default_factory=dict)
    signing_key: bytes | None = None
    first_token: int = 1
    token_life_s: int = 86_400
    general_limit: RateLimit | None = RateLimit(calls=200, window_s=60)
    bars_limit: RateLimit | None = RateLimit(calls=50, window_s=30)
    exits_limit: RateLimit | None = None
    retry_after: bool = False
    live_data: bool = False
    refuse_handshake_version_0: bool = False
    resubscribe_doubles: bool = True
    logout_older_connections: bool = False
    token_expiry_on_hub: TokenExpiryOnHub = TokenExpiryOnHub.KEEP
    timings: HubTimings = HubTimings()
