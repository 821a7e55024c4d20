"""How one credential is called in different vaults, and how it is found in a JSON secret."""

import json
from collections.abc import Iterator

from backstop.errors import CredentialSourceError


def dashed(credential: str) -> str:
    """Return the name for vaults that allow no underscore: ``topstepx-api-key``."""
    return credential.lower().replace("_", "-")


def spellings(credential: str) -> Iterator[str]:
    """Yield the names under which a credential may stand, the setting's own first."""
    yield credential
    yield dashed(credential)
    yield credential.lower()


def from_json_secret(text: str, credential: str, *, secret: str) -> str | None:
    """Return one member of a JSON secret; None when it has none of that name.

    Args:
        text: the secret as the vault holds it.
        credential: the setting's name of the credential.
        secret: the secret's own name, for errors; its value is never part of them.

    Raises:
        CredentialSourceError: it is not a JSON object, or the member is not text.
    """
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise CredentialSourceError(
            f'the secret {secret} is not the JSON object it should be: {{"{credential}": "..."}}'
        )
    for name in spellings(credential):
        value = members.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # an account's number is often written without quotes
        if value is not None:
            raise CredentialSourceError(
                f"{name} in the secret {secret} is {type(value).__name__}, not text",
                one_secret=True,
            )
    return None
