"""What follows from one contract alone, kept until something of that contract changes.

Plain records: ``contract_standing`` works them out. Nothing here is remembered that the book does
not say as well.
"""

from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from backstop.domain.denial import Denial

if TYPE_CHECKING:
    from backstop.core.policy import Policy


class RestingLimit(Struct, frozen=True, kw_only=True):
    """A limit order on the account that rests, or may rest.

    ``ticks`` is the nearest level that trades with it; ``price`` in points.
    """

    name: str
    price: Decimal
    ticks: int


class ContractFacts(Struct, frozen=True, kw_only=True):
    """What a decision about an order needs of its own contract.

    Attributes:
        exits: contracts of all unfinished exits of its position, protective orders excepted.
        closes_to_come: contracts of it that rows alone say other orders have closed.
        best_bid: of the limits to buy on the account, the one at the highest price; None: none.
        best_offer: of the limits to sell, the one at the lowest.
        leftovers: why no entry may go in while a stop of an earlier position works.
    """

    exits: int = 0
    closes_to_come: int = 0
    best_bid: RestingLimit | None = None
    best_offer: RestingLimit | None = None
    leftovers: tuple[Denial, ...] = ()


class KeptFacts:
    """The facts of each contract that was asked about, with the change that they hold up to."""

    __slots__ = ("by_contract", "policy", "seen")

    def __init__(self) -> None:
        self.seen = -1  # the version of the book's change log up to which all of them hold
        self.policy: Policy | None = None  # by which they were worked out
        self.by_contract: dict[str, ContractFacts] = {}
