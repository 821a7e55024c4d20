"""Who may log in at a surface: a fixed table of users, or whatever stands behind the port."""

import hmac
from collections.abc import Mapping
from typing import Protocol


class Logins(Protocol):
    """The users of a surface; their names match without regard to case."""

    def known(self, name: str) -> str | None:
        """Return the user as written down, None for a stranger."""

    def admits(self, user: str, key: str) -> bool:
        """Tell whether ``key`` is one of ``user``, who is known."""

    def mark(self, user: str) -> str | None:
        """Return what a good token of ``user`` carries; None: nobody goes by that name now.

        It is another one for whoever has the name later.
        """


class FixedLogins:
    """Users and keys of a configuration; the keys can be changed while it is in use."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name.lower(): name for name in users}
        self._keys: dict[str, tuple[str, ...]] = {name: (key,) for name, key in users.items()}

    def set_keys(self, user: str, keys: tuple[str, ...]) -> None:
        """Let ``user`` log in with these keys and no other; tokens are not touched."""
        self._keys[user] = keys

    def known(self, name: str) -> str | None:
        """Return the user as configured, None for a stranger."""
        return self._users.get(name.lower())

    def admits(self, user: str, key: str) -> bool:
        """Tell whether ``key`` is one of ``user``."""
        # Every key is compared: how long it takes tells nothing.
        good = [same_text(it, key) for it in self._keys.get(user, ())]
        return any(good)

    def mark(self, user: str) -> str | None:
        """Return the same for everybody: users of a configuration stay."""
        del user
        return ""


def same_text(held: str, given: str) -> bool:
    """Compare two secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(held.encode(), given.encode(errors="surrogatepass"))
