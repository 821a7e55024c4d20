"""The limits of an account as plain numbers, and the ones that were changed while it traded.

Source of the rules: docs/reference/account-rules.md.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from backstop.domain.numbers import plain
from backstop.errors import DomainError

TENTHS = 10
"""Tenths in one mini: a micro is a tenth of one."""


def minis_text(tenths: int) -> str:
    """Return tenths of a mini as minis, in plain decimal text."""
    return f"{plain(Decimal(tenths) / TENTHS):f}"


class LimitName(StrEnum):
    """The limits that can be changed while the guard runs; the value is the setting's name."""

    DAILY_LOSS = "MAX_DAILY_LOSS"
    TRAILING_LOSS = "MAX_TRAILING_LOSS"
    POSITION = "MAX_POSITION"

    @property
    def member(self) -> str:
        """The member of ``AccountLimits`` that it is."""
        return _MEMBERS[self]


_MEMBERS = {
    LimitName.DAILY_LOSS: "daily_loss_micros",
    LimitName.TRAILING_LOSS: "trailing_loss_micros",
    LimitName.POSITION: "max_position_tenths",
}


class AccountLimits(Struct, frozen=True, kw_only=True):
    """What one account is held to; None: it has no such limit.

    Attributes:
        starting_balance_micros: with which the account began, millionths of a dollar; the floor of
            the trailing loss never rises above it.
        daily_loss_micros: realised, open and costs of one trading day together.
        trailing_loss_micros: how far below its best end-of-day balance the account may fall.
        high_close_micros: that balance, as the operator stated it.
        max_position_tenths: of all contracts together, in tenths of a mini.
        cool_down_after_stops: losing stops in a row after which entries wait.
        cool_down_ns: for how long.
        fees_micros: what one contract costs to open and close.
    """

    starting_balance_micros: int | None = None
    daily_loss_micros: int | None = None
    trailing_loss_micros: int | None = None
    high_close_micros: int | None = None
    max_position_tenths: int | None = None
    cool_down_after_stops: int | None = None
    cool_down_ns: int = 0
    fees_micros: int = 0

    def __post_init__(self) -> None:
        """Refuse a limit that is not positive: it would be a switch, and a hidden one."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < (0 if name in _MAY_BE_ZERO else 1):
                raise DomainError(f"{name} is {value}; a limit of an account is at least 1.")
        if self.trailing_loss_micros is not None and self.starting_balance_micros is None:
            raise DomainError("A trailing loss needs the balance that the account began with.")

    @property
    def bounds_losses(self) -> bool:
        """A loss of the day, or of the account, is limited."""
        return self.daily_loss_micros is not None or self.trailing_loss_micros is not None


_MAY_BE_ZERO = frozenset({"cool_down_ns", "fees_micros"})


class LimitChange(Struct, frozen=True, kw_only=True):
    """A limit that somebody changed; it holds until the setting itself says something else.

    ``setting`` is what the setting said when it was changed, in the same unit as ``value``.
    """

    value: int
    setting: int | None
    operator: str
    reason: str
    utc_us: int


def in_force(limits: AccountLimits, changes: Mapping[LimitName, LimitChange]) -> AccountLimits:
    """Return ``limits`` of the settings with the changes that still hold."""
    changed = {
        name.member: change.value
        for name, change in changes.items()
        if getattr(limits, name.member) == change.setting
    }
    return replace(limits, **changed) if changed else limits
