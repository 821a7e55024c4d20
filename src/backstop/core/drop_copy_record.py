"""What is remembered of a bot that trades by itself: its orders as they are judged; all bounded."""

from dataclasses import dataclass, field
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from backstop.domain.denial import DenialCode
from backstop.domain.events import MarketNoted
from backstop.domain.quote import Quote


class SeenOrder(Struct, frozen=True, kw_only=True):
    """An order of the bot that is to be judged.

    Attributes:
        contract_id: what it trades.
        seen_ns: when this process first heard of it, monotonic.
        seen_utc_us: our time of day then.
        reference: its market then; None: nobody knew it, or a read told of it, who knows how late.
        is_changed: it was judged before, and its owner has changed it since.
    """

    contract_id: str
    seen_ns: int
    seen_utc_us: int
    reference: Quote | None = None
    is_changed: bool = False


class JudgedOrder(Struct, frozen=True, kw_only=True):
    """An order of the bot that was judged.

    Attributes:
        contract_id: what it trades.
        quantity: of it when it was judged, with the levels that it had: another one is judged anew.
        limit_price: in points, or None.
        stop_price: likewise.
        codes: of the rules that would have refused it; empty: none would.
        words: the same for people.
        touch: what a market order of it met when it was first heard of, in points; None: not known.
        closed_quantity: contracts of it that were asked to be closed.
    """

    contract_id: str
    quantity: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    codes: tuple[DenialCode, ...] = ()
    words: str = ""
    touch: Decimal | None = None
    closed_quantity: int = 0


@dataclass(slots=True)
class DropCopyRecord:
    """Trading of a bot that has a session of its own; empty where the guard is a gatekeeper."""

    market: MarketNoted | None = None  # the newest that was noted
    market_ns: int = 0  # and when
    waiting: dict[int, SeenOrder] = field(default_factory=dict)  # by broker order
    judged: dict[int, JudgedOrder] = field(default_factory=dict)  # likewise, oldest first
    overlaps: dict[str, int] = field(
        default_factory=dict
    )  # contract -> since when its exits could turn the position around
    evictions_ns: tuple[int, ...] = ()  # when the user hub was lately taken from us, monotonic

    def begin(self, *, now_ns: int) -> None:
        """Let every wait begin anew in a new process: earlier monotonic times mean nothing."""
        self.market, self.market_ns = None, 0
        self.waiting = {
            number: replace(it, seen_ns=now_ns, reference=None)
            for number, it in self.waiting.items()
        }
        self.overlaps = dict.fromkeys(self.overlaps, now_ns)
        self.evictions_ns = ()
