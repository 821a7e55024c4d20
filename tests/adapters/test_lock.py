"""The right to send: one process per account, whatever happens to that process."""

import os
import shutil
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstop.adapters.lock import AccountLock, default_runtime_folder, one_spelling
from backstop.errors import AlreadyRunningError, StateFolderError

CHILD = Path(__file__).with_name("lock_child.py")


def a_lock(folder: Path, *, host: str = "api.topstepx.com", account: str = "42") -> AccountLock:
    return AccountLock(gateway_host=host, account=account, runtime_folder=folder)


@contextmanager
def a_holder(folder: Path, host: str = "api.topstepx.com") -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, CHILD, folder, host],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    lock = a_lock(tmp_path)
    with (
        a_holder(tmp_path) as holder,
        pytest.raises(AlreadyRunningError, match=f"account 42 .*: process {holder.pid}"),
    ):
        lock.acquire()

    assert not lock.is_held


def test_a_refused_process_leaves_the_holder_untouched(tmp_path: Path) -> None:
    with a_lock(tmp_path) as lock:
        refused = subprocess.run(
            [sys.executable, CHILD, tmp_path, "api.topstepx.com"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

        assert refused.returncode == 2
        assert f"process {os.getpid()}." in refused.stdout
        assert lock.is_held
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_a_killed_holder_leaves_no_stale_lock(tmp_path: Path) -> None:
    with a_holder(tmp_path) as holder:
        holder.kill()
        holder.wait(timeout=60)

        with a_lock(tmp_path) as lock:
            assert lock.is_held


def test_the_lock_can_be_given_back_and_taken_again(tmp_path: Path) -> None:
    lock = a_lock(tmp_path)
    for _ in range(3):
        lock.acquire()
        assert lock.is_held
        lock.release()
        assert not lock.is_held
    lock.release()


def test_taking_it_twice_is_harmless(tmp_path: Path) -> None:
    with a_lock(tmp_path) as lock:
        lock.acquire()
        assert lock.is_held


def test_two_locks_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    with a_lock(tmp_path), pytest.raises(AlreadyRunningError):
        a_lock(tmp_path).acquire()


def test_other_accounts_and_other_gateways_are_free(tmp_path: Path) -> None:
    with (
        a_lock(tmp_path) as first,
        a_lock(tmp_path, account="43") as second,
        a_lock(tmp_path, host="api.other.projectx.com") as third,
        a_lock(tmp_path, host="127.0.0.1:8001") as fourth,
        a_lock(tmp_path, host="127.0.0.1:8002") as fifth,
    ):
        assert len({lock.path for lock in (first, second, third, fourth, fifth)}) == 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("api.topstepx.com", "API.TopstepX.com"),
        ("api.topstepx.com", "api.topstepx.com:443"),
        ("api.topstepx.com", "api.topstepx.com."),
        ("127.0.0.1:8000", "localhost:8000"),
        ("[::1]:8000", "127.0.0.1:8000"),
    ],
)
def test_every_spelling_of_a_gateway_is_the_same_gateway(
    tmp_path: Path, one: str, other: str
) -> None:
    with a_lock(tmp_path, host=one), pytest.raises(AlreadyRunningError):
        a_lock(tmp_path, host=other).acquire()


@pytest.mark.parametrize(
    ("host", "spelling"),
    [
        ("api.topstepx.com", "api.topstepx.com"),
        ("[2001:db8::1]:8000", "2001:db8::1:8000"),
        ("localhost.example.com:1", "localhost.example.com:1"),
    ],
)
def test_a_gateway_keeps_its_own_name(host: str, spelling: str) -> None:
    assert one_spelling(host) == spelling


def test_the_file_name_tells_neither_host_nor_account(tmp_path: Path) -> None:
    name = a_lock(tmp_path, account="12345678").path.name

    assert "12345678" not in name
    assert "topstep" not in name
    assert len(name) == 64 + len(".lock")


def test_a_removed_lock_file_ends_the_right_to_send(tmp_path: Path) -> None:
    """Otherwise a second guard would lock a new file, and both would send."""
    with a_lock(tmp_path) as first:
        first.path.unlink()
        assert not first.is_held

        with a_lock(tmp_path) as second:
            assert second.is_held
            assert not first.is_held


def test_who_asks_before_sending_takes_a_removed_lock_again(tmp_path: Path) -> None:
    """A cleaner, or the end of a login session, gives the right to nobody."""
    folder = tmp_path / "run"
    with a_lock(folder) as first:
        for gone in (first.path, folder):
            first.path.unlink()
            if gone == folder:
                folder.rmdir()
            assert first.keeps()
            assert first.is_held
            assert first.holder_process_id() == os.getpid()
            with pytest.raises(AlreadyRunningError), a_lock(folder):
                pass


def test_a_right_that_somebody_else_took_meanwhile_is_lost_for_good(tmp_path: Path) -> None:
    with a_lock(tmp_path) as first:
        first.path.unlink()
        with a_lock(tmp_path) as second:
            assert not first.keeps()
            assert second.keeps()
        assert not first.keeps()


def test_where_no_lock_can_be_made_nobody_else_has_one(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "backstop"
    with a_lock(folder) as first:
        shutil.rmtree(folder.parent)
        folder.parent.write_text("no folder any more", encoding="utf-8")
        assert first.keeps()

        folder.parent.unlink()
        with a_lock(folder):
            assert not first.keeps()


def test_the_folder_is_made_for_the_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "backstop"
    with a_lock(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_folder_that_is_too_open_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)

    with a_lock(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StateFolderError, match="is not a folder of this user"):
        a_lock(tmp_path / "link").acquire()


def test_a_lock_file_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    lock = a_lock(tmp_path)
    lock.path.symlink_to(precious)

    with pytest.raises(StateFolderError, match="cannot be taken"):
        lock.acquire()

    assert precious.read_text() == "keep me"


def test_a_child_process_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with (
        a_lock(tmp_path) as lock,
        subprocess.Popen(
            [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        lock.release()
        with a_lock(tmp_path) as again:
            assert again.is_held


def test_the_default_folder_is_the_users_and_makes_no_noise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = default_runtime_folder()

    assert folder.is_absolute()
    assert "backstop" in folder.parts
    assert a_lock(folder).path.parent == AccountLock(gateway_host="h", account="1").path.parent
