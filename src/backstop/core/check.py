"""One line of a report on a set-up: what was looked at, how it is, and what to do."""

from enum import StrEnum

from msgspec import Struct


class CheckName(StrEnum):
    """What is checked, in the order in which it is shown."""

    CLOCK = "clock"
    DISK = "disk"
    LOCK = "lock"
    LOGIN = "login"
    ACCOUNT = "account"
    USER_HUB = "user hub"
    MARKET_HUB = "market hub"
    DATA = "data age"
    GATES = "gates"


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


class Check(Struct, frozen=True, kw_only=True):
    """One line of the report.

    Attributes:
        check: what was looked at.
        status: how it is.
        value: what was measured; None where nothing could be.
        unit: of the value; empty for a word.
        finding: what that means, a sentence.
        advice: what to do; empty when there is nothing to do.
    """

    check: CheckName
    status: CheckStatus
    value: str | None = None
    unit: str = ""
    finding: str
    advice: str = ""


def worst(verdicts: tuple[Check, ...]) -> CheckStatus:
    """Return the status of the whole: that of its worst part."""
    held = {it.status for it in verdicts}
    for status in (CheckStatus.FAIL, CheckStatus.WARN):
        if status in held:
            return status
    return CheckStatus.OK
