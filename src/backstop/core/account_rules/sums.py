"""What the rules of an account look at, one part per contract, and the sums of all parts.

Plain records: ``standing_sums`` brings them to what the book says. Nothing in them is decided, and
nothing is remembered that the book does not say as well.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from backstop.core.account_rules.limits import AccountLimits
from backstop.domain.quote import Mark

if TYPE_CHECKING:
    from backstop.core.policy import Policy
    from backstop.domain.events import SessionsScheduled


class ContractPart(Struct, frozen=True, kw_only=True):
    """What one contract contributes.

    Attributes:
        low: the lowest position that pending orders can lead to, signed contracts.
        high: the highest.
        tenths: what the larger of both counts for, in tenths of a mini.
        open_micros: what the position would bring now, over what it cost; None: nobody can say.
        pending_micros: what is still to be lost in it; None: nobody can say.
    """

    low: int = 0
    high: int = 0
    tenths: int = 0
    open_micros: int | None = 0
    pending_micros: int | None = 0


NOTHING = ContractPart()


@dataclass(slots=True)
class AccountSums:
    """The parts of all contracts in which something is held or could be, and their sums.

    Attributes:
        made_for: policy, limits, schedule and the span of time that the parts were made for.
        seen: the version of the book's change log up to which they hold.
        marks: what the prices were taken from; ``marks_of`` the same by contract.
        price_age_ms: how old a price may be, by contract.
        prices: of ``marks``, those that are fresh enough to decide upon.
        parts: by contract; without those that contribute nothing.
        tenths: of all contracts.
        open_micros: of those that can be valued.
        unpriced: contracts that are held and cannot be.
        pending_micros: of all contracts but the ``unbounded``.
        unbounded: contracts of which nobody can say what is still to be lost.
    """

    made_for: "tuple[Policy, AccountLimits, SessionsScheduled | None] | None" = None
    since_utc_us: int = 0
    until_utc_us: int = 0
    seen: int = -1
    marks: tuple[Mark, ...] = ()
    marks_of: dict[str, Mark] = field(default_factory=dict)
    price_age_ms: dict[str, int] = field(default_factory=dict)
    prices: dict[str, Decimal] = field(default_factory=dict)
    parts: dict[str, ContractPart] = field(default_factory=dict)
    tenths: int = 0
    open_micros: int = 0
    unpriced: dict[str, None] = field(default_factory=dict)
    pending_micros: int = 0
    unbounded: dict[str, None] = field(default_factory=dict)

    def part(self, contract_id: str) -> ContractPart:
        """Return what a contract contributes; of most it is nothing."""
        return self.parts.get(contract_id, NOTHING)

    def put(self, contract_id: str, part: ContractPart) -> None:
        """Let ``part`` take the place of what the contract contributed until now."""
        before = self.parts.get(contract_id, NOTHING)
        if part == before:
            return
        self.tenths += part.tenths - before.tenths
        self.open_micros += (part.open_micros or 0) - (before.open_micros or 0)
        self.pending_micros += (part.pending_micros or 0) - (before.pending_micros or 0)
        _mark(self.unpriced, contract_id, is_in=part.open_micros is None)
        _mark(self.unbounded, contract_id, is_in=part.pending_micros is None)
        if part == NOTHING:
            del self.parts[contract_id]
        else:
            self.parts[contract_id] = part


def _mark(names: dict[str, None], name: str, *, is_in: bool) -> None:
    if is_in:
        names[name] = None
    else:
        names.pop(name, None)
