"""AWS Secrets Manager through Amazon's own SDK, against moto's server and its own errors."""

import json
from collections.abc import Iterator

import boto3
import pytest
from tests.adapters.vaults.servers import a_frozen_server, an_aws, an_aws_that_answers

from backstop.adapters.vaults import aws_secrets_manager
from backstop.adapters.vaults.aws_secrets_manager import AwsSecretsManager
from backstop.config.credential_manager import CredentialManager
from backstop.errors import CredentialSourceError

KEY = "TOPSTEPX_API_KEY"
SECRET_ID = "backstop/topstepx"

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture(scope="module")
def moto() -> Iterator[dict[str, str]]:
    with an_aws() as environment:
        yield environment


@pytest.fixture
def aws(moto: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto.items():
        monkeypatch.setenv(name, value)


def keep(secret_id: str, text: str) -> None:
    """Write a secret as its owner would."""
    client = boto3.client("secretsmanager")
    client.create_secret(Name=secret_id, SecretString=text)


def test_credentials_are_members_of_one_json_secret() -> None:
    keep(SECRET_ID, json.dumps({KEY: "key-from-aws", "topstepx-account-id": 31004502}))
    manager = AwsSecretsManager(SECRET_ID)

    assert manager.read(KEY) == "key-from-aws"
    assert manager.read("TOPSTEPX_ACCOUNT_ID") == "31004502"
    assert manager.read("TOPSTEPX_JWT") is None


def test_what_is_known_of_a_secret_is_its_name_and_its_age() -> None:
    keep("aged", json.dumps({KEY: "key-from-aws"}))
    manager = AwsSecretsManager("aged")
    manager.read(KEY)

    facts = manager.facts(KEY)

    assert facts.place == "aged"
    assert facts.changed is not None
    assert facts.changed.tzinfo is not None


def test_a_rotated_secret_is_found_without_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aws_secrets_manager, "REUSED_S", 0)
    keep("rotating", json.dumps({KEY: "old-key-1"}))
    manager = AwsSecretsManager("rotating")
    manager.read(KEY)
    boto3.client("secretsmanager").put_secret_value(
        SecretId="rotating", SecretString=json.dumps({KEY: "new-key-2"})
    )

    assert manager.read(KEY) == "new-key-2"


def test_a_secret_that_is_not_there_is_a_fault_of_the_source() -> None:
    with pytest.raises(CredentialSourceError, match="there is no secret nowhere"):
        AwsSecretsManager("nowhere").read(KEY)


def test_a_secret_that_is_not_the_json_it_should_be_is_named_and_not_shown() -> None:
    keep("plain", "hunter2-is-no-json")

    with pytest.raises(CredentialSourceError, match="plain is not the JSON object") as caught:
        AwsSecretsManager("plain").read(KEY)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UnrecognizedClientException", "access key is not accepted"),
        ("AccessDeniedException", "may not read the secret"),
        ("ExpiredTokenException", "session has expired"),
        ("ThrottlingException", "throttling"),
        ("DecryptionFailure", "KMS key"),
        ("InternalServiceError", "InternalServiceError"),
    ],
)
def test_what_the_service_refuses_with_is_told(
    monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    with an_aws_that_answers(code) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)

        with pytest.raises(CredentialSourceError, match=words):
            AwsSecretsManager(SECRET_ID).read(KEY)


def test_a_missing_region_is_told_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(CredentialSourceError, match="set AWS_REGION"):
        AwsSecretsManager(SECRET_ID).read(KEY)


def test_a_service_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(CredentialSourceError, match="cannot be reached"):
        AwsSecretsManager(SECRET_ID).read(KEY)


def test_a_frozen_service_does_not_hold_up_the_next_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with a_frozen_server() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        manager = AwsSecretsManager(SECRET_ID)
        manager.timeout_s = 0.5

        inquiry = CredentialManager([manager]).inquire(KEY)

    assert inquiry.value is None
    assert inquiry.answers[0].words == "no answer within 0.5 s"
