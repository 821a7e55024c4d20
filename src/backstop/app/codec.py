"""Facts, commands and policies as journal payloads: JSON that a person can read."""

from decimal import Decimal
from typing import TypeVar

import msgspec

from backstop.core.policy import Policy
from backstop.domain.commands import Request
from backstop.domain.events import Event, Fact
from backstop.domain.order import OrderRequest
from backstop.domain.wish_terms import WISH_BYTES_MAX
from backstop.errors import DomainError

_Wish = TypeVar("_Wish", bound=Event | OrderRequest)

_encoder = msgspec.json.Encoder()


def encode(value: Fact | Request | Policy) -> bytes:
    """Return the payload of a fact, a command or a policy."""
    return _encoder.encode(value)


def recordable(wish: _Wish) -> _Wish:
    """Return a wish of somebody else's code as the record will read it back.

    Python checks no types: a price that is a float or a side that is plain text becomes what it
    says; a quantity of 1.5 is refused here, for once in the record nothing could start from it.

    Raises:
        DomainError: a member is not what its type says; the message names it, or its type. Or it
            is larger than any wish.
    """
    try:
        read = msgspec.convert(msgspec.to_builtins(wish, builtin_types=(Decimal,)), type(wish))
        written = _encoder.encode(read)
    except (TypeError, ValueError) as error:  # msgspec's own, and text that UTF-8 cannot carry
        raise DomainError(f"{type(wish).__name__} cannot be understood: {error}.") from error
    if len(written) > WISH_BYTES_MAX:
        raise DomainError(
            f"{type(wish).__name__} takes {len(written)} bytes on record; {WISH_BYTES_MAX} are "
            "allowed."
        )
    return read
