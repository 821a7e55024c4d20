"""What a call of the gateway is for: that decides who goes first when few calls are left."""

from enum import StrEnum


class CallPurpose(StrEnum):
    """What a call is for, in the order in which calls are granted."""

    CUT_RISK = "CUT_RISK"
    """Puts a stop in place, closes, takes an order away: it may use every call that is left."""
    PROVE = "PROVE"
    """Reads what is true while a position may lack a stop, is being taken flat, or nobody knows
    what came of a request about an order."""
    REPEAT = "REPEAT"
    """Asks again what was asked before, about the same; a read may end what it is repeated for."""
    ORDINARY = "ORDINARY"
    """Entries, and reads of an account about which nothing is urgent."""

    @property
    def is_urgent(self) -> bool:
        """It is about a risk that is there now."""
        return self in {CallPurpose.CUT_RISK, CallPurpose.PROVE}
