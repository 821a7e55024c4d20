"""Collections of the book that also answer by contract, so that one decision walks none of them."""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from backstop.core.noted import Noted, Watched
from backstop.core.positions import PositionView

Key = TypeVar("Key")


class LiveOrders(Watched[Key, str]):
    """Keys of the orders that can still fill, each with its contract, oldest first."""

    __slots__ = ("_contract_of", "_keys_of")

    def __init__(self, held: Mapping[Key, str] | Iterable[tuple[Key, str]] = ()) -> None:
        super().__init__(held)
        self._contract_of: dict[Key, str] = {}
        self._keys_of: dict[str, dict[Key, None]] = {}
        for key in self:
            self._note(key)

    def of(self, contract_id: str) -> Iterable[Key]:
        """Return the keys of one contract, oldest first."""
        return self._keys_of.get(contract_id, ())

    def contracts(self) -> Collection[str]:
        """Return the contracts of which an order can still fill."""
        return self._keys_of

    def _note(self, key: Key) -> None:
        """Keep the keys of its contract, and note that one: also when only the order changed."""
        now, before = self.get(key), self._contract_of.get(key)
        if now is not None:
            self._log.note(now)
        if now == before:
            return
        if before is not None:
            self._log.note(before)
            del self._contract_of[key]
            keys = self._keys_of[before]
            del keys[key]
            if not keys:
                del self._keys_of[before]
        if now is not None:
            self._contract_of[key] = now
            self._keys_of.setdefault(now, {})[key] = None

    def __setitem__(self, key: Key, contract_id: str) -> None:
        if self.get(key, contract_id) != contract_id:
            del self[key]  # it is the newest of its new contract, and so of all
        super().__setitem__(key, contract_id)

    def clear(self) -> None:
        """Take everything away."""
        super().clear()
        self._contract_of.clear()
        self._keys_of.clear()


class Positions(Noted[PositionView]):
    """What is believed of each contract; ``held`` are those in which something may be held."""

    __slots__ = ("held",)

    def __init__(
        self, known: Mapping[str, PositionView] | Iterable[tuple[str, PositionView]] = ()
    ) -> None:
        super().__init__(known)
        self.held: set[str] = set()
        for contract_id in self:
            self._follow(contract_id)

    def _follow(self, contract_id: str) -> None:
        view = self.get(contract_id)
        if view is not None and (view.quantity or view.ledger):
            self.held.add(contract_id)
        else:
            self.held.discard(contract_id)

    def _note(self, key: str) -> None:
        super()._note(key)
        self._follow(key)

    def clear(self) -> None:
        """Take everything away."""
        super().clear()
        self.held.clear()
