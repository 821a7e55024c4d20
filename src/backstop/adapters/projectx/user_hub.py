"""The user hub: orders, trades, positions and the account, as facts.

The gateway wraps each row as ``{"action": n, "data": {…}}``; its documentation shows bare rows, and
lists of either have been seen. All are understood. ``action`` decides nothing: its meaning is
undocumented, and status, type and size say more.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from backstop.adapters.projectx import translate
from backstop.adapters.projectx.hub_reports import HubReports
from backstop.adapters.projectx.signalr import Call
from backstop.adapters.projectx.wire import UNREADABLE
from backstop.domain.events import (
    AccountReported,
    Fact,
    Hub,
    HubConnected,
    HubLost,
    OrderReported,
    PositionReported,
    SessionEvicted,
    Source,
    TradeReported,
)
from backstop.errors import GatewayAnswerError
from backstop.ports import Clock, FactSink

LOGOUT = "GatewayLogout"
ROWS_MAX = 10_000
"""Rows in one event; far above anything sent, and a bound for one turn of the event loop."""


class _Enveloped(Struct):
    data: Raw | UnsetType = UNSET


_decode_envelope = msgspec.json.Decoder(_Enveloped).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


_TRANSLATED: dict[str, Callable[[Raw, int], Fact]] = {
    "GatewayUserOrder": lambda row, utc_us: OrderReported(
        utc_us=utc_us, order=translate.broker_order(row), source=Source.HUB
    ),
    "GatewayUserTrade": lambda row, utc_us: TradeReported(
        utc_us=utc_us, trade=translate.broker_trade(row), source=Source.HUB
    ),
    "GatewayUserPosition": lambda row, utc_us: PositionReported(
        utc_us=utc_us, position=translate.broker_position(row), source=Source.HUB
    ),
    "GatewayUserAccount": lambda row, utc_us: AccountReported(
        utc_us=utc_us, account=translate.broker_account(row), source=Source.HUB
    ),
}
"""What each event of the user hub becomes."""


class UserHub:
    """Translates one account's user hub; listens to a ``HubLink``."""

    def __init__(
        self,
        *,
        account_id: int,
        clock: Clock,
        sink: FactSink,
        reports: HubReports,
        on_evicted: Callable[[str], None],
        on_ready: Callable[[], None],
    ) -> None:
        self._account_id = account_id
        self._clock = clock
        self._sink = sink
        self._reports = reports
        self._on_evicted = on_evicted
        self._on_ready = on_ready
        self._generation = 0
        self._wanted: tuple[Call, ...] = ()

    def subscriptions(self) -> Sequence[Call]:
        """Subscribe everything of the account; ``SubscribeAccounts`` takes no argument."""
        wanted, self._wanted = self._wanted, ()
        return wanted

    def on_begin(self, generation: int) -> None:
        """Note the generation that the next events belong to."""
        self._generation = generation
        self._reports.begin()
        self._wanted = (
            Call("SubscribeAccounts"),
            Call("SubscribeOrders", (self._account_id,)),
            Call("SubscribePositions", (self._account_id,)),
            Call("SubscribeTrades", (self._account_id,)),
        )

    def on_connected(self, generation: int) -> None:
        """Tell the core, and whoever waits for the hub."""
        utc_us = self._clock.utc_us()
        self._sink(HubConnected(utc_us=utc_us, hub=Hub.USER, generation=generation))
        self._on_ready()

    def on_lost(self, generation: int, reason: str) -> None:
        """Tell the core that nothing is heard from now on."""
        utc_us = self._clock.utc_us()
        self._sink(HubLost(utc_us=utc_us, hub=Hub.USER, generation=generation, reason=reason))

    def on_event(self, target: str, arguments: list[Raw]) -> None:
        """Translate one event; a row that makes no sense is reported, the others count."""
        if target == LOGOUT:
            self._evicted(arguments)
            return
        translated = _TRANSLATED.get(target)
        if translated is None:
            payload = b",".join(bytes(argument) for argument in arguments)
            self._reports.unknown_target(target, payload)
            return
        for argument in arguments:
            try:
                for row in rows_of(argument):
                    self._report(target, translated, row)
            except (GatewayAnswerError, *UNREADABLE) as error:
                self._reports.rejected(target, str(error), bytes(argument))

    def on_rejected(self, target: str, fault: str, payload: bytes) -> None:
        """Report a record that makes no sense."""
        self._reports.rejected(target, fault, payload)

    def _report(self, target: str, translated: Callable[[Raw, int], Fact], row: Raw) -> None:
        try:
            fact = translated(row, self._clock.utc_us())
        except GatewayAnswerError as error:
            self._reports.rejected(target, str(error), bytes(row))
            return
        self._sink(fact)

    def _evicted(self, arguments: list[Raw]) -> None:
        """Another session may have taken ours: what the hub says is not to be trusted any more."""
        message = logout_message(arguments)
        self._sink(
            SessionEvicted(
                utc_us=self._clock.utc_us(),
                hub=Hub.USER,
                generation=self._generation,
                message=message,
            )
        )
        self._on_evicted(message)


def rows_of(argument: Raw) -> Iterator[Raw]:
    """Yield the rows of one argument: bare, enveloped, or a list of either.

    Raises:
        GatewayAnswerError: neither an object nor a list, or a list that is too long.
    """
    first = bytes(argument).lstrip()[:1]
    if first == b"[":
        listed = _decode_list(argument)
        if len(listed) > ROWS_MAX:
            raise GatewayAnswerError(f"{len(listed)} rows in one event, more than {ROWS_MAX}")
        for element in listed:
            yield _unwrapped(element)
    elif first == b"{":
        yield _unwrapped(argument)
    else:
        raise GatewayAnswerError("neither an object nor a list")


def logout_message(arguments: list[Raw]) -> str:
    """Return what ``GatewayLogout`` says; its argument was never recorded: a text or nothing."""
    text = b" ".join(bytes(argument) for argument in arguments).decode("utf-8", errors="replace")
    return text.strip('" ')[:300]


def _unwrapped(row: Raw) -> Raw:
    try:
        data = _decode_envelope(row).data
    except msgspec.ValidationError:
        return row  # no object; its translation says so
    return row if isinstance(data, UnsetType) else data
