"""Where something outside may meddle with the surface: the fault layer's port.

The server owns the mechanics (resets, delays, broken bodies); whoever implements ``Interference``
decides which call or event is hit. Without one the surface is honest.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from backstop.adapters.projectx_server.venue import MarketEvent, UserEvent

Event = UserEvent | MarketEvent
Deliver = Callable[[Event], None]


class Call(Struct, frozen=True, kw_only=True):
    """One request as the server understood it, before the venue has seen it."""

    endpoint: str  # "Order/place", "hubs/user/negotiate", …
    user: str | None = None
    account_id: int | None = None
    contract_id: str | None = None
    tag: str | None = None


class Reset(StrEnum):
    """When the TCP connection of a call is reset."""

    BEFORE = "before"  # the venue never sees the call
    AFTER = "after"  # the venue has acted, no byte of the answer leaves
    MID_BODY = "mid_body"  # the venue has acted, half of the body leaves


class ReplacedAnswer(Struct, frozen=True, kw_only=True):
    """What is answered instead of the truth."""

    status: int
    body: bytes = b""
    content_type: str = "text/html"
    retry_after_s: int | None = None


class Treatment(Struct, frozen=True, kw_only=True):
    """What happens to one call; the default is: nothing special."""

    reaches_venue: bool = True
    delay_before_ms: int = 0
    delay_after_ms: int = 0
    venue_acts_after_ms: int | None = None  # the venue gets the call only after the answer
    reset: Reset | None = None
    answer: ReplacedAnswer | None = None
    cut_body: bool = False  # a complete HTTP answer whose JSON ends in the middle
    omit_order_id: bool = False
    empty_lists: bool = False  # every list of rows is told empty, and a total as 0
    code: int | None = None  # the errorCode that is answered, with success false
    message: str | None = None


UNTOUCHED = Treatment()


class Interference(Protocol):
    """Decides what is done to calls and events."""

    def treat_call(self, call: Call) -> Treatment:
        """Return what happens to ``call``."""

    def pass_event(self, event: Event, deliver: Deliver) -> None:
        """Deliver ``event`` now, later, more than once, or never."""

    def date_skew_s(self) -> float | None:
        """Return how many seconds the ``Date`` header is ahead of the venue; None: it is absent."""


class NoInterference:
    """The honest surface."""

    def treat_call(self, call: Call) -> Treatment:
        """Let the call pass."""
        del call
        return UNTOUCHED

    def pass_event(self, event: Event, deliver: Deliver) -> None:
        """Deliver the event once, now."""
        deliver(event)

    def date_skew_s(self) -> float:
        """No skew."""
        return 0.0
