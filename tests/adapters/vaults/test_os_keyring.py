"""The keyring of the operating system, through the library that reaches them all."""

from collections.abc import Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail
from keyring.errors import KeyringLocked

from backstop.adapters.vaults.os_keyring import OsKeyring
from backstop.errors import CredentialSourceError

KEY = "TOPSTEPX_API_KEY"


class Drawer(KeyringBackend):
    """A keyring that lives as long as the test."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise KeyringLocked
        self.entries[service, username] = password


@pytest.fixture
def drawer() -> Iterator[Drawer]:
    before, made = keyring.get_keyring(), Drawer()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


@pytest.mark.usefixtures("drawer")
def test_what_was_kept_is_found() -> None:
    OsKeyring("backstop").write(KEY, "key-in-drawer")

    assert OsKeyring("backstop").read(KEY) == "key-in-drawer"
    assert OsKeyring("another").read(KEY) is None


def test_an_entry_may_bear_the_dashed_name(drawer: Drawer) -> None:
    drawer.set_password("backstop", "topstepx-api-key", "key-in-drawer")

    assert OsKeyring("backstop").read(KEY) == "key-in-drawer"


def test_a_locked_keyring_is_told(drawer: Drawer) -> None:
    drawer.locked = True

    with pytest.raises(CredentialSourceError, match="locked"):
        OsKeyring("backstop").read(KEY)
    with pytest.raises(CredentialSourceError, match="locked"):
        OsKeyring("backstop").write(KEY, "key-in-drawer")


@pytest.mark.usefixtures("drawer")
def test_a_machine_without_a_keyring_is_told() -> None:
    keyring.set_keyring(fail.Keyring())

    with pytest.raises(CredentialSourceError, match="no keyring that can be used"):
        OsKeyring("backstop").read(KEY)
