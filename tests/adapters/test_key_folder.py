"""A change of keys on disk: whole at every point at which the machine may stop."""

from pathlib import Path

import pytest

from backstop.adapters.key_folder import (
    discard_next,
    make_next,
    next_public_key,
    open_next,
    promote_next,
)
from backstop.adapters.signing import AuditKeys, load_public_key


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_next_key_takes_the_place_of_the_present_one(tmp_path: Path) -> None:
    before = AuditKeys.open(tmp_path)
    following = make_next(tmp_path)
    assert AuditKeys.open(tmp_path).key_id == before.key_id

    after = promote_next(tmp_path)

    assert after.key_id == following.key_id == AuditKeys.open(tmp_path).key_id
    assert names(tmp_path) == {"audit.key", "audit.pub", "retired"}
    kept = load_public_key(tmp_path / "retired" / f"{before.key_id}.pub")
    assert kept.public_bytes_raw() == before.public_key().public_bytes_raw()


def test_the_private_half_of_a_retired_key_is_gone(tmp_path: Path) -> None:
    AuditKeys.open(tmp_path)
    secret = (tmp_path / "audit.key").read_bytes()
    make_next(tmp_path)
    promote_next(tmp_path)

    assert all(secret not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert (tmp_path / "audit.key").stat().st_mode & 0o777 == 0o600


def test_a_change_that_stopped_between_the_two_halves_is_finished(tmp_path: Path) -> None:
    before = AuditKeys.open(tmp_path)
    following = make_next(tmp_path)
    (tmp_path / "audit.next.pub").replace(tmp_path / "audit.pub")

    assert open_next(tmp_path) is not None
    assert promote_next(tmp_path).key_id == following.key_id
    retired = names(tmp_path / "retired") if (tmp_path / "retired").is_dir() else set()
    assert f"{following.key_id}.pub" not in retired
    assert before.key_id != following.key_id


@pytest.mark.parametrize("left", [(), ("audit.next.pub",), ("audit.next.key",)])
def test_a_next_key_that_never_came_into_use_is_replaced(
    tmp_path: Path, left: tuple[str, ...]
) -> None:
    before = AuditKeys.open(tmp_path)
    first = make_next(tmp_path)
    for name in left:
        (tmp_path / name).unlink()

    second = make_next(tmp_path)

    assert len({before.key_id, first.key_id, second.key_id}) == 3
    assert next_public_key(tmp_path) == second.public_key().public_bytes_raw()


def test_a_discarded_change_leaves_nothing(tmp_path: Path) -> None:
    AuditKeys.open(tmp_path)
    make_next(tmp_path)
    discard_next(tmp_path)

    assert names(tmp_path) == {"audit.key", "audit.pub"}
    assert open_next(tmp_path) is None
    assert next_public_key(tmp_path) is None
