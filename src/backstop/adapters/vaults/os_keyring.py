"""The keyring of the operating system, through ``keyring``: the extra ``backstop[keyring]``."""

from typing import Any

from backstop.adapters.vaults.secret_names import spellings
from backstop.errors import CredentialSourceError

TIMEOUT_S = 5.0
"""A locked keyring may ask a person for a password, and nobody may be there."""


class OsKeyring:
    """Entries of one service name.

    Args:
        service: the name under which the entries stand, ``backstop`` unless set otherwise.
    """

    name = "OS keyring"
    timeout_s: float | None = TIMEOUT_S

    def __init__(self, service: str) -> None:
        self._service = service

    def read(self, credential: str) -> str | None:
        """Return the value, or None when the keyring has no such entry.

        Raises:
            CredentialSourceError: the keyring cannot answer.
        """
        keyring = _keyring()
        for name in spellings(credential):
            try:
                value: str | None = keyring.get_password(self._service, name)
            except keyring.errors.KeyringError as error:
                raise CredentialSourceError(_words(error)) from error
            if value is not None:
                return value
        return None

    def write(self, credential: str, value: str) -> None:
        """Keep ``value`` under the credential's name.

        Raises:
            CredentialSourceError: the keyring cannot take it.
        """
        keyring = _keyring()
        try:
            keyring.set_password(self._service, credential, value)
        except keyring.errors.KeyringError as error:
            raise CredentialSourceError(_words(error)) from error


def _keyring() -> Any:
    try:
        import keyring  # noqa: PLC0415 - the extra loads when it is used
        import keyring.errors  # noqa: PLC0415 - as above
    except ImportError as error:
        raise CredentialSourceError(
            "its library is not installed: pip install 'backstop[keyring]'"
        ) from error
    return keyring


def _words(error: Exception) -> str:
    kind = type(error).__name__
    known = {
        "NoKeyringError": "this machine has no keyring that can be used",
        "KeyringLocked": "the keyring is locked",
        "InitError": "the keyring could not be opened",
    }
    return known.get(kind, f"it failed with {kind}")
