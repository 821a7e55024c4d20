"""A dict that notes its changes, so that what is derived from it need not walk it again."""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

NOTED_MAX = 10_000
"""Keys that are noted while nobody asks; beyond it everything counts as changed."""


class Noted(dict[Key, Value], Generic[Key, Value]):
    """A dict whose changes are asked for now and then, by one reader."""

    __slots__ = ("_changed", "_overflowed")

    def __init__(self, held: Mapping[Key, Value] | Iterable[tuple[Key, Value]] = ()) -> None:
        super().__init__(held)
        self._changed: set[Key] = set()
        self._overflowed = True  # whoever asks first has seen nothing of it

    def changes(self) -> frozenset[Key] | None:
        """Return the keys that changed since the last call; None: more than were noted."""
        if self._overflowed:
            self._overflowed = False
            self._changed.clear()
            return None
        if not self._changed:
            return _NOTHING
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed

    def _note(self, key: Key) -> None:
        self._changed.add(key)
        if len(self._changed) > NOTED_MAX:
            self._overflowed = True
            self._changed.clear()

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
        self._overflowed = True

    def update(self, *others: Any, **members: Any) -> None:
        """Set many keys, as a dict does."""
        super().update(*others, **members)
        self._overflowed = True


_NOTHING: frozenset[Any] = frozenset()
