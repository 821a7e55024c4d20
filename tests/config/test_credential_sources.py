"""Which sources are asked, in which order, what they cost, and how their faults are named."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backstop.config import credential_manager
from backstop.config.credential_manager import (
    ACCOUNT_ID,
    API_KEY,
    FAILURE_RESTS_S,
    USERNAME,
    CredentialManager,
)
from backstop.config.settings import Settings
from backstop.errors import CredentialError, CredentialSourceError, SetupError, SetupFaults

CANARY = "canary-7f3a9c-key"
LOGIN = {API_KEY: "key-of-the-environment", USERNAME: "trader77", ACCOUNT_ID: "42"}


def a_file(path: Path, text: str, *, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def loaded(tmp_path: Path, environment: dict[str, str]) -> Settings:
    return Settings.load(environment=environment, env_file=tmp_path / ".env.local")


# -- the order -------------------------------------------------------------------------------------


def test_the_environment_beats_the_file_beats_the_secret_files(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, value in {"topstepx-api-key": "k-file", USERNAME: "u-file", ACCOUNT_ID: "3"}.items():
        a_file(folder / name, value)
    a_file(tmp_path / ".env.local", f"{API_KEY}=k-env-file\n{USERNAME}=u-env-file\n")

    found = loaded(tmp_path, {API_KEY: "k-env", "BACKSTOP_SECRETS_DIR": str(folder)})

    assert found.api_key is not None
    assert (found.api_key.reveal(), found.user_name, found.account_id) == ("k-env", "u-env-file", 3)


def test_every_configured_source_is_asked_in_the_order_of_the_specification(
    tmp_path: Path,
) -> None:
    found = loaded(
        tmp_path,
        LOGIN
        | {
            "AZURE_KEY_VAULT_URL": "https://vault.localhost",
            "AWS_SECRET_ID": "backstop/topstepx",
            "BACKSTOP_KEYRING_SERVICE": "backstop",
            "BACKSTOP_SECRETS_DIR": str(tmp_path),
            "CREDENTIALS_DIRECTORY": "/run/credentials/backstop.service",
        },
    )

    assert [source.name for source in found.credentials.sources] == [
        "command line",
        "environment",
        ".env.local",
        "Azure Key Vault",
        "AWS Secrets Manager",
        "OS keyring",
        f"secret files in {tmp_path}",
        "secret files in /run/credentials/backstop.service",
    ]


def test_no_vault_is_asked_for_what_logs_in_nowhere(tmp_path: Path) -> None:
    """A look at the status must not wait for a cloud."""
    found = Settings.load(
        environment={"AZURE_KEY_VAULT_URL": "https://vault.localhost"},
        env_file=tmp_path / ".env.local",
        require_credentials=False,
    )

    assert found.api_key is None
    names = [source.name for source in found.credentials.local.sources]
    assert names == ["command line", "environment", ".env.local"]


def test_an_edit_of_the_file_is_found_without_a_restart(tmp_path: Path) -> None:
    path = a_file(tmp_path / ".env.local", f"{API_KEY}=before\n{USERNAME}=u\n{ACCOUNT_ID}=42\n")
    manager = loaded(tmp_path, {}).credentials

    path.write_text(f"{API_KEY}=after\n")

    assert manager.get_credential(API_KEY).reveal() == "after"


def test_a_default_stands_in_for_what_nobody_has(tmp_path: Path) -> None:
    manager = loaded(tmp_path, LOGIN).credentials

    assert manager.get_credential("TOPSTEPX_JWT", default="none-yet").reveal() == "none-yet"
    with pytest.raises(CredentialError, match="TOPSTEPX_JWT: no source has it"):
        manager.get_credential("TOPSTEPX_JWT")


def test_the_manager_can_be_had_without_a_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)
    a_file(tmp_path / ".env.local", "".join(f"{k}={v}\n" for k, v in LOGIN.items()))

    manager = CredentialManager.from_env()

    manager.validate_required_credentials()
    assert manager.try_get_credential(USERNAME) is not None


# -- what a source costs ---------------------------------------------------------------------------


class SlowVault:
    """A vault that cannot answer."""

    name = "slow vault"
    timeout_s = 0.05

    def __init__(self) -> None:
        self.asked = 0
        self.error: CredentialSourceError | None = None
        self.answers = threading.Event()

    def read(self, credential: str) -> str | None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.answers.wait()
        return f"late answer for {credential}"


def test_a_start_waits_once_for_a_source_that_hangs() -> None:
    vault, now_s = SlowVault(), [100.0]
    manager = CredentialManager([vault], now_s=lambda: now_s[0])

    for name in (API_KEY, USERNAME, ACCOUNT_ID):
        assert "no answer within 0.05 s" in manager.inquire(name).answers[0].words
    assert vault.asked == 1

    now_s[0] += FAILURE_RESTS_S
    assert manager.inquire(API_KEY).answers[0].words == "still no answer to an earlier question"
    assert vault.asked == 1, "a library that hangs holds one thread, not one more each time"
    vault.answers.set()


def test_a_source_cannot_give_itself_more_time_than_a_start_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credential_manager, "ANSWER_LIMIT_S", 0.05)
    vault = SlowVault()
    vault.timeout_s = 3_600.0

    words = CredentialManager([vault]).inquire(API_KEY).answers[0].words
    vault.answers.set()

    assert words == "no answer within 0.05 s"


def test_a_source_that_failed_is_asked_again_after_a_while() -> None:
    vault, now_s = SlowVault(), [100.0]
    vault.error = CredentialSourceError("it cannot be reached")
    manager = CredentialManager([vault], now_s=lambda: now_s[0])

    manager.inquire(API_KEY)
    manager.inquire(USERNAME)
    assert vault.asked == 1
    now_s[0] += FAILURE_RESTS_S
    manager.inquire(API_KEY)

    assert vault.asked == 2


def test_a_failure_of_one_secret_says_nothing_about_the_others() -> None:
    vault = SlowVault()
    vault.error = CredentialSourceError("this one may not be read", one_secret=True)
    manager = CredentialManager([vault])

    manager.inquire(API_KEY)
    manager.inquire(USERNAME)

    assert vault.asked == 2


def test_a_source_that_breaks_its_promise_is_named_by_its_kind_of_error() -> None:
    """Also one that promised to keep nobody waiting: a poll must not end the guard."""

    class Broken:
        name = "broken vault"
        timeout_s = None

        def read(self, credential: str) -> str | None:
            raise RuntimeError(f"{credential} is {CANARY}")

    assert CredentialManager([Broken()]).inquire(API_KEY).answers[0].words == (
        "failed with RuntimeError"
    )


def test_unused_sources_load_no_library(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "import backstop.entrypoints.daemon, backstop.app.critical_system_manager\n"
        "from backstop.config.settings import Settings\n"
        "Settings.load()\n"
        "heads = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(heads & {'boto3', 'botocore', 'azure', 'msal', 'keyring', 'moto'}))\n"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=LOGIN,
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout == "[]\n"


# -- vaults of other packages ----------------------------------------------------------------------


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package, installed as far as Python is concerned, that adds two vaults."""
    place = tmp_path / "site"
    info = place / "acme_vault-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-vault\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[backstop.vaults]\nacme = acme_vault:make\nbroken = acme_vault:broken\n"
    )
    (place / "acme_vault.py").write_text(
        "class Acme:\n"
        "    name = 'Acme vault'\n"
        "    timeout_s = 5.0\n"
        "    def __init__(self, value): self.value = value\n"
        "    def read(self, credential):\n"
        "        return self.value if credential == 'TOPSTEPX_API_KEY' else None\n"
        "def make(settings): return Acme(settings['ACME_VALUE'])\n"
        f"def broken(settings): raise RuntimeError({CANARY!r})\n"
    )
    monkeypatch.syspath_prepend(str(place))
    return place


@pytest.mark.usefixtures("plug_in")
def test_another_package_can_add_a_vault(tmp_path: Path) -> None:
    without_key = {name: value for name, value in LOGIN.items() if name != API_KEY}

    found = loaded(
        tmp_path, without_key | {"BACKSTOP_VAULTS": "acme", "ACME_VALUE": "from-acme-vault"}
    )

    assert found.api_key is not None
    assert found.api_key.reveal() == "from-acme-vault"


@pytest.mark.usefixtures("plug_in")
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("other", "no package adds a vault other. Allowed: acme, broken."),
        ("broken", r"broken cannot be set up \(RuntimeError\)"),
    ],
)
def test_a_vault_that_cannot_be_had_is_named(tmp_path: Path, name: str, fault: str) -> None:
    with pytest.raises(SetupFaults, match=fault) as refused:
        loaded(tmp_path, LOGIN | {"BACKSTOP_VAULTS": name})

    assert CANARY not in str(refused.value)


# -- bad input -------------------------------------------------------------------------------------

UNUSABLE = {
    "your_api_key_here": "is a placeholder",
    f"\"'{CANARY}'\"": "has quotation marks",
    f'" {CANARY}"': "has white space",
}


@pytest.mark.parametrize("value", UNUSABLE)
def test_an_unusable_value_is_named_with_file_and_line(tmp_path: Path, value: str) -> None:
    path = a_file(tmp_path / ".env.local", f"# ours\n{USERNAME}=u\n{API_KEY}={value}\n")

    with pytest.raises(SetupFaults) as refused:
        loaded(tmp_path, {ACCOUNT_ID: "42"})

    assert f"{API_KEY}: the value from {path}, line 3 {UNUSABLE[value]}" in str(refused.value)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("AZURE_KEY_VAULT_URL", CANARY, "has no scheme"),
        ("AZURE_KEY_VAULT_URL", "http://vault.azure.net", "travel readable"),
        ("AZURE_KEY_VAULT_URL", f"https://vault.azure.net/secrets/{CANARY}", "has a path"),
        ("AZURE_KEY_VAULT_URL", f"https://me:{CANARY}@vault.azure.net", "a password"),
        ("AZURE_KEY_VAULT_SECRET", f"{CANARY} x", "not such a name"),
        ("AWS_SECRET_ID", f'{{"key": "{CANARY}"}}', "not such a name"),
        ("BACKSTOP_KEYRING_SERVICE", f"{CANARY}\t", "not such a name"),
        ("BACKSTOP_VAULTS", f"{CANARY} x", "no name of an entry point"),
    ],
)
def test_an_unusable_setting_of_a_vault_is_named_and_not_repeated(
    tmp_path: Path, name: str, value: str, fault: str
) -> None:
    if name == "BACKSTOP_KEYRING_SERVICE":
        value = f"{CANARY}\x07"
    with pytest.raises(SetupFaults) as refused:
        loaded(tmp_path, LOGIN | {name: value})

    assert str(refused.value).startswith(f"{name}: ")
    assert fault in str(refused.value)
    assert CANARY not in str(refused.value)


def test_a_secret_file_that_others_can_read_is_refused_by_name(
    tmp_path: Path,
) -> None:
    """Every source that had nothing tells why; the value of none of them shows."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    a_file(folder / API_KEY, CANARY, mode=0o644)
    without_key = {name: value for name, value in LOGIN.items() if name != API_KEY}

    with pytest.raises(SetupFaults) as refused:
        loaded(tmp_path, without_key | {"BACKSTOP_SECRETS_DIR": str(folder)})

    assert f"{folder / API_KEY} has mode 0644 and can be read by others" in str(refused.value)
    assert "environment: not set; .env.local: not set" in str(refused.value)
    assert CANARY not in str(refused.value)


def test_orders_are_not_sent_with_secrets_that_others_can_read(tmp_path: Path) -> None:
    text = "".join(f"{name}={value}\n" for name, value in LOGIN.items())
    path = a_file(tmp_path / ".env.local", text, mode=0o644)

    assert loaded(tmp_path, {}).warnings == (
        f"{path} can be read by others; run: chmod 600 {path}",
    )
    with pytest.raises(SetupError, match=f"holds {USERNAME}, {API_KEY}. Orders are not sent"):
        loaded(tmp_path, {"DRY_RUN": "0", "EXECUTE": "1"})
    path.chmod(0o600)
    assert loaded(tmp_path, {"DRY_RUN": "0", "EXECUTE": "1"}).execute


def test_the_settings_show_nothing_of_the_sources(tmp_path: Path) -> None:
    settings = loaded(tmp_path, LOGIN | {API_KEY: CANARY})

    assert CANARY not in repr(settings)
    assert CANARY not in json.dumps(repr(settings.credentials.inquire(API_KEY)))
