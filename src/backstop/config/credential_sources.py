"""Which sources of credentials are configured, in the order in which they are asked.

Command line, environment, ``.env.local``, Azure Key Vault, AWS Secrets Manager, vaults of others,
the keyring, secret files. A vault's library loads when the vault is asked, so what is not
configured costs nothing.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backstop.adapters.vaults.aws_secrets_manager import AwsSecretsManager
from backstop.adapters.vaults.azure_key_vault import AzureKeyVault
from backstop.adapters.vaults.os_keyring import OsKeyring
from backstop.adapters.vaults.secret_files import SecretFiles
from backstop.config.credential_manager import Source
from backstop.config.env_file import ENV_FILE, read_lines
from backstop.domain.credential import CredentialFacts
from backstop.errors import CredentialSourceError, SettingError, SetupError

ENTRY_POINTS = "backstop.vaults"
"""The group of entry points through which another package adds a vault."""

SYSTEMD_FOLDER = "CREDENTIALS_DIRECTORY"
"""Where systemd says that it put ``LoadCredential`` and its like; readable to the service alone."""

CONTAINER_FOLDERS = (Path("/run/secrets"), Path("/var/run/secrets"))
"""Where Docker and Kubernetes put secrets: private to the container whatever the files' modes."""

MakesSource = Callable[[Mapping[str, str]], Source]
"""What an entry point names: takes every setting's text by name, returns the source."""


class EnvFileSource:
    """``.env.local``, read anew for every question: an edit needs no restart."""

    name = ENV_FILE
    timeout_s: float | None = None

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def read(self, credential: str) -> str | None:
        """Return the value under the credential's name.

        Raises:
            CredentialSourceError: the file cannot be read, or one of its lines; names the line.
        """
        return self._line(credential)[0]

    def facts(self, credential: str) -> CredentialFacts:
        """Return the line, and when the file was written last."""
        try:
            line = self._line(credential)[1]
            changed = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        except (CredentialSourceError, OSError):
            return CredentialFacts(place=str(self._path))
        return CredentialFacts(place=f"{self._path}, line {line}", changed=changed)

    def _line(self, credential: str) -> tuple[str | None, int]:
        try:
            return read_lines(self._path).get(credential, (None, 0))
        except SetupError as error:
            raise CredentialSourceError(str(error).removesuffix(".")) from error


def vaults(members: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[Source, ...]:
    """Return the configured vaults in their order.

    Args:
        members: of ``Settings``, by name.
        texts: every setting and variable as text, by name.

    Raises:
        SettingError: a vault of another package cannot be had.
    """
    found: list[Source] = []
    if members["azure_key_vault_url"] is not None:
        found.append(
            AzureKeyVault(
                members["azure_key_vault_url"],
                json_secret=members["azure_key_vault_secret"],
                # Whoever names the place of logins has chosen it; the SDK need not ask Microsoft.
                own_authority=bool(texts.get("AZURE_AUTHORITY_HOST")),
            )
        )
    if members["aws_secret_id"] is not None:
        found.append(AwsSecretsManager(members["aws_secret_id"]))
    found.extend(_of_another_package(name, texts) for name in members["vaults"] or ())
    if members["keyring_service"] is not None:
        found.append(OsKeyring(members["keyring_service"]))
    if members["secrets_folder"] is not None:
        folder: Path = members["secrets_folder"]
        mounted = any(folder.is_relative_to(place) for place in CONTAINER_FOLDERS)
        found.append(SecretFiles(folder, closed=mounted))
    if texts.get(SYSTEMD_FOLDER):
        found.append(SecretFiles(Path(texts[SYSTEMD_FOLDER]), closed=True))
    return tuple(found)


def _of_another_package(name: str, texts: Mapping[str, str]) -> Source:
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and hardly ever needed

    known = {it.name: it for it in entry_points(group=ENTRY_POINTS)}
    if name not in known:
        installed = ", ".join(sorted(known)) or "none is installed"
        raise SettingError("BACKSTOP_VAULTS", f"no package adds a vault {name}", installed)
    try:
        make: MakesSource = known[name].load()
        return make(texts)
    except SetupError as error:
        raise SettingError(
            "BACKSTOP_VAULTS", f"{name}: {error}", "what its package describes"
        ) from error
    except Exception as error:
        # Foreign code: its words may hold what it was given.
        fault = f"{name} cannot be set up ({type(error).__name__})"
        raise SettingError("BACKSTOP_VAULTS", fault, "a vault that loads") from error
