"""Trading on the account that is not Backstop's: is it meant to be, and what is done about it."""

from enum import StrEnum


class ExternalPositionPolicy(StrEnum):
    """What happens to a position that Backstop did not open; entries are frozen in any case."""

    PROTECT = "protect"  # it gets the default stop, where one is set
    FLATTEN = "flatten"  # its contract is taken flat
    ALERT = "alert"  # a person is told, and nothing of it is touched


class GuardMode(StrEnum):
    """Who sends the entries of the guarded account."""

    GATEKEEPER = "gatekeeper"  # the guard, after it has judged them; others are an alarm
    DROP_COPY = "drop-copy"  # a bot with a session of its own; the guard judges what it did


class BreachPolicy(StrEnum):
    """What becomes of an order that a bot sent by itself and that a limit would have refused."""

    ALERT = "alert"  # a person is told
    CANCEL = "cancel"  # and what still works of it is cancelled
    FLATTEN = "flatten"  # and the contracts that it has filled are closed
