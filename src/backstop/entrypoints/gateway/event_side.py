"""The hubs of a gateway put together: events of the guard out, market data through, misuse told."""

from functools import partial

from backstop.adapters.projectx_server.app import GatewayServer
from backstop.adapters.projectx_server.hub import Hub
from backstop.adapters.projectx_server.hub_limits import Misuse
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.step import Note, Tag
from backstop.domain.commands import Severity
from backstop.entrypoints.gateway.market_fan_out import MarketFanOut
from backstop.entrypoints.gateway.user_events import UserEvents

GAP = "The guard could not tell all that happened. Connect anew and read again."

_HARMLESS = frozenset({Misuse.QUOTE_MERGED, Misuse.TRADE_LEFT_OUT})
"""What a slow bot gets less of; the others are refused something, or disconnected."""


class EventSide:
    """What bots hear of a guard; ``close`` before the guard ends."""

    def __init__(
        self, guard: CriticalSystemManager, server: GatewayServer, events: UserEvents
    ) -> None:
        """Connect the hubs of ``server`` with ``guard``; ``events`` follow its decision loop."""
        book, link = guard.book, guard.parts.link
        events.on_gap = partial(server.user_hub.close_with, GAP)
        self.fan_out = MarketFanOut(
            server.market_hub,
            link.market_relay,
            # Before the list has come nobody can say what is on it.
            is_listed=lambda contract_id: not book.instruments or contract_id in book.instruments,
            is_traded=lambda contract_id: any(
                it.contract_id == contract_id for it in link.instruments
            ),
        )
        server.join_market, server.leave_market = self.fan_out.join, self.fan_out.leave
        guard.bot_hubs = (server.user_hub, server.market_hub)
        for hub in (server.user_hub, server.market_hub):
            hub.tally.tell = partial(_tell, guard, hub)

    def close(self) -> None:
        """Ask nothing more of the broker's market hub."""
        self.fan_out.close()


def _tell(guard: CriticalSystemManager, hub: Hub, what: Misuse, user: str, count: int) -> None:
    guard.note(
        Note(
            tag=Tag.CRITICAL_SYSTEM,
            name="hub_misuse",
            fields={"hub": hub.name, "what": str(what), "bot": user, "count": count},
            severity=Severity.INFO if what in _HARMLESS else Severity.WARNING,
        )
    )
