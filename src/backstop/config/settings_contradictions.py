"""What two settings cannot mean together, each of them being possible alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from backstop.errors import SettingError


def contradictions(members: Mapping[str, Any]) -> tuple[SettingError, ...]:
    """Return what is wrong between these members of the settings, all of it."""
    return (*_between_files(members), *_between_times(members), *_between_amounts(members))


def _between_files(members: Mapping[str, Any]) -> Iterator[SettingError]:
    if (members["tls_cert"] is None) != (members["tls_key"] is None):
        yield SettingError(
            "BACKSTOP_TLS_CERT", "BACKSTOP_TLS_KEY must go with it", "both, or neither"
        )


def _between_times(members: Mapping[str, Any]) -> Iterator[SettingError]:
    entries_until, flat_by = members["entries_until"], members["flat_by"]
    if flat_by is not None and entries_until > flat_by:
        fault = f"{entries_until:%H:%M} is later than FLAT_BY, which is {flat_by:%H:%M}"
        yield SettingError("ENTRIES_UNTIL", fault, "the time of FLAT_BY or before")


def _between_amounts(members: Mapping[str, Any]) -> Iterator[SettingError]:
    """Hold what an account may lose, and what it was worth at best, against how it began."""
    began = members["account_starting_balance"]
    if began is None:
        if members["max_trailing_loss"] is not None:
            yield SettingError(
                "ACCOUNT_STARTING_BALANCE",
                "is not set, and MAX_TRAILING_LOSS counts from it",
                "the balance with which the account began",
            )
        return
    for name, member in (
        ("MAX_DAILY_LOSS", "max_daily_loss"),
        ("MAX_TRAILING_LOSS", "max_trailing_loss"),
    ):
        loss = members[member]
        if loss is not None and loss > began:
            yield SettingError(
                name,
                f"{loss:f} is more than the account began with",
                f"up to ACCOUNT_STARTING_BALANCE, which is {began:f}",
            )
    high = members["account_high_close"]
    if high is not None and high < began:
        # A lower one would let the floor lie deeper than the firm has it.
        yield SettingError(
            "ACCOUNT_HIGH_CLOSE",
            f"{high:f} is less than the account began with, which is a close as well",
            f"ACCOUNT_STARTING_BALANCE, which is {began:f}, or more",
        )
