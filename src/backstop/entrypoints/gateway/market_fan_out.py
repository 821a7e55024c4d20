"""Market data for any number of bots from one upstream subscription for each contract and kind.

A stream is subscribed at the broker when the first bot wants it and left when the last one has
gone; what the guard hears for itself stays. An event goes on as the JSON text that it came as: it
is put into a record once, and all who hear it are sent the same bytes.

Nothing here can cost the guard its own prices: a contract that it does not trade is heard within a
limit, and what the broker refuses is tried again later, beside everything else.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from backstop.adapters.projectx.market_relay import METHODS, MarketRelay
from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.backlog import Group
from backstop.adapters.projectx_server.hub import Hub
from backstop.adapters.projectx_server.hub_connection import HubConnection
from backstop.adapters.projectx_server.hub_limits import Misuse
from backstop.adapters.projectx_server.json_rows import encode

FOREIGN_CONTRACTS_MAX: Final = 16
"""Contracts heard that the guard does not trade: all of them come over the connection on which it
hears its own prices, and are decoded by the same process."""

CONTRACT_ID_CHARS_MAX: Final = 64
"""Real ids have fewer than thirty."""

LINGER_S: Final = 2.0
"""How long a stream that nobody wants any more is kept: a bot that connects anew in between, or
again and again, makes no calls at the broker."""

SNAPSHOT_PAUSE_S: Final = 5.0
"""How often a depth stream is subscribed anew at most, for bots that joined it later; and how long
such a bot waits for the snapshot before it gets the changes without."""

DEPTH: Final = "GatewayDepth"
_AWAITS: Final = "GatewayDepth, from its next snapshot on"
_RESET: Final = b'"type":6'
"""In the data of a depth event that begins a snapshot; the level of a price has other types."""


class FanOutCounts(Struct, frozen=True, kw_only=True):
    """How market data is passed on."""

    streams: int  # that at least one bot wants
    foreign_contracts: int
    events: int  # that came and were passed on
    snapshots_asked: int


class MarketFanOut:
    """Joins the market hub that bots connect to with the one that the guard is connected to."""

    def __init__(
        self,
        hub: Hub,
        relay: MarketRelay,
        *,
        is_listed: Callable[[str], bool],
        is_traded: Callable[[str], bool],
        linger_s: float = LINGER_S,
    ) -> None:
        """Begin; a ``GatewayServer`` is to ask ``join`` and ``leave`` (``join_market``, …).

        Args:
            hub: the local market hub.
            relay: the upstream one.
            is_listed: whether the broker lists a contract; others stay silent, as at the broker.
            is_traded: whether the guard trades a contract, and so hears it anyway.
            linger_s: how long a stream without listeners is kept.
        """
        self._hub = hub
        self._relay = relay
        self._is_listed = is_listed
        self._is_traded = is_traded
        self._linger_s = linger_s
        self._leaving: dict[Group, asyncio.TimerHandle] = {}
        self._snapshots: dict[str, asyncio.TimerHandle] = {}  # asked for, by contract
        self._unanswered: set[str] = set()  # of those: none has come
        self._contracts: dict[Group, bytes] = {}  # wanted streams: the contract as JSON text
        self._events = 0
        self._snapshots_asked = 0
        hub.on_audience = self._audience
        relay.bind(self._pass_on)

    def counts(self) -> FanOutCounts:
        """Return how market data is passed on now."""
        return FanOutCounts(
            streams=sum(map(self._hub.has_listeners, self._contracts)),
            foreign_contracts=len(self._foreign()),
            events=self._events,
            snapshots_asked=self._snapshots_asked,
        )

    def close(self) -> None:
        """Stop waiting for anything."""
        for timer in (*self._leaving.values(), *self._snapshots.values()):
            timer.cancel()
        self._leaving.clear()
        self._snapshots.clear()

    # -- who listens -----------------------------------------------------------------------------

    def join(self, connection: HubConnection, target: str, contract_id: str) -> str | None:
        """Subscribe a connection to a stream; returns None, or why not."""
        refused = self._refused(contract_id)
        if refused is not None:
            self._hub.tally.note(Misuse.NOT_ADMITTED, connection.session.user)
            return refused
        group: Group = (target, contract_id)
        if target == DEPTH and group in self._contracts and not connection.groups[group]:
            # Depth begins with a snapshot, and that of this subscription is past.
            refused = self._hub.join(connection, (_AWAITS, contract_id))
            if refused is None:
                self._ask_for_snapshot(contract_id)
            return refused
        return self._hub.join(connection, group)

    def leave(self, connection: HubConnection, target: str, contract_id: str) -> None:
        """Take a connection out of a stream, also out of one that it waits for."""
        self._hub.leave(connection, (target, contract_id))
        if target == DEPTH:
            self._hub.leave(connection, (_AWAITS, contract_id))

    def _refused(self, contract_id: str) -> str | None:
        if len(contract_id) > CONTRACT_ID_CHARS_MAX:
            return f"A contract id has at most {CONTRACT_ID_CHARS_MAX} characters."
        if self._is_traded(contract_id) or not self._is_listed(contract_id):
            return None
        foreign = self._foreign()
        if contract_id not in foreign and len(foreign) >= FOREIGN_CONTRACTS_MAX:
            return (
                f"{FOREIGN_CONTRACTS_MAX} contracts that the guard does not trade are heard "
                f"already. Leave one of them first: {', '.join(sorted(foreign))}."
            )
        return None

    def _foreign(self) -> set[str]:
        heard = {str(contract_id) for _, contract_id in self._contracts}
        return {contract_id for contract_id in heard if not self._is_traded(contract_id)}

    def _audience(self, group: Group, _: bool) -> None:  # noqa: FBT001 - a callback
        """Note that somebody listens to a stream, or waits for it, or that nobody does any more."""
        target, contract_id = group
        stream: Group = (DEPTH if target == _AWAITS else target, contract_id)
        if stream[0] not in METHODS or not isinstance(contract_id, str):
            return
        leaving = self._leaving.pop(stream, None)
        if leaving is not None:
            leaving.cancel()
        if not self._is_wanted(stream):
            loop = asyncio.get_running_loop()
            self._leaving[stream] = loop.call_later(self._linger_s, self._left, stream)
        elif stream not in self._contracts and self._is_listed(contract_id):
            self._contracts[stream] = encode(contract_id)
            self._relay.want(str(stream[0]), contract_id)

    def _is_wanted(self, stream: Group) -> bool:
        if self._hub.has_listeners(stream):
            return True
        return stream[0] == DEPTH and self._hub.has_listeners((_AWAITS, stream[1]))

    def _left(self, stream: Group) -> None:
        self._leaving.pop(stream, None)
        if self._contracts.pop(stream, None) is not None:
            self._relay.drop(stream[0], str(stream[1]))

    # -- what they hear --------------------------------------------------------------------------

    def _pass_on(self, target: str, contract_id: str, data: bytes) -> None:
        group: Group = (target, contract_id)
        contract = self._contracts.get(group)
        if contract is None:
            return
        if target == DEPTH and _RESET in data:
            self._admit(contract_id)
        if self._hub.has_listeners(group):
            self._events += 1
            self._hub.broadcast_market(group, signalr.invocation(target, contract, data))

    def _ask_for_snapshot(self, contract_id: str) -> None:
        """Have the broker send the snapshot again, to all, for those who have none."""
        if contract_id in self._snapshots:
            return  # one was asked for just now: whoever comes too late for it has the next
        self._snapshots_asked += 1
        self._unanswered.add(contract_id)
        self._relay.renew(DEPTH, contract_id)
        self._snapshots[contract_id] = asyncio.get_running_loop().call_later(
            SNAPSHOT_PAUSE_S, self._pause_over, contract_id
        )

    def _pause_over(self, contract_id: str) -> None:
        del self._snapshots[contract_id]
        if not self._hub.has_listeners((_AWAITS, contract_id)):
            return
        if contract_id in self._unanswered:
            # Nobody can say that a broker sends it a second time: the changes alone, then.
            self._admit(contract_id)
        else:
            self._ask_for_snapshot(contract_id)

    def _admit(self, contract_id: str) -> None:
        self._unanswered.discard(contract_id)
        self._hub.regroup((_AWAITS, contract_id), (DEPTH, contract_id))
