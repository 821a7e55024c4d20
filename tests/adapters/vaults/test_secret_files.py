"""Secrets as files: what systemd, Docker and Kubernetes hand to a service."""

from pathlib import Path

import pytest

from backstop.adapters.vaults.secret_files import MAX_FILE_BYTES, SecretFiles
from backstop.errors import CredentialSourceError

KEY = "TOPSTEPX_API_KEY"


def a_file(folder: Path, name: str, text: str, *, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("name", [KEY, "topstepx-api-key", "topstepx_api_key"])
def test_a_file_may_bear_the_name_in_any_usual_spelling(tmp_path: Path, name: str) -> None:
    a_file(tmp_path, name, "file-key-1\n")

    assert SecretFiles(tmp_path).read(KEY) == "file-key-1"


def test_no_file_is_no_secret(tmp_path: Path) -> None:
    assert SecretFiles(tmp_path).read(KEY) is None
    assert SecretFiles(tmp_path / "nowhere").read(KEY) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = a_file(tmp_path, KEY, "file-key-1", mode=mode)

    with pytest.raises(CredentialSourceError, match=f"mode {mode:04o}.*chmod 600 {path}") as caught:
        SecretFiles(tmp_path).read(KEY)
    assert "file-key-1" not in str(caught.value)


def test_what_a_container_mounts_is_private_whatever_its_modes(tmp_path: Path) -> None:
    a_file(tmp_path, KEY, "file-key-1", mode=0o444)

    assert SecretFiles(tmp_path, closed=True).read(KEY) == "file-key-1"


def test_a_folder_or_a_huge_file_under_the_name_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / KEY).mkdir()
    with pytest.raises(CredentialSourceError, match="is not a file"):
        SecretFiles(tmp_path).read(KEY)

    a_file(tmp_path, "TOPSTEPX_JWT", "x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(CredentialSourceError, match="bytes"):
        SecretFiles(tmp_path).read("TOPSTEPX_JWT")


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / KEY
    path.write_bytes(b"\xff\xfe\x00")
    path.chmod(0o600)

    with pytest.raises(CredentialSourceError, match="not UTF-8"):
        SecretFiles(tmp_path).read(KEY)
