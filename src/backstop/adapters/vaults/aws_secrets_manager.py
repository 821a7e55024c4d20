"""AWS Secrets Manager, through Amazon's own SDK: the extra ``backstop[aws]``.

Region and identity are the SDK's own affair: ``AWS_REGION``, ``AWS_PROFILE``, keys in the
environment, a role of the machine. One JSON secret holds all credentials.
"""

import time
from typing import Any

from backstop.adapters.vaults.secret_names import from_json_secret
from backstop.domain.credential import CredentialFacts
from backstop.errors import CredentialSourceError

TIMEOUT_S = 8.0
CONNECT_S = 2
READ_S = 3
ATTEMPTS = 2

REUSED_S = 2.0
"""One read of the secret answers for all credentials that are asked for at once."""

_WORDS = {
    "AccessDeniedException": "our identity may not read the secret",
    "UnrecognizedClientException": "our access key is not accepted",
    "InvalidSignatureException": "our secret access key is not accepted",
    "ExpiredTokenException": "our session has expired",
    "ExpiredToken": "our session has expired",
    "ThrottlingException": "the service is throttling us",
    "DecryptionFailure": "the secret cannot be decrypted with its KMS key",
    "InvalidRequestException": "the secret is being deleted or has no current version",
}
"""Errors by their code: the status of the answer is no reliable sign."""


class AwsSecretsManager:
    """One secret.

    Args:
        secret_id: its name or its ARN.
    """

    name = "AWS Secrets Manager"
    timeout_s: float | None = TIMEOUT_S

    def __init__(self, secret_id: str) -> None:
        self._secret_id = secret_id
        self._client: Any = None
        self._held: tuple[float, str | None] | None = None
        self._facts = CredentialFacts()

    def facts(self, credential: str) -> CredentialFacts:  # noqa: ARG002 - one secret has them all
        """Return which secret it is, and since when its present version is the current one."""
        return self._facts

    def read(self, credential: str) -> str | None:
        """Return the value, or None when the secret has no such member.

        Raises:
            CredentialSourceError: the service cannot answer; the words hold no secret.
        """
        text = self._secret()
        if text is None:
            raise CredentialSourceError(f"there is no secret {self._secret_id}")
        return from_json_secret(text, credential, secret=self._secret_id)

    def _secret(self) -> str | None:
        now_s = time.monotonic()
        if self._held is not None and now_s - self._held[0] < REUSED_S:
            return self._held[1]
        text = self._fetched()
        self._held = (now_s, text)
        return text

    def _fetched(self) -> str | None:
        client = self._connected()
        from botocore import exceptions  # noqa: PLC0415 - the extra loads when it is used

        try:
            answer = client.get_secret_value(SecretId=self._secret_id)
        except exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ResourceNotFoundException":
                return None
            raise CredentialSourceError(
                _WORDS.get(code, f"the service answered {code or 'with an error'}")
            ) from error
        except exceptions.NoCredentialsError as error:
            raise CredentialSourceError("no AWS identity is configured") from error
        except exceptions.NoRegionError as error:
            raise CredentialSourceError("no region is configured: set AWS_REGION") from error
        except exceptions.BotoCoreError as error:
            raise CredentialSourceError(f"it cannot be reached ({type(error).__name__})") from error
        text: str | None = answer.get("SecretString")
        self._facts = CredentialFacts(place=self._secret_id, changed=answer.get("CreatedDate"))
        if text is None:
            raise CredentialSourceError(f"the secret {self._secret_id} is binary, not JSON text")
        return text

    def _connected(self) -> Any:
        if self._client is not None:
            return self._client
        try:
            import boto3  # noqa: PLC0415 - as above
            from botocore import exceptions  # noqa: PLC0415 - as above
            from botocore.config import Config  # noqa: PLC0415 - as above
        except ImportError as error:
            raise CredentialSourceError(
                "its SDK is not installed: pip install 'backstop[aws]'"
            ) from error
        limits = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        )
        try:
            self._client = boto3.session.Session().client("secretsmanager", config=limits)
        except exceptions.NoRegionError as error:
            raise CredentialSourceError("no region is configured: set AWS_REGION") from error
        except exceptions.BotoCoreError as error:
            raise CredentialSourceError(f"it cannot be set up ({type(error).__name__})") from error
        return self._client
