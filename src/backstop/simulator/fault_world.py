"""Faults that strike connections, tokens, feeds and the clock, and not one call or event."""

import asyncio
import math

from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.app import GatewayServer
from backstop.adapters.projectx_server.hub import Hub
from backstop.adapters.projectx_server.hub_connection import HubConnection, Silence
from backstop.simulator.fault_rules import FaultKind, FaultRule, HubName
from backstop.simulator.fault_timers import FaultTimers

_GARBAGE = b'{"type":1,"target":"GatewayUser\x1e'
_UNKNOWN_TYPE = b'{"type":99,"sequence":1}\x1e'

FROZEN_MAX = 200
"""Parts of contract ids that are frozen at once, of a hundred contracts; the first one thaws."""


class FaultWorld:
    """What is wrong with the gateway as a whole, beside its calls and events."""

    def __init__(self, timers: FaultTimers) -> None:
        self._timers = timers
        self._server: GatewayServer | None = None
        self._frozen_until_s: dict[str, float] = {}  # by part of a contract id; the loop's time
        self.skew_s: float | None = 0.0  # of the Date header; None: it has none

    def attach(self, server: GatewayServer) -> None:
        """Take over the hubs and tokens of ``server``."""
        self._server = server

    def heal(self) -> None:
        """End silences, frozen feeds and skew; what was dropped stays dropped."""
        self._frozen_until_s.clear()
        self.skew_s = 0.0
        for connection in self._connections(HubName.BOTH, None):
            connection.silent(Silence.NONE)

    def strike(self, rule: FaultRule) -> None:
        """Do what ``rule`` says, now."""
        match rule.act:
            case FaultKind.KILL_TOKENS:
                self._kill_tokens(rule)
            case FaultKind.FREEZE_QUOTES:
                self._freeze_quotes(rule)
            case FaultKind.SKEW_CLOCK:
                self._skew(rule, rule.skew_s)
            case FaultKind.HIDE_CLOCK:
                self._skew(rule, None)
            case _:
                for connection in self._connections(rule.hub, rule.user):
                    self._strike_connection(rule, connection)

    def _strike_connection(self, rule: FaultRule, connection: HubConnection) -> None:
        match rule.act:
            case FaultKind.HUB_RESET:
                connection.reset()
            case FaultKind.HUB_END:
                connection.end_of_file()
            case FaultKind.HUB_CLOSE:
                connection.close(error=rule.message, allow_reconnect=rule.allow_reconnect)
            case FaultKind.HUB_MUTE:
                self._silence(rule, connection, Silence.NO_EVENTS)
            case FaultKind.HUB_FREEZE:
                self._silence(rule, connection, Silence.FROZEN)
            case FaultKind.HUB_GARBAGE:
                connection.send_raw(_GARBAGE)
            case FaultKind.HUB_UNKNOWN_TYPE:
                connection.send_raw(_UNKNOWN_TYPE)
            case _:  # FaultKind.LOGOUT: the notice goes out, then nothing more
                connection.send_raw(signalr.invocation("GatewayLogout"))
                self._silence(rule, connection, Silence.NO_EVENTS)

    def _silence(self, rule: FaultRule, connection: HubConnection, silence: Silence) -> None:
        connection.silent(silence)
        if rule.for_ms is not None:
            self._timers.after(rule.for_ms, lambda: connection.silent(Silence.NONE))

    def _kill_tokens(self, rule: FaultRule) -> None:
        if self._server is None:
            return
        for user in self._server.config.users:
            if rule.user in {None, user}:
                self._server.tokens.revoke_all(user)
        if rule.drop:
            for connection in self._connections(HubName.BOTH, rule.user):
                connection.close(error="Connection closed with an error.", allow_reconnect=True)

    def _freeze_quotes(self, rule: FaultRule) -> None:
        now_s = asyncio.get_running_loop().time()
        until_s = math.inf if rule.for_ms is None else now_s + rule.for_ms / 1000
        frozen = rule.contract or ""
        until_s = max(until_s, self._frozen_until_s.pop(frozen, 0.0))
        if len(self._frozen_until_s) >= FROZEN_MAX:
            del self._frozen_until_s[next(iter(self._frozen_until_s))]
        self._frozen_until_s[frozen] = until_s

    def is_frozen(self, contract_id: str) -> bool:
        """Tell whether the market events of a contract are held back."""
        if not self._frozen_until_s:  # asked for every market event
            return False
        now_s = asyncio.get_running_loop().time()
        return any(
            frozen in contract_id and now_s < until_s
            for frozen, until_s in self._frozen_until_s.items()
        )

    def _connections(self, hub_name: HubName, user: str | None) -> list[HubConnection]:
        if self._server is None:
            return []
        hubs: list[Hub] = []
        if hub_name is not HubName.MARKET:
            hubs.append(self._server.user_hub)
        if hub_name is not HubName.USER:
            hubs.append(self._server.market_hub)
        return [connection for hub in hubs for connection in hub.connections_of(user)]

    def _skew(self, rule: FaultRule, skew_s: float | None) -> None:
        self.skew_s = skew_s
        if rule.for_ms is not None:
            self._timers.after(rule.for_ms, self._unskew)

    def _unskew(self) -> None:
        self.skew_s = 0.0
