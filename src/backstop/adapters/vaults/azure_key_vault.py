"""Azure Key Vault, through Microsoft's own SDK: the extra ``backstop[azure]``.

The identity is found by ``DefaultAzureCredential``: environment, workload, managed identity, or the
developer's own login. A credential is a secret of its own, ``topstepx-api-key``, or a member of one
JSON secret.
"""

from typing import Any
from urllib.parse import urlsplit

from backstop.adapters.vaults.secret_names import dashed, from_json_secret
from backstop.domain.credential import CredentialFacts
from backstop.errors import CredentialSourceError

TIMEOUT_S = 8.0
"""A login and a read, each with one repetition; a start must not hang on a vault."""

CONNECT_S = 2.0
READ_S = 3.0
RETRIES = 1

_FORBIDDEN = 403
_THROTTLED = 429
_NOT_FOUND = 404


class AzureKeyVault:
    """One vault.

    Args:
        url: such as ``https://my-vault.vault.azure.net``.
        json_secret: name of a secret that holds several credentials; None: each its own secret.
        own_authority: logins go to a host that Microsoft's public list does not know, as in Azure
            Stack; without it the SDK would ask that list first.
    """

    name = "Azure Key Vault"
    timeout_s: float | None = TIMEOUT_S

    def __init__(
        self, url: str, *, json_secret: str | None = None, own_authority: bool = False
    ) -> None:
        self._url = url
        self._own_authority = own_authority
        self._json_secret = json_secret
        self._client: Any = None
        self._facts: dict[str, CredentialFacts] = {}  # by secret

    def facts(self, credential: str) -> CredentialFacts:
        """Return which secret it is, and what the vault told of its age with the last answer."""
        return self._facts.get(self._json_secret or dashed(credential), CredentialFacts())

    def read(self, credential: str) -> str | None:
        """Return the value, or None when the vault has no such secret.

        Raises:
            CredentialSourceError: the vault cannot answer; the words hold no secret.
        """
        if self._json_secret is None:
            return self._secret(dashed(credential))
        text = self._secret(self._json_secret)
        if text is None:
            raise CredentialSourceError(f"the vault has no secret {self._json_secret}")
        return from_json_secret(text, credential, secret=self._json_secret)

    def _secret(self, secret: str) -> str | None:
        client = self._connected()
        from azure.core import exceptions  # noqa: PLC0415 - the extra loads when it is used

        try:
            found = client.get_secret(secret)
        except exceptions.ResourceNotFoundError:
            return None
        except exceptions.ClientAuthenticationError as error:
            raise CredentialSourceError(
                "our identity was not accepted; check AZURE_TENANT_ID, AZURE_CLIENT_ID and "
                "AZURE_CLIENT_SECRET, or the managed identity"
            ) from error
        except exceptions.HttpResponseError as error:
            raise CredentialSourceError(
                _http_words(error.status_code), one_secret=error.status_code == _FORBIDDEN
            ) from error
        except exceptions.AzureError as error:
            host = urlsplit(self._url).hostname
            raise CredentialSourceError(
                f"{host} cannot be reached ({type(error).__name__})"
            ) from error
        except ValueError as error:
            # Its challenge names another place: the token would be worth something elsewhere.
            host = urlsplit(self._url).hostname
            raise CredentialSourceError(f"{host} does not answer as a key vault does") from error
        properties = found.properties
        self._facts[secret] = CredentialFacts(
            place=f"{secret} in {self._url}",
            changed=properties.updated_on,
            expires=properties.expires_on,
        )
        value: str | None = found.value
        return value

    def _connected(self) -> Any:
        if self._client is not None:
            return self._client
        try:
            from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - as above
            from azure.keyvault.secrets import SecretClient  # noqa: PLC0415 - as above
        except ImportError as error:
            raise CredentialSourceError(
                "its SDK is not installed: pip install 'backstop[azure]'"
            ) from error
        limits: dict[str, Any] = {
            "retry_total": RETRIES,
            "connection_timeout": CONNECT_S,
            "read_timeout": READ_S,
        }
        identity = DefaultAzureCredential(disable_instance_discovery=self._own_authority, **limits)
        self._client = SecretClient(vault_url=self._url, credential=identity, **limits)
        return self._client


def _http_words(status: int | None) -> str:
    if status == _FORBIDDEN:
        return "our identity may not read this secret, or the secret is disabled (HTTP 403)"
    if status == _THROTTLED:
        return "the vault is throttling us (HTTP 429)"
    return f"the vault answered with HTTP {status}"
