"""Dicts that note the contracts they changed, so that what is derived from them walks none of them.

All such dicts of a book write into one log. Whoever keeps something derived asks it for what
changed since he looked last; while nothing did, that is the comparison of two numbers.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

CHANGES_KEPT = 10_000
"""Contracts of which the log knows when they changed last: more than any gateway lists. A reader
who looked before the oldest change that is kept takes everything for changed."""


class ChangeLog:
    """The contracts that changed, each with the number of its newest change; for many readers."""

    __slots__ = ("_changed", "_complete_from", "version")

    def __init__(self) -> None:
        self.version = 0  # the number of the newest change
        self._changed: dict[str, int] = {}  # in the order of their newest changes
        self._complete_from = 0

    def note(self, contract_id: str) -> None:
        """Remember that something about a contract is another one now."""
        self.version += 1
        self._changed.pop(contract_id, None)
        self._changed[contract_id] = self.version
        if len(self._changed) > CHANGES_KEPT:
            self._complete_from = self._changed.pop(next(iter(self._changed)))

    def note_all(self) -> None:
        """Remember that everything may be another."""
        self.version += 1
        self._changed.clear()
        self._complete_from = self.version

    def since(self, version: int) -> list[str] | None:
        """Return the contracts that changed after ``version``, newest first; None: maybe all."""
        if version < self._complete_from:
            return None
        found = []
        for contract_id, changed_in in reversed(self._changed.items()):
            if changed_in <= version:
                break
            found.append(contract_id)
        return found


class Watched(dict[Key, Value], Generic[Key, Value]):
    """A dict that says of each key that it changed, to those who derive something from it."""

    __slots__ = ("_log",)

    def __init__(self, held: Mapping[Key, Value] | Iterable[tuple[Key, Value]] = ()) -> None:
        super().__init__(held)
        self._log = ChangeLog()

    def noted_in(self, log: ChangeLog) -> None:
        """Write into ``log`` from now on, for which all that is held is new."""
        self._log = log
        log.note_all()

    @abstractmethod
    def _note(self, key: Key) -> None:
        """Write into the log of which contracts something is new."""

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        self._note(key)

    def __delitem__(self, key: Key) -> None:
        super().__delitem__(key)
        self._note(key)

    def pop(self, key: Key, *default: Any) -> Any:
        """Take a key away, as a dict does."""
        found = super().pop(key, *default)
        self._note(key)
        return found

    def popitem(self) -> tuple[Key, Value]:
        """Take the newest key away, as a dict does."""
        key, value = super().popitem()
        self._note(key)
        return key, value

    def setdefault(self, key: Key, default: Any = None) -> Any:
        """Set a key that is not there, as a dict does."""
        found = super().setdefault(key, default)
        self._note(key)
        return found

    def clear(self) -> None:
        """Take everything away."""
        super().clear()
        self._log.note_all()

    def update(self, *others: Any, **members: Any) -> None:
        """Set many keys, as a dict does."""
        for key, value in dict(*others, **members).items():
            self[key] = value


class Noted(Watched[str, Value], Generic[Value]):
    """What is known of each contract, by its id."""

    __slots__ = ()

    def _note(self, key: str) -> None:
        self._log.note(key)
