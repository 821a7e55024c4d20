"""Azure Key Vault through Microsoft's own SDK, against a server that plays the whole challenge."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.adapters.vaults.servers import AzureWorld, a_frozen_server, an_azure

from backstop.adapters.vaults.azure_key_vault import AzureKeyVault
from backstop.config.credential_manager import CredentialManager
from backstop.errors import CredentialSourceError

KEY = "TOPSTEPX_API_KEY"


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureWorld]:
    with an_azure(tmp_path, secrets={"topstepx-api-key": "key-from-azure"}) as world:
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        yield world


def a_vault(azure: AzureWorld, *, json_secret: str | None = None) -> AzureKeyVault:
    return AzureKeyVault(azure.vault_url, json_secret=json_secret, own_authority=True)


def test_a_secret_is_found_under_its_dashed_name_after_the_challenge(azure: AzureWorld) -> None:
    assert a_vault(azure).read(KEY) == "key-from-azure"
    assert azure.challenges == 1
    assert azure.logins == 1


def test_the_second_read_needs_no_second_login(azure: AzureWorld) -> None:
    vault = a_vault(azure)
    vault.read(KEY)
    azure.secrets["topstepx-api-key"] = "rotated-key-2"

    assert vault.read(KEY) == "rotated-key-2"
    assert azure.logins == 1


def test_a_secret_that_is_not_there_is_none(azure: AzureWorld) -> None:
    assert a_vault(azure).read("TOPSTEPX_USERNAME") is None


def test_one_json_secret_may_hold_several_credentials(azure: AzureWorld) -> None:
    azure.secrets["trading"] = '{"TOPSTEPX_API_KEY": "k-1", "topstepx-username": "ann"}'
    vault = a_vault(azure, json_secret="trading")

    assert vault.read(KEY) == "k-1"
    assert vault.read("TOPSTEPX_USERNAME") == "ann"
    assert vault.read("TOPSTEPX_JWT") is None


def test_a_secret_that_is_not_the_json_it_should_be_is_named_and_not_shown(
    azure: AzureWorld,
) -> None:
    azure.secrets["trading"] = "hunter2-is-no-json"
    vault = a_vault(azure, json_secret="trading")

    with pytest.raises(CredentialSourceError, match="trading is not the JSON object") as caught:
        vault.read(KEY)
    assert "hunter2" not in str(caught.value)


def test_what_is_known_of_a_secret_is_where_it_is_and_its_age(azure: AzureWorld) -> None:
    vault = a_vault(azure)
    vault.read(KEY)

    assert vault.facts(KEY).place.startswith("topstepx-api-key in https://")
    assert vault.facts(KEY).expires is None


def test_the_end_that_the_vault_tells_is_known(azure: AzureWorld) -> None:
    azure.ends = 1_000_000_000
    vault = a_vault(azure)
    vault.read(KEY)

    assert vault.facts(KEY).expires == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


def test_a_wrong_client_secret_is_told_as_such(
    azure: AzureWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong-one-456")

    with pytest.raises(CredentialSourceError, match="identity was not accepted") as caught:
        a_vault(azure).read(KEY)
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "may not read this secret"), (429, "throttling"), (500, "HTTP 500")],
)
def test_what_the_vault_refuses_with_is_told(azure: AzureWorld, status: int, words: str) -> None:
    azure.refuse = status

    with pytest.raises(CredentialSourceError, match=words):
        a_vault(azure).read(KEY)


def test_an_expired_token_is_renewed(azure: AzureWorld) -> None:
    azure.expires_in = 1
    vault = a_vault(azure)
    vault.read(KEY)

    assert vault.read(KEY) == "key-from-azure"
    assert azure.logins == 2


def test_a_vault_that_is_not_there_is_told_by_its_host(
    azure: AzureWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    with pytest.raises(CredentialSourceError, match=r"desk\.vault\.test cannot be reached"):
        a_vault(azure).read(KEY)


def test_a_frozen_vault_does_not_hold_up_the_next_source(
    azure: AzureWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_frozen_server() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        vault = a_vault(azure)
        vault.timeout_s = 0.5

        inquiry = CredentialManager([vault]).inquire(KEY)

    assert inquiry.value is None
    assert inquiry.answers[0].words == "no answer within 0.5 s"
