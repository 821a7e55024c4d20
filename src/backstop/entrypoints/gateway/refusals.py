"""Noes of the guard in the words of the gateway: the number of the endpoint, and our own code.

The number is one that a bot knows for such a no; the text begins with the code of the guard, or
where the broker said no, is the broker's own.
"""

from collections.abc import Iterable
from enum import IntEnum

from backstop.adapters.projectx_server.venue import Outcome, VenueBusyError
from backstop.core.step import Decision
from backstop.domain.denial import Denial, DenialCode
from backstop.errors import GuardBusyError, JournalError

NOT_ON_RECORD = "RECORD_UNAVAILABLE"
"""Begins the no to a wish that could not be made durable: nothing of it was sent."""

FLOOD_PASSES_S = 1
"""How long a bot is told to wait that asked in the midst of a flood: it is decided by then."""


class PlaceCode(IntEnum):
    """``errorCode`` of Order/place."""

    REJECTED = 2
    ACCOUNT_VIOLATION = 4
    OUTSIDE_TRADING_HOURS = 5
    PENDING = 6
    CONTRACT_NOT_FOUND = 8
    CONTRACT_NOT_ACTIVE = 9


class ChangeCode(IntEnum):
    """``errorCode`` of Order/modify and Order/cancel."""

    ORDER_NOT_FOUND = 2
    REJECTED = 3
    PENDING = 4


class CloseCode(IntEnum):
    """``errorCode`` of Position/closeContract."""

    POSITION_NOT_FOUND = 2
    CONTRACT_NOT_FOUND = 3
    CONTRACT_NOT_ACTIVE = 4
    REJECTED = 5
    PENDING = 6


class PartialCloseCode(IntEnum):
    """``errorCode`` of Position/partialCloseContract where it differs from a whole close."""

    INVALID_SIZE = 5
    REJECTED = 6
    PENDING = 7


_PLACE_CODES = {
    DenialCode.SESSION_CLOSED: PlaceCode.OUTSIDE_TRADING_HOURS,
    DenialCode.SESSION_FLAT_BY: PlaceCode.OUTSIDE_TRADING_HOURS,
    DenialCode.SESSION_UNKNOWN: PlaceCode.OUTSIDE_TRADING_HOURS,
    DenialCode.INSTRUMENT_NOT_ACTIVE: PlaceCode.CONTRACT_NOT_ACTIVE,
    DenialCode.EXPIRY_NEAR: PlaceCode.CONTRACT_NOT_ACTIVE,
    DenialCode.DAILY_LOSS_LOCKED: PlaceCode.ACCOUNT_VIOLATION,
    DenialCode.FIRM_LIQUIDATED: PlaceCode.ACCOUNT_VIOLATION,
}
"""What the gateway itself has a number for; all else is a rejection."""


def denial_text(denials: Iterable[Denial]) -> str:
    """Return what every rule said, each after its code."""
    return "; ".join(f"{it.code}: {it.message}" for it in denials)


def refused_place(denials: tuple[Denial, ...]) -> Outcome:
    """Return the rejection of an order that the guard did not send."""
    code = _PLACE_CODES.get(denials[0].code, PlaceCode.REJECTED) if denials else PlaceCode.REJECTED
    return Outcome(code=code, message=denial_text(denials))


def refused(code: int, decision: Decision) -> Outcome:
    """Return the no to a change, in the guard's words."""
    return Outcome(code=code, message=denial_text(decision.denials) or decision.message or None)


def no(code: int, why: DenialCode, message: str) -> Outcome:
    """Return one no of the guard."""
    return Outcome(code=code, message=f"{why}: {message}")


def not_recorded(code: int, error: JournalError) -> Outcome:
    """Return the no to a wish that is not on disk.

    Raises:
        VenueBusyError: there were too many wishes at once, and the disk is well.
    """
    if isinstance(error, GuardBusyError):
        raise VenueBusyError(FLOOD_PASSES_S) from error
    return Outcome(code=code, message=f"{NOT_ON_RECORD}: {error} Nothing was sent.")
