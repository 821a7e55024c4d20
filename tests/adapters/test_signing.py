"""The signing key on a real folder: made once, kept private, never silently replaced."""

import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from backstop.adapters.signing import AuditKeys, load_public_key, verify
from backstop.errors import StateFolderError


def test_what_the_key_signs_the_public_file_verifies(tmp_path: Path) -> None:
    keys = AuditKeys.open(tmp_path / "keys")
    signature = keys.sign(b"what happened")
    public = load_public_key(tmp_path / "keys" / "audit.pub")

    assert verify(public, signature=signature, message=b"what happened")
    assert not verify(public, signature=signature, message=b"what did not happen")
    assert not verify(public, signature=bytes(64), message=b"what happened")


def test_the_same_key_is_used_at_every_start(tmp_path: Path) -> None:
    first = AuditKeys.open(tmp_path / "keys")
    second = AuditKeys.open(tmp_path / "keys")

    assert first.key_id == second.key_id
    assert first.sign(b"x") == second.sign(b"x")
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["audit.key", "audit.pub"]


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert AuditKeys.open(tmp_path / "a").key_id != AuditKeys.open(tmp_path / "b").key_id


def test_the_folder_and_the_private_key_are_for_the_owner_only(tmp_path: Path) -> None:
    AuditKeys.open(tmp_path / "keys")

    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / "audit.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "mode", "remedy"),
    [
        ("audit.key", 0o640, "chmod 600"),
        ("audit.key", 0o604, "chmod 600"),
        ("", 0o750, "chmod 700"),
        ("", 0o701, "chmod 700"),
    ],
)
def test_a_key_that_others_could_read_is_refused_with_the_remedy(
    tmp_path: Path, name: str, mode: int, remedy: str
) -> None:
    folder = tmp_path / "keys"
    AuditKeys.open(folder)
    exposed = folder / name if name else folder
    exposed.chmod(mode)

    with pytest.raises(StateFolderError, match=f"run: {remedy} {exposed}$") as refused:
        AuditKeys.open(folder)

    command = str(refused.value).rpartition("run: ")[2]
    subprocess.run(command.split(), check=True)
    AuditKeys.open(folder)


def test_a_crash_between_the_two_files_is_mended(tmp_path: Path) -> None:
    keys = AuditKeys.open(tmp_path / "keys")
    keys.public_key_path.unlink()

    assert AuditKeys.open(tmp_path / "keys").key_id == keys.key_id
    assert keys.public_key_path.exists()


def test_a_lost_private_key_is_not_replaced_in_silence(tmp_path: Path) -> None:
    keys = AuditKeys.open(tmp_path / "keys")
    public = keys.public_key_path.read_bytes()
    (tmp_path / "keys" / "audit.key").unlink()

    with pytest.raises(StateFolderError, match="A new key would not fit the record signed so far"):
        AuditKeys.open(tmp_path / "keys")

    assert keys.public_key_path.read_bytes() == public
    assert not (tmp_path / "keys" / "audit.key").exists()


def test_halves_of_two_pairs_are_refused(tmp_path: Path) -> None:
    AuditKeys.open(tmp_path / "a")
    other = AuditKeys.open(tmp_path / "b")
    (tmp_path / "a" / "audit.pub").write_bytes(other.public_key_path.read_bytes())

    with pytest.raises(StateFolderError, match=r"is not the public half of audit\.key"):
        AuditKeys.open(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"not a key", b"\x00" * 64])
def test_a_damaged_private_key_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    AuditKeys.open(tmp_path / "keys")
    (tmp_path / "keys" / "audit.key").write_bytes(content)

    with pytest.raises(StateFolderError, match="is not a readable private key"):
        AuditKeys.open(tmp_path / "keys")

    assert (tmp_path / "keys" / "audit.key").read_bytes() == content


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    foreign = generate_private_key(SECP256R1())
    AuditKeys.open(tmp_path / "keys")
    (tmp_path / "keys" / "audit.key").write_bytes(
        foreign.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "foreign.pub").write_bytes(
        foreign.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )

    with pytest.raises(StateFolderError, match="is not an Ed25519 key"):
        AuditKeys.open(tmp_path / "keys")
    with pytest.raises(StateFolderError, match="is not an Ed25519 key"):
        load_public_key(tmp_path / "foreign.pub")


def test_a_missing_public_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateFolderError, match=r"audit\.pub is not a readable public key"):
        load_public_key(tmp_path / "audit.pub")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("not a folder")

    with pytest.raises(StateFolderError, match="cannot be used"):
        AuditKeys.open(tmp_path / "keys")


def test_starts_at_the_same_moment_agree_on_one_key(tmp_path: Path) -> None:
    gate = threading.Barrier(8)
    found: list[str] = []

    def start() -> None:
        gate.wait(timeout=10)
        found.append(AuditKeys.open(tmp_path / "keys").key_id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert len(found) == 8
    assert len(set(found)) == 1


def test_the_private_key_shows_in_no_repr(tmp_path: Path) -> None:
    keys = AuditKeys.open(tmp_path / "keys")

    assert repr(keys) == f"AuditKeys({keys.key_id})"
    assert "PRIVATE" not in repr(vars(keys))
