"""A bot that says that it lives, and what is to happen when it stops saying so."""

from enum import StrEnum

from msgspec import Struct


class BotPolicy(StrEnum):
    """What silence of a bot leads to; each does what the one before it does, and more.

    A silent bot's new entries are always refused, its exits never, and every stop stays.
    """

    KEEP_PROTECTION = "KEEP_PROTECTION"  # positions keep stops and targets, entries stay working
    STOP_ENTRIES = "STOP_ENTRIES"  # its working entries are cancelled as well
    FLATTEN = "FLATTEN"  # and after a while its share of each position is closed


class BotTerms(Struct, frozen=True, kw_only=True):
    """What a bot registered for.

    Attributes:
        policy: what its silence leads to.
        heartbeat_timeout_ms: without a heartbeat for this long it is silent.
        flatten_after_ms: without one for this long it is given up; None unless FLATTEN.
    """

    policy: BotPolicy
    heartbeat_timeout_ms: int
    flatten_after_ms: int | None = None


class BotLimits(Struct, frozen=True, kw_only=True):
    """What the entries of one bot behind the protective gateway are held to; exits never are.

    Attributes:
        quantity_max: contracts of one order.
        orders_max: its orders that can still fill, and those that are on their way.
        entries_per_second_max: entries within any one second.
        symbols: roots that it may enter; empty: all that the guard may trade.
    """

    quantity_max: int = 5
    orders_max: int = 20
    entries_per_second_max: int = 5
    symbols: tuple[str, ...] = ()


class BotState(StrEnum):
    """What is believed of a bot."""

    ALIVE = "ALIVE"
    SILENT = "SILENT"  # until its next heartbeat
    GIVEN_UP = "GIVEN_UP"  # its positions were closed: only a new registration ends it
