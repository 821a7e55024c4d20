"""What other users of the machine can do with a state folder is found, closed and told."""

import os
import stat
from pathlib import Path

import pytest

from backstop.adapters.state_folder import (
    Opening,
    check_state_folder,
    close_state_folder,
    openings,
)
from backstop.errors import StateFolderError

ANOTHER_USER = 31_337
GIVES_AWAY = [ANOTHER_USER] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
"""Only root can give a file to another user."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a state folder with a record, a state and a token, closed to others."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    for name in ("audit.db", "trading_state.json", "api_token"):
        (folder / name).touch(mode=0o600)
    return folder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_that_is_closed_is_no_news(folder: Path) -> None:
    check_state_folder(folder)

    assert close_state_folder(folder) == ()


def test_a_folder_to_come_is_made_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "to" / "come"
    check_state_folder(folder)
    assert list(tmp_path.iterdir()) == []

    assert close_state_folder(folder) == ()

    assert mode_of(folder) == 0o700


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateFolderError, match="BACKSTOP_STATE_DIR"):
        close_state_folder(tmp_path / "file" / "state")


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o711])
def test_a_folder_that_others_see_into_is_told_with_the_command_and_left(
    folder: Path, mode: int
) -> None:
    folder.chmod(mode)

    (found,) = close_state_folder(folder)

    assert mode_of(folder) == mode, "others may be meant to: it may be a home"
    assert f"has mode {mode:04o}" in found.told
    assert "can see what is in it" in found.told
    assert f"Run: chmod 700 {folder}" in found.told
    assert not found.matters


@pytest.mark.parametrize("mode", [0o770, 0o775, 0o720])
def test_a_folder_that_a_group_writes_in_is_closed_to_its_writing(folder: Path, mode: int) -> None:
    folder.chmod(mode)

    (found,) = close_state_folder(folder)

    assert mode_of(folder) == found.mode_now == mode & ~0o022
    assert f"had mode {mode:04o}" in found.told
    assert "could change what the guard believes" in found.told
    assert f"It has mode {found.mode_now:04o} now" in found.told
    assert "backstop audit verify" in found.told
    assert found.matters


@pytest.mark.parametrize(
    ("name", "mode", "why", "matters"),
    [
        ("api_token", 0o644, "act with what it holds", True),
        ("trading_state.json", 0o644, "could read it", False),
        ("trading_state.json", 0o664, "could change what the guard believes", True),
        ("audit.db", 0o640, "could read it", False),
    ],
)
def test_a_file_that_others_reach_is_closed_and_told(
    folder: Path,
    name: str,
    mode: int,
    why: str,
    matters: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    (folder / name).chmod(mode)

    (found,) = close_state_folder(folder)

    assert mode_of(folder / name) == 0o600
    assert f"{folder / name} had mode {mode:04o}" in found.told
    assert why in found.told
    assert "It has mode 0600 now" in found.told
    assert found.matters is matters
    assert close_state_folder(folder) == ()


def test_whoever_only_looks_changes_nothing_and_names_the_command(folder: Path) -> None:
    (folder / "api_token").chmod(0o644)

    (found,) = openings(folder)

    assert mode_of(folder / "api_token") == 0o644
    assert f"Run: chmod 600 {folder / 'api_token'}" in found.told


def test_a_token_that_others_could_read_can_be_made_anew(folder: Path) -> None:
    (folder / "api_token").chmod(0o644)

    (found,) = close_state_folder(folder)

    assert found.told.endswith("For another token, remove the file while no guard runs")


@pytest.mark.parametrize("spoiled", ["", "audit.db", "trading_state.json"])
def test_what_everybody_can_change_is_refused_at_a_persons_start(
    folder: Path, spoiled: str
) -> None:
    path = folder / spoiled
    path.chmod(0o777)

    with pytest.raises(StateFolderError, match=f"mode 0777.*chmod o-w {path}"):
        close_state_folder(folder)

    assert mode_of(path) == 0o777


def test_a_guard_that_comes_back_closes_what_everybody_can_change(folder: Path) -> None:
    folder.chmod(0o777)
    (folder / "audit.db").chmod(0o666)

    found = close_state_folder(folder, refuse=False)

    assert (mode_of(folder), mode_of(folder / "audit.db")) == (0o755, 0o600)
    assert all(it.can_be_changed and it.matters for it in found)
    check_state_folder(folder)


def test_a_folder_that_many_share_by_intention_is_left_and_told(folder: Path) -> None:
    folder.chmod(0o1777)

    (found,) = close_state_folder(folder)

    assert mode_of(folder) == 0o1777
    assert "set BACKSTOP_STATE_DIR to a folder of its own" in found.told


def test_a_link_to_a_file_elsewhere_is_left_and_told(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "of-another-program"
    elsewhere.touch()
    elsewhere.chmod(0o644)
    (folder / "api_token").unlink()
    (folder / "api_token").symlink_to(elsewhere)

    (found,) = close_state_folder(folder)

    assert mode_of(elsewhere) == 0o644
    assert "Run: chmod 600" in found.told


@pytest.mark.parametrize("owner", GIVES_AWAY)
def test_a_file_of_another_user_is_named(folder: Path, owner: int) -> None:
    os.chown(folder / "trading_state.json", owner, -1)

    (found,) = close_state_folder(folder)

    assert found.owner == owner
    assert found.matters


def test_what_another_user_owns_can_be_changed_by_that_user() -> None:
    found = Opening(path=Path("state"), mode=0o700, mode_now=0o700, owner=ANOTHER_USER)

    assert found.can_be_changed
    assert found.told.startswith(f"state belongs to user {ANOTHER_USER}: that user can change")
    assert "Run: chown -R" in found.told
