"""A value that must not be seen: it prints as stars wherever it ends up by accident."""

import hmac
from typing import NoReturn

from backstop.errors import InvariantError

STARS = "**********"


class Secret:
    """A credential; only ``reveal`` gives the value, so every use of it can be searched for.

    Text forms of any kind are stars, of constant length. Copies are the same object. A pickled
    secret comes back without its value: crash dumps and other processes get stars.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself; for the one place that sends or checks it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({STARS!r})"

    def __str__(self) -> str:
        return STARS

    def __format__(self, format_spec: str) -> str:
        return format(STARS, format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "Secret":
        return self

    def __reduce__(self) -> tuple[type["LostSecret"], tuple[()]]:
        return LostSecret, ()


class LostSecret(Secret):
    """What a pickled secret comes back as: stars without a value."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("")

    def reveal(self) -> NoReturn:
        """Refuse: the value was left behind."""
        raise InvariantError("A secret was pickled; its value did not travel with it.")

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class HoldsSecrets:
    """Something through which secrets can be had: its JSON form is stars, like that of a secret."""


def stars(value: object) -> str:
    """Return stars for a secret: the ``default`` of json.dumps, the ``enc_hook`` of msgspec.

    Raises:
        TypeError: ``value`` is something else that JSON does not know.
    """
    if isinstance(value, Secret | HoldsSecrets):
        return STARS
    raise TypeError(f"{type(value).__name__} has no JSON form")
