"""Credentials: the first source that has one answers, nobody's failure hides, no value leaks."""

import threading
from collections.abc import Iterator

import pytest

from backstop.config.credential_manager import (
    ACCOUNT_ID,
    API_KEY,
    JWT,
    USERNAME,
    CredentialManager,
    MappingSource,
    credential_fault,
)
from backstop.config.secret import Secret
from backstop.errors import CredentialError, CredentialSourceError, SetupFaults

GOOD = {USERNAME: "trader77", ACCOUNT_ID: "42", API_KEY: "k3y/+abc=="}


class Vault:
    """A source that answers as it is told, or not at all."""

    def __init__(self, name: str, *, timeout_s: float | None = 5.0) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.hangs: threading.Event | None = None
        self.values: dict[str, str] = {}

    def read(self, credential: str) -> str | None:
        self.asked.append(credential)
        if self.hangs is not None:
            self.hangs.wait()
        if self.error is not None:
            raise self.error
        return self.values.get(credential)


@pytest.fixture
def vault() -> Iterator[Vault]:
    made = Vault("the vault")
    yield made
    if made.hangs is not None:
        made.hangs.set()


def manager(*layers: dict[str, str]) -> CredentialManager:
    names = ("environment", ".env.local")
    return CredentialManager(
        [MappingSource(name, values) for name, values in zip(names, layers, strict=False)]
    )


def test_the_first_source_that_has_it_answers() -> None:
    found = manager({API_KEY: "first"}, {API_KEY: "second", USERNAME: "trader77"})

    assert found.get_credential(API_KEY) == Secret("first")
    assert found.get_credential(USERNAME) == Secret("trader77")
    assert found.inquire(USERNAME).answered_by == ".env.local"


def test_a_source_is_not_asked_when_an_earlier_one_had_it(vault: Vault) -> None:
    found = CredentialManager([MappingSource("environment", GOOD), vault])

    found.get_credential(API_KEY)

    assert vault.asked == []


def test_what_nobody_has_is_named_with_everyone_who_was_asked(vault: Vault) -> None:
    vault.error = CredentialSourceError("access denied")
    asking = CredentialManager(
        [
            MappingSource("environment", {}),
            MappingSource(".env.local", {API_KEY: "  "}),
            vault,
        ]
    )

    with pytest.raises(CredentialError) as missing:
        asking.get_credential(API_KEY)

    assert missing.value.name == API_KEY
    assert str(missing.value) == (
        "TOPSTEPX_API_KEY: no source has it (environment: not set; .env.local: set, but blank; "
        "the vault: access denied). "
        "Set it in the environment or in .env.local: TOPSTEPX_API_KEY=..."
    )
    assert asking.try_get_credential(API_KEY) is None


def test_a_failing_source_does_not_stop_the_search(vault: Vault) -> None:
    vault.error = RuntimeError("the library repeats hunter2 here")
    asking = CredentialManager([vault, MappingSource("file", GOOD)])

    inquiry = asking.inquire(API_KEY)

    assert inquiry.value == Secret(GOOD[API_KEY])
    assert [answer.words for answer in inquiry.answers] == ["failed with RuntimeError", "has it"]


def test_a_source_that_hangs_is_given_up_on(vault: Vault) -> None:
    vault.timeout_s = 0.05
    vault.hangs = threading.Event()
    asking = CredentialManager([vault, MappingSource("file", GOOD)])

    inquiry = asking.inquire(API_KEY)

    assert inquiry.value == Secret(GOOD[API_KEY])
    assert inquiry.answers[0].words == "no answer within 0.05 s"


def test_a_source_with_a_deadline_answers_too(vault: Vault) -> None:
    vault.values = {API_KEY: "from-the-vault"}

    assert CredentialManager([vault]).get_credential(API_KEY) == Secret("from-the-vault")


def test_a_rotated_value_is_found_at_once() -> None:
    values = {API_KEY: "old-key"}
    asking = CredentialManager([MappingSource("environment", values)])
    assert asking.get_credential(API_KEY) == Secret("old-key")

    values[API_KEY] = "new-key"

    assert asking.get_credential(API_KEY) == Secret("new-key")


BAD = {
    "": "is blank",
    " \t": "is blank",
    " k3y": "has white space",
    "k3y\n": "has white space",
    "'k3y'": "has quotation marks",
    '"k3y"': "has quotation marks",
    "k3\ny": "has a line break",
    "k" * 20_000: "is longer than",
    "<your key>": "is a placeholder",
    "your_api_key": "is a placeholder",
    "YOUR-KEY-HERE": "is a placeholder",
    "changeme": "is a placeholder",
    "change_me_please": "is a placeholder",
    "replace-with-key": "is a placeholder",
    "${TOPSTEPX_API_KEY}": "is a placeholder",
    "{{ api_key }}": "is a placeholder",
    "%API_KEY%": "is a placeholder",
    "xxxx": "is a placeholder",
    "...": "is a placeholder",
    "TODO": "is a placeholder",
    "paste-your-key": "is a placeholder",
}


@pytest.mark.parametrize("value", BAD)
def test_what_cannot_be_a_credential_is_refused(value: str) -> None:
    fault = credential_fault(value)

    assert fault is not None
    assert BAD[value] in fault


@pytest.mark.parametrize(
    "value",
    ["k3y/+abc==", "trader77", "42", "demo", "test-key", "a", "my-bot", "enterprise", "p%ss%w"],
)
def test_what_can_be_a_credential_passes(value: str) -> None:
    assert credential_fault(value) is None


def test_a_bad_value_stops_the_search_and_is_not_repeated() -> None:
    """Going on could find the key of another account."""
    asking = manager({API_KEY: "'hunter2'"}, {API_KEY: "another"})

    for get in (asking.get_credential, asking.try_get_credential):
        with pytest.raises(CredentialError, match="from environment has quotation") as refused:
            get(API_KEY)
        assert "hunter2" not in str(refused.value)


def test_everything_required_is_there() -> None:
    manager(GOOD).validate_required_credentials()


def test_a_jwt_replaces_the_key() -> None:
    manager({USERNAME: "u", ACCOUNT_ID: "42", JWT: "a.b.c"}).validate_required_credentials()


def test_everything_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(SetupFaults) as missing:
        manager({}, {JWT: "<token>"}).validate_required_credentials()

    names = [fault.name for fault in missing.value.faults if isinstance(fault, CredentialError)]
    assert names == [USERNAME, ACCOUNT_ID, API_KEY, JWT]
    assert len(str(missing.value).splitlines()) == 4


def test_a_bad_key_is_refused_even_beside_a_jwt() -> None:
    with pytest.raises(SetupFaults, match="TOPSTEPX_API_KEY: the value from environment is a pl"):
        manager(GOOD | {API_KEY: "changeme", JWT: "a.b.c"}).validate_required_credentials()


def test_without_sources_nothing_is_found() -> None:
    with pytest.raises(CredentialError, match="no source is configured"):
        CredentialManager([]).get_credential(API_KEY)
