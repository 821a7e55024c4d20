"""What cannot be judged while the archive of past orders cannot be read."""

from dataclasses import dataclass, field

from backstop.domain.broker import BrokerOrder, BrokerTrade

UNDECIDED_MAX = 1000
"""Old trades, and old rows, that are held until they can be judged: a day of a busy account. For
more, the account is read again from the time of the oldest of them."""


@dataclass(slots=True)
class PastDoubt:
    """Old trades and finished rows of which nobody can say now whether they were counted."""

    fault: str = ""  # why the archive cannot be asked; empty while it can
    trades: dict[int, BrokerTrade] = field(default_factory=dict)
    rows: dict[int, BrokerOrder] = field(default_factory=dict)
    no_room_since_utc_us: int = 0  # the venue's time of the oldest that was not held; 0: none
